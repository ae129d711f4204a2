/* Any request against one table with every kind of matcher, and what the chosen route makes of it: bounded, and a head
 * that can be sent. */
#include "proxy/http/h1_write.h"
#include "proxy/route/rewrite.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        literal, sizeof(literal) - 1                                                                                   \
    }
#define LIST(array) (array), FL_COUNT(array)
#define VALUE(how, fold, literal)                                                                                      \
    .kind = PROXY_VALUE_STRING, .string = {.kind = PROXY_STRING_##how, .ignore_case = fold, .text = TEXT(literal)}

static const struct fl_span exact[] = {TEXT("a.example"), TEXT("[::1]:80")};
static const struct fl_span wild[] = {TEXT("*.example"), TEXT("a.*"), TEXT("*-x.example")};
static const struct fl_span any[] = {TEXT("*")};
static const struct proxy_header_match headers[] = {
    {.name = TEXT("x-a"), VALUE(CONTAINS, true, "bC")},
    {.name = TEXT("cookie"), VALUE(SUFFIX, false, "z"), .invert = true, .missing_as_empty = true},
};
static const struct proxy_header_match range[] = {
    {.name = TEXT("x-n"), .kind = PROXY_VALUE_RANGE, .range_start = -10, .range_end = 10}};
static const struct proxy_header_match post[] = {{.name = TEXT(":method"), VALUE(EXACT, false, "POST")}};
static const struct proxy_query_match queries[] = {{.name = TEXT("q"), VALUE(PREFIX, false, "1")}, {.name = TEXT("r")}};
static const struct proxy_header_edit edits[] = {
    {.name = TEXT("x-a"), .value = TEXT("new"), .action = PROXY_EDIT_OVERWRITE},
    {.name = TEXT("x-b"), .value = TEXT("50%%")},
};
static const struct fl_span removals[] = {TEXT("x-n")};
static const struct proxy_weighted_cluster clusters[] = {{.name = TEXT("one"), .weight = 1},
                                                         {.name = TEXT("two"), .weight = 7}};
static const struct proxy_header_match pattern[] = {{.name = TEXT("x-r"), VALUE(REGEX, false, "(a|b)*c?")}};
static const struct proxy_route routes[] = {
    {.match = {.path = TEXT("/r/(\\w+/)*\\w*"), .path_kind = PROXY_PATH_REGEX, .headers = LIST(pattern)},
     .action = PROXY_ROUTE_WEIGHTED,
     .clusters = LIST(clusters),
     .regex_rewrite = TEXT("^/([^/]*)/(.*)"),
     .substitution = TEXT("/\\2/\\1/\\0")},
    {.match = {.path = TEXT("/h"), .headers = LIST(headers)},
     .action = PROXY_ROUTE_WEIGHTED,
     .clusters = LIST(clusters),
     .request = {LIST(edits), LIST(removals)}},
    {.match = {.path = TEXT("/n"), .path_kind = PROXY_PATH_SEPARATED_PREFIX, .headers = LIST(range)},
     .action = PROXY_ROUTE_WEIGHTED,
     .clusters = LIST(clusters),
     .has_prefix_rewrite = true,
     .prefix_rewrite = TEXT("/m")},
    {.match = {.path = TEXT("/q"), .ignore_case = true, .queries = LIST(queries)},
     .action = PROXY_ROUTE_REDIRECT,
     .redirect = {.https = true, .has_prefix = true, .prefix = TEXT("/p")}},
    {.match = {.path = TEXT("/e"), .path_kind = PROXY_PATH_EXACT, .headers = LIST(post)},
     .action = PROXY_ROUTE_DIRECT,
     .direct = {.status = 200}},
    {.match = {.path = TEXT("")},
     .action = PROXY_ROUTE_WEIGHTED,
     .clusters = LIST(clusters),
     .has_prefix_rewrite = true,
     .host_rewrite_literal = TEXT("b")},
};
static const struct proxy_virtual_host hosts[] = {
    {.name = TEXT("exact"), .domains = LIST(exact), .routes = LIST(routes)},
    {.name = TEXT("wild"), .domains = LIST(wild), .routes = LIST(routes)},
    {.name = TEXT("any"), .domains = LIST(any), .routes = LIST(routes)},
};
static const struct proxy_route_config config = {.virtual_hosts = LIST(hosts)};

static const struct proxy_h1_limits limits = {.head_max = 8192};
static struct proxy_message message;

static void send_on(const struct proxy_route_table *table, const struct proxy_route_found *found, uint32_t random)
{
    static char scratch[8192 + 16];
    const struct proxy_weighted_cluster *cluster = proxy_route_pick(found->route, random);
    assert(cluster == &found->route->clusters[0] || cluster == &found->route->clusters[1]);
    int result = proxy_route_rewrite_request(table, found, cluster, &message, scratch, sizeof(scratch));
    assert(result == 0);
    struct proxy_h1_plan plan;
    proxy_h1_plan_request(&message, &plan);
    size_t bound = proxy_h1_head_bound(&message, &plan), size = 0;
    char *text = malloc(bound);
    if (text == NULL)
        return;
    size_t written = proxy_h1_write_head(&message, &plan, text);
    struct proxy_h1_parser parser = {0};
    const struct proxy_h1_limits more = {.headers_max = PROXY_HEADERS_WIRE_MAX};
    result = proxy_h1_parse_request(&parser, fl_span_make(text, written), &more, &message, &size);
    assert(written <= bound && result == PROXY_H1_DONE && size == written);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct proxy_route_table *table;
    if (table == NULL && proxy_route_table_new(&config, NULL, NULL, &table, NULL) < 0)
        abort();
    struct proxy_h1_parser parser = {0};
    size_t head = 0;
    if (proxy_h1_parse_request(&parser, fl_span_make(data, size), &limits, &message, &head) != PROXY_H1_DONE)
        return 0;
    struct proxy_route_found found = proxy_route_find(table, &message);
    assert(found.virtual_host != NULL && found.route != NULL);
    if (found.route->action == PROXY_ROUTE_WEIGHTED) {
        send_on(table, &found, (uint32_t)(size * 2654435761u));
    } else if (found.route->action == PROXY_ROUTE_REDIRECT) {
        static char scratch[16384];
        struct fl_span location;
        int result = proxy_route_location(found.route, &message, FL_SPAN("http"), scratch, sizeof(scratch), &location);
        assert(result < 0 || proxy_header_value_valid(location));
    }
    return 0;
}
