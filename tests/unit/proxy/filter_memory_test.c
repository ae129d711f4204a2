/* Memory that runs out anywhere in an exchange, for each pair of versions: the request or its connection dies or
 * succeeds, nothing leaks (the sanitizers' run), nobody is left waiting, and the next request is served. */
#include "proxy/filter/downstream.h"
#include "tests/support/fail.h"
#include "tests/unit/proxy/filter_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

enum version { HTTP1, HTTP2 };

/* A request and its answer in both versions: heads, bodies, trailers. */
#define PREFACE        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define SETTINGS       "\0\0\0\4\0\0\0\0\0"
#define FRAMED_BODY    "\0\0\3\0\0\0\0\0\1abc"
#define FRAMED_TRAILER "\0\0\6\1\5\0\0\0\1\0\1t\2uv"
#define CHUNKED        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nt: uv\r\n\r\n"

static const struct fl_span asked[2] = {
    FL_SPAN("POST /a HTTP/1.1\r\nHost: web\r\n" CHUNKED),
    FL_SPAN(PREFACE SETTINGS "\0\0\x0b\1\4\0\0\0\1\x83\x86\x41\3web\x04\2/a" FRAMED_BODY FRAMED_TRAILER),
};
static const struct fl_span answered[2] = {
    FL_SPAN("HTTP/1.1 200 OK\r\n" CHUNKED),
    FL_SPAN(SETTINGS "\0\0\1\1\4\0\0\0\1\x88" FRAMED_BODY FRAMED_TRAILER),
};

struct scene {
    struct fixture f;
    enum version client_version, server_version;
    struct side client, origin; /* made beforehand: the test's own memory does not fail */
};

static void speak_http2(struct fixture *f)
{
    f->cluster->http = PROXY_UPSTREAM_HTTP2;
}

/* The next connection at the origin: what the one before got is asked again there, where that one has died. */
static bool take_origin(struct scene *s)
{
    if (!fixture_origin_waits(&s->f))
        return false;
    if (s->origin.fd >= 0)
        close(s->origin.fd);
    s->origin = (struct side){.text = s->origin.text};
    s->origin.fd = accept4(s->f.origin, NULL, NULL, SOCK_CLOEXEC);
    assert_true(s->origin.fd >= 0);
    return true;
}

/* One exchange, as far as it comes. */
static void exchange(struct scene *s)
{
    struct fl_span request = asked[s->client_version], answer = answered[s->server_version];
    side_say_bytes(&s->f, &s->client, request.data, request.len);
    while (take_origin(s)) {
        side_hear(&s->f, &s->origin);
        if (!s->origin.ended && !s->origin.reset)
            side_say_bytes(&s->f, &s->origin, answer.data, answer.len);
    }
    side_hear(&s->f, &s->client);
}

static bool has(const struct side *side, const char *bytes, size_t len)
{
    return memmem(side->text, side->len, bytes, len) != NULL;
}

/* A message whole, as one side writes it: its body, its trailers and its end. */
static bool is_whole(const struct side *side, enum version version)
{
    static const char chunks[] = "3\r\nabc\r\n0\r\nt: uv\r\n\r\n", body[] = "\0\0\3\0\0\0\0\0\1abc";
    if (version == HTTP1)
        return has(side, chunks, sizeof(chunks) - 1);
    return has(side, body, sizeof(body) - 1) && has(side, "\1\5\0\0\0\1", 6);
}

/* Never an answer to half a request. */
static bool is_served(const struct scene *s)
{
    if (!is_whole(&s->client, s->client_version))
        return false;
    assert_true(is_whole(&s->origin, s->server_version));
    return s->client_version == HTTP2 || has(&s->client, "HTTP/1.1 200 ", 13);
}

/* Something that ends the request: an answer of the proxy's, a reset, the connection's end. */
static bool is_told(const struct scene *s)
{
    static const char reset[] = "\0\0\4\3\0\0\0\0\1", goaway[] = "\7\0\0\0\0\0";
    if (s->client.ended || s->client.reset || is_served(s))
        return true;
    if (s->client_version == HTTP1)
        return has(&s->client, "HTTP/1.1 5", 10);
    return has(&s->client, reset, sizeof(reset) - 1) || has(&s->client, goaway, sizeof(goaway) - 1) ||
           fixture_metric_of(&s->f, "istio_requests_total", "response_code=\"5") == 1;
}

static void leave(struct scene *s)
{
    side_done(&s->client);
    side_done(&s->origin);
    fixture_run(&s->f);
}

static void the_next_is_served(struct scene *s)
{
    s->client = fixture_client(&s->f);
    s->origin = fixture_side(-1);
    exchange(s);
    assert_true(is_served(s));
    leave(s);
    assert_int_equal(s->f.data.downstream_count, 0);
}

static void exchange_without_memory(enum version client, enum version server, void (*ration)(size_t), size_t nth)
{
    struct scene s = {.client_version = client, .server_version = server};
    fixture_init_with(&s.f, true, server == HTTP2 ? speak_http2 : NULL);
    s.client = fixture_client(&s.f);
    s.origin = fixture_side(-1);
    ration(nth);
    exchange(&s);
    bool has_failed = fail_happened();
    fail_stop();
    if (!has_failed)
        assert_true(is_served(&s));
    if (!is_told(&s))
        fail_msg("HTTP/%d to HTTP/%d, allocation %zu: nobody told the client", client + 1, server + 1, nth);
    leave(&s);
    the_next_is_served(&s);
    fixture_done(&s.f);
}

/* The client has gone before its answer came. */
static void cancel_without_memory(enum version client, enum version server, void (*ration)(size_t), size_t nth)
{
    struct scene s = {.client_version = client, .server_version = server};
    struct fl_span request = asked[client];
    fixture_init_with(&s.f, true, server == HTTP2 ? speak_http2 : NULL);
    s.client = fixture_client(&s.f);
    s.origin = fixture_side(-1);
    ration(nth);
    side_say_bytes(&s.f, &s.client, request.data, request.len);
    while (take_origin(&s))
        side_hear(&s.f, &s.origin);
    side_abort(&s.client);
    fixture_run(&s.f);
    fail_stop();
    assert_int_equal(s.f.data.downstream_count, 0);
    leave(&s);
    the_next_is_served(&s);
    fixture_done(&s.f);
}

typedef void scene_play(enum version client, enum version server, void (*ration)(size_t), size_t nth);

static void in_every_pair_of_versions(scene_play *play, void (*ration)(size_t))
{
    for (enum version client = HTTP1; client <= HTTP2; client++) {
        for (enum version server = HTTP1; server <= HTTP2; server++) {
            FAIL_EACH_ALLOCATION
            {
                size_t nth = fail_round_;
                fail_stop();
                play(client, server, ration, nth);
            }
        }
    }
}

static void one_allocation_fails(void **state)
{
    (void)state;
    in_every_pair_of_versions(exchange_without_memory, fail_at);
}

static void all_fail_from_one_on(void **state)
{
    (void)state;
    in_every_pair_of_versions(exchange_without_memory, fail_from);
}

static void all_fail_while_the_client_goes(void **state)
{
    (void)state;
    in_every_pair_of_versions(cancel_without_memory, fail_from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_allocation_fails),
        cmocka_unit_test(all_fail_from_one_on),
        cmocka_unit_test(all_fail_while_the_client_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
