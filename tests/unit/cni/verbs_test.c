/* cni/plugin/verbs: answers and error codes, as far as no network namespace is needed (tests/integration/cni has the
 * rest). */
#include "cni/plugin/verbs.h"

#include "common/doc/json.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SPEC                                                                                                           \
    "{\\\"version\\\":1,\\\"uid\\\":1337,\\\"gid\\\":1337,\\\"inbound\\\":{\\\"port\\\":15006,\\\"includePorts\\\":["  \
    "\\\"*\\\"],\\\"excludePorts\\\":[]},\\\"outbound\\\":{\\\"port\\\":15001,\\\"includeCIDRs\\\":[\\\"*\\\"],"       \
    "\\\"excludeCIDRs\\\":[],\\\"includePorts\\\":[],\\\"excludePorts\\\":[]}}"
#define CONFIG(version, capture)                                                                                       \
    "{\"cniVersion\":\"" version                                                                                       \
    "\",\"name\":\"net\",\"type\":\"fairlead-cni\",\"prevResult\":{\"cniVersion\":\"" version                          \
    "\"},\"runtimeConfig\":{\"io.kubernetes.cri.pod-annotations\":{" capture "}}}"
#define CAPTURE(text) "\"fairlead.io/capture\":\"" text "\""
#define PASS          CONFIG("1.0.0", "")
#define MESHED        CONFIG("1.0.0", CAPTURE(SPEC))
#define NOWHERE       "/nowhere/netns"
/* with members of our own, or of wrong types, in front */
#define WITH(members, version, capture)                                                                                \
    "{" members ",\"cniVersion\":\"" version "\",\"runtimeConfig\":{\"io.kubernetes.cri.pod-annotations\":{" capture   \
    "}}}"
#define WRONG(version) "{\"cniVersion\":\"" version "\",\"runtimeConfig\":[]}"

static const struct {
    const char *what;
    struct cni_environment environment; /* command, container, netns, ifname, args */
    const char *config;
    int code;         /* 0: success */
    const char *says; /* in the details, or the whole answer of a success */
} rows[] = {
    {"no verb", {NULL, "c", NOWHERE, "eth0", NULL}, PASS, CNI_CODE_ENVIRONMENT, "CNI_COMMAND"},
    {"empty verb", {"", "c", NOWHERE, "eth0", NULL}, PASS, CNI_CODE_ENVIRONMENT, "CNI_COMMAND"},
    {"unknown verb", {"PATCH", "c", NOWHERE, "eth0", NULL}, PASS, CNI_CODE_ENVIRONMENT, "\"PATCH\""},
    {"verbs are upper case", {"add", "c", NOWHERE, "eth0", NULL}, PASS, CNI_CODE_ENVIRONMENT, "\"add\""},

    {"ADD: nothing but the verb",
     {"ADD", NULL, NULL, NULL, NULL},
     PASS,
     CNI_CODE_ENVIRONMENT,
     "CNI_CONTAINERID CNI_NETNS CNI_IFNAME"},
    {"ADD: no netns", {"ADD", "c", NULL, "eth0", NULL}, PASS, CNI_CODE_ENVIRONMENT, "not set: CNI_NETNS"},
    {"ADD: empty netns", {"ADD", "c", "", "eth0", NULL}, PASS, CNI_CODE_ENVIRONMENT, "not set: CNI_NETNS"},
    {"ADD: container id", {"ADD", "../x", NOWHERE, "eth0", NULL}, PASS, CNI_CODE_ENVIRONMENT, "CNI_CONTAINERID"},
    {"ADD: container id", {"ADD", "-x", NOWHERE, "eth0", NULL}, PASS, CNI_CODE_ENVIRONMENT, "CNI_CONTAINERID"},
    {"ADD: ifname too long", {"ADD", "c", NOWHERE, "eth0123456789012", NULL}, PASS, CNI_CODE_ENVIRONMENT, "CNI_IFNAME"},
    {"ADD: ifname", {"ADD", "c", NOWHERE, "e/0", NULL}, PASS, CNI_CODE_ENVIRONMENT, "CNI_IFNAME"},
    {"ADD: ifname", {"ADD", "c", NOWHERE, "..", NULL}, PASS, CNI_CODE_ENVIRONMENT, "CNI_IFNAME"},
    {"ADD: not JSON", {"ADD", "c", NOWHERE, "eth0", NULL}, "nonsense", CNI_CODE_DECODE, ""},
    {"ADD: nothing on stdin", {"ADD", "c", NOWHERE, "eth0", NULL}, "", CNI_CODE_DECODE, ""},
    {"ADD: old version", {"ADD", "c", NOWHERE, "eth0", NULL}, CONFIG("0.2.0", ""), CNI_CODE_VERSION, "\"0.2.0\""},
    {"ADD: no version", {"ADD", "c", NOWHERE, "eth0", NULL}, "{}", CNI_CODE_VERSION, "0.1.0"},

    {"ADD: no annotation, no such netns", {"ADD", "c", NOWHERE, "eth0", NULL}, PASS, 0, "{\"cniVersion\":\"1.0.0\"}"},
    {"ADD: no annotation, the host's netns",
     {"ADD", "c", "/proc/self/ns/net", "eth0", NULL},
     PASS,
     0,
     "{\"cniVersion\":\"1.0.0\"}"},
    {"ADD: standing alone",
     {"ADD", "c", NOWHERE, "eth0", NULL},
     "{\"cniVersion\":\"1.1.0\"}",
     0,
     "{\"cniVersion\":\"1.1.0\"}"},
    {"ADD: prevResult is no result",
     {"ADD", "c", NOWHERE, "eth0", NULL},
     "{\"cniVersion\":\"1.1.0\",\"prevResult\":[]}",
     CNI_CODE_CONFIG,
     "prevResult"},

    {"ADD: unknown netns", {"ADD", "c", NOWHERE, "eth0", NULL}, MESHED, CNI_CODE_ENVIRONMENT, "CNI_NETNS: " NOWHERE},
    {"ADD: not a netns", {"ADD", "c", "/etc/passwd", "eth0", NULL}, MESHED, CNI_CODE_ENVIRONMENT, "CNI_NETNS"},
    {"ADD: the host's netns",
     {"ADD", "c", "/proc/self/ns/net", "eth0", NULL},
     MESHED,
     CNI_CODE_ENVIRONMENT,
     "CNI_NETNS"},
    {"ADD: an empty spec",
     {"ADD", "c", NOWHERE, "eth0", NULL},
     CONFIG("1.0.0", CAPTURE("")),
     CNI_CODE_CONFIG,
     "fairlead.io/capture"},
    {"ADD: a spec that is not JSON",
     {"ADD", "c", NOWHERE, "eth0", NULL},
     CONFIG("1.0.0", CAPTURE("yes")),
     CNI_CODE_CONFIG,
     "fairlead.io/capture"},
    {"ADD: a spec of an unknown version",
     {"ADD", "c", NOWHERE, "eth0", NULL},
     CONFIG("1.0.0", CAPTURE("{\\\"version\\\":99}")),
     CNI_CODE_UNSUPPORTED,
     "99"},
    {"ADD: a spec that lacks members",
     {"ADD", "c", NOWHERE, "eth0", NULL},
     CONFIG("1.0.0", CAPTURE("{\\\"version\\\":1}")),
     CNI_CODE_CONFIG,
     "fairlead.io/capture"},

    {"CHECK: no annotation", {"CHECK", "c", NOWHERE, "eth0", NULL}, PASS, 0, ""},
    {"CHECK: unknown netns", {"CHECK", "c", NOWHERE, "eth0", NULL}, MESHED, CNI_CODE_ENVIRONMENT, "CNI_NETNS"},
    {"CHECK: before its time", {"CHECK", "c", NOWHERE, "eth0", NULL}, CONFIG("0.3.1", ""), CNI_CODE_VERSION, "CHECK"},
    {"CHECK: 0.3.0", {"CHECK", "c", NOWHERE, "eth0", NULL}, CONFIG("0.3.0", ""), CNI_CODE_VERSION, "CHECK"},
    {"CHECK: no netns", {"CHECK", "c", NULL, "eth0", NULL}, MESHED, CNI_CODE_ENVIRONMENT, "CNI_NETNS"},

    {"ADD: a wrong back end",
     {"ADD", "c", NOWHERE, "eth0", NULL},
     WITH("\"backend\":\"ebpf\"", "1.0.0", CAPTURE(SPEC)),
     CNI_CODE_CONFIG,
     "auto, nftables or iptables"},
    {"ADD: of no concern to a pod that is not captured",
     {"ADD", "c", NOWHERE, "eth0", NULL},
     WITH("\"backend\":\"ebpf\"", "1.0.0", ""),
     0,
     "{\"cniVersion\":\"1.0.0\"}"},
    {"ADD: keys of a list (1.1) and of the future",
     {"ADD", "c", NOWHERE, "eth0", NULL},
     WITH("\"cniVersions\":[\"1.0.0\",\"9.9.9\"],\"disableCheck\":true,\"disableGC\":\"?\",\"what\":{\"is\":[]}",
          "1.1.0", ""),
     0,
     "{\"cniVersion\":\"1.1.0\"}"},
    {"ADD: a member of the wrong type",
     {"ADD", "c", NOWHERE, "eth0", NULL},
     WRONG("1.0.0"),
     CNI_CODE_CONFIG,
     "runtimeConfig"},
    {"CHECK: a wrong back end",
     {"CHECK", "c", NOWHERE, "eth0", NULL},
     WITH("\"backend\":7", "1.0.0", CAPTURE(SPEC)),
     CNI_CODE_CONFIG,
     "$.backend"},
    {"DEL: a wrong back end",
     {"DEL", "c", NOWHERE, "eth0", NULL},
     WITH("\"backend\":\"ebpf\"", "1.0.0", CAPTURE(SPEC)),
     0,
     ""},
    {"DEL: a member of the wrong type", {"DEL", "c", NOWHERE, "eth0", NULL}, WRONG("1.0.0"), 0, ""},
    {"DEL: a version that is not spoken",
     {"DEL", "c", NOWHERE, "eth0", NULL},
     CONFIG("7.0.0", ""),
     CNI_CODE_VERSION,
     "7.0.0"},
    {"GC: a member of the wrong type", {"GC", NULL, NULL, NULL, NULL}, WRONG("1.1.0"), 0, ""},
    {"GC: what is still valid",
     {"GC", NULL, NULL, NULL, NULL},
     WITH("\"cni.dev/valid-attachments\":[{\"containerID\":\"c\",\"ifname\":\"eth0\"}]", "1.1.0", ""),
     0,
     ""},
    {"GC: nothing is", {"GC", NULL, NULL, NULL, NULL}, WITH("\"cni.dev/valid-attachments\":[]", "1.1.0", ""), 0, ""},
    {"GC: an odd list", {"GC", NULL, NULL, NULL, NULL}, WITH("\"cni.dev/valid-attachments\":{}", "1.1.0", ""), 0, ""},
    {"STATUS: a member of the wrong type", {"STATUS", NULL, NULL, NULL, NULL}, WRONG("1.1.0"), 0, ""},
    {"STATUS: a wrong back end",
     {"STATUS", NULL, NULL, NULL, NULL},
     WITH("\"backend\":\"ebpf\",\"statusRequiresCapture\":true", "1.1.0", ""),
     0,
     ""},
    {"STATUS: before its time", {"STATUS", NULL, NULL, NULL, NULL}, CONFIG("1.0.0", ""), CNI_CODE_VERSION, "STATUS"},
    {"STATUS: not JSON", {"STATUS", NULL, NULL, NULL, NULL}, "?", CNI_CODE_DECODE, ""},
    {"DEL: netns gone", {"DEL", "c", NOWHERE, "eth0", NULL}, MESHED, 0, ""},
    {"DEL: no netns", {"DEL", "c", NULL, "eth0", NULL}, MESHED, 0, ""},
    {"DEL: the host's netns", {"DEL", "c", "/proc/self/ns/net", "eth0", NULL}, MESHED, 0, ""},
    {"DEL: not a netns", {"DEL", "c", "/etc/passwd", "eth0", NULL}, MESHED, 0, ""},
    {"DEL: a broken spec", {"DEL", "c", NOWHERE, "eth0", NULL}, CONFIG("1.0.0", CAPTURE("yes")), 0, ""},
    {"DEL: not JSON", {"DEL", "c", NOWHERE, "eth0", NULL}, "{", CNI_CODE_DECODE, ""},
    {"DEL: no container", {"DEL", NULL, NOWHERE, "eth0", NULL}, MESHED, CNI_CODE_ENVIRONMENT, "CNI_CONTAINERID"},

    {"GC", {"GC", NULL, NULL, NULL, NULL}, CONFIG("1.1.0", ""), 0, ""},
    {"GC: before its time", {"GC", NULL, NULL, NULL, NULL}, CONFIG("1.0.0", ""), CNI_CODE_VERSION, "GC"},
    {"STATUS", {"STATUS", NULL, NULL, NULL, NULL}, CONFIG("1.1.0", ""), 0, ""},

    {"VERSION",
     {"VERSION", NULL, NULL, NULL, NULL},
     "{\"cniVersion\":\"0.4.0\"}",
     0,
     "{\"cniVersion\":\"0.4.0\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n"},
    {"VERSION: of one that is not spoken",
     {"VERSION", NULL, NULL, NULL, NULL},
     "{\"cniVersion\":\"9.0.0\"}",
     0,
     "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n"},
    {"VERSION: nothing on stdin",
     {"VERSION", NULL, NULL, NULL, NULL},
     "\n",
     0,
     "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n"},
};

static void assert_error_object(const char *what, struct fl_span text, int code, const char *says)
{
    struct fl_json *object = NULL;
    int64_t number = 0;
    assert_int_equal(fl_json_parse(text, NULL, &object, NULL), 0);
    assert_true(fl_json_int(fl_json_get(object, "code"), 0, 1000, &number));
    struct fl_span details = fl_json_string(fl_json_get(object, "details"));
    if (number != code)
        fail_msg("%s: code %d, not %d (%.*s)", what, (int)number, code, FL_SPAN_ARG(details));
    if (details.len == 0 || strstr(details.data, says) == NULL)
        fail_msg("%s: \"%.*s\" says nothing of \"%s\"", what, FL_SPAN_ARG(details), says);
    assert_true(fl_json_string(fl_json_get(object, "msg")).len > 0);
    assert_true(fl_json_string(fl_json_get(object, "cniVersion")).len > 0);
    fl_json_free(object);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_buf_done) struct fl_buf out;
        struct fl_err err;
        fl_buf_init(&out, 65536);
        int exit_code = cni_verbs_run(&rows[i].environment, fl_span_str(rows[i].config), &out, &err);
        if (exit_code != (rows[i].code != 0))
            fail_msg("%s: exit code %d (%s)", rows[i].what, exit_code, err.text);
        if (rows[i].code != 0) {
            assert_true(err.code != 0);
            assert_error_object(rows[i].what, fl_buf_span(&out), rows[i].code, rows[i].says);
        } else if (!fl_span_eq_str(fl_buf_span(&out), rows[i].says)) {
            fail_msg("%s: %s", rows[i].what, fl_buf_str(&out));
        }
    }
}

static void test_what_del_forgives_is_told(void **state)
{
    (void)state;
    FL_CLEANUP(fl_buf_done) struct fl_buf out;
    struct cni_environment environment = {"DEL", "c", "/etc/passwd", "eth0", NULL};
    struct fl_err err;
    fl_buf_init(&out, 65536);
    assert_int_equal(cni_verbs_run(&environment, FL_SPAN(MESHED), &out, &err), 0);
    assert_true(err.code != 0);
    assert_non_null(strstr(err.text, "/etc/passwd"));
    environment.netns = NOWHERE; /* that it is gone is what DEL is for */
    assert_int_equal(cni_verbs_run(&environment, FL_SPAN(MESHED), &out, &err), 0);
    assert_int_equal(err.code, 0);
}

static void test_error_objects_are_whole(void **state)
{
    (void)state;
    FL_CLEANUP(fl_buf_done) struct fl_buf out;
    fl_buf_init(&out, 65536);
    assert_int_equal(cni_verbs_print_error(FL_SPAN("1.0.0"), CNI_CODE_IO, "a \"message\"", "", &out), 0);
    assert_string_equal(fl_buf_str(&out), "{\"cniVersion\":\"1.0.0\",\"code\":5,\"msg\":\"a \\\"message\\\"\"}\n");
    fl_buf_clear(&out);
    assert_int_equal(cni_verbs_print_error(FL_SPAN("\"}"), CNI_CODE_AGAIN, "m", "d\n", &out), 0);
    assert_string_equal(fl_buf_str(&out),
                        "{\"cniVersion\":\"1.1.0\",\"code\":11,\"msg\":\"m\",\"details\":\"d\\n\"}\n");
}

static void test_memory_running_out(void **state)
{
    (void)state;
    const struct cni_environment environment = {"ADD", "c", NOWHERE, "eth0", NULL};
    FAIL_EACH_ALLOCATION
    {
        FL_CLEANUP(fl_buf_done) struct fl_buf out;
        struct fl_err err;
        fl_buf_init(&out, 65536);
        int exit_code = cni_verbs_run(&environment, FL_SPAN(PASS), &out, &err);
        fail_stop();
        assert_int_equal(exit_code, fail_happened());
        if (fail_happened())
            assert_true(out.len == 0 || out.data[0] == '{');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_what_del_forgives_is_told),
        cmocka_unit_test(test_error_objects_are_whole),
        cmocka_unit_test(test_memory_running_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
