/* proxy/http/hpack.h: the examples of RFC 7541 appendix C, what is never indexed, the peer's limit of the table, and
 * failing allocations. */
#include "proxy/http/hpack.h"
#include "tests/support/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

struct example { /* the blocks of one connection, and what each says */
    const char *what;
    const char *blocks[3], *fields[3];
};

#define REQUEST_1 ":method=GET|:scheme=http|:path=/|:authority=www.example.com|"
#define REQUEST_2 REQUEST_1 "cache-control=no-cache|"
#define REQUEST_3 ":method=GET|:scheme=https|:path=/index.html|:authority=www.example.com|custom-key=custom-value|"

static const struct example examples[] = {
    {"C.2",
     {"400a637573746f6d2d6b65790d637573746f6d2d686561646572", "040c2f73616d706c652f70617468",
      "100870617373776f726406736563726574"},
     {"custom-key=custom-header|", ":path=/sample/path|", "password=secret|"}},
    {"C.3",
     {"828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865",
      "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"},
     {REQUEST_1, REQUEST_2, REQUEST_3}},
    {"C.4",
     {"828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf",
      "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"},
     {REQUEST_1, REQUEST_2, REQUEST_3}},
};

static size_t from_hex(const char *text, char *to)
{
    size_t len = 0;
    for (; text[0] != '\0'; text += 2) {
        unsigned value = 0;
        for (int i = 0; i < 2; i++)
            value = value << 4 | (unsigned)(text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
        to[len++] = (char)value;
    }
    return len;
}

static int read_all(struct proxy_hpack *hpack, struct fl_span block, char *to, size_t size)
{
    struct proxy_hpack_field field;
    size_t len = 0;
    int result;
    to[0] = '\0';
    while ((result = proxy_hpack_decode(hpack, &block, &field)) == PROXY_HPACK_FIELD)
        len += (size_t)snprintf(to + len, size - len, "%.*s=%.*s|", FL_SPAN_ARG(field.name), FL_SPAN_ARG(field.value));
    return result;
}

static void test_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(examples); i++) {
        struct proxy_hpack hpack = {0};
        for (size_t k = 0; k < 3; k++) {
            char block[256], text[512];
            size_t len = from_hex(examples[i].blocks[k], block);
            assert_int_equal(read_all(&hpack, fl_span_make(block, len), text, sizeof(text)), PROXY_HPACK_END);
            assert_string_equal(text, examples[i].fields[k]);
        }
        proxy_hpack_done(&hpack);
    }
}

static const struct proxy_hpack_field fields[] = {
    {{":status", 7}, {"200", 3}, false},
    {{"x-app", 5}, {"something", 9}, false},
    {{"x-request-id", 12}, {"0123456789abcdef", 16}, true},
};

static size_t encode(struct proxy_hpack *hpack, char *to, size_t size)
{
    size_t len = 0;
    assert_true(proxy_hpack_bound(fields, FL_COUNT(fields)) <= size);
    assert_int_equal(proxy_hpack_encode(hpack, fields, FL_COUNT(fields), to, size, &len), 0);
    return len;
}

/* What is volatile is as long the second time, what is not is one byte. */
static void test_volatile_is_not_indexed(void **state)
{
    (void)state;
    struct proxy_hpack writer = {0}, reader = {0};
    char first[256], second[256], text[256];
    size_t first_len = encode(&writer, first, sizeof(first)), second_len = encode(&writer, second, sizeof(second));
    assert_int_equal((unsigned char)second[0], 0x88);
    assert_int_equal((unsigned char)second[1], 0xbe);
    assert_int_equal((unsigned char)second[2] & 0xf0, 0x10);
    assert_true(second_len < first_len && second_len > 10);
    const char *said = ":status=200|x-app=something|x-request-id=0123456789abcdef|";
    assert_int_equal(read_all(&reader, fl_span_make(first, first_len), text, sizeof(text)), PROXY_HPACK_END);
    assert_string_equal(text, said);
    assert_int_equal(read_all(&reader, fl_span_make(second, second_len), text, sizeof(text)), PROXY_HPACK_END);
    assert_string_equal(text, said);
    proxy_hpack_done(&writer);
    proxy_hpack_done(&reader);
}

/* A peer without a table: told in the next block, before or after the first one, and nothing is indexed. */
static void test_limit(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        struct proxy_hpack writer = {0};
        char block[256];
        if (late)
            encode(&writer, block, sizeof(block));
        assert_int_equal(proxy_hpack_limit(&writer, 0), 0);
        size_t len = encode(&writer, block, sizeof(block));
        assert_int_equal(block[0], 0x20);
        assert_int_equal(encode(&writer, block, sizeof(block)), len - 1);
        proxy_hpack_done(&writer);
    }
}

static void test_allocations(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct proxy_hpack writer = {0}, reader = {0};
        char block[256], text[256];
        size_t len = 0;
        int written = proxy_hpack_encode(&writer, fields, FL_COUNT(fields), block, sizeof(block), &len);
        int read = written == 0 ? read_all(&reader, fl_span_make(block, len), text, sizeof(text)) : -ENOMEM;
        fail_stop();
        assert_int_equal(read, fail_happened() ? -ENOMEM : PROXY_HPACK_END);
        proxy_hpack_done(&writer);
        proxy_hpack_done(&reader);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_volatile_is_not_indexed),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
