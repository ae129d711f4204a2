/* Where the values of a parsed text stand: filled by a reader that knows (yaml.c), asked through table.h. Here, so that
 * fl_table_read can name positions without linking libyaml. */
#ifndef FL_DOC_POSITIONS_H
#define FL_DOC_POSITIONS_H

#include "common/doc/table.h"

struct fl_position_entry {
    const struct fl_json *value; /* never followed: only its address counts */
    struct fl_position position;
};

struct fl_positions {
    char *file;                        /* owned */
    struct fl_position_entry *entries; /* owned; by address once sorted */
    size_t count, room;
};

/* 0 or -ENOMEM. Not to be found before fl_positions_sort. */
int fl_positions_add(struct fl_positions *positions, const struct fl_json *value,
                     struct fl_position position) FL_MUST_CHECK;
void fl_positions_sort(struct fl_positions *positions);
void fl_positions_done(struct fl_positions *positions);

#endif
