#include "tests/unit/webhook/test.h"

#include "webhook/budget.h"

#define REQUESTS(cpu, memory) "'requests':{'cpu':'" cpu "','memory':'" memory "'}"
#define LIMITS(cpu, memory)   "'limits':{'cpu':'" cpu "','memory':'" memory "'}"
#define APP(parts)            "'containers':[{'name':'a','resources':{" parts "}}]"

/* The sidecar asks for 10m to 2 CPUs and 16Mi to 256Mi. */
static const struct {
    const char *spec;
    bool native;
    const char *cpu[2], *memory[2]; /* request, limit */
    size_t warnings;
    const char *edge;
} rows[] = {
    {"{" APP("") "}", true, {"10m", "2"}, {"16Mi", "256Mi"}, 0, "no budget"},
    {"{'resources':{}," APP("") "}", true, {"10m", "2"}, {"16Mi", "256Mi"}, 0, "an empty one"},
    {"{'resources':{'claims':[]},'containers':[]}", true, {"10m", "2"}, {"16Mi", "256Mi"}, 0, "no quantities"},
    {"{'resources':{" REQUESTS("1", "1Gi") "," LIMITS("4", "2Gi") "}," APP(REQUESTS("500m", "100Mi")) "}",
     true,
     {"10m", "2"},
     {"16Mi", "256Mi"},
     0,
     "room enough"},
    {"{'resources':{" REQUESTS("505m", "110Mi") "}," APP(REQUESTS("500m", "100Mi")) "}",
     true,
     {"5m", "2"},
     {"10485760", "256Mi"},
     2,
     "what is left"},
    {"{'resources':{" REQUESTS("500m", "100Mi") "}," APP(REQUESTS("500m", "100Mi")) "}",
     true,
     {"0", "2"},
     {"0", "256Mi"},
     2,
     "nothing is left"},
    {"{'resources':{" REQUESTS("400m", "10Mi") "}," APP(REQUESTS("500m", "100Mi")) "}",
     true,
     {"0", "2"},
     {"0", "256Mi"},
     2,
     "over it by itself"},
    {"{'resources':{'requests':{'cpu':'500m'}}," APP(LIMITS("500m", "100Mi")) "}",
     true,
     {"0", "2"},
     {"16Mi", "256Mi"},
     1,
     "a limit counts as request where there is none"},
    {"{'resources':{" LIMITS("1", "64Mi") "}," APP(REQUESTS("995m", "1Mi")) "}",
     true,
     {"5m", "1"},
     {"16Mi", "64Mi"},
     2,
     "limits alone bound requests too, and each limit"},
    {"{'resources':{'limits':{'cpu':'5m'}},'containers':[]}",
     true,
     {"5m", "5m"},
     {"16Mi", "256Mi"},
     1,
     "the request follows the limit"},
    {"{'resources':{'requests':{'cpu':'100m'}},'containers':[{'name':'a','resources':{'requests':{'cpu':'50m'}}}],"
     "'initContainers':[{'name':'i','resources':{'requests':{'cpu':'95m'}}}]}",
     true,
     {"5m", "2"},
     {"16Mi", "256Mi"},
     1,
     "an init container's stage counts for a native sidecar"},
    {"{'resources':{'requests':{'cpu':'100m'}},'containers':[{'name':'a','resources':{'requests':{'cpu':'50m'}}}],"
     "'initContainers':[{'name':'i','resources':{'requests':{'cpu':'95m'}}}]}",
     false,
     {"10m", "2"},
     {"16Mi", "256Mi"},
     0,
     "and not for a classic one"},
    {"{'resources':{'requests':{'cpu':'100m'}},'containers':[{'name':'a','resources':{'requests':{'cpu':'50m'}}}],"
     "'initContainers':[{'name':'s','restartPolicy':'Always','resources':{'requests':{'cpu':'45m'}}}]}",
     true,
     {"5m", "2"},
     {"16Mi", "256Mi"},
     1,
     "other sidecars run beside the app"},
    {"{'resources':{'requests':{'cpu':'60m'}},'containers':[{'name':'a','resources':{'requests':{'cpu':'50m'}}}],"
     "'initContainers':[{'name':'fairlead-proxy','restartPolicy':'Always','resources':{'requests':{'cpu':'10m'}}}]}",
     true,
     {"10m", "2"},
     {"16Mi", "256Mi"},
     0,
     "reviewed again our own does not count"},
    {"{'resources':{'requests':{'cpu':0.06}},'containers':[{'name':'a','resources':{'requests':{'cpu':0.055}}}]}",
     true,
     {"5m", "2"},
     {"16Mi", "256Mi"},
     1,
     "numbers"},
    {"{'resources':{'limits':{'cpu':1}},'containers':[]}",
     true,
     {"10m", "1"},
     {"16Mi", "256Mi"},
     1,
     "a limit that is a number, as people write it"},
    {"{'resources':{'requests':{'cpu':'much'},'limits':null},'containers':null}",
     true,
     {"10m", "2"},
     {"16Mi", "256Mi"},
     0,
     "what is no quantity"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        char text[1024];
        snprintf(text, sizeof(text), "{'spec':%s}", rows[i].spec);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json(text);
        struct webhook_resources resources = {.cpu_request = FL_SPAN("10m"),
                                              .cpu_limit = FL_SPAN("2"),
                                              .memory_request = FL_SPAN("16Mi"),
                                              .memory_limit = FL_SPAN("256Mi")};
        struct webhook_budget texts;
        struct webhook_warnings warnings = {.count = 0};
        webhook_budget_fit(pod, rows[i].native, &resources, &texts, &warnings);
        if (!fl_span_eq_str(resources.cpu_request, rows[i].cpu[0]) ||
            !fl_span_eq_str(resources.cpu_limit, rows[i].cpu[1]) ||
            !fl_span_eq_str(resources.memory_request, rows[i].memory[0]) ||
            !fl_span_eq_str(resources.memory_limit, rows[i].memory[1]) || warnings.count != rows[i].warnings)
            fail_msg("%s: cpu %.*s to %.*s, memory %.*s to %.*s, %zu warnings", rows[i].edge,
                     FL_SPAN_ARG(resources.cpu_request), FL_SPAN_ARG(resources.cpu_limit),
                     FL_SPAN_ARG(resources.memory_request), FL_SPAN_ARG(resources.memory_limit), warnings.count);
    }
}

/* What Kubernetes would fill in, a request of the limit's size, must fit as well. */
static void test_a_limit_alone(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json("{'spec':{'resources':{'requests':{'memory':'64Mi'}}}}");
    struct webhook_resources resources = {.memory_limit = FL_SPAN("256Mi")};
    struct webhook_budget texts;
    struct webhook_warnings warnings = {.count = 0};
    webhook_budget_fit(pod, true, &resources, &texts, &warnings);
    assert_span(resources.memory_request, "67108864");
    struct webhook_resources none = {.memory_limit = FL_SPAN("")};
    webhook_budget_fit(pod, true, &none, &texts, &warnings);
    assert_span(none.memory_request, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_a_limit_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
