#include "control/ca/bundles.h"

#include "common/base/log.h"
#include "common/base/log_limit.h"
#include "common/base/map.h"
#include "common/base/print.h"
#include "common/kube/object.h"
#include "common/kube/watch.h"
#include "common/loop/timer.h"
#include "common/metrics/registry.h"
#include "common/pki/digest.h"
#include "control/ca/quota.h"
#include "control/ca/root.h"

#include <errno.h>
#include <stdio.h>
#include <sys/queue.h>

#define MANAGER    "?fieldManager=fairlead-control&force=true"
#define LABEL      "fairlead.io/bundle"
#define APPLY      "application/apply-patch+yaml"
#define ANSWER_MAX (2u << 20)
#define BODY_MAX   (2u * CONTROL_ROOT_BUNDLE_MAX)
#define RATE_LOOK  20 /* ms */
#define TRUST_PATH "/apis/certificates.k8s.io/v1/clustertrustbundles/" CONTROL_BUNDLES_NAME MANAGER
#define RETRY_MS   UINT64_C(1000)
#define COUNT_MS   500
#define DOUBLINGS  9

static const struct fl_metric_family namespaces_family = {.name = "fairlead_ca_bundle_namespaces",
                                                          .help = "Namespaces that are to have the trust bundle.",
                                                          .kind = FL_METRIC_GAUGE};
static const struct fl_metric_family differing_family = {.name = "fairlead_ca_bundle_namespaces_differing",
                                                         .help =
                                                             "Namespaces whose trust bundle is missing, or another.",
                                                         .kind = FL_METRIC_GAUGE};
static const struct fl_metric_family writes_family = {
    .name = "fairlead_ca_bundle_writes_total", .help = "Trust bundles that were written.", .kind = FL_METRIC_COUNTER};

struct place { /* a namespace, or what we heard of its ConfigMap before we heard of it */
    struct control_bundles *bundles;
    char name[FL_KUBE_NAMESPACE_MAX + 1];
    bool known;  /* the namespace is there, and is to have it */
    bool has;    /* a ConfigMap with the label; `digest` is of its key */
    bool queued; /* due */
    bool heard;  /* of the ConfigMap, since the last write began */
    unsigned char digest[FL_DIGEST_SIZE], sent[FL_DIGEST_SIZE];
    unsigned attempts; /* in a row, each not long after the one before */
    uint64_t written_ms, due_ms;
    struct fl_kube_exchange *exchange;
    TAILQ_ENTRY(place) link; /* of the queue */
};

struct control_bundles {
    struct fl_loop *loop;
    struct fl_kube_client *client;
    char configmap[FL_KUBE_NAME_MAX + 1], selector[FL_KUBE_NAME_MAX + 32];
    struct fl_buf pem; /* empty: not known yet */
    unsigned char digest[FL_DIGEST_SIZE];
    bool leads, maps_synced;
    struct fl_kube_watch *namespaces, *maps;
    struct fl_map places;
    TAILQ_HEAD(, place) queue;
    size_t under_way;
    struct control_quota *rate;
    struct fl_timer timer, trust_timer, count_timer;
    struct fl_kube_exchange *trust; /* the ClusterTrustBundle's */
    bool trust_told;
    struct fl_log_limit told;
    uint64_t failures;
    struct fl_counter *writes;
    struct fl_gauge *namespaces_gauge, *differing;
};

static void pump(struct control_bundles *bundles);

/* --- places --- */

static bool differs(const struct place *place)
{
    return place->known && place->bundles->pem.len > 0 &&
           (!place->has || memcmp(place->digest, place->bundles->digest, FL_DIGEST_SIZE) != 0);
}

static void leave_queue(struct place *place)
{
    if (place->queued)
        TAILQ_REMOVE(&place->bundles->queue, place, link);
    place->queued = false;
}

static void free_place(struct place *place)
{
    struct control_bundles *bundles = place->bundles;
    leave_queue(place);
    if (place->exchange != NULL)
        bundles->under_way--;
    place->exchange = fl_kube_cancel(place->exchange);
    fl_map_remove(&bundles->places, fl_span_str(place->name));
    free(place);
}

/* NULL: memory is out, or there are too many, which the watch tells. */
static struct place *place_of(struct control_bundles *bundles, struct fl_span name)
{
    struct place *place = fl_map_get(&bundles->places, name);
    if (place != NULL || name.len == 0 || name.len > FL_KUBE_NAMESPACE_MAX)
        return place;
    place = calloc(1, sizeof(*place));
    if (place == NULL)
        return NULL;
    place->bundles = bundles;
    memcpy(place->name, name.data, name.len);
    if (fl_map_put(&bundles->places, fl_span_str(place->name), place) < 0) {
        free(place);
        return NULL;
    }
    return place;
}

/* How long after now: at once, unless it was written a moment ago, again and again. */
static uint64_t delay_of(const struct place *place)
{
    uint64_t delay = CONTROL_BUNDLES_FIGHT_MS;
    if (place->attempts < 2)
        return 0;
    delay <<= place->attempts - 2 < DOUBLINGS ? place->attempts - 2 : DOUBLINGS;
    return delay < CONTROL_BUNDLES_FIGHT_MAX_MS ? delay : CONTROL_BUNDLES_FIGHT_MAX_MS;
}

static void look_at(struct place *place)
{
    uint64_t now_ms = fl_loop_now_ms(place->bundles->loop);
    if (!differs(place)) {
        leave_queue(place);
    } else if (!place->queued && place->exchange == NULL) {
        if (now_ms - place->written_ms >= CONTROL_BUNDLES_PEACE_MS * (uint64_t)(place->attempts + 1))
            place->attempts = 0;
        place->due_ms = now_ms + delay_of(place);
        place->queued = true;
        TAILQ_INSERT_TAIL(&place->bundles->queue, place, link);
    }
}

static void on_count(struct fl_timer *timer)
{
    struct control_bundles *bundles = FL_CONTAINER_OF(timer, struct control_bundles, count_timer);
    struct control_bundles_stats stats = control_bundles_stats(bundles);
    fl_gauge_set(bundles->namespaces_gauge, (double)stats.namespaces);
    fl_gauge_set(bundles->differing, (double)stats.differing);
}

/* Soon: a walk over all of them is not for each of very many events. */
static void count(struct control_bundles *bundles)
{
    if (!fl_timer_is_set(&bundles->count_timer))
        fl_timer_set(bundles->loop, &bundles->count_timer, COUNT_MS, on_count);
}

/* --- writing --- */

static void tell(struct control_bundles *bundles, const char *where, const struct fl_err *err)
{
    uint64_t suppressed = 0;
    bundles->failures++;
    if (fl_log_limit_take(&bundles->told, fl_loop_now_ms(bundles->loop), &suppressed))
        fl_log(FL_LOG_WARNING, "trust bundle not kept", FL_LOG_STR("where", where), FL_LOG_STR("error", err->text),
               FL_LOG_NUM("suppressed", suppressed));
}

static void on_written(void *owner, const struct fl_kube_answer *answer)
{
    struct place *place = owner;
    struct control_bundles *bundles = place->bundles;
    struct fl_err err = {0};
    place->exchange = NULL;
    bundles->under_way--;
    if (fl_kube_answer_check(answer, &err) == 0) {
        fl_counter_add(bundles->writes, 1);
        if (!place->heard) { /* what the watch told since is newer, or makes us write once more */
            place->has = true;
            memcpy(place->digest, place->sent, FL_DIGEST_SIZE);
        }
        fl_log(FL_LOG_DEBUG, "trust bundle written", FL_LOG_STR("namespace", place->name));
    } else if (answer->status == 404) { /* the namespace goes: its watch tells */
        place->known = false;
    } else {
        tell(bundles, place->name, &err);
        place->attempts += place->attempts < 2 ? 2 : 0; /* not at once */
    }
    look_at(place);
    count(bundles);
    pump(bundles);
}

static int print_map(const struct place *place, struct fl_buf *out)
{
    const struct control_bundles *bundles = place->bundles;
    struct fl_print print = {.out = out};
    fl_print(&print, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":");
    fl_print_json(&print, fl_span_str(bundles->configmap));
    fl_print(&print,
             ",\"namespace\":\"%s\",\"labels\":{\"" LABEL "\":\"true\"}},\"data\":{\"" CONTROL_BUNDLES_KEY "\":",
             place->name);
    fl_print_json(&print, fl_buf_span(&bundles->pem));
    fl_print(&print, "}}");
    return print.result;
}

static int send_map(struct place *place, struct fl_err *err)
{
    struct control_bundles *bundles = place->bundles;
    FL_CLEANUP(fl_buf_done) struct fl_buf body;
    char path[128 + FL_KUBE_NAMESPACE_MAX + FL_KUBE_NAME_MAX];
    fl_buf_init(&body, BODY_MAX);
    snprintf(path, sizeof(path), "/api/v1/namespaces/%s/configmaps/%s" MANAGER, place->name, bundles->configmap);
    int result = print_map(place, &body);
    if (result < 0)
        return fl_err_errno(err, result, "the trust bundle");
    const struct fl_kube_request request = {.method = "PATCH",
                                            .path = path,
                                            .content_type = APPLY,
                                            .body = fl_buf_span(&body),
                                            .body_max = ANSWER_MAX,
                                            .on_done = on_written,
                                            .owner = place};
    return fl_kube_send(bundles->client, &request, &place->exchange, err);
}

static void write_map(struct place *place, uint64_t now_ms)
{
    struct control_bundles *bundles = place->bundles;
    struct fl_err err = {0};
    leave_queue(place);
    place->attempts++;
    place->written_ms = now_ms;
    place->heard = false;
    memcpy(place->sent, bundles->digest, FL_DIGEST_SIZE);
    if (send_map(place, &err) == 0) {
        bundles->under_way++;
        return;
    }
    place->exchange = NULL;
    tell(bundles, place->name, &err);
    place->attempts += place->attempts < 2 ? 2 : 0;
    look_at(place);
}

static void on_due(struct fl_timer *timer)
{
    pump(FL_CONTAINER_OF(timer, struct control_bundles, timer));
}

/* Those that are due, as many as may be; comes again for the others. */
static void pump(struct control_bundles *bundles)
{
    uint64_t now_ms = fl_loop_now_ms(bundles->loop), next_ms = UINT64_MAX;
    struct place *place = TAILQ_FIRST(&bundles->queue), *next;
    if (!bundles->leads || !bundles->maps_synced)
        return;
    for (; place != NULL && bundles->under_way < CONTROL_BUNDLES_UNDER_WAY; place = next) {
        next = TAILQ_NEXT(place, link);
        if (place->due_ms > now_ms) {
            next_ms = place->due_ms < next_ms ? place->due_ms : next_ms;
        } else if (!control_quota_take(bundles->rate, FL_SPAN("all"), now_ms)) {
            next_ms = now_ms + RATE_LOOK;
            break;
        } else {
            write_map(place, now_ms);
        }
    }
    if (next_ms != UINT64_MAX)
        fl_timer_set(bundles->loop, &bundles->timer, next_ms - now_ms, on_due);
}

/* --- the ClusterTrustBundle --- */

static void write_trust(struct control_bundles *bundles);

static void on_trust_due(struct fl_timer *timer)
{
    write_trust(FL_CONTAINER_OF(timer, struct control_bundles, trust_timer));
}

static void on_trust_written(void *owner, const struct fl_kube_answer *answer)
{
    struct control_bundles *bundles = owner;
    struct fl_err err = {0};
    uint64_t wait_ms = CONTROL_BUNDLES_LOOK_MS;
    bundles->trust = NULL;
    if (fl_kube_answer_check(answer, &err) < 0) {
        if (answer->status != 404 && !bundles->trust_told) /* 404: the API server has no such kind */
            tell(bundles, "ClusterTrustBundle " CONTROL_BUNDLES_NAME, &err);
        bundles->trust_told = answer->status != 404;
        wait_ms = answer->status == 404 || answer->status == 403 ? CONTROL_BUNDLES_ABSENT_MS : CONTROL_BUNDLES_LOOK_MS;
    } else {
        bundles->trust_told = false;
    }
    fl_timer_set(bundles->loop, &bundles->trust_timer, wait_ms, on_trust_due);
}

static void write_trust(struct control_bundles *bundles)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf body;
    struct fl_print print = {.out = &body};
    struct fl_err err = {0};
    fl_buf_init(&body, BODY_MAX);
    if (!bundles->leads || bundles->pem.len == 0)
        return;
    bundles->trust = fl_kube_cancel(bundles->trust);
    fl_print(
        &print,
        "{\"apiVersion\":\"certificates.k8s.io/v1\",\"kind\":\"ClusterTrustBundle\",\"metadata\":{\"name\":\"%s\"},"
        "\"spec\":{\"signerName\":\"%s\",\"trustBundle\":",
        CONTROL_BUNDLES_NAME, CONTROL_BUNDLES_SIGNER);
    fl_print_json(&print, fl_buf_span(&bundles->pem));
    fl_print(&print, "}}");
    const struct fl_kube_request request = {.method = "PATCH",
                                            .path = TRUST_PATH,
                                            .content_type = APPLY,
                                            .body = fl_buf_span(&body),
                                            .body_max = ANSWER_MAX,
                                            .on_done = on_trust_written,
                                            .owner = bundles};
    if (print.result < 0 || fl_kube_send(bundles->client, &request, &bundles->trust, &err) < 0) {
        bundles->trust = NULL;
        fl_timer_set(bundles->loop, &bundles->trust_timer, RETRY_MS, on_trust_due);
    }
}

/* --- what is watched --- */

static bool is_left_out(struct fl_span name)
{
    return fl_span_eq_str(name, "kube-public") || fl_span_eq_str(name, "kube-node-lease");
}

static void on_namespace(void *owner, enum fl_kube_change change, const struct fl_json *object)
{
    struct control_bundles *bundles = owner;
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    struct fl_span name = fl_json_string(fl_json_get(metadata, "name"));
    struct place *place = is_left_out(name) ? NULL : place_of(bundles, name);
    if (place == NULL)
        return;
    if (change == FL_KUBE_DELETED) {
        free_place(place);
    } else {
        place->known = fl_json_get(metadata, "deletionTimestamp") == NULL;
        look_at(place);
    }
    count(bundles);
    pump(bundles);
}

static void on_map(void *owner, enum fl_kube_change change, const struct fl_json *object)
{
    struct control_bundles *bundles = owner;
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    struct place *place = place_of(bundles, fl_json_string(fl_json_get(metadata, "namespace")));
    struct fl_span value = fl_json_string(fl_json_get(fl_json_get(object, "data"), CONTROL_BUNDLES_KEY));
    if (place == NULL)
        return;
    if (change == FL_KUBE_DELETED && !place->known) { /* its namespace went before */
        free_place(place);
        return;
    }
    place->heard = true;
    place->has = change != FL_KUBE_DELETED && value.len > 0 &&
                 fl_span_eq_str(fl_json_string(fl_json_get(fl_json_get(metadata, "labels"), LABEL)), "true") &&
                 fl_digest(value, place->digest) == 0;
    look_at(place);
    count(bundles);
    pump(bundles);
}

static void on_maps_synced(void *owner)
{
    struct control_bundles *bundles = owner;
    bundles->maps_synced = true;
    pump(bundles);
}

static void on_trouble(void *owner, const struct fl_err *err)
{
    tell(owner, "watch", err);
}

static int start_watches(struct control_bundles *bundles)
{
    const struct fl_kube_watch_options namespaces = {.path = "/api/v1/namespaces",
                                                     .metadata_only = true,
                                                     .objects_max = CONTROL_BUNDLES_NAMESPACES_MAX,
                                                     .on_change = on_namespace,
                                                     .on_trouble = on_trouble,
                                                     .owner = bundles};
    const struct fl_kube_watch_options maps = {.path = "/api/v1/configmaps",
                                               .field_selector = bundles->selector,
                                               .objects_max = CONTROL_BUNDLES_NAMESPACES_MAX,
                                               .on_change = on_map,
                                               .on_synced = on_maps_synced,
                                               .on_trouble = on_trouble,
                                               .owner = bundles};
    int result = fl_kube_watch_new(bundles->loop, bundles->client, &namespaces, &bundles->namespaces);
    return result < 0 ? result : fl_kube_watch_new(bundles->loop, bundles->client, &maps, &bundles->maps);
}

/* --- its life --- */

static void stop(struct control_bundles *bundles)
{
    void *place;
    bundles->namespaces = fl_kube_watch_free(bundles->namespaces);
    bundles->maps = fl_kube_watch_free(bundles->maps);
    bundles->trust = fl_kube_cancel(bundles->trust);
    fl_timer_cancel(&bundles->timer);
    fl_timer_cancel(&bundles->trust_timer);
    for (size_t cursor = 0; fl_map_next(&bundles->places, &cursor, NULL, &place);)
        free_place(place);
    bundles->leads = bundles->maps_synced = false;
}

static void on_lead_again(struct fl_timer *timer)
{
    control_bundles_lead(FL_CONTAINER_OF(timer, struct control_bundles, timer), true);
}

void control_bundles_lead(struct control_bundles *bundles, bool leads)
{
    if (leads && bundles->leads)
        return;
    stop(bundles); /* also one that is to be tried again */
    count(bundles);
    if (!leads)
        return;
    if (start_watches(bundles) < 0) {
        stop(bundles);
        fl_timer_set(bundles->loop, &bundles->timer, RETRY_MS, on_lead_again);
        return;
    }
    bundles->leads = true;
    write_trust(bundles);
}

int control_bundles_set(struct control_bundles *bundles, struct fl_span pem)
{
    struct fl_buf copy;
    void *place;
    if (fl_span_eq(fl_buf_span(&bundles->pem), pem))
        return 0;
    fl_buf_init(&copy, CONTROL_ROOT_BUNDLE_MAX);
    int result = fl_buf_append(&copy, pem);
    if (result == 0)
        result = fl_digest(pem, bundles->digest);
    if (result < 0) {
        fl_buf_done(&copy);
        return result;
    }
    fl_buf_done(&bundles->pem);
    bundles->pem = copy;
    for (size_t cursor = 0; fl_map_next(&bundles->places, &cursor, NULL, &place);) {
        ((struct place *)place)->attempts = 0;
        look_at(place);
    }
    count(bundles);
    pump(bundles);
    write_trust(bundles);
    return 0;
}

int control_bundles_new(const struct control_bundles_options *options, struct control_bundles **ret_bundles)
{
    struct control_bundles *bundles = calloc(1, sizeof(*bundles));
    if (bundles == NULL)
        return -ENOMEM;
    bundles->loop = options->loop;
    bundles->client = options->client;
    TAILQ_INIT(&bundles->queue);
    fl_map_init(&bundles->places, CONTROL_BUNDLES_NAMESPACES_MAX);
    snprintf(bundles->configmap, sizeof(bundles->configmap), "%s", options->configmap);
    snprintf(bundles->selector, sizeof(bundles->selector), "metadata.name=%s", options->configmap);
    int result = control_quota_new(CONTROL_BUNDLES_RATE, 2 * CONTROL_BUNDLES_RATE, &bundles->rate);
    if (result < 0) {
        control_bundles_free(bundles);
        return result;
    }
    bundles->writes = fl_metrics_counter(options->metrics, &writes_family, NULL);
    bundles->namespaces_gauge = fl_metrics_gauge(options->metrics, &namespaces_family, NULL);
    bundles->differing = fl_metrics_gauge(options->metrics, &differing_family, NULL);
    *ret_bundles = bundles;
    return 0;
}

struct control_bundles *control_bundles_free(struct control_bundles *bundles)
{
    if (bundles == NULL)
        return NULL;
    stop(bundles);
    fl_timer_cancel(&bundles->count_timer);
    fl_map_done(&bundles->places);
    fl_buf_done(&bundles->pem);
    control_quota_free(bundles->rate);
    free(bundles);
    return NULL;
}

struct control_bundles_stats control_bundles_stats(const struct control_bundles *bundles)
{
    struct control_bundles_stats stats = {.failures = bundles->failures};
    void *value;
    stats.writes = bundles->writes != NULL ? bundles->writes->value : 0;
    for (size_t cursor = 0; fl_map_next(&bundles->places, &cursor, NULL, &value);) {
        const struct place *place = value;
        stats.namespaces += place->known;
        stats.differing += differs(place);
    }
    return stats;
}
