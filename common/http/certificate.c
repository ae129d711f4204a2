#include "common/http/certificate.h"

#include <errno.h>
#include <gnutls/abstract.h>

#define CHAIN_MAX   10
#define PEM_MAX     262144
#define KEY_ID_SIZE 64

struct fl_http_certificate {
    size_t references; /* the server and its connections live in one thread */
    unsigned count;
    gnutls_pcert_st chain[CHAIN_MAX];
    gnutls_privkey_t key;
};

struct fl_http_certificate *fl_http_certificate_ref(struct fl_http_certificate *certificate)
{
    if (certificate != NULL)
        certificate->references++;
    return certificate;
}

struct fl_http_certificate *fl_http_certificate_unref(struct fl_http_certificate *certificate)
{
    if (certificate != NULL && --certificate->references == 0) {
        for (unsigned i = 0; i < certificate->count; i++)
            gnutls_pcert_deinit(&certificate->chain[i]);
        gnutls_privkey_deinit(certificate->key);
        free(certificate);
    }
    return NULL;
}

static void cleanup(struct fl_http_certificate **certificate)
{
    fl_http_certificate_unref(*certificate);
}

static int fail(struct fl_err *err, const char *what, int error)
{
    return fl_err_set(err, error == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL, "%s: %s", what, gnutls_strerror(error));
}

/* GnuTLS reads from an unsigned pointer that it does not write to. */
static gnutls_datum_t datum_of(struct fl_span span)
{
    union {
        const char *from;
        unsigned char *to;
    } data = {.from = span.data};
    return (gnutls_datum_t){.data = data.to, .size = (unsigned)span.len};
}

static int import_chain(struct fl_http_certificate *certificate, struct fl_span pem, struct fl_err *err)
{
    gnutls_datum_t datum = datum_of(pem);
    unsigned count = CHAIN_MAX;
    int result = gnutls_pcert_list_import_x509_raw(certificate->chain, &count, &datum, GNUTLS_X509_FMT_PEM,
                                                   GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
    if (result < 0)
        return fail(err, "certificate", result);
    certificate->count = count;
    return count > 0 ? 0 : fl_err_set(err, -EINVAL, "certificate: none in the text");
}

static int import_key(struct fl_http_certificate *certificate, struct fl_span pem, struct fl_err *err)
{
    gnutls_datum_t datum = datum_of(pem);
    int result = gnutls_privkey_init(&certificate->key);
    if (result == 0)
        result = gnutls_privkey_import_x509_raw(certificate->key, &datum, GNUTLS_X509_FMT_PEM, NULL, 0);
    return result < 0 ? fail(err, "private key", result) : 0;
}

static bool key_id(gnutls_pubkey_t key, unsigned char *id, size_t *size)
{
    *size = KEY_ID_SIZE;
    return gnutls_pubkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, id, size) == 0;
}

static int check_pair(const struct fl_http_certificate *certificate, struct fl_err *err)
{
    unsigned char of_key[KEY_ID_SIZE], of_leaf[KEY_ID_SIZE];
    size_t key_size = 0, leaf_size = 0;
    gnutls_pubkey_t public_key;
    int result = gnutls_pubkey_init(&public_key);
    if (result < 0)
        return fail(err, "private key", result);
    result = gnutls_pubkey_import_privkey(public_key, certificate->key, 0, 0);
    bool same = result == 0 && key_id(public_key, of_key, &key_size) &&
                key_id(certificate->chain[0].pubkey, of_leaf, &leaf_size) && key_size == leaf_size &&
                memcmp(of_key, of_leaf, key_size) == 0;
    gnutls_pubkey_deinit(public_key);
    return same ? 0 : fl_err_set(err, -EINVAL, "private key: it is not the certificate's");
}

int fl_http_certificate_new(struct fl_span cert_pem, struct fl_span key_pem,
                            struct fl_http_certificate **ret_certificate, struct fl_err *err)
{
    if (cert_pem.len > PEM_MAX || key_pem.len > PEM_MAX)
        return fl_err_set(err, -EINVAL, "certificate or private key: more than %d bytes", PEM_MAX);
    FL_CLEANUP(cleanup) struct fl_http_certificate *certificate = calloc(1, sizeof(*certificate));
    if (certificate == NULL)
        return fl_err_set(err, -ENOMEM, "certificate: out of memory");
    certificate->references = 1;
    int result = import_chain(certificate, cert_pem, err);
    if (result == 0)
        result = import_key(certificate, key_pem, err);
    if (result == 0)
        result = check_pair(certificate, err);
    if (result == 0)
        *ret_certificate = fl_take(certificate);
    return result;
}

void fl_http_certificate_lend(struct fl_http_certificate *certificate, gnutls_pcert_st **ret_chain, unsigned *ret_count,
                              gnutls_privkey_t *ret_key)
{
    *ret_chain = certificate->chain;
    *ret_count = certificate->count;
    *ret_key = certificate->key;
}
