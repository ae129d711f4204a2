#include "common/mesh/identity.h"

#include "common/mesh/dnsname.h"

#include <errno.h>

static int check_names(const struct fl_identity *identity, struct fl_err *err)
{
    if (!fl_dns_is_label(identity->name_space))
        return fl_err_set(
            err, -EINVAL, "expected a namespace's name (a DNS-1123 label), got \"%.*s\"",
            (int)(identity->name_space.len < FL_DNS_LABEL_MAX ? identity->name_space.len : FL_DNS_LABEL_MAX),
            identity->name_space.data);
    if (!fl_dns_is_subdomain(identity->service_account))
        return fl_err_set(err, -EINVAL, "expected a service account's name (a DNS-1123 subdomain), got \"%.*s\"",
                          (int)(identity->service_account.len < FL_DNS_SUBDOMAIN_MAX ? identity->service_account.len
                                                                                     : FL_DNS_SUBDOMAIN_MAX),
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
