#include "webhook/lookup.h"

#include "common/base/log.h"
#include "common/base/log_limit.h"
#include "common/kube/object.h"
#include "common/kube/watch.h"
#include "webhook/limit.h"
#include "webhook/value.h"

#include <errno.h>
#include <stdio.h>

#define METADATA "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

struct ask { /* a namespace that is asked for */
    struct webhook_lookup *lookup;
    struct ask *next, **link;
    struct fl_kube_exchange *exchange; /* under way; NULL while its answer is told */
    struct webhook_wait *now, *later;  /* for this answer; for the next one, because they came after the request */
    char name[FL_KUBE_NAMESPACE_MAX + 1];
};

struct webhook_lookup {
    struct fl_loop *loop;
    struct webhook_stats *stats;
    struct fl_kube_client *client;
    struct fl_kube_watch *watch;
    struct webhook_namespaces *set;
    struct ask *asks;
    struct fl_log_limit limit;
    struct fl_err told; /* the trouble that was logged last; empty: none since the last list */
    bool synced;
};

/* ---- The watch ---- */

static void count_known(struct webhook_lookup *lookup)
{
    fl_gauge_set(lookup->stats->namespaces, (double)webhook_namespaces_count(lookup->set));
}

static void on_change(void *owner, enum fl_kube_change change, const struct fl_json *object)
{
    struct webhook_lookup *lookup = owner;
    struct fl_span name = fl_json_string(fl_json_get(fl_json_get(object, "metadata"), "name"));
    int result = 0;
    if (change == FL_KUBE_DELETED)
        webhook_namespaces_remove(lookup->set, name);
    else
        result = webhook_namespaces_put(lookup->set, object);
    if (result < 0) { /* what is known of it would be wrong: unknown, it is asked for when it is needed */
        webhook_namespaces_remove(lookup->set, name);
        fl_log(FL_LOG_WARNING, "namespace not kept", FL_LOG_SPAN("namespace", name),
               FL_LOG_STR("error", strerror(-result)));
    }
    if (lookup->synced)
        count_known(lookup);
}

static void on_synced(void *owner)
{
    struct webhook_lookup *lookup = owner;
    count_known(lookup);
    if (!lookup->synced || lookup->told.text[0] != '\0')
        fl_log(FL_LOG_INFO, "namespaces synced", FL_LOG_NUM("namespaces", webhook_namespaces_count(lookup->set)),
               FL_LOG_STR("server", fl_kube_client_server(lookup->client)));
    lookup->synced = true;
    lookup->told.text[0] = '\0';
}

static void on_trouble(void *owner, const struct fl_err *err)
{
    struct webhook_lookup *lookup = owner;
    fl_counter_add(lookup->stats->watch_troubles, 1);
    if (strcmp(lookup->told.text, err->text) == 0)
        return;
    lookup->told = *err;
    uint64_t suppressed;
    if (fl_log_limit_take(&lookup->limit, fl_loop_now_ms(lookup->loop), &suppressed))
        fl_log(FL_LOG_WARNING, "trouble with the API server, will try again", FL_LOG_STR("error", err->text),
               FL_LOG_NUM("suppressed", suppressed));
}

/* ---- Asking for one ---- */

static void link_wait(struct webhook_wait **list, struct webhook_wait *wait)
{
    wait->next = *list;
    wait->link = list;
    if (wait->next != NULL)
        wait->next->link = &wait->next;
    *list = wait;
}

void webhook_lookup_forget(struct webhook_wait *wait)
{
    if (wait->link == NULL)
        return;
    *wait->link = wait->next;
    if (wait->next != NULL)
        wait->next->link = wait->link;
    wait->link = NULL;
}

static void free_ask(struct ask *ask)
{
    fl_kube_cancel(ask->exchange);
    while (ask->now != NULL)
        webhook_lookup_forget(ask->now);
    while (ask->later != NULL)
        webhook_lookup_forget(ask->later);
    *ask->link = ask->next;
    if (ask->next != NULL)
        ask->next->link = ask->link;
    free(ask);
}

static void on_answer(void *owner, const struct fl_kube_answer *answer);

static int send_ask(struct ask *ask, struct fl_err *err)
{
    char path[sizeof("/api/v1/namespaces/") + FL_KUBE_NAMESPACE_MAX];
    snprintf(path, sizeof(path), "/api/v1/namespaces/%s", ask->name);
    const struct fl_kube_request request = {
        .method = "GET",
        .path = path,
        .accept = METADATA,
        .body_max = WEBHOOK_LOOKUP_MAX,
        .timeout_ms = WEBHOOK_LOOKUP_MS,
        .on_done = on_answer,
        .owner = ask,
    };
    return fl_kube_send(ask->lookup->client, &request, &ask->exchange, err);
}

/* What was said of the namespace, into the set. 0, or negative with the reason. */
static int learn(struct ask *ask, const struct fl_kube_answer *answer, struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = WEBHOOK_LOOKUP_MAX, .nul_replaced = true};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = NULL;
    struct fl_span name = fl_span_str(ask->name);
    int result = fl_kube_answer_check(answer, err);
    if (result == -ENOENT)
        webhook_namespaces_remove(ask->lookup->set, name);
    if (result == 0)
        result = fl_json_parse(answer->body, &limits, &object, err);
    if (result < 0)
        return result;
    if (!fl_span_eq(fl_json_string(fl_json_get(fl_json_get(object, "metadata"), "name")), name))
        return fl_err_set(err, -EINVAL, "the API server answered with another object");
    result = webhook_namespaces_put_newer(ask->lookup->set, object); /* the watch may have told of a later one */
    return result < 0 ? fl_err_errno(err, result, "keep it") : 0;
}

static enum webhook_get result_of(int result)
{
    return result == 0         ? WEBHOOK_GET_FOUND
           : result == -ENOENT ? WEBHOOK_GET_ABSENT
           : result == -EACCES ? WEBHOOK_GET_REFUSED
                               : WEBHOOK_GET_FAILED;
}

static void log_failure(const struct ask *ask, const struct fl_err *err)
{
    struct webhook_lookup *lookup = ask->lookup;
    uint64_t suppressed;
    if (fl_log_limit_take(&lookup->limit, fl_loop_now_ms(lookup->loop), &suppressed))
        fl_log(FL_LOG_WARNING, "namespace not learnt", FL_LOG_STR("namespace", ask->name),
               FL_LOG_STR("error", err->text), FL_LOG_NUM("suppressed", suppressed));
}

static void tell_all(struct webhook_wait **list, const struct fl_err *err)
{
    while (*list != NULL) {
        struct webhook_wait *wait = *list;
        webhook_lookup_forget(wait);
        wait->done(wait, err);
    }
}

static void on_answer(void *owner, const struct fl_kube_answer *answer)
{
    struct ask *ask = owner;
    struct webhook_lookup *lookup = ask->lookup;
    struct fl_err err = {0}, next_err = {0};
    ask->exchange = NULL;
    int result = learn(ask, answer, &err), next = 0;
    fl_counter_add(lookup->stats->gets[result_of(result)], 1);
    count_known(lookup);
    if (result < 0)
        log_failure(ask, &err);
    tell_all(&ask->now, result < 0 ? &err : NULL);
    while (ask->later != NULL) {
        struct webhook_wait *wait = ask->later;
        webhook_lookup_forget(wait);
        link_wait(&ask->now, wait);
    }
    if (ask->now != NULL)
        next = send_ask(ask, &next_err);
    if (next < 0)
        tell_all(&ask->now, &next_err);
    if (ask->exchange == NULL)
        free_ask(ask);
}

static struct ask *find_ask(const struct webhook_lookup *lookup, struct fl_span name)
{
    for (struct ask *ask = lookup->asks; ask != NULL; ask = ask->next) {
        if (fl_span_eq_str(name, ask->name))
            return ask;
    }
    return NULL;
}

static int new_ask(struct webhook_lookup *lookup, struct fl_span name, struct ask **ret_ask, struct fl_err *err)
{
    struct ask *ask = calloc(1, sizeof(*ask));
    if (ask == NULL)
        return fl_err_errno(err, -ENOMEM, "ask for the namespace");
    ask->lookup = lookup;
    memcpy(ask->name, name.data, name.len);
    ask->next = lookup->asks;
    ask->link = &lookup->asks;
    if (ask->next != NULL)
        ask->next->link = &ask->next;
    lookup->asks = ask;
    int result = send_ask(ask, err);
    if (result < 0)
        free_ask(ask);
    else
        *ret_ask = ask;
    return result;
}

int webhook_lookup_ask(struct webhook_lookup *lookup, struct fl_span name, struct webhook_wait *wait,
                       struct fl_err *err)
{
    if (!webhook_is_label(name)) /* it also is a part of the path */
        return fl_err_set(err, -EINVAL, "\"%.*s\" is not the name of a namespace", WEBHOOK_SHOW(name));
    struct ask *ask = find_ask(lookup, name);
    if (ask != NULL) {
        link_wait(&ask->later, wait);
        return 0;
    }
    int result = new_ask(lookup, name, &ask, err);
    if (result == 0)
        link_wait(&ask->now, wait);
    return result;
}

/* ---- Life ---- */

static void cleanup_lookup(struct webhook_lookup **lookup)
{
    webhook_lookup_free(*lookup);
}

int webhook_lookup_new(struct fl_loop *loop, struct webhook_stats *stats, struct fl_kube_access *access,
                       struct webhook_lookup **ret_lookup, struct fl_err *err)
{
    FL_CLEANUP(cleanup_lookup) struct webhook_lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL) {
        fl_kube_access_done(access);
        return fl_err_errno(err, -ENOMEM, "namespaces");
    }
    lookup->loop = loop;
    lookup->stats = stats;
    int result = fl_kube_client_new(loop, access, "fairlead-webhook/" FL_VERSION, &lookup->client, err);
    if (result < 0)
        return result;
    const struct fl_kube_watch_options options = {
        .path = "/api/v1/namespaces",
        .metadata_only = true,
        .page = WEBHOOK_LOOKUP_PAGE,
        .objects_max = WEBHOOK_LOOKUP_NAMESPACES,
        .on_change = on_change,
        .on_synced = on_synced,
        .on_trouble = on_trouble,
        .owner = lookup,
    };
    result = webhook_namespaces_new(WEBHOOK_LOOKUP_NAMESPACES, &lookup->set);
    if (result == 0)
        result = fl_kube_watch_new(loop, lookup->client, &options, &lookup->watch);
    if (result < 0)
        return fl_err_errno(err, result, "namespaces");
    *ret_lookup = fl_take(lookup);
    return 0;
}

struct webhook_lookup *webhook_lookup_free(struct webhook_lookup *lookup)
{
    if (lookup == NULL)
        return NULL;
    while (lookup->asks != NULL)
        free_ask(lookup->asks);
    fl_kube_watch_free(lookup->watch);
    fl_kube_client_free(lookup->client);
    webhook_namespaces_free(lookup->set);
    free(lookup);
    return NULL;
}

const struct webhook_namespaces *webhook_lookup_namespaces(const struct webhook_lookup *lookup)
{
    return lookup->set;
}

bool webhook_lookup_synced(const struct webhook_lookup *lookup)
{
    return lookup->synced;
}
