#include "proxy/route/domain.h"

#include <errno.h>

bool proxy_domain_kind(struct fl_span domain, enum proxy_domain_kind *ret_kind, struct fl_span *ret_text)
{
    if (domain.len == 0)
        return false;
    bool front = domain.data[0] == '*', back = domain.data[domain.len - 1] == '*';
    *ret_text = domain;
    if (domain.len == 1 && front) {
        *ret_kind = PROXY_DOMAIN_ANY;
        *ret_text = FL_SPAN("");
    } else if (front) {
        *ret_kind = PROXY_DOMAIN_SUFFIX;
        *ret_text = fl_span_from(domain, 1);
    } else if (back) {
        *ret_kind = PROXY_DOMAIN_PREFIX;
        ret_text->len--;
    } else {
        *ret_kind = PROXY_DOMAIN_EXACT;
    }
    return fl_span_find(*ret_text, '*') == ret_text->len;
}

static int compare_text(struct fl_span a, struct fl_span b)
{
    if (a.len != b.len)
        return a.len > b.len ? -1 : 1;
    return a.len > 0 ? memcmp(a.data, b.data, a.len) : 0;
}

static int compare(const void *a, const void *b)
{
    return compare_text(((const struct proxy_domain *)a)->text, ((const struct proxy_domain *)b)->text);
}

int proxy_domains_seal(struct proxy_domains *domains, struct fl_err *err)
{
    for (int kind = 0; kind < PROXY_DOMAIN_KINDS; kind++) {
        struct proxy_domain *entries = domains->entries[kind];
        size_t count = domains->count[kind];
        if (count == 0)
            continue;
        qsort(entries, count, sizeof(*entries), compare);
        for (size_t i = count; i-- > 0;) {
            if (i + 1 < count && fl_span_eq(entries[i].text, entries[i + 1].text))
                return fl_err_set(err, -EINVAL, "domain %s%.*s%s is there twice",
                                  kind == PROXY_DOMAIN_SUFFIX || kind == PROXY_DOMAIN_ANY ? "*" : "",
                                  FL_SPAN_ARG(entries[i].text), kind == PROXY_DOMAIN_PREFIX ? "*" : "");
            bool same = i + 1 < count && entries[i].text.len == entries[i + 1].text.len;
            entries[i].shorter = same ? entries[i + 1].shorter : (uint32_t)(i + 1);
        }
    }
    return 0;
}

static uint32_t find(const struct proxy_domain *entries, size_t count, struct fl_span text)
{
    const struct proxy_domain key = {.text = text};
    const struct proxy_domain *found = count > 0 ? bsearch(&key, entries, count, sizeof(key), compare) : NULL;
    return found != NULL ? found->host : PROXY_DOMAIN_NONE;
}

/* For each length that there is, the longest first: is that much of the authority's end (or front) an entry? */
static uint32_t find_wildcard(const struct proxy_domain *entries, size_t count, struct fl_span authority, bool suffix)
{
    for (size_t i = 0; i < count; i = entries[i].shorter) {
        size_t len = entries[i].text.len;
        if (len >= authority.len)
            continue;
        struct fl_span part = fl_span_make(authority.data + (suffix ? authority.len - len : 0), len);
        uint32_t host = find(entries + i, entries[i].shorter - i, part);
        if (host != PROXY_DOMAIN_NONE)
            return host;
    }
    return PROXY_DOMAIN_NONE;
}

uint32_t proxy_domains_find(const struct proxy_domains *domains, struct fl_span authority)
{
    struct proxy_domain *const *entries = domains->entries;
    const size_t *count = domains->count;
    uint32_t host = find(entries[PROXY_DOMAIN_EXACT], count[PROXY_DOMAIN_EXACT], authority);
    if (host == PROXY_DOMAIN_NONE)
        host = find_wildcard(entries[PROXY_DOMAIN_SUFFIX], count[PROXY_DOMAIN_SUFFIX], authority, true);
    if (host == PROXY_DOMAIN_NONE)
        host = find_wildcard(entries[PROXY_DOMAIN_PREFIX], count[PROXY_DOMAIN_PREFIX], authority, false);
    if (host == PROXY_DOMAIN_NONE && count[PROXY_DOMAIN_ANY] > 0)
        host = entries[PROXY_DOMAIN_ANY][0].host;
    return host;
}
