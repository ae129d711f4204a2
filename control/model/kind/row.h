/* The words in which the tables of the kinds are written. Private to the readers of kinds. */
#ifndef CONTROL_MODEL_KIND_ROW_H
#define CONTROL_MODEL_KIND_ROW_H

#include "control/model/kind/field.h"

#define OPT FL_ROW_NULL_OK
#define REQ FL_ROW_REQUIRED

/* A struct control_list for the members `items` and `count` of a type. */
#define LIST_OF(type, items, count, least, most, reader_function, start, table_or_null)                                \
    {                                                                                                                  \
        .size = sizeof(*((type *)NULL)->items), .count_delta = CONTROL_COUNT_DELTA(type, items, count),                \
        .min = (least), .max = (most), .initial = (start),                                                             \
        .item = {.read = (reader_function), .detail = (table_or_null)},                                                \
    }

#endif
