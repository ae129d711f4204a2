/* proxy/policy: rules, one matcher after the other, each also under NOT; three answers; RBAC's decisions. */
#include "proxy/http/h1.h"
#include "proxy/policy/rbac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        literal, sizeof(literal) - 1                                                                                   \
    }
#define STRING(how, literal)                                                                                           \
    {                                                                                                                  \
        .kind = PROXY_STRING_##how, .text = TEXT(literal)                                                              \
    }
#define NO  PROXY_ANSWER_NO
#define YES PROXY_ANSWER_YES
#define ERR PROXY_ANSWER_ERR

static struct proxy_message message;

static const struct proxy_message *request(const char *start_and_fields)
{
    static char text[65536];
    static const struct proxy_h1_limits limits;
    struct proxy_h1_parser parser = {0};
    size_t size;
    if (start_and_fields == NULL)
        return NULL;
    int len = snprintf(text, sizeof(text), "%s\r\n\r\n", start_and_fields);
    assert_int_equal(proxy_h1_parse_request(&parser, fl_span_make(text, (size_t)len), &limits, &message, &size),
                     PROXY_H1_DONE);
    return &message;
}

static struct fl_cidr cidr(const char *text)
{
    struct fl_cidr parsed;
    struct fl_err err = {0};
    if (fl_cidr_parse(fl_span_str(text), &parsed, &err) < 0)
        fail_msg("%s", err.text);
    return parsed;
}

static enum proxy_answer judge(const struct proxy_rule *rule, const struct proxy_facts *facts)
{
    enum proxy_answer straight = proxy_rule_judge(rule, facts);
    const struct proxy_rule inverted = {.kind = PROXY_RULE_NOT, .set = {.rules = rule, .count = 1}};
    enum proxy_answer turned = proxy_rule_judge(&inverted, facts);
    assert_int_equal(turned, straight == ERR ? ERR : straight == YES ? NO : YES);
    return straight;
}

/* --- who --------------------------------------------------------------------------------------------------------- */

#define ALICE "spiffe://cluster.local/ns/shop/sa/alice"

static const struct {
    const char *what;
    struct proxy_string_match match;
    const char *identity;
    enum proxy_answer answer;
} identities[] = {
    {"exact, the whole URI", STRING(EXACT, ALICE), ALICE, YES},
    {"exact, without the scheme", STRING(EXACT, "cluster.local/ns/shop/sa/alice"), ALICE, YES},
    {"exact, another", STRING(EXACT, "cluster.local/ns/shop/sa/bob"), ALICE, NO},
    {"exact is case-sensitive", STRING(EXACT, "spiffe://cluster.local/ns/shop/sa/Alice"), ALICE, NO},
    {"exact, one that another begins with", STRING(EXACT, ALICE), ALICE "2", NO},
    {"prefix with the scheme", STRING(PREFIX, "spiffe://cluster.local/ns/shop/"), ALICE, YES},
    {"prefix without the scheme", STRING(PREFIX, "cluster.local/ns/shop/"), ALICE, YES},
    {"a prefix of the scheme", STRING(PREFIX, "spiffe://"), ALICE, YES},
    {"prefix, another namespace", STRING(PREFIX, "cluster.local/ns/shopping/"), ALICE, NO},
    {"suffix", STRING(SUFFIX, "/sa/alice"), ALICE, YES},
    {"suffix, another", STRING(SUFFIX, "/sa/lice"), ALICE, NO},
    {"contains", STRING(CONTAINS, "/ns/shop/"), ALICE, YES},
    {"contains, another namespace", STRING(CONTAINS, "/ns/sho/"), ALICE, NO},
    {"nobody is nobody's match", STRING(EXACT, ALICE), "", NO},
    {"nobody, and an empty text", STRING(EXACT, ""), "", NO},
};

static void test_identity(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(identities); i++) {
        const struct proxy_rule rule = {.kind = PROXY_RULE_IDENTITY, .string = identities[i].match};
        const struct proxy_facts facts = {.identity = fl_span_str(identities[i].identity)};
        if (judge(&rule, &facts) != identities[i].answer)
            fail_msg("%s", identities[i].what);
    }
    const struct proxy_rule somebody = {.kind = PROXY_RULE_AUTHENTICATED};
    assert_int_equal(judge(&somebody, &(struct proxy_facts){.identity = FL_SPAN(ALICE)}), YES);
    assert_int_equal(judge(&somebody, &(struct proxy_facts){.direct_source = NULL}), NO);
}

/* --- where ------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *block, *address;
    enum proxy_answer answer;
} blocks[] = {
    {"10.0.0.0/8", "10.255.0.1", YES}, {"10.0.0.0/8", "11.0.0.1", NO},      {"10.1.2.3/32", "10.1.2.3", YES},
    {"10.1.2.3/32", "10.1.2.2", NO},   {"10.1.2.128/25", "10.1.2.127", NO}, {"10.1.2.128/25", "10.1.2.200", YES},
    {"0.0.0.0/0", "1.2.3.4", YES},     {"0.0.0.0/0", "fd00::1", NO},        {"::/0", "fd00::1", YES},
    {"fd00::/9", "fd80::1", NO},       {"fd00::/9", "fd7f::1", YES},        {"fd00::1/128", "fd00::1", YES},
    {"10.0.0.0/8", NULL, ERR},
};

static void test_addresses(void **state)
{
    (void)state;
    static const enum proxy_rule_kind kinds[] = {PROXY_RULE_DIRECT_SOURCE, PROXY_RULE_SOURCE, PROXY_RULE_DESTINATION};
    for (size_t i = 0; i < FL_COUNT(blocks); i++) {
        struct proxy_address address = {0};
        if (blocks[i].address != NULL)
            assert_int_equal(proxy_address_parse(fl_span_str(blocks[i].address), 80, &address), 0);
        for (size_t k = 0; k < FL_COUNT(kinds); k++) {
            const struct proxy_rule rule = {.kind = kinds[k], .cidr = cidr(blocks[i].block)};
            const struct proxy_facts facts = {.direct_source = kinds[k] == PROXY_RULE_DIRECT_SOURCE ? &address : NULL,
                                              .source = kinds[k] == PROXY_RULE_SOURCE ? &address : NULL,
                                              .destination = kinds[k] == PROXY_RULE_DESTINATION ? &address : NULL};
            if (judge(&rule, &facts) != blocks[i].answer)
                fail_msg("%s %s", blocks[i].block, blocks[i].address);
        }
    }
}

static void test_the_client_behind_proxies(void **state)
{
    (void)state;
    struct proxy_address proxy, client;
    assert_int_equal(proxy_address_parse(FL_SPAN("10.0.0.1"), 1, &proxy), 0);
    assert_int_equal(proxy_address_parse(FL_SPAN("192.0.2.1"), 1, &client), 0);
    const struct proxy_facts facts = {.direct_source = &proxy, .source = &client};
    const struct proxy_facts direct = {.direct_source = &proxy};
    const struct proxy_rule remote = {.kind = PROXY_RULE_SOURCE, .cidr = cidr("192.0.2.0/24")};
    const struct proxy_rule peer = {.kind = PROXY_RULE_DIRECT_SOURCE, .cidr = cidr("192.0.2.0/24")};
    assert_int_equal(judge(&remote, &facts), YES);
    assert_int_equal(judge(&peer, &facts), NO);
    assert_int_equal(judge(&remote, &direct), NO);
}

static void test_ports_and_names(void **state)
{
    (void)state;
    struct proxy_address address;
    assert_int_equal(proxy_address_parse(FL_SPAN("10.0.0.1"), 8080, &address), 0);
    const struct proxy_facts facts = {.destination = &address, .server_name = FL_SPAN("API.example.com")};
    const struct proxy_rule one = {.kind = PROXY_RULE_DESTINATION_PORT, .ports = {8080, 8080}};
    const struct proxy_rule range = {.kind = PROXY_RULE_DESTINATION_PORT, .ports = {8000, 8079}};
    const struct proxy_rule name = {.kind = PROXY_RULE_SERVER_NAME, .string = STRING(SUFFIX, ".example.com")};
    const struct proxy_rule other = {.kind = PROXY_RULE_SERVER_NAME, .string = STRING(EXACT, "example.com")};
    assert_int_equal(judge(&one, &facts), YES);
    assert_int_equal(judge(&range, &facts), NO);
    assert_int_equal(judge(&one, &(struct proxy_facts){.identity = FL_SPAN("x")}), ERR);
    assert_int_equal(judge(&name, &facts), YES);
    assert_int_equal(judge(&other, &facts), NO);
    assert_int_equal(judge(&name, &(struct proxy_facts){.destination = &address}), NO);
}

/* --- what -------------------------------------------------------------------------------------------------------- */

#define GET                  "GET /a/b?c=d HTTP/1.1\r\nHost: Shop.Example:8080"
#define HEADER(field, match) .kind = PROXY_RULE_HEADER, .header = {.name = TEXT(field), match}
#define IS(how, literal)     .kind = PROXY_VALUE_STRING, .string = STRING(how, literal)
#define HOST(match)          .kind = PROXY_RULE_HOST, .header = {.name = TEXT(":authority"), match}
#define PATH(how, literal)   .kind = PROXY_RULE_PATH, .string = STRING(how, literal)

static const struct {
    const char *what;
    struct proxy_rule rule;
    const char *head;
    enum proxy_answer answer;
} requests[] = {
    {"method", {HEADER(":method", IS(EXACT, "GET"))}, GET, YES},
    {"a method is case-sensitive", {HEADER(":method", IS(EXACT, "get"))}, GET, NO},
    {"path, exact, without the query", {PATH(EXACT, "/a/b")}, GET, YES},
    {"path does not see the query", {PATH(CONTAINS, "c=d")}, GET, NO},
    {"path, prefix", {PATH(PREFIX, "/a/")}, GET, YES},
    {"path, suffix", {PATH(SUFFIX, "/b")}, GET, YES},
    {"path, another", {PATH(EXACT, "/a")}, GET, NO},
    {":path is the whole", {HEADER(":path", IS(SUFFIX, "?c=d"))}, GET, YES},
    {"host with its port", {HOST(IS(EXACT, "shop.example:8080"))}, GET, YES},
    {"host without its port", {HOST(IS(EXACT, "shop.example"))}, GET, YES},
    {"host in another case", {HOST(IS(EXACT, "SHOP.EXAMPLE"))}, GET, YES},
    {"host, another port", {HOST(IS(EXACT, "shop.example:80"))}, GET, NO},
    {"host, suffix", {HOST(IS(SUFFIX, ".example"))}, GET, YES},
    {"host, another", {HOST(IS(EXACT, "example"))}, GET, NO},
    {"the root's dot makes no other host",
     {HOST(IS(EXACT, "shop.example"))},
     "GET / HTTP/1.1\r\nHost: shop.example.",
     YES},
    {"a dot and a port", {HOST(IS(EXACT, "shop.example"))}, "GET / HTTP/1.1\r\nHost: shop.example.:80", YES},
    {"IPv6 with a port", {HOST(IS(EXACT, "[fd00::1]"))}, "GET / HTTP/1.1\r\nHost: [fd00::1]:80", YES},
    {"the target's host counts", {HOST(IS(EXACT, "b"))}, "GET http://b/ HTTP/1.1\r\nHost: b", YES},
    {"host, inverted", {HOST(IS(EXACT, "shop.example")), .header.invert = true}, GET, NO},
    {"no host", {HOST(IS(EXACT, "a"))}, "GET / HTTP/1.0", NO},
    {"a host is there", {HOST(.kind = PROXY_VALUE_PRESENT)}, GET, YES},
    {"field, exact", {HEADER("x-user", IS(EXACT, "a"))}, GET "\r\nX-User: a", YES},
    {"field, twice, is one list", {HEADER("x-user", IS(EXACT, "a,b"))}, GET "\r\nX-User: a\r\nx-user: b", YES},
    {"field, twice, one of them fits: the first",
     {HEADER("x-user", IS(EXACT, "a"))},
     GET "\r\nX-User: a\r\nx-user: b",
     ERR},
    {"field, twice, one of them fits", {HEADER("x-user", IS(EXACT, "b"))}, GET "\r\nX-User: a\r\nx-user: b", ERR},
    {"field, twice, one of them fits, inverted",
     {HEADER("x-user", IS(EXACT, "a")), .header.invert = true},
     GET "\r\nX-User: a\r\nx-user: b",
     ERR},
    {"field, twice, none fits", {HEADER("x-user", IS(EXACT, "c"))}, GET "\r\nX-User: a\r\nx-user: b", NO},
    {"field, absent", {HEADER("x-user", IS(EXACT, "a"))}, GET, NO},
    {"field, present", {HEADER("x-user", .kind = PROXY_VALUE_PRESENT)}, GET "\r\nx-user:", YES},
    {"field, must be absent", {HEADER("x-user", .kind = PROXY_VALUE_PRESENT), .header.invert = true}, GET, YES},
    {"CONNECT has no path", {PATH(PREFIX, "/")}, "CONNECT a:1 HTTP/1.1\r\nHost: a:1", ERR},
    {"CONNECT has no :path", {HEADER(":path", IS(PREFIX, "/"))}, "CONNECT a:1 HTTP/1.1\r\nHost: a:1", ERR},
    {"no request, no path", {PATH(PREFIX, "/")}, NULL, ERR},
    {"no request, no method", {HEADER(":method", IS(EXACT, "GET"))}, NULL, ERR},
    {"no request, no host", {HOST(IS(EXACT, "a"))}, NULL, ERR},
    {"any, without a request", {.kind = PROXY_RULE_ANY}, NULL, YES},
    {"a kind that is none", {.kind = (enum proxy_rule_kind)99}, GET, ERR},
};

static void test_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(requests); i++) {
        const struct proxy_facts facts = {.request = request(requests[i].head)};
        enum proxy_answer got = judge(&requests[i].rule, &facts);
        if (got != requests[i].answer)
            fail_msg("%s: %d", requests[i].what, (int)got);
    }
}

static void test_a_doubtful_path_errs(void **state)
{
    (void)state;
    const struct proxy_facts facts = {.request = request(GET), .path_doubtful = true};
    const struct proxy_rule path = {PATH(EXACT, "/a/b")}, whole = {HEADER(":path", IS(PREFIX, "/"))};
    const struct proxy_rule method = {HEADER(":method", IS(EXACT, "GET"))};
    assert_int_equal(judge(&path, &facts), ERR);
    assert_int_equal(judge(&whole, &facts), ERR);
    assert_int_equal(judge(&method, &facts), YES);
}

/* --- claims ------------------------------------------------------------------------------------------------------ */

static const char payload[] =
    "{\"iss\":\"me\",\"n\":5,\"f\":1.5,\"yes\":true,\"nil\":null,\"groups\":[\"a\",\"b\",[\"c\"]],"
    "\"deep\":{\"er\":{\"x\":\"y\"}}}";

static const struct proxy_claim_match element = {.kind = PROXY_CLAIM_STRING, .string = STRING(EXACT, "b")};
static const struct proxy_claim_match other_element = {.kind = PROXY_CLAIM_STRING, .string = STRING(EXACT, "c")};
static const struct proxy_claim_match either[] = {
    {.kind = PROXY_CLAIM_STRING, .string = STRING(EXACT, "b")},
    {.kind = PROXY_CLAIM_ONE_OF, .list = &element, .count = 1},
};
static const struct fl_span iss[] = {TEXT("payload"), TEXT("iss")}, number[] = {TEXT("payload"), TEXT("n")};
static const struct fl_span fraction[] = {TEXT("payload"), TEXT("f")}, flag[] = {TEXT("payload"), TEXT("yes")};
static const struct fl_span nil[] = {TEXT("payload"), TEXT("nil")}, groups[] = {TEXT("payload"), TEXT("groups")};
static const struct fl_span deep[] = {TEXT("payload"), TEXT("deep"), TEXT("er"), TEXT("x")};
static const struct fl_span gone[] = {TEXT("payload"), TEXT("gone")}, elsewhere[] = {TEXT("other"), TEXT("iss")};
static const struct fl_span through[] = {TEXT("payload"), TEXT("iss"), TEXT("x")}, whole[] = {TEXT("payload")};
#define AT(steps) .path = (steps), .path_count = FL_COUNT(steps)

static const struct {
    const char *what;
    struct proxy_metadata_match match;
    enum proxy_answer answer;
} claims[] = {
    {"text", {AT(iss), .value = {.kind = PROXY_CLAIM_STRING, .string = STRING(EXACT, "me")}}, YES},
    {"text, another", {AT(iss), .value = {.kind = PROXY_CLAIM_STRING, .string = STRING(EXACT, "you")}}, NO},
    {"text, inverted",
     {AT(iss), .value = {.kind = PROXY_CLAIM_STRING, .string = STRING(EXACT, "me")}, .invert = true},
     NO},
    {"deep", {AT(deep), .value = {.kind = PROXY_CLAIM_STRING, .string = STRING(EXACT, "y")}}, YES},
    {"through a text", {AT(through), .value = {.kind = PROXY_CLAIM_PRESENT, .flag = true}}, NO},
    {"a number is no text", {AT(number), .value = {.kind = PROXY_CLAIM_STRING, .string = STRING(EXACT, "5")}}, NO},
    {"number", {AT(number), .value = {.kind = PROXY_CLAIM_NUMBER, .start = 5, .end = 5}}, YES},
    {"number in a range", {AT(fraction), .value = {.kind = PROXY_CLAIM_NUMBER, .start = 1, .end = 2}}, YES},
    {"number at the open end", {AT(number), .value = {.kind = PROXY_CLAIM_NUMBER, .start = 1, .end = 5}}, NO},
    {"truth", {AT(flag), .value = {.kind = PROXY_CLAIM_BOOL, .flag = true}}, YES},
    {"untruth", {AT(flag), .value = {.kind = PROXY_CLAIM_BOOL, .flag = false}}, NO},
    {"null", {AT(nil), .value = {.kind = PROXY_CLAIM_NULL}}, YES},
    {"absent is not null", {AT(gone), .value = {.kind = PROXY_CLAIM_NULL}}, NO},
    {"absent is no match", {AT(gone), .value = {.kind = PROXY_CLAIM_STRING, .string = STRING(EXACT, "")}}, NO},
    {"absent, inverted",
     {AT(gone), .value = {.kind = PROXY_CLAIM_STRING, .string = STRING(EXACT, "")}, .invert = true},
     YES},
    {"present", {AT(nil), .value = {.kind = PROXY_CLAIM_PRESENT, .flag = true}}, YES},
    {"must be absent", {AT(gone), .value = {.kind = PROXY_CLAIM_PRESENT, .flag = false}}, YES},
    {"a list with it", {AT(groups), .value = {.kind = PROXY_CLAIM_ONE_OF, .list = &element, .count = 1}}, YES},
    {"lists inside are not searched",
     {AT(groups), .value = {.kind = PROXY_CLAIM_ONE_OF, .list = &other_element, .count = 1}},
     NO},
    {"a text is no list", {AT(iss), .value = {.kind = PROXY_CLAIM_ONE_OF, .list = &element, .count = 1}}, NO},
    {"or", {AT(groups), .value = {.kind = PROXY_CLAIM_OR, .list = either, .count = 2}}, YES},
    {"another payload", {AT(elsewhere), .value = {.kind = PROXY_CLAIM_PRESENT, .flag = true}}, NO},
    {"the payload itself", {AT(whole), .value = {.kind = PROXY_CLAIM_PRESENT, .flag = true}}, YES},
};

static void test_claims(void **state)
{
    (void)state;
    struct fl_json *root;
    struct proxy_claims known = {0};
    assert_int_equal(fl_json_parse(fl_span_str(payload), NULL, &root, NULL), 0);
    struct proxy_payload *held = proxy_payload_new(root, INT64_MAX);
    assert_int_equal(proxy_claims_put(&known, FL_SPAN("payload"), held), 0);
    proxy_payload_unref(held);
    const struct proxy_facts facts = {.request = request(GET), .claims = &known};
    const struct proxy_facts connection = {.claims = &known};
    for (size_t i = 0; i < FL_COUNT(claims); i++) {
        const struct proxy_rule rule = {.kind = PROXY_RULE_METADATA, .metadata = &claims[i].match};
        if (judge(&rule, &facts) != claims[i].answer)
            fail_msg("%s", claims[i].what);
        assert_int_equal(judge(&rule, &connection), ERR);
    }
    proxy_claims_done(&known);
}

static void test_a_long_list_errs(void **state)
{
    (void)state;
    struct fl_json *root = fl_json_new_object(), *list = fl_json_new_array();
    for (int i = 0; i <= PROXY_CLAIM_LIST_MAX; i++)
        assert_int_equal(
            fl_json_append(list, fl_json_new_string(i == PROXY_CLAIM_LIST_MAX ? FL_SPAN("b") : FL_SPAN("a"))), 0);
    assert_int_equal(fl_json_set(root, "groups", list), 0);
    struct proxy_claims known = {0};
    struct proxy_payload *held = proxy_payload_new(root, INT64_MAX);
    assert_int_equal(proxy_claims_put(&known, FL_SPAN("payload"), held), 0);
    proxy_payload_unref(held);
    const struct proxy_facts facts = {.request = request(GET), .claims = &known};
    const struct proxy_metadata_match match = {AT(groups),
                                               .value = {.kind = PROXY_CLAIM_ONE_OF, .list = &element, .count = 1}};
    const struct proxy_rule rule = {.kind = PROXY_RULE_METADATA, .metadata = &match};
    assert_int_equal(judge(&rule, &facts), ERR);
    proxy_claims_done(&known);
}

static void test_claims_are_bounded(void **state)
{
    (void)state;
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
    struct proxy_claims known = {0};
    struct proxy_payload *held = proxy_payload_new(fl_json_new_object(), INT64_MAX);
    for (size_t i = 0; i < PROXY_CLAIMS_MAX; i++)
        assert_int_equal(proxy_claims_put(&known, fl_span_str(keys[i]), held), 0);
    assert_true(proxy_claims_put(&known, fl_span_str(keys[PROXY_CLAIMS_MAX]), held) < 0);
    assert_int_equal(proxy_claims_put(&known, FL_SPAN("a"), held), 0); /* in its place */
    assert_int_equal(held->references, 1 + PROXY_CLAIMS_MAX);
    proxy_claims_done(&known);
    assert_int_equal(held->references, 1);
    proxy_payload_unref(held);
}

/* --- sets and decisions ------------------------------------------------------------------------------------------ */

/* Rules whose answer is known: yes, no, and one that errs without a request. */
static const struct proxy_rule yes = {.kind = PROXY_RULE_ANY};
static const struct proxy_rule no = {.kind = PROXY_RULE_AUTHENTICATED};
static const struct proxy_rule err = {PATH(EXACT, "/")};

static struct proxy_rule of(char letter)
{
    return letter == 'y' ? yes : letter == 'n' ? no : err;
}

static void test_sets(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        enum proxy_answer all, any;
    } rows[] = {{"y", YES, YES},  {"n", NO, NO},     {"e", ERR, ERR}, {"yy", YES, YES}, {"yn", NO, YES},
                {"ye", ERR, YES}, {"ey", ERR, YES},  {"ne", NO, ERR}, {"en", NO, ERR},  {"ee", ERR, ERR},
                {"eyn", NO, YES}, {"yee", ERR, YES}, {"nee", NO, ERR}};
    const struct proxy_facts nothing = {.request = NULL};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_rule members[4];
        size_t count = strlen(rows[i].members);
        for (size_t k = 0; k < count; k++)
            members[k] = of(rows[i].members[k]);
        const struct proxy_rule all = {.kind = PROXY_RULE_AND, .set = {members, count}};
        const struct proxy_rule any = {.kind = PROXY_RULE_OR, .set = {members, count}};
        if (judge(&all, &nothing) != rows[i].all || judge(&any, &nothing) != rows[i].any)
            fail_msg("%s", rows[i].members);
    }
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    struct proxy_rule chain[PROXY_RULE_DEPTH_MAX + 2] = {yes};
    for (size_t i = 1; i < FL_COUNT(chain); i++)
        chain[i] = (struct proxy_rule){.kind = PROXY_RULE_OR, .set = {&chain[i - 1], 1}};
    const struct proxy_facts nothing = {.request = NULL};
    assert_int_equal(proxy_rule_judge(&chain[PROXY_RULE_DEPTH_MAX], &nothing), YES);
    assert_int_equal(proxy_rule_judge(&chain[PROXY_RULE_DEPTH_MAX + 1], &nothing), ERR);
}

/* Permission and principal of one policy, then of a second. */
static void test_decisions(void **state)
{
    (void)state;
    static const struct {
        const char *policies;
        bool allow, deny;      /* what each action answers */
        int by_allow, by_deny; /* which policy is named; -1: none */
    } rows[] = {
        {"", false, true, -1, -1},   {"yy", true, false, 0, 0},   {"yn", false, true, -1, -1},
        {"ny", false, true, -1, -1}, {"en", false, true, -1, -1}, /* who decides: nobody that it is about */
        {"ne", false, true, -1, -1}, {"ey", false, false, -1, 0}, /* in doubt the answer is no */
        {"ye", false, false, -1, 0}, {"ee", false, false, -1, 0}, {"eyyy", true, false, 1, 0},
        {"nnyy", true, false, 1, 1}, {"yyyy", true, false, 0, 0},
    };
    const struct proxy_facts nothing = {.request = NULL};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_rule rules[4];
        struct proxy_rbac_policy policies[2];
        size_t count = strlen(rows[i].policies) / 2;
        for (size_t k = 0; k < count; k++) {
            rules[2 * k] = of(rows[i].policies[2 * k]);
            rules[2 * k + 1] = of(rows[i].policies[2 * k + 1]);
            policies[k] = (struct proxy_rbac_policy){.details = k == 0 ? "first" : "second",
                                                     .permissions = &rules[2 * k],
                                                     .permission_count = 1,
                                                     .principals = &rules[2 * k + 1],
                                                     .principal_count = 1};
        }
        const struct proxy_rbac allow = {PROXY_RBAC_ALLOW, policies, count}, deny = {PROXY_RBAC_DENY, policies, count};
        const struct proxy_rbac log = {PROXY_RBAC_LOG, policies, count};
        struct proxy_rbac_decision a = proxy_rbac_decide(&allow, &nothing), d = proxy_rbac_decide(&deny, &nothing);
        if (a.allowed != rows[i].allow || d.allowed != rows[i].deny ||
            (a.policy != NULL ? a.policy - policies : -1) != rows[i].by_allow ||
            (d.policy != NULL ? d.policy - policies : -1) != rows[i].by_deny)
            fail_msg("%s", rows[i].policies);
        assert_true(proxy_rbac_decide(&log, &nothing).allowed);
        if (!a.allowed)
            assert_string_equal(proxy_rbac_details(&a), "rbac_access_denied_matched_policy[none]");
    }
    assert_true(proxy_rbac_decide(NULL, &nothing).allowed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_the_client_behind_proxies),
        cmocka_unit_test(test_ports_and_names),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_a_doubtful_path_errs),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_a_long_list_errs),
        cmocka_unit_test(test_claims_are_bounded),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_decisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
