#include "common/pki/bundle.h"
#include "common/pki/cert.h"
#include "common/pki/openssl.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>

static void cleanup_store(X509_STORE_CTX **store)
{
    X509_STORE_CTX_free(*store);
}

static void cleanup_stack(STACK_OF(X509) * *stack)
{
    sk_X509_free(*stack);
}

int fl_cert_verify(const struct fl_cert *cert, const struct fl_bundle *bundle, time_t now, struct fl_err *err)
{
    fl_openssl_init();
    FL_CLEANUP(cleanup_stack) STACK_OF(X509) *between = sk_X509_new_null();
    FL_CLEANUP(cleanup_store) X509_STORE_CTX *store = X509_STORE_CTX_new();
    if (between == NULL || store == NULL)
        return fl_openssl_err(err, -ENOMEM, "certificate chain");
    for (size_t i = 1; fl_cert_x509(cert, i) != NULL; i++) {
        if (sk_X509_push(between, fl_cert_x509(cert, i)) <= 0)
            return fl_openssl_err(err, -ENOMEM, "certificate chain");
    }
    if (X509_STORE_CTX_init(store, fl_bundle_store(bundle), fl_cert_x509(cert, 0), between) != 1)
        return fl_openssl_err(err, -ENOMEM, "certificate chain");
    /* As common/tls has it: what stands in the bundle ends a chain, a root or not. */
    X509_STORE_CTX_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    X509_STORE_CTX_set_time(store, 0, now);
    int good = X509_verify_cert(store);
    int error = X509_STORE_CTX_get_error(store);
    ERR_clear_error();
    if (good == 1)
        return 0;
    return fl_err_set(err, error == X509_V_ERR_OUT_OF_MEM ? -ENOMEM : -EACCES, "certificate chain: %s",
                      X509_verify_cert_error_string(error));
}
