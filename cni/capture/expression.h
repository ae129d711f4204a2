/* nf_tables expressions in one normal form, for both directions: a rule of the plan becomes a list of them, each can be
 * written as netlink attributes, and what the kernel dumps is read back into the same form, so that "as planned" is an
 * equality of lists. Only the few expressions that the plan needs exist; all of them work on register 1.
 */
#ifndef CNI_CAPTURE_EXPRESSION_H
#define CNI_CAPTURE_EXPRESSION_H

#include "cni/capture/attribute.h"
#include "cni/capture/plan.h"

#define CNI_EXPRESSIONS_MAX 32 /* of one rule; the plan's longest takes less */

enum cni_expression_kind {
    CNI_EXPRESSION_UNKNOWN, /* read back: anything that we would not have written */
    CNI_EXPRESSION_META,    /* load: key */
    CNI_EXPRESSION_PAYLOAD, /* load: key is the base, then offset and length */
    CNI_EXPRESSION_COMPARE, /* key is the operator; length bytes of data */
    CNI_EXPRESSION_LOOKUP,  /* set; key is the flags (inverted or not) */
    CNI_EXPRESSION_VALUE,   /* immediate: length bytes of data */
    CNI_EXPRESSION_VERDICT, /* key is the verdict */
    CNI_EXPRESSION_REDIRECT,
    CNI_EXPRESSION_CONNECTION,     /* load from connection tracking: key */
    CNI_EXPRESSION_SET_CONNECTION, /* store into it: key */
    CNI_EXPRESSION_AND,            /* with length bytes of data */
    CNI_EXPRESSION_BYTE_ORDER,     /* key is the operation; of length bytes */
};

struct cni_expression { /* no padding, unused members zero: equal expressions are equal bytes */
    uint32_t kind, key, offset, length, set;
    uint8_t data[16];
};

struct cni_expressions {
    size_t count;
    struct cni_expression items[CNI_EXPRESSIONS_MAX];
};

/* What the rule means. */
void cni_expressions_of(const struct cni_plan *plan, const struct cni_rule *rule, struct cni_expressions *ret_list);

/* Writes the list as the attribute NFTA_RULE_EXPRESSIONS of the message being written. */
void cni_expressions_write(const struct cni_expressions *list, struct cni_message *message);

/* Reads that attribute; bytes are not trusted. Too many or foreign expressions end up as UNKNOWN. */
void cni_expressions_read(const struct nlattr *expressions, struct cni_expressions *ret_list);

#endif
