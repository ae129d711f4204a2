#include "cli/table.h"

#include "common/base/utf8.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define CELL_MAX 1024

void cli_table_init(struct cli_table *table, const char *const *titles, size_t columns)
{
    assert(columns > 0 && columns <= CLI_TABLE_COLUMNS);
    *table = (struct cli_table){.columns = columns};
    fl_buf_init(&table->text, CLI_TABLE_BYTES);
    for (size_t i = 0; i < columns; i++)
        cli_table_cell_str(table, titles[i]);
}

void cli_table_done(struct cli_table *table)
{
    fl_buf_done(&table->text);
}

static void put(struct cli_table *table, struct fl_span bytes)
{
    if (table->result == 0)
        table->result = fl_buf_append(&table->text, bytes);
}

/* What a terminal may be shown: whole characters, no control characters. */
static void put_clean(struct cli_table *table, struct fl_span text)
{
    while (text.len > 0) {
        size_t size = fl_utf8_length(text);
        bool control = (unsigned char)text.data[0] < 0x20 || text.data[0] == 0x7f ||
                       (size == 2 && (unsigned char)text.data[0] == 0xc2 && (unsigned char)text.data[1] < 0xa0);
        put(table, size == 0 || control ? FL_SPAN("?") : fl_span_make(text.data, size));
        text = fl_span_from(text, size == 0 ? 1 : size);
    }
}

void cli_table_cell(struct cli_table *table, struct fl_span text)
{
    put_clean(table, text.len > 0 ? text : FL_SPAN("-"));
    put(table, fl_span_make("", 1));
    table->cells++;
}

void cli_table_cell_str(struct cli_table *table, const char *text)
{
    cli_table_cell(table, fl_span_str(text));
}

void cli_table_cellf(struct cli_table *table, const char *format, ...)
{
    char text[CELL_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    cli_table_cell_str(table, text);
}

/* Characters, not bytes. */
static size_t width_of(const char *cell)
{
    size_t width = 0;
    for (; *cell != '\0'; cell++)
        width += ((unsigned char)*cell & 0xc0) != 0x80;
    return width;
}

static void measure(const struct cli_table *table, size_t widths[CLI_TABLE_COLUMNS])
{
    const char *cell = table->text.data;
    for (size_t i = 0; i < table->cells; i++, cell += strlen(cell) + 1) {
        size_t width = width_of(cell);
        if (width > widths[i % table->columns])
            widths[i % table->columns] = width;
    }
}

int cli_table_print(const struct cli_table *table, struct fl_buf *out)
{
    size_t widths[CLI_TABLE_COLUMNS] = {0};
    if (table->result != 0)
        return table->result;
    if (table->cells % table->columns != 0)
        return -EINVAL;
    measure(table, widths);
    const char *cell = table->text.data;
    int result = 0;
    for (size_t i = 0; i < table->cells && result == 0; i++, cell += strlen(cell) + 1) {
        size_t column = i % table->columns;
        bool last = column + 1 == table->columns;
        int padding = last ? 0 : (int)(widths[column] - width_of(cell) + 2);
        result = fl_buf_printf(out, "%s%*s%s", cell, padding, "", last ? "\n" : "");
    }
    return result;
}
