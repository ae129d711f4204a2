/* The DNS port: what the pod's queries to port 53 are redirected to where DNS is captured (common/mesh/capture.h).
 *
 * A thread of its own: a worker's turns stay as short as they are whatever is asked, and names are resolved while the
 * main thread compiles configuration for milliseconds. It needs nothing of the rest of the proxy: no configuration, no
 * control plane. It answers from the start of the process until its end, draining included.
 *
 * Listens on 127.0.0.1 and, where the netns has IPv6 and it is captured, on ::1: to nobody outside of the pod. To which
 * server a captured query was going is not known (for datagrams the kernel tells only the privileged): all go to those
 * of resolv.conf.
 */
#ifndef PROXY_DNS_SERVICE_H
#define PROXY_DNS_SERVICE_H

#include "common/base/err.h"
#include "common/metrics/registry.h"
#include "proxy/net/inherit.h"

#define PROXY_DNS_RESOLV_CONF "/etc/resolv.conf"

struct proxy_dns_service;

struct proxy_dns_options {
    uint16_t port;
    bool ipv4_only;
    const char *resolv_conf;           /* borrowed */
    unsigned long files;               /* descriptors that the process may have */
    struct proxy_inherited *inherited; /* sockets to look into first; NULL: none */
};

/* Opens the sockets and starts the thread. 0, or a negative errno with the reason (a port that is taken). */
int proxy_dns_service_new(const struct proxy_dns_options *options, struct proxy_dns_service **ret_service,
                          struct fl_err *err) FL_MUST_CHECK;
/* Stops it and waits for its thread. NULL is allowed; returns NULL. */
struct proxy_dns_service *proxy_dns_service_free(struct proxy_dns_service *service);

struct fl_metrics *proxy_dns_service_metrics(struct proxy_dns_service *service);

#endif
