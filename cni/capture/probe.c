/* Order matters: connection tracking is listened to before the dial leaves, and asked after it came to an end: on lo
 * the kernel has told by then. A dial is known by its family and its source port, which is bound before. */
#include "cni/capture/probe.h"

#include "cni/capture/flow.h"
#include "cni/capture/netlink.h"
#include "cni/capture/netns.h"
#include "common/mesh/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#define EVENTS_FILE "/proc/sys/net/netfilter/nf_conntrack_events" /* of the netns of the thread that opens it */
#define TRIES_MAX   4                                             /* where events were lost */

const char *cni_probe_verdict_name(enum cni_probe_verdict verdict)
{
    static const char *const names[] = {[CNI_PROBE_REDIRECTED] = "redirected",
                                        [CNI_PROBE_NOT_ASKED] = "not asked",
                                        [CNI_PROBE_ASTRAY] = "astray",
                                        [CNI_PROBE_UNKNOWN] = "unknown"};
    return (size_t)verdict < FL_COUNT(names) ? names[verdict] : "?";
}

bool cni_probe_passed(const struct cni_probe *probe)
{
    for (size_t i = 0; i < CNI_PROBE_FAMILIES; i++)
        if (probe->dials[i].verdict != CNI_PROBE_REDIRECTED && probe->dials[i].verdict != CNI_PROBE_NOT_ASKED)
            return false;
    return true;
}

/* --- judging --- */

static const char *address_of(enum cni_probe_family family)
{
    return family == CNI_PROBE_IPV4 ? FL_PASSTHROUGH_IPV4 : FL_PASSTHROUGH_IPV6;
}

static enum cni_probe_verdict judge_tracked(const struct cni_probe_sight *sight, uint16_t outbound_port, char *text,
                                            size_t size)
{
    if (sight->from_port != outbound_port) {
        snprintf(text, size, sight->from_port == FL_PORT_PROBE ? "no rule redirected it" : "redirected to port %u",
                 sight->from_port);
        return CNI_PROBE_ASTRAY;
    }
    snprintf(text, size, "redirected to port %u%s%s", outbound_port, sight->dial == 0 ? ", which answered" : ": ",
             sight->dial == 0              ? ""
             : sight->dial == ECONNREFUSED ? "nobody listens there now"
                                           : strerror(sight->dial));
    return CNI_PROBE_REDIRECTED;
}

/* Connection tracking sees what rules of type nat see. Where it heard nothing there are none, or the dial did not
 * leave. */
static enum cni_probe_verdict judge_untracked(const struct cni_probe_sight *sight, enum cni_probe_family family,
                                              char *text, size_t size)
{
    if (sight->address_missing && sight->dial != 0)
        snprintf(text, size, "%s is on no interface here: %s", address_of(family), strerror(sight->dial));
    else if (sight->dial == ECONNREFUSED || sight->dial == 0)
        snprintf(text, size, "no rule redirected it");
    else
        snprintf(text, size, "the dial failed: %s", strerror(sight->dial));
    return CNI_PROBE_ASTRAY;
}

/* Without connection tracking. */
static enum cni_probe_verdict judge_answer(const struct cni_probe_sight *sight, char *text, size_t size)
{
    if (sight->dial == 0 && !sight->occupied) {
        snprintf(text, size, "redirected: it was answered, though nobody listens on port %u", FL_PORT_PROBE);
        return CNI_PROBE_REDIRECTED;
    }
    if (sight->dial == 0)
        snprintf(text, size, "somebody listens on port %u itself, and this kernel does not tell where a dial goes",
                 FL_PORT_PROBE);
    else
        snprintf(text, size, "nobody answered (%s), and this kernel does not tell where a dial goes",
                 strerror(sight->dial));
    return CNI_PROBE_UNKNOWN;
}

void cni_probe_judge(const struct cni_probe_sight *sight, enum cni_probe_family family, uint16_t outbound_port,
                     struct cni_probe_dial *ret_dial)
{
    char *text = ret_dial->text;
    size_t size = sizeof(ret_dial->text);
    ret_dial->answered = sight->asked && sight->dial == 0;
    if (!sight->asked) {
        ret_dial->verdict = CNI_PROBE_NOT_ASKED;
        snprintf(text, size, "%s", sight->wanted ? "this network namespace has no IPv6" : "IPv6 is not captured");
    } else if (sight->tracked) {
        ret_dial->verdict = judge_tracked(sight, outbound_port, text, size);
    } else if (sight->hearing || (sight->address_missing && sight->dial != 0)) {
        ret_dial->verdict = judge_untracked(sight, family, text, size);
    } else {
        ret_dial->verdict = judge_answer(sight, text, size);
    }
}

/* --- sockets in the netns --- */

union address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

struct end {
    int keeper; /* has the reserved port, where it could; -1 */
    int dial;   /* -1 */
    uint16_t port;
    union address destination;
    struct cni_probe_sight sight;
};

struct probing {
    struct cni_netlink netlink;
    bool lost; /* of events: ask again */
    struct end ends[CNI_PROBE_FAMILIES];
};

static void probing_close(struct probing *probing)
{
    cni_netlink_close(&probing->netlink);
    for (size_t i = 0; i < CNI_PROBE_FAMILIES; i++) {
        fl_cleanup_close(&probing->ends[i].keeper);
        fl_cleanup_close(&probing->ends[i].dial);
    }
}

/* `text`: "" is any address. */
static socklen_t make_address(enum cni_probe_family family, const char *text, uint16_t port, union address *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (family == CNI_PROBE_IPV4) {
        ret->ipv4.sin_family = AF_INET;
        ret->ipv4.sin_port = htons(port);
        (void)!inet_pton(AF_INET, text, &ret->ipv4.sin_addr);
        return sizeof(ret->ipv4);
    }
    ret->ipv6.sin6_family = AF_INET6;
    ret->ipv6.sin6_port = htons(port);
    (void)!inet_pton(AF_INET6, text, &ret->ipv6.sin6_addr);
    return sizeof(ret->ipv6);
}

/* A socket that has that address and port; or a negative errno. */
static int bind_socket(enum cni_probe_family family, const char *text, uint16_t port)
{
    union address address;
    socklen_t size = make_address(family, text, port, &address);
    FL_CLEANUP(fl_cleanup_close) int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, &address.any, size) < 0)
        return -errno;
    return fl_take_fd(fd);
}

static bool has_ipv6(void)
{
    FL_CLEANUP(fl_cleanup_close) int fd = bind_socket(CNI_PROBE_IPV6, "::1", 0);
    return fd >= 0;
}

static int open_end(enum cni_probe_family family, struct end *end, struct fl_err *err)
{
    union address own;
    socklen_t size = sizeof(own);
    end->keeper = bind_socket(family, address_of(family), FL_PORT_PROBE);
    end->sight.address_missing = end->keeper == -EADDRNOTAVAIL;
    end->sight.occupied = end->keeper < 0;
    if (end->keeper < 0)
        end->keeper = -1;
    int fd = bind_socket(family, "", 0);
    if (fd < 0)
        return fl_err_errno(err, fd, "open a socket to dial with");
    end->dial = fd;
    if (getsockname(fd, &own.any, &size) < 0)
        return fl_err_errno(err, -errno, "open a socket to dial with");
    end->port = ntohs(family == CNI_PROBE_IPV4 ? own.ipv4.sin_port : own.ipv6.sin6_port);
    return 0;
}

/* Whether the netns tells what it tracks: not where a person switched that off. */
static bool tells_events(void)
{
    char value = 0;
    FL_CLEANUP(fl_cleanup_close) int fd = open(EVENTS_FILE, O_RDONLY | O_CLOEXEC);
    return fd < 0 || read(fd, &value, 1) != 1 || value != '0';
}

/* True where connection tracking will tell. Asking first loads ctnetlink; joining alone would not wait for that. */
static bool listen_to_tracking(struct cni_netlink *netlink)
{
    _Alignas(struct nlmsghdr) char request[CNI_FLOW_REQUEST_MAX];
    if (cni_netlink_open(netlink, NETLINK_NETFILTER, NULL) < 0)
        return false;
    return cni_netlink_ask(netlink, cni_flow_request(request), NULL, NULL, NULL) >= 0 &&
           cni_netlink_join(netlink, NFNLGRP_CONNTRACK_NEW, NULL) == 0;
}

static int open_here(const struct fl_capture *capture, struct probing *probing, struct fl_err *err)
{
    bool hearing = tells_events() && listen_to_tracking(&probing->netlink);
    int result = 0;
    for (size_t i = 0; i < CNI_PROBE_FAMILIES && result == 0; i++) {
        struct end *end = &probing->ends[i];
        end->sight.wanted = i == CNI_PROBE_IPV4 || capture->ipv6;
        end->sight.asked = end->sight.wanted && (i == CNI_PROBE_IPV4 || has_ipv6());
        end->sight.hearing = hearing;
        if (end->sight.asked)
            result = open_end((enum cni_probe_family)i, end, err);
    }
    return result;
}

static int probing_open(int netns, const struct fl_capture *capture, struct probing *probing, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_close) int back = -1;
    *probing = (struct probing){.ends = {{.keeper = -1, .dial = -1}, {.keeper = -1, .dial = -1}}};
    int result = cni_netns_enter(netns, &back, err);
    if (result < 0)
        return result;
    result = open_here(capture, probing, err);
    int left = cni_netns_leave(back, result < 0 ? NULL : err);
    return result < 0 ? result : left;
}

/* --- dialling, and listening --- */

static int await(int fd)
{
    struct pollfd waited = {.fd = fd, .events = POLLOUT};
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t end = now.tv_sec * 1000 + now.tv_nsec / 1000000 + CNI_PROBE_WAIT_MS;
    for (int64_t left = CNI_PROBE_WAIT_MS; left > 0;
         left = end - (now.tv_sec * 1000 + now.tv_nsec / 1000000)) { /* signals interrupt */
        int ready = poll(&waited, 1, (int)left);
        if (ready >= 0 || errno != EINTR) {
            int error = ETIMEDOUT;
            socklen_t size = sizeof(error);
            return ready <= 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? ETIMEDOUT : error;
        }
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    }
    return ETIMEDOUT;
}

static void dial(enum cni_probe_family family, struct end *end)
{
    socklen_t size = make_address(family, address_of(family), FL_PORT_PROBE, &end->destination);
    end->sight.dial = connect(end->dial, &end->destination.any, size) == 0 ? 0 : errno;
    if (end->sight.dial == EINPROGRESS)
        end->sight.dial = await(end->dial);
}

/* The destination's port is not asked for: a redirection is what the reply tells. */
static void hear(const struct nlmsghdr *message, void *context)
{
    struct probing *probing = context;
    struct cni_flow flow;
    if (!cni_flow_read(message, &flow) || flow.protocol != IPPROTO_TCP ||
        flow.original.destination_port != FL_PORT_PROBE)
        return;
    struct end *end = &probing->ends[flow.family == AF_INET ? CNI_PROBE_IPV4 : CNI_PROBE_IPV6];
    const void *address = flow.family == AF_INET ? (const void *)&end->destination.ipv4.sin_addr
                                                 : (const void *)&end->destination.ipv6.sin6_addr;
    if (end->dial < 0 || flow.original.source_port != end->port ||
        memcmp(flow.original.destination, address, flow.family == AF_INET ? 4 : 16) != 0)
        return;
    end->sight.tracked = true;
    end->sight.from_port = flow.reply.source_port;
}

/* Once. 0 or a negative errno. */
static int probe_once(int netns, const struct fl_capture *capture, bool *ret_lost, struct cni_probe *ret_probe,
                      struct fl_err *err)
{
    FL_CLEANUP(probing_close) struct probing probing;
    int result = probing_open(netns, capture, &probing, err);
    if (result < 0)
        return result;
    for (size_t i = 0; i < CNI_PROBE_FAMILIES; i++)
        if (probing.ends[i].sight.asked)
            dial((enum cni_probe_family)i, &probing.ends[i]);
    if (probing.ends[CNI_PROBE_IPV4].sight.hearing)
        *ret_lost = cni_netlink_hear(&probing.netlink, hear, &probing) != 0;
    for (size_t i = 0; i < CNI_PROBE_FAMILIES; i++) {
        probing.ends[i].sight.hearing &= !*ret_lost;
        cni_probe_judge(&probing.ends[i].sight, (enum cni_probe_family)i, capture->outbound_port, &ret_probe->dials[i]);
    }
    return 0;
}

int cni_probe_run(int netns, const struct fl_capture *capture, struct cni_probe *ret_probe, struct fl_err *err)
{
    bool lost = true;
    int result = 0;
    for (int i = 0; i < TRIES_MAX && result == 0 && lost; i++) {
        lost = false;
        result = probe_once(netns, capture, &lost, ret_probe, err);
    }
    return result;
}
