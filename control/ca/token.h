/* Tokens of directory mode: compact JWTs (RFC 7515, 7519) signed with ES256 by a key of the folder, with the claims of
 * a Kubernetes service account's projected token: iss "fairlead-control", sub
 * "system:serviceaccount:<namespace>:<service account>", aud (one text or a list), iat, nbf, exp. The program that
 * checks them holds the public key alone.
 *
 * Reading is strict: exactly three parts, base64url without padding, alg "ES256" alone, no "crit", exp and aud must be
 * there; names by DNS-1123. The signature is checked before a claim is read.
 */
#ifndef CONTROL_CA_TOKEN_H
#define CONTROL_CA_TOKEN_H

#include "common/base/buf.h"
#include "common/pki/key.h"
#include "control/ca/authenticate.h"

#define CONTROL_TOKEN_AUDIENCE_MAX 256             /* bytes */
#define CONTROL_TOKEN_AUDIENCES    16              /* in a token */
#define CONTROL_TOKEN_LEEWAY_S     30              /* clocks differ: added to exp, taken off nbf */
#define CONTROL_TOKEN_KEY          "token-key.pem" /* in the folder: 0600 */
#define CONTROL_TOKEN_PUBLIC_KEY   "token-pub.der" /* beside it: 0644, SubjectPublicKeyInfo */

/* Appends a token. 0; -EINVAL (a name that is none, an empty audience), -ENOMEM, -EMSGSIZE. */
int control_token_make(const struct fl_key *key, const struct control_caller *caller, const char *audience, time_t now,
                       struct fl_buf *out, struct fl_err *err) FL_MUST_CHECK;

/* Judges one. ret_caller as authenticate.h has it. UNAVAILABLE: memory is out. */
enum control_auth_outcome control_token_check(const struct fl_key *public_key, struct fl_span token,
                                              const char *audience, time_t now, struct control_caller *ret_caller);

/* What a token says of itself, nothing of it verified: MALFORMED, SUBJECT, EXPIRED, NOT_YET or AUDIENCE where by its
 * own claims nobody would take it, UNAVAILABLE, else OK. Of any issuer and algorithm. ret_caller as above. */
enum control_auth_outcome control_token_claims(struct fl_span token, const char *audience, time_t now,
                                               struct control_caller *ret_caller);
/* "system:serviceaccount:<namespace>:<name>" into the two: OK, SUBJECT, UNAVAILABLE (memory). */
enum control_auth_outcome control_token_subject(struct fl_span subject, struct control_caller *ret_caller);

/* The folder's key pair, made where there is none (linked into place: who is second reads the first one's).
 * ret_key: the private one. */
int control_token_key_open(const char *folder, struct fl_key **ret_key, struct fl_err *err) FL_MUST_CHECK;

#endif
