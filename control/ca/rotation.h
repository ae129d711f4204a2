/* When self-made roots come and go, by themselves. Pure.
 *
 *   a new one   when the newest has a fifth of its life left (at least twice overlap and validity, at most half)
 *   issues      once it is `overlap_s` old: everybody trusts it by then (root.h)
 *   an old one  goes when nothing that it has signed is valid any more: `overlap_s` and `validity_s` and an hour after
 *               the next one was made; or when it has expired
 *
 * Whoever writes names the version that was read, so of several programs that plan the same one does it, and the others
 * see that it is done.
 */
#ifndef CONTROL_CA_ROTATION_H
#define CONTROL_CA_ROTATION_H

#include "control/ca/root.h"

#include <stdbool.h>
#include <stdint.h>

struct control_rotation_root {
    bool there;
    time_t from, to;
};

struct control_rotation {
    unsigned make; /* the number of a new root; 0: none */
    unsigned drop; /* a bit for each number */
};

/* `roots` by number, 1 to CONTROL_ROOTS_MAX. `asked`: a new one in any case. No root at all: number 1 is made. Where
 * all numbers are taken none is made. */
struct control_rotation control_rotation_plan(const struct control_rotation_root roots[CONTROL_ROOTS_MAX + 1],
                                              uint32_t overlap_s, uint32_t validity_s, bool asked, time_t now);

#endif
