/* GatewayClass.status.supportedFeatures: the names of Gateway API's features that the data plane really has, as its
 * conformance suite asks for them. */
#ifndef CONTROL_STATUS_FEATURES_H
#define CONTROL_STATUS_FEATURES_H

#include "common/doc/json.h"

/* [{name}, …] by name; NULL when memory is out. */
struct fl_json *control_features(void) FL_MUST_CHECK;

/* Releases of Gateway API whose CRDs we read, by what their annotation gateway.networking.k8s.io/bundle-version says
 * ("v1.6.3"): 1.0 to 1.6. */
bool control_features_bundle_is_supported(struct fl_span version);
#define CONTROL_BUNDLE_ANNOTATION "gateway.networking.k8s.io/bundle-version"
#define CONTROL_BUNDLE_WANTED     "v1.0 to v1.6"

#endif
