#include "common/pki/key.h"

#include "common/pki/openssl.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

/* OpenSSL counts its keys already: a struct fl_key is the EVP_PKEY under another name. */

EVP_PKEY *fl_key_evp(const struct fl_key *key)
{
    union {
        const struct fl_key *key;
        EVP_PKEY *evp;
    } same = {.key = key};
    return same.evp;
}

struct fl_key *fl_key_wrap(EVP_PKEY *evp)
{
    return (struct fl_key *)(void *)evp;
}

struct fl_key *fl_key_ref(struct fl_key *key)
{
    if (key != NULL)
        EVP_PKEY_up_ref(fl_key_evp(key));
    return key;
}

struct fl_key *fl_key_unref(struct fl_key *key)
{
    EVP_PKEY_free(fl_key_evp(key));
    return NULL;
}

void fl_cleanup_key(struct fl_key **key)
{
    fl_key_unref(*key);
}

int fl_key_generate(struct fl_key **ret_key, struct fl_err *err)
{
    fl_openssl_init();
    EVP_PKEY *evp = EVP_EC_gen("P-256");
    if (evp == NULL)
        return fl_openssl_err(err, -EIO, "cannot make a key");
    *ret_key = fl_key_wrap(evp);
    return 0;
}

/* Never asks anybody for a passphrase; notes that one was wanted. */
static int refuse_passphrase(char *text, int size, int for_writing, void *wanted)
{
    (void)text, (void)size, (void)for_writing;
    *(bool *)wanted = true;
    return -1;
}

static int check_parsed(EVP_PKEY *evp, struct fl_err *err)
{
    int result = fl_openssl_check_key(evp, err);
    if (result < 0)
        fl_err_prefix(err, "private key");
    return result;
}

int fl_key_parse(struct fl_span pem, struct fl_key **ret_key, struct fl_err *err)
{
    fl_openssl_init();
    if (pem.len > FL_KEY_PEM_MAX)
        return fl_err_set(err, -EINVAL, "private key: more than %d bytes", FL_KEY_PEM_MAX);
    FL_CLEANUP(fl_openssl_cleanup_bio) BIO *bio = fl_openssl_reader(pem, FL_KEY_PEM_MAX);
    if (bio == NULL)
        return fl_openssl_err(err, -ENOMEM, "private key");
    bool encrypted = false;
    EVP_PKEY *evp = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &encrypted);
    if (evp == NULL) {
        int result = fl_openssl_err(err, -EINVAL, "private key");
        return encrypted ? fl_err_set(err, -EINVAL, "private key: it is encrypted") : result;
    }
    ERR_clear_error();
    int result = check_parsed(evp, err);
    if (result < 0)
        EVP_PKEY_free(evp);
    else
        *ret_key = fl_key_wrap(evp);
    return result;
}

/* What stands before the number of a P-256 key, and between that and its point, in its PrivateKeyInfo (RFC 5208, 5915).
 */
static const unsigned char private_head[] = {0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86,
                                             0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
                                             0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20};
static const unsigned char private_middle[] = {0xa1, 0x44, 0x03, 0x42, 0x00};

#define P256_SIZE        32
#define PRIVATE_DER_SIZE (sizeof(private_head) + P256_SIZE + sizeof(private_middle) + FL_OPENSSL_POINT_SIZE)

/* False: no private key on P-256. */
static bool private_der(EVP_PKEY *key, unsigned char ret_der[PRIVATE_DER_SIZE])
{
    unsigned char *number = ret_der + sizeof(private_head), *middle = number + P256_SIZE;
    BIGNUM *secret = NULL;
    bool done = fl_openssl_point(key, middle + sizeof(private_middle)) &&
                EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &secret) == 1 &&
                BN_bn2binpad(secret, number, P256_SIZE) == P256_SIZE;
    BN_clear_free(secret);
    memcpy(ret_der, private_head, sizeof(private_head));
    memcpy(middle, private_middle, sizeof(private_middle));
    ERR_clear_error();
    return done;
}

/* OpenSSL's own way makes its encoders, which stay (openssl.h). */
static bool print_private(BIO *bio, EVP_PKEY *key)
{
    unsigned char der[PRIVATE_DER_SIZE];
    bool done = private_der(key, der) ? PEM_write_bio(bio, PEM_STRING_PKCS8INF, "", der, sizeof(der)) > 0
                                      : PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1;
    OPENSSL_cleanse(der, sizeof(der));
    return done;
}

int fl_key_print(const struct fl_key *key, struct fl_buf *out)
{
    /* A memory BIO wipes what it held when it is freed. */
    FL_CLEANUP(fl_openssl_cleanup_bio) BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL)
        return fl_openssl_err(NULL, -ENOMEM, "");
    if (!print_private(bio, fl_key_evp(key)))
        return fl_openssl_err(NULL, -EINVAL, "");
    char *text;
    long length = BIO_get_mem_data(bio, &text);
    return fl_buf_append(out, fl_span_make(text, (size_t)length));
}

/* What stands before the point of a P-256 key in its SubjectPublicKeyInfo (RFC 5480): nearly every key of a mesh.
 * OpenSSL's own coders take a hundred microseconds for it. */
static const unsigned char p256_head[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
                                          0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};

int fl_key_print_public(const struct fl_key *key, struct fl_buf *out)
{
    unsigned char point[FL_OPENSSL_POINT_SIZE], *der = NULL;
    if (fl_openssl_point(fl_key_evp(key), point)) {
        int result = fl_buf_reserve(out, sizeof(p256_head) + sizeof(point));
        if (result == 0)
            result = fl_buf_append(out, fl_span_make(p256_head, sizeof(p256_head)));
        return result == 0 ? fl_buf_append(out, fl_span_make(point, sizeof(point))) : result;
    }
    int len = i2d_PUBKEY(fl_key_evp(key), &der);
    if (len <= 0)
        return fl_openssl_err(NULL, -ENOMEM, "");
    int result = fl_buf_append(out, fl_span_make(der, (size_t)len));
    OPENSSL_free(der);
    return result;
}

static bool is_p256(struct fl_span der)
{
    return der.len == sizeof(p256_head) + FL_OPENSSL_POINT_SIZE &&
           memcmp(der.data, p256_head, sizeof(p256_head)) == 0 && der.data[sizeof(p256_head)] == 4;
}

/* A point that is not on the curve is refused. */
static EVP_PKEY *read_p256(struct fl_span der)
{
    char group[] = "prime256v1";
    unsigned char point[FL_OPENSSL_POINT_SIZE];
    EVP_PKEY *evp = NULL;
    memcpy(point, der.data + sizeof(p256_head), sizeof(point));
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
                               OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
                               OSSL_PARAM_construct_end()};
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &evp, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        evp = NULL;
    EVP_PKEY_CTX_free(context);
    return evp;
}

int fl_key_parse_public(struct fl_span der, struct fl_key **ret_key, struct fl_err *err)
{
    fl_openssl_init();
    if (der.len > FL_KEY_PUBLIC_MAX)
        return fl_err_set(err, -EINVAL, "public key: more than %d bytes", FL_KEY_PUBLIC_MAX);
    const unsigned char *at = (const unsigned char *)der.data;
    EVP_PKEY *evp = is_p256(der) ? read_p256(der) : d2i_PUBKEY(NULL, &at, (long)der.len);
    if (evp == NULL)
        return fl_openssl_err(err, -EINVAL, "public key");
    ERR_clear_error();
    int result = fl_openssl_check_key(evp, err);
    if (result < 0)
        fl_err_prefix(err, "public key");
    else if (!is_p256(der) && (const char *)at != der.data + der.len)
        result = fl_err_set(err, -EINVAL, "public key: bytes follow it");
    if (result < 0)
        EVP_PKEY_free(evp);
    else
        *ret_key = fl_key_wrap(evp);
    return result;
}
