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
    if (*cursor->at == '\n' && cursor->lenient) {
        cursor->mended = true;
        cursor->at++;
        return PROXY_H1_DONE;
    }
    if (*cursor->at != '\r')
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_LINE_END);
    if (cursor->end - cursor->at == 1)
        return PROXY_H1_MORE;
    if (cursor->at[1] != '\n')
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_LINE_END);
    cursor->at += 2;
    return PROXY_H1_DONE;
}

static bool is_blank(char octet)
{
    return octet == ' ' || octet == '\t';
}

/* Why no colon follows the name (or why there is no name). */
static int name_error(struct proxy_h1_cursor *cursor, const char *name)
{
    bool space = is_blank(*cursor->at);
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
    *ret_name = fl_span_make(name, (size_t)(at - name));
    if (at > name && cursor->lenient && cursor->response) {
        for (; at < cursor->end && is_blank(*at); at++)
            cursor->mended = true;
    }
    cursor->at = at;
    if (at == cursor->end)
        return PROXY_H1_MORE;
    if (*at != ':' || at == name)
        return name_error(cursor, name);
    cursor->at = at + 1;
    return PROXY_H1_DONE;
}

static int field_value(struct proxy_h1_cursor *cursor, struct fl_span *ret_value)
{
    const char *at = cursor->at;
    while (at < cursor->end && is_blank(*at))
        at++;
    const char *value = at;
    at = proxy_octet_value_end(at, cursor->end);
    cursor->at = at;
    if (at < cursor->end && *at != '\r' && *at != '\n')
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_FIELD_VALUE);
    int result = proxy_h1_line_end(cursor);
    while (at > value && is_blank(at[-1]))
        at--;
    *ret_value = fl_span_make(value, (size_t)(at - value));
    return result;
}

/* A value that may go on in the next lines (obs-fold): what stands between becomes spaces. */
static int unfolded_value(struct proxy_h1_cursor *cursor, struct fl_span *ret_value)
{
    const char *begin = NULL, *end = NULL;
    for (;;) {
        struct fl_span part;
        int result = field_value(cursor, &part);
        if (result != PROXY_H1_DONE)
            return result;
        if (cursor->at == cursor->end)
            return PROXY_H1_MORE;
        if (begin == NULL)
            begin = part.data;
        if (part.len > 0 || end == NULL)
            end = part.data + part.len;
        if (!is_blank(*cursor->at))
            break;
        size_t line_end = cursor->at[-2] == '\r' ? 2 : 1; /* before it stands a colon at least */
        memset((char *)(uintptr_t)(cursor->at - line_end), ' ', line_end);
        cursor->mended = true;
    }
    *ret_value = fl_span_trim(fl_span_make(begin, (size_t)(end - begin)));
    return PROXY_H1_DONE;
}

/* Fields that say whose a message is and where it ends: two readers of a fold there may see two messages. */
static bool may_fold(struct fl_span name)
{
    return !fl_span_eq_nocase(name, FL_SPAN("host")) && !fl_span_eq_nocase(name, FL_SPAN("connection")) &&
           !fl_span_eq_nocase(name, FL_SPAN("content-length")) &&
           !fl_span_eq_nocase(name, FL_SPAN("transfer-encoding"));
}

int proxy_h1_fields(struct proxy_h1_cursor *cursor, size_t headers_max, struct proxy_headers *headers)
{
    size_t count = 0;
    for (;;) {
        if (cursor->at == cursor->end)
            return PROXY_H1_MORE;
        if (*cursor->at == '\r' || (*cursor->at == '\n' && cursor->lenient))
            return proxy_h1_line_end(cursor);
        struct fl_span name, value;
        int result = field_name(cursor, &name);
        if (result == PROXY_H1_DONE)
            result = cursor->lenient && may_fold(name) ? unfolded_value(cursor, &value) : field_value(cursor, &value);
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
