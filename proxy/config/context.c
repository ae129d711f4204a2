#include "proxy/config/context.h"

#include "common/xds/convert.h"

#include "proxy/config/pki.h"
#include "proxy/config/setting.h"

#include <errno.h>
#include <stdio.h>

#define NAMES_MAX 65536 /* distinct files, certificates, TLS settings */

/* -- life -- */

void compile_init(struct compile *compile, const struct compile_options *options)
{
    *compile = (struct compile){.slots = options->slots, .err = options->err, .local = options->local};
    fl_arena_init(&compile->scratch, COMPILE_SCRATCH_MAX);
    fl_map_init(&compile->settings, NAMES_MAX);
    fl_map_init(&compile->pki, NAMES_MAX);
    fl_map_init(&compile->cores, NAMES_MAX);
    fl_map_init(&compile->files, NAMES_MAX);
    fl_map_init(&compile->certs, NAMES_MAX);
    fl_reader_init(&compile->reader, options->from.positions, options->err);
    compile->here = options->from.document;
    compile->lost = options->from.document == NULL;
    compile->report = options->from.report;
}

void compile_done(struct compile *compile)
{
    void *value;
    for (size_t cursor = 0; fl_map_next(&compile->settings, &cursor, NULL, &value);)
        proxy_tls_setting_unref(value);
    fl_map_done(&compile->settings);
    proxy_pki_cache_done(&compile->pki);
    fl_map_done(&compile->cores);
    fl_map_done(&compile->files);
    fl_map_done(&compile->certs);
    fl_arena_done(&compile->scratch);
}

void compile_begin(struct compile *compile, struct proxy_unit *unit)
{
    compile->unit = unit;
    compile->needs = NULL;
    compile->uses = NULL;
    compile->harmless = 0;
    compile->reads_files = false;
}

/* -- what the resource refers to -- */

int compile_need(struct compile *compile, enum fl_resource_type type, struct fl_span name,
                 enum proxy_want_source source)
{
    for (const struct compile_need *need = compile->needs; need != NULL; need = need->next)
        if (need->type == type && fl_span_eq(need->name, name))
            return 0;
    struct compile_need *need = fl_arena_alloc(&compile->scratch, sizeof(*need));
    struct fl_span copy = fl_arena_copy(&compile->scratch, name);
    if (need == NULL || copy.data == NULL)
        return compile_no_memory(compile);
    *need = (struct compile_need){.type = type, .source = source, .name = copy, .next = compile->needs};
    compile->needs = need;
    return 0;
}

int compile_config_source(struct compile *compile, const char *field,
                          const Envoy__Config__Core__V3__ConfigSource *message, enum proxy_want_source *ret_source)
{
    if (message == NULL)
        return compile_fail_at(compile, field, "must be set");
    switch ((int)message->config_source_specifier_case) {
    case ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_ADS:
    case ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_SELF:
        *ret_source = PROXY_WANT_ADS;
        return 0;
    case ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_API_CONFIG_SOURCE:
        *ret_source = PROXY_WANT_API;
        return 0;
    default:
        return compile_fail_at(compile, field, "expected ads, self or api_config_source");
    }
}

int compile_slot(struct compile *compile, enum proxy_slot_kind kind, struct fl_span name,
                 const struct proxy_slot **ret_slot)
{
    int result = proxy_slots_hold(compile->slots, kind, name, compile->unit, ret_slot);
    if (result == -ENOSPC) {
        compile_fail(compile, "more than %u names are in use", PROXY_SLOTS_MAX);
        return compile->err->code = result;
    }
    return result == 0 ? 0 : compile_no_memory(compile);
}

int compile_hold(struct compile *compile, void *object, void (*release)(void *object))
{
    return proxy_unit_hold(compile->unit, object, release) == 0 ? 0 : compile_no_memory(compile);
}

/* -- the place -- */

static void step(struct compile *compile, const struct fl_json *found)
{
    compile->lost = compile->lost || found == NULL;
    if (found != NULL && compile->here != NULL)
        compile->here = found;
}

struct compile_mark compile_enter(struct compile *compile, const char *field)
{
    struct compile_mark mark = {compile->reader.path_len, compile->here, compile->lost};
    fl_reader_enter(&compile->reader, fl_span_str(field));
    step(compile, compile->lost ? NULL : fl_xds_member(compile->here, field));
    return mark;
}

struct compile_mark compile_enter_at(struct compile *compile, const char *field, size_t index)
{
    struct compile_mark mark = compile_enter(compile, field);
    fl_reader_enter_at(&compile->reader, index);
    step(compile, compile->lost ? NULL : fl_json_at(compile->here, index));
    return mark;
}

struct compile_mark compile_enter_key(struct compile *compile, const char *field, struct fl_span key)
{
    struct compile_mark mark = compile_enter(compile, field);
    fl_reader_enter(&compile->reader, key);
    step(compile, compile->lost ? NULL : fl_json_get_span(compile->here, key));
    return mark;
}

void compile_leave(struct compile *compile, struct compile_mark mark)
{
    fl_reader_leave(&compile->reader, mark.path);
    compile->here = mark.here;
    compile->lost = mark.lost;
}

/* -- errors -- */

static int __attribute__((format(printf, 2, 0)))
fail_text(struct compile *compile, const char *format, va_list arguments)
{
    char text[FL_ERR_TEXT_MAX];
    vsnprintf(text, sizeof(text), format, arguments);
    return fl_reader_fail(&compile->reader, compile->here, "%s", text);
}

int compile_fail(struct compile *compile, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = fail_text(compile, format, arguments);
    va_end(arguments);
    return result;
}

int compile_fail_at(struct compile *compile, const char *field, const char *format, ...)
{
    compile_enter(compile, field);
    va_list arguments;
    va_start(arguments, format);
    int result = fail_text(compile, format, arguments);
    va_end(arguments);
    return result;
}

int compile_prefix(struct compile *compile, int result)
{
    char text[FL_ERR_TEXT_MAX];
    snprintf(text, sizeof(text), "%s", compile->err->text);
    fl_reader_fail(&compile->reader, compile->here, "%s", text);
    compile->err->code = result;
    return result;
}

int compile_no_memory(struct compile *compile)
{
    bool full =
        (compile->unit != NULL && fl_arena_full(&compile->unit->arena, 4096)) || fl_arena_full(&compile->scratch, 4096);
    compile_fail(compile, full ? "the configuration is larger than the limit" : "out of memory");
    compile->err->code = full ? -EMSGSIZE : -ENOMEM;
    return compile->err->code;
}

void compile_warn(struct compile *compile, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    fl_xds_ignore(compile->report, &compile->reader, compile->here, text);
}

/* -- fields that we do not serve -- */

static bool is_listed(const char *name, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

/* The first field that is set and that is (not) among the names; NULL: none. */
static const char *find_set(const ProtobufCMessage *message, const char *const *list, bool listed)
{
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (is_listed(field->name, list) == listed && fl_xds_is_set(message, field))
            return field->name;
    }
    return NULL;
}

int compile_only(struct compile *compile, const ProtobufCMessage *message, const char *const *supported)
{
    const char *field = find_set(message, supported, false);
    if (field == NULL)
        return 0;
    char names[256] = "";
    for (size_t i = 0, len = 0; supported[i] != NULL && len < sizeof(names); i++)
        len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i > 0 ? ", " : "", supported[i]);
    return compile_fail_at(compile, field, "%s is not supported (supported: %s)", field, names);
}

int compile_refuse(struct compile *compile, const ProtobufCMessage *message, const char *const *unsupported)
{
    const char *field = find_set(message, unsupported, true);
    return field != NULL ? compile_fail_at(compile, field, "%s is not supported", field) : 0;
}

/* -- messages inside messages -- */

struct fl_span compile_type_name(const pb_any *any)
{
    struct fl_span name = fl_span_str(any->type_url);
    for (size_t i = name.len; i > 0; i--)
        if (name.data[i - 1] == '/')
            return fl_span_from(name, i);
    return name;
}

int compile_unpack(struct compile *compile, const pb_any *any, const ProtobufCMessageDescriptor *type,
                   ProtobufCMessage **ret_message)
{
    const ProtobufCMessageDescriptor *found = fl_xds_type(fl_span_str(any->type_url));
    if (found == NULL || (type != NULL && found != type))
        return type != NULL ? compile_fail(compile, "expected the type %s, got %s", type->name, any->type_url)
                            : compile_fail(compile, "the type %s is not supported", any->type_url);
    int result = fl_xds_unpack(found, fl_span_make(any->value.data, any->value.len), &compile->scratch, compile->report,
                               ret_message, compile->err);
    return result == 0 ? 0 : compile_prefix(compile, result);
}

/* -- memory -- */

void *compile_array(struct compile *compile, size_t count, size_t size)
{
    return fl_arena_array(&compile->unit->arena, count, size);
}

int compile_span(struct compile *compile, struct fl_span text, struct fl_span *ret_text)
{
    struct fl_span copy = fl_arena_copy(&compile->unit->arena, text);
    if (copy.data == NULL)
        return compile_no_memory(compile);
    *ret_text = copy;
    return 0;
}

int compile_text(struct compile *compile, const char *text, struct fl_span *ret_text)
{
    return compile_span(compile, fl_span_str(text), ret_text);
}

int compile_texts(struct compile *compile, char *const *texts, size_t count, const struct fl_span **ret_texts)
{
    struct fl_span *copies = compile_array(compile, count, sizeof(*copies));
    if (copies == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < count; i++) {
        int result = compile_text(compile, texts[i], &copies[i]);
        if (result != 0)
            return result;
    }
    *ret_texts = copies;
    return 0;
}

/* -- scalars -- */

int compile_ms(struct compile *compile, const char *field, const pb_duration *duration, uint64_t *ret_ms)
{
    if (duration == NULL)
        return 0;
    if (duration->seconds < 0 || duration->nanos < 0)
        return compile_fail_at(compile, field, "must not be negative");
    if (duration->seconds > INT32_MAX || duration->nanos > 999999999)
        return compile_fail_at(compile, field, "is too long");
    *ret_ms = (uint64_t)duration->seconds * 1000 + ((uint64_t)duration->nanos + 999999) / 1000000;
    return 0;
}

int compile_u32(struct compile *compile, const char *field, const pb_uint32 *value, uint32_t min, uint32_t max,
                uint32_t *ret_value)
{
    if (value == NULL)
        return 0;
    if (value->value < min || value->value > max)
        return compile_fail_at(compile, field, "expected a number from %u to %u, got %u", min, max, value->value);
    *ret_value = value->value;
    return 0;
}

int compile_required(struct compile *compile, const char *field, const char *text)
{
    return text[0] != '\0' ? 0 : compile_fail_at(compile, field, "must be set");
}
