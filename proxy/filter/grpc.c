#include "proxy/filter/grpc.h"

#include "proxy/telemetry/flag.h"

bool proxy_grpc_is(const struct proxy_headers *headers)
{
    struct fl_span type = proxy_headers_value(headers, PROXY_HEADER_CONTENT_TYPE);
    return fl_span_eq(type, FL_SPAN("application/grpc")) || fl_span_starts_with(type, FL_SPAN("application/grpc+")) ||
           fl_span_starts_with(type, FL_SPAN("application/grpc;"));
}

unsigned proxy_grpc_status_of(unsigned status, uint32_t flags)
{
    if ((flags & PROXY_FLAG_DURATION_TIMEOUT) != 0)
        return 4; /* DEADLINE_EXCEEDED */
    switch (status) {
    case 400:
        return 13; /* INTERNAL */
    case 401:
        return 16; /* UNAUTHENTICATED */
    case 403:
        return 7; /* PERMISSION_DENIED */
    case 404:
        return 12; /* UNIMPLEMENTED */
    case 429:
    case 502:
    case 503:
    case 504:
        return 14; /* UNAVAILABLE */
    default:
        return 2; /* UNKNOWN */
    }
}

struct fl_span proxy_grpc_message(struct fl_span text, char to[PROXY_GRPC_MESSAGE_MAX])
{
    static const char digits[] = "0123456789ABCDEF";
    size_t len = 0;
    for (size_t i = 0; i < text.len && len + 3 <= PROXY_GRPC_MESSAGE_MAX; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte >= 0x20 && byte < 0x7f && byte != '%') {
            to[len++] = (char)byte;
            continue;
        }
        to[len++] = '%';
        to[len++] = digits[byte >> 4];
        to[len++] = digits[byte & 15];
    }
    return fl_span_make(to, len);
}

/* Nanoseconds of a unit; 0: it is none. */
static uint64_t unit_ns(char unit)
{
    switch (unit) {
    case 'H':
        return UINT64_C(3600000000000);
    case 'M':
        return UINT64_C(60000000000);
    case 'S':
        return 1000000000;
    case 'm':
        return 1000000;
    case 'u':
        return 1000;
    case 'n':
        return 1;
    default:
        return 0;
    }
}

bool proxy_grpc_timeout(const struct proxy_headers *headers, uint64_t *ret_ms)
{
    const struct proxy_header *field = proxy_headers_next(headers, PROXY_HEADER_OTHER, FL_SPAN("grpc-timeout"), NULL);
    uint64_t number;
    if (field == NULL || field->value.len < 2 || field->value.len > 9)
        return false;
    struct fl_span digits = fl_span_make(field->value.data, field->value.len - 1);
    uint64_t unit = unit_ns(field->value.data[digits.len]);
    if (unit == 0 || !fl_span_to_u64(digits, 99999999, &number))
        return false;
    /* An hour's eight digits are 3.6e20 ns: more than fits. */
    *ret_ms = unit >= 1000000 ? number * (unit / 1000000) : (number * unit + 999999) / 1000000;
    return true;
}
