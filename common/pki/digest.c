#include "common/pki/digest.h"

#include "common/pki/openssl.h"

#include <errno.h>
#include <openssl/evp.h>

int fl_digest(struct fl_span bytes, unsigned char ret_digest[FL_DIGEST_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len;
    if (EVP_Digest(bytes.data, bytes.len, digest, &len, EVP_sha256(), NULL) != 1 || len != FL_DIGEST_SIZE)
        return fl_openssl_err(NULL, -ENOMEM, "");
    memcpy(ret_digest, digest, FL_DIGEST_SIZE);
    return 0;
}
