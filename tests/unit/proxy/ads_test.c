/* proxy/config/ads: the protocol as scripts. A row does something ("want", "recv", …) and says what comes of it: the
 * requests that are sent then, or what was taken and dropped. */
#include "proxy/config/ads.h"

#include "common/base/utf8.h"
#include "common/xds/message.h"
#include "common/xds/proto/cluster.pb-c.h"
#include "common/xds/proto/discovery.pb-c.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct world {
    struct proxy_ads *ads;
    bool delta, old; /* the resource "old" is there */
    char log[4096];  /* what was taken, dropped and sent since the last row */
};

struct row {
    const char *action, *expected;
};

static void tell(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct world *world, const char *format, ...)
{
    size_t len = strlen(world->log);
    va_list arguments;
    va_start(arguments, format);
    if (len > 0)
        world->log[len++] = ' ';
    vsnprintf(world->log + len, sizeof(world->log) - len, format, arguments);
    va_end(arguments);
}

/* A body that begins with '!' is refused; with '&' as long as there is a resource "old". */
static int on_take(void *owner, const struct proxy_ads_resource *resource, struct fl_err *err)
{
    struct fl_span body;
    assert_true(fl_xds_wire_string(resource->bytes, 28, &body));
    struct world *world = owner;
    if (body.len > 0 && (body.data[0] == '!' || (body.data[0] == '&' && world->old)))
        return fl_err_set(err, -EINVAL, "bad");
    world->old |= fl_span_eq_str(resource->name, "old");
    tell(owner, "+%.*s=%.*s", FL_SPAN_ARG(resource->name), FL_SPAN_ARG(resource->version));
    return 0;
}

static void on_drop(void *owner, enum fl_resource_type type, struct fl_span name)
{
    struct world *world = owner;
    (void)type;
    world->old &= !fl_span_eq_str(name, "old");
    tell(owner, "-%.*s", FL_SPAN_ARG(name));
}

static struct proxy_ads *make(struct world *world, bool delta)
{
    static const char node[] = "\x0a\x01n"; /* id: "n" */
    struct proxy_ads_options options = {
        .delta = delta, .node = fl_span_str(node), .take = on_take, .drop = on_drop, .owner = world};
    *world = (struct world){.delta = delta};
    return proxy_ads_new(&options, &world->ads) == 0 ? world->ads : NULL;
}

/* --- requests as text ------------------------------------------------------------------------------------------- */

static enum fl_resource_type type_of(const char *word)
{
    for (int type = 0; type < FL_RESOURCE_TYPES; type++)
        if (strcmp(word, fl_resource_type_word((enum fl_resource_type)type)) == 0)
            return (enum fl_resource_type)type;
    return FL_RESOURCE_TYPES;
}

static const char *word_of(const char *type_url)
{
    enum fl_resource_type type = fl_resource_type_of(fl_span_str(type_url));
    return type < FL_RESOURCE_TYPES ? fl_resource_type_word(type) : "?";
}

static void tell_names(struct world *world, const char *mark, char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tell(world, "%s%s", mark, names[i]);
}

static void tell_request(struct world *world, struct fl_span bytes, struct fl_arena *arena)
{
    ProtobufCMessage *message;
    if (world->delta) {
        assert_int_equal(fl_xds_unpack(&envoy__service__discovery__v3__delta_discovery_request__descriptor, bytes,
                                       arena, NULL, &message, NULL),
                         0);
        const Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *request = (void *)message;
        tell(world, "%s{%s", word_of(request->type_url), request->node != NULL ? request->node->id : "");
        tell_names(world, "", request->resource_names_subscribe, request->n_resource_names_subscribe);
        tell_names(world, "-", request->resource_names_unsubscribe, request->n_resource_names_unsubscribe);
        for (size_t i = 0; i < request->n_initial_resource_versions; i++)
            tell(world, "%s@%s", request->initial_resource_versions[i]->key,
                 request->initial_resource_versions[i]->value);
        if (request->response_nonce[0] != '\0')
            tell(world, "%s:%s", request->error_detail != NULL ? "nack" : "ack", request->response_nonce);
        if (request->error_detail != NULL)
            tell(world, "(%s)", request->error_detail->message);
    } else {
        assert_int_equal(fl_xds_unpack(&envoy__service__discovery__v3__discovery_request__descriptor, bytes, arena,
                                       NULL, &message, NULL),
                         0);
        const Envoy__Service__Discovery__V3__DiscoveryRequest *request = (void *)message;
        tell(world, "%s{%s", word_of(request->type_url), request->node != NULL ? request->node->id : "");
        tell_names(world, "", request->resource_names, request->n_resource_names);
        tell(world, "v%s", request->version_info);
        if (request->response_nonce[0] != '\0')
            tell(world, "%s:%s", request->error_detail != NULL ? "nack" : "ack", request->response_nonce);
        if (request->error_detail != NULL)
            tell(world, "(%s)", request->error_detail->message);
    }
    tell(world, "}");
}

static int send_all(struct world *world)
{
    int result = 0;
    for (unsigned rounds = 0; result == 0; rounds++) {
        assert_true(rounds < 20);
        struct fl_buf buf;
        struct fl_arena arena;
        fl_buf_init(&buf, 1 << 20);
        fl_arena_init(&arena, 1 << 20);
        result = proxy_ads_next(world->ads, &buf);
        if (result == 0)
            tell_request(world, fl_buf_span(&buf), &arena);
        fl_arena_done(&arena);
        fl_buf_done(&buf);
    }
    return result;
}

/* --- responses -------------------------------------------------------------------------------------------------- */

/* A cluster by name, whose alt_stat_name is the body. Every type is served with this shape: ads looks at field 1. */
static struct fl_span pack_body(const char *name, const char *body, struct fl_arena *arena)
{
    Envoy__Config__Cluster__V3__Cluster cluster;
    envoy__config__cluster__v3__cluster__init(&cluster);
    struct fl_span bytes = {NULL, 0};
    cluster.name = (char *)(uintptr_t)name;
    cluster.alt_stat_name = (char *)(uintptr_t)body;
    assert_int_equal(fl_xds_pack(&cluster.base, arena, &bytes), 0);
    return bytes;
}

static Google__Protobuf__Any *make_any(const char *type_url, struct fl_span bytes, struct fl_arena *arena)
{
    Google__Protobuf__Any *any = fl_arena_alloc(arena, sizeof(*any));
    google__protobuf__any__init(any);
    any->type_url = (char *)(uintptr_t)type_url;
    any->value = (ProtobufCBinaryData){bytes.len, (uint8_t *)(uintptr_t)bytes.data};
    return any;
}

struct item { /* "name=version[:body][~ttl]", "-name", "name?" (its Any is a listener's), "name#" (garbage inside),
                 "name~ttl" (no body) */
    char text[512], *name, *version, *body;
    unsigned long ttl;
    bool removed, other, garbage;
};

static void read_item(struct item *item, struct fl_span word)
{
    *item = (struct item){.body = item->text + sizeof(item->text) - 1};
    snprintf(item->text, sizeof(item->text) - 1, "%.*s", FL_SPAN_ARG(word));
    item->name = item->text;
    item->removed = item->text[0] == '-';
    char *tilde = strchr(item->text, '~'), *equals = strchr(item->text, '=');
    if (tilde != NULL) {
        *tilde = '\0';
        item->ttl = strtoul(tilde + 1, NULL, 10);
    }
    if (equals != NULL) {
        *equals = '\0';
        item->version = equals + 1;
        char *colon = strchr(item->version, ':');
        if (colon != NULL) {
            *colon = '\0';
            item->body = colon + 1;
        }
    }
    size_t len = strlen(item->name);
    item->other = len > 0 && item->name[len - 1] == '?';
    item->garbage = len > 0 && item->name[len - 1] == '#';
    if (item->other || item->garbage)
        item->name[len - 1] = '\0';
    item->name += item->removed;
}

static Google__Protobuf__Any *any_of(const struct item *item, const char *type_url, struct fl_arena *arena)
{
    struct fl_span bytes = item->garbage ? FL_SPAN("\x0a\x7fx") : pack_body(item->name, item->body, arena);
    return make_any(item->other ? "type.googleapis.com/google.protobuf.Empty" : type_url, bytes, arena);
}

#define ITEMS 32

/* "LDS nonce item…"; "XDS" is a type that does not exist. */
static int receive(struct world *world, const char *text, struct fl_err *err)
{
    struct fl_span rest = fl_span_str(text), part = {NULL, 0};
    char word[8], nonce[16];
    fl_span_split(&rest, ' ', &part);
    snprintf(word, sizeof(word), "%.*s", FL_SPAN_ARG(part));
    fl_span_split(&rest, ' ', &part);
    snprintf(nonce, sizeof(nonce), "%.*s", FL_SPAN_ARG(part));
    enum fl_resource_type type = type_of(word);
    const char *url = type < FL_RESOURCE_TYPES ? fl_resource_type_url(type) : "type.googleapis.com/no.Such";
    struct fl_arena arena;
    struct item items[ITEMS];
    struct fl_span bytes = {NULL, 0};
    size_t count = 0;
    fl_arena_init(&arena, 1 << 20);
    for (; count < ITEMS && fl_span_split(&rest, ' ', &part); count++)
        read_item(&items[count], part);
    Google__Protobuf__Duration durations[ITEMS];
    Envoy__Service__Discovery__V3__Resource resources[ITEMS], *list[ITEMS];
    Google__Protobuf__Any *anys[ITEMS];
    char *removed[ITEMS];
    Envoy__Service__Discovery__V3__DeltaDiscoveryResponse delta;
    envoy__service__discovery__v3__delta_discovery_response__init(&delta);
    Envoy__Service__Discovery__V3__DiscoveryResponse whole;
    envoy__service__discovery__v3__discovery_response__init(&whole);
    delta.resources = list;
    delta.removed_resources = removed;
    whole.resources = anys;
    delta.type_url = whole.type_url = (char *)(uintptr_t)url;
    delta.nonce = whole.nonce = (char *)(uintptr_t)(strcmp(nonce, ".") == 0 ? "" : nonce);
    whole.version_info = whole.nonce;
    for (size_t i = 0; i < count; i++) {
        if (items[i].removed) {
            removed[delta.n_removed_resources++] = items[i].name;
            continue;
        }
        envoy__service__discovery__v3__resource__init(&resources[i]);
        google__protobuf__duration__init(&durations[i]);
        durations[i].seconds = (int64_t)items[i].ttl;
        resources[i].ttl = items[i].ttl > 0 ? &durations[i] : NULL;
        resources[i].name = items[i].name;
        resources[i].version = items[i].version != NULL ? items[i].version : (char *)(uintptr_t) "";
        resources[i].resource = items[i].version != NULL ? any_of(&items[i], url, &arena) : NULL;
        list[delta.n_resources++] = &resources[i];
        anys[whole.n_resources++] = resources[i].resource;
    }
    assert_int_equal(fl_xds_pack(world->delta ? &delta.base : &whole.base, &arena, &bytes), 0);
    int result = proxy_ads_receive(world->ads, bytes, 1000, err);
    fl_arena_done(&arena);
    return result;
}

/* --- scripts ---------------------------------------------------------------------------------------------------- */

static void act(struct world *world, const char *action)
{
    char verb[16], word[8] = "", name[64] = "";
    struct fl_err err = {0};
    sscanf(action, "%15s %7s %63s", verb, word, name);
    enum fl_resource_type type = type_of(word);
    if (strcmp(verb, "all") == 0)
        proxy_ads_want_all(world->ads, type);
    else if (strcmp(verb, "want") == 0)
        assert_int_equal(proxy_ads_want(world->ads, type, fl_span_str(name)), 0);
    else if (strcmp(verb, "unwant") == 0)
        proxy_ads_unwant(world->ads, type, fl_span_str(name), 1000);
    else if (strcmp(verb, "start") == 0)
        proxy_ads_start(world->ads);
    else if (strcmp(verb, "recv") == 0 && receive(world, action + 5, &err) < 0)
        tell(world, "end: %s", err.text);
    else if (strcmp(verb, "expire") == 0)
        proxy_ads_expire(world->ads, strtoull(word, NULL, 10));
    else if (strcmp(verb, "hold") == 0)
        assert_int_equal(proxy_ads_hold(world->ads, &(struct proxy_ads_resource){.type = type,
                                                                                 .name = fl_span_str(name),
                                                                                 .version = FL_SPAN("h"),
                                                                                 .bytes = FL_SPAN("h")}),
                         0);
    assert_int_equal(send_all(world), PROXY_ADS_NOTHING);
}

static void run(bool delta, const struct row *rows, size_t count)
{
    struct world world;
    assert_non_null(make(&world, delta));
    for (size_t i = 0; i < count; i++) {
        world.log[0] = '\0';
        act(&world, rows[i].action);
        if (strcmp(world.log, rows[i].expected) != 0)
            fail_msg("row %zu \"%s\": %s", i, rows[i].action, world.log);
    }
    proxy_ads_free(world.ads);
}

#define RUN(delta, ...)                                                                                                \
    do {                                                                                                               \
        static const struct row rows_[] = {__VA_ARGS__};                                                               \
        run(delta, rows_, FL_COUNT(rows_));                                                                            \
    } while (0)

static void test_delta_wildcard(void **state)
{
    (void)state;
    RUN(true, {"all LDS", "LDS{n }"}, {"all CDS", "CDS{ }"}, {"recv CDS 1 a=1 b=1", "+a=1 +b=1 CDS{ ack:1 }"},
        {"recv CDS 2 a=1 b=2:x", "+b=2 CDS{ ack:2 }"}, /* unchanged bytes are not taken again */
        {"recv CDS 3 -a -unknown", "-a CDS{ ack:3 }"}, {"recv CDS 4", "CDS{ ack:4 }"});
}

static void test_delta_names(void **state)
{
    (void)state;
    RUN(true, {"want EDS a", "EDS{n a }"}, {"want EDS b", "EDS{ b }"}, {"want EDS b", ""},
        {"recv EDS 1 a=1 b=1 stray=1", "+a=1 +b=1 EDS{ ack:1 }"}, {"unwant EDS a", "-a EDS{ -a }"},
        {"recv EDS 2 a=2:x", "EDS{ ack:2 }"}, /* was on its way: passed over */
        {"want EDS a", "EDS{ a }"},           /* asked for anew */
        {"recv EDS 3 a=2:x", "+a=2 EDS{ ack:3 }"}, {"unwant EDS nothing", ""});
}

static void test_delta_refused(void **state)
{
    (void)state;
    RUN(true, {"all CDS", "CDS{n }"}, {"recv CDS 1 a=1 b=1:!", "+a=1 CDS{ nack:1 (b: bad) }"},
        {"recv CDS 2 a=2:!", ""}, /* the old a is still held */
        {"expire 1999", ""}, {"expire 2000", "CDS{ nack:2 (a: bad) }"}, {"start", "-b CDS{n a@1 }"},
        {"recv CDS 3 c=1", "+c=1 CDS{ ack:3 }"},
        {"recv CDS 4 d?=1 e#=1 f=1",
         "+f=1 CDS{ nack:4 (d: is of another type than the response; e: malformed protobuf, or no name (or one longer "
         "than 1024 bytes)) }"},
        {"recv CDS . a=1", "end: a response without a nonce"});
}

static void test_delta_reconnect(void **state)
{
    (void)state;
    RUN(true, {"hold CDS old", ""}, {"all CDS", "CDS{n old@h }"}, {"want EDS e", "EDS{ e }"},
        {"recv EDS 1 e=1", "+e=1 EDS{ ack:1 }"}, {"start", "CDS{n old@h } EDS{ e e@1 }"},
        {"unwant EDS e", "-e EDS{ -e }"}, {"start", "CDS{n old@h }"}, {"recv CDS 2 -old", "-old CDS{ ack:2 }"});
}

static void test_delta_wildcard_and_names(void **state)
{
    (void)state;
    RUN(true, {"want CDS a", "CDS{n a }"}, {"start", "CDS{n a }"}, {"all CDS", ""}, {"start", "CDS{n * a }"},
        {"recv CDS 1 a=1 b=1", "+a=1 +b=1 CDS{ ack:1 }"}, {"unwant CDS a", "CDS{ -a }"});
}

static void test_order(void **state)
{
    (void)state;
    struct world world;
    assert_non_null(make(&world, true));
    static const enum fl_resource_type types[] = {FL_RESOURCE_SECRET, FL_RESOURCE_ROUTES, FL_RESOURCE_LISTENER,
                                                  FL_RESOURCE_ENDPOINTS, FL_RESOURCE_CLUSTER};
    for (size_t i = 0; i < FL_COUNT(types); i++)
        assert_int_equal(proxy_ads_want(world.ads, types[i], FL_SPAN("x")), 0);
    assert_int_equal(send_all(&world), PROXY_ADS_NOTHING);
    assert_string_equal(world.log, "CDS{n x } EDS{ x } LDS{ x } RDS{ x } SDS{ x }");
    proxy_ads_free(world.ads);
}

static void test_collection(void **state)
{
    (void)state;
    RUN(true, {"want LDS outbound|*", "LDS{n outbound|* }"},
        {"recv LDS 1 outbound|1=1 inbound|1=1", "+outbound|1=1 LDS{ ack:1 }"},
        {"want LDS outbound|2", "LDS{ outbound|2 }"}, {"recv LDS 2 outbound|2=1", "+outbound|2=1 LDS{ ack:2 }"},
        {"unwant LDS outbound|2", "-outbound|2 LDS{ -outbound|2 }"},
        {"recv LDS 3 outbound|2=2", "LDS{ ack:3 }"}, /* late */
        {"expire 99999", ""}, {"recv LDS 4 outbound|2=3", "+outbound|2=3 LDS{ ack:4 }"});
}

static void test_ttl(void **state)
{
    (void)state;
    RUN(true, {"want LDS a", "LDS{n a }"}, {"recv LDS 1 a=1~5", "+a=1 LDS{ ack:1 }"}, {"expire 5999", ""},
        {"recv LDS 2 a~9", "LDS{ ack:2 }"}, {"expire 6000", ""}, {"expire 10000", "-a"}, {"expire 20000", ""},
        {"unwant LDS a", "LDS{ -a }"}, {"want LDS a", "LDS{ a }"}, {"recv LDS 3 a=1~5", "+a=1 LDS{ ack:3 }"});
}

/* Given up and wanted again before a message went out: the server must be made to send it again. */
static void test_again(void **state)
{
    (void)state;
    struct world world;
    assert_non_null(make(&world, true));
    act(&world, "want LDS a");
    act(&world, "recv LDS 1 a=1");
    proxy_ads_unwant(world.ads, FL_RESOURCE_LISTENER, FL_SPAN("a"), 0);
    world.log[0] = '\0';
    act(&world, "want LDS a");
    assert_string_equal(world.log, "LDS{ -a } LDS{ a }");
    proxy_ads_free(world.ads);
}

static void test_whole(void **state)
{
    (void)state;
    RUN(false, {"all LDS", "LDS{n v }"}, {"all CDS", "CDS{ v }"}, {"recv CDS 1 a=1 b=1", "+a=1 +b=1 CDS{ v1 ack:1 }"},
        {"recv CDS 2 a=1", "-b CDS{ v2 ack:2 }"}, {"recv CDS 3 a=1:! c=1", "+c=3 CDS{ v2 nack:3 (a: bad) }"},
        {"recv CDS 4 c=1 x#=1", ""}, /* what it was cannot be known: nothing is dropped */
        {"expire 2000",
         "CDS{ v2 nack:4 ((a resource): malformed protobuf, or no name (or one longer than 1024 bytes)) }"},
        {"want EDS e", "EDS{ e v }"}, {"recv EDS 5 e=1 f=1", "+e=5 EDS{ e v5 ack:5 }"},
        {"want EDS g", "EDS{ e g v5 ack:5 }"}, {"recv EDS 6 g=1", "+g=6 EDS{ e g v6 ack:6 }"}, /* e stays */
        {"unwant EDS e", "-e EDS{ g v6 ack:6 }"}, {"start", "CDS{n v2 } EDS{ g v6 } LDS{ v }"});
}

/* What is removed goes first: what comes may have been kept out by it. */
static void test_in_the_way(void **state)
{
    (void)state;
    RUN(true, {"all LDS", "LDS{n }"}, {"recv LDS 1 old=1", "+old=1 LDS{ ack:1 }"},
        {"recv LDS 2 new=1:& -old", "-old +new=1 LDS{ ack:2 }"});
    RUN(false, {"all LDS", "LDS{n v }"}, {"recv LDS 1 old=1", "+old=1 LDS{ v1 ack:1 }"},
        {"recv LDS 2 new=1:&", "-old +new=2 LDS{ v2 ack:2 }"});
}

/* Whoever remembers a refusal is told when the resource is gone, or its like was taken again. */
static void test_refused_is_forgotten(void **state)
{
    (void)state;
    RUN(true, {"all CDS", "CDS{n }"}, {"recv CDS 1 a=1:!", "CDS{ nack:1 (a: bad) }"},
        {"recv CDS 2 -a", "-a CDS{ ack:2 }"}, {"recv CDS 3 -a", "CDS{ ack:3 }"},
        {"recv CDS 4 b=1", "+b=1 CDS{ ack:4 }"}, {"recv CDS 5 b=2:!", "CDS{ nack:5 (b: bad) }"},
        {"recv CDS 6 b=3", "+b=3 CDS{ ack:6 }"}, {"want EDS e", "EDS{ e }"},
        {"recv EDS 7 e=1:!", "EDS{ nack:7 (e: bad) }"}, {"unwant EDS e", "-e EDS{ -e }"});
    RUN(false, {"all CDS", "CDS{n v }"}, {"recv CDS 1 a=1:!", "CDS{ v nack:1 (a: bad) }"},
        {"recv CDS 2", "-a CDS{ v2 ack:2 }"});
}

/* A name that is cut never ends within a character: a NACK that is not UTF-8 could be read by no server. */
static void test_nack_is_utf8(void **state)
{
    (void)state;
    struct world world;
    struct fl_err err = {0};
    struct proxy_ads_info info;
    assert_non_null(make(&world, true));
    act(&world, "all CDS");
    char text[512], long_name[401] = "";
    for (size_t i = 0; i < sizeof(long_name) - 1; i += 2)
        memcpy(long_name + i, "\u00e4", 3);
    snprintf(text, sizeof(text), "CDS 1 x%s=1:!", long_name);
    assert_int_equal(receive(&world, text, &err), 0);
    proxy_ads_describe(world.ads, FL_RESOURCE_CLUSTER, &info);
    assert_true(fl_span_ends_with(info.nack, FL_SPAN("\u00e4: bad")));
    for (struct fl_span rest = info.nack; rest.len > 0;) {
        size_t length = fl_utf8_length(rest);
        assert_true(length > 0);
        rest = fl_span_from(rest, length);
    }
    proxy_ads_free(world.ads);
}

static void test_foreign(void **state)
{
    (void)state;
    RUN(true, {"all CDS", "CDS{n }"}, {"recv RDS 1 a=1", "RDS{ nack:1 (nothing of this type was asked for) }"});
    RUN(false, {"all CDS", "CDS{n v }"}, {"recv RDS 1 a=1", "RDS{ v nack:1 (nothing of this type was asked for) }"});
    struct world world;
    assert_non_null(make(&world, true));
    act(&world, "recv XDS 7");
    assert_int_equal(proxy_ads_foreign(world.ads), 1);
    proxy_ads_free(world.ads);
}

static void test_marks(void **state)
{
    (void)state;
    struct world world;
    assert_non_null(make(&world, true));
    act(&world, "hold EDS stale");
    act(&world, "want EDS a");
    act(&world, "want EDS b");
    world.log[0] = '\0';
    proxy_ads_mark_begin(world.ads, FL_RESOURCE_ENDPOINTS);
    assert_int_equal(proxy_ads_mark(world.ads, FL_RESOURCE_ENDPOINTS, FL_SPAN("b")), 0);
    assert_int_equal(proxy_ads_mark(world.ads, FL_RESOURCE_ENDPOINTS, FL_SPAN("c")), 0);
    proxy_ads_mark_end(world.ads, FL_RESOURCE_ENDPOINTS, 0);
    assert_int_equal(send_all(&world), PROXY_ADS_NOTHING);
    assert_string_equal(world.log, "-stale EDS{ c -a }");
    assert_true(proxy_ads_wants(world.ads, FL_RESOURCE_ENDPOINTS, FL_SPAN("c")));
    assert_false(proxy_ads_wants(world.ads, FL_RESOURCE_ENDPOINTS, FL_SPAN("a")));
    proxy_ads_free(world.ads);
}

static void test_limits(void **state)
{
    (void)state;
    struct world world;
    struct fl_err err = {0};
    char *text = malloc(PROXY_ADS_NAME_MAX + 1);
    assert_non_null(text);
    memset(text, 'x', PROXY_ADS_NAME_MAX + 1);
    assert_non_null(make(&world, true));
    assert_int_equal(proxy_ads_want(world.ads, FL_RESOURCE_ROUTES, fl_span_make(text, PROXY_ADS_NAME_MAX + 1)),
                     -ENAMETOOLONG);
    proxy_ads_want_all(world.ads, FL_RESOURCE_CLUSTER);
    assert_int_equal(send_all(&world), PROXY_ADS_NOTHING);
    assert_int_equal(proxy_ads_receive(world.ads, fl_span_make(text, 100), 0, &err), -EBADMSG);
    assert_int_equal(proxy_ads_receive(world.ads, fl_span_make(text, PROXY_ADS_MESSAGE_MAX + 1), 0, &err), -EBADMSG);
    char many[512] = "CDS 1";
    for (int i = 0; i < 10; i++)
        snprintf(many + strlen(many), sizeof(many) - strlen(many), " a%d=1:!", i);
    assert_int_equal(receive(&world, many, &err), 0);
    struct proxy_ads_info info;
    proxy_ads_describe(world.ads, FL_RESOURCE_CLUSTER, &info);
    assert_true(fl_span_ends_with(info.nack, FL_SPAN("; and 2 more")));
    assert_int_equal(info.nacks, 1);
    assert_int_equal(info.held, 0);
    proxy_ads_free(world.ads);
    free(text);
}

/* Out of memory anywhere: an error, a NACK, or a request that comes later; never a state in between. */
static void test_memory(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct world world;
        struct fl_err err;
        if (make(&world, true) != NULL) {
            proxy_ads_want_all(world.ads, FL_RESOURCE_CLUSTER);
            (void)!proxy_ads_want(world.ads, FL_RESOURCE_ENDPOINTS, FL_SPAN("e"));
            struct fl_buf buf;
            fl_buf_init(&buf, 1 << 20);
            while (proxy_ads_next(world.ads, &buf) == 0) {
            }
            /* "a", version "1", in a CDS response with nonce "1" */
            static const char response[] =
                "\x22\x33type.googleapis.com/envoy.config.cluster.v3.Cluster\x2a\x01"
                "1\x12\x41\x0a\x01"
                "1\x12\x39\x0a\x33type.googleapis.com/envoy.config.cluster.v3.Cluster\x12\x02"
                "\x0a\x00\x1a\x01"
                "a";
            (void)!proxy_ads_receive(world.ads, fl_span_make(response, sizeof(response) - 1), 1, &err);
            while (proxy_ads_next(world.ads, &buf) == 0) {
            }
            fail_stop();
            fl_buf_clear(&buf);
            while (proxy_ads_next(world.ads, &buf) == 0) { /* nothing was lost: it goes out now */
            }
            fl_buf_done(&buf);
            proxy_ads_free(world.ads);
        }
        fail_stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delta_wildcard),
        cmocka_unit_test(test_delta_names),
        cmocka_unit_test(test_delta_refused),
        cmocka_unit_test(test_delta_reconnect),
        cmocka_unit_test(test_delta_wildcard_and_names),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_collection),
        cmocka_unit_test(test_ttl),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_in_the_way),
        cmocka_unit_test(test_refused_is_forgotten),
        cmocka_unit_test(test_nack_is_utf8),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
