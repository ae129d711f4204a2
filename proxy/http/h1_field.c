#include "proxy/http/h1_field.h"

#include "proxy/http/octet.h"

#include <errno.h>

int proxy_h1_fail(struct proxy_h1_cursor *cursor, enum proxy_h1_error error)
{
    cursor->error = (uint8_t)error;
    return -EPROTO;
}

int proxy_h1_line_end(struct proxy_h1_cursor *cursor)
{
    if (cursor->at == cursor->end)
        return PROXY_H1_MORE;
    if (*cursor->at != '\r')
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_LINE_END);
    if (cursor->end - cursor->at == 1)
        return PROXY_H1_MORE;
    if (cursor->at[1] != '\n')
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_LINE_END);
    cursor->at += 2;
    return PROXY_H1_DONE;
}

/* Why no colon follows the name (or why there is no name). */
static int name_error(struct proxy_h1_cursor *cursor, const char *name)
{
    bool space = *cursor->at == ' ' || *cursor->at == '\t';
    if (space && cursor->at == name)
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_FOLDED);
    if (space)
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_FIELD_NAME_SPACE);
    return proxy_h1_fail(cursor, *cursor->at == '\n' ? PROXY_H1_ERROR_LINE_END : PROXY_H1_ERROR_FIELD_NAME);
}

static int field_name(struct proxy_h1_cursor *cursor, struct fl_span *ret_name)
{
    const char *at = cursor->at, *name = at;
    while (at < cursor->end && proxy_octet_is(*at, PROXY_OCTET_TOKEN))
        at++;
    cursor->at = at;
    if (at == cursor->end)
        return PROXY_H1_MORE;
    if (*at != ':' || at == name)
        return name_error(cursor, name);
    *ret_name = fl_span_make(name, (size_t)(at - name));
    cursor->at = at + 1;
    return PROXY_H1_DONE;
}

static int field_value(struct proxy_h1_cursor *cursor, struct fl_span *ret_value)
{
    const char *at = cursor->at;
    while (at < cursor->end && (*at == ' ' || *at == '\t'))
        at++;
    const char *value = at;
    at = proxy_octet_value_end(at, cursor->end);
    cursor->at = at;
    if (at < cursor->end && *at != '\r' && *at != '\n')
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_FIELD_VALUE);
    int result = proxy_h1_line_end(cursor);
    while (at > value && (at[-1] == ' ' || at[-1] == '\t'))
        at--;
    *ret_value = fl_span_make(value, (size_t)(at - value));
    return result;
}

int proxy_h1_fields(struct proxy_h1_cursor *cursor, size_t headers_max, struct proxy_headers *headers)
{
    size_t count = 0;
    for (;;) {
        if (cursor->at == cursor->end)
            return PROXY_H1_MORE;
        if (*cursor->at == '\r')
            return proxy_h1_line_end(cursor);
        struct fl_span name, value;
        int result = field_name(cursor, &name);
        if (result == PROXY_H1_DONE)
            result = field_value(cursor, &value);
        if (result != PROXY_H1_DONE)
            return result;
        if (count++ >= headers_max || proxy_headers_add(headers, name, value) < 0)
            return proxy_h1_fail(cursor, PROXY_H1_ERROR_TOO_MANY_FIELDS);
    }
}

bool proxy_h1_head_ended(struct fl_span bytes, size_t scanned)
{
    for (size_t at = scanned; at < bytes.len; at++) {
        at += fl_span_find(fl_span_from(bytes, at), '\n');
        if (at == bytes.len)
            return false;
        if (at < 2 || bytes.data[at - 1] != '\r' || bytes.data[at - 2] == '\n')
            return true;
    }
    return false;
}

bool proxy_h1_next_item(struct fl_span *rest, struct fl_span *ret_item)
{
    while (fl_span_split(rest, ',', ret_item)) {
        *ret_item = fl_span_trim(*ret_item);
        if (ret_item->len > 0)
            return true;
    }
    return false;
}

bool proxy_h1_connection_lists(const struct proxy_headers *headers, struct fl_span name)
{
    const struct proxy_header *field = NULL;
    while ((field = proxy_headers_next(headers, PROXY_HEADER_CONNECTION, name, field)) != NULL) {
        struct fl_span rest = field->value, item;
        while (proxy_h1_next_item(&rest, &item)) {
            if (fl_span_eq_nocase(item, name))
                return true;
        }
    }
    return false;
}
