/* Access loggers: a file (stdout and stderr among them) and a format. */
#include "proxy/config/context.h"

#include "common/doc/number.h"
#include "proxy/telemetry/accesslog.h"

#include <math.h>

#define FIELDS_MAX 128          /* of a json_format */
#define SOURCE_MAX (64u * 1024) /* of a text_format_source */

static void release_format(void *format)
{
    proxy_log_format_free(format);
}

static int hold_format(struct compile *compile, struct proxy_log_format *format, struct proxy_access_log *log)
{
    int result = compile_hold(compile, format, release_format);
    if (result != 0)
        return result;
    log->format = format;
    return 0;
}

/* At its field. */
static int read_text(struct compile *compile, struct fl_span text, struct proxy_access_log *log)
{
    if (text.len == 0)
        return 0; /* Envoy: the default format */
    struct proxy_log_format *format;
    int result = proxy_log_format_text(text, &format, compile->err);
    return result == 0 ? hold_format(compile, format, log) : compile_prefix(compile, result);
}

static int text_format(struct compile *compile, const char *field, const char *text, struct proxy_access_log *log)
{
    struct compile_mark mark = compile_enter(compile, field);
    int result = read_text(compile, fl_span_str(text), log);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int format_source(struct compile *compile, const pb_data_source *source, struct proxy_access_log *log)
{
    struct compile_mark mark = compile_enter(compile, "text_format_source");
    struct fl_span text;
    int result = compile_source(compile, source, SOURCE_MAX, &text);
    if (result == 0)
        result = read_text(compile, text, log);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int field_text(struct compile *compile, const pb_value *value, struct fl_span *ret_text)
{
    char text[FL_NUMBER_PRINT_MAX];
    switch (value != NULL ? (int)value->kind_case : 0) {
    case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
        *ret_text = fl_span_str(value->string_value);
        return 0;
    case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE:
        *ret_text = fl_span_str(value->bool_value ? "true" : "false");
        return 0;
    case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
        if (!isfinite(value->number_value))
            return compile_fail(compile, "expected a finite number");
        fl_number_print(value->number_value, text);
        *ret_text = fl_arena_copy(&compile->scratch, fl_span_str(text));
        return ret_text->data != NULL ? 0 : compile_no_memory(compile);
    default:
        return compile_fail(compile, "expected a string; objects and lists are not supported here");
    }
}

static int json_format(struct compile *compile, const char *field, const pb_struct *object,
                       struct proxy_access_log *log)
{
    struct proxy_log_json_field fields[FIELDS_MAX];
    if (object->n_fields > FIELDS_MAX)
        return compile_fail_at(compile, field, "more than %d members", FIELDS_MAX);
    for (size_t i = 0; i < object->n_fields; i++) {
        fields[i].key = fl_span_str(object->fields[i]->key);
        struct compile_mark mark = compile_enter_key(compile, field, fields[i].key);
        int result = field_text(compile, object->fields[i]->value, &fields[i].text);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    struct compile_mark mark = compile_enter(compile, field);
    struct proxy_log_format *format;
    int result = proxy_log_format_json(fields, object->n_fields, &format, compile->err);
    if (result != 0)
        return compile_prefix(compile, result);
    compile_leave(compile, mark);
    return hold_format(compile, format, log);
}

static int log_format(struct compile *compile, const pb_log_format *message, struct proxy_access_log *log)
{
    struct compile_mark mark = compile_enter(compile, "log_format");
    int result = 0;
    switch ((int)message->format_case) {
    case ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_TEXT_FORMAT:
        result = text_format(compile, "text_format", message->text_format, log);
        break;
    case ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_TEXT_FORMAT_SOURCE:
        result = format_source(compile, message->text_format_source, log);
        break;
    case ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_JSON_FORMAT:
        result = json_format(compile, "json_format", message->json_format, log);
        break;
    default: /* the default format */
        break;
    }
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int file_log(struct compile *compile, const pb_log_file *message, struct proxy_access_log *log)
{
    int result = compile_required(compile, "path", message->path);
    if (result == 0)
        result = compile_text(compile, message->path, &log->path);
    if (result != 0)
        return result;
    switch ((int)message->access_log_format_case) {
    case ENVOY__EXTENSIONS__ACCESS_LOGGERS__FILE__V3__FILE_ACCESS_LOG__ACCESS_LOG_FORMAT_FORMAT:
        return text_format(compile, "format", message->format, log);
    case ENVOY__EXTENSIONS__ACCESS_LOGGERS__FILE__V3__FILE_ACCESS_LOG__ACCESS_LOG_FORMAT_JSON_FORMAT:
        return json_format(compile, "json_format", message->json_format, log);
    case ENVOY__EXTENSIONS__ACCESS_LOGGERS__FILE__V3__FILE_ACCESS_LOG__ACCESS_LOG_FORMAT_TYPED_JSON_FORMAT:
        return json_format(compile, "typed_json_format", message->typed_json_format, log);
    case ENVOY__EXTENSIONS__ACCESS_LOGGERS__FILE__V3__FILE_ACCESS_LOG__ACCESS_LOG_FORMAT_LOG_FORMAT:
        return log_format(compile, message->log_format, log);
    default:
        return 0;
    }
}

static int stream_log(struct compile *compile, const char *path, const pb_log_format *format,
                      struct proxy_access_log *log)
{
    int result = compile_text(compile, path, &log->path);
    return result == 0 && format != NULL ? log_format(compile, format, log) : result;
}

static int read_log(struct compile *compile, const pb_access_log *message, struct proxy_access_log *log)
{
    if (message->config_type_case != ENVOY__CONFIG__ACCESSLOG__V3__ACCESS_LOG__CONFIG_TYPE_TYPED_CONFIG)
        return compile_fail_at(compile, "typed_config", "must be set");
    compile_enter(compile, "typed_config");
    ProtobufCMessage *unpacked;
    int result = compile_unpack(compile, message->typed_config, NULL, &unpacked);
    if (result != 0)
        return result;
    if (unpacked->descriptor == &envoy__extensions__access_loggers__file__v3__file_access_log__descriptor)
        return file_log(compile, (const pb_log_file *)unpacked, log);
    /* The one member of their oneof: NULL where it is not set. */
    if (unpacked->descriptor == &envoy__extensions__access_loggers__stream__v3__stdout_access_log__descriptor)
        return stream_log(compile, "/dev/stdout", ((const pb_log_stdout *)unpacked)->log_format, log);
    if (unpacked->descriptor == &envoy__extensions__access_loggers__stream__v3__stderr_access_log__descriptor)
        return stream_log(compile, "/dev/stderr", ((const pb_log_stderr *)unpacked)->log_format, log);
    return compile_fail(compile, "%s is not an access logger", message->typed_config->type_url);
}

int compile_access_logs(struct compile *compile, pb_access_log *const *messages, size_t count,
                        const struct proxy_access_log **ret_logs)
{
    struct proxy_access_log *logs = compile_array(compile, count, sizeof(*logs));
    if (logs == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < count; i++) {
        struct compile_mark mark = compile_enter_at(compile, "access_log", i);
        int result = read_log(compile, messages[i], &logs[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    *ret_logs = logs;
    return 0;
}
