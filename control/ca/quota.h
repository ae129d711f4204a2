/* How often each of many may ask: token buckets by key (an identity, an address), in a table of fixed size. Where it is
 * full, whoever has been quiet for longest makes room: a bucket that is full again by now is as good as none. Pure; one
 * thread's. */
#ifndef CONTROL_CA_QUOTA_H
#define CONTROL_CA_QUOTA_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

struct control_quota;

#define CONTROL_QUOTA_KEYS 4096

/* `burst` at once, then `rate` a second; a rate of 0: no bound. 0 or -ENOMEM. */
int control_quota_new(uint32_t rate, uint32_t burst, struct control_quota **ret_quota) FL_MUST_CHECK;
struct control_quota *control_quota_free(struct control_quota *quota);

/* Whether `key` may, once more, at `now_ms` (a clock that does not run back). Keys are told apart by a keyed hash of 64
 * bits. */
bool control_quota_take(struct control_quota *quota, struct fl_span key, uint64_t now_ms);

#endif
