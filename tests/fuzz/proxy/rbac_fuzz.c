/* Any policies over any facts, against a naive reading of both. The naive one knows no third answer: it tries every way
 * in which the matchers that cannot tell might have answered. Each of them stands in one place of its tree, so the
 * rules' ERR has to be exactly "both came out". */
#include "proxy/policy/rbac.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RULES_MAX    64
#define DOUBTS_MAX   6 /* matchers that err, in all */
#define TEXT_MAX     6
#define POLICIES_MAX 4

struct input {
    const uint8_t *data;
    size_t size;
};

static unsigned take(struct input *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->data++;
}

/* A short text over a small alphabet, so that texts meet. */
static struct fl_span take_text(struct input *input, char *to)
{
    static const char alphabet[] = "ab/A.:";
    size_t len = take(input) % TEXT_MAX;
    for (size_t i = 0; i < len; i++)
        to[i] = alphabet[take(input) % (sizeof(alphabet) - 1)];
    return fl_span_make(to, len);
}

/* --- rules ------------------------------------------------------------------------------------------------------- */

struct world {
    struct proxy_rule rules[RULES_MAX];
    char texts[RULES_MAX][TEXT_MAX];
    int doubt[RULES_MAX]; /* by rule: which doubt it is; -1: none */
    size_t used;
    int doubts;
    struct proxy_message request;
    struct proxy_facts facts;
    struct proxy_address source;
    char identity[TEXT_MAX + 9], path[TEXT_MAX + 1], field[TEXT_MAX], host[TEXT_MAX];
};

static struct proxy_string_match take_match(struct world *world, struct input *input, size_t at)
{
    unsigned how = take(input);
    return (struct proxy_string_match){
        .kind = (enum proxy_string_kind)(how % 4), .ignore_case = how & 4, .text = take_text(input, world->texts[at])};
}

static void take_leaf(struct world *world, struct input *input, size_t at)
{
    struct proxy_rule *rule = &world->rules[at];
    unsigned kind = take(input) % 8;
    world->doubt[at] = -1;
    switch (kind) {
    case 0:
        *rule = (struct proxy_rule){.kind = PROXY_RULE_ANY};
        break;
    case 1:
        *rule = (struct proxy_rule){.kind = PROXY_RULE_AUTHENTICATED};
        break;
    case 2:
        *rule = (struct proxy_rule){.kind = PROXY_RULE_IDENTITY, .string = take_match(world, input, at)};
        break;
    case 3:
        *rule = (struct proxy_rule){.kind = PROXY_RULE_PATH, .string = take_match(world, input, at)};
        break;
    case 4:
        *rule = (struct proxy_rule){.kind = PROXY_RULE_HEADER,
                                    .header = {.name = FL_SPAN("x"),
                                               .kind = PROXY_VALUE_STRING,
                                               .string = take_match(world, input, at),
                                               .invert = take(input) & 1}};
        break;
    case 5:
        *rule = (struct proxy_rule){.kind = PROXY_RULE_SOURCE,
                                    .cidr = {.family = AF_INET, .address = {10}, .prefix = (uint8_t)(take(input) % 9)}};
        break;
    case 6:
        *rule = (struct proxy_rule){.kind = PROXY_RULE_HOST,
                                    .header = {.name = FL_SPAN(":authority"),
                                               .kind = PROXY_VALUE_STRING,
                                               .string = take_match(world, input, at)}};
        break;
    default: /* nobody knows where it goes */
        if (world->doubts == DOUBTS_MAX) {
            *rule = (struct proxy_rule){.kind = PROXY_RULE_ANY};
            break;
        }
        *rule = (struct proxy_rule){.kind = PROXY_RULE_DESTINATION_PORT};
        world->doubt[at] = world->doubts++;
        break;
    }
}

/* Fills `count` rules from `at` on, which are reserved; their members come behind all that is reserved so far. */
static void take_rules(struct world *world, struct input *input, size_t at, size_t count, unsigned depth)
{
    for (size_t i = at; i < at + count; i++) {
        unsigned kind = take(input) % 5;
        size_t members = kind == 2 ? 1 : 1 + take(input) % 3;
        if (kind > 2 || depth == 5 || world->used + members > RULES_MAX) {
            take_leaf(world, input, i);
            continue;
        }
        static const enum proxy_rule_kind kinds[] = {PROXY_RULE_AND, PROXY_RULE_OR, PROXY_RULE_NOT};
        size_t first = world->used;
        world->used += members;
        world->doubt[i] = -1;
        world->rules[i] = (struct proxy_rule){.kind = kinds[kind], .set = {&world->rules[first], members}};
        take_rules(world, input, first, members, depth + 1);
    }
}

static void take_facts(struct world *world, struct input *input)
{
    static const char scheme[] = "spiffe://";
    unsigned flags = take(input);
    struct fl_span text = take_text(input, world->identity + 9);
    memcpy(world->identity, scheme, 9);
    if (flags & 1)
        world->facts.identity = fl_span_make(world->identity, 9 + text.len);
    world->path[0] = '/';
    text = take_text(input, world->path + 1);
    proxy_message_init(&world->request);
    world->request.path = fl_span_make(world->path, text.len + 1);
    world->request.authority = take_text(input, world->host);
    if (flags & 2)
        (void)!proxy_headers_add(&world->request.headers, FL_SPAN("x"), take_text(input, world->field));
    world->facts.request = &world->request;
    world->source.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl((uint32_t)take(input) << 24)}};
    world->facts.source = &world->source;
}

/* --- the naive reading ------------------------------------------------------------------------------------------- */

static char fold(char c, bool ignore_case)
{
    return ignore_case && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool stands_at(struct fl_span text, struct fl_span want, size_t at, bool ignore_case)
{
    for (size_t i = 0; i < want.len; i++) {
        if (at + i >= text.len || fold(text.data[at + i], ignore_case) != fold(want.data[i], ignore_case))
            return false;
    }
    return true;
}

static bool naive_text(const struct proxy_string_match *match, struct fl_span text, bool ignore_case)
{
    for (size_t at = 0; at <= text.len; at++) {
        bool front = at == 0, back = at + match->text.len == text.len;
        if (stands_at(text, match->text, at, ignore_case) && at + match->text.len <= text.len &&
            (match->kind == PROXY_STRING_CONTAINS || (match->kind == PROXY_STRING_EXACT && front && back) ||
             (match->kind == PROXY_STRING_PREFIX && front) || (match->kind == PROXY_STRING_SUFFIX && back)))
            return true;
    }
    return false;
}

static bool naive_identity(const struct proxy_rule *rule, struct fl_span identity)
{
    return identity.len > 0 && (naive_text(&rule->string, identity, rule->string.ignore_case) ||
                                naive_text(&rule->string, fl_span_from(identity, 9), rule->string.ignore_case));
}

static bool naive_host(const struct proxy_rule *rule, struct fl_span host)
{
    if (host.len == 0)
        return false;
    struct fl_span bare = fl_span_make(host.data, proxy_authority_host_len(host)), dotless = bare;
    if (dotless.len > 1 && dotless.data[dotless.len - 1] == '.')
        dotless.len--;
    return naive_text(&rule->header.string, host, true) || naive_text(&rule->header.string, bare, true) ||
           naive_text(&rule->header.string, dotless, true);
}

static bool naive(const struct world *world, const struct proxy_rule *rule, unsigned answers);

static bool naive_field(const struct world *world, const struct proxy_rule *rule)
{
    const struct proxy_headers *headers = &world->request.headers;
    return headers->count > 0 && naive_text(&rule->header.string, headers->list[0].value,
                                            rule->header.string.ignore_case) != rule->header.invert;
}

static bool naive_source(const struct world *world, const struct proxy_rule *rule)
{
    uint32_t address = ntohl(world->source.v4.sin_addr.s_addr), block = (uint32_t)rule->cidr.address[0] << 24;
    uint32_t mask = rule->cidr.prefix == 0 ? 0 : UINT32_MAX << (32 - rule->cidr.prefix);
    return (address & mask) == (block & mask);
}

static bool naive(const struct world *world, const struct proxy_rule *rule, unsigned answers)
{
    if (world->doubt[rule - world->rules] >= 0)
        return answers >> world->doubt[rule - world->rules] & 1;
    switch ((int)rule->kind) {
    case PROXY_RULE_AND:
    case PROXY_RULE_OR: {
        size_t yes = 0;
        for (size_t i = 0; i < rule->set.count; i++)
            yes += naive(world, &rule->set.rules[i], answers);
        return rule->kind == PROXY_RULE_AND ? yes == rule->set.count : yes > 0;
    }
    case PROXY_RULE_NOT:
        return !naive(world, rule->set.rules, answers);
    case PROXY_RULE_AUTHENTICATED:
        return world->facts.identity.len > 0;
    case PROXY_RULE_IDENTITY:
        return naive_identity(rule, world->facts.identity);
    case PROXY_RULE_PATH:
        return naive_text(&rule->string, world->request.path, rule->string.ignore_case);
    case PROXY_RULE_HEADER:
        return naive_field(world, rule);
    case PROXY_RULE_SOURCE:
        return naive_source(world, rule);
    case PROXY_RULE_HOST:
        return naive_host(rule, world->request.authority);
    default:
        return true;
    }
}

/* --- both -------------------------------------------------------------------------------------------------------- */

static enum proxy_answer expected(const struct world *world, const struct proxy_rule *rule)
{
    bool yes = false, no = false;
    for (unsigned answers = 0; answers < 1u << DOUBTS_MAX; answers++) {
        bool one = naive(world, rule, answers);
        yes |= one;
        no |= !one;
    }
    return yes && no ? PROXY_ANSWER_ERR : yes ? PROXY_ANSWER_YES : PROXY_ANSWER_NO;
}

static enum proxy_answer both(enum proxy_answer a, enum proxy_answer b)
{
    if (a == PROXY_ANSWER_NO || b == PROXY_ANSWER_NO)
        return PROXY_ANSWER_NO;
    return a == PROXY_ANSWER_ERR ? a : b;
}

/* Pairs of rules as policies. */
static void check_decisions(const struct world *world, size_t count)
{
    struct proxy_rbac_policy policies[POLICIES_MAX];
    bool allowed = false, denied = false;
    for (size_t i = 0; i < count; i++) {
        policies[i] = (struct proxy_rbac_policy){.details = "",
                                                 .permissions = &world->rules[2 * i],
                                                 .permission_count = 1,
                                                 .principals = &world->rules[2 * i + 1],
                                                 .principal_count = 1};
        enum proxy_answer match =
            both(expected(world, &world->rules[2 * i]), expected(world, &world->rules[2 * i + 1]));
        allowed |= match == PROXY_ANSWER_YES;
        denied |= match != PROXY_ANSWER_NO;
    }
    const struct proxy_rbac allow = {PROXY_RBAC_ALLOW, policies, count}, deny = {PROXY_RBAC_DENY, policies, count};
    assert(proxy_rbac_decide(&allow, &world->facts).allowed == allowed);
    assert(proxy_rbac_decide(&deny, &world->facts).allowed == !denied);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct input input = {data, size};
    memset(&world, 0, sizeof(world));
    take_facts(&world, &input);
    size_t policies = 1 + take(&input) % POLICIES_MAX;
    world.used = 2 * policies;
    take_rules(&world, &input, 0, 2 * policies, 0);
    for (size_t i = 0; i < 2 * policies; i++)
        assert(proxy_rule_judge(&world.rules[i], &world.facts) == expected(&world, &world.rules[i]));
    check_decisions(&world, policies);
    return 0;
}
