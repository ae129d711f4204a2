/* Filters that may be left out without changing what a request meets: they are accepted and counted, so that a control
 * plane that always sends them can drive us. Each with its reason; the list stands in docs/configuration.md too. */
#include "proxy/config/context.h"

static const struct {
    const char *type;
    bool http;
} harmless[] = {
    /* Does nothing where it is empty; with content it is refused (strict: common/xds/registry.c). */
    {"envoy.extensions.filters.http.fault.v3.HTTPFault", true},
    /* Statistics. */
    {"envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", true},
    {"stats.PluginConfig", true},
    {"stats.PluginConfig", false},
    /* Labels about the peer, which we exchange in our own way. */
    {"io.istio.http.peer_metadata.Config", true},
};

bool compile_is_harmless(const pb_any *any, bool http)
{
    struct fl_span type = compile_type_name(any);
    for (size_t i = 0; i < FL_COUNT(harmless); i++)
        if (harmless[i].http == http && fl_span_eq_str(type, harmless[i].type))
            return true;
    return false;
}
