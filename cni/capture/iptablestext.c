#include "cni/capture/iptablestext.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#define MULTIPORT_SLOTS 15 /* XT_MULTI_PORTS */
#define CHAIN_NAME_MAX  29 /* XT_EXTENSION_MAXNAMELEN, with the NUL */

/* In the order in which a netns changes: nat, which captures, comes last. */
static const char *const tables[] = {"raw", "mangle", "nat"};

static const struct {
    const char *table, *entry; /* entered from */
} places[CNI_CHAINS] = {
    [CNI_CHAIN_PREROUTING] = {"nat", "PREROUTING"},
    [CNI_CHAIN_OUTPUT] = {"nat", "OUTPUT"},
    [CNI_CHAIN_DROP_INVALID] = {"mangle", "PREROUTING"},
    [CNI_CHAIN_DNS_ZONE] = {"raw", "OUTPUT"},
};

struct printer { /* of one table */
    const struct cni_plan *plan;
    int family;
    struct fl_buf heads, rules; /* ":CHAIN - [0:0]" and "-A …" */
    struct fl_err *err;
    enum cni_chain chain;
    unsigned branches; /* of the chain so far */
};

/* A rule on its way: the words that stand already. Copied wherever a set makes several of one. */
struct words {
    const char *chain;
    const struct cni_rule *rule;
    const char *target; /* a chain; NULL: the rule's verdict */
    size_t len;
    char text[512];
};

static int __attribute__((format(printf, 2, 3))) put(struct words *words, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(words->text + words->len, sizeof(words->text) - words->len, format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= sizeof(words->text) - words->len)
        return -EMSGSIZE;
    words->len += (size_t)size;
    return 0;
}

static void name_chain(enum cni_chain chain, unsigned branch, char ret_name[CHAIN_NAME_MAX])
{
    char number[12] = "";
    if (branch > 0)
        snprintf(number, sizeof(number), "_%u", branch);
    snprintf(ret_name, CHAIN_NAME_MAX, CNI_IPTABLES_PREFIX "%s%s", cni_chain_name(chain), number);
    for (char *at = ret_name; *at != '\0'; at++)
        *at = (char)toupper((unsigned char)*at);
}

static uint32_t number_of(const uint8_t *bytes, size_t width)
{
    uint32_t number = 0;
    for (size_t i = 0; i < width; i++)
        number = number << 8 | bytes[i];
    return number;
}

/* --- the end of a rule --- */

static int append_rule(struct printer *printer, const struct words *words, const char *target)
{
    const char *reason = words->rule->reason;
    return fl_buf_printf(&printer->rules, "-A %s%.*s -m comment --comment \"%s\" -j %s\n", words->chain,
                         (int)words->len, words->text, reason, target);
}

/* CT lets the packet go on to the next rule, so what ends the chain is a second rule. */
static int put_verdict(struct printer *printer, const struct words *words)
{
    const struct cni_rule *rule = words->rule;
    char target[40];
    int result = 0;
    if (words->target != NULL)
        return append_rule(printer, words, words->target);
    switch (rule->verdict) {
    case CNI_REDIRECT:
        snprintf(target, sizeof(target), "REDIRECT --to-ports %u", rule->to_port);
        return append_rule(printer, words, target);
    case CNI_DROP:
        return append_rule(printer, words, "DROP");
    case CNI_ZONE:
        snprintf(target, sizeof(target), "CT --zone %u", rule->to_port);
        result = append_rule(printer, words, target);
        return result == 0 ? append_rule(printer, words, "RETURN") : result;
    case CNI_ACCEPT:
    default:
        return append_rule(printer, words, "RETURN");
    }
}

/* --- matches, in the order in which iptables-save shows them; each step goes on to the next --- */

static int put_state(struct printer *printer, struct words *words)
{
    int result = words->rule->invalid ? put(words, " -m conntrack --ctstate INVALID") : 0;
    return result == 0 ? put_verdict(printer, words) : result;
}

/* One match with as many values of the set, from *at on, as it takes. */
static int put_some_ports(struct words *words, const struct cni_set *set, size_t *at)
{
    size_t slots = 0;
    int result = put(words, " -m multiport --dports ");
    for (const char *comma = ""; result == 0 && *at < set->count; comma = ",", ++*at) {
        uint32_t first = number_of(set->ranges[*at].first, 2), last = number_of(set->ranges[*at].last, 2);
        slots += first == last ? 1 : 2;
        if (slots > MULTIPORT_SLOTS)
            break;
        result = first == last ? put(words, "%s%u", comma, first) : put(words, "%s%u:%u", comma, first, last);
    }
    return result;
}

static int put_ports(struct printer *printer, struct words *words)
{
    const struct cni_rule *rule = words->rule;
    const struct cni_set *set = &printer->plan->sets[rule->port_set];
    int result = 0;
    if (rule->port != 0 || rule->source_port != 0)
        result = put(words, " -m %s", rule->protocol == IPPROTO_TCP ? "tcp" : "udp");
    if (result == 0 && rule->source_port != 0)
        result = put(words, " --sport %u", rule->source_port);
    if (result == 0 && rule->port != 0)
        result = put(words, " --dport %u", rule->port);
    if (result != 0 || rule->port_set == CNI_SET_NONE || words->target != NULL)
        return result == 0 ? put_state(printer, words) : result;
    for (size_t i = 0; result == 0 && i < set->count;) {
        struct words copy = *words;
        result = put_some_ports(&copy, set, &i);
        if (result == 0)
            result = put_state(printer, &copy);
    }
    return result;
}

static int put_owners(struct printer *printer, struct words *words)
{
    const struct cni_rule *rule = words->rule;
    const struct cni_set *set = &printer->plan->sets[rule->uid_set];
    int result = 0;
    if (rule->proxy)
        result = put(words, " -m owner --uid-owner %u --gid-owner %u", printer->plan->uid, printer->plan->gid);
    if (result != 0 || rule->uid_set == CNI_SET_NONE)
        return result == 0 ? put_ports(printer, words) : result;
    for (size_t i = 0; result == 0 && i < set->count; i++) {
        struct words copy = *words;
        uint32_t first = number_of(set->ranges[i].first, 4), last = number_of(set->ranges[i].last, 4);
        result = first == last ? put(&copy, " -m owner --uid-owner %u", first)
                               : put(&copy, " -m owner --uid-owner %u-%u", first, last);
        if (result == 0)
            result = put_ports(printer, &copy);
    }
    return result;
}

static int put_protocol(struct printer *printer, struct words *words)
{
    int result = 0;
    if (words->rule->protocol != 0)
        result = put(words, " -p %s", words->rule->protocol == IPPROTO_TCP ? "tcp" : "udp");
    return result == 0 ? put_owners(printer, words) : result;
}

/* A '+' at the end means "any that begins so", and nothing escapes it. */
static bool is_plain_name(const char *name)
{
    size_t len = strnlen(name, FL_INTERFACE_NAME_MAX);
    return len > 0 && len < FL_INTERFACE_NAME_MAX && name[0] != '-' && name[0] != '!' && name[len - 1] != '+';
}

static int put_interfaces(struct printer *printer, struct words *words)
{
    const struct cni_rule *rule = words->rule;
    const struct cni_set *set = &printer->plan->sets[rule->interface_set];
    const char *option = strcmp(places[rule->chain].entry, "PREROUTING") == 0 ? "-i" : "-o";
    int result = rule->loopback ? put(words, " -o lo") : 0;
    if (result != 0 || rule->interface_set == CNI_SET_NONE)
        return result == 0 ? put_protocol(printer, words) : result;
    for (size_t i = 0; result == 0 && i < set->count; i++) {
        struct words copy = *words;
        const char *name = (const char *)set->ranges[i].first;
        if (!is_plain_name(name))
            return fl_err_set(printer->err, -EOPNOTSUPP, "iptables has no way to name the interface \"%s\"", name);
        result = put(&copy, " %s %s", option, name);
        if (result == 0)
            result = put_protocol(printer, &copy);
    }
    return result;
}

static int put_cidr(struct words *words, const char *option, int family, const uint8_t *address, unsigned prefix)
{
    char text[INET6_ADDRSTRLEN];
    inet_ntop(family, address, text, sizeof(text));
    return put(words, " %s %s/%u", option, text, prefix);
}

/* The largest CIDR that begins at `first` and goes no further than `last`; its last address in ret_last. */
static unsigned widest(const uint8_t *first, const uint8_t *last, size_t width, uint8_t ret_last[16])
{
    unsigned prefix = 8 * (unsigned)width;
    memcpy(ret_last, first, 16);
    while (prefix > 0) {
        uint8_t bit = (uint8_t)(1u << (8 * (unsigned)width - prefix) % 8);
        size_t byte = (prefix - 1) / 8;
        uint8_t wider[16];
        memcpy(wider, ret_last, 16);
        wider[byte] |= bit;
        if ((first[byte] & bit) != 0 || memcmp(wider, last, width) > 0)
            break;
        memcpy(ret_last, wider, 16);
        prefix--;
    }
    return prefix;
}

static int put_range(struct printer *printer, const struct words *words, const struct cni_range *range, size_t width)
{
    struct cni_range rest = *range;
    bool more = true;
    while (more) {
        struct words copy = *words;
        struct cni_range cidr = rest;
        unsigned prefix = widest(rest.first, rest.last, width, cidr.last);
        int result = put_cidr(&copy, "-d", printer->family, rest.first, prefix);
        if (result == 0)
            result = put_interfaces(printer, &copy);
        if (result != 0)
            return result;
        more = memcmp(cidr.last, rest.last, width) != 0 && cni_range_end(&cidr, width, rest.first);
    }
    return 0;
}

static int put_addresses(struct printer *printer, struct words *words)
{
    const struct cni_rule *rule = words->rule;
    const struct cni_set *set = &printer->plan->sets[rule->destination_set];
    int result = 0;
    if (rule->source.present)
        result = put_cidr(words, rule->source.negated ? "! -s" : "-s", printer->family, rule->source.cidr.address,
                          rule->source.cidr.prefix);
    if (result == 0 && rule->destination.present)
        result = put_cidr(words, rule->destination.negated ? "! -d" : "-d", printer->family,
                          rule->destination.cidr.address, rule->destination.cidr.prefix);
    if (result != 0 || rule->destination_set == CNI_SET_NONE)
        return result == 0 ? put_interfaces(printer, words) : result;
    for (size_t i = 0; result == 0 && i < set->count; i++)
        result = put_range(printer, words, &set->ranges[i], set->width);
    return result;
}

/* --- rules and chains --- */

static int put_rule(struct printer *printer, const struct cni_rule *rule, const char *chain, const char *target)
{
    struct words words = {.chain = chain, .rule = rule, .target = target};
    return put_addresses(printer, &words);
}

/* Whoever gets there meets all the rule's matches but those of ports. A return would go on in the chain before, so only
 * verdicts that are none can stand here. */
static int put_branch(struct printer *printer, const struct cni_rule *rule, const char *chain)
{
    char branch[CHAIN_NAME_MAX];
    const struct cni_rule excluded = {
        .protocol = rule->protocol, .port_set = rule->port_set_not, .verdict = CNI_ACCEPT, .reason = "excluded ports"};
    const struct cni_rule meant = {.protocol = rule->protocol,
                                   .port_set = rule->port_set,
                                   .verdict = rule->verdict,
                                   .to_port = rule->to_port,
                                   .reason = rule->reason};
    if (rule->verdict != CNI_REDIRECT && rule->verdict != CNI_DROP)
        return -EINVAL;
    name_chain(printer->chain, ++printer->branches, branch);
    int result = fl_buf_printf(&printer->heads, ":%s - [0:0]\n", branch);
    if (result == 0)
        result = put_rule(printer, rule, chain, branch);
    if (result == 0)
        result = put_rule(printer, &excluded, branch, NULL);
    return result == 0 ? put_rule(printer, &meant, branch, NULL) : result;
}

static int put_chain(struct printer *printer, enum cni_chain id)
{
    const struct cni_plan *plan = printer->plan;
    char chain[CHAIN_NAME_MAX];
    printer->chain = id;
    printer->branches = 0;
    name_chain(id, 0, chain);
    int result = fl_buf_printf(&printer->heads, ":%s - [0:0]\n", chain);
    if (result == 0)
        result = fl_buf_printf(&printer->rules, "-A %s -m comment --comment \"%s\" -j %s\n", places[id].entry,
                               plan->comment, chain);
    for (size_t i = 0; result == 0 && i < plan->rule_count; i++) {
        const struct cni_rule *rule = &plan->rules[i];
        if (rule->chain != id || (rule->family != AF_UNSPEC && rule->family != printer->family))
            continue;
        result = rule->port_set_not == CNI_SET_NONE ? put_rule(printer, rule, chain, NULL)
                                                    : put_branch(printer, rule, chain);
    }
    return result;
}

static int append_table(struct printer *printer, const char *table, struct fl_buf *out)
{
    int result = 0;
    for (int id = 0; result == 0 && id < CNI_CHAINS; id++) {
        if (strcmp(places[id].table, table) == 0 && cni_plan_has_chain(printer->plan, (enum cni_chain)id))
            result = put_chain(printer, (enum cni_chain)id);
    }
    if (result != 0 || printer->heads.len == 0)
        return result;
    return fl_buf_printf(out, "*%s\n%.*s%.*sCOMMIT\n", table, FL_SPAN_ARG(fl_buf_span(&printer->heads)),
                         FL_SPAN_ARG(fl_buf_span(&printer->rules)));
}

int cni_iptables_print(const struct cni_plan *plan, int family, struct fl_buf *out, struct fl_err *err)
{
    int result = 0;
    for (size_t i = 0; result == 0 && (family == AF_INET || plan->ipv6) && i < FL_COUNT(tables); i++) {
        struct printer printer = {.plan = plan, .family = family, .err = err};
        fl_buf_init(&printer.heads, CNI_IPTABLES_TEXT_MAX);
        fl_buf_init(&printer.rules, CNI_IPTABLES_TEXT_MAX);
        result = append_table(&printer, tables[i], out);
        fl_buf_done(&printer.heads);
        fl_buf_done(&printer.rules);
    }
    return result;
}
