/* Whose capture is looked at: a network namespace of this node, and the capture spec that should be in force there.
 *
 * The spec comes from a sidecar's environment: of the process that was named, else of a sidecar that runs in the same
 * network namespace. It is a claim, and held to what the kernel says about the process as the node agent holds it
 * (cni/repair/sidecar.h): a process that claims to be of another pod is told, and not looked at. */
#ifndef CLI_CNISUBJECT_H
#define CLI_CNISUBJECT_H

#include "cni/repair/claim.h"

#include <sys/types.h>

#define CLI_SUBJECTS_MAX 4096 /* of one node */

struct cli_subject {
    int netns;              /* owned; -1: err tells why */
    uint64_t inode;         /* of it; 0: not known */
    pid_t pid;              /* the sidecar, or the process that was named; 0: none */
    bool sidecar;           /* the claim is there, and believed */
    struct cni_claim claim; /* owned; of the sidecar */
    struct fl_err err;      /* what is wrong with it; text empty: nothing */
};

void cli_subject_done(struct cli_subject *subject);

struct cli_subjects; /* who looks: /proc, and a loop */

int cli_subjects_new(struct cli_subjects **ret_subjects, struct fl_err *err) FL_MUST_CHECK;
struct cli_subjects *cli_subjects_free(struct cli_subjects *subjects);

/* Each fills *ret_subject, which the caller releases, also where its err tells that something is wrong. A subject
 * without sidecar (none runs in that netns) is no error: a spec may come from elsewhere. */
void cli_subject_of_pid(struct cli_subjects *subjects, pid_t pid, struct cli_subject *ret_subject);
void cli_subject_of_path(struct cli_subjects *subjects, const char *path, struct cli_subject *ret_subject);

/* Every sidecar of the node, each netns once, to `visit` (which does not keep it). `name`: NAMESPACE/POD, or NULL for
 * all. Their number, or a negative errno. */
int cli_subjects_visit(struct cli_subjects *subjects, const char *name,
                       void (*visit)(void *context, struct cli_subject *subject), void *context,
                       struct fl_err *err) FL_MUST_CHECK;

#endif
