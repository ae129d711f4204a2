/* proxy/config: RBAC and JWT, what is read and what is refused, each with the exact words behind file, line and column.
 */
#include "proxy/config/bootstrap.h"
#include "proxy/filter/jwt.h"
#include "proxy/filter/rbac.h"
#include "proxy/route/table.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TYPE "\"@type\": type.googleapis.com/envoy."
#define TCP                                                                                                            \
    "{name: t, typed_config: {" TYPE "extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: c}}"
#define ROUTER "{name: r, typed_config: {" TYPE "extensions.filters.http.router.v3.Router}}"
#define LISTENER                                                                                                       \
    "static_resources:\n  clusters: [{name: c}]\n  listeners:\n  - name: l\n    address: {socket_address: {address: "  \
    "127.0.0.1, port_value: 1000}}\n    filter_chains:\n    - filters:\n"
#define HCM(filters)                                                                                                   \
    LISTENER "      - name: h\n        typed_config:\n          " TYPE                                                 \
             "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n"                           \
             "          stat_prefix: p\n          route_config: {virtual_hosts: []}\n"                                 \
             "          http_filters: [" filters "]\n"
#define HTTP_RBAC(content) "{name: b, typed_config: {" TYPE "extensions.filters.http.rbac.v3.RBAC" content "}}"
#define NET_RBAC(content)                                                                                              \
    "      - {name: b, typed_config: {" TYPE "extensions.filters.network.rbac.v3.RBAC" content "}}\n"
#define JWT(content)                                                                                                   \
    "{name: j, typed_config: {" TYPE "extensions.filters.http.jwt_authn.v3.JwtAuthentication" content "}}"
#define BY_HTTP(content) HCM(HTTP_RBAC(content) ", " ROUTER)
#define BY_TCP(content)  LISTENER NET_RBAC(", stat_prefix: p" content) "      - " TCP "\n"
#define BY_JWT(content)  HCM(JWT(content) ", " ROUTER)
#define POLICY(permissions, principals)                                                                                \
    BY_HTTP(", rules: {policies: {a: {permissions: [" permissions "], principals: [" principals "]}}}")
#define CAN(permission) POLICY(permission, "{any: true}")
#define WHO(principal)  POLICY("{any: true}", principal)

#define KEYS                                                                                                           \
    "local_jwks: {inline_string: '{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"gI0GAILBdu7T53akrFmMyGcsF3n5dO" \
    "7MmwNBHKW5SV0\",\"y\":\"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps\"}]}'}"
#define PROVIDER(content) ", providers: {a: {" KEYS content "}}"

#define AT_CHAIN "$.static_resources.listeners[0].filter_chains[0]"
#define AT_HTTP  AT_CHAIN ".filters[0].typed_config.http_filters[0].typed_config"
#define AT_TCP   AT_CHAIN ".filters[0].typed_config"
#define AT       AT_HTTP ".rules.policies.a"
#define AT_CAN   AT ".permissions[0]"
#define AT_WHO   AT ".principals[0]"
#define AT_A     AT_HTTP ".providers.a"

static const struct {
    const char *what, *text, *expected;
} bad[] = {
    {"the last one", HCM(HTTP_RBAC("")),
     AT_CHAIN ".filters[0].typed_config.http_filters[0]: the last HTTP filter must be the router"},
    {"a network filter at the end", LISTENER NET_RBAC(", stat_prefix: p"),
     AT_CHAIN ".filters[0]: the last filter must be tcp_proxy or http_connection_manager"},
    {"matcher trees", BY_HTTP(", matcher: {}"), AT_HTTP ".matcher: matcher is not supported"},
    {"matcher trees on trial", BY_HTTP(", shadow_matcher: {}"),
     AT_HTTP ".shadow_matcher: shadow_matcher is not supported"},
    {"matcher trees of connections", BY_TCP(", matcher: {}"), AT_TCP ".matcher: matcher is not supported"},
    {"no stat_prefix", LISTENER NET_RBAC("") "      - " TCP "\n", AT_TCP ".stat_prefix: must be set"},
    {"a field that nobody knows", BY_HTTP(", rule: {}"),
     AT_HTTP ".rule: there is no such field in envoy.extensions.filters.http.rbac.v3.RBAC"},
    {"an unknown field of a policy", BY_HTTP(", rules: {policies: {a: {permission: []}}}"),
     AT ".permission: there is no such field in envoy.config.rbac.v3.Policy"},
    {"an action that is none", BY_HTTP(", rules: {action: 7}"),
     AT_HTTP ".rules.action: expected one of ALLOW, DENY, LOG"},
    {"audit", BY_HTTP(", rules: {audit_logging_options: {}}"),
     AT_HTTP ".rules.audit_logging_options: audit_logging_options is not supported"},
    {"no permissions", POLICY("", "{any: true}"), AT ".permissions: expected 1 to 8192"},
    {"no principals", POLICY("{any: true}", ""), AT ".principals: expected 1 to 8191"},
    {"CEL", BY_HTTP(", rules: {policies: {a: {condition: {}}}}"), AT ".condition: condition is not supported"},
    {"an empty permission", CAN("{}"),
     AT_CAN
     ": and_rules, or_rules, any, header, destination_ip, destination_port, metadata, not_rule, "
     "requested_server_name, url_path, destination_port_range, matcher, uri_template or sourced_metadata must be set"},
    {"any: false", CAN("{any: false}"), AT_CAN ".any: must be true"},
    {"an empty set", CAN("{and_rules: {}}"), AT_CAN ".and_rules: must not be empty"},
    {"an empty set of principals", WHO("{or_ids: {}}"), AT_WHO ".or_ids: must not be empty"},
    {"a matcher of others", CAN("{matcher: {name: x}}"), AT_CAN ".matcher: matcher is not supported"},
    {"a template", CAN("{uri_template: {name: x}}"), AT_CAN ".uri_template: uri_template is not supported"},
    {"a regular expression", CAN("{url_path: {path: {safe_regex: {regex: a}}}}"),
     AT_CAN ".url_path.path.safe_regex: safe_regex is not supported"},
    {"a regular expression of a field", CAN("{header: {name: a, safe_regex_match: {regex: a}}}"),
     AT_CAN ".header.safe_regex_match: safe_regex_match is not supported"},
    {"a regular expression of identities", WHO("{authenticated: {principal_name: {safe_regex: {regex: a}}}}"),
     AT_WHO ".authenticated.principal_name.safe_regex: safe_regex is not supported"},
    {"an empty prefix", CAN("{url_path: {path: {prefix: ''}}}"),
     AT_CAN ".url_path.path: must not be empty: it would match every value"},
    {"a name with a blank", CAN("{header: {name: 'a b', present_match: true}}"),
     AT_CAN ".header.name: not a field's name: \"a b\""},
    {"a pseudo field that is none", CAN("{header: {name: ':status', present_match: true}}"),
     AT_CAN ".header.name: not a field's name: \":status\""},
    {"an address that is none", CAN("{destination_ip: {address_prefix: a}}"),
     AT_CAN ".destination_ip.address_prefix: expected an IPv4 or IPv6 address, got \"a\""},
    {"a prefix too long", WHO("{remote_ip: {address_prefix: 10.0.0.0, prefix_len: 33}}"),
     AT_WHO ".remote_ip.prefix_len: expected a number from 0 to 32, got 33"},
    {"IPv4 in IPv6", WHO("{direct_remote_ip: {address_prefix: '::ffff:10.0.0.0', prefix_len: 24}}"),
     AT_WHO ".direct_remote_ip: an IPv4-mapped block: expected IPv4"},
    {"a port too high", CAN("{destination_port: 65536}"),
     AT_CAN ".destination_port: expected a port up to 65535, got 65536"},
    {"an empty range", CAN("{destination_port_range: {start: 5, end: 5}}"),
     AT_CAN ".destination_port_range: expected 0 <= start < end <= 65536"},
    {"metadata of others", WHO("{metadata: {filter: x, path: [{key: a}], value: {present_match: true}}}"),
     AT_WHO ".metadata.filter: expected envoy.filters.http.jwt_authn, got \"x\""},
    {"metadata without a path", WHO("{metadata: {filter: envoy.filters.http.jwt_authn, value: {present_match: true}}}"),
     AT_WHO ".metadata.path: expected 1 to 8 steps"},
    {"metadata of the route", WHO("{sourced_metadata: {metadata_source: ROUTE}}"),
     AT_WHO ".sourced_metadata.metadata_source: expected DYNAMIC"},
    {"an empty or", WHO("{metadata: {filter: envoy.filters.http.jwt_authn, path: [{key: a}], value: {or_match: {}}}}"),
     AT_WHO ".metadata.value.or_match: must not be empty"},
    {"filter state", WHO("{filter_state: {key: a, string_match: {exact: b}}}"),
     AT_WHO ".filter_state: filter_state is not supported"},
    {"a principal of others", WHO("{custom: {name: a}}"), AT_WHO ".custom: custom is not supported"},
    {"shadow rules, too", BY_HTTP(", shadow_rules: {policies: {a: {permissions: [{any: false}]}}}"),
     AT_HTTP ".shadow_rules.policies.a.permissions[0].any: must be true"},
    {"policies of a route",
     HCM(ROUTER) "          route_config: {typed_per_filter_config: {a: {" TYPE
                 "extensions.filters.http.rbac.v3.RBACPerRoute, rbac: {}}}}\n",
     NULL},

    {"keys from afar", BY_JWT(", providers: {a: {remote_jwks: {}}}"),
     AT_A ".remote_jwks: remote_jwks is not supported"},
    {"no keys", BY_JWT(", providers: {a: {}}"), AT_A ": remote_jwks or local_jwks must be set"},
    {"keys that are none", BY_JWT(", providers: {a: {local_jwks: {inline_string: '{}'}}}"),
     AT_A ".local_jwks: expected an object with a list \"keys\""},
    {"cookies", BY_JWT(PROVIDER(", from_cookies: [a]")), AT_A ".from_cookies: from_cookies is not supported"},
    {"the header as metadata", BY_JWT(PROVIDER(", header_in_metadata: a")),
     AT_A ".header_in_metadata: header_in_metadata is not supported"},
    {"a field that is the framing's", BY_JWT(PROVIDER(", forward_payload_header: content-length")),
     AT_A ".forward_payload_header: not the name of a field that can be written: \"content-length\""},
    {"the token's own field", BY_JWT(PROVIDER(", claim_to_headers: [{header_name: authorization, claim_name: a}]")),
     AT_A ".claim_to_headers[0].header_name: not the name of a field that can be written: \"authorization\""},
    {"a claim without a name", BY_JWT(PROVIDER(", claim_to_headers: [{header_name: a, claim_name: a..b}]")),
     AT_A ".claim_to_headers[0].claim_name: expected names with dots between them, got \"a..b\""},
    {"a lifetime of nothing", BY_JWT(PROVIDER(", max_lifetime: 0s")), AT_A ".max_lifetime: expected a second or more"},
    {"filter state rules", BY_JWT(", filter_state_rules: {}"),
     AT_HTTP ".filter_state_rules: filter_state_rules is not supported"},
    {"a provider that is not there", BY_JWT(", rules: [{match: {prefix: /}, requires: {provider_name: x}}]"),
     AT_HTTP ".rules[0].requires.provider_name: no provider is named \"x\""},
    {"a requirement that is not there", BY_JWT(", rules: [{match: {prefix: /}, requirement_name: x}]"),
     AT_HTTP ".rules[0].requirement_name: requirement_map has no \"x\""},
    {"an empty list", BY_JWT(", rules: [{match: {prefix: /}, requires: {requires_any: {}}}]"),
     AT_HTTP ".rules[0].requires.requires_any: must not be empty"},
    {"a rule for nothing", BY_JWT(", rules: [{requires: {allow_missing: {}}}]"),
     AT_HTTP ".rules[0].match: must be set"},
    {"a rule by expression", BY_JWT(", rules: [{match: {safe_regex: {regex: a}}}]"),
     AT_HTTP ".rules[0].match.safe_regex: safe_regex is not supported (supported: prefix, path, path_separated_prefix, "
             "case_sensitive, headers, query_parameters)"},
    {"an unknown field of a provider", BY_JWT(PROVIDER(", iss: a")),
     AT_A ".iss: there is no such field in envoy.extensions.filters.http.jwt_authn.v3.JwtProvider"},
};

static struct proxy_bootstrap_warnings warnings;

static void test_refusals(void **state)
{
    (void)state;
    int failed = 0;
    for (size_t i = 0; i < FL_COUNT(bad); i++) {
        struct proxy_snapshot *snapshot = NULL;
        struct fl_err err = {0};
        if (proxy_bootstrap_parse(fl_span_str(bad[i].text), "p.yaml", &warnings, &snapshot, &err) == 0)
            fail_msg("%s: was taken", bad[i].what);
        const char *place = strchr(err.text, '$');
        if (bad[i].expected != NULL && (place == NULL || strcmp(place, bad[i].expected) != 0))
            printf("%s:\n%s\n%s\n", bad[i].what, err.text, bad[i].expected), failed = 1;
    }
    assert_int_equal(failed, 0);
}

static struct proxy_snapshot *compile(const char *text)
{
    struct proxy_snapshot *snapshot = NULL;
    struct fl_err err = {0};
    if (proxy_bootstrap_parse(fl_span_str(text), "p.yaml", &warnings, &snapshot, &err) != 0)
        fail_msg("%s", err.text);
    return snapshot;
}

static const struct proxy_hcm_config *hcm_of(const struct proxy_snapshot *snapshot)
{
    return snapshot->listeners[0]->chains[0].http;
}

static void test_every_rule_is_read(void **state)
{
    (void)state;
    static const char text[] =
        BY_HTTP(", rules: {action: DENY, policies: {b: {permissions: ["
                "{and_rules: {rules: [{any: true}, {not_rule: {destination_port: 80}}]}},"
                "{header: {name: Host, string_match: {exact: A.b}}},"
                "{header: {name: x-a, present_match: false}},"
                "{url_path: {path: {prefix: /a, ignore_case: true}}},"
                "{destination_ip: {address_prefix: 10.1.2.3, prefix_len: 8}},"
                "{destination_port_range: {start: 10, end: 20}},"
                "{requested_server_name: {suffix: .b}}], principals: ["
                "{authenticated: {}}, {authenticated: {principal_name: {contains: /ns/x/}}},"
                "{direct_remote_ip: {address_prefix: 'fd00::', prefix_len: 8}},"
                "{remote_ip: {address_prefix: 0.0.0.0}},"
                "{source_ip: {address_prefix: 1.2.3.4, prefix_len: 32}},"
                "{not_id: {or_ids: {ids: [{any: true}]}}},"
                "{metadata: {filter: envoy.filters.http.jwt_authn, path: [{key: p}, {key: groups}],"
                " value: {or_match: {value_matchers: [{string_match: {exact: g}}, {list_match: {one_of: {string_match: "
                "{exact: g}}}}, {double_match: {range: {start: 1, end: 2}}}, {bool_match: true}, {null_match: {}}]}},"
                " invert: true}}]},"
                "'a long name': {permissions: [{any: true}], principals: [{any: true}]}}},"
                " shadow_rules: {}, rules_stat_prefix: x");
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = compile(text);
    const struct proxy_hcm_config *hcm = hcm_of(snapshot);
    assert_int_equal(hcm->filter_count, 1);
    assert_ptr_equal(hcm->filters[0].ops, &proxy_rbac_ops);
    const struct proxy_rbac_filter *filter = hcm->filters[0].config;
    assert_int_equal(filter->rules->action, PROXY_RBAC_DENY);
    assert_int_equal(filter->rules->policy_count, 2);
    assert_int_equal(filter->shadow_rules->action, PROXY_RBAC_ALLOW);
    assert_int_equal(filter->shadow_rules->policy_count, 0);
    assert_string_equal(filter->rules->policies[0].details, "rbac_access_denied_matched_policy[a_long_name]");
    const struct proxy_rbac_policy *policy = &filter->rules->policies[1];
    assert_int_equal(policy->permission_count, 7);
    const struct proxy_rule *rules = policy->permissions;
    assert_int_equal(rules[0].kind, PROXY_RULE_AND);
    assert_int_equal(rules[0].set.rules[1].kind, PROXY_RULE_NOT);
    assert_int_equal(rules[0].set.rules[1].set.rules[0].ports.first, 80);
    assert_int_equal(rules[1].kind, PROXY_RULE_HOST);
    assert_true(fl_span_eq_str(rules[1].header.name, ":authority"));
    assert_true(fl_span_eq_str(rules[1].header.string.text, "A.b"));
    assert_true(rules[2].kind == PROXY_RULE_HEADER && rules[2].header.invert);
    assert_true(rules[3].kind == PROXY_RULE_PATH && rules[3].string.ignore_case);
    assert_true(rules[4].kind == PROXY_RULE_DESTINATION && rules[4].cidr.address[1] == 0);
    assert_true(rules[5].ports.first == 10 && rules[5].ports.last == 19);
    assert_int_equal(rules[6].kind, PROXY_RULE_SERVER_NAME);
    rules = policy->principals;
    assert_int_equal(rules[0].kind, PROXY_RULE_AUTHENTICATED);
    assert_true(rules[1].kind == PROXY_RULE_IDENTITY && rules[1].string.kind == PROXY_STRING_CONTAINS);
    assert_int_equal(rules[2].kind, PROXY_RULE_DIRECT_SOURCE);
    assert_true(rules[3].kind == PROXY_RULE_SOURCE && rules[3].cidr.prefix == 0);
    assert_int_equal(rules[4].kind, PROXY_RULE_DIRECT_SOURCE);
    assert_int_equal(rules[5].set.rules[0].set.rules[0].kind, PROXY_RULE_ANY);
    assert_true(rules[6].metadata->invert && rules[6].metadata->path_count == 2);
    assert_int_equal(rules[6].metadata->value.count, 5);
}

static void test_network_rbac(void **state)
{
    (void)state;
    static const char text[] =
        LISTENER NET_RBAC(", stat_prefix: p, rules: {action: DENY}, delay_deny: 1s, enforcement_type: CONTINUOUS")
            NET_RBAC(", stat_prefix: q, rules: {policies: {a: {permissions: [{any: true}], principals: [{any: "
                     "true}]}}}") "      - " TCP "\n";
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = compile(text);
    const struct proxy_filter_chain *chain = &snapshot->listeners[0]->chains[0];
    assert_int_equal(chain->rbac_count, 2);
    assert_int_equal(chain->rbacs[0].rules->action, PROXY_RBAC_DENY);
    assert_int_equal(chain->rbacs[1].rules->policy_count, 1);
    assert_null(chain->rbacs[1].shadow_rules);
}

static void test_rules_inside_each_other(void **state)
{
    (void)state;
    for (int levels = PROXY_RULE_DEPTH_MAX; levels <= PROXY_RULE_DEPTH_MAX + 1; levels++) {
        struct fl_buf text;
        fl_buf_init(&text, 8192);
        static const char around[] = CAN("|");
        size_t here = fl_span_find(fl_span_str(around), '|');
        assert_int_equal(fl_buf_append(&text, fl_span_make(around, here)), 0);
        for (int i = 0; i < levels; i++)
            assert_int_equal(fl_buf_append_str(&text, "{not_rule: "), 0);
        assert_int_equal(fl_buf_append_str(&text, "{any: true}"), 0);
        for (int i = 0; i < levels; i++)
            assert_int_equal(fl_buf_append_byte(&text, '}'), 0);
        assert_int_equal(fl_buf_append_str(&text, around + here + 1), 0);
        struct proxy_snapshot *snapshot = NULL;
        struct fl_err err = {0};
        int result = proxy_bootstrap_parse(fl_buf_span(&text), "p.yaml", &warnings, &snapshot, &err);
        if (levels == PROXY_RULE_DEPTH_MAX)
            assert_int_equal(result, 0);
        else
            assert_non_null(strstr(err.text, ": rules inside each other: more than 16"));
        proxy_snapshot_unref(snapshot);
        fl_buf_done(&text);
    }
}

static void test_jwt(void **state)
{
    (void)state;
    static const char text[] = BY_JWT(
        ", providers: {a: {" KEYS ", issuer: me, audiences: [x, y], subjects: {prefix: s}, require_expiration: true,"
        " max_lifetime: 90.5s, clock_skew_seconds: 5, forward: true, from_headers: [{name: x-t, value_prefix: 'T '}],"
        " from_params: [t], forward_payload_header: x-p, pad_forward_payload_header: true, payload_in_metadata: "
        "payload,"
        " normalize_payload_in_metadata: {space_delimited_claims: [scope]},"
        " claim_to_headers: [{header_name: x-c, claim_name: a.b}]}, b: {" KEYS "}},"
        " rules: [{match: {path: /free}}, {match: {prefix: /m}, requirement_name: m},"
        " {match: {prefix: /}, requires: {requires_any: {requirements: [{provider_name: a}, {provider_and_audiences: "
        "{provider_name: b, audiences: [z]}}, {allow_missing: {}}]}}}],"
        " requirement_map: {m: {requires_all: {requirements: [{provider_name: b}, {allow_missing_or_failed: {}}]}}},"
        " bypass_cors_preflight: true, strip_failure_response: true");
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = compile(text);
    const struct proxy_hcm_config *hcm = hcm_of(snapshot);
    assert_ptr_equal(hcm->filters[0].ops, &proxy_jwt_ops);
    const struct proxy_jwt_filter *filter = hcm->filters[0].config;
    assert_true(filter->bypass_cors_preflight && filter->strip_failure_response);
    assert_int_equal(filter->provider_count, 2);
    const struct proxy_jwt_provider *a = &filter->providers[0], *b = &filter->providers[1];
    if (fl_span_eq_str(a->name, "b")) {
        a = &filter->providers[1];
        b = &filter->providers[0];
    }
    assert_true(fl_span_eq_str(a->issuer, "me") && a->audience_count == 2 && a->has_subjects && a->require_expiration);
    assert_true(a->max_lifetime_s == 90 && a->clock_skew_s == 5 && a->forward && a->payload_header_padded);
    assert_true(a->header_count == 1 && a->param_count == 1 && fl_span_eq_str(a->headers[0].prefix, "T "));
    assert_true(fl_span_eq_str(a->metadata_key, "payload") && a->space_delimited_count == 1);
    assert_true(a->claim_header_count == 1 && a->claim_headers[0].claim_count == 2);
    assert_true(fl_span_eq_str(b->headers[0].prefix, "Bearer ") && fl_span_eq_str(b->params[0], "access_token"));
    assert_true(b->clock_skew_s == PROXY_JWT_CLOCK_SKEW_S && b->max_lifetime_s == 0 && !b->forward);
    assert_true(a->id != b->id && a->keys->count == 1);
    const struct proxy_jwt_requirement *requirements = filter->requirements;
    assert_int_equal(requirements[0].kind, PROXY_JWT_NOTHING);
    assert_true(requirements[1].kind == PROXY_JWT_ALL &&
                requirements[1].list[1].kind == PROXY_JWT_ALLOW_MISSING_OR_FAILED);
    assert_true(requirements[2].kind == PROXY_JWT_ANY && requirements[2].count == 3);
    assert_true(requirements[2].list[0].provider == a && requirements[2].list[1].provider == b);
    assert_int_equal(requirements[2].list[1].audience_count, 1);
    const struct proxy_message request = {.path = FL_SPAN("/m?x"), .authority = FL_SPAN("any.where:80")};
    struct proxy_route_found found = proxy_route_find(filter->rules, &request);
    assert_int_equal(found.route - found.virtual_host->routes, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_every_rule_is_read),
        cmocka_unit_test(test_network_rbac), cmocka_unit_test(test_rules_inside_each_other),
        cmocka_unit_test(test_jwt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
