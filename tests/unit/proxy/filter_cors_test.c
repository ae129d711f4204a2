/* The filter CORS at work: who is answered by it, what answers say, and what goes upstream. */
#include "proxy/filter/cors.h"
#include "tests/support/fail.h"
#include "tests/unit/proxy/filter_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        literal, sizeof(literal) - 1                                                                                   \
    }

static const struct proxy_http_filter only_cors[] = {{.ops = &proxy_cors_ops}};
static struct proxy_route_table *table;

static const struct proxy_string_match origins[] = {
    {.kind = PROXY_STRING_EXACT, .text = TEXT("https://a.test")},
    {.kind = PROXY_STRING_REGEX, .text = TEXT("https://[a-z0-9.-]+\\.b\\.test")},
};
static const struct proxy_string_match any[] = {{.kind = PROXY_STRING_REGEX, .text = TEXT(".*")}};
static const struct proxy_cors full = {
    .origins = origins,
    .origin_count = FL_COUNT(origins),
    .methods = TEXT("GET, PUT"),
    .headers = TEXT("x-a, x-b"),
    .expose = TEXT("x-c"),
    .max_age = TEXT("60"),
    .credentials = true,
};
static const struct proxy_cors stars = {.origins = any,
                                        .origin_count = 1,
                                        .methods = TEXT("*"),
                                        .headers = TEXT("*"),
                                        .expose = TEXT("*"),
                                        .max_age = TEXT("5")};
static const struct proxy_cors credentials = {.origins = any,
                                              .origin_count = 1,
                                              .methods = TEXT("*"),
                                              .headers = TEXT("*"),
                                              .expose = TEXT("*"),
                                              .max_age = TEXT("5"),
                                              .credentials = true};
static const struct proxy_cors forwarding = {.origins = origins, .origin_count = 1, .forward_preflights = true};

static void make_table(void)
{
    static const struct fl_span domains[] = {TEXT("*")};
    struct fl_err err = {0};
    const struct proxy_weighted_cluster cluster = {.name = FL_SPAN("origin"), .weight = 1};
#define ROUTE(prefix, policy)                                                                                          \
    {                                                                                                                  \
        .match = {.path = TEXT(prefix)}, .action = PROXY_ROUTE_CLUSTER, .clusters = &cluster, .cluster_count = 1,      \
        .timeout_ms = 5000, .idle_timeout_ms = PROXY_TIMEOUT_UNSET, .max_stream_ms = PROXY_TIMEOUT_UNSET,              \
        .cors = policy                                                                                                 \
    }
    const struct proxy_route routes[] = {
        ROUTE("/full", &full),
        ROUTE("/stars", &stars),
        ROUTE("/credentials", &credentials),
        ROUTE("/forward", &forwarding),
        {.match = {.path = TEXT("/direct")}, .action = PROXY_ROUTE_DIRECT, .direct = {.status = 404}, .cors = &full},
        ROUTE("/", NULL),
    };
    const struct proxy_virtual_host host = {
        .name = FL_SPAN("v"), .domains = domains, .domain_count = 1, .routes = routes, .route_count = FL_COUNT(routes)};
    const struct proxy_route_config config = {.name = FL_SPAN("r"), .virtual_hosts = &host, .virtual_host_count = 1};
    if (proxy_route_table_new(&config, NULL, NULL, &table, &err) < 0)
        fail_msg("%s", err.text);
}

static void change(struct fixture *f)
{
    f->hcm->filters = only_cors;
    f->hcm->filter_count = 1;
    f->hcm->routes = table;
}

struct chat {
    struct fixture f;
    struct side client;
};

static void chat_init(struct chat *c)
{
    make_table();
    fixture_init(&c->f, true);
    change(&c->f); /* before the first connection */
    c->client = fixture_client(&c->f);
}

static void chat_done(struct chat *c)
{
    side_done(&c->client);
    fixture_done(&c->f);
    proxy_route_table_free(table);
}

/* The next answer's head, in c->client.text, which the next one writes over. */
static const char *answer(struct chat *c)
{
    side_hear(&c->f, &c->client);
    c->client.text[c->client.len] = '\0';
    c->client.len = 0;
    return c->client.text;
}

static void has(const char *head, const char *line)
{
    if (strstr(head, line) == NULL)
        fail_msg("no %s in\n%s", line, head);
}

static void lacks(const char *head, const char *text)
{
    if (strstr(head, text) != NULL)
        fail_msg("%s in\n%s", text, head);
}

static const char *preflight(struct chat *c, const char *path, const char *origin)
{
    char head[512];
    snprintf(head, sizeof(head),
             "OPTIONS %s HTTP/1.1\r\nHost: web\r\nOrigin: %s\r\nAccess-Control-Request-Method: PATCH\r\n"
             "Access-Control-Request-Headers: x-q, x-r\r\n\r\n",
             path, origin);
    side_say(&c->f, &c->client, head);
    return answer(c);
}

static void a_preflight_is_answered_here(void **state)
{
    (void)state;
    static const char *const allowed[] = {"https://a.test", "https://x.b.test", "https://x.y.b.test"};
    static const char *const others[] = {"https://b.test",          "http://a.test",      "https://a.test:81",
                                         "https://a.test.example",  "https://a.test/",    "null",
                                         "https://x/.b.test",       "https://x.b.test:1", "https://xb.test",
                                         "https://x.b.test.example"};
    struct chat c;
    chat_init(&c);
    for (size_t i = 0; i < FL_COUNT(allowed); i++) {
        char line[128];
        const char *head = preflight(&c, "/full", allowed[i]);
        snprintf(line, sizeof(line), "\r\naccess-control-allow-origin: %s\r\n", allowed[i]);
        has(head, "HTTP/1.1 200 OK\r\n");
        has(head, line);
        has(head, "\r\naccess-control-allow-methods: GET, PUT\r\n");
        has(head, "\r\naccess-control-allow-headers: x-a, x-b\r\n");
        has(head, "\r\naccess-control-expose-headers: x-c\r\n");
        has(head, "\r\naccess-control-max-age: 60\r\n");
        has(head, "\r\naccess-control-allow-credentials: true\r\n");
        has(head, "\r\nvary: origin\r\n");
    }
    for (size_t i = 0; i < FL_COUNT(others); i++) {
        const char *head = preflight(&c, "/full", others[i]);
        has(head, "HTTP/1.1 200 OK\r\n");
        lacks(head, "access-control");
    }
    assert_false(fixture_origin_waits(&c.f));
    chat_done(&c);
}

static void stars_are_said_or_spelt_out(void **state)
{
    (void)state;
    struct chat c;
    chat_init(&c);
    const char *head = preflight(&c, "/stars", "https://any.test:8443");
    has(head, "\r\naccess-control-allow-origin: https://any.test:8443\r\n");
    has(head, "\r\naccess-control-allow-methods: *\r\n");
    has(head, "\r\naccess-control-allow-headers: *\r\n");
    has(head, "\r\naccess-control-expose-headers: *\r\n");
    lacks(head, "credentials");
    head = preflight(&c, "/credentials", "null");
    has(head, "\r\naccess-control-allow-origin: null\r\n");
    has(head, "\r\naccess-control-allow-methods: PATCH\r\n");
    has(head, "\r\naccess-control-allow-headers: x-q, x-r\r\n");
    has(head, "\r\naccess-control-allow-credentials: true\r\n");
    lacks(head, "expose");
    lacks(head, "*");
    assert_false(fixture_origin_waits(&c.f));
    chat_done(&c);
}

/* What the upstream says of itself gives way; who is not allowed gets the answer as it is. */
static void answers_of_the_upstream_say_who_may(void **state)
{
    (void)state;
    struct chat c;
    chat_init(&c);
    side_say(&c.f, &c.client, "GET /full HTTP/1.1\r\nHost: web\r\nOrigin: https://x.b.test\r\n\r\n");
    struct side origin = fixture_origin(&c.f);
    side_expect_start(&c.f, &origin, "GET /full HTTP/1.1\r\n");
    side_say(&c.f, &origin,
             "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAccess-Control-Allow-Origin: *\r\n"
             "Access-Control-Allow-Origin: https://evil.test\r\n\r\n");
    const char *head = answer(&c);
    has(head, "Access-Control-Allow-Origin: https://x.b.test\r\n");
    has(head, "access-control-allow-credentials: true\r\n");
    has(head, "access-control-expose-headers: x-c\r\n");
    lacks(head, "evil");
    lacks(head, "allow-methods");
    side_say(&c.f, &c.client, "GET /full HTTP/1.1\r\nHost: web\r\nOrigin: https://evil.test\r\n\r\n");
    side_expect_start(&c.f, &origin, "GET /full HTTP/1.1\r\n");
    side_say(&c.f, &origin, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    lacks(answer(&c), "access-control");
    side_say(&c.f, &c.client, "GET /stars HTTP/1.1\r\nHost: web\r\nOrigin: https://q.test\r\n\r\n");
    side_expect_start(&c.f, &origin, "GET /stars HTTP/1.1\r\n");
    side_say(&c.f, &origin, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\naccess-control-allow-credentials: true\r\n\r\n");
    head = answer(&c);
    has(head, "access-control-allow-origin: https://q.test\r\n");
    lacks(head, "credentials");
    side_done(&origin);
    chat_done(&c);
}

static void what_is_no_preflight_goes_upstream(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "OPTIONS /full HTTP/1.1\r\nHost: web\r\nOrigin: https://a.test\r\n\r\n",
        "OPTIONS /full HTTP/1.1\r\nHost: web\r\nAccess-Control-Request-Method: GET\r\n\r\n",
        "OPTIONS /other HTTP/1.1\r\nHost: web\r\nOrigin: https://a.test\r\nAccess-Control-Request-Method: GET\r\n\r\n",
        "OPTIONS /forward HTTP/1.1\r\nHost: web\r\nOrigin: https://q.test\r\nAccess-Control-Request-Method: "
        "GET\r\n\r\n",
    };
    struct chat c;
    chat_init(&c);
    struct side origin = {.fd = -1};
    for (size_t i = 0; i < FL_COUNT(heads); i++) {
        side_say(&c.f, &c.client, heads[i]);
        if (i == 0)
            origin = fixture_origin(&c.f);
        side_expect_start(&c.f, &origin, "OPTIONS ");
        origin.len = 0;
        side_say(&c.f, &origin, "HTTP/1.1 204 No Content\r\n\r\n");
        has(answer(&c), "HTTP/1.1 204");
    }
    side_done(&origin);
    chat_done(&c);
}

static void answers_of_our_own_say_it_too(void **state)
{
    (void)state;
    struct chat c;
    chat_init(&c);
    side_say(&c.f, &c.client, "GET /direct HTTP/1.1\r\nHost: web\r\nOrigin: https://a.test\r\n\r\n");
    const char *head = answer(&c);
    has(head, "HTTP/1.1 404");
    has(head, "access-control-allow-origin: https://a.test\r\n");
    chat_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_preflight_is_answered_here),        cmocka_unit_test(stars_are_said_or_spelt_out),
        cmocka_unit_test(answers_of_the_upstream_say_who_may), cmocka_unit_test(what_is_no_preflight_goes_upstream),
        cmocka_unit_test(answers_of_our_own_say_it_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
