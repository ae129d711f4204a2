/* A Secret of the API server: read out of its JSON, and what is sent to make or change one. Pure.
 *
 * Only the keys that the keeper knows are read and written; what else stands in the Secret (labels, annotations, other
 * keys) is left alone. A change is a merge patch that names the version which it was made from: where somebody else was
 * quicker, the API server refuses it (409).
 */
#ifndef WEBHOOK_KEEPER_SECRET_H
#define WEBHOOK_KEEPER_SECRET_H

#include "common/base/buf.h"
#include "common/base/err.h"

#define KEEPER_SECRET_MAX  (3u << 20) /* bytes of an answer: etcd takes 1.5 MiB, base64 and metadata beside */
#define KEEPER_VALUE_MAX   262144     /* bytes of one value; a longer one counts as none */
#define KEEPER_VERSION_MAX 64         /* a resourceVersion and its NUL */

/* What the keeper reads: the CA's Secret has ca.* to old.crt, the leaf's has tls.* and ca.crt. */
#define KEEPER_SECRET_KEYS(X)                                                                                          \
    X(CA_CERT, "ca.crt")                                                                                               \
    X(CA_KEY, "ca.key")                                                                                                \
    X(NEXT_CERT, "next.crt")                                                                                           \
    X(NEXT_KEY, "next.key")                                                                                            \
    X(OLD_CERTS, "old.crt")                                                                                            \
    X(TLS_CERT, "tls.crt")                                                                                             \
    X(TLS_KEY, "tls.key")
#define KEEPER_SECRET_KEY_ENUM(name, word) KEEPER_SECRET_##name,
enum keeper_secret_key { KEEPER_SECRET_KEYS(KEEPER_SECRET_KEY_ENUM) KEEPER_SECRET_KEY_COUNT };
#undef KEEPER_SECRET_KEY_ENUM

struct keeper_secret { /* zeroed: there is none */
    bool there;
    bool foreign; /* cert-manager writes it */
    char version[KEEPER_VERSION_MAX];
    struct fl_buf values[KEEPER_SECRET_KEY_COUNT]; /* empty: absent, or of no use */
};

void keeper_secret_done(struct keeper_secret *secret); /* overwrites the values */

/* The JSON of one Secret. -EINVAL: it is none (nothing of it is used); -ENOMEM. Values that are not base64 are empty.
 */
int keeper_secret_read(struct fl_span json, struct keeper_secret *ret_secret, struct fl_err *err) FL_MUST_CHECK;

/* What is to stand there: a key with data == NULL is taken out. */
struct keeper_secret_change {
    enum keeper_secret_key key;
    struct fl_span value;
};

struct keeper_secret_write {
    const char *name, *name_space;
    const char *version; /* NULL or "": make it (POST), else change it (PATCH, application/merge-patch+json) */
    bool tls;            /* made as kubernetes.io/tls, else Opaque */
    const struct keeper_secret_change *changes;
    size_t change_count;
    struct {
        const char *name; /* without "fairlead.io/" */
        const char *value;
    } annotations[2]; /* name NULL: none */
};

/* The body, appended. 0, -ENOMEM, -EMSGSIZE. */
int keeper_secret_print(const struct keeper_secret_write *write, struct fl_buf *out) FL_MUST_CHECK;

#endif
