/* Labels and annotations: what a plan writes into which pod. */
#include "tests/unit/webhook/test.h"

#include "common/mesh/label.h"
#include "webhook/plan.h"
#include "webhook/resolve.h"

static const struct webhook_entry *find(const struct webhook_entry *entries, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(entries[i].key, key) == 0)
            return &entries[i];
    }
    return NULL;
}

#define LONG_NAME "a-name-that-is-longer-than-a-label-may-be-and-ends-with-dots-12..and-more"

static const struct {
    const char *labels, *workload;
    const char *name, *revision; /* NULL: not written */
} services[] = {
    {"{}", "web", "web", "latest"},
    {"{'app':'shop'}", "web", "shop", "latest"},
    {"{'app':'shop','app.kubernetes.io/name':'store','version':'v1','app.kubernetes.io/version':'v2'}", "web", "store",
     "v2"},
    {"{'app':'','version':'v1'}", "web", "web", "v1"},
    {"{}", LONG_NAME, "a-name-that-is-longer-than-a-label-may-be-and-ends-with-dots-12", "latest"},
    {"{}", "a-name-that-is-longer-than-a-label-may-be-and-ends-with-dots-..",
     "a-name-that-is-longer-than-a-label-may-be-and-ends-with-dots", "latest"},
    {"{}", "", NULL, "latest"},
    {"{}", "no label", NULL, "latest"},
    {"{'version':'-'}", "web", "web", NULL},
};

static struct webhook_plan *make(const struct webhook_config *config, struct webhook_settings *settings,
                                 const struct fl_json *pod, const char *workload)
{
    static struct webhook_plan plan;
    struct webhook_owner owner = {.kind = "Deployment"};
    struct webhook_warnings warnings = {.count = 0};
    struct fl_err err = {0};
    const struct fl_json *annotations = fl_json_get(fl_json_get(pod, "metadata"), "annotations");
    snprintf(owner.name, sizeof(owner.name), "%s", workload);
    if (webhook_settings_resolve(config, FL_SPAN("shop"), false, NULL, annotations, settings, &warnings, &err) < 0 ||
        webhook_plan_make(config, settings, &owner, pod, &plan, &warnings, &err) < 0)
        fail_msg("%s", err.text);
    return &plan;
}

static void test_canonical_service(void **state)
{
    (void)state;
    struct webhook_config *config;
    assert_int_equal(webhook_config_default(&config), 0);
    for (size_t i = 0; i < FL_COUNT(services); i++) {
        char text[512];
        struct webhook_settings settings;
        snprintf(text, sizeof(text), "{'metadata':{'labels':%s},'spec':{}}", services[i].labels);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json(text);
        struct webhook_plan *plan = make(config, &settings, pod, services[i].workload);
        const struct webhook_metadata *m = &plan->metadata;
        const struct webhook_entry *name = find(m->labels, m->label_count, FL_LABEL_CANONICAL_NAME);
        const struct webhook_entry *revision = find(m->labels, m->label_count, FL_LABEL_CANONICAL_REVISION);
        assert_int_equal(name != NULL, services[i].name != NULL);
        assert_int_equal(revision != NULL, services[i].revision != NULL);
        if (name != NULL)
            assert_span(name->value, services[i].name);
        if (revision != NULL)
            assert_span(revision->value, services[i].revision);
        webhook_plan_done(plan);
        webhook_settings_done(&settings);
    }
    webhook_config_free(config);
}

static const struct {
    const char *given, *merged;
} evictions[] = {
    {NULL, "fairlead-proxy"},
    {"", "fairlead-proxy"},
    {" ", " fairlead-proxy"},
    {"data", "data,fairlead-proxy"},
    {"data, cache", "data, cache,fairlead-proxy"},
    {"data,fairlead-proxy", "data,fairlead-proxy"},
    {"fairlead-proxy , data", "fairlead-proxy , data"},
    {"fairlead-proxy-2", "fairlead-proxy-2,fairlead-proxy"},
};

static void test_safe_to_evict(void **state)
{
    (void)state;
    struct webhook_config *config;
    assert_int_equal(webhook_config_default(&config), 0);
    for (size_t i = 0; i < FL_COUNT(evictions); i++) {
        struct webhook_settings settings;
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json("{'metadata':{'annotations':{}},'spec':{}}");
        if (evictions[i].given != NULL)
            assert_int_equal(fl_json_set(fl_json_get(fl_json_get(pod, "metadata"), "annotations"),
                                         WEBHOOK_SAFE_TO_EVICT, fl_json_new_string(fl_span_str(evictions[i].given))),
                             0);
        struct webhook_plan *plan = make(config, &settings, pod, "web");
        const struct webhook_metadata *m = &plan->metadata;
        assert_span(find(m->annotations, m->annotation_count, WEBHOOK_SAFE_TO_EVICT)->value, evictions[i].merged);
        webhook_plan_done(plan);
        webhook_settings_done(&settings);
    }
    webhook_config_free(config);
}

/* The pod's own list stands; one from above is written into the pod, and may stand there when it is reviewed again. */
static void test_opaque_ports(void **state)
{
    (void)state;
    static const struct {
        const char *config, *pod, *written;
    } cases[] = {
        {"", "{}", NULL},
        {"", "{'fairlead.io/opaque-ports':'3306'}", NULL},
        {"opaquePorts: 3306,9000-9010", "{}", "3306,9000-9010"},
        {"opaquePorts: '3306'", "{'fairlead.io/opaque-ports':''}", NULL},
        {"opaquePorts: 9000,3306\nlevels: {opaquePorts: mesh}", "{}", "3306,9000"},
        {"opaquePorts: 9000,3306\nlevels: {opaquePorts: mesh}", "{'fairlead.io/opaque-ports':'3306,9000'}",
         "3306,9000"},
    };
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        struct webhook_config *config;
        struct webhook_settings settings;
        struct fl_err err = {0};
        char text[256];
        if (webhook_config_parse(fl_span_str(cases[i].config), "config.yaml", &config, &err) < 0)
            fail_msg("%s", err.text);
        snprintf(text, sizeof(text), "{'metadata':{'annotations':%s},'spec':{}}", cases[i].pod);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json(text);
        struct webhook_plan *plan = make(config, &settings, pod, "web");
        const struct webhook_metadata *m = &plan->metadata;
        const struct webhook_entry *entry = find(m->annotations, m->annotation_count, FL_ANNOTATION_OPAQUE_PORTS);
        assert_int_equal(entry != NULL, cases[i].written != NULL);
        if (entry != NULL)
            assert_span(entry->value, cases[i].written);
        webhook_plan_done(plan);
        webhook_settings_done(&settings);
        webhook_config_free(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_canonical_service), cmocka_unit_test(test_safe_to_evict),
                                       cmocka_unit_test(test_opaque_ports)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
