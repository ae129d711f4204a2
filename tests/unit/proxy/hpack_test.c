/* proxy/http/hpack.h: the examples of RFC 7541 appendix C, what is never indexed, the peer's limit of the table, broken
 * blocks, nghttp2 as the oracle of both directions, and failing allocations. */
#include "proxy/http/hpack.h"
#include "tests/support/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <nghttp2/nghttp2.h>
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
    {{":status", 7}, {"200", 3}, false, NULL},
    {{"x-app", 5}, {"something", 9}, false, NULL},
    {{"x-request-id", 12}, {"0123456789abcdef", 16}, true, NULL},
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

/* What is broken, as COMPRESSION_ERROR has it. */
static const struct {
    const char *what, *block;
} broken[] = {
    {"index 0", "80"},
    {"an index beyond both tables", "be"},
    {"a name's index beyond both tables", "7f000161"},
    {"a number that does not end", "ffff"},
    {"a number of more than 32 bits", "ffffffffff7f"},
    {"a number of six octets", "ff808080808001"},
    {"no value", "41"},
    {"a name longer than the block", "4005616263"},
    {"a value longer than the block", "400161056263"},
    {"the table larger than we allow", "3fe21f"},
    {"the table's size behind a field", "8220"},
    {"EOS in Huffman's code", "400161 84ffffffff"},
    {"padding of zeros", "4001618118"},
    {"padding of a whole octet", "4001618318ffff"},
    {"a code cut short", "40016181fe"},
};

static void test_broken(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(broken); i++) {
        struct proxy_hpack hpack = {0};
        char block[64], text[256], packed[64], *to = packed;
        for (const char *from = broken[i].block; *from != '\0'; from++) {
            if (*from != ' ')
                *to++ = *from;
        }
        *to = '\0';
        size_t len = from_hex(packed, block);
        if (read_all(&hpack, fl_span_make(block, len), text, sizeof(text)) != -EPROTO)
            fail_msg("%s: read as %s", broken[i].what, text);
        proxy_hpack_done(&hpack);
    }
}

/* nghttp2's fields are not const, but it does not write to them. */
static nghttp2_nv line(char *name, size_t name_len, char *value, size_t len)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, name_len, len, NGHTTP2_NV_FLAG_NONE};
}

/* Every octet in nghttp2's Huffman code is read as what it was; so the list of codes is right. */
static void test_huffman(void **state)
{
    (void)state;
    nghttp2_hd_deflater *oracle;
    assert_int_equal(nghttp2_hd_deflate_new(&oracle, 4096), 0);
    struct proxy_hpack hpack = {0};
    for (int octet = 0; octet < 256; octet++) {
        char name[] = "a", value[64], block[256];
        memset(value, 'e', sizeof(value)); /* five bits: so that the code is the shorter one */
        value[7] = (char)octet;
        nghttp2_nv nv = line(name, 1, value, sizeof(value));
        ssize_t len = nghttp2_hd_deflate_hd(oracle, (uint8_t *)block, sizeof(block), &nv, 1);
        assert_true(len > 0 && len < (ssize_t)sizeof(value));
        struct fl_span rest = fl_span_make(block, (size_t)len);
        struct proxy_hpack_field field;
        assert_int_equal(proxy_hpack_decode(&hpack, &rest, &field), PROXY_HPACK_FIELD);
        assert_true(fl_span_eq(field.value, fl_span_make(value, sizeof(value))));
        assert_int_equal(proxy_hpack_decode(&hpack, &rest, &field), PROXY_HPACK_END);
    }
    nghttp2_hd_deflate_del(oracle);
    proxy_hpack_done(&hpack);
}

/* Fields that come and go, through both writers and both readers: the tables stay the same at each end. */
struct churn {
    char names[8][32], values[8][96];
    struct proxy_hpack_field fields[8];
    nghttp2_nv lines[8];
};

static void churn_make(struct churn *churn, uint32_t *seed)
{
    for (size_t i = 0; i < 8; i++) {
        *seed = *seed * 1664525u + 1013904223u;
        uint32_t value = *seed >> 16;
        int name_len = snprintf(churn->names[i], sizeof(churn->names[i]), i < 2 ? "content-type" : "x-%u", value % 23);
        int len = snprintf(churn->values[i], sizeof(churn->values[i]), "%0*u", (int)(value % 80), value % 7);
        churn->fields[i] =
            (struct proxy_hpack_field){fl_span_make(churn->names[i], (size_t)name_len),
                                       fl_span_make(churn->values[i], (size_t)len), value % 11 == 0, NULL};
        churn->lines[i] = line(churn->names[i], (size_t)name_len, churn->values[i], (size_t)len);
    }
}

static void same_fields(struct proxy_hpack *reader, struct fl_span block, const struct churn *churn)
{
    struct proxy_hpack_field field;
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(proxy_hpack_decode(reader, &block, &field), PROXY_HPACK_FIELD);
        assert_true(fl_span_eq(field.name, churn->fields[i].name) && fl_span_eq(field.value, churn->fields[i].value));
    }
    assert_int_equal(proxy_hpack_decode(reader, &block, &field), PROXY_HPACK_END);
}

static void oracle_reads(nghttp2_hd_inflater *oracle, struct fl_span block, const struct churn *churn)
{
    size_t count = 0;
    for (int flags = 0; (flags & NGHTTP2_HD_INFLATE_FINAL) == 0; flags = flags & NGHTTP2_HD_INFLATE_FINAL) {
        nghttp2_nv nv;
        ssize_t size = nghttp2_hd_inflate_hd2(oracle, &nv, &flags, (const uint8_t *)block.data, block.len, 1);
        assert_true(size >= 0);
        block = fl_span_from(block, (size_t)size);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0)
            continue;
        assert_true(count < 8 && fl_span_eq(fl_span_make(nv.name, nv.namelen), churn->fields[count].name));
        assert_true(fl_span_eq(fl_span_make(nv.value, nv.valuelen), churn->fields[count].value));
        assert_int_equal((nv.flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0, churn->fields[count].is_volatile);
        count++;
    }
    assert_int_equal(count, 8);
    nghttp2_hd_inflate_end_headers(oracle);
}

static void test_oracle(void **state)
{
    (void)state;
    static const uint32_t limits[] = {4096, 300, 0, 4096, 64, 1000};
    nghttp2_hd_deflater *deflater;
    nghttp2_hd_inflater *inflater;
    assert_int_equal(nghttp2_hd_deflate_new(&deflater, 4096), 0);
    assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
    struct proxy_hpack ours = {0}, of_ours = {0}, of_theirs = {0};
    uint32_t seed = 7;
    for (size_t round = 0; round < 6000; round++) {
        struct churn churn;
        char block[2048];
        size_t len = 0;
        churn_make(&churn, &seed);
        if (round % 1000 == 999) {
            uint32_t limit = limits[round / 1000];
            assert_int_equal(proxy_hpack_limit(&ours, limit), 0);
            assert_int_equal(nghttp2_hd_deflate_change_table_size(deflater, limit), 0);
        }
        assert_int_equal(proxy_hpack_encode(&ours, churn.fields, 8, block, sizeof(block), &len), 0);
        same_fields(&of_ours, fl_span_make(block, len), &churn);
        oracle_reads(inflater, fl_span_make(block, len), &churn);
        ssize_t size = nghttp2_hd_deflate_hd(deflater, (uint8_t *)block, sizeof(block), churn.lines, 8);
        assert_true(size > 0);
        same_fields(&of_theirs, fl_span_make(block, (size_t)size), &churn);
    }
    nghttp2_hd_deflate_del(deflater);
    nghttp2_hd_inflate_del(inflater);
    proxy_hpack_done(&ours);
    proxy_hpack_done(&of_ours);
    proxy_hpack_done(&of_theirs);
}

/* A note stays with its entry while that is in the table. */
static void test_note(void **state)
{
    (void)state;
    struct proxy_hpack writer = {0}, reader = {0};
    for (int i = 0; i < 3; i++) {
        char text[256];
        struct fl_span block = fl_span_make(text, encode(&writer, text, sizeof(text)));
        struct proxy_hpack_field field;
        assert_int_equal(proxy_hpack_decode(&reader, &block, &field), PROXY_HPACK_FIELD);
        assert_null(field.note);
        assert_int_equal(proxy_hpack_decode(&reader, &block, &field), PROXY_HPACK_FIELD);
        assert_int_equal(*field.note, i == 0 ? 0 : 42);
        *field.note = 42;
        assert_int_equal(proxy_hpack_decode(&reader, &block, &field), PROXY_HPACK_FIELD);
        assert_true(field.note == NULL && field.is_volatile);
        assert_int_equal(proxy_hpack_decode(&reader, &block, &field), PROXY_HPACK_END);
    }
    proxy_hpack_done(&writer);
    proxy_hpack_done(&reader);
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
        cmocka_unit_test(test_examples), cmocka_unit_test(test_volatile_is_not_indexed),
        cmocka_unit_test(test_limit),    cmocka_unit_test(test_broken),
        cmocka_unit_test(test_huffman),  cmocka_unit_test(test_oracle),
        cmocka_unit_test(test_note),     cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
