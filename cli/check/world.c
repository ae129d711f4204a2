#include "cli/check/world.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define PATH_MAX_BYTES 1024

static const struct {
    const char *word, *path;
} documents[] = {
#define X(id, word, path) {word, path},
    CLI_DOCUMENTS(X)
#undef X
};

const char *cli_document_word(enum cli_document document)
{
    return documents[document].word;
}

static int append(struct fl_buf *out, const char *lead, const char *name)
{
    int result = fl_buf_append_str(out, lead);
    return result < 0 ? result : fl_kube_escape(out, fl_span_str(name));
}

int cli_document_path(const struct cli_world *world, enum cli_document document, struct fl_buf *out)
{
    struct fl_span rest = fl_span_str(documents[document].path), part;
    int result = 0;
    for (bool place = false; result == 0 && fl_span_split(&rest, '@', &part); place = !place) {
        if (!place)
            result = fl_buf_append(out, part);
        else if (fl_span_eq_str(part, "MESH"))
            result = fl_kube_escape(out, fl_span_str(world->mesh));
        else if (fl_span_eq_str(part, "REV"))
            result = strcmp(world->revision, "default") == 0 ? 0 : append(out, "-", world->revision);
        else if (world->name_space != NULL)
            result = append(out, "/namespaces/", world->name_space);
    }
    return result;
}

static void read_one(struct cli_world *world, struct cli_cluster *cluster, enum cli_document document)
{
    struct fl_err err = {0};
    struct fl_buf path;
    fl_buf_init(&path, PATH_MAX_BYTES);
    int result = cli_document_path(world, document, &path);
    const char *text = result == 0 ? fl_buf_str(&path) : NULL;
    if (text == NULL)
        result = fl_err_errno(&err, result < 0 ? result : -ENOMEM, "the path");
    else
        result = cli_cluster_get(cluster, text, &world->documents[document], &err);
    fl_buf_done(&path);
    if (result == 0)
        return;
    world->missing[document].result = result;
    (void)snprintf(world->missing[document].text, sizeof(world->missing[document].text), "%s", err.text);
}

void cli_world_read(struct cli_world *world, struct cli_cluster *cluster, enum cli_document first,
                    enum cli_document last)
{
    for (enum cli_document document = first; document <= last; document++) {
        read_one(world, cluster, document);
        if (world->now == 0 && world->documents[document] != NULL) {
            world->now = time(NULL);
            world->server = fl_kube_client_date(cluster->client);
        }
    }
    if (world->now == 0)
        world->now = time(NULL);
}

void cli_world_done(struct cli_world *world)
{
    for (size_t i = 0; i < CLI_DOCUMENT_COUNT; i++)
        world->documents[i] = fl_json_free(world->documents[i]);
}

const struct fl_json *cli_world_first(const struct cli_world *world, enum cli_document document)
{
    return fl_json_first(fl_json_get(world->documents[document], "items"));
}

struct fl_span cli_object_name(const struct fl_json *object)
{
    return fl_json_string(fl_json_get(fl_json_get(object, "metadata"), "name"));
}

struct fl_span cli_object_space(const struct fl_json *object)
{
    return fl_json_string(fl_json_get(fl_json_get(object, "metadata"), "namespace"));
}

struct fl_span cli_object_label(const struct fl_json *object, const char *key)
{
    return fl_json_string(fl_json_get(fl_json_get(fl_json_get(object, "metadata"), "labels"), key));
}

struct fl_span cli_object_annotation(const struct fl_json *object, const char *key)
{
    return fl_json_string(fl_json_get(fl_json_get(fl_json_get(object, "metadata"), "annotations"), key));
}

const struct fl_json *cli_world_find(const struct cli_world *world, enum cli_document document, const char *name)
{
    const struct fl_json *item = cli_world_first(world, document);
    while (item != NULL && !fl_span_eq_str(cli_object_name(item), name))
        item = fl_json_next(item);
    return item;
}

const struct fl_json *cli_object_at(const struct fl_json *object, const char *path)
{
    struct fl_span rest = fl_span_str(path), name;
    while (object != NULL && fl_span_split(&rest, '.', &name))
        object = fl_json_get_span(object, name);
    return object;
}
