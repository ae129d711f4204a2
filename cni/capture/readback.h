/* What the kernel holds, against a plan: the dumps of nf_tables, read without I/O and compared as they come.
 *
 * Rules are compared expression by expression, sets element by element, chains by hook, priority, type and policy. What
 * is ours and differs is a difference, and so is any chain, rule or set in our table that the plan does not have.
 * Comments of rules are not compared; the table's is, where the kernel keeps one (5.10 on).
 *
 * Several dumps show one state only where the netns' generation, which every commit of anybody moves, is the same
 * before and after them; a single dump may mix two tables of one name while one replaces the other. `moved` tells.
 */
#ifndef CNI_CAPTURE_READBACK_H
#define CNI_CAPTURE_READBACK_H

#include "cni/capture/plan.h"

struct nlmsghdr;

enum cni_readback_dump {                          /* in the order in which they are asked for */
                         CNI_READBACK_GENERATION, /* and once more behind the last */
                         CNI_READBACK_TABLE,
                         CNI_READBACK_CHAINS,
                         CNI_READBACK_RULES,
                         CNI_READBACK_SETS,
                         CNI_READBACK_ELEMENTS, /* once for each set that the plan has */
};

#define CNI_READBACK_REQUEST_MAX 256

/* Writes the request into `buffer` (≥ CNI_READBACK_REQUEST_MAX bytes, aligned as struct nlmsghdr). `set` is read for
 * CNI_READBACK_ELEMENTS alone. */
struct nlmsghdr *cni_readback_request(void *buffer, enum cni_readback_dump dump, enum cni_set_id set);

struct cni_readback {
    const struct cni_plan *plan; /* borrowed */
    uint32_t generation;         /* 0: not seen yet (the kernel's begin at 1) */
    bool moved;                  /* another generation was seen later: look again */
    bool table;
    bool chains[CNI_CHAINS];
    size_t rules[CNI_CHAINS]; /* seen so far */
    bool sets[CNI_SETS];
    bool elements[CNI_SETS][2 * CNI_SET_RANGES]; /* seen: [2 i] the start of range i, [2 i + 1] its end */
    bool differs;                                /* the first difference has been told */
};

enum cni_readback_outcome { CNI_READBACK_SAME = 1, CNI_READBACK_DIFFERS = 2 };

void cni_readback_start(struct cni_readback *readback, const struct cni_plan *plan);
/* One message of a dump, in any order. What cannot be understood is a difference; messages of other tables are skipped.
 * err gets the first difference in words. Bytes are not trusted; `message` is whole (cni_messages_next). */
void cni_readback_message(struct cni_readback *readback, const struct nlmsghdr *message, struct fl_err *err);
/* The verdict, once every dump has been read. err as above. */
int cni_readback_finish(struct cni_readback *readback, struct fl_err *err) FL_MUST_CHECK;

#endif
