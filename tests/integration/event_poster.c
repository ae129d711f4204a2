/* A process of cni/agent/post for cni_events_test.py: posts what stdin says and prints what became of it.
 *
 * usage: event_poster FOLDER < lines. A line is the bytes of a body; it is posted to /api/v1/namespaces/shop/events as
 * {"name":"<line>", "pad":"…"}. Output: "done <result> <reason>", "trouble <reason>", a line each; "off <reason>" where
 * there is nobody to post to. Ends with the input, once everything is settled.
 *
 * Between posts a timer of 10 ms counts what else the loop could do: "turns <number> longest <ms>" is its last line. */
#include "cni/agent/post.h"
#include "common/base/buf.h"
#include "common/loop/signal.h"
#include "common/loop/timer.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

#define PERIOD_MS 10

struct peer {
    struct fl_loop *loop;
    struct fl_source input;
    struct fl_timer timer;
    struct cni_post *post;
    struct fl_buf line;
    unsigned long posted, settled, turns;
    double last, longest;
    bool ended;
};

static struct peer peer;

static void look(void)
{
    if (peer.ended && peer.settled == peer.posted)
        fl_loop_stop(peer.loop, 0);
}

static void on_done(void *owner, enum cni_post_result result, const char *reason)
{
    static const char *const words[] = {"posted", "dropped", "refused", "failed"};
    (void)owner;
    printf("done %s %s\n", words[result], reason);
    fflush(stdout);
    peer.settled++;
    look();
}

static void on_trouble(void *owner, const char *reason)
{
    (void)owner;
    printf("trouble %s\n", reason);
    fflush(stdout);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void on_period(struct fl_timer *timer)
{
    double time = now();
    peer.turns++;
    if (time - peer.last > peer.longest)
        peer.longest = time - peer.last;
    peer.last = time;
    fl_timer_set(peer.loop, timer, PERIOD_MS, on_period);
}

static void post_line(struct fl_span line)
{
    struct fl_buf body;
    fl_buf_init(&body, 1 << 16);
    if (fl_buf_printf(&body, "{\"name\":\"%.*s\"}", FL_SPAN_ARG(line)) < 0)
        abort();
    peer.posted++;
    cni_post_send(peer.post, "/api/v1/namespaces/shop/events", fl_buf_span(&body));
    fl_buf_done(&body);
}

static void on_input(struct fl_source *source, uint32_t events)
{
    char bytes[4096];
    (void)events;
    ssize_t count = read(source->fd, bytes, sizeof(bytes));
    if (count <= 0) {
        peer.ended = true;
        fl_source_remove(source);
        look();
        return;
    }
    if (fl_buf_append(&peer.line, fl_span_make(bytes, (size_t)count)) < 0)
        abort();
    for (;;) {
        struct fl_span all = fl_buf_span(&peer.line);
        size_t end = fl_span_find(all, '\n');
        if (end == all.len)
            return;
        post_line(fl_span_make(all.data, end));
        fl_buf_consume(&peer.line, end + 1);
    }
}

static void on_signal(struct fl_signals *signals, int number)
{
    (void)signals, (void)number;
    fl_loop_stop(peer.loop, 0);
}

int main(int argc, char **argv)
{
    static const struct cni_post_ops ops = {on_done, on_trouble};
    struct fl_signals signals = {0};
    struct fl_err err = {0};
    const struct cni_post_access access = {getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT"),
                                           argc > 1 ? argv[1] : ""};
    fl_buf_init(&peer.line, 1 << 20);
    if (fl_loop_new(&peer.loop) < 0 || fl_signals_init(&signals, peer.loop, (const int[]){SIGTERM, 0}, on_signal) < 0)
        return 1;
    if (cni_post_new(peer.loop, &access, &ops, NULL, &peer.post, &err) < 0) {
        printf("off %s\n", err.text);
        fl_signals_done(&signals);
        fl_loop_free(peer.loop);
        return 0;
    }
    if (fl_source_add(peer.loop, &peer.input, STDIN_FILENO, EPOLLIN, on_input) < 0)
        return 1;
    peer.last = now();
    fl_timer_set(peer.loop, &peer.timer, PERIOD_MS, on_period);
    printf("ready\n");
    fflush(stdout);
    int result = fl_loop_run(peer.loop);
    printf("turns %lu longest %.0f\n", peer.turns, peer.longest);
    fl_timer_cancel(&peer.timer);
    fl_source_remove(&peer.input);
    fl_signals_done(&signals);
    cni_post_free(peer.post);
    fl_loop_free(peer.loop);
    fl_buf_done(&peer.line);
    return result;
}
