#include "proxy/filter/rbac.h"

#include "proxy/filter/report.h"
#include "proxy/tls/filter.h"

void proxy_rbac_facts(const struct proxy_downstream *downstream, struct proxy_facts *ret_facts)
{
    const struct proxy_tls *tls = proxy_tls_of(downstream->conn);
    *ret_facts = (struct proxy_facts){
        .direct_source = downstream->direct != NULL ? downstream->direct : proxy_conn_peer(downstream->conn),
        .source = proxy_conn_peer(downstream->conn),
        .destination = &downstream->destination,
        .server_name = fl_span_str(downstream->server_name),
    };
    if (tls != NULL) {
        ret_facts->identity = proxy_tls_peer_identity(tls);
        ret_facts->server_name = proxy_tls_server_name(tls);
    }
}

/* True: allowed. Shadow rules are tried first, so that what they say is known of denied callers, too. */
static bool decide(const struct proxy_rbac_filter *filter, enum proxy_policy_at at, const struct proxy_facts *facts,
                   const struct proxy_downstream *downstream, const char **ret_details)
{
    struct proxy_stats *stats = downstream->data->options.stats;
    if (filter->shadow_rules != NULL) {
        struct proxy_rbac_decision trial = proxy_rbac_decide(filter->shadow_rules, facts);
        proxy_stats_rbac(stats, at, PROXY_POLICY_SHADOW, trial.allowed);
        if (!trial.allowed)
            proxy_report_shadow(downstream, facts->request, trial.policy != NULL ? trial.policy->name : FL_SPAN(""));
    }
    if (filter->rules == NULL)
        return true;
    struct proxy_rbac_decision decision = proxy_rbac_decide(filter->rules, facts);
    proxy_stats_rbac(stats, at, PROXY_POLICY_ENFORCED, decision.allowed);
    if (!decision.allowed)
        *ret_details = proxy_rbac_details(&decision);
    return decision.allowed;
}

bool proxy_rbac_connection(const struct proxy_downstream *downstream, const struct proxy_filter_chain *chain,
                           const char **ret_details)
{
    if (chain->rbac_count == 0)
        return true;
    struct proxy_facts facts;
    proxy_rbac_facts(downstream, &facts);
    for (size_t i = 0; i < chain->rbac_count; i++) {
        if (!decide(&chain->rbacs[i], PROXY_POLICY_TCP, &facts, downstream, ret_details))
            return false;
    }
    return true;
}

bool proxy_rbac_would_allow(const struct proxy_downstream *downstream, const struct proxy_filter_chain *chain)
{
    struct proxy_facts facts;
    proxy_rbac_facts(downstream, &facts);
    for (size_t i = 0; i < chain->rbac_count; i++) {
        if (chain->rbacs[i].rules != NULL && !proxy_rbac_decide(chain->rbacs[i].rules, &facts).allowed)
            return false;
    }
    return true;
}

static bool judge(const void *config, struct proxy_judgement *judgement)
{
    const char *details = NULL;
    if (decide(config, PROXY_POLICY_HTTP, &judgement->facts, judgement->exchange->downstream, &details))
        return true;
    judgement->refusal = (struct proxy_refusal){
        .status = 403, .flag = PROXY_FLAG_UNAUTHORIZED, .details = details, .text = "RBAC: access denied"};
    return false;
}

const struct proxy_http_filter_ops proxy_rbac_ops = {.name = "rbac", .judge = judge};
