/* proxy/net/listener: accepting in batches, and living through the end of descriptors; proxy/net/address. */
#include "proxy/net/listener.h"

#include "proxy/net/origdst.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#define CLIENTS 40

struct fixture {
    struct fl_loop *loop;
    struct proxy_turn turn;
    struct proxy_listen listen;
    struct proxy_address address;
    int socket;
    int clients[CLIENTS], accepted[CLIENTS];
    size_t client_count, accepted_count;
    unsigned failures;
    int error;
};

static void on_accept(struct proxy_listen *listen, int fd, const struct proxy_address *peer)
{
    struct fixture *f = listen->owner;
    assert_int_equal(peer->any.sa_family, AF_INET); /* IPv4 on the dual-stack socket is IPv4 */
    f->accepted[f->accepted_count++] = fd;
}

static void on_failure(struct proxy_listen *listen, int error)
{
    struct fixture *f = listen->owner;
    f->failures++;
    f->error = error;
}

static void setup(struct fixture *f)
{
    struct proxy_socket_options options = {.ipv4_compat = true, .backlog = 128};
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw);
    struct fl_err err;
    memset(f, 0, sizeof(*f));
    assert_int_equal(fl_loop_new(&f->loop), 0);
    assert_int_equal(proxy_turn_init(&f->turn, f->loop), 0);
    assert_int_equal(proxy_address_parse(FL_SPAN("::"), 0, &options.address), 0);
    assert_int_equal(proxy_socket_listen(&options, &f->socket, &err), 0);
    assert_int_equal(getsockname(f->socket, (struct sockaddr *)&raw, &size), 0);
    struct proxy_address bound;
    assert_int_equal(proxy_address_from_sockaddr(&raw, &bound), 0);
    assert_int_equal(proxy_address_parse(FL_SPAN("127.0.0.1"), proxy_address_port(&bound), &f->address), 0);
    f->listen = (struct proxy_listen){.turn = &f->turn, .on_accept = on_accept, .on_failure = on_failure, .owner = f};
    assert_int_equal(proxy_listen_start(&f->listen, f->socket), 0);
}

static void connect_clients(struct fixture *f, size_t count)
{
    while (f->client_count < count) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        assert_int_equal(connect(fd, &f->address.any, proxy_address_size(&f->address)), 0);
        f->clients[f->client_count++] = fd;
    }
}

static void teardown(struct fixture *f)
{
    proxy_listen_stop(&f->listen);
    close(f->socket);
    for (size_t i = 0; i < f->client_count; i++)
        close(f->clients[i]);
    for (size_t i = 0; i < f->accepted_count; i++)
        close(f->accepted[i]);
    proxy_turn_done(&f->turn);
    fl_loop_free(f->loop);
}

static void a_turn_accepts_a_bounded_number(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    connect_clients(&f, CLIENTS);
    assert_true(fl_loop_turn(f.loop, 100) >= 0);
    assert_int_equal(f.accepted_count, PROXY_TURN_ACCEPTS);
    for (int i = 0; i < 10; i++)
        assert_true(fl_loop_turn(f.loop, 0) >= 0);
    assert_int_equal(f.accepted_count, CLIENTS);
    teardown(&f);
}

static void the_last_ones_are_accepted_before_it_stops(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    connect_clients(&f, CLIENTS);
    proxy_listen_last(&f.listen);
    assert_int_equal(f.accepted_count, CLIENTS);
    assert_true(fl_loop_turn(f.loop, 0) >= 0);
    teardown(&f);
}

static void the_end_of_descriptors_is_survived(void **state)
{
    (void)state;
    struct fixture f;
    struct rlimit before, low;
    setup(&f);
    connect_clients(&f, 4);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = (rlim_t)f.clients[3] + 8;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    int fillers[256], filler_count = 0;
    for (int fd = dup(f.socket); fd >= 0 && filler_count < 256; fd = dup(f.socket))
        fillers[filler_count++] = fd;
    close(fillers[--filler_count]); /* room for one more, and no other */
    for (int i = 0; i < 5; i++)
        assert_true(fl_loop_turn(f.loop, 1) >= 0);
    assert_int_equal(f.accepted_count, 1);
    assert_int_equal(f.failures, 1); /* it pauses, instead of spinning */
    assert_int_equal(f.error, EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    while (filler_count > 0)
        close(fillers[--filler_count]);
    for (int i = 0; i < 100 && f.accepted_count < 4; i++)
        assert_true(fl_loop_turn(f.loop, 20) >= 0);
    assert_int_equal(f.accepted_count, 4);
    teardown(&f);
}

static void a_port_that_is_taken_is_told_with_its_address(void **state)
{
    (void)state;
    struct fixture f;
    struct fl_err err = {0};
    int fd = -1;
    setup(&f);
    struct proxy_socket_options options = {.address = f.address, .backlog = 1};
    assert_int_equal(proxy_socket_listen(&options, &fd, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, "127.0.0.1:"));
    teardown(&f);
}

static void a_connection_to_the_socket_itself_was_not_redirected(void **state)
{
    (void)state;
    struct fixture f;
    struct proxy_address original, local;
    setup(&f);
    connect_clients(&f, 1);
    assert_true(fl_loop_turn(f.loop, 100) >= 0);
    assert_int_equal(proxy_origdst(f.accepted[0], &f.address, &original, &local), PROXY_ORIGDST_NONE);
    assert_true(proxy_address_eq(&local, &f.address));
    teardown(&f);
}

static void addresses_as_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *printed;
    } rows[] = {
        {"10.0.0.1", "10.0.0.1:80"},
        {"::1", "[::1]:80"},
        {"::ffff:10.0.0.1", "10.0.0.1:80"}, /* IPv4-mapped is IPv4 */
        {"10.0.0", NULL},
        {"", NULL},
        {"10.0.0.1 ", NULL},
        {"[::1]", NULL},
        {"fe80::1%eth0", NULL},
        {"localhost", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct proxy_address address;
        char text[PROXY_ADDRESS_TEXT_MAX];
        int result = proxy_address_parse(fl_span_str(rows[i].text), 80, &address);
        if ((result == 0) != (rows[i].printed != NULL))
            fail_msg("%s", rows[i].text);
        if (result < 0)
            continue;
        assert_int_equal(proxy_address_print(&address, text), strlen(rows[i].printed));
        assert_string_equal(text, rows[i].printed);
        assert_int_equal(proxy_address_port(&address), 80);
    }
    struct proxy_address none = {0}, probe;
    char text[PROXY_ADDRESS_TEXT_MAX];
    proxy_address_print(&none, text);
    assert_string_equal(text, "-");
    assert_int_equal(proxy_address_parse(FL_SPAN("127.0.0.6"), 15002, &probe), 0);
    assert_true(proxy_address_is_probe(&probe));
    proxy_address_set_port(&probe, 15003);
    assert_false(proxy_address_is_probe(&probe));
    assert_int_equal(proxy_address_parse(FL_SPAN("::6"), 15002, &probe), 0);
    assert_true(proxy_address_is_probe(&probe));
    assert_false(proxy_address_eq(&probe, &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_accepts_a_bounded_number),
        cmocka_unit_test(the_last_ones_are_accepted_before_it_stops),
        cmocka_unit_test(the_end_of_descriptors_is_survived),
        cmocka_unit_test(a_port_that_is_taken_is_told_with_its_address),
        cmocka_unit_test(a_connection_to_the_socket_itself_was_not_redirected),
        cmocka_unit_test(addresses_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
