#include "common/pki/openssl.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192 /* beyond it one verification costs milliseconds */

void fl_openssl_init(void)
{
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
}

int fl_openssl_err(struct fl_err *err, int code, const char *what)
{
    unsigned long error = ERR_get_error();
    const char *reason = ERR_reason_error_string(error);
    ERR_clear_error();
    if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE)
        return fl_err_set(err, -ENOMEM, "%s: out of memory", what);
    return fl_err_set(err, code, "%s%s%s", what, reason != NULL ? ": " : "", reason != NULL ? reason : "");
}

BIO *fl_openssl_reader(struct fl_span bytes, size_t max)
{
    if (bytes.len > max || bytes.len > INT_MAX)
        return NULL;
    return BIO_new_mem_buf(bytes.len > 0 ? bytes.data : "", (int)bytes.len);
}

void fl_openssl_cleanup_bio(BIO **bio)
{
    BIO_free(*bio);
}

static int check_rsa(EVP_PKEY *key, struct fl_err *err)
{
    int bits = EVP_PKEY_get_bits(key);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        return fl_err_set(err, -EINVAL, "an RSA key of %d bits (%d to %d are accepted)", bits, RSA_BITS_MIN,
                          RSA_BITS_MAX);
    return 0;
}

static int check_curve(EVP_PKEY *key, struct fl_err *err)
{
    static const char *const curves[] = {"prime256v1", "secp384r1", "secp521r1"};
    char encoding[16] = "";
    char curve[64] = "";
    EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_EC_ENCODING, encoding, sizeof(encoding), NULL);
    EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof(curve), NULL);
    ERR_clear_error();
    if (strcmp(encoding, OSSL_PKEY_EC_ENCODING_EXPLICIT) == 0)
        return fl_err_set(err, -EINVAL, "an EC key with curve parameters of its own");
    for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++) {
        if (strcmp(curve, curves[i]) == 0)
            return 0;
    }
    return fl_err_set(err, -EINVAL, "an EC key on curve \"%s\" (P-256, P-384 and P-521 are accepted)", curve);
}

int fl_openssl_check_key(EVP_PKEY *key, struct fl_err *err)
{
    if (EVP_PKEY_is_a(key, "EC"))
        return check_curve(key, err);
    if (EVP_PKEY_is_a(key, "RSA"))
        return check_rsa(key, err);
    const char *type = EVP_PKEY_get0_type_name(key);
    return fl_err_set(err, -EINVAL, "a key of type %s (EC and RSA are accepted)", type != NULL ? type : "unknown");
}

bool fl_openssl_point(EVP_PKEY *key, unsigned char ret_point[FL_OPENSSL_POINT_SIZE])
{
    char curve[32] = "";
    size_t len = 0;
    bool is =
        EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL) == 1 &&
        strcmp(curve, "prime256v1") == 0 &&
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, ret_point, FL_OPENSSL_POINT_SIZE, &len) == 1 &&
        len == FL_OPENSSL_POINT_SIZE && ret_point[0] == 4; /* uncompressed */
    ERR_clear_error();
    return is;
}

bool fl_openssl_set_point(X509_PUBKEY *place, const unsigned char point[FL_OPENSSL_POINT_SIZE])
{
    unsigned char *copy = OPENSSL_memdup(point, FL_OPENSSL_POINT_SIZE);
    if (copy != NULL && X509_PUBKEY_set0_param(place, OBJ_nid2obj(NID_X9_62_id_ecPublicKey), V_ASN1_OBJECT,
                                               OBJ_nid2obj(NID_X9_62_prime256v1), copy, FL_OPENSSL_POINT_SIZE) == 1)
        return true;
    OPENSSL_free(copy);
    return false;
}

const EVP_MD *fl_openssl_digest(const EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);
    if (!EVP_PKEY_is_a(key, "EC") || bits <= 256)
        return EVP_sha256();
    return bits <= 384 ? EVP_sha384() : EVP_sha512();
}
