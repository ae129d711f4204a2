/* A small HTTP/1.1 server on the main thread's loop, for the admin, scrape and health ports: the codec of proxy/http,
 * one handler, bounded in every direction (the limits stand in admin.h). Answers are made at once and held in memory
 * until they are taken. All ports together hold at most PROXY_SERVING_HELD_MAX bytes, or one answer that is larger;
 * beyond that they answer 503: clients that do not read cannot grow the process.
 */
#ifndef PROXY_ADMIN_SERVING_H
#define PROXY_ADMIN_SERVING_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/loop/loop.h"
#include "proxy/http/message.h"
#include "proxy/net/address.h"

#define PROXY_SERVING_HELD_MAX (8u << 20)

struct proxy_answer {
    unsigned status;            /* 200 */
    const char *content_type;   /* a literal; NULL: text/plain */
    const char *allow;          /* a literal for 405 */
    struct fl_buf body;         /* empty, with its maximum set; taken over */
    void (*after)(void *owner); /* runs once the answer is with the kernel or was tried; may free the serving */
};

/* Fills the answer for a request without body. Runs on the loop. */
typedef void (*proxy_serving_handler)(void *owner, const struct proxy_message *request, struct proxy_answer *answer);

struct proxy_serving;

struct proxy_serving_options {
    struct fl_loop *loop;
    struct proxy_address address; /* "::" takes IPv4 too, and is 0.0.0.0 where the netns has no IPv6 */
    proxy_serving_handler handle;
    void *owner;
    size_t *held; /* bytes held by all ports; the owner's, zeroed */
};

/* -EADDRINUSE … with the address in err. */
int proxy_serving_new(const struct proxy_serving_options *options, struct proxy_serving **ret_serving,
                      struct fl_err *err) FL_MUST_CHECK;
struct proxy_serving *proxy_serving_free(struct proxy_serving *serving);
struct proxy_address proxy_serving_address(const struct proxy_serving *serving);
size_t proxy_serving_connections(const struct proxy_serving *serving);

#endif
