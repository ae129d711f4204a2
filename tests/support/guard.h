/* Input that ends at a page which must not be touched: a parser that reads one byte too far dies. */
#ifndef TESTS_SUPPORT_GUARD_H
#define TESTS_SUPPORT_GUARD_H

#include "common/base/span.h"

struct guard {
    struct fl_span span; /* a copy of the input, its last byte before a PROT_NONE page */
    void *map;
    size_t map_size;
};

void guard_init(struct guard *guard, struct fl_span input); /* asserts that memory is there */
void guard_done(struct guard *guard);

#endif
