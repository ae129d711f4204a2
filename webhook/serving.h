/* The serving certificate: two files that change together, but not at once. A new pair is parsed and matched before it
 * is used; halves that do not match (a swap in progress) are looked at again until they do, and the old pair stays.
 */
#ifndef WEBHOOK_SERVING_H
#define WEBHOOK_SERVING_H

#include "common/base/reread.h"

#include <time.h>

struct webhook_serving {
    struct fl_reread cert, key;
    bool pending;                     /* the files hold something that was not taken over yet */
    time_t not_after, next_not_after; /* of the pair in use, and of the one that was looked at last */
};

/* The paths are borrowed. */
void webhook_serving_init(struct webhook_serving *serving, const char *cert_path, const char *key_path);
void webhook_serving_done(struct webhook_serving *serving);

/* 1: a new pair is in cert.text and key.text, checked (then call webhook_serving_taken once it is in use); 0: nothing
 * new; negative: what is there cannot be used, err says why; the next look tries it again. */
int webhook_serving_look(struct webhook_serving *serving, bool force, struct fl_err *err) FL_MUST_CHECK;
void webhook_serving_taken(struct webhook_serving *serving);

#endif
