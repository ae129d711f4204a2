#include "tests/unit/common/grpc_world.h"

#include "common/tls/context.h"
#include "tests/support/emulation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

struct end { /* the server's side of a stream */
    struct grpc_world *world;
    struct fl_grpc_stream *stream;
    size_t left; /* of a source */
};

static void on_closed(void *owner)
{
    struct end *end = owner;
    end->world->closed++;
    if (end->world->last == end->stream)
        end->world->last = NULL;
    void (*more)(void *owner) = fl_take(end->world->on_closed);
    free(end);
    if (more != NULL)
        more(NULL);
}

static void echo_message(void *owner, struct fl_span message)
{
    struct end *end = owner;
    if (fl_grpc_stream_send(end->stream, message) < 0)
        fl_grpc_stream_finish(end->stream, FL_GRPC_RESOURCE_EXHAUSTED, "the echo is full");
}

static void finish_ok(void *owner)
{
    struct end *end = owner;
    fl_grpc_stream_finish(end->stream, FL_GRPC_OK, NULL);
}

static void reply(void *owner, struct fl_span message)
{
    struct end *end = owner;
    fl_grpc_stream_reply(end->stream, message);
}

static void pour(void *owner)
{
    struct end *end = owner;
    char *message = calloc(1, end->world->source_size + 1);
    int result = message != NULL ? 0 : -1;
    while (end->left > 0 && result == 0) {
        message[0] = (char)('0' + end->left % 10);
        result = fl_grpc_stream_send(end->stream, fl_span_make(message, end->world->source_size));
        if (result == 0)
            end->left--;
    }
    free(message);
    if (end->left == 0)
        fl_grpc_stream_finish(end->stream, FL_GRPC_OK, "that was all");
}

static const struct fl_grpc_stream_ops echo_ops = {
    .on_message = echo_message, .on_half_close = finish_ok, .on_closed = on_closed};
static const struct fl_grpc_stream_ops unary_ops = {.on_message = reply, .on_closed = on_closed};
static const struct fl_grpc_stream_ops source_ops = {
    .on_half_close = pour, .on_writable = pour, .on_closed = on_closed};
static const struct fl_grpc_stream_ops silent_ops = {.on_closed = on_closed};

static struct grpc_world *here; /* methods have one context a table, the table is const */

static void accept_with(struct fl_grpc_stream *stream, const struct fl_grpc_stream_ops *ops)
{
    struct end *end = calloc(1, sizeof(*end));
    if (end == NULL) {
        fl_grpc_stream_finish(stream, FL_GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    *end = (struct end){.world = here, .stream = stream, .left = here->source_count};
    here->opened++;
    here->last = stream;
    snprintf(here->identity, sizeof(here->identity), "%.*s", FL_SPAN_ARG(fl_grpc_stream_identity(stream)));
    here->plaintext = fl_grpc_stream_is_plaintext(stream);
    fl_grpc_stream_accept(stream, ops, end);
}

static void open_echo(void *context, struct fl_grpc_stream *stream)
{
    (void)context;
    accept_with(stream, &echo_ops);
}

static void open_unary(void *context, struct fl_grpc_stream *stream)
{
    (void)context;
    accept_with(stream, &unary_ops);
}

static void open_silent(void *context, struct fl_grpc_stream *stream)
{
    (void)context;
    accept_with(stream, &silent_ops);
}

static void open_source(void *context, struct fl_grpc_stream *stream)
{
    (void)context;
    accept_with(stream, &source_ops);
}

static void open_guard(void *context, struct fl_grpc_stream *stream)
{
    (void)context;
    if (fl_span_eq_str(fl_grpc_stream_metadata(stream, "authorization"), "Bearer me"))
        accept_with(stream, &echo_ops);
    else
        fl_grpc_stream_finish(stream, FL_GRPC_UNAUTHENTICATED, "who are you?");
}

static void open_nobody(void *context, struct fl_grpc_stream *stream)
{
    (void)context, (void)stream;
}

static const struct fl_grpc_method methods[] = {
    {.path = "/t.S/Echo", .open = open_echo},
    {.path = "/t.S/Unary", .open = open_unary, .unary = true},
    {.path = "/t.S/Later", .open = open_silent, .unary = true},
    {.path = "/t.S/Guard", .open = open_guard},
    {.path = "/t.S/Source", .open = open_source},
    {.path = "/t.S/Silent", .open = open_silent},
    {.path = "/t.S/Nobody", .open = open_nobody},
};

static void on_refused(void *owner, enum fl_grpc_refusal refusal, const struct fl_grpc_address *peer, const char *text)
{
    struct grpc_world *world = owner;
    (void)peer;
    world->refused[refusal]++;
    snprintf(world->refusal, sizeof(world->refusal), "%s", text);
}

static void on_drained(void *owner)
{
    struct grpc_world *world = owner;
    world->drained = true;
}

static void on_connected(void *owner)
{
    struct grpc_world *world = owner;
    world->connected++;
}

static void on_lost(void *owner, const struct fl_err *reason)
{
    struct grpc_world *world = owner;
    world->lost++;
    world->reason = *reason;
}

static const struct fl_grpc_client_ops client_ops = {.on_connected = on_connected, .on_lost = on_lost};

static void open_server(struct grpc_world *world, const struct fl_grpc_server_options *given)
{
    struct fl_grpc_server_options options = given != NULL ? *given : (struct fl_grpc_server_options){0};
    struct fl_err err = {0};
    struct fl_grpc_address any;
    options.methods = methods;
    options.method_count = FL_COUNT(methods);
    options.on_refused = on_refused;
    options.on_drained = on_drained;
    options.owner = world;
    options.tls = world->server_tls;
    assert_int_equal(fl_grpc_address_parse(FL_SPAN("127.0.0.1:0"), &any), 0);
    assert_int_equal(fl_grpc_server_new(world->loop, &options, &world->server, &err), 0);
    if (fl_grpc_server_listen(world->server, &any, world->server_tls != NULL, &world->address, &err) < 0)
        fail_msg("%s", err.text);
}

void grpc_world_init(struct grpc_world *world, const struct fl_grpc_server_options *server,
                     const struct fl_grpc_client_options *client)
{
    struct fl_grpc_client_options options = client != NULL ? *client : (struct fl_grpc_client_options){0};
    here = world;
    assert_int_equal(fl_loop_new(&world->loop), 0);
    open_server(world, server);
    if (options.addresses == NULL) {
        options.addresses = &world->address;
        options.address_count = 1;
    }
    options.tls = world->client_tls;
    options.authority = FL_SPAN("server.test");
    assert_int_equal(fl_grpc_client_new(world->loop, &options, &client_ops, world, &world->client, NULL), 0);
}

void grpc_world_done(struct grpc_world *world)
{
    world->client = fl_grpc_client_free(world->client);
    world->server = fl_grpc_server_free(world->server);
    assert_int_equal(world->opened, world->closed);
    world->loop = fl_loop_free(world->loop);
    world->client_tls = fl_tls_context_unref(world->client_tls);
    world->server_tls = fl_tls_context_unref(world->server_tls);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void grpc_world_until(struct grpc_world *world, const unsigned *counter, unsigned value)
{
    uint64_t end = now_ms() + 10000 * emulation_patience();
    while (*counter < value) {
        if (now_ms() > end)
            fail_msg("nothing happens any more (lost: %u, %s; refused: %s)", world->lost, world->reason.text,
                     world->refusal);
        assert_int_equal(fl_loop_turn(world->loop, 100), 0);
    }
}

void grpc_world_turns(struct grpc_world *world, unsigned count)
{
    while (count-- > 0)
        assert_int_equal(fl_loop_turn(world->loop, 1), 0);
}

void grpc_world_pass(struct grpc_world *world, unsigned ms)
{
    for (uint64_t end = now_ms() + ms; now_ms() < end;)
        assert_int_equal(fl_loop_turn(world->loop, 5), 0);
}

void grpc_world_connect(struct grpc_world *world)
{
    unsigned before = world->connected;
    assert_int_equal(fl_grpc_client_connect(world->client), 0);
    grpc_world_until(world, &world->connected, before + 1);
}

void grpc_world_answer(struct grpc_world *world, struct fl_span message)
{
    assert_non_null(world->last);
    fl_grpc_stream_reply(world->last, message);
}

int grpc_world_start(struct grpc_world *world, const char *path, struct grpc_ear *ear, struct fl_grpc_call **ret_call)
{
    const struct fl_grpc_call_options options = {.path = fl_span_str(path)};
    return fl_grpc_call_start(world->client, &options, &grpc_ear_ops, ear, ret_call);
}

/* Ears. */

void grpc_ear_init(struct grpc_ear *ear)
{
    *ear = (struct grpc_ear){0};
    fl_buf_init(&ear->messages, 16u << 20);
}

void grpc_ear_done(struct grpc_ear *ear)
{
    fl_buf_done(&ear->messages);
}

static void hear_message(void *owner, struct fl_span message)
{
    struct grpc_ear *ear = owner;
    ear->count++;
    ear->bytes += message.len;
    if (ear->quiet)
        return;
    assert_int_equal(fl_buf_append(&ear->messages, message), 0);
    assert_int_equal(fl_buf_append_byte(&ear->messages, '|'), 0);
}

static void hear_end(void *owner, enum fl_grpc_status status, struct fl_span text)
{
    struct grpc_ear *ear = owner;
    ear->ends++;
    ear->status = status;
    snprintf(ear->text, sizeof(ear->text), "%.*s", FL_SPAN_ARG(text));
}

static void hear_writable(void *owner)
{
    struct grpc_ear *ear = owner;
    ear->writables++;
}

const struct fl_grpc_call_ops grpc_ear_ops = {
    .on_message = hear_message, .on_end = hear_end, .on_writable = hear_writable};

void grpc_ear_reply(void *owner, enum fl_grpc_status status, struct fl_span text, struct fl_span message)
{
    if (status == FL_GRPC_OK)
        hear_message(owner, message);
    hear_end(owner, status, text);
}
