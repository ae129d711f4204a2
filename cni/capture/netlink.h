/* A netlink conversation with the kernel (libmnl): requests, dumps and nf_tables batches, with the kernel's own words
 * where something failed (NLMSGERR_ATTR_MSG). Answers are taken from the kernel alone (port 0); who else may send in
 * that netns cannot reach the socket, nor fill it. The kernel answers inside the send, so nothing here waits.
 *
 * Lost or interrupted answers (ENOBUFS, EINTR, NLM_F_DUMP_INTR) are the outcome CNI_NETLINK_AGAIN: whoever asked may
 * ask again.
 */
#ifndef CNI_CAPTURE_NETLINK_H
#define CNI_CAPTURE_NETLINK_H

#include "common/base/cleanup.h"
#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nlmsghdr;

#define CNI_NETLINK_TEXT_MAX 160

enum cni_netlink_outcome {
    CNI_NETLINK_AGAIN = 1,
};

struct cni_netlink {
    struct mnl_socket *socket; /* owned; NULL: not open. Belongs to the netns in which it was opened, for good. */
    uint32_t sequence;         /* the last one used */
    char *buffer;              /* owned; for answers */
    size_t answers_max;        /* bytes of answers to one request; 0: no limit. For dumps of what others can fill */
};

/* bus: NETLINK_ROUTE, NETLINK_NETFILTER. 0, a negative errno (-EPROTONOSUPPORT: the kernel has no such bus). */
int cni_netlink_open(struct cni_netlink *netlink, int bus, struct fl_err *err) FL_MUST_CHECK;
void cni_netlink_close(struct cni_netlink *netlink);

typedef void cni_netlink_reader(const struct nlmsghdr *message, void *context);

/* Sends one request (its sequence number is set here) and hands every answer to `read` until the kernel's end mark or
 * acknowledgement. 0, CNI_NETLINK_AGAIN, or the kernel's negative errno: err then has the kernel's text. -EMSGSIZE:
 * more than answers_max; then the socket is good for nothing any more but closing. */
int cni_netlink_ask(struct cni_netlink *netlink, struct nlmsghdr *request, cni_netlink_reader *read, void *context,
                    struct fl_err *err) FL_MUST_CHECK;

struct cni_netlink_failure {
    uint32_t sequence; /* of the first message that failed */
    int code;          /* its negative errno */
    char text[CNI_NETLINK_TEXT_MAX];
};

/* Sends `len` bytes of batch, and hands what the kernel echoes to `read` (which may be NULL). 0 once the message
 * `acknowledged` was; CNI_NETLINK_AGAIN (nothing was committed, or the answer was lost: read back to know); else the
 * negative errno in *ret_failure too. */
int cni_netlink_batch(struct cni_netlink *netlink, const void *batch, size_t len, uint32_t acknowledged,
                      cni_netlink_reader *read, void *context, struct cni_netlink_failure *ret_failure) FL_MUST_CHECK;

/* From here on the kernel also tells what happens in the netns: the events of one multicast group (NFNLGRP_*). 0 or a
 * negative errno. */
int cni_netlink_join(struct cni_netlink *netlink, unsigned group, struct fl_err *err) FL_MUST_CHECK;
/* Hands every event that has come to `read`; does not wait. 0, CNI_NETLINK_AGAIN (some were lost, or they do not end),
 * a negative errno. */
int cni_netlink_hear(struct cni_netlink *netlink, cni_netlink_reader *read, void *context) FL_MUST_CHECK;

/* Reads an error message's code and extended text (linux/netlink.h, struct nlmsgerr and its attributes). False where
 * the message is too short. Pure; bytes are not trusted. */
bool cni_netlink_read_error(const struct nlmsghdr *message, int *ret_code, char *ret_text, size_t text_size);

#endif
