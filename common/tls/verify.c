#include "common/pki/altname.h"
#include "common/pki/spiffe.h"
#include "common/tls/inner.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>

#define NAME_MAX_SHOWN 200 /* bytes of a name in a reason */

static bool text_matches(struct fl_span name, const struct fl_tls_name_match *wanted)
{
    switch (wanted->match) {
    case FL_TLS_MATCH_EXACT:
        return fl_span_eq(name, wanted->value);
    case FL_TLS_MATCH_PREFIX:
        return fl_span_starts_with(name, wanted->value);
    case FL_TLS_MATCH_SUFFIX:
        return fl_span_ends_with(name, wanted->value);
    }
    return false;
}

/* "*.b.c" in the certificate stands for any one label before ".b.c" (RFC 6125 §6.4.3; whole labels only). */
static bool wildcard_matches(struct fl_span name, struct fl_span wanted)
{
    if (!fl_span_starts_with(name, FL_SPAN("*.")))
        return false;
    struct fl_span tail = fl_span_from(name, 1);
    struct fl_span rest = fl_span_from(wanted, fl_span_find(wanted, '.'));
    bool two_labels = fl_span_find(fl_span_from(tail, 1), '.') < tail.len - 1;
    return two_labels && rest.len < wanted.len && fl_span_eq_nocase(rest, tail);
}

static bool dns_matches(struct fl_span name, const struct fl_tls_name_match *wanted)
{
    size_t length = wanted->value.len;
    if (wanted->match == FL_TLS_MATCH_EXACT)
        return fl_span_eq_nocase(name, wanted->value) || wildcard_matches(name, wanted->value);
    if (name.len < length)
        return false;
    struct fl_span part =
        wanted->match == FL_TLS_MATCH_PREFIX ? fl_span_make(name.data, length) : fl_span_from(name, name.len - length);
    return fl_span_eq_nocase(part, wanted->value);
}

static bool any_matches(enum fl_altname_kind kind, struct fl_span name, const struct fl_tls_name_match *names,
                        size_t count)
{
    if (memchr(name.data, '\0', name.len) != NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        bool dns = names[i].kind == FL_TLS_NAME_DNS;
        if (kind == (dns ? FL_ALTNAME_DNS : FL_ALTNAME_URI) &&
            (dns ? dns_matches(name, &names[i]) : text_matches(name, &names[i])))
            return true;
    }
    return false;
}

bool fl_tls_name_matches(const X509 *certificate, const struct fl_tls_name_match *names, size_t count)
{
    struct fl_altnames walk;
    enum fl_altname_kind kind;
    struct fl_span name;
    if (fl_altnames_open(certificate, &walk, NULL) < 0)
        return false;
    while (fl_altnames_next(&walk, &kind, &name)) {
        if (kind != FL_ALTNAME_OTHER && name.len > 0 && any_matches(kind, name, names, count))
            return true;
    }
    return false;
}

static int clamp(size_t length)
{
    return length < NAME_MAX_SHOWN ? (int)length : NAME_MAX_SHOWN;
}

/* The first URI or DNS name that the certificate claims; "(no name)" without one. For the reader of the reason. */
static struct fl_span claimed_name(const X509 *certificate)
{
    struct fl_altnames walk;
    enum fl_altname_kind kind;
    struct fl_span name;
    if (certificate != NULL && fl_altnames_open(certificate, &walk, NULL) == 0) {
        while (fl_altnames_next(&walk, &kind, &name)) {
            if (kind != FL_ALTNAME_OTHER)
                return name;
        }
    }
    return FL_SPAN("(no name)");
}

static const char *chain_trouble(int error)
{
    switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return "is not from a trusted root";
    default:
        return "is not valid";
    }
}

static enum fl_tls_reason chain_reason(int error)
{
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return FL_TLS_REASON_EXPIRED;
    case X509_V_ERR_OUT_OF_MEM:
        return FL_TLS_REASON_LOCAL;
    default:
        return FL_TLS_REASON_UNTRUSTED;
    }
}

static void refuse_chain(struct fl_tls *tls, const X509 *leaf, int error)
{
    struct fl_span name = claimed_name(leaf);
    fl_tls_refuse(tls, chain_reason(error), error == X509_V_ERR_OUT_OF_MEM ? -ENOMEM : -EACCES,
                  "peer certificate of %.*s %s: %s", clamp(name.len), name.data, chain_trouble(error),
                  X509_verify_cert_error_string(error));
}

/* Who it is has been verified; only, it is not welcome. The handshake's certificate goes with the failure: we keep it.
 */
static void keep_identity(struct fl_tls *tls, X509 *leaf)
{
    struct fl_span identity;
    if (tls->refused_leaf != NULL || fl_spiffe_of(leaf, &identity, NULL) < 0 || X509_up_ref(leaf) != 1)
        return;
    tls->refused_leaf = leaf;
    tls->identity = identity;
}

static void refuse_name(struct fl_tls *tls, X509 *leaf, struct fl_span wanted, bool more)
{
    keep_identity(tls, leaf);
    struct fl_span name = claimed_name(leaf);
    fl_tls_refuse(tls, FL_TLS_REASON_IDENTITY, -EACCES, "peer's name %.*s is not %s%.*s%s", clamp(name.len), name.data,
                  more ? "one of " : "", clamp(wanted.len), wanted.data, more ? ", …" : "");
}

/* What must hold for a leaf whose chain is good. */
static bool leaf_is_welcome(struct fl_tls *tls, X509 *leaf)
{
    const struct fl_tls_context *context = tls->context;
    struct fl_err err = {0};
    struct fl_span uri = {NULL, 0};
    if ((context->require_spiffe || tls->expected != NULL) && fl_spiffe_of(leaf, &uri, &err) < 0) {
        fl_tls_refuse(tls, FL_TLS_REASON_IDENTITY, -EACCES, "peer certificate is no X.509-SVID: %s", err.text);
        return false;
    }
    if (context->name_count > 0 && !fl_tls_name_matches(leaf, context->names, context->name_count)) {
        refuse_name(tls, leaf, context->names[0].value, context->name_count > 1);
        return false;
    }
    if (tls->expected != NULL && !fl_span_eq_str(uri, tls->expected)) {
        refuse_name(tls, leaf, fl_span_str(tls->expected), false);
        return false;
    }
    return true;
}

/* The client's ALPN is settled before the server's certificate comes, in every version. */
static bool alpn_is_missing(const struct fl_tls *tls)
{
    const unsigned char *chosen;
    unsigned length;
    SSL_get0_alpn_selected(tls->ssl, &chosen, &length);
    return !tls->context->core->server && !tls->alpn_need_not && tls->context->core->alpn.len > 0 && length == 0 &&
           (!tls->alpn_may_lack || tls->expected != NULL);
}

int fl_tls_verify(X509_STORE_CTX *store, void *unused)
{
    (void)unused;
    struct fl_tls *tls = fl_tls_of(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    if (alpn_is_missing(tls)) {
        fl_tls_refuse(tls, FL_TLS_REASON_ALPN, -EPROTO, "the server chose none of our ALPN protocols");
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION); /* alert: handshake_failure */
        return 0;
    }
    if (X509_verify_cert(store) != 1) {
        refuse_chain(tls, leaf, X509_STORE_CTX_get_error(store));
        return 0;
    }
    if (!leaf_is_welcome(tls, leaf)) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED); /* alert: bad_certificate */
        return 0;
    }
    return 1;
}
