#include "common/pki/key.h"

#include "common/pki/openssl.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
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

int fl_key_print(const struct fl_key *key, struct fl_buf *out)
{
    /* A memory BIO wipes what it held when it is freed. */
    FL_CLEANUP(fl_openssl_cleanup_bio) BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL)
        return fl_openssl_err(NULL, -ENOMEM, "");
    if (PEM_write_bio_PKCS8PrivateKey(bio, fl_key_evp(key), NULL, NULL, 0, NULL, NULL) != 1)
        return fl_openssl_err(NULL, -EINVAL, "");
    char *text;
    long length = BIO_get_mem_data(bio, &text);
    return fl_buf_append(out, fl_span_make(text, (size_t)length));
}

int fl_key_print_public(const struct fl_key *key, struct fl_buf *out)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(fl_key_evp(key), &der);
    if (len <= 0)
        return fl_openssl_err(NULL, -ENOMEM, "");
    int result = fl_buf_append(out, fl_span_make(der, (size_t)len));
    OPENSSL_free(der);
    return result;
}

int fl_key_parse_public(struct fl_span der, struct fl_key **ret_key, struct fl_err *err)
{
    fl_openssl_init();
    if (der.len > FL_KEY_PUBLIC_MAX)
        return fl_err_set(err, -EINVAL, "public key: more than %d bytes", FL_KEY_PUBLIC_MAX);
    const unsigned char *at = (const unsigned char *)der.data;
    EVP_PKEY *evp = d2i_PUBKEY(NULL, &at, (long)der.len);
    if (evp == NULL)
        return fl_openssl_err(err, -EINVAL, "public key");
    ERR_clear_error();
    int result = fl_openssl_check_key(evp, err);
    if (result < 0)
        fl_err_prefix(err, "public key");
    else if ((const char *)at != der.data + der.len)
        result = fl_err_set(err, -EINVAL, "public key: bytes follow it");
    if (result < 0)
        EVP_PKEY_free(evp);
    else
        *ret_key = fl_key_wrap(evp);
    return result;
}
