#include "control/model/kind/field.h"

#include "common/mesh/capture.h"
#include "control/model/ip.h"

#include <errno.h>

int control_copy(struct fl_reader *reader, struct fl_span text, struct fl_span *ret_text)
{
    if (text.len == 0) { /* there, but empty: no NULL, and no memory */
        *ret_text = FL_SPAN("");
        return 0;
    }
    struct fl_span copy = fl_arena_copy(reader->context, text);
    if (copy.data == NULL)
        return -ENOMEM;
    *ret_text = copy;
    return 0;
}

int control_copy_lower(struct fl_reader *reader, struct fl_span text, struct fl_span *ret_text)
{
    struct fl_span copy = {NULL, 0};
    int result = control_copy(reader, text, &copy);
    if (result < 0)
        return result;
    char *bytes = (char *)(uintptr_t)copy.data; /* made just now */
    for (size_t i = 0; i < copy.len; i++)
        if (bytes[i] >= 'A' && bytes[i] <= 'Z')
            bytes[i] = (char)(bytes[i] - 'A' + 'a');
    *ret_text = copy;
    return 0;
}

int control_read_text(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct fl_span text = {NULL, 0};
    int result = fl_read_string(reader, value, &text, row);
    return result < 0 ? result : control_copy(reader, text, field);
}

bool control_is_header_name(struct fl_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
        if (!letter && (byte == '\0' || strchr("!#$%&'*+-.^_`|~", byte) == NULL))
            return false;
    }
    return text.len > 0 && text.len <= 256;
}

int control_read_header_name(struct fl_reader *reader, const struct fl_json *value, void *field,
                             const struct fl_row *row)
{
    (void)row;
    if (!fl_json_is(value, FL_JSON_STRING) || !control_is_header_name(fl_json_string(value)))
        return fl_reader_expected(reader, value, "a header's name");
    return control_copy_lower(reader, fl_json_string(value), field);
}

int control_read_header_value(struct fl_reader *reader, const struct fl_json *value, void *field,
                              const struct fl_row *row)
{
    struct fl_span text = fl_json_string(value);
    if (!fl_json_is(value, FL_JSON_STRING))
        return fl_reader_expected(reader, value, "a string");
    for (size_t i = 0; i < text.len; i++)
        if (((unsigned char)text.data[i] < ' ' && text.data[i] != '\t') || text.data[i] == 0x7f)
            return fl_reader_fail(reader, value, "a control character in a header's value");
    if (fl_span_trim(text).len != text.len)
        return fl_reader_fail(reader, value, "a header's value neither begins nor ends with a blank");
    return control_read_text(reader, value, field, row);
}

int control_read_name(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    if (!fl_json_is(value, FL_JSON_STRING) || !fl_is_dns_subdomain(fl_json_string(value)))
        return fl_reader_expected(reader, value, "a DNS name (lower-case letters, digits, '-', '.')");
    return control_copy(reader, fl_json_string(value), field);
}

int control_read_hostname(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct fl_span text = {NULL, 0};
    (void)row;
    int result = fl_json_is(value, FL_JSON_STRING) ? control_copy_lower(reader, fl_json_string(value), &text) : 0;
    if (result < 0)
        return result;
    struct fl_span name = fl_span_starts_with(text, FL_SPAN("*.")) ? fl_span_from(text, 2) : text;
    if (!fl_is_dns_subdomain(name))
        return fl_reader_expected(reader, value, "a host name, or one with \"*.\" in front");
    *(struct fl_span *)field = text;
    return 0;
}

/* Milliseconds of one "15m"; moves *at. Fractions of a millisecond count as one where nothing else is there. */
static bool one_unit(struct fl_span text, size_t *at, uint64_t *total_us)
{
    static const struct {
        const char *name;
        uint64_t us;
    } units[] = {{"ms", 1000}, {"us", 1}, {"h", 3600000000ULL}, {"m", 60000000}, {"s", 1000000}};
    uint64_t whole = 0, fraction = 0, scale = 1;
    size_t start = *at;
    for (; *at < text.len && text.data[*at] >= '0' && text.data[*at] <= '9' && *at - start < 10; ++*at)
        whole = whole * 10 + (uint64_t)(text.data[*at] - '0');
    if (*at == start)
        return false;
    if (*at < text.len && text.data[*at] == '.') {
        start = ++*at;
        for (; *at < text.len && text.data[*at] >= '0' && text.data[*at] <= '9' && *at - start < 6; ++*at, scale *= 10)
            fraction = fraction * 10 + (uint64_t)(text.data[*at] - '0');
        if (*at == start)
            return false;
    }
    for (size_t i = 0; i < FL_COUNT(units); i++) {
        if (!fl_span_starts_with(fl_span_from(text, *at), fl_span_str(units[i].name)))
            continue;
        *at += strlen(units[i].name);
        *total_us += whole * units[i].us + fraction * units[i].us / scale;
        return true;
    }
    return false;
}

bool control_duration_parse(struct fl_span text, uint32_t *ret_ms)
{
    uint64_t us = 0;
    size_t at = 0;
    for (unsigned parts = 0; at < text.len; parts++)
        if (parts == 4 || !one_unit(text, &at, &us))
            return false;
    if (text.len == 0 || us / 1000 > UINT32_MAX)
        return false;
    *ret_ms = us > 0 && us < 1000 ? 1 : (uint32_t)(us / 1000);
    return true;
}

int control_read_duration(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    if (!fl_json_is(value, FL_JSON_STRING) || !control_duration_parse(fl_json_string(value), field))
        return fl_reader_expected(reader, value, "a duration like \"1h30m\", \"1.5s\" or \"200ms\"");
    return 0;
}

int control_read_period(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    int result = control_read_duration(reader, value, field, row);
    return result == 0 && *(uint32_t *)field == 0 ? fl_reader_expected(reader, value, "a duration above 0") : result;
}

int control_read_port(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    static const struct fl_row range = {.min = 1, .max = UINT16_MAX};
    (void)row;
    return fl_read_u16(reader, value, field, &range);
}

int control_read_labels(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    return fl_labels_read(reader, value, reader->context, field);
}

int control_read_selector(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    return fl_selector_read(reader, value, reader->context, field);
}

int control_read_cidr(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct fl_err err = {0};
    (void)row;
    if (!fl_json_is(value, FL_JSON_STRING))
        return fl_reader_expected(reader, value, "an IP address or a CIDR");
    if (fl_cidr_parse(fl_json_string(value), field, &err) < 0)
        return fl_reader_fail(reader, value, "%s", err.text);
    return 0;
}

int control_read_ip(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    if (!fl_json_is(value, FL_JSON_STRING) || control_ip_parse(fl_json_string(value), field) < 0)
        return fl_reader_expected(reader, value, "an IP address");
    return 0;
}

static int read_items(struct fl_reader *reader, const struct fl_json *value, const struct control_list *list,
                      char *items)
{
    size_t i = 0;
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item), i++) {
        char *target = items + i * list->size;
        if (list->initial != NULL)
            memcpy(target, list->initial, list->size);
        size_t mark = fl_reader_enter_at(reader, i);
        int result = list->item.read(reader, item, target, &list->item);
        fl_reader_leave(reader, mark);
        if (result < 0)
            return result;
    }
    return 0;
}

int control_read_short_text(struct fl_reader *reader, const struct fl_json *value, void *field,
                            const struct fl_row *row)
{
    static const struct fl_row range = {.min = 1, .max = 1024};
    (void)row;
    return control_read_text(reader, value, field, &range);
}

int control_read_retry_code(struct fl_reader *reader, const struct fl_json *value, void *field,
                            const struct fl_row *row)
{
    static const struct fl_row range = {.min = 400, .max = 599};
    (void)row;
    return fl_read_u16(reader, value, field, &range);
}

int control_read_list(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    const struct control_list *list = row->detail;
    size_t count = fl_json_count(value);
    if (!fl_json_is(value, FL_JSON_ARRAY))
        return fl_reader_expected(reader, value, "an array");
    if (count < list->min || count > list->max)
        return fl_reader_fail(reader, value, "expected %zu to %zu elements, got %zu", list->min, list->max, count);
    if (count == 0)
        return 0;
    char *items = fl_arena_array(reader->context, count, list->size);
    if (items == NULL)
        return -ENOMEM;
    int result = read_items(reader, value, list, items);
    if (result < 0)
        return result;
    *(void **)field = items;
    *(size_t *)(void *)((char *)field + list->count_delta) = count;
    return 0;
}

int control_read_part(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    const struct control_part *part = row->detail;
    void *made = fl_arena_alloc(reader->context, part->size);
    if (made == NULL)
        return -ENOMEM;
    if (part->initial != NULL)
        memcpy(made, part->initial, part->size);
    int result = fl_table_read(reader, value, part->table, made);
    if (result == 0)
        *(void **)field = made;
    return result;
}
