#include "proxy/dns/stream.h"

#include <errno.h>
#include <sys/socket.h>

#define READ_SIZE 4096u

struct proxy_dns_stream {
    struct fl_source source;
    struct fl_hook hook; /* at the turn's end: what came is asked, what is to go is sent */
    struct fl_timer timer;
    struct fl_deferred deferred;
    struct proxy_dns_streams *streams;
    struct proxy_dns_stream *next, **link;
    int fd;
    uint32_t interest;
    unsigned pending;     /* queries under way */
    bool ended;           /* the client sends no more */
    bool failed;          /* it does not take what it asks for: closed at the turn's end */
    uint64_t query_ms;    /* since when a query is coming in */
    uint64_t progress_ms; /* when the client did something */
    struct fl_buf in, out;
};

static uint64_t now_of(const struct proxy_dns_stream *stream)
{
    return fl_loop_now_ms(stream->streams->resolver->loop);
}

static void free_stream(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct proxy_dns_stream, deferred));
}

static void close_stream(struct proxy_dns_stream *stream)
{
    struct proxy_dns_streams *streams = stream->streams;
    if (stream->pending > 0)
        proxy_dns_resolver_forget(streams->resolver, stream);
    fl_timer_cancel(&stream->timer);
    fl_hook_disarm(&stream->hook);
    fl_source_remove(&stream->source);
    close(stream->fd);
    *stream->link = stream->next;
    if (stream->next != NULL)
        stream->next->link = stream->link;
    streams->held -= stream->out.len;
    streams->count--;
    fl_gauge_add(streams->resolver->stats->connections, -1);
    fl_buf_done(&stream->in);
    fl_buf_done(&stream->out);
    fl_loop_defer(streams->resolver->loop, &stream->deferred, free_stream);
}

/* --- time ------------------------------------------------------------------------------------------------------- */

static uint64_t deadline(const struct proxy_dns_stream *stream)
{
    if (stream->out.len > 0)
        return stream->progress_ms + PROXY_DNS_STREAM_SLOW_MS;
    if (stream->pending > 0)
        return UINT64_MAX; /* it waits for us */
    return stream->in.len > 0 ? stream->query_ms + PROXY_DNS_STREAM_SLOW_MS
                              : stream->progress_ms + PROXY_DNS_STREAM_IDLE_MS;
}

/* A timer is never moved by bytes: it looks every second at most. */
static void on_due(struct fl_timer *timer)
{
    struct proxy_dns_stream *stream = FL_CONTAINER_OF(timer, struct proxy_dns_stream, timer);
    if (now_of(stream) >= deadline(stream))
        close_stream(stream);
    else
        fl_timer_set(stream->streams->resolver->loop, timer, 1000, on_due);
}

/* --- out -------------------------------------------------------------------------------------------------------- */

/* It does not take what it asks for: what waits for it goes now, and it at the turn's end. */
static void fail(struct proxy_dns_stream *stream)
{
    stream->failed = true;
    stream->streams->held -= stream->out.len;
    fl_buf_done(&stream->out);
    fl_hook_arm(stream->streams->resolver->loop, &stream->hook);
}

/* In all: whoever has the most waiting makes room for others. */
static void make_space(struct proxy_dns_stream *stream, size_t size)
{
    struct proxy_dns_streams *streams = stream->streams;
    while (streams->held + size > PROXY_DNS_STREAM_HELD_MAX) {
        struct proxy_dns_stream *most = stream;
        for (struct proxy_dns_stream *other = streams->first; other != NULL; other = other->next)
            most = other->out.len > most->out.len ? other : most;
        fail(most);
    }
}

static void reply(const struct proxy_dns_from *from, const char *packet, size_t len)
{
    struct proxy_dns_stream *stream = from->owner;
    struct proxy_dns_streams *streams = stream->streams;
    const char length[2] = {(char)(len >> 8), (char)len};
    stream->pending--;
    fl_hook_arm(streams->resolver->loop, &stream->hook);
    if (stream->out.len == 0)
        stream->progress_ms = now_of(stream);
    make_space(stream, len + 2);
    if (stream->failed)
        return;
    if (fl_buf_reserve(&stream->out, len + 2) < 0) {
        fail(stream);
        return;
    }
    (void)!fl_buf_append(&stream->out, fl_span_make(length, sizeof(length)));
    (void)!fl_buf_append(&stream->out, fl_span_make(packet, len));
    streams->held += len + 2;
}

/* False where the connection is over. */
static bool flush(struct proxy_dns_stream *stream)
{
    while (stream->out.len > 0) {
        ssize_t size = send(stream->fd, stream->out.data, stream->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (size < 0)
            return errno == EAGAIN || errno == EINTR;
        fl_buf_consume(&stream->out, (size_t)size);
        stream->streams->held -= (size_t)size;
        stream->progress_ms = now_of(stream);
    }
    fl_buf_done(&stream->out); /* memory goes back between answers */
    fl_buf_init(&stream->out, PROXY_DNS_STREAM_OUT_MAX);
    return true;
}

/* --- in --------------------------------------------------------------------------------------------------------- */

static bool takes_more(const struct proxy_dns_stream *stream)
{
    return !stream->failed && stream->pending < PROXY_DNS_STREAM_PENDING &&
           stream->out.len < PROXY_DNS_STREAM_OUT_MAX / 2;
}

/* The next whole query. 1: asked; 0: there is none; -1: the connection is over. */
static int ask_next(struct proxy_dns_stream *stream)
{
    const struct fl_buf *in = &stream->in;
    if (in->len < 2)
        return 0;
    size_t len = (size_t)((uint8_t)in->data[0] << 8 | (uint8_t)in->data[1]);
    if (len < PROXY_DNS_HEADER_SIZE || len > PROXY_DNS_STREAM_QUERY)
        return -1;
    if (in->len < len + 2)
        return 0;
    const struct proxy_dns_from from = {.reply = reply, .owner = stream, .tcp = true};
    stream->pending++;
    bool query = proxy_dns_resolver_ask(stream->streams->resolver, fl_span_make(in->data + 2, len), &from);
    fl_buf_consume(&stream->in, len + 2);
    stream->query_ms = now_of(stream); /* of what is behind it */
    if (query)
        return 1;
    stream->pending--;
    return -1;
}

static bool update_interest(struct proxy_dns_stream *stream)
{
    bool reads = !stream->ended && takes_more(stream) && stream->in.len < stream->in.max;
    uint32_t interest = (reads ? (uint32_t)EPOLLIN : 0u) | (stream->out.len > 0 ? (uint32_t)EPOLLOUT : 0u);
    if (interest == stream->interest)
        return true;
    stream->interest = interest;
    return fl_source_modify(&stream->source, interest) == 0;
}

static void at_turns_end(struct fl_hook *hook)
{
    struct proxy_dns_stream *stream = FL_CONTAINER_OF(hook, struct proxy_dns_stream, hook);
    int asked = 1;
    while (asked == 1 && takes_more(stream))
        asked = ask_next(stream);
    bool over = asked < 0 || stream->failed || !flush(stream);
    if (stream->ended && stream->pending == 0 && stream->out.len == 0)
        over = true;
    if (over || !update_interest(stream))
        close_stream(stream);
}

static void on_event(struct fl_source *source, uint32_t events)
{
    struct proxy_dns_stream *stream = FL_CONTAINER_OF(source, struct proxy_dns_stream, source);
    char bytes[READ_SIZE];
    if ((events & (EPOLLERR | EPOLLHUP)) != 0 && (events & EPOLLIN) == 0) {
        close_stream(stream);
        return;
    }
    if ((events & EPOLLIN) != 0) {
        size_t room = stream->in.max - stream->in.len;
        ssize_t size = recv(stream->fd, bytes, room < sizeof(bytes) ? room : sizeof(bytes), MSG_DONTWAIT);
        if ((size < 0 && errno != EAGAIN && errno != EINTR) ||
            (size > 0 && fl_buf_append(&stream->in, fl_span_make(bytes, (size_t)size)) < 0)) {
            close_stream(stream);
            return;
        }
        if (size > 0) {
            stream->progress_ms = now_of(stream);
            if (stream->in.len == (size_t)size)
                stream->query_ms = stream->progress_ms;
        }
        stream->ended = stream->ended || size == 0;
    }
    fl_hook_arm(stream->streams->resolver->loop, &stream->hook);
}

/* --- connections ------------------------------------------------------------------------------------------------ */

static void make_room(struct proxy_dns_streams *streams)
{
    struct proxy_dns_stream *quiet = streams->first;
    for (struct proxy_dns_stream *stream = streams->first; stream != NULL; stream = stream->next) {
        if (stream->progress_ms < quiet->progress_ms)
            quiet = stream;
    }
    if (streams->count >= PROXY_DNS_STREAMS_MAX)
        close_stream(quiet);
}

static void on_accept(struct proxy_listen *listen, int fd, const struct proxy_address *peer)
{
    struct proxy_dns_streams *streams = listen->owner;
    struct fl_loop *loop = streams->resolver->loop;
    FL_CLEANUP(fl_cleanup_close) int owned = fd;
    (void)peer;
    make_room(streams);
    FL_CLEANUP(fl_cleanup_free) struct proxy_dns_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL || fl_source_add(loop, &stream->source, fd, EPOLLIN, on_event) < 0)
        return;
    stream->fd = fl_take_fd(owned);
    stream->interest = EPOLLIN;
    stream->streams = streams;
    stream->hook.run = at_turns_end;
    fl_buf_init(&stream->in, 2 + PROXY_DNS_STREAM_QUERY);
    fl_buf_init(&stream->out, PROXY_DNS_STREAM_OUT_MAX);
    stream->progress_ms = now_of(stream);
    fl_timer_set(loop, &stream->timer, 1000, on_due);
    stream->next = streams->first;
    stream->link = &streams->first;
    if (stream->next != NULL)
        stream->next->link = &stream->next;
    streams->count++;
    fl_gauge_add(streams->resolver->stats->connections, 1);
    streams->first = fl_take(stream);
}

static void on_failure(struct proxy_listen *listen, int error)
{
    (void)listen;
    (void)error; /* out of descriptors or memory: accepting pauses, and the client comes again */
}

int proxy_dns_streams_open(struct proxy_dns_streams *streams, struct proxy_dns_resolver *resolver,
                           const struct proxy_address *address, struct proxy_inherited *inherited, struct fl_err *err)
{
    const struct proxy_socket_options options = {.address = *address, .backlog = 128, .inherited = inherited};
    *streams = (struct proxy_dns_streams){.fd = -1, .resolver = resolver};
    streams->turn.loop = resolver->loop;
    int result = proxy_socket_listen(&options, &streams->fd, err);
    if (result < 0)
        return result;
    streams->listen = (struct proxy_listen){
        .turn = &streams->turn, .on_accept = on_accept, .on_failure = on_failure, .owner = streams};
    result = proxy_listen_start(&streams->listen, streams->fd);
    return result < 0 ? fl_err_errno(err, result, "DNS by TCP") : 0;
}

void proxy_dns_streams_close(struct proxy_dns_streams *streams)
{
    if (streams->resolver == NULL)
        return;
    while (streams->first != NULL)
        close_stream(streams->first);
    proxy_listen_stop(&streams->listen);
    if (streams->fd >= 0)
        close(streams->fd);
    *streams = (struct proxy_dns_streams){.fd = -1};
}
