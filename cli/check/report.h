/* What `fairlead check` found: numbered checks, each with its findings and how to mend them. Pure.
 *
 * Numbers and words stay the same over versions: people and scripts name checks by them. A check's state is the worst
 * of its findings; one without findings is OK. What could not be looked at is SKIPPED, with the reason, and never OK.
 */
#ifndef CLI_CHECK_REPORT_H
#define CLI_CHECK_REPORT_H

#include "common/base/buf.h"
#include "common/doc/json.h"

#define CLI_CHECK_FINDINGS_MAX 50   /* of one check that are told; the rest is counted */
#define CLI_CHECK_TEXT_MAX     1024 /* bytes of one finding, and of one hint */
#define CLI_REPORT_BYTES       (8u << 20)

/* X(id, number, word, title). Hundreds: 1 the cluster, 2 the installation, 3 certificates and time, 4 pods, 5 network.
 */
#define CLI_CHECKS(X)                                                                                                  \
    X(API, 101, "api", "the API server answers")                                                                       \
    X(KUBERNETES, 102, "kubernetes-version", "its version is one that fairlead runs on")                               \
    X(RIGHTS, 103, "rights", "you may install the charts")                                                             \
    X(GATEWAY_API, 104, "gateway-api", "Gateway API's CRDs are there, of a version that is known")                     \
    X(CRDS, 201, "crds", "fairlead's CRDs are there, with the version that this one speaks")                           \
    X(WEBHOOK, 202, "webhook", "the webhook's replicas are ready")                                                     \
    X(KEEPER, 203, "keeper", "the keeper is ready")                                                                    \
    X(CONTROL, 204, "control", "the control plane's replicas are ready")                                               \
    X(DEPLOYER, 205, "deployer", "the gateways' deployer is ready")                                                    \
    X(AGENTS, 206, "agents", "an agent is ready on every node that pods may run on")                                   \
    X(CONFIGURATION, 207, "webhook-configuration", "the API server asks the webhook, and trusts it")                   \
    X(GATEWAY_CLASS, 208, "gateway-class", "the GatewayClass is there and accepted")                                   \
    X(VERSIONS, 209, "versions", "command, programs and sidecars are of versions that go together")                    \
    X(ROOT, 301, "root", "the mesh's root certificates are valid, and for long")                                       \
    X(BUNDLES, 302, "trust-bundles", "every meshed namespace has the same trust bundle as the control plane")          \
    X(WEBHOOK_CERTIFICATE, 303, "webhook-certificate",                                                                 \
      "the webhook serves a certificate that its configuration trusts")                                                \
    X(POD_CERTIFICATE, 304, "pod-certificates", "sidecars have certificates that are valid")                           \
    X(CLOCK, 305, "clocks", "clocks agree: this machine's, the API server's, the nodes'")                              \
    X(SIDECARS, 401, "sidecars", "every pod that should be in the mesh has a sidecar")                                 \
    X(WAITING, 402, "waiting", "no sidecar waits")                                                                     \
    X(CAPTURE, 403, "capture", "pods' traffic is captured, proven by their sidecars")                                  \
    X(CONNECTED, 404, "connected", "sidecars are ready, and told by the control plane what to do")                     \
    X(NETWORK_POLICIES, 501, "network-policies", "no NetworkPolicy stands between the mesh and its ports")

enum cli_check {
#define X(id, ...) CLI_CHECK_##id,
    CLI_CHECKS(X)
#undef X
        CLI_CHECK_COUNT
};

enum cli_check_state { CLI_CHECK_OK, CLI_CHECK_SKIPPED, CLI_CHECK_WARNING, CLI_CHECK_FAILED }; /* worse and worse */

unsigned cli_check_number(enum cli_check check);
const char *cli_check_word(enum cli_check check);
const char *cli_check_title(enum cli_check check);
const char *cli_check_state_word(enum cli_check_state state); /* "ok", "skipped", "warning", "failed" */

struct cli_report {
    struct fl_json *checks;  /* owned: an array, one object for each check that was begun */
    struct fl_json *current; /* borrowed of it */
    size_t counts[CLI_CHECK_FAILED + 1];
    int result; /* of the first failure (memory): later calls do nothing */
};

int cli_report_init(struct cli_report *report) FL_MUST_CHECK; /* 0, -ENOMEM */
void cli_report_done(struct cli_report *report);              /* a zeroed one is fine */

/* The findings and facts that follow are this check's. Each check is begun once at most. */
void cli_report_begin(struct cli_report *report, enum cli_check check);
/* What a person may like to know of it beside the state: "v1.37.2". The last one counts. */
void cli_report_fact(struct cli_report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Something that is not as it should be, and how to mend it (`hint`, NULL: nothing to do). */
void cli_report_find(struct cli_report *report, enum cli_check_state state, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* After the last check: counts. */
void cli_report_end(struct cli_report *report);

/* Appends it, for people or as one JSON object and a newline. 0, -ENOMEM, -EMSGSIZE. */
int cli_report_print(const struct cli_report *report, bool json, struct fl_buf *out) FL_MUST_CHECK;

#endif
