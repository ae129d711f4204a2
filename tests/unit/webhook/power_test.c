#include "tests/unit/webhook/test.h"

#include "webhook/power.h"

#define APP(context)  "{'containers':[{'name':'a','image':'i','securityContext':" context "}]}"
#define POD(context)  "{'securityContext':" context ",'containers':[{'name':'a','image':'i'}]}"
#define WITH(context) "{'containers':[{'name':'a','image':'host.example/proxy:1','securityContext':" context "}]}"

static const struct {
    const char *spec, *only;
    const char *error; /* NULL: may run */
} users[] = {
    {APP("{'runAsUser':1000,'runAsGroup':1000}"), NULL, NULL},
    {APP("null"), NULL, NULL},
    {APP("{'runAsUser':1337}"), NULL, "container a: securityContext.runAsUser 1337 is the proxy's uid"},
    {APP("{'runAsGroup':1338}"), NULL, "container a: securityContext.runAsGroup 1338 is the proxy's gid"},
    {APP("{'runAsUser':1337.0}"), NULL, "runAsUser"},
    {APP("{'runAsUser':1.337e3}"), NULL, "runAsUser"},
    {APP("{'runAsUser':'1337'}"), NULL, NULL},                 /* no number: the API server refuses it */
    {APP("{'runAsUser':4294968633}"), NULL, NULL},             /* 2^32 + 1337 */
    {APP("{'runAsUser':1338,'runAsGroup':1337}"), NULL, NULL}, /* uid and gid are not the same thing */
    {POD("{'runAsUser':1337}"), NULL, "the pod: securityContext.runAsUser"},
    {"{'securityContext':{'runAsGroup':1338},'containers':[{'name':'a','securityContext':{'runAsGroup':1}}]}", NULL,
     "the pod: securityContext.runAsGroup"},
    {POD("{'fsGroup':1338}"), NULL, "the pod: securityContext.fsGroup 1338 is the proxy's gid"},
    {POD("{'fsGroup':1337}"), NULL, NULL},
    {POD("{'supplementalGroups':[1,1338]}"), NULL, "the pod: securityContext.supplementalGroups 1338"},
    {POD("{'supplementalGroups':[1,1337]}"), NULL, NULL},
    {POD("{'supplementalGroups':[]}"), NULL, NULL},
    {POD("{'supplementalGroups':1338}"), NULL, NULL},
    {"{'initContainers':[{'name':'i','securityContext':{'runAsUser':1337}}]}", NULL, "container i"},
    {"{'initContainers':[{'name':'i','restartPolicy':'Always','securityContext':{'runAsUser':1337}}]}", NULL,
     "container i"},
    {"{'ephemeralContainers':[{'name':'e','securityContext':{'runAsUser':1337}}]}", NULL, "container e"},
    {"{'initContainers':[{'name':'fairlead-proxy','securityContext':{'runAsUser':1337,'runAsGroup':1338}}]}", NULL,
     NULL},
    {"{'containers':[{'name':'fairlead-proxy'},{'name':'b','securityContext':{'runAsUser':1337}}]}", NULL,
     "container b"},
    /* one list alone */
    {"{'securityContext':{'fsGroup':1338},'ephemeralContainers':[{'name':'e'}]}", "ephemeralContainers", NULL},
    {APP("{'runAsUser':1337}"), "ephemeralContainers", NULL},
    {"{'ephemeralContainers':[{'name':'e','securityContext':{'runAsGroup':1338}}]}", "ephemeralContainers",
     "container e"},
    /* the proxy's own image runs as the proxy */
    {WITH("null"), NULL, "container a: it has the proxy's image"},
    {WITH("{'runAsUser':null}"), NULL, "container a: it has the proxy's image"},
    {WITH("{'runAsUser':1000}"), NULL, NULL},
    {"{'securityContext':{'runAsUser':5},'containers':[{'name':'a','image':'host.example/proxy:1'}]}", NULL, NULL},
};

static void test_users(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(users); i++) {
        char text[512];
        snprintf(text, sizeof(text), "{'spec':%s}", users[i].spec);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json(text);
        struct fl_err err = {0};
        int result = webhook_power_check_users(pod, users[i].only, 1337, 1338, FL_SPAN("host.example/proxy:1"), &err);
        if (result != (users[i].error != NULL ? -EPERM : 0))
            fail_msg("%s gave %d %s", users[i].spec, result, err.text);
        if (users[i].error != NULL)
            assert_contains(err.text, users[i].error);
    }
}

static const struct {
    const char *spec, *only;
    const char *found; /* NULL: none */
} privileged[] = {
    {APP("{}"), NULL, NULL},
    {APP("{'privileged':false,'capabilities':{'drop':['ALL']}}"), NULL, NULL},
    {APP("{'privileged':true}"), NULL, "container a is privileged"},
    {APP("{'privileged':'true'}"), NULL, NULL},
    {APP("{'capabilities':{'add':['NET_BIND_SERVICE','NET_ADMIN']}}"), NULL,
     "container a has the capability NET_ADMIN"},
    {APP("{'capabilities':{'add':['cap_net_admin']}}"), NULL, "cap_net_admin"},
    {APP("{'capabilities':{'add':['SYS_ADMIN']}}"), NULL, "SYS_ADMIN"},
    {APP("{'capabilities':{'add':['SYS_MODULE']}}"), NULL, "SYS_MODULE"},
    {APP("{'capabilities':{'add':['SYS_PTRACE']}}"), NULL, "SYS_PTRACE"},
    {APP("{'capabilities':{'add':['SYS_RAWIO']}}"), NULL, "SYS_RAWIO"},
    {APP("{'capabilities':{'add':['BPF']}}"), NULL, "BPF"},
    {APP("{'capabilities':{'add':['ALL']}}"), NULL, "ALL"},
    {APP("{'capabilities':{'add':['NET_RAW','SETUID','CAP_','']}}"), NULL, NULL},
    {APP("{'capabilities':{'add':'NET_ADMIN'}}"), NULL, NULL},
    {APP("{'capabilities':null}"), NULL, NULL},
    {"{'initContainers':[{'name':'fairlead-proxy','securityContext':{'privileged':true}},"
     "{'name':'i','securityContext':{'privileged':true}}]}",
     NULL, "container i"},
    {"{'ephemeralContainers':[{'name':'e','securityContext':{'capabilities':{'add':['NET_ADMIN']}}}]}",
     "ephemeralContainers", "container e"},
    {APP("{'privileged':true}"), "ephemeralContainers", NULL},
};

static void test_privileged(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(privileged); i++) {
        char text[512];
        snprintf(text, sizeof(text), "{'spec':%s}", privileged[i].spec);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json(text);
        struct fl_err err = {0};
        bool found = webhook_power_find_privileged(pod, privileged[i].only, &err);
        if (found != (privileged[i].found != NULL))
            fail_msg("%s gave %d", privileged[i].spec, found);
        if (found)
            assert_contains(err.text, privileged[i].found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_users), cmocka_unit_test(test_privileged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
