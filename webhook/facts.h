/* What the decision is made of, gathered from the request, the namespace and the configuration. Pure; stands any tree:
 * the pod's shape was not checked yet. */
#ifndef WEBHOOK_FACTS_H
#define WEBHOOK_FACTS_H

#include "webhook/config.h"
#include "webhook/decide.h"
#include "webhook/namespace.h"
#include "webhook/request.h"
#include "webhook/warning.h"

/* `name_space`: NULL: without labels. Spans point into the request, the namespace and the configuration. A pod label
 * that does not count (podOverrides: false) gets a warning. */
void webhook_facts_gather(const struct webhook_config *config, const struct webhook_request *request,
                          const struct webhook_namespace *name_space, struct webhook_facts *ret_facts,
                          struct webhook_warnings *warnings);

#endif
