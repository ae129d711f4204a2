/* SHA-256 of bytes, for what is to be known again without being kept. */
#ifndef FL_PKI_DIGEST_H
#define FL_PKI_DIGEST_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#define FL_DIGEST_SIZE 32

int fl_digest(struct fl_span bytes, unsigned char ret_digest[FL_DIGEST_SIZE]) FL_MUST_CHECK; /* 0 or -ENOMEM */

#endif
