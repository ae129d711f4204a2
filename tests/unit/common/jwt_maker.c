#include "tests/unit/common/jwt_maker.h"

#include "common/base/base64.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MAX (1u << 20)

void jwt_maker_init(struct jwt_maker *maker)
{
    maker->rsa = EVP_RSA_gen(2048);
    maker->ec = EVP_EC_gen("P-256");
    assert_true(maker->rsa != NULL && maker->ec != NULL);
}

void jwt_maker_done(struct jwt_maker *maker)
{
    EVP_PKEY_free(maker->rsa);
    EVP_PKEY_free(maker->ec);
}

static char *take_text(struct fl_buf *buf)
{
    const char *text = fl_buf_str(buf);
    assert_non_null(text);
    char *copy = strdup(text);
    assert_non_null(copy);
    fl_buf_done(buf);
    return copy;
}

static void encode(struct fl_buf *out, const void *bytes, size_t len)
{
    assert_int_equal(fl_base64url_encode(fl_span_make(bytes, len), out), 0);
}

static void say(struct fl_buf *out, const char *text)
{
    assert_int_equal(fl_buf_append_str(out, text), 0);
}

static void number(struct fl_buf *out, EVP_PKEY *key, const char *name, int size)
{
    BIGNUM *value = NULL;
    unsigned char bytes[1024];
    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &value), 1);
    size = size > 0 ? size : BN_num_bytes(value);
    assert_int_equal(BN_bn2binpad(value, bytes, size), size);
    encode(out, bytes, (size_t)size);
    BN_free(value);
}

static void print_jwk(struct fl_buf *out, EVP_PKEY *key, const char *more)
{
    bool rsa = EVP_PKEY_is_a(key, "RSA");
    say(out, rsa ? "{\"kty\":\"RSA\",\"n\":\"" : "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"");
    number(out, key, rsa ? OSSL_PKEY_PARAM_RSA_N : OSSL_PKEY_PARAM_EC_PUB_X, rsa ? 0 : 32);
    say(out, rsa ? "\",\"e\":\"" : "\",\"y\":\"");
    number(out, key, rsa ? OSSL_PKEY_PARAM_RSA_E : OSSL_PKEY_PARAM_EC_PUB_Y, rsa ? 0 : 32);
    say(out, "\"");
    say(out, more);
    say(out, "}");
}

char *jwt_maker_jwk(EVP_PKEY *key, const char *more)
{
    struct fl_buf out;
    fl_buf_init(&out, MAX);
    print_jwk(&out, key, more);
    return take_text(&out);
}

char *jwt_maker_jwks(const struct jwt_maker *maker)
{
    struct fl_buf out;
    fl_buf_init(&out, MAX);
    say(&out, "{\"keys\":[");
    print_jwk(&out, maker->rsa, ",\"kid\":\"rsa\",\"alg\":\"RS256\",\"use\":\"sig\"");
    say(&out, ",");
    print_jwk(&out, maker->ec, ",\"kid\":\"ec\",\"alg\":\"ES256\"");
    say(&out, "]}");
    return take_text(&out);
}

static void begin(struct fl_buf *out, const char *header, const char *payload)
{
    fl_buf_init(out, MAX);
    encode(out, header, strlen(header));
    say(out, ".");
    encode(out, payload, strlen(payload));
}

static size_t sign(EVP_PKEY *key, const struct fl_buf *text, unsigned char *to, size_t room)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t len = room;
    assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestSign(context, to, &len, (const unsigned char *)text->data, text->len), 1);
    EVP_MD_CTX_free(context);
    return len;
}

static char *finish(struct fl_buf *out, const void *signature, size_t len)
{
    say(out, ".");
    encode(out, signature, len);
    return take_text(out);
}

char *jwt_sign(EVP_PKEY *key, const char *header, const char *payload)
{
    struct fl_buf out;
    unsigned char signature[1024], pair[64];
    begin(&out, header, payload);
    size_t len = sign(key, &out, signature, sizeof(signature));
    if (EVP_PKEY_is_a(key, "RSA"))
        return finish(&out, signature, len);
    const unsigned char *at = signature;
    ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &at, (long)len);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(parsed), pair, 32), 32);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(parsed), pair + 32, 32), 32);
    ECDSA_SIG_free(parsed);
    return finish(&out, pair, sizeof(pair));
}

char *jwt_sign_der(EVP_PKEY *key, const char *header, const char *payload)
{
    struct fl_buf out;
    unsigned char signature[1024];
    begin(&out, header, payload);
    return finish(&out, signature, sign(key, &out, signature, sizeof(signature)));
}

char *jwt_sign_hmac(struct fl_span secret, const char *header, const char *payload)
{
    struct fl_buf out;
    unsigned char code[EVP_MAX_MD_SIZE];
    unsigned len = sizeof(code);
    begin(&out, header, payload);
    assert_non_null(
        HMAC(EVP_sha256(), secret.data, (int)secret.len, (const unsigned char *)out.data, out.len, code, &len));
    return finish(&out, code, len);
}

char *jwt_join(const char *header, const char *payload, const char *signature)
{
    struct fl_buf out;
    begin(&out, header, payload);
    say(&out, ".");
    say(&out, signature);
    return take_text(&out);
}
