/* Response heads: the first byte is the request's method and manners. What is accepted is planned for a client and
 * written; a client of the same manners must find the same end of the message. Then the same leniently. */
#include "proxy/http/h1_write.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct proxy_h1_limits strict = {.head_max = 4096, .headers_max = 40};
static const struct proxy_h1_limits lenient = {.head_max = 4096, .headers_max = 40, .lenient = true};
/* What is written may have one field more. */
static const struct proxy_h1_limits wide = {.headers_max = PROXY_HEADERS_WIRE_MAX};
static struct proxy_message message, again;

static void write_and_read(const struct proxy_exchange *exchange)
{
    struct proxy_h1_plan plan;
    proxy_h1_plan_response(&message, exchange, &plan);
    if (plan.suppress)
        return;
    size_t bound = proxy_h1_head_bound(&message, &plan);
    char *text = malloc(bound);
    if (text == NULL)
        return;
    size_t written = proxy_h1_write_head(&message, &plan, text), size = 0;
    assert(written <= bound);
    struct proxy_h1_parser parser = {0};
    int result = proxy_h1_parse_response(&parser, fl_span_make(text, written), &wide, exchange, &again, &size);
    assert(result == PROXY_H1_DONE && size == written);
    assert(again.framing == plan.framing && again.status == message.status && again.upgrade == message.upgrade);
    assert(plan.framing != PROXY_FRAMING_LENGTH || again.content_length == message.content_length);
    free(text);
}

static int look(struct fl_span input, const struct proxy_h1_limits *limits, const struct proxy_exchange *exchange)
{
    struct proxy_h1_parser parser = {0}, whole = {0};
    size_t head = 0;
    char *bytes = malloc(input.len + 1), *copy = malloc(input.len + 1); /* lenient: they are written to */
    if (bytes == NULL || copy == NULL) {
        free(bytes);
        free(copy);
        return -ENOMEM;
    }
    memcpy(copy, input.data, input.len);
    memcpy(bytes, input.data, input.len);
    int once = proxy_h1_parse_response(&whole, fl_span_make(copy, input.len), limits, exchange, &again, &head);
    int result =
        proxy_h1_parse_response(&parser, fl_span_make(bytes, input.len / 2), limits, exchange, &message, &head);
    if (result == PROXY_H1_MORE)
        result = proxy_h1_parse_response(&parser, fl_span_make(bytes, input.len), limits, exchange, &message, &head);
    assert(result == once || (once < 0 && result == PROXY_H1_MORE));
    if (result == PROXY_H1_DONE) {
        assert(message.keep_alive == again.keep_alive);
        write_and_read(exchange);
    }
    free(copy);
    free(bytes);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= 1)
        return 0;
    const struct proxy_exchange exchange = {.method_id = data[0] % (PROXY_METHOD_TRACE + 1),
                                            .minor = data[0] >> 4 & 1,
                                            .keep_alive = (data[0] >> 5 & 1) != 0,
                                            .upgrade = (data[0] >> 6 & 1) != 0};
    struct fl_span input = fl_span_make(data + 1, size - 1);
    int result = look(input, &strict, &exchange);
    int leniently = look(input, &lenient, &exchange);
    assert(result != PROXY_H1_DONE || leniently == PROXY_H1_DONE); /* what is good for the strict is good */
    return 0;
}
