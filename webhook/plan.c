#include "webhook/plan.h"

#include "webhook/origin.h"

#include <errno.h>

static int make_sidecar(const struct webhook_config *config, const struct webhook_settings *settings,
                        const struct webhook_owner *owner, const struct fl_json *pod, struct webhook_plan *plan,
                        struct webhook_warnings *warnings, struct fl_err *err)
{
    int result = webhook_sidecar_make(config, settings, owner, pod, &plan->sidecar, warnings, err);
    return result == -EMSGSIZE
               ? fl_err_set(err, result, "the capture settings are too long (more than %d bytes)", FL_CAPTURE_TEXT_MAX)
               : result;
}

int webhook_plan_make(const struct webhook_config *config, const struct webhook_settings *settings,
                      const struct webhook_owner *owner, const struct fl_json *pod, struct webhook_plan *ret_plan,
                      struct webhook_warnings *warnings, struct fl_err *err)
{
    struct webhook_plan *plan = ret_plan;
    plan->sidecar = (struct webhook_sidecar){.native = false};
    plan->probes = (struct webhook_probes){.count = 0};
    plan->scrape.text = (struct fl_buf){0};
    plan->metadata = (struct webhook_metadata){.label_count = 0};
    int result = make_sidecar(config, settings, owner, pod, plan, warnings, err);
    if (result == 0)
        result = webhook_probes_plan(pod, settings->probe_rewrite, &settings->capture, &plan->probes, warnings, err);
    if (result == 0)
        result = webhook_scrape_plan(pod, settings->metrics_merge, &plan->scrape, warnings);
    if (result < 0) {
        webhook_plan_done(plan);
        return result;
    }
    result = webhook_metadata_make(pod, fl_span_str(owner->name), settings, &plan->sidecar, &plan->probes,
                                   &plan->scrape, &plan->metadata);
    if (result == -EMSGSIZE)
        fl_err_set(err, result, "annotation " WEBHOOK_SAFE_TO_EVICT " is too long");
    if (result < 0) {
        webhook_plan_done(plan);
        return result;
    }
    result = webhook_origin_note(config, pod, &plan->probes, &plan->sidecar, &plan->metadata);
    if (result < 0)
        webhook_plan_done(plan);
    return result;
}

void webhook_plan_done(struct webhook_plan *plan)
{
    webhook_sidecar_done(&plan->sidecar);
    webhook_probes_done(&plan->probes);
    webhook_scrape_done(&plan->scrape);
    webhook_metadata_done(&plan->metadata);
}
