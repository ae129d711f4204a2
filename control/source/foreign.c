#include "control/source/foreign.h"

#include <errno.h>

/* The first row that fits counts; kind NULL: every other of the group. */
static const struct {
    const char *group, *kind, *instead;
} rows[] = {
    {"networking.istio.io", "VirtualService", "HTTPRoute or TCPRoute"},
    {"networking.istio.io", "DestinationRule", "TrafficPolicy and PeerAuthentication of fairlead.io"},
    {"networking.istio.io", "Gateway", "Gateway of gateway.networking.k8s.io"},
    {"networking.istio.io", NULL, "nothing: there is no such thing here"},
    {"security.istio.io", "AuthorizationPolicy", "AuthorizationPolicy of fairlead.io"},
    {"security.istio.io", "RequestAuthentication", "RequestAuthentication of fairlead.io"},
    {"security.istio.io", "PeerAuthentication", "PeerAuthentication of fairlead.io"},
    {"security.istio.io", NULL, "the policies of fairlead.io"},
    {"telemetry.istio.io", NULL, "Telemetry of fairlead.io"},
    {"gateway.networking.k8s.io", NULL, "nothing: there is no such thing here"},
};

static struct fl_span group_of(struct fl_span version)
{
    size_t slash = fl_span_find(version, '/');
    return slash < version.len ? fl_span_make(version.data, slash) : FL_SPAN("");
}

bool control_foreign_tell(const struct fl_json *document, struct fl_err *ret_text)
{
    struct fl_span group = group_of(fl_json_string(fl_json_get(document, "apiVersion")));
    struct fl_span kind = fl_json_string(fl_json_get(document, "kind"));
    struct fl_span name = fl_json_string(fl_json_get(fl_json_get(document, "metadata"), "name"));
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        if (!fl_span_eq_str(group, rows[i].group) || (rows[i].kind != NULL && !fl_span_eq_str(kind, rows[i].kind)))
            continue;
        fl_err_set(ret_text, -ENOTSUP, "%.*s \"%.*s\" of %s is not read: use %s", FL_SPAN_ARG(kind), FL_SPAN_ARG(name),
                   rows[i].group, rows[i].instead);
        return true;
    }
    return false;
}
