/* A failing allocator for unit tests. The test programs are linked with --wrap for malloc, calloc, realloc, strdup and
 * strndup, so every allocation of our own code (not of libraries) passes here.
 *
 * The run in which the 1st, 2nd, 3rd … allocation fails:
 *
 *     FAIL_EACH_ALLOCATION {
 *         int result = fl_thing_new(&thing);
 *         fail_stop();
 *         if (fail_happened()) assert_int_equal(result, -ENOMEM); else assert_int_equal(result, 0);
 *         … clean up …
 *     }
 *
 * The loop ends after the first round in which no allocation failed. Where that is the very first round, nothing was
 * tested, and the program is aborted.
 */
#ifndef TESTS_SUPPORT_FAIL_H
#define TESTS_SUPPORT_FAIL_H

#include <stdbool.h>
#include <stddef.h>

void fail_at(size_t nth);   /* the nth allocation from now on fails (1: the next); once */
void fail_from(size_t nth); /* the nth from now on and all that follow fail */
void fail_stop(void);       /* none fails any more */
bool fail_happened(void);   /* whether one failed since fail_at */

/* For the macro: stops, and tells whether another round is to come after this one (1: the first). */
bool fail_again(size_t round);

#define FAIL_ROUNDS_MAX 100000
#define FAIL_EACH_ALLOCATION                                                                                           \
    for (size_t fail_round_ = 1, fail_more_ = 1;                                                                       \
         fail_more_ && fail_round_ < FAIL_ROUNDS_MAX && (fail_at(fail_round_), 1);                                     \
         fail_more_ = fail_again(fail_round_), fail_round_++)

#endif
