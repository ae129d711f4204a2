#include "proxy/dns/resolver.h"

#include <errno.h>

#define FLIGHT_KEY_MAX (PROXY_DNS_KEY_MAX + 3) /* … and how it is asked: transport, size of the answer */

struct keys {
    size_t len, flight_len; /* the cache's key, and the whole */
    char bytes[FLIGHT_KEY_MAX];
};

struct waiter {
    struct waiter *next;
    struct proxy_dns_from from;
    uint16_t id, limit;
    bool first; /* the one that the question is of */
    uint8_t name_len;
    char name[]; /* as this client spelled it */
};

struct proxy_dns_question_run {
    struct proxy_dns_ask ask;
    struct fl_deferred deferred;
    struct proxy_dns_resolver *resolver;
    struct proxy_dns_question_run *next, **link;
    struct waiter *waiters;
    bool alone;
    struct keys keys;
    char packet[];
};

int proxy_dns_resolver_init(struct proxy_dns_resolver *resolver, struct fl_loop *loop, struct proxy_dns_stats *stats,
                            const char *resolv_conf, unsigned long files)
{
    size_t most = files / 16 < PROXY_DNS_QUESTIONS_MAX ? files / 16 : PROXY_DNS_QUESTIONS_MAX;
    *resolver = (struct proxy_dns_resolver){.loop = loop, .stats = stats};
    resolver->question_max = most > PROXY_DNS_QUESTIONS_MIN ? most : PROXY_DNS_QUESTIONS_MIN;
    proxy_dns_cache_init(&resolver->cache, PROXY_DNS_CACHE_ENTRIES, PROXY_DNS_CACHE_BYTES);
    fl_map_init(&resolver->shared, PROXY_DNS_QUESTIONS_MAX);
    resolver->out = malloc(PROXY_DNS_MESSAGE_MAX);
    return resolver->out == NULL ? -ENOMEM : proxy_dns_client_init(&resolver->client, loop, stats, resolv_conf);
}

static void show(struct proxy_dns_resolver *resolver)
{
    fl_gauge_set(resolver->stats->cache_entries, (double)proxy_dns_cache_count(&resolver->cache));
    fl_gauge_set(resolver->stats->cache_bytes, (double)resolver->cache.bytes);
    fl_gauge_set(resolver->stats->questions, (double)resolver->question_count);
}

static void sweep(struct fl_timer *timer)
{
    struct proxy_dns_resolver *resolver = FL_CONTAINER_OF(timer, struct proxy_dns_resolver, sweep);
    proxy_dns_cache_sweep(&resolver->cache, fl_loop_now_ms(resolver->loop));
    if (proxy_dns_cache_count(&resolver->cache) > 0) /* with nothing to sweep the thread sleeps */
        fl_timer_set(resolver->loop, timer, PROXY_DNS_SWEEP_MS, sweep);
    show(resolver);
}

/* --- questions under way ---------------------------------------------------------------------------------------- */

/* The key of the cache, and behind it what the question under way differs by. */
static void set_keys(struct keys *keys, const struct proxy_dns_query *query, bool tcp)
{
    unsigned limit = tcp ? 0 : query->limit;
    keys->len = proxy_dns_query_key(query, keys->bytes);
    keys->bytes[keys->len] = (char)tcp;
    keys->bytes[keys->len + 1] = (char)(limit >> 8);
    keys->bytes[keys->len + 2] = (char)limit;
    keys->flight_len = keys->len + 3;
}

static struct fl_span cache_key(const struct keys *keys)
{
    return fl_span_make(keys->bytes, keys->len);
}

static struct fl_span flight_key(const struct keys *keys)
{
    return fl_span_make(keys->bytes, keys->flight_len);
}

static void free_run(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct proxy_dns_question_run, deferred));
}

/* No further query joins it; it is freed at the end of the turn. */
static void end_run(struct proxy_dns_question_run *run)
{
    struct proxy_dns_resolver *resolver = run->resolver;
    if (!run->alone)
        fl_map_remove(&resolver->shared, flight_key(&run->keys));
    *run->link = run->next;
    if (run->next != NULL)
        run->next->link = run->link;
    resolver->question_count--;
    proxy_dns_client_cancel(&run->ask);
    fl_loop_defer(resolver->loop, &run->deferred, free_run);
}

static void drop_waiter(struct proxy_dns_resolver *resolver, struct waiter **link)
{
    struct waiter *waiter = *link;
    *link = waiter->next;
    resolver->waiter_count--;
    free(waiter);
}

static void reply_error(struct proxy_dns_resolver *resolver, struct fl_span packet, enum proxy_dns_rcode rcode,
                        const struct proxy_dns_from *from, enum proxy_dns_result result)
{
    char error[PROXY_DNS_ERROR_MAX];
    size_t len = proxy_dns_error_print(packet, rcode, error);
    proxy_dns_stats_result(resolver->stats, from->tcp, result);
    from->reply(from, error, len);
}

/* One client's copy. `packet` may be resolver->out. */
static void reply_copy(struct proxy_dns_resolver *resolver, const char *packet, size_t len, const struct waiter *waiter,
                       struct fl_span name)
{
    if (packet != resolver->out)
        memcpy(resolver->out, packet, len);
    proxy_dns_set_id(resolver->out, waiter->id);
    proxy_dns_set_name(resolver->out, len, name);
    if (!waiter->from.tcp)
        len = proxy_dns_truncate(resolver->out, len, waiter->limit);
    waiter->from.reply(&waiter->from, resolver->out, len);
}

static void on_answer(struct proxy_dns_ask *ask, const char *packet, size_t len, const struct proxy_dns_answer *answer)
{
    struct proxy_dns_question_run *run = FL_CONTAINER_OF(ask, struct proxy_dns_question_run, ask);
    struct proxy_dns_resolver *resolver = run->resolver;
    char error[PROXY_DNS_ERROR_MAX];
    bool failed = packet == NULL;
    if (failed) {
        len = proxy_dns_error_print(ask->packet, PROXY_DNS_SERVFAIL, error);
        packet = error;
    } else if (answer->ttl > 0 && !run->alone) {
        proxy_dns_cache_put(&resolver->cache, cache_key(&run->keys), fl_span_make(packet, len), answer->ttl,
                            answer->negative, fl_loop_now_ms(resolver->loop));
        if (!fl_timer_is_set(&resolver->sweep))
            fl_timer_set(resolver->loop, &resolver->sweep, PROXY_DNS_SWEEP_MS, sweep);
    }
    while (run->waiters != NULL) {
        const struct waiter *waiter = run->waiters;
        proxy_dns_stats_result(resolver->stats, waiter->from.tcp,
                               failed          ? PROXY_DNS_RESULT_FAILED
                               : waiter->first ? PROXY_DNS_RESULT_UPSTREAM
                                               : PROXY_DNS_RESULT_SHARED);
        reply_copy(resolver, packet, len, waiter, fl_span_make(waiter->name, waiter->name_len));
        drop_waiter(resolver, &run->waiters);
    }
    end_run(run);
    show(resolver);
}

static struct waiter *new_waiter(const struct proxy_dns_query *query, const struct proxy_dns_from *from)
{
    struct fl_span name = query->question.name;
    struct waiter *waiter = malloc(sizeof(*waiter) + name.len);
    if (waiter == NULL)
        return NULL;
    *waiter = (struct waiter){.from = *from, .id = query->id, .limit = query->limit, .name_len = (uint8_t)name.len};
    memcpy(waiter->name, name.data, name.len);
    return waiter;
}

static bool same_client(const struct waiter *waiter, const struct proxy_dns_query *query,
                        const struct proxy_dns_from *from)
{
    return !from->tcp && waiter->from.owner == from->owner && waiter->id == query->id &&
           proxy_address_eq(&waiter->from.peer, &from->peer);
}

/* 0, -ENOSPC, -ENOMEM. */
static int add_waiter(struct proxy_dns_question_run *run, const struct proxy_dns_query *query,
                      const struct proxy_dns_from *from)
{
    struct waiter **end = &run->waiters, *waiter;
    for (; *end != NULL; end = &(*end)->next) {
        if (same_client(*end, query, from))
            return 0; /* it has come again */
    }
    if (run->resolver->waiter_count >= PROXY_DNS_WAITERS_MAX)
        return -ENOSPC;
    waiter = new_waiter(query, from);
    if (waiter == NULL)
        return -ENOMEM;
    waiter->first = run->waiters == NULL;
    *end = waiter;
    run->resolver->waiter_count++;
    return 0;
}

static int new_run(struct proxy_dns_resolver *resolver, struct fl_span packet, const struct proxy_dns_query *query,
                   const struct keys *keys, const struct proxy_dns_from *from)
{
    if (resolver->question_count >= resolver->question_max)
        return -ENOSPC;
    FL_CLEANUP(fl_cleanup_free) struct proxy_dns_question_run *run = calloc(1, sizeof(*run) + packet.len);
    if (run == NULL)
        return -ENOMEM;
    run->resolver = resolver;
    run->alone = query->alone;
    run->keys = *keys;
    memcpy(run->packet, packet.data, packet.len);
    run->ask = (struct proxy_dns_ask){
        .packet = {run->packet, packet.len}, .question = query->question, .tcp = from->tcp, .on_answer = on_answer};
    run->ask.question.name.data = run->packet + PROXY_DNS_HEADER_SIZE;
    int result = add_waiter(run, query, from);
    if (result == 0 && !run->alone) {
        result = fl_map_put(&resolver->shared, flight_key(&run->keys), run);
        if (result < 0)
            drop_waiter(resolver, &run->waiters);
    }
    if (result < 0)
        return result;
    run->next = resolver->first;
    run->link = &resolver->first;
    if (run->next != NULL)
        run->next->link = &run->next;
    resolver->first = run;
    resolver->question_count++;
    struct proxy_dns_question_run *ready = fl_take(run);
    proxy_dns_client_ask(&resolver->client, &ready->ask);
    return 0;
}

/* --- queries ---------------------------------------------------------------------------------------------------- */

static bool from_cache(struct proxy_dns_resolver *resolver, const struct proxy_dns_query *query,
                       const struct keys *keys, const struct proxy_dns_from *from)
{
    size_t len = proxy_dns_cache_get(&resolver->cache, cache_key(keys), fl_loop_now_ms(resolver->loop), resolver->out);
    if (len == 0)
        return false;
    const struct waiter waiter = {.from = *from, .id = query->id, .limit = query->limit};
    proxy_dns_stats_result(resolver->stats, from->tcp, PROXY_DNS_RESULT_CACHE);
    reply_copy(resolver, resolver->out, len, &waiter, query->question.name);
    return true;
}

static void ask_or_join(struct proxy_dns_resolver *resolver, struct fl_span packet, const struct proxy_dns_query *query,
                        const struct proxy_dns_from *from)
{
    struct keys keys;
    struct proxy_dns_question_run *run = NULL;
    set_keys(&keys, query, from->tcp);
    if (proxy_dns_client_look(&resolver->client))
        proxy_dns_cache_clear(&resolver->cache); /* other servers may know the names otherwise */
    if (!query->alone) {
        if (from_cache(resolver, query, &keys, from))
            return;
        run = fl_map_get(&resolver->shared, flight_key(&keys));
    }
    int result = run != NULL ? add_waiter(run, query, from) : new_run(resolver, packet, query, &keys, from);
    if (result < 0)
        reply_error(resolver, packet, PROXY_DNS_SERVFAIL, from,
                    result == -ENOSPC ? PROXY_DNS_RESULT_OVERLOAD : PROXY_DNS_RESULT_MEMORY);
    show(resolver);
}

bool proxy_dns_resolver_ask(struct proxy_dns_resolver *resolver, struct fl_span packet,
                            const struct proxy_dns_from *from)
{
    struct proxy_dns_query query;
    switch (proxy_dns_query_parse(packet, &query)) {
    case PROXY_DNS_QUERY_GOOD:
        ask_or_join(resolver, packet, &query, from);
        return true;
    case PROXY_DNS_QUERY_FORMERR:
        reply_error(resolver, packet, PROXY_DNS_FORMERR, from, PROXY_DNS_RESULT_MALFORMED);
        return true;
    case PROXY_DNS_QUERY_NOTIMP:
        reply_error(resolver, packet, PROXY_DNS_NOTIMP, from, PROXY_DNS_RESULT_UNSUPPORTED);
        return true;
    case PROXY_DNS_QUERY_REFUSED:
        reply_error(resolver, packet, PROXY_DNS_REFUSED, from, PROXY_DNS_RESULT_UNSUPPORTED);
        return true;
    case PROXY_DNS_QUERY_DROP:
        break;
    }
    proxy_dns_stats_result(resolver->stats, from->tcp, PROXY_DNS_RESULT_MALFORMED);
    return false;
}

void proxy_dns_resolver_forget(struct proxy_dns_resolver *resolver, const void *owner)
{
    for (struct proxy_dns_question_run *run = resolver->first; run != NULL; run = run->next) {
        for (struct waiter **link = &run->waiters; *link != NULL;) {
            if ((*link)->from.owner != owner) {
                link = &(*link)->next;
                continue;
            }
            proxy_dns_stats_result(resolver->stats, (*link)->from.tcp, PROXY_DNS_RESULT_GONE);
            drop_waiter(resolver, link);
        }
    }
}

void proxy_dns_resolver_done(struct proxy_dns_resolver *resolver)
{
    if (resolver->loop == NULL)
        return;
    fl_timer_cancel(&resolver->sweep);
    while (resolver->first != NULL) {
        while (resolver->first->waiters != NULL)
            drop_waiter(resolver, &resolver->first->waiters);
        end_run(resolver->first);
    }
    fl_map_done(&resolver->shared);
    proxy_dns_cache_done(&resolver->cache);
    proxy_dns_client_done(&resolver->client);
    free(resolver->out);
    resolver->loop = NULL;
}
