#include "cli/check/netpolicy.h"

#include "common/base/cleanup.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct fl_json *parse(const char *text)
{
    struct fl_json *json = NULL;
    struct fl_err err = {0};
    if (fl_json_parse(fl_span_str(text), NULL, &json, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return json;
}

#define CONTROL                                                                                                        \
    "{\"metadata\":{\"name\":\"control\",\"namespace\":\"mesh\",\"labels\":{\"app\":\"control\"}},"                    \
    "\"spec\":{\"containers\":[{\"name\":\"c\",\"ports\":[{\"name\":\"xds\",\"containerPort\":15012}]}]},"             \
    "\"status\":{\"podIPs\":[{\"ip\":\"10.1.2.3\"},{\"ip\":\"fd00::3\"}]}}"
#define WEB                                                                                                            \
    "{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"labels\":{\"app\":\"web\",\"tier\":\"a\"}},"             \
    "\"status\":{\"podIPs\":[{\"ip\":\"10.9.0.1\"}]}}"
#define POLICY(spec) "[{\"metadata\":{\"name\":\"p\",\"namespace\":\"shop\"},\"spec\":" spec "}]"

/* From web to the control plane's 15012, asked of web's side. */
static const struct {
    const char *name, *policies;
    bool allowed;
} egress_rows[] = {
    {"none", "[]", true},
    {"ingress alone", POLICY("{\"podSelector\":{}}"), true},
    {"all is shut", POLICY("{\"podSelector\":{},\"policyTypes\":[\"Egress\"]}"), false},
    {"of another pod", POLICY("{\"podSelector\":{\"matchLabels\":{\"app\":\"x\"}},\"policyTypes\":[\"Egress\"]}"),
     true},
    {"of another namespace",
     "[{\"metadata\":{\"name\":\"p\",\"namespace\":\"x\"},\"spec\":{\"podSelector\":{},\"policyTypes\":[\"Egress\"]}}]",
     true},
    {"types left out, with egress", POLICY("{\"podSelector\":{},\"egress\":[]}"), false},
    {"everything", POLICY("{\"podSelector\":{},\"egress\":[{}]}"), true},
    {"the port", POLICY("{\"podSelector\":{},\"egress\":[{\"ports\":[{\"port\":15012}]}]}"), true},
    {"another port", POLICY("{\"podSelector\":{},\"egress\":[{\"ports\":[{\"port\":443}]}]}"), false},
    {"a range", POLICY("{\"podSelector\":{},\"egress\":[{\"ports\":[{\"port\":15000,\"endPort\":15100}]}]}"), true},
    {"a range beside it", POLICY("{\"podSelector\":{},\"egress\":[{\"ports\":[{\"port\":15000,\"endPort\":15011}]}]}"),
     false},
    {"its name", POLICY("{\"podSelector\":{},\"egress\":[{\"ports\":[{\"port\":\"xds\"}]}]}"), true},
    {"a name that it has not", POLICY("{\"podSelector\":{},\"egress\":[{\"ports\":[{\"port\":\"http\"}]}]}"), false},
    {"another protocol", POLICY("{\"podSelector\":{},\"egress\":[{\"ports\":[{\"protocol\":\"UDP\"}]}]}"), false},
    {"no port given", POLICY("{\"podSelector\":{},\"egress\":[{\"ports\":[{\"protocol\":\"TCP\"}]}]}"), true},
    {"own namespace", POLICY("{\"podSelector\":{},\"egress\":[{\"to\":[{\"podSelector\":{}}]}]}"), false},
    {"its namespace",
     POLICY("{\"podSelector\":{},\"egress\":[{\"to\":[{\"namespaceSelector\":{\"matchLabels\":{\"n\":\"mesh\"}}}]}]}"),
     true},
    {"its namespace, other pods",
     POLICY("{\"podSelector\":{},\"egress\":[{\"to\":[{\"namespaceSelector\":{},\"podSelector\":{\"matchLabels\":{"
            "\"app\":\"x\"}}}]}]}"),
     false},
    {"its addresses", POLICY("{\"podSelector\":{},\"egress\":[{\"to\":[{\"ipBlock\":{\"cidr\":\"10.1.2.0/23\"}}]}]}"),
     true},
    {"its IPv6 addresses", POLICY("{\"podSelector\":{},\"egress\":[{\"to\":[{\"ipBlock\":{\"cidr\":\"fd00::/8\"}}]}]}"),
     true},
    {"but for it",
     POLICY("{\"podSelector\":{},\"egress\":[{\"to\":[{\"ipBlock\":{\"cidr\":\"10.0.0.0/8\",\"except\":[\"10.1.2.0/"
            "24\"]}}]}]}"),
     false},
    {"no address", POLICY("{\"podSelector\":{},\"egress\":[{\"to\":[{\"ipBlock\":{\"cidr\":\"oxen\"}}]}]}"), false},
    {"one of two policies",
     "[{\"metadata\":{\"name\":\"a\",\"namespace\":\"shop\"},\"spec\":{\"podSelector\":{},\"policyTypes\":[\"Egress\"]}"
     "},"
     "{\"metadata\":{\"name\":\"b\",\"namespace\":\"shop\"},\"spec\":{\"podSelector\":{},\"egress\":[{}]}}]",
     true},
    {"in",
     POLICY("{\"podSelector\":{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"In\",\"values\":[\"web\"]}]},"
            "\"egress\":[]}"),
     false},
    {"not in",
     POLICY("{\"podSelector\":{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"NotIn\",\"values\":[\"web\"]}]},"
            "\"egress\":[]}"),
     true},
    {"exists",
     POLICY("{\"podSelector\":{\"matchExpressions\":[{\"key\":\"tier\",\"operator\":\"Exists\"}]},\"egress\":[]}"),
     false},
    {"does not exist",
     POLICY(
         "{\"podSelector\":{\"matchExpressions\":[{\"key\":\"tier\",\"operator\":\"DoesNotExist\"}]},\"egress\":[]}"),
     true},
    {"an operator that is not known",
     POLICY("{\"podSelector\":{\"matchExpressions\":[{\"key\":\"tier\",\"operator\":\"Gt\"}]},\"egress\":[]}"), true},
};

static void egress(void **state)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *web = parse(WEB);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *control = parse(CONTROL);
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *space = parse("{\"metadata\":{\"name\":\"mesh\",\"labels\":{\"n\":\"mesh\"}}}");
    (void)state;
    for (size_t i = 0; i < FL_COUNT(egress_rows); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *policies = parse(egress_rows[i].policies);
        const struct cli_flow flow = {CLI_EGRESS, {web, NULL}, {control, space}, "TCP", 15012};
        const struct fl_json *policy;
        size_t count;
        if (cli_netpolicy_allows(fl_json_first(policies), &flow, &policy, &count) != egress_rows[i].allowed)
            fail_msg("%s", egress_rows[i].name);
        assert_int_equal(policy != NULL, count > 0);
    }
}

static void ingress(void **state)
{
    static const struct {
        const char *policies;
        bool allowed;
    } rows[] = {
        {POLICY("{\"podSelector\":{}}"), false},
        {POLICY("{\"podSelector\":{},\"ingress\":[{\"from\":[{\"podSelector\":{\"matchLabels\":{\"a\":\"b\"}}}]}]}"),
         true},
        {POLICY("{\"podSelector\":{},\"ingress\":[{\"ports\":[{\"port\":8080}]}]}"), false},
        {POLICY("{\"podSelector\":{},\"ingress\":[{\"ports\":[{\"port\":8080},{\"port\":15020}]}]}"), true},
        {POLICY("{\"podSelector\":{},\"policyTypes\":[\"Egress\"]}"), true},
    };
    FL_CLEANUP(fl_cleanup_json) struct fl_json *web = parse(WEB);
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *policies = parse(rows[i].policies);
        const struct cli_flow flow = {CLI_INGRESS, {web, NULL}, {NULL, NULL}, "TCP", 15020};
        const struct fl_json *policy;
        size_t count;
        if (cli_netpolicy_allows(fl_json_first(policies), &flow, &policy, &count) != rows[i].allowed)
            fail_msg("%s", rows[i].policies);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(egress), cmocka_unit_test(ingress)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
