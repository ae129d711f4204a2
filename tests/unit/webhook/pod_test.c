#include "tests/unit/webhook/test.h"

#include "webhook/pod.h"

static const struct {
    const char *pod;
    const char *error; /* NULL: fine */
} shapes[] = {
    {"{'spec':{'containers':[{'name':'a'}]}}", NULL},
    {"{'metadata':null,'spec':{'containers':null,'volumes':null,'securityContext':null}}", NULL},
    {"{'metadata':{'labels':null,'annotations':null},'spec':{}}", NULL},
    {"{'metadata':{}}", "$: spec: is missing"},
    {"{'spec':[]}", "$.spec: expected an object, got an array"},
    {"{'metadata':[],'spec':{}}", "$.metadata: expected an object"},
    {"{'metadata':{'labels':{'a':1}},'spec':{}}", "$.metadata.labels.a: expected a string, got a number"},
    {"{'metadata':{'annotations':{'a':{}}},'spec':{}}", "$.metadata.annotations.a: expected a string"},
    {"{'metadata':{'annotations':[]},'spec':{}}", "$.metadata.annotations: expected an object"},
    {"{'metadata':{'ownerReferences':{}},'spec':{}}", "$.metadata.ownerReferences"},
    {"{'spec':{'containers':{}}}", "$.spec.containers: expected an array"},
    {"{'spec':{'containers':['a']}}", "$.spec.containers[0]: expected an object"},
    {"{'spec':{'containers':[{}]}}", "$.spec.containers[0]: name: expected a string"},
    {"{'spec':{'initContainers':[{'name':'a','volumeMounts':[{}]}]}}", "$.spec.initContainers[0].volumeMounts[0]"},
    {"{'spec':{'containers':[{'name':'a','securityContext':3}]}}", "$.spec.containers[0].securityContext"},
    {"{'spec':{'containers':[{'name':'a','livenessProbe':3}]}}", "$.spec.containers[0].livenessProbe"},
    {"{'spec':{'volumes':[{'name':3}]}}", "$.spec.volumes[0]"},
    {"{'spec':{'hostNetwork':'true'}}", "$.spec.hostNetwork: expected"},
};

static void test_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(shapes); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json(shapes[i].pod);
        struct fl_err err = {0};
        int result = webhook_pod_check(pod, &err);
        if (result != (shapes[i].error != NULL ? -EINVAL : 0))
            fail_msg("%s gave %d %s", shapes[i].pod, result, err.text);
        if (shapes[i].error != NULL)
            assert_contains(err.text, shapes[i].error);
    }
    assert_int_equal(webhook_pod_check(NULL, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
