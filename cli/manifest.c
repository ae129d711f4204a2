#include "cli/manifest.h"

#include "common/base/cleanup.h"
#include "common/doc/yaml.h"
#include "common/doc/yaml_print.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUTPUT_MAX (256u << 20)

static const struct fl_json_limits limits = {.bytes_max = CLI_MANIFEST_BYTES, .values_max = 8u << 20};

struct reading {
    struct cli_manifests manifests;
    size_t room, files;
    bool recursive, input; /* input: it was read */
    struct fl_err *err;
};

static void cleanup_reading(struct reading *reading)
{
    cli_manifests_done(&reading->manifests);
}

void cli_manifests_done(struct cli_manifests *manifests)
{
    for (size_t i = 0; i < manifests->count; i++) {
        free(manifests->items[i].file);
        fl_json_free(manifests->items[i].root);
    }
    free(manifests->items);
    *manifests = (struct cli_manifests){0};
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static int keep(struct reading *reading, const char *file, const struct fl_json *document)
{
    struct cli_manifests *manifests = &reading->manifests;
    if (manifests->count == CLI_MANIFEST_OBJECTS)
        return fl_err_set(reading->err, -EMSGSIZE, "%s: more than %d documents", file, CLI_MANIFEST_OBJECTS);
    if (manifests->count == reading->room) {
        size_t room = reading->room == 0 ? 16 : reading->room * 2;
        struct cli_manifest *items = realloc(manifests->items, room * sizeof(*items));
        if (items == NULL)
            return fl_err_errno(reading->err, -ENOMEM, "%s", file);
        manifests->items = items;
        reading->room = room;
    }
    struct cli_manifest *item = &manifests->items[manifests->count++];
    *item = (struct cli_manifest){.file = strdup(file), .root = fl_json_copy(document)};
    return item->file == NULL || item->root == NULL ? fl_err_errno(reading->err, -ENOMEM, "%s", file) : 0;
}

/* What every object of Kubernetes has. */
static int check(struct reading *reading, const struct fl_yaml *yaml, const char *file, const struct fl_json *document)
{
    const char *missing = fl_json_string(fl_json_get(document, "apiVersion")).len == 0 ? "apiVersion"
                          : fl_json_string(fl_json_get(document, "kind")).len == 0     ? "kind"
                                                                                       : NULL;
    if (fl_json_is(document, FL_JSON_OBJECT) && missing == NULL)
        return 0;
    struct fl_position at = fl_positions_find(fl_yaml_positions(yaml), document);
    if (!fl_json_is(document, FL_JSON_OBJECT))
        return fl_err_set(reading->err, -EINVAL, "%s:%u:%u: expected a Kubernetes object, got %s", file, at.line,
                          at.column, fl_json_kind_name(fl_json_kind(document)));
    return fl_err_set(reading->err, -EINVAL, "%s:%u:%u: a Kubernetes object needs a %s, and this has none", file,
                      at.line, at.column, missing);
}

static int take(struct reading *reading, const char *file, const struct fl_yaml *yaml)
{
    int result = 0;
    for (size_t i = 0; i < fl_yaml_count(yaml) && result == 0; i++) {
        const struct fl_json *document = fl_yaml_document(yaml, i);
        if (fl_json_is(document, FL_JSON_NULL)) /* "---" with nothing but comments */
            continue;
        result = check(reading, yaml, file, document);
        if (result == 0)
            result = keep(reading, file, document);
    }
    return result;
}

static int read_input(struct reading *reading)
{
    static const char name[] = "standard input";
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    struct fl_buf text;
    if (reading->input)
        return fl_err_set(reading->err, -EINVAL, "- (standard input) can be read once");
    reading->input = true;
    fl_buf_init(&text, CLI_MANIFEST_BYTES);
    int result = fl_buf_read_fd(&text, STDIN_FILENO);
    if (result < 0)
        (void)fl_err_errno(reading->err, result, "%s", name);
    else
        result = fl_yaml_parse(fl_buf_span(&text), name, &limits, &yaml, reading->err);
    fl_buf_done(&text);
    return result < 0 ? result : take(reading, name, yaml);
}

static int read_file(struct reading *reading, const char *path)
{
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    if (reading->files++ == CLI_MANIFEST_FILES)
        return fl_err_set(reading->err, -EMSGSIZE, "%s: more than %d files", path, CLI_MANIFEST_FILES);
    int result = fl_yaml_load(path, &limits, &yaml, reading->err);
    return result < 0 ? result : take(reading, path, yaml);
}

static int is_manifest(const struct dirent *entry)
{
    struct fl_span name = fl_span_str(entry->d_name);
    return fl_span_ends_with(name, FL_SPAN(".yaml")) || fl_span_ends_with(name, FL_SPAN(".yml")) ||
           fl_span_ends_with(name, FL_SPAN(".json"));
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int read_path(struct reading *reading, const char *path, unsigned depth, bool named);

/* Entries in the order of their names, so that the output does not depend on the file system. */
static int read_folder(struct reading *reading, const char *folder, unsigned depth)
{
    struct dirent **entries;
    if (depth == CLI_MANIFEST_DEPTH)
        return fl_err_set(reading->err, -ELOOP, "%s: more than %d folders deep", folder, CLI_MANIFEST_DEPTH);
    int count = scandir(folder, &entries, is_visible, alphasort);
    if (count < 0)
        return fl_err_errno(reading->err, -errno, "%s", folder);
    int result = 0;
    for (int i = 0; i < count; i++) {
        struct fl_buf path;
        fl_buf_init(&path, 4096);
        if (result == 0)
            result = fl_buf_printf(&path, "%s/%s", folder, entries[i]->d_name);
        const char *text = result == 0 ? fl_buf_str(&path) : NULL;
        struct stat status;
        if (result == 0 && text == NULL)
            result = -ENOMEM;
        if (result < 0)
            (void)fl_err_errno(reading->err, result, "%s", folder);
        else if (is_manifest(entries[i]) || (reading->recursive && stat(text, &status) == 0 && S_ISDIR(status.st_mode)))
            result = read_path(reading, text, depth + 1, false);
        fl_buf_done(&path);
        free(entries[i]);
    }
    free(entries);
    return result;
}

/* `named`: on the command line, where a folder is meant to be read. */
static int read_path(struct reading *reading, const char *path, unsigned depth, bool named)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return fl_err_errno(reading->err, -errno, "%s", path);
    if (!S_ISDIR(status.st_mode))
        return read_file(reading, path);
    return named || reading->recursive ? read_folder(reading, path, depth) : 0;
}

int cli_manifests_read(char *const *paths, size_t count, bool recursive, struct cli_manifests *ret_manifests,
                       struct fl_err *err)
{
    FL_CLEANUP(cleanup_reading) struct reading reading = {.recursive = recursive, .err = err};
    for (size_t i = 0; i < count; i++) {
        int result = strcmp(paths[i], "-") == 0 ? read_input(&reading) : read_path(&reading, paths[i], 0, true);
        if (result < 0)
            return result;
    }
    if (reading.manifests.count == 0)
        return fl_err_set(err, -EINVAL, "there is no Kubernetes object in %s%s", paths[0], count > 1 ? " …" : "");
    *ret_manifests = reading.manifests;
    reading.manifests = (struct cli_manifests){0};
    return 0;
}

/* --- going through, printing ------------------------------------------------------------------------------------ */

static struct fl_json *items_of(const struct fl_json *root)
{
    struct fl_json *items = fl_json_get(root, "items");
    struct fl_span kind = fl_json_string(fl_json_get(root, "kind"));
    return fl_span_ends_with(kind, FL_SPAN("List")) && fl_json_is(items, FL_JSON_ARRAY) ? items : NULL;
}

/* As deep as documents may be. */
static int visit_object(const char *file, struct fl_json *object, cli_visit visit, void *context)
{
    struct fl_json *items = items_of(object);
    int result = items == NULL ? visit(context, file, object) : 0;
    for (struct fl_json *item = fl_json_first(items); item != NULL && result == 0; item = fl_json_next(item))
        result = visit_object(file, item, visit, context);
    return result;
}

int cli_manifests_visit(const struct cli_manifests *manifests, cli_visit visit, void *context)
{
    int result = 0;
    for (size_t i = 0; i < manifests->count && result == 0; i++)
        result = visit_object(manifests->items[i].file, manifests->items[i].root, visit, context);
    return result;
}

static int print_list(const struct cli_manifests *manifests, struct fl_buf *out)
{
    int result = fl_buf_append_str(out, "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[");
    for (size_t i = 0; i < manifests->count && result == 0; i++) {
        if (i > 0)
            result = fl_buf_append_byte(out, ',');
        if (result == 0)
            result = fl_json_print(manifests->items[i].root, out);
    }
    return result < 0 ? result : fl_buf_append_str(out, "]}\n");
}

int cli_manifests_print(const struct cli_manifests *manifests, bool json, struct fl_buf *out)
{
    int result = 0;
    if (json && manifests->count == 1) {
        result = fl_json_print(manifests->items[0].root, out);
        return result < 0 ? result : fl_buf_append_byte(out, '\n');
    }
    if (json)
        return print_list(manifests, out);
    for (size_t i = 0; i < manifests->count && result == 0; i++) {
        if (i > 0)
            result = fl_buf_append_str(out, "---\n");
        if (result == 0)
            result = fl_yaml_print(manifests->items[i].root, out);
    }
    return result;
}

int cli_manifests_write(const struct cli_manifests *manifests, bool json, struct fl_err *err)
{
    struct fl_buf out;
    fl_buf_init(&out, OUTPUT_MAX);
    int result = cli_manifests_print(manifests, json, &out);
    if (result < 0)
        (void)fl_err_errno(err, result, "the output");
    else if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
        result = fl_err_set(err, -EIO, "the output could not be written: %s", strerror(errno));
    fl_buf_done(&out);
    return result;
}
