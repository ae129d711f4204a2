/* The filter-chain picker against an oracle that narrows the set of chains step by step, as Envoy's nested maps do. The
 * bytes give chains and a query over a small world, so that values meet. */
#include "proxy/snapshot/snapshot.h"

#include <stdlib.h>

#define CHAINS 6

static const uint8_t *input;
static size_t input_left;

static unsigned take(unsigned below)
{
    if (input_left == 0)
        return 0;
    input_left--;
    return *input++ % below;
}

static const struct fl_span names[] = {{"a.b.c", 5}, {".b.c", 4}, {".c", 2}, {"b.c", 3}, {"c", 1}, {"x.a.b.c", 7}};
static const struct fl_span protocols[] = {{"h2", 2}, {"http/1.1", 8}, {"x", 1}};
static const struct fl_cidr cidrs[] = {{AF_INET, {10}, 8}, {AF_INET, {10, 1}, 16}, {AF_INET, {10, 1, 2, 3}, 32},
                                       {AF_INET, {0}, 0},  {AF_INET6, {0xfd}, 8},  {AF_INET6, {0xfd, 1}, 16},
                                       {AF_INET6, {0}, 0}, {AF_INET, {127}, 8},    {AF_INET, {10, 0x80}, 9}};
static const uint16_t ports[] = {80, 443, 8080};
static const char *const addresses[] = {"10.1.2.3",  "10.1.9.9", "10.200.0.1", "192.0.2.1",
                                        "127.0.0.1", "fd01::1",  "fe80::1",    "::1"};

struct memory {
    struct fl_span names[2], protocols[2];
    struct fl_cidr destination[2], direct[2], source[2];
    uint16_t ports[2];
};

static const struct fl_cidr *take_cidrs(struct fl_cidr *to, size_t *ret_count)
{
    *ret_count = take(3);
    for (size_t i = 0; i < *ret_count; i++)
        to[i] = cidrs[take(FL_COUNT(cidrs))];
    return to;
}

static void take_match(struct proxy_chain_match *match, struct memory *memory)
{
    *match = (struct proxy_chain_match){.destination_port = take(2) ? ports[take(3)] : 0,
                                        .transport = (enum proxy_transport)take(3),
                                        .source_type = (enum proxy_source_type)take(3)};
    match->prefixes = take_cidrs(memory->destination, &match->prefix_count);
    match->direct_source_prefixes = take_cidrs(memory->direct, &match->direct_source_prefix_count);
    match->source_prefixes = take_cidrs(memory->source, &match->source_prefix_count);
    match->server_names = memory->names;
    match->server_name_count = take(3);
    for (size_t i = 0; i < match->server_name_count; i++)
        memory->names[i] = names[take(FL_COUNT(names))];
    match->application_protocols = memory->protocols;
    match->application_protocol_count = take(3);
    for (size_t i = 0; i < match->application_protocol_count; i++)
        memory->protocols[i] = protocols[take(FL_COUNT(protocols))];
    match->source_ports = memory->ports;
    match->source_port_count = take(3);
    for (size_t i = 0; i < match->source_port_count; i++)
        memory->ports[i] = ports[take(3)];
}

/* -- the oracle: at each step find the most specific key that fits among what is left, and keep who has it -- */

static bool left[CHAINS];

static bool inside(const struct fl_cidr *cidr, const struct proxy_address *address)
{
    struct fl_span bytes = proxy_address_bytes(address);
    if (cidr->family != address->any.sa_family)
        return false;
    for (unsigned bit = 0; bit < cidr->prefix; bit++)
        if (((cidr->address[bit / 8] ^ (unsigned char)bytes.data[bit / 8]) >> (7 - bit % 8) & 1) != 0)
            return false;
    return true;
}

static bool has_prefix(const struct fl_cidr *list, size_t count, const struct proxy_address *address, int len)
{
    if (count == 0)
        return len == 0;
    for (size_t i = 0; i < count; i++)
        if (list[i].prefix == len && inside(&list[i], address))
            return true;
    return false;
}

static bool has_name(const struct proxy_chain_match *match, struct fl_span name)
{
    for (size_t i = 0; i < match->server_name_count; i++)
        if (fl_span_eq(match->server_names[i], name))
            return true;
    return name.len == 0 && match->server_name_count == 0;
}

static bool has_protocol(const struct proxy_chain_match *match, struct fl_span protocol)
{
    for (size_t i = 0; i < match->application_protocol_count; i++)
        if (fl_span_eq(match->application_protocols[i], protocol))
            return true;
    return protocol.len == 0 && match->application_protocol_count == 0;
}

static bool has_source_port(const struct proxy_chain_match *match, uint16_t port)
{
    for (size_t i = 0; i < match->source_port_count; i++)
        if (match->source_ports[i] == port)
            return true;
    return port == 0 && match->source_port_count == 0;
}

/* keep(has): narrows to the chains that have the key, where any has. */
#define NARROW(condition)                                                                                              \
    ({                                                                                                                 \
        bool any_ = false;                                                                                             \
        for (size_t i = 0; i < CHAINS; i++) {                                                                          \
            const struct proxy_chain_match *match = &chains[i].match;                                                  \
            any_ = any_ || (left[i] && (condition));                                                                   \
        }                                                                                                              \
        for (size_t i = 0; any_ && i < CHAINS; i++) {                                                                  \
            const struct proxy_chain_match *match = &chains[i].match;                                                  \
            left[i] = left[i] && (condition);                                                                          \
        }                                                                                                              \
        any_;                                                                                                          \
    })

static bool narrow_name(const struct proxy_filter_chain *chains, struct fl_span name)
{
    if (name.len > 0 && NARROW(has_name(match, name)))
        return true;
    for (size_t at = 1; at < name.len; at++)
        if (name.data[at] == '.' && NARROW(has_name(match, fl_span_from(name, at))))
            return true;
    return NARROW(has_name(match, FL_SPAN("")));
}

static bool narrow_protocol(const struct proxy_filter_chain *chains, const struct proxy_chain_query *query)
{
    for (size_t k = 0; k < query->application_protocol_count; k++)
        if (NARROW(has_protocol(match, query->application_protocols[k])))
            return true;
    return NARROW(has_protocol(match, FL_SPAN("")));
}

static bool is_local(const struct proxy_chain_query *query)
{
    char source[PROXY_ADDRESS_TEXT_MAX];
    proxy_address_print(query->source, source);
    return strncmp(source, "127.", 4) == 0 || strncmp(source, "[::1]", 5) == 0 ||
           (query->source->any.sa_family == query->destination->any.sa_family &&
            fl_span_eq(proxy_address_bytes(query->source), proxy_address_bytes(query->destination)));
}

#define NARROW_PREFIX(list, count, address)                                                                            \
    ({                                                                                                                 \
        bool found_ = false;                                                                                           \
        for (int len = 128; len >= 0 && !found_; len--)                                                                \
            found_ = NARROW(has_prefix(match->list, match->count, address, len));                                      \
        found_;                                                                                                        \
    })

static bool narrow_all(const struct proxy_filter_chain *chains, const struct proxy_chain_query *query)
{
    uint16_t port = proxy_address_port(query->destination), from = proxy_address_port(query->source);
    enum proxy_transport transport = query->transport == PROXY_TRANSPORT_ANY ? PROXY_TRANSPORT_RAW : query->transport;
    enum proxy_source_type type = is_local(query) ? PROXY_SOURCE_LOCAL : PROXY_SOURCE_EXTERNAL;
    return (NARROW(match->destination_port == port) || NARROW(match->destination_port == 0)) &&
           NARROW_PREFIX(prefixes, prefix_count, query->destination) && narrow_name(chains, query->server_name) &&
           (NARROW(match->transport == transport) || NARROW(match->transport == PROXY_TRANSPORT_ANY)) &&
           narrow_protocol(chains, query) &&
           NARROW_PREFIX(direct_source_prefixes, direct_source_prefix_count, query->direct_source) &&
           (NARROW(match->source_type == type) || NARROW(match->source_type == PROXY_SOURCE_ANY)) &&
           NARROW_PREFIX(source_prefixes, source_prefix_count, query->source) &&
           (NARROW(has_source_port(match, from)) || NARROW(has_source_port(match, 0)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = data;
    input_left = size;
    static struct proxy_filter_chain chains[CHAINS];
    static struct memory memory[CHAINS];
    struct proxy_address destination, source, direct;
    struct fl_span offered[2];
    struct proxy_chain_query query = {.destination = &destination, .source = &source, .direct_source = &direct};
    query.transport = (enum proxy_transport)take(3);
    if (proxy_address_parse(fl_span_str(addresses[take(8)]), ports[take(3)], &destination) != 0 ||
        proxy_address_parse(fl_span_str(addresses[take(8)]), ports[take(3)], &source) != 0 ||
        proxy_address_parse(fl_span_str(addresses[take(8)]), 1, &direct) != 0)
        abort();
    query.server_name = take(2) ? names[take(FL_COUNT(names))] : (struct fl_span){NULL, 0};
    if (query.server_name.len > 0 && query.server_name.data[0] == '.')
        query.server_name = FL_SPAN("q.b.c");
    query.application_protocols = offered;
    query.application_protocol_count = take(3);
    for (size_t i = 0; i < query.application_protocol_count; i++)
        offered[i] = protocols[take(FL_COUNT(protocols))];
    for (size_t i = 0; i < CHAINS; i++) {
        take_match(&chains[i].match, &memory[i]);
        left[i] = true;
        for (size_t k = 0; k < i; k++) /* what the compiler refuses */
            if (proxy_chain_match_overlap(&chains[i].match, &chains[k].match))
                return 0;
    }
    struct proxy_listener listener = {.chains = chains, .chain_count = CHAINS};
    const struct proxy_filter_chain *picked = proxy_listener_pick(&listener, &query), *expected = NULL;
    size_t count = 0;
    if (narrow_all(chains, &query)) {
        for (size_t i = 0; i < CHAINS; i++) {
            count += left[i];
            expected = left[i] ? &chains[i] : expected;
        }
        if (count != 1)
            abort();
    }
    if (picked != expected)
        abort();
    return 0;
}
