#include "control/source/collection.h"

#include "common/base/backoff.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/kube/object.h"
#include "common/loop/timer.h"

#include <errno.h>
#include <stdio.h>

#define AGAIN       10 /* behind memory that was out, a part of look_ms: so much of it */
#define PATH_ROOM   256
#define LISTED_MAX  (256u << 20) /* bytes of the names of one list */
#define ERROR_ROOM  FL_ERR_TEXT_MAX
#define ALIVE       "status.phase!=Succeeded,status.phase!=Failed"
#define PODS_PAGE   50 /* they are large: what is parsed at once is bounded by it */
#define OTHERS_PAGE 100

static const char *versions_of(enum control_kind kind)
{
    static const char *const versions[CONTROL_KIND_COUNT] = {
#define ROW(constant, name, group, api_versions, namespaced) [CONTROL_##constant] = (api_versions),
        CONTROL_KINDS(ROW)
#undef ROW
    };
    return versions[kind];
}

struct control_collection {
    struct fl_loop *loop;
    struct fl_kube_client *client;
    struct control_collection_options options;
    struct fl_kube_watch *watch; /* NULL: a timer will start one */
    struct fl_timer timer;
    struct fl_span versions;               /* that come behind the present one */
    char api_version[PATH_ROOM];           /* "apps/v1" */
    struct control_collection_stats stats; /* of the watches before */
    uint64_t gone_since_ms;                /* 404 after it was there; 0: it is there */
    uint64_t troubles;                     /* of the watch when it began to fail */
    int failure;                           /* what the log was told last; 0: nothing */
    bool told;                             /* the owner has objects of an earlier watch, or of this one */
    bool fresh;            /* the watch did not complete its first list yet, and the owner has objects */
    bool again;            /* memory was out within a callback */
    bool searching;        /* for a version that the server knows */
    uint64_t partial_list; /* the number of the list that had too many objects */
    uint64_t crowded_list; /* … of one namespace */
    struct fl_map listed;  /* while fresh: what the list had, by "namespace/name" */
    struct fl_arena names; /* of its keys */
};

static void on_due(struct fl_timer *timer);

/* -- names --------------------------------------------------------------------------------------------------------- */

static int print_path(const struct control_collection *collection, struct fl_buf *path)
{
    const char *root = control_kind_group(collection->options.kind)[0] != '\0' ? "/apis" : "/api";
    int result = fl_buf_printf(path, "%s/%s/", root, collection->api_version);
    return result == 0 ? fl_kube_plural(control_kind_name(collection->options.kind), path) : result;
}

/* Takes the next version; false where there is none. */
static bool next_version(struct control_collection *collection)
{
    const char *group = control_kind_group(collection->options.kind);
    struct fl_span version;
    if (!fl_span_split(&collection->versions, ' ', &version))
        return false;
    snprintf(collection->api_version, sizeof(collection->api_version), "%s%s%.*s", group, group[0] != '\0' ? "/" : "",
             FL_SPAN_ARG(version));
    return true;
}

static void search(struct control_collection *collection)
{
    collection->versions = fl_span_str(versions_of(collection->options.kind));
    collection->searching = next_version(collection);
}

static int print_key(const struct control_key *key, char *text, size_t room)
{
    return snprintf(text, room, "%.*s/%.*s", FL_SPAN_ARG(key->name_space), FL_SPAN_ARG(key->name));
}

/* -- what is told -------------------------------------------------------------------------------------------------- */

static void tell_state(struct control_collection *collection, enum control_kind_state state)
{
    collection->stats.state = state;
    collection->options.on_state(collection->options.owner, collection->options.kind);
}

/* Once where it begins, and where another thing goes wrong than before. */
static void tell_failure(struct control_collection *collection, const struct fl_err *err)
{
    struct fl_kube_watch_stats stats = fl_kube_watch_stats(collection->watch);
    collection->troubles = stats.troubles;
    if (collection->failure == err->code)
        return;
    collection->failure = err->code;
    fl_log(FL_LOG_WARNING,
           err->code == -EACCES ? "the API server refuses a kind: what is in force stays"
                                : "a kind cannot be followed: what is in force stays",
           FL_LOG_STR("kind", control_kind_name(collection->options.kind)),
           FL_LOG_STR("api_version", collection->api_version), FL_LOG_STR("error", err->text));
}

static void tell_well(struct control_collection *collection)
{
    if (collection->failure != 0)
        fl_log(FL_LOG_INFO, "a kind is followed again",
               FL_LOG_STR("kind", control_kind_name(collection->options.kind)));
    collection->failure = 0;
}

void control_collection_look(struct control_collection *collection)
{
    if (collection->failure == 0 || collection->watch == NULL)
        return;
    struct fl_kube_watch_stats stats = fl_kube_watch_stats(collection->watch);
    if (stats.synced && stats.watching && stats.troubles == collection->troubles)
        tell_well(collection);
}

/* -- a watch ------------------------------------------------------------------------------------------------------- */

static void forget_listed(struct control_collection *collection)
{
    fl_map_done(&collection->listed);
    fl_arena_done(&collection->names);
    fl_map_init(&collection->listed, CONTROL_OBJECTS_MAX);
    fl_arena_init(&collection->names, LISTED_MAX);
}

static void drop_watch(struct control_collection *collection)
{
    if (collection->watch == NULL)
        return;
    struct fl_kube_watch_stats stats = fl_kube_watch_stats(collection->watch);
    collection->stats.lists += stats.lists;
    collection->stats.watches += stats.watches;
    collection->stats.events += stats.events;
    collection->stats.troubles += stats.troubles;
    collection->stats.heard_ms = stats.heard_ms;
    collection->watch = fl_kube_watch_free(collection->watch);
    forget_listed(collection);
}

static void start_in(struct control_collection *collection, uint32_t delay_ms)
{
    drop_watch(collection);
    fl_timer_set(collection->loop, &collection->timer, delay_ms, on_due);
}

static int list(struct control_collection *collection, const struct control_key *key)
{
    char text[FL_KUBE_NAME_MAX + FL_KUBE_NAMESPACE_MAX + 2];
    int length = print_key(key, text, sizeof(text));
    if (length < 0 || (size_t)length >= sizeof(text))
        return -EINVAL;
    struct fl_span name = fl_arena_copy(&collection->names, fl_span_make(text, (size_t)length));
    int result = name.data != NULL ? fl_map_put(&collection->listed, name, collection) : -ENOMEM;
    return result == -EEXIST ? 0 : result;
}

static struct control_key key_of(const struct control_collection *collection, const struct fl_json *object)
{
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    return (struct control_key){collection->options.kind, fl_json_string(fl_json_get(metadata, "namespace")),
                                fl_json_string(fl_json_get(metadata, "name"))};
}

bool control_collection_listed(const struct control_collection *collection, const struct control_key *key)
{
    char text[FL_KUBE_NAME_MAX + FL_KUBE_NAMESPACE_MAX + 2];
    int length = print_key(key, text, sizeof(text));
    return length > 0 && (size_t)length < sizeof(text) &&
           fl_map_get(&collection->listed, fl_span_make(text, (size_t)length)) != NULL;
}

/* Something went: there may be room for what was left out, or nothing is left out any more. */
static void look_again(struct control_collection *collection)
{
    if ((collection->stats.partial || collection->stats.crowded) && !fl_timer_is_set(&collection->timer))
        fl_timer_set(collection->loop, &collection->timer, collection->options.look_ms, on_due);
}

static void on_change(void *owner, enum fl_kube_change change, const struct fl_json *object)
{
    struct control_collection *collection = owner;
    if (collection->again)
        return; /* all of it comes once more */
    collection->told = true;
    const struct control_key key = key_of(collection, object);
    if (change == FL_KUBE_DELETED)
        look_again(collection);
    if (collection->fresh && change != FL_KUBE_DELETED && list(collection, &key) == -ENOMEM)
        collection->again = true;
    else if (!collection->options.on_change(collection->options.owner, collection->options.kind, change,
                                            collection->api_version, object))
        collection->again = true;
    if (collection->again)
        start_in(collection, collection->options.look_ms / AGAIN);
}

static void on_left_out(void *owner, const struct fl_json *object, bool gone)
{
    struct control_collection *collection = owner;
    struct control_key key = {.kind = collection->options.kind};
    if (collection->again)
        return;
    if (gone) {
        look_again(collection);
        return;
    }
    collection->told = true;
    if (!collection->options.on_left_out(collection->options.owner, collection->options.kind, object, &key) ||
        (collection->fresh && key.name.len > 0 && list(collection, &key) == -ENOMEM)) {
        collection->again = true;
        start_in(collection, collection->options.look_ms / AGAIN);
    }
}

static void on_synced(void *owner)
{
    struct control_collection *collection = owner;
    collection->gone_since_ms = 0;
    if (collection->fresh &&
        !collection->options.on_sweep(collection->options.owner, collection->options.kind, collection)) {
        collection->again = true;
        start_in(collection, collection->options.look_ms / AGAIN);
        return;
    }
    if (!collection->fresh) /* a list of the same watch: what stands for those that were left out is not swept */
        look_again(collection);
    collection->fresh = false;
    collection->searching = false;
    uint64_t lists = fl_kube_watch_stats(collection->watch).lists;
    collection->stats.partial = collection->partial_list == lists;
    collection->stats.crowded = collection->crowded_list == lists;
    forget_listed(collection);
    tell_well(collection);
    tell_state(collection, CONTROL_KIND_SYNCED);
}

/* -- kinds that are not there -------------------------------------------------------------------------------------- */

/* Whether what was there is to stay: API servers that start may say so too. */
static bool may_come_back(struct control_collection *collection)
{
    uint64_t now = fl_loop_now_ms(collection->loop);
    if (collection->gone_since_ms == 0)
        collection->gone_since_ms = now > 0 ? now : 1;
    return now - collection->gone_since_ms < collection->options.gone_ms;
}

/* No version of it is there. */
static void give_up(struct control_collection *collection)
{
    const struct control_collection_options *options = &collection->options;
    uint32_t spread = fl_backoff_draw(options->look_ms / 4); /* of many kinds, and many of us */
    collection->failure = 0;
    search(collection);
    start_in(collection, options->look_ms + spread);
    if (collection->told && !options->on_sweep(options->owner, options->kind, NULL))
        return; /* memory was out: when it is looked for next */
    collection->told = false;
    collection->gone_since_ms = 0;
    if (collection->stats.state != CONTROL_KIND_MISSING)
        tell_state(collection, CONTROL_KIND_MISSING);
}

static void on_not_found(struct control_collection *collection, const struct fl_err *err)
{
    if (!collection->searching && may_come_back(collection)) {
        tell_failure(collection, err);
        return;
    }
    if (!collection->searching)
        search(collection);
    else if (!next_version(collection)) {
        give_up(collection);
        return;
    }
    start_in(collection, 0);
}

static void on_trouble(void *owner, const struct fl_err *err)
{
    struct control_collection *collection = owner;
    if (err->code == -ENOENT) {
        on_not_found(collection, err);
        return;
    }
    tell_failure(collection, err);
    bool synced = collection->stats.state == CONTROL_KIND_SYNCED; /* behind the list it counts at once */
    if (err->code == -ENOSPC) {
        collection->partial_list = fl_kube_watch_stats(collection->watch).lists;
        collection->stats.partial = collection->stats.partial || synced;
    } else if (err->code == -EDQUOT) {
        collection->crowded_list = fl_kube_watch_stats(collection->watch).lists;
        collection->stats.crowded = collection->stats.crowded || synced;
    }
    if (err->code == -EACCES && collection->stats.state != CONTROL_KIND_SYNCED &&
        collection->stats.state != CONTROL_KIND_DENIED)
        tell_state(collection, CONTROL_KIND_DENIED);
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

/* The sum of all is below what the store takes. */
static size_t objects_max(enum control_kind kind)
{
    return kind == CONTROL_POD || kind == CONTROL_ENDPOINT_SLICE ? 200000 : kind == CONTROL_SERVICE ? 100000 : 30000;
}

/* One namespace does not take the place of others: what is left out beyond it is its own. */
static size_t namespace_max(enum control_kind kind)
{
    return kind == CONTROL_POD || kind == CONTROL_ENDPOINT_SLICE ? 50000 : kind == CONTROL_SERVICE ? 20000 : 5000;
}

static void start(struct control_collection *collection)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf path;
    fl_buf_init(&path, PATH_ROOM);
    int result = print_path(collection, &path);
    const char *text = result == 0 ? fl_buf_str(&path) : NULL;
    bool pods = collection->options.kind == CONTROL_POD;
    const struct fl_kube_watch_options options = {
        .path = text,
        .field_selector = pods ? ALIVE : NULL,
        .page = pods ? PODS_PAGE : OTHERS_PAGE,
        .objects_max = objects_max(collection->options.kind),
        .namespace_max = collection->options.namespace_max > 0 ? collection->options.namespace_max
                                                               : namespace_max(collection->options.kind),
        .backoff_ms = collection->options.backoff_ms,
        .backoff_max_ms = collection->options.backoff_ms * 16,
        .on_change = on_change,
        .on_synced = on_synced,
        .on_left_out = on_left_out,
        .on_trouble = on_trouble,
        .owner = collection,
    };
    collection->again = false;
    collection->fresh = collection->told;
    collection->partial_list = collection->crowded_list = 0;
    if (text == NULL || fl_kube_watch_new(collection->loop, collection->client, &options, &collection->watch) < 0)
        /* memory is out */
        start_in(collection, collection->options.look_ms / AGAIN);
}

static void on_due(struct fl_timer *timer)
{
    struct control_collection *collection = FL_CONTAINER_OF(timer, struct control_collection, timer);
    drop_watch(collection); /* one that goes on has left something out */
    start(collection);
}

int control_collection_new(struct fl_loop *loop, struct fl_kube_client *client,
                           const struct control_collection_options *options, struct control_collection **ret_collection)
{
    struct control_collection *collection = calloc(1, sizeof(*collection));
    if (collection == NULL)
        return -ENOMEM;
    collection->loop = loop;
    collection->client = client;
    collection->options = *options;
    forget_listed(collection);
    search(collection);
    fl_timer_set(loop, &collection->timer, 0, on_due);
    *ret_collection = collection;
    return 0;
}

struct control_collection *control_collection_free(struct control_collection *collection)
{
    if (collection == NULL)
        return NULL;
    fl_timer_cancel(&collection->timer);
    fl_kube_watch_free(collection->watch);
    fl_map_done(&collection->listed);
    fl_arena_done(&collection->names);
    free(collection);
    return NULL;
}

struct control_collection_stats control_collection_stats(const struct control_collection *collection)
{
    struct control_collection_stats stats = collection->stats;
    stats.failing = collection->failure != 0;
    if (collection->watch == NULL)
        return stats;
    struct fl_kube_watch_stats watch = fl_kube_watch_stats(collection->watch);
    stats.lists += watch.lists;
    stats.watches += watch.watches;
    stats.events += watch.events;
    stats.troubles += watch.troubles;
    stats.heard_ms = watch.heard_ms;
    return stats;
}
