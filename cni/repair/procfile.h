/* Small files of /proc, and what stands in them: by a descriptor of the folder and a pid, so that no path is built
 * twice. Readers are thin; parsers are pure and bounded, for some of the text is chosen by the process (its name, its
 * cgroup's).
 */
#ifndef CNI_REPAIR_PROCFILE_H
#define CNI_REPAIR_PROCFILE_H

#include "common/base/span.h"

#include <sys/types.h>

/* Reads a file of the folder `proc` up to `size` bytes. The count (longer files are cut) or a negative errno. */
ssize_t cni_procfile_read(int proc, const char *name, char *ret_text, size_t size);
/* The same for a file of a process: "stat", "ns/net" … */
ssize_t cni_procfile_read_of(int proc, pid_t pid, const char *name, char *ret_text, size_t size);
/* The process's name without the line's end. */
ssize_t cni_procfile_comm(int proc, pid_t pid, char *ret_name, size_t size);

/* <pid>/stat: when it started, in ticks since boot (field 22). A name with parentheses and blanks is seen through;
 * false where a field before it is not what the kernel writes, or the text ends there. */
bool cni_procfile_start_time(struct fl_span stat, uint64_t *ret_ticks);

#define CNI_PROCFILE_AGE_MAX_NS (UINT64_C(30) * 24 * 3600 * 1000000000) /* thirty days */
/* How long ago that was, at `now_ns` of CLOCK_BOOTTIME; at most CNI_PROCFILE_AGE_MAX_NS, and 0 where the start lies
 * ahead: a time namespace may put its processes before its own boot. */
uint64_t cni_procfile_age_ns(uint64_t start_ticks, uint64_t ticks_per_second, uint64_t now_ns);

/* <pid>/status: the ids by which the kernel judges what it makes (fsuid, fsgid), as the reader's user namespace has
 * them. */
bool cni_procfile_ids(struct fl_span status, uint32_t *ret_uid, uint32_t *ret_gid);
/* <pid>/uid_map, gid_map: what `outside` is inside. */
bool cni_procfile_map_id(struct fl_span map, uint32_t outside, uint32_t *ret_inside);

#define CNI_PROCFILE_POD_MAX 40 /* with the NUL */
/* <pid>/cgroup: the uid of the pod that the kubelet made the cgroup for ("…/kubepods-burstable-pod1b2c_….slice/…",
 * "/kubepods/pod1b2c-…/…"), with '-' for '_'. "" and false where the path names none. */
bool cni_procfile_pod(struct fl_span cgroup, char ret_uid[CNI_PROCFILE_POD_MAX]);

#endif
