/* A credential plugin as a kubeconfig's `exec` describes it, and what it answers (client.authentication.k8s.io/v1 and
 * v1beta1, ExecCredential).
 *
 * Who may start programs is said by whoever reads a kubeconfig: by a struct fl_kube_starter, whose function stands in a
 * library of its own (kube/spawn.h), which servers do not link. Without one `exec` is refused by name.
 */
#ifndef FL_KUBE_PLUGIN_H
#define FL_KUBE_PLUGIN_H

#include "common/base/buf.h"
#include "common/base/err.h"

#define FL_KUBE_PLUGIN_WORDS    128        /* args, and as many variables in env */
#define FL_KUBE_PLUGIN_SAID_MAX (1u << 20) /* bytes of what it answers */
#define FL_KUBE_PLUGIN_MS       300000u    /* for its answer: a person may have to log in meanwhile */

/* interactiveMode: whether it gets our stdin. */
enum fl_kube_plugin_mode {
    FL_KUBE_PLUGIN_NEVER,
    FL_KUBE_PLUGIN_IF_AVAILABLE, /* where that is a terminal */
    FL_KUBE_PLUGIN_ALWAYS,       /* an error where it is none */
};

struct fl_kube_plugin {
    char *user;    /* the entry's name, for errors */
    char *command; /* "aws": looked up in PATH; with a '/': a path as this process sees it */
    char **args;   /* without the command */
    size_t arg_count;
    char **env; /* "NAME=value", beside and before our own environment */
    size_t env_count;
    char *api_version;  /* that the answer must bear */
    char *install_hint; /* one line; NULL: none */
    char *cluster;      /* provideClusterInfo: JSON of spec.cluster; NULL: not asked for */
    enum fl_kube_plugin_mode mode;
};

struct fl_kube_plugin *fl_kube_plugin_free(struct fl_kube_plugin *plugin); /* returns NULL */

/* status of an ExecCredential: a token, or a certificate with its key, or all three. Texts; empty: it is not there. */
struct fl_kube_plugin_answer {
    struct fl_buf token, cert, key;
    int64_t expires; /* seconds since 1970; 0: not said */
};

void fl_kube_plugin_answer_done(struct fl_kube_plugin_answer *answer); /* overwrites secrets; a zeroed one is fine */

/* Reads what a plugin printed. 0, -EACCES with the field and what would be right (also past the limits of
 * kube/access.h), -ENOMEM. */
int fl_kube_plugin_read(const struct fl_kube_plugin *plugin, struct fl_span text,
                        struct fl_kube_plugin_answer *ret_answer, struct fl_err *err) FL_MUST_CHECK;

/* The leave to start plugins; it outlives every access and client that it was given for. */
struct fl_kube_starter {
    /* Blocks until the answer is here. 0, -EACCES (whatever the plugin did: never a code that could pass for an answer
     * of the API server), -ETIMEDOUT, -ENOMEM, with user, command and what would be right. */
    int (*start)(const struct fl_kube_starter *starter, const struct fl_kube_plugin *plugin,
                 struct fl_kube_plugin_answer *ret_answer, struct fl_err *err);
    unsigned timeout_ms; /* 0: FL_KUBE_PLUGIN_MS */
    bool interactive;    /* a person is there: stdin may be handed over where it is a terminal */
};

#endif
