#include "common/grpc/inner.h"

#include <errno.h>
#include <stdio.h>

int fl_grpc_head_add(struct fl_grpc_exchange *exchange, struct fl_span name, struct fl_span value)
{
    struct fl_buf *head = &exchange->head;
    int result = fl_buf_reserve(head, name.len + value.len + 2);
    if (result == 0)
        result = fl_buf_append(head, name);
    if (result == 0)
        result = fl_buf_append_byte(head, '\0');
    if (result == 0)
        result = fl_buf_append(head, value);
    return result == 0 ? fl_buf_append_byte(head, '\0') : result;
}

struct fl_span fl_grpc_head_find(const struct fl_grpc_exchange *exchange, const char *name)
{
    struct fl_span rest = fl_buf_span(&exchange->head), key, value;
    while (rest.len > 0 && fl_span_split(&rest, '\0', &key) && fl_span_split(&rest, '\0', &value)) {
        if (fl_span_eq_str(key, name))
            return value;
    }
    return (struct fl_span){NULL, 0};
}

/* "application/grpc", and behind it nothing, "+proto" or parameters. */
bool fl_grpc_is_content_type(struct fl_span value)
{
    const struct fl_span prefix = FL_SPAN("application/grpc");
    if (value.len < prefix.len || !fl_span_eq_nocase(fl_span_make(value.data, prefix.len), prefix))
        return false;
    struct fl_span rest = fl_span_from(value, prefix.len);
    return rest.len == 0 || rest.data[0] == ';' || rest.data[0] == '+';
}

unsigned fl_grpc_head_check_request(const struct fl_grpc_exchange *exchange)
{
    if (!fl_span_eq_str(fl_grpc_head_find(exchange, ":method"), "POST"))
        return 405;
    return fl_grpc_is_content_type(fl_grpc_head_find(exchange, "content-type")) ? 0 : 415;
}

bool fl_grpc_head_check_response(const struct fl_grpc_exchange *exchange, enum fl_grpc_status *ret_status, char *text)
{
    struct fl_span http = fl_grpc_head_find(exchange, ":status");
    struct fl_span type = fl_grpc_head_find(exchange, "content-type");
    uint64_t number = 0;
    if (fl_span_eq_str(http, "200") && fl_grpc_is_content_type(type))
        return true;
    (void)fl_span_to_u64(http, 999, &number);
    *ret_status = number == 200 ? FL_GRPC_UNKNOWN : fl_grpc_status_of_http((unsigned)number);
    struct fl_err err;
    fl_err_set(&err, -EPROTO, "the server answered HTTP %u, content-type \"%.*s\"", (unsigned)number,
               FL_SPAN_ARG(type));
    memcpy(text, err.text, sizeof(err.text));
    return false;
}
