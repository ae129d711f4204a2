/* What the kernel's part of an ADD costs: the nf_tables batch alone (sent and committed), and all that
 * cni_apply_program does (lo, ::6, the batch, the read-back), each in fresh network namespaces. Needs root.
 *
 *     cmake --preset release -DFL_TESTS=ON && cmake --build --preset release --target bench_capture
 *     build/release/tests/bench_capture [rounds]
 */
#include "cni/capture/apply.h"
#include "cni/capture/netlink.h"
#include "cni/capture/netns.h"
#include "cni/capture/nft.h"

#include <linux/netlink.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS_MAX 10000

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int give_up(const char *what, const struct fl_err *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    return 1;
}

/* -1: failed. This process stays in a namespace of its own. */
static double time_batch(const struct cni_plan *plan, struct fl_err *err)
{
    FL_CLEANUP(cni_netlink_close) struct cni_netlink netlink = {0};
    FL_CLEANUP(cni_nft_batch_done) struct cni_nft_batch batch = {0};
    struct cni_netlink_failure failure;
    if (unshare(CLONE_NEWNET) != 0 || cni_netlink_open(&netlink, NETLINK_NETFILTER, err) != 0)
        return -1;
    double start = now_ms();
    if (cni_nft_encode(CNI_NFT_CREATE, plan, 1, &batch) != 0 ||
        cni_netlink_batch(&netlink, batch.data, batch.len, 1 + (uint32_t)batch.acknowledged, NULL, NULL, &failure) != 0)
        return -1;
    return now_ms() - start;
}

static double time_program(const struct cni_plan *plan, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_close) int netns = -1;
    if (cni_netns_make(&netns, err) != 0)
        return -1;
    double start = now_ms();
    return cni_apply_program(netns, CNI_BACKEND_NFTABLES, plan, err) != 0 ? -1 : now_ms() - start;
}

static int by_size(const void *a, const void *b)
{
    const double *one = a, *other = b;
    return (*one > *other) - (*one < *other);
}

static int measure(const char *name, double (*take)(const struct cni_plan *, struct fl_err *),
                   const struct cni_plan *plan, size_t rounds)
{
    static double times[ROUNDS_MAX];
    struct fl_err err = {0};
    for (size_t i = 0; i < rounds; i++)
        if ((times[i] = take(plan, &err)) < 0)
            return give_up(name, &err);
    qsort(times, rounds, sizeof(times[0]), by_size);
    printf("%-32s %8.3f %8.3f\n", name, times[rounds / 2], times[rounds * 9 / 10]);
    return 0;
}

int main(int argc, char **argv)
{
    struct fl_capture spec;
    static struct cni_plan plan;
    uint64_t rounds = 200;
    if (argc > 1 && !fl_span_to_u64(fl_span_str(argv[1]), ROUNDS_MAX, &rounds))
        return 2;
    fl_capture_defaults(&spec);
    if (cni_plan_build(&spec, &plan) != 0)
        return 1;
    printf("%-32s %8s %8s   (ms, %u rounds)\n", "default spec", "median", "p90", (unsigned)rounds);
    return measure("everything, read back", time_program, &plan, (size_t)rounds) != 0 ||
           measure("the batch alone", time_batch, &plan, (size_t)rounds) != 0;
}
