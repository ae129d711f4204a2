#include "control/gateway/deploy.h"

#include "common/base/log.h"
#include "common/base/siphash.h"
#include "common/doc/build.h"
#include "common/mesh/label.h"
#include "common/mesh/place.h"
#include "control/gateway/job.h"
#include "control/model/gatewayapi.h"

#include <errno.h>
#include <stdio.h>

#define TEXT_MAX     (512u << 10) /* of one Gateway */
#define CLASSES_MAX  1000
#define PAUSE_MS     500
#define PAUSE_MAX_MS 30000
#define OBJECTS_MAX  50000 /* that a watch follows */

enum { WATCH_CLASSES, WATCH_GATEWAYS, WATCH_CHILDREN };

struct deploy_class {
    struct control_deploy *deploy;
    char name[256];
    bool ours;
    char revision[64];
};

struct child_watch {
    struct control_deploy *deploy;
    enum control_deploy_child child;
};

/* -- whose it is -----------------------------------------------------------------------------------------------------
 */

/* None is the default one. */
static struct fl_span revision_or_default(struct fl_span name)
{
    return name.len > 0 ? name : FL_SPAN(FL_REVISION_DEFAULT);
}

/* The Gateway's own label, else its class's. */
static bool is_our_revision(const struct deploy_entry *entry, const struct deploy_class *class)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    if (fl_json_parse(fl_span_make(entry->text, entry->length), NULL, &root, &(struct fl_err){0}) < 0)
        return false;
    const struct fl_json *labels = fl_json_get(fl_json_get(root, "metadata"), "labels");
    struct fl_span own = fl_json_string(fl_json_get(labels, FL_LABEL_REVISION));
    if (own.len == 0 && class != NULL)
        own = fl_span_str(class->revision);
    const char *wanted = entry->deploy->options->revision;
    return fl_span_eq(revision_or_default(own), revision_or_default(fl_span_str(wanted != NULL ? wanted : "")));
}

static bool has_children(const struct deploy_entry *entry)
{
    for (size_t i = 0; i < CONTROL_DEPLOY_CHILD_COUNT; i++)
        if (entry->children[i].told != 0)
            return true;
    return false;
}

/* As the model has it, a class "fairlead" needs no object. */
enum deploy_ours deploy_judge(const struct deploy_entry *entry)
{
    const struct deploy_class *class = fl_map_get(&entry->deploy->classes, fl_span_str(entry->class_name));
    bool ours = class != NULL ? class->ours : strcmp(entry->class_name, "fairlead") == 0;
    if (ours)
        return is_our_revision(entry, class) ? DEPLOY_OURS : DEPLOY_NOT_OURS;
    return class != NULL && has_children(entry) && is_our_revision(entry, NULL) ? DEPLOY_RELEASED : DEPLOY_NOT_OURS;
}

static void on_class(void *owner, enum fl_kube_change change, const struct fl_json *object)
{
    struct control_deploy *deploy = owner;
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    struct fl_span name = fl_json_string(fl_json_get(metadata, "name"));
    struct fl_span revision = fl_json_string(fl_json_get(fl_json_get(metadata, "labels"), FL_LABEL_REVISION));
    struct deploy_class *class = fl_map_get(&deploy->classes, name);
    void *value = NULL;
    if (change == FL_KUBE_DELETED) {
        free(fl_map_remove(&deploy->classes, name));
    } else {
        struct deploy_class *made = class == NULL ? calloc(1, sizeof(*made)) : NULL;
        if (made != NULL) {
            snprintf(made->name, sizeof(made->name), "%.*s", FL_SPAN_ARG(name));
            if (fl_map_put(&deploy->classes, fl_span_str(made->name), made) < 0) {
                free(made);
                made = NULL;
            }
        }
        class = class != NULL ? class : made;
        if (class == NULL)
            return; /* too many, or no memory: its Gateways are nobody's until the next list */
        class->ours = fl_span_eq_str(fl_json_string(fl_json_get(fl_json_get(object, "spec"), "controllerName")),
                                     CONTROL_GATEWAY_CONTROLLER);
        snprintf(class->revision, sizeof(class->revision), "%.*s", FL_SPAN_ARG(revision));
    }
    for (size_t cursor = 0; fl_map_next(&deploy->gateways, &cursor, NULL, &value);)
        if (fl_span_eq_str(name, ((struct deploy_entry *)value)->class_name))
            deploy_queue_put(value);
}

/* -- Gateways --------------------------------------------------------------------------------------------------------
 */

static void entry_free(struct deploy_entry *entry)
{
    if (entry == NULL)
        return;
    if (entry->place == DEPLOY_QUEUED)
        deploy_queue_take(entry);
    if (entry->place == DEPLOY_ACTIVE) {
        entry->deploy->active--;
        deploy_job_cancel(entry);
    }
    fl_timer_cancel(&entry->timer);
    free(entry->text);
    free(entry->key);
    free(entry);
}

static int print_key(struct fl_buf *out, struct fl_span name_space, struct fl_span name)
{
    fl_buf_init(out, 512);
    return fl_buf_printf(out, "%.*s/%.*s", FL_SPAN_ARG(name_space), FL_SPAN_ARG(name));
}

static struct deploy_entry *entry_find(struct control_deploy *deploy, struct fl_span name_space, struct fl_span name)
{
    struct fl_buf key;
    struct deploy_entry *entry = NULL;
    if (print_key(&key, name_space, name) == 0)
        entry = fl_map_get(&deploy->gateways, fl_buf_span(&key));
    fl_buf_done(&key);
    return entry;
}

static struct deploy_entry *entry_new(struct control_deploy *deploy, struct fl_span name_space, struct fl_span name)
{
    struct deploy_entry *entry = calloc(1, sizeof(*entry));
    struct fl_buf key;
    int result = print_key(&key, name_space, name);
    if (entry != NULL && result == 0)
        entry->key = fl_span_dup(fl_buf_span(&key));
    fl_buf_done(&key);
    if (entry == NULL || entry->key == NULL || fl_map_put(&deploy->gateways, fl_span_str(entry->key), entry) < 0) {
        if (entry != NULL)
            free(entry->key);
        free(entry);
        return NULL;
    }
    entry->deploy = deploy;
    entry->name_space = fl_span_make(entry->key, name_space.len);
    entry->name = fl_span_make(entry->key + name_space.len + 1, name.len);
    fl_backoff_init(&entry->backoff, DEPLOY_BACKOFF_MS, DEPLOY_BACKOFF_MAX_MS);
    return entry;
}

static struct fl_json *part(struct fl_json *object, const char *name, const struct fl_json *value)
{
    return value != NULL ? fl_json_with(object, name, fl_json_share(value)) : object;
}

/* Keeps what we read of a Gateway. The marks are of what would make us look at it again: what it is, and what is there
 * of our own condition. */
static int entry_take(struct deploy_entry *entry, const struct fl_json *object, uint64_t *ret_mark,
                      uint64_t *ret_condition)
{
    const struct fl_json *metadata = fl_json_get(object, "metadata"), *spec = fl_json_get(object, "spec");
    const struct fl_json *conditions = fl_json_get(fl_json_get(object, "status"), "conditions");
    struct fl_buf text;
    struct fl_json *kept = fl_json_new_array();
    for (const struct fl_json *item = fl_json_first(conditions); item != NULL; item = fl_json_next(item))
        if (fl_span_eq_str(fl_json_string(fl_json_get(item, "type")), CONTROL_DEPLOY_CONDITION))
            kept = fl_json_and(kept, fl_json_share(item));
    struct fl_json *head = fl_json_new_object();
    static const char *const members[] = {"name", "namespace", "uid", "generation", "labels"};
    for (size_t i = 0; i < FL_COUNT(members); i++)
        head = part(head, members[i], fl_json_get(metadata, members[i]));
    struct fl_json *root = part(fl_json_object_of("metadata", head), "spec", spec);
    uint64_t mark = 0;
    size_t split = 0;
    fl_buf_init(&text, TEXT_MAX);
    int result = root != NULL ? fl_json_print(root, &text) : -ENOMEM;
    if (result == 0) { /* the status comes behind it */
        mark = fl_siphash(fl_buf_span(&text));
        split = text.len - 1;
        fl_buf_clear(&text);
    }
    root = fl_json_with(root, "status", fl_json_object_of("conditions", kept));
    if (result == 0)
        result = root != NULL ? fl_json_print(root, &text) : -ENOMEM;
    fl_json_free(root);
    char *copy = result == 0 ? fl_span_dup(fl_buf_span(&text)) : NULL;
    if (result == 0 && copy == NULL)
        result = -ENOMEM;
    if (result == 0) {
        free(entry->text);
        entry->text = copy;
        entry->length = text.len;
        snprintf(entry->class_name, sizeof(entry->class_name), "%.*s",
                 FL_SPAN_ARG(fl_json_string(fl_json_get(spec, "gatewayClassName"))));
        *ret_mark = mark;
        *ret_condition = fl_siphash(fl_span_from(fl_buf_span(&text), split));
    }
    fl_buf_done(&text);
    return result;
}

static void on_gateway(void *owner, enum fl_kube_change change, const struct fl_json *object)
{
    struct control_deploy *deploy = owner;
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    struct fl_span name_space = fl_json_string(fl_json_get(metadata, "namespace"));
    struct fl_span name = fl_json_string(fl_json_get(metadata, "name"));
    struct deploy_entry *entry = entry_find(deploy, name_space, name);
    uint64_t mark = 0, condition = 0;
    if (change == FL_KUBE_DELETED || fl_json_get(metadata, "deletionTimestamp") != NULL) {
        if (entry != NULL) /* its children go by their owner reference */
            fl_map_remove(&deploy->gateways, fl_span_str(entry->key));
        entry_free(entry);
        return;
    }
    if (entry == NULL)
        entry = entry_new(deploy, name_space, name);
    if (entry == NULL || entry_take(entry, object, &mark, &condition) < 0) {
        deploy->stats.ignored++;
        if (entry != NULL && entry->text == NULL) {
            fl_map_remove(&deploy->gateways, fl_span_str(entry->key));
            entry_free(entry);
        }
        return;
    }
    bool changed = mark != entry->mark, answered = condition != entry->condition;
    entry->mark = mark;
    entry->condition = condition;
    if (changed) {
        entry->drifts = 0;
        deploy_queue_put(entry);
    } else if (answered && !entry->wrote) { /* not our own word that comes back */
        deploy_follow_drift(entry);
    }
    if (answered)
        entry->wrote = false;
}

/* -- children --------------------------------------------------------------------------------------------------------
 */

uint64_t deploy_hash(const struct fl_json *metadata)
{
    struct fl_span version = fl_json_string(fl_json_get(metadata, "resourceVersion"));
    uint64_t hash = version.len > 0 ? fl_siphash(version) : 0;
    return version.len > 0 && hash == 0 ? 1 : hash;
}

static void on_child(struct control_deploy *deploy, enum control_deploy_child kind, enum fl_kube_change change,
                     const struct fl_json *object)
{
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    struct fl_span name = fl_json_string(fl_json_get(metadata, "name"));
    if (!fl_span_ends_with(name, FL_SPAN(CONTROL_INTENT_SUFFIX)))
        return;
    struct fl_span gateway = fl_span_make(name.data, name.len - (sizeof(CONTROL_INTENT_SUFFIX) - 1));
    struct deploy_entry *entry = entry_find(deploy, fl_json_string(fl_json_get(metadata, "namespace")), gateway);
    if (entry == NULL)
        return; /* told again when the Gateway comes: its first job looks by itself */
    struct deploy_child *child = &entry->children[kind];
    bool gone = change == FL_KUBE_DELETED;
    child->told = gone ? 0 : deploy_hash(metadata);
    child->told_generation = 0;
    (void)fl_json_int(fl_json_get(metadata, "generation"), 0, INT64_C(1) << 53, &child->told_generation);
    if (gone)
        child->known = 0;
    if (entry->place == DEPLOY_IDLE && (entry->deployed || entry->refused) && (gone || deploy_has_drifted(child)))
        deploy_follow_drift(entry);
    else if (entry->place == DEPLOY_ACTIVE && gone)
        entry->again = true;
}

#define ON_CHILD(constant, ...)                                                                                        \
    static void on_##constant(void *owner, enum fl_kube_change change, const struct fl_json *object)                   \
    {                                                                                                                  \
        on_child(owner, CONTROL_DEPLOY_##constant, change, object);                                                    \
    }
CONTROL_DEPLOY_CHILDREN(ON_CHILD)
#undef ON_CHILD

/* -- watches ---------------------------------------------------------------------------------------------------------
 */

static void on_trouble(void *owner, const struct fl_err *err)
{
    struct control_deploy *deploy = owner;
    uint64_t suppressed = 0;
    deploy->trouble = *err;
    if (fl_log_limit_take(&deploy->told, deploy_now(deploy), &suppressed))
        fl_log(FL_LOG_WARNING, "cannot follow the API server", FL_LOG_STR("error", err->text),
               FL_LOG_NUM("suppressed", suppressed));
}

static void synced(struct control_deploy *deploy, size_t watch)
{
    deploy->synced[watch] = true;
    deploy_pump_soon(deploy, 0);
}

static void on_classes_synced(void *owner)
{
    synced(owner, WATCH_CLASSES);
}
static void on_gateways_synced(void *owner)
{
    synced(owner, WATCH_GATEWAYS);
}
#define ON_SYNCED(constant, ...)                                                                                       \
    static void on_##constant##_synced(void *owner)                                                                    \
    {                                                                                                                  \
        synced(owner, WATCH_CHILDREN + CONTROL_DEPLOY_##constant);                                                     \
    }
CONTROL_DEPLOY_CHILDREN(ON_SYNCED)
#undef ON_SYNCED

static int start_watch(struct control_deploy *deploy, size_t index, struct fl_kube_watch_options options)
{
    options.on_trouble = on_trouble;
    options.owner = deploy;
    return fl_kube_watch_new(deploy->loop, deploy->client, &options, &deploy->watches[index]);
}

static int start_watches(struct control_deploy *deploy)
{
    static const char selector[] = CONTROL_DEPLOY_MANAGED_LABEL "=" CONTROL_DEPLOY_MANAGER;
    static const struct fl_kube_watch_options options[] = {{.path = "/apis/gateway.networking.k8s.io/v1/gatewayclasses",
                                                            .objects_max = CLASSES_MAX,
                                                            .on_change = on_class,
                                                            .on_synced = on_classes_synced},
                                                           {.path = "/apis/gateway.networking.k8s.io/v1/gateways",
                                                            .objects_max = OBJECTS_MAX,
                                                            .namespace_max = CONTROL_DEPLOY_OF_NAMESPACE,
                                                            .on_change = on_gateway,
                                                            .on_synced = on_gateways_synced},
#define WATCH(constant, version, kind, base, plural)                                                                   \
    {.path = base "/" plural,                                                                                          \
     .label_selector = selector,                                                                                       \
     .metadata_only = true,                                                                                            \
     .objects_max = OBJECTS_MAX,                                                                                       \
     .namespace_max = 2 * CONTROL_DEPLOY_OF_NAMESPACE, /* who copies the label has no more either */                   \
     .on_change = on_##constant,                                                                                       \
     .on_synced = on_##constant##_synced},
                                                           CONTROL_DEPLOY_CHILDREN(WATCH)
#undef WATCH
    };
    int result = 0;
    for (size_t i = 0; i < FL_COUNT(options) && result == 0; i++)
        result = start_watch(deploy, i, options[i]);
    return result;
}

static void forget_everything(struct control_deploy *deploy)
{
    void *value = NULL;
    fl_timer_cancel(&deploy->pump);
    fl_timer_cancel(&deploy->start);
    deploy->trouble = (struct fl_err){0};
    for (size_t i = 0; i < FL_COUNT(deploy->watches); i++) {
        deploy->watches[i] = fl_kube_watch_free(deploy->watches[i]);
        deploy->synced[i] = false;
    }
    for (size_t cursor = 0; fl_map_next(&deploy->gateways, &cursor, NULL, &value);)
        entry_free(value);
    for (size_t cursor = 0; fl_map_next(&deploy->classes, &cursor, NULL, &value);)
        free(value);
    fl_map_done(&deploy->gateways);
    fl_map_done(&deploy->classes);
    fl_map_init(&deploy->gateways, CONTROL_DEPLOY_GATEWAYS_MAX);
    fl_map_init(&deploy->classes, CLASSES_MAX);
}

/* Whether one of the watches is not there, or had nothing but trouble. A list that is only slow is waited for. */
static bool is_stuck(const struct control_deploy *deploy)
{
    for (size_t i = 0; i < FL_COUNT(deploy->watches); i++) {
        if (deploy->watches[i] == NULL)
            return true;
        struct fl_kube_watch_stats stats = fl_kube_watch_stats(deploy->watches[i]);
        if (!deploy->synced[i] && stats.objects == 0 && stats.troubles > 0)
            return true;
    }
    return false;
}

static void on_start(struct fl_timer *timer)
{
    struct control_deploy *deploy = FL_CONTAINER_OF(timer, struct control_deploy, start);
    if (deploy_is_synced(deploy))
        return;
    if (!is_stuck(deploy)) {
        fl_timer_set(deploy->loop, &deploy->start, CONTROL_DEPLOY_START_MS, on_start);
        return;
    }
    const struct fl_err err = deploy->trouble;
    control_deploy_lead(deploy, false);
    deploy->options->on_unable(deploy->options->owner, &err);
}

void control_deploy_lead(struct control_deploy *deploy, bool leads)
{
    if (deploy->leads == leads)
        return;
    deploy->leads = leads;
    forget_everything(deploy);
    if (!leads)
        return;
    int result = start_watches(deploy);
    if (result < 0)
        fl_err_errno(&deploy->trouble, result, "start");
    unsigned start_ms = deploy->options->start_ms > 0 ? deploy->options->start_ms : CONTROL_DEPLOY_START_MS;
    fl_timer_set(deploy->loop, &deploy->start, result < 0 ? 0 : start_ms, on_start);
}

/* -- life ------------------------------------------------------------------------------------------------------------
 */

static int check_options(const struct control_deploy_options *options, struct fl_err *err)
{
    const struct {
        const char *name, *value;
    } quantities[] = {{"--proxy-cpu-request", options->cpu_request},
                      {"--proxy-cpu-limit", options->cpu_limit},
                      {"--proxy-memory-request", options->memory_request},
                      {"--proxy-memory-limit", options->memory_limit}};
    struct fl_place place;
    if (options->image == NULL || options->image[0] == '\0')
        return fl_err_set(err, -EINVAL, "--proxy-image: required, but missing");
    if (options->control_address == NULL || !fl_place_parse(fl_span_str(options->control_address), &place))
        return fl_err_set(err, -EINVAL, "--control-address: expected " FL_PLACE_EXPECTED ", got \"%s\"",
                          options->control_address != NULL ? options->control_address : "");
    if (options->service_type != NULL && !control_is_service_type(fl_span_str(options->service_type)))
        return fl_err_set(err, -EINVAL, "--service-type: expected LoadBalancer, ClusterIP or NodePort, got \"%s\"",
                          options->service_type);
    for (size_t i = 0; i < FL_COUNT(quantities); i++)
        if (quantities[i].value != NULL && quantities[i].value[0] != '\0' &&
            !control_is_quantity(fl_span_str(quantities[i].value)))
            return fl_err_set(err, -EINVAL, "%s: expected a quantity, as 100m or 64Mi, got \"%s\"", quantities[i].name,
                              quantities[i].value);
    return 0;
}

int control_deploy_new(struct fl_loop *loop, struct fl_kube_client *client,
                       const struct control_deploy_options *options, struct control_deploy **ret_deploy,
                       struct fl_err *err)
{
    int result = check_options(options, err);
    if (result < 0)
        return result;
    struct control_deploy *deploy = calloc(1, sizeof(*deploy));
    if (deploy == NULL)
        return fl_err_errno(err, -ENOMEM, "start");
    deploy->loop = loop;
    deploy->client = client;
    deploy->options = options;
    deploy->last = &deploy->first;
    deploy->tokens = CONTROL_DEPLOY_RATE;
    deploy->tokens_ms = deploy_now(deploy);
    fl_backoff_init(&deploy->backoff, PAUSE_MS, PAUSE_MAX_MS);
    fl_map_init(&deploy->gateways, CONTROL_DEPLOY_GATEWAYS_MAX);
    fl_map_init(&deploy->classes, CLASSES_MAX);
    *ret_deploy = deploy;
    return 0;
}

struct control_deploy *control_deploy_free(struct control_deploy *deploy)
{
    if (deploy == NULL)
        return NULL;
    forget_everything(deploy);
    fl_map_done(&deploy->gateways);
    fl_map_done(&deploy->classes);
    free(deploy);
    return NULL;
}

struct control_deploy_stats control_deploy_stats(const struct control_deploy *deploy)
{
    struct control_deploy_stats stats = deploy->stats;
    void *value = NULL;
    for (size_t cursor = 0; fl_map_next(&deploy->gateways, &cursor, NULL, &value);) {
        const struct deploy_entry *entry = value;
        stats.refused += entry->refused;
        stats.gateways += entry->refused || entry->deployed;
    }
    stats.due = deploy->queued + deploy->active;
    stats.leads = deploy->leads;
    stats.settled = deploy->leads && deploy_is_synced(deploy) && stats.due == 0;
    return stats;
}
