/* Collections tell of objects; each is cut, read and put into the store here; a timer commits. Until every kind is
 * there nothing is committed, and until the Secrets are nothing is said to be ready. */
#include "control/source/kubernetes.h"

#include "common/base/log.h"
#include "common/doc/json.h"
#include "common/loop/timer.h"
#include "control/model/reader.h"
#include "control/source/collection.h"
#include "control/source/invalid.h"
#include "control/source/trim.h"

#include <errno.h>
#include <malloc.h>
#include <time.h>

#define RETRY_MS   1000 /* behind a commit for which memory was out */
#define TICK_MS    2000 /* for metrics, and whether kinds are well again */
#define SHARE      4    /* of the time that commits may take: one in so many */
#define TRIM_COUNT 1000 /* changes of a commit, from which on freed memory goes back to the kernel */

static const char *const kind_names[] = {"kind"};
static const struct fl_metric_family objects_family = {
    .name = "fairlead_control_source_objects",
    .help = "Objects of a kind in the model.",
    .kind = FL_METRIC_GAUGE,
    .label_names = kind_names,
    .label_count = 1,
};
static const struct fl_metric_family synced_family = {
    .name = "fairlead_control_source_synced",
    .help = "Whether a kind is followed: 1, 0 while it fails or waits, -1 where the API server does not know it.",
    .kind = FL_METRIC_GAUGE,
    .label_names = kind_names,
    .label_count = 1,
};
static const struct fl_metric_family silence_family = {
    .name = "fairlead_control_source_silence_seconds",
    .help = "Since the API server last said anything on a kind (it does about once a minute).",
    .kind = FL_METRIC_GAUGE,
    .label_names = kind_names,
    .label_count = 1,
};
static const struct fl_metric_family lists_family = {
    .name = "fairlead_control_source_lists_total",
    .help = "Lists of a kind that were begun.",
    .kind = FL_METRIC_COUNTER,
    .label_names = kind_names,
    .label_count = 1,
};
static const struct fl_metric_family watches_family = {
    .name = "fairlead_control_source_watches_total",
    .help = "Watches of a kind that were begun.",
    .kind = FL_METRIC_COUNTER,
    .label_names = kind_names,
    .label_count = 1,
};
static const struct fl_metric_family events_family = {
    .name = "fairlead_control_source_events_total",
    .help = "Events of a kind that were received, bookmarks included.",
    .kind = FL_METRIC_COUNTER,
    .label_names = kind_names,
    .label_count = 1,
};
static const struct fl_metric_family troubles_family = {
    .name = "fairlead_control_source_failures_total",
    .help = "Lists and watches of a kind that failed.",
    .kind = FL_METRIC_COUNTER,
    .label_names = kind_names,
    .label_count = 1,
};
static const double lag_buckets[] = {0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10};
static const struct fl_metric_family lag_family = {
    .name = "fairlead_control_source_lag_seconds",
    .help = "From the first event of a change to the end of its commit.",
    .kind = FL_METRIC_HISTOGRAM,
    .buckets = lag_buckets,
    .bucket_count = FL_COUNT(lag_buckets),
};

struct kind_metrics {
    struct fl_gauge *objects, *synced, *silence;
    struct fl_counter *lists, *watches, *events, *troubles;
    struct control_collection_stats told; /* what the counters have */
};

struct control_kubernetes {
    struct fl_loop *loop;
    struct control_store *store;
    struct control_kubernetes_options options;
    char *name_space;                                           /* owned */
    struct control_collection *collections[CONTROL_KIND_COUNT]; /* NULL: not followed */
    struct kind_metrics metrics[CONTROL_KIND_COUNT];
    struct fl_histogram *lag;
    struct control_invalid invalid;
    struct fl_timer settle, wait, tick;
    uint64_t dirty_since_ms;        /* 0: clean */
    uint64_t committed_ms, cost_ms; /* the end of the last commit, and how long it took, followers included */
    bool invalid_changed;
    bool listed, synced; /* the first commit has been; on_synced has been */
    bool waited;         /* for the kinds that may fail */
    bool failing;        /* memory was out at the last commit */
    struct control_kubernetes_stats stats;
};

static bool is_followed(enum control_kind kind)
{
    return kind != CONTROL_SECRET && kind != CONTROL_SERVICE_ACCOUNT; /* nothing is derived from the latter */
}

static bool has_status(enum control_kind kind)
{
    const char *group = control_kind_group(kind);
    return kind != CONTROL_REFERENCE_GRANT &&
           (strcmp(group, "gateway.networking.k8s.io") == 0 || strcmp(group, "fairlead.io") == 0);
}

static bool is_core(enum control_kind kind)
{
    return kind == CONTROL_NAMESPACE || kind == CONTROL_SERVICE || kind == CONTROL_ENDPOINT_SLICE ||
           kind == CONTROL_POD;
}

/* -- objects ------------------------------------------------------------------------------------------------------- */

static void touch(struct control_kubernetes *kubernetes);

static bool say(struct control_kubernetes *kubernetes, const struct control_key *key,
                enum control_problem_reason reason, struct fl_err *err)
{
    bool named = key->name_space.len > 0;
    fl_err_prefix(err, "%s %.*s%s%.*s", control_kind_name(key->kind), FL_SPAN_ARG(key->name_space), named ? "/" : "",
                  FL_SPAN_ARG(key->name));
    kubernetes->invalid_changed = true;
    return control_invalid_put(&kubernetes->invalid, key, reason, err->text) == 0;
}

static void say_nothing(struct control_kubernetes *kubernetes, const struct control_key *key)
{
    kubernetes->invalid_changed |= control_invalid_drop(&kubernetes->invalid, key);
}

/* What is in force of it now, or will be with the next commit. */
static const struct control_object *in_force(const struct control_kubernetes *kubernetes, enum fl_kube_change change,
                                             const struct control_key *key)
{
    return change == FL_KUBE_ADDED ? control_model_get(control_store_model(kubernetes->store), *key)
                                   : control_store_find(kubernetes->store, *key);
}

/* Settings that were good are better than settings that close; a policy that is not understood closes at once. */
static bool keeps_before(const struct control_object *object, const struct control_object *before)
{
    return object->kind == CONTROL_MESH_SETTINGS && before != NULL && before->broken.len == 0;
}

static bool take_broken(struct control_kubernetes *kubernetes, enum fl_kube_change change,
                        const struct control_key *key, const struct control_object *object)
{
    const struct control_object *before = in_force(kubernetes, change, key);
    bool settings = object->kind == CONTROL_MESH_SETTINGS, keeps = keeps_before(object, before);
    struct fl_err err = {0};
    fl_err_set(&err, -EINVAL, "%.*s%s", FL_SPAN_ARG(object->broken), settings ? "" : "; closed until it is mended");
    enum control_problem_reason reason = keeps      ? CONTROL_PROBLEM_INVALID_KEPT
                                         : settings ? CONTROL_PROBLEM_INVALID
                                                    : CONTROL_PROBLEM_CLOSED;
    return say(kubernetes, key, reason, &err) && (keeps || control_store_put(kubernetes->store, object) == 0);
}

static bool take_object(struct control_kubernetes *kubernetes, enum fl_kube_change change,
                        const struct control_key *key, const struct control_object *object)
{
    struct fl_err err = {0};
    bool told = true;
    if (object->broken.len > 0)
        return take_broken(kubernetes, change, key, object);
    if (object->ignored.len > 0) {
        fl_err_set(&err, -EINVAL, "%.*s", FL_SPAN_ARG(object->ignored));
        told = say(kubernetes, key, CONTROL_PROBLEM_IGNORED, &err);
    } else {
        say_nothing(kubernetes, key);
    }
    return told && control_store_put(kubernetes->store, object) == 0;
}

static bool read_object(struct control_kubernetes *kubernetes, enum fl_kube_change change, const char *api_version,
                        const struct control_key *key, const struct fl_json *object)
{
    static const struct control_origin origin = {.source = {"", 0}};
    FL_CLEANUP(control_cleanup_object) struct control_object *read = NULL;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *document = control_trim(key->kind, api_version, object);
    struct control_identity identity;
    struct fl_err err = {0};
    if (document == NULL)
        return false;
    int result = control_object_read(document, NULL, &origin, &read, &identity, &err);
    if (result == -ENOMEM)
        return false;
    if (result == CONTROL_READ_OK)
        return take_object(kubernetes, change, key, read);
    if (result == CONTROL_READ_FOREIGN)
        return true;
    return say(kubernetes, key,
               in_force(kubernetes, change, key) != NULL ? CONTROL_PROBLEM_INVALID_KEPT : CONTROL_PROBLEM_INVALID,
               &err);
}

static bool remove_object(struct control_kubernetes *kubernetes, const struct control_key *key)
{
    say_nothing(kubernetes, key);
    return control_store_remove(kubernetes->store, *key) == 0;
}

static bool on_change(void *owner, enum control_kind kind, enum fl_kube_change change, const char *api_version,
                      const struct fl_json *object)
{
    struct control_kubernetes *kubernetes = owner;
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    const struct control_key key = {
        kind,
        control_kind_namespaced(kind) ? fl_json_string(fl_json_get(metadata, "namespace")) : FL_SPAN(""),
        fl_json_string(fl_json_get(metadata, "name")),
    };
    if (has_status(kind) && kubernetes->options.on_object != NULL)
        kubernetes->options.on_object(kubernetes->options.owner, kind, change, object);
    touch(kubernetes);
    if (change == FL_KUBE_DELETED)
        return remove_object(kubernetes, &key);
    return read_object(kubernetes, change, api_version, &key, object);
}

/* -- commits ------------------------------------------------------------------------------------------------------- */

static int update_problems(struct control_kubernetes *kubernetes)
{
    struct control_problems *problems = NULL;
    if (!kubernetes->invalid_changed)
        return 0;
    int result = control_invalid_list(&kubernetes->invalid, &problems);
    if (result < 0)
        return result;
    control_store_set_problems(kubernetes->store, problems);
    control_problems_unref(problems);
    kubernetes->invalid_changed = false;
    return 0;
}

static size_t count_objects(const struct control_kubernetes *kubernetes)
{
    size_t count = 0;
    for (int kind = 0; kind < CONTROL_KIND_COUNT; kind++)
        count += control_model_all(control_store_model(kubernetes->store), (enum control_kind)kind).count;
    return count;
}

static void follow_up(struct control_kubernetes *kubernetes, struct control_diff *diff)
{
    size_t changes = diff->count;
    if (diff->before != diff->after) {
        kubernetes->stats.commits++;
        kubernetes->stats.objects = count_objects(kubernetes);
        kubernetes->stats.problems = control_invalid_count(&kubernetes->invalid);
        if (kubernetes->options.on_commit != NULL)
            kubernetes->options.on_commit(kubernetes->options.owner, diff);
    }
    control_diff_free(diff);
    if (changes > TRIM_COUNT)
        malloc_trim(0); /* what was parsed was much larger than what stays */
}

/* The loop's clock stands still within a turn. */
static uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* 0, or -ENOMEM: nothing was taken over, and it may be tried again. */
static int commit(struct control_kubernetes *kubernetes)
{
    struct control_diff *diff = NULL;
    uint64_t begun = clock_ms();
    int result = update_problems(kubernetes);
    if (result == 0)
        result = control_store_commit(kubernetes->store, &diff);
    if (result < 0)
        return result;
    uint64_t since = kubernetes->dirty_since_ms;
    kubernetes->dirty_since_ms = 0;
    follow_up(kubernetes, diff);
    kubernetes->committed_ms = clock_ms();
    kubernetes->cost_ms = kubernetes->committed_ms - begun;
    if (since > 0)
        fl_histogram_observe(kubernetes->lag, (double)(kubernetes->committed_ms - since) / 1000);
    return 0;
}

static void on_settle(struct fl_timer *timer);

/* Once it begins to fail, once it is well again. */
static bool try_commit(struct control_kubernetes *kubernetes)
{
    int result = commit(kubernetes);
    if (result < 0 && !kubernetes->failing)
        fl_log(FL_LOG_ERROR, "the model cannot be changed: what is in force stays",
               FL_LOG_STR("error", strerror(-result)));
    else if (result == 0 && kubernetes->failing)
        fl_log_message(FL_LOG_INFO, "the model is changed again");
    kubernetes->failing = result < 0;
    if (result < 0)
        fl_timer_set(kubernetes->loop, &kubernetes->settle, RETRY_MS, on_settle);
    return result == 0;
}

static void on_settle(struct fl_timer *timer)
{
    struct control_kubernetes *kubernetes = FL_CONTAINER_OF(timer, struct control_kubernetes, settle);
    try_commit(kubernetes);
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Something changed: commit once it is quiet, or has not been quiet for long; and leave time for everything else. */
static void touch(struct control_kubernetes *kubernetes)
{
    uint64_t now = fl_loop_now_ms(kubernetes->loop), due = now + CONTROL_KUBERNETES_SETTLE_MS;
    if (kubernetes->dirty_since_ms == 0)
        kubernetes->dirty_since_ms = now;
    if (!kubernetes->listed)
        return;
    uint64_t latest = kubernetes->dirty_since_ms + CONTROL_KUBERNETES_SETTLE_MAX_MS;
    due = due < latest ? due : latest;
    due = later(due, kubernetes->committed_ms + (SHARE - 1) * kubernetes->cost_ms);
    fl_timer_set(kubernetes->loop, &kubernetes->settle, due > now ? due - now : 0, on_settle);
}

/* -- what went while nobody looked --------------------------------------------------------------------------------- */

static bool is_listed(const struct control_collection *listed, const struct control_key *key)
{
    return listed != NULL && control_collection_listed(listed, key);
}

/* The publisher hears of it as of any other. */
static void tell_gone(struct control_kubernetes *kubernetes, const struct control_key *key)
{
    if (!has_status(key->kind) || kubernetes->options.on_object == NULL)
        return;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = fl_json_new_object();
    struct fl_json *metadata = fl_json_new_object();
    if (object == NULL || fl_json_set(object, "metadata", metadata) < 0 ||
        fl_json_set(metadata, "name", fl_json_new_string(key->name)) < 0 ||
        fl_json_set(metadata, "namespace", fl_json_new_string(key->name_space)) < 0)
        return; /* memory is out: it will find nothing to write to */
    kubernetes->options.on_object(kubernetes->options.owner, key->kind, FL_KUBE_DELETED, object);
}

static bool on_sweep(void *owner, enum control_kind kind, const struct control_collection *listed)
{
    struct control_kubernetes *kubernetes = owner;
    struct control_key key;
    if (control_store_is_pending(kubernetes->store) && commit(kubernetes) < 0)
        return false; /* what is in the model is all that there is, now */
    struct control_objects objects = control_model_all(control_store_model(kubernetes->store), kind);
    for (size_t cursor = 0; control_invalid_next(&kubernetes->invalid, &cursor, &key);)
        if (key.kind == kind && !is_listed(listed, &key))
            say_nothing(kubernetes, &key);
    for (size_t i = 0; i < objects.count; i++) {
        key = control_object_key(objects.items[i]);
        if (is_listed(listed, &key))
            continue;
        if (control_store_remove(kubernetes->store, key) < 0)
            return false;
        tell_gone(kubernetes, &key);
    }
    touch(kubernetes);
    return true;
}

/* -- the first state ----------------------------------------------------------------------------------------------- */

static bool is_there(const struct control_kubernetes *kubernetes, enum control_kind kind)
{
    if (kubernetes->collections[kind] == NULL)
        return true;
    struct control_collection_stats stats = control_collection_stats(kubernetes->collections[kind]);
    bool needed = is_core(kind) || control_kind_closes(kind);
    if (stats.state == CONTROL_KIND_SYNCED)
        return !needed || !stats.partial;
    if (stats.state == CONTROL_KIND_MISSING)
        return !is_core(kind);
    return !needed && kubernetes->waited;
}

static bool are_there(const struct control_kubernetes *kubernetes, bool needed_alone)
{
    for (int i = 0; i < CONTROL_KIND_COUNT; i++) {
        enum control_kind kind = (enum control_kind)i;
        if ((!needed_alone || is_core(kind) || control_kind_closes(kind)) && !is_there(kubernetes, kind))
            return false;
    }
    return true;
}

static void say_synced(struct control_kubernetes *kubernetes)
{
    kubernetes->synced = true;
    if (kubernetes->options.on_synced != NULL)
        kubernetes->options.on_synced(kubernetes->options.owner);
}

static void on_waited(struct fl_timer *timer);

static void check_listed(struct control_kubernetes *kubernetes)
{
    if (kubernetes->listed)
        return;
    if (!are_there(kubernetes, false)) {
        if (are_there(kubernetes, true) && !fl_timer_is_set(&kubernetes->wait))
            fl_timer_set(kubernetes->loop, &kubernetes->wait, CONTROL_KUBERNETES_WAIT_MS, on_waited);
        return;
    }
    if (!try_commit(kubernetes)) {
        fl_timer_cancel(&kubernetes->settle);
        fl_timer_set(kubernetes->loop, &kubernetes->wait, RETRY_MS, on_waited);
        return;
    }
    fl_timer_cancel(&kubernetes->wait);
    kubernetes->listed = true;
    say_synced(kubernetes);
}

static void on_waited(struct fl_timer *timer)
{
    struct control_kubernetes *kubernetes = FL_CONTAINER_OF(timer, struct control_kubernetes, wait);
    kubernetes->waited = true;
    check_listed(kubernetes);
}

static void on_state(void *owner, enum control_kind kind)
{
    (void)kind;
    check_listed(owner);
}

/* -- metrics ------------------------------------------------------------------------------------------------------- */

static void make_metrics(struct control_kubernetes *kubernetes, enum control_kind kind)
{
    struct fl_metrics *metrics = kubernetes->options.metrics;
    const struct fl_span label = fl_span_str(control_kind_name(kind));
    kubernetes->metrics[kind] = (struct kind_metrics){
        .objects = fl_metrics_gauge(metrics, &objects_family, &label),
        .synced = fl_metrics_gauge(metrics, &synced_family, &label),
        .silence = fl_metrics_gauge(metrics, &silence_family, &label),
        .lists = fl_metrics_counter(metrics, &lists_family, &label),
        .watches = fl_metrics_counter(metrics, &watches_family, &label),
        .events = fl_metrics_counter(metrics, &events_family, &label),
        .troubles = fl_metrics_counter(metrics, &troubles_family, &label),
    };
}

static void tell_metrics(struct control_kubernetes *kubernetes, enum control_kind kind)
{
    struct kind_metrics *metrics = &kubernetes->metrics[kind];
    struct control_collection_stats stats = control_collection_stats(kubernetes->collections[kind]);
    bool well = stats.state == CONTROL_KIND_SYNCED && !stats.failing && !stats.partial;
    fl_gauge_set(metrics->objects, (double)control_model_all(control_store_model(kubernetes->store), kind).count);
    fl_gauge_set(metrics->synced, stats.state == CONTROL_KIND_MISSING ? -1 : well ? 1 : 0);
    fl_gauge_set(metrics->silence, stats.heard_ms == 0 || stats.state == CONTROL_KIND_MISSING
                                       ? 0
                                       : (double)(fl_loop_now_ms(kubernetes->loop) - stats.heard_ms) / 1000);
    fl_counter_add(metrics->lists, stats.lists - metrics->told.lists);
    fl_counter_add(metrics->watches, stats.watches - metrics->told.watches);
    fl_counter_add(metrics->events, stats.events - metrics->told.events);
    fl_counter_add(metrics->troubles, stats.troubles - metrics->told.troubles);
    metrics->told = stats;
}

static void on_tick(struct fl_timer *timer)
{
    struct control_kubernetes *kubernetes = FL_CONTAINER_OF(timer, struct control_kubernetes, tick);
    for (int kind = 0; kind < CONTROL_KIND_COUNT; kind++) {
        if (kubernetes->collections[kind] == NULL)
            continue;
        control_collection_look(kubernetes->collections[kind]);
        if (kubernetes->options.metrics != NULL)
            tell_metrics(kubernetes, (enum control_kind)kind);
    }
    fl_timer_set(kubernetes->loop, timer, TICK_MS, on_tick);
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

static int start(struct control_kubernetes *kubernetes, struct fl_kube_client *client)
{
    for (int i = 0; i < CONTROL_KIND_COUNT; i++) {
        enum control_kind kind = (enum control_kind)i;
        const struct control_collection_options options = {
            .kind = kind,
            .look_ms = CONTROL_KUBERNETES_LOOK_MS,
            .gone_ms = CONTROL_KUBERNETES_GONE_MS,
            .on_change = on_change,
            .on_sweep = on_sweep,
            .on_state = on_state,
            .owner = kubernetes,
        };
        if (!is_followed(kind))
            continue;
        if (kubernetes->options.metrics != NULL)
            make_metrics(kubernetes, kind);
        int result = control_collection_new(kubernetes->loop, client, &options, &kubernetes->collections[kind]);
        if (result < 0)
            return result;
    }
    if (kubernetes->options.metrics != NULL)
        kubernetes->lag = fl_metrics_histogram(kubernetes->options.metrics, &lag_family, NULL);
    fl_timer_set(kubernetes->loop, &kubernetes->tick, TICK_MS, on_tick);
    return 0;
}

int control_kubernetes_open(struct fl_loop *loop, struct fl_kube_client *client, struct control_store *store,
                            const struct control_kubernetes_options *options,
                            struct control_kubernetes **ret_kubernetes, struct fl_err *err)
{
    struct control_kubernetes *kubernetes = calloc(1, sizeof(*kubernetes));
    if (kubernetes == NULL)
        return fl_err_errno(err, -ENOMEM, "source");
    kubernetes->loop = loop;
    kubernetes->store = store;
    kubernetes->options = *options;
    kubernetes->name_space = strdup(options->name_space);
    control_invalid_init(&kubernetes->invalid, CONTROL_KUBERNETES_PROBLEMS_MAX);
    int result = kubernetes->name_space != NULL ? start(kubernetes, client) : -ENOMEM;
    if (result < 0) {
        control_kubernetes_close(kubernetes);
        return fl_err_errno(err, result, "source");
    }
    *ret_kubernetes = kubernetes;
    return 0;
}

struct control_kubernetes *control_kubernetes_close(struct control_kubernetes *kubernetes)
{
    if (kubernetes == NULL)
        return NULL;
    for (size_t i = 0; i < CONTROL_KIND_COUNT; i++)
        control_collection_free(kubernetes->collections[i]);
    fl_timer_cancel(&kubernetes->settle);
    fl_timer_cancel(&kubernetes->wait);
    fl_timer_cancel(&kubernetes->tick);
    control_invalid_done(&kubernetes->invalid);
    free(kubernetes->name_space);
    free(kubernetes);
    return NULL;
}

struct control_kubernetes_stats control_kubernetes_stats(const struct control_kubernetes *kubernetes)
{
    struct control_kubernetes_stats stats = kubernetes->stats;
    stats.synced = kubernetes->synced;
    for (size_t i = 0; i < CONTROL_KIND_COUNT; i++) {
        if (kubernetes->collections[i] == NULL)
            continue;
        struct control_collection_stats kind = control_collection_stats(kubernetes->collections[i]);
        stats.states[i] = kind.state;
        stats.lists += kind.lists;
        stats.watches += kind.watches;
        stats.events += kind.events;
        stats.troubles += kind.troubles;
    }
    return stats;
}
