/* Any bytes as a key set: no crash, and what is taken has keys of one of the two kinds, within the limits. */
#include "common/jose/jwks.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_jwks *keys = NULL;
    struct fl_err err;
    if (fl_jwks_parse(fl_span_make(data, size), &keys, &err) != 0) {
        assert(keys == NULL && err.code < 0);
        return 0;
    }
    assert(keys->count > 0 && keys->count <= FL_JWKS_KEYS_MAX);
    for (size_t i = 0; i < keys->count; i++)
        assert(keys->keys[i].key != NULL && keys->keys[i].kid.len <= FL_JWK_KID_MAX);
    fl_jwks_free(keys);
    return 0;
}
