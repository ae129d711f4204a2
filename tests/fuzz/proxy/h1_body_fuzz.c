/* Bodies: the first byte is framing and length, the second where the bytes are cut and whether it is read leniently.
 * Content and end do not depend on the cut; what is written again as chunks reads the same. */
#include "proxy/http/h1_body.h"
#include "proxy/http/h1_write.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct proxy_message message;
static struct proxy_headers trailers;

struct outcome {
    int result;
    uint8_t error;
    uint64_t hash; /* of the content */
    size_t len, taken, trailers;
};

static void take(struct proxy_h1_body *body, struct fl_span *bytes, struct outcome *outcome)
{
    struct fl_span data;
    size_t before = bytes->len;
    while ((outcome->result = proxy_h1_body_decode(body, bytes, &trailers, &data)) == PROXY_H1_DATA) {
        assert(data.len > 0);
        for (size_t i = 0; i < data.len; i++)
            outcome->hash = (outcome->hash ^ (unsigned char)data.data[i]) * 0x100000001b3u;
        outcome->len += data.len;
    }
    assert(bytes->len <= before);
    outcome->taken += before - bytes->len;
    outcome->error = body->error;
    outcome->trailers = outcome->result == PROXY_H1_DONE ? trailers.count : 0;
}

static struct outcome decode(struct fl_span input, size_t split)
{
    struct proxy_h1_body body;
    struct outcome outcome = {0};
    proxy_h1_body_init(&body, &message);
    struct fl_span bytes = fl_span_make(input.data, split);
    take(&body, &bytes, &outcome);
    if (outcome.result == PROXY_H1_MORE) {
        bytes = fl_span_from(input, outcome.taken);
        take(&body, &bytes, &outcome);
    }
    return outcome;
}

static void write_last_chunk(void)
{
    size_t bound = proxy_h1_last_chunk_bound(&trailers);
    char *text = malloc(bound);
    if (text == NULL)
        return;
    size_t size = proxy_h1_write_last_chunk(&trailers, text);
    assert(size <= bound);
    struct proxy_message chunked = {.framing = PROXY_FRAMING_CHUNKED};
    struct proxy_h1_body body;
    struct fl_span bytes = fl_span_make(text, size), content;
    static struct proxy_headers again;
    proxy_h1_body_init(&body, &chunked);
    int result = proxy_h1_body_decode(&body, &bytes, &again, &content);
    assert(result == PROXY_H1_DONE && bytes.len == 0);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    message.framing = data[0] & 3;
    message.content_length = data[0] >> 2;
    message.lenient = data[1] >= 128;
    size_t len = size - 2, split = data[1] & 127;
    char *bytes = malloc(2 * len + 1); /* leniently they are written to */
    if (bytes == NULL)
        return 0;
    memcpy(bytes, data + 2, len);
    memcpy(bytes + len, data + 2, len);
    struct outcome whole = decode(fl_span_make(bytes, len), len);
    if (whole.result == PROXY_H1_DONE && whole.trailers > 0)
        write_last_chunk();
    struct outcome cut = decode(fl_span_make(bytes + len, len), split < len ? split : len);
    free(bytes);
    bool late = whole.result < 0 && cut.result == PROXY_H1_MORE;
    assert(late || (whole.result == cut.result && whole.error == cut.error));
    assert(whole.hash == cut.hash && whole.len == cut.len);
    assert(whole.result < 0 || (whole.taken == cut.taken && whole.trailers == cut.trailers));
    return 0;
}
