/* For the fuzzers of HTTP/2: one session with users of its streams, what they hear as a hash, and the behaviour of all
 * as the input's first byte says. What is heard must not depend on how the bytes were cut. */
#ifndef TESTS_FUZZ_PROXY_H2_USER_H
#define TESTS_FUZZ_PROXY_H2_USER_H

#include "proxy/http/h2.h"

#include <assert.h>
#include <stdlib.h>

enum { ECHO = 1, CLOSES = 2, PAUSES = 4, REFUSES = 8, HOLDS = 16, DRAINS = 32, BARE = 64, SMALL = 128 };

struct world;

struct user {
    struct world *world;
    struct proxy_stream *stream;
    struct user *next;
    uint64_t heard;
    bool dead, ended, sent;
};

struct world {
    struct proxy_h2 *h2;
    struct user *users;
    unsigned options, count;
    uint64_t heard; /* of all users */
    uint64_t sent;
    enum proxy_h2_error error;
    bool over, told;
};

static struct proxy_pool pool;
static struct proxy_message message, answer;
static struct proxy_headers trailers;

static void hear(struct user *user, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        user->heard = (user->heard ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
}

static void hear_fields(struct user *user, const struct proxy_headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        const struct proxy_header *field = &headers->list[i];
        assert(field->id < PROXY_HEADER_IDS && field->name.len > 0);
        if (field->removed || fl_span_eq(field->name, FL_SPAN("sec-websocket-key"))) /* drawn by lot */
            continue;
        hear(user, field->name.data, field->name.len);
        hear(user, field->value.data, field->value.len);
    }
}

static void close_user(struct user *user)
{
    user->dead = true;
    proxy_stream_close(user->stream, PROXY_RESET_CANCELLED);
}

static void on_open(void *owner)
{
    (void)owner;
}

static void on_head(void *owner, struct proxy_message *head, bool end)
{
    struct user *user = owner;
    assert(!user->dead && !user->ended);
    user->ended = end;
    hear_fields(user, &head->headers);
    hear(user, &head->status, sizeof(head->status));
    hear(user, head->path.data, head->path.len);
    if ((user->world->options & PAUSES) != 0)
        proxy_stream_pause(user->stream);
    if ((user->world->options & ECHO) != 0 && head->status == 0) {
        bool upgrade = head->upgrade;
        proxy_message_init(&answer);
        answer.status = upgrade ? 101 : 200;
        answer.upgrade = upgrade;
        answer.framing = PROXY_FRAMING_CHUNKED;
        user->sent = end;
        proxy_stream_send_head(user->stream, &answer, end);
    }
    if ((user->world->options & CLOSES) != 0 && !user->dead)
        close_user(user);
}

static void on_data(void *owner, struct fl_span data)
{
    struct user *user = owner;
    assert(!user->dead && !user->ended && data.len > 0);
    hear(user, data.data, data.len);
    if ((user->world->options & ECHO) != 0)
        proxy_stream_send_data(user->stream, data);
}

static void on_end(void *owner, struct proxy_headers *fields)
{
    struct user *user = owner;
    assert(!user->dead && !user->ended);
    user->ended = true;
    if (fields != NULL)
        hear_fields(user, fields);
    hear(user, "end", 3);
    if ((user->world->options & ECHO) != 0)
        proxy_stream_send_end(user->stream, fields);
    if (!user->dead && (user->world->options & CLOSES) != 0)
        close_user(user);
}

static void on_writable(void *owner)
{
    assert(!((struct user *)owner)->dead);
}

static void on_reset(void *owner, enum proxy_reset why)
{
    struct user *user = owner;
    assert(!user->dead);
    user->dead = true;
    hear(user, &why, sizeof(why));
    const char *error = proxy_stream_error(user->stream);
    hear(user, error, strlen(error));
}

static const struct proxy_stream_events events = {on_open, on_head, on_data, on_end, on_writable, on_reset};

static struct user *add_user(struct world *world)
{
    struct user *user = calloc(1, sizeof(*user));
    if (user == NULL)
        abort();
    user->world = world;
    user->next = world->users;
    world->users = user;
    world->count++;
    return user;
}

static void on_send(void *owner, struct fl_span bytes)
{
    struct world *world = owner;
    assert(!world->over && bytes.len > 0);
    world->sent += bytes.len;
}

static bool on_stream(void *owner, struct proxy_stream *stream)
{
    struct world *world = owner;
    if ((world->options & REFUSES) != 0)
        return false;
    struct user *user = add_user(world);
    user->stream = stream;
    stream->events = &events;
    stream->user = user;
    return true;
}

static void on_room(void *owner)
{
    assert(!((struct world *)owner)->over);
}

static void on_over(void *owner, enum proxy_h2_error error)
{
    struct world *world = owner;
    assert(!world->over);
    world->over = true;
    world->error = error;
}

static const struct proxy_h2_owner owner_ops = {on_send, on_stream, on_room, on_room, on_over, NULL};

static void world_init(struct world *world, bool server, unsigned options)
{
    *world = (struct world){.options = options};
    struct proxy_h2_options session = {
        .server = server, .pool = &pool, .message = &message, .trailers = &trailers, .ops = &owner_ops, .owner = world};
    session.settings.bare_authority = (options & BARE) != 0;
    if ((options & SMALL) != 0) {
        session.settings.max_streams = 2;
        session.settings.head_max = 256;
        session.settings.headers_max = 4;
        session.settings.reset_burst = 3;
    }
    if (proxy_h2_new(&session, 1, &world->h2) < 0)
        abort();
    if ((options & HOLDS) != 0)
        proxy_h2_hold(world->h2);
}

static void world_feed(struct world *world, struct fl_span bytes, size_t split)
{
    for (size_t at = 0; at < bytes.len; at += split) {
        size_t part = bytes.len - at < split ? bytes.len - at : split;
        char *copy = malloc(part);
        if (copy == NULL)
            abort();
        memcpy(copy, bytes.data + at, part);
        proxy_h2_feed(world->h2, fl_span_make(copy, part), 1);
        free(copy);
    }
    if ((world->options & HOLDS) != 0)
        proxy_h2_release(world->h2);
    if ((world->options & DRAINS) != 0)
        proxy_h2_drain(world->h2, true);
}

static void world_done(struct world *world)
{
    if (world->h2 != NULL)
        proxy_h2_end(world->h2, PROXY_RESET_EOF, "closed");
    world->h2 = proxy_h2_free(world->h2);
    while (world->users != NULL) {
        struct user *user = world->users;
        assert(user->dead);
        world->heard += user->heard; /* streams may be told in another order */
        world->users = user->next;
        free(user);
    }
    proxy_pool_done(&pool);
}

#endif
