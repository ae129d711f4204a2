#include "cni/capture/nft.h"

#include "cni/capture/expression.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4.h>

/* What nft itself keeps in the user data of its objects (type, length, value), so that it can show them: libnftnl's
 * numbers, which are not in the kernel's headers. */
#define USERDATA_TABLE_COMMENT      0
#define USERDATA_RULE_COMMENT       0
#define USERDATA_SET_KEY_BYTEORDER  0
#define USERDATA_ELEMENT_FLAGS      1
#define USERDATA_BYTEORDER_HOST     1
#define USERDATA_BYTEORDER_BIG      2
#define USERDATA_ELEMENT_OPEN_ENDED 1
#define USERDATA_TEXT_MAX           128

/* nft's numbers for the types of set keys, and in which order it shows their bytes. */
static const struct {
    uint32_t type, byteorder;
} keys[] = {
    [CNI_SET_OF_PORTS] = {13, USERDATA_BYTEORDER_BIG},       [CNI_SET_OF_IPV4] = {7, USERDATA_BYTEORDER_BIG},
    [CNI_SET_OF_IPV6] = {8, USERDATA_BYTEORDER_BIG},         [CNI_SET_OF_UIDS] = {24, USERDATA_BYTEORDER_HOST},
    [CNI_SET_OF_INTERFACES] = {41, USERDATA_BYTEORDER_HOST},
};

static const struct cni_nft_hook hooks[CNI_CHAINS] = {
    [CNI_CHAIN_PREROUTING] = {"nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST},
    [CNI_CHAIN_OUTPUT] = {"nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST},
    [CNI_CHAIN_DROP_INVALID] = {"filter", NF_INET_PRE_ROUTING, NF_IP_PRI_MANGLE},
    [CNI_CHAIN_DNS_ZONE] = {"filter", NF_INET_LOCAL_OUT, NF_IP_PRI_RAW},
};

const struct cni_nft_hook *cni_nft_hook(enum cni_chain chain)
{
    return &hooks[chain];
}

uint32_t cni_nft_set_flags(enum cni_set_id id)
{
    return cni_set_is_interval(id) ? NFT_SET_INTERVAL : 0;
}

/* --- messages --- */

struct writer {
    struct cni_nft_batch *batch;
    struct cni_message message; /* the one being written */
};

/* Ends the message before, starts the next one. */
static void begin(struct writer *writer, uint16_t type, uint16_t flags, enum cni_nft_object object, size_t index)
{
    struct cni_nft_batch *batch = writer->batch;
    struct cni_message *message = &writer->message;
    const size_t head = sizeof(struct nlmsghdr) + cni_align(sizeof(struct nfgenmsg));
    if (message->header != NULL && !message->overflow)
        batch->len += cni_align(message->header->nlmsg_len);
    if (message->overflow || batch->count == CNI_NFT_MESSAGES || CNI_NFT_BATCH_MAX - batch->len < head) {
        message->overflow = true;
        return;
    }
    bool limit = type == NFNL_MSG_BATCH_BEGIN || type == NFNL_MSG_BATCH_END;
    message->header = mnl_nlmsg_put_header(batch->data + batch->len);
    message->size = CNI_NFT_BATCH_MAX - batch->len;
    message->header->nlmsg_type = limit ? type : (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
    message->header->nlmsg_flags = NLM_F_REQUEST | flags;
    message->header->nlmsg_seq = batch->first_sequence + (uint32_t)batch->count;
    struct nfgenmsg *family = mnl_nlmsg_put_extra_header(message->header, sizeof(*family));
    family->nfgen_family = limit ? AF_UNSPEC : NFPROTO_INET;
    family->version = NFNETLINK_V0;
    family->res_id = limit ? htons(NFNL_SUBSYS_NFTABLES) : 0;
    batch->messages[batch->count].object = object;
    batch->messages[batch->count].index = index;
    batch->count++;
}

static void put_userdata(struct cni_message *message, uint16_t attribute, uint8_t type, const void *value, size_t size)
{
    uint8_t data[2 + USERDATA_TEXT_MAX];
    if (size > USERDATA_TEXT_MAX)
        return;
    data[0] = type;
    data[1] = (uint8_t)size;
    memcpy(data + 2, value, size);
    cni_message_put(message, attribute, data, 2 + size);
}

static void put_table(struct writer *writer, uint16_t type, uint16_t flags, const char *comment)
{
    begin(writer, type, flags, CNI_NFT_TABLE_OBJECT, 0);
    cni_message_put_text(&writer->message, NFTA_TABLE_NAME, CNI_NFT_TABLE);
    if (comment != NULL)
        put_userdata(&writer->message, NFTA_TABLE_USERDATA, USERDATA_TABLE_COMMENT, comment, strlen(comment) + 1);
}

static void put_chain(struct writer *writer, enum cni_chain chain)
{
    struct cni_message *message = &writer->message;
    begin(writer, NFT_MSG_NEWCHAIN, NLM_F_CREATE, CNI_NFT_CHAIN, chain);
    cni_message_put_text(message, NFTA_CHAIN_TABLE, CNI_NFT_TABLE);
    cni_message_put_text(message, NFTA_CHAIN_NAME, cni_chain_name(chain));
    cni_message_put_text(message, NFTA_CHAIN_TYPE, hooks[chain].type);
    struct nlattr *hook = cni_message_enter(message, NFTA_CHAIN_HOOK);
    cni_message_put_u32(message, NFTA_HOOK_HOOKNUM, hooks[chain].number);
    cni_message_put_u32(message, NFTA_HOOK_PRIORITY, (uint32_t)hooks[chain].priority);
    cni_message_leave(message, hook);
    cni_message_put_u32(message, NFTA_CHAIN_POLICY, NF_ACCEPT);
}

/* --- sets --- */

static void put_set(struct writer *writer, const struct cni_plan *plan, enum cni_set_id id)
{
    struct cni_message *message = &writer->message;
    const enum cni_set_kind kind = cni_set_kind(id);
    begin(writer, NFT_MSG_NEWSET, NLM_F_CREATE, CNI_NFT_SET, id);
    cni_message_put_text(message, NFTA_SET_TABLE, CNI_NFT_TABLE);
    cni_message_put_text(message, NFTA_SET_NAME, cni_set_name(id));
    cni_message_put_u32(message, NFTA_SET_FLAGS, cni_nft_set_flags(id));
    cni_message_put_u32(message, NFTA_SET_KEY_TYPE, keys[kind].type);
    cni_message_put_u32(message, NFTA_SET_KEY_LEN, (uint32_t)plan->sets[id].width);
    cni_message_put_u32(message, NFTA_SET_ID, id);
    put_userdata(message, NFTA_SET_USERDATA, USERDATA_SET_KEY_BYTEORDER, &keys[kind].byteorder,
                 sizeof(keys[kind].byteorder));
}

static void put_element(struct cni_message *message, const uint8_t *key, size_t width, uint32_t flags, bool open_ended)
{
    const uint32_t mark = USERDATA_ELEMENT_OPEN_ENDED;
    struct nlattr *element = cni_message_enter(message, NFTA_LIST_ELEM);
    if (flags != 0)
        cni_message_put_u32(message, NFTA_SET_ELEM_FLAGS, flags);
    struct nlattr *data = cni_message_enter(message, NFTA_SET_ELEM_KEY);
    cni_message_put(message, NFTA_DATA_VALUE, key, width);
    cni_message_leave(message, data);
    if (open_ended)
        put_userdata(message, NFTA_SET_ELEM_USERDATA, USERDATA_ELEMENT_FLAGS, &mark, sizeof(mark));
    cni_message_leave(message, element);
}

/* A range is two elements: its start, and the first value behind it; none where it reaches the last value. Sets of
 * single values have those alone. */
static void put_elements(struct writer *writer, const struct cni_plan *plan, enum cni_set_id id)
{
    struct cni_message *message = &writer->message;
    const struct cni_set *set = &plan->sets[id];
    bool interval = cni_set_is_interval(id);
    begin(writer, NFT_MSG_NEWSETELEM, NLM_F_CREATE, CNI_NFT_ELEMENTS, id);
    cni_message_put_text(message, NFTA_SET_ELEM_LIST_TABLE, CNI_NFT_TABLE);
    cni_message_put_text(message, NFTA_SET_ELEM_LIST_SET, cni_set_name(id));
    cni_message_put_u32(message, NFTA_SET_ELEM_LIST_SET_ID, id);
    struct nlattr *elements = cni_message_enter(message, NFTA_SET_ELEM_LIST_ELEMENTS);
    for (size_t i = 0; i < set->count; i++) {
        uint8_t behind[16];
        bool closed = cni_range_end(&set->ranges[i], set->width, behind);
        put_element(message, set->ranges[i].first, set->width, 0, interval && !closed);
        if (interval && closed)
            put_element(message, behind, set->width, NFT_SET_ELEM_INTERVAL_END, false);
    }
    cni_message_leave(message, elements);
}

/* --- rules --- */

static void put_rule(struct writer *writer, const struct cni_plan *plan, size_t index)
{
    const struct cni_rule *rule = &plan->rules[index];
    struct cni_message *message = &writer->message;
    struct cni_expressions expressions;
    begin(writer, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, CNI_NFT_RULE, index);
    cni_message_put_text(message, NFTA_RULE_TABLE, CNI_NFT_TABLE);
    cni_message_put_text(message, NFTA_RULE_CHAIN, cni_chain_name(rule->chain));
    cni_expressions_of(plan, rule, &expressions);
    cni_expressions_write(&expressions, message);
    put_userdata(message, NFTA_RULE_USERDATA, USERDATA_RULE_COMMENT, rule->reason, strlen(rule->reason) + 1);
}

/* --- batches --- */

static int writer_start(struct writer *writer, struct cni_nft_batch *batch, uint32_t first_sequence)
{
    memset(batch, 0, sizeof(*batch));
    batch->first_sequence = first_sequence;
    batch->data = malloc(CNI_NFT_BATCH_MAX);
    if (batch->data == NULL)
        return -ENOMEM;
    *writer = (struct writer){.batch = batch};
    begin(writer, NFNL_MSG_BATCH_BEGIN, 0, CNI_NFT_BATCH, 0);
    return 0;
}

/* The kernel answers failures, and the one message that asks for it: the last before the end mark (the end mark itself
 * is acknowledged by new kernels alone). */
static int writer_finish(struct writer *writer)
{
    struct cni_nft_batch *batch = writer->batch;
    if (!writer->message.overflow) {
        batch->acknowledged = batch->count - 1;
        writer->message.header->nlmsg_flags |= NLM_F_ACK;
    }
    begin(writer, NFNL_MSG_BATCH_END, 0, CNI_NFT_BATCH, 0);
    if (writer->message.overflow) {
        cni_nft_batch_done(batch);
        return -EMSGSIZE;
    }
    batch->len += cni_align(writer->message.header->nlmsg_len);
    return 0;
}

static void put_plan(struct writer *writer, const struct cni_plan *plan)
{
    for (int id = CNI_SET_NONE + 1; id < CNI_SETS; id++) {
        if (plan->sets[id].count == 0)
            continue;
        put_set(writer, plan, (enum cni_set_id)id);
        put_elements(writer, plan, (enum cni_set_id)id);
    }
    for (int chain = 0; chain < CNI_CHAINS; chain++) {
        if (cni_plan_has_chain(plan, (enum cni_chain)chain))
            put_chain(writer, (enum cni_chain)chain);
    }
    for (size_t i = 0; i < plan->rule_count; i++)
        put_rule(writer, plan, i);
}

int cni_nft_encode(enum cni_nft_kind kind, const struct cni_plan *plan, uint32_t first_sequence,
                   struct cni_nft_batch *ret_batch)
{
    struct writer writer;
    int result = writer_start(&writer, ret_batch, first_sequence);
    if (result < 0)
        return result;
    if (kind == CNI_NFT_REPLACE)
        put_table(&writer, NFT_MSG_NEWTABLE, NLM_F_CREATE, NULL);
    if (kind == CNI_NFT_REPLACE)
        put_table(&writer, NFT_MSG_DELTABLE, 0, NULL);
    put_table(&writer, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL | (kind == CNI_NFT_CREATE ? NLM_F_ECHO : 0),
              plan->comment);
    put_plan(&writer, plan);
    return writer_finish(&writer);
}

int cni_nft_encode_removal(uint64_t handle, uint32_t first_sequence, struct cni_nft_batch *ret_batch)
{
    struct writer writer;
    int result = writer_start(&writer, ret_batch, first_sequence);
    if (result < 0)
        return result;
    put_table(&writer, NFT_MSG_DELTABLE, 0, NULL);
    if (handle != 0) {
        uint64_t network = htobe64(handle);
        cni_message_put(&writer.message, NFTA_TABLE_HANDLE, &network, sizeof(network));
    }
    return writer_finish(&writer);
}

uint64_t cni_nft_echoed_handle(const struct nlmsghdr *message)
{
    const struct nlattr *found[NFTA_TABLE_MAX + 1];
    uint64_t network;
    if (message->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE))
        return 0;
    cni_attributes_of_message(message, sizeof(struct nfgenmsg), found, FL_COUNT(found));
    struct fl_span bytes = cni_attribute_bytes(found[NFTA_TABLE_HANDLE]);
    if (bytes.len != sizeof(network) || !cni_attribute_is(found[NFTA_TABLE_NAME], CNI_NFT_TABLE))
        return 0;
    memcpy(&network, bytes.data, sizeof(network));
    return be64toh(network);
}

/* User data is a list of (type, length, bytes); a text has its NUL among the bytes. */
void cni_nft_table_comment(const struct nlmsghdr *message, char ret_comment[CNI_PLAN_COMMENT_MAX])
{
    const struct nlattr *found[NFTA_TABLE_MAX + 1];
    cni_attributes_of_message(message, sizeof(struct nfgenmsg), found, FL_COUNT(found));
    struct fl_span rest = cni_attribute_bytes(found[NFTA_TABLE_USERDATA]);
    memset(ret_comment, 0, CNI_PLAN_COMMENT_MAX);
    while (rest.len >= 2 && (uint8_t)rest.data[1] <= rest.len - 2) {
        size_t size = (uint8_t)rest.data[1];
        if (rest.data[0] == USERDATA_TABLE_COMMENT && size > 0 && size <= CNI_PLAN_COMMENT_MAX &&
            rest.data[1 + size] == '\0')
            memcpy(ret_comment, rest.data + 2, size);
        rest = fl_span_from(rest, 2 + size);
    }
}

void cni_nft_batch_done(struct cni_nft_batch *batch)
{
    free(batch->data);
    batch->data = NULL;
    batch->len = 0;
}

/* --- errors --- */

static const char *what_lacks(enum cni_nft_object object, int code)
{
    bool unknown = code == -EOPNOTSUPP || code == -EAFNOSUPPORT || code == -EPROTONOSUPPORT;
    switch (object) {
    case CNI_NFT_BATCH:
        return unknown ? "nf_tables" : NULL;
    case CNI_NFT_TABLE_OBJECT:
        return unknown ? "nf_tables tables of family inet" : NULL;
    case CNI_NFT_SET:
    case CNI_NFT_ELEMENTS:
        return unknown ? "nf_tables sets" : NULL;
    case CNI_NFT_CHAIN:
        return unknown || code == -ENOENT ? "nat chains of family inet (nft_chain_nat, Linux 5.2 or newer)" : NULL;
    case CNI_NFT_RULE:
        return unknown || code == -ENOENT ? "an nf_tables expression (nft_redir, nft_ct)" : NULL;
    default:
        return NULL;
    }
}

static void describe(const struct cni_nft_batch *batch, const struct cni_plan *plan, size_t index, char *text,
                     size_t size)
{
    size_t which = batch->messages[index].index;
    switch (batch->messages[index].object) {
    case CNI_NFT_TABLE_OBJECT:
        snprintf(text, size, "table inet " CNI_NFT_TABLE);
        break;
    case CNI_NFT_SET:
    case CNI_NFT_ELEMENTS:
        snprintf(text, size, "set %s", cni_set_name((enum cni_set_id)which));
        break;
    case CNI_NFT_CHAIN:
        snprintf(text, size, "chain %s", cni_chain_name((enum cni_chain)which));
        break;
    case CNI_NFT_RULE:
        snprintf(text, size, "rule \"%s\" of chain %s", plan->rules[which].reason,
                 cni_chain_name(plan->rules[which].chain));
        break;
    case CNI_NFT_BATCH:
    default:
        snprintf(text, size, "nf_tables batch");
        break;
    }
}

int cni_nft_explain(const struct cni_nft_batch *batch, const struct cni_plan *plan, size_t index, int code,
                    const char *extended, struct fl_err *err)
{
    char subject[160];
    enum cni_nft_object object = index < batch->count ? batch->messages[index].object : CNI_NFT_BATCH;
    const char *lacks = what_lacks(object, code);
    describe(batch, plan, index < batch->count ? index : 0, subject, sizeof(subject));
    if (extended[0] != '\0')
        fl_err_set(err, code, "%s: %s (%s)", subject, strerror(-code), extended);
    else
        fl_err_set(err, code, "%s: %s", subject, strerror(-code));
    if (lacks == NULL)
        return code;
    fl_err_prefix(err, "this kernel lacks %s", lacks);
    if (err != NULL)
        err->code = -EOPNOTSUPP;
    return -EOPNOTSUPP;
}
