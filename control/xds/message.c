#include "control/xds/message.h"

#include "common/xds/message.h"
#include "control/xds/messages.h"

#include <errno.h>

/* -- requests -- */

static int take_names(char **texts, size_t count, struct fl_arena *arena, const struct fl_span **ret_names)
{
    struct fl_span *names = fl_arena_array(arena, count, sizeof(*names));
    if (names == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        names[i] = fl_span_str(texts[i]);
    *ret_names = names;
    return 0;
}

static int take_known(const pb_delta_request *message, struct fl_arena *arena, struct control_ask *request)
{
    size_t count = message->n_initial_resource_versions;
    struct fl_span *names = fl_arena_array(arena, 2 * count, sizeof(*names));
    if (names == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        names[i] = fl_span_str(message->initial_resource_versions[i]->key);
        names[count + i] = fl_span_str(message->initial_resource_versions[i]->value);
    }
    request->known_names = names;
    request->known_versions = names + count;
    request->known_count = count;
    return 0;
}

static int take_common(const char *type_url, const char *nonce, const Google__Rpc__Status *detail,
                       const struct Envoy__Config__Core__V3__Node *node, struct control_message *message,
                       struct fl_err *err)
{
    struct control_ask *request = &message->request;
    request->type = fl_resource_type_of(fl_span_str(type_url));
    message->unknown_type = request->type == FL_RESOURCE_TYPES;
    request->nonce = fl_span_str(nonce);
    request->refused = detail != NULL;
    request->reason = fl_span_str(detail != NULL ? detail->message : NULL);
    message->has_node = node != NULL;
    return node != NULL ? control_node_read(node, &message->node, err) : 0;
}

static int read_delta(const pb_delta_request *from, struct fl_arena *arena, struct control_message *message,
                      struct fl_err *err)
{
    struct control_ask *request = &message->request;
    int result = take_common(from->type_url, from->response_nonce, from->error_detail, from->node, message, err);
    if (result == 0)
        result = take_names(from->resource_names_subscribe, from->n_resource_names_subscribe, arena, &request->names);
    if (result == 0)
        result = take_names(from->resource_names_unsubscribe, from->n_resource_names_unsubscribe, arena,
                            &request->unsubscribe);
    if (result == 0)
        result = take_known(from, arena, request);
    request->name_count = from->n_resource_names_subscribe;
    request->unsubscribe_count = from->n_resource_names_unsubscribe;
    return result;
}

static int read_world(const pb_request *from, struct fl_arena *arena, struct control_message *message,
                      struct fl_err *err)
{
    struct control_ask *request = &message->request;
    int result = take_common(from->type_url, from->response_nonce, from->error_detail, from->node, message, err);
    if (result == 0)
        result = take_names(from->resource_names, from->n_resource_names, arena, &request->names);
    request->name_count = from->n_resource_names;
    return result;
}

int control_message_read(enum control_session_form form, struct fl_span bytes, struct fl_arena *arena,
                         struct control_message *ret_message, struct fl_err *err)
{
    struct ProtobufCMessage *decoded;
    bool delta = form == CONTROL_SESSION_DELTA;
    *ret_message = (struct control_message){0};
    int result = fl_xds_unpack(delta ? &envoy__service__discovery__v3__delta_discovery_request__descriptor
                                     : &envoy__service__discovery__v3__discovery_request__descriptor,
                               bytes, arena, NULL, &decoded, err);
    if (result == 0)
        result = delta ? read_delta((const pb_delta_request *)decoded, arena, ret_message, err)
                       : read_world((const pb_request *)decoded, arena, ret_message, err);
    return result == -ENOMEM ? fl_err_set(err, -ENOMEM, "out of memory, or a request that is too large") : result;
}

/* -- responses -- */

/* protobuf-c's structs want pointers to what they will not change. */
static char *text_of(const char *text)
{
    return (char *)(uintptr_t)text;
}

static pb_any any_of(const struct control_resource *resource)
{
    pb_any any;
    google__protobuf__any__init(&any);
    any.type_url = text_of(fl_resource_type_url(resource->type));
    any.value.data = (uint8_t *)(uintptr_t)resource->bytes.data;
    any.value.len = resource->bytes.len;
    return any;
}

struct delta_item {
    pb_resource resource;
    pb_any any;
    pb_duration ttl;
    char version[CONTROL_VERSION_TEXT];
};

static void set_item(struct delta_item *item, const struct control_resource *resource)
{
    item->any = any_of(resource);
    envoy__service__discovery__v3__resource__init(&item->resource);
    item->resource.name = text_of(resource->name.data);
    item->resource.resource = &item->any;
    control_version_print(resource->version, item->version);
    item->resource.version = item->version;
    if (resource->ttl_seconds > 0) {
        google__protobuf__duration__init(&item->ttl);
        item->ttl.seconds = resource->ttl_seconds;
        item->resource.ttl = &item->ttl;
    }
}

static int print_delta(const struct control_response *response, pb_control_plane *plane, struct fl_arena *arena,
                       struct fl_span *ret_bytes)
{
    pb_delta_response message;
    envoy__service__discovery__v3__delta_discovery_response__init(&message);
    struct delta_item *items = fl_arena_array(arena, response->count, sizeof(*items));
    message.resources = fl_arena_array(arena, response->count, sizeof(*message.resources));
    message.removed_resources = fl_arena_array(arena, response->removed_count, sizeof(*message.removed_resources));
    if (items == NULL || message.resources == NULL || message.removed_resources == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < response->count; i++) {
        set_item(&items[i], response->resources[i]);
        message.resources[i] = &items[i].resource;
    }
    for (size_t i = 0; i < response->removed_count; i++)
        message.removed_resources[i] = text_of(response->removed[i].data);
    message.n_resources = response->count;
    message.n_removed_resources = response->removed_count;
    message.type_url = text_of(fl_resource_type_url(response->type));
    message.nonce = text_of(response->nonce);
    message.system_version_info = text_of(response->version);
    message.control_plane = plane;
    return fl_xds_pack(&message.base, arena, ret_bytes);
}

static int print_world(const struct control_response *response, pb_control_plane *plane, struct fl_arena *arena,
                       struct fl_span *ret_bytes)
{
    pb_response message;
    envoy__service__discovery__v3__discovery_response__init(&message);
    pb_any *anys = fl_arena_array(arena, response->count, sizeof(*anys));
    message.resources = fl_arena_array(arena, response->count, sizeof(*message.resources));
    if (anys == NULL || message.resources == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < response->count; i++) {
        anys[i] = any_of(response->resources[i]);
        message.resources[i] = &anys[i];
    }
    message.n_resources = response->count;
    message.type_url = text_of(fl_resource_type_url(response->type));
    message.nonce = text_of(response->nonce);
    message.version_info = text_of(response->version);
    message.control_plane = plane;
    return fl_xds_pack(&message.base, arena, ret_bytes);
}

int control_message_print(enum control_session_form form, const struct control_response *response,
                          const char *identifier, struct fl_arena *arena, struct fl_span *ret_bytes)
{
    pb_control_plane plane;
    envoy__service__discovery__v3__control_plane__init(&plane);
    plane.identifier = text_of(identifier);
    return form == CONTROL_SESSION_DELTA ? print_delta(response, &plane, arena, ret_bytes)
                                         : print_world(response, &plane, arena, ret_bytes);
}
