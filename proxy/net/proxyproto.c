#include "proxy/net/proxyproto.h"

#include <arpa/inet.h>
#include <stdio.h>

static const char signature[12] = {'\r', '\n', '\r', '\n', '\0', '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

#define V4_SIZE 12u /* two addresses of 4, two ports */
#define V6_SIZE 36u

/* --- version 1: one line of text ---------------------------------------------------------------------------------- */

/* 1 to 5 digits without a leading zero, ≤ 65535. */
static bool read_port(struct fl_span text, uint16_t *ret_port)
{
    uint64_t value;
    if (text.len == 0 || text.len > 5 || (text.len > 1 && text.data[0] == '0') ||
        !fl_span_to_u64(text, UINT16_MAX, &value))
        return false;
    *ret_port = (uint16_t)value;
    return true;
}

static bool read_address(struct fl_span text, struct fl_span port, int family, struct proxy_address *ret_address)
{
    uint16_t number;
    if (!read_port(port, &number) || text.len == 0)
        return false;
    /* "TCP6 ::ffff:192.0.2.1" is an IPv4 client of a dual-stack socket, and counts as such. */
    bool v6 = memchr(text.data, ':', text.len) != NULL;
    return v6 == (family == AF_INET6) && proxy_address_parse(text, number, ret_address) == 0;
}

/* "TCP4 192.0.2.1 192.0.2.2 51000 443": exactly one space between. */
static enum proxy_proto_result read_line(struct fl_span line, struct proxy_proto *header)
{
    struct fl_span parts[6];
    size_t count = 0;
    for (struct fl_span rest = line; count < FL_COUNT(parts) && fl_span_split(&rest, ' ', &parts[count]);)
        count++;
    if (count > 0 && fl_span_eq_str(parts[0], "UNKNOWN")) /* what follows is to be ignored */
        return PROXY_PROTO_DONE;
    bool v4 = fl_span_eq_str(parts[0], "TCP4");
    if (count != 5 || (!v4 && !fl_span_eq_str(parts[0], "TCP6")))
        return PROXY_PROTO_BAD;
    int family = v4 ? AF_INET : AF_INET6;
    struct proxy_address source, destination;
    if (!read_address(parts[1], parts[3], family, &source) || !read_address(parts[2], parts[4], family, &destination))
        return PROXY_PROTO_BAD;
    header->source = source;
    header->destination = destination;
    return PROXY_PROTO_DONE;
}

static enum proxy_proto_result parse_text(struct fl_span bytes, struct proxy_proto *header)
{
    size_t room = bytes.len < PROXY_PROTO_V1_MAX ? bytes.len : PROXY_PROTO_V1_MAX;
    size_t end = fl_span_find(fl_span_make(bytes.data, room), '\n');
    if (end == room)
        return room < PROXY_PROTO_V1_MAX ? PROXY_PROTO_MORE : PROXY_PROTO_BAD;
    if (end < 7 || bytes.data[end - 1] != '\r')
        return PROXY_PROTO_BAD;
    header->version = 1;
    header->size = end + 1;
    return read_line(fl_span_make(bytes.data + 6, end - 7), header);
}

/* --- version 2: binary -------------------------------------------------------------------------------------------- */

static unsigned byte_at(struct fl_span bytes, size_t at)
{
    return (unsigned char)bytes.data[at];
}

static void take_address(const char *at, const char *port, bool v4, struct proxy_address *ret_address)
{
    struct sockaddr_storage raw = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&raw;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&raw;
    raw.ss_family = v4 ? AF_INET : AF_INET6;
    if (v4) {
        memcpy(&in->sin_addr, at, 4);
        memcpy(&in->sin_port, port, 2);
    } else {
        memcpy(&in6->sin6_addr, at, 16);
        memcpy(&in6->sin6_port, port, 2);
    }
    (void)!proxy_address_from_sockaddr(&raw, ret_address); /* of these two families it takes all */
}

static enum proxy_proto_result parse_binary(struct fl_span bytes, struct proxy_proto *header)
{
    if (bytes.len < PROXY_PROTO_V2_HEAD)
        return PROXY_PROTO_MORE;
    unsigned command = byte_at(bytes, 12), family = byte_at(bytes, 13);
    size_t size = byte_at(bytes, 14) << 8 | byte_at(bytes, 15);
    if ((command != 0x20 && command != 0x21) || family >> 4 > 3 || (family & 15) > 2 || size > PROXY_PROTO_BODY_MAX)
        return PROXY_PROTO_BAD;
    bool told = command == 0x21 && (family == 0x11 || family == 0x21), v4 = family == 0x11;
    if (told && size < (v4 ? V4_SIZE : V6_SIZE))
        return PROXY_PROTO_BAD;
    if (command == 0x21 && (family & 15) == 2) /* datagrams do not come over a connection */
        return PROXY_PROTO_BAD;
    if (bytes.len < PROXY_PROTO_V2_HEAD + size)
        return PROXY_PROTO_MORE;
    header->version = 2;
    header->size = PROXY_PROTO_V2_HEAD + size;
    if (told) {
        const char *at = bytes.data + PROXY_PROTO_V2_HEAD;
        size_t width = v4 ? 4 : 16;
        take_address(at, at + 2 * width, v4, &header->source);
        take_address(at + width, at + 2 * width + 2, v4, &header->destination);
    }
    return PROXY_PROTO_DONE;
}

/* --- both --------------------------------------------------------------------------------------------------------- */

/* How far they agree: -1 not at all, 0 as far as they go, 1 wholly. */
static int begins(struct fl_span bytes, struct fl_span with)
{
    size_t both = bytes.len < with.len ? bytes.len : with.len;
    if (both > 0 && memcmp(bytes.data, with.data, both) != 0)
        return -1;
    return both == with.len ? 1 : 0;
}

enum proxy_proto_result proxy_proto_parse(struct fl_span bytes, struct proxy_proto *ret_header)
{
    struct proxy_proto header;
    memset(&header, 0, sizeof(header));
    int text = begins(bytes, FL_SPAN("PROXY ")), binary = begins(bytes, fl_span_make(signature, sizeof(signature)));
    if (text < 0 && binary < 0)
        return PROXY_PROTO_NONE;
    if (text <= 0 && binary <= 0)
        return PROXY_PROTO_MORE;
    enum proxy_proto_result result = text > 0 ? parse_text(bytes, &header) : parse_binary(bytes, &header);
    if (result != PROXY_PROTO_DONE)
        return result;
    /* A v4-mapped address on one side alone: no pair that could be dialled or written again. */
    if (header.source.any.sa_family != header.destination.any.sa_family)
        return PROXY_PROTO_BAD;
    *ret_header = header;
    return PROXY_PROTO_DONE;
}

static size_t write_text(bool known, const struct proxy_address *source, const struct proxy_address *destination,
                         char text[PROXY_PROTO_WRITE_MAX])
{
    if (!known)
        return (size_t)snprintf(text, PROXY_PROTO_WRITE_MAX, "PROXY UNKNOWN\r\n");
    int family = source->any.sa_family;
    char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
    (void)inet_ntop(family, proxy_address_bytes(source).data, from, sizeof(from));
    (void)inet_ntop(family, proxy_address_bytes(destination).data, to, sizeof(to));
    return (size_t)snprintf(text, PROXY_PROTO_WRITE_MAX, "PROXY %s %s %s %u %u\r\n",
                            family == AF_INET ? "TCP4" : "TCP6", from, to, proxy_address_port(source),
                            proxy_address_port(destination));
}

static char *put(char *at, struct fl_span bytes)
{
    memcpy(at, bytes.data, bytes.len);
    return at + bytes.len;
}

static char *put_port(char *at, const struct proxy_address *address)
{
    uint16_t port = htons(proxy_address_port(address));
    return put(at, fl_span_make(&port, sizeof(port)));
}

static size_t write_binary(bool known, const struct proxy_address *source, const struct proxy_address *destination,
                           char text[PROXY_PROTO_WRITE_MAX])
{
    bool v4 = known && source->any.sa_family == AF_INET;
    size_t size = !known ? 0 : v4 ? V4_SIZE : V6_SIZE;
    char *at = put(text, fl_span_make(signature, sizeof(signature)));
    *at++ = known ? 0x21 : 0x20;
    *at++ = !known ? 0x00 : v4 ? 0x11 : 0x21;
    *at++ = 0;
    *at++ = (char)size;
    if (known) {
        at = put(at, proxy_address_bytes(source));
        at = put(at, proxy_address_bytes(destination));
        at = put_port(at, source);
        at = put_port(at, destination);
    }
    return (size_t)(at - text);
}

size_t proxy_proto_write(unsigned version, const struct proxy_address *source, const struct proxy_address *destination,
                         char text[PROXY_PROTO_WRITE_MAX])
{
    bool known = proxy_address_is_set(source) && source->any.sa_family == destination->any.sa_family;
    return version == 1 ? write_text(known, source, destination, text) : write_binary(known, source, destination, text);
}
