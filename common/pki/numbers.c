#include "common/pki/numbers.h"

#include "common/pki/openssl.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#define MODULUS_MAX  1024 /* bytes */
#define EXPONENT_MAX 4
#define COORDINATE   32

static void cleanup_bn(BIGNUM **number)
{
    BN_free(*number);
}

static void cleanup_build(OSSL_PARAM_BLD **build)
{
    OSSL_PARAM_BLD_free(*build);
}

static void cleanup_params(OSSL_PARAM **params)
{
    OSSL_PARAM_free(*params);
}

static void cleanup_context(EVP_PKEY_CTX **context)
{
    EVP_PKEY_CTX_free(*context);
}

/* A key of `type` with these parameters, checked as every key of the house is. */
static int make_key(const char *type, OSSL_PARAM *params, struct fl_key **ret_key, struct fl_err *err)
{
    EVP_PKEY *evp = NULL;
    FL_CLEANUP(cleanup_context) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (context == NULL || EVP_PKEY_fromdata_init(context) != 1)
        return fl_openssl_err(err, -ENOMEM, "public key");
    if (EVP_PKEY_fromdata(context, &evp, EVP_PKEY_PUBLIC_KEY, params) != 1)
        return fl_openssl_err(err, -EINVAL, "not a public key");
    int result = fl_openssl_check_key(evp, err);
    if (result < 0)
        EVP_PKEY_free(evp);
    else
        *ret_key = fl_key_wrap(evp);
    return result;
}

static int check_number(struct fl_span number, size_t max, const char *what, struct fl_err *err)
{
    if (number.len == 0 || number.len > max)
        return fl_err_set(err, -EINVAL, "%s: expected 1 to %zu bytes, got %zu", what, max, number.len);
    return number.data[0] != 0 ? 0 : fl_err_set(err, -EINVAL, "%s: begins with zeros", what);
}

static BIGNUM *big_number(struct fl_span number)
{
    return BN_bin2bn((const unsigned char *)number.data, (int)number.len, NULL);
}

int fl_key_from_rsa(struct fl_span modulus, struct fl_span exponent, struct fl_key **ret_key, struct fl_err *err)
{
    fl_openssl_init();
    int result = check_number(modulus, MODULUS_MAX, "modulus", err);
    if (result == 0)
        result = check_number(exponent, EXPONENT_MAX, "exponent", err);
    if (result < 0)
        return result;
    FL_CLEANUP(cleanup_bn) BIGNUM *n = big_number(modulus);
    FL_CLEANUP(cleanup_bn) BIGNUM *e = big_number(exponent);
    FL_CLEANUP(cleanup_build) OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    if (n == NULL || e == NULL || build == NULL)
        return fl_err_set(err, -ENOMEM, "public key: out of memory");
    if (!BN_is_odd(e) || BN_is_one(e) || !BN_is_odd(n))
        return fl_err_set(err, -EINVAL, "modulus and exponent must be odd, the exponent 3 or more");
    FL_CLEANUP(cleanup_params) OSSL_PARAM *params = NULL;
    if (OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) != 1 ||
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) != 1 ||
        (params = OSSL_PARAM_BLD_to_param(build)) == NULL)
        return fl_openssl_err(err, -ENOMEM, "public key");
    return make_key("RSA", params, ret_key, err);
}

int fl_key_from_p256(struct fl_span x, struct fl_span y, struct fl_key **ret_key, struct fl_err *err)
{
    fl_openssl_init();
    if (x.len != COORDINATE || y.len != COORDINATE)
        return fl_err_set(err, -EINVAL, "expected coordinates of %d bytes, got %zu and %zu", COORDINATE, x.len, y.len);
    unsigned char point[1 + 2 * COORDINATE] = {4 /* uncompressed */};
    char curve[] = "prime256v1";
    memcpy(point + 1, x.data, COORDINATE);
    memcpy(point + 1 + COORDINATE, y.data, COORDINATE);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
        OSSL_PARAM_construct_end(),
    };
    return make_key("EC", params, ret_key, err);
}
