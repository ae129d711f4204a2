/* A kubeconfig of any bytes: read with the context that it names, and with one that it may have; by a caller that may
 * start plugins, and by one that may not. Nothing is started by reading. */
#include "common/kube/kubeconfig.h"

#include <errno.h>

static int start(const struct fl_kube_starter *starter, const struct fl_kube_plugin *plugin,
                 struct fl_kube_plugin_answer *ret_answer, struct fl_err *err)
{
    (void)starter;
    (void)plugin;
    (void)ret_answer;
    (void)err;
    abort();
}

static const struct fl_kube_starter starter = {.start = start};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct fl_kube_access *access, bool may_start)
{
    const struct fl_kube_plugin *plugin = access->plugin;
    if (access->server == NULL ||
        (plugin != NULL && (!may_start || plugin->command[0] == '\0' || plugin->arg_count > FL_KUBE_PLUGIN_WORDS ||
                            plugin->env_count > FL_KUBE_PLUGIN_WORDS)))
        abort();
    for (size_t i = 0; i < access->header_count; i++) {
        if (strpbrk(access->headers[i], "\r\n") != NULL || strchr(access->headers[i], ':') == NULL)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const contexts[] = {NULL, "one"};
    for (size_t i = 0; i < FL_COUNT(contexts) * 2; i++) {
        struct fl_kube_access access = {0};
        struct fl_err err = {0};
        bool may_start = i % 2 == 1;
        if (fl_kubeconfig_parse(fl_span_make(data, size), "/f/config", contexts[i / 2], may_start ? &starter : NULL,
                                &access, &err) == 0)
            check(&access, may_start);
        fl_kube_access_done(&access);
    }
    return 0;
}
