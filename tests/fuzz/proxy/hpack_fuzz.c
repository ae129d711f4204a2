/* Header blocks, one after the other on a connection: each begins with two bytes of length. nghttp2 reads the same, or
 * refuses it too. What can be read is written again, and reads the same on the other side. */
#include "proxy/http/hpack.h"

#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIELDS 64
#define TEXT   16384

static struct proxy_hpack_field fields[FIELDS];
static char text[TEXT], written[65536];
static size_t count, used;

static bool keep(const struct proxy_hpack_field *field)
{
    size_t size = field->name.len + field->value.len;
    if (count == FIELDS || size > sizeof(text) - used)
        return false;
    char *name = text + used, *value = name + field->name.len;
    if (field->name.len > 0)
        memcpy(name, field->name.data, field->name.len);
    if (field->value.len > 0)
        memcpy(value, field->value.data, field->value.len);
    used += size;
    bool is_volatile = (count & 3) == 3;
    fields[count++] = (struct proxy_hpack_field){fl_span_make(name, field->name.len),
                                                 fl_span_make(value, field->value.len), is_volatile, NULL};
    return true;
}

/* The oracle's next field: as proxy_hpack_decode has it. */
static int oracle_next(nghttp2_hd_inflater *oracle, struct fl_span *block, nghttp2_nv *ret_field)
{
    int flags = 0;
    ssize_t size = nghttp2_hd_inflate_hd2(oracle, ret_field, &flags, (const uint8_t *)block->data, block->len, 1);
    if (size < 0)
        return -EPROTO;
    *block = fl_span_from(*block, (size_t)size);
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
        return PROXY_HPACK_FIELD;
    assert((flags & NGHTTP2_HD_INFLATE_FINAL) != 0);
    nghttp2_hd_inflate_end_headers(oracle);
    return PROXY_HPACK_END;
}

static bool read_block(struct proxy_hpack *hpack, nghttp2_hd_inflater *oracle, struct fl_span block, bool *ret_kept)
{
    struct proxy_hpack_field field = {0};
    struct fl_span again = block;
    nghttp2_nv other;
    int result;
    count = used = 0;
    *ret_kept = true;
    do {
        result = proxy_hpack_decode(hpack, &block, &field);
        int expected = oracle_next(oracle, &again, &other);
        assert(result == expected);
        if (result != PROXY_HPACK_FIELD)
            break;
        assert(fl_span_eq(field.name, fl_span_make(other.name, other.namelen)));
        assert(fl_span_eq(field.value, fl_span_make(other.value, other.valuelen)));
        assert(field.is_volatile == ((other.flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0));
        if (field.note != NULL)
            ++*field.note;
        *ret_kept = *ret_kept && keep(&field);
    } while (result == PROXY_HPACK_FIELD);
    return result == PROXY_HPACK_END;
}

static void write_again(struct proxy_hpack *writer, struct proxy_hpack *reader)
{
    size_t len = 0, bound = proxy_hpack_bound(fields, count);
    if (bound > sizeof(written))
        return;
    int result = proxy_hpack_encode(writer, fields, count, written, bound, &len);
    assert(result == 0 && len <= bound);
    struct fl_span block = fl_span_make(written, len);
    struct proxy_hpack_field field;
    for (size_t i = 0; i < count; i++) {
        result = proxy_hpack_decode(reader, &block, &field);
        assert(result == PROXY_HPACK_FIELD);
        assert(fl_span_eq(field.name, fields[i].name) && fl_span_eq(field.value, fields[i].value));
    }
    result = proxy_hpack_decode(reader, &block, &field);
    assert(result == PROXY_HPACK_END);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_hpack first = {0}, writer = {0}, reader = {0};
    nghttp2_hd_inflater *oracle;
    bool fine = nghttp2_hd_inflate_new(&oracle) == 0;
    assert(fine);
    while (fine && size >= 2) {
        size_t len = (size_t)data[0] << 8 | data[1];
        if (len >= 0xfff0) { /* the peer's SETTINGS_HEADER_TABLE_SIZE */
            int result = proxy_hpack_limit(&writer, (uint32_t)(len - 0xfff0) * 64);
            assert(result == 0);
            len = 0;
        }
        len = len < size - 2 ? len : size - 2;
        bool kept;
        fine = read_block(&first, oracle, fl_span_make(data + 2, len), &kept);
        if (fine && kept)
            write_again(&writer, &reader);
        data += 2 + len;
        size -= 2 + len;
    }
    nghttp2_hd_inflate_del(oracle);
    proxy_hpack_done(&first);
    proxy_hpack_done(&writer);
    proxy_hpack_done(&reader);
    return 0;
}
