/* Any value of the private field, of a request, an answer and trailers: taken or refused; what is taken has the fields
 * that it had, and a reason without line ends. */
#include "proxy/http/restore.h"

#include "common/base/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct proxy_message message;
static char names[256];

static void fill(struct fl_span value)
{
    static const char *const fields[] = {"host", "x-request-id", "te", "content-type", "upgrade"};
    struct proxy_headers *headers = &message.headers;
    proxy_message_init(&message);
    message.major = 2;
    message.authority = FL_SPAN("host.example");
    message.path = message.target = FL_SPAN("/p");
    message.scheme = FL_SPAN("https");
    for (size_t i = 0; i < FL_COUNT(fields); i++)
        assert(proxy_headers_add(headers, fl_span_str(fields[i]), FL_SPAN("v")) == 0);
    assert(proxy_headers_add(headers, FL_SPAN(PROXY_RESTORE_FIELD), value) == 0);
}

static bool has(const char *name)
{
    return proxy_headers_next(&message.headers, proxy_header_id(fl_span_str(name)), fl_span_str(name), NULL) != NULL;
}

static void check(int result)
{
    assert(result == 0 || result == -EPROTO);
    assert(!has(PROXY_RESTORE_FIELD));
    assert(has("x-request-id") && has("content-type"));
    if (result == 0)
        assert(message.major == 1 && has("upgrade") && has("te"));
    for (size_t i = 0; i < message.reason.len; i++)
        assert(message.reason.data[i] != '\r' && message.reason.data[i] != '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span value = fl_span_make((const char *)data, size);
    fill(value);
    check(proxy_restore_unpack_request(&message, names, sizeof(names)));
    fill(value);
    message.status = 200;
    check(proxy_restore_unpack_response(&message, names, sizeof(names)));
    fill(value);
    int result = proxy_restore_unpack_trailers(&message.headers, names, sizeof(names));
    assert(result == 0 || result == -EPROTO);
    return 0;
}
