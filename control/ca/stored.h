/* The two Secrets that a mesh's certificate authority may be kept in, as files of a folder (root.h):
 *
 *   --ca-secret       root-1.pem … root-9.pem: self-made roots, key and certificate each
 *   --cacerts-secret  ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem: a given intermediate, in Istio's form
 *
 * Read out of the API's JSON, and what is sent to make or change the first (a merge patch that names the version which
 * it was made from). Other keys are left alone. Pure. For the courier and the command line: the control plane itself
 * handles no key.
 */
#ifndef CONTROL_CA_STORED_H
#define CONTROL_CA_STORED_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "control/ca/rotation.h"

#define CONTROL_STORED_ANSWER_MAX  (3u << 20) /* bytes: etcd takes 1.5 MiB, base64 and metadata beside */
#define CONTROL_STORED_FILE_MAX    65536
#define CONTROL_STORED_VERSION_MAX 64
#define CONTROL_STORED_FILES       (CONTROL_ROOTS_MAX + CONTROL_GIVEN_FILES)

struct control_stored { /* of one Secret or both; zeroed: none is there */
    bool there;
    char version[CONTROL_STORED_VERSION_MAX];
    int64_t created;                           /* creationTimestamp, seconds since 1970 */
    struct fl_buf files[CONTROL_STORED_FILES]; /* empty: not there. Number n's root is files[n - 1]. */
};

const char *control_stored_name(size_t file);            /* "root-1.pem", … "ca-cert.pem", … */
void control_stored_done(struct control_stored *stored); /* overwrites */

/* The JSON of a Secret. 0, -EINVAL (it is none; or a value of ours is not base64, or too long: by name), -ENOMEM. */
int control_stored_read(struct fl_span json, struct control_stored *ret_stored, struct fl_err *err) FL_MUST_CHECK;
/* Validities of the self-made roots. -EINVAL: one is no certificate, by name; -ENOMEM. */
int control_stored_roots(const struct control_stored *stored, struct control_rotation_root roots[CONTROL_ROOTS_MAX + 1],
                         struct fl_err *err) FL_MUST_CHECK;

/* The body of a POST (`stored` is not there yet) or of a PATCH: those files that `changed` has a bit for (by index; an
 * empty one is taken away). 0, -ENOMEM, -EMSGSIZE. */
int control_stored_print(const struct control_stored *stored, const char *name, const char *name_space,
                         unsigned changed, struct fl_buf *out) FL_MUST_CHECK;

#endif
