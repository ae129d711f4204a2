/* nf_tables, both ways, without I/O: a plan as one batch of netlink messages, and the kernel's dump held against a
 * plan. The attributes are written and read here (linux/netfilter/nf_tables.h is their definition); libmnl does the
 * framing. Everything lives in the table `inet fairlead`, with expressions and set encodings as nft 1.0 writes them,
 * so that `nft list ruleset` shows the table in plain words and `nft -f` would load that listing again.
 *
 * Writing: the batch is "add table, delete table, add table, sets, chains, rules": whatever table of that name was
 * there is replaced by the same commit, or stays as it was.
 *
 * Reading: rules are compared expression by expression, sets by element, chains by hook, priority and policy. What is
 * ours and differs is a difference, and so is any chain, rule or set in our table that the plan does not have.
 * Comments of rules are not compared; the table's comment is, where the kernel keeps one (5.10 on).
 */
#ifndef CNI_CAPTURE_NFT_H
#define CNI_CAPTURE_NFT_H

#include "cni/capture/plan.h"

#define CNI_NFT_TABLE     "fairlead"
#define CNI_NFT_BATCH_MAX 65536 /* bytes; the largest spec there is takes less (the unit test proves it) */
#define CNI_NFT_MESSAGES  64    /* begin and end included */

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

/* The batch that makes the plan's table. 0, -ENOMEM, -EMSGSIZE (no valid plan does). */
int cni_nft_encode(const struct cni_plan *plan, uint32_t first_sequence, struct cni_nft_batch *ret_batch) FL_MUST_CHECK;
/* The batch that removes the table, also where there is none. 0, -ENOMEM. */
int cni_nft_encode_removal(uint32_t first_sequence, struct cni_nft_batch *ret_batch) FL_MUST_CHECK;
void cni_nft_batch_done(struct cni_nft_batch *batch);

/* What the kernel's error for message `index` means, in words: "rule 3 of chain output (…): not supported by this
 * kernel …". `extended` is the kernel's own text, or empty. Returns `code`, or -EOPNOTSUPP where the kernel lacks what
 * the message needs. */
int cni_nft_explain(const struct cni_nft_batch *batch, const struct cni_plan *plan, size_t index, int code,
                    const char *extended, struct fl_err *err);

/* Requests of the read-back: each fills `request` (≥ CNI_NFT_REQUEST_MAX bytes, aligned as struct nlmsghdr). */
#define CNI_NFT_REQUEST_MAX 512
enum cni_nft_dump {
    CNI_NFT_DUMP_TABLE,
    CNI_NFT_DUMP_CHAINS,
    CNI_NFT_DUMP_RULES,
    CNI_NFT_DUMP_SETS,
    CNI_NFT_DUMP_ELEMENTS
};
/* `set` names the set of CNI_NFT_DUMP_ELEMENTS. Returns the message inside `request`. */
struct nlmsghdr *cni_nft_request(void *request, enum cni_nft_dump dump, enum cni_set_id set, uint32_t sequence);

/* The comparison: start, feed every message of the dumps in the order of enum cni_nft_dump, finish. */
struct cni_nft_compare {
    const struct cni_plan *plan; /* borrowed */
    bool table;
    bool chains[CNI_CHAINS];
    size_t next_rule[CNI_CHAINS]; /* index in the plan of the rule that must come next; rule_count: none */
    bool sets[CNI_SETS];
    size_t elements[CNI_SETS];               /* seen */
    bool seen[CNI_SETS][2 * CNI_SET_RANGES]; /* [2 i]: start of range i, [2 i + 1]: its end */
    bool differs;                            /* the first difference is told, the rest is read and dropped */
};

enum cni_nft_outcome { CNI_NFT_SAME = 1, CNI_NFT_DIFFERS = 2 };

void cni_nft_compare_start(struct cni_nft_compare *compare, const struct cni_plan *plan);
/* One message of a dump; never fails: what cannot be understood is a difference. Messages of other tables are skipped.
 * err gets the first difference in words. */
void cni_nft_compare_message(struct cni_nft_compare *compare, const struct nlmsghdr *message, struct fl_err *err);
/* CNI_NFT_SAME, or CNI_NFT_DIFFERS with the first difference in err. */
int cni_nft_compare_finish(struct cni_nft_compare *compare, struct fl_err *err) FL_MUST_CHECK;

#endif
