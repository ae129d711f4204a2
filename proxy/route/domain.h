/* Domains of virtual hosts, and which of them an authority belongs to (the order stands in table.h). For the route
 * table: it fills the entries, whose texts it owns. */
#ifndef PROXY_ROUTE_DOMAIN_H
#define PROXY_ROUTE_DOMAIN_H

#include "common/base/arena.h"
#include "common/base/err.h"

struct proxy_domain {
    struct fl_span text; /* lower case, without its wildcard */
    uint32_t host;       /* index of the virtual host */
    uint32_t shorter;    /* index of the first entry with a shorter text */
};

enum proxy_domain_kind {
    PROXY_DOMAIN_EXACT,
    PROXY_DOMAIN_SUFFIX,
    PROXY_DOMAIN_PREFIX,
    PROXY_DOMAIN_ANY,
    PROXY_DOMAIN_KINDS
};

struct proxy_domains { /* by kind, each sorted: long texts first, equal lengths by bytes */
    struct proxy_domain *entries[PROXY_DOMAIN_KINDS];
    size_t count[PROXY_DOMAIN_KINDS];
};

/* What kind a domain is, and its text without the wildcard. False: empty, or a '*' where none can be. */
bool proxy_domain_kind(struct fl_span domain, enum proxy_domain_kind *ret_kind, struct fl_span *ret_text);

/* Sorts what the entries hold. -EINVAL names a domain that is there twice. */
int proxy_domains_seal(struct proxy_domains *domains, struct fl_err *err) FL_MUST_CHECK;

#define PROXY_DOMAIN_NONE UINT32_MAX
/* Index of the virtual host; PROXY_DOMAIN_NONE. `authority` in lower case. */
uint32_t proxy_domains_find(const struct proxy_domains *domains, struct fl_span authority);

#endif
