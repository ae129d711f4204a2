#include "common/doc/yaml_print.h"

#include "common/doc/scalar.h"

#include <errno.h>
#include <yaml.h>

struct printer {
    yaml_emitter_t emitter;
    struct fl_buf *out;
    int result; /* of the first append that failed */
};

static int write_bytes(void *context, unsigned char *bytes, size_t size)
{
    struct printer *printer = context;
    if (printer->result == 0)
        printer->result = fl_buf_append(printer->out, fl_span_make((const char *)bytes, size));
    return printer->result == 0;
}

static bool has_byte(const char *set, char byte)
{
    return byte != '\0' && strchr(set, byte) != NULL;
}

/* What YAML 1.1 reads as something else than a string, and 1.2 does not: its booleans, its merge and value keys, and
 * everything near a number or a date (with underscores, by base 60, in binary …). */
static bool is_odd_in_1_1(struct fl_span text)
{
    static const char *const words[] = {"y",  "Y",  "yes", "Yes", "YES", "n",   "N",   "no", "No",
                                        "NO", "on", "On",  "ON",  "off", "Off", "OFF", "=",  "<<"};
    for (size_t i = 0; i < FL_COUNT(words); i++)
        if (fl_span_eq_str(text, words[i]))
            return true;
    if (text.len == 0 || !has_byte("0123456789+-.", text.data[0]))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!has_byte("0123456789abcdefABCDEFxXoOtTzZ_:.+- ", text.data[i]))
            return false;
    return true;
}

/* Whether a plain scalar of this text is read back as this string. */
static int plain_is_string(struct fl_span text, bool *ret_plain)
{
    struct fl_json *read = NULL;
    int result = fl_scalar_read(text, &read);
    *ret_plain = result == 0 && fl_json_is(read, FL_JSON_STRING) && !is_odd_in_1_1(text);
    fl_json_free(read);
    return result == -ENOMEM ? result : 0;
}

/* A block literal: lines of printable text, the first of which does not begin with a blank. */
static bool fits_literal(struct fl_span text)
{
    bool lines = false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte >= 0x7f || (byte < ' ' && byte != '\n'))
            return false;
        if (byte == '\n' && i > 0 && text.data[i - 1] == ' ')
            return false;
        lines = lines || byte == '\n';
    }
    return lines && text.data[0] != ' ' && text.data[0] != '\n' && text.data[text.len - 1] != ' ';
}

static int emit(struct printer *printer, int initialized, yaml_event_t *event)
{
    if (!initialized)
        return -ENOMEM;
    if (yaml_emitter_emit(&printer->emitter, event)) /* takes the event over, whatever it answers */
        return 0;
    if (printer->result < 0)
        return printer->result;
    return printer->emitter.error == YAML_MEMORY_ERROR ? -ENOMEM : -EIO;
}

static int emit_text(struct printer *printer, struct fl_span text, yaml_scalar_style_t style)
{
    yaml_event_t event;
    if (text.len > INT_MAX)
        return -EMSGSIZE;
    const char *data = text.len > 0 ? text.data : "";
    int initialized =
        yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)data, (int)text.len, 1, 1, style);
    return emit(printer, initialized, &event);
}

static int emit_string(struct printer *printer, struct fl_span text)
{
    bool plain;
    int result = plain_is_string(text, &plain);
    if (result < 0)
        return result;
    return emit_text(printer, text,
                     fits_literal(text) ? YAML_LITERAL_SCALAR_STYLE
                     : plain            ? YAML_PLAIN_SCALAR_STYLE
                                        : YAML_DOUBLE_QUOTED_SCALAR_STYLE);
}

static int emit_value(struct printer *printer, const struct fl_json *value, unsigned depth);

static int emit_children(struct printer *printer, const struct fl_json *value, unsigned depth)
{
    int result = 0;
    if (depth >= FL_JSON_DEPTH_MAX)
        return -EMSGSIZE;
    for (const struct fl_json *child = fl_json_first(value); child != NULL && result == 0;
         child = fl_json_next(child)) {
        if (fl_json_is(value, FL_JSON_OBJECT))
            result = emit_string(printer, fl_json_name(child));
        if (result == 0)
            result = emit_value(printer, child, depth + 1);
    }
    return result;
}

static int emit_container(struct printer *printer, const struct fl_json *value, unsigned depth)
{
    yaml_event_t event;
    bool object = fl_json_is(value, FL_JSON_OBJECT);
    int initialized = object ? yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE)
                             : yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE);
    int result = emit(printer, initialized, &event);
    if (result == 0)
        result = emit_children(printer, value, depth);
    if (result < 0)
        return result;
    initialized = object ? yaml_mapping_end_event_initialize(&event) : yaml_sequence_end_event_initialize(&event);
    return emit(printer, initialized, &event);
}

static int emit_value(struct printer *printer, const struct fl_json *value, unsigned depth)
{
    char room[FL_JSON_NUMBER_ROOM];
    switch (fl_json_kind(value)) {
    case FL_JSON_OBJECT:
    case FL_JSON_ARRAY:
        return emit_container(printer, value, depth);
    case FL_JSON_STRING:
        return emit_string(printer, fl_json_string(value));
    case FL_JSON_NUMBER:
        return emit_text(printer, fl_json_number_text(value, room), YAML_PLAIN_SCALAR_STYLE);
    case FL_JSON_BOOL:
        return emit_text(printer, fl_span_str(fl_json_bool(value) ? "true" : "false"), YAML_PLAIN_SCALAR_STYLE);
    case FL_JSON_NULL:
    default:
        return emit_text(printer, FL_SPAN("null"), YAML_PLAIN_SCALAR_STYLE);
    }
}

static int emit_document(struct printer *printer, const struct fl_json *value)
{
    yaml_event_t event;
    int result = emit(printer, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING), &event);
    if (result == 0)
        result = emit(printer, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1), &event);
    if (result == 0)
        result = emit_value(printer, value, 0);
    if (result == 0)
        result = emit(printer, yaml_document_end_event_initialize(&event, 1), &event);
    if (result == 0)
        result = emit(printer, yaml_stream_end_event_initialize(&event), &event);
    return result;
}

int fl_yaml_print(const struct fl_json *value, struct fl_buf *out)
{
    struct printer printer = {.out = out};
    size_t before = out->len;
    if (!yaml_emitter_initialize(&printer.emitter))
        return -ENOMEM;
    yaml_emitter_set_output(&printer.emitter, write_bytes, &printer);
    yaml_emitter_set_unicode(&printer.emitter, 1);
    yaml_emitter_set_width(&printer.emitter, -1);
    int result = emit_document(&printer, value);
    if (result == 0)
        result = printer.result;
    yaml_emitter_delete(&printer.emitter);
    if (result < 0)
        out->len = before;
    return result;
}
