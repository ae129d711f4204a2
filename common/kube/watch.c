#include "common/kube/watch.h"

#include "common/base/backoff.h"
#include "common/base/map.h"
#include "common/base/siphash.h"
#include "common/base/tally.h"
#include "common/kube/event.h"
#include "common/loop/timer.h"

#include <errno.h>
#include <stdio.h>

#define OBJECTS_MAX    100000u
#define RESUMES_MAX    3     /* in a row that fail: then it is listed anew */
#define LIVED_MS       10000 /* a stream that held so long was a good one */
#define PAGE_PART      4     /* of a page that was too large, so much is asked for next */
#define PAGE_SMALL     8   /* one that is no larger than such a part of the most: the next one may have twice as many */
#define SERVER_TIMEOUT 300 /* seconds, and as many again by draw: what we ask a stream's end for */

struct known {        /* an object, by "namespace/name" */
    uint64_t version; /* its resourceVersion's hash */
    uint32_t round;   /* of the last list that had it, or of the present one */
    uint32_t key_len;
    char key[];
};

struct fl_kube_watch {
    struct fl_loop *loop;
    struct fl_kube_client *client;
    struct fl_kube_watch_options options; /* its texts are not looked at after the start */
    char *path, *selectors;               /* owned; selectors: "&labelSelector=…&fieldSelector=…" or "" */
    struct fl_kube_exchange *exchange;    /* NULL while waiting */
    struct fl_kube_stream stream;
    struct fl_timer timer;
    struct fl_backoff backoff;
    struct fl_map objects;
    struct fl_tally namespaces; /* of objects */
    struct fl_kube_watch_stats stats;
    uint32_t round;
    char version[FL_KUBE_VERSION_MAX + 1]; /* "": a list comes next */
    char *next;                            /* the list's continue token; NULL: its first page */
    unsigned page;                         /* objects of the next one */
    unsigned resumes;                      /* that failed in a row */
    uint64_t begun_ms;                     /* of the stream */
    bool heard;                            /* it brought an event */
    bool full, crowded;                    /* told that there are too many objects; that one namespace has */
    bool dead;
    struct fl_deferred deferred;
};

static void go(struct fl_kube_watch *watch);
static void ask(struct fl_kube_watch *watch);

/* ---- Trouble ---- */

static void on_due(struct fl_timer *timer)
{
    go(FL_CONTAINER_OF(timer, struct fl_kube_watch, timer));
}

static void wait_for(struct fl_kube_watch *watch, uint64_t delay_ms)
{
    fl_timer_set(watch->loop, &watch->timer, delay_ms, on_due);
}

static void tell(struct fl_kube_watch *watch, struct fl_err *err)
{
    watch->stats.troubles++;
    if (watch->options.on_trouble != NULL)
        watch->options.on_trouble(watch->options.owner, err);
}

/* Stops what is under way and tries again later; with `relist` from the start. The watch may be dead afterwards. */
static void fail(struct fl_kube_watch *watch, bool relist, unsigned retry_after, struct fl_err *err)
{
    watch->exchange = fl_kube_cancel(watch->exchange);
    watch->stats.watching = false;
    if (relist || ++watch->resumes >= RESUMES_MAX) {
        watch->version[0] = '\0';
        watch->resumes = 0;
    }
    free(watch->next);
    watch->next = NULL;
    uint64_t delay = fl_backoff_next(&watch->backoff);
    if (delay < (uint64_t)retry_after * 1000) /* jitter on top, so that not all come back at once */
        delay += (uint64_t)retry_after * 1000;
    wait_for(watch, delay);
    tell(watch, err);
}

static void fail_by(struct fl_kube_watch *watch, bool relist, int result)
{
    struct fl_err err = {0};
    fl_err_errno(&err, result, "watch of %s", watch->path);
    fail(watch, relist, 0, &err);
}

/* ---- Objects ---- */

static int print_key(const struct fl_kube_identity *identity, char *key, size_t room)
{
    return snprintf(key, room, "%.*s/%.*s", FL_SPAN_ARG(identity->name_space), FL_SPAN_ARG(identity->name));
}

static void change(struct fl_kube_watch *watch, enum fl_kube_change what, const struct fl_json *object)
{
    if (watch->options.on_change != NULL)
        watch->options.on_change(watch->options.owner, what, object);
}

static struct fl_span namespace_of(struct fl_span key)
{
    return fl_span_make(key.data, fl_span_find(key, '/'));
}

static void forget(struct fl_kube_watch *watch, struct known *known)
{
    struct fl_span key = fl_span_make(known->key, known->key_len);
    fl_map_remove(&watch->objects, key);
    fl_tally_drop(&watch->namespaces, namespace_of(key));
    watch->stats.objects = watch->objects.count;
    free(known);
}

/* Objects of no namespace are not made by tenants. */
static bool is_crowded(const struct fl_kube_watch *watch, struct fl_span name_space)
{
    return name_space.len > 0 && fl_tally_get(&watch->namespaces, name_space) >= watch->options.namespace_max;
}

static int remember(struct fl_kube_watch *watch, struct fl_span key, uint64_t version)
{
    if (is_crowded(watch, namespace_of(key)))
        return -EDQUOT;
    struct known *known = malloc(sizeof(*known) + key.len);
    if (known == NULL)
        return -ENOMEM;
    *known = (struct known){.version = version, .round = watch->round, .key_len = (uint32_t)key.len};
    memcpy(known->key, key.data, key.len);
    int result = fl_map_put(&watch->objects, fl_span_make(known->key, key.len), known);
    if (result < 0) {
        free(known);
        return result;
    }
    result = fl_tally_add(&watch->namespaces, namespace_of(key));
    if (result < 0)
        free(fl_map_remove(&watch->objects, key));
    watch->stats.objects = watch->objects.count;
    return result;
}

/* 0, or -ENOMEM; -ENOSPC, -EDQUOT: there are more objects than may be. */
static int take_object(struct fl_kube_watch *watch, const struct fl_json *object, bool gone)
{
    struct fl_kube_identity identity;
    char text[512];
    if (!fl_kube_identify(object, &identity))
        return -EINVAL;
    int len = print_key(&identity, text, sizeof(text));
    if (len < 0 || (size_t)len >= sizeof(text))
        return -EINVAL;
    struct fl_span key = fl_span_make(text, (size_t)len);
    struct known *known = fl_map_get(&watch->objects, key);
    uint64_t version = fl_siphash(identity.version);
    if (gone) {
        if (known == NULL) {
            if ((watch->full || watch->crowded) && watch->options.on_left_out != NULL)
                watch->options.on_left_out(watch->options.owner, object, true);
            return 0;
        }
        forget(watch, known);
        change(watch, FL_KUBE_DELETED, object);
        return 0;
    }
    if (known == NULL) {
        int result = remember(watch, key, version);
        if (result == 0)
            change(watch, FL_KUBE_ADDED, object);
        return result;
    }
    known->round = watch->round;
    if (known->version == version)
        return 0;
    known->version = version;
    change(watch, FL_KUBE_MODIFIED, object);
    return 0;
}

static struct fl_json *make_gone(struct fl_span key)
{
    size_t slash = fl_span_find(key, '/');
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = fl_json_new_object();
    struct fl_json *metadata = fl_json_new_object();
    if (object == NULL || fl_json_set(object, "metadata", metadata) < 0 ||
        fl_json_set(metadata, "name", fl_json_new_string(fl_span_from(key, slash + 1))) < 0)
        return NULL;
    if (slash > 0 && fl_json_set(metadata, "namespace", fl_json_new_string(fl_span_make(key.data, slash))) < 0)
        return NULL;
    return fl_take(object);
}

/* What the list that ended now did not have is gone. */
static int sweep(struct fl_kube_watch *watch)
{
    void *value;
    for (size_t cursor = 0; fl_map_next(&watch->objects, &cursor, NULL, &value);) {
        struct known *known = value;
        if (known->round == watch->round)
            continue;
        FL_CLEANUP(fl_cleanup_json) struct fl_json *object = make_gone(fl_span_make(known->key, known->key_len));
        if (object == NULL)
            return -ENOMEM;
        forget(watch, known);
        change(watch, FL_KUBE_DELETED, object);
        if (watch->dead)
            return 0;
    }
    return 0;
}

static void tell_crowded(struct fl_kube_watch *watch, const struct fl_json *object)
{
    struct fl_span name_space = fl_json_string(fl_json_get(fl_json_get(object, "metadata"), "namespace"));
    struct fl_err err = {0};
    if (watch->crowded)
        return;
    watch->crowded = true;
    fl_err_set(&err, -EDQUOT, "watch of %s: more than %zu objects in namespace %.*s; the rest of them is left out",
               watch->path, watch->options.namespace_max, FL_SPAN_ARG(name_space));
    tell(watch, &err);
}

/* That there are too many is told once a list, and what is past the limit is left out. */
static int take_bounded(struct fl_kube_watch *watch, const struct fl_json *object, bool gone)
{
    int result = take_object(watch, object, gone);
    if ((result == -EDQUOT || result == -ENOSPC) && watch->options.on_left_out != NULL) {
        watch->options.on_left_out(watch->options.owner, object, false);
        if (watch->dead)
            return 0;
    }
    if (result == -EDQUOT)
        tell_crowded(watch, object);
    if (result != -ENOSPC)
        return result == -EDQUOT ? 0 : result;
    if (!watch->full) {
        struct fl_err err = {0};
        watch->full = true;
        fl_err_set(&err, result, "watch of %s: more than %zu objects; the rest is left out", watch->path,
                   watch->objects.max);
        tell(watch, &err);
    }
    return 0;
}

static void keep_version(struct fl_kube_watch *watch, struct fl_span version)
{
    memcpy(watch->version, version.data, version.len); /* checked by the parser */
    watch->version[version.len] = '\0';
}

/* ---- Watching ---- */

static void good_stream(struct fl_kube_watch *watch)
{
    watch->heard = true;
    watch->resumes = 0;
    fl_backoff_reset(&watch->backoff);
}

/* Whether the stream goes on. */
static bool take_event(struct fl_kube_watch *watch, const struct fl_kube_event *event)
{
    watch->stats.events++;
    watch->stats.heard_ms = fl_loop_now_ms(watch->loop);
    if (event->type == FL_KUBE_EVENT_ERROR) {
        struct fl_err err = {0};
        struct fl_span message = fl_json_string(fl_json_get(event->object, "message"));
        fl_err_set(&err, event->code == 410 ? -ESTALE : -EIO, "watch of %s: the server ended it: %u %.*s", watch->path,
                   event->code, FL_SPAN_ARG(message));
        fail(watch, event->code == 410, 0, &err);
        return false;
    }
    good_stream(watch);
    if (event->type != FL_KUBE_EVENT_BOOKMARK) {
        int result = take_bounded(watch, event->object, event->type == FL_KUBE_EVENT_DELETED);
        if (watch->dead)
            return false;
        if (result < 0) {
            fail_by(watch, true, result);
            return false;
        }
    }
    keep_version(watch, event->version);
    return true;
}

static void on_stream(void *owner, struct fl_span bytes)
{
    struct fl_kube_watch *watch = owner;
    struct fl_span line;
    int result;
    while ((result = fl_kube_stream_next(&watch->stream, &bytes, &line)) > 0) {
        struct fl_kube_event event;
        struct fl_err err = {0};
        result = fl_kube_event_parse(line, FL_KUBE_OBJECT_MAX, &event, &err);
        if (result < 0) {
            fl_err_prefix(&err, "watch of %s", watch->path);
            fail(watch, true, 0, &err);
            return;
        }
        bool goes_on = take_event(watch, &event);
        fl_json_free(event.root);
        if (!goes_on)
            return;
    }
    if (result < 0)
        fail_by(watch, true, result);
}

static void on_stream_end(void *owner, const struct fl_kube_answer *answer)
{
    struct fl_kube_watch *watch = owner;
    struct fl_err err = {0};
    uint64_t lived = fl_loop_now_ms(watch->loop) - watch->begun_ms;
    watch->exchange = NULL;
    watch->stats.watching = false;
    int result = fl_kube_answer_check(answer, &err);
    if (lived >= LIVED_MS)
        good_stream(watch);
    if (result == 0) { /* the server's own timeout, or its restart */
        wait_for(watch, watch->heard ? 0 : fl_backoff_next(&watch->backoff));
        return;
    }
    if (answer->result == 0)
        fl_err_prefix(&err, "watch of %s", watch->path);
    fail(watch, result == -ESTALE, answer->retry_after, &err);
}

/* ---- Listing ---- */

static void end_list(struct fl_kube_watch *watch, struct fl_span version)
{
    int result = sweep(watch);
    if (watch->dead)
        return;
    if (result < 0) {
        fail_by(watch, true, result);
        return;
    }
    keep_version(watch, version);
    watch->resumes = 0;
    watch->stats.heard_ms = fl_loop_now_ms(watch->loop);
    watch->stats.synced = true;
    if (watch->options.on_synced != NULL)
        watch->options.on_synced(watch->options.owner);
    if (!watch->dead)
        go(watch);
}

static void take_page(struct fl_kube_watch *watch, struct fl_kube_page *page)
{
    int result = 0;
    for (const struct fl_json *item = fl_json_first(page->items); item != NULL && result == 0;
         item = fl_json_next(item)) {
        result = take_bounded(watch, item, false);
        if (watch->dead)
            return;
    }
    free(watch->next);
    watch->next = NULL;
    if (result == 0 && page->next.len > 0 && (watch->next = fl_span_dup(page->next)) == NULL)
        result = -ENOMEM;
    if (result < 0)
        fail_by(watch, true, result);
    else if (watch->next != NULL)
        go(watch);
    else
        end_list(watch, page->version);
}

/* Whether it is asked for again at once, as a smaller one. */
static bool is_too_large(struct fl_kube_watch *watch, int result)
{
    if (result != -EMSGSIZE || watch->page <= 1)
        return false;
    watch->page = watch->page > PAGE_PART ? watch->page / PAGE_PART : 1;
    return true;
}

static void grow_page(struct fl_kube_watch *watch, size_t bytes)
{
    if (bytes > FL_KUBE_PAGE_MAX / PAGE_SMALL)
        return;
    watch->page = watch->page < watch->options.page / 2 ? 2 * watch->page : watch->options.page;
}

static void on_page(void *owner, const struct fl_kube_answer *answer)
{
    struct fl_kube_watch *watch = owner;
    struct fl_kube_page page = {.root = NULL};
    struct fl_err err = {0};
    watch->exchange = NULL;
    int result = fl_kube_answer_check(answer, &err);
    if (result == 0)
        result = fl_kube_page_parse(answer->body, FL_KUBE_PAGE_MAX, &page, &err);
    if (result == 0)
        grow_page(watch, answer->body.len);
    if (is_too_large(watch, result)) {
        ask(watch);
        return;
    }
    if (result < 0) {
        if (answer->result == 0)
            fl_err_prefix(&err, "list of %s", watch->path);
        fail(watch, true, answer->retry_after, &err);
        return;
    }
    take_page(watch, &page);
    fl_kube_page_done(&page);
}

/* ---- What comes next ---- */

static int print_target(const struct fl_kube_watch *watch, struct fl_buf *out)
{
    char separator = strchr(watch->path, '?') != NULL ? '&' : '?';
    int result = fl_buf_printf(out, "%s%c", watch->path, separator);
    if (result == 0 && watch->version[0] != '\0') {
        result = fl_buf_printf(out, "watch=1&allowWatchBookmarks=true&timeoutSeconds=%u&resourceVersion=",
                               SERVER_TIMEOUT + (unsigned)fl_backoff_draw(SERVER_TIMEOUT));
        if (result == 0)
            result = fl_kube_escape(out, fl_span_str(watch->version));
    } else if (result == 0) {
        result = fl_buf_printf(out, "limit=%u", watch->page);
        if (result == 0 && watch->next != NULL)
            result = fl_buf_append_str(out, "&continue=");
        if (result == 0 && watch->next != NULL)
            result = fl_kube_escape(out, fl_span_str(watch->next));
    }
    return result == 0 ? fl_buf_append_str(out, watch->selectors) : result;
}

static int send_next(struct fl_kube_watch *watch, struct fl_err *err)
{
    bool lists = watch->version[0] == '\0', bare = watch->options.metadata_only;
    struct fl_buf target;
    fl_buf_init(&target, FL_KUBE_PATH_MAX);
    int result = print_target(watch, &target);
    struct fl_kube_request request = {
        .method = "GET",
        .path = result == 0 ? fl_buf_str(&target) : NULL,
        .accept = !bare   ? NULL
                  : lists ? "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
                          : "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        .body_max = FL_KUBE_PAGE_MAX,
        .silence_ms = lists ? 0 : watch->options.silence_ms,
        .on_data = lists ? NULL : on_stream,
        .on_done = lists ? on_page : on_stream_end,
        .owner = watch,
    };
    if (result == 0 && request.path == NULL)
        result = -ENOMEM;
    if (result < 0)
        fl_err_errno(err, result, "watch of %s", watch->path);
    else
        result = fl_kube_send(watch->client, &request, &watch->exchange, err);
    fl_buf_done(&target);
    return result;
}

static void ask(struct fl_kube_watch *watch)
{
    struct fl_err err = {0};
    int result = send_next(watch, &err);
    if (result < 0)
        fail(watch, false, 0, &err);
}

static void go(struct fl_kube_watch *watch)
{
    if (watch->version[0] == '\0' && watch->next == NULL) {
        watch->round++;
        watch->full = watch->crowded = false;
        watch->stats.lists++;
    } else if (watch->version[0] != '\0') {
        fl_kube_stream_done(&watch->stream);
        fl_kube_stream_init(&watch->stream, FL_KUBE_OBJECT_MAX);
        watch->begun_ms = fl_loop_now_ms(watch->loop);
        watch->heard = false;
        watch->stats.watches++;
        watch->stats.watching = true;
    }
    ask(watch);
}

/* ---- Life ---- */

static int print_selectors(const struct fl_kube_watch_options *options, struct fl_buf *out)
{
    int result = 0;
    if (options->label_selector != NULL)
        result = fl_buf_append_str(out, "&labelSelector=");
    if (result == 0 && options->label_selector != NULL)
        result = fl_kube_escape(out, fl_span_str(options->label_selector));
    if (result == 0 && options->field_selector != NULL)
        result = fl_buf_append_str(out, "&fieldSelector=");
    if (result == 0 && options->field_selector != NULL)
        result = fl_kube_escape(out, fl_span_str(options->field_selector));
    return result;
}

static int copy_texts(struct fl_kube_watch *watch)
{
    struct fl_buf text;
    fl_buf_init(&text, FL_KUBE_PATH_MAX / 2);
    int result = print_selectors(&watch->options, &text);
    if (result == 0) {
        watch->path = strdup(watch->options.path);
        watch->selectors = fl_span_dup(fl_buf_span(&text));
        result = watch->path != NULL && watch->selectors != NULL ? 0 : -ENOMEM;
    }
    fl_buf_done(&text);
    return result == -EMSGSIZE ? -EINVAL : result;
}

static void set_defaults(struct fl_kube_watch_options *options)
{
    options->page = options->page > 0 ? options->page : FL_KUBE_PAGE;
    options->objects_max = options->objects_max > 0 ? options->objects_max : OBJECTS_MAX;
    options->namespace_max = options->namespace_max > 0 ? options->namespace_max : options->objects_max;
    options->silence_ms = options->silence_ms > 0 ? options->silence_ms : FL_KUBE_SILENCE_MS;
    options->backoff_ms = options->backoff_ms > 0 ? options->backoff_ms : FL_KUBE_BACKOFF_MS;
    options->backoff_max_ms = options->backoff_max_ms > 0 ? options->backoff_max_ms : FL_KUBE_BACKOFF_MAX_MS;
    if (options->backoff_max_ms < options->backoff_ms)
        options->backoff_max_ms = options->backoff_ms;
}

int fl_kube_watch_new(struct fl_loop *loop, struct fl_kube_client *client, const struct fl_kube_watch_options *options,
                      struct fl_kube_watch **ret_watch)
{
    if (options->path == NULL || options->path[0] != '/')
        return -EINVAL;
    struct fl_kube_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return -ENOMEM;
    watch->loop = loop;
    watch->client = client;
    watch->options = *options;
    set_defaults(&watch->options);
    watch->page = watch->options.page;
    fl_backoff_init(&watch->backoff, watch->options.backoff_ms, watch->options.backoff_max_ms);
    fl_map_init(&watch->objects, watch->options.objects_max);
    fl_tally_init(&watch->namespaces);
    fl_kube_stream_init(&watch->stream, FL_KUBE_OBJECT_MAX);
    int result = copy_texts(watch);
    if (result < 0) {
        fl_kube_watch_free(watch);
        return result;
    }
    wait_for(watch, 0); /* the owner's pointer is set before the first callback */
    *ret_watch = watch;
    return 0;
}

static void free_watch(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct fl_kube_watch, deferred));
}

struct fl_kube_watch *fl_kube_watch_free(struct fl_kube_watch *watch)
{
    void *known;
    if (watch == NULL || watch->dead)
        return NULL;
    watch->dead = true;
    fl_kube_cancel(watch->exchange);
    fl_timer_cancel(&watch->timer);
    for (size_t cursor = 0; fl_map_next(&watch->objects, &cursor, NULL, &known);)
        free(known);
    fl_map_done(&watch->objects);
    fl_tally_done(&watch->namespaces);
    fl_kube_stream_done(&watch->stream);
    free(watch->path);
    free(watch->selectors);
    free(watch->next);
    fl_loop_defer(watch->loop, &watch->deferred, free_watch);
    return NULL;
}

struct fl_kube_watch_stats fl_kube_watch_stats(const struct fl_kube_watch *watch)
{
    return watch->stats;
}
