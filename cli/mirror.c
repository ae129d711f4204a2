#include "cli/mirror.h"

#include "common/kube/object.h"
#include "control/model/reader.h"
#include "control/source/trim.h"

#include <errno.h>
#include <stdio.h>

#define PATH_ROOM 1024

static const char *const versions[] = {
#define X(constant, name, group, kind_versions, namespaced) [CONTROL_##constant] = kind_versions,
    CONTROL_KINDS(X)
#undef X
};

int cli_mirror_open(const char *command, struct cli_cluster *cluster, const char *mesh, struct cli_mirror *ret_mirror,
                    struct fl_err *err)
{
    struct cli_mirror mirror = {.command = command, .cluster = cluster};
    int result = control_store_new(&mirror.store);
    if (result < 0)
        return fl_err_errno(err, result, "the model");
    control_store_set_root(mirror.store, fl_span_str(mesh));
    *ret_mirror = mirror;
    return 0;
}

void cli_mirror_close(struct cli_mirror *mirror)
{
    mirror->store = control_store_free(mirror->store);
}

/* --- where a kind is -------------------------------------------------------------------------------------------- */

static int print_path(enum control_kind kind, const char *api_version, struct fl_span name_space, struct fl_span name,
                      struct fl_buf *path)
{
    int result = fl_buf_printf(path, "%s/%s/", control_kind_group(kind)[0] != '\0' ? "/apis" : "/api", api_version);
    if (result == 0 && name_space.len > 0) {
        result = fl_buf_append_str(path, "namespaces/");
        if (result == 0)
            result = fl_kube_escape(path, name_space);
        if (result == 0)
            result = fl_buf_append_byte(path, '/');
    }
    if (result == 0)
        result = fl_kube_plural(control_kind_name(kind), path);
    if (result == 0 && name.len > 0) {
        result = fl_buf_append_byte(path, '/');
        if (result == 0)
            result = fl_kube_escape(path, name);
    }
    return result;
}

/* In the first of its versions that the API server knows. */
static int fetch(struct cli_mirror *mirror, enum control_kind kind, struct fl_span name_space, struct fl_span name,
                 char *api_version, size_t size, struct fl_json **ret_json, struct fl_err *err)
{
    const char *group = control_kind_group(kind);
    struct fl_span rest = fl_span_str(versions[kind]), version;
    int result = -ENOENT;
    while (result == -ENOENT && fl_span_split(&rest, ' ', &version)) {
        struct fl_buf path;
        (void)snprintf(api_version, size, "%s%s%.*s", group, group[0] != '\0' ? "/" : "", FL_SPAN_ARG(version));
        fl_buf_init(&path, PATH_ROOM);
        result = print_path(kind, api_version, name_space, name, &path);
        const char *text = result == 0 ? fl_buf_str(&path) : NULL;
        result = text != NULL ? cli_cluster_get(mirror->cluster, text, ret_json, err)
                              : fl_err_errno(err, result < 0 ? result : -ENOMEM, "the path");
        fl_buf_done(&path);
    }
    return result;
}

/* --- into the store --------------------------------------------------------------------------------------------- */

static int put(struct cli_mirror *mirror, enum control_kind kind, const char *api_version, const struct fl_json *object)
{
    static const struct control_origin origin;
    struct control_object *read = NULL;
    struct control_identity identity;
    struct fl_err err = {0};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *document = control_trim(kind, api_version, object);
    if (document == NULL)
        return -ENOMEM;
    int result = control_object_read(document, NULL, &origin, control_model_root(control_store_model(mirror->store)),
                                     &read, &identity, &err);
    if (result == CONTROL_READ_FOREIGN)
        return 0;
    if (result < 0) {
        fprintf(stderr, "fairlead %s: left out: %s %.*s/%.*s: %s\n", mirror->command, control_kind_name(kind),
                FL_SPAN_ARG(identity.key.name_space), FL_SPAN_ARG(identity.key.name), err.text);
        return result == -ENOMEM ? result : 0;
    }
    result = control_store_put(mirror->store, read);
    control_object_unref(read);
    return result;
}

int cli_mirror_list(struct cli_mirror *mirror, enum control_kind kind, const char *name_space, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *list = NULL;
    char api_version[96];
    int result = fetch(mirror, kind, fl_span_str(name_space), (struct fl_span){NULL, 0}, api_version,
                       sizeof(api_version), &list, err);
    if (result == -ENOENT) /* the kind is not installed */
        return 0;
    if (result < 0)
        return result;
    for (const struct fl_json *item = fl_json_first(fl_json_get(list, "items")); item != NULL && result == 0;
         item = fl_json_next(item))
        result = put(mirror, kind, api_version, item);
    return result < 0 ? fl_err_errno(err, result, "the model") : 0;
}

int cli_mirror_get(struct cli_mirror *mirror, enum control_kind kind, struct fl_span name_space, struct fl_span name,
                   struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = NULL;
    char api_version[96];
    int result = fetch(mirror, kind, name_space, name, api_version, sizeof(api_version), &object, err);
    if (result == 0 && (result = put(mirror, kind, api_version, object)) < 0)
        (void)fl_err_errno(err, result, "the model");
    return result;
}

int cli_mirror_commit(struct cli_mirror *mirror, struct fl_err *err)
{
    struct control_diff *diff = NULL;
    int result = control_store_commit(mirror->store, &diff);
    control_diff_free(diff);
    return result < 0 ? fl_err_errno(err, result, "the model") : 0;
}
