/* Between ads and assembly: resources into it, its wants into subscriptions; and the state folder, both ways. */
#include "proxy/config/subscribe_inner.h"

#include "common/base/log.h"
#include "common/xds/message.h"
#include "proxy/config/lastgood.h"
#include "proxy/config/messages.h"

#include <errno.h>
#include <stdio.h>

#define ROUNDS_MAX    8         /* wants that lead to removals that lead to other wants */
#define LISTENER_MAX  (1 << 22) /* bytes of memory to look into virtualOutbound */
#define TICK_MS       1000
#define NODE_TEXT_MAX 1024

/* --- virtualOutbound: does it know the mesh's ranges? ------------------------------------------------------------ */

static bool leads_to_blackhole(const pb_chain *chain, struct fl_arena *arena)
{
    ProtobufCMessage *message;
    const pb_any *any = chain->n_filters > 0 ? chain->filters[chain->n_filters - 1]->typed_config : NULL;
    if (any == NULL || fl_xds_type(fl_span_str(any->type_url)) !=
                           &envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__descriptor)
        return false;
    if (fl_xds_unpack(&envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__descriptor,
                      fl_span_make(any->value.data, any->value.len), arena, NULL, &message, NULL) != 0)
        return false;
    const pb_tcp_proxy *tcp = (const pb_tcp_proxy *)message;
    return tcp->cluster_specifier_case ==
               ENVOY__EXTENSIONS__FILTERS__NETWORK__TCP_PROXY__V3__TCP_PROXY__CLUSTER_SPECIFIER_CLUSTER &&
           strcmp(tcp->cluster, FL_RESOURCE_NAME_BLACKHOLE) == 0;
}

static bool names_ranges(struct fl_span wire)
{
    struct fl_arena arena;
    ProtobufCMessage *message;
    bool found = false;
    fl_arena_init(&arena, LISTENER_MAX);
    if (fl_xds_unpack(&envoy__config__listener__v3__listener__descriptor, wire, &arena, NULL, &message, NULL) == 0) {
        const pb_listener *listener = (const pb_listener *)message;
        for (size_t i = 0; i < listener->n_filter_chains && !found; i++) {
            const pb_chain_match *match = listener->filter_chains[i]->filter_chain_match;
            found =
                match != NULL && match->n_prefix_ranges > 0 && leads_to_blackhole(listener->filter_chains[i], &arena);
        }
    }
    fl_arena_done(&arena);
    return found;
}

/* --- resources -------------------------------------------------------------------------------------------------- */

/* Our own certificate and roots are made here, whatever a server sends under their names. */
static bool is_ours(enum fl_resource_type type, struct fl_span name)
{
    return type == FL_RESOURCE_SECRET && (fl_span_eq_str(name, FL_RESOURCE_NAME_OWN_CERTIFICATE) ||
                                          fl_span_eq_str(name, FL_RESOURCE_NAME_TRUST_BUNDLE));
}

int proxy_subscribe_take(void *owner, const struct proxy_ads_resource *resource, struct fl_err *err)
{
    struct proxy_subscribe *subscribe = owner;
    if (is_ours(resource->type, resource->name))
        return 0;
    int result = proxy_assembly_put(subscribe->options.assembly, resource->type, resource->name, resource->version,
                                    resource->bytes, err);
    if (result != 0)
        return result;
    subscribe->changed = true;
    if (resource->type != FL_RESOURCE_LISTENER)
        return 0;
    if (fl_span_eq_str(resource->name, FL_RESOURCE_NAME_VIRTUAL_OUTBOUND))
        subscribe->ranges_known = names_ranges(resource->bytes);
    if (subscribe->demand != NULL)
        proxy_demand_answered(subscribe->demand, resource->name);
    return 0;
}

void proxy_subscribe_drop(void *owner, enum fl_resource_type type, struct fl_span name)
{
    struct proxy_subscribe *subscribe = owner;
    if (is_ours(type, name))
        return;
    if (proxy_assembly_remove(subscribe->options.assembly, type, name) != 0)
        fl_log(FL_LOG_ERROR, "out of memory; a resource that was removed stays", FL_LOG_SPAN("name", name));
    subscribe->changed = true;
    if (type == FL_RESOURCE_LISTENER && subscribe->demand != NULL && proxy_demand_has(subscribe->demand, name))
        proxy_subscribe_note_gone(subscribe, name);
}

/* --- what is wanted --------------------------------------------------------------------------------------------- */

int proxy_subscribe_begin(struct proxy_subscribe *subscribe)
{
    static const char *const names[] = {FL_RESOURCE_NAME_VIRTUAL_OUTBOUND, FL_RESOURCE_NAME_VIRTUAL_INBOUND,
                                        FL_RESOURCE_NAME_TUNNEL_INBOUND, FL_RESOURCE_NAME_OWN_NAMESPACE};
    int result = 0;
    if (subscribe->options.discovery->all_clusters)
        proxy_ads_want_all(subscribe->ads, FL_RESOURCE_CLUSTER);
    if (subscribe->options.discovery->all_listeners)
        proxy_ads_want_all(subscribe->ads, FL_RESOURCE_LISTENER);
    for (size_t i = 0; i < FL_COUNT(names) && subscribe->demand != NULL && result == 0; i++)
        result = proxy_ads_want(subscribe->ads, FL_RESOURCE_LISTENER, fl_span_str(names[i]));
    return result;
}

static bool is_followed(const struct proxy_subscribe *subscribe, enum fl_resource_type type)
{
    return type != FL_RESOURCE_LISTENER && (type != FL_RESOURCE_CLUSTER || !subscribe->options.discovery->all_clusters);
}

static void follow(struct proxy_subscribe *subscribe)
{
    struct proxy_want want;
    uint64_t now = proxy_subscribe_now(subscribe);
    int result = 0;
    for (int i = 0; i < FL_RESOURCE_TYPES; i++)
        if (is_followed(subscribe, (enum fl_resource_type)i))
            proxy_ads_mark_begin(subscribe->ads, (enum fl_resource_type)i);
    for (size_t cursor = 0; proxy_assembly_next_want(subscribe->options.assembly, &cursor, &want);) {
        if (want.is_static || want.source == PROXY_WANT_DNS || !is_followed(subscribe, want.type) ||
            is_ours(want.type, want.name))
            continue;
        if (want.presence == PROXY_PRESENCE_ABSENT && !proxy_ads_wants(subscribe->ads, want.type, want.name))
            proxy_assembly_forget(subscribe->options.assembly, want.type, want.name);
        int failed = proxy_ads_mark(subscribe->ads, want.type, want.name);
        result = failed != 0 ? failed : result;
    }
    for (int i = 0; i < FL_RESOURCE_TYPES; i++)
        if (is_followed(subscribe, (enum fl_resource_type)i))
            proxy_ads_mark_end(subscribe->ads, (enum fl_resource_type)i, now);
    if (result != 0)
        fl_log(FL_LOG_ERROR, "a resource could not be subscribed to", FL_LOG_STR("reason", strerrordesc_np(-result)));
}

static void save_later(struct proxy_subscribe *subscribe);
static void tick_later(struct proxy_subscribe *subscribe);

void proxy_subscribe_settle(struct proxy_subscribe *subscribe)
{
    proxy_subscribe_give_up_gone(subscribe);
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        uint64_t version = proxy_assembly_wants_version(subscribe->options.assembly);
        if (version == subscribe->wants_version)
            break;
        follow(subscribe);
        subscribe->wants_version = version;
    }
    proxy_subscribe_show(subscribe);
    tick_later(subscribe);
    if (!subscribe->changed)
        return;
    subscribe->changed = false;
    save_later(subscribe);
    subscribe->options.on_change(subscribe->options.owner);
}

static void on_tick(struct fl_timer *timer)
{
    struct proxy_subscribe *subscribe = FL_CONTAINER_OF(timer, struct proxy_subscribe, tick);
    proxy_subscribe_expire(subscribe);
    proxy_subscribe_settle(subscribe);
    proxy_subscribe_send(subscribe);
}

static void tick_later(struct proxy_subscribe *subscribe)
{
    if (!fl_timer_is_set(&subscribe->tick))
        fl_timer_set(subscribe->options.loop, &subscribe->tick, TICK_MS, on_tick);
}

/* --- the first configuration ------------------------------------------------------------------------------------ */

static bool is_silent(const struct proxy_subscribe *subscribe, enum fl_resource_type type)
{
    struct proxy_ads_info info;
    proxy_ads_describe(subscribe->ads, type, &info);
    return (info.wildcard || info.wanted > 0) && info.responses == 0;
}

static bool waits_for_server(const struct proxy_subscribe *subscribe, char *text, size_t size)
{
    static const enum fl_resource_type types[] = {FL_RESOURCE_CLUSTER, FL_RESOURCE_LISTENER};
    if (subscribe->restored)
        return false;
    for (size_t i = 0; i < FL_COUNT(types); i++) {
        if (!is_silent(subscribe, types[i]))
            continue;
        if (subscribe->call == NULL)
            snprintf(text, size, "the control plane (%s)",
                     subscribe->lost.code != 0 ? subscribe->lost.text : "not connected yet");
        else
            snprintf(text, size, "the control plane's first %s response", fl_resource_type_word(types[i]));
        return true;
    }
    return false;
}

static bool waits_for_warming(const struct proxy_subscribe *subscribe, char *text, size_t size)
{
    struct proxy_resource_state state;
    for (size_t cursor = 0; proxy_assembly_next_state(subscribe->options.assembly, &cursor, &state);) {
        if (state.presence != PROXY_PRESENCE_WARMING || state.has_active)
            continue;
        snprintf(text, size, "%s %.*s, which waits for %s", fl_resource_type_word(state.type), FL_SPAN_ARG(state.name),
                 state.waits_for != NULL ? state.waits_for : "the next publication");
        return true;
    }
    return false;
}

bool proxy_subscribe_waits(struct proxy_subscribe *subscribe, char *text, size_t size)
{
    if (subscribe->complete)
        return false;
    if (waits_for_server(subscribe, text, size) || waits_for_warming(subscribe, text, size))
        return true;
    subscribe->complete = true;
    save_later(subscribe);
    return false;
}

/* --- the state folder ------------------------------------------------------------------------------------------- */

static struct fl_span node_text(const struct proxy_subscribe *subscribe, char text[NODE_TEXT_MAX])
{
    const struct proxy_discovery *discovery = subscribe->options.discovery;
    snprintf(text, NODE_TEXT_MAX, "%.*s %.*s %d", FL_SPAN_ARG(discovery->node_id), FL_SPAN_ARG(discovery->authority),
             discovery->on_demand);
    return fl_span_str(text);
}

static int add_state(struct proxy_subscribe *subscribe, const struct proxy_resource_state *state, struct fl_buf *file)
{
    bool active = state->has_active && state->presence != PROXY_PRESENCE_ABSENT;
    if (state->is_static || !active || is_ours(state->type, state->name) ||
        proxy_ads_is_passing(subscribe->ads, state->type, state->name))
        return 0;
    struct fl_arena arena;
    fl_arena_init(&arena, PROXY_ASSEMBLY_RESOURCE_BYTES + 16);
    struct proxy_lastgood_record record = {.type = state->type,
                                           .by_name = subscribe->demand != NULL &&
                                                      state->type == FL_RESOURCE_LISTENER &&
                                                      proxy_demand_has(subscribe->demand, state->name),
                                           .name = state->name,
                                           .version = state->active_version,
                                           .bytes = fl_unpack(&state->active_wire, &arena)};
    int result = record.bytes.data == NULL ? -ENOMEM : proxy_lastgood_add(file, &record);
    fl_arena_done(&arena);
    return result;
}

static void on_save(struct fl_timer *timer)
{
    struct proxy_subscribe *subscribe = FL_CONTAINER_OF(timer, struct proxy_subscribe, save);
    char node[NODE_TEXT_MAX];
    struct fl_buf file;
    struct fl_err err = {0};
    struct proxy_resource_state state;
    fl_buf_init(&file, PROXY_LASTGOOD_BYTES_MAX);
    int result = proxy_lastgood_begin(&file, node_text(subscribe, node));
    for (size_t cursor = 0; result == 0 && proxy_assembly_next_state(subscribe->options.assembly, &cursor, &state);)
        result = add_state(subscribe, &state, &file);
    if (result == 0)
        result = proxy_lastgood_end(&file);
    if (result != 0)
        fl_err_errno(&err, result, "all of it");
    else
        result = proxy_lastgood_save(subscribe->options.state_folder, fl_buf_span(&file), &err);
    fl_buf_done(&file);
    if (result == -EMSGSIZE) /* an older one would bring back policies that do not count any more */
        proxy_lastgood_remove(subscribe->options.state_folder);
    if (result != 0 && !subscribe->save_failed)
        fl_log(FL_LOG_WARNING, "the configuration cannot be kept for a restart", FL_LOG_STR("reason", err.text));
    subscribe->save_failed = result != 0;
}

void proxy_subscribe_save_pending(struct proxy_subscribe *subscribe)
{
    if (!fl_timer_is_set(&subscribe->save))
        return;
    fl_timer_cancel(&subscribe->save);
    on_save(&subscribe->save);
}

static void save_later(struct proxy_subscribe *subscribe)
{
    if (subscribe->options.state_folder != NULL && subscribe->complete && !fl_timer_is_set(&subscribe->save))
        fl_timer_set(subscribe->options.loop, &subscribe->save, PROXY_SUBSCRIBE_SAVE_MS, on_save);
}

static int restore_record(struct proxy_subscribe *subscribe, const struct proxy_lastgood_record *record,
                          struct fl_err *err)
{
    const struct proxy_ads_resource resource = {
        .type = record->type, .name = record->name, .version = record->version, .bytes = record->bytes};
    int result = 0;
    if (record->by_name && subscribe->demand != NULL) {
        result = proxy_demand_restore(subscribe->demand, record->name, proxy_subscribe_now(subscribe));
        if (result == 0)
            result = proxy_ads_want(subscribe->ads, record->type, record->name);
        if (result != 0)
            return fl_err_errno(err, result, "restore");
    }
    result = proxy_subscribe_take(subscribe, &resource, err);
    if (result == 0)
        result = proxy_ads_hold(subscribe->ads, &resource);
    return result;
}

static int read_back(struct proxy_subscribe *subscribe, struct fl_span file, size_t *ret_taken, struct fl_err *err)
{
    char node[NODE_TEXT_MAX];
    struct fl_span rest;
    struct proxy_lastgood_record record;
    int result = proxy_lastgood_open(file, node_text(subscribe, node), &rest, err);
    while (result == 0 && proxy_lastgood_next(&rest, &record)) {
        struct fl_err why = {0};
        if (restore_record(subscribe, &record, &why) == 0)
            ++*ret_taken;
        else
            fl_log(FL_LOG_WARNING, "a resource of the last good configuration is not taken",
                   FL_LOG_SPAN("name", record.name), FL_LOG_STR("reason", why.text));
    }
    return result;
}

/* One line, whatever comes of it. What cannot be read is as if it were not there. */
void proxy_subscribe_restore(struct proxy_subscribe *subscribe)
{
    const char *folder = subscribe->options.state_folder;
    struct fl_buf file;
    struct fl_err err = {0};
    size_t taken = 0;
    if (folder == NULL)
        return;
    fl_buf_init(&file, PROXY_LASTGOOD_BYTES_MAX);
    int result = proxy_lastgood_load(folder, &file, &err);
    if (result == 0)
        result = read_back(subscribe, fl_buf_span(&file), &taken, &err);
    fl_buf_done(&file);
    if (result == -ENOENT)
        return;
    if (result != 0) {
        fl_log(FL_LOG_WARNING, "the last good configuration is dropped", FL_LOG_STR("reason", err.text));
        proxy_lastgood_remove(folder);
        return;
    }
    subscribe->restored = taken > 0;
    fl_log(FL_LOG_INFO, "started from the last good configuration", FL_LOG_NUM("resources", taken));
    follow(subscribe);
    subscribe->wants_version = proxy_assembly_wants_version(subscribe->options.assembly);
}
