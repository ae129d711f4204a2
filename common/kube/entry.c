#include "common/kube/entry.h"

#include "common/base/base64.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

int fl_kube_refuse(const struct fl_kube_files *files, const struct fl_kube_entry *entry, const struct fl_json *value,
                   const char *format, ...)
{
    const struct fl_positions *positions = fl_yaml_positions(files->yaml[entry->file]);
    struct fl_position at = fl_positions_find(positions, value);
    struct fl_buf text;
    va_list arguments;
    fl_buf_init(&text, FL_ERR_TEXT_MAX);
    va_start(arguments, format);
    int result = fl_buf_vprintf(&text, format, arguments);
    va_end(arguments);
    result = result == -ENOMEM ? result : -EINVAL;
    fl_err_set(files->err, result, "%s:%u:%u: %.*s", files->names[entry->file], at.line, at.column,
               FL_SPAN_ARG(fl_buf_span(&text)));
    fl_buf_done(&text);
    return result;
}

int fl_kube_no_memory(const struct fl_kube_files *files, const struct fl_kube_entry *entry)
{
    return fl_err_errno(files->err, -ENOMEM, "%s", files->names[entry->file]);
}

int fl_kube_entry_text(const struct fl_kube_files *files, const struct fl_kube_entry *entry, const char *name,
                       struct fl_span *ret_text)
{
    const struct fl_json *value = fl_json_get(entry->value, name);
    *ret_text = fl_json_string(value);
    if (value == NULL || fl_json_is(value, FL_JSON_NULL) || fl_json_is(value, FL_JSON_STRING))
        return 0;
    return fl_kube_refuse(files, entry, value, "%s: expected a string, got %s", name,
                          fl_json_kind_name(fl_json_kind(value)));
}

int fl_kube_entry_copy(const struct fl_kube_files *files, const struct fl_kube_entry *entry, const char *name,
                       char **ret_copy)
{
    struct fl_span text;
    int result = fl_kube_entry_text(files, entry, name, &text);
    if (result < 0 || text.len == 0)
        return result;
    *ret_copy = fl_span_dup(text);
    return *ret_copy != NULL ? 0 : fl_kube_no_memory(files, entry);
}

char *fl_kube_path_from(const char *file, struct fl_span path)
{
    const char *slash = strrchr(file, '/');
    struct fl_buf joined;
    fl_buf_init(&joined, PATH_MAX);
    int result = path.data[0] != '/' && slash != NULL
                     ? fl_buf_printf(&joined, "%.*s/%.*s", (int)(slash - file), file, FL_SPAN_ARG(path))
                     : fl_buf_append(&joined, path);
    char *copy = result == 0 ? fl_span_dup(fl_buf_span(&joined)) : NULL;
    fl_buf_done(&joined);
    return copy;
}

int fl_kube_entry_material(const struct fl_kube_files *files, const struct fl_kube_entry *entry, const char *data_name,
                           const char *file_name, struct fl_kube_material *material)
{
    struct fl_span data, file;
    fl_buf_init(&material->pem, FL_KUBE_CREDENTIAL_MAX);
    int result = fl_kube_entry_text(files, entry, data_name, &data);
    if (result == 0)
        result = fl_kube_entry_text(files, entry, file_name, &file);
    if (result < 0)
        return result;
    if (data.len > 0) {
        result = fl_buf_reserve(&material->pem, data.len < FL_KUBE_CREDENTIAL_MAX ? data.len : 0);
        if (result == 0)
            result = fl_base64_decode(data, &material->pem);
        if (result == -ENOMEM)
            return fl_kube_no_memory(files, entry);
        return result == 0 ? 0
                           : fl_kube_refuse(files, entry, fl_json_get(entry->value, data_name), "%s: %s", data_name,
                                            result == -EINVAL ? "not base64" : "too long");
    }
    if (file.len > 0) {
        material->file = fl_kube_path_from(files->names[entry->file], file);
        if (material->file == NULL)
            return fl_kube_no_memory(files, entry);
    }
    return 0;
}

bool fl_kube_is_set(const struct fl_json *value)
{
    return value != NULL && !fl_json_is(value, FL_JSON_NULL) &&
           !(fl_json_is(value, FL_JSON_STRING) && fl_json_string(value).len == 0);
}
