/* One connection to an app of this pod, for a probe or a scrape: dial, TLS where it is asked for (with whoever
 * answers), one request, one response. On the main thread's loop, never waiting for anything.
 *
 * The dial leaves from 127.0.0.6 or ::6, which the capture rules let pass to the app's own socket: from any other
 * address the rules would bring it to our own inbound listener, where STRICT refuses what is not mTLS. How long it may
 * take is the owner's to bound: it frees the thing.
 *
 *     CONNECT ─► HANDSHAKE (TLS) ─► HEAD ─► BODY ─► over (on_done, once)
 */
#ifndef PROXY_ADMIN_APPGET_H
#define PROXY_ADMIN_APPGET_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/loop/loop.h"
#include "proxy/net/address.h"

struct fl_tls_context;
struct proxy_appget;

#define PROXY_APPGET_LOCATION_MAX 8192 /* bytes of Location; a longer one counts as none */

enum proxy_appget_result {
    PROXY_APPGET_ANSWERED,  /* a whole response, or as much of it as was asked for */
    PROXY_APPGET_CONNECT,   /* no connection */
    PROXY_APPGET_TLS,       /* the handshake failed */
    PROXY_APPGET_PLAINTEXT, /* … because the app does not speak TLS there */
    PROXY_APPGET_CLOSED,    /* before the response was whole */
    PROXY_APPGET_PROTOCOL,  /* no HTTP/1.x */
    PROXY_APPGET_TOO_LARGE, /* body_max, where it had to be whole */
    PROXY_APPGET_MEMORY
};

struct proxy_appget_outcome {
    enum proxy_appget_result result;
    const char *reason;      /* for people, one line without the app's words; "" where it answered */
    unsigned status;         /* where it answered; 0: nothing was asked (a connection alone) */
    struct fl_span location; /* empty where there is none; holds during the call */
    bool encoded;            /* Content-Encoding that is not identity */
};

struct proxy_appget_options {
    struct fl_loop *loop;
    struct proxy_address to;
    struct fl_tls_context *tls; /* counted; NULL: plaintext */
    struct fl_span request;     /* copied; empty: the connection is all that is asked for */
    size_t body_max;
    bool whole; /* a longer body is TOO_LARGE; else the rest is not read */
    void (*on_head)(void *owner, struct fl_span content_type); /* may be NULL; before the body. Never frees the thing */
    /* May be NULL. The body in pieces; anything but 0 ends it as MEMORY. Never frees the thing. */
    int (*on_data)(void *owner, struct fl_span data);
    void (*on_done)(void *owner, const struct proxy_appget_outcome *outcome); /* may free it, and anything else */
    void *owner;
};

/* Callbacks come from the loop, never from inside this. 0, -ENOMEM, or -errno of the dial. */
int proxy_appget_new(const struct proxy_appget_options *options, struct proxy_appget **ret_get) FL_MUST_CHECK;
struct proxy_appget *proxy_appget_free(struct proxy_appget *get); /* no callback comes any more */

/* 127.0.0.6 or ::6, in the family of `to`, without a port. */
struct proxy_address proxy_appget_source(const struct proxy_address *to);

#endif
