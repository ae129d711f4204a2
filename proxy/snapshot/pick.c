/* The filter-chain picker.
 *
 * Envoy builds nested maps, one per step of the precedence, and walks them without a way back. The same choice without
 * the maps: give each chain one number per step (how specific the value is by which it fits; ANY where it names none;
 * NO where it names some and none fits), and take the chain whose row of numbers is the greatest, compared step by
 * step. Where the best row ends in NO, the chain that the maps would have led to does not fit, and there is no other:
 * the default. Equal numbers at a step mean equal values there (two prefixes of one length that hold the same address
 * are the same prefix), so that the maps would have led to both.
 */
#include "proxy/snapshot/snapshot.h"

enum { NO = -1, ANY = 0 };

enum step {
    STEP_PORT,
    STEP_PREFIX,
    STEP_SERVER_NAME,
    STEP_TRANSPORT,
    STEP_APPLICATION,
    STEP_DIRECT_SOURCE,
    STEP_SOURCE_TYPE,
    STEP_SOURCE,
    STEP_SOURCE_PORT,
    STEPS
};

static bool cidr_contains(const struct fl_cidr *cidr, const struct proxy_address *address)
{
    return address != NULL && proxy_address_in(address, cidr);
}

/* A list that is empty stands for every address: it is as specific as a prefix of length 0 (Envoy puts both into the
 * same place), so that they compare as equal. */
static int step_prefix(const struct fl_cidr *cidrs, size_t count, const struct proxy_address *address)
{
    int best = count == 0 ? 1 : NO;
    for (size_t i = 0; i < count; i++)
        if (cidr_contains(&cidrs[i], address) && cidrs[i].prefix + 1 > best)
            best = cidrs[i].prefix + 1;
    return best;
}

/* Exact beats every wildcard; of wildcards the longer one. "*.example.com" fits any depth below, not the name itself.
 */
static int step_server_name(const struct proxy_chain_match *match, struct fl_span name)
{
    int best = match->server_name_count == 0 ? ANY : NO;
    for (size_t i = 0; i < match->server_name_count; i++) {
        struct fl_span want = match->server_names[i];
        int score = NO;
        if (fl_span_eq_nocase(want, name))
            score = INT32_MAX;
        else if (want.data[0] == '.' && name.len > want.len &&
                 fl_span_eq_nocase(fl_span_from(name, name.len - want.len), want))
            score = (int)want.len;
        if (score > best)
            best = score;
    }
    return best;
}

static int step_transport(const struct proxy_chain_match *match, enum proxy_transport transport)
{
    if (match->transport == PROXY_TRANSPORT_ANY)
        return ANY;
    return match->transport == (transport == PROXY_TRANSPORT_ANY ? PROXY_TRANSPORT_RAW : transport) ? 1 : NO;
}

/* The earlier the client lists it, the better. */
static int step_application(const struct proxy_chain_match *match, const struct proxy_chain_query *query)
{
    if (match->application_protocol_count == 0)
        return ANY;
    for (size_t k = 0; k < query->application_protocol_count; k++)
        for (size_t i = 0; i < match->application_protocol_count; i++)
            if (fl_span_eq(match->application_protocols[i], query->application_protocols[k]))
                return (int)(query->application_protocol_count - k);
    return NO;
}

static bool is_loopback(const struct proxy_address *address)
{
    if (address->any.sa_family == AF_INET)
        return ((const uint8_t *)&address->v4.sin_addr)[0] == 127;
    return address->any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

static bool is_local(const struct proxy_chain_query *query)
{
    if (query->source == NULL)
        return false;
    return is_loopback(query->source) ||
           (query->destination != NULL && query->destination->any.sa_family == query->source->any.sa_family &&
            fl_span_eq(proxy_address_bytes(query->source), proxy_address_bytes(query->destination)));
}

static int step_source_type(const struct proxy_chain_match *match, const struct proxy_chain_query *query)
{
    if (match->source_type == PROXY_SOURCE_ANY)
        return ANY;
    return (match->source_type == PROXY_SOURCE_LOCAL) == is_local(query) ? 1 : NO;
}

static int step_source_port(const struct proxy_chain_match *match, const struct proxy_address *source)
{
    if (match->source_port_count == 0)
        return ANY;
    for (size_t i = 0; source != NULL && i < match->source_port_count; i++)
        if (match->source_ports[i] == proxy_address_port(source))
            return 1;
    return NO;
}

static int step_port(const struct proxy_chain_match *match, const struct proxy_address *destination)
{
    if (match->destination_port == 0)
        return ANY;
    return destination != NULL && match->destination_port == proxy_address_port(destination) ? 1 : NO;
}

static int score(const struct proxy_chain_match *match, const struct proxy_chain_query *query, enum step step)
{
    switch (step) {
    case STEP_PORT:
        return step_port(match, query->destination);
    case STEP_PREFIX:
        return step_prefix(match->prefixes, match->prefix_count, query->destination);
    case STEP_SERVER_NAME:
        return step_server_name(match, query->server_name);
    case STEP_TRANSPORT:
        return step_transport(match, query->transport);
    case STEP_APPLICATION:
        return step_application(match, query);
    case STEP_DIRECT_SOURCE:
        return step_prefix(match->direct_source_prefixes, match->direct_source_prefix_count,
                           query->direct_source != NULL ? query->direct_source : query->source);
    case STEP_SOURCE_TYPE:
        return step_source_type(match, query);
    case STEP_SOURCE:
        return step_prefix(match->source_prefixes, match->source_prefix_count, query->source);
    case STEP_SOURCE_PORT:
        return step_source_port(match, query->source);
    case STEPS:
    default:
        return NO;
    }
}

const struct proxy_filter_chain *proxy_listener_pick(const struct proxy_listener *listener,
                                                     const struct proxy_chain_query *query)
{
    const struct proxy_filter_chain *best = NULL;
    int best_scores[STEPS] = {0};
    int best_len = 0; /* steps that were computed for it: up to its NO */
    for (size_t i = 0; i < listener->chain_count; i++) {
        const struct proxy_filter_chain *chain = &listener->chains[i];
        int scores[STEPS], len = 0;
        bool better = best == NULL, worse = false;
        while (len < STEPS && !worse) {
            scores[len] = score(&chain->match, query, (enum step)len);
            /* Equal so far means that the best one has this step too: it ends with NO, and so would this one. */
            if (!better && scores[len] != best_scores[len]) {
                better = scores[len] > best_scores[len];
                worse = !better;
            }
            if (scores[len++] == NO)
                break;
        }
        if (!better || scores[0] == NO)
            continue;
        best = chain;
        best_len = len;
        memcpy(best_scores, scores, (size_t)len * sizeof(scores[0]));
    }
    if (best == NULL || best_scores[best_len - 1] == NO)
        return listener->default_chain;
    return best;
}

/* -- overlap -- */

static bool share_cidr(const struct fl_cidr *a, size_t a_count, const struct fl_cidr *b, size_t b_count)
{
    static const struct fl_cidr all[] = {{.family = AF_INET}, {.family = AF_INET6}};
    if (a_count == 0) {
        a = all;
        a_count = FL_COUNT(all);
    }
    if (b_count == 0) {
        b = all;
        b_count = FL_COUNT(all);
    }
    for (size_t i = 0; i < a_count; i++)
        for (size_t k = 0; k < b_count; k++)
            if (a[i].family == b[k].family && a[i].prefix == b[k].prefix &&
                memcmp(a[i].address, b[k].address, a[i].family == AF_INET ? 4 : 16) == 0)
                return true;
    return false;
}

static bool share_text(const struct fl_span *a, size_t a_count, const struct fl_span *b, size_t b_count)
{
    if (a_count == 0 || b_count == 0)
        return a_count == b_count;
    for (size_t i = 0; i < a_count; i++)
        for (size_t k = 0; k < b_count; k++)
            if (fl_span_eq(a[i], b[k]))
                return true;
    return false;
}

static bool share_port(const uint16_t *a, size_t a_count, const uint16_t *b, size_t b_count)
{
    if (a_count == 0 || b_count == 0)
        return a_count == b_count;
    for (size_t i = 0; i < a_count; i++)
        for (size_t k = 0; k < b_count; k++)
            if (a[i] == b[k])
                return true;
    return false;
}

bool proxy_chain_match_overlap(const struct proxy_chain_match *a, const struct proxy_chain_match *b)
{
    return a->destination_port == b->destination_port && a->transport == b->transport &&
           a->source_type == b->source_type && share_cidr(a->prefixes, a->prefix_count, b->prefixes, b->prefix_count) &&
           share_text(a->server_names, a->server_name_count, b->server_names, b->server_name_count) &&
           share_text(a->application_protocols, a->application_protocol_count, b->application_protocols,
                      b->application_protocol_count) &&
           share_cidr(a->direct_source_prefixes, a->direct_source_prefix_count, b->direct_source_prefixes,
                      b->direct_source_prefix_count) &&
           share_cidr(a->source_prefixes, a->source_prefix_count, b->source_prefixes, b->source_prefix_count) &&
           share_port(a->source_ports, a->source_port_count, b->source_ports, b->source_port_count);
}
