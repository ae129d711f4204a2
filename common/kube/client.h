/* A client of the Kubernetes API on our loop (libcurl's multi interface): requests that are answered by a callback,
 * bounded in number, bytes and time, and cancelled at will.
 *
 * HTTP/1.1 with keep-alive, TLS 1.2 and 1.3, no redirects, no proxies of the environment, nothing written to disk. A
 * proxy of the kubeconfig gets no credentials but those of its own URL; an https one is verified by the machine's
 * roots. CA, client certificate, key and token that come from files are looked at before each request and read again
 * when they have changed (a token rotates hourly); what cannot be read any more stays as it was. After a 401 they are
 * read anew in any case. Where they come from a plugin (kube/plugin.h) it is started in fl_kube_client_new, again
 * before a request where its answer has expired, and once after a 401 (fl_kube_call then asks again by itself): these
 * block meanwhile, so a plugin is for a person's tools. A connection is used for FL_KUBE_CONNECTION_SECONDS at most, so
 * that load spreads over API servers.
 *
 * Callbacks come from the loop, never from within these functions, and may start and cancel requests and free the
 * client.
 */
#ifndef FL_KUBE_CLIENT_H
#define FL_KUBE_CLIENT_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/kube/access.h"
#include "common/loop/loop.h"

#define FL_KUBE_BODY_MAX           (8u << 20) /* bytes of an answer, unless the request says otherwise */
#define FL_KUBE_TIMEOUT_MS         10000u     /* of an exchange, unless the request says otherwise */
#define FL_KUBE_CONNECT_MS         5000u      /* to connect and shake hands, of that time */
#define FL_KUBE_REQUESTS_MAX       128        /* under way at once, streams included */
#define FL_KUBE_CONNECTIONS_MAX    64         /* a watch has one for itself; the rest waits, within its time */
#define FL_KUBE_CONNECTION_SECONDS 300
#define FL_KUBE_PATH_MAX           8192

struct fl_kube_client;
struct fl_kube_exchange; /* a request that is under way */

struct fl_kube_answer {
    int result;               /* 0: the server answered, whatever the status; -ETIMEDOUT, -ECONNREFUSED (no connection),
                                 -EMSGSIZE (past body_max), -EACCES (its certificate is not good, or ours is refused),
                                 -ENOMEM, -EIO */
    unsigned status;          /* 0 where result is negative */
    unsigned retry_after;     /* seconds, of the header; 0: it was not there */
    struct fl_span body;      /* borrowed for the call */
    const struct fl_err *err; /* where result is negative: what went wrong */
};

struct fl_kube_request {
    const char *method;       /* "GET", "POST", "PUT", "PATCH", "DELETE" */
    const char *path;         /* with the query; begins with '/'. What varies is escaped (fl_kube_escape). */
    const char *accept;       /* NULL: application/json */
    const char *content_type; /* of the body; NULL: application/json. Server-side apply:
                                 "application/apply-patch+yaml" */
    struct fl_span body;      /* copied; empty: none */
    size_t body_max;          /* 0: FL_KUBE_BODY_MAX */
    unsigned timeout_ms;      /* of the whole exchange; 0: FL_KUBE_TIMEOUT_MS, for a stream none */
    unsigned silence_ms;      /* a stream ends by -ETIMEDOUT when nothing came for so long; 0: never */
    /* Set: the body of a 200 is handed over as it comes, in pieces of any size, and none of it is kept. */
    void (*on_data)(void *owner, struct fl_span bytes);
    /* Called once, at the end, unless it was cancelled; the exchange is gone then. */
    void (*on_done)(void *owner, const struct fl_kube_answer *answer);
    void *owner;
};

/* Takes *access over, also on failure (it is zeroed). `agent`: User-Agent, copied; NULL: "fairlead/<version>". What
 * stands in files is read for the first time here: 0, or a negative errno with the reason. */
int fl_kube_client_new(struct fl_loop *loop, struct fl_kube_access *access, const char *agent,
                       struct fl_kube_client **ret_client, struct fl_err *err) FL_MUST_CHECK;
/* Cancels everything. Returns NULL. */
struct fl_kube_client *fl_kube_client_free(struct fl_kube_client *client);

/* 0 and an exchange that on_done will end (ret_exchange may be NULL: it cannot be cancelled then); -EBUSY past
 * FL_KUBE_REQUESTS_MAX, -EINVAL, -ENOMEM, and on_done is not called. */
int fl_kube_send(struct fl_kube_client *client, const struct fl_kube_request *request,
                 struct fl_kube_exchange **ret_exchange, struct fl_err *err) FL_MUST_CHECK;
/* No callback comes after it. NULL is allowed. Returns NULL. */
struct fl_kube_exchange *fl_kube_cancel(struct fl_kube_exchange *exchange);

/* Blocking, for a person's tools: turns the client's loop until the answer is here (so never from a callback). Appends
 * the body of whatever status to `body`. 0 with *ret_status, or as fl_kube_answer.result. request's callbacks and owner
 * are not looked at. */
int fl_kube_call(struct fl_kube_client *client, const struct fl_kube_request *request, struct fl_buf *body,
                 unsigned *ret_status, struct fl_err *err) FL_MUST_CHECK;

/* What a status means, with the message of the Status object that came as body: 0 for 2xx; -EACCES (401, 403), -ENOENT
 * (404), -EEXIST (409: conflict, or there already), -ESTALE (410), -EINVAL (400, 422 and the like), -EAGAIN (429, 503,
 * 504), -EIO (other 5xx and the rest). */
int fl_kube_status_check(unsigned status, struct fl_span body, struct fl_err *err) FL_MUST_CHECK;
/* Both: the exchange's failure, or the status'. */
int fl_kube_answer_check(const struct fl_kube_answer *answer, struct fl_err *err) FL_MUST_CHECK;

/* Appends `text` as a part of a path or a query's value: all but letters, digits and -._~ as %XX. 0, -ENOMEM,
 * -EMSGSIZE. */
int fl_kube_escape(struct fl_buf *out, struct fl_span text) FL_MUST_CHECK;

/* The Date header of the last answer, seconds since 1970; 0: none has come. It is as exact as a second and the time
 * that the answer took. */
int64_t fl_kube_client_date(const struct fl_kube_client *client);

/* The server's URL, for logs. */
const char *fl_kube_client_server(const struct fl_kube_client *client);
/* The server's certificate is not verified, as a kubeconfig says. */
bool fl_kube_client_insecure(const struct fl_kube_client *client);
/* "namespace" of the context or service account; NULL: none. */
const char *fl_kube_client_namespace(const struct fl_kube_client *client);

#endif
