/* The app's exposition on its way behind ours: only what keeps the whole page valid goes through. Pure, in pieces as
 * they come.
 *
 * A scraper refuses a page for one bad line. So every line is read: samples (name, labels, value, time), "# HELP" and
 * "# TYPE" with a type of the text format; other comments ("# EOF", "# UNIT") and empty lines go. Left out and counted:
 *   collisions  families that we have ourselves (the mesh's metrics cannot be forged by the app), and a second HELP or
 *               TYPE of a family
 *   malformed   anything that is no such line, a label twice, what is not UTF-8, a value that no float64 holds, a line
 *               beyond PROXY_EXPOSITION_LINE_MAX
 * What OpenMetrics has besides (exemplars, times in seconds) is cut off its lines. A last line without its end gets
 * one.
 */
#ifndef PROXY_ADMIN_EXPOSITION_H
#define PROXY_ADMIN_EXPOSITION_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/map.h"

#define PROXY_EXPOSITION_LINE_MAX     65536
#define PROXY_EXPOSITION_LABELS_MAX   128        /* of a sample */
#define PROXY_EXPOSITION_FAMILIES_MAX 20000      /* known at a time; beyond, HELP and TYPE are not looked for twice */
#define PROXY_EXPOSITION_NAMES_MAX    (2u << 20) /* bytes of their names */

struct proxy_exposition {
    bool openmetrics; /* the app says so: its times are not ours */
    struct fl_buf out;
    size_t collisions, malformed; /* lines */
    /* The module's. */
    struct fl_buf line; /* begun, its end has not come */
    bool too_long;      /* … and is dropped */
    struct fl_map families;
    struct fl_arena names;
};

/* `max`: bytes of the result. */
void proxy_exposition_init(struct proxy_exposition *exposition, size_t max);
void proxy_exposition_done(struct proxy_exposition *exposition);

/* The families of our own page, which the app may not have. 0 or -ENOMEM. */
int proxy_exposition_reserve(struct proxy_exposition *exposition, struct fl_span page) FL_MUST_CHECK;

/* The next piece; the end of it. 0, -ENOMEM, -EMSGSIZE. */
int proxy_exposition_feed(struct proxy_exposition *exposition, struct fl_span piece) FL_MUST_CHECK;
int proxy_exposition_end(struct proxy_exposition *exposition) FL_MUST_CHECK;

#endif
