/* RequestAuthentication and PeerAuthentication. */
#include "control/model/kind/document.h"
#include "control/model/kind/kinds.h"
#include "control/model/kind/target.h"

#include <errno.h>

static int read_jwks(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    static const struct fl_json_limits limits = {.bytes_max = CONTROL_JWKS_MAX, .depth_max = 8};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *jwks = NULL;
    struct fl_err err = {0};
    if (!fl_json_is(value, FL_JSON_STRING))
        return fl_reader_expected(reader, value, "a JWKS as a string of JSON");
    int result = fl_json_parse(fl_json_string(value), &limits, &jwks, &err);
    if (result == -ENOMEM)
        return result;
    if (result < 0)
        return fl_reader_fail(reader, value, "not JSON: %s", err.text);
    if (!fl_json_is(fl_json_get(jwks, "keys"), FL_JSON_ARRAY))
        return fl_reader_fail(reader, value, "a JWKS has a list \"keys\"");
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
    {"issuer", control_read_text, AT(issuer), REQ, 1, 1024, NULL},
    {"audiences", control_read_list, AT(audiences), OPT, 0, 0, &audience_list},
    {"jwks", read_jwks, AT(jwks), REQ, 0, 0, NULL},
    {"fromHeaders", control_read_list, AT(headers), OPT, 0, 0, &jwt_header_list},
    {"fromParams", control_read_list, AT(params), OPT, 0, 0, &param_list},
    {"forwardOriginalToken", fl_read_bool, AT(forward), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table jwt_table = {jwt_rows, FL_TABLE_REFUSE_UNKNOWN};
#undef AT
static const struct control_list jwt_list =
    LIST_OF(struct control_request_authentication, rules, rule_count, 0, 16, fl_read_object, NULL, &jwt_table);
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

const struct control_kind_reader control_read_request_authentication = {sizeof(struct control_request_authentication),
                                                                        read_request, NULL};

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
