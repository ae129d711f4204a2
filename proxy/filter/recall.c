/* Records one after the other, each two lengths and the bytes of name and value: method, path, authority and scheme
 * first (without a name), then the fields. A head has at most 60 KiB, so that lengths have 16 bits. */
#include "proxy/filter/recall.h"

#define PSEUDO 4

struct lengths {
    uint16_t name, value;
};

struct proxy_recall {
    size_t len;
    uint8_t minor, target_form;
    char records[];
};

static struct fl_span *pseudo(struct proxy_message *message, size_t index)
{
    struct fl_span *const parts[PSEUDO] = {&message->method, &message->path, &message->authority, &message->scheme};
    return parts[index];
}

static const struct fl_span *pseudo_of(const struct proxy_message *message, size_t index)
{
    const struct fl_span *const parts[PSEUDO] = {&message->method, &message->path, &message->authority,
                                                 &message->scheme};
    return parts[index];
}

static char *put(char *to, struct fl_span name, struct fl_span value)
{
    const struct lengths lengths = {(uint16_t)name.len, (uint16_t)value.len};
    memcpy(to, &lengths, sizeof(lengths));
    to += sizeof(lengths);
    if (name.len > 0)
        memcpy(to, name.data, name.len);
    if (value.len > 0)
        memcpy(to + name.len, value.data, value.len);
    return to + name.len + value.len;
}

/* Bytes of all records; 0: something is longer than a head can be. */
static size_t measure(const struct proxy_message *request)
{
    size_t len = 0;
    for (size_t i = 0; i < PSEUDO; i++) {
        if (pseudo_of(request, i)->len > UINT16_MAX)
            return 0;
        len += sizeof(struct lengths) + pseudo_of(request, i)->len;
    }
    for (size_t i = 0; i < request->headers.count; i++) {
        const struct proxy_header *field = &request->headers.list[i];
        if (field->removed)
            continue;
        if (field->name.len > UINT16_MAX || field->value.len > UINT16_MAX)
            return 0;
        len += sizeof(struct lengths) + field->name.len + field->value.len;
    }
    return len;
}

struct proxy_recall *proxy_recall_new(const struct proxy_message *request)
{
    size_t len = measure(request);
    struct proxy_recall *recall = len > 0 ? malloc(sizeof(*recall) + len) : NULL;
    if (recall == NULL)
        return NULL;
    *recall = (struct proxy_recall){.len = len, .minor = request->minor, .target_form = request->target_form};
    char *to = recall->records;
    for (size_t i = 0; i < PSEUDO; i++)
        to = put(to, (struct fl_span){NULL, 0}, *pseudo_of(request, i));
    for (size_t i = 0; i < request->headers.count; i++) {
        const struct proxy_header *field = &request->headers.list[i];
        if (!field->removed)
            to = put(to, field->name, field->value);
    }
    return recall;
}

static const char *take(const char *from, struct fl_span *ret_name, struct fl_span *ret_value)
{
    struct lengths lengths;
    memcpy(&lengths, from, sizeof(lengths));
    from += sizeof(lengths);
    *ret_name = fl_span_make(from, lengths.name);
    *ret_value = fl_span_make(from + lengths.name, lengths.value);
    return from + lengths.name + lengths.value;
}

void proxy_recall_message(const struct proxy_recall *recall, struct proxy_message *ret_request)
{
    const char *at = recall->records, *end = recall->records + recall->len;
    struct fl_span name, value;
    proxy_message_init(ret_request);
    for (size_t i = 0; i < PSEUDO; i++)
        at = take(at, &name, pseudo(ret_request, i));
    ret_request->method_id = (uint8_t)proxy_method_id(ret_request->method);
    ret_request->minor = recall->minor;
    ret_request->target_form = recall->target_form;
    while (at < end) {
        at = take(at, &name, &value);
        (void)!proxy_headers_add(&ret_request->headers, name, value); /* it came out of such a list */
    }
}
