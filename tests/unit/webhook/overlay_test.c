#include "tests/unit/webhook/test.h"

#include "webhook/overlay.h"

static const struct {
    const char *theirs, *ours, *result;
    const char *edge;
} rows[] = {
    {"{'name':'a'}", "{'name':'a'}", "{'name':'a'}", "equal"},
    {"{'name':'a','image':'evil'}", "{'name':'a','image':'p'}", "{'name':'a','image':'p'}", "ours wins"},
    {"{'name':'a'}", "{'name':'a','restartPolicy':'Always'}", "{'name':'a','restartPolicy':'Always'}",
     "a member that was stripped comes back"},
    {"{'name':'a','terminationMessagePath':'/dev/x','imagePullPolicy':'Always'}", "{'name':'a'}",
     "{'name':'a','terminationMessagePath':'/dev/x','imagePullPolicy':'Always'}", "defaults stay"},
    {"{'name':'a','command':['sh'],'lifecycle':{},'envFrom':[]}", "{'name':'a'}", "{'name':'a'}", "foreign members go"},
    {"{'securityContext':{'runAsUser':1337,'privileged':true}}", "{'securityContext':{'runAsUser':1337}}",
     "{'securityContext':{'runAsUser':1337}}", "nobody loosens the security context"},
    {"{'securityContext':{'capabilities':{'drop':['ALL'],'add':['NET_ADMIN']}}}",
     "{'securityContext':{'capabilities':{'drop':['ALL']}}}", "{'securityContext':{'capabilities':{'drop':['ALL']}}}",
     "capabilities"},
    {"{'args':['a','b','c']}", "{'args':['a','b']}", "{'args':['a','b']}", "lists without a key are ours"},
    {"{'env':[{'name':'X','value':'1'},{'name':'P','valueFrom':{'fieldRef':{'apiVersion':'v1','fieldPath':'a'}}}]}",
     "{'env':[{'name':'P','valueFrom':{'fieldRef':{'fieldPath':'a'}}},{'name':'Q','value':''}]}",
     "{'env':[{'name':'X','value':'1'},{'name':'P','valueFrom':{'fieldRef':{'apiVersion':'v1','fieldPath':'a'}}},"
     "{'name':'Q','value':''}]}",
     "environment is merged by name"},
    {"{'env':[{'name':'P','value':'forged'}]}", "{'env':[{'name':'P','valueFrom':{'fieldRef':{'fieldPath':'a'}}}]}",
     "{'env':[{'name':'P','valueFrom':{'fieldRef':{'fieldPath':'a'}}}]}", "value and valueFrom never meet"},
    {"{'env':[{'name':'P','value':'ours'},{'name':'P','value':'later'}]}", "{'env':[{'name':'P','value':'ours'}]}",
     "{'env':[{'name':'P','value':'ours'}]}", "a second value would hide ours"},
    {"{'env':[{'value':'nameless'}]}", "{'env':[{'name':'P','value':'1'}]}", "{'env':[{'name':'P','value':'1'}]}",
     "an element without its key"},
    {"{'volumeMounts':[{'name':'sa','mountPath':'/sa'}]}", "{'volumeMounts':[{'name':'v','mountPath':'/v'}]}",
     "{'volumeMounts':[{'name':'sa','mountPath':'/sa'},{'name':'v','mountPath':'/v'}]}", "mounts are merged by path"},
    {"{'volumeMounts':[{'name':'x','mountPath':'/v','subPath':'s'}]}",
     "{'volumeMounts':[{'name':'v','mountPath':'/v'}]}", "{'volumeMounts':[{'name':'v','mountPath':'/v'}]}",
     "our path is ours"},
    {"{'resources':{'limits':{'cpu':'1','ephemeral-storage':'1Gi'},'requests':{'cpu':'100m'}}}",
     "{'resources':{'limits':{'cpu':'1000m'},'requests':{'cpu':'0.2'}}}",
     "{'resources':{'limits':{'cpu':'1','ephemeral-storage':'1Gi'},'requests':{'cpu':'0.2'}}}",
     "quantities by value, others' resources stay"},
    {"{'startupProbe':{'httpGet':{'path':'/x','port':1,'scheme':'HTTP'},'timeoutSeconds':1,'exec':{}}}",
     "{'startupProbe':{'httpGet':{'path':'/x','port':1}}}",
     "{'startupProbe':{'httpGet':{'path':'/x','port':1,'scheme':'HTTP'},'timeoutSeconds':1}}", "one handler a probe"},
    {"{'name':'v','projected':{'defaultMode':420,'sources':[{'serviceAccountToken':{'path':'t','expirationSeconds':9}}]"
     "}}",
     "{'name':'v','projected':{'sources':[{'serviceAccountToken':{'path':'t'}}]}}",
     "{'name':'v','projected':{'defaultMode':420,'sources':[{'serviceAccountToken':{'path':'t','expirationSeconds':9}}]"
     "}}",
     "a projected volume's defaults"},
    {"{'name':'v','hostPath':{'path':'/'}}", "{'name':'v','emptyDir':{'medium':'Memory'}}",
     "{'name':'v','emptyDir':{'medium':'Memory'}}", "another kind of volume"},
    {"{'env':3,'args':{}}", "{'env':[],'args':['x']}", "{'env':[],'args':['x']}", "another type"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *theirs = json(rows[i].theirs);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *ours = json(rows[i].ours);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *wanted = json(rows[i].result);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *merged = webhook_overlay(theirs, ours);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *again = webhook_overlay(merged, ours);
        if (!fl_json_equal(merged, wanted))
            fail_msg("%s", rows[i].edge);
        if (!fl_json_equal(merged, again))
            fail_msg("%s: not idempotent", rows[i].edge);
    }
}

/* Merging by key is quadratic, so a list of absurd length is not merged: ours alone stays. */
static void test_list_of_absurd_length(void **state)
{
    (void)state;
    for (int count = 256; count <= 257; count++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *theirs = json("{'env':[]}");
        FL_CLEANUP(fl_cleanup_json) struct fl_json *ours = json("{'env':[{'name':'P','value':'1'}]}");
        for (int i = 0; i < count; i++) {
            char name[16];
            snprintf(name, sizeof(name), "E%d", i);
            struct fl_json *element = fl_json_new_object();
            assert_int_equal(fl_json_set(element, "name", fl_json_new_string(fl_span_str(name))), 0);
            assert_int_equal(fl_json_append(fl_json_get(theirs, "env"), element), 0);
        }
        FL_CLEANUP(fl_cleanup_json) struct fl_json *merged = webhook_overlay(theirs, ours);
        assert_int_equal(fl_json_count(fl_json_get(merged, "env")), count <= 256 ? count + 1 : 1);
    }
}

static void test_allocations(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *theirs = json("{'a':1,'env':[{'name':'X'}],'resources':{'limits':{'cpu':'1'}},'args':['b']}");
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *ours = json("{'env':[{'name':'Y'}],'resources':{'limits':{'cpu':'2'}},'args':['b'],'z':{}}");
    FAIL_EACH_ALLOCATION
    {
        struct fl_json *merged = webhook_overlay(theirs, ours);
        fail_stop();
        assert_true((merged == NULL) == fail_happened());
        fl_json_free(merged);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_list_of_absurd_length),
                                       cmocka_unit_test(test_allocations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
