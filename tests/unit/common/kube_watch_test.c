#include "common/kube/watch.h"

#include "common/http/listener.h"
#include "common/kube/event.h"
#include "common/loop/timer.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

/* ---- A server that follows a script: each request is the next step, each answer closes its connection ---- */

struct step {
    const char *asks;   /* a part that the request line must hold */
    const char *status; /* "200 OK" */
    const char *body;
    bool holds;         /* the connection stays open, and silent */
    const char *header; /* one more, with its line end; NULL: none */
};

struct peer { /* a connection whose request has not come yet */
    struct fl_source source;
    struct script *script;
};

struct script {
    struct fl_source source;
    struct peer peers[16]; /* in turn; none is allocated, so that what fails is the watch's own */
    size_t peer_count;
    struct fl_loop *loop;
    uint16_t port;
    int fd;
    const struct step *steps;
    size_t count, next;
    int held[8];
    size_t held_count;
    char wrong[512];
};

static void serve(struct script *script, int peer)
{
    char request[4096] = "";
    size_t len = 0;
    while (strstr(request, "\r\n\r\n") == NULL) { /* it comes in one piece, from this very process */
        ssize_t count = recv(peer, request + len, sizeof(request) - 1 - len, 0);
        if (count <= 0)
            return;
        len += (size_t)count;
        request[len] = '\0';
    }
    request[strcspn(request, "\r")] = '\0';
    const struct step *step = script->next < script->count ? &script->steps[script->next] : NULL;
    if (step == NULL || strstr(request, step->asks) == NULL) {
        if (script->wrong[0] == '\0')
            snprintf(script->wrong, sizeof(script->wrong), "step %zu: %.300s", script->next, request);
        script->next = script->count;
        return;
    }
    script->next++;
    FL_CLEANUP(fl_cleanup_free) char *head = NULL;
    assert_true(asprintf(&head, "HTTP/1.1 %s\r\n%sConnection: close\r\n\r\n", step->status,
                         step->header != NULL ? step->header : "") > 0);
    (void)!send(peer, head, strlen(head), MSG_NOSIGNAL); /* the client may be gone: it had no memory */
    (void)!send(peer, step->body, strlen(step->body), MSG_NOSIGNAL);
    if (step->holds && script->held_count < FL_COUNT(script->held))
        script->held[script->held_count++] = dup(peer);
}

static void on_peer(struct fl_source *source, uint32_t events)
{
    struct peer *peer = FL_CONTAINER_OF(source, struct peer, source);
    (void)events;
    int fd = source->fd;
    fl_source_remove(source);
    serve(peer->script, fd);
    close(fd);
}

static void on_accept(struct fl_source *source, uint32_t events)
{
    struct script *script = FL_CONTAINER_OF(source, struct script, source);
    (void)events;
    int fd = accept4(script->fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    struct peer *peer = &script->peers[script->peer_count++ % FL_COUNT(script->peers)];
    assert_null(peer->source.loop);
    peer->script = script;
    assert_int_equal(fl_source_add(script->loop, &peer->source, fd, EPOLLIN, on_peer), 0);
}

/* ---- The watch's owner: writes down what it is told ---- */

struct world {
    struct fl_loop *loop;
    struct script script;
    struct fl_kube_client *client;
    struct fl_kube_watch *watch;
    struct fl_buf told;
    int synced, troubles;
    struct fl_err trouble;
    bool frees; /* at the first word */
};

static void note(struct world *world, const char *word, struct fl_span name)
{
    assert_int_equal(fl_buf_printf(&world->told, "%s%.*s ", word, FL_SPAN_ARG(name)), 0);
    if (world->frees)
        world->watch = fl_kube_watch_free(world->watch);
}

static void on_change(void *owner, enum fl_kube_change change, const struct fl_json *object)
{
    static const char *const words[] = {"+", "~", "-"};
    note(owner, words[change], fl_json_string(fl_json_get(fl_json_get(object, "metadata"), "name")));
}

static void on_synced(void *owner)
{
    struct world *world = owner;
    world->synced++;
    note(world, "synced", FL_SPAN(""));
}

static void on_trouble(void *owner, const struct fl_err *err)
{
    struct world *world = owner;
    world->troubles++;
    world->trouble = *err;
    if (world->frees)
        world->watch = fl_kube_watch_free(world->watch);
}

static void world_init(struct world *world, const struct step *steps, size_t count)
{
    struct fl_kube_access access = {0};
    struct fl_err err = {0};
    char url[64];
    *world = (struct world){0};
    fl_buf_init(&world->told, 65536);
    assert_int_equal(fl_buf_reserve(&world->told, 4096), 0);
    assert_int_equal(fl_loop_new(&world->loop), 0);
    struct script *script = &world->script;
    script->loop = world->loop;
    script->steps = steps;
    script->count = count;
    assert_int_equal(fl_http_listen(FL_SPAN("127.0.0.1:0"), &script->fd, &script->port, NULL), 0);
    assert_int_equal(fl_source_add(world->loop, &script->source, script->fd, EPOLLIN, on_accept), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", (unsigned)script->port);
    access.server = strdup(url);
    if (fl_kube_client_new(world->loop, &access, NULL, &world->client, &err) < 0)
        fail_msg("%s", err.text);
}

static int begin(struct world *world, const struct fl_kube_watch_options *more)
{
    struct fl_kube_watch_options options = *more;
    options.path = "/api/v1/namespaces";
    options.on_change = on_change;
    options.on_synced = on_synced;
    options.on_trouble = on_trouble;
    options.owner = world;
    options.backoff_ms = options.backoff_ms > 0 ? options.backoff_ms : 1;
    options.backoff_max_ms = 8;
    return fl_kube_watch_new(world->loop, world->client, &options, &world->watch);
}

static void world_done(struct world *world)
{
    struct script *script = &world->script;
    world->watch = fl_kube_watch_free(world->watch);
    world->client = fl_kube_client_free(world->client);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fl_loop_turn(world->loop, 1), 0);
    fl_source_remove(&script->source);
    close(script->fd);
    for (size_t i = 0; i < script->held_count; i++)
        close(script->held[i]);
    fl_loop_free(world->loop);
    fl_buf_done(&world->told);
}

/* Until the script is through and the owner was told so much. */
static void play(struct world *world, const char *told)
{
    const char *now = fl_buf_str(&world->told);
    for (int i = 0; i < 20000 && (world->script.next < world->script.count || strcmp(now, told) != 0); i++) {
        assert_int_equal(fl_loop_turn(world->loop, 2), 0);
        now = fl_buf_str(&world->told);
        if (world->script.wrong[0] != '\0')
            fail_msg("%s; told: %s", world->script.wrong, now);
    }
    if (world->script.wrong[0] != '\0')
        fail_msg("%s; told: %s", world->script.wrong, now);
    assert_string_equal(now, told);
}

#define OBJECT(name, version) "{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" version "\"}}"
#define LIST(version, items)  "{\"metadata\":{\"resourceVersion\":\"" version "\"},\"items\":[" items "]}"
#define PAGE(version, next, items)                                                                                     \
    "{\"metadata\":{\"resourceVersion\":\"" version "\",\"continue\":\"" next "\"},\"items\":[" items "]}"
#define EVENT(type, name, version) "{\"type\":\"" type "\",\"object\":" OBJECT(name, version) "}\n"
#define BOOKMARK(version)                                                                                              \
    "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Namespace\",\"metadata\":{\"resourceVersion\":\"" version "\"}}}\n"
#define ERROR(code)         "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"message\":\"too old\",\"code\":" code "}}\n"
#define WATCH_FROM(version) "resourceVersion=" version
#define OK                  "200 OK"
#define NESTED              "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
#define TOO_MUCH            NESTED NESTED NESTED NESTED NESTED NESTED NESTED NESTED NESTED

struct row {
    const char *what;
    struct step steps[8];
    const char *told;
    int troubles;
    const char *trouble; /* a part of the last one */
};

static const struct row rows[] = {
    {"a list, events, a bookmark, resumed from it",
     {{"GET /api/v1/namespaces?limit=250 ", OK, LIST("10", OBJECT("a", "3") "," OBJECT("b", "4")), false, NULL},
      {WATCH_FROM("10"), OK,
       EVENT("ADDED", "c", "11") EVENT("MODIFIED", "a", "12") EVENT("DELETED", "b", "13") BOOKMARK("20"), false, NULL},
      {WATCH_FROM("20"), OK, "", true, NULL}},
     "+a +b synced +c ~a -b ",
     0,
     ""},
    {"pages",
     {{"limit=250 ", OK, PAGE("10", "t/1", OBJECT("a", "1")), false, NULL},
      {"limit=250&continue=t%2F1 ", OK, PAGE("10", "t2", OBJECT("b", "1")), false, NULL},
      {"limit=250&continue=t2 ", OK, LIST("10", OBJECT("c", "1")), false, NULL},
      {WATCH_FROM("10"), OK, "", true, NULL}},
     "+a +b +c synced ",
     0,
     ""},
    {"a page's token has expired: from the start, and nothing is told twice",
     {{"limit=250 ", OK, PAGE("10", "t", OBJECT("a", "1")), false, NULL},
      {"continue=t ", "410 Gone", "", false, NULL},
      {"limit=250 ", OK, LIST("12", OBJECT("a", "1") "," OBJECT("b", "2")), false, NULL},
      {WATCH_FROM("12"), OK, "", true, NULL}},
     "+a +b synced ",
     1,
     "410"},
    {"gone while nobody looked",
     {{"limit=250 ", OK, LIST("10", OBJECT("a", "1") "," OBJECT("b", "1") "," OBJECT("c", "1")), false, NULL},
      {WATCH_FROM("10"), "410 Gone", "{\"kind\":\"Status\",\"message\":\"too old\"}", false, NULL},
      {"limit=250 ", OK, LIST("50", OBJECT("a", "1") "," OBJECT("c", "40") "," OBJECT("d", "41")), false, NULL},
      {WATCH_FROM("50"), OK, "", true, NULL}},
     "+a +b +c synced ~c +d -b synced ",
     1,
     "410 Gone: too old"},
    {"410 as an event",
     {{"limit=250 ", OK, LIST("10", OBJECT("a", "1")), false, NULL},
      {WATCH_FROM("10"), OK, ERROR("410"), false, NULL},
      {"limit=250 ", OK, LIST("50", ""), false, NULL},
      {WATCH_FROM("50"), OK, "", true, NULL}},
     "+a synced -a synced ",
     1,
     "410 too old"},
    {"another error as an event: resumed",
     {{"limit=250 ", OK, LIST("10", ""), false, NULL},
      {WATCH_FROM("10"), OK, EVENT("ADDED", "a", "11") ERROR("500"), false, NULL},
      {WATCH_FROM("11"), OK, "", true, NULL}},
     "synced +a ",
     1,
     "500 too old"},
    {"cut off in the middle of a line",
     {{"limit=250 ", OK, LIST("10", ""), false, NULL},
      {WATCH_FROM("10"), OK, EVENT("ADDED", "a", "11") "{\"type\":\"ADDED\",\"obj", false, NULL},
      {WATCH_FROM("11"), OK, EVENT("ADDED", "b", "12"), true, NULL}},
     "synced +a +b ",
     0,
     ""},
    {"cut off short of its length",
     {{"limit=250 ", OK, LIST("10", ""), false, NULL},
      {WATCH_FROM("10"), OK, EVENT("ADDED", "a", "11"), false, "Content-Length: 5000\r\n"},
      {WATCH_FROM("11"), OK, EVENT("ADDED", "b", "12"), true, NULL}},
     "synced +a +b ",
     1,
     "GET /api/v1/namespaces: "},
    {"refused, then let in",
     {{"limit=250 ", "401 Unauthorized", "{\"kind\":\"Status\",\"message\":\"who are you\"}", false, NULL},
      {"limit=250 ", "403 Forbidden", "", false, NULL},
      {"limit=250 ", "500 Internal", "", false, NULL},
      {"limit=250 ", "429 Slow", "", false, NULL},
      {"limit=250 ", OK, LIST("10", ""), false, NULL},
      {WATCH_FROM("10"), OK, "", true, NULL}},
     "synced ",
     4,
     "429"},
    {"resuming fails again and again: listed anew",
     {{"limit=250 ", OK, LIST("10", OBJECT("a", "1")), false, NULL},
      {WATCH_FROM("10"), "504 Gateway Timeout", "", false, NULL},
      {WATCH_FROM("10"), "504 Gateway Timeout", "", false, NULL},
      {WATCH_FROM("10"), "504 Gateway Timeout", "", false, NULL},
      {"limit=250 ", OK, LIST("9", OBJECT("a", "1")), false, NULL},
      {WATCH_FROM("9"), OK, "", true, NULL}},
     "+a synced synced ",
     3,
     "504"},
    {"a page that is too large: asked for with fewer objects, and with more again",
     {{"limit=250 ", OK, TOO_MUCH, false, NULL},
      {"limit=62 ", OK, PAGE("10", "t", OBJECT("a", "1")), false, NULL},
      {"limit=124&continue=t ", OK, TOO_MUCH, false, NULL},
      {"limit=31&continue=t ", OK, LIST("10", OBJECT("b", "1")), false, NULL},
      {WATCH_FROM("10"), OK, "", true, NULL}},
     "+a +b synced ",
     0,
     ""},
    {"a list that is none",
     {{"limit=250 ", OK, "[1]", false, NULL},
      {"limit=250 ", OK, "{\"metadata\":{},\"items\":[]}", false, NULL},
      {"limit=250 ", OK, "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[5]}", false, NULL},
      {"limit=250 ", OK, LIST("10", ""), false, NULL},
      {WATCH_FROM("10"), OK, "", true, NULL}},
     "synced ",
     3,
     "watch of"},
    {"events that are none: listed anew",
     {{"limit=250 ", OK, LIST("10", ""), false, NULL},
      {WATCH_FROM("10"), OK, "no JSON\n", false, NULL},
      {"limit=250 ", OK, LIST("11", ""), false, NULL},
      {WATCH_FROM("11"), OK, "{\"type\":\"RENAMED\",\"object\":{}}\n", false, NULL},
      {"limit=250 ", OK, LIST("12", ""), false, NULL},
      {WATCH_FROM("12"), OK, "", true, NULL}},
     "synced synced synced ",
     2,
     "a type that is known"},
    {"added twice, deleted though unknown, empty lines",
     {{"limit=250 ", OK, LIST("10", OBJECT("a", "1")), false, NULL},
      {WATCH_FROM("10"), OK,
       "\n" EVENT("ADDED", "a", "11") "\n\n" EVENT("DELETED", "x", "12") EVENT("MODIFIED", "y", "13"), true, NULL}},
     "+a synced ~a +y ",
     0,
     ""},
};

static size_t steps_of(const struct row *row)
{
    size_t count = 0;
    while (count < FL_COUNT(row->steps) && row->steps[count].asks != NULL)
        count++;
    return count;
}

static void scripts(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct world world;
        world_init(&world, rows[i].steps, steps_of(&rows[i]));
        assert_int_equal(begin(&world, &(struct fl_kube_watch_options){.page = 0}), 0);
        play(&world, rows[i].told);
        if (world.troubles != rows[i].troubles || strstr(world.trouble.text, rows[i].trouble) == NULL)
            fail_msg("%s: %d troubles, %s", rows[i].what, world.troubles, world.trouble.text);
        assert_int_equal(fl_kube_watch_stats(world.watch).troubles, rows[i].troubles);
        world_done(&world);
    }
}

static void freed_in_each_callback(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct world world;
        world_init(&world, rows[i].steps, steps_of(&rows[i]));
        world.frees = true;
        assert_int_equal(begin(&world, &(struct fl_kube_watch_options){.page = 0}), 0);
        while (world.watch != NULL)
            assert_int_equal(fl_loop_turn(world.loop, 2), 0);
        world_done(&world);
    }
}

static void selectors_and_metadata(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {"?limit=7&labelSelector=a%20in%20%28b%2Cc%29&fieldSelector=metadata.name%3Dx ", OK, LIST("10", ""), false,
         NULL},
        {"&resourceVersion=10&labelSelector=a%20in%20%28b%2Cc%29&fieldSelector=metadata.name%3Dx ", OK, "", true, NULL},
    };
    struct world world;
    world_init(&world, steps, FL_COUNT(steps));
    assert_int_equal(begin(&world, &(struct fl_kube_watch_options){.page = 7,
                                                                   .metadata_only = true,
                                                                   .label_selector = "a in (b,c)",
                                                                   .field_selector = "metadata.name=x"}),
                     0);
    play(&world, "synced ");
    world_done(&world);
}

static void a_silent_stream_is_given_up(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {"limit", OK, LIST("10", ""), false, NULL},
        {WATCH_FROM("10"), OK, EVENT("ADDED", "a", "11"), true, NULL},
        {WATCH_FROM("11"), OK, EVENT("ADDED", "b", "12"), true, NULL},
    };
    struct world world;
    world_init(&world, steps, FL_COUNT(steps));
    assert_int_equal(begin(&world, &(struct fl_kube_watch_options){.silence_ms = 50}), 0);
    play(&world, "synced +a +b ");
    assert_true(world.troubles >= 1);
    assert_non_null(strstr(world.trouble.text, "nothing came for 50 ms"));
    world_done(&world);
}

static void too_many_objects(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {"limit", OK, LIST("10", OBJECT("a", "1") "," OBJECT("b", "1") "," OBJECT("c", "1") "," OBJECT("d", "1")),
         false, NULL},
        {WATCH_FROM("10"), OK, EVENT("DELETED", "a", "11") EVENT("ADDED", "e", "12"), true, NULL},
    };
    struct world world;
    world_init(&world, steps, FL_COUNT(steps));
    assert_int_equal(begin(&world, &(struct fl_kube_watch_options){.objects_max = 2}), 0);
    play(&world, "+a +b synced -a +e ");
    assert_int_equal(world.troubles, 1); /* told once */
    assert_non_null(strstr(world.trouble.text, "more than 2 objects"));
    assert_int_equal(fl_kube_watch_stats(world.watch).objects, 2);
    world_done(&world);
}

#define OBJECT_IN(space, name, version)                                                                                \
    "{\"metadata\":{\"namespace\":\"" space "\",\"name\":\"" name "\",\"resourceVersion\":\"" version "\"}}"
#define EVENT_IN(type, space, name, version) "{\"type\":\"" type "\",\"object\":" OBJECT_IN(space, name, version) "}\n"

static void too_many_objects_of_one_namespace(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {"limit", OK,
         LIST("10", OBJECT_IN("x", "a", "1") "," OBJECT_IN("x", "b", "1") "," OBJECT_IN("x", "c", "1") "," OBJECT_IN(
                        "y", "d", "1") "," OBJECT("e", "1") "," OBJECT("f", "1") "," OBJECT("g", "1")),
         false, NULL},
        {WATCH_FROM("10"), OK,
         EVENT_IN("ADDED", "x", "h", "11") EVENT_IN("ADDED", "y", "i", "12") EVENT_IN("DELETED", "x", "a", "13")
             EVENT_IN("ADDED", "x", "j", "14"),
         true, NULL},
    };
    struct world world;
    world_init(&world, steps, FL_COUNT(steps));
    assert_int_equal(begin(&world, &(struct fl_kube_watch_options){.objects_max = 100, .namespace_max = 2}), 0);
    play(&world, "+a +b +d +e +f +g synced +i -a +j ");
    assert_int_equal(world.troubles, 1); /* told once */
    assert_int_equal(world.trouble.code, -EDQUOT);
    assert_non_null(strstr(world.trouble.text, "more than 2 objects in namespace x"));
    world_done(&world);
}

/* Whatever fails, in the end the owner knows what there is. */
static void each_allocation_fails(void **state)
{
    (void)state;
    static const struct step once[] = {
        {"limit", OK, LIST("10", OBJECT("a", "3") "," OBJECT("b", "4")), false, NULL},
        {WATCH_FROM("10"), OK, EVENT("ADDED", "c", "11") EVENT("DELETED", "b", "13"), true, NULL},
    };
    for (size_t round = 1, more = 1; more; round++) {
        struct world world;
        world_init(&world, once, FL_COUNT(once));
        fail_at(round);
        int result = begin(&world, &(struct fl_kube_watch_options){.page = 0});
        for (int i = 0; i < 200 && result == 0 && world.troubles == 0 && world.script.next < FL_COUNT(once); i++)
            assert_int_equal(fl_loop_turn(world.loop, 2), 0);
        for (int i = 0; i < 5; i++)
            assert_int_equal(fl_loop_turn(world.loop, 2), 0);
        more = fail_happened();
        fail_stop();
        if (result < 0)
            assert_int_equal(result, -ENOMEM);
        world_done(&world);
    }
}

/* ---- The parser alone ---- */

static void lines_in_pieces_of_every_size(void **state)
{
    (void)state;
    static const char text[] = "\none\n\ntwo and more\n\nthree\nrest";
    for (size_t size = 1; size <= sizeof(text); size++) {
        struct fl_kube_stream stream;
        char lines[64] = "";
        size_t used = 0;
        fl_kube_stream_init(&stream, 12);
        for (size_t at = 0; at < sizeof(text) - 1; at += size) {
            size_t len = sizeof(text) - 1 - at < size ? sizeof(text) - 1 - at : size;
            struct guard guard;
            struct fl_span line, bytes;
            guard_init(&guard, fl_span_make(text + at, len));
            bytes = guard.span;
            int result;
            while ((result = fl_kube_stream_next(&stream, &bytes, &line)) > 0)
                used += (size_t)snprintf(lines + used, sizeof(lines) - used, "<%.*s>", FL_SPAN_ARG(line));
            assert_int_equal(result, 0);
            guard_done(&guard);
        }
        assert_string_equal(lines, "<one><two and more><three>");
        fl_kube_stream_done(&stream);
    }
}

static void a_line_that_is_too_long(void **state)
{
    (void)state;
    static const char *const pieces[][2] = {{"1234567890123", "\n"}, {"123456789012", "3\n"}, {"1234567890123\n", ""}};
    for (size_t i = 0; i < FL_COUNT(pieces); i++) {
        struct fl_kube_stream stream;
        struct fl_span line, one = fl_span_str(pieces[i][0]), two = fl_span_str(pieces[i][1]);
        fl_kube_stream_init(&stream, 12);
        int result = fl_kube_stream_next(&stream, &one, &line);
        if (result == 0)
            result = fl_kube_stream_next(&stream, &two, &line);
        assert_int_equal(result, -EMSGSIZE);
        fl_kube_stream_done(&stream);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scripts),
        cmocka_unit_test(freed_in_each_callback),
        cmocka_unit_test(selectors_and_metadata),
        cmocka_unit_test(a_silent_stream_is_given_up),
        cmocka_unit_test(too_many_objects),
        cmocka_unit_test(too_many_objects_of_one_namespace),
        cmocka_unit_test(each_allocation_fails),
        cmocka_unit_test(lines_in_pieces_of_every_size),
        cmocka_unit_test(a_line_that_is_too_long),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
