#include "tests/unit/proxy/filter_fixture.h"

#include "common/metrics/expose.h"
#include "proxy/net/listener.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

int fixture_listen(struct proxy_address *ret_address)
{
    struct proxy_socket_options options = {.backlog = 64};
    struct fl_err err;
    int fd = -1;
    assert_int_equal(proxy_address_parse(FL_SPAN("127.0.0.1"), 0, &options.address), 0);
    assert_int_equal(proxy_socket_listen(&options, &fd, &err), 0);
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&raw, &size), 0);
    assert_int_equal(proxy_address_from_sockaddr(&raw, ret_address), 0);
    return fd;
}

static void release_routes(void *table)
{
    proxy_route_table_free(table);
}

static void make_routes(struct fixture *f)
{
    static const struct fl_span any = FL_SPAN("*");
    static const struct proxy_weighted_cluster to_origin = {.name = FL_SPAN("origin"), .weight = 1};
    const struct proxy_route routes[] = {
        {.match = {.path = FL_SPAN("/retry-slow")},
         .action = PROXY_ROUTE_CLUSTER,
         .clusters = &to_origin,
         .cluster_count = 1,
         .timeout_ms = 300,
         .retry = f->retry,
         .idle_timeout_ms = PROXY_TIMEOUT_UNSET,
         .max_stream_ms = PROXY_TIMEOUT_UNSET},
        {.match = {.path = FL_SPAN("/retry")},
         .action = PROXY_ROUTE_CLUSTER,
         .clusters = &to_origin,
         .cluster_count = 1,
         .timeout_ms = 10000,
         .retry = f->retry,
         .idle_timeout_ms = PROXY_TIMEOUT_UNSET,
         .max_stream_ms = PROXY_TIMEOUT_UNSET},
        {.match = {.path = FL_SPAN("/direct")},
         .action = PROXY_ROUTE_DIRECT,
         .direct = {.status = 200, .body = FL_SPAN("direct")}},
        {.match = {.path = FL_SPAN("/slow")},
         .action = PROXY_ROUTE_CLUSTER,
         .clusters = &to_origin,
         .cluster_count = 1,
         .timeout_ms = 100,
         .idle_timeout_ms = PROXY_TIMEOUT_UNSET,
         .max_stream_ms = PROXY_TIMEOUT_UNSET},
        {.match = {.path = FL_SPAN("/")},
         .action = PROXY_ROUTE_CLUSTER,
         .clusters = &to_origin,
         .cluster_count = 1,
         .idle_timeout_ms = PROXY_TIMEOUT_UNSET,
         .max_stream_ms = PROXY_TIMEOUT_UNSET},
    };
    const struct proxy_virtual_host host = {
        .name = FL_SPAN("all"), .domains = &any, .domain_count = 1, .routes = routes, .route_count = FL_COUNT(routes)};
    const struct proxy_route_config config = {.name = FL_SPAN("r"), .virtual_hosts = &host, .virtual_host_count = 1};
    struct fl_err err = {0};
    if (proxy_route_table_new(&config, NULL, NULL, &f->routes, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(proxy_unit_hold(&f->snapshot->unit, f->routes, release_routes), 0);
}

static struct proxy_filter_chain *make_chain(struct fixture *f, bool http)
{
    struct fl_arena *arena = &f->snapshot->unit.arena;
    struct proxy_filter_chain *chain = fl_arena_alloc(arena, sizeof(*chain));
    f->hcm = fl_arena_alloc(arena, sizeof(*f->hcm));
    f->tcp = fl_arena_alloc(arena, sizeof(*f->tcp));
    f->hcm->routes = f->routes;
    f->hcm->request_headers_timeout_ms = 200;
    f->hcm->max_head_bytes = 8192;
    f->hcm->max_header_count = 100;
    f->tcp->connect_attempts = 1;
    f->tcp->idle_timeout_ms = 60000;
    chain->kind = http ? PROXY_FILTER_HTTP : PROXY_FILTER_TCP;
    if (http)
        chain->http = f->hcm;
    else
        chain->tcp = f->tcp;
    return chain;
}

/* The tables of the snapshot: one listener, one cluster. */
static void put_in_place(struct fixture *f)
{
    struct proxy_snapshot *snapshot = f->snapshot;
    const struct proxy_cluster **clusters = fl_arena_alloc(&snapshot->unit.arena, sizeof(*clusters));
    const struct proxy_listener **listeners = fl_arena_alloc(&snapshot->unit.arena, sizeof(*listeners));
    const struct proxy_endpoints **endpoints = fl_arena_alloc(&snapshot->unit.arena, sizeof(*endpoints));
    clusters[0] = f->cluster;
    listeners[0] = f->listener;
    snapshot->clusters = clusters;
    snapshot->endpoints = endpoints;
    snapshot->listeners = listeners;
    snapshot->cluster_slots = snapshot->cluster_count = snapshot->listener_slots = snapshot->listener_count = 1;
}

static void release_snapshot(void *snapshot)
{
    proxy_snapshot_unref(snapshot);
}

void fixture_next(struct fixture *f)
{
    struct proxy_snapshot *before = f->snapshot, *next = proxy_snapshot_new(NULL);
    assert_non_null(next);
    next->version = before->version + 1;
    assert_int_equal(proxy_unit_hold(&next->unit, before, release_snapshot), 0); /* with all that it points to */
    struct proxy_cluster *cluster = fl_arena_alloc(&next->unit.arena, sizeof(*cluster));
    struct proxy_listener *listener = fl_arena_alloc(&next->unit.arena, sizeof(*listener));
    struct proxy_filter_chain *chain = fl_arena_alloc(&next->unit.arena, sizeof(*chain));
    struct proxy_hcm_config *hcm = fl_arena_alloc(&next->unit.arena, sizeof(*hcm));
    struct proxy_tcp_config *tcp = fl_arena_alloc(&next->unit.arena, sizeof(*tcp));
    *cluster = *f->cluster;
    *listener = *f->listener;
    *chain = *f->listener->default_chain;
    *hcm = *f->hcm;
    *tcp = *f->tcp;
    cluster->unit = cluster->own.unit = listener->unit = &next->unit;
    listener->default_chain = chain;
    if (chain->kind == PROXY_FILTER_HTTP)
        chain->http = hcm;
    else
        chain->tcp = tcp;
    f->snapshot = next;
    f->cluster = cluster;
    f->listener = listener;
    f->hcm = hcm;
    f->tcp = tcp;
    put_in_place(f);
}

static void on_drained(void *owner)
{
    ((struct fixture *)owner)->drained++;
}

void fixture_init(struct fixture *f, bool http)
{
    fixture_init_with(f, http, NULL);
}

void fixture_init_with(struct fixture *f, bool http, void (*change)(struct fixture *f))
{
    memset(f, 0, sizeof(*f));
    struct proxy_address address;
    f->snapshot = proxy_snapshot_new(NULL);
    assert_non_null(f->snapshot);
    struct fl_arena *arena = &f->snapshot->unit.arena;
    f->retry = fl_arena_alloc(arena, sizeof(*f->retry));
    *f->retry = (struct proxy_retry_policy){
        .on = PROXY_RETRY_ON_5XX, .num_retries = 2, .backoff_base_ms = 1, .backoff_max_ms = 1};
    f->origin = fixture_listen(&address);
    struct proxy_endpoint *endpoint = fl_arena_alloc(arena, sizeof(*endpoint));
    *endpoint = (struct proxy_endpoint){.address = address, .weight = 1, .healthy = true};
    f->cluster = fl_arena_alloc(arena, sizeof(*f->cluster));
    *f->cluster = (struct proxy_cluster){.name = FL_SPAN("origin"),
                                         .unit = &f->snapshot->unit,
                                         .slot = &f->cluster_slot,
                                         .own = {&f->snapshot->unit, endpoint, 1},
                                         .connect_timeout_ms = 1000,
                                         .idle_timeout_ms = 60000,
                                         .max_connections = 1024,
                                         .max_pending_requests = 1024,
                                         .max_requests = 1024,
                                         .max_retries = 3};
    f->cluster_slot = (struct proxy_slot){.name = FL_SPAN("origin"), .kind = PROXY_SLOT_CLUSTER};
    f->listener_slot = (struct proxy_slot){.name = FL_SPAN("test"), .kind = PROXY_SLOT_LISTENER};
    f->listener = fl_arena_alloc(arena, sizeof(*f->listener));
    f->listener->name = FL_SPAN("test");
    f->listener->unit = &f->snapshot->unit;
    f->listener->slot = &f->listener_slot;
    put_in_place(f);
    if (change != NULL)
        change(f);
    make_routes(f);
    f->listener->default_chain = make_chain(f, http);
    f->accept = fixture_listen(&f->listener->address);
    assert_int_equal(fl_loop_new(&f->loop), 0);
    assert_int_equal(proxy_stats_new(&f->stats), 0);
    const struct proxy_data_options options = {
        .loop = f->loop, .stats = f->stats, .on_drained = on_drained, .owner = f};
    assert_int_equal(proxy_data_init(&f->data, &options), 0);
    assert_int_equal(proxy_data_apply(&f->data, f->snapshot), 0);
}

void fixture_done(struct fixture *f)
{
    proxy_data_abort(&f->data);
    for (int i = 0; i < 4; i++)
        assert_true(fl_loop_turn(f->loop, 0) >= 0);
    proxy_data_done(&f->data);
    fl_loop_free(f->loop);
    proxy_stats_free(f->stats);
    proxy_snapshot_unref(f->snapshot);
    close(f->origin);
    close(f->accept);
}

struct side fixture_side(int fd)
{
    struct side side = {.fd = fd, .text = malloc(FIXTURE_TEXT_MAX)};
    assert_non_null(side.text);
    return side;
}

void side_done(struct side *side)
{
    fl_cleanup_close(&side->fd);
    free(side->text);
}

struct side fixture_client(struct fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &f->listener->address.any, proxy_address_size(&f->listener->address)), 0);
    struct proxy_address peer = {0};
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw);
    int accepted = accept4(f->accept, (struct sockaddr *)&raw, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(accepted >= 0);
    assert_int_equal(proxy_address_from_sockaddr(&raw, &peer), 0);
    proxy_downstream_accept(&f->data, f->listener, accepted, &peer);
    return fixture_side(fd);
}

bool fixture_origin_waits(struct fixture *f)
{
    fixture_run(f);
    struct pollfd ready = {.fd = f->origin, .events = POLLIN};
    return poll(&ready, 1, 0) == 1;
}

struct side fixture_origin(struct fixture *f)
{
    FIXTURE_UNTIL(f, fixture_origin_waits(f));
    int fd = accept4(f->origin, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    fixture_run(f);
    return fixture_side(fd);
}

/* Loopback delivers within the sending call, mostly: a few empty turns mean that nothing is under way. */
void fixture_run(struct fixture *f)
{
    for (int i = 0; i < 12; i++)
        assert_true(fl_loop_turn(f->loop, i < 10 ? 0 : 1) >= 0);
}

void fixture_wait(struct fixture *f, unsigned ms)
{
    uint64_t until = proxy_data_now_us() + ms * 1000u;
    while (proxy_data_now_us() < until)
        assert_true(fl_loop_turn(f->loop, 5) >= 0);
}

void side_say_bytes(struct fixture *f, struct side *side, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t done = send(side->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (done < 0 && errno != EAGAIN)
            break; /* the other side does not want it: what it says is looked at */
        if (done > 0) {
            bytes += done;
            len -= (size_t)done;
        }
        fixture_run(f);
    }
    fixture_run(f);
}

void side_say(struct fixture *f, struct side *side, const char *text)
{
    side_say_bytes(f, side, text, strlen(text));
}

void side_hear(struct fixture *f, struct side *side)
{
    for (int quiet = 0; quiet < 2 && !side->ended && !side->reset;) {
        if (side->len == FIXTURE_TEXT_MAX - 1)
            break;
        fixture_run(f);
        ssize_t got = recv(side->fd, side->text + side->len, FIXTURE_TEXT_MAX - 1 - side->len, MSG_DONTWAIT);
        side->ended = got == 0;
        side->reset = got < 0 && errno != EAGAIN;
        side->len += got > 0 ? (size_t)got : 0;
        quiet = got > 0 ? 0 : quiet + 1;
    }
    side->text[side->len] = '\0';
}

static void hear_at_least(struct fixture *f, struct side *side, size_t size)
{
    uint64_t until_us = proxy_data_now_us() + FIXTURE_PATIENCE_US;
    do
        side_hear(f, side);
    while (side->len < size && !side->ended && !side->reset && proxy_data_now_us() < until_us);
}

void side_hear_end(struct fixture *f, struct side *side)
{
    FIXTURE_UNTIL(f, (side_hear(f, side), side->ended || side->reset));
}

void side_expect(struct fixture *f, struct side *side, const char *text)
{
    hear_at_least(f, side, strlen(text));
    assert_string_equal(side->text, text);
    side->len = 0;
}

void side_expect_start(struct fixture *f, struct side *side, const char *text)
{
    hear_at_least(f, side, strlen(text));
    if (strncmp(side->text, text, strlen(text)) != 0)
        assert_string_equal(side->text, text);
    side->len = 0;
}

void side_end(struct side *side)
{
    assert_int_equal(shutdown(side->fd, SHUT_WR), 0);
}

void side_abort(struct side *side)
{
    const struct linger hard = {.l_onoff = 1};
    assert_int_equal(setsockopt(side->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    close(fl_take_fd(side->fd));
}

double fixture_metric(const struct fixture *f, const char *name)
{
    return fixture_metric_of(f, name, "");
}

double fixture_metric_of(const struct fixture *f, const char *name, const char *label)
{
    struct fl_metrics *registries[] = {proxy_stats_metrics(f->stats)};
    struct fl_buf text;
    double sum = 0;
    fl_buf_init(&text, 8u << 20);
    assert_int_equal(fl_metrics_expose(registries, 1, &text), 0);
    struct fl_span rest = fl_buf_span(&text), line;
    while (fl_span_split(&rest, '\n', &line)) {
        size_t len = strlen(name);
        if (!fl_span_starts_with(line, fl_span_str(name)) || line.len <= len ||
            (line.data[len] != '{' && line.data[len] != ' ') ||
            memmem(line.data, line.len, label, strlen(label)) == NULL)
            continue;
        size_t space = line.len;
        while (line.data[space - 1] != ' ')
            space--;
        sum += strtod(line.data + space, NULL);
    }
    fl_buf_done(&text);
    return sum;
}
