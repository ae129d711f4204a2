/* What is known of the proxies, as JSON: for the command line and for people. */
#include "common/base/print.h"
#include "common/xds/convert.h"
#include "control/xds/stream.h"

#include <errno.h>
#include <inttypes.h>

#define CONFIG_ARENA_MAX ((size_t)64 << 20)

static void put_text(struct fl_print *print, const char *key, struct fl_span text)
{
    fl_print(print, "\"%s\":", key);
    fl_print_json(print, text);
}

static void put_number(struct fl_print *print, const char *key, uint64_t number)
{
    fl_print(print, "\"%s\":%" PRIu64, key, number);
}

static void put_flag(struct fl_print *print, const char *key, bool flag)
{
    fl_print(print, "\"%s\":%s", key, flag ? "true" : "false");
}

/* -- proxies -- */

static void put_type(struct fl_print *print, const struct control_session_status *status)
{
    char version[CONTROL_VERSION_TEXT];
    control_version_print(status->version, version);
    fl_print(print, "{");
    put_number(print, "resources", status->subscribed);
    fl_print(print, ",");
    put_text(print, "version", fl_span_str(version));
    fl_print(print, ",");
    put_flag(print, "in_sync", status->in_sync);
    fl_print(print, ",");
    put_flag(print, "in_flight", status->in_flight);
    fl_print(print, ",");
    put_number(print, "sent", status->sent);
    fl_print(print, ",");
    put_number(print, "acked", status->acked);
    fl_print(print, ",");
    put_number(print, "refused", status->refused);
    if (status->last_refused) {
        fl_print(print, ",");
        put_text(print, "reason", fl_span_str(status->reason));
    }
    fl_print(print, "}");
}

static void put_types(struct fl_print *print, const struct stream *stream)
{
    struct control_session_status status;
    const char *comma = "";
    bool in_sync = true;
    fl_print(print, ",\"types\":{");
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++) {
        control_session_status(stream->session, type, &status);
        if (!status.asked)
            continue;
        in_sync = in_sync && status.in_sync;
        fl_print(print, "%s\"%s\":", comma, fl_resource_type_word(type));
        put_type(print, &status);
        comma = ",";
    }
    fl_print(print, "},");
    put_flag(print, "in_sync", in_sync);
}

/* The one that the proxy showed when it connected. */
static void put_certificate(struct fl_print *print, const struct stream *stream)
{
    int64_t not_before, not_after;
    if (!fl_grpc_stream_validity(stream->grpc, &not_before, &not_after) || not_before < 0 || not_after < 0)
        return;
    fl_print(print, ",\"certificate\":{");
    put_number(print, "not_before", (uint64_t)not_before);
    fl_print(print, ",");
    put_number(print, "not_after", (uint64_t)not_after);
    fl_print(print, "}");
}

static void put_proxy(struct fl_print *print, const struct stream *stream)
{
    char address[FL_GRPC_ADDRESS_TEXT_MAX];
    const struct control_node *node = &stream->node;
    fl_grpc_address_print(fl_grpc_stream_peer(stream->grpc), address);
    fl_print(print, "{");
    put_text(print, "id", fl_span_str(node->id));
    fl_print(print, ",");
    put_text(print, "role", fl_span_str(control_role_word(node->role)));
    fl_print(print, ",");
    put_text(print, "namespace", fl_span_str(node->name_space));
    fl_print(print, ",");
    put_text(print, "name", fl_span_str(node->name));
    fl_print(print, ",");
    put_text(print, "identity", stream_identity(stream));
    fl_print(print, ",");
    put_text(print, "address", fl_span_str(address));
    fl_print(print, ",");
    put_text(print, "agent", fl_span_str(node->user_agent));
    fl_print(print, ",");
    put_text(print, "form", stream->form == CONTROL_SESSION_DELTA ? FL_SPAN("delta") : FL_SPAN("state-of-the-world"));
    fl_print(print, ",");
    put_flag(print, "on_demand", node->on_demand);
    fl_print(print, ",");
    put_number(print, "since", (uint64_t)stream->since);
    put_certificate(print, stream);
    put_types(print, stream);
    fl_print(print, "}");
}

int control_proxies_print(struct control_proxies *proxies, struct fl_buf *out)
{
    struct fl_print print = {.out = out};
    const struct stream *stream;
    const char *comma = "";
    fl_print(&print, "{");
    put_number(&print, "model", control_model_version(proxies->model));
    fl_print(&print, ",\"proxies\":[");
    TAILQ_FOREACH(stream, &proxies->streams, link)
    {
        if (!stream->has_node)
            continue;
        fl_print(&print, "%s", comma);
        put_proxy(&print, stream);
        comma = ",";
    }
    fl_print(&print, "]}\n");
    return print.result;
}

/* -- refusals, for status -- */

struct refusals {
    struct fl_arena *arena;
    struct control_refusal *items;
    size_t count;
};

static int add_refusal(struct refusals *refusals, const struct stream *stream, enum fl_resource_type type,
                       const struct control_session_status *status)
{
    struct fl_span reason = fl_span_str(status->reason), word = fl_span_str(fl_resource_type_word(type));
    for (size_t i = 0; i < refusals->count; i++) {
        if (fl_span_eq(refusals->items[i].reason, reason) && fl_span_eq(refusals->items[i].type, word)) {
            refusals->items[i].proxies++;
            return 0;
        }
    }
    if (refusals->count == CONTROL_PROXY_REFUSALS_MAX)
        return 0;
    struct control_refusal refusal = {.proxy = fl_arena_copy(refusals->arena, fl_span_str(stream->node.id)),
                                      .type = word,
                                      .reason = fl_arena_copy(refusals->arena, reason),
                                      .proxies = 1};
    if (refusal.proxy.data == NULL || refusal.reason.data == NULL)
        return -ENOMEM;
    refusals->items[refusals->count++] = refusal;
    return 0;
}

int control_proxies_refusals(const struct control_proxies *proxies, struct fl_arena *arena,
                             struct control_refusals *ret_refusals)
{
    struct refusals refusals = {.arena = arena,
                                .items = fl_arena_array(arena, CONTROL_PROXY_REFUSALS_MAX, sizeof(*refusals.items))};
    const struct stream *stream;
    int result = refusals.items != NULL ? 0 : -ENOMEM;
    TAILQ_FOREACH(stream, &proxies->streams, link)
    {
        for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES && stream->has_node && result == 0; type++) {
            struct control_session_status status;
            control_session_status(stream->session, type, &status);
            result = status.last_refused ? add_refusal(&refusals, stream, type, &status) : 0;
        }
    }
    if (result == 0)
        *ret_refusals = (struct control_refusals){refusals.items, refusals.count};
    return result;
}

/* -- one proxy's configuration -- */

struct config {
    struct fl_print print;
    struct control_session_source source;
    enum fl_resource_type type;
    const char *comma;
};

static void put_resource(struct config *config, const struct control_resource *resource)
{
    struct fl_arena arena;
    struct ProtobufCMessage *message;
    fl_arena_init(&arena, CONFIG_ARENA_MAX);
    fl_print(&config->print, ",\"resource\":");
    int result = fl_xds_unpack(fl_xds_type(fl_span_str(fl_resource_type_url(resource->type))), resource->bytes, &arena,
                               NULL, &message, NULL);
    if (result == 0 && config->print.result == 0)
        result = fl_xds_print(message, config->print.out);
    if (config->print.result == 0)
        config->print.result = result;
    fl_arena_done(&arena);
}

static int visit(void *visitor, struct fl_span name, uint64_t version)
{
    struct config *config = visitor;
    struct control_resource *resource = NULL;
    char text[CONTROL_VERSION_TEXT];
    int result = config->source.get(config->source.owner, config->type, name, &resource);
    if (result < 0)
        return result;
    fl_print(&config->print, "%s{", config->comma);
    put_text(&config->print, "name", name);
    control_version_print(version, text);
    fl_print(&config->print, ",");
    put_text(&config->print, "sent", version != 0 ? fl_span_str(text) : FL_SPAN(""));
    if (resource != NULL) {
        control_version_print(resource->version, text);
        fl_print(&config->print, ",");
        put_text(&config->print, "version", fl_span_str(text));
        put_resource(config, resource);
    }
    fl_print(&config->print, "}");
    config->comma = ",";
    control_resource_unref(resource);
    return config->print.result;
}

static bool is_called(const struct stream *stream, struct fl_span id)
{
    struct fl_span rest = id, name_space;
    if (!stream->has_node)
        return false;
    if (fl_span_eq_str(id, stream->node.id))
        return true;
    return fl_span_split(&rest, '/', &name_space) && fl_span_eq_str(name_space, stream->node.name_space) &&
           fl_span_eq_str(rest, stream->node.name) && rest.len > 0;
}

static int print_config(struct stream *stream, struct fl_buf *out)
{
    struct control_asking asking;
    struct config config = {.print = {.out = out}};
    int result = stream_view(stream, &asking, NULL);
    config.source = stream_source(&asking);
    fl_print(&config.print, "{");
    put_text(&config.print, "id", fl_span_str(stream->node.id));
    fl_print(&config.print, ",\"resources\":{");
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES && result == 0; type++) {
        config.type = type;
        config.comma = "";
        fl_print(&config.print, "%s\"%s\":[", type > 0 ? "," : "", fl_resource_type_word(type));
        result = control_session_each(stream->session, type, visit, &config);
        fl_print(&config.print, "]");
    }
    fl_print(&config.print, "}}\n");
    return result < 0 ? result : config.print.result;
}

int control_proxies_print_config(struct control_proxies *proxies, struct fl_span id, struct fl_buf *out)
{
    struct stream *stream;
    TAILQ_FOREACH(stream, &proxies->streams, link)
    if (is_called(stream, id))
        return print_config(stream, out);
    return -ENOENT;
}
