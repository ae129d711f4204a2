/* What `fairlead cni verify` found, for people and for programs. Pure. */
#ifndef CLI_CNIVERDICT_H
#define CLI_CNIVERDICT_H

#include "cni/capture/probe.h"
#include "common/base/buf.h"

#include <sys/types.h>

struct cli_cni_verdict {
    char name[320];         /* "shop/web-1", or the netns' path or "pid 4711" where no sidecar is known */
    pid_t pid;              /* 0: not known */
    uint64_t netns;         /* inode; 0: not known */
    bool looked;            /* false: err tells why nothing was looked at */
    bool as_planned;        /* the rules are the plan's; false: err has the first difference */
    struct cni_probe probe; /* where looked */
    struct fl_err err;      /* text empty: nothing is wrong */
};

enum cli_cni_capture { CLI_CNI_CAPTURED, CLI_CNI_UNCAPTURED, CLI_CNI_UNKNOWN };

/* UNKNOWN: nothing was looked at, or the rules are right and the kernel does not tell where a dial went. */
enum cli_cni_capture cli_cni_judge(const struct cli_cni_verdict *verdict);

/* Appends a table, and below it what is wrong with whom; or JSON: {"pods":[…]}. 0, -ENOMEM, -EMSGSIZE. */
int cli_cni_verdicts_print(const struct cli_cni_verdict *verdicts, size_t count, bool json,
                           struct fl_buf *out) FL_MUST_CHECK;

#endif
