/* A pod's own budget (spec.resources, KEP-2837): the API server refuses a pod whose containers request more together
 * than the pod does, and a container whose limit is above the pod's. So the sidecar takes what is left. Pure. */
#ifndef WEBHOOK_BUDGET_H
#define WEBHOOK_BUDGET_H

#include "common/doc/json.h"
#include "webhook/settings.h"
#include "webhook/warning.h"

struct webhook_budget { /* texts that the resources point to after a fit */
    char request[2][32], limit[2][WEBHOOK_VALUE_MAX + 1];
};

/* Lowers cpu and memory of `resources` to what the pod's budget leaves, without our own container, which may be there
 * already; a warning tells. What Kubernetes will fill in counts as it will be: a request that is absent is the limit,
 * a budget's request that is absent at most its limit. Where nothing is left, or the pod is over its budget by itself,
 * the request is "0". A pod without a budget changes nothing. `native`: an init container, else one beside the app;
 * what that gets is enough for its gate, which takes the same and runs alone. */
void webhook_budget_fit(const struct fl_json *pod, bool native, struct webhook_resources *resources,
                        struct webhook_budget *ret_texts, struct webhook_warnings *warnings);

#endif
