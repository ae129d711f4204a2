#include "cni/capture/readback.h"

#include "cni/capture/expression.h"
#include "cni/capture/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

/* --- requests --- */

struct nlmsghdr *cni_readback_request(void *buffer, enum cni_readback_dump dump, enum cni_set_id set)
{
    static const struct {
        uint16_t type, flags, table_attribute;
    } dumps[] = {
        [CNI_READBACK_GENERATION] = {NFT_MSG_GETGEN, NLM_F_ACK, 0},
        [CNI_READBACK_TABLE] = {NFT_MSG_GETTABLE, NLM_F_ACK, NFTA_TABLE_NAME},
        [CNI_READBACK_CHAINS] = {NFT_MSG_GETCHAIN, NLM_F_DUMP, NFTA_CHAIN_TABLE},
        [CNI_READBACK_RULES] = {NFT_MSG_GETRULE, NLM_F_DUMP, NFTA_RULE_TABLE},
        [CNI_READBACK_SETS] = {NFT_MSG_GETSET, NLM_F_DUMP, NFTA_SET_TABLE},
        [CNI_READBACK_ELEMENTS] = {NFT_MSG_GETSETELEM, NLM_F_DUMP, NFTA_SET_ELEM_LIST_TABLE},
    };
    struct cni_message message = {.header = mnl_nlmsg_put_header(buffer), .size = CNI_READBACK_REQUEST_MAX};
    message.header->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | dumps[dump].type);
    message.header->nlmsg_flags = NLM_F_REQUEST | dumps[dump].flags;
    struct nfgenmsg *family = mnl_nlmsg_put_extra_header(message.header, sizeof(*family));
    family->nfgen_family = NFPROTO_INET;
    family->version = NFNETLINK_V0;
    if (dump != CNI_READBACK_GENERATION)
        cni_message_put_text(&message, dumps[dump].table_attribute, CNI_NFT_TABLE);
    if (dump == CNI_READBACK_ELEMENTS)
        cni_message_put_text(&message, NFTA_SET_ELEM_LIST_SET, cni_set_name(set));
    return message.header;
}

/* --- comparison --- */

void cni_readback_start(struct cni_readback *readback, const struct cni_plan *plan)
{
    memset(readback, 0, sizeof(*readback));
    readback->plan = plan;
}

#define DIFFERENCE(readback, err, ...)                                                                                 \
    do {                                                                                                               \
        if (!(readback)->differs)                                                                                      \
            fl_err_set(err, -EBADMSG, __VA_ARGS__);                                                                    \
        (readback)->differs = true;                                                                                    \
    } while (0)

/* User data as nft.c writes it: type 0, length, the text and its NUL. Kernels that keep none give none. */
static bool is_comment(struct fl_span userdata, const char *comment)
{
    const size_t size = strlen(comment) + 1;
    return userdata.len == 0 || (userdata.len == 2 + size && userdata.data[0] == 0 &&
                                 (uint8_t)userdata.data[1] == size && memcmp(userdata.data + 2, comment, size) == 0);
}

static void read_generation(struct cni_readback *readback, const struct nlmsghdr *message)
{
    const struct nlattr *found[NFTA_GEN_MAX + 1];
    uint32_t generation = 0;
    cni_attributes_of_message(message, sizeof(struct nfgenmsg), found, FL_COUNT(found));
    if (!cni_attribute_u32(found[NFTA_GEN_ID], &generation))
        return;
    readback->moved |= readback->generation != 0 && readback->generation != generation;
    readback->generation = generation;
}

static void compare_table(struct cni_readback *readback, const struct nlmsghdr *message, struct fl_err *err)
{
    const struct nlattr *found[NFTA_TABLE_MAX + 1];
    cni_attributes_of_message(message, sizeof(struct nfgenmsg), found, FL_COUNT(found));
    if (!cni_attribute_is(found[NFTA_TABLE_NAME], CNI_NFT_TABLE))
        return;
    uint32_t flags = 0;
    if (found[NFTA_TABLE_FLAGS] != NULL && (!cni_attribute_u32(found[NFTA_TABLE_FLAGS], &flags) || flags != 0))
        DIFFERENCE(readback, err, "table inet " CNI_NFT_TABLE ": flags %u (dormant or owned)", flags);
    if (!is_comment(cni_attribute_bytes(found[NFTA_TABLE_USERDATA]), readback->plan->comment))
        DIFFERENCE(readback, err, "table inet " CNI_NFT_TABLE ": made from another capture spec");
    readback->table = true;
}

static bool find_chain(const struct cni_plan *plan, const struct nlattr *name, enum cni_chain *ret_chain)
{
    for (int chain = 0; chain < CNI_CHAINS; chain++) {
        if (cni_plan_has_chain(plan, (enum cni_chain)chain) &&
            cni_attribute_is(name, cni_chain_name((enum cni_chain)chain))) {
            *ret_chain = (enum cni_chain)chain;
            return true;
        }
    }
    return false;
}

static bool is_base_chain(const struct nlattr *const *found, enum cni_chain chain)
{
    const struct nlattr *hook[NFTA_HOOK_MAX + 1];
    const struct cni_nft_hook *planned = cni_nft_hook(chain);
    uint32_t number = 0, priority = 0, policy = NF_ACCEPT;
    cni_attributes_of_nest(found[NFTA_CHAIN_HOOK], hook, FL_COUNT(hook));
    if (found[NFTA_CHAIN_POLICY] != NULL && !cni_attribute_u32(found[NFTA_CHAIN_POLICY], &policy))
        return false;
    return cni_attribute_is(found[NFTA_CHAIN_TYPE], planned->type) && policy == NF_ACCEPT &&
           cni_attribute_u32(hook[NFTA_HOOK_HOOKNUM], &number) && number == planned->number &&
           cni_attribute_u32(hook[NFTA_HOOK_PRIORITY], &priority) && priority == (uint32_t)planned->priority;
}

static void compare_chain(struct cni_readback *readback, const struct nlmsghdr *message, struct fl_err *err)
{
    const struct nlattr *found[NFTA_CHAIN_MAX + 1];
    enum cni_chain chain;
    cni_attributes_of_message(message, sizeof(struct nfgenmsg), found, FL_COUNT(found));
    if (!cni_attribute_is(found[NFTA_CHAIN_TABLE], CNI_NFT_TABLE))
        return;
    struct fl_span name = cni_attribute_text(found[NFTA_CHAIN_NAME]);
    if (!find_chain(readback->plan, found[NFTA_CHAIN_NAME], &chain)) {
        DIFFERENCE(readback, err, "chain \"%.*s\" is not ours", FL_SPAN_ARG(name));
        return;
    }
    if (!is_base_chain(found, chain))
        DIFFERENCE(readback, err, "chain %s: hook, priority, type or policy differ", cni_chain_name(chain));
    readback->chains[chain] = true;
}

/* The plan's rule number `nth` (from 0) of the chain; NULL: it has fewer. */
static const struct cni_rule *planned_rule(const struct cni_plan *plan, enum cni_chain chain, size_t nth)
{
    for (size_t i = 0; i < plan->rule_count; i++) {
        if (plan->rules[i].chain == chain && nth-- == 0)
            return &plan->rules[i];
    }
    return NULL;
}

static void compare_rule(struct cni_readback *readback, const struct nlmsghdr *message, struct fl_err *err)
{
    const struct nlattr *found[NFTA_RULE_MAX + 1];
    struct cni_expressions planned, actual;
    enum cni_chain chain;
    cni_attributes_of_message(message, sizeof(struct nfgenmsg), found, FL_COUNT(found));
    if (!cni_attribute_is(found[NFTA_RULE_TABLE], CNI_NFT_TABLE))
        return;
    if (!find_chain(readback->plan, found[NFTA_RULE_CHAIN], &chain)) {
        DIFFERENCE(readback, err, "a rule of a chain that is not ours");
        return;
    }
    const struct cni_rule *rule = planned_rule(readback->plan, chain, readback->rules[chain]++);
    if (rule == NULL) {
        DIFFERENCE(readback, err, "chain %s: more rules than planned", cni_chain_name(chain));
        return;
    }
    cni_expressions_of(readback->plan, rule, &planned);
    cni_expressions_read(found[NFTA_RULE_EXPRESSIONS], &actual);
    if (planned.count != actual.count ||
        memcmp(planned.items, actual.items, planned.count * sizeof(planned.items[0])) != 0)
        DIFFERENCE(readback, err, "chain %s, rule %zu: \"%s\" missing or altered", cni_chain_name(chain),
                   readback->rules[chain], rule->reason);
}

static bool find_set(const struct cni_plan *plan, const struct nlattr *name, enum cni_set_id *ret_id)
{
    for (int id = CNI_SET_NONE + 1; id < CNI_SETS; id++) {
        if (plan->sets[id].count > 0 && cni_attribute_is(name, cni_set_name((enum cni_set_id)id))) {
            *ret_id = (enum cni_set_id)id;
            return true;
        }
    }
    return false;
}

static void compare_set(struct cni_readback *readback, const struct nlmsghdr *message, struct fl_err *err)
{
    const struct nlattr *found[NFTA_SET_MAX + 1];
    enum cni_set_id id;
    uint32_t flags = 0, width = 0;
    cni_attributes_of_message(message, sizeof(struct nfgenmsg), found, FL_COUNT(found));
    if (!cni_attribute_is(found[NFTA_SET_TABLE], CNI_NFT_TABLE))
        return;
    struct fl_span name = cni_attribute_text(found[NFTA_SET_NAME]);
    if (!find_set(readback->plan, found[NFTA_SET_NAME], &id)) {
        DIFFERENCE(readback, err, "set \"%.*s\" is not ours", FL_SPAN_ARG(name));
        return;
    }
    if ((found[NFTA_SET_FLAGS] != NULL && !cni_attribute_u32(found[NFTA_SET_FLAGS], &flags)) ||
        flags != cni_nft_set_flags(id) || !cni_attribute_u32(found[NFTA_SET_KEY_LEN], &width) ||
        width != readback->plan->sets[id].width)
        DIFFERENCE(readback, err, "set %s: another kind of set", cni_set_name(id));
    readback->sets[id] = true;
}

/* The place of an element in the plan's set: [2 i] the start of range i, [2 i + 1] its end. */
static bool find_element(const struct cni_set *set, struct fl_span key, bool end, size_t *ret_place)
{
    for (size_t i = 0; key.len == set->width && i < set->count; i++) {
        uint8_t behind[16];
        const uint8_t *value = set->ranges[i].first;
        if (end)
            value = cni_range_end(&set->ranges[i], set->width, behind) ? behind : NULL;
        if (value != NULL && memcmp(value, key.data, key.len) == 0) {
            *ret_place = 2 * i + (end ? 1 : 0);
            return true;
        }
    }
    return false;
}

/* nft puts "the end of nothing" in front of a set whose first range does not begin at zero; it says nothing. */
static bool is_leading_end(struct fl_span key, uint32_t flags)
{
    static const char zero[16];
    return flags == NFT_SET_ELEM_INTERVAL_END && key.len <= sizeof(zero) && memcmp(key.data, zero, key.len) == 0;
}

static bool compare_element(struct cni_readback *readback, enum cni_set_id id, const struct nlattr *element)
{
    const struct nlattr *found[NFTA_SET_ELEM_MAX + 1], *data[NFTA_DATA_MAX + 1];
    uint32_t flags = 0;
    size_t place;
    cni_attributes_of_nest(element, found, FL_COUNT(found));
    cni_attributes_of_nest(found[NFTA_SET_ELEM_KEY], data, FL_COUNT(data));
    if (found[NFTA_SET_ELEM_FLAGS] != NULL && !cni_attribute_u32(found[NFTA_SET_ELEM_FLAGS], &flags))
        return false;
    if ((flags & ~(uint32_t)(cni_set_is_interval(id) ? NFT_SET_ELEM_INTERVAL_END : 0)) != 0)
        return false;
    struct fl_span key = cni_attribute_bytes(data[NFTA_DATA_VALUE]);
    if (key.len == readback->plan->sets[id].width && is_leading_end(key, flags))
        return true;
    if (!find_element(&readback->plan->sets[id], key, flags != 0, &place))
        return false;
    readback->elements[id][place] = true;
    return true;
}

static void compare_elements(struct cni_readback *readback, const struct nlmsghdr *message, struct fl_err *err)
{
    const struct nlattr *found[NFTA_SET_ELEM_LIST_MAX + 1];
    enum cni_set_id id;
    cni_attributes_of_message(message, sizeof(struct nfgenmsg), found, FL_COUNT(found));
    if (!cni_attribute_is(found[NFTA_SET_ELEM_LIST_TABLE], CNI_NFT_TABLE) ||
        !find_set(readback->plan, found[NFTA_SET_ELEM_LIST_SET], &id))
        return;
    struct cni_attributes list = cni_attributes_in(found[NFTA_SET_ELEM_LIST_ELEMENTS]);
    for (const struct nlattr *element = cni_attributes_next(&list); element != NULL;
         element = cni_attributes_next(&list)) {
        if (!compare_element(readback, id, element))
            DIFFERENCE(readback, err, "set %s: an element that was not planned", cni_set_name(id));
    }
}

void cni_readback_message(struct cni_readback *readback, const struct nlmsghdr *message, struct fl_err *err)
{
    switch (message->nlmsg_type) {
    case NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN:
        read_generation(readback, message);
        break;
    case NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE:
        compare_table(readback, message, err);
        break;
    case NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN:
        compare_chain(readback, message, err);
        break;
    case NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE:
        compare_rule(readback, message, err);
        break;
    case NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSET:
        compare_set(readback, message, err);
        break;
    case NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM:
        compare_elements(readback, message, err);
        break;
    default:
        break;
    }
}

static void finish_set(struct cni_readback *readback, enum cni_set_id id, struct fl_err *err)
{
    const struct cni_set *set = &readback->plan->sets[id];
    if (set->count > 0 && !readback->sets[id])
        DIFFERENCE(readback, err, "set %s is missing", cni_set_name(id));
    for (size_t i = 0; i < set->count; i++) {
        uint8_t behind[16];
        bool closed = cni_range_end(&set->ranges[i], set->width, behind);
        bool ends = closed && cni_set_is_interval(id);
        if (!readback->elements[id][2 * i] || (ends && !readback->elements[id][2 * i + 1]))
            DIFFERENCE(readback, err, "set %s: an element is missing", cni_set_name(id));
    }
}

int cni_readback_finish(struct cni_readback *readback, struct fl_err *err)
{
    if (!readback->table)
        DIFFERENCE(readback, err, "table inet " CNI_NFT_TABLE " is missing");
    for (int chain = 0; chain < CNI_CHAINS; chain++) {
        if (cni_plan_has_chain(readback->plan, (enum cni_chain)chain) && !readback->chains[chain])
            DIFFERENCE(readback, err, "chain %s is missing", cni_chain_name((enum cni_chain)chain));
        const struct cni_rule *next = planned_rule(readback->plan, (enum cni_chain)chain, readback->rules[chain]);
        if (next != NULL)
            DIFFERENCE(readback, err, "chain %s: rule \"%s\" is missing", cni_chain_name((enum cni_chain)chain),
                       next->reason);
    }
    for (int id = CNI_SET_NONE + 1; id < CNI_SETS; id++)
        finish_set(readback, (enum cni_set_id)id, err);
    return readback->differs ? CNI_READBACK_DIFFERS : CNI_READBACK_SAME;
}
