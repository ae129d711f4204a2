#include "common/pki/altname.h"
#include "common/pki/cert.h"
#include "common/pki/openssl.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* Questions about one certificate (cert.h). What cannot be answered for want of memory counts as "no". */

int fl_cert_fingerprint(const struct fl_cert *cert, unsigned char ret_digest[FL_CERT_FINGERPRINT_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len;
    if (X509_digest(fl_cert_x509(cert, 0), EVP_sha256(), digest, &len) != 1)
        return fl_openssl_err(NULL, -ENOMEM, "");
    memcpy(ret_digest, digest, FL_CERT_FINGERPRINT_SIZE);
    return 0;
}

bool fl_cert_equal(const struct fl_cert *a, const struct fl_cert *b)
{
    bool same = X509_cmp(fl_cert_x509(a, 0), fl_cert_x509(b, 0)) == 0;
    ERR_clear_error();
    return same;
}

bool fl_cert_issued_by(const struct fl_cert *cert, const struct fl_cert *issuer)
{
    X509 *leaf = fl_cert_x509(cert, 0), *root = fl_cert_x509(issuer, 0);
    EVP_PKEY *key = X509_get0_pubkey(root);
    bool good = key != NULL && X509_check_ca(root) == 1 && X509_check_issued(root, leaf) == X509_V_OK &&
                X509_verify(leaf, key) == 1;
    ERR_clear_error();
    return good;
}

static bool is_named(struct fl_span name, const char *const *dns_names)
{
    for (; *dns_names != NULL; dns_names++) {
        if (fl_span_eq_nocase(name, fl_span_str(*dns_names)))
            return true;
    }
    return false;
}

/* Each name of the certificate is one of these; *ret_count: how many it has. */
static bool has_no_other(X509 *leaf, const char *const *dns_names, size_t *ret_count)
{
    struct fl_altnames names;
    enum fl_altname_kind kind;
    struct fl_span name;
    if (fl_altnames_open(leaf, &names, NULL) < 0)
        return false;
    for (*ret_count = 0; fl_altnames_next(&names, &kind, &name); (*ret_count)++) {
        if (kind != FL_ALTNAME_DNS || !is_named(name, dns_names))
            return false;
    }
    return true;
}

static bool has(X509 *leaf, const char *dns_name)
{
    const char *const wanted[] = {dns_name, NULL};
    struct fl_altnames names;
    enum fl_altname_kind kind;
    struct fl_span name;
    if (fl_altnames_open(leaf, &names, NULL) < 0)
        return false;
    while (fl_altnames_next(&names, &kind, &name)) {
        if (kind == FL_ALTNAME_DNS && is_named(name, wanted))
            return true;
    }
    return false;
}

bool fl_cert_serves(const struct fl_cert *cert, const char *const *dns_names)
{
    X509 *leaf = fl_cert_x509(cert, 0);
    size_t count;
    bool good = (X509_get_extension_flags(leaf) & (EXFLAG_INVALID | EXFLAG_CA)) == 0 &&
                (X509_get_extension_flags(leaf) & EXFLAG_XKUSAGE) != 0 &&
                (X509_get_extended_key_usage(leaf) & XKU_SSL_SERVER) != 0 && has_no_other(leaf, dns_names, &count);
    for (; good && *dns_names != NULL; dns_names++)
        good = has(leaf, *dns_names);
    ERR_clear_error();
    return good;
}
