/* FilterChainMatch → struct proxy_chain_match. */
#include "proxy/config/context.h"

/* Lower case; "*.example.com" becomes ".example.com". */
static int read_server_names(struct compile *compile, const pb_chain_match *message, struct proxy_chain_match *match)
{
    struct fl_span *names = compile_array(compile, message->n_server_names, sizeof(*names));
    if (names == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < message->n_server_names; i++) {
        struct compile_mark mark = compile_enter_at(compile, "server_names", i);
        const char *text = message->server_names[i];
        if (text[0] == '*' && text[1] == '.' && text[2] != '\0')
            text++;
        if (text[0] == '\0' || strchr(text, '*') != NULL || (text == message->server_names[i] && text[0] == '.'))
            return compile_fail(compile, "expected a DNS name, with \"*.\" in front or without, got \"%s\"",
                                message->server_names[i]);
        int result = compile_text(compile, text, &names[i]);
        if (result != 0)
            return result;
        for (char *c = (char *)(uintptr_t)names[i].data; *c != '\0'; c++)
            if (*c >= 'A' && *c <= 'Z')
                *c = (char)(*c - 'A' + 'a');
        compile_leave(compile, mark);
    }
    match->server_names = names;
    match->server_name_count = message->n_server_names;
    return 0;
}

static int read_source_ports(struct compile *compile, const pb_chain_match *message, struct proxy_chain_match *match)
{
    uint16_t *ports = compile_array(compile, message->n_source_ports, sizeof(*ports));
    if (ports == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < message->n_source_ports; i++) {
        if (message->source_ports[i] == 0 || message->source_ports[i] > UINT16_MAX) {
            compile_enter_at(compile, "source_ports", i);
            return compile_fail(compile, "expected a port from 1 to 65535, got %u", message->source_ports[i]);
        }
        ports[i] = (uint16_t)message->source_ports[i];
    }
    match->source_ports = ports;
    match->source_port_count = message->n_source_ports;
    return 0;
}

static int read_transport(struct compile *compile, const char *text, enum proxy_transport *ret_transport)
{
    if (text[0] == '\0')
        *ret_transport = PROXY_TRANSPORT_ANY;
    else if (strcmp(text, "raw_buffer") == 0)
        *ret_transport = PROXY_TRANSPORT_RAW;
    else if (strcmp(text, "tls") == 0)
        *ret_transport = PROXY_TRANSPORT_TLS;
    else
        return compile_fail_at(compile, "transport_protocol", "expected raw_buffer or tls, got \"%s\"", text);
    return 0;
}

static int read_lists(struct compile *compile, const pb_chain_match *message, struct proxy_chain_match *match)
{
    int result = compile_cidrs(compile, "prefix_ranges", message->prefix_ranges, message->n_prefix_ranges,
                               &match->prefixes, &match->prefix_count);
    if (result == 0)
        result = compile_cidrs(compile, "source_prefix_ranges", message->source_prefix_ranges,
                               message->n_source_prefix_ranges, &match->source_prefixes, &match->source_prefix_count);
    if (result == 0)
        result = compile_cidrs(compile, "direct_source_prefix_ranges", message->direct_source_prefix_ranges,
                               message->n_direct_source_prefix_ranges, &match->direct_source_prefixes,
                               &match->direct_source_prefix_count);
    if (result == 0)
        result = read_server_names(compile, message, match);
    if (result == 0)
        result = read_source_ports(compile, message, match);
    if (result == 0)
        result = compile_texts(compile, message->application_protocols, message->n_application_protocols,
                               &match->application_protocols);
    match->application_protocol_count = message->n_application_protocols;
    return result;
}

int compile_chain_match(struct compile *compile, const pb_chain_match *message, struct proxy_chain_match *match)
{
    *match = (struct proxy_chain_match){0};
    if (message == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "filter_chain_match");
    int result = COMPILE_REFUSE(compile, message, "address_suffix", "suffix_len");
    uint32_t port = 0;
    if (result == 0)
        result = compile_u32(compile, "destination_port", message->destination_port, 1, UINT16_MAX, &port);
    match->destination_port = (uint16_t)port;
    if (result == 0)
        result = read_transport(compile, message->transport_protocol, &match->transport);
    switch ((int)message->source_type) {
    case ENVOY__CONFIG__LISTENER__V3__FILTER_CHAIN_MATCH__CONNECTION_SOURCE_TYPE__SAME_IP_OR_LOOPBACK:
        match->source_type = PROXY_SOURCE_LOCAL;
        break;
    case ENVOY__CONFIG__LISTENER__V3__FILTER_CHAIN_MATCH__CONNECTION_SOURCE_TYPE__EXTERNAL:
        match->source_type = PROXY_SOURCE_EXTERNAL;
        break;
    default:
        break;
    }
    if (result == 0)
        result = read_lists(compile, message, match);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}
