/* What cni/capture tells of a netns, for tests in Python:
 *     cni_capture_driver owner NETNS                      one line: the comment; "none" where nothing is
 *     cni_capture_driver glance NETNS                     one line: legacy or nftables, and what else a glance shows
 *     cni_capture_driver time COUNT NETNS                 microseconds that a glance takes, the median of COUNT
 *     cni_capture_driver reject create|replace NETNS      the batch of the capture spec on stdin is sent once for each
 * of its messages, with that one spoilt: a line "NTH ERRNO" for each, NTH as the kernel tells it
 */
#include "cni/capture/apply.h"
#include "cni/capture/attribute.h"
#include "cni/capture/glance.h"
#include "cni/capture/netlink.h"
#include "cni/capture/netns.h"
#include "cni/capture/nft.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <time.h>

static int fail(const struct fl_err *err)
{
    fprintf(stderr, "%s\n", err->text);
    return 1;
}

static int print_owner(int netns)
{
    char comment[CNI_PLAN_COMMENT_MAX];
    struct fl_err err = {0};
    int result = cni_apply_owner(netns, comment, &err);
    if (result < 0)
        return fail(&err);
    puts(result == CNI_APPLY_NONE ? "none" : comment);
    return 0;
}

static int print_glance(int netns, int home)
{
    struct cni_glance first, again;
    struct fl_err err = {0};
    if (cni_glance_first(netns, home, &first, &err) < 0 || cni_glance_again(netns, home, &first, &again, &err) < 0)
        return fail(&err);
    if (!cni_glance_same(&first, &again))
        fl_err_set(&err, 0, "two glances differ");
    printf("%s %016" PRIx64 " %s %s\n", first.legacy ? "legacy" : "nftables", first.rules, first.up ? "up" : "down",
           first.passthrough ? "six" : "no-six");
    return err.text[0] != '\0' ? fail(&err) : 0;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int print_time(int count, int netns, int home)
{
    FL_CLEANUP(fl_cleanup_free) double *times = calloc((size_t)count, sizeof(*times));
    struct cni_glance glance = {0};
    for (int i = 0; times != NULL && i < count; i++) {
        struct timespec from, to;
        struct fl_err err = {0};
        clock_gettime(CLOCK_MONOTONIC, &from);
        if (cni_glance_again(netns, home, &glance, &glance, &err) < 0)
            return fail(&err);
        clock_gettime(CLOCK_MONOTONIC, &to);
        times[i] = (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3;
    }
    if (times == NULL)
        return 1;
    qsort(times, (size_t)count, sizeof(*times), compare);
    printf("%.1f\n", times[count / 2]);
    return 0;
}

/* A type that nf_tables does not have: the message fails when the kernel gets to it. */
static int spoil(struct cni_nft_batch *batch, size_t nth)
{
    struct fl_span rest = fl_span_make(batch->data, batch->len);
    const struct nlmsghdr *message = cni_messages_next(&rest);
    for (size_t i = 0; i < nth && message != NULL; i++)
        message = cni_messages_next(&rest);
    if (message == NULL)
        return -ERANGE;
    const uint16_t type = NFNL_SUBSYS_NFTABLES << 8 | 0xf0;
    memcpy(batch->data + ((const char *)&message->nlmsg_type - batch->data), &type, sizeof(type));
    return 0;
}

static int reject_one(struct cni_netlink *netfilter, enum cni_nft_kind kind, const struct cni_plan *plan, size_t nth)
{
    struct cni_nft_batch batch;
    struct cni_netlink_failure failure;
    int result = cni_nft_encode(kind, plan, 1, &batch);
    if (result == 0 && nth + 1 >= batch.count)
        result = 1; /* all but the end mark were spoilt */
    if (result == 0)
        result = spoil(&batch, nth);
    if (result == 0 &&
        cni_netlink_batch(netfilter, batch.data, batch.len, 1 + (uint32_t)batch.acknowledged, NULL, NULL, &failure) < 0)
        printf("%u %d\n", failure.sequence - 1, -failure.code);
    cni_nft_batch_done(&batch);
    return result;
}

static int reject(enum cni_nft_kind kind, int netns)
{
    struct cni_netlink netfilter = {0};
    FL_CLEANUP(fl_cleanup_close) int back = -1;
    FL_CLEANUP(fl_buf_done) struct fl_buf text;
    static struct cni_plan plan;
    struct fl_capture capture;
    struct fl_err err = {0};
    fl_buf_init(&text, FL_CAPTURE_TEXT_MAX);
    if (fl_buf_read_fd(&text, STDIN_FILENO) < 0 || fl_capture_parse(fl_buf_span(&text), &capture, &err) < 0 ||
        cni_plan_build(&capture, &plan) < 0 || cni_netns_enter(netns, &back, &err) < 0 ||
        cni_netlink_open(&netfilter, NETLINK_NETFILTER, &err) < 0)
        return fail(&err);
    int result = 0;
    for (size_t nth = 1; result == 0; nth++)
        result = reject_one(&netfilter, kind, &plan, nth);
    cni_netlink_close(&netfilter);
    return result == 1 ? 0 : 1;
}

int main(int argc, char **argv)
{
    int netns = argc > 2 ? open(argv[argc - 1], O_RDONLY | O_CLOEXEC) : -1;
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (netns < 0 || home < 0) {
        fprintf(stderr, "usage: %s owner|glance NETNS | time COUNT NETNS | reject create NETNS\n", argv[0]);
        return 2;
    }
    if (strcmp(argv[1], "owner") == 0)
        return print_owner(netns);
    if (strcmp(argv[1], "glance") == 0)
        return print_glance(netns, home);
    if (strcmp(argv[1], "reject") == 0)
        return reject(strcmp(argv[2], "create") == 0 ? CNI_NFT_CREATE : CNI_NFT_REPLACE, netns);
    return print_time((int)strtol(argv[2], NULL, 10), netns, home);
}
