/* The way of a manifest: YAML, injected, printed as YAML, read again, taken out: the same tree as before, where nothing
 * in it was ours to begin with. */
#include "cli/rehearse.h"
#include "cli/scene.h"
#include "cli/workload.h"
#include "common/doc/yaml.h"
#include "common/doc/yaml_print.h"
#include "webhook/remove.h"

#define TEXT_MAX (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fl_json_limits limits = {.bytes_max = TEXT_MAX};

/* What only the mesh writes, or puts into forms of its own, does not come back. */
static bool is_plain(struct fl_span text, const struct cli_workload *workload)
{
    static const char *const words[] = {"fairlead", "15020", "app-health", "app-lifecycle", "safe-to-evict", "\\"};
    const struct fl_json *metadata = fl_json_get(workload->template, "metadata");
    for (size_t i = 0; i < FL_COUNT(words); i++) {
        if (memmem(text.data, text.len, words[i], strlen(words[i])) != NULL)
            return false;
    }
    return metadata == NULL || fl_json_count(metadata) > 0;
}

/* Printed and read again. */
static struct fl_json *reread(const struct fl_json *object)
{
    struct fl_yaml *yaml = NULL;
    struct fl_buf text;
    struct fl_err err = {0};
    fl_buf_init(&text, TEXT_MAX);
    if (fl_yaml_print(object, &text) < 0 || fl_yaml_parse(fl_buf_span(&text), "again", &limits, &yaml, &err) < 0)
        abort();
    struct fl_json *copy = fl_json_copy(fl_yaml_document(yaml, 0));
    fl_yaml_free(yaml);
    fl_buf_done(&text);
    return copy;
}

static void there_and_back(const struct webhook_context *context, struct fl_json *object, bool plain,
                           const struct cli_workload *workload)
{
    struct fl_json *before = fl_json_copy(object), *pod = cli_workload_pod(workload);
    struct cli_rehearsal rehearsal = {0};
    struct cli_workload again;
    bool removed;
    if (before == NULL || pod == NULL)
        abort();
    if (cli_rehearse(context, pod, FL_SPAN("shop"), &rehearsal, NULL) == 0 &&
        rehearsal.report.outcome == WEBHOOK_INJECTED) {
        if (cli_workload_take(workload, rehearsal.patched) < 0)
            abort();
        struct fl_json *injected = reread(object);
        if (!cli_workload_find(injected, &again))
            abort();
        int result = webhook_remove(again.template, &removed, NULL);
        if (plain && (result < 0 || !removed || !fl_json_equal(injected, before)))
            abort();
        fl_json_free(injected);
    }
    cli_rehearsal_done(&rehearsal);
    fl_json_free(pod);
    fl_json_free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span text = fl_span_make(data, size);
    struct cli_scene scene = {0};
    struct fl_yaml *yaml = NULL;
    struct cli_workload workload;
    if (fl_yaml_parse(text, "fuzz", &limits, &yaml, NULL) < 0)
        return 0;
    if (cli_scene_open(NULL, &scene, NULL) < 0 || cli_scene_need(&scene, FL_SPAN("shop")) < 0 ||
        cli_scene_set(&scene, CLI_LABELLED_ALL, NULL) < 0)
        abort();
    struct webhook_context context = cli_scene_context(&scene);
    for (size_t i = 0; i < fl_yaml_count(yaml); i++) {
        struct fl_json *object = fl_json_copy(fl_yaml_document(yaml, i));
        if (cli_workload_find(object, &workload))
            there_and_back(&context, object, is_plain(text, &workload), &workload);
        fl_json_free(object);
    }
    cli_scene_close(&scene);
    fl_yaml_free(yaml);
    return 0;
}
