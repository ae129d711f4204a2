/* The installer: our plugin on the host's disk and in the runtime's configuration, and out of both again.
 *
 * Holds, whatever happens in the middle (power loss, a full disk, another writer, another agent):
 *  - The folder of configurations always holds one that a runtime can use, and it names only plugins that are there:
 *    the payload is installed before it is named, and removed after it has not been named for a while.
 *  - A file is replaced whole or not at all (disk.h), with its mode and owner. What somebody else wrote while we were
 *    at it is not lost: the two are exchanged, and what came out is looked at.
 *  - Nobody's bytes are changed but by an entry of ours (conflist.h). Which file is edited is what the runtime would
 *    choose (confdir.h); others are left, until removal, which takes ours out of all of them.
 *  - One pass of these functions heals whatever an earlier one left.
 * A pass waits for the disk, and up to a second for an installer that holds a lock; cni_install_remove for its grace
 * besides, and some seconds more where others are at it. Files only: no processes, no network.
 */
#ifndef CNI_INSTALL_INSTALL_H
#define CNI_INSTALL_INSTALL_H

#include "cni/install/kept.h"
#include "cni/install/payload.h"
#include "common/base/err.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum cni_install_mode {
    CNI_INSTALL_CHAINED,    /* at the end of the list that the runtime uses */
    CNI_INSTALL_STANDALONE, /* a file of our own, which a meta plugin (Multus) finds by name */
};

#define CNI_INSTALL_STANDALONE_FILE "zz-fairlead-cni.conf" /* last, should a runtime read that folder too */

/* All texts are borrowed, and outlive whoever got the settings. */
struct cni_install_settings {
    struct cni_payload payload; /* source, and the folder of plugins on the host */
    const char *conf_dir;       /* the runtime's folder of configurations */
    const char
        *conflist; /* file name in it; NULL: chained, the effective one; standalone, CNI_INSTALL_STANDALONE_FILE */
    const char *network; /* NULL, or CRI-O's cni_default_network: the first file with this name counts */
    enum cni_install_mode mode;
    const char *backend; /* NULL or "auto", "nftables", "iptables" */
};

#define CNI_INSTALL_STATES(X)                                                                                          \
    X(INSTALLED, "installed")   /* read back: the plugin is there, and named last */                                   \
    X(WAITING, "waiting")       /* no configuration of anybody yet, or no folder: the main plugin has not come */      \
    X(UNREADABLE, "unreadable") /* half-written or broken; left alone, to be tried again */                            \
    X(UNFIT, "unfit")           /* a configuration that our plugin cannot stand in (the reason tells) */               \
    X(EXCLUSIVE, "exclusive")   /* another writer takes us out each time (watch.h alone tells so) */                   \
    X(STANDBY, "standby")       /* another agent, installed later, owns this node (watch.h) */                         \
    X(REMOVED, "removed")       /* uninstalled while we run; only a restart installs again (watch.h) */                \
    X(FAILED, "failed")         /* the system said no (the reason tells): read-only, full, no permission */

enum cni_install_state {
#define CNI_INSTALL_STATE_(name, text) CNI_INSTALL_##name,
    CNI_INSTALL_STATES(CNI_INSTALL_STATE_)
#undef CNI_INSTALL_STATE_
};
const char *cni_install_state_name(enum cni_install_state state);

struct cni_install_report {
    enum cni_install_state state;
    bool payload_written;        /* this pass wrote the plugin */
    bool conflist_written;       /* this pass wrote a configuration */
    char conflist[NAME_MAX + 1]; /* the file that is or would be effective; empty: none */
    char reason[FL_ERR_TEXT_MAX];
    uint64_t duration_ns;
};

/* What a pass looks at. The configuration alone is what has to be fast: then the plugin is only looked for. */
enum cni_install_part { CNI_INSTALL_PAYLOAD = 1, CNI_INSTALL_CONFIG = 2 };

/* One pass: payload, then configuration. 0 with a report, whatever the state; -ENOMEM alone fails. `kept` (may be NULL;
 * else CNI_KEPT_NONE before): a file that was replaced, for who wants to see whether somebody still writes into it. */
int cni_install_pass(const struct cni_install_settings *settings, unsigned parts, struct cni_kept *kept,
                     struct cni_install_report *ret, struct fl_err *err) FL_MUST_CHECK;
/* Both parts. */
int cni_install_reconcile(const struct cni_install_settings *settings, struct cni_install_report *ret,
                          struct fl_err *err) FL_MUST_CHECK;

/* Takes ours out of every configuration, waits `grace_ms` (runtimes reload, calls under way end), looks again, and only
 * then removes the plugin. 0 also where nothing was there. -EBUSY: a file that may name us cannot be read; the plugin
 * stays. Else what the system said; to be called again. It may be interrupted anywhere. */
int cni_install_remove(const struct cni_install_settings *settings, unsigned grace_ms,
                       struct fl_err *err) FL_MUST_CHECK;

#endif
