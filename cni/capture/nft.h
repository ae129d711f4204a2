/* A plan as one batch of nf_tables messages, without I/O. The attributes are written here (linux/netfilter/nf_tables.h
 * is their definition); libmnl does the framing. Everything lives in the table `inet fairlead`, with expressions and
 * set encodings as nft 1.0 writes them, so that `nft list ruleset` shows the table in plain words and `nft -f` loads
 * that listing again.
 *
 * A batch is one commit: all of it is in force, or nothing. CNI_NFT_CREATE fails with -EEXIST where there is a table of
 * that name, and asks the kernel to echo the new one, whose handle tells it from every other; CNI_NFT_REPLACE puts "add
 * table, delete table" in front, so that one is replaced by the same commit. Creating is the common case and has a
 * batch of its own because deleting costs: the kernel frees what was deleted after a grace period, and closing the
 * socket waits for that (5 to 10 ms against less than one).
 */
#ifndef CNI_CAPTURE_NFT_H
#define CNI_CAPTURE_NFT_H

#include "cni/capture/plan.h"

#define CNI_NFT_TABLE     "fairlead"
#define CNI_NFT_BATCH_MAX 65536 /* bytes; the largest spec there is takes less (the unit test proves it) */
#define CNI_NFT_MESSAGES  96    /* begin and end included */

struct nlmsghdr;

enum cni_nft_object { CNI_NFT_BATCH, CNI_NFT_TABLE_OBJECT, CNI_NFT_SET, CNI_NFT_ELEMENTS, CNI_NFT_CHAIN, CNI_NFT_RULE };

struct cni_nft_batch {
    char *data; /* owned; the messages, aligned, ready to be sent in one piece */
    size_t len;
    uint32_t first_sequence; /* message i has the sequence number first_sequence + i */
    size_t count;
    struct {
        enum cni_nft_object object;
        size_t index; /* of the set, chain or rule in the plan */
    } messages[CNI_NFT_MESSAGES];
    size_t acknowledged; /* the one message that the kernel answers when all went well */
};

/* How a chain hangs in the kernel: what nft.c writes and readback.c expects. */
struct cni_nft_hook {
    const char *type;
    uint32_t number;  /* NF_INET_… */
    int32_t priority; /* NF_IP_PRI_…, the same on every hook */
};
const struct cni_nft_hook *cni_nft_hook(enum cni_chain chain);
uint32_t cni_nft_set_flags(enum cni_set_id id); /* NFT_SET_… */

enum cni_nft_kind { CNI_NFT_CREATE, CNI_NFT_REPLACE };

/* 0, -ENOMEM, -EMSGSIZE (no valid plan does). */
int cni_nft_encode(enum cni_nft_kind kind, const struct cni_plan *plan, uint32_t first_sequence,
                   struct cni_nft_batch *ret_batch) FL_MUST_CHECK;
/* Deletes the table with that handle, or whichever has our name where it is 0; -ENOENT from the kernel where there is
 * none. 0, -ENOMEM. */
int cni_nft_encode_removal(uint64_t handle, uint32_t first_sequence, struct cni_nft_batch *ret_batch) FL_MUST_CHECK;
/* The handle in the kernel's echo of a created table; 0: it is another message. Bytes are not trusted. */
uint64_t cni_nft_echoed_handle(const struct nlmsghdr *message);
/* The comment of our table in a message that has one (an echo, a dump); "" where there is none, or it is too long.
 * Bytes are not trusted. */
void cni_nft_table_comment(const struct nlmsghdr *message, char ret_comment[CNI_PLAN_COMMENT_MAX]);
void cni_nft_batch_done(struct cni_nft_batch *batch);

/* What the kernel's error for message `index` means, in words: "rule 3 of chain output (…): not supported by this
 * kernel …". `extended` is the kernel's own text, or empty. Returns `code`, or -EOPNOTSUPP where the kernel lacks what
 * the message needs. */
int cni_nft_explain(const struct cni_nft_batch *batch, const struct cni_plan *plan, size_t index, int code,
                    const char *extended, struct fl_err *err);

#endif
