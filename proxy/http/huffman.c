#include "proxy/http/huffman.h"

#include <stdint.h>

/* The code is canonical: of one length the codes follow each other in the order of their symbols, and longer ones
 * follow shorter ones. So the lengths are all there is to it: below, the symbols in that order, where each length
 * begins, and, for the codes of up to eight bits, which are nearly all of a head, symbol and length by the next eight
 * bits. */
static const uint8_t symbols[256] = {
    48,  49,  50,  97,  99,  101, 105, 111, 115, 116, 32,  37,  45,  46,  47,  51,  52,  53,  54,  55,  56,  57,
    61,  65,  95,  98,  100, 102, 103, 104, 108, 109, 110, 112, 114, 117, 58,  66,  67,  68,  69,  70,  71,  72,
    73,  74,  75,  76,  77,  78,  79,  80,  81,  82,  83,  84,  85,  86,  87,  89,  106, 107, 113, 118, 119, 120,
    121, 122, 38,  42,  44,  59,  88,  90,  33,  34,  40,  41,  63,  39,  43,  124, 35,  62,  0,   36,  64,  91,
    93,  126, 94,  125, 60,  96,  123, 92,  195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161, 167, 172,
    176, 177, 179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170,
    173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233, 1,   135, 137, 138, 139, 140, 141, 143, 147,
    149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182, 183, 188, 191, 197, 231, 239, 9,   142,
    144, 145, 148, 159, 171, 206, 215, 225, 236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210, 213,
    218, 219, 238, 240, 242, 243, 255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250,
    251, 252, 253, 254, 2,   3,   4,   5,   6,   7,   8,   11,  12,  14,  15,  16,  17,  18,  19,  20,  21,  23,
    24,  25,  26,  27,  28,  29,  30,  31,  127, 220, 249, 10,  13,  22,
};

struct range {      /* the codes of one length; the bits stand at the top of 32 */
    uint32_t end;   /* the first code behind them */
    uint32_t first; /* their first code, not shifted */
    uint16_t at;    /* of its symbol in the list */
    uint16_t bits;
};
static const struct range longer[] = {
    {0xff400000u, 0x3f8u, 74, 10},      {0xffa00000u, 0x7fau, 79, 11},       {0xffc00000u, 0xffau, 82, 12},
    {0xfff00000u, 0x1ff8u, 84, 13},     {0xfff80000u, 0x3ffcu, 90, 14},      {0xfffe0000u, 0x7ffcu, 92, 15},
    {0xfffe6000u, 0x7fff0u, 95, 19},    {0xfffee000u, 0xfffe6u, 98, 20},     {0xffff4800u, 0x1fffdcu, 106, 21},
    {0xffffb000u, 0x3fffd2u, 119, 22},  {0xffffea00u, 0x7fffd8u, 145, 23},   {0xfffff600u, 0xffffeau, 174, 24},
    {0xfffff800u, 0x1ffffecu, 186, 25}, {0xfffffbc0u, 0x3ffffe0u, 190, 26},  {0xfffffe20u, 0x7ffffdeu, 205, 27},
    {0xfffffff0u, 0xfffffe2u, 224, 28}, {0xfffffffcu, 0x3ffffffcu, 253, 30},
};

static const uint8_t quick[256][2] = {
    /* symbol, bits; 0: a longer code */
    {48, 5},  {48, 5},  {48, 5},  {48, 5},  {48, 5},  {48, 5},  {48, 5},  {48, 5},  {49, 5},  {49, 5},  {49, 5},
    {49, 5},  {49, 5},  {49, 5},  {49, 5},  {49, 5},  {50, 5},  {50, 5},  {50, 5},  {50, 5},  {50, 5},  {50, 5},
    {50, 5},  {50, 5},  {97, 5},  {97, 5},  {97, 5},  {97, 5},  {97, 5},  {97, 5},  {97, 5},  {97, 5},  {99, 5},
    {99, 5},  {99, 5},  {99, 5},  {99, 5},  {99, 5},  {99, 5},  {99, 5},  {101, 5}, {101, 5}, {101, 5}, {101, 5},
    {101, 5}, {101, 5}, {101, 5}, {101, 5}, {105, 5}, {105, 5}, {105, 5}, {105, 5}, {105, 5}, {105, 5}, {105, 5},
    {105, 5}, {111, 5}, {111, 5}, {111, 5}, {111, 5}, {111, 5}, {111, 5}, {111, 5}, {111, 5}, {115, 5}, {115, 5},
    {115, 5}, {115, 5}, {115, 5}, {115, 5}, {115, 5}, {115, 5}, {116, 5}, {116, 5}, {116, 5}, {116, 5}, {116, 5},
    {116, 5}, {116, 5}, {116, 5}, {32, 6},  {32, 6},  {32, 6},  {32, 6},  {37, 6},  {37, 6},  {37, 6},  {37, 6},
    {45, 6},  {45, 6},  {45, 6},  {45, 6},  {46, 6},  {46, 6},  {46, 6},  {46, 6},  {47, 6},  {47, 6},  {47, 6},
    {47, 6},  {51, 6},  {51, 6},  {51, 6},  {51, 6},  {52, 6},  {52, 6},  {52, 6},  {52, 6},  {53, 6},  {53, 6},
    {53, 6},  {53, 6},  {54, 6},  {54, 6},  {54, 6},  {54, 6},  {55, 6},  {55, 6},  {55, 6},  {55, 6},  {56, 6},
    {56, 6},  {56, 6},  {56, 6},  {57, 6},  {57, 6},  {57, 6},  {57, 6},  {61, 6},  {61, 6},  {61, 6},  {61, 6},
    {65, 6},  {65, 6},  {65, 6},  {65, 6},  {95, 6},  {95, 6},  {95, 6},  {95, 6},  {98, 6},  {98, 6},  {98, 6},
    {98, 6},  {100, 6}, {100, 6}, {100, 6}, {100, 6}, {102, 6}, {102, 6}, {102, 6}, {102, 6}, {103, 6}, {103, 6},
    {103, 6}, {103, 6}, {104, 6}, {104, 6}, {104, 6}, {104, 6}, {108, 6}, {108, 6}, {108, 6}, {108, 6}, {109, 6},
    {109, 6}, {109, 6}, {109, 6}, {110, 6}, {110, 6}, {110, 6}, {110, 6}, {112, 6}, {112, 6}, {112, 6}, {112, 6},
    {114, 6}, {114, 6}, {114, 6}, {114, 6}, {117, 6}, {117, 6}, {117, 6}, {117, 6}, {58, 7},  {58, 7},  {66, 7},
    {66, 7},  {67, 7},  {67, 7},  {68, 7},  {68, 7},  {69, 7},  {69, 7},  {70, 7},  {70, 7},  {71, 7},  {71, 7},
    {72, 7},  {72, 7},  {73, 7},  {73, 7},  {74, 7},  {74, 7},  {75, 7},  {75, 7},  {76, 7},  {76, 7},  {77, 7},
    {77, 7},  {78, 7},  {78, 7},  {79, 7},  {79, 7},  {80, 7},  {80, 7},  {81, 7},  {81, 7},  {82, 7},  {82, 7},
    {83, 7},  {83, 7},  {84, 7},  {84, 7},  {85, 7},  {85, 7},  {86, 7},  {86, 7},  {87, 7},  {87, 7},  {89, 7},
    {89, 7},  {106, 7}, {106, 7}, {107, 7}, {107, 7}, {113, 7}, {113, 7}, {118, 7}, {118, 7}, {119, 7}, {119, 7},
    {120, 7}, {120, 7}, {121, 7}, {121, 7}, {122, 7}, {122, 7}, {38, 8},  {42, 8},  {44, 8},  {59, 8},  {88, 8},
    {90, 8},  {0, 0},   {0, 0},
};

/* The code at the top of `bits`; 0 for one that is not of the list, which is EOS alone. */
static unsigned long_code(uint32_t bits, uint8_t *ret_symbol)
{
    for (size_t i = 0; i < sizeof(longer) / sizeof(longer[0]); i++) {
        const struct range *range = &longer[i];
        if (bits < range->end) {
            *ret_symbol = symbols[range->at + (bits >> (32u - range->bits)) - range->first];
            return range->bits;
        }
    }
    return 0;
}

/* What is left is shorter than a code: up to seven bits, all of them set, as EOS begins (RFC 7541 §5.2). */
static bool is_padding(uint64_t bits, unsigned left)
{
    return left < 8 && (left == 0 || bits >> (64 - left) == (1u << left) - 1);
}

bool proxy_huffman_decode(struct fl_span from, char *to, size_t *ret_size)
{
    const char *at = from.data, *end = from.data + from.len;
    char *out = to;
    uint64_t bits = 0; /* the next one on top; behind the last come ones */
    unsigned left = 0;
    for (;;) {
        while (left <= 56 && at < end) {
            bits |= (uint64_t)(uint8_t)*at++ << (56 - left);
            left += 8;
        }
        uint64_t padded = left < 64 ? bits | UINT64_MAX >> left : bits;
        uint8_t symbol = quick[padded >> 56][0];
        unsigned size = quick[padded >> 56][1];
        if (size == 0)
            size = long_code((uint32_t)(padded >> 32), &symbol);
        if (size == 0 || size > left) {
            *ret_size = (size_t)(out - to);
            return is_padding(bits, left);
        }
        *out++ = (char)symbol;
        bits <<= size;
        left -= size;
    }
}
