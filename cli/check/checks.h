/* The checks themselves, pure: each group begins its checks in the report, in the order of their numbers, and says what
 * it finds. What a document that is missing would have told is SKIPPED, with the reason.
 */
#ifndef CLI_CHECK_CHECKS_H
#define CLI_CHECK_CHECKS_H

#include "cli/check/report.h"
#include "cli/check/world.h"

/* The oldest Kubernetes that the chart installs on (ValidatingAdmissionPolicy v1). */
#define CLI_KUBERNETES_MINOR 30
/* Gateway API's bundles: kinds of v1 as we read them since 1.2; newer than this is not known to us. */
#define CLI_GATEWAY_API_MINOR_MIN 2
#define CLI_GATEWAY_API_MINOR_MAX 6

/* 101, 102, 104; false: the API server did not answer, so nothing else can be known. */
bool cli_check_cluster(const struct cli_world *world, struct cli_report *report) FL_MUST_CHECK;
void cli_check_gateway_api(const struct cli_world *world, struct cli_report *report);

/* 201 to 209; 209 alone. `version` is the command's own. */
void cli_check_versions(const struct cli_world *world, const char *version, struct cli_report *report);
void cli_check_installation(const struct cli_world *world, const char *version, struct cli_report *report);

void cli_check_trust(const struct cli_world *world, struct cli_report *report);   /* 301, 302 */
void cli_check_clocks(const struct cli_world *world, struct cli_report *report);  /* 305 */
void cli_check_pods(const struct cli_world *world, struct cli_report *report);    /* 401 to 403 */
void cli_check_network(const struct cli_world *world, struct cli_report *report); /* 501 */

/* Says SKIPPED for a check that has begun where the document is missing. True: it is there. */
bool cli_check_has(const struct cli_world *world, enum cli_document document, struct cli_report *report);

/* The webhook's configuration names no control plane: the chart's control.mode is none, and sidecars need no
 * certificates. */
bool cli_check_is_onboarding_alone(const struct cli_world *world);

/* One right that installing needs. */
struct cli_right {
    const char *group, *resource, *verb;
    bool mesh; /* in the mesh's namespace; else in the cluster */
};
extern const struct cli_right cli_rights[];
extern const size_t cli_right_count;

#endif
