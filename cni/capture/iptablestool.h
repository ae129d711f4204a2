/* The host's iptables programs, run in a pod's netns: iptables-restore and iptables-save of both families, in the old
 * implementation (legacy) or the one over nf_tables (nft).
 *
 * A run is a forked child that enters the netns, and to write the user namespace that owns it (the kernel takes owner
 * matches from there alone, and ids are its own), with a mount namespace of its own in which /etc/nsswitch.conf, passwd
 * and group are empty: iptables asks for the user of every number, and elsewhere that has taken 30 s. Its environment
 * has nothing of ours; XTABLES_LOCKFILE (from iptables 1.8.6 on) is a file of this run alone, since the host-wide lock
 * makes one pod wait for all others. Time, output and memory are bounded. Needs /proc, and CAP_SYS_ADMIN.
 */
#ifndef CNI_CAPTURE_IPTABLESTOOL_H
#define CNI_CAPTURE_IPTABLESTOOL_H

#include "cni/capture/iptableskernel.h"
#include "common/base/buf.h"

enum cni_iptables_variant { CNI_IPTABLES_LEGACY, CNI_IPTABLES_NFT, CNI_IPTABLES_VARIANTS };

enum cni_iptables_action { CNI_IPTABLES_RESTORE, CNI_IPTABLES_SAVE };

#define CNI_IPTABLES_PATH_MAX    64
#define CNI_IPTABLES_RUN_SECONDS 10

/* Looks in fixed folders. "iptables-restore" alone is taken for the variant that the file it links to is named for; for
 * legacy where that tells nothing. 0; -ENOENT: err names what was looked for, and where. */
int cni_iptables_tool_find(enum cni_iptables_variant variant, int family, enum cni_iptables_action action,
                           char ret_path[CNI_IPTABLES_PATH_MAX], struct fl_err *err) FL_MUST_CHECK;

/* Runs the program at `path` with `input`; of what it prints, what is about us is appended to `out` (iptablessieve.h;
 * NULL: dropped). 0; -EAGAIN (its word for "somebody else was at it"); -EOPNOTSUPP (the kernel lacks the tables, or a
 * match or target); -ETIMEDOUT; -EMSGSIZE (more than `out` or the sieve takes); another negative errno. err has what
 * the program said. */
int cni_iptables_tool_run(int netns, const char *path, enum cni_iptables_action action, struct fl_span input,
                          struct fl_buf *out, struct fl_err *err) FL_MUST_CHECK;

#endif
