/* proxy/route: domains, matchers, actions, rewriting. */
#include "proxy/http/h1.h"
#include "proxy/route/rewrite.h"
#include "tests/support/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

static struct proxy_message message;

/* The text of a head stays with the caller; "\r\n\r\n" is added. */
static const struct proxy_message *request(const char *start_and_fields)
{
    static char text[65536];
    static const struct proxy_h1_limits limits;
    struct proxy_h1_parser parser = {0};
    size_t size;
    int len = snprintf(text, sizeof(text), "%s\r\n\r\n", start_and_fields);
    int result = proxy_h1_parse_request(&parser, fl_span_make(text, (size_t)len), &limits, &message, &size);
    if (result != PROXY_H1_DONE)
        fail_msg("%s: %s", start_and_fields, proxy_h1_error_word((enum proxy_h1_error)parser.error));
    return &message;
}

#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        literal, sizeof(literal) - 1                                                                                   \
    }
#define LIST(array) (array), FL_COUNT(array)

static const struct proxy_weighted_cluster one_cluster[] = {{.name = TEXT("one")}};
#define TO_ONE .action = PROXY_ROUTE_CLUSTER, .clusters = one_cluster, .cluster_count = 1

static struct proxy_route_table *compile(const struct proxy_route_config *config)
{
    struct proxy_route_table *table = NULL;
    struct fl_err err = {0};
    if (proxy_route_table_new(config, NULL, NULL, &table, &err) < 0)
        fail_msg("%s", err.text);
    return table;
}

static void domains_in_envoys_order(void **state)
{
    (void)state;
    static const struct fl_span exact[] = {TEXT("A.example.com"), TEXT("b.example.com:8080"), TEXT("[fd00::1]:80")};
    static const struct fl_span suffix[] = {TEXT("*.example.com")};
    static const struct fl_span long_suffix[] = {TEXT("*.b.example.com"), TEXT("*-x.example.com")};
    static const struct fl_span prefix[] = {TEXT("a.*"), TEXT("a.b.*")};
    static const struct fl_span any[] = {TEXT("*")};
    static const struct proxy_virtual_host hosts[] = {
        {.name = TEXT("any"), .domains = LIST(any)},
        {.name = TEXT("suffix"), .domains = LIST(suffix)},
        {.name = TEXT("exact"), .domains = LIST(exact)},
        {.name = TEXT("prefix"), .domains = LIST(prefix)},
        {.name = TEXT("long suffix"), .domains = LIST(long_suffix)},
    };
    static const struct {
        const char *authority, *host;
    } rows[] = {
        {"a.example.com", "exact"},
        {"A.EXAMPLE.com", "exact"},
        {"a.example.com:80", "prefix"}, /* another authority: the port counts */
        {"b.example.com:8080", "exact"},
        {"[FD00::1]:80", "exact"},
        {"c.example.com", "suffix"},
        {"c.b.example.com", "long suffix"},
        {"y-x.example.com", "long suffix"},
        {".example.com", "any"}, /* a wildcard stands for something */
        {"a.b.c", "prefix"},
        {"a.", "any"},
        {"a.c", "prefix"},
        {"", "any"},
        {"elsewhere", "any"},
    };
    static const struct proxy_route_config config = {.virtual_hosts = LIST(hosts)};
    struct proxy_route_table *table = compile(&config);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const struct proxy_virtual_host *found = proxy_route_find_host(table, fl_span_str(rows[i].authority));
        if (found == NULL || !fl_span_eq_str(found->name, rows[i].host))
            fail_msg("%s: %.*s", rows[i].authority, found == NULL ? 4 : (int)found->name.len,
                     found == NULL ? "none" : found->name.data);
    }
    static char endless[2 * PROXY_ROUTE_DOMAIN_MAX];
    memset(endless, 'a', sizeof(endless));
    assert_true(fl_span_eq_str(proxy_route_find_host(table, fl_span_make(endless, sizeof(endless)))->name, "any"));
    proxy_route_table_free(table);
}

static void ports_may_be_ignored(void **state)
{
    (void)state;
    static const struct fl_span domains[] = {TEXT("a.b"), TEXT("[::1]")};
    static const struct proxy_virtual_host hosts[] = {{.name = TEXT("a"), .domains = LIST(domains)}};
    static const struct proxy_route_config config = {.virtual_hosts = LIST(hosts), .ignore_port = true};
    struct proxy_route_table *table = compile(&config);
    assert_non_null(proxy_route_find_host(table, FL_SPAN("a.b:99")));
    assert_non_null(proxy_route_find_host(table, FL_SPAN("a.b")));
    assert_non_null(proxy_route_find_host(table, FL_SPAN("[::1]:80")));
    assert_non_null(proxy_route_find_host(table, FL_SPAN("[::1]")));
    assert_null(proxy_route_find_host(table, FL_SPAN("c:99")));
    proxy_route_table_free(table);
}

struct path_row {
    enum proxy_path_kind kind;
    const char *want;
    bool ignore_case;
    const char *target;
    bool matched;
};

static const struct path_row path_rows[] = {
    {PROXY_PATH_PREFIX, "/", false, "/", true},
    {PROXY_PATH_PREFIX, "/a", false, "/ab?c", true},
    {PROXY_PATH_PREFIX, "/a", false, "/A", false},
    {PROXY_PATH_PREFIX, "/a", true, "/Ab", true},
    {PROXY_PATH_PREFIX, "/abc", false, "/ab?c", false},
    {PROXY_PATH_EXACT, "/a", false, "/a", true},
    {PROXY_PATH_EXACT, "/a", false, "/a?b=c", true},
    {PROXY_PATH_EXACT, "/a", false, "/a/", false},
    {PROXY_PATH_EXACT, "/a", true, "/A", true},
    {PROXY_PATH_SEPARATED_PREFIX, "/a", false, "/a", true},
    {PROXY_PATH_SEPARATED_PREFIX, "/a", false, "/a?b", true},
    {PROXY_PATH_SEPARATED_PREFIX, "/a", false, "/a/b", true},
    {PROXY_PATH_SEPARATED_PREFIX, "/a", false, "/ab", false},
    {PROXY_PATH_PREFIX, "/", false, "*", true}, /* everything */
    {PROXY_PATH_PREFIX, "/a", false, "*", false},
    {PROXY_PATH_EXACT, "/", false, "*", false},
    {PROXY_PATH_PREFIX, "/x", false, "http://a/x", true},
};

static void paths(void **state)
{
    (void)state;
    static const struct fl_span any[] = {TEXT("*")};
    for (size_t i = 0; i < FL_COUNT(path_rows); i++) {
        const struct path_row *row = &path_rows[i];
        struct proxy_route route = {
            .match = {.path_kind = row->kind, .path = fl_span_str(row->want), .ignore_case = row->ignore_case}, TO_ONE};
        struct proxy_virtual_host host = {.domains = LIST(any), .routes = &route, .route_count = 1};
        struct proxy_route_config config = {.virtual_hosts = &host, .virtual_host_count = 1};
        struct proxy_route_table *table = compile(&config);
        char head[256];
        snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: a", row->target[0] == '*' ? "OPTIONS" : "GET",
                 row->target);
        struct proxy_route_found found = proxy_route_find(table, request(head));
        if ((found.route != NULL) != row->matched)
            fail_msg("%s against %s", row->target, row->want);
        proxy_route_table_free(table);
    }
}

struct header_row {
    const char *what;
    struct proxy_header_match match;
    const char *fields;
    bool matched;
};

#define STRING(match_kind, literal)                                                                                    \
    .kind = PROXY_VALUE_STRING, .string = {.kind = PROXY_STRING_##match_kind, .text = TEXT(literal)}

static const struct header_row header_rows[] = {
    {"exact", {.name = TEXT("X-A"), STRING(EXACT, "1")}, "x-a: 1", true},
    {"exact, other value", {.name = TEXT("x-a"), STRING(EXACT, "1")}, "x-a: 12", false},
    {"exact, case", {.name = TEXT("x-a"), STRING(EXACT, "a")}, "x-a: A", false},
    {"exact, case ignored",
     {.name = TEXT("x-a"), .kind = PROXY_VALUE_STRING, .string = {PROXY_STRING_EXACT, true, TEXT("a")}},
     "x-a: A",
     true},
    {"exact, absent", {.name = TEXT("x-a"), STRING(EXACT, "1")}, "x-b: 1", false},
    {"prefix", {.name = TEXT("x-a"), STRING(PREFIX, "ab")}, "x-a: abc", true},
    {"suffix", {.name = TEXT("x-a"), STRING(SUFFIX, "bc")}, "x-a: abc", true},
    {"suffix, longer than the value", {.name = TEXT("x-a"), STRING(SUFFIX, "xabc")}, "x-a: abc", false},
    {"contains", {.name = TEXT("x-a"), STRING(CONTAINS, "b")}, "x-a: abc", true},
    {"contains not", {.name = TEXT("x-a"), STRING(CONTAINS, "d")}, "x-a: abc", false},
    {"contains, case ignored",
     {.name = TEXT("x-a"), .kind = PROXY_VALUE_STRING, .string = {PROXY_STRING_CONTAINS, true, TEXT("BC")}},
     "x-a: abc",
     true},
    {"several fields are one value",
     {.name = TEXT("x-a"), STRING(EXACT, "1,2,3")},
     "x-a: 1\r\nx-b: x\r\nX-A: 2\r\nx-a: 3",
     true},
    {"several known fields", {.name = TEXT("cookie"), STRING(CONTAINS, "b=2")}, "Cookie: a=1\r\nCookie: b=2", true},
    {"present", {.name = TEXT("x-a")}, "x-a:", true},
    {"present, absent", {.name = TEXT("x-a")}, "x-b: 1", false},
    {"present inverted", {.name = TEXT("x-a"), .invert = true}, "x-a: 1", false},
    {"present inverted, absent", {.name = TEXT("x-a"), .invert = true}, "x-b: 1", true},
    {"value inverted", {.name = TEXT("x-a"), STRING(EXACT, "1"), .invert = true}, "x-a: 2", true},
    {"value inverted, absent", {.name = TEXT("x-a"), STRING(EXACT, "1"), .invert = true}, "x-b: 1", false},
    {"value inverted, absent as empty",
     {.name = TEXT("x-a"), STRING(EXACT, "1"), .invert = true, .missing_as_empty = true},
     "x-b: 1",
     true},
    {"range, first",
     {.name = TEXT("x-a"), .kind = PROXY_VALUE_RANGE, .range_start = -5, .range_end = 5},
     "x-a: -5",
     true},
    {"range, behind the last",
     {.name = TEXT("x-a"), .kind = PROXY_VALUE_RANGE, .range_start = -5, .range_end = 5},
     "x-a: 5",
     false},
    {"range, plus",
     {.name = TEXT("x-a"), .kind = PROXY_VALUE_RANGE, .range_start = -5, .range_end = 5},
     "x-a: +4",
     true},
    {"range, no number",
     {.name = TEXT("x-a"), .kind = PROXY_VALUE_RANGE, .range_start = -5, .range_end = 5},
     "x-a: 4x",
     false},
    {"range, empty",
     {.name = TEXT("x-a"), .kind = PROXY_VALUE_RANGE, .range_start = -5, .range_end = 5},
     "x-a:",
     false},
    {"range, least number",
     {.name = TEXT("x-a"), .kind = PROXY_VALUE_RANGE, .range_start = INT64_MIN, .range_end = 0},
     "x-a: -9223372036854775808",
     true},
    {"range, too large",
     {.name = TEXT("x-a"), .kind = PROXY_VALUE_RANGE, .range_start = INT64_MIN, .range_end = INT64_MAX},
     "x-a: 9223372036854775808",
     false},
    {":method", {.name = TEXT(":method"), STRING(EXACT, "GET")}, "x: y", true},
    {":authority", {.name = TEXT(":authority"), STRING(PREFIX, "h")}, "x: y", true},
    {":path", {.name = TEXT(":path"), STRING(EXACT, "/p?q")}, "x: y", true},
    {":scheme", {.name = TEXT(":scheme"), STRING(EXACT, "http")}, "x: y", true},
};

static void header_matchers(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(header_rows); i++) {
        char head[512];
        snprintf(head, sizeof(head), "GET /p?q HTTP/1.1\r\nHost: h\r\n%s", header_rows[i].fields);
        if (proxy_header_match(&header_rows[i].match, request(head)) != header_rows[i].matched)
            fail_msg("%s", header_rows[i].what);
    }
}

static void query_matchers(void **state)
{
    (void)state;
    static const struct {
        struct proxy_query_match match;
        const char *query;
        bool matched;
    } rows[] = {
        {{.name = TEXT("a")}, "a", true},
        {{.name = TEXT("a")}, "b&a=", true},
        {{.name = TEXT("a")}, "", false},
        {{.name = TEXT("a")}, "aa=1", false},
        {{.name = TEXT("a"), STRING(EXACT, "1")}, "b=2&a=1", true},
        {{.name = TEXT("a"), STRING(EXACT, "1")}, "a=2&a=1", false}, /* the first counts */
        {{.name = TEXT("a"), STRING(EXACT, "")}, "a", true},
        {{.name = TEXT("a"), STRING(PREFIX, "1=")}, "a=1=2", true},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        if (proxy_query_match(&rows[i].match, fl_span_str(rows[i].query)) != rows[i].matched)
            fail_msg("%s", rows[i].query);
    }
    static char many[3 * PROXY_QUERY_PARAMETERS_MAX + 8];
    for (size_t i = 0; i < PROXY_QUERY_PARAMETERS_MAX; i++)
        memcpy(many + 2 * i, "b&", 2);
    memcpy(many + 2 * PROXY_QUERY_PARAMETERS_MAX, "a", 2);
    assert_false(proxy_query_match(&rows[0].match, fl_span_str(many)));
    assert_true(proxy_query_match(&rows[0].match, fl_span_str(many + 2)));
}

static void the_first_route_that_matches_wins(void **state)
{
    (void)state;
    static const struct fl_span any[] = {TEXT("*")};
    static const struct proxy_header_match post[] = {{.name = TEXT(":method"), STRING(EXACT, "POST")}};
    static const struct proxy_query_match debug[] = {{.name = TEXT("debug"), STRING(EXACT, "1")}};
    static const struct proxy_route routes[] = {
        {.name = TEXT("post"), .match = {.path = TEXT("/"), .headers = LIST(post)}, TO_ONE},
        {.name = TEXT("debug"), .match = {.path = TEXT("/"), .queries = LIST(debug)}, TO_ONE},
        {.name = TEXT("api"), .match = {.path = TEXT("/api")}, TO_ONE},
    };
    static const struct proxy_virtual_host hosts[] = {
        {.name = TEXT("all"), .domains = LIST(any), .routes = LIST(routes)}};
    static const struct proxy_route_config config = {.virtual_hosts = LIST(hosts)};
    struct proxy_route_table *table = compile(&config);
    assert_true(fl_span_eq_str(proxy_route_find(table, request("POST /api HTTP/1.1\r\nHost: a")).route->name, "post"));
    assert_true(
        fl_span_eq_str(proxy_route_find(table, request("GET /api?debug=1 HTTP/1.1\r\nHost: a")).route->name, "debug"));
    assert_true(fl_span_eq_str(proxy_route_find(table, request("GET /api?x HTTP/1.1\r\nHost: a")).route->name, "api"));
    struct proxy_route_found none = proxy_route_find(table, request("GET /x HTTP/1.1\r\nHost: a"));
    assert_null(none.route);
    assert_true(fl_span_eq_str(none.virtual_host->name, "all"));
    proxy_route_table_free(table);
}

static int lookup(void *context, struct fl_span name, uint32_t *ret_index)
{
    (void)context;
    if (name.len != 1)
        return -ENOENT;
    *ret_index = (uint32_t)(name.data[0] - 'a');
    return 0;
}

static void weights_share_out_all_random_numbers(void **state)
{
    (void)state;
    static const struct fl_span any[] = {TEXT("*")};
    static const struct proxy_weighted_cluster clusters[] = {
        {.name = TEXT("a"), .weight = 1}, {.name = TEXT("b")}, {.name = TEXT("c"), .weight = 3}};
    static const struct proxy_route route = {
        .match = {.path = TEXT("/")}, .action = PROXY_ROUTE_WEIGHTED, .clusters = LIST(clusters)};
    static const struct proxy_virtual_host host = {.domains = LIST(any), .routes = &route, .route_count = 1};
    static const struct proxy_route_config config = {.virtual_hosts = &host, .virtual_host_count = 1};
    struct proxy_route_table *table;
    struct fl_err err;
    assert_int_equal(proxy_route_table_new(&config, lookup, NULL, &table, &err), 0);
    const struct proxy_route *found = proxy_route_find(table, request("GET / HTTP/1.1\r\nHost: a")).route;
    unsigned counts[3] = {0};
    for (unsigned i = 0; i < 4000; i++)
        counts[proxy_route_pick(found, i * (UINT32_MAX / 4000 + 1))->cluster_index]++;
    assert_int_equal(counts[0], 1000);
    assert_int_equal(counts[1], 0);
    assert_int_equal(counts[2], 3000);
    assert_int_equal(proxy_route_pick(found, 0)->cluster_index, 0);
    assert_int_equal(proxy_route_pick(found, UINT32_MAX)->cluster_index, 2);
    proxy_route_table_free(table);
}

/* A table with every kind of thing in it, for allocation failures and rewriting. */
static const struct fl_span full_domains[] = {TEXT("a"), TEXT("*.b"), TEXT("c.*"), TEXT("*")};
static const struct proxy_header_match full_headers[] = {
    {.name = TEXT("x-a"), STRING(EXACT, "1"), .invert = true, .missing_as_empty = true}};
static const struct proxy_query_match full_queries[] = {{.name = TEXT("q")}};
static const struct fl_span full_removals[] = {TEXT("X-Gone")};
static const struct proxy_header_edit route_edits[] = {
    {.name = TEXT("x-route"), .value = TEXT("100%%")},
    {.name = TEXT("x-who"), .value = TEXT("route"), .action = PROXY_EDIT_OVERWRITE},
    {.name = TEXT("x-empty")},
    {.name = TEXT("x-kept"), .keep_empty = true},
    {.name = TEXT("x-absent"), .value = TEXT("v"), .action = PROXY_EDIT_OVERWRITE_IF_EXISTS},
    {.name = TEXT("x-there"), .value = TEXT("v"), .action = PROXY_EDIT_ADD_IF_ABSENT},
};
static const struct proxy_header_edit host_edits[] = {
    {.name = TEXT("x-who"), .value = TEXT("host"), .action = PROXY_EDIT_OVERWRITE}};
static const struct proxy_weighted_cluster full_clusters[] = {
    {.name = TEXT("a"), .weight = 1, .request = {.edits = LIST(host_edits)}}, {.name = TEXT("b"), .weight = 1}};
static const struct proxy_route full_routes[] = {
    {.name = TEXT("full"),
     .match = {.path = TEXT("/old"), .headers = LIST(full_headers), .queries = LIST(full_queries)},
     .action = PROXY_ROUTE_WEIGHTED,
     .clusters = LIST(full_clusters),
     .has_prefix_rewrite = true,
     .prefix_rewrite = TEXT("/new"),
     .host_rewrite_literal = TEXT("inner:80"),
     .request = {.edits = LIST(route_edits), .removals = LIST(full_removals)},
     .response = {.removals = LIST(full_removals)}},
    {.match = {.path = TEXT("/r")}, .action = PROXY_ROUTE_REDIRECT, .redirect = {.https = true}},
    {.match = {.path = TEXT("/d")}, .action = PROXY_ROUTE_DIRECT, .direct = {.status = 200, .body = TEXT("hi")}},
};
static const struct proxy_virtual_host full_hosts[] = {{.name = TEXT("full"),
                                                        .domains = LIST(full_domains),
                                                        .routes = LIST(full_routes),
                                                        .request = {.edits = LIST(host_edits)},
                                                        .response = {.edits = LIST(host_edits)}}};
static const struct proxy_route_config full_config = {.name = TEXT("full"), .virtual_hosts = LIST(full_hosts)};

static void memory_may_run_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct proxy_route_table *table = NULL;
        struct fl_err err = {0};
        int result = proxy_route_table_new(&full_config, NULL, NULL, &table, &err);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (result == 0)
            assert_true(proxy_route_table_size(table) > sizeof(full_config));
        proxy_route_table_free(table);
    }
}

static struct fl_span field(const char *name)
{
    const struct proxy_header *found =
        proxy_headers_next(&message.headers, proxy_header_id(fl_span_str(name)), fl_span_str(name), NULL);
    return found != NULL ? found->value : (struct fl_span){NULL, 0};
}

static void a_request_is_rewritten(void **state)
{
    (void)state;
    struct proxy_route_table *table = compile(&full_config);
    request("GET /old/x?q=1 HTTP/1.1\r\nHost: a\r\nX-Gone: 1\r\nx-there: old\r\nx-gone: 2");
    struct proxy_route_found found = proxy_route_find(table, &message);
    char scratch[12];
    assert_int_equal(proxy_route_rewrite_request(table, &found, &found.route->clusters[0], &message, scratch, 5),
                     -EMSGSIZE);
    assert_int_equal(
        proxy_route_rewrite_request(table, &found, &found.route->clusters[0], &message, scratch, sizeof(scratch)), 0);
    assert_true(fl_span_eq_str(message.path, "/new/x?q=1"));
    assert_true(fl_span_eq_str(field("host"), "inner:80"));
    assert_true(fl_span_eq_str(message.authority, "inner:80"));
    assert_null(field("x-gone").data);
    assert_true(fl_span_eq_str(field("x-route"), "100%"));
    assert_null(field("x-empty").data);
    assert_non_null(field("x-kept").data);
    assert_null(field("x-absent").data);
    assert_true(fl_span_eq_str(field("x-there"), "old"));
    request("CONNECT x:443 HTTP/1.1\r\nHost: x:443");
    found.route = &found.virtual_host->routes[0];
    assert_int_equal(proxy_route_rewrite_request(table, &found, NULL, &message, scratch, sizeof(scratch)), 0);
    assert_true(fl_span_eq_str(message.authority, "x:443")); /* where a tunnel leads is not a route's to change */
    assert_true(fl_span_eq_str(field("x-who"), "host"));     /* the least specific has the last word */
    proxy_route_table_free(table);
}

static void the_most_specific_edit_may_have_the_last_word(void **state)
{
    (void)state;
    struct proxy_route_config config = full_config;
    config.most_specific_wins = true;
    struct proxy_route_table *table = compile(&config);
    request("GET /old?q HTTP/1.1\r\nHost: a");
    struct proxy_route_found found = proxy_route_find(table, &message);
    char scratch[64];
    assert_int_equal(proxy_route_rewrite_request(table, &found, NULL, &message, scratch, sizeof(scratch)), 0);
    assert_true(fl_span_eq_str(field("x-who"), "route"));
    assert_true(fl_span_eq_str(message.path, "/new?q"));
    proxy_route_table_free(table);
}

struct redirect_row {
    struct proxy_redirect redirect;
    const char *head, *location;
};

static const struct redirect_row redirect_rows[] = {
    {{.https = true}, "GET /old/x?q HTTP/1.1\r\nHost: a", "https://a/old/x?q"},
    {{.https = true}, "GET /old HTTP/1.1\r\nHost: a:80", "https://a/old"},
    {{.https = true}, "GET /old HTTP/1.1\r\nHost: a:8080", "https://a:8080/old"},
    {{.port = 8443, .https = true}, "GET /old HTTP/1.1\r\nHost: [::1]:80", "https://[::1]:8443/old"},
    {{.host = TEXT("b")}, "GET /old?q HTTP/1.1\r\nHost: a:80", "http://b/old?q"},
    {{.host = TEXT("b"), .strip_query = true}, "GET /old?q HTTP/1.1\r\nHost: a:80", "http://b/old"},
    {{.path = TEXT("/n")}, "GET /old?q HTTP/1.1\r\nHost: a", "http://a/n?q"},
    {{.path = TEXT("/n?m")}, "GET /old?q HTTP/1.1\r\nHost: a", "http://a/n?m"},
    {{.has_prefix = true, .prefix = TEXT("/n")}, "GET /old/x?q HTTP/1.1\r\nHost: a", "http://a/n/x?q"},
    {{.scheme = TEXT("ws")}, "GET /old HTTP/1.1\r\nHost: a:80", "ws://a/old"},
    {{.port = 1}, "GET https://a:443/old HTTP/1.1\r\nHost: a", "https://a:1/old"},
};

static void redirects_lead_where_they_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(redirect_rows); i++) {
        struct proxy_route route = {.match = {.path = FL_SPAN("/old")}, .redirect = redirect_rows[i].redirect};
        char scratch[64];
        struct fl_span location = {NULL, 0};
        int result = proxy_route_location(&route, request(redirect_rows[i].head), FL_SPAN("http"), scratch,
                                          sizeof(scratch), &location);
        if (result != 0 || !fl_span_eq_str(location, redirect_rows[i].location))
            fail_msg("row %zu: %d %.*s", i, result, FL_SPAN_ARG(location));
        assert_int_equal(proxy_route_location(&route, &message, FL_SPAN("http"), scratch, location.len - 1, &location),
                         -EMSGSIZE);
    }
    struct proxy_route route = {.match = {.path = FL_SPAN("/")}};
    char scratch[64];
    struct fl_span location;
    assert_int_equal(
        proxy_route_location(&route, request("GET / HTTP/1.0\r\nx: y"), FL_SPAN("http"), scratch, 64, &location),
        -EINVAL);
}

struct refused_row {
    const char *reason; /* part of the text */
    struct proxy_route route;
};

static const struct proxy_header_edit bad_name[] = {{.name = TEXT("a b"), .value = TEXT("c")}};
static const struct proxy_header_edit bad_host[] = {{.name = TEXT("Host"), .value = TEXT("c")}};
static const struct proxy_header_edit bad_value[] = {{.name = TEXT("a"), .value = TEXT("c\r\nd: e")}};
static const struct proxy_header_edit bad_operator[] = {{.name = TEXT("a"), .value = TEXT("%REQ(x)%")}};
static const struct proxy_header_match bad_header[] = {{.name = TEXT(":status")}};
static const struct proxy_weighted_cluster unknown[] = {{.name = TEXT("unknown")}};
#define TO_A .action = PROXY_ROUTE_CLUSTER, .clusters = full_clusters, .cluster_count = 1

static const struct refused_row refused_rows[] = {
    {"not a header name", {TO_A, .request = {.edits = LIST(bad_name)}}},
    {"framing", {TO_A, .request = {.edits = LIST(bad_host)}}},
    {"not a header value", {TO_A, .response = {.edits = LIST(bad_value)}}},
    {"command operators", {TO_A, .request = {.edits = LIST(bad_operator)}}},
    {"not a header name", {TO_A, .match = {.headers = LIST(bad_header)}}},
    {"path_separated_prefix", {TO_A, .match = {.path_kind = PROXY_PATH_SEPARATED_PREFIX, .path = TEXT("/a/")}}},
    {"path_separated_prefix", {TO_A, .match = {.path_kind = PROXY_PATH_SEPARATED_PREFIX, .path = TEXT("a")}}},
    {"neither '?' nor '#'", {TO_A, .match = {.path = TEXT("/a?b")}}},
    {"exactly one cluster", {.action = PROXY_ROUTE_CLUSTER}},
    {"add up", {.action = PROXY_ROUTE_WEIGHTED, .clusters = one_cluster, .cluster_count = 0}},
    {"unknown cluster \"unknown\"", {.action = PROXY_ROUTE_CLUSTER, .clusters = LIST(unknown)}},
    {"redirect", {.action = PROXY_ROUTE_REDIRECT, .redirect = {.status = 200}}},
    {"redirect", {.action = PROXY_ROUTE_REDIRECT, .redirect = {.https = true, .scheme = TEXT("http")}}},
    {"Location", {.action = PROXY_ROUTE_REDIRECT, .redirect = {.host = TEXT("a\r\nb")}}},
    {"direct_response", {.action = PROXY_ROUTE_DIRECT}},
    {"prefix_rewrite", {TO_A, .prefix_rewrite = TEXT("/a b")}},
    {"host_rewrite_literal", {TO_A, .host_rewrite_literal = TEXT("a b")}},
};

static void bad_configuration_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct fl_span any[] = {TEXT("*")};
    for (size_t i = 0; i < FL_COUNT(refused_rows); i++) {
        struct proxy_route routes[2] = {{.match = {.path = FL_SPAN("/")}, TO_A}, refused_rows[i].route};
        routes[1].name = FL_SPAN("bad");
        struct proxy_virtual_host host = {.name = FL_SPAN("v"), .domains = LIST(any), .routes = LIST(routes)};
        struct proxy_route_config config = {.virtual_hosts = &host, .virtual_host_count = 1};
        struct proxy_route_table *table = NULL;
        struct fl_err err = {0};
        int result = proxy_route_table_new(&config, lookup, NULL, &table, &err);
        if (result != -EINVAL || strstr(err.text, refused_rows[i].reason) == NULL ||
            strstr(err.text, "virtual host v: route 1 (bad): ") != err.text)
            fail_msg("row %zu: %d %s", i, result, err.text);
        assert_null(table);
    }
}

static void bad_domains_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct fl_span domains[2];
        size_t count;
    } rows[] = {
        {{{NULL, 0}}, 0},
        {{TEXT("")}, 1},
        {{TEXT("a*b")}, 1},
        {{TEXT("*a*")}, 1},
        {{TEXT("**")}, 1},
        {{TEXT("a"), TEXT("A")}, 2},
        {{TEXT("*"), TEXT("*")}, 2},
        {{TEXT("*.a"), TEXT("*.a")}, 2},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_virtual_host host = {.domains = rows[i].domains, .domain_count = rows[i].count};
        struct proxy_route_config config = {.virtual_hosts = &host, .virtual_host_count = 1};
        struct proxy_route_table *table = NULL;
        struct fl_err err = {0};
        if (proxy_route_table_new(&config, NULL, NULL, &table, &err) != -EINVAL)
            fail_msg("row %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(domains_in_envoys_order),
        cmocka_unit_test(ports_may_be_ignored),
        cmocka_unit_test(paths),
        cmocka_unit_test(header_matchers),
        cmocka_unit_test(query_matchers),
        cmocka_unit_test(the_first_route_that_matches_wins),
        cmocka_unit_test(weights_share_out_all_random_numbers),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(a_request_is_rewritten),
        cmocka_unit_test(the_most_specific_edit_may_have_the_last_word),
        cmocka_unit_test(redirects_lead_where_they_should),
        cmocka_unit_test(bad_configuration_is_refused_with_its_place),
        cmocka_unit_test(bad_domains_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
