#include "common/pki/altname.h"

#include <errno.h>
#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* One DER element at the front of *rest: its tag, class and content. False where it is malformed or of indefinite
 * length. */
static bool take_element(struct fl_span *rest, int *ret_tag, int *ret_class, struct fl_span *ret_content)
{
    const unsigned char *at = (const unsigned char *)rest->data;
    long length;
    if (rest->len == 0 || rest->len > LONG_MAX)
        return false;
    int form = ASN1_get_object(&at, &length, ret_tag, ret_class, (long)rest->len);
    if ((form & 0x80) != 0 || (form & 0x01) != 0 || length < 0) {
        ERR_clear_error();
        return false;
    }
    *ret_content = fl_span_make(at, (size_t)length);
    size_t head = (size_t)((const char *)at - rest->data);
    *rest = fl_span_from(*rest, head + (size_t)length);
    return true;
}

static bool well_formed(struct fl_span names)
{
    int tag, class;
    struct fl_span content;
    while (names.len > 0) {
        if (!take_element(&names, &tag, &class, &content) || class != V_ASN1_CONTEXT_SPECIFIC)
            return false;
    }
    return true;
}

int fl_altnames_open(const X509 *certificate, struct fl_altnames *ret_names, struct fl_err *err)
{
    int index = X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1);
    if (index < 0) {
        *ret_names = (struct fl_altnames){{NULL, 0}};
        return 0;
    }
    if (X509_get_ext_by_NID(certificate, NID_subject_alt_name, index) >= 0)
        return fl_err_set(err, -EINVAL, "two subjectAltName extensions");
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(X509_get_ext(certificate, index));
    struct fl_span rest = fl_span_make(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
    int tag, class;
    struct fl_span names;
    if (!take_element(&rest, &tag, &class, &names) || tag != V_ASN1_SEQUENCE || class != V_ASN1_UNIVERSAL ||
        rest.len > 0 || !well_formed(names))
        return fl_err_set(err, -EINVAL, "a malformed subjectAltName extension");
    ret_names->rest = names;
    return 0;
}

bool fl_altnames_next(struct fl_altnames *names, enum fl_altname_kind *ret_kind, struct fl_span *ret_value)
{
    int tag, class;
    if (!take_element(&names->rest, &tag, &class, ret_value))
        return false;
    *ret_kind = tag == GEN_DNS ? FL_ALTNAME_DNS : tag == GEN_URI ? FL_ALTNAME_URI : FL_ALTNAME_OTHER;
    return true;
}
