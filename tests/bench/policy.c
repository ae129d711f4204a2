/* What policies cost by themselves: nanoseconds per decision of 20 rules, per head kept to be judged again, per token.
 * Printed, never asserted: the best of some rounds, in CPU time.
 *
 *     cmake --preset release -DFL_TESTS=ON && cmake --build --preset release --target bench_policy
 *     build/release/tests/bench_policy
 */
#include "proxy/http/h1.h"
#include "proxy/http/keep.h"
#include "proxy/policy/jwt.h"
#include "proxy/policy/jwt_cache.h"
#include "proxy/policy/rbac.h"

#include <stdio.h>
#include <time.h>

#define ROUNDS 5
#define RULES  20

static const struct fl_span head =
    FL_SPAN("GET /catalog/items?page=3&sort=price HTTP/1.1\r\nHost: shop.demo.svc.cluster.local:8080\r\n"
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0\r\n"
            "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8\r\n"
            "Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\nCache-Control: no-cache\r\n"
            "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes; cart=98765\r\n"
            "X-Request-Id: 3f2b8c1e-6a4d-4f0e-9c3b-1a2b3c4d5e6f\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n");

/* RFC 7515 A.3: its key and its token, as of 2011. */
static const struct fl_span set =
    FL_SPAN("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":"
            "\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}");
static const struct fl_span token =
    FL_SPAN("eyJhbGciOiJFUzI1NiJ9."
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
#define THEN 1300819380

static struct proxy_message request;
static struct proxy_facts facts;
static struct proxy_rbac rbac;
static struct proxy_jwt_provider provider;
static struct proxy_jwt_cache cache;
static volatile size_t sink;

/* Twenty policies that all look at everything before they say no: two namespaces, a path, a method, a port. */
static void make_policies(void)
{
    static struct proxy_rbac_policy policies[RULES];
    static struct proxy_rule who[2], what[3], sets[2];
    static struct proxy_address source, destination;
    (void)!proxy_address_parse(FL_SPAN("10.1.2.3"), 40000, &source);
    (void)!proxy_address_parse(FL_SPAN("10.1.2.4"), 8080, &destination);
    facts = (struct proxy_facts){.direct_source = &source,
                                 .destination = &destination,
                                 .identity = FL_SPAN("spiffe://cluster.local/ns/shop/sa/frontend"),
                                 .request = &request};
    who[0] = (struct proxy_rule){
        .kind = PROXY_RULE_IDENTITY,
        .string = {.kind = PROXY_STRING_EXACT, .text = FL_SPAN("spiffe://cluster.local/ns/a/sa/b")}};
    who[1] = (struct proxy_rule){.kind = PROXY_RULE_IDENTITY,
                                 .string = {.kind = PROXY_STRING_CONTAINS, .text = FL_SPAN("/ns/shop/")}};
    what[0] = (struct proxy_rule){.kind = PROXY_RULE_DESTINATION_PORT, .ports = {8080, 8080}};
    what[1] = (struct proxy_rule){.kind = PROXY_RULE_HEADER,
                                  .header = {.name = FL_SPAN(":method"),
                                             .kind = PROXY_VALUE_STRING,
                                             .string = {.kind = PROXY_STRING_EXACT, .text = FL_SPAN("GET")}}};
    what[2] = (struct proxy_rule){.kind = PROXY_RULE_PATH,
                                  .string = {.kind = PROXY_STRING_PREFIX, .text = FL_SPAN("/catalog/other")}};
    sets[0] = (struct proxy_rule){.kind = PROXY_RULE_AND, .set = {what, 3}};
    sets[1] = (struct proxy_rule){.kind = PROXY_RULE_OR, .set = {who, 2}};
    for (size_t i = 0; i < RULES; i++)
        policies[i] = (struct proxy_rbac_policy){
            .permissions = &sets[0], .permission_count = 1, .principals = &sets[1], .principal_count = 1};
    rbac = (struct proxy_rbac){PROXY_RBAC_DENY, policies, RULES};
}

static void decide(void)
{
    sink = proxy_rbac_decide(&rbac, &facts).allowed;
}

static void keep(void)
{
    struct proxy_kept_message *kept = NULL;
    sink = proxy_message_keep(&request, &kept) == 0;
    free(kept);
}

static void verify(void)
{
    struct proxy_payload *payload = NULL;
    sink = (size_t)proxy_jwt_verify(&provider, NULL, 0, token, THEN, &payload);
    proxy_payload_unref(payload);
}

static void remember(void)
{
    struct proxy_payload *payload = proxy_jwt_cache_get(&cache, provider.id, token, THEN);
    sink = payload != NULL;
    proxy_payload_unref(payload);
}

static double cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void measure(const char *what, void (*work)(void), size_t times)
{
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double start = cpu_ns();
        for (size_t i = 0; i < times; i++)
            work();
        double took = (cpu_ns() - start) / (double)times;
        if (round == 0 || took < best)
            best = took;
    }
    printf("%-44s %8.0f ns\n", what, best);
}

int main(void)
{
    struct proxy_h1_parser parser = {0};
    struct fl_jwks *keys = NULL;
    struct proxy_payload *payload = NULL;
    static const struct proxy_h1_limits limits;
    size_t size;
    if (proxy_h1_parse_request(&parser, head, &limits, &request, &size) != PROXY_H1_DONE ||
        fl_jwks_parse(set, &keys, NULL) != 0)
        return 1;
    provider = (struct proxy_jwt_provider){.id = 1, .keys = keys, .clock_skew_s = 60};
    proxy_jwt_cache_init(&cache);
    if (proxy_jwt_verify(&provider, NULL, 0, token, THEN, &payload) != 0)
        return 1;
    proxy_jwt_cache_put(&cache, provider.id, token, payload);
    make_policies();
    measure("20 policies, none matches", decide, 200000);
    measure("a head kept to be judged again, and freed", keep, 200000);
    measure("a token (ES256) checked", verify, 2000);
    measure("a token that is known already", remember, 200000);
    proxy_payload_unref(payload);
    proxy_jwt_cache_done(&cache);
    fl_jwks_free(keys);
    return 0;
}
