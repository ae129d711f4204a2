/* A few roots, one by one: what a caBundle holds, told apart, added to, printed again. (A trust bundle that chains are
 * verified against is pki/bundle.h.) Embedded: a zeroed one is empty; fl_roots_done.
 */
#ifndef FL_PKI_ROOTS_H
#define FL_PKI_ROOTS_H

#include "common/pki/cert.h"

#define FL_ROOTS_MAX     32
#define FL_ROOTS_PEM_MAX 262144 /* bytes of a PEM text */

struct fl_roots { /* each once, in the order of adding */
    struct fl_cert *items[FL_ROOTS_MAX];
    size_t count;
};

void fl_roots_done(struct fl_roots *roots);

/* Adds the certificates of a PEM text; *ret_mask: bit i for items[i], those that were there already too. Whether they
 * are CAs is not looked at: a certificate that signs itself is its own root. All or nothing: -EINVAL (malformed, none
 * at all), -ENOSPC (past FL_ROOTS_MAX), -ENOMEM. */
int fl_roots_parse(struct fl_roots *roots, struct fl_span pem, uint32_t *ret_mask, struct fl_err *err) FL_MUST_CHECK;
/* The place of the certificate (its leaf alone), which is added where it is new. -ENOSPC, -ENOMEM. */
int fl_roots_add(struct fl_roots *roots, const struct fl_cert *cert) FL_MUST_CHECK;
/* Appends the PEM of those whose bit is set, in their order. 0, -ENOMEM, -EMSGSIZE. */
int fl_roots_print(const struct fl_roots *roots, uint32_t mask, struct fl_buf *out) FL_MUST_CHECK;

#endif
