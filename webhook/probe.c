#include "webhook/probe.h"

#include "common/mesh/label.h"
#include "common/mesh/port.h"
#include "webhook/pod.h"
#include "webhook/value.h"

#include <stdio.h>

struct finding {
    struct fl_span container;
    const char *probe;
    unsigned port;
    size_t count;
};

/* A probe's port is a number or the name of one of the container's ports. 0: unknown. */
static unsigned resolve(const struct fl_json *container, const struct fl_json *port)
{
    int64_t number;
    if (fl_json_is(port, FL_JSON_STRING)) {
        const struct fl_json *ports = webhook_pod_member(container, "ports");
        port = fl_json_get(webhook_list_find(ports, "name", fl_json_string(port), NULL), "containerPort");
    }
    return fl_json_int(port, 1, 65535, &number) ? (unsigned)number : 0;
}

static void look(const struct fl_json *container, const struct fl_capture *capture, struct finding *finding)
{
    static const char *const probes[] = {"startupProbe", "readinessProbe", "livenessProbe"};
    static const char *const actions[] = {"httpGet", "tcpSocket", "grpc"};
    for (size_t i = 0; i < FL_COUNT(probes) * FL_COUNT(actions); i++) {
        const char *probe = probes[i / FL_COUNT(actions)];
        const struct fl_json *action = fl_json_get(fl_json_get(container, probe), actions[i % FL_COUNT(actions)]);
        unsigned port = resolve(container, fl_json_get(action, "port"));
        if (port == 0 || fl_port_is_ours((uint16_t)port) ||
            !fl_port_list_contains(&capture->inbound_include, (uint16_t)port) ||
            fl_port_list_contains(&capture->inbound_exclude, (uint16_t)port))
            continue;
        if (finding->count++ == 0) {
            finding->container = fl_json_string(fl_json_get(container, "name"));
            finding->probe = probe;
            finding->port = port;
        }
    }
}

static bool serves(const char *list, const struct fl_json *container)
{
    if (fl_span_eq_str(fl_json_string(fl_json_get(container, "name")), FL_CONTAINER_NAME))
        return false;
    return strcmp(list, "containers") == 0 ||
           fl_span_eq_str(fl_json_string(fl_json_get(container, "restartPolicy")), "Always");
}

void webhook_probe_warn(const struct fl_json *pod, const struct fl_capture *capture, struct webhook_warnings *warnings)
{
    const struct fl_json *spec = webhook_pod_member(pod, "spec");
    struct finding finding = {.count = 0};
    for (size_t i = 0; i < 2; i++) {
        const char *list = webhook_container_lists[i];
        const struct fl_json *items = webhook_pod_member(spec, list);
        for (const struct fl_json *item = fl_json_first(items); item != NULL; item = fl_json_next(item)) {
            if (serves(list, item))
                look(item, capture, &finding);
        }
    }
    if (finding.count == 0)
        return;
    char more[48] = "";
    if (finding.count > 1)
        snprintf(more, sizeof(more), " (and %zu more)", finding.count - 1);
    webhook_warn(warnings, "%.*s: %s on captured port %u%s fails under STRICT; exclude the port or use exec",
                 WEBHOOK_SHOW(finding.container), finding.probe, finding.port, more);
}
