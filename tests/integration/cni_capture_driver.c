/* What cni/capture/apply tells of a netns, for tests in Python:
 *     cni_capture_driver owner|fingerprint NETNS          one line: the comment, or the number; "none" where nothing is
 *     cni_capture_driver time COUNT NETNS                 microseconds that a fingerprint takes, the median of COUNT
 */
#include "cni/capture/apply.h"

#include <fcntl.h>
#include <inttypes.h>
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

static int print_fingerprint(int netns)
{
    uint64_t number;
    struct fl_err err = {0};
    if (cni_apply_fingerprint(netns, &number, &err) < 0)
        return fail(&err);
    if (number == 0)
        puts("none");
    else
        printf("%016" PRIx64 "\n", number);
    return 0;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int print_time(int count, int netns)
{
    FL_CLEANUP(fl_cleanup_free) double *times = calloc((size_t)count, sizeof(*times));
    for (int i = 0; times != NULL && i < count; i++) {
        struct timespec from, to;
        uint64_t number;
        struct fl_err err = {0};
        clock_gettime(CLOCK_MONOTONIC, &from);
        if (cni_apply_fingerprint(netns, &number, &err) < 0)
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

int main(int argc, char **argv)
{
    int netns = argc > 2 ? open(argv[argc - 1], O_RDONLY | O_CLOEXEC) : -1;
    if (netns < 0) {
        fprintf(stderr, "usage: %s owner|fingerprint NETNS | time COUNT NETNS\n", argv[0]);
        return 2;
    }
    if (strcmp(argv[1], "owner") == 0)
        return print_owner(netns);
    if (strcmp(argv[1], "fingerprint") == 0)
        return print_fingerprint(netns);
    return print_time((int)strtol(argv[2], NULL, 10), netns);
}
