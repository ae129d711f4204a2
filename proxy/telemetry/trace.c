#include "proxy/telemetry/trace.h"

#include <errno.h>

#define STATE_MEMBERS_MAX 32u
#define TRACEPARENT_LEN   55u

/* --- hexadecimal ------------------------------------------------------------------------------------------------ */

static int digit_of(char c, bool upper)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return upper && c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Fills `count` bytes from the right; shorter texts begin with zeros. */
static bool read_hex(struct fl_span text, bool upper, uint8_t *to, size_t count)
{
    if (text.len == 0 || text.len % 2 != 0 || text.len > 2 * count)
        return false;
    size_t skipped = count - text.len / 2;
    memset(to, 0, skipped);
    for (size_t i = 0; i < text.len; i += 2) {
        int high = digit_of(text.data[i], upper), low = digit_of(text.data[i + 1], upper);
        if (high < 0 || low < 0)
            return false;
        to[skipped + i / 2] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool is_zero(const uint8_t *bytes, size_t count)
{
    uint8_t any = 0;
    for (size_t i = 0; i < count; i++)
        any |= bytes[i];
    return any == 0;
}

struct fl_span proxy_trace_hex(const uint8_t *bytes, size_t count, char *to)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        to[2 * i] = digits[bytes[i] >> 4];
        to[2 * i + 1] = digits[bytes[i] & 15];
    }
    return fl_span_make(to, 2 * count);
}

/* --- W3C -------------------------------------------------------------------------------------------------------- */

static struct fl_span part(struct fl_span text, size_t at, size_t len)
{
    return fl_span_make(text.data + at, len);
}

bool proxy_trace_parse_traceparent(struct fl_span text, struct proxy_trace_parent *ret_parent)
{
    struct proxy_trace_parent parent = *ret_parent;
    uint8_t version, flags;
    if (text.len < TRACEPARENT_LEN || text.data[2] != '-' || text.data[35] != '-' || text.data[52] != '-' ||
        !read_hex(part(text, 0, 2), false, &version, 1) || version == 0xff ||
        !read_hex(part(text, 3, 32), false, parent.trace_id, PROXY_TRACE_ID_SIZE) ||
        !read_hex(part(text, 36, 16), false, parent.span_id, PROXY_TRACE_SPAN_SIZE) ||
        !read_hex(part(text, 53, 2), false, &flags, 1))
        return false;
    if (text.len > TRACEPARENT_LEN && (version == 0 || text.data[TRACEPARENT_LEN] != '-'))
        return false;
    if (is_zero(parent.trace_id, PROXY_TRACE_ID_SIZE) || is_zero(parent.span_id, PROXY_TRACE_SPAN_SIZE))
        return false;
    parent.has_ids = parent.has_sampled = true;
    parent.sampled = (flags & 1) != 0;
    *ret_parent = parent;
    return true;
}

static bool is_key_char(char c, bool first)
{
    if (c >= 'a' && c <= 'z')
        return true;
    return (c >= '0' && c <= '9') || (!first && (c == '_' || c == '-' || c == '*' || c == '/' || c == '@'));
}

static bool is_member(struct fl_span member)
{
    size_t equals = fl_span_find(member, '=');
    struct fl_span value = equals < member.len ? fl_span_from(member, equals + 1) : FL_SPAN("");
    if (equals == 0 || equals > 256 || value.len == 0 || value.len > 256)
        return false;
    for (size_t i = 0; i < equals; i++) {
        if (!is_key_char(member.data[i], i == 0))
            return false;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < 0x20 || value.data[i] > 0x7e || value.data[i] == ',' || value.data[i] == '=')
            return false;
    }
    return true;
}

bool proxy_trace_state_valid(struct fl_span text)
{
    struct fl_span rest = text, member;
    size_t members = 0;
    if (text.len > PROXY_TRACE_STATE_MAX)
        return false;
    while (fl_span_split(&rest, ',', &member)) {
        member = fl_span_trim(member);
        if (member.len > 0 && (!is_member(member) || ++members > STATE_MEMBERS_MAX))
            return false;
    }
    return members > 0;
}

/* --- B3 --------------------------------------------------------------------------------------------------------- */

/* 1, 0, d (debug: sampled); older senders write true and false. */
static bool read_decision(struct fl_span text, struct proxy_trace_parent *parent)
{
    bool yes = fl_span_eq_str(text, "1") || fl_span_eq_str(text, "d") || fl_span_eq_str(text, "true");
    if (!yes && !fl_span_eq_str(text, "0") && !fl_span_eq_str(text, "false"))
        return false;
    parent->has_sampled = true;
    parent->sampled = yes;
    return true;
}

static bool read_b3_ids(struct fl_span trace_id, struct fl_span span_id, struct proxy_trace_parent *parent)
{
    if ((trace_id.len != 16 && trace_id.len != 32) || span_id.len != 16 ||
        !read_hex(trace_id, true, parent->trace_id, PROXY_TRACE_ID_SIZE) ||
        !read_hex(span_id, true, parent->span_id, PROXY_TRACE_SPAN_SIZE) ||
        is_zero(parent->trace_id, PROXY_TRACE_ID_SIZE) || is_zero(parent->span_id, PROXY_TRACE_SPAN_SIZE))
        return false;
    parent->has_ids = true;
    return true;
}

bool proxy_trace_parse_b3(struct fl_span text, struct proxy_trace_parent *ret_parent)
{
    struct proxy_trace_parent parent = *ret_parent;
    struct fl_span rest = text, parts[5];
    uint8_t grand[PROXY_TRACE_SPAN_SIZE];
    size_t count = 0;
    while (count < FL_COUNT(parts) && fl_span_split(&rest, '-', &parts[count]))
        count++;
    bool good = count == 1 ? read_decision(parts[0], &parent)
                           : count >= 2 && count <= 4 && read_b3_ids(parts[0], parts[1], &parent);
    if (good && count >= 3)
        good = read_decision(parts[2], &parent);
    if (good && count == 4)
        good = parts[3].len == 16 && read_hex(parts[3], true, grand, sizeof(grand));
    if (good)
        *ret_parent = parent;
    return good;
}

struct b3_fields {
    struct fl_span trace_id, span_id, sampled, flags;
    bool any;
};

static void find_b3_fields(const struct proxy_headers *headers, struct b3_fields *ret_fields)
{
    *ret_fields = (struct b3_fields){.any = false};
    for (size_t i = 0; i < headers->count; i++) {
        const struct proxy_header *header = &headers->list[i];
        if (header->removed || header->id != PROXY_HEADER_OTHER || header->name.len < 10 ||
            !fl_span_eq_nocase(fl_span_make(header->name.data, 5), FL_SPAN("x-b3-")))
            continue;
        struct fl_span name = fl_span_from(header->name, 5);
        ret_fields->any = true;
        if (fl_span_eq_nocase(name, FL_SPAN("traceid")))
            ret_fields->trace_id = header->value;
        else if (fl_span_eq_nocase(name, FL_SPAN("spanid")))
            ret_fields->span_id = header->value;
        else if (fl_span_eq_nocase(name, FL_SPAN("sampled")))
            ret_fields->sampled = header->value;
        else if (fl_span_eq_nocase(name, FL_SPAN("flags")))
            ret_fields->flags = header->value;
    }
}

static bool read_b3_multi(const struct proxy_headers *headers, struct proxy_trace_parent *ret_parent)
{
    struct b3_fields fields;
    struct proxy_trace_parent parent = *ret_parent;
    find_b3_fields(headers, &fields);
    if (!fields.any)
        return false;
    bool ids = read_b3_ids(fields.trace_id, fields.span_id, &parent);
    if (!ids && fields.trace_id.len + fields.span_id.len > 0)
        return false;
    bool decision = fl_span_eq_str(fields.flags, "1") ? read_decision(FL_SPAN("1"), &parent)
                                                      : read_decision(fields.sampled, &parent);
    if (!ids && !decision)
        return false;
    *ret_parent = parent;
    return true;
}

/* --- both ------------------------------------------------------------------------------------------------------- */

static bool is_alone(const struct proxy_headers *headers, const struct proxy_header *header)
{
    return proxy_headers_next(headers, (enum proxy_header_id)header->id, header->name, header) == NULL;
}

void proxy_trace_read(const struct proxy_headers *headers, struct proxy_trace_parent *ret_parent)
{
    const struct proxy_header *w3c = proxy_headers_get(headers, PROXY_HEADER_TRACEPARENT);
    const struct proxy_header *state = proxy_headers_get(headers, PROXY_HEADER_TRACESTATE);
    const struct proxy_header *b3 = proxy_headers_get(headers, PROXY_HEADER_B3);
    struct proxy_trace_parent parent = {.forms = 0}, other = {.forms = 0};
    if (w3c != NULL && is_alone(headers, w3c) && proxy_trace_parse_traceparent(w3c->value, &parent))
        parent.forms = PROXY_TRACE_W3C;
    if (b3 != NULL && proxy_trace_parse_b3(b3->value, &other))
        other.forms |= PROXY_TRACE_B3;
    if (read_b3_multi(headers, other.forms != 0 ? &(struct proxy_trace_parent){.forms = 0} : &other))
        other.forms |= PROXY_TRACE_B3_MULTI;
    if (parent.forms == 0)
        parent = other;
    parent.forms |= other.forms;
    /* Several tracestate fields are one list; joining them has no room here, so only one is carried on. */
    if ((parent.forms & PROXY_TRACE_W3C) != 0 && state != NULL && is_alone(headers, state) &&
        proxy_trace_state_valid(state->value))
        parent.state = state->value;
    *ret_parent = parent;
}

static void fill(uint8_t *to, size_t count, uint64_t first, uint64_t second)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (uint8_t)((i < 8 ? first : second) >> (i % 8 * 8));
    if (is_zero(to, count))
        to[0] = 1;
}

void proxy_trace_start(const struct proxy_trace_parent *parent, const struct proxy_trace_sampling *sampling,
                       bool client_asks, const uint64_t random[4], struct proxy_trace *ret_trace)
{
    *ret_trace = (struct proxy_trace){.on = true, .has_parent = parent->has_ids};
    fill(ret_trace->span_id, PROXY_TRACE_SPAN_SIZE, random[2], 0);
    if (parent->has_ids) {
        memcpy(ret_trace->trace_id, parent->trace_id, PROXY_TRACE_ID_SIZE);
        memcpy(ret_trace->parent_id, parent->span_id, PROXY_TRACE_SPAN_SIZE);
    } else {
        fill(ret_trace->trace_id, PROXY_TRACE_ID_SIZE, random[0], random[1]);
    }
    uint32_t share = client_asks ? sampling->client : sampling->random;
    ret_trace->sampled = parent->has_sampled ? parent->sampled
                                             : (random[3] & UINT32_MAX) % PROXY_TRACE_MILLION < share &&
                                                   (random[3] >> 32) % PROXY_TRACE_MILLION < sampling->overall;
}

/* --- onwards ---------------------------------------------------------------------------------------------------- */

struct writer {
    struct fl_span *scratch;
    struct proxy_headers *headers;
    int result;
};

static void put(char **at, struct fl_span text)
{
    memcpy(*at, text.data, text.len);
    *at += text.len;
}

static void put_hex(char **at, const uint8_t *bytes, size_t count)
{
    *at += proxy_trace_hex(bytes, count, *at).len;
}

/* What was written since `begin` becomes the field's one value. */
static void set_field(struct writer *writer, struct fl_span name, const char *end)
{
    const char *begin = writer->scratch->data;
    size_t len = (size_t)(end - begin);
    if (writer->result == 0)
        writer->result = proxy_headers_set(writer->headers, name, fl_span_make(begin, len));
    *writer->scratch = fl_span_from(*writer->scratch, len);
}

static void write_b3_multi(struct writer *writer, const struct proxy_trace *trace, const uint8_t *span_id,
                           const uint8_t *parent_id)
{
    char *at = (char *)(uintptr_t)writer->scratch->data;
    put_hex(&at, trace->trace_id, PROXY_TRACE_ID_SIZE);
    set_field(writer, FL_SPAN("x-b3-traceid"), at);
    put_hex(&at, span_id, PROXY_TRACE_SPAN_SIZE);
    set_field(writer, FL_SPAN("x-b3-spanid"), at);
    if (parent_id != NULL) {
        put_hex(&at, parent_id, PROXY_TRACE_SPAN_SIZE);
        set_field(writer, FL_SPAN("x-b3-parentspanid"), at);
    }
    put(&at, trace->sampled ? FL_SPAN("1") : FL_SPAN("0"));
    set_field(writer, FL_SPAN("x-b3-sampled"), at);
}

int proxy_trace_write(const struct proxy_trace *trace, const struct proxy_trace_parent *parent,
                      const uint8_t span_id[PROXY_TRACE_SPAN_SIZE], struct proxy_headers *headers,
                      struct fl_span *scratch)
{
    struct writer writer = {.scratch = scratch, .headers = headers};
    if (scratch->len < PROXY_TRACE_SCRATCH)
        return -E2BIG;
    bool below = memcmp(span_id, trace->span_id, PROXY_TRACE_SPAN_SIZE) != 0;
    const uint8_t *parent_id = below ? trace->span_id : trace->has_parent ? trace->parent_id : NULL;
    char *at = (char *)(uintptr_t)scratch->data;
    put(&at, FL_SPAN("00-"));
    put_hex(&at, trace->trace_id, PROXY_TRACE_ID_SIZE);
    put(&at, FL_SPAN("-"));
    put_hex(&at, span_id, PROXY_TRACE_SPAN_SIZE);
    put(&at, trace->sampled ? FL_SPAN("-01") : FL_SPAN("-00"));
    set_field(&writer, FL_SPAN("traceparent"), at);
    if (parent->state.len == 0)
        proxy_headers_remove(headers, FL_SPAN("tracestate"));
    if ((parent->forms & PROXY_TRACE_B3) != 0) {
        put_hex(&at, trace->trace_id, PROXY_TRACE_ID_SIZE);
        put(&at, FL_SPAN("-"));
        put_hex(&at, span_id, PROXY_TRACE_SPAN_SIZE);
        put(&at, trace->sampled ? FL_SPAN("-1") : FL_SPAN("-0"));
        if (parent_id != NULL) {
            put(&at, FL_SPAN("-"));
            put_hex(&at, parent_id, PROXY_TRACE_SPAN_SIZE);
        }
        set_field(&writer, FL_SPAN("b3"), at);
    }
    if ((parent->forms & PROXY_TRACE_B3_MULTI) != 0)
        write_b3_multi(&writer, trace, span_id, parent_id);
    return writer.result;
}
