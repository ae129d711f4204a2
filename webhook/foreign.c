#include "webhook/foreign.h"

#include "webhook/pod.h"

static bool is_foreign_name(struct fl_span name)
{
    static const char *const names[] = {"istio-proxy",
                                        "istio-init",
                                        "istio-validation",
                                        "linkerd-proxy",
                                        "linkerd-init",
                                        "kuma-sidecar",
                                        "linkerd-network-validator",
                                        "kuma-init",
                                        "kuma-validation",
                                        "envoy-sidecar",
                                        "consul-connect-inject-init",
                                        "consul-dataplane",
                                        "consul-mesh-init",
                                        "consul-sidecar",
                                        "consul-connect-envoy-sidecar"};
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        if (fl_span_eq_str(name, names[i]))
            return true;
    }
    return false;
}

/* The image's path ends with these parts, whatever the registry, tag and digest. */
static bool is_foreign_image(struct fl_span image)
{
    static const char *const ends[] = {"/istio/proxyv2", "/linkerd/proxy", "/linkerd/proxy-init", "/kumahq/kuma-dp",
                                       "/hashicorp/consul-dataplane"};
    image.len = fl_span_find(image, '@');
    size_t slash = image.len;
    while (slash > 0 && image.data[slash - 1] != '/')
        slash--;
    image.len = slash + fl_span_find(fl_span_from(image, slash), ':');
    for (size_t i = 0; i < FL_COUNT(ends); i++) {
        struct fl_span end = fl_span_str(ends[i]);
        if (fl_span_ends_with(image, end) || fl_span_eq(image, fl_span_from(end, 1)))
            return true;
    }
    return false;
}

struct fl_span webhook_foreign_find(const struct fl_json *spec)
{
    for (size_t i = 0; webhook_container_lists[i] != NULL; i++) {
        const struct fl_json *list = webhook_pod_member(spec, webhook_container_lists[i]);
        for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
            struct fl_span name = fl_json_string(fl_json_get(item, "name"));
            struct fl_span image = fl_json_string(fl_json_get(item, "image"));
            if (name.len > 0 && (is_foreign_name(name) || (image.len > 0 && is_foreign_image(image))))
                return name;
        }
    }
    return (struct fl_span){NULL, 0};
}
