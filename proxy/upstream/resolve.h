/* Names to addresses, asynchronously on a loop (c-ares): /etc/hosts, the servers and search domains of resolv.conf, A
 * and AAAA, over UDP, or TCP where an answer is cut. Nothing blocks but reading those two files.
 *
 * resolv.conf is looked at before each question, and read anew where it has changed: what is under way then is asked
 * again by its new contents. A question that nobody answers fails after some PROXY_RESOLVE_TRY_MS × PROXY_RESOLVE_TRIES
 * a server. Main thread, or any one thread: a resolver belongs to its loop's.
 */
#ifndef PROXY_UPSTREAM_RESOLVE_H
#define PROXY_UPSTREAM_RESOLVE_H

#include "common/loop/loop.h"
#include "proxy/net/address.h"

#define PROXY_RESOLVE_TRY_MS    2000
#define PROXY_RESOLVE_TRIES     2
#define PROXY_RESOLVE_NAME_MAX  253u /* bytes of a name, without the last dot */
#define PROXY_RESOLVE_ADDRESSES 256u /* of an answer that are taken */

enum proxy_resolve_family {                     /* which addresses are wanted: as Envoy's dns_lookup_family */
                            PROXY_RESOLVE_AUTO, /* IPv6, and IPv4 only where there is none */
                            PROXY_RESOLVE_V4_ONLY,
                            PROXY_RESOLVE_V6_ONLY,
                            PROXY_RESOLVE_V4_PREFERRED, /* IPv4, and IPv6 only where there is none */
                            PROXY_RESOLVE_ALL,          /* both: IPv6 and IPv4 in turn (RFC 8305 §4) */
};

enum proxy_resolve_outcome {
    PROXY_RESOLVE_FOUND = 1,
    PROXY_RESOLVE_NONE = 2,   /* the name is not there, or has no address of these families */
    PROXY_RESOLVE_FAILED = 3, /* no answer: servers that are silent, refuse or fail */
};

struct proxy_resolved {
    enum proxy_resolve_outcome outcome;
    const struct proxy_address *list; /* valid within the callback; port 0; each once */
    size_t count;
    uint32_t ttl_s;     /* the least of the answer; UINT32_MAX: it has none (/etc/hosts) */
    const char *reason; /* of NONE and FAILED */
};

struct proxy_resolver; /* opaque */

/* path: of resolv.conf; NULL: /etc/resolv.conf. 0, -ENOMEM, or -EIO where c-ares does not start. */
int proxy_resolver_new(struct fl_loop *loop, const char *path, struct proxy_resolver **ret_resolver) FL_MUST_CHECK;
/* No callback comes any more. NULL is allowed; returns NULL. */
struct proxy_resolver *proxy_resolver_free(struct proxy_resolver *resolver);

struct proxy_question { /* embedded in its owner, zeroed */
    void (*on_answer)(struct proxy_question *question, const struct proxy_resolved *answer);
    enum proxy_resolve_family family;
    char name[PROXY_RESOLVE_NAME_MAX + 1];
    struct proxy_asked *asked; /* private; NULL: nothing is under way */
};

/* on_answer, family and name are set, and nothing of it is under way. Mostly answered later, from the loop, but it may
 * be within the call (/etc/hosts). 0 or -ENOMEM. */
int proxy_resolve(struct proxy_resolver *resolver, struct proxy_question *question) FL_MUST_CHECK;
void proxy_resolve_cancel(struct proxy_question *question); /* no answer comes; idempotent */

/* Whether text may be asked for: labels of letters, digits, '-' and '_', of 1 to 63 bytes each, PROXY_RESOLVE_NAME_MAX
 * in all; a dot may end it. */
bool proxy_resolve_is_name(struct fl_span text);

#endif
