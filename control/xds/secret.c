/* Certificates of a gateway's listeners. A Secret leaves the control plane for the Gateway that names it, and nobody
 * else. */
#include "control/xds/generation.h"

#include "common/mesh/resource.h"

static bool is_named(const struct control_gateway_view *gateway, const struct control_secret *secret)
{
    for (size_t i = 0; i < gateway->listener_count; i++)
        for (size_t k = 0; k < gateway->listeners[i].certificate_count; k++)
            if (gateway->listeners[i].certificates[k] == secret)
                return true;
    return false;
}

static pb_data_source *inline_bytes(struct generation *generation, struct fl_span bytes)
{
    pb_data_source *source = new_data_source(&generation->build);
    source->specifier_case = ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES;
    source->inline_bytes.data = (uint8_t *)(uintptr_t)bytes.data;
    source->inline_bytes.len = bytes.len;
    return source;
}

ProtobufCMessage *generate_secret(struct generation *generation, const struct fl_resource_name *name,
                                  struct fl_span text)
{
    struct build *build = &generation->build;
    struct control_gateway_view gateway;
    const struct control_key key = {CONTROL_SECRET, name->name_space, name->name};
    if (name->kind != FL_RESOURCE_KUBERNETES_SECRET || generation->view->gateway == NULL)
        return NULL;
    const struct control_object *object = control_model_get(generation->model, key);
    if (object == NULL)
        return NULL;
    if (control_gateway_view(generation->model, generation->view->gateway, generation->arena, &gateway) < 0) {
        build->failed = true;
        return NULL;
    }
    const struct control_secret *from = control_as_secret(object);
    if (!is_named(&gateway, from))
        return NULL;
    pb_secret *secret = new_secret(build);
    secret->name = build_text(build, text);
    secret->type_case = ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SECRET__TYPE_TLS_CERTIFICATE;
    secret->tls_certificate = new_tls_certificate(build);
    secret->tls_certificate->certificate_chain = inline_bytes(generation, from->certificate);
    secret->tls_certificate->private_key = inline_bytes(generation, from->key);
    return &secret->base;
}
