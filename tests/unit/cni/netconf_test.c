/* cni/plugin/netconf: what is read from stdin, and the result that is handed on. */
#include "cni/plugin/netconf.h"

#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ANNOTATED(value)                                                                                               \
    "\"runtimeConfig\":{\"io.kubernetes.cri.pod-annotations\":{\"a\":\"b\",\"fairlead.io/capture\":" value "}}"

static const struct {
    const char *what, *text;
    int outcome;
    const char *capture, *says;
} inputs[] = {
    {"plain", "{\"cniVersion\":\"1.0.0\"}", 0, NULL, NULL},
    {"every version", "{\"cniVersion\":\"0.3.1\"}", 0, NULL, NULL},
    {"the first with results that are handed on", "{\"cniVersion\":\"0.3.0\"}", 0, NULL, NULL},
    {"every version", "{\"cniVersion\":\"0.4.0\"}", 0, NULL, NULL},
    {"every version", "{\"cniVersion\":\"1.1.0\"}", 0, NULL, NULL},
    {"unknown members", "{\"x\":[{}],\"cniVersion\":\"1.0.0\",\"dns\":{}}", 0, NULL, NULL},
    {"annotated", "{\"cniVersion\":\"1.0.0\"," ANNOTATED("\"spec\"") "}", 0, "spec", NULL},
    {"an empty annotation is one", "{\"cniVersion\":\"1.0.0\"," ANNOTATED("\"\"") "}", 0, "", NULL},
    {"null annotation", "{\"cniVersion\":\"1.0.0\"," ANNOTATED("null") "}", 0, NULL, NULL},
    {"null runtimeConfig", "{\"cniVersion\":\"1.0.0\",\"runtimeConfig\":null}", 0, NULL, NULL},
    {"other capabilities", "{\"cniVersion\":\"1.0.0\",\"runtimeConfig\":{\"portMappings\":[]}}", 0, NULL, NULL},
    {"case matters", "{\"cniVersion\":\"1.0.0\",\"RuntimeConfig\":1,\"runtimeconfig\":1}", 0, NULL, NULL},
    {"NUL in a capture spec cuts nothing", "{\"cniVersion\":\"1.0.0\"," ANNOTATED("\"sp\\u0000ec\"") "}", 0,
     "sp\xef\xbf\xbd"
     "ec",
     NULL},
    {"NUL elsewhere", "{\"cniVersion\":\"1.0.0\",\"x\":\"\\u0000\"}", 0, NULL, NULL},
    {"a raw NUL would be no JSON, nor is this", "{\"cniVersion\":\"1.0.0\",\"x\":\"\001\"}", CNI_NETCONF_NOT_JSON, NULL,
     "control character"},
    {"empty", "", CNI_NETCONF_NOT_JSON, NULL, NULL},
    {"text", "hello", CNI_NETCONF_NOT_JSON, NULL, NULL},
    {"cut", "{\"cniVersion\":\"1.0.0\"", CNI_NETCONF_NOT_JSON, NULL, NULL},
    {"an array", "[]", CNI_NETCONF_NOT_JSON, NULL, "expected an object"},
    {"null", "null", CNI_NETCONF_NOT_JSON, NULL, NULL},
    {"duplicate", "{\"cniVersion\":\"1.0.0\",\"cniVersion\":\"1.0.0\"}", CNI_NETCONF_NOT_JSON, NULL, "cniVersion"},
    {"something behind", "{\"cniVersion\":\"1.0.0\"}{}", CNI_NETCONF_NOT_JSON, NULL, NULL},
    {"no version", "{}", CNI_NETCONF_VERSION, NULL, "0.1.0"},
    {"too old", "{\"cniVersion\":\"0.2.0\"}", CNI_NETCONF_VERSION, NULL, "\"0.2.0\""},
    {"too new", "{\"cniVersion\":\"2.0.0\"}", CNI_NETCONF_VERSION, NULL, "1.1.0"},
    {"not quite", "{\"cniVersion\":\"1.0\"}", CNI_NETCONF_VERSION, NULL, NULL},
    {"version of another type", "{\"cniVersion\":1}", CNI_NETCONF_INVALID, NULL, "$.cniVersion: expected a string"},
    {"runtimeConfig of another type", "{\"cniVersion\":\"1.0.0\",\"runtimeConfig\":[]}", CNI_NETCONF_INVALID, NULL,
     "$.runtimeConfig: expected an object"},
    {"annotations of another type",
     "{\"cniVersion\":\"1.0.0\",\"runtimeConfig\":{\"io.kubernetes.cri.pod-annotations\":\"x\"}}", CNI_NETCONF_INVALID,
     NULL, "pod-annotations: expected an object"},
    {"capture of another type", "{\"cniVersion\":\"1.0.0\"," ANNOTATED("{}") "}", CNI_NETCONF_INVALID, NULL,
     "fairlead.io/capture: expected a string"},
};

static void test_inputs(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(inputs); i++) {
        struct cni_netconf netconf;
        struct fl_err err = {0};
        struct guard guard;
        guard_init(&guard, fl_span_str(inputs[i].text));
        int outcome = cni_netconf_parse(guard.span, &netconf, &err);
        if (outcome != inputs[i].outcome)
            fail_msg("%s: %d (%s), not %d", inputs[i].what, outcome, err.text, inputs[i].outcome);
        if (inputs[i].says != NULL && strstr(err.text, inputs[i].says) == NULL)
            fail_msg("%s: \"%s\" says nothing of \"%s\"", inputs[i].what, err.text, inputs[i].says);
        if (outcome == 0) {
            assert_int_equal(netconf.has_capture, inputs[i].capture != NULL);
            assert_true(fl_span_eq(netconf.capture, fl_span_str(inputs[i].capture)));
        }
        cni_netconf_done(&netconf);
        cni_netconf_done(&netconf);
        guard_done(&guard);
    }
}

static const struct {
    const char *what, *members;
    enum cni_backend backend;
    bool status_requires_capture;
    const char *says; /* NULL: fine */
} settings_rows[] = {
    {"none", "\"x\":1", CNI_BACKEND_AUTO, false, NULL},
    {"auto", "\"backend\":\"auto\"", CNI_BACKEND_AUTO, false, NULL},
    {"nftables", "\"backend\":\"nftables\"", CNI_BACKEND_NFTABLES, false, NULL},
    {"iptables", "\"backend\":\"iptables\"", CNI_BACKEND_IPTABLES, false, NULL},
    {"null", "\"backend\":null,\"statusRequiresCapture\":null", CNI_BACKEND_AUTO, false, NULL},
    {"status", "\"statusRequiresCapture\":true", CNI_BACKEND_AUTO, true, NULL},
    {"status off", "\"statusRequiresCapture\":false", CNI_BACKEND_AUTO, false, NULL},
    {"names are exact", "\"Backend\":7,\"statusrequirescapture\":7", CNI_BACKEND_AUTO, false, NULL},
    {"another back end", "\"backend\":\"ebpf\"", 0, false,
     "$.backend: expected auto, nftables or iptables, got \"ebpf\""},
    {"an empty one", "\"backend\":\"\"", 0, false, "$.backend"},
    {"case matters", "\"backend\":\"NFTables\"", 0, false, "got \"NFTables\""},
    {"no string", "\"backend\":true", 0, false, "$.backend: expected a string"},
    {"a list", "\"backend\":[\"auto\"]", 0, false, "$.backend: expected a string"},
    {"no boolean", "\"statusRequiresCapture\":\"true\"", 0, false, "$.statusRequiresCapture: expected a boolean"},
    {"a number", "\"statusRequiresCapture\":1", 0, false, "$.statusRequiresCapture"},
};

static void test_settings(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(settings_rows); i++) {
        FL_CLEANUP(fl_buf_done) struct fl_buf text;
        struct cni_settings settings = {0};
        struct cni_netconf netconf;
        struct fl_err err = {0};
        fl_buf_init(&text, 65536);
        assert_int_equal(fl_buf_printf(&text, "{\"cniVersion\":\"1.0.0\",%s}", settings_rows[i].members), 0);
        assert_int_equal(cni_netconf_parse(fl_buf_span(&text), &netconf, &err), 0);
        int outcome = cni_netconf_read_settings(&netconf, &settings, &err);
        cni_netconf_done(&netconf);
        if (outcome != (settings_rows[i].says != NULL ? CNI_NETCONF_INVALID : 0))
            fail_msg("%s: %d (%s)", settings_rows[i].what, outcome, err.text);
        if (settings_rows[i].says != NULL && strstr(err.text, settings_rows[i].says) == NULL)
            fail_msg("%s: %s", settings_rows[i].what, err.text);
        assert_int_equal(settings.backend, settings_rows[i].backend);
        assert_int_equal(settings.status_requires_capture, settings_rows[i].status_requires_capture);
    }
}

static const struct {
    const char *what, *version, *previous, *result; /* result NULL: refused */
} results[] = {
    {"as it is: unknown members, order and numbers", "1.0.0",
     "{\"x\":{\"y\":[1.50,12345678901234567890,1e400,null]},\"cniVersion\":\"1.0.0\",\"ips\":[{\"z\":1,\"address\":"
     "\"10.0."
     "0.5/24\"}]}",
     "{\"x\":{\"y\":[1.50,12345678901234567890,1e400,null]},\"cniVersion\":\"1.0.0\",\"ips\":[{\"z\":1,\"address\":"
     "\"10.0."
     "0.5/24\"}]}"},
    {"nothing in it", "1.0.0", "{\"cniVersion\":\"1.0.0\"}", "{\"cniVersion\":\"1.0.0\"}"},
    {"no version in it", "1.0.0", "{\"ips\":[]}", "{\"ips\":[],\"cniVersion\":\"1.0.0\"}"},
    {"none", "0.4.0", NULL, "{\"cniVersion\":\"0.4.0\"}"},
    {"null", "0.4.0", "null", "{\"cniVersion\":\"0.4.0\"}"},
    {"to 1.0: ips lose their family", "1.0.0",
     "{\"cniVersion\":\"0.4.0\",\"ips\":[{\"version\":\"4\",\"address\":\"10.0.0.5/"
     "24\",\"q\":7},{\"address\":\"fd00::5/"
     "64\"}]}",
     "{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.0.0.5/24\",\"q\":7},{\"address\":\"fd00::5/64\"}]}"},
    {"to 0.3.1: ips get it", "0.3.1",
     "{\"cniVersion\":\"1.1.0\",\"ips\":[{\"address\":\"10.0.0.5/24\"},{\"address\":\"fd00::5/64\"}],\"routes\":[]}",
     "{\"cniVersion\":\"0.3.1\",\"ips\":[{\"address\":\"10.0.0.5/24\",\"version\":\"4\"},{\"address\":\"fd00::5/"
     "64\",\"version\":\"6\"}],\"routes\":[]}"},
    {"0.3.1 to 0.4.0", "0.4.0", "{\"cniVersion\":\"0.3.1\",\"ips\":[{\"version\":\"6\",\"address\":\"fd00::5/64\"}]}",
     "{\"cniVersion\":\"0.4.0\",\"ips\":[{\"version\":\"6\",\"address\":\"fd00::5/64\"}]}"},
    {"0.3.0 to 1.0", "1.0.0", "{\"cniVersion\":\"0.3.0\",\"ips\":[{\"version\":\"4\",\"address\":\"10.0.0.5/24\"}]}",
     "{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.0.0.5/24\"}]}"},
    {"to 0.3.0", "0.3.0", "{\"cniVersion\":\"1.1.0\",\"ips\":[{\"address\":\"fd00::5/64\"}]}",
     "{\"cniVersion\":\"0.3.0\",\"ips\":[{\"address\":\"fd00::5/64\",\"version\":\"6\"}]}"},
    {"odd ips", "0.3.1", "{\"cniVersion\":\"1.0.0\",\"ips\":[1,{\"address\":2},{}]}",
     "{\"cniVersion\":\"0.3.1\",\"ips\":[1,{\"address\":2},{}]}"},
    {"ips that are none", "0.3.1", "{\"cniVersion\":\"1.0.0\",\"ips\":{}}", "{\"cniVersion\":\"0.3.1\",\"ips\":{}}"},
    {"of an unknown version", "1.0.0", "{\"cniVersion\":\"0.2.0\",\"ip4\":{}}", NULL},
    {"no object", "1.0.0", "[]", NULL},
    {"a version that is no string", "1.0.0", "{\"cniVersion\":1}", NULL},
};

static void parse_with(const char *version, const char *previous, struct fl_buf *text, struct cni_netconf *netconf)
{
    struct fl_err err = {0};
    fl_buf_init(text, 65536);
    assert_int_equal(fl_buf_printf(text, "{\"cniVersion\":\"%s\"", version), 0);
    if (previous != NULL)
        assert_int_equal(fl_buf_printf(text, ",\"prevResult\":%s", previous), 0);
    assert_int_equal(fl_buf_append_byte(text, '}'), 0);
    if (cni_netconf_parse(fl_buf_span(text), netconf, &err) != 0)
        fail_msg("%s", err.text);
}

static void test_results(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(results); i++) {
        FL_CLEANUP(fl_buf_done) struct fl_buf text, out;
        struct cni_netconf netconf;
        struct fl_err err = {0};
        fl_buf_init(&out, 65536);
        parse_with(results[i].version, results[i].previous, &text, &netconf);
        int outcome = cni_netconf_print_result(&netconf, &out, &err);
        if (outcome != (results[i].result != NULL ? 0 : CNI_NETCONF_INVALID))
            fail_msg("%s: %d (%s)", results[i].what, outcome, err.text);
        if (outcome == 0 && !fl_span_eq_str(fl_buf_span(&out), results[i].result))
            fail_msg("%s: %s", results[i].what, fl_buf_str(&out));
        if (outcome != 0)
            assert_non_null(strstr(err.text, "prevResult"));
        cni_netconf_done(&netconf);
    }
}

static void test_versions_are_ordered(void **state)
{
    (void)state;
    assert_true(cni_netconf_at_least(FL_SPAN("0.4.0"), "0.4.0"));
    assert_true(cni_netconf_at_least(FL_SPAN("1.0.0"), "0.4.0"));
    assert_false(cni_netconf_at_least(FL_SPAN("0.3.1"), "0.4.0"));
    assert_false(cni_netconf_speaks(FL_SPAN("")));
    assert_false(cni_netconf_speaks(FL_SPAN("1.1")));
    assert_true(cni_netconf_speaks(FL_SPAN("1.1.0")));
}

static void test_memory_running_out(void **state)
{
    (void)state;
    const char *text =
        "{\"cniVersion\":\"0.3.1\",\"prevResult\":{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.0.0."
        "5/24\"}]}," ANNOTATED("\"spec\"") "}";
    FAIL_EACH_ALLOCATION
    {
        FL_CLEANUP(fl_buf_done) struct fl_buf out;
        struct cni_netconf netconf;
        struct fl_err err = {0};
        fl_buf_init(&out, 65536);
        int result = cni_netconf_parse(fl_span_str(text), &netconf, &err);
        if (result == 0)
            result = cni_netconf_print_result(&netconf, &out, &err);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        cni_netconf_done(&netconf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inputs),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_versions_are_ordered),
        cmocka_unit_test(test_memory_running_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
