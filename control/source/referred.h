/* The Secrets that Gateways of ours refer to, fetched by name: in the Gateway's own namespace, or where a
 * ReferenceGrant permits it. Nothing is listed or watched, so the one right that it takes is `get`. Each is fetched
 * when the reference comes, and again a while after the last round; one that nobody refers to any more is told as gone
 * at once, as is one that the API server does not have. What cannot be fetched stays as it was, and is told.
 *
 * Bounded: CONTROL_REFERRED_OF_NAMESPACE of one namespace and CONTROL_REFERRED_MAX of all, first come first served, so
 * that one namespace does not take another's place; CONTROL_REFERRED_AT_ONCE requests under way.
 */
#ifndef CONTROL_SOURCE_REFERRED_H
#define CONTROL_SOURCE_REFERRED_H

#include "common/kube/client.h"
#include "control/model/model.h"

#define CONTROL_REFERRED_MAX          4096
#define CONTROL_REFERRED_OF_NAMESPACE 256
#define CONTROL_REFERRED_AT_ONCE      8
#define CONTROL_REFERRED_TIMEOUT_MS   5000

struct control_referred;

struct control_referred_options {
    uint32_t refetch_ms;
    /* As the API server has it; NULL: it does not, or nobody refers to it. Told again only where it changed. False:
     * memory was out, and it is fetched again. */
    bool (*on_object)(void *owner, const struct control_key *key, const struct fl_json *object) FL_MUST_CHECK;
    /* It cannot be fetched (err), or can again (NULL). False: memory was out. */
    bool (*on_trouble)(void *owner, const struct control_key *key, const struct fl_err *err) FL_MUST_CHECK;
    /* Everything that is referred to has been asked for since the last control_referred_update. From the loop. */
    void (*on_settled)(void *owner);
    void *owner;
};

/* 0, -ENOMEM. */
int control_referred_new(struct fl_loop *loop, struct fl_kube_client *client,
                         const struct control_referred_options *options,
                         struct control_referred **ret_referred) FL_MUST_CHECK;
struct control_referred *control_referred_free(struct control_referred *referred); /* NULL is fine; returns NULL */

/* Brings it to what the model's Gateways refer to; on_settled follows, also where nothing changed. 0; -ENOMEM: some are
 * left out until the next call. */
int control_referred_update(struct control_referred *referred, const struct control_model *model) FL_MUST_CHECK;

#endif
