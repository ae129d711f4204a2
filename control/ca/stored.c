#include "control/ca/stored.h"

#include "common/base/base64.h"
#include "common/base/print.h"
#include "common/doc/json.h"
#include "common/kube/object.h"
#include "common/pki/cert.h"

#include <errno.h>

static const struct fl_json_limits limits = {.bytes_max = CONTROL_STORED_ANSWER_MAX};

const char *control_stored_name(size_t file)
{
    return file < CONTROL_ROOTS_MAX ? control_root_files[file] : control_given_files[file - CONTROL_ROOTS_MAX];
}

void control_stored_done(struct control_stored *stored)
{
    for (size_t i = 0; i < CONTROL_STORED_FILES; i++)
        fl_buf_wipe(&stored->files[i]);
    *stored = (struct control_stored){.there = false};
}

static int read_file(const struct fl_json *data, size_t file, struct fl_buf *ret_bytes, struct fl_err *err)
{
    const char *name = control_stored_name(file);
    struct fl_span text = fl_json_string(fl_json_get(data, name));
    fl_buf_init(ret_bytes, CONTROL_STORED_FILE_MAX);
    if (text.len == 0)
        return 0;
    int result = fl_buf_reserve(ret_bytes, text.len / 4 * 3 < CONTROL_STORED_FILE_MAX ? text.len / 4 * 3 : 0);
    if (result == 0)
        result = fl_base64_decode(text, ret_bytes);
    if (result == -ENOMEM)
        return fl_err_set(err, result, "out of memory");
    return result < 0 ? fl_err_set(err, -EINVAL, "%s: expected base64, %d bytes at most", name, CONTROL_STORED_FILE_MAX)
                      : 0;
}

int control_stored_read(struct fl_span json, struct control_stored *ret_stored, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    struct control_stored stored = {.there = true};
    int result = fl_json_parse(json, &limits, &root, err);
    if (result < 0)
        return result == -ENOMEM ? result : -EINVAL;
    const struct fl_json *metadata = fl_json_get(root, "metadata");
    struct fl_span version = fl_json_string(fl_json_get(metadata, "resourceVersion"));
    if (!fl_span_eq_str(fl_json_string(fl_json_get(root, "kind")), "Secret") || version.len == 0 ||
        version.len >= sizeof(stored.version))
        return fl_err_set(err, -EINVAL, "the answer is not a Secret with a version");
    memcpy(stored.version, version.data, version.len);
    if (fl_time_parse(fl_json_string(fl_json_get(metadata, "creationTimestamp")), &stored.created) < 0)
        stored.created = 0;
    for (size_t i = 0; i < CONTROL_STORED_FILES && result == 0; i++)
        result = read_file(fl_json_get(root, "data"), i, &stored.files[i], err);
    if (result < 0)
        control_stored_done(&stored);
    else
        *ret_stored = stored;
    return result;
}

int control_stored_roots(const struct control_stored *stored, struct control_rotation_root roots[CONTROL_ROOTS_MAX + 1],
                         struct fl_err *err)
{
    memset(roots, 0, (CONTROL_ROOTS_MAX + 1) * sizeof(*roots));
    for (unsigned number = 1; number <= CONTROL_ROOTS_MAX; number++) {
        FL_CLEANUP(fl_cleanup_cert) struct fl_cert *cert = NULL;
        const struct fl_buf *file = &stored->files[number - 1];
        if (file->len == 0)
            continue;
        int result = fl_cert_parse(fl_buf_span(file), &cert, err);
        if (result < 0)
            return fl_err_prefix(err, "%s", control_stored_name(number - 1)), result;
        roots[number].there = true;
        fl_cert_validity(cert, &roots[number].from, &roots[number].to);
    }
    return 0;
}

static void print_file(struct fl_print *print, const struct fl_buf *file)
{
    if (file->len == 0) {
        fl_print(print, "null");
        return;
    }
    fl_print(print, "\"");
    if (print->result == 0)
        print->result = fl_base64_encode(fl_buf_span(file), print->out);
    fl_print(print, "\"");
}

int control_stored_print(const struct control_stored *stored, const char *name, const char *name_space,
                         unsigned changed, struct fl_buf *out)
{
    struct fl_print print = {.out = out};
    const char *comma = "";
    if (stored->there) {
        fl_print(&print, "{\"metadata\":{\"resourceVersion\":");
        fl_print_json(&print, fl_span_str(stored->version));
    } else {
        fl_print(&print, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"Opaque\",\"metadata\":{\"name\":");
        fl_print_json(&print, fl_span_str(name));
        fl_print(&print, ",\"namespace\":");
        fl_print_json(&print, fl_span_str(name_space));
        fl_print(&print, ",\"labels\":{\"app.kubernetes.io/managed-by\":\"fairlead-control\"}");
    }
    fl_print(&print, "},\"data\":{");
    for (size_t i = 0; i < CONTROL_STORED_FILES; i++) {
        if ((changed & 1u << i) == 0)
            continue;
        fl_print(&print, "%s\"%s\":", comma, control_stored_name(i));
        print_file(&print, &stored->files[i]);
        comma = ",";
    }
    fl_print(&print, "}}");
    return print.result;
}
