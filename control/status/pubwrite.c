#include "control/status/publisher.h"

#include "common/base/log.h"
#include "common/kube/object.h"
#include "control/status/desire.h"

#include <errno.h>

#define LAG_MS       2000   /* an object may be newer than the model's word of it for so long */
#define REFUSED_MS   300000 /* what the API server does not take is tried again */
#define FORBIDDEN_MS 60000
#define CONFLICT_MS  1000   /* the watch tells of the change before */
#define FORGET_MS    600000 /* a fight that is so long ago is none */
#define FIGHT_TOLD   3      /* at the third time it is told */

static void tell(struct publisher_entry *entry, const char *what, const char *text)
{
    struct control_publisher *publisher = entry->publisher;
    uint64_t suppressed = 0;
    if (fl_log_limit_take(&publisher->told, publisher_now_ms(publisher), &suppressed))
        fl_log(FL_LOG_WARNING, what, FL_LOG_STR("kind", control_kind_name(entry->kind)),
               FL_LOG_SPAN("namespace", entry->name_space), FL_LOG_SPAN("name", entry->name), FL_LOG_STR("error", text),
               FL_LOG_NUM("suppressed", suppressed));
}

/* Nothing is asked of the API for a while. */
static void pause_all(struct control_publisher *publisher, unsigned retry_after)
{
    uint64_t delay = fl_backoff_next(&publisher->backoff);
    if (retry_after > 0 && delay < retry_after * UINT64_C(1000))
        delay = (retry_after < 300 ? retry_after : 300) * UINT64_C(1000);
    uint64_t until = publisher_now_ms(publisher) + delay;
    if (until > publisher->paused_until_ms)
        publisher->paused_until_ms = until;
}

static uint64_t fight_wait(const struct publisher_entry *entry)
{
    unsigned shift = entry->fights < 20 ? entry->fights : 20;
    uint64_t wait = (uint64_t)entry->publisher->fight_ms << shift;
    return wait < CONTROL_PUBLISH_FIGHT_MAX_MS ? wait : CONTROL_PUBLISH_FIGHT_MAX_MS;
}

static void written(struct publisher_entry *entry, const struct fl_kube_answer *answer)
{
    struct control_publisher *publisher = entry->publisher;
    struct fl_json *object = NULL;
    publisher->stats.writes++;
    fl_counter_add(publisher->writes, 1);
    fl_backoff_reset(&publisher->backoff);
    entry->sent_hash = entry->flying_hash;
    entry->wrote_ms = publisher_now_ms(publisher);
    /* What the watch told meanwhile is newer. */
    if (entry->newer || fl_json_parse(answer->body, NULL, &object, &(struct fl_err){0}) < 0)
        return;
    if (fl_json_is(fl_json_get(object, "metadata"), FL_JSON_OBJECT) && publisher_take(entry, object) < 0)
        publisher->stats.failures++; /* the watch tells it once more */
    fl_json_free(object);
}

static void refuse(struct publisher_entry *entry, uint64_t ms)
{
    entry->refused_hash = entry->flying_hash;
    entry->refused_until_ms = publisher_now_ms(entry->publisher) + ms;
}

static void on_conflict(struct publisher_entry *entry)
{
    struct control_publisher *publisher = entry->publisher;
    unsigned shift = entry->conflicts < 8 ? entry->conflicts : 8;
    publisher->stats.conflicts++;
    fl_counter_add(publisher->conflicts, 1);
    entry->conflicts++;
    if (!entry->newer) /* else what it waits for is here already */
        publisher_set_aside(entry, publisher_now_ms(publisher) + ((uint64_t)CONFLICT_MS << shift));
}

static void failed(struct publisher_entry *entry, const struct fl_kube_answer *answer, int result,
                   const struct fl_err *err)
{
    struct control_publisher *publisher = entry->publisher;
    if (result == -ENOENT) { /* the watch will say so */
        publisher->stats.gone++;
        refuse(entry, REFUSED_MS);
    } else if (result == -EEXIST) {
        on_conflict(entry);
    } else if (result == -EINVAL || result == -EACCES) {
        publisher->stats.refused++;
        fl_counter_add(publisher->failures, 1);
        tell(entry, "status refused by the API server", err->text);
        refuse(entry, result == -EACCES ? FORBIDDEN_MS : REFUSED_MS);
    } else {
        publisher->stats.failures++;
        fl_counter_add(publisher->failures, 1);
        if (result != -EAGAIN)
            tell(entry, "status could not be written", err->text);
        pause_all(publisher, answer->retry_after);
    }
}

static void on_written(void *owner, const struct fl_kube_answer *answer)
{
    struct publisher_entry *entry = owner;
    struct control_publisher *publisher = entry->publisher;
    struct fl_err err = {0};
    entry->exchange = NULL;
    entry->place = PLACE_NONE;
    publisher->flying--;
    int result = fl_kube_answer_check(answer, &err);
    if (result == 0)
        written(entry, answer);
    else
        failed(entry, answer, result, &err);
    entry->newer = false;
    if (entry->place == PLACE_NONE)
        publisher_enqueue(entry);
    publisher_work_soon(publisher, 0);
}

static int path_of(const struct publisher_entry *entry, struct fl_buf *out)
{
    const char *group = control_kind_group(entry->kind);
    const char *version = fl_span_eq_str(FL_SPAN("fairlead.io"), group) ? "v1alpha1" : "v1";
    int result = entry->api_version != NULL ? fl_buf_printf(out, "/apis/%s/", entry->api_version)
                                            : fl_buf_printf(out, "/apis/%s/%s/", group, version);
    if (result == 0 && entry->name_space.len > 0)
        result = fl_buf_printf(out, "namespaces/%.*s/", FL_SPAN_ARG(entry->name_space));
    if (result == 0)
        result = fl_kube_plural(control_kind_name(entry->kind), out);
    if (result == 0)
        result = fl_buf_append_byte(out, '/');
    if (result == 0)
        result = fl_kube_escape(out, entry->name);
    return result == 0 ? fl_buf_append_str(out, "/status?fieldManager=fairlead-control") : result;
}

static int send(struct publisher_entry *entry, const struct fl_json *patch)
{
    struct control_publisher *publisher = entry->publisher;
    struct fl_buf path, body;
    struct fl_err err = {0};
    fl_buf_init(&path, FL_KUBE_PATH_MAX);
    fl_buf_init(&body, 4 * CONTROL_PUBLISH_STATUS_MAX);
    int result = path_of(entry, &path);
    if (result == 0)
        result = fl_json_print(patch, &body);
    const struct fl_kube_request request = {.method = "PATCH",
                                            .path = result == 0 ? fl_buf_str(&path) : NULL,
                                            .content_type = "application/merge-patch+json",
                                            .body = fl_buf_span(&body),
                                            .on_done = on_written,
                                            .owner = entry};
    if (result == 0 && request.path == NULL)
        result = -ENOMEM;
    if (result == 0)
        result = fl_kube_send(publisher->client, &request, &entry->exchange, &err);
    fl_buf_done(&path);
    fl_buf_done(&body);
    return result;
}

static bool take_token(struct control_publisher *publisher)
{
    uint64_t now = publisher_now_ms(publisher);
    publisher->tokens += (double)(now - publisher->tokens_ms) * publisher->rate / 1000.0;
    publisher->tokens_ms = now;
    if (publisher->tokens > publisher->rate)
        publisher->tokens = publisher->rate;
    if (publisher->tokens < 1)
        return false;
    publisher->tokens--;
    return true;
}

/* Whether it was refused or undone, and when it may be said again. */
static bool must_wait(struct publisher_entry *entry, uint64_t hash)
{
    struct control_publisher *publisher = entry->publisher;
    uint64_t now = publisher_now_ms(publisher);
    if (entry->refused_until_ms > now && entry->refused_hash == hash) {
        publisher_set_aside(entry, entry->refused_until_ms);
        return true;
    }
    if (entry->wrote_ms == 0 || entry->sent_hash != hash || now - entry->wrote_ms > FORGET_MS) {
        entry->fights = 0;
        return false;
    }
    uint64_t until = entry->wrote_ms + fight_wait(entry);
    if (until > now) {
        publisher_set_aside(entry, until);
        return true;
    }
    entry->fights++;
    publisher->stats.fights++;
    fl_counter_add(publisher->fights, 1);
    if (entry->fights == FIGHT_TOLD)
        tell(entry, "somebody else undoes the status that we write: from now on it is written ever more seldom", "");
    return false;
}

bool publisher_work_on(struct publisher_entry *entry)
{
    struct control_publisher *publisher = entry->publisher;
    const struct control_problem *problem = publisher_problem(publisher, entry);
    const struct control_desire_context context = {.model = publisher->model,
                                                   .problem = problem,
                                                   .bundle = fl_span_str(publisher->bundle),
                                                   .now = publisher->clock()};
    struct control_desired desired = {NULL, 0};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    int result =
        fl_json_parse(fl_span_make(entry->text, entry->length), NULL, &root, &(struct fl_err){0}); /* we printed it */
    const struct control_seen seen = {.kind = entry->kind,
                                      .name_space = entry->name_space,
                                      .name = entry->name,
                                      .version = fl_json_string(fl_json_get(root, "version")),
                                      .generation = entry->generation,
                                      .parents = fl_json_get(root, "parents"),
                                      .status = fl_json_get(root, "status")};
    uint64_t now = publisher_now_ms(publisher);
    bool lags = problem != NULL && entry->changed_ms > publisher->model_ms && now < entry->changed_ms + LAG_MS;
    if (result == 0)
        result = lags ? CONTROL_DESIRE_WAIT : control_desire(&context, &seen, &desired);
    if (result < 0 || (result == CONTROL_DESIRE_WAIT && lags)) {
        publisher_set_aside(entry, now + PUBLISHER_ASIDE_MS);
        return true;
    }
    if (result != CONTROL_DESIRE_WRITE) {
        publisher_leave(entry); /* the model's next version, or the next word of the watch, brings it back */
        return true;
    }
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = desired.patch;
    if (must_wait(entry, desired.hash) || publisher_yield(entry))
        return true;
    if (!take_token(publisher))
        return false;
    publisher_leave(entry);
    result = send(entry, patch);
    if (result < 0) {
        pause_all(publisher, 0);
        publisher_enqueue(entry);
        return false;
    }
    entry->place = PLACE_FLYING;
    entry->newer = false;
    entry->flying_hash = desired.hash;
    publisher->flying++;
    (void)!fl_tally_add(&publisher->second, entry->name_space); /* without memory nobody has too many */
    return true;
}
