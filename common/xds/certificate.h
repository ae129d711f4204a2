/* The messages of istio.v1.auth.IstioCertificateService/CreateCertificate, for both ends. What is read points into the
 * arena. */
#ifndef FL_XDS_CERTIFICATE_H
#define FL_XDS_CERTIFICATE_H

#include "common/base/arena.h"
#include "common/base/err.h"

#define FL_CERTIFICATE_PATH      "/istio.v1.auth.IstioCertificateService/CreateCertificate"
#define FL_CERTIFICATE_CHAIN_MAX 16 /* elements of an answer */

struct fl_certificate_request {
    struct fl_span csr; /* PEM */
    int64_t validity_s; /* 0: not said */
};

struct fl_certificate_response {
    struct fl_span
        chain[FL_CERTIFICATE_CHAIN_MAX]; /* PEM: the leaf, its intermediates, last the roots in one element */
    size_t count;
};

/* 0; -EINVAL with the reason; -ENOMEM (also: the arena is full). */
int fl_certificate_request_read(struct fl_span wire, struct fl_arena *arena, struct fl_certificate_request *ret_request,
                                struct fl_err *err) FL_MUST_CHECK;
int fl_certificate_response_read(struct fl_span wire, struct fl_arena *arena,
                                 struct fl_certificate_response *ret_response, struct fl_err *err) FL_MUST_CHECK;

/* Into the arena. 0; -EINVAL (a text with a NUL in it, too many elements); -ENOMEM. */
int fl_certificate_request_print(const struct fl_certificate_request *request, struct fl_arena *arena,
                                 struct fl_span *ret_wire) FL_MUST_CHECK;
int fl_certificate_response_print(const struct fl_certificate_response *response, struct fl_arena *arena,
                                  struct fl_span *ret_wire) FL_MUST_CHECK;

#endif
