#include "common/pki/csr.h"

#include "common/base/spiffeid.h"
#include "common/pki/openssl.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>

static void cleanup_request(X509_REQ **request)
{
    X509_REQ_free(*request);
}

static void cleanup_extensions(STACK_OF(X509_EXTENSION) * *extensions)
{
    sk_X509_EXTENSION_pop_free(*extensions, X509_EXTENSION_free);
}

static void cleanup_name(GENERAL_NAME **name)
{
    GENERAL_NAME_free(*name);
}

/* The URI as the only name; critical, because the subject is empty. */
static int add_uri(X509_REQ *request, struct fl_span uri)
{
    FL_CLEANUP(cleanup_extensions) STACK_OF(X509_EXTENSION) *extensions = NULL;
    FL_CLEANUP(cleanup_name) GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    int done = name != NULL && text != NULL && names != NULL && ASN1_STRING_set(text, uri.data, (int)uri.len) == 1;
    if (done) {
        GENERAL_NAME_set0_value(name, GEN_URI, fl_take(text));
        done = sk_GENERAL_NAME_push(names, name) > 0 &&
               X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT) == 1 &&
               X509_REQ_add_extensions(request, extensions) == 1;
    }
    sk_GENERAL_NAME_free(names); /* the list alone; its element is `name` */
    ASN1_IA5STRING_free(text);
    return done;
}

static bool set_key(X509_REQ *request, EVP_PKEY *key)
{
    unsigned char point[FL_OPENSSL_POINT_SIZE];
    return fl_openssl_point(key, point) ? fl_openssl_set_point(X509_REQ_get_X509_PUBKEY(request), point)
                                        : X509_REQ_set_pubkey(request, key) == 1;
}

int fl_csr_make(const struct fl_key *key, struct fl_span uri, struct fl_buf *out, struct fl_err *err)
{
    fl_openssl_init();
    int result = fl_spiffe_check(uri, NULL, err);
    if (result < 0)
        return result;
    FL_CLEANUP(cleanup_request) X509_REQ *request = X509_REQ_new();
    FL_CLEANUP(fl_openssl_cleanup_bio) BIO *bio = BIO_new(BIO_s_mem());
    EVP_PKEY *evp = fl_key_evp(key);
    if (request == NULL || bio == NULL || X509_REQ_set_version(request, X509_REQ_VERSION_1) != 1 ||
        !set_key(request, evp) || !add_uri(request, uri) || X509_REQ_sign(request, evp, fl_openssl_digest(evp)) <= 0 ||
        PEM_write_bio_X509_REQ(bio, request) != 1)
        return fl_openssl_err(err, -EIO, "cannot make a certificate request");
    char *text;
    long length = BIO_get_mem_data(bio, &text);
    result = fl_buf_append(out, fl_span_make(text, (size_t)length));
    return result < 0 ? fl_err_errno(err, result, "cannot make a certificate request") : 0;
}

static int read_request(BIO *bio, X509_REQ **ret_request, struct fl_err *err)
{
    FL_CLEANUP(cleanup_request) X509_REQ *request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
    if (request == NULL)
        return fl_openssl_err(err, -EINVAL, "certificate request");
    FL_CLEANUP(cleanup_request) X509_REQ *second = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
    ERR_clear_error();
    if (second != NULL)
        return fl_err_set(err, -EINVAL, "certificate request: two in one text");
    *ret_request = fl_take(request);
    return 0;
}

int fl_csr_parse(struct fl_span pem, struct fl_key **ret_public_key, struct fl_err *err)
{
    fl_openssl_init();
    if (pem.len > FL_CSR_PEM_MAX)
        return fl_err_set(err, -EINVAL, "certificate request: more than %d bytes", FL_CSR_PEM_MAX);
    FL_CLEANUP(fl_openssl_cleanup_bio) BIO *bio = fl_openssl_reader(pem, FL_CSR_PEM_MAX);
    if (bio == NULL)
        return fl_openssl_err(err, -ENOMEM, "certificate request");
    FL_CLEANUP(cleanup_request) X509_REQ *request = NULL;
    int result = read_request(bio, &request, err);
    if (result < 0)
        return result;
    EVP_PKEY *evp = X509_REQ_get0_pubkey(request);
    if (evp == NULL)
        return fl_openssl_err(err, -EINVAL, "certificate request: its public key cannot be read");
    result = fl_openssl_check_key(evp, err);
    if (result < 0) {
        fl_err_prefix(err, "certificate request");
        return result;
    }
    /* After the key's check, so that nobody makes us work on a key of absurd size. */
    if (X509_REQ_verify(request, evp) != 1)
        return fl_openssl_err(err, -EINVAL, "certificate request: its signature is wrong");
    EVP_PKEY_up_ref(evp);
    *ret_public_key = fl_key_wrap(evp);
    return 0;
}
