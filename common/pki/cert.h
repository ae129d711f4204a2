/* X.509 certificates: reading, asking, issuing. Immutable; the count is atomic, so that threads may share one. */
#ifndef FL_PKI_CERT_H
#define FL_PKI_CERT_H

#include "common/pki/key.h"

#include <time.h>

#define FL_CERT_CHAIN_MAX 10     /* certificates in a chain */
#define FL_CERT_PEM_MAX   262144 /* bytes of a PEM text */

struct fl_bundle;
struct fl_cert; /* a leaf with the chain behind it; opaque, counted */

/* PEM: the leaf first, then its issuers; blocks of other kinds are skipped. -EINVAL: malformed, none in it, too many, a
 * leaf whose key or validity cannot be read; -ENOMEM. */
int fl_cert_parse(struct fl_span pem, struct fl_cert **ret_cert, struct fl_err *err) FL_MUST_CHECK;
struct fl_cert *fl_cert_ref(struct fl_cert *cert);
struct fl_cert *fl_cert_unref(struct fl_cert *cert); /* returns NULL */
void fl_cleanup_cert(struct fl_cert **cert);

int fl_cert_print(const struct fl_cert *cert, struct fl_buf *out) FL_MUST_CHECK; /* PEM, the whole chain */
/* Of the leaf, seconds since the epoch. */
void fl_cert_validity(const struct fl_cert *cert, time_t *ret_not_before, time_t *ret_not_after);
bool fl_cert_matches(const struct fl_cert *cert, const struct fl_key *key); /* the leaf's public key is this key's */
/* The leaf's SPIFFE ID by pki/spiffe.h; spans live as long as the certificate. -EINVAL with the reason. */
int fl_cert_spiffe(const struct fl_cert *cert, struct fl_span *ret_uri, struct fl_err *err) FL_MUST_CHECK;

#define FL_CERT_SERIAL_MAX 48 /* of its text and a NUL: RFC 5280 allows 20 bytes */
/* The leaf's serial number in lower-case hex; one that is longer is cut. */
void fl_cert_serial(const struct fl_cert *cert, char ret_text[FL_CERT_SERIAL_MAX]);
/* Whether the chain ends in a root of the bundle, every certificate of it being valid at `now`. 0, -EACCES with the
 * reason, -ENOMEM. Names and usages are the caller's to check. */
int fl_cert_verify(const struct fl_cert *cert, const struct fl_bundle *bundle, time_t now,
                   struct fl_err *err) FL_MUST_CHECK;

/* One certificate alone: SHA-256 of its DER, and whether two are the same to the last byte (their leaves). */
#define FL_CERT_FINGERPRINT_SIZE 32
int fl_cert_fingerprint(const struct fl_cert *cert, unsigned char ret_digest[FL_CERT_FINGERPRINT_SIZE]) FL_MUST_CHECK;
bool fl_cert_equal(const struct fl_cert *a, const struct fl_cert *b);
/* The leaf bears the signature of this issuer (its leaf), which is a CA by name, key usage and key identifier too.
 * Validity is not looked at. */
bool fl_cert_issued_by(const struct fl_cert *cert, const struct fl_cert *issuer);
/* A leaf for a TLS server (extended key usage) that has exactly these DNS names, in any order, and no other name of any
 * kind; `dns_names` ends with NULL. */
bool fl_cert_serves(const struct fl_cert *cert, const char *const *dns_names);

struct fl_cert_request {
    struct fl_span uri;              /* SPIFFE ID; empty: no URI name */
    struct fl_span common_name;      /* ≤ 64 bytes; empty: no subject (then the names are critical) */
    const char *const *dns_names;    /* ends with NULL; NULL: none */
    const char *const *ip_addresses; /* IPv4 or IPv6 as text; ends with NULL; NULL: none */
    time_t not_before, not_after;
    bool authority;   /* a CA: basicConstraints, keyCertSign; else a leaf for both TLS sides */
    bool leaves_only; /* authority: path length 0, also where it signs itself */
    bool server_only; /* not authority: for TLS servers alone */
};

/* Issues a certificate for the public key of `subject`. issuer NULL: self-signed with issuer_key == subject.
 * The chain of the issuer (without a self-signed root) follows the leaf. Serial: 128 random bits. A CA below another
 * gets path length 0: it issues leaves alone. -EINVAL: no name at all, a bad one, an issuer that is no CA or not this
 * key's, a validity that ends before it begins; -ENOMEM. Whether the issuer outlives it is not looked at. */
int fl_cert_issue(const struct fl_cert_request *request, const struct fl_key *subject, const struct fl_cert *issuer,
                  const struct fl_key *issuer_key, struct fl_cert **ret_cert, struct fl_err *err) FL_MUST_CHECK;

/* The same as PEM alone, appended, with its serial number as fl_cert_serial gives it: several times quicker. */
int fl_cert_issue_pem(const struct fl_cert_request *request, const struct fl_key *subject, const struct fl_cert *issuer,
                      const struct fl_key *issuer_key, struct fl_buf *out, char ret_serial[FL_CERT_SERIAL_MAX],
                      struct fl_err *err) FL_MUST_CHECK;

#endif
