/* What the container may use, as its control group says it: CPU time and memory, version 1 and version 2, the least of
 * its own group's and of those above it that can be seen. Files are small and read once; a file that is missing or
 * unreadable sets no limit.
 *
 *   v2  /proc/self/cgroup "0::/PATH"              <mount>/PATH/cpu.max ("50000 100000"), memory.max
 *   v1  /proc/self/cgroup "4:cpu,cpuacct:/PATH"   <mount>/cpu,cpuacct/PATH/cpu.cfs_quota_us, cpu.cfs_period_us
 *                         "7:memory:/PATH"        <mount>/memory/PATH/memory.limit_in_bytes
 *
 * With a cgroup namespace of its own (what containers have) PATH is "/". Where PATH is another's and does not exist
 * below our mount (a container without that namespace sees the host's path), the mount's top is taken: it is ours.
 */
#ifndef PROXY_SERVER_CGROUP_H
#define PROXY_SERVER_CGROUP_H

#include <stdint.h>

struct proxy_cgroup {
    uint64_t cpu_milli;    /* thousandths of a CPU; 0: no limit */
    uint64_t memory_bytes; /* 0: no limit */
};

/* `root`: "" for this machine's; tests have trees of their own. */
struct proxy_cgroup proxy_cgroup_read(const char *root);

/* Worker threads: `cpus` that it may run on, no more than the quota rounded up, nor than `limit` (the container's, from
 * its environment; 0: none). One on up to two, else one each, at most 4. */
unsigned proxy_cgroup_workers(const struct proxy_cgroup *cgroup, unsigned cpus, uint64_t limit);

#endif
