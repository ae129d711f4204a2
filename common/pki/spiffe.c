#include "common/pki/spiffe.h"

#include "common/base/spiffeid.h"
#include "common/pki/altname.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

static int check_leaf(X509 *certificate, struct fl_err *err)
{
    uint32_t flags = X509_get_extension_flags(certificate);
    ERR_clear_error();
    if ((flags & EXFLAG_INVALID) != 0)
        return fl_err_set(err, -EINVAL, "malformed extensions");
    if ((flags & EXFLAG_CA) != 0)
        return fl_err_set(err, -EINVAL, "a CA certificate");
    if ((flags & EXFLAG_KUSAGE) != 0 && (X509_get_key_usage(certificate) & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)) != 0)
        return fl_err_set(err, -EINVAL, "its key may sign certificates or CRLs");
    return 0;
}

/* Exactly one URI name. */
static int only_uri(const X509 *certificate, struct fl_span *ret_uri, struct fl_err *err)
{
    struct fl_altnames names;
    int result = fl_altnames_open(certificate, &names, err);
    if (result < 0)
        return result;
    enum fl_altname_kind kind;
    struct fl_span value;
    size_t count = 0;
    while (fl_altnames_next(&names, &kind, &value)) {
        if (kind == FL_ALTNAME_URI && count++ == 0)
            *ret_uri = value;
    }
    if (count != 1)
        return fl_err_set(err, -EINVAL, count == 0 ? "no URI name" : "more than one URI name");
    return 0;
}

int fl_spiffe_of(X509 *certificate, struct fl_span *ret_uri, struct fl_err *err)
{
    struct fl_span uri;
    struct fl_span domain;
    int result = check_leaf(certificate, err);
    if (result == 0)
        result = only_uri(certificate, &uri, err);
    if (result == 0)
        result = fl_spiffe_check(uri, &domain, err);
    if (result == 0 && domain.data + domain.len == uri.data + uri.len)
        result = fl_err_set(err, -EINVAL, "a SPIFFE ID without a path is no workload's");
    if (result == 0)
        *ret_uri = uri;
    return result;
}
