#include "proxy/config/whereabouts.h"

#include "common/base/log.h"
#include "common/loop/timer.h"
#include "common/mesh/place.h"
#include "proxy/upstream/resolve.h"

#include <errno.h>

struct place {
    struct proxy_whereabouts *whereabouts;
    struct proxy_question question; /* its name is empty where the place is an address */
    uint16_t port;
    struct fl_grpc_address known[PROXY_WHEREABOUTS_MAX]; /* of the last good answer, or the address itself */
    size_t count;
};

struct proxy_whereabouts {
    struct proxy_whereabouts_options options;
    char *text, *resolv_conf;
    struct place *places;
    size_t count;
    bool has_names;
    struct fl_grpc_client *client; /* that is to connect; NULL: nothing is looked up */
    struct proxy_resolver *resolver;
    size_t waiting; /* questions without an answer */
    struct fl_err reason;
    struct fl_timer step; /* nothing is told, and no resolver freed, from within a callback of its */
};

static void stop_asking(struct proxy_whereabouts *whereabouts)
{
    for (size_t i = 0; i < whereabouts->count; i++)
        proxy_resolve_cancel(&whereabouts->places[i].question);
    whereabouts->resolver = proxy_resolver_free(whereabouts->resolver);
    fl_timer_cancel(&whereabouts->step);
}

static size_t gather(const struct proxy_whereabouts *whereabouts, struct fl_grpc_address list[PROXY_WHEREABOUTS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < whereabouts->count; i++)
        for (size_t k = 0; k < whereabouts->places[i].count && count < PROXY_WHEREABOUTS_MAX; k++)
            list[count++] = whereabouts->places[i].known[k];
    return count;
}

static int dial(struct proxy_whereabouts *whereabouts, struct fl_grpc_client *client, struct fl_err *err)
{
    struct fl_grpc_address list[PROXY_WHEREABOUTS_MAX];
    size_t count = gather(whereabouts, list);
    if (count == 0)
        return whereabouts->reason.code != 0 ? (*err = whereabouts->reason).code
                                             : fl_err_set(err, -EDESTADDRREQ, "no address");
    int result = fl_grpc_client_set_addresses(client, list, count);
    if (result == 0)
        result = fl_grpc_client_connect(client);
    return result == 0 ? 0 : fl_err_errno(err, result, "connect");
}

/* Every name has its answer. */
static void on_answered(struct fl_timer *timer)
{
    struct proxy_whereabouts *whereabouts = FL_CONTAINER_OF(timer, struct proxy_whereabouts, step);
    struct fl_grpc_client *client = fl_take(whereabouts->client);
    struct fl_err err = {0};
    stop_asking(whereabouts);
    if (dial(whereabouts, client, &err) < 0)
        whereabouts->options.on_failed(whereabouts->options.owner, &err);
}

static void note_failure(struct proxy_whereabouts *whereabouts, const struct place *place, const char *reason)
{
    if (whereabouts->reason.code == 0)
        fl_err_set(&whereabouts->reason, -EHOSTUNREACH, "%s: %s", place->question.name, reason);
    if (place->count > 0)
        fl_log(FL_LOG_DEBUG, "a name is not answered; its last address counts",
               FL_LOG_STR("name", place->question.name), FL_LOG_STR("reason", reason));
}

static void take(struct place *place, const struct proxy_resolved *answer)
{
    size_t count = 0;
    for (size_t i = 0; i < answer->count && count < PROXY_WHEREABOUTS_MAX; i++) {
        struct sockaddr_storage raw = {0};
        struct proxy_address address = answer->list[i];
        proxy_address_set_port(&address, place->port);
        memcpy(&raw, &address.any, proxy_address_size(&address));
        if (fl_grpc_address_from_sockaddr(&raw, &place->known[count]) == 0)
            count++;
    }
    place->count = count;
}

static void on_answer(struct proxy_question *question, const struct proxy_resolved *answer)
{
    struct place *place = FL_CONTAINER_OF(question, struct place, question);
    struct proxy_whereabouts *whereabouts = place->whereabouts;
    if (answer->outcome == PROXY_RESOLVE_FOUND)
        take(place, answer);
    else
        note_failure(whereabouts, place, answer->reason);
    if (--whereabouts->waiting == 0)
        fl_timer_set(whereabouts->options.loop, &whereabouts->step, 0, on_answered);
}

static int ask(struct proxy_whereabouts *whereabouts)
{
    int result = proxy_resolver_new(whereabouts->options.loop, whereabouts->resolv_conf, &whereabouts->resolver);
    whereabouts->reason = (struct fl_err){0};
    whereabouts->waiting = 1; /* our own, so that answers within the call do not end it */
    for (size_t i = 0; i < whereabouts->count && result == 0; i++) {
        if (whereabouts->places[i].question.name[0] == '\0')
            continue;
        result = proxy_resolve(whereabouts->resolver, &whereabouts->places[i].question);
        whereabouts->waiting += result == 0;
    }
    if (result == 0 && --whereabouts->waiting == 0)
        fl_timer_set(whereabouts->options.loop, &whereabouts->step, 0, on_answered);
    return result;
}

int proxy_whereabouts_connect(struct proxy_whereabouts *whereabouts, struct fl_grpc_client *client)
{
    struct fl_err err;
    if (whereabouts->client != NULL)
        return -EALREADY;
    if (!whereabouts->has_names)
        return dial(whereabouts, client, &err);
    int result = ask(whereabouts);
    if (result == 0)
        whereabouts->client = client;
    else
        stop_asking(whereabouts);
    return result;
}

void proxy_whereabouts_cancel(struct proxy_whereabouts *whereabouts)
{
    if (whereabouts == NULL || whereabouts->client == NULL)
        return;
    whereabouts->client = NULL;
    stop_asking(whereabouts);
}

struct fl_span proxy_whereabouts_text(const struct proxy_whereabouts *whereabouts)
{
    return fl_span_str(whereabouts->text);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static int read_place(struct proxy_whereabouts *whereabouts, struct fl_span text, struct fl_err *err)
{
    struct fl_place place;
    struct place *own = &whereabouts->places[whereabouts->count];
    if (!fl_place_parse(text, &place))
        return fl_err_set(err, -EINVAL, "\"%.*s\": expected " FL_PLACE_EXPECTED, FL_SPAN_ARG(text));
    own->whereabouts = whereabouts;
    own->port = place.port;
    whereabouts->count++;
    if (!place.is_name) {
        own->count = 1;
        return fl_grpc_address_parse(text, &own->known[0]) == 0
                   ? 0
                   : fl_err_set(err, -EINVAL, "\"%.*s\" is no address", FL_SPAN_ARG(text));
    }
    whereabouts->has_names = true;
    own->question.on_answer = on_answer;
    own->question.family = PROXY_RESOLVE_ALL;
    memcpy(own->question.name, place.host.data, place.host.len); /* at most FL_DNS_SUBDOMAIN_MAX; zeroed before */
    return 0;
}

static int read_places(struct proxy_whereabouts *whereabouts, struct fl_err *err)
{
    struct fl_span rest = fl_span_str(whereabouts->text), part;
    size_t count = 0;
    for (struct fl_span left = rest; fl_span_split(&left, ',', &part);)
        count++;
    if (count == 0 || count > PROXY_WHEREABOUTS_MAX)
        return fl_err_set(err, -EINVAL, "\"%s\": expected 1 to %d places, " FL_PLACE_EXPECTED, whereabouts->text,
                          PROXY_WHEREABOUTS_MAX);
    whereabouts->places = calloc(count, sizeof(whereabouts->places[0]));
    if (whereabouts->places == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    int result = 0;
    while (result == 0 && fl_span_split(&rest, ',', &part))
        result = read_place(whereabouts, fl_span_trim(part), err);
    return result;
}

int proxy_whereabouts_new(const struct proxy_whereabouts_options *options, struct proxy_whereabouts **ret_whereabouts,
                          struct fl_err *err)
{
    struct proxy_whereabouts *whereabouts = calloc(1, sizeof(*whereabouts));
    if (whereabouts == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    whereabouts->options = *options;
    whereabouts->text = fl_span_dup(options->places);
    if (options->resolv_conf != NULL)
        whereabouts->resolv_conf = strdup(options->resolv_conf);
    int result = whereabouts->text == NULL || (options->resolv_conf != NULL && whereabouts->resolv_conf == NULL)
                     ? fl_err_set(err, -ENOMEM, "out of memory")
                     : read_places(whereabouts, err);
    if (result < 0) {
        proxy_whereabouts_free(whereabouts);
        return result;
    }
    *ret_whereabouts = whereabouts;
    return 0;
}

struct proxy_whereabouts *proxy_whereabouts_free(struct proxy_whereabouts *whereabouts)
{
    if (whereabouts == NULL)
        return NULL;
    proxy_whereabouts_cancel(whereabouts);
    free(whereabouts->places);
    free(whereabouts->resolv_conf);
    free(whereabouts->text);
    free(whereabouts);
    return NULL;
}
