#include "tests/unit/webhook/test.h"

#include "webhook/probe.h"

static const struct {
    const char *spec;
    const char *warning; /* NULL: none */
} rows[] = {
    {"{'containers':[{'name':'a','livenessProbe':{'httpGet':{'port':8080}}}]}",
     "a: livenessProbe on captured port 8080 fails"},
    {"{'containers':[{'name':'a','readinessProbe':{'tcpSocket':{'port':8080}}}]}", "readinessProbe"},
    {"{'containers':[{'name':'a','startupProbe':{'grpc':{'port':8080}}}]}", "startupProbe"},
    {"{'containers':[{'name':'a','livenessProbe':{'exec':{'command':['x']}}}]}", NULL},
    {"{'containers':[{'name':'a','livenessProbe':{'httpGet':{'port':9000}}}]}", NULL}, /* excluded */
    {"{'containers':[{'name':'a','livenessProbe':{'httpGet':{'port':15020}}}]}", NULL},
    {"{'containers':[{'name':'a','ports':[{'name':'web','containerPort':81}],"
     "'livenessProbe':{'httpGet':{'port':'web'}}}]}",
     "port 81 "},
    {"{'containers':[{'name':'a','livenessProbe':{'httpGet':{'port':'nowhere'}}}]}", NULL},
    {"{'containers':[{'name':'a','livenessProbe':{'httpGet':{'port':1}},'readinessProbe':{'httpGet':{'port':1}}},"
     "{'name':'b','livenessProbe':{'httpGet':{'port':2}}}]}",
     "a: readinessProbe on captured port 1 (and 2 more)"},
    {"{'initContainers':[{'name':'i','restartPolicy':'Always','startupProbe':{'tcpSocket':{'port':5}}}]}",
     "i: startup"},
    {"{'initContainers':[{'name':'i','startupProbe':{'tcpSocket':{'port':5}}}]}", NULL},
    {"{'initContainers':[{'name':'fairlead-proxy','restartPolicy':'Always','startupProbe':{'tcpSocket':{'port':5}}}]}",
     NULL},
    {"{}", NULL},
};

static void test_rows(void **state)
{
    (void)state;
    struct fl_capture capture;
    fl_capture_defaults(&capture);
    assert_int_equal(fl_port_list_parse(FL_SPAN("9000"), &capture.inbound_exclude, NULL), 0);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        char text[512];
        struct webhook_warnings warnings = {.count = 0};
        snprintf(text, sizeof(text), "{'spec':%s}", rows[i].spec);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json(text);
        webhook_probe_warn(pod, &capture, &warnings);
        if (warnings.count != (rows[i].warning != NULL ? 1 : 0))
            fail_msg("%s gave %zu warnings", rows[i].spec, warnings.count);
        if (rows[i].warning != NULL)
            assert_contains(warnings.text[0], rows[i].warning);
    }
}

static void test_nothing_inbound_is_captured(void **state)
{
    (void)state;
    struct fl_capture capture;
    struct webhook_warnings warnings = {.count = 0};
    fl_capture_defaults(&capture);
    capture.inbound_include.all = false;
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *pod = json("{'spec':{'containers':[{'name':'a','livenessProbe':{'httpGet':{'port':1}}}]}}");
    webhook_probe_warn(pod, &capture, &warnings);
    assert_int_equal(warnings.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_nothing_inbound_is_captured)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
