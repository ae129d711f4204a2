#include "proxy/admin/pages.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <time.h>

/* A chain of appends: the first failure stays, what follows it does nothing. */
struct page {
    struct fl_buf *out;
    int result;
};

static void put(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct page *page, const char *format, ...)
{
    if (page->result != 0)
        return;
    va_list arguments;
    va_start(arguments, format);
    page->result = fl_buf_vprintf(page->out, format, arguments);
    va_end(arguments);
}

static void put_string(struct page *page, struct fl_span text)
{
    if (page->result == 0)
        page->result = fl_buf_append_json_string(page->out, text);
}

static void put_address(struct page *page, const struct proxy_address *address)
{
    char text[PROXY_ADDRESS_TEXT_MAX];
    proxy_address_print(address, text);
    put(page, "%s", text);
}

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
    struct page page = {.out = out};
    put(&page, "{\"version\":\"fairlead/" FL_VERSION "\",\"state\":\"%s\",\"uptime_current_epoch\":\"%" PRIu64 "s\",",
        proxy_server_state_name(facts->state), facts->uptime_s);
    put(&page, "\"start_gate\":\"%s\",\"config_version\":%" PRIu64 ",\"ignored_fields\":%" PRIu64,
        proxy_gate_state_name(facts->gate), snapshot->version, snapshot->ignored_fields);
    put(&page, ",\"harmless_filters\":%" PRIu64 ",\"config_path\":", snapshot->harmless_filters);
    put_string(&page, snapshot->path);
    put(&page, ",\"node\":{\"id\":");
    put_string(&page, snapshot->node.id);
    put(&page, ",\"cluster\":");
    put_string(&page, snapshot->node.cluster);
    put(&page, "}}\n");
    return page.result;
}

static void put_listener_json(struct page *page, const struct proxy_listener *listener)
{
    put(page, "{\"name\":");
    put_string(page, listener->name);
    put(page, ",\"local_address\":\"");
    put_address(page, &listener->address);
    put(page, "\",\"filter_chains\":%zu}", listener->chain_count + (listener->default_chain != NULL));
}

int proxy_page_listeners(const struct proxy_snapshot *snapshot, bool json, struct fl_buf *out)
{
    struct page page = {.out = out};
    if (json)
        put(&page, "{\"listener_statuses\":[");
    size_t count = 0;
    for (size_t i = 0; i < snapshot->listener_slots; i++) {
        const struct proxy_listener *listener = snapshot->listeners[i];
        if (listener == NULL)
            continue;
        if (json) {
            put(&page, "%s", count++ > 0 ? "," : "");
            put_listener_json(&page, listener);
            continue;
        }
        put(&page, "%.*s::", FL_SPAN_ARG(listener->name));
        put_address(&page, &listener->address);
        put(&page, "\n");
    }
    if (json)
        put(&page, "]}\n");
    return page.result;
}

static void put_endpoints(struct page *page, const struct proxy_cluster *cluster,
                          const struct proxy_endpoints *endpoints)
{
    for (size_t i = 0; endpoints != NULL && i < endpoints->count; i++) {
        const struct proxy_endpoint *endpoint = &endpoints->list[i];
        char address[PROXY_ADDRESS_TEXT_MAX];
        proxy_address_print(&endpoint->address, address);
        put(page, "%.*s::%s::health_flags::%s\n", FL_SPAN_ARG(cluster->name), address,
            endpoint->healthy ? "healthy" : "/failed_eds_health");
        put(page, "%.*s::%s::weight::%" PRIu32 "\n", FL_SPAN_ARG(cluster->name), address, endpoint->weight);
        put(page, "%.*s::%s::priority::%" PRIu32 "\n", FL_SPAN_ARG(cluster->name), address, endpoint->priority);
        if (endpoint->identity.len > 0)
            put(page, "%.*s::%s::identity::%.*s\n", FL_SPAN_ARG(cluster->name), address,
                FL_SPAN_ARG(endpoint->identity));
    }
}

static void put_cluster(struct page *page, const struct proxy_cluster *cluster)
{
    static const char *const types[] = {
        [PROXY_CLUSTER_STATIC] = "STATIC", [PROXY_CLUSTER_ORIGINAL_DST] = "ORIGINAL_DST", [PROXY_CLUSTER_EDS] = "EDS"};
    const struct {
        const char *name;
        uint32_t value;
    } limits[] = {{"max_connections", cluster->max_connections},
                  {"max_pending_requests", cluster->max_pending_requests},
                  {"max_requests", cluster->max_requests}};
    put(page, "%.*s::type::%s\n", FL_SPAN_ARG(cluster->name), types[cluster->type]);
    put(page, "%.*s::tls::%s\n", FL_SPAN_ARG(cluster->name), cluster->tls != NULL ? "true" : "false");
    for (size_t i = 0; i < FL_COUNT(limits); i++)
        put(page, "%.*s::default_priority::%s::%" PRIu32 "\n", FL_SPAN_ARG(cluster->name), limits[i].name,
            limits[i].value);
}

int proxy_page_clusters(const struct proxy_snapshot *snapshot, struct fl_buf *out)
{
    struct page page = {.out = out};
    for (size_t i = 0; i < snapshot->cluster_slots; i++) {
        if (snapshot->clusters[i] == NULL)
            continue;
        put_cluster(&page, snapshot->clusters[i]);
        put_endpoints(&page, snapshot->clusters[i], proxy_snapshot_endpoints(snapshot, snapshot->clusters[i]));
    }
    return page.result;
}

/* -- /certs, /memory -- */

static void put_time(struct page *page, int64_t seconds)
{
    char text[64];
    struct tm parts;
    time_t when = (time_t)seconds;
    if (gmtime_r(&when, &parts) == NULL || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        text[0] = '\0';
    put(page, "\"%s\"", text);
}

static void put_cert(struct page *page, const struct proxy_cert_info *cert, int64_t now)
{
    int64_t left = cert->not_after > now ? (cert->not_after - now) / 86400 : 0;
    put(page, "{\"cert_chain\":[{\"path\":");
    put_string(page, cert->path);
    put(page, ",\"subject_alt_names\":[");
    if (cert->spiffe.len > 0) {
        put(page, "{\"uri\":");
        put_string(page, cert->spiffe);
        put(page, "}");
    }
    put(page, "],\"days_until_expiration\":\"%" PRId64 "\",\"expired\":%s,\"valid_from\":", left,
        cert->not_after <= now ? "true" : "false");
    put_time(page, cert->not_before);
    put(page, ",\"expiration_time\":");
    put_time(page, cert->not_after);
    put(page, "}]}");
}

int proxy_page_certs(const struct proxy_snapshot *snapshot, int64_t now, struct fl_buf *out)
{
    struct page page = {.out = out};
    put(&page, "{\"certificates\":[");
    for (size_t i = 0; i < snapshot->cert_count; i++) {
        put(&page, "%s", i > 0 ? "," : "");
        put_cert(&page, &snapshot->certs[i], now);
    }
    put(&page, "]}\n");
    return page.result;
}

int proxy_page_memory(struct fl_buf *out)
{
    struct page page = {.out = out};
    struct mallinfo2 info = mallinfo2();
    put(&page, "{\"allocated\":\"%zu\",\"heap_size\":\"%zu\",\"mapped\":\"%zu\",\"free\":\"%zu\"}\n",
        info.uordblks + info.hblkhd, info.arena + info.hblkhd, info.hblkhd, info.fordblks);
    return page.result;
}
