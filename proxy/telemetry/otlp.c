#include "proxy/telemetry/otlp.h"

#include "common/base/utf8.h"

#include <errno.h>

/* Protobuf's wire: tag = field << 3 | type; varint 0, fixed64 1, bytes 2, fixed32 5. */

#define VARINT_MAX 10u

struct out {
    char *at, *end;
};

static size_t varint_size(uint64_t value)
{
    size_t size = 1;
    while (value >= 0x80) {
        value >>= 7;
        size++;
    }
    return size;
}

static void put_varint(struct out *out, uint64_t value)
{
    while (value >= 0x80) {
        *out->at++ = (char)(value | 0x80);
        value >>= 7;
    }
    *out->at++ = (char)value;
}

static void put_tag(struct out *out, unsigned field, unsigned type)
{
    put_varint(out, field << 3 | type);
}

static size_t room(const struct out *out)
{
    return (size_t)(out->end - out->at);
}

static void put_bytes(struct out *out, unsigned field, struct fl_span bytes)
{
    put_tag(out, field, 2);
    put_varint(out, bytes.len);
    if (bytes.len > 0)
        memcpy(out->at, bytes.data, bytes.len);
    out->at += bytes.len;
}

/* Text of a protobuf string, which is UTF-8. */
static void put_text(struct out *out, unsigned field, struct fl_span text)
{
    put_bytes(out, field, text);
    for (size_t at = 0, length; at < text.len; at += length) {
        length = fl_utf8_length(fl_span_from(text, at));
        if (length > 0)
            continue;
        *(out->at - text.len + at) = '?';
        length = 1;
    }
}

static void put_fixed64(struct out *out, unsigned field, uint64_t value)
{
    put_tag(out, field, 1);
    for (int i = 0; i < 8; i++)
        *out->at++ = (char)(value >> (8 * i));
}

static struct fl_span cut(struct fl_span text)
{
    return text.len > PROXY_OTLP_VALUE_MAX ? fl_utf8_cut(text, PROXY_OTLP_VALUE_MAX) : text;
}

/* KeyValue {key = 1, value = 2: AnyValue {string_value = 1 | int_value = 3}} as `field` of what is around it. */
static void put_attribute(struct out *out, unsigned field, const struct proxy_span_attribute *attribute)
{
    struct fl_span key = cut(attribute->key), text = cut(attribute->text);
    bool number = attribute->text.data == NULL;
    size_t value = number ? 1 + varint_size((uint64_t)attribute->number) : 1 + varint_size(text.len) + text.len;
    size_t whole = 1 + varint_size(key.len) + key.len + 1 + varint_size(value) + value;
    if (whole + 2 + VARINT_MAX > room(out))
        return;
    put_tag(out, field, 2);
    put_varint(out, whole);
    put_text(out, 1, key);
    put_tag(out, 2, 2);
    put_varint(out, value);
    if (number) {
        put_tag(out, 3, 0);
        put_varint(out, (uint64_t)attribute->number);
    } else {
        put_text(out, 1, text);
    }
}

#define FIELD_SPANS 2 /* of ScopeSpans */

int proxy_otlp_add(const struct proxy_span *span, struct fl_buf *spans)
{
    char bytes[PROXY_OTLP_SPAN_MAX];
    struct out out = {bytes, bytes + sizeof(bytes) - 8}; /* the status has its room behind the end */
    put_bytes(&out, 1, fl_span_make(span->trace_id, PROXY_TRACE_ID_SIZE));
    put_bytes(&out, 2, fl_span_make(span->span_id, PROXY_TRACE_SPAN_SIZE));
    if (span->state.len > 0)
        put_text(&out, 3, cut(span->state));
    if (span->parent_id != NULL)
        put_bytes(&out, 4, fl_span_make(span->parent_id, PROXY_TRACE_SPAN_SIZE));
    put_text(&out, 5, cut(span->name));
    put_tag(&out, 6, 0);
    put_varint(&out, span->kind);
    put_fixed64(&out, 7, span->start_ns);
    put_fixed64(&out, 8, span->end_ns);
    for (size_t i = 0; i < span->attribute_count; i++)
        put_attribute(&out, 9, &span->attributes[i]);
    if (span->error) { /* Status {code = 3: ERROR} */
        const char error[] = {3 << 3, 2};
        put_bytes(&out, 15, fl_span_make(error, sizeof(error)));
    }
    char head[2 + VARINT_MAX];
    struct out before = {head, head + sizeof(head)};
    size_t len = (size_t)(out.at - bytes);
    put_tag(&before, FIELD_SPANS, 2);
    put_varint(&before, len);
    int result = fl_buf_reserve(spans, (size_t)(before.at - head) + len);
    if (result == 0)
        result = fl_buf_append(spans, fl_span_make(head, (size_t)(before.at - head)));
    return result == 0 ? fl_buf_append(spans, fl_span_make(bytes, len)) : result;
}

int proxy_otlp_prefix(const struct proxy_span_attribute *resource, size_t count, size_t spans_len, struct fl_buf *out)
{
    char bytes[PROXY_OTLP_SPAN_MAX], front[64], scope[32];
    struct out inner = {bytes, bytes + sizeof(bytes)}, name = {scope, scope + sizeof(scope)};
    struct out before = {front, front + sizeof(front)};
    for (size_t i = 0; i < count; i++) {
        if (resource[i].text.len > 0)
            put_attribute(&inner, 1, &resource[i]);
    }
    put_text(&name, 1, FL_SPAN("fairlead"));
    size_t resource_len = (size_t)(inner.at - bytes), scope_len = (size_t)(name.at - scope);
    size_t scoped = 1 + varint_size(scope_len) + scope_len + spans_len;
    size_t whole = 1 + varint_size(resource_len) + resource_len + 1 + varint_size(scoped) + scoped;
    put_tag(&before, 1, 2); /* resource_spans */
    put_varint(&before, whole);
    put_tag(&before, 1, 2); /* resource */
    put_varint(&before, resource_len);
    int result = fl_buf_append(out, fl_span_make(front, (size_t)(before.at - front)));
    if (result == 0)
        result = fl_buf_append(out, fl_span_make(bytes, resource_len));
    before.at = front;
    put_tag(&before, 2, 2); /* scope_spans */
    put_varint(&before, scoped);
    put_bytes(&before, 1, fl_span_make(scope, scope_len));
    return result == 0 ? fl_buf_append(out, fl_span_make(front, (size_t)(before.at - front))) : result;
}
