#include "common/mesh/dnsname.h"

static bool is_alphanumeric(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9');
}

bool fl_dns_is_label(struct fl_span text)
{
    if (text.len == 0 || text.len > FL_DNS_LABEL_MAX || !is_alphanumeric(text.data[0]) ||
        !is_alphanumeric(text.data[text.len - 1]))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!is_alphanumeric(text.data[i]) && text.data[i] != '-')
            return false;
    return true;
}

bool fl_dns_is_subdomain(struct fl_span text)
{
    struct fl_span part;
    if (text.len == 0 || text.len > FL_DNS_SUBDOMAIN_MAX)
        return false;
    while (fl_span_split(&text, '.', &part))
        if (!fl_dns_is_label(part))
            return false;
    return true;
}
