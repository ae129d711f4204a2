/* What a process says about itself in its environment: which pod it is in, and what is to be captured. Pure, and fed in
 * pieces of any size, so that a megabyte of environment costs no memory. Of a name that is there twice the first
 * counts, as for getenv() in the proxy.
 *
 * It is a claim by whoever runs the process, and nothing in it is believed without a look at what the kernel says.
 * Strict: values of the wrong form, too long or with bytes that are no text make the claim wrong as a whole.
 */
#ifndef CNI_REPAIR_CLAIM_H
#define CNI_REPAIR_CLAIM_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/mesh/capture.h"

#define CNI_CLAIM_ADDRESSES   16                  /* of POD_IPS */
#define CNI_CLAIM_NAMESPACE   63                  /* bytes: a DNS label */
#define CNI_CLAIM_POD         253                 /* a DNS subdomain */
#define CNI_CLAIM_UID         63                  /* a UUID has 36; static pods have 32 */
#define CNI_CLAIM_CAPTURE_MAX FL_CAPTURE_TEXT_MAX /* of FAIRLEAD_CAPTURE */
#define CNI_CLAIM_ENVIRON_MAX (2u << 20)          /* bytes of an environment that are looked at */

enum cni_claim_outcome {
    CNI_CLAIM_COMPLETE = 1, /* of feed: everything was found, the rest need not be read */
    CNI_CLAIM_NONE = 1,     /* of finish: no FAIRLEAD_CAPTURE: the process is no sidecar */
    CNI_CLAIM_WRONG = 2,    /* it says that it is one, and something is wrong: err names it */
};

struct cni_claim {
    char pod_namespace[CNI_CLAIM_NAMESPACE + 1], pod[CNI_CLAIM_POD + 1], pod_uid[CNI_CLAIM_UID + 1];
    size_t address_count; /* at least one */
    struct fl_cidr addresses[CNI_CLAIM_ADDRESSES];
    char *capture;      /* owned: the spec in its canonical form */
    size_t capture_len; /* bytes */
    uint32_t uid, gid;  /* of the spec: the proxy's */
};

void cni_claim_done(struct cni_claim *claim); /* a zeroed one is fine */

/* --- reading --- */

#define CNI_CLAIM_NAMES 5

struct cni_claim_reader {
    struct fl_buf values[CNI_CLAIM_NAMES]; /* what was found */
    bool found[CNI_CLAIM_NAMES], overlong[CNI_CLAIM_NAMES];
    size_t total;  /* bytes fed */
    char name[32]; /* of the variable that is being read, as far as it fits */
    size_t name_len;
    int into; /* which of `values` the bytes go to; -1: the name; -2: none */
};

void cni_claim_reader_init(struct cni_claim_reader *reader);
void cni_claim_reader_done(struct cni_claim_reader *reader);
/* 0: more may come; CNI_CLAIM_COMPLETE; -EMSGSIZE past CNI_CLAIM_ENVIRON_MAX; -ENOMEM. */
int cni_claim_feed(struct cni_claim_reader *reader, struct fl_span bytes) FL_MUST_CHECK;
/* The end. Appends what was found as a small environment of its own, which reads to the same claim: how a process that
 * reads another's environment hands on what it found. 0, -ENOMEM, -EMSGSIZE. */
#define CNI_CLAIM_EXCERPT_MAX (CNI_CLAIM_CAPTURE_MAX + 2048)
int cni_claim_excerpt(struct cni_claim_reader *reader, struct fl_buf *out) FL_MUST_CHECK;
/* The end. 0, CNI_CLAIM_NONE, CNI_CLAIM_WRONG (err) or -ENOMEM. */
int cni_claim_finish(struct cni_claim_reader *reader, struct cni_claim *ret_claim, struct fl_err *err) FL_MUST_CHECK;

#endif
