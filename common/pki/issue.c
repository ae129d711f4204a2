#include "common/base/spiffeid.h"
#include "common/pki/cert.h"
#include "common/pki/openssl.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* fl_cert_issue, extension by extension (RFC 5280 §4.1, §4.2; SPIFFE X509-SVID §4). Every step returns 0 or what
 * fl_openssl_err made of the failure. */

#define SERIAL_BYTES        16
#define COMMON_NAME_MAX     64 /* RFC 5280, ub-common-name */
#define DNS_NAME_MAX        253
#define TIME_MAX            INT64_C(253402300799) /* 9999-12-31T23:59:59Z, the last that X.509 can write */
#define FAILED(err, action) fl_openssl_err(err, -EIO, "cannot issue the certificate: " action)

static void cleanup_x509(X509 **certificate)
{
    X509_free(*certificate);
}

static void cleanup_names(GENERAL_NAMES **names)
{
    GENERAL_NAMES_free(*names);
}

static void cleanup_bn(BIGNUM **number)
{
    BN_free(*number);
}

static int set_serial(X509 *certificate, struct fl_err *err)
{
    unsigned char bytes[SERIAL_BYTES];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return FAILED(err, "no random bytes");
    FL_CLEANUP(cleanup_bn) BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    if (number == NULL || BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) == NULL)
        return FAILED(err, "serial");
    return 0;
}

static int set_validity(X509 *certificate, const struct fl_cert_request *request, struct fl_err *err)
{
    if (request->not_before < 0 || request->not_after <= request->not_before || request->not_after > TIME_MAX)
        return fl_err_set(err, -EINVAL, "cannot issue the certificate: its validity ends before it begins");
    if (ASN1_TIME_set(X509_getm_notBefore(certificate), request->not_before) == NULL ||
        ASN1_TIME_set(X509_getm_notAfter(certificate), request->not_after) == NULL)
        return FAILED(err, "validity");
    return 0;
}

static int set_subject(X509 *certificate, struct fl_span common_name, struct fl_err *err)
{
    if (common_name.len > COMMON_NAME_MAX)
        return fl_err_set(err, -EINVAL, "cannot issue the certificate: common name longer than %d bytes",
                          COMMON_NAME_MAX);
    if (common_name.len > 0 &&
        X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName, MBSTRING_UTF8,
                                   (const unsigned char *)common_name.data, (int)common_name.len, -1, 0) != 1)
        return fl_openssl_err(err, -EINVAL, "cannot issue the certificate: common name");
    return 0;
}

/* Takes over `value`. */
static int push_name(GENERAL_NAMES *names, int kind, ASN1_STRING *value, struct fl_err *err)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    if (name == NULL || value == NULL) {
        ASN1_STRING_free(value);
        GENERAL_NAME_free(name);
        return FAILED(err, "names");
    }
    GENERAL_NAME_set0_value(name, kind, value);
    if (sk_GENERAL_NAME_push(names, name) <= 0) {
        GENERAL_NAME_free(name);
        return FAILED(err, "names");
    }
    return 0;
}

static int push_text(GENERAL_NAMES *names, int kind, struct fl_span text, struct fl_err *err)
{
    ASN1_STRING *value = ASN1_IA5STRING_new();
    if (value != NULL && ASN1_STRING_set(value, text.data, (int)text.len) != 1) {
        ASN1_STRING_free(value);
        value = NULL;
    }
    return push_name(names, kind, value, err);
}

static bool is_dns_name(struct fl_span name)
{
    if (name.len == 0 || name.len > DNS_NAME_MAX)
        return false;
    if (fl_span_starts_with(name, FL_SPAN("*.")))
        name = fl_span_from(name, 2);
    struct fl_span label;
    while (fl_span_split(&name, '.', &label)) {
        if (label.len == 0 || label.len > 63 || label.data[0] == '-' || label.data[label.len - 1] == '-')
            return false;
        for (size_t i = 0; i < label.len; i++) {
            char byte = label.data[i];
            if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
                  byte == '-' || byte == '_'))
                return false;
        }
    }
    return true;
}

static int push_dns_names(GENERAL_NAMES *names, const char *const *texts, struct fl_err *err)
{
    int result = 0;
    for (; texts != NULL && *texts != NULL && result == 0; texts++) {
        struct fl_span text = fl_span_str(*texts);
        if (!is_dns_name(text))
            return fl_err_set(err, -EINVAL, "cannot issue the certificate: \"%s\" is not a DNS name", *texts);
        result = push_text(names, GEN_DNS, text, err);
    }
    return result;
}

static int push_ip_addresses(GENERAL_NAMES *names, const char *const *texts, struct fl_err *err)
{
    int result = 0;
    for (; texts != NULL && *texts != NULL && result == 0; texts++) {
        ASN1_STRING *value = a2i_IPADDRESS(*texts);
        ERR_clear_error();
        if (value == NULL)
            return fl_err_set(err, -EINVAL, "cannot issue the certificate: \"%s\" is not an IP address", *texts);
        result = push_name(names, GEN_IPADD, value, err);
    }
    return result;
}

static int set_names(X509 *certificate, const struct fl_cert_request *request, struct fl_err *err)
{
    FL_CLEANUP(cleanup_names) GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    if (names == NULL)
        return FAILED(err, "names");
    int result = 0;
    if (request->uri.len > 0)
        result = fl_spiffe_check(request->uri, NULL, err);
    if (result == 0 && request->uri.len > 0)
        result = push_text(names, GEN_URI, request->uri, err);
    if (result == 0)
        result = push_dns_names(names, request->dns_names, err);
    if (result == 0)
        result = push_ip_addresses(names, request->ip_addresses, err);
    if (result < 0)
        return result;
    bool unnamed = request->common_name.len == 0;
    if (sk_GENERAL_NAME_num(names) == 0)
        return unnamed ? fl_err_set(err, -EINVAL, "cannot issue the certificate: it has no name") : 0;
    if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, unnamed, X509V3_ADD_DEFAULT) != 1)
        return FAILED(err, "names");
    return 0;
}

static int add_extension(X509 *certificate, X509 *issuer, int nid, const char *value, struct fl_err *err)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    int added = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added ? 0 : FAILED(err, "extension");
}

/* `issuer` is the certificate itself where it signs itself. */
static int set_extensions(X509 *certificate, X509 *issuer, bool authority, struct fl_err *err)
{
    const char *constraints = !authority              ? "critical,CA:FALSE"
                              : issuer == certificate ? "critical,CA:TRUE"
                                                      : "critical,CA:TRUE,pathlen:0";
    const struct {
        int nid;
        const char *value;
    } rows[] = {
        {NID_basic_constraints, constraints},
        {NID_key_usage, authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature"},
        {NID_ext_key_usage, authority ? NULL : "serverAuth,clientAuth"},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, issuer == certificate ? NULL : "keyid"},
    };
    int result = 0;
    for (size_t i = 0; i < FL_COUNT(rows) && result == 0; i++) {
        if (rows[i].value != NULL)
            result = add_extension(certificate, issuer, rows[i].nid, rows[i].value, err);
    }
    return result;
}

static int check_issuer(const struct fl_key *subject, const struct fl_cert *issuer, const struct fl_key *issuer_key,
                        struct fl_err *err)
{
    if (issuer == NULL && EVP_PKEY_eq(fl_key_evp(subject), fl_key_evp(issuer_key)) != 1)
        return fl_err_set(err, -EINVAL, "cannot issue the certificate: without an issuer it must sign itself");
    if (issuer != NULL && !fl_cert_matches(issuer, issuer_key))
        return fl_err_set(err, -EINVAL, "cannot issue the certificate: the key is not the issuer's");
    if (issuer != NULL && X509_check_ca(fl_cert_x509(issuer, 0)) != 1)
        return fl_err_set(err, -EINVAL, "cannot issue the certificate: the issuer is not a CA");
    return 0;
}

static int fill(X509 *certificate, const struct fl_cert_request *request, const struct fl_key *subject,
                const struct fl_cert *issuer, struct fl_err *err)
{
    X509 *signer = issuer != NULL ? fl_cert_x509(issuer, 0) : certificate;
    int result = set_serial(certificate, err);
    if (result == 0)
        result = set_validity(certificate, request, err);
    if (result == 0)
        result = set_subject(certificate, request->common_name, err);
    if (result == 0 && (X509_set_version(certificate, X509_VERSION_3) != 1 ||
                        X509_set_issuer_name(certificate, X509_get_subject_name(signer)) != 1 ||
                        X509_set_pubkey(certificate, fl_key_evp(subject)) != 1))
        result = FAILED(err, "subject and issuer");
    if (result == 0)
        result = set_names(certificate, request, err);
    if (result == 0)
        result = set_extensions(certificate, signer, request->authority, err);
    return result;
}

static bool is_self_signed(X509 *certificate)
{
    return (X509_get_extension_flags(certificate) & EXFLAG_SS) != 0;
}

static int join_chain(X509 *leaf, const struct fl_cert *issuer, struct fl_cert **ret_cert, struct fl_err *err)
{
    X509 *chain[FL_CERT_CHAIN_MAX] = {leaf};
    size_t count = 1;
    for (size_t i = 0; issuer != NULL && fl_cert_x509(issuer, i) != NULL; i++) {
        X509 *next = fl_cert_x509(issuer, i);
        if (is_self_signed(next))
            break;
        if (count == FL_CERT_CHAIN_MAX)
            return fl_err_set(err, -EINVAL, "cannot issue the certificate: more than %d in the chain",
                              FL_CERT_CHAIN_MAX);
        chain[count++] = next;
    }
    struct fl_cert *cert = fl_cert_wrap(chain, count);
    if (cert == NULL)
        return fl_err_set(err, -ENOMEM, "cannot issue the certificate: out of memory");
    *ret_cert = cert;
    return 0;
}

int fl_cert_issue(const struct fl_cert_request *request, const struct fl_key *subject, const struct fl_cert *issuer,
                  const struct fl_key *issuer_key, struct fl_cert **ret_cert, struct fl_err *err)
{
    fl_openssl_init();
    int result = check_issuer(subject, issuer, issuer_key, err);
    ERR_clear_error();
    if (result < 0)
        return result;
    FL_CLEANUP(cleanup_x509) X509 *certificate = X509_new();
    if (certificate == NULL)
        return FAILED(err, "memory");
    result = fill(certificate, request, subject, issuer, err);
    if (result < 0)
        return result;
    EVP_PKEY *signer = fl_key_evp(issuer_key);
    if (X509_sign(certificate, signer, fl_openssl_digest(signer)) <= 0)
        return FAILED(err, "signature");
    ERR_clear_error();
    return join_chain(certificate, issuer, ret_cert, err);
}
