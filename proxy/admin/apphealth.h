/* grpc.health.v1.Health/Check, asked once over a connection of its own in plaintext, as the kubelet does. On the main
 * thread's loop; how long it may take is the owner's to bound: it frees the thing.
 */
#ifndef PROXY_ADMIN_APPHEALTH_H
#define PROXY_ADMIN_APPHEALTH_H

#include "common/base/err.h"
#include "common/loop/loop.h"
#include "proxy/net/address.h"

struct proxy_apphealth;

#define PROXY_APPHEALTH_MESSAGE_MAX 4096 /* bytes of an answer */

enum proxy_apphealth_result {
    PROXY_APPHEALTH_SERVING,
    PROXY_APPHEALTH_NOT_SERVING, /* it answered otherwise, or with an error */
    PROXY_APPHEALTH_CONNECT,     /* no HTTP/2 connection */
};

struct proxy_apphealth_options {
    struct fl_loop *loop;
    struct proxy_address to;
    struct fl_span service; /* copied */
    /* Once; `reason` for people, without the app's words. May free the thing. */
    void (*on_done)(void *owner, enum proxy_apphealth_result result, const char *reason);
    void *owner;
};

/* Callbacks come from the loop, never from inside this. 0 or -ENOMEM. */
int proxy_apphealth_new(const struct proxy_apphealth_options *options,
                        struct proxy_apphealth **ret_health) FL_MUST_CHECK;
struct proxy_apphealth *proxy_apphealth_free(struct proxy_apphealth *health);

/* Pure: the messages. `to` has room for service.len + 4 bytes; the length is returned (service ≤ 16383 bytes). The
 * status of a HealthCheckResponse (0 where the field is absent), or -1 where it is none. */
size_t proxy_apphealth_request(struct fl_span service, char *to);
int proxy_apphealth_status(struct fl_span message);

#endif
