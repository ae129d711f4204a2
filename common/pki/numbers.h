/* Public keys from their numbers, as a JSON Web Key has them (RFC 7518 §6.2, §6.3). */
#ifndef FL_PKI_NUMBERS_H
#define FL_PKI_NUMBERS_H

#include "common/pki/key.h"

/* Unsigned, big-endian, without zeros in front. The house's keys alone (key.h), with an odd public exponent from 3 to
 * 2^32 - 1. 0, -EINVAL with the reason, -ENOMEM. */
int fl_key_from_rsa(struct fl_span modulus, struct fl_span exponent, struct fl_key **ret_key,
                    struct fl_err *err) FL_MUST_CHECK;
/* A point on P-256, two coordinates of 32 bytes. The same. */
int fl_key_from_p256(struct fl_span x, struct fl_span y, struct fl_key **ret_key, struct fl_err *err) FL_MUST_CHECK;

#endif
