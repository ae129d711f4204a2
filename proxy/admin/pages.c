#include "proxy/admin/pages.h"

#include "common/base/print.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void put_address(struct fl_print *page, const struct proxy_address *address)
{
    char text[PROXY_ADDRESS_TEXT_MAX];
    proxy_address_print(address, text);
    fl_print(page, "%s", text);
}

/* -- what a request asks for -- */

/* The next "name[=value]" of *rest; false at the end. */
static bool next_parameter(struct fl_span *rest, struct fl_span *ret_name, struct fl_span *ret_value)
{
    if (rest->len == 0)
        return false;
    size_t end = fl_span_find(*rest, '&');
    struct fl_span one = {rest->data, end};
    size_t equals = fl_span_find(one, '=');
    *ret_name = (struct fl_span){one.data, equals};
    *ret_value = equals < one.len ? fl_span_from(one, equals + 1) : (struct fl_span){NULL, 0};
    *rest = end < rest->len ? fl_span_from(*rest, end + 1) : (struct fl_span){NULL, 0};
    return true;
}

struct fl_span proxy_query_get(struct fl_span query, const char *name)
{
    struct fl_span key, value;
    while (next_parameter(&query, &key, &value)) {
        if (fl_span_eq_str(key, name))
            return value;
    }
    return (struct fl_span){NULL, 0};
}

bool proxy_query_has(struct fl_span query, const char *name)
{
    struct fl_span key, value;
    while (next_parameter(&query, &key, &value)) {
        if (fl_span_eq_str(key, name))
            return true;
    }
    return false;
}

/* -- pages -- */

const char *proxy_server_state_name(enum proxy_server_state state)
{
    switch (state) {
    case PROXY_SERVER_INITIALIZING:
        return "INITIALIZING";
    case PROXY_SERVER_LIVE:
        return "LIVE";
    case PROXY_SERVER_DRAINING:
        return "DRAINING";
    default:
        return "?";
    }
}

int proxy_page_server_info(const struct proxy_snapshot *snapshot, const struct proxy_server_facts *facts,
                           struct fl_buf *out)
{
    struct fl_print page = {.out = out};
    fl_print(&page,
             "{\"version\":\"fairlead/" FL_VERSION "\",\"state\":\"%s\",\"uptime_current_epoch\":\"%" PRIu64
             "s\",\"uptime_all_epochs\":\"%" PRIu64 "s\",\"hot_restart_version\":\"disabled\",",
             proxy_server_state_name(facts->state), facts->uptime_s, facts->uptime_s);
    fl_print(&page, "\"command_line_options\":{\"concurrency\":%u,\"drain_time\":\"%" PRIu64 "s\"},", facts->workers,
             facts->drain_time_ms / 1000);
    fl_print(&page, "\"start_gate\":\"%s\",\"config_version\":%" PRIu64 ",\"ignored_fields\":%" PRIu64,
             proxy_gate_state_name(facts->gate), snapshot->version, snapshot->ignored_fields);
    fl_print(&page, ",\"harmless_filters\":%" PRIu64 ",\"config_path\":", snapshot->harmless_filters);
    fl_print_json(&page, snapshot->path);
    fl_print(&page, ",\"node\":{\"id\":");
    fl_print_json(&page, snapshot->node.id);
    fl_print(&page, ",\"cluster\":");
    fl_print_json(&page, snapshot->node.cluster);
    fl_print(&page, "}}\n");
    return page.result;
}

/* Envoy's core.v3.Address */
static void put_address_json(struct fl_print *page, const struct proxy_address *address)
{
    char text[PROXY_ADDRESS_TEXT_MAX];
    proxy_address_print(address, text);
    char *host = text, *colon = strrchr(text, ':');
    if (colon != NULL)
        *colon = '\0';
    size_t length = strlen(host);
    if (length > 1 && host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = '\0';
        host++;
    }
    fl_print(page, "{\"socket_address\":{\"address\":");
    fl_print_json(page, fl_span_str(host));
    fl_print(page, ",\"port_value\":%u}}", proxy_address_port(address));
}

static void put_listener_json(struct fl_print *page, const struct proxy_listener *listener)
{
    fl_print(page, "{\"name\":");
    fl_print_json(page, listener->name);
    fl_print(page, ",\"local_address\":");
    put_address_json(page, &listener->address);
    fl_print(page, ",\"filter_chains\":%zu}", listener->chain_count + (listener->default_chain != NULL));
}

int proxy_page_listeners(const struct proxy_snapshot *snapshot, bool json, struct fl_buf *out)
{
    struct fl_print page = {.out = out};
    if (json)
        fl_print(&page, "{\"listener_statuses\":[");
    size_t count = 0;
    for (size_t i = 0; i < snapshot->listener_slots; i++) {
        const struct proxy_listener *listener = snapshot->listeners[i];
        if (listener == NULL)
            continue;
        if (json) {
            fl_print(&page, "%s", count++ > 0 ? "," : "");
            put_listener_json(&page, listener);
            continue;
        }
        fl_print(&page, "%.*s::", FL_SPAN_ARG(listener->name));
        put_address(&page, &listener->address);
        fl_print(&page, "\n");
    }
    if (json)
        fl_print(&page, "]}\n");
    return page.result;
}

static void put_endpoints(struct fl_print *page, const struct proxy_cluster *cluster,
                          const struct proxy_endpoints *endpoints)
{
    for (size_t i = 0; endpoints != NULL && i < endpoints->count; i++) {
        const struct proxy_endpoint *endpoint = &endpoints->list[i];
        char address[PROXY_ADDRESS_TEXT_MAX];
        proxy_address_print(&endpoint->address, address);
        fl_print(page, "%.*s::%s::health_flags::%s\n", FL_SPAN_ARG(cluster->name), address,
                 endpoint->healthy ? "healthy" : "/failed_eds_health");
        fl_print(page, "%.*s::%s::hostname::%.*s\n", FL_SPAN_ARG(cluster->name), address,
                 FL_SPAN_ARG(endpoint->hostname));
        fl_print(page, "%.*s::%s::weight::%" PRIu32 "\n", FL_SPAN_ARG(cluster->name), address, endpoint->weight);
        fl_print(page, "%.*s::%s::priority::%" PRIu32 "\n", FL_SPAN_ARG(cluster->name), address, endpoint->priority);
        if (endpoint->identity.len > 0)
            fl_print(page, "%.*s::%s::identity::%.*s\n", FL_SPAN_ARG(cluster->name), address,
                     FL_SPAN_ARG(endpoint->identity));
    }
}

static const char *type_name(const struct proxy_cluster *cluster)
{
    static const char *const types[] = {
        [PROXY_CLUSTER_STATIC] = "STATIC", [PROXY_CLUSTER_ORIGINAL_DST] = "ORIGINAL_DST", [PROXY_CLUSTER_EDS] = "EDS"};
    if (cluster->dns != NULL) /* of names: EDS inside, not to people */
        return cluster->dns->logical ? "LOGICAL_DNS" : "STRICT_DNS";
    return (size_t)cluster->type < FL_COUNT(types) && types[cluster->type] != NULL ? types[cluster->type] : "?";
}

static void put_cluster(struct fl_print *page, const struct proxy_cluster *cluster)
{
    const struct {
        const char *name;
        uint32_t value;
    } limits[] = {{"max_connections", cluster->max_connections},
                  {"max_pending_requests", cluster->max_pending_requests},
                  {"max_requests", cluster->max_requests}};
    fl_print(page, "%.*s::type::%s\n", FL_SPAN_ARG(cluster->name), type_name(cluster));
    fl_print(page, "%.*s::tls::%s\n", FL_SPAN_ARG(cluster->name), cluster->tls != NULL ? "true" : "false");
    for (size_t i = 0; i < FL_COUNT(limits); i++)
        fl_print(page, "%.*s::default_priority::%s::%" PRIu32 "\n", FL_SPAN_ARG(cluster->name), limits[i].name,
                 limits[i].value);
}

static void put_endpoint_json(struct fl_print *page, const struct proxy_endpoint *endpoint)
{
    fl_print(page, "{\"address\":");
    put_address_json(page, &endpoint->address);
    fl_print(page, ",\"health_status\":{\"eds_health_status\":\"%s\"},\"weight\":%" PRIu32 ",\"priority\":%" PRIu32,
             endpoint->healthy ? "HEALTHY" : "UNHEALTHY", endpoint->weight, endpoint->priority);
    if (endpoint->identity.len > 0) {
        fl_print(page, ",\"identity\":");
        fl_print_json(page, endpoint->identity);
    }
    fl_print(page, "}");
}

static void put_cluster_json(struct fl_print *page, const struct proxy_cluster *cluster,
                             const struct proxy_endpoints *endpoints)
{
    fl_print(page, "{\"name\":");
    fl_print_json(page, cluster->name);
    fl_print(page,
             ",\"type\":\"%s\",\"circuit_breakers\":{\"thresholds\":[{\"max_connections\":%" PRIu32
             ",\"max_pending_requests\":%" PRIu32 ",\"max_requests\":%" PRIu32 "}]},\"host_statuses\":[",
             type_name(cluster), cluster->max_connections, cluster->max_pending_requests, cluster->max_requests);
    for (size_t i = 0; endpoints != NULL && i < endpoints->count; i++) {
        fl_print(page, "%s", i > 0 ? "," : "");
        put_endpoint_json(page, &endpoints->list[i]);
    }
    fl_print(page, "]}");
}

int proxy_page_clusters(const struct proxy_snapshot *snapshot, bool json, struct fl_buf *out)
{
    struct fl_print page = {.out = out};
    bool any = false;
    if (json)
        fl_print(&page, "{\"cluster_statuses\":[");
    for (size_t i = 0; i < snapshot->cluster_slots; i++) {
        const struct proxy_cluster *cluster = snapshot->clusters[i];
        if (cluster == NULL)
            continue;
        const struct proxy_endpoints *endpoints = proxy_snapshot_endpoints(snapshot, cluster);
        if (json) {
            fl_print(&page, "%s", any ? "," : "");
            put_cluster_json(&page, cluster, endpoints);
        } else {
            put_cluster(&page, cluster);
            put_endpoints(&page, cluster, endpoints);
        }
        any = true;
    }
    if (json)
        fl_print(&page, "]}\n");
    return page.result;
}

/* -- /stats -- */

/* NaN and Inf are none in JSON. */
static bool is_number(struct fl_span value)
{
    return value.len > 0 && memchr("0123456789", value.data[value.data[0] == '-' && value.len > 1], 10) != NULL;
}

static bool contains(struct fl_span text, struct fl_span part)
{
    return part.len == 0 || (text.len >= part.len && memmem(text.data, text.len, part.data, part.len) != NULL);
}

/* The name with its labels, and the value; false for comments and buckets. */
static bool split_sample(struct fl_span line, struct fl_span *ret_name, struct fl_span *ret_value)
{
    if (line.len == 0 || line.data[0] == '#' || contains(line, FL_SPAN("_bucket{")))
        return false;
    size_t at = line.len;
    while (at > 0 && line.data[at - 1] != ' ')
        at--;
    if (at == 0)
        return false;
    *ret_name = (struct fl_span){line.data, at - 1};
    *ret_value = fl_span_from(line, at);
    return true;
}

int proxy_page_stats(struct fl_span exposed, struct fl_span filter, bool json, struct fl_buf *out)
{
    struct fl_print page = {.out = out};
    struct fl_span name, value;
    bool any = false;
    if (json)
        fl_print(&page, "{\"stats\":[");
    while (exposed.len > 0 && page.result == 0) {
        struct fl_span line = {exposed.data, fl_span_find(exposed, '\n')};
        exposed = fl_span_from(exposed, line.len < exposed.len ? line.len + 1 : line.len);
        if (!split_sample(line, &name, &value) || !contains(name, filter))
            continue;
        if (json) {
            fl_print(&page, "%s{\"name\":", any ? "," : "");
            fl_print_json(&page, name);
            fl_print(&page, ",\"value\":%s%.*s%s}", is_number(value) ? "" : "\"", FL_SPAN_ARG(value),
                     is_number(value) ? "" : "\"");
        } else {
            fl_print(&page, "%.*s: %.*s\n", FL_SPAN_ARG(name), FL_SPAN_ARG(value));
        }
        any = true;
    }
    if (json)
        fl_print(&page, "]}\n");
    return page.result;
}

/* -- /certs, /memory -- */

static void put_time(struct fl_print *page, int64_t seconds)
{
    char text[64];
    struct tm parts;
    time_t when = (time_t)seconds;
    if (gmtime_r(&when, &parts) == NULL || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        text[0] = '\0';
    fl_print(page, "\"%s\"", text);
}

static void put_cert(struct fl_print *page, const struct proxy_cert_info *cert, int64_t now)
{
    int64_t left = cert->not_after > now ? (cert->not_after - now) / 86400 : 0;
    fl_print(page, "{\"cert_chain\":[{\"path\":");
    fl_print_json(page, cert->path);
    fl_print(page, ",\"subject_alt_names\":[");
    if (cert->spiffe.len > 0) {
        fl_print(page, "{\"uri\":");
        fl_print_json(page, cert->spiffe);
        fl_print(page, "}");
    }
    fl_print(page, "],\"days_until_expiration\":\"%" PRId64 "\",\"expired\":%s,\"valid_from\":", left,
             cert->not_after <= now ? "true" : "false");
    put_time(page, cert->not_before);
    fl_print(page, ",\"expiration_time\":");
    put_time(page, cert->not_after);
    fl_print(page, "}]}");
}

int proxy_page_certs(const struct proxy_snapshot *snapshot, int64_t now, struct fl_buf *out)
{
    struct fl_print page = {.out = out};
    fl_print(&page, "{\"certificates\":[");
    for (size_t i = 0; i < snapshot->cert_count; i++) {
        fl_print(&page, "%s", i > 0 ? "," : "");
        put_cert(&page, &snapshot->certs[i], now);
    }
    fl_print(&page, "]}\n");
    return page.result;
}

static bool read_resident(uint64_t *ret_bytes)
{
    unsigned long size, pages;
    FILE *file = fopen("/proc/self/statm", "re");
    bool good = file != NULL && fscanf(file, "%lu %lu", &size, &pages) == 2;
    if (file != NULL)
        fclose(file);
    if (good)
        *ret_bytes = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return good;
}

int proxy_page_memory(struct fl_buf *out)
{
    struct fl_print page = {.out = out};
    struct mallinfo2 info = mallinfo2();
    uint64_t resident = 0;
    (void)!read_resident(&resident);
    fl_print(
        &page,
        "{\"allocated\":\"%zu\",\"heap_size\":\"%zu\",\"mapped\":\"%zu\",\"free\":\"%zu\",\"pageheap_free\":\"%zu\","
        "\"pageheap_unmapped\":\"0\",\"total_thread_cache\":\"0\",\"total_physical_bytes\":\"%" PRIu64 "\"}\n",
        info.uordblks + info.hblkhd, info.arena + info.hblkhd, info.hblkhd, info.fordblks, info.keepcost, resident);
    return page.result;
}
