/* The container's limits out of trees as kernels, runtimes and namespaces make them. */
#include "proxy/server/cgroup.h"

#include "common/base/cleanup.h"
#include "tests/support/folder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct file {
    const char *path, *text;
};

struct row {
    const char *name;
    struct file files[6];
    struct proxy_cgroup expected;
};

static const struct row rows[] = {
    {"nothing there", {{0}}, {0, 0}},
    {"v2 in a namespace",
     {{"proc/self/cgroup", "0::/\n"},
      {"sys/fs/cgroup/cpu.max", "150000 100000\n"},
      {"sys/fs/cgroup/memory.max", "134217728\n"}},
     {1500, 134217728}},
    {"v2 without limits",
     {{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "max 100000\n"}, {"sys/fs/cgroup/memory.max", "max\n"}},
     {0, 0}},
    {"v2, the pod's limit is lower than the container's",
     {{"proc/self/cgroup", "0::/pod/box\n"},
      {"sys/fs/cgroup/pod/box/cpu.max", "400000 100000\n"},
      {"sys/fs/cgroup/pod/cpu.max", "200000 100000\n"},
      {"sys/fs/cgroup/pod/box/memory.max", "max\n"},
      {"sys/fs/cgroup/pod/memory.max", "1000000\n"}},
     {2000, 1000000}},
    {"v2, a host's path that is not below our mount",
     {{"proc/self/cgroup", "0::/kubepods/pod1/box1\n"}, {"sys/fs/cgroup/memory.max", "5000\n"}},
     {0, 5000}},
    {"v2, outside of the namespace",
     {{"proc/self/cgroup", "0::/../other\n"}, {"sys/fs/cgroup/memory.max", "5000\n"}},
     {0, 5000}},
    {"v2, a part of a thousandth counts",
     {{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "10001 10000000\n"}},
     {2, 0}},
    {"v1",
     {{"proc/self/cgroup", "7:memory:/box\n4:cpu,cpuacct:/box\n1:name=systemd:/box\n"},
      {"sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "50000\n"},
      {"sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n"},
      {"sys/fs/cgroup/memory/box/memory.limit_in_bytes", "67108864\n"}},
     {500, 67108864}},
    {"v1 without limits",
     {{"proc/self/cgroup", "7:memory:/\n4:cpu:/\n"},
      {"sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"},
      {"sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"},
      {"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"}},
     {0, 0}},
    {"v1 with v2 beside it",
     {{"proc/self/cgroup", "4:cpu:/\n0::/\n"},
      {"sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n"},
      {"sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"},
      {"sys/fs/cgroup/unified/memory.max", "4096\n"}},
     {3000, 4096}},
    {"not what a kernel says",
     {{"proc/self/cgroup", "garbage\n::\n0:\n0::relative\n0::/\n"},
      {"sys/fs/cgroup/cpu.max", "x y\n"},
      {"sys/fs/cgroup/memory.max", "-5\n"}},
     {0, 0}},
};

static void write_file(const char *root, const struct file *file)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", root, file->path);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        if (mkdir(path, 0755) != 0)
            assert_int_equal(errno, EEXIST);
        *slash = '/';
    }
    folder_put_str(root, file->path, file->text);
}

static void test_trees(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        char root[] = "/tmp/fl-cgroup-XXXXXX";
        assert_non_null(mkdtemp(root));
        for (size_t k = 0; k < FL_COUNT(rows[i].files) && rows[i].files[k].path != NULL; k++)
            write_file(root, &rows[i].files[k]);
        struct proxy_cgroup found = proxy_cgroup_read(root);
        folder_remove(root);
        if (found.cpu_milli != rows[i].expected.cpu_milli || found.memory_bytes != rows[i].expected.memory_bytes)
            fail_msg("%s: %llu, %llu", rows[i].name, (unsigned long long)found.cpu_milli,
                     (unsigned long long)found.memory_bytes);
    }
}

static void test_workers(void **state)
{
    (void)state;
    static const struct {
        uint64_t quota_milli;
        unsigned cpus;
        uint64_t limit;
        unsigned expected;
    } counts[] = {
        {0, 1, 0, 1},     {0, 2, 0, 1},    {0, 3, 0, 3},  {0, 4, 0, 4},  {0, 96, 0, 4},    {100, 96, 0, 1},
        {2000, 96, 0, 1}, {2001, 8, 0, 3}, {0, 16, 2, 1}, {0, 16, 3, 3}, {9000, 16, 0, 4}, {9000, 3, 0, 3},
    };
    for (size_t i = 0; i < FL_COUNT(counts); i++) {
        const struct proxy_cgroup cgroup = {.cpu_milli = counts[i].quota_milli};
        assert_int_equal(proxy_cgroup_workers(&cgroup, counts[i].cpus, counts[i].limit), counts[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trees), cmocka_unit_test(test_workers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
