#include "control/source/referred.h"

#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/siphash.h"
#include "common/doc/json.h"
#include "common/loop/timer.h"
#include "control/model/attach.h"

#include <errno.h>
#include <stdio.h>

#define BODY_MAX (4u << 20) /* a Secret is 1 MiB at most, and base64 */
#define KEY_ROOM (FL_KUBE_NAME_MAX + FL_KUBE_NAMESPACE_MAX + 2)

struct secret { /* that something refers to */
    struct control_referred *referred;
    struct secret *next;               /* in the queue */
    struct fl_kube_exchange *exchange; /* under way */
    uint64_t version;                  /* resourceVersion's hash; 0: it was told as gone, or never told */
    uint32_t round;                    /* of the last update that referred to it */
    bool queued, asked, failing;
    size_t space; /* bytes of the namespace */
    size_t len;   /* of the whole key */
    char key[];   /* "namespace/name" */
};

struct control_referred {
    struct fl_loop *loop;
    struct fl_kube_client *client;
    struct control_referred_options options;
    struct fl_map secrets;        /* by "namespace/name" */
    struct secret *first, **last; /* the queue */
    size_t under_way;
    struct fl_timer again, settled;
    uint32_t round;
    bool settling;  /* on_settled is owed */
    bool told_full; /* the log has it that there are too many */
};

static struct control_key key_of(const struct secret *secret)
{
    return (struct control_key){CONTROL_SECRET, fl_span_make(secret->key, secret->space),
                                fl_span_make(secret->key + secret->space + 1, secret->len - secret->space - 1)};
}

/* -- the queue ----------------------------------------------------------------------------------------------------- */

static void push(struct control_referred *referred, struct secret *secret)
{
    if (secret->queued || secret->exchange != NULL)
        return;
    secret->queued = true;
    secret->next = NULL;
    *referred->last = secret;
    referred->last = &secret->next;
}

static struct secret *pop(struct control_referred *referred)
{
    struct secret *secret = referred->first;
    if (secret == NULL)
        return NULL;
    referred->first = secret->next;
    if (referred->first == NULL)
        referred->last = &referred->first;
    secret->queued = false;
    return secret;
}

static void take_out(struct control_referred *referred, const struct secret *secret)
{
    struct secret **link = &referred->first;
    while (*link != NULL && *link != secret)
        link = &(*link)->next;
    if (*link == NULL)
        return;
    *link = secret->next;
    if (*link == NULL)
        referred->last = link;
}

/* -- fetching ------------------------------------------------------------------------------------------------------ */

static void go_on(struct control_referred *referred);

static void on_again(struct fl_timer *timer)
{
    struct control_referred *referred = FL_CONTAINER_OF(timer, struct control_referred, again);
    void *value;
    for (size_t cursor = 0; fl_map_next(&referred->secrets, &cursor, NULL, &value);)
        push(referred, value);
    go_on(referred);
}

static void on_settle(struct fl_timer *timer)
{
    struct control_referred *referred = FL_CONTAINER_OF(timer, struct control_referred, settled);
    if (referred->settling && referred->first == NULL && referred->under_way == 0) {
        referred->settling = false;
        referred->options.on_settled(referred->options.owner);
    }
}

static bool tell_trouble(struct secret *secret, const struct fl_err *err)
{
    struct control_referred *referred = secret->referred;
    const struct control_key key = key_of(secret);
    if (err == NULL && !secret->failing)
        return true;
    secret->failing = err != NULL;
    return referred->options.on_trouble(referred->options.owner, &key, err);
}

static bool tell_object(struct secret *secret, const struct fl_json *object)
{
    struct control_referred *referred = secret->referred;
    const struct control_key key = key_of(secret);
    struct fl_span version = fl_json_string(fl_json_get(fl_json_get(object, "metadata"), "resourceVersion"));
    uint64_t hash = object != NULL ? fl_siphash(version) | 1 : 0;
    if (!tell_trouble(secret, NULL))
        return false;
    if (secret->asked && hash == secret->version)
        return true;
    if (!referred->options.on_object(referred->options.owner, &key, object))
        return false;
    secret->version = hash;
    return true;
}

/* The object that was asked for, and no other. */
static int read_answer(const struct secret *secret, const struct fl_kube_answer *answer, struct fl_json **ret_object,
                       struct fl_err *err)
{
    static const struct fl_json_limits limits = {.bytes_max = BODY_MAX};
    const struct control_key key = key_of(secret);
    int result = fl_json_parse(answer->body, &limits, ret_object, err);
    if (result < 0)
        return result;
    const struct fl_json *metadata = fl_json_get(*ret_object, "metadata");
    if (fl_span_eq(fl_json_string(fl_json_get(metadata, "name")), key.name) &&
        fl_span_eq(fl_json_string(fl_json_get(metadata, "namespace")), key.name_space))
        return 0;
    *ret_object = fl_json_free(*ret_object);
    return fl_err_set(err, -EINVAL, "the API server answered with another object");
}

static bool take_answer(struct secret *secret, const struct fl_kube_answer *answer)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = NULL;
    struct fl_err err = {0};
    int result = fl_kube_answer_check(answer, &err);
    if (result == 0)
        result = read_answer(secret, answer, &object, &err);
    if (result == -ENOENT)
        return tell_object(secret, NULL);
    return result < 0 ? tell_trouble(secret, &err) : tell_object(secret, object);
}

static void on_done(void *owner, const struct fl_kube_answer *answer)
{
    struct secret *secret = owner;
    struct control_referred *referred = secret->referred;
    secret->exchange = NULL;
    referred->under_way--;
    secret->asked = take_answer(secret, answer); /* else memory was out: with the next round */
    go_on(referred);
}

static int ask(struct control_referred *referred, struct secret *secret, struct fl_err *err)
{
    const struct control_key key = key_of(secret);
    char path[KEY_ROOM + 64];
    snprintf(path, sizeof(path), "/api/v1/namespaces/%.*s/secrets/%.*s", FL_SPAN_ARG(key.name_space),
             FL_SPAN_ARG(key.name));
    const struct fl_kube_request request = {
        .method = "GET",
        .path = path,
        .body_max = BODY_MAX,
        .timeout_ms = CONTROL_REFERRED_TIMEOUT_MS,
        .on_done = on_done,
        .owner = secret,
    };
    return fl_kube_send(referred->client, &request, &secret->exchange, err);
}

static void go_on(struct control_referred *referred)
{
    struct secret *secret;
    struct fl_err err = {0};
    while (referred->under_way < CONTROL_REFERRED_AT_ONCE && (secret = pop(referred)) != NULL) {
        if (ask(referred, secret, &err) == 0)
            referred->under_way++;
        /* else memory is out, or the client is busy: with the next round */
    }
    if (referred->first != NULL || referred->under_way > 0)
        return;
    if (!fl_timer_is_set(&referred->again))
        fl_timer_set(referred->loop, &referred->again, referred->options.refetch_ms, on_again);
    if (referred->settling)
        fl_timer_set(referred->loop, &referred->settled, 0, on_settle);
}

/* -- who is referred to -------------------------------------------------------------------------------------------- */

static struct secret *free_secret(struct secret *secret)
{
    if (secret->exchange != NULL)
        secret->referred->under_way--;
    fl_kube_cancel(secret->exchange);
    if (secret->queued)
        take_out(secret->referred, secret);
    free(secret);
    return NULL;
}

static size_t count_of(const struct control_referred *referred, struct fl_span name_space)
{
    size_t count = 0;
    void *value;
    for (size_t cursor = 0; fl_map_next(&referred->secrets, &cursor, NULL, &value);)
        count += fl_span_eq(key_of(value).name_space, name_space);
    return count;
}

static bool has_room(struct control_referred *referred, struct fl_span name_space)
{
    bool room = referred->secrets.count < CONTROL_REFERRED_MAX &&
                count_of(referred, name_space) < CONTROL_REFERRED_OF_NAMESPACE;
    if (!room && !referred->told_full)
        fl_log(FL_LOG_WARNING, "more Secrets are referred to than are fetched", FL_LOG_SPAN("namespace", name_space),
               FL_LOG_NUM("of_a_namespace", CONTROL_REFERRED_OF_NAMESPACE), FL_LOG_NUM("of_all", CONTROL_REFERRED_MAX));
    referred->told_full |= !room;
    return room;
}

static int add(struct control_referred *referred, const struct control_reference *reference, struct fl_span key)
{
    if (!has_room(referred, reference->name_space))
        return 0;
    struct secret *secret = calloc(1, sizeof(*secret) + key.len);
    if (secret == NULL)
        return -ENOMEM;
    *secret = (struct secret){
        .referred = referred, .round = referred->round, .space = reference->name_space.len, .len = key.len};
    memcpy(secret->key, key.data, key.len);
    int result = fl_map_put(&referred->secrets, fl_span_make(secret->key, key.len), secret);
    if (result < 0)
        free(secret);
    else
        push(referred, secret);
    return result;
}

static int want(struct control_referred *referred, const struct control_reference *reference)
{
    char text[KEY_ROOM];
    if (!fl_is_dns_label(reference->name_space) || !fl_is_dns_subdomain(reference->name))
        return 0; /* no object has such a name, and a path may not be made of it */
    int length =
        snprintf(text, sizeof(text), "%.*s/%.*s", FL_SPAN_ARG(reference->name_space), FL_SPAN_ARG(reference->name));
    if (length < 0 || (size_t)length >= sizeof(text))
        return 0;
    struct fl_span key = fl_span_make(text, (size_t)length);
    struct secret *secret = fl_map_get(&referred->secrets, key);
    if (secret == NULL)
        return add(referred, reference, key);
    secret->round = referred->round;
    return 0;
}

static bool may_refer(const struct control_model *model, const struct control_object *owner,
                      const struct control_reference *reference)
{
    return reference->group.len == 0 && fl_span_eq_str(reference->kind, "Secret") &&
           control_model_granted(model, owner->kind, owner->metadata.name_space, reference);
}

/* Of a Gateway's or ListenerSet's own listeners. */
static int want_all(struct control_referred *referred, const struct control_model *model,
                    const struct control_object *owner, const struct control_listener *listeners, size_t count)
{
    int result = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < listeners[i].certificate_count && result == 0; k++)
            if (may_refer(model, owner, &listeners[i].certificates[k]))
                result = want(referred, &listeners[i].certificates[k]);
    return result;
}

static int want_gateway(struct control_referred *referred, const struct control_model *model,
                        const struct control_gateway *gateway)
{
    const struct fl_metadata *metadata = &gateway->object.metadata;
    struct control_objects sets = control_model_sets_of(model, metadata->name_space, metadata->name);
    int result = want_all(referred, model, &gateway->object, gateway->listeners, gateway->listener_count);
    for (size_t i = 0; i < sets.count && result == 0; i++) {
        const struct control_listener_set *set = control_as_listener_set(sets.items[i]);
        if (control_gateway_takes_set(model, gateway, set))
            result = want_all(referred, model, &set->object, set->listeners, set->listener_count);
    }
    return result;
}

/* A private key that nobody needs is not kept. */
static int drop_unwanted(struct control_referred *referred)
{
    void *value;
    for (size_t cursor = 0; fl_map_next(&referred->secrets, &cursor, NULL, &value);) {
        struct secret *secret = value;
        if (secret->round == referred->round)
            continue;
        const struct control_key key = key_of(secret);
        if (!referred->options.on_object(referred->options.owner, &key, NULL))
            return -ENOMEM;
        fl_map_remove(&referred->secrets, fl_span_make(secret->key, secret->len));
        free_secret(secret);
    }
    return 0;
}

int control_referred_update(struct control_referred *referred, const struct control_model *model)
{
    struct control_objects gateways = control_model_all(model, CONTROL_GATEWAY);
    int result = 0;
    referred->round++;
    for (size_t i = 0; i < gateways.count && result == 0; i++) {
        const struct control_gateway *gateway = control_as_gateway(gateways.items[i]);
        if (control_gateway_is_ours(model, gateway))
            result = want_gateway(referred, model, gateway);
    }
    if (result == 0)
        result = drop_unwanted(referred);
    referred->told_full &= referred->secrets.count >= CONTROL_REFERRED_OF_NAMESPACE;
    referred->settling = true;
    go_on(referred);
    return result;
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

int control_referred_new(struct fl_loop *loop, struct fl_kube_client *client,
                         const struct control_referred_options *options, struct control_referred **ret_referred)
{
    struct control_referred *referred = calloc(1, sizeof(*referred));
    if (referred == NULL)
        return -ENOMEM;
    referred->loop = loop;
    referred->client = client;
    referred->options = *options;
    referred->last = &referred->first;
    fl_map_init(&referred->secrets, CONTROL_REFERRED_MAX);
    *ret_referred = referred;
    return 0;
}

struct control_referred *control_referred_free(struct control_referred *referred)
{
    void *value;
    if (referred == NULL)
        return NULL;
    fl_timer_cancel(&referred->again);
    fl_timer_cancel(&referred->settled);
    for (size_t cursor = 0; fl_map_next(&referred->secrets, &cursor, NULL, &value);)
        free_secret(value);
    fl_map_done(&referred->secrets);
    free(referred);
    return NULL;
}
