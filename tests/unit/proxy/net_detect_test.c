/* proxy/net/detect: what first bytes are, whole, byte by byte, cut into records, and broken. */
#include "proxy/net/detect.h"

#include "common/base/buf.h"
#include "tests/support/guard.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static enum proxy_detect_result detect(struct fl_span bytes, unsigned wanted, struct proxy_detect *ret)
{
    struct guard guard;
    guard_init(&guard, bytes); /* a byte too far dies */
    enum proxy_detect_result result = proxy_detect(guard.span, wanted, ret);
    guard_done(&guard);
    return result;
}

static void put(struct fl_buf *buf, size_t value, size_t width)
{
    for (size_t i = width; i-- > 0;)
        assert_int_equal(fl_buf_append_byte(buf, (char)(value >> (8 * i))), 0);
}

static void put_text(struct fl_buf *buf, const char *text)
{
    assert_int_equal(fl_buf_append_str(buf, text), 0);
}

/* A handshake message: ClientHello with SNI, the tokens, and `padding` bytes in an extension that nobody knows. */
static void put_hello(struct fl_buf *out, const char *name, const char *const *tokens, size_t padding)
{
    struct fl_buf body, extensions;
    fl_buf_init(&body, 65536);
    fl_buf_init(&extensions, 65536);
    if (name != NULL) {
        put(&extensions, 0, 2);
        put(&extensions, strlen(name) + 5, 2);
        put(&extensions, strlen(name) + 3, 2);
        put(&extensions, 0, 1);
        put(&extensions, strlen(name), 2);
        put_text(&extensions, name);
    }
    size_t list = 0;
    for (size_t i = 0; tokens != NULL && tokens[i] != NULL; i++)
        list += 1 + strlen(tokens[i]);
    if (list > 0) {
        put(&extensions, 16, 2);
        put(&extensions, list + 2, 2);
        put(&extensions, list, 2);
        for (size_t i = 0; tokens[i] != NULL; i++) {
            put(&extensions, strlen(tokens[i]), 1);
            put_text(&extensions, tokens[i]);
        }
    }
    if (padding > 0) {
        put(&extensions, 21, 2);
        put(&extensions, padding, 2);
        for (size_t i = 0; i < padding; i++)
            put(&extensions, 0, 1);
    }
    put(&body, 0x0303, 2);
    for (int i = 0; i < 32; i++)
        put(&body, 7, 1);
    put(&body, 0, 1);
    put(&body, 2, 2);
    put(&body, 0x1301, 2);
    put(&body, 0x0100, 2);
    put(&body, extensions.len, 2);
    assert_int_equal(fl_buf_append(&body, fl_buf_span(&extensions)), 0);
    put(out, 1, 1);
    put(out, body.len, 3);
    assert_int_equal(fl_buf_append(out, fl_buf_span(&body)), 0);
    fl_buf_done(&body);
    fl_buf_done(&extensions);
}

/* The message in records of at most `piece` bytes. */
static void put_records(struct fl_buf *out, struct fl_span message, size_t piece)
{
    while (message.len > 0) {
        size_t part = message.len < piece ? message.len : piece;
        put(out, 0x16, 1);
        put(out, 0x0301, 2);
        put(out, part, 2);
        assert_int_equal(fl_buf_append(out, fl_span_make(message.data, part)), 0);
        message = fl_span_from(message, part);
    }
}

static void hello(struct fl_buf *out, const char *name, const char *const *tokens, size_t padding, size_t piece)
{
    struct fl_buf message;
    fl_buf_init(&message, 65536);
    fl_buf_init(out, 131072);
    put_hello(&message, name, tokens, padding);
    put_records(out, fl_buf_span(&message), piece);
    fl_buf_done(&message);
}

static const char *const mesh[] = {"fairlead-tcp/1", "h2", NULL};

static void a_hello_gives_its_names(void **state)
{
    (void)state;
    static const size_t pieces[] = {16384, 1, 2, 3, 5, 50}; /* cut into records of that size */
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct fl_buf bytes;
        struct proxy_detect found;
        hello(&bytes, "Web.Demo", mesh, 0, pieces[i]);
        assert_int_equal(detect(fl_buf_span(&bytes), PROXY_DETECT_WANT_TLS, &found), PROXY_DETECT_TLS);
        assert_string_equal(found.server_name, "web.demo");
        assert_int_equal(found.alpn_count, 2);
        assert_int_equal(found.alpn_len[0], 14);
        assert_memory_equal(found.alpn[0], "fairlead-tcp/1", 14);
        for (size_t cut = 0; cut < bytes.len; cut++) /* every byte split */
            assert_int_equal(detect(fl_span_make(bytes.data, cut), 3, &found), PROXY_DETECT_MORE);
        put_text(&bytes, "more"); /* what follows does not matter */
        assert_int_equal(detect(fl_buf_span(&bytes), 3, &found), PROXY_DETECT_TLS);
        fl_buf_done(&bytes);
    }
}

static void a_hello_without_names_is_tls(void **state)
{
    (void)state;
    struct fl_buf bytes;
    struct proxy_detect found;
    hello(&bytes, NULL, NULL, 0, 16384);
    assert_int_equal(detect(fl_buf_span(&bytes), PROXY_DETECT_WANT_TLS, &found), PROXY_DETECT_TLS);
    assert_int_equal(found.alpn_count, 0);
    assert_int_equal(found.server_name_len, 0);
    fl_buf_done(&bytes);
}

static void a_huge_hello_is_tls_without_names_and_never_waits_for_ever(void **state)
{
    (void)state;
    struct fl_buf bytes;
    struct proxy_detect found;
    hello(&bytes, "a", mesh, 40000, 16000);
    assert_int_equal(detect(fl_span_make(bytes.data, 200), 3, &found), PROXY_DETECT_TLS); /* its length says so */
    assert_int_equal(detect(fl_buf_span(&bytes), 3, &found), PROXY_DETECT_TLS);
    assert_int_equal(found.alpn_count, 0);
    fl_buf_done(&bytes);
    hello(&bytes, "a", mesh, 16000, 1); /* many tiny records: more bytes than are looked at */
    assert_int_equal(detect(fl_buf_span(&bytes), 3, &found), PROXY_DETECT_TLS);
    fl_buf_done(&bytes);
}

static void every_single_byte_broken_is_never_read_too_far(void **state)
{
    (void)state;
    struct fl_buf bytes;
    struct proxy_detect found;
    hello(&bytes, "web.demo", mesh, 0, 16384);
    for (size_t i = 0; i < bytes.len; i++) {
        char kept = bytes.data[i];
        for (int value = 0; value < 256; value += 15) {
            bytes.data[i] = (char)value;
            (void)!detect(fl_buf_span(&bytes), 3, &found);
        }
        bytes.data[i] = kept;
    }
    fl_buf_done(&bytes);
}

static void a_malformed_hello_is_other(void **state)
{
    (void)state;
    struct fl_buf bytes;
    struct proxy_detect found;
    hello(&bytes, "web.demo", mesh, 0, 16384);
    bytes.data[5 + 4 + 2 + 32] = (char)0xff; /* a session id beyond the end */
    assert_int_equal(detect(fl_buf_span(&bytes), 3, &found), PROXY_DETECT_OTHER);
    assert_int_equal(found.alpn_count, 0);
    fl_buf_done(&bytes);
}

static void table_of_first_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct fl_span bytes;
        unsigned wanted;
        enum proxy_detect_result result;
    } rows[] = {
        {"nothing yet", FL_SPAN(""), 3, PROXY_DETECT_MORE},
        {"nothing wanted", FL_SPAN("GET"), 0, PROXY_DETECT_OTHER},
        {"TLS wanted, text", FL_SPAN("G"), PROXY_DETECT_WANT_TLS, PROXY_DETECT_OTHER},
        {"TLS alert record", FL_SPAN("\x15\x03\x03"), PROXY_DETECT_WANT_TLS, PROXY_DETECT_OTHER},
        {"handshake byte, wrong major", FL_SPAN("\x16\x02"), PROXY_DETECT_WANT_TLS, PROXY_DETECT_OTHER},
        {"empty record", FL_SPAN("\x16\x03\x01\x00\x00"), PROXY_DETECT_WANT_TLS, PROXY_DETECT_OTHER},
        {"record too long", FL_SPAN("\x16\x03\x01\x40\x01"), PROXY_DETECT_WANT_TLS, PROXY_DETECT_OTHER},
        {"a ServerHello", FL_SPAN("\x16\x03\x01\x00\x05\x02"), PROXY_DETECT_WANT_TLS, PROXY_DETECT_OTHER},
        {"HTTP/1 not wanted", FL_SPAN("GET / HTTP/1.1\r\n"), PROXY_DETECT_WANT_TLS, PROXY_DETECT_OTHER},
        {"HTTP/1.1", FL_SPAN("GET / HTTP/1.1\r\n"), 3, PROXY_DETECT_HTTP1},
        {"HTTP/1.0, bare LF", FL_SPAN("GET / HTTP/1.0\n"), 3, PROXY_DETECT_HTTP1},
        {"line not ended", FL_SPAN("GET / HTTP/1.1"), 3, PROXY_DETECT_MORE},
        {"method not ended", FL_SPAN("GE"), 3, PROXY_DETECT_MORE},
        {"no version", FL_SPAN("GET /\r\n"), 3, PROXY_DETECT_OTHER},
        {"no target", FL_SPAN("GET HTTP/1.1\r\n"), 3, PROXY_DETECT_OTHER},
        {"HTTP/2.0 in words", FL_SPAN("GET / HTTP/2.0\r\n"), 3, PROXY_DETECT_OTHER},
        {"control byte", FL_SPAN("GET /\x01 HTTP/1.1\r\n"), 3, PROXY_DETECT_OTHER},
        {"endless method", FL_SPAN("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 3, PROXY_DETECT_OTHER},
        {"not a method", FL_SPAN("\x00\x01"), 3, PROXY_DETECT_OTHER},
        {"HTTP/2 begun", FL_SPAN("PRI * HT"), 3, PROXY_DETECT_MORE},
        {"HTTP/2", FL_SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00"), 3, PROXY_DETECT_HTTP2},
        {"P is also a POST", FL_SPAN("POST / HTTP/1.1\r\n"), 3, PROXY_DETECT_HTTP1},
        {"SSH", FL_SPAN("SSH-2.0-OpenSSH\r\n"), 3, PROXY_DETECT_OTHER},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct proxy_detect found;
        enum proxy_detect_result result = detect(rows[i].bytes, rows[i].wanted, &found);
        if (result != rows[i].result)
            fail_msg("%s: %d", rows[i].name, (int)result);
    }
}

static void a_request_line_without_end_is_other(void **state)
{
    (void)state;
    struct fl_buf bytes;
    struct proxy_detect found;
    fl_buf_init(&bytes, 65536);
    put_text(&bytes, "GET /");
    while (bytes.len < PROXY_DETECT_LINE_MAX)
        put_text(&bytes, "a");
    assert_int_equal(detect(fl_buf_span(&bytes), 3, &found), PROXY_DETECT_OTHER);
    fl_buf_done(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hello_gives_its_names),
        cmocka_unit_test(a_hello_without_names_is_tls),
        cmocka_unit_test(a_huge_hello_is_tls_without_names_and_never_waits_for_ever),
        cmocka_unit_test(every_single_byte_broken_is_never_read_too_far),
        cmocka_unit_test(a_malformed_hello_is_other),
        cmocka_unit_test(table_of_first_bytes),
        cmocka_unit_test(a_request_line_without_end_is_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
