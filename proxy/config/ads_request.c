/* Requests: what changed since the last one of a type, and the answer to its last response. A message is built in an
 * arena, and only when its bytes are in the caller's buffer is it noted as sent. */
#include "proxy/config/ads_inner.h"

#include "common/xds/message.h"
#include "proxy/config/messages.h"

#include <errno.h>

#define REQUEST_MEMORY_MAX (64u << 20)
#define INVALID_ARGUMENT   3 /* google.rpc.Code */

typedef Google__Rpc__Status pb_status;

struct building {
    struct proxy_ads *ads;
    struct fl_arena arena;
    Envoy__Config__Core__V3__Node *node; /* NULL: was told on this stream */
    pb_status status;
    char *type_url, *nonce;
};

static char *literal(const char *text)
{
    return (char *)(uintptr_t)text; /* protobuf-c's messages are written with char *, and only read here */
}

static int begin(struct building *building, struct proxy_ads *ads, struct fl_span type_url, struct fl_span nonce,
                 const char *detail)
{
    *building = (struct building){.ads = ads};
    fl_arena_init(&building->arena, REQUEST_MEMORY_MAX);
    google__rpc__status__init(&building->status);
    building->status.code = INVALID_ARGUMENT;
    building->status.message = literal(detail);
    building->type_url = fl_arena_str(&building->arena, type_url);
    building->nonce = fl_arena_str(&building->arena, nonce);
    if (building->type_url == NULL || building->nonce == NULL)
        return -ENOMEM;
    if (ads->node_told)
        return 0;
    ProtobufCMessage *node;
    int result = fl_xds_unpack(&envoy__config__core__v3__node__descriptor, ads->options.node, &building->arena, NULL,
                               &node, NULL);
    if (result == 0)
        building->node = (Envoy__Config__Core__V3__Node *)node;
    return result;
}

static int finish(struct building *building, const ProtobufCMessage *message, struct fl_buf *out)
{
    struct fl_span bytes;
    int result = fl_xds_pack(message, &building->arena, &bytes);
    if (result == 0)
        result = fl_buf_append(out, bytes);
    if (result == 0)
        building->ads->node_told = true;
    return result;
}

/* The names of which `holds` says so, as C strings in the arena. An array of a NULL is "none" to protobuf-c. */
static int names_of(struct building *building, const struct ads_family *family,
                    bool (*holds)(const struct ads_entry *entry), bool star, char ***ret_names, size_t *ret_count)
{
    char **names = fl_arena_array(&building->arena, family->entries.count + 1, sizeof(*names));
    size_t count = 0;
    void *value;
    if (names == NULL)
        return -ENOMEM;
    if (star)
        names[count++] = literal("*");
    for (size_t cursor = 0; fl_map_next(&family->entries, &cursor, NULL, &value);)
        if (holds(value))
            names[count++] = ((struct ads_entry *)value)->text;
    *ret_names = names;
    *ret_count = count;
    return 0;
}

static bool is_wanted(const struct ads_entry *entry)
{
    return entry->wanted;
}

static bool is_new(const struct ads_entry *entry)
{
    return entry->wanted && !entry->told;
}

static bool is_leaving(const struct ads_entry *entry)
{
    return entry->leaving;
}

/* --- delta ------------------------------------------------------------------------------------------------------ */

static int add_versions(struct building *building, const struct ads_family *family, pb_delta_request *request)
{
    pb_initial_version **rows = fl_arena_array(&building->arena, family->entries.count + 1, sizeof(*rows));
    pb_initial_version *values = fl_arena_array(&building->arena, family->entries.count + 1, sizeof(*values));
    void *value;
    if (rows == NULL || values == NULL)
        return -ENOMEM;
    request->initial_resource_versions = rows;
    for (size_t cursor = 0; fl_map_next(&family->entries, &cursor, NULL, &value);) {
        struct ads_entry *entry = value;
        if (!entry->held)
            continue;
        pb_initial_version *row = &values[request->n_initial_resource_versions];
        envoy__service__discovery__v3__delta_discovery_request__initial_resource_versions_entry__init(row);
        row->key = entry->text;
        row->value = fl_arena_str(&building->arena, fl_span_make(entry->version, entry->version_len));
        if (row->value == NULL)
            return -ENOMEM;
        rows[request->n_initial_resource_versions++] = row;
    }
    return 0;
}

/* A first request without names asks for everything of its type; beside names, "*" does. */
static int delta(struct building *building, const struct ads_family *family, struct fl_buf *out)
{
    pb_delta_request request;
    envoy__service__discovery__v3__delta_discovery_request__init(&request);
    bool star = family->wildcard && !family->began && family->wanted > 0;
    int result = names_of(building, family, is_new, star, &request.resource_names_subscribe,
                          &request.n_resource_names_subscribe);
    if (result == 0)
        result = names_of(building, family, is_leaving, false, &request.resource_names_unsubscribe,
                          &request.n_resource_names_unsubscribe);
    if (result == 0 && !family->began)
        result = add_versions(building, family, &request);
    if (result != 0)
        return result;
    request.node = building->node;
    request.type_url = building->type_url;
    request.response_nonce = building->nonce;
    request.error_detail = family->refusing ? &building->status : NULL;
    if (family->began && !family->answer_due && request.n_resource_names_subscribe == 0 &&
        request.n_resource_names_unsubscribe == 0)
        return PROXY_ADS_NOTHING;
    return finish(building, &request.base, out);
}

/* --- state of the world ----------------------------------------------------------------------------------------- */

static int whole(struct building *building, const struct ads_family *family, struct fl_buf *out)
{
    pb_whole_request request;
    envoy__service__discovery__v3__discovery_request__init(&request);
    bool star = family->wildcard && family->wanted > 0;
    int result = names_of(building, family, is_wanted, star, &request.resource_names, &request.n_resource_names);
    if (result != 0)
        return result;
    request.version_info = fl_arena_str(&building->arena, proxy_ads_text(&family->version));
    if (request.version_info == NULL)
        return -ENOMEM;
    request.node = building->node;
    request.type_url = building->type_url;
    request.response_nonce = building->nonce;
    request.error_detail = family->refusing ? &building->status : NULL;
    return finish(building, &request.base, out);
}

/* --- which one -------------------------------------------------------------------------------------------------- */

static void note_sent(struct proxy_ads *ads, struct ads_family *family)
{
    void *value;
    family->began = true;
    family->changed = family->answer_due = family->refusing = false;
    for (size_t cursor = 0; fl_map_next(&family->entries, &cursor, NULL, &value);) {
        struct ads_entry *entry = value;
        if (entry->leaving && entry->wanted && ads->options.delta)
            family->changed = true; /* taken back now, asked for again by the next message */
        entry->told = entry->wanted && !(entry->leaving && ads->options.delta);
        entry->leaving = false;
        proxy_ads_entry_settle(family, entry);
    }
}

static bool has_something(const struct proxy_ads *ads, const struct ads_family *family)
{
    bool answer = family->answer_due && (!family->refusing || family->answer_after_ms <= ads->now_ms);
    return family->began ? family->changed || answer : family->wildcard || family->wanted > 0;
}

static int next_of(struct proxy_ads *ads, enum fl_resource_type type, struct fl_buf *out)
{
    struct ads_family *family = &ads->families[type];
    struct building building;
    if (!has_something(ads, family))
        return PROXY_ADS_NOTHING;
    struct fl_span nonce = family->answer_due || !ads->options.delta ? proxy_ads_text(&family->nonce) : FL_SPAN("");
    int result = begin(&building, ads, fl_span_str(fl_resource_type_url(type)), nonce, family->detail);
    if (result == 0)
        result = ads->options.delta ? delta(&building, family, out) : whole(&building, family, out);
    fl_arena_done(&building.arena);
    if (result >= 0)
        note_sent(ads, family);
    return result;
}

/* A NACK for what we did not ask for. It asks for nothing: where the stream's state has no names of that type, the next
 * thing that a server can do is to leave us alone. */
static int next_foreign(struct proxy_ads *ads, struct fl_buf *out)
{
    struct building building;
    int result = begin(&building, ads, proxy_ads_text(&ads->foreign.type_url), proxy_ads_text(&ads->foreign.nonce),
                       "nothing of this type was asked for");
    if (result == 0 && ads->options.delta) {
        pb_delta_request request;
        envoy__service__discovery__v3__delta_discovery_request__init(&request);
        request.node = building.node;
        request.type_url = building.type_url;
        request.response_nonce = building.nonce;
        request.error_detail = &building.status;
        result = finish(&building, &request.base, out);
    } else if (result == 0) {
        pb_whole_request request;
        envoy__service__discovery__v3__discovery_request__init(&request);
        request.node = building.node;
        request.type_url = building.type_url;
        request.response_nonce = building.nonce;
        request.error_detail = &building.status;
        result = finish(&building, &request.base, out);
    }
    fl_arena_done(&building.arena);
    if (result == 0)
        ads->foreign.due = false;
    return result;
}

int proxy_ads_next(struct proxy_ads *ads, struct fl_buf *out)
{
    if (ads->foreign.due)
        return next_foreign(ads, out);
    for (size_t i = 0; i < FL_RESOURCE_TYPES; i++) {
        int result = next_of(ads, (enum fl_resource_type)i, out);
        if (result != PROXY_ADS_NOTHING)
            return result;
    }
    return PROXY_ADS_NOTHING;
}
