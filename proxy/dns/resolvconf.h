/* resolv.conf(5), as far as a forwarder is concerned: which servers, and how patient. Search domains and ndots are the
 * application's: its resolver has put them into the names already. Pure.
 *
 * As glibc reads it: a keyword at the line's beginning, then blanks; lines that begin with '#' or ';' are comments;
 * what is unknown or no address is passed over; the first three servers count; without any it is 127.0.0.1.
 */
#ifndef PROXY_DNS_RESOLVCONF_H
#define PROXY_DNS_RESOLVCONF_H

#include "proxy/net/address.h"

#define PROXY_RESOLVCONF_SERVERS   3
#define PROXY_RESOLVCONF_SIZE_MAX  65536 /* bytes of a file */
#define PROXY_RESOLVCONF_TIMEOUT_S 5
#define PROXY_RESOLVCONF_PORT      53

struct proxy_resolvconf {
    struct proxy_address servers[PROXY_RESOLVCONF_SERVERS]; /* with their port */
    size_t count;                                           /* ≥ 1 */
    unsigned timeout_s;                                     /* options timeout: 1 to 30 */
    bool rotate, use_vc;                                    /* options rotate; use-vc: TCP alone */
};

/* Any text is one. */
void proxy_resolvconf_parse(struct fl_span text, struct proxy_resolvconf *ret_conf);

bool proxy_resolvconf_eq(const struct proxy_resolvconf *a, const struct proxy_resolvconf *b);

#endif
