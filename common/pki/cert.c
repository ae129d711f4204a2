#include "common/pki/cert.h"

#include "common/pki/openssl.h"
#include "common/pki/spiffe.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdio.h>

struct fl_cert {
    atomic_size_t references;
    size_t count;
    X509 *chain[FL_CERT_CHAIN_MAX]; /* counted; [0] is the leaf */
    time_t not_before, not_after;   /* of the leaf */
};

struct fl_cert *fl_cert_ref(struct fl_cert *cert)
{
    if (cert != NULL)
        atomic_fetch_add_explicit(&cert->references, 1, memory_order_relaxed);
    return cert;
}

struct fl_cert *fl_cert_unref(struct fl_cert *cert)
{
    if (cert != NULL && atomic_fetch_sub_explicit(&cert->references, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < cert->count; i++)
            X509_free(cert->chain[i]);
        free(cert);
    }
    return NULL;
}

void fl_cleanup_cert(struct fl_cert **cert)
{
    fl_cert_unref(*cert);
}

X509 *fl_cert_x509(const struct fl_cert *cert, size_t index)
{
    return index < cert->count ? cert->chain[index] : NULL;
}

static bool read_time(const ASN1_TIME *time, time_t *ret_time)
{
    struct tm parts;
    if (ASN1_TIME_to_tm(time, &parts) != 1)
        return false;
    *ret_time = timegm(&parts);
    return true;
}

struct fl_cert *fl_cert_wrap(X509 *const *certs, size_t count)
{
    struct fl_cert *cert = calloc(1, sizeof(*cert));
    if (cert == NULL)
        return NULL;
    atomic_init(&cert->references, 1);
    for (; cert->count < count; cert->count++) {
        cert->chain[cert->count] = certs[cert->count];
        X509_up_ref(certs[cert->count]);
    }
    read_time(X509_get0_notBefore(certs[0]), &cert->not_before);
    read_time(X509_get0_notAfter(certs[0]), &cert->not_after);
    return cert;
}

/* What the accessors rely on, so that they cannot fail later. */
static int check_leaf(X509 *leaf, struct fl_err *err)
{
    time_t ignored;
    if (X509_get0_pubkey(leaf) == NULL)
        return fl_openssl_err(err, -EINVAL, "certificate: its public key cannot be read");
    if (!read_time(X509_get0_notBefore(leaf), &ignored) || !read_time(X509_get0_notAfter(leaf), &ignored))
        return fl_openssl_err(err, -EINVAL, "certificate: its validity cannot be read");
    return 0;
}

struct chain {
    X509 *certs[FL_CERT_CHAIN_MAX];
    size_t count;
};

static void cleanup_chain(struct chain *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        X509_free(chain->certs[i]);
}

static int read_chain(BIO *bio, struct chain *chain, struct fl_err *err)
{
    for (;;) {
        X509 *next = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (next == NULL)
            break;
        if (chain->count == FL_CERT_CHAIN_MAX) {
            X509_free(next);
            return fl_err_set(err, -EINVAL, "certificate: more than %d in the chain", FL_CERT_CHAIN_MAX);
        }
        chain->certs[chain->count++] = next;
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return fl_openssl_err(err, -EINVAL, "certificate");
    ERR_clear_error();
    if (chain->count == 0)
        return fl_err_set(err, -EINVAL, "certificate: none in the text");
    return check_leaf(chain->certs[0], err);
}

int fl_cert_parse(struct fl_span pem, struct fl_cert **ret_cert, struct fl_err *err)
{
    fl_openssl_init();
    if (pem.len > FL_CERT_PEM_MAX)
        return fl_err_set(err, -EINVAL, "certificate: more than %d bytes", FL_CERT_PEM_MAX);
    FL_CLEANUP(fl_openssl_cleanup_bio) BIO *bio = fl_openssl_reader(pem, FL_CERT_PEM_MAX);
    if (bio == NULL)
        return fl_openssl_err(err, -ENOMEM, "certificate");
    FL_CLEANUP(cleanup_chain) struct chain chain = {.count = 0};
    int result = read_chain(bio, &chain, err);
    if (result < 0)
        return result;
    struct fl_cert *cert = fl_cert_wrap(chain.certs, chain.count);
    if (cert == NULL)
        return fl_err_set(err, -ENOMEM, "certificate: out of memory");
    *ret_cert = cert;
    return 0;
}

int fl_cert_print(const struct fl_cert *cert, struct fl_buf *out)
{
    FL_CLEANUP(fl_openssl_cleanup_bio) BIO *bio = BIO_new(BIO_s_mem());
    for (size_t i = 0; bio != NULL && i < cert->count; i++) {
        if (PEM_write_bio_X509(bio, cert->chain[i]) != 1)
            return fl_openssl_err(NULL, -EIO, "");
    }
    if (bio == NULL)
        return fl_openssl_err(NULL, -ENOMEM, "");
    char *text;
    long length = BIO_get_mem_data(bio, &text);
    return fl_buf_append(out, fl_span_make(text, (size_t)length));
}

void fl_cert_validity(const struct fl_cert *cert, time_t *ret_not_before, time_t *ret_not_after)
{
    *ret_not_before = cert->not_before;
    *ret_not_after = cert->not_after;
}

void fl_cert_serial(const struct fl_cert *cert, char ret_text[FL_CERT_SERIAL_MAX])
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert->chain[0]);
    const unsigned char *bytes = ASN1_STRING_get0_data(serial);
    size_t at = 0;
    for (int i = 0; i < ASN1_STRING_length(serial) && at + 3 < FL_CERT_SERIAL_MAX; i++, at += 2)
        snprintf(ret_text + at, FL_CERT_SERIAL_MAX - at, "%02x", bytes[i]);
    ret_text[at] = '\0';
}

bool fl_cert_matches(const struct fl_cert *cert, const struct fl_key *key)
{
    bool same = EVP_PKEY_eq(X509_get0_pubkey(cert->chain[0]), fl_key_evp(key)) == 1;
    ERR_clear_error();
    return same;
}

int fl_cert_spiffe(const struct fl_cert *cert, struct fl_span *ret_uri, struct fl_err *err)
{
    return fl_spiffe_of(cert->chain[0], ret_uri, err);
}
