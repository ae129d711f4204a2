/* What fairlead-agent is told: flags, and from the environment NODE_NAME alone. A flag beats the platform's default,
 * and that beats the general one. Texts are borrowed from argv and the environment. */
#ifndef CNI_AGENT_OPTIONS_H
#define CNI_AGENT_OPTIONS_H

#include "cni/install/install.h"
#include "common/base/log.h"

#include <stdbool.h>

#define CNI_AGENT_PLATFORM "kubeadm"
#define CNI_AGENT_PAYLOAD  "/payload"
#define CNI_AGENT_PROC     "/proc"
#define CNI_AGENT_LISTEN   "0.0.0.0:15019"
#define CNI_AGENT_NODE_MAX 253 /* bytes of a node's name */
#define CNI_AGENT_GRACE_MS 5000

struct cni_agent_options {
    const char *conf_dir, *bin_dir, *payload;
    const char *conflist; /* NULL: the effective one */
    enum cni_install_mode mode;
    const char *platform; /* a name of platform.h's table */
    const char *backend;  /* "auto", "nftables", "iptables" */
    const char *proc;     /* where the machine's processes are seen */
    const char *listen;   /* ADDRESS:PORT, "[ADDRESS]:PORT"; NULL: nothing is served */
    const char *node;     /* NULL: unknown, and no Events about the node then */
    const char *account;  /* the service account's folder: token, ca.crt */
    bool repair, events;
    bool uninstall, stay;
    unsigned grace_ms; /* of the uninstall, between configuration and binary */
    enum fl_log_level level;
    enum fl_log_format format;
    bool done; /* --help or --version: everything is said */
};

/* `node` is NODE_NAME of the environment, or NULL. 0; -EINVAL when what is wrong was told on stderr, with what would be
 * right. */
int cni_agent_options_parse(int argc, char **argv, const char *node,
                            struct cni_agent_options *ret_options) FL_MUST_CHECK;

#endif
