#include "proxy/http/hpack.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>

/* Through our own malloc, so that the runs of failing allocations reach the tables too. */
static void *take(size_t size, void *user)
{
    (void)user;
    return malloc(size);
}

static void *take_zeroed(size_t count, size_t size, void *user)
{
    (void)user;
    return calloc(count, size);
}

static void *change(void *old, size_t size, void *user)
{
    (void)user;
    return realloc(old, size);
}

static void give(void *memory, void *user)
{
    (void)user;
    free(memory);
}

static nghttp2_mem memory = {NULL, take, give, take_zeroed, change};

void proxy_hpack_done(struct proxy_hpack *hpack)
{
    if (hpack->encoder != NULL)
        nghttp2_hd_deflate_del(fl_take(hpack->encoder));
    if (hpack->decoder != NULL)
        nghttp2_hd_inflate_del(fl_take(hpack->decoder));
}

static int make_encoder(struct proxy_hpack *hpack)
{
    if (nghttp2_hd_deflate_new2(&hpack->encoder, PROXY_HPACK_TABLE, &memory) != 0)
        return -ENOMEM;
    if (hpack->encoder_table > 0 && nghttp2_hd_deflate_change_table_size(hpack->encoder, hpack->encoder_table - 1) != 0)
        return -ENOMEM;
    return 0;
}

int proxy_hpack_limit(struct proxy_hpack *hpack, uint32_t table)
{
    if (hpack->encoder != NULL)
        return nghttp2_hd_deflate_change_table_size(hpack->encoder, table) == 0 ? 0 : -ENOMEM;
    hpack->encoder_table = (table < PROXY_HPACK_TABLE ? table : PROXY_HPACK_TABLE) + 1;
    return 0;
}

/* A literal whose name is a literal too: one byte, two lengths of up to six. Huffman coding is taken only where it is
 * shorter. Two changes of the table's size may stand before the first one. */
size_t proxy_hpack_bound(const struct proxy_hpack_field *fields, size_t count)
{
    size_t size = 12;
    for (size_t i = 0; i < count; i++)
        size += 13 + fields[i].name.len + fields[i].value.len;
    return size;
}

static uint8_t *octets(struct fl_span span)
{
    union {
        const char *from;
        uint8_t *to;
    } pointer = {.from = span.data}; /* nghttp2's fields are not const, but it does not write to them */
    return pointer.to;
}

int proxy_hpack_encode(struct proxy_hpack *hpack, const struct proxy_hpack_field *fields, size_t count, char *to,
                       size_t room, size_t *ret_size)
{
    if (hpack->encoder == NULL && make_encoder(hpack) < 0)
        return -ENOMEM;
    nghttp2_nv list[PROXY_HPACK_FIELDS_MAX];
    for (size_t i = 0; i < count; i++) {
        uint8_t flags = fields[i].is_volatile ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
        list[i] = (nghttp2_nv){octets(fields[i].name), octets(fields[i].value), fields[i].name.len, fields[i].value.len,
                               flags};
    }
    ssize_t size = nghttp2_hd_deflate_hd(hpack->encoder, (uint8_t *)to, room, list, count);
    if (size < 0)
        return -ENOMEM;
    *ret_size = (size_t)size;
    return 0;
}

int proxy_hpack_decode(struct proxy_hpack *hpack, struct fl_span *block, struct proxy_hpack_field *ret_field)
{
    if (hpack->decoder == NULL && nghttp2_hd_inflate_new2(&hpack->decoder, &memory) != 0)
        return -ENOMEM;
    nghttp2_nv field;
    int flags = 0;
    ssize_t size = nghttp2_hd_inflate_hd2(hpack->decoder, &field, &flags, (const uint8_t *)block->data, block->len, 1);
    if (size < 0)
        return size == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
    *block = fl_span_from(*block, (size_t)size);
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        *ret_field = (struct proxy_hpack_field){.name = fl_span_make(field.name, field.namelen),
                                                .value = fl_span_make(field.value, field.valuelen)};
        return PROXY_HPACK_FIELD;
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
        nghttp2_hd_inflate_end_headers(hpack->decoder);
        return PROXY_HPACK_END;
    }
    return -EPROTO;
}
