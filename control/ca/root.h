/* The folder that the issuing key lies in. Read by the child alone (issuer.h): the control plane never opens a key.
 *
 * Two kinds:
 *
 *  - self-made: root-1.pem holds key and certificate, ECDSA P-256, ten years, made where no root is there (linked into
 *    place: of two programs that start at once one makes it, the other reads it). A second file root-2.pem begins a
 *    rotation (control_root_rotate makes it): the bundle has both roots at once, and the new one issues once it is
 *    `overlap_s` old, so that everybody trusts it by then. Removing the old one's file ends the rotation.
 *    They may also come from a Secret (courier.c): control_root_load_stored, below.
 *  - given: an intermediate (or root) as Istio's `cacerts` has it: ca-cert.pem, ca-key.pem, root-cert.pem (one
 *    root or more: the bundle) and cert-chain.pem (may be missing: then ca-cert.pem is the chain).
 *
 * A key whose file others may read or write is refused (a self-made one: also its group), as is one that is not its
 * certificate's, an issuing certificate that has expired, is no CA, or (given) has no chain to the bundle.
 */
#ifndef CONTROL_CA_ROOT_H
#define CONTROL_CA_ROOT_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/pki/cert.h"

#include <time.h>

#define CONTROL_ROOTS_MAX       9 /* numbers 1 to 9 */
#define CONTROL_ROOT_BUNDLE_MAX 65536
#define CONTROL_ROOT_LIFE_S     (10 * INT64_C(31557600)) /* ten years */
#define CONTROL_GIVEN_FILES     4
#define CONTROL_GIVEN_SINCE     "ca-since" /* seconds since 1970: since when a given one is there */

extern const char *const control_root_files[CONTROL_ROOTS_MAX]; /* "root-1.pem" … */
extern const char *const control_given_files[CONTROL_GIVEN_FILES];

struct control_root {
    struct fl_key *key;   /* the issuing one */
    struct fl_cert *cert; /* its certificate and the chain behind it */
    struct fl_buf bundle; /* PEM: every root to trust */
    time_t changes;       /* when a newer root takes over; 0: none is there */
};

/* Loads the folder, making a root where there is none and it is not `given`. The clock decides which root issues.
 * 0, -EINVAL (malformed, expired, not matching, readable to others …), -ENOMEM, or what the system said of a file. */
int control_root_load(const char *folder, bool given, uint32_t overlap_s, time_t now, struct control_root *ret_root,
                      struct fl_err *err) FL_MUST_CHECK;
/* A folder that the courier fills from two Secrets: nothing is made there. A given intermediate issues where it is
 * there, but where self-made roots are there too only once it has been there for `overlap_s`; the bundle has the roots
 * of both. -ENOENT: neither is there. */
int control_root_load_stored(const char *folder, uint32_t overlap_s, time_t now, struct control_root *ret_root,
                             struct fl_err *err) FL_MUST_CHECK;
/* A new self-made root: the text of its file, appended. */
int control_root_make(time_t now, int64_t life_s, struct fl_buf *out, struct fl_err *err) FL_MUST_CHECK;
/* Puts the next root beside those that are there. -ENOSPC: all numbers are taken. */
int control_root_rotate(const char *folder, time_t now, struct fl_err *err) FL_MUST_CHECK;
void control_root_done(struct control_root *root); /* a zeroed one may be done */

#endif
