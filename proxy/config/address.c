/* Addresses and address ranges of messages. */
#include "proxy/config/context.h"
#include "proxy/upstream/resolve.h"

#include <errno.h>

int compile_socket_address(struct compile *compile, const pb_socket_address *message, struct proxy_address *ret_address)
{
    if (message->protocol != ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PROTOCOL__TCP)
        return compile_fail_at(compile, "protocol", "UDP is not supported");
    int result = COMPILE_REFUSE(compile, message, "named_port", "resolver_name", "network_namespace_filepath");
    if (result == 0)
        result = compile_required(compile, "address", message->address);
    if (result != 0)
        return result;
    if (message->port_specifier_case != ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE)
        return compile_fail_at(compile, "port_value", "must be set");
    if (message->port_value > UINT16_MAX)
        return compile_fail_at(compile, "port_value", "expected a port from 0 to 65535, got %u", message->port_value);
    if (compile->names && proxy_resolve_is_name(fl_span_str(message->address))) {
        memset(ret_address, 0, sizeof(*ret_address));
        return 0;
    }
    if (proxy_address_parse(fl_span_str(message->address), (uint16_t)message->port_value, ret_address) != 0)
        return compile_fail_at(compile, "address", "expected an IPv4 or IPv6 address, got \"%s\"", message->address);
    return 0;
}

int compile_address(struct compile *compile, const pb_address *message, struct proxy_address *ret_address,
                    bool *ret_ipv4_compat)
{
    if (message == NULL)
        return compile_fail(compile, "an address must be set");
    int result = COMPILE_REFUSE(compile, message, "pipe", "envoy_internal_address");
    if (result != 0)
        return result;
    if (message->address_case != ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS)
        return compile_fail(compile, "socket_address must be set");
    compile_enter(compile, "socket_address");
    struct proxy_address address;
    result = compile_socket_address(compile, message->socket_address, &address);
    if (result != 0)
        return result;
    bool compat = message->socket_address->ipv4_compat != 0;
    if (compat && address.any.sa_family != AF_INET6)
        return compile_fail_at(compile, "ipv4_compat", "only an IPv6 address may have it");
    *ret_address = address;
    if (ret_ipv4_compat != NULL)
        *ret_ipv4_compat = compat;
    return 0;
}

/* Host bits are cleared, as Envoy does. */
static void mask(struct fl_cidr *cidr)
{
    size_t size = cidr->family == AF_INET ? 4 : 16;
    for (size_t i = 0; i < size; i++) {
        unsigned bits = cidr->prefix > i * 8 ? cidr->prefix - (unsigned)i * 8 : 0;
        if (bits < 8)
            cidr->address[i] &= (uint8_t)(0xff00u >> bits);
    }
}

static int read_cidr(struct compile *compile, const pb_cidr *message, struct fl_cidr *cidr)
{
    struct proxy_address base;
    if (proxy_address_parse(fl_span_str(message->address_prefix), 0, &base) != 0)
        return compile_fail_at(compile, "address_prefix", "expected an IPv4 or IPv6 address, got \"%s\"",
                               message->address_prefix);
    struct fl_span bytes = proxy_address_bytes(&base);
    uint32_t prefix = 0;
    int result = compile_u32(compile, "prefix_len", message->prefix_len, 0, (uint32_t)bytes.len * 8, &prefix);
    if (result != 0)
        return result;
    *cidr = (struct fl_cidr){.family = base.any.sa_family, .prefix = (uint8_t)prefix};
    memcpy(cidr->address, bytes.data, bytes.len);
    mask(cidr);
    return 0;
}

int compile_cidr(struct compile *compile, const char *field, const pb_cidr *range, struct fl_cidr *cidr)
{
    struct compile_mark mark = compile_enter(compile, field);
    int result = read_cidr(compile, range, cidr);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

int compile_cidrs(struct compile *compile, const char *field, pb_cidr *const *ranges, size_t count,
                  const struct fl_cidr **ret_cidrs, size_t *ret_count)
{
    struct fl_cidr *cidrs = compile_array(compile, count, sizeof(*cidrs));
    if (cidrs == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < count; i++) {
        struct compile_mark mark = compile_enter_at(compile, field, i);
        int result = read_cidr(compile, ranges[i], &cidrs[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    *ret_cidrs = cidrs;
    *ret_count = count;
    return 0;
}
