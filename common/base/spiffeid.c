#include "common/base/spiffeid.h"

#include <errno.h>

static bool is_domain_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' || byte == '.' || byte == '_';
}

static bool is_path_byte(char byte)
{
    return is_domain_byte(byte) || (byte >= 'A' && byte <= 'Z');
}

static int check_trust_domain(struct fl_span domain, struct fl_err *err)
{
    if (domain.len == 0)
        return fl_err_set(err, -EINVAL, "SPIFFE ID without a trust domain");
    if (domain.len > FL_SPIFFE_TRUST_DOMAIN_MAX)
        return fl_err_set(err, -EINVAL, "trust domain is longer than %d bytes", FL_SPIFFE_TRUST_DOMAIN_MAX);
    for (size_t i = 0; i < domain.len; i++) {
        if (!is_domain_byte(domain.data[i]))
            return fl_err_set(err, -EINVAL, "trust domain holds a byte (0x%02x) that is not one of a-z 0-9 . - _",
                              (unsigned char)domain.data[i]);
    }
    return 0;
}

static int check_segment(struct fl_span segment, struct fl_err *err)
{
    if (segment.len == 0)
        return fl_err_set(err, -EINVAL, "SPIFFE ID with an empty path segment");
    if (fl_span_eq(segment, FL_SPAN(".")) || fl_span_eq(segment, FL_SPAN("..")))
        return fl_err_set(err, -EINVAL, "SPIFFE ID with a relative path segment");
    for (size_t i = 0; i < segment.len; i++) {
        if (!is_path_byte(segment.data[i]))
            return fl_err_set(err, -EINVAL, "SPIFFE ID path holds a byte (0x%02x) that is not one of a-z A-Z 0-9 . - _",
                              (unsigned char)segment.data[i]);
    }
    return 0;
}

int fl_spiffe_check(struct fl_span uri, struct fl_span *ret_trust_domain, struct fl_err *err)
{
    const struct fl_span scheme = FL_SPAN("spiffe://");
    if (uri.len > FL_SPIFFE_ID_MAX)
        return fl_err_set(err, -EINVAL, "SPIFFE ID is longer than %d bytes", FL_SPIFFE_ID_MAX);
    if (!fl_span_starts_with(uri, scheme))
        return fl_err_set(err, -EINVAL, "not a SPIFFE ID: it does not start with spiffe://");
    struct fl_span rest = fl_span_from(uri, scheme.len);
    struct fl_span domain = fl_span_make(rest.data, fl_span_find(rest, '/'));
    int result = check_trust_domain(domain, err);
    if (result == 0 && domain.len < rest.len) {
        struct fl_span path = fl_span_from(rest, domain.len + 1);
        struct fl_span segment;
        while (result == 0 && fl_span_split(&path, '/', &segment))
            result = check_segment(segment, err);
    }
    if (result == 0 && ret_trust_domain != NULL)
        *ret_trust_domain = domain;
    return result;
}
