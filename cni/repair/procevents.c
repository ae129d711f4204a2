#include "cni/repair/procevents.h"

#include "common/base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#define BEFORE_EVENT (NLMSG_HDRLEN + sizeof(struct cn_msg)) /* bytes of a datagram before its proc_event */
#define DATAGRAM_MAX 512
#define AT_ONCE      64        /* datagrams a system call */
#define CALLS_MAX    16        /* a turn of the loop */
#define PAUSE_MS     100       /* between two reads: a storm of execs costs ten wake-ups a second, not thousands */
#define RECEIVE_SIZE (1 << 20) /* bytes of the socket's queue: some 800 events */
#define SEQUENCE     1

/* --- what is told --- */

/* The structures are packed behind each other without regard to alignment. */
static bool read_at(const void *bytes, size_t len, size_t offset, void *ret_part, size_t size)
{
    if (len < offset + size)
        return false;
    memcpy(ret_part, (const char *)bytes + offset, size);
    return true;
}

struct cni_procevents_message cni_procevents_read(const void *bytes, size_t len)
{
    struct cni_procevents_message message = {0};
    struct nlmsghdr header;
    struct cn_msg envelope;
    uint32_t what, pid;
    if (!read_at(bytes, len, 0, &header, sizeof(header)) || header.nlmsg_type != NLMSG_DONE ||
        !read_at(bytes, len, NLMSG_HDRLEN, &envelope, sizeof(envelope)) || envelope.id.idx != CN_IDX_PROC ||
        envelope.id.val != CN_VAL_PROC ||
        !read_at(bytes, len, BEFORE_EVENT + offsetof(struct proc_event, what), &what, sizeof(what)))
        return message;
    if (what == PROC_EVENT_EXEC &&
        read_at(bytes, len, BEFORE_EVENT + offsetof(struct proc_event, event_data.exec.process_tgid), &pid,
                sizeof(pid)) &&
        pid > 0 && pid <= INT32_MAX) {
        message.kind = CNI_PROCEVENTS_EXEC;
        message.pid = (pid_t)pid;
    } else if (what == PROC_EVENT_NONE &&
               read_at(bytes, len, BEFORE_EVENT + offsetof(struct proc_event, event_data.ack.err), &pid, sizeof(pid))) {
        message.kind = CNI_PROCEVENTS_ACK;
        message.ack = envelope.ack;
        message.error = (int)pid;
    }
    return message;
}

/* --- the subscription --- */

/* Execs and acknowledgements pass, everything else is dropped before it wakes anybody. */
static int filter(int fd)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(BEFORE_EVENT + offsetof(struct proc_event, what))),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(PROC_EVENT_EXEC), 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(PROC_EVENT_NONE), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog code = {.len = FL_COUNT(program), .filter = program};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &code, sizeof(code)) < 0 ? -errno : 0;
}

static int tell_kernel(int fd, enum proc_cn_mcast_op operation)
{
    char request[NLMSG_SPACE(sizeof(struct cn_msg) + sizeof(operation))] = {0};
    const struct nlmsghdr header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct cn_msg) + sizeof(operation)),
                                    .nlmsg_type = NLMSG_DONE};
    const struct cn_msg envelope = {
        .id = {.idx = CN_IDX_PROC, .val = CN_VAL_PROC}, .seq = SEQUENCE, .len = sizeof(operation)};
    memcpy(request, &header, sizeof(header));
    memcpy(request + NLMSG_HDRLEN, &envelope, sizeof(envelope));
    memcpy(request + BEFORE_EVENT, &operation, sizeof(operation));
    return send(fd, request, header.nlmsg_len, 0) < 0 ? -errno : 0;
}

/* The kernel answers inside the send; the answer goes to everybody who listens, and ours is the one with our number. */
static int read_acknowledgement(int fd, struct fl_err *err)
{
    for (int i = 0; i < RECEIVE_SIZE / DATAGRAM_MAX; i++) {
        char bytes[DATAGRAM_MAX];
        struct sockaddr_nl from = {0};
        socklen_t size = sizeof(from);
        ssize_t got = recvfrom(fd, bytes, sizeof(bytes), MSG_DONTWAIT, (struct sockaddr *)&from, &size);
        if (got < 0)
            break;
        struct cni_procevents_message message = cni_procevents_read(bytes, (size_t)got);
        if (from.nl_pid != 0 || message.kind != CNI_PROCEVENTS_ACK || message.ack != SEQUENCE)
            continue;
        if (message.error == 0)
            return 0;
        fl_err_errno(err, -message.error, "exec events are refused");
        return CNI_PROCEVENTS_ABSENT;
    }
    fl_err_set(err, -EPERM,
               "exec events are not acknowledged: this is not the machine's first pid namespace, or "
               "CAP_NET_ADMIN is missing");
    return CNI_PROCEVENTS_ABSENT;
}

static int absent(struct fl_err *err, const char *step)
{
    fl_err_errno(err, -errno, "exec events: %s", step);
    return CNI_PROCEVENTS_ABSENT;
}

static int subscribe(int *ret_fd, struct fl_err *err)
{
    const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC};
    const int size = RECEIVE_SIZE;
    FL_CLEANUP(fl_cleanup_close)
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);
    if (fd < 0)
        return absent(err, "this kernel lacks the connector");
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    if (filter(fd) < 0)
        return absent(err, "filter");
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return absent(err, "CAP_NET_ADMIN is missing");
    int result = tell_kernel(fd, PROC_CN_MCAST_LISTEN);
    if (result < 0) {
        fl_err_errno(err, result, "exec events: this is not the machine's first network namespace");
        return CNI_PROCEVENTS_ABSENT;
    }
    result = read_acknowledgement(fd, err);
    if (result == 0)
        *ret_fd = fl_take_fd(fd);
    return result;
}

/* --- receiving --- */

static void receive(struct cni_procevents *events, const struct mmsghdr *message)
{
    const struct sockaddr_nl *from = message->msg_hdr.msg_name;
    if (from->nl_pid != 0)
        return;
    struct cni_procevents_message told = cni_procevents_read(message->msg_hdr.msg_iov->iov_base, message->msg_len);
    if (told.kind != CNI_PROCEVENTS_EXEC)
        return;
    events->execs++;
    events->on_exec(events->owner, told.pid);
}

/* Datagrams that came, or a negative errno. */
static int receive_some(struct cni_procevents *events)
{
    char bytes[AT_ONCE][DATAGRAM_MAX];
    struct sockaddr_nl from[AT_ONCE] = {0};
    struct iovec vectors[AT_ONCE];
    struct mmsghdr messages[AT_ONCE] = {0};
    for (size_t i = 0; i < AT_ONCE; i++) {
        vectors[i] = (struct iovec){bytes[i], sizeof(bytes[i])};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &from[i], .msg_namelen = sizeof(from[i]), .msg_iov = &vectors[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(events->fd, messages, AT_ONCE, MSG_DONTWAIT, NULL);
    if (count < 0)
        return -errno;
    for (int i = 0; i < count; i++)
        receive(events, &messages[i]);
    return count;
}

/* Whether anything came. */
static bool receive_all(struct cni_procevents *events)
{
    int count = AT_ONCE;
    bool any = false;
    for (int i = 0; i < CALLS_MAX && count == AT_ONCE; i++) {
        count = receive_some(events);
        any |= count > 0;
    }
    if (count == -ENOBUFS) {
        events->losses++;
        events->on_lost(events->owner);
    }
    return any || count == -ENOBUFS;
}

/* While processes keep being started, the timer alone wakes us: epoll is asked again once nothing came in a pause. */
static void on_pause_over(struct fl_timer *timer)
{
    struct cni_procevents *events = FL_CONTAINER_OF(timer, struct cni_procevents, pause);
    if (receive_all(events))
        fl_timer_set(events->source.loop, timer, PAUSE_MS, on_pause_over);
    else
        (void)!fl_source_modify(&events->source, EPOLLIN);
}

static void on_readable(struct fl_source *source, uint32_t bits)
{
    struct cni_procevents *events = FL_CONTAINER_OF(source, struct cni_procevents, source);
    (void)bits;
    (void)receive_all(events);
    if (fl_source_modify(source, 0) == 0)
        fl_timer_set(source->loop, &events->pause, PAUSE_MS, on_pause_over);
}

int cni_procevents_init(struct cni_procevents *events, struct fl_loop *loop, void (*on_exec)(void *owner, pid_t pid),
                        void (*on_lost)(void *owner), void *owner, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_close) int fd = -1;
    *events = (struct cni_procevents){.fd = -1};
    int result = subscribe(&fd, err);
    if (result != 0)
        return result;
    result = fl_source_add(loop, &events->source, fd, EPOLLIN, on_readable);
    if (result < 0)
        return fl_err_errno(err, result, "exec events");
    events->fd = fl_take_fd(fd);
    events->on_exec = on_exec;
    events->on_lost = on_lost;
    events->owner = owner;
    return 0;
}

void cni_procevents_done(struct cni_procevents *events)
{
    fl_timer_cancel(&events->pause);
    if (events->source.loop != NULL) {
        fl_source_remove(&events->source);
        (void)!tell_kernel(events->fd, PROC_CN_MCAST_IGNORE);
        close(events->fd);
    }
    *events = (struct cni_procevents){.fd = -1};
}
