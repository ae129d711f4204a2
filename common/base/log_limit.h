/* Lines that a stranger causes: some at once, then some a second; the rest is counted, and told with the next one. */
#ifndef FL_BASE_LOG_LIMIT_H
#define FL_BASE_LOG_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define FL_LOG_LIMIT_BURST      50
#define FL_LOG_LIMIT_PER_SECOND 10

struct fl_log_limit { /* zeroed: full */
    uint64_t second;  /* of the last line */
    unsigned used;
    uint64_t suppressed;
};

/* True: write it, with *ret_suppressed, the lines that were left out since the last one. */
bool fl_log_limit_take(struct fl_log_limit *limit, uint64_t now_ms, uint64_t *ret_suppressed);

#endif
