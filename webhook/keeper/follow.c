#include "webhook/keeper/state.h"

#include "common/base/log.h"

#include <stdio.h>

/* The objects that the keeper reads are watched while it holds the Lease: a change, whoever made it, is a reason to
 * look at once. Nothing is taken out of what a watch says, and a watch that does not work costs no more than time:
 * there is a look every KEEPER_LOOK_MS. */

#define CONFIGURATIONS "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"

static void on_change(void *owner, enum fl_kube_change change, const struct fl_json *object)
{
    (void)change;
    (void)object;
    keeper_look_poke(owner);
}

static void watch(struct keeper *keeper, const char *path, const char *labels, const char *name)
{
    char field[FL_KUBE_PATH_MAX];
    snprintf(field, sizeof(field), "metadata.name=%s", name != NULL ? name : "");
    const struct fl_kube_watch_options options = {.path = path,
                                                  .label_selector = labels,
                                                  .field_selector = name != NULL ? field : NULL,
                                                  .metadata_only = true,
                                                  .objects_max = KEEPER_CONFIGURATIONS_MAX * 4,
                                                  .on_change = on_change,
                                                  .owner = keeper};
    if (fl_kube_watch_new(keeper->loop, keeper->client, &options, &keeper->watches[keeper->watch_count]) == 0)
        keeper->watch_count++;
    else /* the looks every KEEPER_LOOK_MS remain */
        fl_log(FL_LOG_WARNING, "cannot watch", FL_LOG_STR("path", path));
}

void keeper_follow_start(struct keeper *keeper)
{
    const struct keeper_options *options = keeper->options;
    char secrets[512];
    snprintf(secrets, sizeof(secrets), "/api/v1/namespaces/%s/secrets", options->name_space);
    for (size_t i = 0; i < options->configuration_count; i++)
        watch(keeper, CONFIGURATIONS, NULL, options->configurations[i]);
    if (options->selector != NULL)
        watch(keeper, CONFIGURATIONS, options->selector, NULL);
    watch(keeper, secrets, NULL, options->secret);
    if (!options->external)
        watch(keeper, secrets, NULL, options->ca_secret);
}

void keeper_follow_stop(struct keeper *keeper)
{
    for (; keeper->watch_count > 0; keeper->watch_count--)
        keeper->watches[keeper->watch_count - 1] = fl_kube_watch_free(keeper->watches[keeper->watch_count - 1]);
}
