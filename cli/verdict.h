/* Would a caller be let in by AuthorizationPolicies, and which decides? Pure, over the control plane's model. The proxy
 * asks the same of rules that control/xds/policies.c makes; tests/unit/cli/verdict_test.c holds the two together.
 *
 * What is not known of a request counts as not there: an address that was not given is in no block, a token that was
 * not given has no claims.
 */
#ifndef CLI_VERDICT_H
#define CLI_VERDICT_H

#include "common/base/buf.h"
#include "control/model/explain.h"
#include "control/model/ip.h"
#include "control/model/workload.h"

struct cli_claim {
    struct fl_span path, value; /* "groups", "realm_access.roles": names joined by '.' */
};

struct cli_caller {
    struct fl_span identity;        /* spiffe://…; empty: plaintext, nobody */
    struct control_ip ip;           /* version 0: not known */
    struct fl_span issuer, subject; /* of a valid token; empty: none */
    const struct cli_claim *claims;
    size_t claim_count;
    struct fl_span host;
    struct control_request request; /* path without a query counts */
    uint16_t port;                  /* of the workload */
    bool tcp;                       /* opaque bytes: nothing of HTTP is there */
};

enum cli_verdict_kind {
    CLI_VERDICT_OPEN,      /* no ALLOW policy is there, and none denies: allowed */
    CLI_VERDICT_ALLOWED,   /* by `policy`, `rule` */
    CLI_VERDICT_DENIED,    /* by `policy`, `rule` */
    CLI_VERDICT_UNMATCHED, /* ALLOW policies are there, and none matches: denied */
    CLI_VERDICT_PLAINTEXT, /* STRICT, and the caller has no identity: refused before any policy */
    CLI_VERDICT_OUTSIDE,   /* the workload is not meshed: nothing is enforced */
};

struct cli_verdict {
    enum cli_verdict_kind kind;
    const struct control_authorization_policy *policy; /* NULL where none decides */
    size_t rule;                                       /* of its rules; a broken policy has none */
    enum control_mtls mtls;
    const struct control_authorization_policy *shadow; /* a dryRun that would have denied; NULL: none */
};

bool cli_verdict_is_allowed(const struct cli_verdict *verdict);

/* 0, -ENOMEM. What it points to lives as long as the model. */
int cli_verdict_judge(const struct control_model *model, const struct control_workload *workload,
                      const struct cli_caller *caller, struct cli_verdict *ret_verdict) FL_MUST_CHECK;

/* Why a rule does not match: a few words ("method", "from", "when request.headers[x]"); NULL: it matches. */
const char *cli_rule_mismatch(const struct control_model *model, const struct control_workload *workload,
                              const struct control_authorization_policy *policy, size_t rule,
                              const struct cli_caller *caller);

#endif
