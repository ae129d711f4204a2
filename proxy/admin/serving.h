/* A small HTTP/1.1 server on the main thread's loop, for the admin, scrape and health ports: the codec of proxy/http,
 * one handler, bounded in every direction (the limits stand in admin.h). Answers are made at once, or later by who has
 * deferred them, and held in memory until they are taken. All ports together hold at most PROXY_SERVING_HELD_MAX bytes,
 * or one answer that is larger; beyond that they answer 503: clients that do not read cannot grow the process.
 */
#ifndef PROXY_ADMIN_SERVING_H
#define PROXY_ADMIN_SERVING_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/loop/loop.h"
#include "proxy/http/message.h"
#include "proxy/net/address.h"
#include "proxy/net/inherit.h"

#define PROXY_SERVING_HELD_MAX (8u << 20)

struct proxy_serving_wait;

struct proxy_answer {
    unsigned status;                 /* 200 */
    const char *content_type;        /* a literal; NULL: text/plain */
    const char *allow;               /* a literal for 405 */
    struct fl_buf body;              /* empty, with its maximum set; taken over */
    void (*after)(void *owner);      /* runs once the answer is with the kernel or was tried; may free the serving */
    struct proxy_serving_wait *wait; /* the answer comes later, by proxy_serving_answer: the rest is not looked at */
};

/* A connection that waits for a deferred answer; embedded in whoever makes it, zeroed but for on_gone. It ends by
 * proxy_serving_answer, by proxy_serving_abandon, or by on_gone: the client went away, was closed to make room for
 * others, or the serving is freed. After any of them the struct is free for another wait. How long it takes is the
 * owner's to bound. */
struct proxy_serving_wait {
    void (*on_gone)(struct proxy_serving_wait *wait);
    struct proxy_serving_connection *connection; /* the serving's */
};

/* A body to fill; `answer` becomes a 200. */
void proxy_answer_init(struct proxy_answer *answer);

/* On the loop, not from inside the handler. Takes what the answer holds; `after` and `wait` are not looked at. */
void proxy_serving_answer(struct proxy_serving_wait *wait, struct proxy_answer *answer);
/* Closes the connection; on_gone does not come. Nothing happens where `wait` does not wait. */
void proxy_serving_abandon(struct proxy_serving_wait *wait);

/* Fills the answer for a request without body, or defers it. Runs on the loop. The request holds during the call. */
typedef void (*proxy_serving_handler)(void *owner, const struct proxy_message *request, struct proxy_answer *answer);

struct proxy_serving;

struct proxy_serving_options {
    struct fl_loop *loop;
    struct proxy_address address; /* "::" takes IPv4 too, and is 0.0.0.0 where the netns has no IPv6 */
    proxy_serving_handler handle;
    void *owner;
    struct proxy_inherited *inherited; /* looked into first; NULL: none */
    size_t *held;                      /* bytes held by all ports; the owner's, zeroed */
};

/* -EADDRINUSE … with the address in err. */
int proxy_serving_new(const struct proxy_serving_options *options, struct proxy_serving **ret_serving,
                      struct fl_err *err) FL_MUST_CHECK;
struct proxy_serving *proxy_serving_free(struct proxy_serving *serving);
struct proxy_address proxy_serving_address(const struct proxy_serving *serving);

#endif
