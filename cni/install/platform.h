/* Known platforms: where their runtime looks for configurations and plugins. A table, nothing else.
 *
 * The paths are the host's. `fairlead cni platforms` prints the table; a test holds the chart's to it.
 */
#ifndef CNI_INSTALL_PLATFORM_H
#define CNI_INSTALL_PLATFORM_H

#include "cni/install/install.h"
#include "common/base/buf.h"

struct cni_platform {
    const char *name;      /* as --platform takes it */
    const char *title;     /* as people write it */
    const char *conf_dir;  /* the runtime's folder of configurations */
    const char *bin_dir;   /* the runtime's folder of plugins */
    const char *netns_dir; /* where sandboxes' namespaces are mounted */
    enum cni_install_mode mode;
    const char *note; /* what somebody must know there; empty */
};

/* All of them, the default (kubeadm) first. */
const struct cni_platform *cni_platforms(size_t *ret_count);
const struct cni_platform *cni_platform_find(const char *name); /* NULL: unknown */
const char *cni_install_mode_name(enum cni_install_mode mode);  /* "chained", "standalone" */

/* Appends {"platforms":[{"name","title","confDir","binDir","netnsDir","mode","note"}…]} and a line feed. 0, -ENOMEM,
 * -EMSGSIZE. */
int cni_platforms_print_json(struct fl_buf *out) FL_MUST_CHECK;

#endif
