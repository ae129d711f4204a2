/* The mesh taken out of a pod again. That it is the inverse of the patch is held by the golden and the random pods
 * (invariant.h); here is what was changed or lost in between. */
#include "tests/unit/webhook/test.h"

#include "webhook/remove.h"

#define STATUS                                                                                                         \
    "{\\'version\\':1,\\'container\\':\\'fairlead-proxy\\',\\'volumes\\':[\\'fairlead-proxy\\',\\'more\\'],"           \
    "\\'added\\':{\\'labels\\':{\\'service.istio.io/canonical-name\\':\\'web\\'}},"                                    \
    "\\'replaced\\':{\\'prometheus.io/port\\':\\'9100\\'},\\'empty\\':{\\'initContainers\\':[]}}"

#define SIDECAR                                                                                                        \
    "{'name':'fairlead-proxy','env':[{'name':'FAIRLEAD_CAPTURE','valueFrom':{'fieldRef':{'fieldPath':"                 \
    "'metadata.annotations[\\'fairlead.io/capture\\']'}}}]}"

/* ' is ", \' is what stands quoted in a string: " in the status, ' in the field's path. */
static struct fl_json *pod_of(const char *status, const char *metadata, const char *spec)
{
    char text[8192], *to = text;
    char whole[8192];
    struct fl_json *pod = NULL;
    struct fl_err err = {0};
    snprintf(whole, sizeof(whole), "{'metadata':{%s%s%s%s},'spec':{%s}}", metadata, metadata[0] != '\0' ? "," : "",
             status != NULL ? "'annotations':{'prometheus.io/port':'15020','x':'y','fairlead.io/capture':'c',"
                            : "'annotations':{'x':'y','fairlead.io/capture':'c'",
             status != NULL ? "'fairlead.io/status':'" STATUS "'}" : "}", spec);
    for (const char *from = whole; *from != '\0'; from++) {
        bool path = strncmp(from, "\\'fairlead.io/capture", 21) == 0 || strncmp(from, "\\']'", 4) == 0;
        if (from[0] == '\\' && from[1] == '\'') {
            if (!path)
                *to++ = '\\';
            *to++ = path ? '\'' : '"';
            from++;
        } else {
            *to++ = *from == '\'' ? '"' : *from;
        }
    }
    if (fl_json_parse(fl_span_make(text, (size_t)(to - text)), NULL, &pod, &err) < 0)
        fail_msg("%s: %.*s", err.text, (int)(to - text), text);
    return pod;
}

static const struct {
    const char *status, *metadata, *spec, *expected, *edge;
} cases[] = {
    {STATUS, "'labels':{'service.istio.io/canonical-name':'web','a':'b'}",
     "'initContainers':[" SIDECAR "],'containers':[{'name':'a'}],'volumes':[{'name':'fairlead-proxy'},{'name':'v'}]",
     "{'metadata':{'labels':{'a':'b'},'annotations':{'prometheus.io/port':'9100','x':'y'}},'spec':{'initContainers':[],"
     "'containers':[{'name':'a'}],'volumes':[{'name':'v'}]}}",
     "all of it"},
    {STATUS, "'labels':{'service.istio.io/canonical-name':'mine'}", "'containers':[" SIDECAR ",{'name':'a'}]",
     "{'metadata':{'labels':{'service.istio.io/canonical-name':'mine'},'annotations':{'prometheus.io/port':'9100',"
     "'x':'y'}},'spec':{'containers':[{'name':'a'}]}}",
     "a label that was written over since; the classic form"},
    {STATUS, "'labels':{'service.istio.io/canonical-name':'web'}",
     "'containers':[{'name':'a'}],'volumes':[{'name':'more'},{'name':'fairlead-token'}]",
     "{'metadata':{'annotations':{'prometheus.io/port':'9100','x':'y'}},'spec':{'containers':[{'name':'a'}],'volumes':"
     "[{'name':'fairlead-token'}]}}",
     "container and labels gone already; a volume that is not listed"},
    {NULL, "", "'initContainers':[" SIDECAR "],'containers':[{'name':'a'}],'volumes':[{'name':'fairlead-proxy'}]",
     "{'metadata':{'annotations':{'x':'y'}},'spec':{'containers':[{'name':'a'}]}}", "the status was lost"},
    {NULL, "",
     "'initContainers':[" SIDECAR "],'containers':[{'name':'a','volumeMounts':[{'name':'fairlead-proxy'}]}],"
     "'volumes':[{'name':'fairlead-proxy'}]",
     "{'metadata':{'annotations':{'x':'y'}},'spec':{'containers':[{'name':'a','volumeMounts':[{'name':"
     "'fairlead-proxy'}]}],'volumes':[{'name':'fairlead-proxy'}]}}",
     "the status was lost, and an app mounts a volume of our name"},
};

static void test_changed_and_lost(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        FL_CLEANUP(fl_cleanup_json)
        struct fl_json *pod = pod_of(cases[i].status, cases[i].metadata, cases[i].spec);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *expected = json(cases[i].expected);
        struct fl_err err = {0};
        bool removed = false;
        if (webhook_remove(pod, &removed, &err) < 0 || !removed)
            fail_msg("%s: %s", cases[i].edge, err.text);
        if (!fl_json_equal(pod, expected)) {
            struct fl_buf out;
            fl_buf_init(&out, 65536);
            assert_int_equal(fl_json_print(pod, &out), 0);
            fail_msg("%s: %s", cases[i].edge, fl_buf_str(&out));
        }
    }
}

static void test_what_is_not_ours_stays(void **state)
{
    (void)state;
    static const char *const pods[] = {
        "{}",
        "[]",
        "null",
        "{'spec':7}",
        "{'metadata':{'annotations':{'fairlead.io/capture':'x'}},'spec':{'containers':[]}}",
        "{'spec':{'containers':[{'name':'fairlead-proxy'}],'volumes':[{'name':'fairlead-proxy'}]}}",
        "{'metadata':{'annotations':{'fairlead.io/status':'{}'}},'spec':{'containers':[{'name':'fairlead-proxy'}]}}",
        "{'metadata':{'annotations':{'prometheus.io/port':'15020','prometheus.io/path':'/stats/prometheus'}}}",
    };
    for (size_t i = 0; i < FL_COUNT(pods); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json(pods[i]);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *before = fl_json_copy(pod);
        struct fl_err err = {0};
        bool removed = true;
        assert_int_equal(webhook_remove(pod, &removed, &err), 0);
        assert_false(removed);
        assert_true(fl_json_equal(pod, before));
    }
}

static void test_a_lost_probe(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *pod = pod_of(STATUS, "",
                                 "'containers':[{'name':'a','livenessProbe':{'httpGet':{'port':15020,'path':"
                                 "'/app-health/a/livez'}}}]");
    struct fl_err err = {0};
    bool removed;
    assert_int_equal(webhook_remove(pod, &removed, &err), -ENOENT);
    assert_contains(err.text, "container a: livenessProbe");
}

static void test_memory(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        fail_stop();
        struct fl_json *pod = pod_of(cases[0].status, cases[0].metadata, cases[0].spec);
        struct fl_err err = {0};
        bool removed = false;
        fail_at(fail_round_);
        int result = webhook_remove(pod, &removed, &err);
        fail_stop();
        if (result == 0 && removed) {
            FL_CLEANUP(fl_cleanup_json) struct fl_json *expected = json(cases[0].expected);
            assert_true(fl_json_equal(pod, expected));
        } else {
            assert_true(fail_happened());
        }
        fl_json_free(pod);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changed_and_lost),
        cmocka_unit_test(test_what_is_not_ours_stays),
        cmocka_unit_test(test_a_lost_probe),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
