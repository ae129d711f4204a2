/* Responses: each resource by itself is taken, passed over or refused; what was refused makes the answer a NACK. */
#include "proxy/config/ads_inner.h"

#include "common/base/siphash.h"
#include "common/base/utf8.h"
#include "common/xds/message.h"
#include "proxy/config/messages.h"

#include <errno.h>
#include <stdio.h>

#define TYPE_RESOURCE "envoy.service.discovery.v3.Resource"
#define NAMED_MAX     8   /* refused resources that a NACK names */
#define SHOWN_MAX     256 /* bytes of such a name */

struct intake { /* one response */
    struct proxy_ads *ads;
    struct ads_family *family;
    enum fl_resource_type type;
    uint64_t now_ms;
    size_t refused;
    bool nameless; /* something in it has no name that could be read */
    char detail[PROXY_ADS_DETAIL_MAX];
};

static struct fl_span type_name(const char *type_url)
{
    const char *slash = strrchr(type_url, '/');
    return fl_span_str(slash != NULL ? slash + 1 : type_url);
}

static void refuse(struct intake *intake, struct fl_span name, const char *reason)
{
    intake->refused++;
    size_t len = strlen(intake->detail);
    if (intake->refused > NAMED_MAX || len >= sizeof(intake->detail) - 1)
        return;
    struct fl_span shown = fl_utf8_cut(name, SHOWN_MAX);
    snprintf(intake->detail + len, sizeof(intake->detail) - len, "%s%.*s: %s", len > 0 ? "; " : "", FL_SPAN_ARG(shown),
             reason);
}

/* A protobuf string is UTF-8: a server could not even read a NACK that were none, and would end the stream. The
 * text, and names in it, may have been cut within a character. */
static void make_utf8(char *text)
{
    struct fl_span rest = fl_span_str(text);
    while (rest.len > 0) {
        size_t length = fl_utf8_length(rest);
        if (length == 0)
            text[(size_t)(rest.data - text)] = '?';
        rest = fl_span_from(rest, length > 0 ? length : 1);
    }
}

/* --- one resource ----------------------------------------------------------------------------------------------- */

/* Whether it is ours to take: wanted, or brought by what is wanted as a whole. */
static bool is_asked(const struct intake *intake, const struct ads_entry *entry, struct fl_span name)
{
    if (intake->family->wildcard || (entry != NULL && entry->wanted))
        return true;
    return (entry == NULL || entry->parted_ms <= intake->now_ms) && proxy_ads_is_collected(intake->family, name);
}

static void set_ttl(const struct intake *intake, struct ads_entry *entry, uint64_t ttl_ms)
{
    entry->expires_ms = ttl_ms > 0 ? intake->now_ms + ttl_ms : 0;
    intake->family->timed += ttl_ms > 0;
}

static void note(const struct intake *intake, struct ads_entry *entry, const struct proxy_ads_resource *resource,
                 char *version)
{
    free(entry->version);
    entry->version = version;
    entry->version_len = resource->version.len;
    entry->hash = fl_siphash(resource->bytes);
    intake->family->held += !entry->held;
    entry->held = true;
    entry->refused = false;
    entry->parted_ms = 0;
    set_ttl(intake, entry, resource->ttl_ms);
}

/* 0, or why it is refused. */
static int take(struct intake *intake, const struct proxy_ads_resource *resource, struct ads_entry *entry,
                struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_free) char *version = malloc(resource->version.len + 1);
    if (version == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    if (resource->version.len > 0)
        memcpy(version, resource->version.data, resource->version.len);
    bool same = entry->held && !entry->refused && entry->hash == fl_siphash(resource->bytes);
    int result = same ? 0 : intake->ads->options.take(intake->ads->options.owner, resource, err);
    if (result == 0)
        note(intake, entry, resource, fl_take(version));
    return result;
}

static void take_named(struct intake *intake, const struct proxy_ads_resource *resource)
{
    struct fl_err err = {.text = "refused"};
    struct ads_entry *entry = fl_map_get(&intake->family->entries, resource->name);
    if (!is_asked(intake, entry, resource->name))
        return;
    if (resource->version.len > PROXY_ADS_VERSION_MAX) {
        refuse(intake, resource->name, "its version is too long");
        return;
    }
    int result = proxy_ads_entry(intake->family, resource->name, &entry);
    if (result < 0) {
        refuse(intake, resource->name, result == -ENOMEM ? "out of memory" : "too many resources");
        return;
    }
    entry->marked = true;
    entry->refused = take(intake, resource, entry, &err) < 0;
    if (entry->refused)
        refuse(intake, resource->name, err.text);
    proxy_ads_entry_settle(intake->family, entry);
}

/* The name that stands inside: the first field of each of the five messages. */
static bool inner_name(const pb_any *any, struct fl_span *ret_name)
{
    struct fl_span bytes = fl_span_make(any->value.data, any->value.len);
    return fl_xds_wire_string(bytes, 1, ret_name) && ret_name->len > 0 && ret_name->len <= PROXY_ADS_NAME_MAX;
}

static void take_any(struct intake *intake, const pb_any *any, const char *outer, const char *version, uint64_t ttl_ms)
{
    struct fl_span name, shown = fl_span_str(outer != NULL ? outer : "(a resource)");
    if (fl_resource_type_of(fl_span_str(any->type_url)) != intake->type) {
        intake->nameless = true;
        refuse(intake, shown, "is of another type than the response");
    } else if (!inner_name(any, &name)) {
        intake->nameless = true;
        refuse(intake, shown, "malformed protobuf, or no name (or one longer than 1024 bytes)");
    } else if (outer != NULL && !fl_span_eq_str(name, outer)) {
        refuse(intake, shown, "its message has another name");
    } else {
        take_named(intake, &(struct proxy_ads_resource){.type = intake->type,
                                                        .name = name,
                                                        .version = fl_span_str(version),
                                                        .bytes = fl_span_make(any->value.data, any->value.len),
                                                        .ttl_ms = ttl_ms});
    }
}

static uint64_t ttl_of(const pb_resource *resource)
{
    if (resource->ttl == NULL || resource->ttl->seconds < 0 || resource->ttl->nanos < 0)
        return 0;
    uint64_t seconds = (uint64_t)resource->ttl->seconds;
    return (seconds > 1000000000 ? 1000000000 : seconds) * 1000 + (uint64_t)resource->ttl->nanos / 1000000;
}

/* A body that is absent renews the TTL of what is held. */
static void take_wrapped(struct intake *intake, const pb_resource *resource)
{
    if (resource->resource != NULL) {
        take_any(intake, resource->resource, resource->name, resource->version, ttl_of(resource));
        return;
    }
    struct ads_entry *entry = fl_map_get(&intake->family->entries, fl_span_str(resource->name));
    if (entry != NULL && entry->held) {
        entry->marked = true;
        set_ttl(intake, entry, ttl_of(resource));
    }
}

static void remove_named(struct intake *intake, struct fl_span name)
{
    struct ads_entry *entry = fl_map_get(&intake->family->entries, name);
    if (entry == NULL || (!entry->held && !entry->wanted && !entry->refused))
        return;
    proxy_ads_entry_drop(intake->ads, intake->type, entry);
    proxy_ads_entry_settle(intake->family, entry);
}

/* --- one response ----------------------------------------------------------------------------------------------- */

static int on_foreign(struct proxy_ads *ads, struct fl_span type_url, struct fl_span nonce, struct fl_err *err)
{
    ads->foreign.count++;
    if (!proxy_ads_text_set(&ads->foreign.type_url, type_url) || !proxy_ads_text_set(&ads->foreign.nonce, nonce))
        return fl_err_set(err, -EBADMSG, "a response of an unknown type, with a name too long to refuse it");
    ads->foreign.due = true;
    return 0;
}

/* 0 with *ret_family NULL: of a type that nobody asked for. */
static int open_response(struct intake *intake, const char *type_url, const char *nonce, struct fl_err *err)
{
    struct fl_span text = fl_span_str(nonce);
    if (text.len == 0)
        return fl_err_set(err, -EBADMSG, "a response without a nonce");
    intake->type = fl_resource_type_of(fl_span_str(type_url));
    struct ads_family *family = intake->type < FL_RESOURCE_TYPES ? &intake->ads->families[intake->type] : NULL;
    if (family == NULL || !family->began)
        return on_foreign(intake->ads, fl_span_str(type_url), text, err);
    if (!proxy_ads_text_set(&family->nonce, text))
        return fl_err_set(err, -EBADMSG, "a response whose nonce is longer than %d bytes", PROXY_ADS_VERSION_MAX);
    intake->family = family;
    family->responses++;
    return 0;
}

/* How long the nth NACK in a row waits. */
static uint64_t delay_of(unsigned streak)
{
    uint64_t delay = streak < 2 ? 0 : streak < 8 ? UINT64_C(1000) << (streak - 2) : PROXY_ADS_NACK_MAX_MS;
    return delay < PROXY_ADS_NACK_MAX_MS ? delay : PROXY_ADS_NACK_MAX_MS;
}

static void close_response(struct intake *intake, const char *version)
{
    struct ads_family *family = intake->family;
    family->answer_due = true;
    if (intake->refused == 0) {
        family->accepted++;
        family->streak = 0;
        if (!proxy_ads_text_set(&family->version, fl_span_str(version)))
            family->version.len = 0;
        if (!family->refusing)
            family->detail[0] = '\0';
        return;
    }
    family->refusing = true;
    family->nacks++;
    family->answer_after_ms = intake->now_ms + delay_of(++family->streak);
    family->nack_ms = intake->now_ms;
    memcpy(family->detail, intake->detail, sizeof(family->detail));
    size_t len = strlen(family->detail);
    if (intake->refused > NAMED_MAX)
        snprintf(family->detail + len, sizeof(family->detail) - len, "; and %zu more", intake->refused - NAMED_MAX);
    make_utf8(family->detail);
}

static int delta(struct intake *intake, const pb_delta_response *response, struct fl_err *err)
{
    int result = open_response(intake, response->type_url, response->nonce, err);
    if (result != 0 || intake->family == NULL)
        return result;
    for (size_t i = 0; i < response->n_removed_resources; i++)
        remove_named(intake, fl_span_str(response->removed_resources[i]));
    for (size_t i = 0; i < response->n_resources; i++)
        take_wrapped(intake, response->resources[i]);
    close_response(intake, response->system_version_info);
    return 0;
}

/* In a state of the world, what may come in a wrapper (it carries the TTL). */
static void take_bare(struct intake *intake, const pb_any *any, const char *version, struct fl_arena *arena)
{
    if (!fl_span_eq_str(type_name(any->type_url), TYPE_RESOURCE)) {
        take_any(intake, any, NULL, version, 0);
        return;
    }
    ProtobufCMessage *message;
    struct fl_err err;
    int result = fl_xds_unpack(&envoy__service__discovery__v3__resource__descriptor,
                               fl_span_make(any->value.data, any->value.len), arena, NULL, &message, &err);
    pb_resource *resource = (pb_resource *)(result == 0 ? message : NULL);
    if (resource == NULL) {
        intake->nameless = true;
        refuse(intake, FL_SPAN("(a resource)"), err.text);
    } else if (resource->resource == NULL) {
        take_wrapped(intake, resource);
    } else {
        take_any(intake, resource->resource, resource->name[0] != '\0' ? resource->name : NULL, version,
                 ttl_of(resource));
    }
}

/* True: something went. */
static bool drop_absent(struct intake *intake)
{
    bool any = false;
    void *value;
    for (size_t cursor = 0; fl_map_next(&intake->family->entries, &cursor, NULL, &value);) {
        struct ads_entry *entry = value;
        if ((!entry->held && !entry->refused) || entry->marked)
            continue;
        proxy_ads_entry_drop(intake->ads, intake->type, entry);
        proxy_ads_entry_settle(intake->family, entry);
        any = true;
    }
    return any;
}

static void take_all(struct intake *intake, const pb_whole_response *response, struct fl_arena *arena)
{
    intake->refused = 0;
    intake->detail[0] = '\0';
    for (size_t i = 0; i < response->n_resources; i++)
        take_bare(intake, response->resources[i], response->version_info, arena);
}

static int whole(struct intake *intake, const pb_whole_response *response, struct fl_arena *arena, struct fl_err *err)
{
    int result = open_response(intake, response->type_url, response->nonce, err);
    if (result != 0 || intake->family == NULL)
        return result;
    proxy_ads_mark_begin(intake->ads, intake->type);
    take_all(intake, response, arena);
    bool all = (intake->type == FL_RESOURCE_CLUSTER || intake->type == FL_RESOURCE_LISTENER) && !intake->nameless;
    if (all && drop_absent(intake) && intake->refused > 0) /* what went may have been in the way of what came */
        take_all(intake, response, arena);
    close_response(intake, response->version_info);
    return 0;
}

int proxy_ads_receive(struct proxy_ads *ads, struct fl_span message, uint64_t now_ms, struct fl_err *err)
{
    struct intake intake = {.ads = ads, .now_ms = now_ms};
    ads->now_ms = now_ms;
    struct fl_arena arena;
    ProtobufCMessage *response;
    if (message.len > PROXY_ADS_MESSAGE_MAX)
        return fl_err_set(err, -EBADMSG, "a response of %zu bytes, more than %u", message.len, PROXY_ADS_MESSAGE_MAX);
    fl_arena_init(&arena, PROXY_ADS_MEMORY_MAX);
    const ProtobufCMessageDescriptor *type = ads->options.delta
                                                 ? &envoy__service__discovery__v3__delta_discovery_response__descriptor
                                                 : &envoy__service__discovery__v3__discovery_response__descriptor;
    int result = fl_xds_unpack(type, message, &arena, NULL, &response, err);
    if (result == -EINVAL)
        result = fl_err_set(err, -EBADMSG, "a response that is malformed protobuf");
    if (result == 0)
        result = ads->options.delta ? delta(&intake, (const pb_delta_response *)response, err)
                                    : whole(&intake, (const pb_whole_response *)response, &arena, err);
    fl_arena_done(&arena);
    return result;
}
