/* The subject alternative names of a certificate (RFC 5280 §4.2.1.6), read from its DER where it lies: no allocation,
 * and spans that point into the certificate.
 */
#ifndef FL_PKI_ALTNAME_H
#define FL_PKI_ALTNAME_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

struct x509_st;

enum fl_altname_kind { FL_ALTNAME_OTHER, FL_ALTNAME_DNS, FL_ALTNAME_URI };

struct fl_altnames { /* a walk over the names */
    struct fl_span rest;
};

/* Begins the walk; no such extension gives an empty one. -EINVAL: the extension is malformed or stands there twice. */
int fl_altnames_open(const struct x509_st *certificate, struct fl_altnames *ret_names,
                     struct fl_err *err) FL_MUST_CHECK;
/* True: the next name, as its bytes stand there (they may hold anything, a NUL included). False: none is left. */
bool fl_altnames_next(struct fl_altnames *names, enum fl_altname_kind *ret_kind, struct fl_span *ret_value);

#endif
