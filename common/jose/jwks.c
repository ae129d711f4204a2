#include "common/jose/jwks.h"

#include "common/base/base64.h"
#include "common/doc/json.h"
#include "common/pki/numbers.h"

#include <errno.h>

#define NUMBER_MAX 1024 /* bytes of one of a key's numbers */

struct reader {
    struct fl_jwks *jwks;
    struct fl_err *err;
    size_t index; /* of the key that is read */
};

static int fail(const struct reader *reader, const char *member, const char *what)
{
    return fl_err_set(reader->err, -EINVAL, "keys[%zu].%s: %s", reader->index, member, what);
}

/* A member that has to be a string where it is there at all. */
static int read_text(const struct reader *reader, const struct fl_json *key, const char *member,
                     struct fl_span *ret_text)
{
    const struct fl_json *value = fl_json_get(key, member);
    if (value != NULL && !fl_json_is(value, FL_JSON_STRING))
        return fail(reader, member, "expected a string");
    *ret_text = fl_json_string(value);
    return 0;
}

static int read_number(const struct reader *reader, const struct fl_json *key, const char *member,
                       struct fl_buf *number)
{
    const struct fl_json *value = fl_json_get(key, member);
    if (!fl_json_is(value, FL_JSON_STRING))
        return fail(reader, member, value == NULL ? "must be set" : "expected a string");
    fl_buf_init(number, NUMBER_MAX);
    int result = fl_base64url_decode(fl_json_string(value), number);
    if (result == -ENOMEM)
        return fl_err_set(reader->err, result, "out of memory");
    return result == 0 ? 0 : fail(reader, member, "expected a number of at most 1024 bytes as base64url");
}

/* -- what a key is for -- */

static bool lists(const struct fl_json *array, const char *text)
{
    for (const struct fl_json *value = fl_json_first(array); value != NULL; value = fl_json_next(value)) {
        if (fl_span_eq_str(fl_json_string(value), text))
            return true;
    }
    return false;
}

struct purpose {
    struct fl_span kty, use, alg, crv, kid;
};

static int read_purpose(const struct reader *reader, const struct fl_json *key, struct purpose *purpose)
{
    int result = read_text(reader, key, "kty", &purpose->kty);
    if (result == 0)
        result = read_text(reader, key, "use", &purpose->use);
    if (result == 0)
        result = read_text(reader, key, "alg", &purpose->alg);
    if (result == 0)
        result = read_text(reader, key, "crv", &purpose->crv);
    if (result == 0)
        result = read_text(reader, key, "kid", &purpose->kid);
    if (result == 0 && purpose->kty.len == 0)
        result = fail(reader, "kty", "must be set");
    if (result == 0 && purpose->kid.len > FL_JWK_KID_MAX)
        result = fail(reader, "kid", "is longer than 256 bytes");
    return result;
}

/* Whether it is one of ours, and for which algorithm. */
static bool is_ours(const struct fl_json *key, const struct purpose *purpose, enum fl_jwk_algorithm *ret_algorithm)
{
    const struct fl_json *operations = fl_json_get(key, "key_ops");
    if (purpose->use.len > 0 && !fl_span_eq_str(purpose->use, "sig"))
        return false;
    if (operations != NULL && !lists(operations, "verify"))
        return false;
    bool rsa = fl_span_eq_str(purpose->kty, "RSA");
    if (!rsa && !(fl_span_eq_str(purpose->kty, "EC") && fl_span_eq_str(purpose->crv, "P-256")))
        return false;
    *ret_algorithm = rsa ? FL_JWK_RS256 : FL_JWK_ES256;
    return purpose->alg.len == 0 || fl_span_eq_str(purpose->alg, rsa ? "RS256" : "ES256");
}

/* -- the key itself -- */

static int read_material(const struct reader *reader, const struct fl_json *key, bool rsa, struct fl_key **ret_key)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf first = {0};
    FL_CLEANUP(fl_buf_done) struct fl_buf second = {0};
    int result = read_number(reader, key, rsa ? "n" : "x", &first);
    if (result == 0)
        result = read_number(reader, key, rsa ? "e" : "y", &second);
    if (result < 0)
        return result;
    result =
        (rsa ? fl_key_from_rsa : fl_key_from_p256)(fl_buf_span(&first), fl_buf_span(&second), ret_key, reader->err);
    if (result < 0)
        fl_err_prefix(reader->err, "keys[%zu]", reader->index);
    return result;
}

static bool is_taken(const struct fl_jwks *jwks, struct fl_span kid, enum fl_jwk_algorithm algorithm)
{
    for (size_t i = 0; i < jwks->count; i++) {
        if (jwks->keys[i].algorithm == algorithm && fl_span_eq(jwks->keys[i].kid, kid))
            return kid.len > 0;
    }
    return false;
}

static int read_key(struct reader *reader, const struct fl_json *key)
{
    struct purpose purpose;
    enum fl_jwk_algorithm algorithm;
    if (!fl_json_is(key, FL_JSON_OBJECT))
        return fl_err_set(reader->err, -EINVAL, "keys[%zu]: expected an object", reader->index);
    int result = read_purpose(reader, key, &purpose);
    if (result < 0 || !is_ours(key, &purpose, &algorithm))
        return result;
    if (is_taken(reader->jwks, purpose.kid, algorithm))
        return fail(reader, "kid", "another key has it");
    struct fl_jwk *jwk = &reader->jwks->keys[reader->jwks->count];
    result = read_material(reader, key, algorithm == FL_JWK_RS256, &jwk->key);
    if (result < 0)
        return result;
    reader->jwks->count++;
    jwk->algorithm = algorithm;
    char *kid = fl_span_dup(purpose.kid);
    if (kid == NULL)
        return fl_err_set(reader->err, -ENOMEM, "out of memory");
    jwk->kid = fl_span_make(kid, purpose.kid.len);
    return 0;
}

static int read_keys(struct reader *reader, const struct fl_json *root)
{
    const struct fl_json *keys = fl_json_get(root, "keys");
    if (!fl_json_is(keys, FL_JSON_ARRAY))
        return fl_err_set(reader->err, -EINVAL, "expected an object with a list \"keys\"");
    size_t count = fl_json_count(keys);
    if (count > FL_JWKS_KEYS_MAX)
        return fl_err_set(reader->err, -EMSGSIZE, "keys: more than %d", FL_JWKS_KEYS_MAX);
    reader->jwks->keys = calloc(count + 1, sizeof(*reader->jwks->keys));
    if (reader->jwks->keys == NULL)
        return fl_err_set(reader->err, -ENOMEM, "out of memory");
    for (const struct fl_json *key = fl_json_first(keys); key != NULL; key = fl_json_next(key)) {
        int result = read_key(reader, key);
        if (result < 0)
            return result;
        reader->index++;
    }
    if (reader->jwks->count == 0)
        return fl_err_set(reader->err, -EINVAL, "keys: none is for RS256 or ES256");
    return 0;
}

struct fl_jwks *fl_jwks_free(struct fl_jwks *jwks)
{
    for (size_t i = 0; jwks != NULL && i < jwks->count; i++) {
        fl_key_unref(jwks->keys[i].key);
        free((char *)(uintptr_t)jwks->keys[i].kid.data);
    }
    if (jwks != NULL)
        free(jwks->keys);
    free(jwks);
    return NULL;
}

int fl_jwks_parse(struct fl_span text, struct fl_jwks **ret_jwks, struct fl_err *err)
{
    static const struct fl_json_limits limits = {.bytes_max = FL_JWKS_BYTES_MAX, .depth_max = 8};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    int result = fl_json_parse(text, &limits, &root, err);
    if (result < 0)
        return result;
    struct reader reader = {.jwks = calloc(1, sizeof(*reader.jwks)), .err = err};
    if (reader.jwks == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    result = read_keys(&reader, root);
    if (result < 0)
        fl_jwks_free(reader.jwks);
    else
        *ret_jwks = reader.jwks;
    return result;
}
