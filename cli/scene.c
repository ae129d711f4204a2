#include "cli/scene.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/mesh/label.h"

#include <errno.h>

#define LIST_MAX (64u << 20)

static int open_scene(struct webhook_config *config, struct cli_scene *ret_scene, struct fl_err *err)
{
    struct cli_scene scene = {.config = config, .list = fl_json_new_array()};
    if (scene.list == NULL) {
        cli_scene_close(&scene);
        return fl_err_errno(err, -ENOMEM, "the namespaces");
    }
    *ret_scene = scene;
    return 0;
}

int cli_scene_open_text(struct fl_span config, const char *name, struct cli_scene *ret_scene, struct fl_err *err)
{
    struct webhook_config *parsed = NULL;
    int result = webhook_config_parse(config, name, &parsed, err);
    return result < 0 ? result : open_scene(parsed, ret_scene, err);
}

int cli_scene_open(const char *config_file, struct cli_scene *ret_scene, struct fl_err *err)
{
    struct webhook_config *config = NULL;
    struct fl_buf text;
    if (config_file == NULL) {
        int result = webhook_config_default(&config);
        return result < 0 ? fl_err_errno(err, result, "the configuration") : open_scene(config, ret_scene, err);
    }
    fl_buf_init(&text, WEBHOOK_CONFIG_MAX);
    int result = fl_buf_read_file(&text, config_file);
    if (result < 0)
        (void)fl_err_errno(err, result, "%s", config_file);
    else
        result = cli_scene_open_text(fl_buf_span(&text), config_file, ret_scene, err);
    fl_buf_done(&text);
    return result;
}

void cli_scene_close(struct cli_scene *scene)
{
    webhook_namespaces_free(scene->namespaces);
    webhook_config_free(scene->config);
    fl_json_free(scene->list);
    *scene = (struct cli_scene){0};
}

static struct fl_json *metadata_of(struct fl_json *name_space)
{
    return fl_json_get(name_space, "metadata");
}

static struct fl_json *find(const struct cli_scene *scene, struct fl_span name, size_t *ret_index)
{
    *ret_index = 0;
    for (struct fl_json *item = fl_json_first(scene->list); item != NULL; item = fl_json_next(item), (*ret_index)++)
        if (fl_span_eq(fl_json_string(fl_json_get(metadata_of(item), "name")), name))
            return item;
    return NULL;
}

int cli_scene_add(struct cli_scene *scene, const struct fl_json *name_space)
{
    size_t index;
    struct fl_span name = fl_json_string(fl_json_get(fl_json_get(name_space, "metadata"), "name"));
    int result = find(scene, name, &index) != NULL ? fl_json_remove_at(scene->list, index) : 0;
    return result < 0 ? result : fl_json_append(scene->list, fl_json_copy(name_space));
}

int cli_scene_need(struct cli_scene *scene, struct fl_span name)
{
    size_t index;
    if (find(scene, name, &index) != NULL)
        return 0;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = fl_json_new_object();
    FL_CLEANUP(fl_cleanup_json) struct fl_json *metadata = fl_json_new_object();
    if (object == NULL || metadata == NULL)
        return -ENOMEM;
    int result = fl_json_set(metadata, "name", fl_json_new_string(name));
    if (result == 0)
        result = fl_json_set(object, "apiVersion", fl_json_new_string(FL_SPAN("v1")));
    if (result == 0)
        result = fl_json_set(object, "kind", fl_json_new_string(FL_SPAN("Namespace")));
    if (result == 0)
        result = fl_json_set(object, "metadata", fl_take(metadata));
    return result < 0 ? result : fl_json_append(scene->list, fl_take(object));
}

static int label(struct fl_json *name_space, enum cli_labelled labelled)
{
    struct fl_json *metadata = metadata_of(name_space);
    struct fl_json *labels = fl_json_get(metadata, "labels");
    if (labelled == CLI_LABELLED_AS_IT_IS || metadata == NULL)
        return 0;
    if (labelled == CLI_LABELLED_WHERE_UNSAID && fl_json_get(labels, FL_LABEL_INJECT) != NULL)
        return 0;
    if (!fl_json_is(labels, FL_JSON_OBJECT)) {
        int result = fl_json_set(metadata, "labels", fl_json_new_object());
        if (result < 0)
            return result;
        labels = fl_json_get(metadata, "labels");
    }
    return fl_json_set(labels, FL_LABEL_INJECT, fl_json_new_string(FL_SPAN(FL_INJECT_ENABLED)));
}

int cli_scene_set(struct cli_scene *scene, enum cli_labelled labelled, struct fl_err *err)
{
    struct fl_buf text;
    fl_buf_init(&text, LIST_MAX);
    int result = 0;
    for (struct fl_json *item = fl_json_first(scene->list); item != NULL && result == 0; item = fl_json_next(item))
        result = label(item, labelled);
    if (result == 0)
        result = fl_buf_append_str(&text, "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":");
    if (result == 0)
        result = fl_json_print(scene->list, &text);
    if (result == 0)
        result = fl_buf_append_byte(&text, '}');
    if (result < 0)
        (void)fl_err_errno(err, result, "the namespaces");
    else
        result = webhook_namespaces_parse(fl_buf_span(&text), "namespaces", &scene->namespaces, err);
    fl_buf_done(&text);
    return result;
}

struct webhook_context cli_scene_context(const struct cli_scene *scene)
{
    return (struct webhook_context){.config = scene->config, .namespaces = scene->namespaces};
}
