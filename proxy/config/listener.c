/* Listener messages → struct proxy_listener. */
#include "proxy/config/context.h"
#include "proxy/net/conn.h"

#include <errno.h>

#define CHAIN_TLS_TIMEOUT_MS 15000

/* -- listener filters -- */

static int read_proxy_protocol(struct compile *compile, const ProtobufCMessage *filter, unsigned *seen,
                               struct proxy_listener *listener)
{
    const Envoy__Extensions__Filters__Listener__ProxyProtocol__V3__ProxyProtocol *message =
        (const Envoy__Extensions__Filters__Listener__ProxyProtocol__V3__ProxyProtocol *)filter;
    if (*seen != 0)
        return compile_fail(compile,
                            "the filter must be the first, and there once: its header comes before everything");
    *seen |= 8u;
    int result = COMPILE_REFUSE(compile, message, "rules", "pass_through_tlvs");
    listener->proxy_protocol = true;
    listener->proxy_protocol_optional = message->allow_requests_without_proxy_protocol != 0;
    for (size_t i = 0; i < message->n_disallowed_versions; i++)
        listener->proxy_protocol_refused |= message->disallowed_versions[i] == 0 ? 1u << 1 : 1u << 2;
    return result;
}

static int read_listener_filter(struct compile *compile, const pb_listener_filter *message, unsigned *seen,
                                struct proxy_listener *listener)
{
    int result = compile_required(compile, "name", message->name);
    if (result == 0)
        result = COMPILE_REFUSE(compile, message, "config_discovery", "filter_disabled");
    if (result != 0)
        return result;
    if (message->config_type_case != ENVOY__CONFIG__LISTENER__V3__LISTENER_FILTER__CONFIG_TYPE_TYPED_CONFIG)
        return compile_fail_at(compile, "typed_config", "must be set");
    compile_enter(compile, "typed_config");
    ProtobufCMessage *filter;
    result = compile_unpack(compile, message->typed_config, NULL, &filter);
    if (result != 0)
        return result;
    if (filter->descriptor == &envoy__extensions__filters__listener__proxy_protocol__v3__proxy_protocol__descriptor)
        return read_proxy_protocol(compile, filter, seen, listener);
    bool *place = NULL;
    if (filter->descriptor == &envoy__extensions__filters__listener__original_dst__v3__original_dst__descriptor)
        place = &listener->original_dst;
    else if (filter->descriptor == &envoy__extensions__filters__listener__tls_inspector__v3__tls_inspector__descriptor)
        place = &listener->tls_inspector;
    else if (filter->descriptor ==
             &envoy__extensions__filters__listener__http_inspector__v3__http_inspector__descriptor)
        place = &listener->http_inspector;
    if (place == NULL)
        return compile_fail(compile, "%s is not a listener filter that is supported", message->typed_config->type_url);
    unsigned kind = place == &listener->original_dst ? 1u : place == &listener->tls_inspector ? 2u : 4u;
    if ((*seen & kind) != 0)
        return compile_fail(compile, "the filter is there twice");
    *seen |= kind;
    *place = true;
    return 0;
}

static int read_listener_filters(struct compile *compile, const pb_listener *message, struct proxy_listener *listener)
{
    unsigned seen = 0;
    for (size_t i = 0; i < message->n_listener_filters; i++) {
        struct compile_mark mark = compile_enter_at(compile, "listener_filters", i);
        int result = read_listener_filter(compile, message->listener_filters[i], &seen, listener);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    return 0;
}

/* -- chains -- */

static int read_chain(struct compile *compile, const pb_chain *message, struct proxy_filter_chain *chain)
{
    if (compile_bool(message->use_proxy_proto, false))
        return compile_fail_at(compile, "use_proxy_proto", "use_proxy_proto is not supported");
    chain->tls_handshake_timeout_ms = CHAIN_TLS_TIMEOUT_MS;
    int result = compile_text(compile, message->name, &chain->name);
    if (result == 0)
        result = compile_ms(compile, "transport_socket_connect_timeout", message->transport_socket_connect_timeout,
                            &chain->tls_handshake_timeout_ms);
    if (result == 0)
        result = compile_chain_match(compile, message->filter_chain_match, &chain->match);
    if (result == 0)
        result = compile_transport(compile, message->transport_socket, true, &chain->tls);
    if (result == 0)
        result = compile_filters(compile, message, chain);
    return result;
}

static int check_against(struct compile *compile, const struct proxy_filter_chain *chains, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (chains[index].name.len > 0 && fl_span_eq(chains[i].name, chains[index].name))
            return compile_fail_at(compile, "name", "a filter chain \"%s\" is there already", chains[index].name.data);
        if (proxy_chain_match_overlap(&chains[i].match, &chains[index].match))
            return compile_fail_at(compile, "filter_chain_match", "matches the same connections as filter_chains[%zu]",
                                   i);
    }
    return 0;
}

static int read_chains(struct compile *compile, const pb_listener *message, struct proxy_listener *listener)
{
    if (message->n_filter_chains > PROXY_CHAINS_MAX)
        return compile_fail_at(compile, "filter_chains", "more than %d filter chains", PROXY_CHAINS_MAX);
    if (message->n_filter_chains == 0 && message->default_filter_chain == NULL)
        return compile_fail_at(compile, "filter_chains", "filter_chains or default_filter_chain must be set");
    struct proxy_filter_chain *chains = compile_array(compile, message->n_filter_chains + 1, sizeof(*chains));
    if (chains == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < message->n_filter_chains; i++) {
        struct compile_mark mark = compile_enter_at(compile, "filter_chains", i);
        int result = read_chain(compile, message->filter_chains[i], &chains[i]);
        if (result == 0)
            result = check_against(compile, chains, i);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    listener->chains = chains;
    listener->chain_count = message->n_filter_chains;
    if (message->default_filter_chain == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "default_filter_chain");
    struct proxy_filter_chain *fallback = &chains[message->n_filter_chains];
    if (message->default_filter_chain->filter_chain_match != NULL)
        return compile_fail_at(compile, "filter_chain_match", "the default chain has none");
    int result = read_chain(compile, message->default_filter_chain, fallback);
    listener->default_chain = fallback;
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

/* A chain that asks for what only a ClientHello tells needs the inspector: Envoy puts it in too. */
static void add_inspector(struct compile *compile, struct proxy_listener *listener)
{
    for (size_t i = 0; i < listener->chain_count && !listener->tls_inspector; i++) {
        const struct proxy_chain_match *match = &listener->chains[i].match;
        if (match->transport != PROXY_TRANSPORT_TLS && match->server_name_count == 0 &&
            (match->application_protocol_count == 0 || listener->http_inspector))
            continue;
        compile_warn(compile, "filter_chains[%zu] matches on TLS, so the tls_inspector is added", i);
        listener->tls_inspector = true;
    }
}

/* -- the listener -- */

/* metadata.filter_metadata.fairlead.lenient: true. */
static bool is_lenient(const pb_listener *message)
{
    const pb_struct *ours = compile_metadata(message->metadata, FL_METADATA);
    for (size_t i = 0; ours != NULL && i < ours->n_fields; i++)
        if (strcmp(ours->fields[i]->key, FL_METADATA_LENIENT) == 0)
            return ours->fields[i]->value != NULL &&
                   ours->fields[i]->value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE &&
                   ours->fields[i]->value->bool_value;
    return false;
}

static int read_settings(struct compile *compile, const pb_listener *message, struct proxy_listener *listener)
{
    listener->inspect_timeout_ms = 15000;
    listener->buffer_limit_bytes = PROXY_CONN_HIGH;
    listener->backlog = 4096;
    int result = compile_ms(compile, "listener_filters_timeout", message->listener_filters_timeout,
                            &listener->inspect_timeout_ms);
    if (result == 0)
        result = compile_u32(compile, "per_connection_buffer_limit_bytes", message->per_connection_buffer_limit_bytes,
                             1, UINT32_MAX, &listener->buffer_limit_bytes);
    if (result == 0)
        result = compile_u32(compile, "tcp_backlog_size", message->tcp_backlog_size, 1, INT32_MAX, &listener->backlog);
    listener->continue_on_timeout = message->continue_on_listener_filters_timeout != 0;
    listener->transparent = compile_bool(message->transparent, false);
    listener->reuse_port = compile_bool(message->enable_reuse_port, true);
    listener->bind_to_port = message->deprecated_v1 == NULL || compile_bool(message->deprecated_v1->bind_to_port, true);
    listener->bind_to_port = compile_bool(message->bind_to_port, listener->bind_to_port);
    if (message->traffic_direction == ENVOY__CONFIG__CORE__V3__TRAFFIC_DIRECTION__INBOUND)
        listener->direction = PROXY_INBOUND;
    else if (message->traffic_direction == ENVOY__CONFIG__CORE__V3__TRAFFIC_DIRECTION__OUTBOUND)
        listener->direction = PROXY_OUTBOUND;
    return result;
}

static int read_name(struct compile *compile, const pb_listener *message, struct proxy_listener *listener)
{
    if (message->name[0] != '\0')
        return compile_text(compile, message->name, &listener->name);
    char text[PROXY_ADDRESS_TEXT_MAX];
    proxy_address_print(&listener->address, text);
    return compile_text(compile, text, &listener->name);
}

static int read_listener(struct compile *compile, const pb_listener *message, struct proxy_listener *listener)
{
    int result = COMPILE_REFUSE(compile, message, "additional_addresses", "fcds_config", "udp_listener_config",
                                "api_listener", "internal_listener");
    compile->lenient = is_lenient(message);
    listener->hand_over = listener->original_dst = compile_bool(message->use_original_dst, false);
    if (result == 0) {
        struct compile_mark mark = compile_enter(compile, "address");
        result = compile_address(compile, message->address, &listener->address, &listener->ipv4_compat);
        compile_leave(compile, mark);
    }
    if (result == 0)
        result = read_name(compile, message, listener);
    if (result == 0)
        result = read_settings(compile, message, listener);
    if (result == 0)
        result = read_listener_filters(compile, message, listener);
    if (result == 0)
        result = read_chains(compile, message, listener);
    if (result == 0)
        add_inspector(compile, listener);
    return result;
}

int compile_listener(struct compile *compile, const pb_listener *message, const struct proxy_listener **ret_listener)
{
    struct proxy_listener *listener = compile_array(compile, 1, sizeof(*listener));
    if (listener == NULL)
        return compile_no_memory(compile);
    listener->unit = compile->unit;
    int result = read_listener(compile, message, listener);
    if (result == 0)
        result = compile_slot(compile, PROXY_SLOT_LISTENER, listener->name, &listener->slot);
    if (result == 0)
        *ret_listener = listener;
    return result;
}
