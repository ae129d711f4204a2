#include "control/status/features.h"

#include "common/doc/build.h"

/* By name. A feature is here when the suite's tests of it pass (tests/conformance). */
static const char *const features[] = {
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayInfrastructure",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteCORS",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ListenerSet",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "TLSRouteModeMixed",
    "TLSRouteModeTerminate",
};

struct fl_json *control_features(void)
{
    struct fl_json *list = fl_json_new_array();
    for (size_t i = 0; i < FL_COUNT(features); i++)
        list = fl_json_and(list, fl_json_object_of("name", fl_json_text(features[i])));
    return list;
}

bool control_features_bundle_is_supported(struct fl_span version)
{
    struct fl_span rest = version, part;
    uint64_t major = 0, minor = 0;
    return fl_span_starts_with(version, FL_SPAN("v")) && fl_span_split(&rest, '.', &part) &&
           fl_span_to_u64(fl_span_from(part, 1), 1000, &major) && major == 1 && fl_span_split(&rest, '.', &part) &&
           fl_span_to_u64(part, 1000, &minor) && minor <= 6;
}
