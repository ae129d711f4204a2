/* Request heads: the first byte says where the head is cut for a second look. What is accepted is written and read
 * again, and must mean the same: the proxy and whoever stands behind it agree. Then the same leniently. */
#include "proxy/http/h1_write.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct proxy_h1_limits strict = {.head_max = 4096, .target_max = 1024, .headers_max = 40};
static const struct proxy_h1_limits lenient = {
    .head_max = 4096, .target_max = 1024, .headers_max = 40, .lenient = true};
/* What is written may have one field more. */
static const struct proxy_h1_limits wide = {.headers_max = PROXY_HEADERS_WIRE_MAX};
static struct proxy_message message, again;

static void check_spans(struct fl_span input)
{
    for (size_t i = 0; i < message.headers.count; i++) {
        const struct proxy_header *field = &message.headers.list[i];
        assert(field->name.len > 0);
        assert(field->name.data >= input.data && field->name.data + field->name.len <= input.data + input.len);
        assert(proxy_header_name_valid(field->name) && proxy_header_value_valid(field->value));
    }
    assert(message.minor == 0 || proxy_headers_get(&message.headers, PROXY_HEADER_HOST) != NULL);
}

/* Two lengths that a reader behind us could see: never both, never two. */
static void check_one_framing(struct fl_span text)
{
    struct proxy_h1_parser parser = {0};
    size_t size = 0;
    int result = proxy_h1_parse_request(&parser, text, &wide, &again, &size);
    assert(result == PROXY_H1_DONE && size == text.len);
    assert(again.framing == message.framing && again.content_length == message.content_length);
    assert(again.method_id == message.method_id && again.upgrade == message.upgrade);
    assert(fl_span_eq(again.authority, message.authority) && fl_span_eq(again.path, message.path));
    const struct proxy_header *length = proxy_headers_get(&again.headers, PROXY_HEADER_CONTENT_LENGTH);
    assert(length == NULL ||
           proxy_headers_next(&again.headers, PROXY_HEADER_CONTENT_LENGTH, length->name, length) == NULL);
}

static void write_and_read(void)
{
    struct proxy_h1_plan plan;
    proxy_h1_plan_request(&message, &plan);
    size_t bound = proxy_h1_head_bound(&message, &plan);
    char *text = malloc(bound);
    if (text == NULL)
        return;
    size_t size = proxy_h1_write_head(&message, &plan, text);
    assert(size <= bound);
    check_one_framing(fl_span_make(text, size));
    free(text);
}

static int look(struct fl_span input, size_t split, const struct proxy_h1_limits *limits)
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
    int once = proxy_h1_parse_request(&whole, fl_span_make(copy, input.len), limits, &again, &head);
    int result = proxy_h1_parse_request(&parser, fl_span_make(bytes, split), limits, &message, &head);
    if (result == PROXY_H1_MORE)
        result = proxy_h1_parse_request(&parser, fl_span_make(bytes, input.len), limits, &message, &head);
    /* A second look may put off an error until its line ends, never find another answer. */
    assert(result == once || (once < 0 && result == PROXY_H1_MORE));
    if (result == PROXY_H1_DONE) {
        assert(head <= input.len && head <= limits->head_max && message.keep_alive == again.keep_alive);
        check_spans(fl_span_make(bytes, head));
        write_and_read();
    }
    free(copy);
    free(bytes);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= 1)
        return 0;
    struct fl_span input = fl_span_make(data + 1, size - 1);
    size_t split = data[0] < input.len ? data[0] : input.len;
    int result = look(input, split, &strict);
    int leniently = look(input, split, &lenient);
    assert(result != PROXY_H1_DONE || leniently == PROXY_H1_DONE); /* what is good for the strict is good */
    return 0;
}
