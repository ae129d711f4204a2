/* Clusters whose endpoints are names (STRICT_DNS, LOGICAL_DNS): the names are asked for, and what they are is given to
 * the assembly as endpoints, so that addresses change as those of EDS do: hosts that stay keep their connections.
 *
 *   assembly: clusters of names ──► questions (upstream/resolve.h) ──► ClusterLoadAssignment "dns:<cluster>" ──►
 * assembly
 *
 * STRICT_DNS: each address of an answer is a host with the endpoint's weight, priority and metadata; where both
 * families are wanted (ALL), an IPv6 and an IPv4 address are one host, dialled as RFC 8305 says. LOGICAL_DNS: one host,
 * which stays the same as long as its address is in the answer. Asked again after dns_refresh_rate, or the answer's TTL
 * (respect_dns_ttl, 1 s at least); after a failure by dns_failure_refresh_rate. A name that is not answered, or is
 * there no longer, keeps its last addresses. One that never had any gives none: the cluster is warm, and without hosts.
 *
 * Main thread. Bounded: PROXY_NAMES_MAX names in all; clusters beyond have no endpoints, which is told once each.
 */
#ifndef PROXY_CONFIG_NAMES_H
#define PROXY_CONFIG_NAMES_H

#include "proxy/config/assembly.h"

#define PROXY_NAMES_OF_CLUSTER 64u
#define PROXY_NAMES_MAX        1024u

struct fl_loop;
struct proxy_names;

struct proxy_names_options {
    struct fl_loop *loop;
    struct proxy_assembly *assembly; /* outlives it */
    const char *resolv_conf;         /* NULL: the system's */
    void (*on_change)(void *owner);  /* the assembly has something to publish; never from within a call */
    void *owner;
};

int proxy_names_new(const struct proxy_names_options *options,
                    struct proxy_names **ret_names) FL_MUST_CHECK; /* 0, -ENOMEM */
struct proxy_names *proxy_names_free(struct proxy_names *names);   /* NULL is allowed; returns NULL */
/* The assembly's clusters may be others now. Cheap where they are not. */
void proxy_names_update(struct proxy_names *names);

#endif
