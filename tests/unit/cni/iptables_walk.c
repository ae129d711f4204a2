#include "tests/unit/cni/iptables_walk.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* --- reading --- */

static void copy(char *to, size_t size, struct fl_span word)
{
    assert_true(word.len < size);
    memcpy(to, word.data, word.len);
    to[word.len] = '\0';
}

/* A word, or what stands in quotes (our texts have no escapes). */
static bool take_word(struct fl_span *rest, struct fl_span *ret_word)
{
    while (rest->len > 0 && rest->data[0] == ' ')
        *rest = fl_span_from(*rest, 1);
    if (rest->len == 0)
        return false;
    char end = rest->data[0] == '"' ? '"' : ' ';
    struct fl_span word = fl_span_from(*rest, end == '"' ? 1 : 0);
    size_t len = fl_span_find(word, end);
    *ret_word = (struct fl_span){word.data, len};
    *rest = fl_span_from(word, len < word.len ? len + 1 : len);
    return true;
}

static void take_match(struct iptables_rule *rule, struct fl_span option, struct fl_span value, bool negated)
{
    assert_true(rule->count < FL_COUNT(rule->matches));
    struct iptables_match *match = &rule->matches[rule->count++];
    match->negated = negated;
    copy(match->option, sizeof(match->option), option);
    copy(match->value, sizeof(match->value), value);
}

static void read_rule(struct fl_span line, const char *table, struct iptables_rule *rule)
{
    struct fl_span option, value;
    uint64_t number;
    bool negated = false;
    *rule = (struct iptables_rule){0};
    copy(rule->table, sizeof(rule->table), fl_span_str(table));
    assert_true(take_word(&line, &value));
    copy(rule->chain, sizeof(rule->chain), value);
    while (take_word(&line, &option)) {
        if (fl_span_eq_str(option, "!")) {
            negated = true;
            continue;
        }
        assert_true(take_word(&line, &value));
        if (fl_span_eq_str(option, "-j")) {
            copy(rule->target, sizeof(rule->target), value);
        } else if (fl_span_eq_str(option, "--to-ports") || fl_span_eq_str(option, "--zone")) {
            assert_true(fl_span_to_u64(value, 65535, &number));
            rule->number = (uint16_t)number;
        } else if (!fl_span_eq_str(option, "-m") && !fl_span_eq_str(option, "--comment")) {
            take_match(rule, option, value, negated);
        }
        negated = false;
    }
    assert_true(rule->target[0] != '\0');
}

void iptables_walk_read(struct fl_span text, struct iptables_text *ret_text)
{
    struct fl_span line;
    char table[8] = "";
    ret_text->count = 0;
    while (text.len > 0 && fl_span_split(&text, '\n', &line)) {
        if (fl_span_starts_with(line, FL_SPAN("*")))
            copy(table, sizeof(table), fl_span_from(line, 1));
        if (!fl_span_starts_with(line, FL_SPAN("-A ")))
            continue;
        assert_true(ret_text->count < IPTABLES_WALK_RULES);
        read_rule(fl_span_from(line, 3), table, &ret_text->rules[ret_text->count++]);
    }
}

/* --- matching --- */

/* "first", or the two with `separator` between. */
static bool in_range(struct fl_span text, char separator, uint32_t number)
{
    uint64_t first, last;
    size_t at = fl_span_find(text, separator);
    assert_true(fl_span_to_u64((struct fl_span){text.data, at}, UINT32_MAX, &first));
    last = first;
    if (at < text.len)
        assert_true(fl_span_to_u64(fl_span_from(text, at + 1), UINT32_MAX, &last));
    return number >= first && number <= last;
}

static bool in_ports(const char *list, uint16_t port)
{
    struct fl_span rest = fl_span_str(list), part;
    unsigned slots = 0;
    bool found = false;
    while (fl_span_split(&rest, ',', &part)) {
        slots += fl_span_find(part, ':') < part.len ? 2 : 1;
        found |= in_range(part, ':', port);
    }
    assert_true(slots <= 15);
    return found;
}

static bool in_cidr(const char *text, int family, const uint8_t *address)
{
    struct fl_cidr cidr;
    assert_int_equal(fl_cidr_parse(fl_span_str(text), &cidr, NULL), 0);
    assert_int_equal(cidr.family, family);
    for (unsigned bit = 0; bit < cidr.prefix; bit++) {
        if (((cidr.address[bit / 8] ^ address[bit / 8]) >> (7 - bit % 8) & 1) != 0)
            return false;
    }
    return true;
}

static bool is_protocol(const char *name, uint8_t protocol)
{
    assert_true(strcmp(name, "tcp") == 0 || strcmp(name, "udp") == 0);
    return protocol == (strcmp(name, "tcp") == 0 ? IPPROTO_TCP : IPPROTO_UDP);
}

static bool holds(const struct iptables_match *match, const struct cni_packet *packet)
{
    const char *option = match->option, *value = match->value;
    if (strcmp(option, "-s") == 0)
        return in_cidr(value, packet->family, packet->source);
    if (strcmp(option, "-d") == 0)
        return in_cidr(value, packet->family, packet->destination);
    if (strcmp(option, "-i") == 0)
        return packet->inward && strcmp(value, packet->interface) == 0;
    if (strcmp(option, "-o") == 0)
        return !packet->inward && strcmp(value, packet->interface) == 0;
    if (strcmp(option, "-p") == 0)
        return is_protocol(value, packet->protocol);
    if (strcmp(option, "--uid-owner") == 0)
        return !packet->inward && in_range(fl_span_str(value), '-', packet->uid);
    if (strcmp(option, "--gid-owner") == 0)
        return !packet->inward && in_range(fl_span_str(value), '-', packet->gid);
    if (strcmp(option, "--sport") == 0)
        return in_range(fl_span_str(value), ':', packet->source_port);
    if (strcmp(option, "--dport") == 0)
        return in_range(fl_span_str(value), ':', packet->destination_port);
    if (strcmp(option, "--dports") == 0)
        return in_ports(value, packet->destination_port);
    if (strcmp(option, "--ctstate") == 0)
        return strcmp(value, "INVALID") == 0 && packet->invalid;
    fail_msg("an option that is not known: %s", option);
    return false;
}

static bool matches(const struct iptables_rule *rule, const struct cni_packet *packet)
{
    for (size_t i = 0; i < rule->count; i++) {
        if (holds(&rule->matches[i], packet) == rule->matches[i].negated)
            return false;
    }
    return true;
}

/* --- walking --- */

/* True once a verdict was met; a chain that ends, or a return, goes on in the one before. */
static bool walk(const struct iptables_text *text, const char *table, const char *chain,
                 const struct cni_packet *packet, struct cni_decision *decision)
{
    for (size_t i = 0; i < text->count; i++) {
        const struct iptables_rule *rule = &text->rules[i];
        if (strcmp(rule->table, table) != 0 || strcmp(rule->chain, chain) != 0 || !matches(rule, packet))
            continue;
        if (strcmp(rule->target, "RETURN") == 0)
            return false;
        if (strcmp(rule->target, "CT") == 0) { /* the first one counts; it does not end the chain */
            assert_string_equal(table, "raw");
            decision->zone = decision->zone != 0 ? decision->zone : rule->number;
            continue;
        }
        if (strcmp(rule->target, "REDIRECT") == 0) {
            assert_string_equal(table, "nat");
            decision->redirected = rule->number;
            return true;
        }
        if (strcmp(rule->target, "DROP") == 0) {
            decision->dropped = true;
            return true;
        }
        if (walk(text, table, rule->target, packet, decision))
            return true;
    }
    return false;
}

void iptables_walk_decide(const struct iptables_text *text, const struct cni_packet *packet,
                          struct cni_decision *ret_decision)
{
    const char *hook = packet->inward ? "PREROUTING" : "OUTPUT";
    *ret_decision = (struct cni_decision){0};
    if (walk(text, "raw", hook, packet, ret_decision) || walk(text, "mangle", hook, packet, ret_decision))
        return;
    if (!(packet->inward && (packet->invalid || strcmp(packet->interface, "lo") == 0)))
        (void)walk(text, "nat", hook, packet, ret_decision);
}
