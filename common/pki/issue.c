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

/* Extensions whose content never differs stand here as DER: OpenSSL's reader of their textual form costs more than the
 * signature does. */
struct fixed_extension {
    int nid;
    bool critical;
    struct fl_span der;
};

static const struct fixed_extension leaf_extensions[] = {
    {NID_basic_constraints, true, FL_SPAN("\x30\x00")}, /* CA:FALSE */
    {NID_key_usage, true, FL_SPAN("\x03\x02\x07\x80")}, /* digitalSignature */
    {NID_ext_key_usage, false,                          /* serverAuth, clientAuth */
     FL_SPAN("\x30\x14\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02")},
};
static const struct fixed_extension server_extensions[] = {
    {NID_basic_constraints, true, FL_SPAN("\x30\x00")},
    {NID_key_usage, true, FL_SPAN("\x03\x02\x07\x80")},
    {NID_ext_key_usage, false, FL_SPAN("\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01")}, /* serverAuth */
};
static const struct fixed_extension root_extensions[] = {
    {NID_basic_constraints, true, FL_SPAN("\x30\x03\x01\x01\xff")}, /* CA:TRUE */
    {NID_key_usage, true, FL_SPAN("\x03\x02\x01\x06")},             /* keyCertSign, cRLSign */
};
static const struct fixed_extension middle_extensions[] = {
    {NID_basic_constraints, true, FL_SPAN("\x30\x06\x01\x01\xff\x02\x01\x00")}, /* CA:TRUE, pathlen:0 */
    {NID_key_usage, true, FL_SPAN("\x03\x02\x01\x06")},
};

static int add_fixed(X509 *certificate, const struct fixed_extension *rows, size_t count, struct fl_err *err)
{
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        X509_EXTENSION *extension = NULL;
        ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
        good = value != NULL &&
               ASN1_OCTET_STRING_set(value, (const unsigned char *)rows[i].der.data, (int)rows[i].der.len) == 1 &&
               (extension = X509_EXTENSION_create_by_NID(NULL, rows[i].nid, rows[i].critical, value)) != NULL &&
               X509_add_ext(certificate, extension, -1) == 1;
        X509_EXTENSION_free(extension);
        ASN1_OCTET_STRING_free(value);
    }
    return good ? 0 : FAILED(err, "extension");
}

/* RFC 5280 §4.2.1.2, method 1: SHA-1 of the key's bits; a name, not a proof. */
static int add_subject_key(X509 *certificate, struct fl_err *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len;
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    bool good = value != NULL && X509_pubkey_digest(certificate, EVP_sha1(), digest, &len) == 1 &&
                ASN1_OCTET_STRING_set(value, digest, (int)len) == 1 &&
                X509_add1_ext_i2d(certificate, NID_subject_key_identifier, value, 0, X509V3_ADD_DEFAULT) == 1;
    ASN1_OCTET_STRING_free(value);
    return good ? 0 : FAILED(err, "extension");
}

/* The issuer's key by its name; an issuer that has none is not named. */
static int add_authority_key(X509 *certificate, X509 *issuer, struct fl_err *err)
{
    const ASN1_OCTET_STRING *name = X509_get0_subject_key_id(issuer);
    if (name == NULL)
        return 0;
    AUTHORITY_KEYID *value = AUTHORITY_KEYID_new();
    bool good = value != NULL && (value->keyid = ASN1_OCTET_STRING_dup(name)) != NULL &&
                X509_add1_ext_i2d(certificate, NID_authority_key_identifier, value, 0, X509V3_ADD_DEFAULT) == 1;
    AUTHORITY_KEYID_free(value);
    return good ? 0 : FAILED(err, "extension");
}

/* `issuer` is the certificate itself where it signs itself. */
static int set_extensions(X509 *certificate, X509 *issuer, const struct fl_cert_request *request, struct fl_err *err)
{
    int result;
    if (!request->authority && request->server_only)
        result = add_fixed(certificate, server_extensions, FL_COUNT(server_extensions), err);
    else if (!request->authority)
        result = add_fixed(certificate, leaf_extensions, FL_COUNT(leaf_extensions), err);
    else if (issuer == certificate && !request->leaves_only)
        result = add_fixed(certificate, root_extensions, FL_COUNT(root_extensions), err);
    else
        result = add_fixed(certificate, middle_extensions, FL_COUNT(middle_extensions), err);
    if (result == 0)
        result = add_subject_key(certificate, err);
    if (result == 0 && issuer != certificate)
        result = add_authority_key(certificate, issuer, err);
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

/* The key as OpenSSL has it, or, `plain`, its bytes alone, which is a hundred times quicker: then the certificate can
 * be signed and printed, and asked nothing about its key. */
static bool set_key(X509 *certificate, const struct fl_key *subject, bool plain)
{
    unsigned char point[FL_OPENSSL_POINT_SIZE];
    if (!plain || !fl_openssl_point(fl_key_evp(subject), point))
        return X509_set_pubkey(certificate, fl_key_evp(subject)) == 1;
    return fl_openssl_set_point(X509_get_X509_PUBKEY(certificate), point);
}

static int fill(X509 *certificate, const struct fl_cert_request *request, const struct fl_key *subject,
                const struct fl_cert *issuer, bool plain, struct fl_err *err)
{
    X509 *signer = issuer != NULL ? fl_cert_x509(issuer, 0) : certificate;
    int result = set_serial(certificate, err);
    if (result == 0)
        result = set_validity(certificate, request, err);
    if (result == 0)
        result = set_subject(certificate, request->common_name, err);
    if (result == 0 && (X509_set_version(certificate, X509_VERSION_3) != 1 ||
                        X509_set_issuer_name(certificate, X509_get_subject_name(signer)) != 1 ||
                        !set_key(certificate, subject, plain)))
        result = FAILED(err, "subject and issuer");
    if (result == 0)
        result = set_names(certificate, request, err);
    if (result == 0)
        result = set_extensions(certificate, signer, request, err);
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

static int make(const struct fl_cert_request *request, const struct fl_key *subject, const struct fl_cert *issuer,
                const struct fl_key *issuer_key, bool plain, X509 **ret_certificate, struct fl_err *err)
{
    fl_openssl_init();
    int result = check_issuer(subject, issuer, issuer_key, err);
    ERR_clear_error();
    if (result < 0)
        return result;
    FL_CLEANUP(cleanup_x509) X509 *certificate = X509_new();
    if (certificate == NULL)
        return FAILED(err, "memory");
    result = fill(certificate, request, subject, issuer, plain, err);
    if (result < 0)
        return result;
    EVP_PKEY *signer = fl_key_evp(issuer_key);
    if (X509_sign(certificate, signer, fl_openssl_digest(signer)) <= 0)
        return FAILED(err, "signature");
    ERR_clear_error();
    *ret_certificate = fl_take(certificate);
    return 0;
}

int fl_cert_issue(const struct fl_cert_request *request, const struct fl_key *subject, const struct fl_cert *issuer,
                  const struct fl_key *issuer_key, struct fl_cert **ret_cert, struct fl_err *err)
{
    FL_CLEANUP(cleanup_x509) X509 *certificate = NULL;
    int result = make(request, subject, issuer, issuer_key, false, &certificate, err);
    return result == 0 ? join_chain(certificate, issuer, ret_cert, err) : result;
}

int fl_cert_issue_pem(const struct fl_cert_request *request, const struct fl_key *subject, const struct fl_cert *issuer,
                      const struct fl_key *issuer_key, struct fl_buf *out, char ret_serial[FL_CERT_SERIAL_MAX],
                      struct fl_err *err)
{
    FL_CLEANUP(cleanup_x509) X509 *certificate = NULL;
    FL_CLEANUP(fl_cleanup_cert) struct fl_cert *chain = NULL;
    int result = make(request, subject, issuer, issuer_key, true, &certificate, err);
    if (result == 0)
        result = join_chain(certificate, issuer, &chain, err);
    if (result < 0)
        return result;
    fl_cert_serial(chain, ret_serial);
    result = fl_cert_print(chain, out);
    return result < 0 ? fl_err_errno(err, result, "cannot issue the certificate") : 0;
}
