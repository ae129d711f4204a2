#include "proxy/policy/jwt.h"

#include "proxy/policy/jwt_cache.h"

#include <errno.h>
#include <math.h>

/* --- one token --------------------------------------------------------------------------------------------------- */

const char *proxy_jwt_word(enum proxy_jwt_failure failure)
{
    static const char *const words[] = {[PROXY_JWT_GOOD] = "good",
#define X(id, word, text) [PROXY_JWT_##id] = word,
                                        PROXY_JWT_FAILURES(X)
#undef X
    };
    return words[failure];
}

const char *proxy_jwt_text(enum proxy_jwt_failure failure)
{
    static const char *const texts[] = {[PROXY_JWT_GOOD] = "OK",
#define X(id, word, text) [PROXY_JWT_##id] = text,
                                        PROXY_JWT_FAILURES(X)
#undef X
    };
    return texts[failure];
}

/* What common/jose says, in our words. Negative results stay. */
static int failure_of(int result)
{
    static const enum proxy_jwt_failure failures[] = {
        [FL_JWS_GOOD] = PROXY_JWT_GOOD,           [FL_JWS_SIZE] = PROXY_JWT_SIZE,
        [FL_JWS_FORM] = PROXY_JWT_FORM,           [FL_JWS_HEADER] = PROXY_JWT_HEADER,
        [FL_JWS_PAYLOAD] = PROXY_JWT_PAYLOAD,     [FL_JWS_ALGORITHM] = PROXY_JWT_ALGORITHM,
        [FL_JWS_CRITICAL] = PROXY_JWT_CRITICAL,   [FL_JWS_KEY] = PROXY_JWT_KEY,
        [FL_JWS_SIGNATURE] = PROXY_JWT_SIGNATURE, [FL_JWS_NOT_YET] = PROXY_JWT_NOT_YET,
        [FL_JWS_EXPIRED] = PROXY_JWT_EXPIRED,
    };
    return result < 0 ? result : (int)failures[result];
}

static bool is_issuer(const struct proxy_jwt_provider *provider, const struct fl_json *payload)
{
    return provider->issuer.len == 0 || fl_span_eq(fl_json_string(fl_json_get(payload, "iss")), provider->issuer);
}

static int check_times(const struct proxy_jwt_provider *provider, const struct fl_json *payload, int64_t now_s,
                       double *ret_expires)
{
    struct fl_jws_times times;
    int failure = failure_of(fl_jws_check_times(payload, now_s, provider->clock_skew_s, &times));
    if (failure != PROXY_JWT_GOOD)
        return failure;
    if (isinf(times.expires) && (provider->require_expiration || provider->max_lifetime_s > 0))
        return PROXY_JWT_LIFETIME;
    if (provider->max_lifetime_s > 0 && times.expires - times.issued > (double)provider->max_lifetime_s)
        return PROXY_JWT_LIFETIME;
    *ret_expires = times.expires + provider->clock_skew_s;
    return PROXY_JWT_GOOD;
}

static bool is_audience(const struct fl_json *payload, const struct fl_span *wanted, size_t count)
{
    return count == 0 || fl_jws_has_audience(payload, wanted, count);
}

static bool is_subject(const struct proxy_jwt_provider *provider, const struct fl_json *payload)
{
    const struct fl_json *subject = fl_json_get(payload, "sub");
    return !provider->has_subjects ||
           (fl_json_is(subject, FL_JSON_STRING) && proxy_string_match(&provider->subjects, fl_json_string(subject)));
}

/* "a b" becomes ["a", "b"]. */
static int split_words(struct fl_json *payload, struct fl_span name)
{
    const struct fl_json *value = fl_json_get_span(payload, name);
    if (!fl_json_is(value, FL_JSON_STRING))
        return 0;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *words = fl_json_new_array();
    struct fl_span rest = fl_json_string(value), word;
    int result = words != NULL ? 0 : -ENOMEM;
    while (result == 0 && fl_span_split(&rest, ' ', &word)) {
        if (word.len > 0)
            result = fl_json_append(words, fl_json_new_string(word));
    }
    return result == 0 ? fl_json_set_span(payload, name, fl_take(words)) : result;
}

static int check_claims(const struct proxy_jwt_provider *provider, const struct fl_span *audiences,
                        size_t audience_count, struct fl_json *payload, int64_t now_s, double *ret_expires)
{
    int failure = check_times(provider, payload, now_s, ret_expires);
    if (failure != PROXY_JWT_GOOD)
        return failure;
    if (!is_subject(provider, payload))
        return PROXY_JWT_SUBJECT;
    if (!is_audience(payload, audiences != NULL ? audiences : provider->audiences,
                     audiences != NULL ? audience_count : provider->audience_count))
        return PROXY_JWT_AUDIENCE;
    for (size_t i = 0; failure == 0 && i < provider->space_delimited_count; i++)
        failure = split_words(payload, provider->space_delimited[i]);
    return failure;
}

int proxy_jwt_verify(const struct proxy_jwt_provider *provider, const struct fl_span *audiences, size_t audience_count,
                     struct fl_span token, int64_t now_s, struct proxy_payload **ret_payload)
{
    struct fl_jws jws = {0};
    double expires = 0;
    int result = failure_of(fl_jws_parse(token, &jws));
    if (result != 0)
        return result;
    if (!is_issuer(provider, jws.payload))
        result = PROXY_JWT_ISSUER;
    if (result == 0)
        result = failure_of(fl_jws_verify(&jws, provider->keys));
    if (result == 0)
        result = check_claims(provider, audiences, audience_count, jws.payload, now_s, &expires);
    if (result == 0) {
        int64_t expires_s = expires < 9e15 ? (int64_t)floor(expires) : INT64_MAX;
        *ret_payload = proxy_payload_new(fl_take(jws.payload), expires_s);
        result = *ret_payload != NULL ? 0 : -ENOMEM;
    }
    fl_jws_done(&jws);
    return result;
}

/* --- where it stands --------------------------------------------------------------------------------------------- */

/* One more token: the same again is none. */
static enum proxy_jwt_failure note(enum proxy_jwt_failure so_far, struct fl_span token, struct fl_span *found)
{
    if (so_far == PROXY_JWT_MISSING) {
        *found = token;
        return PROXY_JWT_GOOD;
    }
    return fl_span_eq(*found, token) ? so_far : PROXY_JWT_SEVERAL;
}

static enum proxy_jwt_failure find_in_header(const struct proxy_jwt_header *place, const struct proxy_message *request,
                                             enum proxy_jwt_failure so_far, struct fl_span *found)
{
    enum proxy_header_id id = proxy_header_id(place->name);
    const struct proxy_header *field = NULL;
    while ((field = proxy_headers_next(&request->headers, id, place->name, field)) != NULL) {
        struct fl_span value = field->value;
        if (value.len <= place->prefix.len ||
            !fl_span_eq_nocase(fl_span_make(value.data, place->prefix.len), place->prefix))
            continue;
        so_far = note(so_far, fl_span_trim(fl_span_from(value, place->prefix.len)), found);
    }
    return so_far;
}

static enum proxy_jwt_failure find_in_query(struct fl_span name, struct fl_span query, enum proxy_jwt_failure so_far,
                                            struct fl_span *found)
{
    struct fl_span parameter;
    while (query.data != NULL && fl_span_split(&query, '&', &parameter)) {
        if (parameter.len > name.len && parameter.data[name.len] == '=' && fl_span_starts_with(parameter, name))
            so_far = note(so_far, fl_span_from(parameter, name.len + 1), found);
    }
    return so_far;
}

enum proxy_jwt_failure proxy_jwt_find(const struct proxy_jwt_provider *provider, const struct proxy_message *request,
                                      struct fl_span *ret_token)
{
    enum proxy_jwt_failure found = PROXY_JWT_MISSING;
    struct fl_span token = {NULL, 0};
    for (size_t i = 0; i < provider->header_count; i++)
        found = find_in_header(&provider->headers[i], request, found, &token);
    for (size_t i = 0; i < provider->param_count; i++)
        found = find_in_query(provider->params[i], proxy_message_query(request), found, &token);
    if (found == PROXY_JWT_GOOD)
        *ret_token = token;
    return found;
}

/* --- requirements ------------------------------------------------------------------------------------------------ */

static bool is_found(const struct proxy_jwt_case *request, const struct proxy_jwt_provider *provider,
                     struct fl_span token)
{
    for (size_t i = 0; i < request->good_count; i++) {
        if (request->good[i].provider == provider && fl_span_eq(request->good[i].token, token))
            return true;
    }
    return false;
}

/* A new reference in *ret_payload where it is GOOD. */
static enum proxy_jwt_failure verify(const struct proxy_jwt_requirement *requirement,
                                     const struct proxy_jwt_provider *provider, struct fl_span token,
                                     struct proxy_jwt_case *request, struct proxy_payload **ret_payload)
{
    const struct fl_span *audiences = requirement->audiences;
    struct proxy_jwt_cache *cache = audiences == NULL ? request->cache : NULL;
    struct proxy_payload *payload = proxy_jwt_cache_get(cache, provider->id, token, request->now_s);
    if (payload == NULL) {
        int result =
            proxy_jwt_verify(provider, audiences, requirement->audience_count, token, request->now_s, &payload);
        if (result != 0)
            return result > 0 ? (enum proxy_jwt_failure)result : PROXY_JWT_SIGNATURE;
        proxy_jwt_cache_put(cache, provider->id, token, payload);
    }
    *ret_payload = payload;
    return PROXY_JWT_GOOD;
}

static enum proxy_jwt_failure judge_provider(const struct proxy_jwt_requirement *requirement,
                                             const struct proxy_jwt_provider *provider, struct proxy_jwt_case *request,
                                             struct fl_span *ret_token)
{
    struct proxy_payload *payload = NULL;
    enum proxy_jwt_failure failure = proxy_jwt_find(provider, request->request, ret_token);
    if (failure != PROXY_JWT_GOOD)
        return failure;
    if (requirement->audiences == NULL && is_found(request, provider, *ret_token))
        return PROXY_JWT_GOOD;
    failure = verify(requirement, provider, *ret_token, request, &payload);
    if (failure != PROXY_JWT_GOOD || is_found(request, provider, *ret_token)) {
        proxy_payload_unref(payload);
        return failure;
    }
    if (request->good_count == FL_COUNT(request->good)) {
        proxy_payload_unref(payload);
        return PROXY_JWT_LIMIT;
    }
    request->good[request->good_count++] =
        (struct proxy_jwt_found){.provider = provider, .token = *ret_token, .payload = payload};
    return PROXY_JWT_GOOD;
}

/* Every token of every provider. One may be another provider's: it has to be good for one of them. GOOD, MISSING where
 * there is none at all, or the failure that says most. */
static enum proxy_jwt_failure judge_all_providers(struct proxy_jwt_case *request)
{
    static const struct proxy_jwt_requirement plain = {.kind = PROXY_JWT_PROVIDER};
    enum proxy_jwt_failure failures[PROXY_JWT_PROVIDERS_MAX], worst = PROXY_JWT_MISSING;
    struct fl_span tokens[PROXY_JWT_PROVIDERS_MAX];
    for (size_t i = 0; i < request->provider_count; i++) {
        tokens[i] = (struct fl_span){NULL, 0};
        failures[i] = judge_provider(&plain, &request->providers[i], request, &tokens[i]);
    }
    for (size_t i = 0; i < request->provider_count; i++) {
        bool good = false;
        for (size_t k = 0; !good && tokens[i].data != NULL && k < request->good_count; k++)
            good = fl_span_eq(request->good[k].token, tokens[i]);
        if (!good && failures[i] > worst)
            worst = failures[i];
    }
    return worst == PROXY_JWT_MISSING && request->good_count > 0 ? PROXY_JWT_GOOD : worst;
}

static enum proxy_jwt_failure judge(const struct proxy_jwt_requirement *requirement, struct proxy_jwt_case *request,
                                    unsigned depth);

/* One of the list. "allow" members of it excuse what the others found. */
static enum proxy_jwt_failure judge_any(const struct proxy_jwt_requirement *requirement, struct proxy_jwt_case *request,
                                        unsigned depth)
{
    enum proxy_jwt_failure worst = PROXY_JWT_GOOD;
    const struct proxy_jwt_requirement *excuse = NULL;
    for (size_t i = 0; i < requirement->count; i++) {
        const struct proxy_jwt_requirement *one = &requirement->list[i];
        if (one->kind == PROXY_JWT_ALLOW_MISSING || one->kind == PROXY_JWT_ALLOW_MISSING_OR_FAILED) {
            if (excuse == NULL || one->kind == PROXY_JWT_ALLOW_MISSING_OR_FAILED)
                excuse = one;
            continue;
        }
        enum proxy_jwt_failure failure = judge(one, request, depth + 1);
        if (failure == PROXY_JWT_GOOD)
            return failure;
        if (failure > worst)
            worst = failure;
    }
    if (worst == PROXY_JWT_GOOD) /* there are no others */
        return excuse != NULL ? judge(excuse, request, depth + 1) : PROXY_JWT_SIGNATURE;
    bool excused = excuse != NULL && (excuse->kind == PROXY_JWT_ALLOW_MISSING_OR_FAILED || worst == PROXY_JWT_MISSING);
    return excused ? PROXY_JWT_GOOD : worst;
}

static enum proxy_jwt_failure judge(const struct proxy_jwt_requirement *requirement, struct proxy_jwt_case *request,
                                    unsigned depth)
{
    enum proxy_jwt_failure failure = PROXY_JWT_GOOD;
    struct fl_span token;
    if (depth > PROXY_JWT_DEPTH_MAX)
        return PROXY_JWT_LIMIT;
    switch (requirement->kind) {
    case PROXY_JWT_NOTHING:
        return PROXY_JWT_GOOD;
    case PROXY_JWT_PROVIDER:
        return judge_provider(requirement, requirement->provider, request, &token);
    case PROXY_JWT_ANY:
        return judge_any(requirement, request, depth);
    case PROXY_JWT_ALL:
        for (size_t i = 0; failure == PROXY_JWT_GOOD && i < requirement->count; i++)
            failure = judge(&requirement->list[i], request, depth + 1);
        return failure;
    case PROXY_JWT_ALLOW_MISSING:
        failure = judge_all_providers(request);
        return failure == PROXY_JWT_MISSING ? PROXY_JWT_GOOD : failure;
    case PROXY_JWT_ALLOW_MISSING_OR_FAILED:
        (void)judge_all_providers(request);
        return PROXY_JWT_GOOD;
    }
    return PROXY_JWT_LIMIT;
}

enum proxy_jwt_failure proxy_jwt_judge(const struct proxy_jwt_requirement *requirement, struct proxy_jwt_case *request)
{
    return judge(requirement, request, 0);
}

void proxy_jwt_case_done(struct proxy_jwt_case *request)
{
    for (size_t i = 0; i < request->good_count; i++)
        proxy_payload_unref(request->good[i].payload);
    request->good_count = 0;
}
