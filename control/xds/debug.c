/* What is known of the proxies, as JSON: for the command line and for people. */
#include "common/xds/convert.h"
#include "control/xds/stream.h"

#include <errno.h>
#include <inttypes.h>

#define CONFIG_ARENA_MAX ((size_t)64 << 20)

/* The first failure stays. */
struct writer {
    struct fl_buf *out;
    int result;
};

static void put(struct writer *writer, const char *text)
{
    if (writer->result == 0)
        writer->result = fl_buf_append_str(writer->out, text);
}

static void put_text(struct writer *writer, const char *key, struct fl_span text)
{
    if (writer->result == 0)
        writer->result = fl_buf_printf(writer->out, "\"%s\":", key);
    if (writer->result == 0)
        writer->result = fl_buf_append_json_string(writer->out, text);
}

static void put_number(struct writer *writer, const char *key, uint64_t number)
{
    if (writer->result == 0)
        writer->result = fl_buf_printf(writer->out, "\"%s\":%" PRIu64, key, number);
}

static void put_flag(struct writer *writer, const char *key, bool flag)
{
    if (writer->result == 0)
        writer->result = fl_buf_printf(writer->out, "\"%s\":%s", key, flag ? "true" : "false");
}

/* -- proxies -- */

static void put_type(struct writer *writer, const struct control_session_status *status)
{
    char version[CONTROL_VERSION_TEXT];
    control_version_print(status->version, version);
    put(writer, "{");
    put_number(writer, "resources", status->subscribed);
    put(writer, ",");
    put_text(writer, "version", fl_span_str(version));
    put(writer, ",");
    put_flag(writer, "in_sync", status->in_sync);
    put(writer, ",");
    put_flag(writer, "in_flight", status->in_flight);
    put(writer, ",");
    put_number(writer, "sent", status->sent);
    put(writer, ",");
    put_number(writer, "acked", status->acked);
    put(writer, ",");
    put_number(writer, "refused", status->refused);
    if (status->last_refused) {
        put(writer, ",");
        put_text(writer, "reason", fl_span_str(status->reason));
    }
    put(writer, "}");
}

static void put_types(struct writer *writer, const struct stream *stream)
{
    struct control_session_status status;
    const char *comma = "";
    bool in_sync = true;
    put(writer, ",\"types\":{");
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++) {
        control_session_status(stream->session, type, &status);
        if (!status.asked)
            continue;
        in_sync = in_sync && status.in_sync;
        put(writer, comma);
        put(writer, "\"");
        put(writer, fl_resource_type_word(type));
        put(writer, "\":");
        put_type(writer, &status);
        comma = ",";
    }
    put(writer, "},");
    put_flag(writer, "in_sync", in_sync);
}

/* The one that the proxy showed when it connected. */
static void put_certificate(struct writer *writer, const struct stream *stream)
{
    int64_t not_before, not_after;
    if (!fl_grpc_stream_validity(stream->grpc, &not_before, &not_after) || not_before < 0 || not_after < 0)
        return;
    put(writer, ",\"certificate\":{");
    put_number(writer, "not_before", (uint64_t)not_before);
    put(writer, ",");
    put_number(writer, "not_after", (uint64_t)not_after);
    put(writer, "}");
}

static void put_proxy(struct writer *writer, const struct stream *stream)
{
    char address[FL_GRPC_ADDRESS_TEXT_MAX];
    const struct control_node *node = &stream->node;
    fl_grpc_address_print(fl_grpc_stream_peer(stream->grpc), address);
    put(writer, "{");
    put_text(writer, "id", fl_span_str(node->id));
    put(writer, ",");
    put_text(writer, "role", fl_span_str(control_role_word(node->role)));
    put(writer, ",");
    put_text(writer, "namespace", fl_span_str(node->name_space));
    put(writer, ",");
    put_text(writer, "name", fl_span_str(node->name));
    put(writer, ",");
    put_text(writer, "identity", fl_span_str(stream->identity));
    put(writer, ",");
    put_text(writer, "address", fl_span_str(address));
    put(writer, ",");
    put_text(writer, "agent", fl_span_str(node->user_agent));
    put(writer, ",");
    put_text(writer, "form", stream->form == CONTROL_SESSION_DELTA ? FL_SPAN("delta") : FL_SPAN("state-of-the-world"));
    put(writer, ",");
    put_flag(writer, "on_demand", node->on_demand);
    put(writer, ",");
    put_number(writer, "since", (uint64_t)stream->since);
    put_certificate(writer, stream);
    put_types(writer, stream);
    put(writer, "}");
}

int control_proxies_print(struct control_proxies *proxies, struct fl_buf *out)
{
    struct writer writer = {.out = out};
    const struct stream *stream;
    const char *comma = "";
    put(&writer, "{");
    put_number(&writer, "model", control_model_version(proxies->model));
    put(&writer, ",\"proxies\":[");
    TAILQ_FOREACH(stream, &proxies->streams, link)
    {
        if (!stream->has_node)
            continue;
        put(&writer, comma);
        put_proxy(&writer, stream);
        comma = ",";
    }
    put(&writer, "]}\n");
    return writer.result;
}

/* -- one proxy's configuration -- */

struct config {
    struct writer writer;
    struct control_session_source source;
    enum fl_resource_type type;
    const char *comma;
};

static void put_resource(struct config *config, const struct control_resource *resource)
{
    struct fl_arena arena;
    struct ProtobufCMessage *message;
    fl_arena_init(&arena, CONFIG_ARENA_MAX);
    put(&config->writer, ",\"resource\":");
    int result = fl_xds_unpack(fl_xds_type(fl_span_str(fl_resource_type_url(resource->type))), resource->bytes, &arena,
                               NULL, &message, NULL);
    if (result == 0 && config->writer.result == 0)
        result = fl_xds_print(message, config->writer.out);
    if (config->writer.result == 0)
        config->writer.result = result;
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
    put(&config->writer, config->comma);
    put(&config->writer, "{");
    put_text(&config->writer, "name", name);
    control_version_print(version, text);
    put(&config->writer, ",");
    put_text(&config->writer, "sent", version != 0 ? fl_span_str(text) : FL_SPAN(""));
    if (resource != NULL) {
        control_version_print(resource->version, text);
        put(&config->writer, ",");
        put_text(&config->writer, "version", fl_span_str(text));
        put_resource(config, resource);
    }
    put(&config->writer, "}");
    config->comma = ",";
    control_resource_unref(resource);
    return config->writer.result;
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
    struct config config = {.writer = {.out = out}};
    int result = stream_view(stream, &asking, NULL);
    config.source = stream_source(&asking);
    put(&config.writer, "{");
    put_text(&config.writer, "id", fl_span_str(stream->node.id));
    put(&config.writer, ",\"resources\":{");
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES && result == 0; type++) {
        config.type = type;
        config.comma = "";
        put(&config.writer, type > 0 ? ",\"" : "\"");
        put(&config.writer, fl_resource_type_word(type));
        put(&config.writer, "\":[");
        result = control_session_each(stream->session, type, visit, &config);
        put(&config.writer, "]");
    }
    put(&config.writer, "}}\n");
    return result < 0 ? result : config.writer.result;
}

int control_proxies_print_config(struct control_proxies *proxies, struct fl_span id, struct fl_buf *out)
{
    struct stream *stream;
    TAILQ_FOREACH(stream, &proxies->streams, link)
    if (is_called(stream, id))
        return print_config(stream, out);
    return -ENOENT;
}
