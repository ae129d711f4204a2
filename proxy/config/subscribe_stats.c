/* What the xDS client tells of itself: metrics, and /debug/xds. */
#include "proxy/config/subscribe_inner.h"

#include "common/base/map.h"
#include "common/base/print.h"
#include "common/xds/message.h"
#include "proxy/config/messages.h"

#include <errno.h>
#include <inttypes.h>

/* --- metrics ---------------------------------------------------------------------------------------------------- */

static const char *const result_label[] = {"result"}, *const type_label[] = {"type"},
                         *const response_labels[] = {"type", "result"};

static const struct fl_metric_family connected_family = {.name = "fairlead_xds_connected",
                                                         .help = "Whether a stream to the control plane is open.",
                                                         .kind = FL_METRIC_GAUGE};
static const struct fl_metric_family connects_family = {.name = "fairlead_xds_connects_total",
                                                        .help = "Streams to the control plane opened, and attempts or "
                                                                "streams that failed, by result.",
                                                        .kind = FL_METRIC_COUNTER,
                                                        .label_names = result_label,
                                                        .label_count = 1};
static const struct fl_metric_family responses_family = {.name = "fairlead_xds_responses_total",
                                                         .help = "Responses of the control plane, by type and by "
                                                                 "whether all in them was accepted.",
                                                         .kind = FL_METRIC_COUNTER,
                                                         .label_names = response_labels,
                                                         .label_count = 2};
static const struct fl_metric_family resources_family = {.name = "fairlead_xds_resources",
                                                         .help = "Resources accepted from the control plane and held.",
                                                         .kind = FL_METRIC_GAUGE,
                                                         .label_names = type_label,
                                                         .label_count = 1};
static const struct fl_metric_family destinations_family = {
    .name = "fairlead_xds_destinations", .help = "Destinations subscribed to on demand.", .kind = FL_METRIC_GAUGE};
static const struct fl_metric_family questions_family = {.name = "fairlead_xds_destination_events_total",
                                                         .help = "What became of destinations asked for on demand.",
                                                         .kind = FL_METRIC_COUNTER,
                                                         .label_names = result_label,
                                                         .label_count = 1};

static void count(const struct proxy_subscribe *subscribe, const struct fl_metric_family *family, const char *result)
{
    const struct fl_span value = fl_span_str(result);
    fl_counter_add(fl_metrics_counter(subscribe->options.metrics, family, &value), 1);
}

void proxy_subscribe_count_connect(const struct proxy_subscribe *subscribe, bool good)
{
    count(subscribe, &connects_family, good ? "opened" : "failed");
}

void proxy_subscribe_count_question(const struct proxy_subscribe *subscribe, const char *result)
{
    count(subscribe, &questions_family, result);
}

/* A counter that somebody else counts. */
static void bring_to(const struct proxy_subscribe *subscribe, const char *type, const char *result, uint64_t value)
{
    const struct fl_span labels[] = {fl_span_str(type), fl_span_str(result)};
    struct fl_counter *counter = fl_metrics_counter(subscribe->options.metrics, &responses_family, labels);
    if (counter != NULL)
        fl_counter_add(counter, value - counter->value);
}

void proxy_subscribe_show(const struct proxy_subscribe *subscribe)
{
    struct fl_metrics *metrics = subscribe->options.metrics;
    fl_gauge_set(fl_metrics_gauge(metrics, &connected_family, NULL), subscribe->call != NULL);
    for (int i = 0; i < FL_RESOURCE_TYPES; i++) {
        struct proxy_ads_info info;
        const char *word = fl_resource_type_word((enum fl_resource_type)i);
        const struct fl_span label = fl_span_str(word);
        proxy_ads_describe(subscribe->ads, (enum fl_resource_type)i, &info);
        fl_gauge_set(fl_metrics_gauge(metrics, &resources_family, &label), (double)info.held);
        bring_to(subscribe, word, "accepted", info.accepted);
        bring_to(subscribe, word, "refused", info.nacks);
    }
    if (subscribe->demand != NULL)
        fl_gauge_set(fl_metrics_gauge(metrics, &destinations_family, NULL),
                     (double)proxy_demand_count(subscribe->demand));
}

/* --- /debug/xds ------------------------------------------------------------------------------------------------- */

static void put_text(struct fl_print *page, const char *key, struct fl_span text)
{
    fl_print(page, ",\"%s\":", key);
    fl_print_json(page, text);
}

static void put_stream(struct fl_print *page, const struct proxy_subscribe *subscribe)
{
    const struct proxy_discovery *discovery = subscribe->options.discovery;
    const struct fl_grpc_address *peer = fl_grpc_client_peer(subscribe->client);
    char text[FL_GRPC_ADDRESS_TEXT_MAX];
    struct fl_span address = peer != NULL ? fl_span_make(text, fl_grpc_address_print(peer, text))
                                          : proxy_whereabouts_text(subscribe->whereabouts);
    fl_print(page, "{\"connected\":%s,\"since_s\":%" PRIu64 ",\"connects\":%" PRIu64 ",\"delta\":%s,\"on_demand\":%s",
             subscribe->call != NULL ? "true" : "false", (proxy_subscribe_now(subscribe) - subscribe->since_ms) / 1000,
             subscribe->connects, discovery->delta ? "true" : "false", discovery->on_demand ? "true" : "false");
    fl_print(page, ",\"complete\":%s,\"restored\":%s", subscribe->complete ? "true" : "false",
             subscribe->restored ? "true" : "false");
    put_text(page, "address", address);
    put_text(page, "authority", discovery->authority);
    put_text(page, "node", discovery->node_id);
    if (subscribe->lost.code != 0)
        put_text(page, "last_error", fl_span_str(subscribe->lost.text));
}

static void put_type(struct fl_print *page, const struct proxy_subscribe *subscribe, enum fl_resource_type type)
{
    struct proxy_ads_info info;
    proxy_ads_describe(subscribe->ads, type, &info);
    fl_print(page,
             "%s\"%s\":{\"all\":%s,\"wanted\":%zu,\"held\":%zu,\"responses\":%" PRIu64 ",\"accepted\":%" PRIu64
             ",\"refused\":%" PRIu64,
             type > 0 ? "," : "", fl_resource_type_word(type), info.wildcard ? "true" : "false", info.wanted, info.held,
             info.responses, info.accepted, info.nacks);
    put_text(page, "version", info.version);
    if (info.nack.len > 0) {
        put_text(page, "last_nack", info.nack);
        fl_print(page, ",\"last_nack_s\":%" PRIu64, (proxy_subscribe_now(subscribe) - info.nack_ms) / 1000);
    }
    fl_print(page, "}");
}

static const char *string_of(const pb_struct *object, const char *key)
{
    for (size_t i = 0; object != NULL && i < object->n_fields; i++)
        if (strcmp(object->fields[i]->key, key) == 0 && object->fields[i]->value != NULL &&
            object->fields[i]->value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
            return object->fields[i]->value->string_value;
    return "";
}

/* "service", "workload" … as the answer itself says. */
static void put_kind(struct fl_print *page, const struct fl_packed *packed)
{
    struct fl_arena arena;
    ProtobufCMessage *message;
    fl_arena_init(&arena, 1 << 22);
    struct fl_span wire = fl_unpack(packed, &arena);
    if (wire.data != NULL &&
        fl_xds_unpack(&envoy__config__listener__v3__listener__descriptor, wire, &arena, NULL, &message, NULL) == 0) {
        const Envoy__Config__Core__V3__Metadata *metadata = ((const pb_listener *)message)->metadata;
        for (size_t i = 0; metadata != NULL && i < metadata->n_filter_metadata; i++)
            if (strcmp(metadata->filter_metadata[i]->key, FL_METADATA) == 0)
                put_text(page, "kind", fl_span_str(string_of(metadata->filter_metadata[i]->value, FL_METADATA_KIND)));
    }
    fl_arena_done(&arena);
}

static void put_destination(struct fl_print *page, const struct proxy_subscribe *subscribe,
                            const struct proxy_demand_entry *entry, const struct proxy_resource_state *state)
{
    uint64_t now = proxy_subscribe_now(subscribe), used_ms = entry->used_ms;
    if (state != NULL && state->used_ms > used_ms)
        used_ms = state->used_ms;
    fl_print(page, "{\"age_s\":%" PRIu64 ",\"idle_s\":%" PRIu64 ",\"answered\":%s", (now - entry->since_ms) / 1000,
             now > used_ms ? (now - used_ms) / 1000 : 0, entry->answered ? "true" : "false");
    put_text(page, "name", entry->name);
    if (state != NULL) {
        put_kind(page, state->active_wire.len > 0 ? &state->active_wire : &state->warming_wire);
        put_text(page, "version", state->active_version);
    }
    fl_print(page, "}");
}

static void put_destinations(struct fl_print *page, const struct proxy_subscribe *subscribe)
{
    struct proxy_demand_entry entry;
    struct fl_map states;
    struct proxy_resource_state *all = calloc(proxy_demand_count(subscribe->demand) + 1, sizeof(*all));
    size_t count = 0;
    bool first = true;
    if (all == NULL) {
        page->result = -ENOMEM;
        return;
    }
    fl_map_init(&states, proxy_demand_count(subscribe->demand) + 1);
    for (size_t cursor = 0; proxy_assembly_next_state(subscribe->options.assembly, &cursor, &all[count]);)
        if (all[count].type == FL_RESOURCE_LISTENER && proxy_demand_has(subscribe->demand, all[count].name) &&
            fl_map_put(&states, all[count].name, &all[count]) == 0)
            count++;
    for (const void *cursor = NULL; proxy_demand_each(subscribe->demand, &cursor, &entry); first = false) {
        fl_print(page, "%s", first ? "" : ",");
        put_destination(page, subscribe, &entry, fl_map_get(&states, entry.name));
    }
    fl_map_done(&states);
    free(all);
}

int proxy_subscribe_print(const struct proxy_subscribe *subscribe, struct fl_buf *out)
{
    struct fl_print page = {.out = out};
    put_stream(&page, subscribe);
    fl_print(&page, ",\"types\":{");
    for (int i = 0; i < FL_RESOURCE_TYPES; i++)
        put_type(&page, subscribe, (enum fl_resource_type)i);
    fl_print(&page, "},\"destinations\":[");
    if (subscribe->demand != NULL)
        put_destinations(&page, subscribe);
    fl_print(&page, "]}\n");
    return page.result;
}
