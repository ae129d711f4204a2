/* JwtAuthentication → struct proxy_jwt_filter. */
#include "proxy/filter/jwt.h"

#include "proxy/config/context.h"

#include <sys/random.h>

struct jwt_reader {
    struct compile *compile;
    const pb_jwt *message;
    struct proxy_jwt_provider *providers;
    size_t left; /* requirements that the filter may still have */
};

/* -- providers -- */

static void release_jwks(void *jwks)
{
    fl_jwks_free(jwks);
}

static int read_jwks(struct compile *compile, const pb_jwt_provider *message, struct proxy_jwt_provider *provider)
{
    struct fl_span text;
    if (message->local_jwks == NULL ||
        message->jwks_source_specifier_case !=
            ENVOY__EXTENSIONS__FILTERS__HTTP__JWT_AUTHN__V3__JWT_PROVIDER__JWKS_SOURCE_SPECIFIER_LOCAL_JWKS)
        return compile_fail_at(compile, "local_jwks", "must be set");
    struct compile_mark mark = compile_enter(compile, "local_jwks");
    int result = compile_source(compile, message->local_jwks, FL_JWKS_BYTES_MAX, &text);
    if (result != 0)
        return result;
    struct fl_jwks *jwks;
    result = fl_jwks_parse(text, &jwks, compile->err);
    if (result != 0)
        return compile_prefix(compile, result);
    result = compile_hold(compile, jwks, release_jwks);
    if (result != 0)
        return result;
    provider->keys = jwks;
    compile_leave(compile, mark);
    return 0;
}

/* A field that we write: none of those that make the message what it is, and not the one that tokens come in. */
static int read_field_name(struct compile *compile, const char *field, const char *text, struct fl_span *ret_name)
{
    static const uint8_t ids[] = {PROXY_HEADER_HOST,    PROXY_HEADER_CONTENT_LENGTH, PROXY_HEADER_TRANSFER_ENCODING,
                                  PROXY_HEADER_UPGRADE, PROXY_HEADER_CONNECTION,     PROXY_HEADER_TE,
                                  PROXY_HEADER_TRAILER, PROXY_HEADER_AUTHORIZATION,  PROXY_HEADER_EXPECT};
    struct fl_span name = fl_span_str(text);
    if (!proxy_header_name_valid(name) || memchr(ids, (int)proxy_header_id(name), sizeof(ids)) != NULL)
        return compile_fail_at(compile, field, "not the name of a field that can be written: \"%s\"", text);
    return compile_text(compile, text, ret_name);
}

static int read_places(struct compile *compile, const pb_jwt_provider *message, struct proxy_jwt_provider *provider)
{
    static const struct proxy_jwt_header usual[] = {
        {.name = {"authorization", sizeof("authorization") - 1}, .prefix = {"Bearer ", sizeof("Bearer ") - 1}}};
    static const struct fl_span usual_params[] = {{"access_token", sizeof("access_token") - 1}};
    if (message->n_from_headers == 0 && message->n_from_params == 0) {
        provider->headers = usual;
        provider->header_count = FL_COUNT(usual);
        provider->params = usual_params;
        provider->param_count = FL_COUNT(usual_params);
        return 0;
    }
    struct proxy_jwt_header *headers = compile_array(compile, message->n_from_headers, sizeof(*headers));
    if (headers == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < message->n_from_headers; i++) {
        struct compile_mark mark = compile_enter_at(compile, "from_headers", i);
        if (!proxy_header_name_valid(fl_span_str(message->from_headers[i]->name)))
            return compile_fail_at(compile, "name", "not a field's name: \"%s\"", message->from_headers[i]->name);
        int result = compile_text(compile, message->from_headers[i]->name, &headers[i].name);
        if (result == 0)
            result = compile_text(compile, message->from_headers[i]->value_prefix, &headers[i].prefix);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    provider->headers = headers;
    provider->header_count = message->n_from_headers;
    provider->param_count = message->n_from_params;
    return compile_texts(compile, message->from_params, message->n_from_params, &provider->params);
}

/* "a.b" are two steps. */
static int read_claim_name(struct compile *compile, const char *text, struct proxy_jwt_claim_header *header)
{
    size_t count = 1;
    for (const char *c = text; *c != '\0'; c++)
        count += *c == '.';
    struct fl_span *steps = compile_array(compile, count, sizeof(*steps)), rest = fl_span_str(text), step;
    if (steps == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; fl_span_split(&rest, '.', &step); i++) {
        if (step.len == 0)
            return compile_fail_at(compile, "claim_name", "expected names with dots between them, got \"%s\"", text);
        int result = compile_span(compile, step, &steps[i]);
        if (result != 0)
            return result;
    }
    header->claim = steps;
    header->claim_count = count;
    return 0;
}

static int read_claim_headers(struct compile *compile, const pb_jwt_provider *message,
                              struct proxy_jwt_provider *provider)
{
    struct proxy_jwt_claim_header *headers = compile_array(compile, message->n_claim_to_headers, sizeof(*headers));
    if (headers == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < message->n_claim_to_headers; i++) {
        struct compile_mark mark = compile_enter_at(compile, "claim_to_headers", i);
        int result =
            read_field_name(compile, "header_name", message->claim_to_headers[i]->header_name, &headers[i].name);
        if (result == 0)
            result = read_claim_name(compile, message->claim_to_headers[i]->claim_name, &headers[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    provider->claim_headers = headers;
    provider->claim_header_count = message->n_claim_to_headers;
    return 0;
}

/* What the payload goes to. */
static int read_outputs(struct compile *compile, const pb_jwt_provider *message, struct proxy_jwt_provider *provider)
{
    int result = 0;
    provider->forward = message->forward != 0;
    provider->payload_header_padded = message->pad_forward_payload_header != 0;
    if (message->forward_payload_header[0] != '\0')
        result = read_field_name(compile, "forward_payload_header", message->forward_payload_header,
                                 &provider->payload_header);
    if (result == 0)
        result = compile_text(compile, message->payload_in_metadata, &provider->metadata_key);
    if (result == 0 && message->normalize_payload_in_metadata != NULL) {
        provider->space_delimited_count = message->normalize_payload_in_metadata->n_space_delimited_claims;
        result = compile_texts(compile, message->normalize_payload_in_metadata->space_delimited_claims,
                               provider->space_delimited_count, &provider->space_delimited);
    }
    return result == 0 ? read_claim_headers(compile, message, provider) : result;
}

static int read_conditions(struct compile *compile, const pb_jwt_provider *message, struct proxy_jwt_provider *provider)
{
    uint64_t lifetime_ms = 0;
    int result = compile_text(compile, message->issuer, &provider->issuer);
    if (result == 0)
        result = compile_texts(compile, message->audiences, message->n_audiences, &provider->audiences);
    provider->audience_count = message->n_audiences;
    if (result == 0 && message->subjects != NULL) {
        provider->has_subjects = true;
        result = compile_string_match(compile, "subjects", message->subjects, &provider->subjects);
        if (result == 0)
            result = compile_span(compile, provider->subjects.text, &provider->subjects.text);
    }
    if (result == 0)
        result = compile_ms(compile, "max_lifetime", message->max_lifetime, &lifetime_ms);
    if (result == 0 && message->max_lifetime != NULL && lifetime_ms < 1000)
        result = compile_fail_at(compile, "max_lifetime", "expected a second or more");
    provider->max_lifetime_s = lifetime_ms / 1000;
    provider->require_expiration = message->require_expiration != 0;
    provider->clock_skew_s = message->clock_skew_seconds != 0 ? message->clock_skew_seconds : PROXY_JWT_CLOCK_SKEW_S;
    return result;
}

static int read_provider(struct compile *compile, const char *name, const pb_jwt_provider *message,
                         struct proxy_jwt_provider *provider)
{
    int result = COMPILE_REFUSE(compile, message, "remote_jwks", "from_cookies", "header_in_metadata",
                                "failed_status_in_metadata");
    /* Never the same again: workers know tokens by it that were good under other settings. */
    if (result == 0 && getrandom(&provider->id, sizeof(provider->id), 0) != sizeof(provider->id))
        return compile_fail(compile, "no random number");
    if (result == 0)
        result = compile_text(compile, name, &provider->name);
    if (result == 0)
        result = read_conditions(compile, message, provider);
    if (result == 0)
        result = read_jwks(compile, message, provider);
    if (result == 0)
        result = read_places(compile, message, provider);
    return result == 0 ? read_outputs(compile, message, provider) : result;
}

static int read_providers(struct jwt_reader *reader)
{
    struct compile *compile = reader->compile;
    const pb_jwt *message = reader->message;
    if (message->n_providers > PROXY_JWT_PROVIDERS_MAX)
        return compile_fail_at(compile, "providers", "more than %d", PROXY_JWT_PROVIDERS_MAX);
    reader->providers = compile_array(compile, message->n_providers, sizeof(*reader->providers));
    if (reader->providers == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < message->n_providers; i++) {
        struct compile_mark mark = compile_enter_key(compile, "providers", fl_span_str(message->providers[i]->key));
        if (message->providers[i]->value == NULL)
            return compile_fail(compile, "must be set");
        int result =
            read_provider(compile, message->providers[i]->key, message->providers[i]->value, &reader->providers[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    return 0;
}

/* -- requirements -- */

#define REQUIRES(name) ENVOY__EXTENSIONS__FILTERS__HTTP__JWT_AUTHN__V3__JWT_REQUIREMENT__REQUIRES_TYPE_##name

static int find_provider(const struct jwt_reader *reader, const char *field, const char *name,
                         struct proxy_jwt_requirement *requirement)
{
    requirement->kind = PROXY_JWT_PROVIDER;
    for (size_t i = 0; i < reader->message->n_providers; i++) {
        if (fl_span_eq_str(reader->providers[i].name, name)) {
            requirement->provider = &reader->providers[i];
            return 0;
        }
    }
    return compile_fail_at(reader->compile, field, "no provider is named \"%s\"", name);
}

static int read_requirement(struct jwt_reader *reader, const pb_jwt_requirement *message, unsigned depth,
                            struct proxy_jwt_requirement *requirement);

static int read_list(struct jwt_reader *reader, const char *field, pb_jwt_requirement *const *list, size_t count,
                     unsigned depth, struct proxy_jwt_requirement *requirement)
{
    struct compile *compile = reader->compile;
    if (count == 0)
        return compile_fail_at(compile, field, "must not be empty");
    if (count > reader->left || depth == PROXY_JWT_DEPTH_MAX)
        return compile_fail_at(compile, field, "more than %d requirements, or %d levels of them",
                               PROXY_JWT_REQUIREMENTS_MAX, PROXY_JWT_DEPTH_MAX);
    struct proxy_jwt_requirement *requirements = compile_array(compile, count, sizeof(*requirements));
    if (requirements == NULL)
        return compile_no_memory(compile);
    reader->left -= count;
    struct compile_mark whole = compile_enter(compile, field);
    for (size_t i = 0; i < count; i++) {
        struct compile_mark mark = compile_enter_at(compile, "requirements", i);
        int result = read_requirement(reader, list[i], depth + 1, &requirements[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    compile_leave(compile, whole);
    requirement->list = requirements;
    requirement->count = count;
    return 0;
}

static int read_with_audiences(struct jwt_reader *reader, const pb_jwt_requirement *message,
                               struct proxy_jwt_requirement *requirement)
{
    struct compile *compile = reader->compile;
    struct compile_mark mark = compile_enter(compile, "provider_and_audiences");
    int result = find_provider(reader, "provider_name", message->provider_and_audiences->provider_name, requirement);
    if (result == 0 && message->provider_and_audiences->n_audiences == 0)
        result = compile_fail_at(compile, "audiences", "must not be empty");
    if (result == 0)
        result = compile_texts(compile, message->provider_and_audiences->audiences,
                               message->provider_and_audiences->n_audiences, &requirement->audiences);
    if (result != 0)
        return result;
    requirement->audience_count = message->provider_and_audiences->n_audiences;
    compile_leave(compile, mark);
    return 0;
}

static int read_requirement(struct jwt_reader *reader, const pb_jwt_requirement *message, unsigned depth,
                            struct proxy_jwt_requirement *requirement)
{
    switch ((int)message->requires_type_case) {
    case REQUIRES(PROVIDER_NAME):
        return find_provider(reader, "provider_name", message->provider_name, requirement);
    case REQUIRES(PROVIDER_AND_AUDIENCES):
        return read_with_audiences(reader, message, requirement);
    case REQUIRES(REQUIRES_ANY):
        requirement->kind = PROXY_JWT_ANY;
        return read_list(reader, "requires_any", message->requires_any->requirements,
                         message->requires_any->n_requirements, depth, requirement);
    case REQUIRES(REQUIRES_ALL):
        requirement->kind = PROXY_JWT_ALL;
        return read_list(reader, "requires_all", message->requires_all->requirements,
                         message->requires_all->n_requirements, depth, requirement);
    case REQUIRES(ALLOW_MISSING):
        requirement->kind = PROXY_JWT_ALLOW_MISSING;
        return 0;
    case REQUIRES(ALLOW_MISSING_OR_FAILED):
        requirement->kind = PROXY_JWT_ALLOW_MISSING_OR_FAILED;
        return 0;
    default:
        requirement->kind = PROXY_JWT_NOTHING;
        return 0;
    }
}

/* -- rules -- */

#define RULE(name) ENVOY__EXTENSIONS__FILTERS__HTTP__JWT_AUTHN__V3__REQUIREMENT_RULE__REQUIREMENT_TYPE_##name

static int read_named(struct jwt_reader *reader, const char *name, struct proxy_jwt_requirement *requirement)
{
    const pb_jwt *message = reader->message;
    for (size_t i = 0; i < message->n_requirement_map; i++) {
        if (strcmp(message->requirement_map[i]->key, name) != 0)
            continue;
        if (message->requirement_map[i]->value == NULL)
            break;
        return read_requirement(reader, message->requirement_map[i]->value, 0, requirement);
    }
    return compile_fail_at(reader->compile, "requirement_name", "requirement_map has no \"%s\"", name);
}

static int read_rule(struct jwt_reader *reader, size_t index, struct proxy_route *route,
                     struct proxy_jwt_requirement *requirement)
{
    struct compile *compile = reader->compile;
    const Envoy__Extensions__Filters__Http__JwtAuthn__V3__RequirementRule *message = reader->message->rules[index];
    *route = (struct proxy_route){.action = PROXY_ROUTE_DIRECT, .direct = {.status = 200}};
    if (message->match == NULL)
        return compile_fail_at(compile, "match", "must be set");
    struct compile_mark mark = compile_enter(compile, "match");
    int result = compile_route_match(compile, message->match, &route->match);
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    if (message->requirement_type_case == RULE(REQUIREMENT_NAME))
        return read_named(reader, message->requirement_name, requirement);
    if (message->requirement_type_case != RULE(REQUIRES))
        return 0;
    mark = compile_enter(compile, "requires");
    result = read_requirement(reader, message->requires, 0, requirement);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static void release_table(void *table)
{
    proxy_route_table_free(table);
}

/* One virtual host for every authority. */
static int make_table(struct compile *compile, const struct proxy_route *routes, size_t count,
                      const struct proxy_route_table **ret_table)
{
    static const struct fl_span any[] = {{"*", 1}};
    const struct proxy_virtual_host host = {.name = FL_SPAN("rules"),
                                            .domains = any,
                                            .domain_count = FL_COUNT(any),
                                            .routes = routes,
                                            .route_count = count};
    const struct proxy_route_config config = {
        .name = FL_SPAN("rules"), .virtual_hosts = &host, .virtual_host_count = 1};
    struct proxy_route_table *table;
    int result = proxy_route_table_new(&config, NULL, NULL, &table, compile->err);
    if (result != 0)
        return compile_prefix(compile, result);
    *ret_table = table;
    return compile_hold(compile, table, release_table);
}

static int read_rules(struct jwt_reader *reader, struct proxy_jwt_filter *filter)
{
    struct compile *compile = reader->compile;
    size_t count = reader->message->n_rules;
    if (count > reader->left)
        return compile_fail_at(compile, "rules", "more than %d", PROXY_JWT_REQUIREMENTS_MAX);
    struct proxy_route *routes = fl_arena_array(&compile->scratch, count, sizeof(*routes));
    struct proxy_jwt_requirement *requirements = compile_array(compile, count, sizeof(*requirements));
    if (routes == NULL || requirements == NULL)
        return compile_no_memory(compile);
    reader->left -= count;
    for (size_t i = 0; i < count; i++) {
        struct compile_mark mark = compile_enter_at(compile, "rules", i);
        int result = read_rule(reader, i, &routes[i], &requirements[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    filter->requirements = requirements;
    filter->requirement_count = count;
    return make_table(compile, routes, count, &filter->rules);
}

int compile_jwt(struct compile *compile, const pb_any *any, const struct proxy_jwt_filter **ret_filter)
{
    ProtobufCMessage *unpacked;
    int result = compile_unpack(
        compile, any, &envoy__extensions__filters__http__jwt_authn__v3__jwt_authentication__descriptor, &unpacked);
    struct proxy_jwt_filter *filter = result == 0 ? compile_array(compile, 1, sizeof(*filter)) : NULL;
    if (result != 0)
        return result;
    if (filter == NULL)
        return compile_no_memory(compile);
    struct jwt_reader reader = {
        .compile = compile, .message = (const pb_jwt *)unpacked, .left = PROXY_JWT_REQUIREMENTS_MAX};
    filter->bypass_cors_preflight = reader.message->bypass_cors_preflight != 0;
    filter->strip_failure_response = reader.message->strip_failure_response != 0;
    result = COMPILE_REFUSE(compile, reader.message, "filter_state_rules");
    if (result == 0)
        result = read_providers(&reader);
    if (result == 0)
        result = read_rules(&reader, filter);
    filter->providers = reader.providers;
    filter->provider_count = reader.message->n_providers;
    *ret_filter = filter;
    return result;
}
