/* Who calls: is it the API server? Two checks, each off unless it is asked for, of POST /inject alone.
 *
 *   certificate   the client's, of a root in `ca`, for TLS clients, with one of `names` as its common name, DNS or URI
 *                 name (common/http/server.h verifies it)
 *   token         a service account's JWT in Authorization: Bearer, as the API server may send it (KEP-6060): signed by
 *                 a key of the file `keys`, of `issuer`, for one of `audiences`, in its time, bound to a
 *                 MutatingWebhookConfiguration, and attested: kubernetes.io.attestations.admissionReviewAPIGroups is
 *                 ["*"], which no account gets but by the verb attest. Without the last, whoever makes pods could have
 * a token for any audience.
 *
 * Where both are asked for, both have to hold. The files are read again when they change; a bad one leaves the old.
 */
#ifndef WEBHOOK_CALLER_H
#define WEBHOOK_CALLER_H

#include "common/base/reread.h"
#include "common/http/server.h"
#include "common/jose/jwks.h"
#include "webhook/reason.h"

#include <time.h>

#define WEBHOOK_CALLER_NAMES_MAX 16 /* of names, and of audiences */
#define WEBHOOK_CALLER_CA_MAX    (256u << 10)
#define WEBHOOK_CALLER_SKEW_S    60 /* clocks differ */

enum webhook_token_mode {
    WEBHOOK_TOKEN_OFF,          /* none is looked at */
    WEBHOOK_TOKEN_WHEN_PRESENT, /* one that is there has to be good */
    WEBHOOK_TOKEN_REQUIRE
};

struct webhook_caller_list {
    size_t count;
    struct fl_span texts[WEBHOOK_CALLER_NAMES_MAX]; /* borrowed */
};

struct webhook_caller_options { /* everything borrowed */
    const char *ca;             /* NULL: no certificate is asked for */
    struct webhook_caller_list names;
    enum webhook_token_mode token;
    const char *keys; /* a JSON Web Key Set */
    const char *issuer;
    struct webhook_caller_list audiences;
};

/* How a check ended: words of a metric. */
#define WEBHOOK_CALLERS(X)                                                                                             \
    X(GOOD, "good")                                                                                                    \
    X(MISSING, "missing")                                                                                              \
    X(MALFORMED, "malformed")                                                                                          \
    X(UNTRUSTED, "untrusted") /* certificate: root, time, purpose; token: key, signature */                            \
    X(EXPIRED, "expired")     /* token: or not valid yet */                                                            \
    X(NAME, "name")           /* certificate: none of the names; token: the issuer */                                  \
    X(AUDIENCE, "audience")                                                                                            \
    X(ATTESTATION, "attestation")

enum webhook_caller_result {
#define X(symbol, word) WEBHOOK_CALLER_##symbol,
    WEBHOOK_CALLERS(X)
#undef X
        WEBHOOK_CALLER_COUNT
};

enum webhook_caller_check { WEBHOOK_CHECK_CERTIFICATE, WEBHOOK_CHECK_TOKEN, WEBHOOK_CHECK_COUNT };

const char *webhook_caller_word(enum webhook_caller_result result);

struct webhook_caller {
    struct webhook_caller_options options;
    struct fl_reread ca_file, keys_file;
    struct fl_jwks *keys; /* NULL: no tokens are looked at */
};

/* Reads the files. 0, or negative with the reason. */
int webhook_caller_init(struct webhook_caller *caller, const struct webhook_caller_options *options,
                        struct fl_err *err) FL_MUST_CHECK;
void webhook_caller_done(struct webhook_caller *caller); /* zeroed is fine */
bool webhook_caller_is_asked(const struct webhook_caller *caller);

/* 1: a new version is in ca_file.text, or in force; 0: nothing new; negative with the reason. */
int webhook_caller_look_at_ca(struct webhook_caller *caller, bool force, struct fl_err *err) FL_MUST_CHECK;
int webhook_caller_look_at_keys(struct webhook_caller *caller, bool force, struct fl_err *err) FL_MUST_CHECK;

/* The checks. `header` is Authorization's value, empty where there is none. err says more where it is not GOOD. */
enum webhook_caller_result webhook_caller_certificate(const struct webhook_caller *caller,
                                                      const struct fl_http_peer *peer, struct fl_err *err);
enum webhook_caller_result webhook_caller_token(const struct webhook_caller *caller, struct fl_span header, time_t now,
                                                struct fl_err *err);

#endif
