#include "tests/unit/common/tls_pair.h"

#include "tests/support/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define QUEUE_MAX (8u << 20)

static int on_send(void *owner, struct fl_span bytes)
{
    struct tls_end *end = owner;
    return end->fail_send < 0 ? end->fail_send : fl_buf_append(&end->out, bytes);
}

static int on_receive(void *owner, struct fl_span bytes)
{
    struct tls_end *end = owner;
    assert_true(bytes.len > 0 && bytes.len <= 16384);
    end->receives++;
    if (end->fail_receive < 0)
        return end->fail_receive;
    if (end->echo)
        assert_int_equal(fl_tls_write(end->tls, bytes), end->fail_send);
    return fl_buf_append(&end->received, bytes);
}

static int on_opened(void *owner)
{
    struct tls_end *end = owner;
    end->opened++;
    end->received_at_open = end->received.len;
    assert_int_equal(fl_tls_state(end->tls), FL_TLS_OPEN);
    return 0;
}

static void end_init(struct tls_end *end, struct fl_tls_context *context)
{
    const struct fl_tls_sinks sinks = {.send = on_send, .receive = on_receive, .opened = on_opened, .owner = end};
    *end = (struct tls_end){0};
    fl_buf_init(&end->out, QUEUE_MAX);
    fl_buf_init(&end->received, QUEUE_MAX);
    assert_int_equal(fl_tls_new(context, &sinks, &end->tls), 0);
}

static void end_done(struct tls_end *end)
{
    fl_tls_free(end->tls);
    fl_buf_done(&end->out);
    fl_buf_done(&end->received);
}

void tls_pair_init(struct tls_pair *pair, struct fl_tls_context *client, struct fl_tls_context *server)
{
    end_init(&pair->client, client);
    end_init(&pair->server, server);
}

void tls_pair_done(struct tls_pair *pair)
{
    end_done(&pair->client);
    end_done(&pair->server);
}

bool tls_pair_move(struct tls_end *from, struct tls_end *to, size_t piece)
{
    bool moved = from->out.len > 0;
    while (from->out.len > 0) {
        size_t size = from->out.len < piece ? from->out.len : piece;
        struct guard guard;
        guard_init(&guard, fl_span_make(from->out.data, size));
        fl_buf_consume(&from->out, size);
        to->result = fl_tls_feed(to->tls, guard.span);
        guard_done(&guard);
    }
    return moved;
}

void tls_pair_settle(struct tls_pair *pair, size_t piece)
{
    bool moved = true;
    while (moved) {
        moved = tls_pair_move(&pair->client, &pair->server, piece);
        moved = tls_pair_move(&pair->server, &pair->client, piece) || moved;
    }
}

void tls_pair_run(struct tls_pair *pair, size_t piece)
{
    pair->client.result = fl_tls_start(pair->client.tls);
    assert_int_equal(fl_tls_start(pair->server.tls), 0);
    tls_pair_settle(pair, piece);
}
