/* RequestAuthentication and PeerAuthentication. */
#include "common/jose/jwks.h"
#include "control/model/kind/document.h"
#include "control/model/kind/kinds.h"
#include "control/model/kind/target.h"

#include <errno.h>

/* By the parser that the proxies use: what they would refuse takes every policy of a workload with it. */
static int read_jwks(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct fl_jwks *keys = NULL;
    struct fl_err err = {0};
    if (!fl_json_is(value, FL_JSON_STRING))
        return fl_reader_expected(reader, value, "a JWKS as a string of JSON");
    int result = fl_jwks_parse(fl_json_string(value), &keys, &err);
    if (result == -ENOMEM)
        return result;
    if (result < 0)
        return fl_reader_fail(reader, value, "no JWKS that tokens could be verified by: %s", err.text);
    fl_jwks_free(keys);
    return control_read_text(reader, value, field, row);
}

#define AT(member) offsetof(struct control_jwt_header, member)
static const struct fl_row jwt_header_rows[] = {
    {"name", control_read_header_name, AT(name), REQ, 0, 0, NULL},
    {"prefix", control_read_text, AT(prefix), OPT, 0, 64, NULL},
    {0},
};
static const struct fl_table jwt_header_table = {jwt_header_rows, FL_TABLE_REFUSE_UNKNOWN};
#undef AT

static const struct control_list audience_list =
    LIST_OF(struct control_jwt_rule, audiences, audience_count, 0, 64, control_read_short_text, NULL, NULL);
static const struct control_list jwt_header_list =
    LIST_OF(struct control_jwt_rule, headers, header_count, 0, 16, fl_read_object, NULL, &jwt_header_table);
static const struct control_list param_list =
    LIST_OF(struct control_jwt_rule, params, param_count, 0, 16, control_read_short_text, NULL, NULL);
#define AT(member) offsetof(struct control_jwt_rule, member)
static const struct fl_row jwt_rows[] = {
    {"issuer", control_read_text, AT(issuer), REQ, 1, CONTROL_ISSUER_MAX, NULL},
    {"audiences", control_read_list, AT(audiences), OPT, 0, 0, &audience_list},
    {"jwks", read_jwks, AT(jwks), REQ, 0, 0, NULL},
    {"fromHeaders", control_read_list, AT(headers), OPT, 0, 0, &jwt_header_list},
    {"fromParams", control_read_list, AT(params), OPT, 0, 0, &param_list},
    {"forwardOriginalToken", fl_read_bool, AT(forward), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table jwt_table = {jwt_rows, FL_TABLE_REFUSE_UNKNOWN};
#undef AT
static const struct control_list jwt_list = LIST_OF(struct control_request_authentication, rules, rule_count, 0,
                                                    CONTROL_JWT_RULES_MAX, fl_read_object, NULL, &jwt_table);
static const struct fl_row request_rows[] = {
    CONTROL_TARGET_ROWS(struct control_request_authentication),
    {"jwtRules", control_read_list, offsetof(struct control_request_authentication, rules), OPT, 0, 0, &jwt_list},
    {0},
};
static const struct fl_table request_table = {request_rows, FL_TABLE_REFUSE_UNKNOWN};

static int read_request(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_request_authentication *request =
        FL_CONTAINER_OF(object, struct control_request_authentication, object);
    int result = control_read_document(reader, document, &request_table, request);
    return result < 0 ? result : control_check_target(reader, document, &request->target);
}

/* -- what was not understood: tokens are looked for, and none is good -- */

/* A P-256 key whose private half nobody has: x is SHA-256 of "fairlead: a key that nobody has, 1" (the first number
 * that gives a point of the curve), y the smaller of the two that go with it. */
#define NOBODYS_KEYS                                                                                                   \
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"F1zQdaMPH-hcGw98CO7erSLkzJkpWT3REf2ycDFRprE\","              \
    "\"y\":\"QJgEU3c1JvtpgvpumDvdBOH2irzZThSxTxQhlDklz44\"}]}"

static const struct control_jwt_header usual_header = {FL_SPAN("authorization"), FL_SPAN("Bearer ")};

/* One list of a rule, where it is understood; else the rule has none. */
static int close_list(struct fl_reader *reader, const struct fl_json *rule, const char *name,
                      const struct control_list *list, void *items, size_t *count)
{
    const struct fl_json *value = fl_json_get(rule, name);
    const struct fl_row row = {.detail = list};
    int result = fl_json_is(value, FL_JSON_ARRAY) ? control_read_list(reader, value, items, &row) : 0;
    if (result < 0)
        *count = 0;
    return result == -ENOMEM ? result : 0;
}

/* The issuer and the places of tokens, as far as they can be told: any issuer, the usual place. */
static int close_rule(struct fl_reader *reader, const struct fl_json *document, struct control_jwt_rule *rule)
{
    const struct fl_json *issuer = fl_json_get(document, "issuer");
    *rule = (struct control_jwt_rule){.issuer = FL_SPAN(""), .jwks = FL_SPAN(NOBODYS_KEYS)};
    int result = fl_json_is(issuer, FL_JSON_STRING) && fl_json_string(issuer).len <= CONTROL_ISSUER_MAX
                     ? control_copy(reader, fl_json_string(issuer), &rule->issuer)
                     : 0;
    if (result == 0)
        result = close_list(reader, document, "fromHeaders", &jwt_header_list, &rule->headers, &rule->header_count);
    if (result == 0)
        result = close_list(reader, document, "fromParams", &param_list, &rule->params, &rule->param_count);
    if (result == 0 && rule->header_count == 0) {
        rule->headers = &usual_header;
        rule->header_count = 1;
    }
    return result;
}

static int close_request(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_request_authentication *request =
        FL_CONTAINER_OF(object, struct control_request_authentication, object);
    const struct fl_json *list = fl_json_get(fl_json_get(document, "spec"), "jwtRules");
    size_t count = fl_json_is(list, FL_JSON_ARRAY) ? fl_json_count(list) : 0;
    count = count < 1 || count > CONTROL_JWT_RULES_MAX ? 1 : count;
    struct control_jwt_rule *rules = fl_arena_array(reader->context, count, sizeof(*rules));
    if (rules == NULL)
        return -ENOMEM;
    const struct fl_json *item = fl_json_count(list) == count ? fl_json_first(list) : NULL;
    for (size_t i = 0; i < count; i++, item = item != NULL ? fl_json_next(item) : NULL) {
        int result = close_rule(reader, item, &rules[i]);
        if (result < 0)
            return result;
    }
    request->rules = rules;
    request->rule_count = count;
    return control_close_target(reader, document, &request->target);
}

const struct control_kind_reader control_read_request_authentication = {sizeof(struct control_request_authentication),
                                                                        read_request, close_request};

/* -- PeerAuthentication -------------------------------------------------------------------------------------------- */

static const char *const modes[] = {"UNSET", "DISABLE", "PERMISSIVE", "STRICT", NULL};

const char *control_mtls_name(enum control_mtls mode)
{
    return modes[mode];
}

static const struct fl_row mtls_rows[] = {
    {"mode", fl_read_enum, 0, OPT, 0, 0, modes},
    {0},
};
static const struct fl_table mtls_table = {mtls_rows, FL_TABLE_REFUSE_UNKNOWN};

static int read_mtls(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    return fl_table_read(reader, value, &mtls_table, field);
}

/* portLevelMtls: {"8080": {mode: DISABLE}}. YAML keys are texts. */
static int read_port_mtls(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_peer_authentication *peer = field;
    size_t count = fl_json_count(value), i = 0;
    (void)row;
    if (!fl_json_is(value, FL_JSON_OBJECT))
        return fl_reader_expected(reader, value, "an object by port");
    if (count > CONTROL_VALUES_MAX)
        return fl_reader_fail(reader, value, "more than %d ports", CONTROL_VALUES_MAX);
    if (count == 0)
        return 0;
    struct control_port_mtls *ports = fl_arena_array(reader->context, count, sizeof(*ports));
    if (ports == NULL)
        return -ENOMEM;
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item), i++) {
        uint64_t port = 0;
        size_t mark = fl_reader_enter(reader, fl_json_name(item));
        int result = fl_span_to_u64(fl_json_name(item), UINT16_MAX, &port) && port > 0
                         ? read_mtls(reader, item, &ports[i].mode, NULL)
                         : fl_reader_fail(reader, item, "expected a port number as the member's name");
        fl_reader_leave(reader, mark);
        if (result < 0)
            return result;
        ports[i].port = (uint16_t)port;
    }
    peer->ports = ports;
    peer->port_count = count;
    return 0;
}

static const struct fl_row peer_rows[] = {
    {"selector", control_read_target_selector, offsetof(struct control_peer_authentication, target), OPT, 0, 0, NULL},
    {"mtls", read_mtls, offsetof(struct control_peer_authentication, mode), OPT, 0, 0, NULL},
    {"portLevelMtls", read_port_mtls, 0, OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table peer_table = {peer_rows, FL_TABLE_REFUSE_UNKNOWN};

static int read_peer(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_peer_authentication *peer = FL_CONTAINER_OF(object, struct control_peer_authentication, object);
    int result = control_read_document(reader, document, &peer_table, peer);
    if (result == 0 && peer->port_count > 0 && !peer->target.selects)
        return fl_reader_fail(reader, fl_json_get(document, "spec"), "spec.portLevelMtls: needs a selector");
    return result;
}

static int close_peer(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_peer_authentication *peer = FL_CONTAINER_OF(object, struct control_peer_authentication, object);
    peer->mode = CONTROL_MTLS_STRICT;
    return control_close_target(reader, document, &peer->target);
}

const struct control_kind_reader control_read_peer_authentication = {sizeof(struct control_peer_authentication),
                                                                     read_peer, close_peer};
