#include "tests/unit/webhook/test.h"

#include "webhook/overlay.h"

#define ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

static const struct {
    const char *theirs, *ours, *result;
    const char *edge;
} rows[] = {
    {"{'name':'a'}", "{'name':'a'}", "{'name':'a'}", "equal"},
    {"{'name':'a','image':'evil'}", "{'name':'a','image':'p'}", "{'name':'a','image':'p'}", "ours wins"},
    {"{'name':'a'}", "{'name':'a','restartPolicy':'Always'}", "{'name':'a','restartPolicy':'Always'}",
     "a member that was stripped comes back"},
    {"{'name':'a','terminationMessagePath':'/dev/termination-log','imagePullPolicy':'Always'}", "{'name':'a'}",
     "{'name':'a','terminationMessagePath':'/dev/termination-log','imagePullPolicy':'Always'}", "defaults stay"},
    {"{'name':'a','terminationMessagePath':'/run/fairlead/key','imagePullPolicy':'Sometimes'}", "{'name':'a'}",
     "{'name':'a'}", "another value than the default's"},
    {"{'imagePullPolicy':'Always'}", "{'imagePullPolicy':'IfNotPresent'}", "{'imagePullPolicy':'Always'}",
     "AlwaysPullImages refuses another policy"},
    {"{'imagePullPolicy':'Never'}", "{'imagePullPolicy':'IfNotPresent'}", "{'imagePullPolicy':'IfNotPresent'}",
     "no other policy"},
    {"{'resizePolicy':[{'resourceName':'cpu','restartPolicy':'NotRequired'}]}", "{'name':'a'}",
     "{'resizePolicy':[{'resourceName':'cpu','restartPolicy':'NotRequired'}],'name':'a'}",
     "the resize policy's default"},
    {"{'resizePolicy':[{'resourceName':'cpu','restartPolicy':'RestartContainer'}]}", "{'name':'a'}", "{'name':'a'}",
     "another resize policy"},
    {"{'securityContext':{'procMount':'Default'}}", "{'securityContext':{}}",
     "{'securityContext':{'procMount':'Default'}}", "what old API servers fill in"},
    {"{'securityContext':{'procMount':'Unmasked'}}", "{'securityContext':{}}", "{'securityContext':{}}",
     "an open /proc"},
    {"{'name':'a','command':['sh'],'lifecycle':{},'envFrom':[]}", "{'name':'a'}", "{'name':'a'}", "foreign members go"},
    {"{'securityContext':{'runAsUser':1337,'privileged':true}}", "{'securityContext':{'runAsUser':1337}}",
     "{'securityContext':{'runAsUser':1337}}", "nobody loosens the security context"},
    {"{'securityContext':{'capabilities':{'drop':['ALL'],'add':['NET_ADMIN']}}}",
     "{'securityContext':{'capabilities':{'drop':['ALL']}}}", "{'securityContext':{'capabilities':{'drop':['ALL']}}}",
     "capabilities"},
    {"{'args':['a','b','c']}", "{'args':['a','b']}", "{'args':['a','b']}", "lists without a key are ours"},
    {"{'env':[{'name':'LD_PRELOAD','value':'/x'},{'name':'P','valueFrom':{'fieldRef':{'apiVersion':'v1','fieldPath':"
     "'a'}}}]}",
     "{'env':[{'name':'P','valueFrom':{'fieldRef':{'fieldPath':'a'}}},{'name':'Q','value':''}]}",
     "{'env':[{'name':'P','valueFrom':{'fieldRef':{'apiVersion':'v1','fieldPath':'a'}}},{'name':'Q','value':''}]}",
     "no environment but ours"},
    {"{'env':[{'name':'R','valueFrom':{'resourceFieldRef':{'resource':'limits.cpu','divisor':'0'}}}]}",
     "{'env':[{'name':'R','valueFrom':{'resourceFieldRef':{'resource':'limits.cpu'}}}]}",
     "{'env':[{'name':'R','valueFrom':{'resourceFieldRef':{'resource':'limits.cpu','divisor':'0'}}}]}", "the divisor"},
    {"{'env':[{'name':'B','value':'2'},{'name':'A','value':'1'}]}",
     "{'env':[{'name':'A','value':'1'},{'name':'B','value':'2'}]}",
     "{'env':[{'name':'A','value':'1'},{'name':'B','value':'2'}]}", "our order"},
    {"{'env':[{'name':'P','value':'forged'}]}", "{'env':[{'name':'P','valueFrom':{'fieldRef':{'fieldPath':'a'}}}]}",
     "{'env':[{'name':'P','valueFrom':{'fieldRef':{'fieldPath':'a'}}}]}", "value and valueFrom never meet"},
    {"{'env':[{'name':'P','value':'ours'},{'name':'P','value':'later'}]}", "{'env':[{'name':'P','value':'ours'}]}",
     "{'env':[{'name':'P','value':'ours'}]}", "a second value would hide ours"},
    {"{'env':[{'value':'nameless'}]}", "{'env':[{'name':'P','value':'1'}]}", "{'env':[{'name':'P','value':'1'}]}",
     "an element without its key"},
    {"{'volumeMounts':[{'name':'kube-api-access-x','mountPath':'" ACCOUNT "','readOnly':true},{'name':'v','mountPath':"
     "'/v'}]}",
     "{'volumeMounts':[{'name':'v','mountPath':'/v'}]}",
     "{'volumeMounts':[{'name':'v','mountPath':'/v'},{'name':'kube-api-access-x','mountPath':'" ACCOUNT
     "','readOnly':true}]}",
     "the service account's mount stays, behind ours"},
    {"{'volumeMounts':[{'name':'v','mountPath':'/v'},{'name':'kube-api-access-x','mountPath':'" ACCOUNT "'}]}",
     "{'volumeMounts':[{'name':'v','mountPath':'/v'}]}", "{'volumeMounts':[{'name':'v','mountPath':'/v'}]}",
     "one that can be written"},
    {"{'volumeMounts':[{'name':'kube-api-access-x','mountPath':'/run','readOnly':true}]}",
     "{'volumeMounts':[{'name':'v','mountPath':'/v'}]}", "{'volumeMounts':[{'name':'v','mountPath':'/v'}]}",
     "one that would hide our own"},
    {"{'volumeMounts':[{'name':'lib','mountPath':'/lib'}]}", "{'volumeMounts':[{'name':'v','mountPath':'/v'}]}",
     "{'volumeMounts':[{'name':'v','mountPath':'/v'}]}", "no mount but ours"},
    {"{'volumeMounts':[{'name':'x','mountPath':'/v','subPath':'s'}]}",
     "{'volumeMounts':[{'name':'v','mountPath':'/v'}]}", "{'volumeMounts':[{'name':'v','mountPath':'/v'}]}",
     "our path is ours"},
    {"{'resources':{'limits':{'cpu':'1','ephemeral-storage':'1Gi','example.com/gpu':'8'},'requests':{'cpu':'100m'},"
     "'claims':[{'name':'c'}]}}",
     "{'resources':{'limits':{'cpu':'1000m'},'requests':{'cpu':'0.2'}}}",
     "{'resources':{'limits':{'cpu':'1','ephemeral-storage':'1Gi'},'requests':{'cpu':'0.2'}}}",
     "quantities by value, what LimitRanger fills in stays"},
    {"{'resources':{'requests':{'memory':'64Mi','x':'1'},'limits':{'memory':'lots'}}}", "{'resources':{}}",
     "{'resources':{'requests':{'memory':'64Mi'},'limits':{}}}", "nor whole members that we left out"},
    {"{'startupProbe':{'httpGet':{'path':'/x','port':1,'scheme':'HTTP','host':'h'},'successThreshold':1,'exec':{}}}",
     "{'startupProbe':{'httpGet':{'path':'/x','port':1}}}",
     "{'startupProbe':{'httpGet':{'path':'/x','port':1,'scheme':'HTTP'},'successThreshold':1}}", "one handler a probe"},
    {"{'lifecycle':{'preStop':{'exec':{'command':['x']}}}}", "{'lifecycle':{'preStop':{'exec':{'command':['a','b']}}}}",
     "{'lifecycle':{'preStop':{'exec':{'command':['a','b']}}}}", "our hooks"},
    {"{'name':'v','configMap':{'name':'m','defaultMode':420,'items':[]}}", "{'name':'v','configMap':{'name':'m'}}",
     "{'name':'v','configMap':{'name':'m','defaultMode':420}}", "a user's volume"},
    {"{'name':'v','emptyDir':{'sizeLimit':'1Gi'}}", "{'name':'v','emptyDir':{'sizeLimit':'1024Mi'}}",
     "{'name':'v','emptyDir':{'sizeLimit':'1Gi'}}", "a size by value"},
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

/* Matching by key is quadratic, so a list of absurd length is not looked at: ours alone stays. */
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
        assert_int_equal(fl_json_count(fl_json_get(merged, "env")), 1);
    }
}

/* What proves that a container is ours. */
static void test_covers(void **state)
{
    (void)state;
    static const struct {
        const char *theirs;
        int covers;
    } cases[] = {
        {"{'name':'a','args':['x']}", 1},
        {"{'args':['x'],'name':'a','terminationMessagePath':'/dev/termination-log'}", 1},
        {"{'name':'a','args':['x'],'command':['sh']}", 0},
        {"{'name':'a','args':['x','y']}", 0},
        {"{'name':'a'}", 0},
    };
    FL_CLEANUP(fl_cleanup_json) struct fl_json *ours = json("{'name':'a','args':['x']}");
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *theirs = json(cases[i].theirs);
        assert_int_equal(webhook_overlay_covers(theirs, ours, ""), cases[i].covers);
    }
    assert_int_equal(webhook_overlay_covers(NULL, ours, ""), 0);
}

static void test_allocations(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *theirs =
        json("{'a':1,'env':[{'name':'Y'}],'resources':{'limits':{'cpu':'1'},'requests':{'memory':'1'}},'args':['b']}");
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
                                       cmocka_unit_test(test_covers), cmocka_unit_test(test_allocations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
