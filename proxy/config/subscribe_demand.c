/* On demand: questions of workers become subscriptions, or answers; what is idle or gone is given up. */
#include "proxy/config/subscribe_inner.h"

#include "common/base/log.h"

#include <errno.h>
#include <stdio.h>

static void answer(struct proxy_subscribe *subscribe, const struct proxy_address *destination,
                   enum proxy_directory_answer what, const char *word)
{
    proxy_subscribe_count_question(subscribe, word);
    subscribe->options.on_answer(subscribe->options.owner, destination, what);
}

/* Without a control plane that knows it the chains of virtualOutbound may decide, if they know which addresses are the
 * mesh's. */
static void answer_alone(struct proxy_subscribe *subscribe, const struct proxy_address *destination)
{
    if (subscribe->ranges_known)
        answer(subscribe, destination, PROXY_DIRECTORY_PASS, "unknown_passed");
    else
        answer(subscribe, destination, PROXY_DIRECTORY_REFUSE, "unknown_refused");
}

static void give_up(struct proxy_subscribe *subscribe, struct fl_span name)
{
    proxy_ads_unwant(subscribe->ads, FL_RESOURCE_LISTENER, name, proxy_subscribe_now(subscribe));
    proxy_demand_forget(subscribe->demand, name);
}

static void tell_flood(struct proxy_subscribe *subscribe, const struct proxy_address *destination, int why)
{
    char text[PROXY_ADDRESS_TEXT_MAX];
    uint64_t now = proxy_subscribe_now(subscribe);
    if (subscribe->flood_told_ms != 0 && now - subscribe->flood_told_ms < PROXY_SUBSCRIBE_LOG_MS)
        return;
    subscribe->flood_told_ms = now;
    proxy_address_print(destination, text);
    fl_log(FL_LOG_WARNING, "destinations are refused: more new ones than can be asked for", FL_LOG_STR("address", text),
           FL_LOG_STR("limit", why == PROXY_DEMAND_FULL ? "all destinations are in use" : "new ones a second"),
           FL_LOG_NUM("subscribed", proxy_demand_count(subscribe->demand)));
}

static size_t print_name(const struct proxy_address *destination, char name[PROXY_DEMAND_NAME_MAX])
{
    char text[PROXY_ADDRESS_TEXT_MAX];
    proxy_address_print(destination, text);
    int len = snprintf(name, PROXY_DEMAND_NAME_MAX, "outbound|%s", text);
    return len > 0 && len < (int)PROXY_DEMAND_NAME_MAX ? (size_t)len : 0;
}

static void subscribe_to(struct proxy_subscribe *subscribe, const struct proxy_address *destination,
                         struct fl_span name, struct fl_span evicted)
{
    if (evicted.len > 0)
        proxy_ads_unwant(subscribe->ads, FL_RESOURCE_LISTENER, evicted, proxy_subscribe_now(subscribe));
    if (proxy_ads_want(subscribe->ads, FL_RESOURCE_LISTENER, name) == 0) {
        proxy_subscribe_count_question(subscribe, "subscribed");
        return;
    }
    proxy_demand_forget(subscribe->demand, name);
    answer(subscribe, destination, PROXY_DIRECTORY_REFUSE, "no_memory");
}

void proxy_subscribe_on_question(void *owner, const struct proxy_address *destination)
{
    struct proxy_subscribe *subscribe = owner;
    char text[PROXY_DEMAND_NAME_MAX], evicted[PROXY_DEMAND_NAME_MAX];
    size_t evicted_len = 0;
    struct fl_span name = fl_span_make(text, print_name(destination, text));
    uint64_t now = proxy_subscribe_now(subscribe);
    if (proxy_subscribe_is_away(subscribe) && !proxy_demand_has(subscribe->demand, name)) {
        answer_alone(subscribe, destination);
        return;
    }
    int result = proxy_demand_ask(subscribe->demand, name, now, evicted, &evicted_len);
    switch (result) {
    case PROXY_DEMAND_NEW:
        subscribe_to(subscribe, destination, name, fl_span_make(evicted, evicted_len));
        break;
    case PROXY_DEMAND_KNOWN: /* it is in a snapshot, or in the next one */
        break;
    case PROXY_DEMAND_WAIT:
        if (proxy_subscribe_is_away(subscribe))
            answer_alone(subscribe, destination);
        break;
    case PROXY_DEMAND_FLOOD:
    case PROXY_DEMAND_FULL:
        tell_flood(subscribe, destination, result);
        answer(subscribe, destination, PROXY_DIRECTORY_REFUSE, "flood");
        break;
    default:
        answer(subscribe, destination, PROXY_DIRECTORY_REFUSE, "no_memory");
        break;
    }
    proxy_subscribe_settle(subscribe); /* one that was evicted took others with it */
    proxy_subscribe_send(subscribe);
}

/* --- what goes -------------------------------------------------------------------------------------------------- */

void proxy_subscribe_note_gone(struct proxy_subscribe *subscribe, struct fl_span name)
{
    size_t before = subscribe->gone.len;
    if (fl_buf_append(&subscribe->gone, name) != 0 || fl_buf_append_byte(&subscribe->gone, '\0') != 0)
        subscribe->gone.len = before; /* then idling ends it */
}

/* "outbound|<address>" back to the address. */
static bool address_of(struct fl_span name, struct proxy_address *ret_address)
{
    struct fl_resource_name parts;
    return fl_resource_parse(FL_RESOURCE_LISTENER, name, &parts) == FL_RESOURCE_DESTINATION &&
           proxy_address_parse(parts.ip, parts.port, ret_address) == 0;
}

void proxy_subscribe_give_up_gone(struct proxy_subscribe *subscribe)
{
    struct fl_buf gone = subscribe->gone;
    struct fl_span rest = fl_buf_span(&gone), name;
    fl_buf_init(&subscribe->gone, gone.max);
    while (rest.len > 0 && fl_span_split(&rest, '\0', &name)) {
        struct proxy_address address;
        if (!proxy_demand_has(subscribe->demand, name))
            continue;
        give_up(subscribe, name);
        /* Nobody knows it: who waits for it is told, as if there were no control plane. */
        if (address_of(name, &address))
            answer_alone(subscribe, &address);
    }
    fl_buf_done(&gone);
}

uint64_t proxy_subscribe_used_ms(void *owner, struct fl_span name)
{
    const struct proxy_subscribe *subscribe = owner;
    return proxy_assembly_used_ms(subscribe->options.assembly, FL_RESOURCE_LISTENER, name);
}

static void expire_idle(struct proxy_subscribe *subscribe)
{
    struct fl_span name;
    uint64_t now = proxy_subscribe_now(subscribe);
    while (subscribe->demand != NULL && proxy_demand_idle(subscribe->demand, now, &name)) {
        char text[PROXY_DEMAND_NAME_MAX];
        memcpy(text, name.data, name.len); /* it goes with the entry */
        proxy_subscribe_count_question(subscribe, "expired");
        give_up(subscribe, fl_span_make(text, name.len));
    }
}

void proxy_subscribe_expire(struct proxy_subscribe *subscribe)
{
    (void)proxy_ads_expire(subscribe->ads, proxy_subscribe_now(subscribe));
    expire_idle(subscribe);
}

/* --- the workers' side ------------------------------------------------------------------------------------------ */

static bool ask(void *owner, const struct proxy_address *destination)
{
    const struct proxy_subscribe *subscribe = owner;
    return proxy_questions_ask(subscribe->questions, destination);
}

struct proxy_directory proxy_subscribe_directory(struct proxy_subscribe *subscribe)
{
    return (struct proxy_directory){.owner = subscribe, .ask = subscribe->questions != NULL ? ask : NULL};
}
