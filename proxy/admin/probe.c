/* One struct dial per family. A dial lives for one interval; its source port is noted in a small ring before the SYN
 * leaves, so that the worker, who may come to it later, knows it. What crosses threads: the ring's ports, the flag
 * "arrived" (both atomic), and an eventfd that wakes the loop. */
#include "proxy/admin/probe.h"

#include "common/loop/timer.h"
#include "common/mesh/port.h"

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>

#define PORTS_KEPT    8     /* dials that a worker may still come to */
#define TELL_MS       500   /* a gate that is closed for so long is told about */
#define EAGER_MS      10000 /* then dials come less often: somebody has to repair something */
#define SLOW_RETRY_MS 500

enum { FAMILY_V4, FAMILY_V6, FAMILIES };

struct dial {
    struct proxy_address destination, any;
    int fd;                     /* -1: none under way */
    uint16_t ports[PORTS_KEPT]; /* atomic; 0: unused */
    unsigned next;
    bool arrived; /* atomic; set by a worker */
    int error;    /* of the last dial: an errno, 0 where it was taken by somebody */
};

struct proxy_gate {
    struct proxy_gate_options options;
    enum proxy_gate_state state;
    struct dial dials[FAMILIES];
    struct fl_timer retry;
    struct fl_source wake; /* eventfd */
    int wake_fd;
    uint64_t start_ms;
    bool told;
};

const char *proxy_gate_state_name(enum proxy_gate_state state)
{
    switch (state) {
#define PROXY_GATE_STATE_(name, text)                                                                                  \
    case PROXY_GATE_##name:                                                                                            \
        return text;
        PROXY_GATE_STATES(PROXY_GATE_STATE_)
#undef PROXY_GATE_STATE_
    default:
        return "?";
    }
}

enum proxy_gate_state proxy_gate_state(const struct proxy_gate *gate)
{
    return gate->state;
}

static void set_state(struct proxy_gate *gate, enum proxy_gate_state state)
{
    static const bool legal[][3] = {[PROXY_GATE_OFF] = {[PROXY_GATE_WAITING] = true},
                                    [PROXY_GATE_WAITING] = {[PROXY_GATE_OPEN] = true},
                                    [PROXY_GATE_OPEN] = {0}};
    if (legal[gate->state][state])
        gate->state = state;
}

/* -- dialling -- */

/* The netns has IPv6 where lo has ::1: asked again each time, because lo may come up after us. */
static bool has_ipv6(void)
{
    struct proxy_address loopback;
    FL_CLEANUP(fl_cleanup_close) int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && proxy_address_parse(FL_SPAN("::1"), 0, &loopback) == 0 &&
           bind(fd, &loopback.any, proxy_address_size(&loopback)) == 0;
}

static bool wants_ipv6(const struct proxy_gate *gate)
{
    return !gate->options.ipv4_only && has_ipv6();
}

static bool arrived(const struct dial *dial)
{
    return __atomic_load_n(&dial->arrived, __ATOMIC_ACQUIRE);
}

static void hang_up(struct dial *dial)
{
    if (dial->fd < 0)
        return;
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0)
        dial->error = error;
    close(dial->fd);
    dial->fd = -1;
}

static int dial_once(struct dial *dial)
{
    FL_CLEANUP(fl_cleanup_close)
    int fd = socket(dial->destination.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw);
    struct proxy_address own;
    if (fd < 0 || bind(fd, &dial->any.any, proxy_address_size(&dial->any)) != 0 ||
        getsockname(fd, (struct sockaddr *)&raw, &size) != 0)
        return -errno;
    int result = proxy_address_from_sockaddr(&raw, &own);
    if (result != 0)
        return result;
    __atomic_store_n(&dial->ports[dial->next++ % PORTS_KEPT], proxy_address_port(&own), __ATOMIC_RELEASE);
    if (connect(fd, &dial->destination.any, proxy_address_size(&dial->destination)) != 0 && errno != EINPROGRESS)
        return -errno;
    dial->fd = fl_take_fd(fd);
    return 0;
}

static void redial(struct dial *dial)
{
    hang_up(dial);
    if (arrived(dial))
        return;
    int result = dial_once(dial);
    if (result != 0)
        dial->error = -result;
}

/* -- waiting and opening -- */

static void tell_waiting(struct proxy_gate *gate, const struct dial *dial)
{
    char to[PROXY_ADDRESS_TEXT_MAX], reason[512];
    proxy_address_print(&dial->destination, to);
    snprintf(
        reason, sizeof(reason),
        "%s does not come back to port %d (%s): this network namespace has no capture rules. Is fairlead-cni in this "
        "node's CNI chain (/etc/cni/net.d), with the capability io.kubernetes.cri.pod-annotations, and was the pod "
        "made after it? The container runtime's log has what fairlead-cni said of this pod. A fairlead-agent on the "
        "node captures it where it runs; without one, make the pod anew once the chain is right.",
        to, FL_PORT_OUTBOUND, dial->error != 0 ? strerror(dial->error) : "somebody else answered");
    gate->told = true;
    if (gate->options.on_state != NULL)
        gate->options.on_state(gate->options.owner, PROXY_GATE_WAITING, reason);
}

static void open_gate(struct proxy_gate *gate)
{
    fl_timer_cancel(&gate->retry);
    for (size_t i = 0; i < FAMILIES; i++)
        hang_up(&gate->dials[i]);
    set_state(gate, PROXY_GATE_OPEN);
    if (gate->options.on_state != NULL)
        gate->options.on_state(gate->options.owner, PROXY_GATE_OPEN, NULL);
}

/* The dial that is still to come back; NULL where none is. */
static struct dial *missing(struct proxy_gate *gate)
{
    if (!arrived(&gate->dials[FAMILY_V4]))
        return &gate->dials[FAMILY_V4];
    if (!arrived(&gate->dials[FAMILY_V6]) && wants_ipv6(gate))
        return &gate->dials[FAMILY_V6];
    return NULL;
}

static void on_wake(struct fl_source *source, uint32_t events)
{
    (void)events;
    struct proxy_gate *gate = FL_CONTAINER_OF(source, struct proxy_gate, wake);
    uint64_t count;
    if (read(source->fd, &count, sizeof(count)) < 0)
        return;
    if (gate->state == PROXY_GATE_WAITING && missing(gate) == NULL)
        open_gate(gate);
}

static void on_retry(struct fl_timer *timer)
{
    struct proxy_gate *gate = FL_CONTAINER_OF(timer, struct proxy_gate, retry);
    struct dial *dial = missing(gate);
    if (dial == NULL) { /* lo lost its IPv6 meanwhile */
        open_gate(gate);
        return;
    }
    uint64_t waited = fl_loop_now_ms(gate->options.loop) - gate->start_ms;
    redial(&gate->dials[FAMILY_V4]);
    if (wants_ipv6(gate))
        redial(&gate->dials[FAMILY_V6]);
    fl_timer_set(gate->options.loop, &gate->retry, waited < EAGER_MS ? PROXY_GATE_RETRY_MS : SLOW_RETRY_MS, on_retry);
    if (!gate->told && waited >= TELL_MS)
        tell_waiting(gate, dial);
}

void proxy_gate_dial(struct proxy_gate *gate)
{
    if (gate != NULL && gate->state == PROXY_GATE_WAITING && gate->start_ms != 0)
        fl_timer_set(gate->options.loop, &gate->retry, 0, on_retry);
}

static void on_start(struct fl_timer *timer)
{
    struct proxy_gate *gate = FL_CONTAINER_OF(timer, struct proxy_gate, retry);
    gate->start_ms = fl_loop_now_ms(gate->options.loop);
    on_retry(timer);
}

/* -- life -- */

static int init_dial(struct dial *dial, const char *destination, const char *any)
{
    dial->fd = -1;
    int result = proxy_address_parse(fl_span_str(destination), FL_PORT_PROBE, &dial->destination);
    return result != 0 ? result : proxy_address_parse(fl_span_str(any), 0, &dial->any);
}

int proxy_gate_new(const struct proxy_gate_options *options, struct proxy_gate **ret_gate)
{
    struct proxy_gate *gate = calloc(1, sizeof(*gate));
    if (gate == NULL)
        return -ENOMEM;
    gate->options = *options;
    gate->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int result = gate->wake_fd < 0 ? -errno : 0;
    if (result == 0)
        result = init_dial(&gate->dials[FAMILY_V4], FL_PASSTHROUGH_IPV4, "0.0.0.0");
    if (result == 0)
        result = init_dial(&gate->dials[FAMILY_V6], FL_PASSTHROUGH_IPV6, "::");
    if (result == 0)
        result = fl_source_add(options->loop, &gate->wake, gate->wake_fd, EPOLLIN, on_wake);
    if (result != 0) {
        if (gate->wake_fd >= 0)
            close(gate->wake_fd);
        free(gate);
        return result;
    }
    if (options->wait) {
        set_state(gate, PROXY_GATE_WAITING);
        fl_timer_set(options->loop, &gate->retry, 0, on_start);
    }
    *ret_gate = gate;
    return 0;
}

struct proxy_gate *proxy_gate_free(struct proxy_gate *gate)
{
    if (gate == NULL)
        return NULL;
    fl_timer_cancel(&gate->retry);
    fl_source_remove(&gate->wake);
    close(gate->wake_fd);
    for (size_t i = 0; i < FAMILIES; i++)
        hang_up(&gate->dials[i]);
    free(gate);
    return NULL;
}

bool proxy_gate_arrived(struct proxy_gate *gate, const struct proxy_address *peer, const struct proxy_address *original)
{
    if (gate == NULL || !proxy_address_is_probe(original) || peer->any.sa_family != original->any.sa_family ||
        proxy_address_port(peer) == 0)
        return false;
    struct dial *dial = &gate->dials[original->any.sa_family == AF_INET ? FAMILY_V4 : FAMILY_V6];
    for (size_t i = 0; i < PORTS_KEPT; i++) {
        if (__atomic_load_n(&dial->ports[i], __ATOMIC_ACQUIRE) != proxy_address_port(peer))
            continue;
        __atomic_store_n(&dial->arrived, true, __ATOMIC_RELEASE);
        uint64_t one = 1;
        return write(gate->wake_fd, &one, sizeof(one)) >= 0 || errno == EAGAIN; /* EAGAIN: it is awake already */
    }
    return false;
}
