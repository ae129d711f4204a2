#include "proxy/server/worker.h"

#include "common/base/log.h"
#include "proxy/filter/downstream.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>

#define STACK_SIZE      (256u * 1024u)
#define LOG_INTERVAL_MS 10000u
#define LAST_TURNS      8 /* after everything was closed: what is deferred goes, TLS says goodbye */

struct worker_listen {
    struct proxy_listen listen;
    struct proxy_worker *worker;
    struct proxy_address address; /* by which the next snapshot finds it */
    const struct proxy_listener *listener;
    int fd;
    struct worker_listen *next;
};

struct proxy_worker {
    struct proxy_worker_options options;
    struct fl_loop *loop;
    struct proxy_stats *stats;
    struct proxy_data data;
    struct worker_listen *listens;
    uint64_t logged_ms;
    bool told_drained;
    pthread_t thread;
    bool running;
    int wake_fd;
    struct fl_source wake;
    pthread_mutex_t lock; /* of the orders */
    struct orders {
        struct proxy_snapshot *snapshot; /* a reference; NULL: none */
        int *sockets;
        bool drain, drain_inbound, leave, stop, reopen, shed;
        enum proxy_shed stage;
        size_t lean_above, max; /* … of its pools */
        struct answer {         /* of the directory */
            struct proxy_address destination;
            enum proxy_directory_answer answer;
        } * answers;
        size_t answer_count;
    } orders;
};

/* --- sockets ---------------------------------------------------------------------------------------------------- */

static void on_accept(struct proxy_listen *listen, int fd, const struct proxy_address *peer)
{
    struct worker_listen *one = listen->owner;
    proxy_downstream_accept(&one->worker->data, one->listener, fd, peer);
}

static void on_failure(struct proxy_listen *listen, int error)
{
    struct worker_listen *one = listen->owner;
    struct proxy_worker *worker = one->worker;
    uint64_t now = fl_loop_now_ms(worker->loop);
    proxy_stats_accept_failed(worker->stats, error);
    if (worker->logged_ms != 0 && now - worker->logged_ms < LOG_INTERVAL_MS)
        return;
    worker->logged_ms = now;
    fl_log(FL_LOG_ERROR, "accepting connections failed; it is tried again",
           FL_LOG_SPAN("listener", one->listener->name), FL_LOG_STR("reason", strerrordesc_np(error)),
           FL_LOG_NUM("connections", worker->data.downstream_count));
}

static void close_listen(struct worker_listen *one)
{
    proxy_listen_stop(&one->listen);
    close(one->fd);
    free(one);
}

static int open_listen(struct proxy_worker *worker, const struct proxy_listener *listener, int fd,
                       struct worker_listen **ret_listen)
{
    struct worker_listen *one = calloc(1, sizeof(*one));
    if (one == NULL)
        return -ENOMEM;
    one->worker = worker;
    one->listen.turn = &worker->data.turn;
    one->listen.on_accept = on_accept;
    one->listen.on_failure = on_failure;
    one->listen.owner = one;
    one->address = listener->address;
    int result = proxy_listen_start(&one->listen, fd);
    if (result < 0) {
        free(one);
        return result;
    }
    one->fd = fd;
    *ret_listen = one;
    return 0;
}

static struct worker_listen *take_listen(struct proxy_worker *worker, const struct proxy_address *address)
{
    for (struct worker_listen **link = &worker->listens; *link != NULL; link = &(*link)->next) {
        struct worker_listen *one = *link;
        if (proxy_address_eq(&one->address, address)) {
            *link = one->next;
            return one;
        }
    }
    return NULL;
}

static void close_listens(struct proxy_worker *worker, bool last)
{
    while (worker->listens != NULL) {
        struct worker_listen *one = worker->listens;
        worker->listens = one->next;
        if (last)
            proxy_listen_last(&one->listen);
        close_listen(one);
    }
}

static void close_inbound(struct proxy_worker *worker)
{
    for (struct worker_listen **link = &worker->listens; *link != NULL;) {
        struct worker_listen *one = *link;
        if (one->listener->direction != PROXY_INBOUND) {
            link = &one->next;
            continue;
        }
        *link = one->next;
        proxy_listen_last(&one->listen);
        close_listen(one);
    }
}

static void adopt_sockets(struct proxy_worker *worker, struct proxy_snapshot *snapshot, const int *sockets)
{
    struct worker_listen *kept = NULL;
    for (size_t i = 0; i < snapshot->listener_slots; i++) {
        const struct proxy_listener *listener = snapshot->listeners[i];
        struct worker_listen *one = NULL;
        if (listener == NULL || !listener->bind_to_port)
            continue;
        if (sockets[i] < 0)
            one = take_listen(worker, &listener->address);
        else if (open_listen(worker, listener, sockets[i], &one) < 0)
            close(sockets[i]);
        if (one == NULL)
            continue;
        one->listener = listener;
        one->next = kept;
        kept = one;
    }
    close_listens(worker, false); /* what the new configuration does not have */
    worker->listens = kept;
}

/* --- orders ----------------------------------------------------------------------------------------------------- */

static void tell(struct proxy_worker *worker, enum proxy_worker_event event)
{
    worker->options.on_event(worker->options.owner, event);
}

static void apply(struct proxy_worker *worker, struct proxy_snapshot *snapshot, const int *sockets)
{
    if (proxy_data_apply(&worker->data, snapshot) < 0) {
        for (size_t i = 0; i < snapshot->listener_slots; i++) {
            if (sockets[i] >= 0)
                close(sockets[i]);
        }
        tell(worker, PROXY_WORKER_REFUSED);
        return;
    }
    adopt_sockets(worker, snapshot, sockets);
    tell(worker, PROXY_WORKER_APPLIED);
}

static void on_wake(struct fl_source *source, uint32_t events)
{
    struct proxy_worker *worker = FL_CONTAINER_OF(source, struct proxy_worker, wake);
    uint64_t count;
    (void)events;
    (void)!read(worker->wake_fd, &count, sizeof(count));
    pthread_mutex_lock(&worker->lock);
    struct orders orders = worker->orders;
    memset(&worker->orders, 0, sizeof(worker->orders));
    pthread_mutex_unlock(&worker->lock);
    if (orders.snapshot != NULL)
        apply(worker, orders.snapshot, orders.sockets);
    proxy_snapshot_unref(orders.snapshot);
    free(orders.sockets);
    for (size_t i = 0; i < orders.answer_count; i++)
        proxy_data_answer(&worker->data, &orders.answers[i].destination, (int)orders.answers[i].answer);
    free(orders.answers);
    if (orders.reopen)
        proxy_data_reopen_logs(&worker->data);
    if (orders.shed)
        proxy_data_shed(&worker->data, orders.stage, orders.lean_above, orders.max);
    if (orders.drain_inbound)
        close_inbound(worker);
    if (orders.leave && !worker->data.leaving)
        proxy_data_leave(&worker->data);
    if (orders.drain && !worker->data.draining) {
        close_listens(worker, true);
        proxy_data_drain(&worker->data);
    }
    if (orders.stop)
        fl_loop_stop(worker->loop, 0);
}

static void wake(struct proxy_worker *worker)
{
    const uint64_t one = 1;
    (void)!write(worker->wake_fd, &one, sizeof(one));
}

int proxy_worker_apply(struct proxy_worker *worker, struct proxy_snapshot *snapshot, const int *sockets)
{
    size_t size = (snapshot->listener_slots + 1) * sizeof(int);
    int *copy = malloc(size);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, sockets, snapshot->listener_slots * sizeof(int));
    pthread_mutex_lock(&worker->lock);
    /* The main thread waits for PROXY_WORKER_APPLIED before it sends the next one. */
    worker->orders.snapshot = proxy_snapshot_ref(snapshot);
    worker->orders.sockets = copy;
    pthread_mutex_unlock(&worker->lock);
    wake(worker);
    return 0;
}

void proxy_worker_answer(struct proxy_worker *worker, const struct proxy_address *destination,
                         enum proxy_directory_answer answer)
{
    struct orders *orders = &worker->orders;
    pthread_mutex_lock(&worker->lock);
    if (orders->answers == NULL)
        orders->answers = malloc(PROXY_DIRECTORY_QUEUE_MAX * sizeof(*orders->answers));
    if (orders->answers != NULL && orders->answer_count < PROXY_DIRECTORY_QUEUE_MAX)
        orders->answers[orders->answer_count++] = (struct answer){*destination, answer};
    pthread_mutex_unlock(&worker->lock);
    wake(worker);
}

void proxy_worker_drain(struct proxy_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    worker->orders.drain = true;
    pthread_mutex_unlock(&worker->lock);
    wake(worker);
}

void proxy_worker_shed(struct proxy_worker *worker, enum proxy_shed stage, size_t lean_above, size_t max)
{
    pthread_mutex_lock(&worker->lock);
    worker->orders.shed = true;
    worker->orders.stage = stage;
    worker->orders.lean_above = lean_above;
    worker->orders.max = max;
    pthread_mutex_unlock(&worker->lock);
    wake(worker);
}

size_t proxy_worker_held(const struct proxy_worker *worker)
{
    return __atomic_load_n(&worker->data.turn.pool.in_use, __ATOMIC_RELAXED);
}

size_t proxy_worker_handshakes(const struct proxy_worker *worker, size_t *ret_waiting)
{
    const struct proxy_handshakes *handshakes = &worker->data.turn.handshakes;
    *ret_waiting = __atomic_load_n(&handshakes->waiting_count, __ATOMIC_RELAXED);
    return __atomic_load_n(&handshakes->places, __ATOMIC_RELAXED);
}

void proxy_worker_drain_inbound(struct proxy_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    worker->orders.drain_inbound = true;
    pthread_mutex_unlock(&worker->lock);
    wake(worker);
}

void proxy_worker_leave(struct proxy_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    worker->orders.leave = true;
    pthread_mutex_unlock(&worker->lock);
    wake(worker);
}

void proxy_worker_reopen(struct proxy_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    worker->orders.reopen = true;
    pthread_mutex_unlock(&worker->lock);
    wake(worker);
}

/* --- the thread ------------------------------------------------------------------------------------------------- */

static void *run(void *argument)
{
    struct proxy_worker *worker = argument;
    int result = fl_loop_run(worker->loop);
    if (result < 0)
        fl_log(FL_LOG_ERROR, "a worker's event loop failed", FL_LOG_STR("reason", strerrordesc_np(-result)));
    close_listens(worker, false);
    proxy_data_abort(&worker->data);
    for (int i = 0; i < LAST_TURNS; i++)
        (void)!fl_loop_turn(worker->loop, 0);
    return NULL;
}

static int start_thread(struct proxy_worker *worker)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int result = pthread_create(&worker->thread, &attributes, run, worker);
    pthread_attr_destroy(&attributes);
    worker->running = result == 0;
    return -result;
}

static bool on_probe(void *owner, const struct proxy_address *peer, const struct proxy_address *original)
{
    const struct proxy_worker *worker = owner;
    return worker->options.on_probe(worker->options.owner, peer, original);
}

/* May come again while goodbyes of the last connections go out: told once. */
static void on_drained(void *owner)
{
    struct proxy_worker *worker = owner;
    if (worker->told_drained)
        return;
    worker->told_drained = true;
    tell(worker, PROXY_WORKER_DRAINED);
}

static int set_up(struct proxy_worker *worker)
{
    int result = fl_loop_new(&worker->loop);
    if (result < 0)
        return result;
    result = proxy_stats_new(&worker->stats);
    if (result < 0)
        return result;
    const struct proxy_data_options options = {
        .loop = worker->loop,
        .stats = worker->stats,
        .shared = worker->options.shared,
        .connections_max = worker->options.connections_max,
        .on_probe = on_probe,
        .directory = worker->options.directory,
        .on_drained = on_drained,
        .owner = worker,
    };
    result = proxy_data_init(&worker->data, &options);
    if (result < 0)
        return result;
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (worker->wake_fd < 0)
        return -errno;
    result = fl_source_add(worker->loop, &worker->wake, worker->wake_fd, EPOLLIN, on_wake);
    return result < 0 ? result : start_thread(worker);
}

int proxy_worker_new(const struct proxy_worker_options *options, struct proxy_worker **ret_worker)
{
    struct proxy_worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        return -ENOMEM;
    worker->options = *options;
    worker->wake_fd = -1;
    pthread_mutex_init(&worker->lock, NULL);
    int result = set_up(worker);
    if (result < 0) {
        proxy_worker_free(worker);
        return result;
    }
    *ret_worker = worker;
    return 0;
}

struct proxy_worker *proxy_worker_free(struct proxy_worker *worker)
{
    if (worker == NULL)
        return NULL;
    if (worker->running) {
        pthread_mutex_lock(&worker->lock);
        worker->orders.stop = true;
        pthread_mutex_unlock(&worker->lock);
        wake(worker);
        pthread_join(worker->thread, NULL);
    }
    proxy_snapshot_unref(worker->orders.snapshot);
    free(worker->orders.sockets);
    free(worker->orders.answers);
    if (worker->data.turn.loop != NULL)
        proxy_data_done(&worker->data);
    if (worker->wake_fd >= 0) {
        fl_source_remove(&worker->wake);
        close(worker->wake_fd);
    }
    fl_loop_free(worker->loop);
    proxy_stats_free(worker->stats);
    pthread_mutex_destroy(&worker->lock);
    free(worker);
    return NULL;
}

struct fl_metrics *proxy_worker_metrics(struct proxy_worker *worker)
{
    return proxy_stats_metrics(worker->stats);
}
