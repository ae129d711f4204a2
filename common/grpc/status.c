#include "common/grpc/status.h"

#include <errno.h>

const char *fl_grpc_status_text(enum fl_grpc_status status)
{
    switch (status) {
#define X(id, number, text)                                                                                            \
    case FL_GRPC_##id:                                                                                                 \
        return text;
        FL_GRPC_STATUSES(X)
#undef X
    default:
        return "UNKNOWN";
    }
}

enum fl_grpc_status fl_grpc_status_parse(struct fl_span value)
{
    uint64_t number;
    if (value.len > 2 || !fl_span_to_u64(value, FL_GRPC_UNAUTHENTICATED, &number))
        return FL_GRPC_UNKNOWN;
    return (enum fl_grpc_status)number;
}

enum fl_grpc_status fl_grpc_status_of_http(unsigned http_status)
{
    switch (http_status) {
    case 400:
        return FL_GRPC_INTERNAL;
    case 401:
        return FL_GRPC_UNAUTHENTICATED;
    case 403:
        return FL_GRPC_PERMISSION_DENIED;
    case 404:
        return FL_GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return FL_GRPC_UNAVAILABLE;
    default:
        return FL_GRPC_UNKNOWN;
    }
}

/* RFC 9113 §7. */
enum fl_grpc_status fl_grpc_status_of_reset(uint32_t h2_error)
{
    switch (h2_error) {
    case 0x7: /* REFUSED_STREAM */
        return FL_GRPC_UNAVAILABLE;
    case 0x8: /* CANCEL */
        return FL_GRPC_CANCELLED;
    case 0xb: /* ENHANCE_YOUR_CALM */
        return FL_GRPC_RESOURCE_EXHAUSTED;
    case 0xc: /* INADEQUATE_SECURITY */
        return FL_GRPC_PERMISSION_DENIED;
    default:
        return FL_GRPC_INTERNAL;
    }
}

int fl_grpc_text_print(struct fl_buf *buf, struct fl_span text)
{
    size_t count = text.len < FL_GRPC_TEXT_MAX ? text.len : FL_GRPC_TEXT_MAX;
    int result = fl_buf_reserve(buf, 3 * count);
    for (size_t i = 0; i < count && result == 0; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte >= ' ' && byte <= '~' && byte != '%')
            result = fl_buf_append_byte(buf, (char)byte);
        else
            result = fl_buf_printf(buf, "%%%02X", byte);
    }
    return result;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int fl_grpc_text_parse(struct fl_buf *buf, struct fl_span value)
{
    int result = 0;
    size_t count = 0;
    for (size_t i = 0; i < value.len && count < FL_GRPC_TEXT_MAX && result == 0; i++, count++) {
        unsigned char byte = (unsigned char)value.data[i];
        if (byte == '%' && value.len - i > 2 && hex_digit(value.data[i + 1]) >= 0 &&
            hex_digit(value.data[i + 2]) >= 0) {
            byte = (unsigned char)(hex_digit(value.data[i + 1]) * 16 + hex_digit(value.data[i + 2]));
            i += 2;
        }
        result = fl_buf_append_byte(buf, byte < ' ' || byte == 0x7f ? '?' : (char)byte);
    }
    return result;
}
