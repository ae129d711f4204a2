/* The proxy's own certificate: key made here, certificate by CreateCertificate (Istio's public call) with the token of
 * a file, renewed at half its life with jitter, kept in a memory volume so that a restart while the control plane is
 * away goes on with what is there.
 *
 * Lives on the main thread's loop. What it has is told by on_identity, in the loop's first turn where the volume holds
 * a good one, and after each renewal; whoever gets it makes the secrets `default` and `ROOTCA` of it (secret.h). An
 * answer is checked before it is used: the leaf is for our key, an X.509-SVID of the expected name, valid now, with a
 * chain to the roots that came with it; and those roots came over TLS that was verified by roots trusted before: those
 * of the root file as it is then, and those that came with the certificate in use.
 *
 * What fails is told in one log line and tried again with back-off and jitter. The certificate in use stays in use.
 */
#ifndef PROXY_CONFIG_IDENTITY_H
#define PROXY_CONFIG_IDENTITY_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

#include <time.h>

struct fl_loop;
struct fl_metrics;
struct proxy_identity;

#define PROXY_IDENTITY_VALIDITY_S     86400
#define PROXY_IDENTITY_CALL_MS        10000 /* a call that takes longer has failed */
#define PROXY_IDENTITY_BACKOFF_MS     1000  /* doubles, with jitter … */
#define PROXY_IDENTITY_BACKOFF_MAX_MS 60000 /* … up to this */

/* Our certificate. Spans live as long as the call that gives them. */
struct proxy_identity_held {
    struct fl_span key, chain, roots; /* PEM; the chain begins with the leaf, and has no root */
    struct fl_span uri;               /* the SPIFFE ID */
    time_t not_before, not_after;
};

struct proxy_identity_options {
    struct fl_loop *loop;
    struct fl_metrics *metrics;
    struct fl_span places;   /* "127.0.0.1:15012, control.mesh.svc:15012" (whereabouts.h): tried in turn */
    const char *resolv_conf; /* NULL: /etc/resolv.conf */
    const char *server_name; /* the DNS name that its certificate must have */
    const char *root_file;   /* PEM; read anew for each call */
    const char *token_file;  /* read anew for each call: it is rotated */
    const char *volume;      /* a folder in memory, of this proxy alone; NULL: nothing is kept */
    const char *uri;         /* our SPIFFE ID: no other is accepted. NULL: what the first answer says */
    uint32_t validity_s;     /* asked for; 0: PROXY_IDENTITY_VALIDITY_S */
    uint32_t backoff_ms;     /* 0: PROXY_IDENTITY_BACKOFF_MS */
    void (*on_identity)(void *owner, const struct proxy_identity_held *held); /* may free the identity */
    void *owner;
};

/* Everything is copied. Calls go out from the loop's next turn on. 0, -EINVAL with the setting's name, -ENOMEM. Files
 * that are missing are no error here: tried again. */
int proxy_identity_new(const struct proxy_identity_options *options, struct proxy_identity **ret_identity,
                       struct fl_err *err) FL_MUST_CHECK;
struct proxy_identity *proxy_identity_free(struct proxy_identity *identity);

/* What is in use; false: none yet. The spans live until the next on_identity. */
bool proxy_identity_held(const struct proxy_identity *identity, struct proxy_identity_held *ret_held);
/* Why there is none, or no new one: what the last attempt failed by; NULL: it did not, or is not over yet. Borrowed
 * until the loop's next turn. */
const char *proxy_identity_trouble(const struct proxy_identity *identity);
void proxy_identity_renew(struct proxy_identity *identity); /* now, whatever its age is; what is under way goes on */

#endif
