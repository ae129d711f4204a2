/* An admin with all of its ports over the golden client bootstrap, and an HTTP client, in one thread: the test turns
 * the server's loop while it waits. */
#ifndef TESTS_UNIT_PROXY_ADMIN_WORLD_H
#define TESTS_UNIT_PROXY_ADMIN_WORLD_H

#include "common/metrics/registry.h"
#include "proxy/admin/admin.h"
#include "proxy/config/bootstrap.h"
#include "proxy/config/podapp.h"
#include "tests/unit/proxy/pki_folder.h"

#include <errno.h>
#include <fcntl.h>

#define SECRET "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

struct world {
    struct fl_loop *loop;
    struct proxy_admin *admin;
    struct proxy_gate *gate;
    struct proxy_snapshot *snapshot;
    struct fl_metrics *metrics[2];
    enum proxy_server_state state;
    unsigned drained, quit, left;
    struct proxy_admin_host host;
    struct proxy_admin_drain drain_how;
};

static struct pki_folder folder;
static struct world world;

static inline enum proxy_server_state host_state(void *owner)
{
    return ((struct world *)owner)->state;
}

static inline struct proxy_snapshot *host_snapshot(void *owner)
{
    return ((struct world *)owner)->snapshot;
}

static inline size_t host_registries(void *owner, struct fl_metrics **ret, size_t max)
{
    struct world *self = owner;
    assert_true(max >= 2);
    ret[0] = self->metrics[0];
    ret[1] = self->metrics[1];
    return 2;
}

static inline void host_drain(void *owner, const struct proxy_admin_drain *how)
{
    struct world *self = owner;
    self->drained++;
    self->drain_how = *how;
}

static inline void host_quit(void *owner)
{
    ((struct world *)owner)->quit++;
}

static inline void host_leave(void *owner)
{
    ((struct world *)owner)->left++;
}

static inline struct proxy_address local(uint16_t port)
{
    struct proxy_address result;
    assert_int_equal(proxy_address_parse(FL_SPAN("127.0.0.1"), port, &result), 0);
    return result;
}

/* A port that was free a moment ago. */
static inline uint16_t free_port(void)
{
    struct proxy_address any = local(0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = proxy_address_size(&any);
    assert_int_equal(bind(fd, &any.any, size), 0);
    assert_int_equal(getsockname(fd, &any.any, &size), 0);
    close(fd);
    return proxy_address_port(&any);
}

static const struct proxy_podapp *world_app; /* for the next setup; NULL: none */

static uint16_t stats_port, merged_port, health_port;

static inline int setup(void **state)
{
    (void)state;
    pki_folder_init(&folder);
    world = (struct world){.state = PROXY_SERVER_LIVE};
    struct fl_buf text;
    fl_buf_init(&text, 1u << 20);
    pki_folder_golden(&folder, "client", &text);
    assert_int_equal(proxy_bootstrap_parse(fl_buf_span(&text), "client", NULL, &world.snapshot, NULL), 0);
    fl_buf_done(&text);
    assert_int_equal(fl_loop_new(&world.loop), 0);
    assert_int_equal(fl_metrics_new(&world.metrics[0]), 0);
    assert_int_equal(fl_metrics_new(&world.metrics[1]), 0);
    static const struct fl_metric_family family = {
        .name = "things_total", .help = "Things.", .kind = FL_METRIC_COUNTER};
    fl_counter_add(fl_metrics_counter(world.metrics[0], &family, NULL), 2);
    fl_counter_add(fl_metrics_counter(world.metrics[1], &family, NULL), 3);
    world.host = (struct proxy_admin_host){.owner = &world,
                                           .state = host_state,
                                           .snapshot = host_snapshot,
                                           .registries = host_registries,
                                           .drain = host_drain,
                                           .leave = host_leave,
                                           .quit = host_quit};
    const struct proxy_gate_options gate = {.loop = world.loop, .wait = true};
    assert_int_equal(proxy_gate_new(&gate, &world.gate), 0);
    stats_port = free_port();
    merged_port = free_port();
    health_port = free_port();
    const struct proxy_admin_options options = {.loop = world.loop,
                                                .address = local(0),
                                                .pod_ports = true,
                                                .stats_port = stats_port,
                                                .merged_port = merged_port,
                                                .health_port = health_port,
                                                .gate = world.gate,
                                                .host = &world.host,
                                                .app = world_app,
                                                .metrics = world.metrics[0],
                                                .secret = {SECRET}};
    struct fl_err err = {0};
    if (proxy_admin_new(&options, &world.admin, &err) != 0)
        fail_msg("%s", err.text);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    proxy_admin_free(world.admin);
    proxy_gate_free(world.gate);
    fl_loop_free(world.loop);
    fl_metrics_free(world.metrics[0]);
    fl_metrics_free(world.metrics[1]);
    proxy_snapshot_unref(world.snapshot);
    pki_folder_done(&folder);
    return 0;
}

static inline uint16_t admin_port(void)
{
    struct proxy_address address = proxy_admin_address(world.admin);
    return proxy_address_port(&address);
}

/* -- the client -- */

static inline int dial(uint16_t port)
{
    struct proxy_address to = local(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &to.any, proxy_address_size(&to)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static inline void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* A number at the start of `text`. */
static inline unsigned number(const char *text)
{
    uint64_t value = 0;
    assert_true(fl_span_to_u64(fl_span_make(text, strspn(text, "0123456789")), UINT32_MAX, &value));
    return (unsigned)value;
}

/* Turns the loop until the answer is whole (by its content-length), or the server has closed. False: closed. */
static inline bool hear(int fd, struct fl_buf *answer, bool head_only)
{
    fl_buf_clear(answer);
    for (unsigned i = 0; i < 2000; i++) {
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
        assert_int_equal(fl_buf_reserve(answer, 65536), 0);
        ssize_t got = recv(fd, answer->data + answer->len, 65536, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return false;
        if (got > 0)
            answer->len += (size_t)got;
        const char *text = fl_buf_str(answer), *end = strstr(text, "\r\n\r\n");
        const char *length = strstr(text, "content-length: ");
        if (end != NULL && (head_only || (length != NULL && strlen(end + 4) >= number(length + 16))))
            return true;
    }
    fail_msg("no answer");
    return false;
}

/* One request on a connection of its own; the answer as text, owned by the static buffer. */
static inline const char *ask(uint16_t port, const char *request)
{
    static struct fl_buf answer;
    if (answer.max == 0)
        fl_buf_init(&answer, 1u << 24);
    int fd = dial(port);
    say(fd, request);
    hear(fd, &answer, strncmp(request, "HEAD", 4) == 0);
    close(fd);
    assert_true(fl_loop_turn(world.loop, 1) >= 0);
    return fl_buf_str(&answer);
}

static inline const char *get(uint16_t port, const char *path)
{
    char request[256];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);
    return ask(port, request);
}

static inline const char *post(uint16_t port, const char *path)
{
    char request[256];
    snprintf(request, sizeof(request),
             "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n" PROXY_ADMIN_SECRET_HEADER ": " SECRET
             "\r\nContent-Length: 0\r\n\r\n",
             path);
    return ask(port, request);
}

static inline void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("expected \"%s\" in:\n%s", part, text);
}

#endif
