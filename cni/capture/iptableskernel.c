#include "cni/capture/iptableskernel.h"

#include "cni/capture/attribute.h"
#include "cni/capture/iptablestext.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

#define NAMES_MAX   1024
#define STARTS_MAX  64                 /* chains of ours in one table; a plan has less than ten */
#define ENTRIES_MAX (16 * 1024 * 1024) /* bytes of a table; some 100,000 rules */
#define TRIES_MAX   8

static const char *const table_names[CNI_IPTABLES_TABLES] = {"raw", "mangle", "nat"};

/* Both families have the same calls and forms, but for the size of an entry's head. */
static const struct {
    int domain, level;
    const char *names;
    uint8_t family;                                 /* of nfnetlink */
    size_t head, target_offset, next_offset, count; /* bytes of an entry's head; where its members are */
} families[CNI_FAMILIES] = {
    {AF_INET, SOL_IP, "/proc/thread-self/net/ip_tables_names", NFPROTO_IPV4, sizeof(struct ipt_entry),
     offsetof(struct ipt_entry, target_offset), offsetof(struct ipt_entry, next_offset),
     offsetof(struct ipt_entry, counters)},
    {AF_INET6, SOL_IPV6, "/proc/thread-self/net/ip6_tables_names", NFPROTO_IPV6, sizeof(struct ip6t_entry),
     offsetof(struct ip6t_entry, target_offset), offsetof(struct ip6t_entry, next_offset),
     offsetof(struct ip6t_entry, counters)},
};

/* --- opening --- */

/* One name a line, nothing without the module. */
static int read_names(struct cni_iptables_kernel *kernel, int family, struct fl_err *err)
{
    char text[NAMES_MAX];
    struct fl_span rest, name;
    FL_CLEANUP(fl_cleanup_close) int fd = open(families[family].names, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text));
    if (size < 0)
        return fl_err_errno(err, -errno, "read %s", families[family].names);
    rest = fl_span_make(text, (size_t)size);
    while (fl_span_split(&rest, '\n', &name)) {
        for (size_t i = 0; i < CNI_IPTABLES_TABLES; i++)
            kernel->tables[family][i] |= fl_span_eq_str(name, table_names[i]);
    }
    return 0;
}

static int open_family(struct cni_iptables_kernel *kernel, int family, struct fl_err *err)
{
    bool any = false;
    int result = read_names(kernel, family, err);
    for (size_t i = 0; i < CNI_IPTABLES_TABLES; i++)
        any |= kernel->tables[family][i];
    if (result < 0 || !any)
        return result;
    kernel->sockets[family] = socket(families[family].domain, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return kernel->sockets[family] < 0 ? fl_err_errno(err, -errno, "open a socket") : 0;
}

int cni_iptables_kernel_open(struct cni_iptables_kernel *ret_kernel, struct fl_err *err)
{
    struct cni_iptables_kernel kernel = {.sockets = {-1, -1}};
    FL_CLEANUP(fl_cleanup_close) int probe = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    kernel.ipv6 = probe >= 0;
    int result = open_family(&kernel, CNI_IPV4, err);
    if (result == 0 && kernel.ipv6)
        result = open_family(&kernel, CNI_IPV6, err);
    if (result < 0)
        cni_iptables_kernel_close(&kernel);
    else
        *ret_kernel = kernel;
    return result;
}

void cni_iptables_kernel_close(struct cni_iptables_kernel *kernel)
{
    for (int family = 0; family < CNI_FAMILIES; family++) {
        fl_cleanup_close(&kernel->sockets[family]);
        kernel->sockets[family] = -1;
    }
}

/* --- the entries of a table --- */

struct entry {
    char *data; /* head, matches, target */
    size_t head, target, len;
};

static uint16_t number_at(const char *data)
{
    uint16_t number;
    memcpy(&number, data, sizeof(number));
    return number;
}

/* The entry at *offset; false at the end, or where sizes do not fit. */
static bool next_entry(int family, char *entries, size_t len, size_t *offset, struct entry *ret_entry)
{
    const size_t head = families[family].head;
    if (len - *offset < head)
        return false;
    char *data = entries + *offset;
    size_t target = number_at(data + families[family].target_offset);
    size_t size = number_at(data + families[family].next_offset);
    if (target < head || size < target + sizeof(struct xt_entry_target) || size > len - *offset)
        return false;
    *ret_entry = (struct entry){data, head, target, size};
    *offset += size;
    return true;
}

static bool is_target(const struct entry *entry, const char *name, size_t size)
{
    const char *target = entry->data + entry->target + offsetof(struct xt_entry_target, u.user.name);
    return entry->len - entry->target >= size && strncmp(target, name, XT_EXTENSION_MAXNAMELEN) == 0;
}

/* The mark at the head of a chain, with its name. */
static bool begins_our_chain(const struct entry *entry)
{
    const char *name = entry->data + entry->target + offsetof(struct xt_error_target, errorname);
    return is_target(entry, XT_ERROR_TARGET, sizeof(struct xt_error_target)) &&
           strncmp(name, CNI_IPTABLES_PREFIX, sizeof(CNI_IPTABLES_PREFIX) - 1) == 0;
}

/* A rule that goes to the chain whose rules begin at that offset; 0: none. */
static size_t goes_to(const struct entry *entry)
{
    int verdict;
    if (!is_target(entry, XT_STANDARD_TARGET, sizeof(struct xt_standard_target)))
        return 0;
    memcpy(&verdict, entry->data + entry->target + offsetof(struct xt_standard_target, verdict), sizeof(verdict));
    return verdict > 0 ? (size_t)verdict : 0;
}

static void take_comment(const struct entry *entry, struct cni_iptables_traces *traces)
{
    for (size_t at = entry->head; entry->target - at >= sizeof(struct xt_entry_match);) {
        const char *match = entry->data + at;
        size_t size = number_at(match);
        if (size < sizeof(struct xt_entry_match) || size > entry->target - at)
            return;
        const char *text = match + sizeof(struct xt_entry_match);
        size_t max = size - sizeof(struct xt_entry_match), len = strnlen(text, max);
        if (strncmp(match + offsetof(struct xt_entry_match, u.user.name), "comment", XT_EXTENSION_MAXNAMELEN) == 0 &&
            len < max && len < CNI_PLAN_COMMENT_MAX) {
            memcpy(traces->comment, text, len + 1);
            traces->commented = true;
            return;
        }
        at += size;
    }
}

/* FNV-1a, eight bytes a step: entries are padded to that. */
static uint64_t mix(uint64_t hash, const char *data, size_t len)
{
    for (size_t i = 0; i + 8 <= len; i += 8) {
        uint64_t part;
        memcpy(&part, data + i, sizeof(part));
        hash = (hash ^ part) * UINT64_C(0x100000001b3);
        hash ^= hash >> 32;
    }
    return hash;
}

void cni_iptables_kernel_scan(int family, char *entries, size_t len, struct cni_iptables_traces *traces)
{
    size_t starts[STARTS_MAX], count = 0;
    struct entry entry;
    for (size_t offset = 0; next_entry(family, entries, len, &offset, &entry);) {
        memset(entry.data + families[family].count, 0, sizeof(struct xt_counters));
        traces->digest = mix(traces->digest, entry.data, entry.len);
        if (begins_our_chain(&entry) && count < STARTS_MAX)
            starts[count++] = offset;
    }
    traces->legacy[family] |= count > 0;
    for (size_t offset = 0; count > 0 && !traces->commented && next_entry(family, entries, len, &offset, &entry);) {
        for (size_t i = 0; i < count && !traces->commented; i++) {
            if (goes_to(&entry) == starts[i])
                take_comment(&entry, traces);
        }
    }
}

/* --- reading --- */

/* 0, -EAGAIN (the table changed meanwhile) or another negative errno. */
static int read_table(int family, int fd, const char *name, struct cni_iptables_traces *traces)
{
    struct ipt_getinfo info = {0};
    socklen_t size = sizeof(info);
    memcpy(info.name, name, strlen(name));
    if (getsockopt(fd, families[family].level, IPT_SO_GET_INFO, &info, &size) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (info.size > ENTRIES_MAX)
        return -E2BIG;
    size = (socklen_t)(sizeof(struct ipt_get_entries) + info.size);
    FL_CLEANUP(fl_cleanup_free) struct ipt_get_entries *entries = calloc(1, size);
    if (entries == NULL)
        return -ENOMEM;
    memcpy(entries->name, name, strlen(name));
    entries->size = info.size;
    if (getsockopt(fd, families[family].level, IPT_SO_GET_ENTRIES, entries, &size) < 0)
        return -errno;
    cni_iptables_kernel_scan(family, (char *)entries + sizeof(*entries), info.size, traces);
    return 0;
}

static int read_legacy(const struct cni_iptables_kernel *kernel, struct cni_iptables_traces *traces, struct fl_err *err)
{
    for (int family = 0; family < CNI_FAMILIES; family++) {
        for (size_t i = 0; i < CNI_IPTABLES_TABLES; i++) {
            if (!kernel->tables[family][i])
                continue;
            int result = -EAGAIN;
            for (int tries = 0; result == -EAGAIN && tries < TRIES_MAX; tries++)
                result = read_table(family, kernel->sockets[family], table_names[i], traces);
            if (result < 0)
                return fl_err_errno(err, result, "read iptables' table %s", table_names[i]);
        }
    }
    return 0;
}

static void read_chain(const struct nlmsghdr *message, void *context)
{
    const struct nlattr *found[NFTA_CHAIN_MAX + 1];
    bool *ours = context;
    if (message->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN))
        return;
    cni_attributes_of_message(message, sizeof(struct nfgenmsg), found, FL_COUNT(found));
    *ours |= fl_span_starts_with(cni_attribute_text(found[NFTA_CHAIN_NAME]), FL_SPAN(CNI_IPTABLES_PREFIX));
}

/* A kernel without nf_tables has none of their chains. */
static int read_nft(struct cni_netlink *netfilter, struct cni_iptables_traces *traces, struct fl_err *err)
{
    for (int family = 0; netfilter->socket != NULL && family < CNI_FAMILIES; family++) {
        _Alignas(struct nlmsghdr) char bytes[64];
        struct fl_err failure = {0};
        int result = CNI_NETLINK_AGAIN;
        for (int tries = 0; result == CNI_NETLINK_AGAIN && tries < TRIES_MAX; tries++) {
            struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
            request->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN);
            request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
            struct nfgenmsg *head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
            head->nfgen_family = families[family].family;
            head->version = NFNETLINK_V0;
            result = cni_netlink_ask(netfilter, request, read_chain, &traces->nft[family], &failure);
        }
        bool lacks = result == -EOPNOTSUPP || result == -EINVAL || result == -EAFNOSUPPORT;
        if (result == CNI_NETLINK_AGAIN)
            return fl_err_set(err, -EAGAIN, "the network namespace kept changing: %d tries", TRIES_MAX);
        if (result < 0 && !lacks)
            return fl_err_set(err, result, "look for chains of iptables-nft: %s", failure.text);
    }
    return 0;
}

int cni_iptables_kernel_read(const struct cni_iptables_kernel *kernel, struct cni_netlink *netfilter,
                             struct cni_iptables_traces *ret_traces, struct fl_err *err)
{
    struct cni_iptables_traces traces = {.digest = UINT64_C(0xcbf29ce484222325)};
    int result = read_legacy(kernel, &traces, err);
    if (result == 0)
        result = read_nft(netfilter, &traces, err);
    if (result == 0)
        *ret_traces = traces;
    return result;
}

bool cni_iptables_traces_any(const struct cni_iptables_traces *traces)
{
    return traces->legacy[CNI_IPV4] || traces->legacy[CNI_IPV6] || traces->nft[CNI_IPV4] || traces->nft[CNI_IPV6];
}
