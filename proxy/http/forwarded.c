#include "proxy/http/forwarded.h"

#include <errno.h>

#define NAME      FL_SPAN("x-forwarded-for")
#define SEPARATOR FL_SPAN(", ")

static bool is_ours(const struct proxy_header *header)
{
    return !header->removed && header->id == PROXY_HEADER_X_FORWARDED_FOR;
}

/* Takes the last entry off *rest; false where the whole of it was that. */
static bool split_last(struct fl_span *rest, struct fl_span *ret_entry)
{
    size_t begin = rest->len;
    while (begin > 0 && rest->data[begin - 1] != ',')
        begin--;
    *ret_entry = fl_span_trim(fl_span_from(*rest, begin));
    rest->len = begin > 0 ? begin - 1 : 0;
    return begin > 0;
}

bool proxy_forwarded_for(const struct proxy_headers *headers, size_t from_right, struct fl_span *ret_entry)
{
    for (size_t i = headers->count; i-- > 0;) {
        if (!is_ours(&headers->list[i]))
            continue;
        struct fl_span rest = headers->list[i].value;
        for (bool more = true; more; from_right--) {
            more = split_last(&rest, ret_entry);
            if (from_right == 0)
                return true;
        }
    }
    return false;
}

static struct proxy_header *last_of(struct proxy_headers *headers)
{
    for (size_t i = headers->count; i-- > 0;) {
        if (is_ours(&headers->list[i]))
            return &headers->list[i];
    }
    return NULL;
}

int proxy_forwarded_append(struct proxy_headers *headers, struct fl_span entry, char *scratch, size_t scratch_size,
                           struct fl_span *ret_value)
{
    struct proxy_header *last = last_of(headers);
    struct fl_span before = last != NULL ? last->value : (struct fl_span){NULL, 0};
    struct fl_span between = before.len > 0 ? SEPARATOR : (struct fl_span){NULL, 0};
    *ret_value = (struct fl_span){NULL, 0};
    if (before.len + between.len + entry.len > scratch_size)
        return -EMSGSIZE;
    const struct fl_span parts[] = {before, between, entry};
    size_t len = 0;
    for (size_t i = 0; i < FL_COUNT(parts); i++) {
        if (parts[i].len > 0)
            memcpy(scratch + len, parts[i].data, parts[i].len);
        len += parts[i].len;
    }
    *ret_value = fl_span_make(scratch, len);
    if (last == NULL)
        return proxy_headers_add(headers, NAME, *ret_value);
    last->value = *ret_value;
    return 0;
}
