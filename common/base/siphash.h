/* SipHash-1-3 (Aumasson and Bernstein, 2012): a hash that tells an attacker nothing as long as the key is secret. For
 * look-up tables in memory; not for signatures, and not stable from process to process. */
#ifndef FL_BASE_SIPHASH_H
#define FL_BASE_SIPHASH_H

#include "common/base/span.h"

/* Keyed with this process's random seed, which is drawn once, at first use. */
uint64_t fl_siphash(struct fl_span bytes);

/* With a key of one's own and any number of rounds (the published test vectors are of 2 and 4). */
uint64_t fl_siphash_keyed(const uint64_t key[2], unsigned block_rounds, unsigned final_rounds, struct fl_span bytes);

#endif
