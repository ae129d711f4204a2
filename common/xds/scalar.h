/* Scalars of proto3's JSON form as text: 64-bit numbers, base64, durations. Pure. (Used by read.c and print.c.) */
#ifndef FL_XDS_SCALAR_H
#define FL_XDS_SCALAR_H

#include "common/base/buf.h"

/* Decimal digits with an optional '-'. False where it is something else or out of range. */
bool fl_xds_parse_i64(struct fl_span text, int64_t *ret_value);
bool fl_xds_parse_u64(struct fl_span text, uint64_t *ret_value);

/* Bytes that `text` decodes to at most. */
size_t fl_xds_base64_bound(size_t len);
/* Standard or URL-safe alphabet, with or without padding; `to` has fl_xds_base64_bound bytes. False: not base64. */
bool fl_xds_base64_decode(struct fl_span text, char *to, size_t *ret_len);
/* Appends the standard form, padded, without quotes. 0, -ENOMEM, -EMSGSIZE. */
int fl_xds_base64_print(struct fl_span bytes, struct fl_buf *out) FL_MUST_CHECK;

#define FL_XDS_DURATION_SECONDS_MAX 315576000000 /* google.protobuf.Duration: some 10,000 years */

/* "1.5s", "-0.25s", "300s": up to nine digits behind the point. False: not a duration. */
bool fl_xds_duration_parse(struct fl_span text, int64_t *ret_seconds, int32_t *ret_nanos);
/* Appends it without quotes, with 0, 3, 6 or 9 digits. 0, -ENOMEM, -EMSGSIZE. */
int fl_xds_duration_print(int64_t seconds, int32_t nanos, struct fl_buf *out) FL_MUST_CHECK;

#endif
