#include "cni/capture/netlink.h"

#include "cni/capture/attribute.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <sys/socket.h>

/* The kernel fills at most this much of one read with a dump (netlink_dump in af_netlink.c). */
#define BUFFER_SIZE 32768
/* Read at once, more than a socket's queue holds: a netns that is busy for ever does not keep us reading. */
#define EVENTS_MAX 4096

/* Not bound: the kernel gives the socket an address when it is connected. That is to the kernel itself, which then lets
 * no message of another process through: a container with CAP_NET_ADMIN could keep us reading its own for ever. */
int cni_netlink_open(struct cni_netlink *netlink, int bus, struct fl_err *err)
{
    const int on = 1;
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    *netlink = (struct cni_netlink){.socket = mnl_socket_open2(bus, SOCK_CLOEXEC)};
    if (netlink->socket == NULL)
        return fl_err_errno(err, -errno, "open a netlink socket of bus %d", bus);
    if (connect(mnl_socket_get_fd(netlink->socket), (const struct sockaddr *)&kernel, sizeof(kernel)) < 0) {
        int code = -errno;
        cni_netlink_close(netlink);
        return fl_err_errno(err, code, "connect a netlink socket of bus %d", bus);
    }
    netlink->buffer = malloc(BUFFER_SIZE);
    if (netlink->buffer == NULL) {
        cni_netlink_close(netlink);
        return fl_err_errno(err, -ENOMEM, "open a netlink socket");
    }
    /* Better errors where the kernel has them; no failure where it has not. */
    (void)mnl_socket_setsockopt(netlink->socket, NETLINK_EXT_ACK, (void *)(uintptr_t)&on, sizeof(on));
    (void)mnl_socket_setsockopt(netlink->socket, NETLINK_CAP_ACK, (void *)(uintptr_t)&on, sizeof(on));
    return 0;
}

void cni_netlink_close(struct cni_netlink *netlink)
{
    if (netlink->socket != NULL)
        mnl_socket_close(netlink->socket);
    free(netlink->buffer);
    *netlink = (struct cni_netlink){0};
}

bool cni_netlink_read_error(const struct nlmsghdr *message, int *ret_code, char *ret_text, size_t text_size)
{
    const struct nlattr *found[NLMSGERR_ATTR_MSG + 1];
    struct nlmsgerr error;
    if (message->nlmsg_len < sizeof(struct nlmsghdr) + sizeof(error))
        return false;
    memcpy(&error, (const char *)message + sizeof(struct nlmsghdr), sizeof(error));
    size_t head = sizeof(error);
    if ((message->nlmsg_flags & NLM_F_CAPPED) == 0 && error.msg.nlmsg_len > sizeof(struct nlmsghdr))
        head += error.msg.nlmsg_len - sizeof(struct nlmsghdr);
    ret_text[0] = '\0';
    if ((message->nlmsg_flags & NLM_F_ACK_TLVS) != 0) {
        cni_attributes_of_message(message, head, found, NLMSGERR_ATTR_MSG + 1);
        struct fl_span text = cni_attribute_text(found[NLMSGERR_ATTR_MSG]);
        size_t size = text.len < text_size - 1 ? text.len : text_size - 1;
        if (size > 0)
            memcpy(ret_text, text.data, size);
        ret_text[size] = '\0';
    }
    *ret_code = error.error > 0 ? -EPROTO : error.error;
    return true;
}

static int send_all(struct cni_netlink *netlink, const void *data, size_t size)
{
    ssize_t sent = send(mnl_socket_get_fd(netlink->socket), data, size, 0);
    if (sent == (ssize_t)size)
        return 0;
    if (sent >= 0)
        return -EIO;
    return errno == ENOBUFS || errno == EAGAIN || errno == EINTR ? CNI_NETLINK_AGAIN : -errno;
}

/* One read of the kernel's answers. 0 with *ret_size; -EAGAIN where there are none (left); CNI_NETLINK_AGAIN where some
 * were lost. */
static int receive(struct cni_netlink *netlink, size_t *ret_size)
{
    for (;;) {
        struct sockaddr_nl from = {0};
        socklen_t from_size = sizeof(from);
        ssize_t size = recvfrom(mnl_socket_get_fd(netlink->socket), netlink->buffer, BUFFER_SIZE,
                                MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&from, &from_size);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return errno == ENOBUFS ? CNI_NETLINK_AGAIN : -errno;
        if (from.nl_pid != 0)
            continue;
        if (size > BUFFER_SIZE)
            return CNI_NETLINK_AGAIN;
        *ret_size = (size_t)size;
        return 0;
    }
}

struct answer {
    bool complete, interrupted;
    int code;
    char text[CNI_NETLINK_TEXT_MAX];
};

/* Ends on the kernel's end mark or acknowledgement of this request. */
static void take_answers(struct cni_netlink *netlink, size_t size, cni_netlink_reader *read, void *context,
                         struct answer *answer)
{
    struct fl_span rest = fl_span_make(netlink->buffer, size);
    for (const struct nlmsghdr *message = cni_messages_next(&rest); message != NULL;
         message = cni_messages_next(&rest)) {
        if (message->nlmsg_seq != netlink->sequence)
            continue;
        answer->interrupted |= (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        if (message->nlmsg_type == NLMSG_ERROR) {
            answer->complete = true;
            if (!cni_netlink_read_error(message, &answer->code, answer->text, sizeof(answer->text)))
                answer->code = -EPROTO;
        } else if (message->nlmsg_type == NLMSG_DONE) {
            answer->complete = true;
            if (message->nlmsg_len >= sizeof(struct nlmsghdr) + sizeof(answer->code))
                memcpy(&answer->code, (const char *)message + sizeof(struct nlmsghdr), sizeof(answer->code));
        } else if (message->nlmsg_type >= NLMSG_MIN_TYPE && read != NULL) {
            read(message, context);
        }
    }
}

int cni_netlink_ask(struct cni_netlink *netlink, struct nlmsghdr *request, cni_netlink_reader *read, void *context,
                    struct fl_err *err)
{
    struct answer answer = {0};
    size_t total = 0;
    request->nlmsg_seq = ++netlink->sequence;
    int result = send_all(netlink, request, request->nlmsg_len);
    while (result == 0 && !answer.complete) {
        size_t size = 0;
        result = receive(netlink, &size);
        total += size;
        if (netlink->answers_max > 0 && total > netlink->answers_max)
            return fl_err_set(err, -EMSGSIZE, "more than %zu bytes of answers", netlink->answers_max);
        if (result == 0)
            take_answers(netlink, size, read, context, &answer);
    }
    if (result == CNI_NETLINK_AGAIN || (result == 0 && (answer.interrupted || answer.code == -EINTR)))
        return CNI_NETLINK_AGAIN;
    if (result == -EAGAIN)
        return fl_err_set(err, -EPROTO, "the kernel did not answer a netlink request");
    if (result == 0 && answer.code < 0 && answer.text[0] != '\0')
        return fl_err_set(err, answer.code, "%s (%s)", strerror(-answer.code), answer.text);
    if (result < 0 || answer.code < 0)
        return fl_err_set(err, result < 0 ? result : answer.code, "%s", strerror(result < 0 ? -result : -answer.code));
    return 0;
}

/* The first failure counts; true once the batch's acknowledgement came. */
static bool take_acknowledgements(struct cni_netlink *netlink, size_t size, uint32_t acknowledged,
                                  cni_netlink_reader *read, void *context, struct cni_netlink_failure *failure)
{
    bool done = false;
    struct fl_span rest = fl_span_make(netlink->buffer, size);
    for (const struct nlmsghdr *message = cni_messages_next(&rest); message != NULL;
         message = cni_messages_next(&rest)) {
        char text[CNI_NETLINK_TEXT_MAX];
        int code;
        if (message->nlmsg_type >= NLMSG_MIN_TYPE && read != NULL)
            read(message, context);
        if (message->nlmsg_type != NLMSG_ERROR || !cni_netlink_read_error(message, &code, text, sizeof(text)))
            continue;
        if (code < 0 && failure->code == 0) {
            failure->code = code;
            failure->sequence = message->nlmsg_seq;
            memcpy(failure->text, text, sizeof(text));
        }
        done |= code == 0 && message->nlmsg_seq == acknowledged;
    }
    return done;
}

int cni_netlink_batch(struct cni_netlink *netlink, const void *batch, size_t len, uint32_t acknowledged,
                      cni_netlink_reader *read, void *context, struct cni_netlink_failure *ret_failure)
{
    bool done = false;
    int result = send_all(netlink, batch, len);
    *ret_failure = (struct cni_netlink_failure){.code = result < 0 ? result : 0};
    while (result == 0) {
        size_t size = 0;
        result = receive(netlink, &size);
        if (result == 0)
            done |= take_acknowledgements(netlink, size, acknowledged, read, context, ret_failure);
    }
    if (ret_failure->code == -EAGAIN || ret_failure->code == -ERESTART || ret_failure->code == -EINTR)
        return CNI_NETLINK_AGAIN;
    if (ret_failure->code < 0)
        return ret_failure->code;
    return done && result == -EAGAIN ? 0 : CNI_NETLINK_AGAIN;
}

int cni_netlink_join(struct cni_netlink *netlink, unsigned group, struct fl_err *err)
{
    const int number = (int)group;
    if (mnl_socket_setsockopt(netlink->socket, NETLINK_ADD_MEMBERSHIP, (void *)(uintptr_t)&number, sizeof(number)) < 0)
        return fl_err_errno(err, -errno, "listen to netlink's group %u", group);
    return 0;
}

int cni_netlink_hear(struct cni_netlink *netlink, cni_netlink_reader *read, void *context)
{
    size_t size = 0;
    int result = 0;
    for (int i = 0; i < EVENTS_MAX && (result = receive(netlink, &size)) == 0; i++) {
        struct fl_span rest = fl_span_make(netlink->buffer, size);
        for (const struct nlmsghdr *message = cni_messages_next(&rest); message != NULL;
             message = cni_messages_next(&rest))
            if (message->nlmsg_type >= NLMSG_MIN_TYPE)
                read(message, context);
    }
    return result == -EAGAIN ? 0 : result == 0 ? CNI_NETLINK_AGAIN : result;
}
