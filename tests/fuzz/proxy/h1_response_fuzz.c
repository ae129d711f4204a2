/* Response heads: the first byte is the request's method and manners. What is accepted is planned for a client and
 * written; a client of the same manners must find the same end of the message. */
#include "proxy/http/h1_write.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct proxy_h1_limits limits = {.head_max = 4096, .headers_max = 40};
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct proxy_exchange exchange = {.method_id = data[0] % (PROXY_METHOD_TRACE + 1),
                                            .minor = data[0] >> 4 & 1,
                                            .keep_alive = (data[0] >> 5 & 1) != 0,
                                            .upgrade = (data[0] >> 6 & 1) != 0};
    struct fl_span input = fl_span_make(data + 1, size - 1);
    struct proxy_h1_parser parser = {0}, whole = {0};
    size_t head = 0, split = input.len / 2;
    int once = proxy_h1_parse_response(&whole, input, &limits, &exchange, &message, &head);
    int result = proxy_h1_parse_response(&parser, fl_span_make(input.data, split), &limits, &exchange, &message, &head);
    if (result == PROXY_H1_MORE)
        result = proxy_h1_parse_response(&parser, input, &limits, &exchange, &message, &head);
    assert(result == once || (once < 0 && result == PROXY_H1_MORE));
    if (result == PROXY_H1_DONE)
        write_and_read(&exchange);
    return 0;
}
