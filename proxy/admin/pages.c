#include "proxy/admin/pages.h"

#include "common/base/print.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <time.h>

static void put_address(struct fl_print *page, const struct proxy_address *address)
{
    char text[PROXY_ADDRESS_TEXT_MAX];
    proxy_address_print(address, text);
    fl_print(page, "%s", text);
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
    struct fl_print page = {.out = out};
    fl_print(&page,
             "{\"version\":\"fairlead/" FL_VERSION "\",\"state\":\"%s\",\"uptime_current_epoch\":\"%" PRIu64 "s\",",
             proxy_server_state_name(facts->state), facts->uptime_s);
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

static void put_listener_json(struct fl_print *page, const struct proxy_listener *listener)
{
    fl_print(page, "{\"name\":");
    fl_print_json(page, listener->name);
    fl_print(page, ",\"local_address\":\"");
    put_address(page, &listener->address);
    fl_print(page, "\",\"filter_chains\":%zu}", listener->chain_count + (listener->default_chain != NULL));
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
        fl_print(page, "%.*s::%s::weight::%" PRIu32 "\n", FL_SPAN_ARG(cluster->name), address, endpoint->weight);
        fl_print(page, "%.*s::%s::priority::%" PRIu32 "\n", FL_SPAN_ARG(cluster->name), address, endpoint->priority);
        if (endpoint->identity.len > 0)
            fl_print(page, "%.*s::%s::identity::%.*s\n", FL_SPAN_ARG(cluster->name), address,
                     FL_SPAN_ARG(endpoint->identity));
    }
}

static void put_cluster(struct fl_print *page, const struct proxy_cluster *cluster)
{
    static const char *const types[] = {
        [PROXY_CLUSTER_STATIC] = "STATIC", [PROXY_CLUSTER_ORIGINAL_DST] = "ORIGINAL_DST", [PROXY_CLUSTER_EDS] = "EDS"};
    const struct {
        const char *name;
        uint32_t value;
    } limits[] = {{"max_connections", cluster->max_connections},
                  {"max_pending_requests", cluster->max_pending_requests},
                  {"max_requests", cluster->max_requests}};
    fl_print(page, "%.*s::type::%s\n", FL_SPAN_ARG(cluster->name), types[cluster->type]);
    fl_print(page, "%.*s::tls::%s\n", FL_SPAN_ARG(cluster->name), cluster->tls != NULL ? "true" : "false");
    for (size_t i = 0; i < FL_COUNT(limits); i++)
        fl_print(page, "%.*s::default_priority::%s::%" PRIu32 "\n", FL_SPAN_ARG(cluster->name), limits[i].name,
                 limits[i].value);
}

int proxy_page_clusters(const struct proxy_snapshot *snapshot, struct fl_buf *out)
{
    struct fl_print page = {.out = out};
    for (size_t i = 0; i < snapshot->cluster_slots; i++) {
        if (snapshot->clusters[i] == NULL)
            continue;
        put_cluster(&page, snapshot->clusters[i]);
        put_endpoints(&page, snapshot->clusters[i], proxy_snapshot_endpoints(snapshot, snapshot->clusters[i]));
    }
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

int proxy_page_memory(struct fl_buf *out)
{
    struct fl_print page = {.out = out};
    struct mallinfo2 info = mallinfo2();
    fl_print(&page, "{\"allocated\":\"%zu\",\"heap_size\":\"%zu\",\"mapped\":\"%zu\",\"free\":\"%zu\"}\n",
             info.uordblks + info.hblkhd, info.arena + info.hblkhd, info.hblkhd, info.fordblks);
    return page.result;
}
