#include "control/status/publish.h"

#include "control/status/publisher.h"
#include "control/status/report.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define WAIT_MS     200 /* behind a change of the model */
#define REST        9   /* a round rests so many times as long as it took */
#define BACKOFF_MS  500
#define BACKOFF_MAX 30000

static const struct fl_metric_family writes_family = {
    .name = "fairlead_control_status_writes_total", .help = "Statuses written to the API.", .kind = FL_METRIC_COUNTER};
static const struct fl_metric_family failures_family = {.name = "fairlead_control_status_failures_total",
                                                        .help = "Writes of a status that failed.",
                                                        .kind = FL_METRIC_COUNTER};
static const struct fl_metric_family conflicts_family = {
    .name = "fairlead_control_status_conflicts_total",
    .help = "Writes of a status that came too late: the object had changed.",
    .kind = FL_METRIC_COUNTER};
static const struct fl_metric_family fights_family = {.name = "fairlead_control_status_fights_total",
                                                      .help = "Writes of a status that somebody else had undone.",
                                                      .kind = FL_METRIC_COUNTER};
static const struct fl_metric_family due_family = {
    .name = "fairlead_control_status_due", .help = "Objects whose status is to be looked at.", .kind = FL_METRIC_GAUGE};

static int64_t machine_clock(void)
{
    return (int64_t)time(NULL);
}

/* -- what was seen ---------------------------------------------------------------------------------------------------
 */

bool control_publisher_wants(enum control_kind kind)
{
    return control_status_has(kind);
}

static void entry_free(struct publisher_entry *entry)
{
    if (entry == NULL)
        return;
    publisher_leave(entry);
    if (entry->exchange != NULL) {
        fl_kube_cancel(entry->exchange);
        entry->publisher->flying--;
    }
    free(entry->text);
    free(entry->api_version);
    free(entry);
}

/* False: names that no object has. */
static bool key_print(enum control_kind kind, struct fl_span name_space, struct fl_span name,
                      char room[PUBLISHER_KEY_ROOM])
{
    int length =
        snprintf(room, PUBLISHER_KEY_ROOM, "%d/%.*s/%.*s", (int)kind, FL_SPAN_ARG(name_space), FL_SPAN_ARG(name));
    return name.len > 0 && name.len <= FL_KUBE_NAME_MAX && name_space.len <= FL_KUBE_NAMESPACE_MAX && length > 0 &&
           length < PUBLISHER_KEY_ROOM && strlen(room) == (size_t)length;
}

static struct publisher_entry *entry_of(struct control_publisher *publisher, enum control_kind kind,
                                        struct fl_span name_space, struct fl_span name)
{
    char key[PUBLISHER_KEY_ROOM];
    if (!key_print(kind, name_space, name, key))
        return NULL;
    struct publisher_entry *entry = fl_map_get(&publisher->entries, fl_span_str(key));
    if (entry != NULL)
        return entry;
    entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return NULL;
    entry->publisher = publisher;
    entry->kind = kind;
    memcpy(entry->key, key, sizeof(key));
    size_t begin = (size_t)(strchr(entry->key, '/') - entry->key) + 1;
    entry->name_space = fl_span_make(entry->key + begin, name_space.len);
    entry->name = fl_span_make(entry->key + begin + name_space.len + 1, name.len);
    if (fl_map_put(&publisher->entries, fl_span_str(entry->key), entry) == 0)
        return entry;
    free(entry);
    return NULL;
}

static void forget(struct control_publisher *publisher, enum control_kind kind, struct fl_span name_space,
                   struct fl_span name)
{
    char key[PUBLISHER_KEY_ROOM];
    if (key_print(kind, name_space, name, key))
        entry_free(fl_map_remove(&publisher->entries, fl_span_str(key)));
}

static int take_part(struct fl_json *root, const char *name, const struct fl_json *value)
{
    return value != NULL ? fl_json_set(root, name, fl_json_share(value)) : 0;
}

/* Keeps what is compared later: as text, for a tree is ten times as large. */
int publisher_take(struct publisher_entry *entry, const struct fl_json *object)
{
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    struct fl_span version = fl_json_string(fl_json_get(metadata, "resourceVersion"));
    struct fl_span api_version = fl_json_string(fl_json_get(object, "apiVersion"));
    struct fl_buf text;
    int64_t generation = 0;
    if (version.len == 0 || version.len > PUBLISHER_VERSION_MAX)
        return -EINVAL;
    (void)fl_json_int(fl_json_get(metadata, "generation"), 0, INT64_C(1) << 53, &generation);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = fl_json_new_object();
    fl_buf_init(&text, CONTROL_PUBLISH_STATUS_MAX);
    int result = root != NULL ? take_part(root, "version", fl_json_get(metadata, "resourceVersion")) : -ENOMEM;
    if (result == 0)
        result = take_part(root, "parents", fl_json_get(fl_json_get(object, "spec"), "parentRefs"));
    if (result == 0)
        result = take_part(root, "status", fl_json_get(object, "status"));
    if (result == 0)
        result = fl_json_print(root, &text);
    char *copy = result == 0 ? fl_span_dup(fl_buf_span(&text)) : NULL;
    char *api = result == 0 && api_version.len > 0 ? fl_span_dup(api_version) : NULL;
    if (result == 0 && (copy == NULL || (api == NULL && api_version.len > 0)))
        result = -ENOMEM;
    if (result == 0) {
        free(entry->text);
        entry->text = copy;
        entry->length = text.len;
        if (api != NULL) {
            free(entry->api_version);
            entry->api_version = api;
        }
        if (entry->generation != generation)
            entry->changed_ms = publisher_now_ms(entry->publisher);
        entry->generation = generation;
    } else {
        free(copy);
        free(api);
    }
    fl_buf_done(&text);
    return result;
}

void control_publisher_saw(struct control_publisher *publisher, enum control_kind kind, enum fl_kube_change change,
                           const struct fl_json *object)
{
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    struct fl_span name_space = fl_json_string(fl_json_get(metadata, "namespace"));
    struct fl_span name = fl_json_string(fl_json_get(metadata, "name"));
    if (!control_status_has(kind))
        return;
    if (change == FL_KUBE_DELETED) {
        forget(publisher, kind, name_space, name);
        return;
    }
    struct publisher_entry *entry = entry_of(publisher, kind, name_space, name);
    if (entry == NULL || publisher_take(entry, object) < 0) {
        publisher->stats.forgotten++;
        forget(publisher, kind, name_space, name);
        return;
    }
    if (entry->place == PLACE_ASIDE && entry->conflicts > 0)
        entry->not_before_ms = 0; /* this is what it waited for */
    entry->conflicts = 0;
    entry->newer = entry->place == PLACE_FLYING;
    publisher_enqueue(entry);
}

/* -- rounds ----------------------------------------------------------------------------------------------------------
 */

static void begin_round(struct control_publisher *publisher)
{
    void *value = NULL;
    publisher->round_ns = 0;
    if (publisher->model == NULL || !publisher->leads)
        return;
    publisher_drop_problems(publisher);
    for (size_t cursor = 0; fl_map_next(&publisher->entries, &cursor, NULL, &value);)
        publisher_enqueue(value);
}

static void on_round(struct fl_timer *timer)
{
    begin_round(FL_CONTAINER_OF(timer, struct control_publisher, round));
}

void control_publisher_update(struct control_publisher *publisher, struct control_model *model)
{
    struct control_model *before = publisher->model;
    publisher->model = control_model_ref(model);
    publisher->model_ms = publisher_now_ms(publisher);
    control_model_unref(before);
    publisher_drop_problems(publisher);
    if (!publisher->leads || fl_timer_is_set(&publisher->round))
        return;
    uint64_t rest = publisher->round_ns * REST / 1000000;
    fl_timer_set(publisher->loop, &publisher->round, rest > publisher->wait_ms ? rest : publisher->wait_ms, on_round);
}

/* -- life ------------------------------------------------------------------------------------------------------------
 */

static void stand_down(struct control_publisher *publisher)
{
    void *value = NULL;
    for (size_t cursor = 0; fl_map_next(&publisher->entries, &cursor, NULL, &value);) {
        struct publisher_entry *entry = value;
        publisher_leave(entry);
        if (entry->exchange != NULL)
            publisher->flying--;
        entry->exchange = fl_kube_cancel(entry->exchange);
        entry->place = PLACE_NONE;
        entry->newer = false;
    }
    publisher->bundle_exchange = fl_kube_cancel(publisher->bundle_exchange);
    fl_timer_cancel(&publisher->work);
    fl_timer_cancel(&publisher->aside_timer);
    fl_timer_cancel(&publisher->round);
    fl_timer_cancel(&publisher->bundle_timer);
}

void control_publisher_lead(struct control_publisher *publisher, bool leads)
{
    if (publisher->leads == leads)
        return;
    publisher->leads = leads;
    if (!leads) {
        stand_down(publisher);
        return;
    }
    publisher->paused_until_ms = 0;
    begin_round(publisher);
    publisher_ask_bundle(publisher);
}

int control_publisher_new(struct fl_loop *loop, struct fl_kube_client *client,
                          const struct control_publisher_options *options, struct control_publisher **ret_publisher)
{
    struct control_publisher *publisher = calloc(1, sizeof(*publisher));
    if (publisher == NULL)
        return -ENOMEM;
    publisher->loop = loop;
    publisher->client = client;
    publisher->requests = options->requests > 0 ? options->requests : CONTROL_PUBLISH_REQUESTS;
    publisher->rate = options->rate > 0 ? options->rate : CONTROL_PUBLISH_RATE;
    publisher->wait_ms = options->wait_ms > 0 ? options->wait_ms : WAIT_MS;
    publisher->fight_ms = options->fight_ms > 0 ? options->fight_ms : CONTROL_PUBLISH_FIGHT_MS;
    publisher->clock = options->clock != NULL ? options->clock : machine_clock;
    publisher->tokens = publisher->rate;
    publisher->tokens_ms = publisher_now_ms(publisher);
    fl_backoff_init(&publisher->backoff, BACKOFF_MS, BACKOFF_MAX);
    fl_map_init(&publisher->entries, CONTROL_PUBLISH_OBJECTS_MAX);
    publisher_line_init(&publisher->line);
    publisher_line_init(&publisher->late);
    publisher_line_init(&publisher->aside);
    fl_tally_init(&publisher->second);
    if (options->metrics != NULL) {
        publisher->writes = fl_metrics_counter(options->metrics, &writes_family, NULL);
        publisher->failures = fl_metrics_counter(options->metrics, &failures_family, NULL);
        publisher->conflicts = fl_metrics_counter(options->metrics, &conflicts_family, NULL);
        publisher->fights = fl_metrics_counter(options->metrics, &fights_family, NULL);
        publisher->due = fl_metrics_gauge(options->metrics, &due_family, NULL);
    }
    *ret_publisher = publisher;
    return 0;
}

struct control_publisher *control_publisher_free(struct control_publisher *publisher)
{
    void *value = NULL;
    if (publisher == NULL)
        return NULL;
    stand_down(publisher);
    for (size_t cursor = 0; fl_map_next(&publisher->entries, &cursor, NULL, &value);)
        entry_free(value);
    fl_map_done(&publisher->entries);
    fl_tally_done(&publisher->second);
    publisher_drop_problems(publisher);
    control_model_unref(publisher->model);
    free(publisher);
    return NULL;
}

struct control_publisher_stats control_publisher_stats(const struct control_publisher *publisher)
{
    struct control_publisher_stats stats = publisher->stats;
    stats.objects = publisher->entries.count;
    stats.due = publisher_due(publisher);
    stats.leads = publisher->leads;
    stats.settled =
        publisher->leads && publisher->model != NULL && stats.due == 0 && !fl_timer_is_set(&publisher->round);
    return stats;
}
