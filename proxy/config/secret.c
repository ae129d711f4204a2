#include "proxy/config/secret.h"

#include "common/xds/message.h"
#include "proxy/config/messages.h"

#include <errno.h>

typedef Envoy__Extensions__TransportSockets__Tls__V3__Secret pb_secret;

/* protobuf-c only reads what it packs. */
static void set_bytes(pb_data_source *source, struct fl_span bytes)
{
    union {
        const char *text;
        uint8_t *bytes;
    } same = {.text = bytes.data};
    source->specifier_case = ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES;
    source->inline_bytes = (ProtobufCBinaryData){.len = bytes.len, .data = same.bytes};
}

static int pack(pb_secret *secret, const char *name, struct fl_arena *arena, struct fl_span *ret_wire)
{
    secret->name = fl_arena_str(arena, fl_span_str(name));
    return secret->name == NULL ? -ENOMEM : fl_xds_pack(&secret->base, arena, ret_wire);
}

int proxy_secret_certificate(const char *name, struct fl_span key, struct fl_span chain, struct fl_arena *arena,
                             struct fl_span *ret_wire)
{
    pb_secret secret;
    envoy__extensions__transport_sockets__tls__v3__secret__init(&secret);
    pb_tls_certificate certificate;
    envoy__extensions__transport_sockets__tls__v3__tls_certificate__init(&certificate);
    pb_data_source key_source;
    envoy__config__core__v3__data_source__init(&key_source);
    pb_data_source chain_source;
    envoy__config__core__v3__data_source__init(&chain_source);
    set_bytes(&key_source, key);
    set_bytes(&chain_source, chain);
    certificate.private_key = &key_source;
    certificate.certificate_chain = &chain_source;
    secret.type_case = ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SECRET__TYPE_TLS_CERTIFICATE;
    secret.tls_certificate = &certificate;
    return pack(&secret, name, arena, ret_wire);
}

int proxy_secret_roots(const char *name, struct fl_span roots, struct fl_arena *arena, struct fl_span *ret_wire)
{
    pb_secret secret;
    envoy__extensions__transport_sockets__tls__v3__secret__init(&secret);
    pb_tls_validation validation;
    envoy__extensions__transport_sockets__tls__v3__certificate_validation_context__init(&validation);
    pb_data_source source;
    envoy__config__core__v3__data_source__init(&source);
    set_bytes(&source, roots);
    validation.trusted_ca = &source;
    secret.type_case = ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SECRET__TYPE_VALIDATION_CONTEXT;
    secret.validation_context = &validation;
    return pack(&secret, name, arena, ret_wire);
}
