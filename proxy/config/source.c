/* DataSources: files, inline values, environment variables. A file is noted with what stat says about it, so that a
 * later change is seen (config/watch.h). */
#include "proxy/config/context.h"

#include <errno.h>
#include <fcntl.h>

struct fl_span compile_source_name(const pb_data_source *source)
{
    switch ((int)source->specifier_case) {
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_FILENAME:
        return fl_span_str(source->filename);
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_ENVIRONMENT_VARIABLE:
        return fl_span_str(source->environment_variable);
    default:
        return FL_SPAN("inline");
    }
}

/* Noted before it is read: a change meanwhile is then seen as one. */
static int note_file(struct compile *compile, const char *path, const struct stat *status)
{
    if (fl_map_get(&compile->files, fl_span_str(path)) != NULL)
        return 0;
    struct proxy_watched_file *file = fl_arena_alloc(&compile->scratch, sizeof(*file));
    if (file != NULL)
        file->path = fl_arena_copy(&compile->scratch, fl_span_str(path));
    if (file == NULL || file->path.data == NULL)
        return compile_no_memory(compile);
    file->status = *status;
    return fl_map_put(&compile->files, file->path, file) == 0 ? 0 : compile_no_memory(compile);
}

static int read_file(struct compile *compile, const char *path, size_t max, struct fl_span *ret_bytes)
{
    struct stat status = {0};
    FL_CLEANUP(fl_cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && fstat(fd, &status) == 0 && !S_ISREG(status.st_mode))
        return compile_fail(compile, "%s is not a regular file", path);
    int result = fd < 0 ? -errno : 0;
    int noted = note_file(compile, path, &status);
    if (noted != 0)
        return noted;
    struct fl_buf buf;
    fl_buf_init(&buf, max);
    if (result == 0)
        result = fl_buf_read_fd(&buf, fd);
    if (result == 0) {
        *ret_bytes = fl_arena_copy(&compile->scratch, fl_buf_span(&buf));
        if (ret_bytes->data == NULL)
            result = -ENOMEM;
    }
    if (buf.data != NULL)
        explicit_bzero(buf.data, buf.cap);
    fl_buf_done(&buf);
    if (result == -ENOMEM)
        return compile_no_memory(compile);
    if (result == -EMSGSIZE)
        return compile_fail(compile, "%s is larger than %zu bytes", path, max);
    if (result != 0) {
        fl_err_errno(compile->err, result, "cannot read %s", path);
        return compile_prefix(compile, result);
    }
    return 0;
}

int compile_source(struct compile *compile, const pb_data_source *source, size_t max, struct fl_span *ret_bytes)
{
    const char *text;
    bool outside = source->specifier_case == ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_FILENAME ||
                   source->specifier_case == ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_ENVIRONMENT_VARIABLE;
    if (outside && !compile->local)
        return compile_fail(compile, "only the bootstrap may name files and variables");
    compile->reads_files |= outside;
    switch ((int)source->specifier_case) {
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_FILENAME:
        return source->filename[0] != '\0' ? read_file(compile, source->filename, max, ret_bytes)
                                           : compile_fail_at(compile, "filename", "must not be empty");
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES:
        *ret_bytes = fl_span_make(source->inline_bytes.data, source->inline_bytes.len);
        break;
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_STRING:
        *ret_bytes = fl_span_str(source->inline_string);
        break;
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_ENVIRONMENT_VARIABLE:
        text = getenv(source->environment_variable);
        if (text == NULL)
            return compile_fail_at(compile, "environment_variable", "%s is not set", source->environment_variable);
        *ret_bytes = fl_span_str(text);
        break;
    default:
        return compile_fail(compile, "filename, inline_bytes, inline_string or environment_variable must be set");
    }
    return ret_bytes->len <= max ? 0 : compile_fail(compile, "is larger than %zu bytes", max);
}
