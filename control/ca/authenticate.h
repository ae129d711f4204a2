/* Who asks: from a bearer token to an identity. One interface, two judges: a key of a folder that tokens are signed by
 * (control_tokens_new, below), and the API server (reviews.h). Used by CreateCertificate and by ADS.
 *
 * Asynchronous: the answer comes by on_done, perhaps before control_authenticate has returned. A token is never kept
 * past that, and never logged: what is told is the outcome's word and, where the token was ours, whose it is.
 */
#ifndef CONTROL_CA_AUTHENTICATE_H
#define CONTROL_CA_AUTHENTICATE_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/mesh/identity.h"

#include <time.h>

#define CONTROL_TOKEN_MAX 16384 /* bytes of a bearer token */

/* X(id, word). Every outcome but OK is a refusal; UNAVAILABLE and BUSY say nothing about the token: to be tried again.
 */
#define CONTROL_AUTH_OUTCOMES(X)                                                                                       \
    X(OK, "ok")                                                                                                        \
    X(MISSING, "token_missing")     /* none, or not "Bearer …" */                                                    \
    X(MALFORMED, "token_malformed") /* not a token of the kind, too long, an algorithm that is not ours */             \
    X(SIGNATURE, "token_signature") /* signed by somebody else, or changed */                                          \
    X(EXPIRED, "token_expired")                                                                                        \
    X(NOT_YET, "token_not_yet")                                                                                        \
    X(AUDIENCE, "token_audience") /* meant for another service */                                                      \
    X(SUBJECT, "token_subject")   /* of no service account */                                                          \
    X(REFUSED, "token_refused")   /* the API server says no, whatever the token says of itself */                      \
    X(UNAVAILABLE, "authenticator_unavailable")                                                                        \
    X(BUSY, "authenticator_busy") /* too many tokens at once, of all or of this peer */

enum control_auth_outcome {
#define X(id, word) CONTROL_AUTH_##id,
    CONTROL_AUTH_OUTCOMES(X)
#undef X
        CONTROL_AUTH_OUTCOME_COUNT
};

const char *control_auth_word(enum control_auth_outcome outcome);
bool control_auth_is_final(enum control_auth_outcome outcome); /* it is about the token, not about us */

/* Who it is. Also filled, as far as it is known, where a token of ours was refused as EXPIRED, NOT_YET or AUDIENCE: for
 * the log line. */
struct control_caller {
    char name_space[64];        /* empty: not known */
    char service_account[254];  /* a DNS-1123 subdomain */
    char pod[254], pod_uid[64]; /* that the token is bound to; empty: to none, or not known */
    time_t expires;             /* of the token */
};

struct control_authentication {
    struct fl_span peer; /* who pays for the look: an address, borrowed while it runs; empty: nobody */
    bool vouched;        /* the peer has also shown a certificate of ours: before others where many wait */
    /* The authentication is over; its memory is the owner's again. */
    void (*on_done)(struct control_authentication *authentication, enum control_auth_outcome outcome,
                    const struct control_caller *caller);
    /* For the implementation alone, while it runs: */
    struct control_authenticator *authenticator;
    void *state;
};

struct control_authenticator { /* embedded in what implements it */
    void (*begin)(struct control_authenticator *authenticator, struct control_authentication *authentication,
                  struct fl_span token);
    void (*cancel)(struct control_authenticator *authenticator, struct control_authentication *authentication);
    void (*free)(struct control_authenticator *authenticator);
};

/* `authorization` is the field's value, "Bearer <token>" (the scheme in any case; empty: no such field). */
void control_authenticate(struct control_authenticator *authenticator, struct control_authentication *authentication,
                          struct fl_span authorization);
/* on_done does not come any more. Idempotent; one that is over or never began is fine. */
void control_authentication_cancel(struct control_authentication *authentication);
struct control_authenticator *control_authenticator_free(struct control_authenticator *authenticator);

/* "spiffe://<trust domain>/ns/…/sa/…", appended. 0, -EINVAL, -EMSGSIZE, -ENOMEM. */
int control_caller_identity(const struct control_caller *caller, const char *trust_domain, struct fl_buf *out,
                            struct fl_err *err) FL_MUST_CHECK;

/* Tokens of a folder (token.h): `public_key_path` names the key that they must be signed by; it is read again when the
 * file changes. `audience` is copied. The file may be missing until later: UNAVAILABLE until then. 0 or -ENOMEM. */
int control_tokens_new(const char *public_key_path, const char *audience,
                       struct control_authenticator **ret_authenticator) FL_MUST_CHECK;

#endif
