#include "proxy/config/names.h"

#include "common/base/arena.h"
#include "common/base/log.h"
#include "common/loop/timer.h"
#include "common/xds/message.h"
#include "proxy/config/messages.h"
#include "proxy/upstream/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#define MESSAGE_MAX (16u << 20)
#define NEVER       UINT64_MAX

struct entry;

struct name {
    struct proxy_question question;
    struct entry *entry;
    struct proxy_address fixed; /* it is an address, and never asked for */
    struct proxy_address *list; /* the last good answer */
    size_t count;
};

struct entry { /* a cluster */
    struct entry *next;
    struct proxy_names *all;
    struct proxy_cluster_dns dns; /* its assignment is a copy */
    char *cluster, *endpoints;
    char *wire;
    struct name *names; /* one for each endpoint, in order */
    size_t count, pending;
    bool seen, failed, was_failing, dirty, published;
    uint32_t ttl_s;
    uint64_t due_ms, failure_ms;
};

struct proxy_names {
    struct proxy_names_options options;
    struct proxy_resolver *resolver; /* made with the first name */
    struct entry *entries;
    struct fl_timer timer;
    uint64_t version; /* of the assembly's list */
    size_t count;
};

/* --- endpoints ---------------------------------------------------------------------------------------------------- */

static void print(const struct proxy_address *address, const pb_socket_address *from, char text[INET6_ADDRSTRLEN],
                  pb_socket_address *socket, pb_address *outer)
{
    (void)inet_ntop(address->any.sa_family, proxy_address_bytes(address).data, text, INET6_ADDRSTRLEN);
    *socket = *from;
    socket->address = text;
    outer->socket_address = socket;
}

/* The endpoint with another address, and one of the other family (NULL: none). NULL: memory is out. */
static pb_endpoint *with_address(struct fl_arena *arena, const pb_endpoint *from, const struct proxy_address *address,
                                 const struct proxy_address *other)
{
    struct copy {
        pb_endpoint outer;
        Envoy__Config__Endpoint__V3__Endpoint inner;
        pb_address address;
        pb_socket_address socket;
        char text[INET6_ADDRSTRLEN];
        Envoy__Config__Endpoint__V3__Endpoint__AdditionalAddress more, *list[1];
        pb_address more_address;
        pb_socket_address more_socket;
        char more_text[INET6_ADDRSTRLEN];
    } *copy = fl_arena_alloc(arena, sizeof(*copy));
    if (copy == NULL)
        return NULL;
    copy->outer = *from;
    copy->inner = *from->endpoint;
    copy->address = *from->endpoint->address;
    const pb_socket_address *socket = from->endpoint->address->socket_address;
    print(address, socket, copy->text, &copy->socket, &copy->address);
    if (other != NULL) {
        envoy__config__endpoint__v3__endpoint__additional_address__init(&copy->more);
        copy->more_address = *from->endpoint->address;
        print(other, socket, copy->more_text, &copy->more_socket, &copy->more_address);
        copy->more.address = &copy->more_address;
        copy->list[0] = &copy->more;
        copy->inner.additional_addresses = copy->list;
        copy->inner.n_additional_addresses = 1;
    }
    copy->inner.address = &copy->address;
    if (copy->inner.hostname[0] == '\0')
        copy->inner.hostname = socket->address; /* the name, for /clusters */
    copy->outer.endpoint = &copy->inner;
    return &copy->outer;
}

/* Where both families are wanted, a host is an address of each (RFC 8305): the nth of IPv6 with the nth of IPv4. The
 * list is sorted, IPv4 first. */
static size_t hosts_of(const struct entry *entry, const struct name *name, size_t *ret_v4)
{
    size_t v4 = 0;
    while (entry->dns.family == PROXY_RESOLVE_ALL && v4 < name->count && name->list[v4].any.sa_family == AF_INET)
        v4++;
    *ret_v4 = v4;
    return v4 > name->count - v4 ? v4 : name->count - v4;
}

static const struct proxy_address *nth(const struct name *name, size_t first, size_t end, size_t n)
{
    return first + n < end ? &name->list[first + n] : NULL;
}

static pb_endpoint *nth_host(struct fl_arena *arena, const struct name *name, const pb_endpoint *from, size_t v4,
                             size_t n)
{
    const struct proxy_address *six = nth(name, v4, name->count, n), *four = nth(name, 0, v4, n);
    return with_address(arena, from, six != NULL ? six : four, six != NULL ? four : NULL);
}

static int expand_locality(struct fl_arena *arena, const struct entry *entry, const struct name *names,
                           pb_locality *locality)
{
    size_t count = 0, v4;
    for (size_t i = 0; i < locality->n_lb_endpoints; i++)
        count += hosts_of(entry, &names[i], &v4);
    pb_endpoint **list = fl_arena_alloc(arena, (count + 1) * sizeof(pb_endpoint *)), **at = list;
    if (list == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < locality->n_lb_endpoints; i++) {
        size_t hosts = hosts_of(entry, &names[i], &v4);
        for (size_t k = 0; k < hosts; k++) {
            *at = nth_host(arena, &names[i], locality->lb_endpoints[i], v4, k);
            if (*at++ == NULL)
                return -ENOMEM;
        }
    }
    locality->lb_endpoints = list;
    locality->n_lb_endpoints = count;
    return 0;
}

/* Names replaced by addresses; shallow copies of the message in the arena. */
static int expand(struct fl_arena *arena, const struct entry *entry, const pb_assignment *from,
                  struct fl_span *ret_wire)
{
    pb_assignment whole = *from;
    whole.cluster_name = entry->endpoints;
    whole.endpoints = fl_arena_alloc(arena, (from->n_endpoints + 1) * sizeof(pb_locality *));
    if (whole.endpoints == NULL)
        return -ENOMEM;
    const struct name *names = entry->names;
    for (size_t i = 0; i < from->n_endpoints; i++) {
        pb_locality *locality = fl_arena_alloc(arena, sizeof(*locality));
        if (locality == NULL)
            return -ENOMEM;
        *locality = *from->endpoints[i];
        if (expand_locality(arena, entry, names, locality) < 0)
            return -ENOMEM;
        names += from->endpoints[i]->n_lb_endpoints;
        whole.endpoints[i] = locality;
    }
    uint8_t *wire = fl_arena_alloc(arena, protobuf_c_message_get_packed_size(&whole.base) + 1);
    if (wire == NULL)
        return -ENOMEM;
    *ret_wire = fl_span_make(wire, protobuf_c_message_pack(&whole.base, wire));
    return 0;
}

static int unpack(const struct entry *entry, struct fl_arena *arena, const pb_assignment **ret_message)
{
    ProtobufCMessage *message;
    struct fl_err err = {0};
    int result = fl_xds_unpack(&envoy__config__endpoint__v3__cluster_load_assignment__descriptor, entry->dns.assignment,
                               arena, NULL, &message, &err);
    if (result == 0)
        *ret_message = (const pb_assignment *)message;
    return result;
}

static int put(struct entry *entry, struct fl_err *err)
{
    struct proxy_names *all = entry->all;
    struct fl_arena arena;
    const pb_assignment *message;
    struct fl_span wire;
    fl_arena_init(&arena, MESSAGE_MAX);
    int result = unpack(entry, &arena, &message);
    if (result == 0)
        result = expand(&arena, entry, message, &wire);
    if (result == 0)
        result = proxy_assembly_put(all->options.assembly, FL_RESOURCE_ENDPOINTS, fl_span_str(entry->endpoints),
                                    FL_SPAN(""), wire, err);
    else
        fl_err_set(err, result, "out of memory");
    fl_arena_done(&arena);
    return result;
}

static void publish(struct entry *entry)
{
    struct fl_err err = {0};
    entry->dirty = false;
    if (put(entry, &err) < 0) {
        fl_log(FL_LOG_ERROR, "addresses of a cluster could not be taken; those before stay",
               FL_LOG_STR("cluster", entry->cluster), FL_LOG_STR("reason", err.text));
        return;
    }
    entry->published = true;
    entry->all->options.on_change(entry->all->options.owner);
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static void arm(struct proxy_names *all);

static int compare(const void *a, const void *b)
{
    const struct proxy_address *left = a, *right = b;
    struct fl_span one = proxy_address_bytes(left), other = proxy_address_bytes(right);
    return one.len != other.len ? (one.len < other.len ? -1 : 1) : memcmp(one.data, other.data, one.len);
}

static bool has(const struct proxy_resolved *answer, const struct proxy_address *address)
{
    for (size_t i = 0; i < answer->count; i++)
        if (proxy_address_eq(&answer->list[i], address))
            return true;
    return false;
}

static bool is_same(const struct name *name, const struct proxy_address *list, size_t count)
{
    if (name->count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!proxy_address_eq(&name->list[i], &list[i]))
            return false;
    return true;
}

/* One address, or one of each family: those that come first. */
static size_t logical_count(const struct entry *entry, const struct proxy_resolved *answer)
{
    return entry->dns.family == PROXY_RESOLVE_ALL && answer->count > 1 &&
                   answer->list[0].any.sa_family != answer->list[1].any.sa_family
               ? 2
               : 1;
}

/* Servers turn the order of an answer round: it says nothing. */
static void take(struct name *name, const struct proxy_resolved *answer)
{
    struct entry *entry = name->entry;
    size_t count = entry->dns.logical ? logical_count(entry, answer) : answer->count;
    if (entry->dns.logical && name->count == count && has(answer, &name->list[0]) &&
        has(answer, &name->list[count - 1]))
        return;
    struct proxy_address *list = malloc(count * sizeof(*list));
    if (list == NULL) { /* the next answer will bring them */
        entry->failed = true;
        return;
    }
    memcpy(list, answer->list, count * sizeof(*list));
    qsort(list, count, sizeof(*list), compare);
    if (is_same(name, list, count)) {
        free(list);
        return;
    }
    free(name->list);
    name->list = list;
    name->count = count;
    entry->dirty = true;
}

static uint64_t interval(struct entry *entry)
{
    const struct proxy_cluster_dns *dns = &entry->dns;
    if (entry->failed) {
        uint64_t ms = entry->failure_ms;
        entry->failure_ms = ms * 2 < dns->failure_max_ms ? ms * 2 : dns->failure_max_ms;
        return ms;
    }
    entry->failure_ms = dns->failure_base_ms;
    if (dns->respect_ttl && entry->ttl_s != UINT32_MAX)
        return (entry->ttl_s > 0 ? entry->ttl_s : 1) * UINT64_C(1000);
    return dns->refresh_ms;
}

/* All names of a cluster have been answered. */
static void settle(struct entry *entry)
{
    entry->due_ms = fl_loop_now_ms(entry->all->options.loop) + interval(entry);
    entry->was_failing = entry->failed;
    entry->dirty |= !entry->published; /* without an address it has no hosts, and is known to have none */
}

static void on_answer(struct proxy_question *question, const struct proxy_resolved *answer)
{
    struct name *name = FL_CONTAINER_OF(question, struct name, question);
    struct entry *entry = name->entry;
    if (answer->outcome == PROXY_RESOLVE_FOUND) {
        take(name, answer);
        if (answer->ttl_s < entry->ttl_s)
            entry->ttl_s = answer->ttl_s;
    } else {
        entry->failed = true;
        if (!entry->was_failing)
            fl_log(FL_LOG_WARNING, "a name is not resolved", FL_LOG_STR("cluster", entry->cluster),
                   FL_LOG_STR("name", question->name), FL_LOG_STR("reason", answer->reason),
                   FL_LOG_NUM("addresses_kept", name->count));
    }
    if (--entry->pending == 0)
        settle(entry);
    arm(entry->all);
}

static void ask(struct entry *entry)
{
    struct proxy_names *all = entry->all;
    entry->due_ms = NEVER;
    entry->failed = false;
    entry->ttl_s = UINT32_MAX;
    entry->pending = 1; /* this loop, so that answers within it do not settle */
    if (all->resolver == NULL && proxy_resolver_new(all->options.loop, all->options.resolv_conf, &all->resolver) < 0)
        entry->failed = true;
    for (size_t i = 0; i < entry->count && all->resolver != NULL; i++) {
        struct name *name = &entry->names[i];
        if (proxy_address_is_set(&name->fixed))
            continue;
        entry->pending++;
        if (proxy_resolve(all->resolver, &name->question) < 0) {
            entry->failed = true;
            entry->pending--;
        }
    }
    if (--entry->pending == 0)
        settle(entry);
}

static void on_timer(struct fl_timer *timer)
{
    struct proxy_names *all = FL_CONTAINER_OF(timer, struct proxy_names, timer);
    uint64_t now = fl_loop_now_ms(all->options.loop);
    for (struct entry *entry = all->entries; entry != NULL; entry = entry->next) {
        if (entry->dirty)
            publish(entry);
        if (entry->due_ms <= now)
            ask(entry);
    }
    arm(all);
}

static void arm(struct proxy_names *all)
{
    uint64_t now = fl_loop_now_ms(all->options.loop), next = NEVER;
    for (const struct entry *entry = all->entries; entry != NULL; entry = entry->next) {
        uint64_t at = entry->dirty ? now : entry->due_ms;
        next = at < next ? at : next;
    }
    fl_timer_cancel(&all->timer);
    if (next != NEVER)
        fl_timer_set(all->options.loop, &all->timer, next > now ? next - now : 0, on_timer);
}

/* --- clusters ----------------------------------------------------------------------------------------------------- */

static struct entry *entry_free(struct entry *entry)
{
    for (size_t i = 0; entry->names != NULL && i < entry->count; i++) {
        proxy_resolve_cancel(&entry->names[i].question);
        free(entry->names[i].list);
    }
    free(entry->names);
    free(entry->cluster);
    free(entry->endpoints);
    free(entry->wire);
    free(entry);
    return NULL;
}

static int name_init(struct entry *entry, struct name *name, const char *text)
{
    struct fl_span span = fl_span_str(text);
    name->entry = entry;
    name->question.on_answer = on_answer;
    name->question.family = (enum proxy_resolve_family)entry->dns.family;
    if (proxy_address_parse(span, 0, &name->fixed) != 0) {
        memset(&name->fixed, 0, sizeof(name->fixed));
        memcpy(name->question.name, span.data, span.len < PROXY_RESOLVE_NAME_MAX ? span.len : PROXY_RESOLVE_NAME_MAX);
        return 0;
    }
    name->list = malloc(sizeof(*name->list));
    if (name->list == NULL)
        return -ENOMEM;
    name->list[0] = name->fixed;
    name->count = 1;
    return 0;
}

static int read_names(struct entry *entry)
{
    struct fl_arena arena;
    const pb_assignment *message;
    fl_arena_init(&arena, MESSAGE_MAX);
    int result = unpack(entry, &arena, &message);
    for (size_t i = 0; result == 0 && i < message->n_endpoints; i++)
        entry->count += message->endpoints[i]->n_lb_endpoints;
    entry->names = calloc(entry->count + 1, sizeof(*entry->names));
    if (result == 0 && entry->names == NULL)
        result = -ENOMEM;
    struct name *name = entry->names;
    for (size_t i = 0; result == 0 && i < message->n_endpoints; i++) {
        for (size_t k = 0; result == 0 && k < message->endpoints[i]->n_lb_endpoints; k++)
            result = name_init(entry, name++,
                               message->endpoints[i]->lb_endpoints[k]->endpoint->address->socket_address->address);
    }
    fl_arena_done(&arena);
    return result;
}

static struct entry *entry_new(struct proxy_names *all, const struct proxy_cluster *cluster)
{
    struct entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return NULL;
    entry->all = all;
    entry->dns = *cluster->dns;
    entry->cluster = fl_span_dup(cluster->name);
    entry->endpoints = fl_span_dup(cluster->eds_name);
    entry->wire = malloc(cluster->dns->assignment.len + 1);
    entry->failure_ms = entry->dns.failure_base_ms;
    if (entry->cluster == NULL || entry->endpoints == NULL || entry->wire == NULL)
        return entry_free(entry);
    memcpy(entry->wire, cluster->dns->assignment.data, cluster->dns->assignment.len);
    entry->dns.assignment.data = entry->wire;
    if (read_names(entry) < 0)
        return entry_free(entry);
    return entry;
}

static bool is_as(const struct entry *entry, const struct proxy_cluster *cluster)
{
    const struct proxy_cluster_dns *a = &entry->dns, *b = cluster->dns;
    return fl_span_eq_str(cluster->name, entry->cluster) && fl_span_eq(a->assignment, b->assignment) &&
           a->logical == b->logical && a->family == b->family && a->respect_ttl == b->respect_ttl &&
           a->refresh_ms == b->refresh_ms && a->failure_base_ms == b->failure_base_ms &&
           a->failure_max_ms == b->failure_max_ms;
}

static struct entry *find(const struct proxy_names *all, const struct proxy_cluster *cluster)
{
    for (struct entry *entry = all->entries; entry != NULL; entry = entry->next)
        if (is_as(entry, cluster))
            return entry;
    return NULL;
}

static void add(struct proxy_names *all, const struct proxy_cluster *cluster)
{
    struct entry *entry = entry_new(all, cluster);
    if (entry == NULL || entry->count > PROXY_NAMES_MAX - all->count) {
        fl_log(FL_LOG_ERROR, "a cluster's names are not asked for", FL_LOG_STR("cluster", cluster->name.data),
               FL_LOG_STR("reason", entry == NULL ? "out of memory" : "too many names"));
        if (entry != NULL)
            entry_free(entry);
        return;
    }
    bool waits = false;
    for (size_t i = 0; i < entry->count; i++)
        waits |= !proxy_address_is_set(&entry->names[i].fixed);
    entry->dirty = !waits;
    entry->due_ms = waits ? 0 : NEVER;
    entry->seen = true;
    entry->next = all->entries;
    all->entries = entry;
    all->count += entry->count;
}

/* Whether the cluster goes on under other settings: its addresses stay until the new ones are known. */
static bool is_replaced(const struct proxy_names *all, const struct entry *gone)
{
    for (const struct entry *entry = all->entries; entry != NULL; entry = entry->next)
        if (entry->seen && strcmp(entry->endpoints, gone->endpoints) == 0)
            return true;
    return false;
}

static void drop_unseen(struct proxy_names *all)
{
    for (struct entry **link = &all->entries; *link != NULL;) {
        struct entry *entry = *link;
        if (entry->seen) {
            link = &entry->next;
            continue;
        }
        *link = entry->next;
        all->count -= entry->count;
        if (!is_replaced(all, entry))
            (void)!proxy_assembly_remove(all->options.assembly, FL_RESOURCE_ENDPOINTS, fl_span_str(entry->endpoints));
        entry_free(entry);
    }
}

void proxy_names_update(struct proxy_names *names)
{
    uint64_t version = proxy_assembly_dns_version(names->options.assembly);
    const struct proxy_cluster *cluster;
    if (version == names->version)
        return;
    names->version = version;
    for (struct entry *entry = names->entries; entry != NULL; entry = entry->next)
        entry->seen = false;
    for (size_t cursor = 0; proxy_assembly_next_dns(names->options.assembly, &cursor, &cluster);) {
        struct entry *entry = find(names, cluster);
        if (entry != NULL)
            entry->seen = true;
        else
            add(names, cluster);
    }
    drop_unseen(names);
    arm(names);
}

int proxy_names_new(const struct proxy_names_options *options, struct proxy_names **ret_names)
{
    struct proxy_names *names = calloc(1, sizeof(*names));
    if (names == NULL)
        return -ENOMEM;
    names->options = *options;
    *ret_names = names;
    return 0;
}

struct proxy_names *proxy_names_free(struct proxy_names *names)
{
    if (names == NULL)
        return NULL;
    fl_timer_cancel(&names->timer);
    while (names->entries != NULL) {
        struct entry *entry = names->entries;
        names->entries = entry->next;
        entry_free(entry);
    }
    proxy_resolver_free(names->resolver);
    free(names);
    return NULL;
}
