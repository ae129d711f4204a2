#include "tests/unit/webhook/test.h"

#include "webhook/owner.h"

#define OWNED(kind, name, labels)                                                                                      \
    "{'metadata':{'name':'p','labels':" labels ",'ownerReferences':[{'kind':'" kind "','name':'" name                  \
    "','controller':true}]}}"
#define GROUP(version, kind, name, labels)                                                                             \
    "{'metadata':{'name':'p','labels':" labels ",'ownerReferences':[{'apiVersion':'" version "','kind':'" kind         \
    "','name':'" name "','controller':true}]}}"

static const struct {
    const char *pod;
    const char *kind, *name;
} rows[] = {
    {OWNED("ReplicaSet", "web-7d4b9c", "{'pod-template-hash':'7d4b9c'}"), "Deployment", "web"},
    {OWNED("ReplicaSet", "web-7d4b9c", "{}"), "ReplicaSet", "web-7d4b9c"},
    {OWNED("ReplicaSet", "web7d4b9c", "{'pod-template-hash':'7d4b9c'}"), "ReplicaSet", "web7d4b9c"},
    {OWNED("ReplicaSet", "-7d4b9c", "{'pod-template-hash':'7d4b9c'}"), "ReplicaSet", "-7d4b9c"},
    {OWNED("ReplicaSet", "web-5f", "{'rollouts-pod-template-hash':'5f'}"), "Rollout", "web"},
    {OWNED("Job", "nightly-28012345", "{}"), "CronJob", "nightly"},
    {OWNED("Job", "nightly-1234567", "{}"), "Job", "nightly-1234567"},
    {OWNED("Job", "nightly-12345678901", "{}"), "Job", "nightly-12345678901"},
    {OWNED("Job", "28012345", "{}"), "Job", "28012345"},
    {OWNED("Job", "import", "{}"), "Job", "import"},
    {OWNED("StatefulSet", "db", "{}"), "StatefulSet", "db"},
    {OWNED("DaemonSet", "agent", "{}"), "DaemonSet", "agent"},
    {OWNED("Job", "import-20240131", "{}"), "Job", "import-20240131"},
    {OWNED("Job", "import-99999999", "{}"), "Job", "import-99999999"},
    {OWNED("Job", "old-1600000000", "{}"), "CronJob", "old"},
    {OWNED("Job", "old-2024013112", "{}"), "Job", "old-2024013112"},
    {OWNED("Job", "nightly-280123456", "{}"), "Job", "nightly-280123456"},
    {OWNED("Job", "-28012345", "{}"), "Job", "-28012345"},
    {OWNED("Job", "v2-28012345", "{}"), "CronJob", "v2"},
    {OWNED("Job", "a234567890123456789012345678901234567890123456789012-28012345", "{}"), "CronJob",
     "a234567890123456789012345678901234567890123456789012"},
    {OWNED("Job", "a2345678901234567890123456789012345678901234567890123-28012345", "{}"), "Job",
     "a2345678901234567890123456789012345678901234567890123-28012345"},
    {OWNED("Job", "shards", "{'batch.kubernetes.io/job-completion-index':'3'}"), "Job", "shards"},
    {GROUP("batch/v1", "Job", "nightly-28012345", "{}"), "CronJob", "nightly"},
    {GROUP("batch.volcano.sh/v1alpha1", "Job", "nightly-28012345", "{}"), "Job", "nightly-28012345"},
    {GROUP("apps/v1", "ReplicaSet", "web-7d4b9c", "{'pod-template-hash':'7d4b9c'}"), "Deployment", "web"},
    {GROUP("x.io/v1", "ReplicaSet", "web-7d4b9c", "{'pod-template-hash':'7d4b9c'}"), "ReplicaSet", "web-7d4b9c"},
    {GROUP("v1", "ReplicationController", "shop-3", "{'deploymentconfig':'shop'}"), "DeploymentConfig", "shop"},
    {GROUP("v1", "ReplicationController", "shop-3", "{'deploymentconfig':'sho'}"), "ReplicationController", "shop-3"},
    {GROUP("v1", "ReplicationController", "shop-3", "{}"), "ReplicationController", "shop-3"},
    {GROUP("apps.kruise.io/v1alpha1", "CloneSet", "web", "{'pod-template-hash':'7d4b9c'}"), "CloneSet", "web"},
    {"{'metadata':{'name':'bare'}}", "Pod", "bare"},
    {"{'metadata':{'name':'bare-x7k2p','generateName':'bare-'}}", "Pod", "bare"},
    {"{'metadata':{'name':'n','generateName':'-'}}", "Pod", "n"},
    {"{'metadata':{'generateName':'a2345678901234567890123456789012345678901234567890123456789012345-'}}", "Pod",
     "a2345678901234567890123456789012345678901234567890123456789012345"},
    {"{'metadata':{'generateName':'gen-'}}", "Pod", "gen"},
    {"{'metadata':{'generateName':'--'}}", "Pod", ""},
    {"{'metadata':{}}", "Pod", ""},
    {"{}", "Pod", ""},
    {"{'metadata':{'name':'p','ownerReferences':[]}}", "Pod", "p"},
    {OWNED("Evil", "$(FAIRLEAD_CAPTURE)", "{}"), "Pod", "p"},
    {OWNED("Evil", "a\\nb", "{}"), "Pod", "p"},
    {OWNED("Evil", "w\xc3\xa4", "{}"), "Pod", "p"},
    {"{'metadata':{'name':'p','ownerReferences':[{'kind':'X'}]}}", "Pod", "p"},
    {"{'metadata':{'name':'p','ownerReferences':[{'kind':'A','name':'a'},{'kind':'B','name':'b','controller':true}]}}",
     "B", "b"},
    {"{'metadata':{'name':'p','ownerReferences':[{'kind':'A','name':'a'}]}}", "A", "a"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json(rows[i].pod);
        struct webhook_owner owner;
        webhook_owner_find(pod, &owner);
        assert_string_equal(owner.kind, rows[i].kind);
        assert_string_equal(owner.name, rows[i].name);
    }
}

static void test_long_names_are_cut(void **state)
{
    (void)state;
    char text[900];
    snprintf(text, sizeof(text), "{'metadata':{'name':'%0600d'}}", 7);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json(text);
    struct webhook_owner owner;
    webhook_owner_find(pod, &owner);
    assert_int_equal(strlen(owner.name), WEBHOOK_NAME_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_long_names_are_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
