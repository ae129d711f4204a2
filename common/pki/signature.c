#include "common/pki/signature.h"

#include "common/pki/openssl.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>

/* OpenSSL speaks DER (a SEQUENCE of two INTEGERs); JOSE the two numbers side by side. */

#define HALF    (FL_SIGNATURE_SIZE / 2)
#define DER_MAX 80 /* of two numbers of 33 bytes */

static void cleanup_context(EVP_MD_CTX **context)
{
    EVP_MD_CTX_free(*context);
}

static void cleanup_signature(ECDSA_SIG **signature)
{
    ECDSA_SIG_free(*signature);
}

static bool is_p256(const struct fl_key *key)
{
    char curve[32] = "";
    EVP_PKEY *evp = fl_key_evp(key);
    bool is = EVP_PKEY_is_a(evp, "EC") && EVP_PKEY_get_group_name(evp, curve, sizeof(curve), NULL) == 1 &&
              strcmp(curve, "prime256v1") == 0;
    ERR_clear_error();
    return is;
}

int fl_signature_make(const struct fl_key *key, struct fl_span message, unsigned char ret_signature[FL_SIGNATURE_SIZE],
                      struct fl_err *err)
{
    fl_openssl_init();
    if (!is_p256(key))
        return fl_err_set(err, -EINVAL, "cannot sign: the key is not EC on P-256");
    unsigned char der[DER_MAX];
    size_t len = sizeof(der);
    FL_CLEANUP(cleanup_context) EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL || EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, fl_key_evp(key)) != 1 ||
        EVP_DigestSign(context, der, &len, (const unsigned char *)message.data, message.len) != 1)
        return fl_openssl_err(err, -EINVAL, "cannot sign");
    const unsigned char *at = der;
    FL_CLEANUP(cleanup_signature) ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)len);
    if (pair == NULL || BN_bn2binpad(ECDSA_SIG_get0_r(pair), ret_signature, HALF) != HALF ||
        BN_bn2binpad(ECDSA_SIG_get0_s(pair), ret_signature + HALF, HALF) != HALF)
        return fl_openssl_err(err, -EINVAL, "cannot sign");
    return 0;
}

/* The signature as DER, to be freed by OPENSSL_free. 0 or -ENOMEM. */
static int to_der(const unsigned char *bytes, unsigned char **ret_der, size_t *ret_len)
{
    FL_CLEANUP(cleanup_signature) ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes, HALF, NULL), *s = BN_bin2bn(bytes + HALF, HALF, NULL);
    if (pair == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(pair, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        return -ENOMEM;
    }
    unsigned char *der = NULL;
    int len = i2d_ECDSA_SIG(pair, &der);
    if (len <= 0)
        return -ENOMEM;
    *ret_der = der;
    *ret_len = (size_t)len;
    return 0;
}

int fl_signature_check(const struct fl_key *key, struct fl_span message, struct fl_span signature)
{
    fl_openssl_init();
    if (!is_p256(key))
        return -EINVAL;
    if (signature.len != FL_SIGNATURE_SIZE)
        return -EACCES;
    unsigned char *der;
    size_t len;
    int result = to_der((const unsigned char *)signature.data, &der, &len);
    FL_CLEANUP(cleanup_context) EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (result == 0) {
        if (context == NULL || EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, fl_key_evp(key)) != 1)
            result = -ENOMEM;
        else if (EVP_DigestVerify(context, der, len, (const unsigned char *)message.data, message.len) != 1)
            result = -EACCES;
        OPENSSL_free(der);
    }
    ERR_clear_error();
    return result;
}

int fl_signature_check_rs256(const struct fl_key *key, struct fl_span message, struct fl_span signature)
{
    fl_openssl_init();
    EVP_PKEY *evp = fl_key_evp(key);
    if (!EVP_PKEY_is_a(evp, "RSA"))
        return -EINVAL;
    if (signature.len != (size_t)EVP_PKEY_get_size(evp))
        return -EACCES;
    int result = 0;
    FL_CLEANUP(cleanup_context) EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL || EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, evp) != 1)
        result = -ENOMEM;
    else if (EVP_DigestVerify(context, (const unsigned char *)signature.data, signature.len,
                              (const unsigned char *)message.data, message.len) != 1)
        result = -EACCES;
    ERR_clear_error();
    return result;
}
