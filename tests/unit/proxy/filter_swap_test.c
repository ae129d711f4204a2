/* proxy/filter: what a new snapshot means for connections, requests and pools that are there. */
#include "proxy/route/table.h"
#include "proxy/upstream/directory.h"
#include "tests/support/fail.h"
#include "tests/unit/proxy/filter_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define GET "GET / HTTP/1.1\r\nhost: a\r\n\r\n"
#define OK  "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

static void apply(struct fixture *f)
{
    assert_int_equal(proxy_data_apply(&f->data, f->snapshot), 0);
    fixture_run(f);
}

static void ask(struct fixture *f, struct side *client, struct side *origin)
{
    side_say(f, client, GET);
    if (origin->fd < 0)
        *origin = fixture_origin(f);
    side_expect_start(f, origin, "GET /");
    side_say(f, origin, OK);
    side_expect(f, client, OK);
}

static void release_table(void *table)
{
    proxy_route_table_free(table);
}

static void answers_now(struct fixture *f, const char *body)
{
    static const struct fl_span any = FL_SPAN("*");
    const struct proxy_route route = {.match = {.path = FL_SPAN("/")},
                                      .action = PROXY_ROUTE_DIRECT,
                                      .direct = {.status = 200, .body = fl_span_str(body)}};
    const struct proxy_virtual_host host = {
        .name = FL_SPAN("v"), .domains = &any, .domain_count = 1, .routes = &route, .route_count = 1};
    const struct proxy_route_config config = {.name = FL_SPAN("r"), .virtual_hosts = &host, .virtual_host_count = 1};
    struct proxy_route_table *table;
    assert_int_equal(proxy_route_table_new(&config, NULL, NULL, &table, NULL), 0);
    assert_int_equal(proxy_unit_hold(&f->snapshot->unit, table, release_table), 0);
    f->hcm->routes = table;
}

static void a_connection_follows_new_routes_at_its_next_request(void **state)
{
    (void)state;
    struct fixture f;
    struct side origin = {.fd = -1};
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    ask(&f, &client, &origin);
    side_say(&f, &client, GET); /* under way while routes change */
    side_expect_start(&f, &origin, "GET /");
    fixture_next(&f);
    answers_now(&f, "new");
    apply(&f);
    side_say(&f, &origin, OK);
    side_expect(&f, &client, OK);
    side_say(&f, &client, GET);
    side_hear(&f, &client);
    assert_non_null(strstr(client.text, "\r\n\r\nnew"));
    assert_false(client.ended);
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

static void pools_survive_what_is_not_theirs(void **state)
{
    (void)state;
    struct fixture f;
    struct side origin = {.fd = -1};
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    ask(&f, &client, &origin);
    for (int i = 0; i < 3; i++) {
        fixture_next(&f); /* listener and cluster are new units, the endpoint is the same */
        apply(&f);
        ask(&f, &client, &origin); /* over the pooled connection */
        assert_false(fixture_origin_waits(&f));
    }
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

static void a_request_to_an_endpoint_that_goes_is_finished(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    side_say(&f, &client, GET);
    struct side origin = fixture_origin(&f);
    side_expect_start(&f, &origin, "GET /");
    fixture_next(&f);
    f.cluster->own.count = 0;
    apply(&f);
    side_say(&f, &origin, OK);
    side_expect(&f, &client, OK);
    side_hear_end(&f, &origin);
    assert_true(origin.ended); /* not used again */
    side_say(&f, &client, GET);
    side_expect_start(&f, &client, "HTTP/1.1 503");
    assert_true(fixture_metric_of(&f, "istio_requests_total", "response_flags=\"UH\"") == 1);
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

static void another_endpoint_at_the_address_is_another_host(void **state)
{
    (void)state;
    struct fixture f;
    struct side origin = {.fd = -1};
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    ask(&f, &client, &origin);
    fixture_next(&f);
    struct proxy_endpoint *endpoint = fl_arena_alloc(&f.snapshot->unit.arena, sizeof(*endpoint));
    *endpoint = f.cluster->own.list[0];
    endpoint->identity = FL_SPAN("spiffe://cluster.local/ns/a/sa/b");
    f.cluster->own.list = endpoint;
    apply(&f);
    side_hear_end(&f, &origin);
    assert_true(origin.ended);
    side_say(&f, &client, GET); /* meshed, and there is no TLS for it: never in plaintext */
    side_expect_start(&f, &client, "HTTP/1.1 503");
    assert_false(fixture_origin_waits(&f));
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

static void a_cluster_that_goes_is_503(void **state)
{
    (void)state;
    struct fixture f;
    struct side origin = {.fd = -1};
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    ask(&f, &client, &origin);
    fixture_next(&f);
    ((const struct proxy_cluster **)(uintptr_t)f.snapshot->clusters)[0] = NULL;
    apply(&f);
    side_hear_end(&f, &origin);
    assert_true(origin.ended);
    side_say(&f, &client, GET);
    side_expect_start(&f, &client, "HTTP/1.1 503");
    assert_true(fixture_metric_of(&f, "istio_requests_total", "response_flags=\"NC\"") == 1);
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

static void breakers_hold_across_snapshots(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, true);
    struct side one = fixture_client(&f), two = fixture_client(&f);
    side_say(&f, &one, GET);
    struct side origin = fixture_origin(&f);
    fixture_next(&f);
    f.cluster->max_requests = 1;
    apply(&f);
    side_say(&f, &two, GET);
    side_expect_start(&f, &two, "HTTP/1.1 503");
    assert_true(fixture_metric_of(&f, "istio_requests_total", "response_flags=\"UO\"") == 1);
    side_done(&one);
    side_done(&two);
    side_done(&origin);
    fixture_done(&f);
}

static void a_chain_of_another_kind_ends_the_connection(void **state)
{
    (void)state;
    struct fixture f;
    struct side origin = {.fd = -1};
    fixture_init(&f, true);
    struct side client = fixture_client(&f), busy = fixture_client(&f);
    ask(&f, &client, &origin);
    side_say(&f, &busy, GET);
    fixture_next(&f);
    struct proxy_filter_chain *chain = (struct proxy_filter_chain *)(uintptr_t)f.listener->default_chain;
    chain->kind = PROXY_FILTER_TCP;
    chain->tcp = f.tcp;
    apply(&f);
    side_hear_end(&f, &client);
    side_hear_end(&f, &busy);
    side_done(&client);
    side_done(&busy);
    side_done(&origin);
    fixture_done(&f);
}

static void a_listener_that_goes_drains_its_connections(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    side_say(&f, &client, GET);
    struct side origin = fixture_origin(&f);
    fixture_next(&f);
    ((const struct proxy_listener **)(uintptr_t)f.snapshot->listeners)[0] = NULL;
    f.snapshot->listener_count = 0;
    apply(&f);
    side_say(&f, &origin, OK);
    side_expect_start(&f, &client, "HTTP/1.1 200 OK");
    assert_true(client.ended);
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

static void many_connections_are_rebound_over_turns(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, true);
    static struct side clients[2 * PROXY_DATA_REBINDS + 10];
    for (size_t i = 0; i < FL_COUNT(clients); i++) {
        clients[i] = fixture_client(&f);
        free(fl_take(clients[i].text));
    }
    struct proxy_snapshot *before = proxy_snapshot_ref(f.snapshot);
    fixture_next(&f);
    answers_now(&f, "new");
    apply(&f);
    fixture_run(&f);
    for (const struct proxy_downstream *one = f.data.downstreams; one != NULL; one = one->next)
        assert_ptr_equal(one->listener, f.listener);
    proxy_snapshot_unref(before);
    for (size_t i = 0; i < FL_COUNT(clients); i++)
        close(clients[i].fd);
    fixture_done(&f);
}

static void memory_that_is_out_keeps_the_old(void **state)
{
    (void)state;
    struct fixture f;
    struct side origin = {.fd = -1};
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    ask(&f, &client, &origin);
    FAIL_EACH_ALLOCATION
    {
        struct proxy_snapshot *before = f.data.snapshot;
        fail_stop();
        fixture_next(&f);
        fail_at(fail_round_);
        int result = proxy_data_apply(&f.data, f.snapshot);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        assert_ptr_equal(f.data.snapshot, result < 0 ? before : f.snapshot);
        ask(&f, &client, &origin);
    }
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

/* -- destinations on demand -- */

static unsigned asked;

static bool on_ask(void *owner, const struct proxy_address *destination)
{
    (void)owner, (void)destination;
    asked++;
    return true;
}

static const struct proxy_directory directory = {.ask = on_ask};

/* The listener hands over, and asks. (Without a redirect the socket's own address stands for the destination.) */
static void init_asking(struct fixture *f)
{
    asked = 0;
    fixture_init(f, true);
    fixture_next(f);
    f->listener->hand_over = true;
    f->snapshot->node.on_demand = true;
    assert_int_equal(proxy_snapshot_index(f->snapshot, NULL), 0);
    f->data.options.directory = &directory;
    apply(f);
}

static void a_parked_connection_goes_on_with_its_listener(void **state)
{
    (void)state;
    struct fixture f;
    struct side origin = {.fd = -1};
    init_asking(&f);
    struct side client = fixture_client(&f);
    side_say(&f, &client, GET);
    assert_int_equal(asked, 1);
    assert_int_equal(f.data.parked_count, 1);
    fixture_next(&f);
    struct proxy_slot slot = {.name = FL_SPAN("found"), .index = 1};
    struct proxy_listener *found = fl_arena_alloc(&f.snapshot->unit.arena, sizeof(*found));
    *found = *f.listener;
    found->slot = &slot;
    found->bind_to_port = found->hand_over = false;
    f.listener->bind_to_port = true;
    const struct proxy_listener **table = fl_arena_alloc(&f.snapshot->unit.arena, 2 * sizeof(*table));
    table[0] = f.listener;
    table[1] = found;
    f.snapshot->listeners = table;
    f.snapshot->listener_slots = f.snapshot->listener_count = 2;
    f.snapshot->node.on_demand = true;
    assert_int_equal(proxy_snapshot_index(f.snapshot, NULL), 0);
    apply(&f);
    assert_int_equal(f.data.parked_count, 0);
    origin = fixture_origin(&f);
    side_expect_start(&f, &origin, "GET /");
    side_say(&f, &origin, OK);
    side_expect(&f, &client, OK);
    assert_true(slot.used_ms > 0);
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

static void an_answer_or_the_end_of_time_decides(void **state)
{
    (void)state;
    struct fixture f;
    init_asking(&f);
    struct side passes = fixture_client(&f), refused, late;
    side_say(&f, &passes, GET);
    proxy_data_answer(&f.data, &f.data.parked->destination, PROXY_DIRECTORY_PASS);
    struct side origin = fixture_origin(&f);
    side_expect_start(&f, &origin, "GET /");
    refused = fixture_client(&f);
    proxy_data_answer(&f.data, &f.data.parked->destination, PROXY_DIRECTORY_REFUSE);
    side_hear_end(&f, &refused);
    assert_true(refused.reset);
    late = fixture_client(&f);
    side_hear_end(&f, &late);
    assert_true(late.reset);
    assert_true(fixture_metric_of(&f, "fairlead_connections_refused_total", "unknown_destination") == 2);
    side_done(&passes);
    side_done(&refused);
    side_done(&late);
    side_done(&origin);
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_follows_new_routes_at_its_next_request),
        cmocka_unit_test(pools_survive_what_is_not_theirs),
        cmocka_unit_test(a_request_to_an_endpoint_that_goes_is_finished),
        cmocka_unit_test(another_endpoint_at_the_address_is_another_host),
        cmocka_unit_test(a_cluster_that_goes_is_503),
        cmocka_unit_test(breakers_hold_across_snapshots),
        cmocka_unit_test(a_chain_of_another_kind_ends_the_connection),
        cmocka_unit_test(a_listener_that_goes_drains_its_connections),
        cmocka_unit_test(many_connections_are_rebound_over_turns),
        cmocka_unit_test(memory_that_is_out_keeps_the_old),
        cmocka_unit_test(a_parked_connection_goes_on_with_its_listener),
        cmocka_unit_test(an_answer_or_the_end_of_time_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
