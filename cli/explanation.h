/* Why a workload's pods are in the mesh or not, every setting and from where it came, and the rules that they get: as a
 * tree (which `-o json` prints) and from it as text. Pure.
 *
 *   {"file":…, "kind":…, "name":…, "namespace":…,            file: of manifests alone
 *    "now":"meshed" | "not meshed",                          of pods that run alone
 *    "outcome":"injected" | "unchanged" | "skipped" | "denied" | "invalid", "reason":"namespace_enabled",
 *    "meaning":"the namespace's label asks for the mesh", "message":…, "warnings":[…],
 *    "workload":…, "identity":"spiffe://…",
 *    "settings":[{"setting":"fairlead.io/log-level","value":"info","from":"mesh"}],
 *    "probes":[{"container":"app","kind":"readyz", …}],      those that the sidecar answers
 *    "rules":["prerouting …"]}
 */
#ifndef CLI_EXPLANATION_H
#define CLI_EXPLANATION_H

#include "cli/rehearse.h"
#include "cli/workload.h"

/* `pod` is what was rehearsed in `name_space`. 0 with an owned tree, -ENOMEM. */
int cli_explanation_make(const struct webhook_context *context, const struct cli_workload *workload,
                         const struct fl_json *pod, struct fl_span name_space, const struct cli_rehearsal *rehearsal,
                         struct fl_json **ret_tree) FL_MUST_CHECK;

/* Appends the text; with `brief` one line of it. 0, -ENOMEM, -EMSGSIZE. */
int cli_explanation_print(const struct fl_json *tree, struct fl_buf *out) FL_MUST_CHECK;

/* A table of many: object, outcome, reason, warnings. */
int cli_explanation_print_all(const struct fl_json *trees, struct fl_buf *out) FL_MUST_CHECK;

#endif
