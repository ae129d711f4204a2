/* A table for people: cells by rows, columns as wide as their widest cell, two spaces between, nothing behind the last.
 * Control characters and bytes that are not UTF-8 are shown as '?': what a proxy or a control plane tells comes from
 * others, and a terminal obeys escape sequences.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include "common/base/buf.h"

#define CLI_TABLE_COLUMNS 12
#define CLI_TABLE_BYTES   (64u << 20) /* of all cells */

struct cli_table {
    size_t columns, cells;
    struct fl_buf text; /* the cells, one after the other, each ended by a NUL */
    int result;         /* of the first failure: later calls do nothing */
};

/* `titles` is the first row; columns ≤ CLI_TABLE_COLUMNS. */
void cli_table_init(struct cli_table *table, const char *const *titles, size_t columns);
void cli_table_done(struct cli_table *table);

/* The next cell, row by row. An empty one is shown as "-". */
void cli_table_cell(struct cli_table *table, struct fl_span text);
void cli_table_cell_str(struct cli_table *table, const char *text);
void cli_table_cellf(struct cli_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends the whole table. 0, -ENOMEM, -EMSGSIZE; -EINVAL where a row is not full. */
int cli_table_print(const struct cli_table *table, struct fl_buf *out) FL_MUST_CHECK;

#endif
