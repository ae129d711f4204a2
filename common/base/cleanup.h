/* Ownership, visible at the declaration.
 *
 * A local that owns is declared with FL_CLEANUP(function): the function gets the address of the variable when it goes
 * out of scope. fl_take() hands the value on and leaves NULL behind, so that the clean-up finds nothing to do.
 */
#ifndef FL_BASE_CLEANUP_H
#define FL_BASE_CLEANUP_H

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define FL_CLEANUP(function) __attribute__((cleanup(function)))
#define FL_MUST_CHECK        __attribute__((warn_unused_result))

/* Moves a pointer out of `variable`, which is NULL afterwards. */
#define fl_take(variable)                                                                                              \
    ({                                                                                                                 \
        __typeof__(variable) fl_taken_ = (variable);                                                                   \
        (variable) = NULL;                                                                                             \
        fl_taken_;                                                                                                     \
    })

/* Moves a file descriptor out of `variable`, which is -1 afterwards. */
#define fl_take_fd(variable)                                                                                           \
    ({                                                                                                                 \
        int fl_taken_ = (variable);                                                                                    \
        (variable) = -1;                                                                                               \
        fl_taken_;                                                                                                     \
    })

/* FL_CLEANUP(fl_cleanup_free) char *text = NULL; */
static inline void fl_cleanup_free(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}

/* FL_CLEANUP(fl_cleanup_close) int fd = -1; */
static inline void fl_cleanup_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define FL_COUNT(array)                        (sizeof(array) / sizeof((array)[0]))
#define FL_CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
