#include "proxy/filter/chain.h"

#include "proxy/filter/rbac.h"

/* A connection manager that does not normalize still has rules of paths: one that normalizing would change is two
 * things to two readers. */
static bool is_doubtful(const struct proxy_hcm_config *config, const struct proxy_message *request,
                        const struct fl_span *scratch)
{
    static const struct proxy_path_rules rules = {.normalize = true};
    struct fl_span changed;
    if (config->path.normalize)
        return false;
    return request->path.len > scratch->len ||
           proxy_path_apply(&rules, request->path, (char *)(uintptr_t)scratch->data, &changed) != PROXY_PATH_SAME;
}

static void prepare(struct proxy_judgement *judgement, const struct proxy_hcm_config *config)
{
    struct proxy_exchange_run *exchange = judgement->exchange;
    proxy_rbac_facts(exchange->downstream, &judgement->facts);
    if (proxy_address_is_set(&exchange->trusted_client))
        judgement->facts.source = &exchange->trusted_client;
    judgement->facts.request = judgement->request;
    judgement->facts.claims = &exchange->claims;
    judgement->facts.path_doubtful =
        judgement->request != NULL && is_doubtful(config, judgement->request, judgement->scratch);
    judgement->now_s = (int64_t)(exchange->start_us / 1000000);
}

/* The client gets its answer, or is cut where one is on its way already. */
static void refuse(struct proxy_judgement *judgement)
{
    const struct proxy_refusal *refusal = &judgement->refusal;
    proxy_exchange_reply(judgement->exchange, refusal->status, refusal->flag, refusal->details, refusal->text,
                         &refusal->header, refusal->header.name.len > 0 ? 1 : 0);
}

static bool is_asked_again(const struct proxy_hcm_config *config)
{
    for (size_t i = 0; i < config->filter_count; i++)
        if (!config->filters[i].ops->once)
            return true;
    return false;
}

static bool run(struct proxy_judgement *judgement, const struct proxy_hcm_config *config)
{
    if (is_asked_again(config)) /* others look at the head alone */
        prepare(judgement, config);
    for (size_t i = 0; i < config->filter_count; i++) {
        const struct proxy_http_filter *filter = &config->filters[i];
        if (judgement->again && filter->ops->once)
            continue;
        if (!filter->ops->judge(filter->config, judgement)) {
            refuse(judgement);
            return false;
        }
    }
    return true;
}

bool proxy_chain_request(struct proxy_exchange_run *exchange, struct fl_span *scratch)
{
    const struct proxy_hcm_config *config = proxy_exchange_config(exchange);
    if (config->filter_count == 0)
        return true;
    struct proxy_judgement judgement = {
        .exchange = exchange,
        .request = &exchange->data->request,
        .scratch = scratch,
    };
    if (is_asked_again(config) && proxy_message_keep(judgement.request, &exchange->recall) < 0)
        exchange->recall = NULL; /* then nothing is known of it, and rules that ask for it err */
    return run(&judgement, config);
}

bool proxy_chain_again(struct proxy_exchange_run *exchange, const struct proxy_hcm_config *config)
{
    struct proxy_data *data = exchange->data;
    struct fl_span scratch = fl_span_make(data->scratch, PROXY_DATA_SCRATCH);
    struct proxy_judgement judgement = {.exchange = exchange, .scratch = &scratch, .again = true};
    proxy_claims_done(&exchange->claims); /* their keys are the old configuration's */
    if (config->filter_count == 0)
        return true;
    if (exchange->recall != NULL) {
        proxy_message_restore_kept(exchange->recall, &data->request);
        judgement.request = &data->request;
    }
    return run(&judgement, config);
}
