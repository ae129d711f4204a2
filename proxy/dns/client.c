#include "proxy/dns/client.h"

#include "common/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>

#define END_MAX_MS 9000
#define GAP_MAX_MS 1000
#define TELL_MS    20000

/* --- the file --------------------------------------------------------------------------------------------------- */

static void tell_servers(const struct proxy_dns_client *client)
{
    char text[PROXY_RESOLVCONF_SERVERS * PROXY_ADDRESS_TEXT_MAX];
    size_t len = 0;
    for (size_t i = 0; i < client->servers.conf.count; i++) {
        char address[PROXY_ADDRESS_TEXT_MAX];
        proxy_address_print(&client->servers.conf.servers[i], address);
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i > 0 ? " " : "", address);
    }
    fl_log(FL_LOG_INFO, "DNS servers", FL_LOG_STR("file", client->file.path), FL_LOG_STR("servers", text));
}

static bool take_file(struct proxy_dns_client *client)
{
    struct proxy_resolvconf conf;
    proxy_resolvconf_parse(fl_buf_span(&client->file.text), &conf);
    if (proxy_resolvconf_eq(&conf, &client->servers.conf))
        return false;
    proxy_dns_servers_set(&client->servers, &conf);
    tell_servers(client);
    return true;
}

bool proxy_dns_client_look(struct proxy_dns_client *client)
{
    uint64_t now = fl_loop_now_ms(client->loop);
    struct fl_err err;
    if (now < client->looked_ms + PROXY_DNS_LOOK_MS)
        return false;
    client->looked_ms = now;
    int result = fl_reread_look(&client->file, false, &err);
    return result == 1 && take_file(client); /* one that cannot be read is no news: the servers stay */
}

int proxy_dns_client_init(struct proxy_dns_client *client, struct fl_loop *loop, struct proxy_dns_stats *stats,
                          const char *resolv_conf)
{
    struct fl_err err;
    *client = (struct proxy_dns_client){.loop = loop, .stats = stats};
    fl_reread_init(&client->file, resolv_conf, PROXY_RESOLVCONF_SIZE_MAX);
    client->scratch = malloc(2 + PROXY_DNS_MESSAGE_MAX);
    if (client->scratch == NULL)
        return -ENOMEM;
    if (fl_reread_look(&client->file, true, &err) < 0)
        fl_log(FL_LOG_WARNING, "DNS servers cannot be read; 127.0.0.1 is asked", FL_LOG_STR("reason", err.text));
    (void)take_file(client);
    return 0;
}

void proxy_dns_client_done(struct proxy_dns_client *client)
{
    if (client->loop != NULL)
        fl_reread_done(&client->file);
    free(client->scratch);
    client->scratch = NULL;
}

/* --- one attempt ------------------------------------------------------------------------------------------------ */

static void go_on(struct proxy_dns_ask *ask);

static void close_attempt(struct proxy_dns_attempt *attempt)
{
    if (attempt->ask == NULL)
        return;
    attempt->ask = NULL;
    fl_source_remove(&attempt->source);
    if (attempt->fd >= 0)
        close(attempt->fd);
    attempt->fd = -1;
    fl_buf_done(&attempt->in);
}

void proxy_dns_client_cancel(struct proxy_dns_ask *ask)
{
    fl_timer_cancel(&ask->timer);
    for (unsigned i = 0; i < ask->attempt_count; i++)
        close_attempt(&ask->attempts[i]);
    fl_buf_done(&ask->rejection);
}

static bool any_open(const struct proxy_dns_ask *ask)
{
    for (unsigned i = 0; i < ask->attempt_count; i++) {
        if (ask->attempts[i].ask != NULL)
            return true;
    }
    return false;
}

static void count_end(struct proxy_dns_attempt *attempt, enum proxy_dns_attempt_end end)
{
    struct proxy_dns_client *client = attempt->ask->client;
    uint64_t now = fl_loop_now_ms(client->loop);
    proxy_dns_stats_attempt(client->stats, attempt->ask->tcp, end);
    if (end == PROXY_DNS_ATTEMPT_ANSWERED || end == PROXY_DNS_ATTEMPT_REJECTED) {
        fl_histogram_observe(client->stats->seconds, (double)(now - attempt->begun_ms) / 1000);
        proxy_dns_servers_answered(&client->servers, attempt->server);
    } else if (end != PROXY_DNS_ATTEMPT_ATTACKED) {
        proxy_dns_servers_failed(&client->servers, attempt->server, now);
    }
}

/* It has come to nothing: whatever is next, now. */
static void fail(struct proxy_dns_attempt *attempt, enum proxy_dns_attempt_end end)
{
    struct proxy_dns_ask *ask = attempt->ask;
    if (end == PROXY_DNS_ATTEMPT_ATTACKED) /* not the server's fault */
        ask->tried &= ~(1u << attempt->server);
    count_end(attempt, end);
    close_attempt(attempt);
    go_on(ask);
}

/* A few times a minute at most: a name whose own servers are dead can be asked for at any rate. */
static void tell_silence(struct proxy_dns_client *client)
{
    uint64_t now = fl_loop_now_ms(client->loop);
    if (client->told_ms != 0 && now < client->told_ms + TELL_MS)
        return;
    client->told_ms = now;
    fl_log_message(FL_LOG_WARNING, "no DNS server has answered a question; the pod got SERVFAIL");
}

static void answer(struct proxy_dns_ask *ask, const char *packet, size_t len, const struct proxy_dns_answer *parsed)
{
    struct proxy_dns_client *client = ask->client;
    FL_CLEANUP(fl_buf_done) struct fl_buf held = ask->rejection; /* may be what `packet` points to */
    (void)held;                                                  /* clang takes it for unused */
    ask->rejection = (struct fl_buf){0};
    if (packet == NULL)
        tell_silence(client);
    proxy_dns_client_cancel(ask);
    ask->on_answer(ask, packet, len, parsed);
}

static bool is_rejection(const struct proxy_dns_answer *parsed)
{
    return parsed->rcode == PROXY_DNS_SERVFAIL || parsed->rcode == PROXY_DNS_NOTIMP ||
           parsed->rcode == PROXY_DNS_REFUSED;
}

static bool others_may_answer(const struct proxy_dns_attempt *attempt)
{
    const struct proxy_dns_ask *ask = attempt->ask;
    bool others = proxy_dns_servers_left(&ask->client->servers, ask->tried);
    for (unsigned i = 0; i < ask->attempt_count; i++)
        others = others || (ask->attempts[i].ask != NULL && &ask->attempts[i] != attempt);
    return others;
}

/* The first one: it is the answer where no other comes. */
static bool keep_rejection(struct proxy_dns_ask *ask, const char *packet, size_t len)
{
    return ask->rejection.len > 0 || fl_buf_append(&ask->rejection, fl_span_make(packet, len)) == 0;
}

/* A message came. True where the attempt goes on. `packet` does not lie in the attempt. */
static bool take(struct proxy_dns_attempt *attempt, const char *packet, size_t len)
{
    struct proxy_dns_ask *ask = attempt->ask;
    struct proxy_dns_client *client = ask->client;
    struct proxy_dns_answer parsed;
    switch (proxy_dns_answer_parse(fl_span_make(packet, len), attempt->id, &ask->question, &parsed)) {
    case PROXY_DNS_ANSWER_FOREIGN:
        fl_counter_add(client->stats->foreign, 1);
        if (++attempt->foreign < PROXY_DNS_FOREIGN_MAX && !ask->tcp)
            return true;
        fail(attempt, PROXY_DNS_ATTEMPT_ATTACKED);
        return false;
    case PROXY_DNS_ANSWER_BROKEN:
        fail(attempt, PROXY_DNS_ATTEMPT_BROKEN);
        return false;
    case PROXY_DNS_ANSWER_GOOD:
        break;
    }
    if (is_rejection(&parsed) && others_may_answer(attempt) && keep_rejection(ask, packet, len)) {
        fail(attempt, PROXY_DNS_ATTEMPT_REJECTED);
        return false;
    }
    count_end(attempt, PROXY_DNS_ATTEMPT_ANSWERED);
    answer(ask, packet, len, &parsed);
    return false;
}

static void on_udp(struct fl_source *source, uint32_t events)
{
    struct proxy_dns_attempt *attempt = FL_CONTAINER_OF(source, struct proxy_dns_attempt, source);
    struct proxy_dns_client *client = attempt->ask->client;
    (void)events;
    for (unsigned i = 0; i < PROXY_DNS_FOREIGN_MAX; i++) {
        ssize_t size = recv(source->fd, client->scratch, PROXY_DNS_MESSAGE_MAX, 0);
        if (size < 0) {
            if (errno != EAGAIN && errno != EINTR)
                fail(attempt, PROXY_DNS_ATTEMPT_UNREACHABLE); /* ICMP: nobody listens there */
            return;
        }
        if (!take(attempt, client->scratch, (size_t)size))
            return;
    }
}

/* The length and as much of the message as is there; false where the connection is over. */
static bool receive(struct proxy_dns_attempt *attempt)
{
    char *scratch = attempt->ask->client->scratch;
    ssize_t size = recv(attempt->fd, scratch, PROXY_DNS_MESSAGE_MAX, 0);
    if (size <= 0)
        return size < 0 && (errno == EAGAIN || errno == EINTR);
    return fl_buf_append(&attempt->in, fl_span_make(scratch, (size_t)size)) == 0;
}

static size_t announced(const struct fl_buf *in)
{
    return (size_t)((uint8_t)in->data[0] << 8 | (uint8_t)in->data[1]);
}

/* The query with its length; false where the connection is over. */
static bool transmit(struct proxy_dns_attempt *attempt)
{
    struct fl_span packet = attempt->ask->packet;
    char *scratch = attempt->ask->client->scratch;
    scratch[0] = (char)(packet.len >> 8);
    scratch[1] = (char)packet.len;
    memcpy(scratch + 2, packet.data, packet.len);
    proxy_dns_set_id(scratch + 2, attempt->id);
    ssize_t size = send(attempt->fd, scratch + attempt->sent, packet.len + 2 - attempt->sent, MSG_NOSIGNAL);
    if (size < 0)
        return errno == EAGAIN || errno == EINTR;
    attempt->sent += (size_t)size;
    return attempt->sent < packet.len + 2 || fl_source_modify(&attempt->source, EPOLLIN) == 0;
}

static void on_tcp(struct fl_source *source, uint32_t events)
{
    struct proxy_dns_attempt *attempt = FL_CONTAINER_OF(source, struct proxy_dns_attempt, source);
    bool sent = attempt->sent == attempt->ask->packet.len + 2;
    if ((events & (EPOLLERR | EPOLLHUP)) != 0 && !sent) {
        fail(attempt, PROXY_DNS_ATTEMPT_UNREACHABLE);
    } else if (!sent) {
        if (!transmit(attempt))
            fail(attempt, PROXY_DNS_ATTEMPT_UNREACHABLE);
    } else if (!receive(attempt)) {
        fail(attempt, PROXY_DNS_ATTEMPT_UNREACHABLE);
    } else if (attempt->in.len >= 2 && attempt->in.len - 2 >= announced(&attempt->in)) {
        struct fl_buf in = attempt->in;
        attempt->in = (struct fl_buf){0};
        (void)take(attempt, in.data + 2, announced(&in));
        fl_buf_done(&in);
    }
}

static int open_socket(const struct proxy_dns_ask *ask, const struct proxy_address *to, int *ret_fd)
{
    FL_CLEANUP(fl_cleanup_close)
    int fd = socket(to->any.sa_family, (ask->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, &to->any, proxy_address_size(to)) < 0 && errno != EINPROGRESS)
        return -errno;
    *ret_fd = fl_take_fd(fd);
    return 0;
}

static int send_query(struct proxy_dns_attempt *attempt)
{
    struct fl_span packet = attempt->ask->packet;
    char *scratch = attempt->ask->client->scratch;
    memcpy(scratch, packet.data, packet.len);
    proxy_dns_set_id(scratch, attempt->id);
    return send(attempt->fd, scratch, packet.len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int start_attempt(struct proxy_dns_attempt *attempt)
{
    struct proxy_dns_ask *ask = attempt->ask;
    struct proxy_dns_client *client = ask->client;
    if (getrandom(&attempt->id, sizeof(attempt->id), 0) != sizeof(attempt->id))
        return -EIO;
    int result = open_socket(ask, &client->servers.conf.servers[attempt->server], &attempt->fd);
    if (result == 0)
        result = fl_source_add(client->loop, &attempt->source, attempt->fd, ask->tcp ? EPOLLOUT : EPOLLIN,
                               ask->tcp ? on_tcp : on_udp);
    return result == 0 && !ask->tcp ? send_query(attempt) : result;
}

/* --- the question ----------------------------------------------------------------------------------------------- */

static void next_attempt(struct proxy_dns_ask *ask)
{
    struct proxy_dns_client *client = ask->client;
    struct proxy_dns_attempt *attempt = &ask->attempts[ask->attempt_count++];
    uint64_t now = fl_loop_now_ms(client->loop);
    if (!proxy_dns_servers_left(&client->servers, ask->tried))
        ask->tried = 0;
    size_t server = proxy_dns_servers_pick(&client->servers, ask->begin, ask->tried, now);
    ask->tried |= 1u << server;
    *attempt = (struct proxy_dns_attempt){.ask = ask, .fd = -1, .server = (uint8_t)server, .begun_ms = now};
    fl_buf_init(&attempt->in, 2 + PROXY_DNS_MESSAGE_MAX);
    if (start_attempt(attempt) < 0) {
        count_end(attempt, PROXY_DNS_ATTEMPT_UNREACHABLE);
        close_attempt(attempt);
    }
}

static void give_up(struct proxy_dns_ask *ask)
{
    struct proxy_dns_answer parsed;
    struct fl_span packet = fl_buf_span(&ask->rejection);
    if (packet.len == 0) {
        answer(ask, NULL, 0, NULL);
        return;
    }
    uint16_t id = (uint16_t)((uint8_t)packet.data[0] << 8 | (uint8_t)packet.data[1]);
    if (proxy_dns_answer_parse(packet, id, &ask->question, &parsed) == PROXY_DNS_ANSWER_GOOD)
        answer(ask, packet.data, packet.len, &parsed);
    else
        answer(ask, NULL, 0, NULL);
}

static void on_due(struct fl_timer *timer);

/* After an attempt has failed: the next server at once; the same ones again when the time for it has come. */
static void go_on(struct proxy_dns_ask *ask)
{
    struct proxy_dns_client *client = ask->client;
    while (!any_open(ask) && proxy_dns_servers_left(&client->servers, ask->tried) &&
           ask->attempt_count < PROXY_DNS_ATTEMPTS_MAX)
        next_attempt(ask);
    /* All have said no, or were not there twice: by the timer, for a callback of the ask may be running. */
    if (!any_open(ask) && (ask->rejection.len > 0 || ask->rounds > 0 || ask->attempt_count == PROXY_DNS_ATTEMPTS_MAX)) {
        ask->end_ms = 0;
        fl_timer_set(client->loop, &ask->timer, 0, on_due);
    }
}

static void count_late(struct proxy_dns_ask *ask)
{
    for (unsigned i = 0; i < ask->attempt_count; i++) {
        if (ask->attempts[i].ask == NULL || ask->attempts[i].late)
            continue;
        ask->attempts[i].late = true;
        count_end(&ask->attempts[i], PROXY_DNS_ATTEMPT_TIMEOUT);
    }
}

static void on_due(struct fl_timer *timer)
{
    struct proxy_dns_ask *ask = FL_CONTAINER_OF(timer, struct proxy_dns_ask, timer);
    uint64_t now = fl_loop_now_ms(ask->client->loop);
    count_late(ask);
    if (now >= ask->end_ms) {
        give_up(ask);
        return;
    }
    ask->rounds++;
    ask->gap_ms += ask->gap_ms / 2;
    uint64_t wait = ask->end_ms - now;
    fl_timer_set(ask->client->loop, timer, ask->gap_ms < wait ? ask->gap_ms : wait, on_due);
    if (ask->attempt_count < PROXY_DNS_ATTEMPTS_MAX) {
        next_attempt(ask);
        go_on(ask);
    }
}

void proxy_dns_client_ask(struct proxy_dns_client *client, struct proxy_dns_ask *ask)
{
    const struct proxy_resolvconf *conf = &client->servers.conf;
    uint64_t patience = conf->timeout_s * UINT64_C(900);
    ask->client = client;
    ask->tcp = ask->tcp || conf->use_vc;
    ask->begun_ms = fl_loop_now_ms(client->loop);
    ask->end_ms = ask->begun_ms + (patience < END_MAX_MS ? patience : END_MAX_MS);
    ask->gap_ms = conf->timeout_s * UINT64_C(200) < GAP_MAX_MS ? conf->timeout_s * UINT64_C(200) : GAP_MAX_MS;
    ask->begin = proxy_dns_servers_begin(&client->servers);
    fl_buf_init(&ask->rejection, PROXY_DNS_MESSAGE_MAX);
    fl_timer_set(client->loop, &ask->timer, ask->gap_ms, on_due);
    next_attempt(ask);
    go_on(ask);
}
