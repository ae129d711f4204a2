/* proxy/config/subscribe against a real gRPC server in the same loop, and an assembly made of a list: what is asked
 * for, taken, refused; streams that end; destinations on demand; a start from the state folder. */
#include "proxy/config/subscribe.h"

#include "common/base/log.h"
#include "common/grpc/server.h"
#include "common/loop/timer.h"
#include "common/metrics/registry.h"
#include "common/xds/message.h"
#include "common/xds/proto/bootstrap.pb-c.h"
#include "common/xds/proto/discovery.pb-c.h"
#include "common/xds/proto/tcp_proxy.pb-c.h"
#include "proxy/config/lastgood.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

/* --- an assembly made of a list ---------------------------------------------------------------------------------- */

#define MANY 64

static struct fake {
    enum fl_resource_type type;
    char name[80], version[16];
    char wire[2048];
    size_t wire_len;
    bool there;
    uint64_t used_ms;
} resources[MANY];
static size_t resource_count;
static char wanted[8][80]; /* names of endpoints */
static size_t wanted_count;
static uint64_t wants_version;
static char events[4096];

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *format, ...)
{
    size_t len = strlen(events);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(events + len, sizeof(events) - len, format, arguments);
    va_end(arguments);
}

static struct fake *find(enum fl_resource_type type, struct fl_span name)
{
    for (size_t i = 0; i < resource_count; i++)
        if (resources[i].type == type && fl_span_eq_str(name, resources[i].name))
            return &resources[i];
    return NULL;
}

int proxy_assembly_put(struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name,
                       struct fl_span version, struct fl_span wire, struct fl_err *err)
{
    (void)assembly;
    if (fl_span_starts_with(name, FL_SPAN("bad")))
        return fl_err_set(err, -EINVAL, "$.lb_policy: no");
    struct fake *fake = find(type, name);
    if (fake == NULL)
        fake = &resources[resource_count++];
    assert_true(resource_count <= MANY && wire.len <= sizeof(fake->wire));
    *fake = (struct fake){.type = type, .wire_len = wire.len, .there = true};
    snprintf(fake->name, sizeof(fake->name), "%.*s", FL_SPAN_ARG(name));
    snprintf(fake->version, sizeof(fake->version), "%.*s", FL_SPAN_ARG(version));
    if (wire.len > 0)
        memcpy(fake->wire, wire.data, wire.len);
    tell("+%s ", fake->name);
    return 0;
}

int proxy_assembly_remove(struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name)
{
    (void)assembly;
    struct fake *fake = find(type, name);
    if (fake != NULL)
        fake->there = false;
    tell("-%.*s ", FL_SPAN_ARG(name));
    return 0;
}

void proxy_assembly_forget(struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name)
{
    (void)assembly;
    (void)type;
    (void)name;
}

bool proxy_assembly_next_want(const struct proxy_assembly *assembly, size_t *cursor, struct proxy_want *ret_want)
{
    (void)assembly;
    if (*cursor >= wanted_count)
        return false;
    *ret_want = (struct proxy_want){.type = FL_RESOURCE_ENDPOINTS, .name = fl_span_str(wanted[(*cursor)++])};
    return true;
}

uint64_t proxy_assembly_wants_version(const struct proxy_assembly *assembly)
{
    (void)assembly;
    return wants_version;
}

static bool huge; /* every resource is larger than what may be kept */

static struct fl_span wire_of(const struct fake *fake)
{
    static const char bytes[PROXY_ASSEMBLY_RESOURCE_BYTES];
    return huge ? fl_span_make(bytes, sizeof(bytes)) : fl_span_make(fake->wire, fake->wire_len);
}

static bool next_state(size_t *cursor, struct proxy_resource_state *ret_state)
{
    while (*cursor < resource_count) {
        const struct fake *fake = &resources[(*cursor)++];
        if (!fake->there)
            continue;
        *ret_state = (struct proxy_resource_state){
            .type = fake->type,
            .name = fl_span_str(fake->name),
            .presence = PROXY_PRESENCE_ACTIVE,
            .active_version = fl_span_str(fake->version),
            .has_active = true,
            .active_wire = {wire_of(fake), wire_of(fake).len},
            .used_ms = fake->used_ms,
        };
        return true;
    }
    return false;
}

bool proxy_assembly_next_state(const struct proxy_assembly *assembly, size_t *cursor,
                               struct proxy_resource_state *ret_state)
{
    (void)assembly;
    return next_state(cursor, ret_state);
}

uint64_t proxy_assembly_used_ms(const struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name)
{
    const struct fake *fake = find(type, name);
    (void)assembly;
    return fake != NULL ? fake->used_ms : 0;
}

/* --- a control plane ---------------------------------------------------------------------------------------------- */

static struct fl_loop *loop;
static struct fl_grpc_server *server;
static struct fl_grpc_stream *stream; /* the last one */
static struct fl_grpc_address address;
static char said[8192], authorization[64]; /* what the client said, as text */
static unsigned streams, nonce;

static void say_names(const char *mark, char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        snprintf(said + strlen(said), sizeof(said) - strlen(said), " %s%s", mark, names[i]);
}

static void on_request(void *owner, struct fl_span message)
{
    struct fl_arena arena;
    ProtobufCMessage *decoded;
    (void)owner;
    fl_arena_init(&arena, 1 << 20);
    assert_int_equal(fl_xds_unpack(&envoy__service__discovery__v3__delta_discovery_request__descriptor, message, &arena,
                                   NULL, &decoded, NULL),
                     0);
    const Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *request = (const void *)decoded;
    snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s{%s",
             fl_resource_type_word(fl_resource_type_of(fl_span_str(request->type_url))),
             request->node != NULL ? "node" : "");
    say_names("", request->resource_names_subscribe, request->n_resource_names_subscribe);
    say_names("-", request->resource_names_unsubscribe, request->n_resource_names_unsubscribe);
    for (size_t i = 0; i < request->n_initial_resource_versions; i++)
        say_names("@", &request->initial_resource_versions[i]->key, 1);
    snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s%s}",
             request->response_nonce[0] == '\0' ? ""
             : request->error_detail != NULL    ? " nack:"
                                                : " ack",
             request->error_detail != NULL ? request->error_detail->message : "");
    fl_arena_done(&arena);
}

static void on_closed(void *owner)
{
    if (stream == owner)
        stream = NULL;
}

static void on_open(void *context, struct fl_grpc_stream *opened)
{
    static const struct fl_grpc_stream_ops ops = {.on_message = on_request, .on_closed = on_closed};
    (void)context;
    snprintf(authorization, sizeof(authorization), "%.*s",
             FL_SPAN_ARG(fl_grpc_stream_metadata(opened, "authorization")));
    stream = opened;
    streams++;
    fl_grpc_stream_accept(opened, &ops, opened);
}

static const struct fl_grpc_method methods[] = {
    {.path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources", .open = on_open}};

static void serve(void)
{
    struct fl_err err;
    struct fl_grpc_address any = address;
    const struct fl_grpc_server_options options = {.methods = methods, .method_count = FL_COUNT(methods)};
    if (address.any.sa_family == 0)
        assert_int_equal(fl_grpc_address_parse(FL_SPAN("127.0.0.1:0"), &any), 0);
    assert_int_equal(fl_grpc_server_new(loop, &options, &server, &err), 0);
    if (fl_grpc_server_listen(server, &any, false, &address, &err) != 0)
        fail_msg("%s", err.text);
}

/* "name" of the type, in a message whose first field it is; "-name" is removed. */
static void push(enum fl_resource_type type, const char *const *names, uint32_t ttl_s, struct fl_span wire)
{
    struct fl_arena arena;
    struct fl_span bytes = {NULL, 0};
    Envoy__Service__Discovery__V3__DeltaDiscoveryResponse response;
    envoy__service__discovery__v3__delta_discovery_response__init(&response);
    Envoy__Service__Discovery__V3__Resource each[8], *list[8];
    Google__Protobuf__Any anys[8];
    Google__Protobuf__Duration ttl;
    google__protobuf__duration__init(&ttl);
    char *removed[8], number[16];
    fl_arena_init(&arena, 1 << 20);
    snprintf(number, sizeof(number), "%u", ++nonce);
    ttl.seconds = ttl_s;
    response.resources = list;
    response.removed_resources = removed;
    response.nonce = number;
    response.type_url = (char *)(uintptr_t)fl_resource_type_url(type);
    for (; *names != NULL; names++) {
        char *name = (char *)(uintptr_t)*names;
        if (name[0] == '-') {
            removed[response.n_removed_resources++] = name + 1;
            continue;
        }
        size_t i = response.n_resources++;
        envoy__service__discovery__v3__resource__init(&each[i]);
        google__protobuf__any__init(&anys[i]);
        struct fl_buf body;
        fl_buf_init(&body, 2048);
        assert_int_equal(fl_buf_printf(&body, "\x0a%c%s", (int)strlen(name), name), 0);
        assert_int_equal(fl_buf_append(&body, wire), 0);
        struct fl_span copy = fl_arena_copy(&arena, fl_buf_span(&body));
        fl_buf_done(&body);
        anys[i].type_url = response.type_url;
        anys[i].value = (ProtobufCBinaryData){copy.len, (uint8_t *)(uintptr_t)copy.data};
        each[i].name = name;
        each[i].version = number;
        each[i].resource = &anys[i];
        each[i].ttl = ttl_s > 0 ? &ttl : NULL;
        list[i] = &each[i];
    }
    assert_int_equal(fl_xds_pack(&response.base, &arena, &bytes), 0);
    assert_non_null(stream);
    assert_int_equal(fl_grpc_stream_send(stream, bytes), 0);
    fl_arena_done(&arena);
}

#define PUSH(type, ...) push(type, (const char *const[]){__VA_ARGS__, NULL}, 0, FL_SPAN(""))

/* --- the client ----------------------------------------------------------------------------------------------------
 */

static struct fl_metrics *metrics;
static struct proxy_discovery discovery;
static struct proxy_subscribe *client;
static char folder[] = "/tmp/subscribe-XXXXXX";
static unsigned changes;
static int answers[4];

static void on_change(void *owner)
{
    (void)owner;
    changes++;
}

static void on_answer(void *owner, const struct proxy_address *destination, enum proxy_directory_answer answer)
{
    (void)owner;
    (void)destination;
    answers[answer]++;
}

static void start(const char *state_folder)
{
    const struct proxy_subscribe_options options = {
        .loop = loop,
        .metrics = metrics,
        .assembly = (struct proxy_assembly *)&resources, /* looked at by nobody */
        .discovery = &discovery,
        .state_folder = state_folder,
        .demand = {.idle_ms = 2500},
        .on_change = on_change,
        .on_answer = on_answer,
    };
    struct fl_err err;
    char place[FL_GRPC_ADDRESS_TEXT_MAX];
    discovery.places = fl_span_make(place, fl_grpc_address_print(&address, place));
    if (proxy_subscribe_new(&options, &client, &err) != 0)
        fail_msg("%s", err.text);
}

/* Turns the loop until `text` is among what is in `where`. */
static void await(const char *where, const char *text)
{
    for (unsigned i = 0; i < 1500 && strstr(where, text) == NULL; i++)
        assert_int_equal(fl_loop_turn(loop, 10), 0);
    if (strstr(where, text) == NULL)
        fail_msg("no \"%s\" in \"%s\"", text, where);
}

static void await_count(const unsigned *count, unsigned least)
{
    for (unsigned i = 0; i < 1500 && *count < least; i++)
        assert_int_equal(fl_loop_turn(loop, 10), 0);
    assert_true(*count >= least);
}

static struct proxy_address destination(unsigned port)
{
    struct proxy_address result;
    assert_int_equal(proxy_address_parse(FL_SPAN("10.0.0.1"), (uint16_t)port, &result), 0);
    return result;
}

static bool ask(unsigned port)
{
    struct proxy_directory directory = proxy_subscribe_directory(client);
    struct proxy_address to = destination(port);
    return directory.ask(directory.owner, &to);
}

/* Asks for port after port until there is such an answer. */
static void ask_until(enum proxy_directory_answer answer)
{
    uint64_t end = fl_loop_now_ms(loop) + 10000;
    for (unsigned port = 90; answers[answer] == 0 && fl_loop_now_ms(loop) < end; port = port % 60000 + 1) {
        (void)ask(port);
        assert_int_equal(fl_loop_turn(loop, 10), 0);
    }
    assert_true(answers[answer] > 0);
}

static void fresh(void)
{
    said[0] = events[0] = '\0';
    memset(answers, 0, sizeof(answers));
}

static int set_up(void **state)
{
    (void)state;
    fl_log_set_level(FL_LOG_ERROR);
    discovery = (struct proxy_discovery){
        .present = true,
        .delta = true,
        .all_listeners = true,
        .all_clusters = true,
        .node = FL_SPAN("\x0a\x01n"),
        .node_id = FL_SPAN("n"),
        .cluster = FL_SPAN("xds"),
        .authority = FL_SPAN("xds"),
    };
    resource_count = wanted_count = 0;
    wants_version = streams = changes = nonce = 0;
    address.any.sa_family = 0;
    stream = NULL;
    fresh();
    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(fl_metrics_new(&metrics), 0);
    serve();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    client = proxy_subscribe_free(client);
    server = fl_grpc_server_free(server);
    assert_int_equal(fl_loop_turn(loop, 0), 0);
    fl_loop_free(loop);
    metrics = fl_metrics_free(metrics);
    return 0;
}

static void test_stream(void **state)
{
    (void)state;
    char waits[256];
    start(NULL);
    assert_true(proxy_subscribe_waits(client, waits, sizeof(waits)));
    assert_string_equal(waits, "the control plane (not connected yet)");
    await(said, "CDS{node}LDS{}");
    assert_true(proxy_subscribe_waits(client, waits, sizeof(waits)));
    assert_string_equal(waits, "the control plane's first CDS response");
    fresh();
    snprintf(wanted[wanted_count++], sizeof(wanted[0]), "e");
    wants_version++;
    PUSH(FL_RESOURCE_CLUSTER, "a", "bad");
    await(said, "EDS{ e}");
    assert_string_equal(events, "+a ");
    assert_non_null(strstr(said, "CDS{ nack:bad: $.lb_policy: no}"));
    fresh();
    PUSH(FL_RESOURCE_ENDPOINTS, "e", "stray");
    PUSH(FL_RESOURCE_LISTENER, "l");
    await(said, "LDS{ ack}");
    assert_string_equal(events, "+e +l ");
    assert_false(proxy_subscribe_waits(client, waits, sizeof(waits)));
    struct fl_buf page;
    fl_buf_init(&page, 1 << 16);
    assert_int_equal(proxy_subscribe_print(client, &page), 0);
    assert_non_null(strstr(fl_buf_str(&page), "\"connected\":true"));
    assert_non_null(strstr(fl_buf_str(&page), "\"last_nack\":\"bad: $.lb_policy: no\""));
    fl_buf_done(&page);
    const struct fl_span refused[] = {FL_SPAN("CDS"), FL_SPAN("refused")};
    assert_true(fl_metrics_value(metrics, "fairlead_xds_responses_total", refused) > 0.5);
}

static void test_reconnect(void **state)
{
    (void)state;
    start(NULL);
    await(said, "LDS{}");
    PUSH(FL_RESOURCE_CLUSTER, "a");
    await(said, "CDS{ ack}");
    fresh();
    fl_grpc_stream_finish(stream, FL_GRPC_UNAVAILABLE, "bye");
    await_count(&streams, 2);
    await(said, "LDS{}");
    assert_non_null(strstr(said, "CDS{node @a}")); /* what it has goes along */
    assert_string_equal(events, "");               /* nothing was lost meanwhile */
    fresh();
    server = fl_grpc_server_free(server);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(fl_loop_turn(loop, 10), 0);
    serve();
    await_count(&streams, 3);
    await(said, "CDS{node @a}");
    PUSH(FL_RESOURCE_CLUSTER, "-a");
    await(events, "-a ");
}

static void test_garbage(void **state)
{
    (void)state;
    start(NULL);
    await(said, "LDS{}");
    assert_int_equal(fl_grpc_stream_send(stream, FL_SPAN("\xff\xff\xff")), 0);
    await_count(&streams, 2); /* that stream is over */
}

static void test_token(void **state)
{
    (void)state;
    char path[] = "/tmp/subscribe-token-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "secret\n", 7) == 7);
    close(fd);
    discovery.token_file = fl_span_str(path);
    start(NULL);
    await_count(&streams, 1);
    assert_string_equal(authorization, "Bearer secret");
    unlink(path);
}

static void start_on_demand(const char *state_folder)
{
    discovery.on_demand = true;
    discovery.all_listeners = discovery.all_clusters = false;
    start(state_folder);
    await(said, "LDS{node virtualOutbound virtualInbound tunnelInbound outbound|*");
}

static void test_on_demand(void **state)
{
    (void)state;
    start_on_demand(NULL);
    fresh();
    assert_true(ask(80));
    assert_true(ask(80));
    await(said, "LDS{ outbound|10.0.0.1:80}");
    PUSH(FL_RESOURCE_LISTENER, "outbound|10.0.0.1:80");
    await(events, "+outbound|10.0.0.1:80");
    /* Nobody uses it: it goes. */
    await(said, "LDS{ -outbound|10.0.0.1:80}");
    assert_non_null(strstr(events, "-outbound|10.0.0.1:80"));
    fresh();
    /* Answered by "there is no such thing": told, given up, asked for anew by the next question. */
    assert_true(ask(81));
    await(said, "LDS{ outbound|10.0.0.1:81}");
    PUSH(FL_RESOURCE_LISTENER, "-outbound|10.0.0.1:81");
    await(said, "LDS{ -outbound|10.0.0.1:81 ack}");
    assert_int_equal(answers[PROXY_DIRECTORY_REFUSE], 1);
    fresh();
    assert_true(ask(81));
    await(said, "LDS{ outbound|10.0.0.1:81}");
    /* An answer with a TTL. */
    push(FL_RESOURCE_LISTENER, (const char *const[]){"outbound|10.0.0.1:81", NULL}, 1, FL_SPAN(""));
    await(events, "-outbound|10.0.0.1:81");
    await(said, "LDS{ -outbound|10.0.0.1:81}");
}

/* A chain by prefix that leads to BlackHoleCluster, as virtualOutbound has where it knows the mesh's ranges. */
static struct fl_span ranges(struct fl_arena *arena)
{
    Envoy__Extensions__Filters__Network__TcpProxy__V3__TcpProxy tcp;
    envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__init(&tcp);
    Envoy__Config__Listener__V3__Listener listener;
    envoy__config__listener__v3__listener__init(&listener);
    Envoy__Config__Listener__V3__FilterChain chain, *chains[] = {&chain};
    envoy__config__listener__v3__filter_chain__init(&chain);
    Envoy__Config__Listener__V3__FilterChainMatch match;
    envoy__config__listener__v3__filter_chain_match__init(&match);
    Envoy__Config__Core__V3__CidrRange range, *range_list[] = {&range};
    envoy__config__core__v3__cidr_range__init(&range);
    Envoy__Config__Listener__V3__Filter filter, *filters[] = {&filter};
    envoy__config__listener__v3__filter__init(&filter);
    Google__Protobuf__Any any;
    google__protobuf__any__init(&any);
    struct fl_span bytes = {NULL, 0};
    tcp.cluster_specifier_case =
        ENVOY__EXTENSIONS__FILTERS__NETWORK__TCP_PROXY__V3__TCP_PROXY__CLUSTER_SPECIFIER_CLUSTER;
    tcp.cluster = (char *)(uintptr_t) "BlackHoleCluster";
    assert_int_equal(fl_xds_pack(&tcp.base, arena, &bytes), 0);
    any.type_url = (char *)(uintptr_t) "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
    any.value = (ProtobufCBinaryData){bytes.len, (uint8_t *)(uintptr_t)bytes.data};
    filter.config_type_case = ENVOY__CONFIG__LISTENER__V3__FILTER__CONFIG_TYPE_TYPED_CONFIG;
    filter.typed_config = &any;
    range.address_prefix = (char *)(uintptr_t) "10.0.0.0";
    match.n_prefix_ranges = chain.n_filters = listener.n_filter_chains = 1;
    match.prefix_ranges = range_list;
    chain.filters = filters;
    chain.filter_chain_match = &match;
    listener.filter_chains = chains;
    assert_int_equal(fl_xds_pack(&listener.base, arena, &bytes), 0);
    return bytes;
}

static void test_away(void **state)
{
    (void)state;
    struct fl_arena arena;
    fl_arena_init(&arena, 1 << 20);
    start_on_demand(NULL);
    PUSH(FL_RESOURCE_LISTENER, "virtualOutbound");
    await(events, "+virtualOutbound");
    server = fl_grpc_server_free(server);
    ask_until(PROXY_DIRECTORY_REFUSE); /* its chains know nothing of the mesh's ranges */
    serve();
    await_count(&streams, 2);
    push(FL_RESOURCE_LISTENER, (const char *const[]){"virtualOutbound", NULL}, 0, ranges(&arena));
    fresh();
    await(events, "+virtualOutbound");
    server = fl_grpc_server_free(server);
    ask_until(PROXY_DIRECTORY_PASS);
    fl_arena_done(&arena);
}

/* Saved, then started from without a server, then back to it with the versions. */
static void test_state(void **state)
{
    (void)state;
    char path[64], waits[256];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/" PROXY_LASTGOOD_FILE, folder);
    start_on_demand(folder);
    assert_true(ask(80));
    await(said, "outbound|10.0.0.1:80}");
    PUSH(FL_RESOURCE_LISTENER, "virtualOutbound", "outbound|10.0.0.1:80");
    await(events, "+outbound|10.0.0.1:80");
    assert_false(proxy_subscribe_waits(client, waits, sizeof(waits)));
    struct stat status = {0};
    for (uint64_t end = fl_loop_now_ms(loop) + 10000; stat(path, &status) != 0 && fl_loop_now_ms(loop) < end;) {
        assert_int_equal(fl_loop_turn(loop, 10), 0);
        (void)ask(80); /* in use */
    }
    assert_int_equal(status.st_mode & 0777, 0600);
    client = proxy_subscribe_free(client);
    server = fl_grpc_server_free(server);
    resource_count = 0;
    fresh();
    start(folder);
    assert_string_equal(events, "+virtualOutbound +outbound|10.0.0.1:80 ");
    assert_false(proxy_subscribe_waits(client, waits, sizeof(waits)));
    serve();
    await(said, "LDS{node");
    assert_non_null(strstr(said, "outbound|10.0.0.1:80"));
    assert_non_null(strstr(said, "@virtualOutbound"));
    assert_non_null(strstr(said, "@outbound|10.0.0.1:80"));
    /* Broken on disk: one line, and from nothing. */
    client = proxy_subscribe_free(client);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fputc('x', file);
    fclose(file);
    fresh();
    start(folder);
    assert_string_equal(events, "");
    assert_true(stat(path, &status) != 0);
    proxy_lastgood_remove(folder);
    rmdir(folder);
}

/* A proxy that is stopped takes nothing with it that a restart would want. */
static void test_the_end_keeps_what_waits(void **state)
{
    (void)state;
    char path[64], waits[256], place[] = "/tmp/subscribe-end-XXXXXX";
    struct stat status;
    assert_non_null(mkdtemp(place));
    snprintf(path, sizeof(path), "%s/" PROXY_LASTGOOD_FILE, place);
    start_on_demand(place);
    assert_true(ask(80));
    await(said, "outbound|10.0.0.1:80}");
    PUSH(FL_RESOURCE_LISTENER, "virtualOutbound", "virtualInbound", "outbound|10.0.0.1:80");
    await(events, "+outbound|10.0.0.1:80");
    assert_false(proxy_subscribe_waits(client, waits, sizeof(waits)));
    assert_true(stat(path, &status) != 0);
    client = proxy_subscribe_free(client);
    assert_int_equal(stat(path, &status), 0);
    proxy_lastgood_remove(place);
    rmdir(place);
}

/* An older one would bring back policies that do not count any more. */
static void test_what_is_too_large_to_keep(void **state)
{
    (void)state;
    char path[64], place[] = "/tmp/subscribe-large-XXXXXX";
    struct stat status;
    struct fl_err err = {0};
    assert_non_null(mkdtemp(place));
    snprintf(path, sizeof(path), "%s/" PROXY_LASTGOOD_FILE, place);
    start_on_demand(place);
    assert_true(ask(80));
    await(said, "outbound|10.0.0.1:80}");
    PUSH(FL_RESOURCE_LISTENER, "outbound|10.0.1.1:80", "outbound|10.0.1.2:80", "outbound|10.0.1.3:80");
    PUSH(FL_RESOURCE_LISTENER, "outbound|10.0.1.4:80", "outbound|10.0.1.5:80", "outbound|10.0.1.6:80");
    PUSH(FL_RESOURCE_LISTENER, "virtualOutbound", "virtualInbound", "outbound|10.0.0.1:80");
    await(events, "+outbound|10.0.0.1:80");
    char waits[256] = "";
    if (proxy_subscribe_waits(client, waits, sizeof(waits)))
        fail_msg("waits for %s", waits);
    assert_int_equal(proxy_lastgood_save(place, FL_SPAN("of before"), &err), 0);
    assert_int_equal(stat(path, &status), 0);
    huge = true;
    for (uint64_t end = fl_loop_now_ms(loop) + 10000; stat(path, &status) == 0 && fl_loop_now_ms(loop) < end;) {
        assert_int_equal(fl_loop_turn(loop, 10), 0);
        (void)ask(80); /* in use */
    }
    huge = false;
    assert_true(stat(path, &status) != 0);
    rmdir(place);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_stream),
        TEST(test_reconnect),
        TEST(test_garbage),
        TEST(test_token),
        TEST(test_on_demand),
        TEST(test_away),
        TEST(test_state),
        TEST(test_the_end_keeps_what_waits),
        TEST(test_what_is_too_large_to_keep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
