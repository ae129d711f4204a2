#include "control/gateway/job.h"

#include "common/base/log.h"
#include "common/doc/build.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define RESYNC_MS     600000 /* everything is looked at again, and a tenth sooner or later */
#define PARAMETERS_MS 60000  /* who has parameters: they are not watched */
#define METADATA_ONLY "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
#define APPLY         "application/apply-patch+yaml"

enum step { STEP_PARAMETERS, STEP_LOOK, STEP_APPLY, STEP_CONDITION };

struct deploy_job {
    struct deploy_entry *entry;
    struct fl_json *root; /* the Gateway */
    struct fl_json *map;  /* its parameters; NULL: none */
    struct control_intent intent;
    struct control_override override;
    bool release; /* nothing of it is to stay */
    enum step step;
    enum control_deploy_child child;
    char uids[CONTROL_DEPLOY_CHILD_COUNT][DEPLOY_UID_ROOM]; /* of those that are there and ours; "": not there */
    struct fl_kube_exchange *exchange;
    const char *reason; /* why it is refused; NULL: it is not */
    struct fl_err err;
};

static const struct {
    const char *kind, *base, *plural;
} children[] = {
#define ROW(constant, version, kind, base, plural) {kind, base, plural},
    CONTROL_DEPLOY_CHILDREN(ROW)
#undef ROW
};

static void go_on(struct deploy_job *job);

/* -- its end ---------------------------------------------------------------------------------------------------------
 */

static void job_free(struct deploy_job *job)
{
    if (job == NULL)
        return;
    fl_kube_cancel(job->exchange);
    fl_json_free(job->root);
    fl_json_free(job->map);
    free(job);
}

void deploy_job_cancel(struct deploy_entry *entry)
{
    job_free(entry->job);
    entry->job = NULL;
}

static void finish(struct deploy_job *job, uint64_t next_ms)
{
    struct deploy_entry *entry = job->entry;
    deploy_job_cancel(entry);
    deploy_finished(entry, next_ms);
}

static void tell(struct deploy_job *job, enum fl_log_level level, const char *what)
{
    struct control_deploy *deploy = job->entry->deploy;
    uint64_t suppressed = 0;
    if (fl_log_limit_take(&deploy->told, fl_loop_now_ms(deploy->loop), &suppressed))
        fl_log(level, what, FL_LOG_SPAN("namespace", job->entry->name_space), FL_LOG_SPAN("gateway", job->entry->name),
               FL_LOG_STR("error", job->err.text), FL_LOG_NUM("suppressed", suppressed));
}

/* Whether all Gateways are to wait: not for what one namespace's objects bring about. */
static bool is_servers(int result)
{
    return result != -EEXIST && result != -ENOENT && result != -EACCES && result != -EINVAL && result != -EMSGSIZE;
}

/* Everything that may go better by itself. */
static void fail(struct deploy_job *job, int result, unsigned retry_after)
{
    struct deploy_entry *entry = job->entry;
    entry->deploy->stats.failures++;
    if (is_servers(result))
        deploy_pause(entry->deploy, retry_after);
    tell(job, FL_LOG_WARNING, "a Gateway's proxies could not be applied");
    finish(job, 1000 + fl_backoff_next(&entry->backoff));
}

static void refuse(struct deploy_job *job, const char *reason)
{
    job->reason = reason;
    job->step = STEP_CONDITION;
    go_on(job);
}

/* -- requests --------------------------------------------------------------------------------------------------------
 */

static void on_answer(void *owner, const struct fl_kube_answer *answer);

/* Takes `body` over; NULL: none. */
static int send(struct deploy_job *job, const char *method, struct fl_buf *path, const char *type, struct fl_json *body)
{
    struct fl_buf text;
    fl_buf_init(&text, 1u << 20);
    int result = body != NULL ? fl_json_print(body, &text) : 0;
    const struct fl_kube_request request = {.method = method,
                                            .path = fl_buf_str(path),
                                            .accept = METADATA_ONLY,
                                            .content_type = type,
                                            .body = fl_buf_span(&text),
                                            .on_done = on_answer,
                                            .owner = job};
    if (request.path == NULL)
        result = -ENOMEM;
    if (result == 0)
        result = fl_kube_send(job->entry->deploy->client, &request, &job->exchange, &job->err);
    fl_buf_done(&text);
    fl_json_free(body);
    return result;
}

static int collection(const struct deploy_job *job, const char *base, const char *plural, struct fl_buf *path)
{
    fl_buf_init(path, FL_KUBE_PATH_MAX);
    return fl_buf_printf(path, "%s/namespaces/%.*s/%s/", base, FL_SPAN_ARG(job->intent.name_space), plural);
}

static int child_path(const struct deploy_job *job, struct fl_buf *path)
{
    int result = collection(job, children[job->child].base, children[job->child].plural, path);
    if (result == 0)
        result = fl_buf_printf(path, "%.*s" CONTROL_INTENT_SUFFIX, FL_SPAN_ARG(job->intent.name));
    return result;
}

static int get_parameters(struct deploy_job *job)
{
    struct fl_buf path, none = {0};
    int result = collection(job, "/api/v1", "configmaps", &path);
    if (result == 0)
        result = fl_kube_escape(&path, job->intent.parameters);
    const struct fl_kube_request request = {
        .method = "GET", .path = fl_buf_str(&path), .body = fl_buf_span(&none), .on_done = on_answer, .owner = job};
    if (result == 0 && request.path == NULL)
        result = -ENOMEM;
    if (result == 0)
        result = fl_kube_send(job->entry->deploy->client, &request, &job->exchange, &job->err);
    fl_buf_done(&path);
    return result;
}

static int look(struct deploy_job *job)
{
    struct fl_buf path;
    int result = child_path(job, &path);
    if (result == 0)
        result = send(job, "GET", &path, NULL, NULL);
    fl_buf_done(&path);
    return result;
}

static bool wants(const struct deploy_job *job)
{
    return !job->release && control_manifest_wants(job->child, job->entry->deploy->options, &job->override);
}

/* What is not there is made without force: who made one of the name meanwhile keeps it. What is ours bears its uid: one
 * of the name that came in its place is another's. */
static int apply(struct deploy_job *job)
{
    const char *uid = job->uids[job->child];
    struct fl_buf path;
    struct fl_json *body =
        control_manifest(job->child, job->entry->deploy->options, &job->intent, &job->override, fl_span_str(uid));
    int result = child_path(job, &path);
    if (result == 0)
        result =
            fl_buf_printf(&path, "?fieldManager=" CONTROL_DEPLOY_MANAGER "%s", uid[0] != '\0' ? "&force=true" : "");
    if (body == NULL)
        result = -ENOMEM;
    if (result == 0)
        result = send(job, "PATCH", &path, APPLY, body);
    else
        fl_json_free(body);
    fl_buf_done(&path);
    return result;
}

static int take_away(struct deploy_job *job)
{
    struct fl_buf path;
    struct fl_json *body = fl_json_object_of("apiVersion", fl_json_text("v1"));
    body = fl_json_with(body, "kind", fl_json_text("DeleteOptions"));
    body = fl_json_with(body, "propagationPolicy", fl_json_text("Background"));
    body = fl_json_with(body, "preconditions", fl_json_object_of("uid", fl_json_text(job->uids[job->child])));
    int result = child_path(job, &path);
    if (body == NULL)
        result = -ENOMEM;
    if (result == 0)
        result = send(job, "DELETE", &path, NULL, body);
    else
        fl_json_free(body);
    fl_buf_done(&path);
    return result;
}

/* -- the condition ---------------------------------------------------------------------------------------------------
 */

static const struct fl_json *condition_seen(const struct deploy_job *job)
{
    const struct fl_json *item = fl_json_first(fl_json_get(fl_json_get(job->root, "status"), "conditions"));
    while (item != NULL && !fl_span_eq_str(fl_json_string(fl_json_get(item, "type")), CONTROL_DEPLOY_CONDITION))
        item = fl_json_next(item);
    return item;
}

static bool says(const struct fl_json *seen, const char *member, const char *value)
{
    return fl_span_eq_str(fl_json_string(fl_json_get(seen, member)), value);
}

/* 1: it says so already. */
static int put_condition(struct deploy_job *job)
{
    const struct fl_json *seen = condition_seen(job);
    const char *status = job->reason == NULL ? "True" : "False",
               *reason = job->reason != NULL ? job->reason : "Deployed";
    const char *message = job->reason != NULL ? job->err.text : "";
    char now[32];
    int64_t generation = -1;
    struct tm time_now;
    struct fl_buf path;
    (void)fl_json_int(fl_json_get(seen, "observedGeneration"), 0, INT64_C(1) << 53, &generation);
    bool same = says(seen, "status", status);
    if (same && generation == job->intent.generation && says(seen, "reason", reason) && says(seen, "message", message))
        return 1;
    struct fl_span before = fl_json_string(fl_json_get(seen, "lastTransitionTime"));
    if (same && before.len > 0 && before.len < sizeof(now))
        snprintf(now, sizeof(now), "%.*s", FL_SPAN_ARG(before));
    else if (gmtime_r(&(time_t){time(NULL)}, &time_now) == NULL ||
             strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", &time_now) == 0)
        return -EINVAL;
    struct fl_json *body = control_manifest_condition(&job->intent, job->reason == NULL, reason, message, now);
    int result = collection(job, "/apis/gateway.networking.k8s.io/v1", "gateways", &path);
    if (result == 0)
        result = fl_kube_escape(&path, job->intent.name);
    if (result == 0)
        result = fl_buf_append_str(&path, "/status?fieldManager=" CONTROL_DEPLOY_MANAGER "&force=true");
    if (body == NULL)
        result = -ENOMEM;
    if (result == 0)
        result = send(job, "PATCH", &path, APPLY, body);
    else
        fl_json_free(body);
    fl_buf_done(&path);
    return result;
}

static void conclude(struct deploy_job *job)
{
    struct deploy_entry *entry = job->entry;
    if (job->reason != NULL && !entry->refused)
        tell(job, FL_LOG_WARNING, "a Gateway is refused its proxies");
    entry->refused = job->reason != NULL;
    entry->deployed = job->reason == NULL && !job->release;
    if (job->reason == NULL)
        fl_backoff_reset(&entry->backoff);
    uint64_t next = RESYNC_MS - RESYNC_MS / 10 + fl_backoff_draw(RESYNC_MS / 5);
    if (job->intent.parameters.len > 0 || job->reason != NULL)
        next = PARAMETERS_MS;
    finish(job, next);
}

/* -- step by step ----------------------------------------------------------------------------------------------------
 */

/* The next child that has something to be done; false: none. */
static bool next_child(struct deploy_job *job)
{
    while (job->child < CONTROL_DEPLOY_CHILD_COUNT && !wants(job) && job->uids[job->child][0] == '\0')
        job->child++;
    return job->child < CONTROL_DEPLOY_CHILD_COUNT;
}

/* Sends the next request, or ends. */
static void go_on(struct deploy_job *job)
{
    int result = 1;
    if (job->step == STEP_PARAMETERS)
        result = get_parameters(job);
    if (job->step == STEP_LOOK && job->child < CONTROL_DEPLOY_CHILD_COUNT)
        result = look(job);
    if (job->step == STEP_LOOK && job->child == CONTROL_DEPLOY_CHILD_COUNT) {
        job->step = STEP_APPLY;
        job->child = 0;
    }
    if (job->step == STEP_APPLY && next_child(job))
        result = wants(job) ? apply(job) : take_away(job);
    else if (job->step == STEP_APPLY)
        job->step = STEP_CONDITION;
    if (job->step == STEP_CONDITION)
        result = job->release ? 1 : put_condition(job);
    if (result < 0) {
        fl_err_errno(&job->err, result, "send");
        fail(job, result, 0);
    } else if (result > 0) {
        conclude(job);
    }
}

/* An object as large as one may be, and six times as large in JSON. */
static int parse_answer(const struct fl_kube_answer *answer, struct fl_json **ret_object, struct fl_err *err)
{
    static const struct fl_json_limits limits = {.bytes_max = FL_KUBE_BODY_MAX};
    return fl_json_parse(answer->body, &limits, ret_object, err);
}

static void take_parameters(struct deploy_job *job, int result, const struct fl_kube_answer *answer)
{
    if (result == -ENOENT) {
        fl_err_set(&job->err, -ENOENT, "spec.infrastructure.parametersRef: there is no ConfigMap %.*s",
                   FL_SPAN_ARG(job->intent.parameters));
        refuse(job, "InvalidParameters");
        return;
    }
    if (result == 0)
        result = parse_answer(answer, &job->map, &job->err);
    if (result == -EMSGSIZE) {
        fl_err_set(&job->err, result, "spec.infrastructure.parametersRef: ConfigMap %.*s is too large",
                   FL_SPAN_ARG(job->intent.parameters));
        refuse(job, "InvalidParameters");
        return;
    }
    if (result < 0) {
        fail(job, result, answer->retry_after);
        return;
    }
    if (control_override_read(job->map, &job->override, &job->err) < 0) {
        fl_err_prefix(&job->err, "ConfigMap %.*s", FL_SPAN_ARG(job->intent.parameters));
        refuse(job, "InvalidParameters");
        return;
    }
    job->step = STEP_LOOK;
    go_on(job);
}

static bool is_owned(const struct fl_json *metadata, struct fl_span uid)
{
    const struct fl_json *owner = fl_json_first(fl_json_get(metadata, "ownerReferences"));
    while (owner != NULL && !(fl_json_bool(fl_json_get(owner, "controller")) &&
                              fl_span_eq(fl_json_string(fl_json_get(owner, "uid")), uid)))
        owner = fl_json_next(owner);
    return owner != NULL;
}

static void take_look(struct deploy_job *job, int result, const struct fl_kube_answer *answer)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = NULL;
    if (result == -ENOENT) {
        job->child++;
        go_on(job);
        return;
    }
    if (result == 0)
        result = parse_answer(answer, &object, &job->err);
    if (result < 0) {
        fail(job, result, answer->retry_after);
        return;
    }
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    struct fl_span uid = fl_json_string(fl_json_get(metadata, "uid"));
    if (!is_owned(metadata, job->intent.uid) || uid.len == 0 || uid.len >= DEPLOY_UID_ROOM) {
        if (job->release || !wants(job)) { /* another's, and no concern of ours */
            job->child++;
            go_on(job);
            return;
        }
        fl_err_set(&job->err, -EEXIST,
                   "there is a %s %.*s" CONTROL_INTENT_SUFFIX " that is not this Gateway's: it is left alone, and "
                   "nothing is deployed",
                   children[job->child].kind, FL_SPAN_ARG(job->intent.name));
        refuse(job, "NameTaken");
        return;
    }
    if (fl_json_get(metadata, "deletionTimestamp") != NULL) {
        fl_err_set(&job->err, -EEXIST, "%s %.*s" CONTROL_INTENT_SUFFIX " is being deleted", children[job->child].kind,
                   FL_SPAN_ARG(job->intent.name));
        fail(job, -EEXIST, 0);
        return;
    }
    memcpy(job->uids[job->child], uid.data, uid.len);
    job->child++;
    go_on(job);
}

static void take_applied(struct deploy_job *job, int result, const struct fl_kube_answer *answer)
{
    struct deploy_entry *entry = job->entry;
    bool wanted = wants(job);
    if (result == -ENOENT && !wanted)
        result = 0;
    if ((result == -EINVAL || result == -EACCES) && wanted) {
        bool address = job->child == CONTROL_DEPLOY_SERVICE && job->intent.address.len > 0;
        fl_err_prefix(&job->err, "%s", children[job->child].kind);
        refuse(job, address ? "AddressNotUsable" : "ResourcesRefused");
        return;
    }
    if (result < 0) {
        fail(job, result, answer->retry_after);
        return;
    }
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = NULL;
    if (wanted && parse_answer(answer, &object, &(struct fl_err){0}) == 0) {
        const struct fl_json *metadata = fl_json_get(object, "metadata");
        struct deploy_child *child = &entry->children[job->child];
        child->known = deploy_hash(metadata);
        child->known_generation = 0;
        (void)fl_json_int(fl_json_get(metadata, "generation"), 0, INT64_C(1) << 53, &child->known_generation);
    }
    entry->deploy->stats.applied++;
    job->child++;
    go_on(job);
}

static void take_condition(struct deploy_job *job, int result, const struct fl_kube_answer *answer)
{
    if (result == -ENOENT || result == -EEXIST) { /* it is gone, or another has its name: the watch will say so */
        job->reason = NULL;
        conclude(job);
    } else if (result < 0) {
        fail(job, result, answer->retry_after);
    } else {
        job->entry->wrote = true;
        conclude(job);
    }
}

static void on_answer(void *owner, const struct fl_kube_answer *answer)
{
    struct deploy_job *job = owner;
    struct fl_err err = {0};
    job->exchange = NULL;
    int result = fl_kube_answer_check(answer, &err);
    if (result < 0 && job->step != STEP_CONDITION)
        job->err = err;
    if (result == 0)
        fl_backoff_reset(&job->entry->deploy->backoff);
    switch (job->step) {
    case STEP_PARAMETERS:
        take_parameters(job, result, answer);
        break;
    case STEP_LOOK:
        take_look(job, result, answer);
        break;
    case STEP_APPLY:
        take_applied(job, result, answer);
        break;
    case STEP_CONDITION:
        take_condition(job, result, answer);
        break;
    }
}

int deploy_job_start(struct deploy_entry *entry)
{
    struct deploy_job *job = calloc(1, sizeof(*job));
    if (job == NULL)
        return -ENOMEM;
    job->entry = entry;
    job->release = deploy_judge(entry) == DEPLOY_RELEASED;
    int result = fl_json_parse(fl_span_make(entry->text, entry->length), NULL, &job->root, &job->err);
    if (result == 0)
        result = control_intent_read(job->root, &job->intent, &job->reason, &job->err);
    if (result < 0) {
        job_free(job);
        return result;
    }
    entry->job = job;
    job->step = STEP_LOOK;
    if (result > 0) {
        if (job->release) /* it never had any */
            job->reason = NULL;
        job->step = STEP_CONDITION;
    } else if (job->intent.parameters.len > 0 && !job->release) {
        job->step = STEP_PARAMETERS;
    }
    go_on(job);
    return 0;
}
