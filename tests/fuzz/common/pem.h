/* Fuzz input as PEM: a text that begins with '-' is taken as it is, anything else as DER to be wrapped, so that the
 * fuzzer need not learn base64. */
#ifndef TESTS_FUZZ_COMMON_PEM_H
#define TESTS_FUZZ_COMMON_PEM_H

#include "common/base/buf.h"

/* Fills `buf` (which the caller is done with by fl_buf_done) and gives its content. */
struct fl_span fuzz_pem(const uint8_t *data, size_t size, const char *label, struct fl_buf *buf);

#endif
