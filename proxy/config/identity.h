/* The proxy's own certificate: key made here, certificate by CreateCertificate (Istio's public call) with the token of
 * a file, renewed at half its life with jitter, kept in a memory volume so that a restart while the control plane is
 * away goes on with what is there.
 *
 * Lives on the main thread's loop. What it has is told by on_identity, at once at the start where the volume holds a
 * good one, and after each renewal; whoever gets it makes the secrets `default` and `ROOTCA` of it. An answer is
 * checked before it is used: the leaf is for our key, an X.509-SVID, the same identity as before, valid now, with a
 * chain to the roots that came with it; and those roots came over TLS that was verified by roots trusted before.
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

#define PROXY_IDENTITY_ADDRESSES      4
#define PROXY_IDENTITY_VALIDITY_S     86400
#define PROXY_IDENTITY_CALL_MS        10000 /* a call that takes longer has failed */
#define PROXY_IDENTITY_BACKOFF_MS     500   /* doubles, with jitter … */
#define PROXY_IDENTITY_BACKOFF_MAX_MS 60000 /* … up to this */
#define PROXY_IDENTITY_TOKEN_MAX      16384 /* bytes of the token's file */
#define PROXY_IDENTITY_ROOTS_MAX      65536 /* bytes of the roots' PEM */

struct proxy_identity_options {
    struct fl_loop *loop;
    struct fl_metrics *metrics;
    const char *const *addresses; /* "127.0.0.1:15012", "[::1]:15012": tried in turn; ends with NULL */
    const char *server_name;      /* the DNS name that its certificate must have */
    const char *root_file;        /* PEM: trusted for the first call; later with the roots that came (re-read anew) */
    const char *token_file;       /* read anew for each call: it is rotated */
    const char *volume;           /* a folder in memory, of this proxy alone; NULL: nothing is kept */
    uint32_t validity_s;          /* asked for; 0: PROXY_IDENTITY_VALIDITY_S */
    /* Our certificate, new or for the first time. Spans (PEM) live as long as the call. */
    void (*on_identity)(void *owner, struct fl_span key, struct fl_span chain, struct fl_span roots);
    void *owner;
};

/* Everything is copied. The first call goes out in the loop's next turn where the volume holds nothing that is good for
 * longer. 0, -EINVAL with the setting's name, -ENOMEM. Files that are missing are no error here: tried again. */
int proxy_identity_new(const struct proxy_identity_options *options, struct proxy_identity **ret_identity,
                       struct fl_err *err) FL_MUST_CHECK;
struct proxy_identity *proxy_identity_free(struct proxy_identity *identity);

struct fl_span proxy_identity_uri(const struct proxy_identity *identity); /* our SPIFFE ID; empty: none yet */
time_t proxy_identity_not_after(const struct proxy_identity *identity);   /* 0: none yet */
void proxy_identity_renew(struct proxy_identity *identity);               /* now, whatever its age is */

#endif
