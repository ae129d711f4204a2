/* What escaping makes of any bytes is UTF-8 without controls and with every quote escaped, it ends, and what is cut off
 * a text joins up with the rest. */
#include "common/base/buf.h"
#include "common/base/utf8.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_string(struct fl_span json)
{
    assert(json.len >= 2 && json.data[0] == '"' && json.data[json.len - 1] == '"');
    struct fl_span rest = fl_span_make(json.data + 1, json.len - 2);
    while (rest.len > 0) {
        size_t length = fl_utf8_length(rest);
        unsigned char first = (unsigned char)rest.data[0];
        assert(length > 0 && first >= 0x20 && first != 0x7f && first != '"');
        if (first == '\\') {
            assert(rest.len > 1 && memchr("\"\\nrtu", rest.data[1], 6) != NULL);
            length = rest.data[1] == 'u' ? 6 : 2;
            assert(length <= rest.len);
        }
        rest = fl_span_from(rest, length);
    }
}

static void check_cut(struct fl_span text, size_t max)
{
    struct fl_span front = fl_utf8_cut(text, max);
    assert(front.len <= text.len && front.len <= max && (text.len <= max || max - front.len < 4));
    assert(front.len == text.len || front.data == text.data);
    /* The byte before the cut does not begin a sequence that goes on behind it. */
    for (size_t back = 1; back <= 3 && back <= front.len; back++)
        assert(fl_utf8_length(fl_span_from(text, front.len - back)) <= back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span text = fl_span_make(data, size);
    struct fl_buf buf;
    fl_buf_init(&buf, size * 6 + 2);
    int result = fl_buf_append_json_string(&buf, text);
    assert(result == 0);
    (void)result;
    check_string(fl_buf_span(&buf));
    for (size_t max = 0; max <= size && max < 300; max++)
        check_cut(text, max);
    fl_buf_done(&buf);
    return 0;
}
