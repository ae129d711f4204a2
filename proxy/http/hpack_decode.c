/* A block to fields. Text that is not in Huffman's code is told where it stands. */
#include "proxy/http/hpack.h"
#include "proxy/http/hpack_table.h"
#include "proxy/http/huffman.h"

#include <errno.h>

struct proxy_hpack_decoder {
    struct proxy_hpack_table table;
    bool begun;    /* a field of this block was read: no change of the table's size any more (§4.2) */
    char *scratch; /* for text that was in Huffman's code, as long as a block needs it */
};

void proxy_hpack_decoder_free(struct proxy_hpack_decoder *decoder)
{
    if (decoder != NULL) {
        proxy_hpack_table_done(&decoder->table);
        free(decoder->scratch);
    }
    free(decoder);
}

void proxy_hpack_done(struct proxy_hpack *hpack)
{
    proxy_hpack_encoder_free(fl_take(hpack->encoder));
    proxy_hpack_decoder_free(fl_take(hpack->decoder));
}

static int make(struct proxy_hpack *hpack)
{
    hpack->decoder = calloc(1, sizeof(*hpack->decoder));
    if (hpack->decoder == NULL)
        return -ENOMEM;
    hpack->decoder->table.max = PROXY_HPACK_TABLE;
    return 0;
}

/* What is left of a block. */
struct input {
    const uint8_t *at, *end;
};

/* RFC 7541 §5.1, 32 bits at most; the first octet is there. */
static bool read_number(struct input *input, uint32_t mask, uint32_t *ret_number)
{
    uint64_t number = *input->at++ & mask;
    if (number == mask) {
        for (unsigned shift = 0;; shift += 7) {
            if (input->at == input->end || shift > 28)
                return false;
            uint8_t octet = *input->at++;
            number += (uint64_t)(octet & 0x7f) << shift;
            if (number > UINT32_MAX)
                return false;
            if ((octet & 0x80) == 0)
                break;
        }
    }
    *ret_number = (uint32_t)number;
    return true;
}

/* RFC 7541 §5.2. Decoded text is put at `*scratch`, which moves behind it. 0 or an error. */
static int read_text(struct proxy_hpack_decoder *decoder, struct input *input, char **scratch, struct fl_span *ret_text)
{
    uint32_t len;
    if (input->at == input->end)
        return -EPROTO;
    bool huffman = (*input->at & 0x80) != 0;
    if (!read_number(input, 0x7f, &len) || len > (size_t)(input->end - input->at))
        return -EPROTO;
    *ret_text = fl_span_make(input->at, len);
    input->at += len;
    if (!huffman)
        return 0;
    if (decoder->scratch == NULL) { /* for this text and all that follow in the block */
        decoder->scratch = malloc(PROXY_HUFFMAN_ROOM(len + (size_t)(input->end - input->at)) + 1);
        *scratch = decoder->scratch;
    }
    size_t size;
    if (decoder->scratch == NULL)
        return -ENOMEM;
    if (!proxy_huffman_decode(*ret_text, *scratch, &size))
        return -EPROTO;
    *ret_text = fl_span_make(*scratch, size);
    *scratch += size;
    return 0;
}

/* The field of an index. */
static bool look_up(struct proxy_hpack_decoder *decoder, uint32_t index, struct proxy_hpack_field *ret_field)
{
    if (index == 0)
        return false;
    if (index <= PROXY_HPACK_STATIC) {
        const struct proxy_hpack_pair *pair = &proxy_hpack_static[index - 1];
        *ret_field = (struct proxy_hpack_field){.name = pair->name, .value = pair->value};
        return true;
    }
    const struct proxy_hpack_table *table = &decoder->table;
    uint32_t number = table->newest - (index - PROXY_HPACK_STATIC - 1);
    if (!proxy_hpack_table_has(table, number))
        return false;
    struct proxy_hpack_entry *entry = proxy_hpack_table_at(table, number);
    *ret_field = (struct proxy_hpack_field){.name = proxy_hpack_entry_name(table, entry),
                                            .value = proxy_hpack_entry_value(table, entry),
                                            .note = &entry->note};
    return true;
}

static int read_literal(struct proxy_hpack_decoder *decoder, struct input *input, uint32_t mask,
                        struct proxy_hpack_field *ret_field)
{
    uint32_t index;
    char *scratch = decoder->scratch;
    *ret_field = (struct proxy_hpack_field){.is_volatile = (*input->at & 0xf0) == 0x10};
    if (!read_number(input, mask, &index))
        return -EPROTO;
    struct proxy_hpack_field named;
    int result = 0;
    if (index == 0)
        result = read_text(decoder, input, &scratch, &ret_field->name);
    else if (look_up(decoder, index, &named))
        ret_field->name = named.name;
    else
        return -EPROTO;
    return result < 0 ? result : read_text(decoder, input, &scratch, &ret_field->value);
}

/* A literal that goes into the table (§6.2.1), and is told from there. */
static int read_indexing(struct proxy_hpack_decoder *decoder, struct input *input, struct proxy_hpack_field *ret_field)
{
    int result = read_literal(decoder, input, 0x3f, ret_field);
    if (result < 0)
        return result;
    result = proxy_hpack_table_add(&decoder->table, ret_field->name, ret_field->value);
    return result > 0 && !look_up(decoder, PROXY_HPACK_STATIC + 1, ret_field) ? -EPROTO : result < 0 ? result : 0;
}

static bool read_resize(struct proxy_hpack_decoder *decoder, struct input *input)
{
    uint32_t size;
    if (decoder->begun || !read_number(input, 0x1f, &size) || size > PROXY_HPACK_TABLE)
        return false;
    proxy_hpack_table_resize(&decoder->table, size);
    return true;
}

static int read_field(struct proxy_hpack_decoder *decoder, struct input *input, struct proxy_hpack_field *ret_field)
{
    uint8_t kind = *input->at;
    if ((kind & 0x80) != 0) {
        uint32_t index;
        return read_number(input, 0x7f, &index) && look_up(decoder, index, ret_field) ? 0 : -EPROTO;
    }
    if ((kind & 0x40) != 0)
        return read_indexing(decoder, input, ret_field);
    return read_literal(decoder, input, 0x0f, ret_field);
}

static int end_block(struct proxy_hpack_decoder *decoder)
{
    decoder->begun = false;
    if (decoder->scratch != NULL)
        free(fl_take(decoder->scratch));
    return PROXY_HPACK_END;
}

int proxy_hpack_decode(struct proxy_hpack *hpack, struct fl_span *block, struct proxy_hpack_field *ret_field)
{
    if (hpack->decoder == NULL && make(hpack) < 0)
        return -ENOMEM;
    struct proxy_hpack_decoder *decoder = hpack->decoder;
    if (block->len == 0)
        return end_block(decoder);
    const uint8_t *begin = (const uint8_t *)block->data;
    struct input input = {begin, begin + block->len};
    while (input.at < input.end && (*input.at & 0xe0) == 0x20) {
        if (!read_resize(decoder, &input))
            return -EPROTO;
    }
    if (input.at == input.end)
        return end_block(decoder);
    int result = read_field(decoder, &input, ret_field);
    if (result < 0)
        return result;
    decoder->begun = true;
    *block = fl_span_from(*block, (size_t)(input.at - begin));
    return PROXY_HPACK_FIELD;
}
