/* Collections tell of objects; each is cut, read and put into the store here; a timer commits. Until every kind is
 * there nothing is committed, and until the Secrets are nothing is said to be ready. */
#include "control/source/kubernetes.h"

#include "common/base/log.h"
#include "common/doc/json.h"
#include "common/loop/timer.h"
#include "control/model/reader.h"
#include "control/source/collection.h"
#include "control/source/invalid.h"
#include "control/source/meter.h"
#include "control/source/referred.h"
#include "control/source/trim.h"

#include <errno.h>
#include <malloc.h>
#include <time.h>

#define AGAIN      10   /* behind a commit for which memory was out, a part of look_ms: so much of it */
#define TICK_MS    2000 /* for metrics, and whether kinds are well again */
#define SHARE      4    /* of the time that commits may take: one in so many */
#define TRIM_COUNT 1000 /* changes of a commit, from which on freed memory goes back to the kernel */

struct control_kubernetes {
    struct fl_loop *loop;
    struct control_store *store;
    struct control_kubernetes_options options;
    char *name_space;                                           /* owned */
    struct control_collection *collections[CONTROL_KIND_COUNT]; /* NULL: not followed */
    struct control_meter meter;
    struct control_referred *referred;
    struct control_invalid invalid;
    struct fl_timer settle, wait, tick;
    uint64_t dirty_since_ms;        /* 0: clean */
    uint64_t committed_ms, cost_ms; /* the end of the last commit, and how long it took, followers included */
    bool invalid_changed;
    bool listed, asked, synced; /* the first commit has been; the Secrets were asked for; on_synced has been */
    bool waited;                /* for the kinds that may fail */
    bool unreferred;            /* memory was out when the Secrets were brought to the model */
    bool failing;               /* memory was out at the last commit */
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
    int result = control_object_read(
        document, NULL, &origin, control_model_root(control_store_model(kubernetes->store)), &read, &identity, &err);
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

/* -- Secrets ------------------------------------------------------------------------------------------------------- */

static bool on_secret(void *owner, const struct control_key *key, const struct fl_json *object)
{
    struct control_kubernetes *kubernetes = owner;
    touch(kubernetes);
    return object != NULL ? read_object(kubernetes, FL_KUBE_MODIFIED, "v1", key, object)
                          : remove_object(kubernetes, key);
}

static bool on_secret_trouble(void *owner, const struct control_key *key, const struct fl_err *trouble)
{
    struct control_kubernetes *kubernetes = owner;
    bool kept = control_store_find(kubernetes->store, *key) != NULL;
    touch(kubernetes);
    if (trouble == NULL) {
        say_nothing(kubernetes, key);
        return true;
    }
    struct fl_err err = *trouble;
    return say(kubernetes, key, kept ? CONTROL_PROBLEM_INVALID_KEPT : CONTROL_PROBLEM_INVALID, &err);
}

/* Whether who refers to which Secret may be another than before. */
static bool touches_references(const struct control_diff *diff)
{
    for (size_t i = 0; i < diff->count; i++) {
        const struct control_change *change = &diff->changes[i];
        enum control_kind kind = change->after != NULL ? change->after->kind : change->before->kind;
        if (kind == CONTROL_GATEWAY || kind == CONTROL_LISTENER_SET || kind == CONTROL_GATEWAY_CLASS ||
            kind == CONTROL_REFERENCE_GRANT)
            return true;
    }
    return false;
}

static void update_referred(struct control_kubernetes *kubernetes)
{
    kubernetes->unreferred = control_referred_update(kubernetes->referred, control_store_model(kubernetes->store)) < 0;
}

/* -- commits, carried out ------------------------------------------------------------------------------------------ */

static void tell_metrics(struct control_kubernetes *kubernetes)
{
    for (int i = 0; i < CONTROL_KIND_COUNT; i++) {
        enum control_kind kind = (enum control_kind)i;
        if (kubernetes->collections[kind] == NULL)
            continue;
        struct control_collection_stats stats = control_collection_stats(kubernetes->collections[kind]);
        size_t objects = control_model_all(control_store_model(kubernetes->store), kind).count;
        control_meter_tell(&kubernetes->meter, kind, &stats, objects, fl_loop_now_ms(kubernetes->loop));
    }
}

static void follow_up(struct control_kubernetes *kubernetes, struct control_diff *diff)
{
    size_t changes = diff->count;
    bool references = touches_references(diff);
    if (diff->before != diff->after) {
        kubernetes->stats.commits++;
        tell_metrics(kubernetes);
        kubernetes->stats.objects = count_objects(kubernetes);
        kubernetes->stats.problems = control_invalid_count(&kubernetes->invalid);
        if (kubernetes->options.on_commit != NULL)
            kubernetes->options.on_commit(kubernetes->options.owner, diff);
    }
    control_diff_free(diff);
    if (references && kubernetes->listed)
        update_referred(kubernetes);
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
        control_meter_commit(&kubernetes->meter, kubernetes->committed_ms - since);
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
        fl_timer_set(kubernetes->loop, &kubernetes->settle, kubernetes->options.pace.look_ms / AGAIN, on_settle);
    return result == 0;
}

static void advance(struct control_kubernetes *kubernetes);

static void on_settle(struct fl_timer *timer)
{
    struct control_kubernetes *kubernetes = FL_CONTAINER_OF(timer, struct control_kubernetes, settle);
    if (try_commit(kubernetes))
        advance(kubernetes);
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

/* -- what there is no room for ------------------------------------------------------------------------------------- */

/* Of settings one object counts, which closes under its own name; a policy might deny, so one stands for all that are
 * left out of its namespace, and is closed. */
static bool stands_for(const struct control_kubernetes *kubernetes, struct control_key *key)
{
    if (key->kind == CONTROL_MESH_SETTINGS)
        return fl_span_eq_str(key->name, "default") &&
               fl_span_eq(key->name_space, control_model_root(control_store_model(kubernetes->store)));
    key->name = FL_SPAN(CONTROL_LEFT_OUT);
    return control_kind_closes(key->kind);
}

static bool on_left_out(void *owner, enum control_kind kind, const struct fl_json *object, struct control_key *ret_key)
{
    struct control_kubernetes *kubernetes = owner;
    FL_CLEANUP(control_cleanup_object) struct control_object *closed = NULL;
    static const struct control_origin origin = {.source = {"", 0}};
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    struct control_key key = {kind, fl_json_string(fl_json_get(metadata, "namespace")),
                              fl_json_string(fl_json_get(metadata, "name"))};
    struct fl_err err = {0};
    if (!stands_for(kubernetes, &key))
        return true;
    *ret_key = key;
    if (control_invalid_has(&kubernetes->invalid, &key))
        return true;
    fl_err_set(&err, -ENOSPC, "there are more of them than are read, and the rest is left out");
    if (control_object_close(&key, &origin, key.name_space, err.text, NULL, &closed) < 0)
        return false;
    touch(kubernetes);
    return control_store_put(kubernetes->store, closed) == 0 && say(kubernetes, &key, CONTROL_PROBLEM_CLOSED, &err);
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

static void on_waited(struct fl_timer *timer);

static void wait_at_most(struct control_kubernetes *kubernetes, uint32_t milliseconds)
{
    kubernetes->waited = false;
    fl_timer_set(kubernetes->loop, &kubernetes->wait, milliseconds, on_waited);
}

/* Until everything is listed; what is needed has no end to its waiting. */
static void advance_list(struct control_kubernetes *kubernetes)
{
    if (!are_there(kubernetes, false)) {
        if (are_there(kubernetes, true) && !kubernetes->waited && !fl_timer_is_set(&kubernetes->wait))
            wait_at_most(kubernetes, kubernetes->options.pace.wait_ms);
        return;
    }
    if (!try_commit(kubernetes)) /* again behind it */
        return;
    kubernetes->listed = true;
    wait_at_most(kubernetes, CONTROL_KUBERNETES_SECRETS_MS);
    update_referred(kubernetes);
}

static void advance(struct control_kubernetes *kubernetes)
{
    if (!kubernetes->listed)
        advance_list(kubernetes);
    else if (!kubernetes->synced && (kubernetes->asked || kubernetes->waited) && try_commit(kubernetes)) {
        fl_timer_cancel(&kubernetes->wait);
        kubernetes->synced = true;
        if (kubernetes->options.on_synced != NULL)
            kubernetes->options.on_synced(kubernetes->options.owner);
    }
}

static void on_waited(struct fl_timer *timer)
{
    struct control_kubernetes *kubernetes = FL_CONTAINER_OF(timer, struct control_kubernetes, wait);
    kubernetes->waited = true;
    advance(kubernetes);
}

static void on_settled(void *owner)
{
    struct control_kubernetes *kubernetes = owner;
    kubernetes->asked = true;
    advance(kubernetes);
}

static void on_state(void *owner, enum control_kind kind)
{
    (void)kind;
    advance(owner);
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

static void on_tick(struct fl_timer *timer)
{
    struct control_kubernetes *kubernetes = FL_CONTAINER_OF(timer, struct control_kubernetes, tick);
    for (size_t kind = 0; kind < CONTROL_KIND_COUNT; kind++)
        if (kubernetes->collections[kind] != NULL)
            control_collection_look(kubernetes->collections[kind]);
    tell_metrics(kubernetes);
    if (kubernetes->unreferred)
        update_referred(kubernetes);
    fl_timer_set(kubernetes->loop, timer, TICK_MS, on_tick);
}

static int start(struct control_kubernetes *kubernetes, struct fl_kube_client *client)
{
    const struct control_referred_options secrets = {
        .refetch_ms = kubernetes->options.pace.refetch_ms,
        .on_object = on_secret,
        .on_trouble = on_secret_trouble,
        .on_settled = on_settled,
        .owner = kubernetes,
    };
    for (int i = 0; i < CONTROL_KIND_COUNT; i++) {
        enum control_kind kind = (enum control_kind)i;
        const struct control_collection_options options = {
            .kind = kind,
            .look_ms = kubernetes->options.pace.look_ms,
            .gone_ms = kubernetes->options.pace.gone_ms,
            .backoff_ms = kubernetes->options.pace.backoff_ms,
            .namespace_max = kubernetes->options.pace.namespace_max,
            .on_change = on_change,
            .on_left_out = on_left_out,
            .on_sweep = on_sweep,
            .on_state = on_state,
            .owner = kubernetes,
        };
        if (!is_followed(kind))
            continue;
        control_meter_make(&kubernetes->meter, kubernetes->options.metrics, kind);
        int result = control_collection_new(kubernetes->loop, client, &options, &kubernetes->collections[kind]);
        if (result < 0)
            return result;
    }
    fl_timer_set(kubernetes->loop, &kubernetes->tick, TICK_MS, on_tick);
    return control_referred_new(kubernetes->loop, client, &secrets, &kubernetes->referred);
}

static void set_pace(struct control_kubernetes_pace *pace)
{
    pace->wait_ms = pace->wait_ms > 0 ? pace->wait_ms : CONTROL_KUBERNETES_WAIT_MS;
    pace->look_ms = pace->look_ms > 0 ? pace->look_ms : CONTROL_KUBERNETES_LOOK_MS;
    pace->gone_ms = pace->gone_ms > 0 ? pace->gone_ms : CONTROL_KUBERNETES_GONE_MS;
    pace->refetch_ms = pace->refetch_ms > 0 ? pace->refetch_ms : CONTROL_KUBERNETES_REFETCH_MS;
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
    set_pace(&kubernetes->options.pace);
    kubernetes->name_space = strdup(options->name_space);
    control_invalid_init(&kubernetes->invalid, CONTROL_KUBERNETES_PROBLEMS_MAX,
                         CONTROL_KUBERNETES_PROBLEMS_OF_NAMESPACE);
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
    control_referred_free(kubernetes->referred);
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
