#include "common/mesh/identity.h"

#include <errno.h>

#define LABEL_MAX     63  /* bytes of a DNS-1123 label */
#define SUBDOMAIN_MAX 253 /* and of a subdomain */

static bool is_alphanumeric(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9');
}

/* RFC 1123 as Kubernetes reads it: lower-case letters, digits and '-', beginning and ending with no '-'. */
static bool is_label(struct fl_span text)
{
    if (text.len == 0 || !is_alphanumeric(text.data[0]) || !is_alphanumeric(text.data[text.len - 1]))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_alphanumeric(text.data[i]) && text.data[i] != '-')
            return false;
    }
    return true;
}

static bool is_subdomain(struct fl_span text)
{
    struct fl_span part;
    if (text.len == 0 || text.len > SUBDOMAIN_MAX)
        return false;
    while (fl_span_split(&text, '.', &part)) {
        if (!is_label(part))
            return false;
    }
    return true;
}

static int check_names(const struct fl_identity *identity, struct fl_err *err)
{
    if (identity->name_space.len > LABEL_MAX || !is_label(identity->name_space))
        return fl_err_set(err, -EINVAL, "expected a namespace's name (a DNS-1123 label), got \"%.*s\"",
                          (int)(identity->name_space.len < LABEL_MAX ? identity->name_space.len : LABEL_MAX),
                          identity->name_space.data);
    if (!is_subdomain(identity->service_account))
        return fl_err_set(
            err, -EINVAL, "expected a service account's name (a DNS-1123 subdomain), got \"%.*s\"",
            (int)(identity->service_account.len < SUBDOMAIN_MAX ? identity->service_account.len : SUBDOMAIN_MAX),
            identity->service_account.data);
    return 0;
}

static bool take_segment(struct fl_span *rest, const char *expected)
{
    struct fl_span segment;
    return fl_span_split(rest, '/', &segment) && fl_span_eq_str(segment, expected);
}

int fl_identity_parse(struct fl_span uri, struct fl_identity *ret_identity, struct fl_err *err)
{
    struct fl_identity identity = {0};
    int result = fl_spiffe_check(uri, &identity.trust_domain, err);
    if (result < 0)
        return result;
    const char *path = identity.trust_domain.data + identity.trust_domain.len;
    struct fl_span rest = fl_span_make(path, (size_t)(uri.data + uri.len - path));
    bool form = take_segment(&rest, "") && take_segment(&rest, "ns") &&
                fl_span_split(&rest, '/', &identity.name_space) && take_segment(&rest, "sa") &&
                fl_span_split(&rest, '/', &identity.service_account) && rest.data == NULL;
    if (!form)
        return fl_err_set(
            err, -EINVAL,
            "expected a SPIFFE ID of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>");
    result = check_names(&identity, err);
    if (result == 0)
        *ret_identity = identity;
    return result;
}

static int append(const struct fl_identity *identity, struct fl_buf *out)
{
    int result = fl_buf_append_str(out, "spiffe://");
    if (result == 0)
        result = fl_buf_append(out, identity->trust_domain);
    if (result == 0)
        result = fl_buf_append_str(out, "/ns/");
    if (result == 0)
        result = fl_buf_append(out, identity->name_space);
    if (result == 0)
        result = fl_buf_append_str(out, "/sa/");
    return result < 0 ? result : fl_buf_append(out, identity->service_account);
}

int fl_identity_print(const struct fl_identity *identity, struct fl_buf *out, struct fl_err *err)
{
    size_t before = out->len;
    int result = check_names(identity, err);
    if (result < 0)
        return result;
    struct fl_span domain;
    result = append(identity, out);
    if (result < 0)
        fl_err_set(err, result, result == -ENOMEM ? "out of memory" : "no room for the SPIFFE ID");
    else /* what was printed must read back: that checks the trust domain too */
        result = fl_spiffe_check(fl_span_from(fl_buf_span(out), before), &domain, err);
    if (result == 0 && domain.len != identity->trust_domain.len)
        result = fl_err_set(err, -EINVAL, "expected a trust domain of a-z 0-9 . - _");
    if (result < 0)
        out->len = before;
    return result;
}
