#include "common/base/siphash.h"

#include <pthread.h>
#include <sys/auxv.h>
#include <sys/random.h>

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static void rounds(uint64_t v[4], unsigned count)
{
    for (; count > 0; count--) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

/* Little-endian, up to 8 bytes. */
static uint64_t word(const char *bytes, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++)
        value |= (uint64_t)(unsigned char)bytes[i] << (8 * i);
    return value;
}

uint64_t fl_siphash_keyed(const uint64_t key[2], unsigned block_rounds, unsigned final_rounds, struct fl_span bytes)
{
    uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                     key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t length = (uint64_t)bytes.len << 56;
    for (; bytes.len >= 8; bytes = fl_span_from(bytes, 8)) {
        uint64_t block = word(bytes.data, 8);
        v[3] ^= block;
        rounds(v, block_rounds);
        v[0] ^= block;
    }
    uint64_t last = length | word(bytes.data, bytes.len);
    v[3] ^= last;
    rounds(v, block_rounds);
    v[0] ^= last;
    v[2] ^= 0xff;
    rounds(v, final_rounds);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* A global, which the house avoids: constant once drawn, and the same for every map so that entries keep their hashes.
 */
static uint64_t seed[2];

/* Where getrandom is refused (a sandbox) or not ready, the 16 random bytes that the kernel gives to every exec. */
static void draw_seed(void)
{
    if (getrandom(seed, sizeof(seed), GRND_NONBLOCK) == (ssize_t)sizeof(seed))
        return;
    const void *random = (const void *)getauxval(AT_RANDOM);
    if (random != NULL)
        memcpy(seed, random, sizeof(seed));
}

uint64_t fl_siphash(struct fl_span bytes)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, draw_seed);
    return fl_siphash_keyed(seed, 1, 3, bytes);
}
