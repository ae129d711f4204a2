/* Where pki and tls touch OpenSSL: the objects behind pki's types, its errors as fl_err. For those two folders alone.
 */
#ifndef FL_PKI_OPENSSL_H
#define FL_PKI_OPENSSL_H

#include "common/base/err.h"
#include "common/base/span.h"

struct bio_st;
struct evp_md_st;
struct evp_pkey_st;
struct x509_st;
struct X509_pubkey_st;
struct x509_store_st;
struct fl_bundle;
struct fl_cert;
struct fl_key;

/* Before the first call of OpenSSL in each entry point that makes an object: OpenSSL starts without reading openssl.cnf
 * (a file of the machine decides nothing here, and reading it costs a millisecond). Cheap when done already. */
void fl_openssl_init(void);

/* Takes the oldest error off OpenSSL's queue and empties it: "<what>: <reason>". Returns `code`, or -ENOMEM where
 * memory ran out. */
int fl_openssl_err(struct fl_err *err, int code, const char *what);

/* A read-only BIO over `bytes`; NULL: no memory, or more than `max` bytes. */
struct bio_st *fl_openssl_reader(struct fl_span bytes, size_t max);
void fl_openssl_cleanup_bio(struct bio_st **bio);

/* Keys of the house: RSA of 2048 to 8192 bits, EC on the named curves P-256, P-384, P-521. 0 or -EINVAL. */
int fl_openssl_check_key(struct evp_pkey_st *key, struct fl_err *err);
/* The point of a key on P-256, 65 bytes; false for every other key. */
#define FL_OPENSSL_POINT_SIZE 65
bool fl_openssl_point(struct evp_pkey_st *key, unsigned char ret_point[FL_OPENSSL_POINT_SIZE]);
/* Puts such a point into a certificate or a request, as its bytes alone: OpenSSL's own way makes its encoders, a
 * hundred of them and 80 KiB that stay, and takes a hundred times as long. */
bool fl_openssl_set_point(struct X509_pubkey_st *place, const unsigned char point[FL_OPENSSL_POINT_SIZE]);
/* The digest to sign with under such a key. */
const struct evp_md_st *fl_openssl_digest(const struct evp_pkey_st *key);

/* Borrowed: they live as long as what they are taken from. */
struct evp_pkey_st *fl_key_evp(const struct fl_key *key);
struct x509_st *fl_cert_x509(const struct fl_cert *cert, size_t index); /* 0: the leaf; NULL behind the last */
struct x509_store_st *fl_bundle_store(const struct fl_bundle *bundle);

/* Takes over one reference of `evp`; NULL (and the reference dropped) when memory is out. */
struct fl_key *fl_key_wrap(struct evp_pkey_st *evp);
/* Counts each of `certs` (1 to FL_CERT_CHAIN_MAX of them); NULL when memory is out. */
struct fl_cert *fl_cert_wrap(struct x509_st *const *certs, size_t count);

#endif
