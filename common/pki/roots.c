#include "common/pki/roots.h"

#include "common/pki/openssl.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

static void drop_from(struct fl_roots *roots, size_t count)
{
    while (roots->count > count)
        fl_cert_unref(roots->items[--roots->count]);
}

void fl_roots_done(struct fl_roots *roots)
{
    drop_from(roots, 0);
}

static int place(struct fl_roots *roots, struct x509_st *certificate)
{
    for (size_t i = 0; i < roots->count; i++) {
        if (X509_cmp(fl_cert_x509(roots->items[i], 0), certificate) == 0)
            return (int)i;
    }
    if (roots->count == FL_ROOTS_MAX)
        return -ENOSPC;
    struct fl_cert *copy = fl_cert_wrap(&certificate, 1);
    if (copy == NULL)
        return -ENOMEM;
    roots->items[roots->count] = copy;
    return (int)roots->count++;
}

int fl_roots_add(struct fl_roots *roots, const struct fl_cert *cert)
{
    int result = place(roots, fl_cert_x509(cert, 0));
    ERR_clear_error();
    return result;
}

static int take(struct fl_roots *roots, X509 *certificate, uint32_t *mask, struct fl_err *err)
{
    if (X509_get0_pubkey(certificate) == NULL)
        return fl_openssl_err(err, -EINVAL, "roots: a public key cannot be read");
    int index = place(roots, certificate);
    if (index < 0)
        return fl_err_set(err, index, index == -ENOMEM ? "roots: out of memory" : "roots: more than %d", FL_ROOTS_MAX);
    *mask |= UINT32_C(1) << index;
    return 0;
}

static int read_all(struct fl_roots *roots, BIO *bio, uint32_t *mask, struct fl_err *err)
{
    X509 *certificate;
    while ((certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        int result = take(roots, certificate, mask, err);
        X509_free(certificate);
        if (result < 0)
            return result;
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return fl_openssl_err(err, -EINVAL, "roots");
    ERR_clear_error();
    return *mask != 0 ? 0 : fl_err_set(err, -EINVAL, "roots: no certificate in the text");
}

int fl_roots_parse(struct fl_roots *roots, struct fl_span pem, uint32_t *ret_mask, struct fl_err *err)
{
    fl_openssl_init();
    if (pem.len > FL_ROOTS_PEM_MAX)
        return fl_err_set(err, -EINVAL, "roots: more than %d bytes", FL_ROOTS_PEM_MAX);
    FL_CLEANUP(fl_openssl_cleanup_bio) BIO *bio = fl_openssl_reader(pem, FL_ROOTS_PEM_MAX);
    if (bio == NULL)
        return fl_openssl_err(err, -ENOMEM, "roots");
    size_t before = roots->count;
    uint32_t mask = 0;
    int result = read_all(roots, bio, &mask, err);
    if (result < 0)
        drop_from(roots, before);
    else
        *ret_mask = mask;
    return result;
}

int fl_roots_print(const struct fl_roots *roots, uint32_t mask, struct fl_buf *out)
{
    int result = 0;
    for (size_t i = 0; i < roots->count && result == 0; i++) {
        if ((mask >> i & 1) != 0)
            result = fl_cert_print(roots->items[i], out);
    }
    return result;
}
