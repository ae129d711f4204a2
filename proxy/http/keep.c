/* Behind the scalars stand records one after the other: the texts of the start line first, then the fields. Each is a
 * few numbers and the bytes of name and value. */
#include "proxy/http/keep.h"

#include <errno.h>

#define TEXTS 6

struct record {
    uint16_t name, value; /* bytes */
    uint8_t id;           /* of a field: enum proxy_header_id */
};

struct proxy_kept_message {
    size_t len; /* of the records */
    uint64_t content_length;
    uint16_t status, fields;
    uint8_t method_id, target_form, major, minor, framing;
    bool rewritten, keep_alive, upgrade, expect_continue, te_trailers, connection_options, has_content_length;
    bool target_is_path; /* as most are: kept once */
    char records[];
};

static const struct fl_span *text_of(const struct proxy_message *message, size_t index)
{
    const struct fl_span *const texts[TEXTS] = {&message->method, &message->path,   &message->authority,
                                                &message->scheme, &message->reason, &message->target};
    return texts[index];
}

static size_t texts_of(bool target_is_path)
{
    return target_is_path ? TEXTS - 1 : TEXTS;
}

/* Bytes of all records; 0: something is longer than a head can be. */
static size_t measure(const struct proxy_message *message, bool target_is_path)
{
    size_t len = 0;
    for (size_t i = 0; i < texts_of(target_is_path); i++) {
        if (text_of(message, i)->len > UINT16_MAX)
            return 0;
        len += sizeof(struct record) + text_of(message, i)->len;
    }
    for (size_t i = 0; i < message->headers.count; i++) {
        const struct proxy_header *field = &message->headers.list[i];
        if (field->removed)
            continue;
        if (field->name.len > UINT16_MAX || field->value.len > UINT16_MAX)
            return 0;
        len += sizeof(struct record) + field->name.len + field->value.len;
    }
    return len;
}

static char *put(char *to, struct fl_span name, struct fl_span value, uint8_t id)
{
    const struct record record = {(uint16_t)name.len, (uint16_t)value.len, id};
    memcpy(to, &record, sizeof(record));
    to += sizeof(record);
    if (name.len > 0)
        memcpy(to, name.data, name.len);
    if (value.len > 0)
        memcpy(to + name.len, value.data, value.len);
    return to + name.len + value.len;
}

static uint16_t put_records(const struct proxy_message *message, bool target_is_path, char *to)
{
    uint16_t fields = 0;
    for (size_t i = 0; i < texts_of(target_is_path); i++)
        to = put(to, (struct fl_span){NULL, 0}, *text_of(message, i), 0);
    for (size_t i = 0; i < message->headers.count; i++) {
        const struct proxy_header *field = &message->headers.list[i];
        if (field->removed)
            continue;
        to = put(to, field->name, field->value, field->id);
        fields++;
    }
    return fields;
}

int proxy_message_keep(const struct proxy_message *message, struct proxy_kept_message **ret_kept)
{
    bool target_is_path = fl_span_eq(message->target, message->path);
    size_t len = measure(message, target_is_path);
    if (len == 0)
        return -E2BIG;
    struct proxy_kept_message *kept = malloc(sizeof(*kept) + len);
    if (kept == NULL)
        return -ENOMEM;
    *kept = (struct proxy_kept_message){
        .len = len,
        .content_length = message->content_length,
        .status = message->status,
        .method_id = message->method_id,
        .target_form = message->target_form,
        .major = message->major,
        .minor = message->minor,
        .framing = message->framing,
        .rewritten = message->rewritten,
        .keep_alive = message->keep_alive,
        .upgrade = message->upgrade,
        .expect_continue = message->expect_continue,
        .te_trailers = message->te_trailers,
        .connection_options = message->connection_options,
        .has_content_length = message->has_content_length,
        .target_is_path = target_is_path,
    };
    kept->fields = put_records(message, target_is_path, kept->records);
    *ret_kept = kept;
    return 0;
}

size_t proxy_kept_message_size(const struct proxy_kept_message *kept)
{
    return sizeof(*kept) + kept->len;
}

static const char *take(const char *from, struct record *ret_record, struct fl_span *ret_name,
                        struct fl_span *ret_value)
{
    memcpy(ret_record, from, sizeof(*ret_record));
    from += sizeof(*ret_record);
    *ret_name = fl_span_make(from, ret_record->name);
    *ret_value = fl_span_make(from + ret_record->name, ret_record->value);
    return from + ret_record->name + ret_record->value;
}

static const char *take_texts(const struct proxy_kept_message *kept, struct proxy_message *message)
{
    const char *at = kept->records;
    struct fl_span *const texts[TEXTS] = {&message->method, &message->path,   &message->authority,
                                          &message->scheme, &message->reason, &message->target};
    struct record record;
    struct fl_span name;
    for (size_t i = 0; i < texts_of(kept->target_is_path); i++)
        at = take(at, &record, &name, texts[i]);
    if (kept->target_is_path)
        message->target = message->path;
    return at;
}

static void take_fields(const char *at, size_t count, struct proxy_headers *headers)
{
    struct record record;
    for (size_t i = 0; i < count; i++) {
        struct proxy_header *field = &headers->list[i];
        at = take(at, &record, &field->name, &field->value);
        field->id = record.id;
        field->removed = false;
        if (record.id != PROXY_HEADER_OTHER && headers->first[record.id] == 0)
            headers->first[record.id] = (uint8_t)(i + 1);
    }
    headers->count = (uint16_t)count;
}

void proxy_message_restore_kept(const struct proxy_kept_message *kept, struct proxy_message *ret_message)
{
    proxy_message_init(ret_message);
    ret_message->content_length = kept->content_length;
    ret_message->status = kept->status;
    ret_message->method_id = kept->method_id;
    ret_message->target_form = kept->target_form;
    ret_message->major = kept->major;
    ret_message->minor = kept->minor;
    ret_message->framing = kept->framing;
    ret_message->rewritten = kept->rewritten;
    ret_message->keep_alive = kept->keep_alive;
    ret_message->upgrade = kept->upgrade;
    ret_message->expect_continue = kept->expect_continue;
    ret_message->te_trailers = kept->te_trailers;
    ret_message->connection_options = kept->connection_options;
    ret_message->has_content_length = kept->has_content_length;
    take_fields(take_texts(kept, ret_message), kept->fields, &ret_message->headers);
}
