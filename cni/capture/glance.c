#include "cni/capture/glance.h"

#include "cni/capture/attribute.h"
#include "cni/capture/iptableskernel.h"
#include "cni/capture/netns.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define ANSWER_MAX 512 /* one message: generation, pid and name of who made it */

/* --- nf_tables --- */

static int read_generation(const char *bytes, size_t len, uint32_t *ret_generation)
{
    const struct nlattr *found[NFTA_GEN_MAX + 1];
    char text[CNI_NETLINK_TEXT_MAX];
    struct fl_span rest = fl_span_make(bytes, len);
    int code = -EPROTO;
    const struct nlmsghdr *message = cni_messages_next(&rest);
    if (message == NULL)
        return -EPROTO;
    if (message->nlmsg_type == NLMSG_ERROR)
        return cni_netlink_read_error(message, &code, text, sizeof(text)) && code < 0 ? code : -EPROTO;
    cni_attributes_of_message(message, sizeof(struct nfgenmsg), found, FL_COUNT(found));
    return message->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN) &&
                   cni_attribute_u32(found[NFTA_GEN_ID], ret_generation)
               ? 0
               : -EPROTO;
}

/* One question on a bare socket, because cni_netlink's 32 KiB, its options and the acknowledgement would cost half as
 * much again. Connected: the kernel lets nobody else's message through. */
static int ask_generation(uint32_t *ret_generation)
{
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    const struct {
        struct nlmsghdr header;
        struct nfgenmsg family;
    } request = {{.nlmsg_len = sizeof(request),
                  .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
                  .nlmsg_flags = NLM_F_REQUEST},
                 {.version = NFNETLINK_V0}};
    _Alignas(struct nlmsghdr) char answer[ANSWER_MAX];
    FL_CLEANUP(fl_cleanup_close) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0 ||
        send(fd, &request, sizeof(request), 0) < 0)
        return -errno;
    ssize_t len = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
    return len < 0 ? -errno : read_generation(answer, (size_t)len, ret_generation);
}

/* A kernel without nfnetlink, or without nf_tables, has no commits: 0, for ever. */
static int look_at_nftables(uint64_t *ret_number, struct fl_err *err)
{
    uint32_t generation = 0;
    int result = ask_generation(&generation);
    bool lacks = result == -EPROTONOSUPPORT || result == -EOPNOTSUPP || result == -EINVAL;
    if (result < 0 && !lacks)
        return fl_err_errno(err, result, "ask for the generation of nf_tables");
    *ret_number = generation;
    return 0;
}

/* --- iptables --- */

static int look_at_legacy(struct cni_glance *glance, struct fl_err *err)
{
    struct cni_netlink closed = {0};
    struct cni_iptables_kernel kernel;
    struct cni_iptables_traces traces;
    int result = cni_iptables_kernel_open(&kernel, err);
    if (result < 0)
        return result;
    result = cni_iptables_kernel_read(&kernel, &closed, &traces, err);
    cni_iptables_kernel_close(&kernel);
    if (result < 0)
        return result;
    glance->legacy = cni_iptables_traces_any(&traces);
    if (glance->legacy)
        glance->rules = (glance->rules + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ traces.digest;
    return 0;
}

/* --- lo --- */

/* ::6 is there where a socket can be bound to it. */
static void look_at_loopback(struct cni_glance *glance)
{
    FL_CLEANUP(fl_cleanup_close) int six = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    FL_CLEANUP(fl_cleanup_close) int four = six < 0 ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    struct ifreq request = {.ifr_name = "lo"};
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    address.sin6_addr.s6_addr[15] = 6; /* FL_PASSTHROUGH_IPV6 */
    glance->up = ioctl(six < 0 ? four : six, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) != 0;
    glance->passthrough = six >= 0 && bind(six, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

/* --- the visit --- */

static int look(bool legacy, struct cni_glance *glance, struct fl_err *err)
{
    int result = look_at_nftables(&glance->rules, err);
    if (result == 0 && legacy)
        result = look_at_legacy(glance, err);
    if (result == 0)
        look_at_loopback(glance);
    return result;
}

static int visit(int netns, int home, bool legacy, struct cni_glance *ret_glance, struct fl_err *err)
{
    struct cni_glance glance = {0};
    int result = cni_netns_go(netns, err);
    if (result < 0)
        return result;
    result = look(legacy, &glance, err);
    int left = cni_netns_leave(home, result < 0 ? NULL : err);
    if (result == 0)
        result = left;
    if (result == 0)
        *ret_glance = glance;
    return result;
}

int cni_glance_first(int netns, int home, struct cni_glance *ret_glance, struct fl_err *err)
{
    return visit(netns, home, true, ret_glance, err);
}

int cni_glance_again(int netns, int home, const struct cni_glance *before, struct cni_glance *ret_glance,
                     struct fl_err *err)
{
    return visit(netns, home, before->legacy, ret_glance, err);
}

bool cni_glance_same(const struct cni_glance *a, const struct cni_glance *b)
{
    return a->rules == b->rules && a->legacy == b->legacy && a->up == b->up && a->passthrough == b->passthrough;
}
