/* Lingering closes: a connection that was answered while its client still sends. Closing the socket then would make the
 * kernel reset it, and the client might never read the answer. So the fd is kept: what comes is read and dropped until
 * the client closes, or time, bytes or places are used up.
 */
#ifndef FL_HTTP_LINGER_H
#define FL_HTTP_LINGER_H

#include "common/loop/loop.h"
#include "common/loop/timer.h"

#define FL_LINGER_MAX     16 /* at once; the next ones are closed at once */
#define FL_LINGER_SECONDS 3
#define FL_LINGER_BYTES   (64u << 20)

struct fl_linger_place {
    struct fl_source source; /* fd -1 while the place is free */
    uint64_t deadline_ms;
    size_t left;
};

struct fl_linger { /* embedded */
    struct fl_loop *loop;
    struct fl_timer timer;
    struct fl_linger_place places[FL_LINGER_MAX];
};

void fl_linger_init(struct fl_linger *linger, struct fl_loop *loop);
void fl_linger_done(struct fl_linger *linger); /* closes all */
/* Takes over `fd`. */
void fl_linger_add(struct fl_linger *linger, int fd);
bool fl_linger_idle(const struct fl_linger *linger);

#endif
