/* proxy/net/proxyproto: headers of both versions, whole, byte by byte, broken, and written. */
#include "proxy/net/proxyproto.h"

#include "tests/support/guard.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static enum proxy_proto_result parse(struct fl_span bytes, struct proxy_proto *ret)
{
    struct guard guard;
    guard_init(&guard, bytes); /* a byte too far dies */
    enum proxy_proto_result result = proxy_proto_parse(guard.span, ret);
    guard_done(&guard);
    return result;
}

#define V2     "\r\n\r\n\0\r\nQUIT\n"
#define V4     "\xc0\x00\x02\x01\xc0\x00\x02\x02\xc7\x38\x01\xbb"
#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"
#define ONE    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
#define TWO    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02"

static void table_of_headers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct fl_span bytes;
        enum proxy_proto_result result;
        size_t left; /* bytes behind the header */
        const char *source, *destination;
    } rows[] = {
        {"nothing yet", FL_SPAN(""), PROXY_PROTO_MORE, 0, NULL, NULL},
        {"HTTP", FL_SPAN("GET / HTTP/1.1\r\n"), PROXY_PROTO_NONE, 0, NULL, NULL},
        {"a method that begins alike", FL_SPAN("PROPFIND"), PROXY_PROTO_NONE, 0, NULL, NULL},
        {"TLS", FL_SPAN("\x16\x03\x01"), PROXY_PROTO_NONE, 0, NULL, NULL},
        {"an empty line, then text", FL_SPAN("\r\nG"), PROXY_PROTO_NONE, 0, NULL, NULL},
        {"v1 of IPv4", FL_SPAN("PROXY TCP4 192.0.2.1 192.0.2.2 51000 443\r\nGET"), PROXY_PROTO_DONE, 3,
         "192.0.2.1:51000", "192.0.2.2:443"},
        {"v1 of IPv6", FL_SPAN("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n"), PROXY_PROTO_DONE, 0, "[2001:db8::1]:1",
         "[::1]:65535"},
        {"v1 mapped", FL_SPAN("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n"), PROXY_PROTO_DONE, 0,
         "192.0.2.1:1", "192.0.2.2:2"},
        {"v1 mapped on one side", FL_SPAN("PROXY TCP6 ::ffff:192.0.2.1 ::2 1 2\r\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v1 unknown", FL_SPAN("PROXY UNKNOWN\r\nx"), PROXY_PROTO_DONE, 1, "-", "-"},
        {"v1 unknown with more", FL_SPAN("PROXY UNKNOWN ff:: x y z 1 2 3\r\n"), PROXY_PROTO_DONE, 0, "-", "-"},
        {"v1 unknown misspelt", FL_SPAN("PROXY UNKNOWNS\r\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v1 not ended", FL_SPAN("PROXY TCP4 192.0.2.1 192.0.2.2 51000 443"), PROXY_PROTO_MORE, 0, NULL, NULL},
        {"v1 bare LF", FL_SPAN("PROXY TCP4 192.0.2.1 192.0.2.2 51000 443\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v1 nothing in it", FL_SPAN("PROXY \r\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v1 two spaces", FL_SPAN("PROXY TCP4  192.0.2.1 192.0.2.2 51000 443\r\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v1 a field more", FL_SPAN("PROXY TCP4 192.0.2.1 192.0.2.2 51000 443 1\r\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v1 a field less", FL_SPAN("PROXY TCP4 192.0.2.1 192.0.2.2 51000\r\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v1 port too high", FL_SPAN("PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v1 port with a zero", FL_SPAN("PROXY TCP4 192.0.2.1 192.0.2.2 0443 443\r\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v1 port with a sign", FL_SPAN("PROXY TCP4 192.0.2.1 192.0.2.2 +443 443\r\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v1 of another family", FL_SPAN("PROXY TCP4 ::1 ::2 1 2\r\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v1 of another family, too", FL_SPAN("PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v1 with a zone", FL_SPAN("PROXY TCP6 fe80::1%lo fe80::2 1 2\r\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v1 UDP", FL_SPAN("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v1 small letters", FL_SPAN("PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v2 begun", FL_SPAN(V2 "\x21\x11"), PROXY_PROTO_MORE, 0, NULL, NULL},
        {"v2 of IPv4", FL_SPAN(V2 "\x21\x11\x00\x0c" V4 "hi"), PROXY_PROTO_DONE, 2, "192.0.2.1:51000", "192.0.2.2:443"},
        {"v2 with TLVs", FL_SPAN(V2 "\x21\x11\x00\x10" V4 "\x04\x00\x01x"), PROXY_PROTO_DONE, 0, "192.0.2.1:51000",
         "192.0.2.2:443"},
        {"v2 of IPv6", FL_SPAN(V2 "\x21\x21\x00\x24" ONE TWO "\x00\x01\x00\x02"), PROXY_PROTO_DONE, 0, "[::1]:1",
         "[::2]:2"},
        {"v2 mapped on one side", FL_SPAN(V2 "\x21\x21\x00\x24" MAPPED TWO "\x00\x01\x00\x02"), PROXY_PROTO_BAD, 0,
         NULL, NULL},
        {"v2 local", FL_SPAN(V2 "\x20\x00\x00\x00"), PROXY_PROTO_DONE, 0, "-", "-"},
        {"v2 local with addresses", FL_SPAN(V2 "\x20\x11\x00\x0c" V4), PROXY_PROTO_DONE, 0, "-", "-"},
        {"v2 local with rubbish", FL_SPAN(V2 "\x20\x11\x00\x01z"), PROXY_PROTO_DONE, 0, "-", "-"},
        {"v2 unspecified", FL_SPAN(V2 "\x21\x00\x00\x00"), PROXY_PROTO_DONE, 0, "-", "-"},
        {"v2 datagrams", FL_SPAN(V2 "\x21\x12\x00\x0c" V4), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v2 too short", FL_SPAN(V2 "\x21\x11\x00\x0b" V4), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v2 too long", FL_SPAN(V2 "\x21\x11\x20\x01"), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v2 as long as may be", FL_SPAN(V2 "\x21\x11\x20\x00"), PROXY_PROTO_MORE, 0, NULL, NULL},
        {"v2 version 3", FL_SPAN(V2 "\x31\x11\x00\x0c" V4), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v2 unknown command", FL_SPAN(V2 "\x22\x11\x00\x0c" V4), PROXY_PROTO_BAD, 0, NULL, NULL},
        {"v2 unknown family", FL_SPAN(V2 "\x21\x41\x00\x0c" V4), PROXY_PROTO_BAD, 0, NULL, NULL},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_proto header;
        enum proxy_proto_result result = parse(rows[i].bytes, &header);
        if (result != rows[i].result)
            fail_msg("%s: %d", rows[i].name, (int)result);
        if (result != PROXY_PROTO_DONE)
            continue;
        char source[PROXY_ADDRESS_TEXT_MAX], destination[PROXY_ADDRESS_TEXT_MAX];
        proxy_address_print(&header.source, source);
        proxy_address_print(&header.destination, destination);
        if (rows[i].bytes.len - header.size != rows[i].left || strcmp(source, rows[i].source) != 0 ||
            strcmp(destination, rows[i].destination) != 0)
            fail_msg("%s: %zu bytes, %s, %s", rows[i].name, header.size, source, destination);
        for (size_t part = 0; part < header.size; part++) /* the rest of it is always waited for */
            assert_int_equal(parse(fl_span_make(rows[i].bytes.data, part), &header), PROXY_PROTO_MORE);
    }
}

static void a_line_without_end_is_bad(void **state)
{
    (void)state;
    char line[PROXY_PROTO_V1_MAX] = "PROXY UNKNOWN ";
    struct proxy_proto header;
    memset(line + 14, 'x', sizeof(line) - 14);
    assert_int_equal(parse(fl_span_make(line, sizeof(line) - 1), &header), PROXY_PROTO_MORE);
    assert_int_equal(parse(fl_span_make(line, sizeof(line)), &header), PROXY_PROTO_BAD);
    line[sizeof(line) - 2] = '\r';
    line[sizeof(line) - 1] = '\n';
    assert_int_equal(parse(fl_span_make(line, sizeof(line)), &header), PROXY_PROTO_DONE);
}

static struct proxy_address address(const char *text, uint16_t port)
{
    struct proxy_address result = {0};
    assert_int_equal(proxy_address_parse(fl_span_str(text), port, &result), 0);
    return result;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *source, *destination;
    } rows[] = {
        {"192.0.2.1", "192.0.2.2"},
        {"2001:db8::1", "::1"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "fffe:ffff:ffff:ffff:ffff:ffff:255.255.255.255"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        for (unsigned version = 1; version <= 2; version++) {
            struct proxy_address source = address(rows[i].source, 65535),
                                 destination = address(rows[i].destination, 65534);
            struct proxy_proto header;
            char text[PROXY_PROTO_WRITE_MAX];
            size_t size = proxy_proto_write(version, &source, &destination, text);
            assert_int_equal(parse(fl_span_make(text, size), &header), PROXY_PROTO_DONE);
            assert_int_equal(header.size, size);
            assert_int_equal(header.version, version);
            assert_true(proxy_address_eq(&header.source, &source));
            assert_true(proxy_address_eq(&header.destination, &destination));
        }
    }
}

static void addresses_that_are_no_pair_are_unknown(void **state)
{
    (void)state;
    const struct proxy_address v4 = address("192.0.2.1", 1), v6 = address("::1", 1), none = {0};
    const struct proxy_address *const pairs[][2] = {{&v4, &v6}, {&v6, &v4}, {&none, &v4}, {&v4, &none}, {&none, &none}};
    for (size_t i = 0; i < FL_COUNT(pairs); i++) {
        char text[PROXY_PROTO_WRITE_MAX];
        size_t size = proxy_proto_write(1, pairs[i][0], pairs[i][1], text);
        assert_true(fl_span_eq_str(fl_span_make(text, size), "PROXY UNKNOWN\r\n"));
        size = proxy_proto_write(2, pairs[i][0], pairs[i][1], text);
        assert_int_equal(size, PROXY_PROTO_V2_HEAD);
        assert_int_equal(text[12], 0x20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_of_headers),
        cmocka_unit_test(a_line_without_end_is_bad),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(addresses_that_are_no_pair_are_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
