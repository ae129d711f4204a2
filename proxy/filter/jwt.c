#include "proxy/filter/jwt.h"

#include "common/base/base64.h"
#include "proxy/policy/jwt_cache.h"
#include "proxy/route/table.h"
#include "proxy/tls/filter.h"

#include <errno.h>
#include <stdio.h>

#define CLAIM_TEXT_MAX 4096 /* bytes of a claim in a field; a longer one is left out */
#define REALM_MAX      256

/* --- scratch ----------------------------------------------------------------------------------------------------- */

static char *room(const struct fl_span *scratch)
{
    return (char *)(uintptr_t)scratch->data;
}

static struct fl_span take(struct fl_span *scratch, size_t len)
{
    struct fl_span taken = fl_span_make(scratch->data, len);
    *scratch = fl_span_from(*scratch, len);
    return taken;
}

/* A copy there; -EMSGSIZE where it has no room. */
static int keep(struct fl_span *scratch, struct fl_span text, struct fl_span *ret_text)
{
    if (text.len > scratch->len)
        return -EMSGSIZE;
    if (text.len > 0)
        memcpy(room(scratch), text.data, text.len);
    *ret_text = take(scratch, text.len);
    return 0;
}

/* --- fields that only we may write ------------------------------------------------------------------------------- */

static void remove_forged(const struct proxy_jwt_filter *filter, struct proxy_message *request)
{
    for (size_t i = 0; i < filter->provider_count; i++) {
        const struct proxy_jwt_provider *provider = &filter->providers[i];
        if (provider->payload_header.len > 0)
            proxy_headers_remove(&request->headers, provider->payload_header);
        for (size_t k = 0; k < provider->claim_header_count; k++)
            proxy_headers_remove(&request->headers, provider->claim_headers[k].name);
    }
}

static int write_payload(const struct proxy_jwt_found *good, struct proxy_message *request, struct fl_span *scratch)
{
    const struct proxy_jwt_provider *provider = good->provider;
    if (provider->payload_header.len == 0)
        return 0;
    size_t dot = fl_span_find(good->token, '.');
    struct fl_span payload = fl_span_from(good->token, dot + 1), value;
    payload.len = fl_span_find(payload, '.');
    int result = keep(scratch, payload, &value);
    size_t padding = provider->payload_header_padded ? (4 - payload.len % 4) % 4 : 0;
    if (result == 0 && padding > scratch->len)
        result = -EMSGSIZE;
    if (result < 0)
        return result;
    memset(room(scratch), '=', padding);
    value.len += take(scratch, padding).len; /* it lies right behind */
    return proxy_headers_set(&request->headers, provider->payload_header, value);
}

/* A claim as text: lists and objects as base64url of their JSON, as Envoy has it. False: it has none that a field can
 * hold. */
static bool print_claim(const struct fl_json *claim, struct fl_buf *out)
{
    char number[FL_JSON_NUMBER_ROOM];
    FL_CLEANUP(fl_buf_done) struct fl_buf json;
    fl_buf_init(&json, CLAIM_TEXT_MAX);
    switch (fl_json_kind(claim)) {
    case FL_JSON_NULL:
        return false;
    case FL_JSON_BOOL:
        return fl_buf_append_str(out, fl_json_bool(claim) ? "true" : "false") == 0;
    case FL_JSON_NUMBER:
        return fl_buf_append(out, fl_json_number_text(claim, number)) == 0;
    case FL_JSON_STRING:
        return fl_buf_append(out, fl_json_string(claim)) == 0 && proxy_header_value_valid(fl_buf_span(out));
    case FL_JSON_ARRAY:
    case FL_JSON_OBJECT:
        return fl_json_print(claim, &json) == 0 && fl_base64url_encode(fl_buf_span(&json), out) == 0;
    }
    return false;
}

static int write_claim(const struct proxy_jwt_claim_header *header, const struct fl_json *payload,
                       struct proxy_message *request, struct fl_span *scratch)
{
    const struct fl_json *claim = payload;
    for (size_t i = 0; claim != NULL && i < header->claim_count; i++)
        claim = fl_json_get_span(claim, header->claim[i]);
    if (claim == NULL)
        return 0;
    FL_CLEANUP(fl_buf_done) struct fl_buf text;
    struct fl_span value;
    fl_buf_init(&text, CLAIM_TEXT_MAX);
    if (!print_claim(claim, &text))
        return 0;
    int result = keep(scratch, fl_buf_span(&text), &value);
    return result == 0 ? proxy_headers_set(&request->headers, header->name, value) : result;
}

/* --- tokens that do not go on ------------------------------------------------------------------------------------ */

static void drop_from_headers(const struct proxy_jwt_found *good, struct proxy_message *request)
{
    for (size_t i = 0; i < good->provider->header_count; i++) {
        const struct proxy_jwt_provider alone = {.headers = &good->provider->headers[i], .header_count = 1};
        struct fl_span token;
        if (proxy_jwt_find(&alone, request, &token) == PROXY_JWT_GOOD && fl_span_eq(token, good->token))
            proxy_headers_remove(&request->headers, good->provider->headers[i].name);
    }
}

static bool is_token_parameter(const struct proxy_jwt_found *good, struct fl_span parameter)
{
    size_t equals = fl_span_find(parameter, '=');
    if (equals == parameter.len || !fl_span_eq(fl_span_from(parameter, equals + 1), good->token))
        return false;
    for (size_t i = 0; i < good->provider->param_count; i++) {
        if (fl_span_eq(fl_span_make(parameter.data, equals), good->provider->params[i]))
            return true;
    }
    return false;
}

static int drop_from_query(const struct proxy_jwt_found *good, struct proxy_message *request, struct fl_span *scratch)
{
    struct fl_span query = proxy_message_query(request), path = proxy_message_path_only(request), parameter;
    if (good->provider->param_count == 0 || query.len == 0)
        return 0;
    if (request->path.len > scratch->len)
        return -EMSGSIZE;
    char *to = room(scratch);
    size_t len = path.len;
    bool dropped = false;
    memcpy(to, path.data, path.len);
    while (query.data != NULL && fl_span_split(&query, '&', &parameter)) {
        if (is_token_parameter(good, parameter)) {
            dropped = true;
            continue;
        }
        to[len] = len == path.len ? '?' : '&';
        if (parameter.len > 0)
            memcpy(to + len + 1, parameter.data, parameter.len);
        len += 1 + parameter.len;
    }
    if (dropped)
        proxy_message_set_path(request, take(scratch, len));
    return 0;
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

static int take_in(const struct proxy_jwt_found *good, struct proxy_judgement *judgement)
{
    const struct proxy_jwt_provider *provider = good->provider;
    struct proxy_message *request = judgement->request;
    int result = write_payload(good, request, judgement->scratch);
    for (size_t i = 0; result == 0 && i < provider->claim_header_count; i++)
        result = write_claim(&provider->claim_headers[i], good->payload->root, request, judgement->scratch);
    if (result == 0 && provider->metadata_key.len > 0)
        result = proxy_claims_put(&judgement->exchange->claims, provider->metadata_key, good->payload);
    if (result == 0 && !provider->forward) {
        result = drop_from_query(good, request, judgement->scratch);
        drop_from_headers(good, request);
    }
    return result;
}

/* Bearer, with the host that was asked as realm (RFC 6750 §3). The authority was checked when it was read: no quotes.
 */
static struct proxy_header challenge(const struct proxy_judgement *judgement, enum proxy_jwt_failure failure)
{
    struct fl_span host = judgement->request != NULL ? judgement->request->authority : FL_SPAN("");
    bool tls = proxy_tls_of(judgement->exchange->downstream->conn) != NULL;
    if (host.len > REALM_MAX)
        host.len = 0;
    const char *error = failure == PROXY_JWT_MISSING   ? ""
                        : failure == PROXY_JWT_SEVERAL ? ", error=\"invalid_request\""
                                                       : ", error=\"invalid_token\"";
    int len = snprintf(room(judgement->scratch), judgement->scratch->len, "Bearer realm=\"http%s://%.*s/\"%s",
                       tls ? "s" : "", FL_SPAN_ARG(host), error);
    if (len < 0 || (size_t)len >= judgement->scratch->len)
        return (struct proxy_header){.removed = false};
    return (struct proxy_header){.name = FL_SPAN("www-authenticate"), .value = take(judgement->scratch, (size_t)len)};
}

static void refuse(const struct proxy_jwt_filter *filter, struct proxy_judgement *judgement,
                   enum proxy_jwt_failure failure)
{
    static const char *const details[] = {
#define X(id, word, text) [PROXY_JWT_##id] = "jwt_authn_access_denied{" word "}",
        PROXY_JWT_FAILURES(X)
#undef X
    };
    judgement->refusal = (struct proxy_refusal){
        .status = failure == PROXY_JWT_AUDIENCE ? 403 : 401, /* as Envoy has it */
        .flag = PROXY_FLAG_UNAUTHORIZED,
        .details = details[failure],
        .text = filter->strip_failure_response ? "" : proxy_jwt_text(failure),
    };
    if (!filter->strip_failure_response)
        judgement->refusal.header = challenge(judgement, failure);
}

static bool is_preflight(const struct proxy_message *request)
{
    const struct fl_span method = FL_SPAN("access-control-request-method"), origin = FL_SPAN("origin");
    return request->method_id == PROXY_METHOD_OPTIONS &&
           proxy_headers_next(&request->headers, PROXY_HEADER_OTHER, origin, NULL) != NULL &&
           proxy_headers_next(&request->headers, PROXY_HEADER_OTHER, method, NULL) != NULL;
}

static const struct proxy_jwt_requirement *requirement_of(const struct proxy_jwt_filter *filter,
                                                          const struct proxy_message *request)
{
    if (filter->bypass_cors_preflight && is_preflight(request))
        return NULL;
    struct proxy_route_found found = proxy_route_find(filter->rules, request);
    return found.route != NULL ? &filter->requirements[found.route - found.virtual_host->routes] : NULL;
}

/* Under way, and not known any more. */
static bool judge_unknown(const struct proxy_jwt_filter *filter, struct proxy_judgement *judgement)
{
    struct proxy_message nothing;
    proxy_message_init(&nothing);
    struct proxy_jwt_case request = {
        .providers = filter->providers,
        .provider_count = filter->provider_count,
        .request = &nothing,
        .now_s = judgement->now_s,
    };
    enum proxy_jwt_failure failure = PROXY_JWT_GOOD;
    for (size_t i = 0; failure == PROXY_JWT_GOOD && i < filter->requirement_count; i++)
        failure = proxy_jwt_judge(&filter->requirements[i], &request);
    proxy_jwt_case_done(&request);
    if (failure != PROXY_JWT_GOOD)
        refuse(filter, judgement, failure);
    return failure == PROXY_JWT_GOOD;
}

static bool judge(const void *config, struct proxy_judgement *judgement)
{
    const struct proxy_jwt_filter *filter = config;
    struct proxy_data *data = judgement->exchange->data;
    if (judgement->request == NULL)
        return judge_unknown(filter, judgement);
    remove_forged(filter, judgement->request);
    const struct proxy_jwt_requirement *requirement = requirement_of(filter, judgement->request);
    if (requirement == NULL || requirement->kind == PROXY_JWT_NOTHING)
        return true;
    struct proxy_jwt_case request = {
        .providers = filter->providers,
        .provider_count = filter->provider_count,
        .request = judgement->request,
        .now_s = judgement->now_s,
        .cache = &data->jwt_cache,
    };
    enum proxy_jwt_failure failure = proxy_jwt_judge(requirement, &request);
    proxy_stats_jwt(data->options.stats, failure, proxy_jwt_word(failure));
    int result = 0;
    for (size_t i = 0; failure == PROXY_JWT_GOOD && result == 0 && i < request.good_count; i++)
        result = take_in(&request.good[i], judgement);
    proxy_jwt_case_done(&request);
    if (failure != PROXY_JWT_GOOD)
        refuse(filter, judgement, failure);
    else if (result < 0)
        judgement->refusal = (struct proxy_refusal){.status = 431, .details = "request_headers_too_many"};
    return failure == PROXY_JWT_GOOD && result == 0;
}

const struct proxy_http_filter_ops proxy_jwt_ops = {.name = "jwt_authn", .judge = judge};
