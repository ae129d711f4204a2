#include "common/pki/bundle.h"

#include "common/pki/cert.h"
#include "common/pki/openssl.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>

struct fl_bundle {
    atomic_size_t references;
    X509_STORE *store;
    size_t count;
};

struct fl_bundle *fl_bundle_ref(struct fl_bundle *bundle)
{
    if (bundle != NULL)
        atomic_fetch_add_explicit(&bundle->references, 1, memory_order_relaxed);
    return bundle;
}

struct fl_bundle *fl_bundle_unref(struct fl_bundle *bundle)
{
    if (bundle != NULL && atomic_fetch_sub_explicit(&bundle->references, 1, memory_order_acq_rel) == 1) {
        X509_STORE_free(bundle->store);
        free(bundle);
    }
    return NULL;
}

void fl_cleanup_bundle(struct fl_bundle **bundle)
{
    fl_bundle_unref(*bundle);
}

size_t fl_bundle_count(const struct fl_bundle *bundle)
{
    return bundle->count;
}

X509_STORE *fl_bundle_store(const struct fl_bundle *bundle)
{
    return bundle->store;
}

static int add_root(struct fl_bundle *bundle, X509 *root, struct fl_err *err)
{
    if (bundle->count == FL_BUNDLE_ROOTS_MAX)
        return fl_err_set(err, -EINVAL, "trust bundle: more than %d certificates", FL_BUNDLE_ROOTS_MAX);
    int authority = X509_check_ca(root);
    ERR_clear_error();
    if (authority != 1) /* 1: by basicConstraints; the others are guesses for certificates of the nineties */
        return fl_err_set(err, -EINVAL, "trust bundle: certificate %zu is not a CA's", bundle->count + 1);
    if (X509_STORE_add_cert(bundle->store, root) != 1)
        return fl_openssl_err(err, -EINVAL, "trust bundle");
    bundle->count++;
    return 0;
}

static int read_roots(struct fl_bundle *bundle, BIO *bio, struct fl_err *err)
{
    for (;;) {
        X509 *root = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (root == NULL)
            break;
        int result = add_root(bundle, root, err);
        X509_free(root);
        if (result < 0)
            return result;
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return fl_openssl_err(err, -EINVAL, "trust bundle");
    ERR_clear_error();
    return bundle->count > 0 ? 0 : fl_err_set(err, -EINVAL, "trust bundle: no certificate in it");
}

int fl_bundle_parse(struct fl_span pem, struct fl_bundle **ret_bundle, struct fl_err *err)
{
    fl_openssl_init();
    if (pem.len > FL_BUNDLE_PEM_MAX)
        return fl_err_set(err, -EINVAL, "trust bundle: more than %d bytes", FL_BUNDLE_PEM_MAX);
    FL_CLEANUP(fl_openssl_cleanup_bio) BIO *bio = fl_openssl_reader(pem, FL_BUNDLE_PEM_MAX);
    FL_CLEANUP(fl_cleanup_bundle) struct fl_bundle *bundle = calloc(1, sizeof(*bundle));
    if (bio == NULL || bundle == NULL)
        return fl_err_set(err, -ENOMEM, "trust bundle: out of memory");
    atomic_init(&bundle->references, 1);
    bundle->store = X509_STORE_new();
    if (bundle->store == NULL)
        return fl_openssl_err(err, -ENOMEM, "trust bundle");
    int result = read_roots(bundle, bio, err);
    if (result == 0)
        *ret_bundle = fl_take(bundle);
    return result;
}
