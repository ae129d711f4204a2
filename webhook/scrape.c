#include "webhook/scrape.h"

#include "common/mesh/label.h"
#include "common/mesh/port.h"
#include "webhook/pod.h"
#include "webhook/value.h"

#include <errno.h>
#include <stdio.h>

_Static_assert(FL_PORT_MERGED == 15020, "WEBHOOK_SCRAPE_PORT_OURS is its text");

struct own { /* the pod's annotations as they are; data == NULL: absent */
    struct fl_span scrape, port, path, scheme, metrics;
};

static struct own read_own(const struct fl_json *pod)
{
    const struct fl_json *annotations = webhook_pod_annotations(pod);
    return (struct own){
        .scrape = webhook_pod_value(annotations, WEBHOOK_SCRAPE),
        .port = webhook_pod_value(annotations, WEBHOOK_SCRAPE_PORT),
        .path = webhook_pod_value(annotations, WEBHOOK_SCRAPE_PATH),
        .scheme = webhook_pod_value(annotations, WEBHOOK_SCRAPE_SCHEME),
        .metrics = webhook_pod_value(annotations, FL_ANNOTATION_METRICS),
    };
}

static bool is_merged(const struct own *own)
{
    return fl_span_eq_str(own->port, WEBHOOK_SCRAPE_PORT_OURS) && fl_span_eq_str(own->path, WEBHOOK_SCRAPE_PATH_OURS);
}

/* The one TCP port that the app's containers declare; 0: none, or several. */
static uint16_t declared_port(const struct fl_json *pod)
{
    const struct fl_json *containers = webhook_pod_member(webhook_pod_member(pod, "spec"), "containers");
    int64_t found = 0, number;
    for (const struct fl_json *item = fl_json_first(containers); item != NULL; item = fl_json_next(item)) {
        if (fl_span_eq_str(fl_json_string(fl_json_get(item, "name")), FL_CONTAINER_NAME))
            continue;
        const struct fl_json *ports = webhook_pod_member(item, "ports");
        for (const struct fl_json *port = fl_json_first(ports); port != NULL; port = fl_json_next(port)) {
            struct fl_span protocol = fl_json_string(fl_json_get(port, "protocol"));
            if ((protocol.len > 0 && !fl_span_eq_str(protocol, "TCP")) ||
                !fl_json_int(fl_json_get(port, "containerPort"), 1, UINT16_MAX, &number) || number == found)
                continue;
            if (found != 0)
                return 0;
            found = number;
        }
    }
    return fl_port_is_ours((uint16_t)found) ? 0 : (uint16_t)found;
}

static bool is_our_port(struct fl_span text)
{
    uint64_t port;
    return fl_span_to_u64(text, UINT16_MAX, &port) && fl_port_is_ours((uint16_t)port);
}

/* Where the app's own metrics are: 1 with *ret_metrics, 0 where it has none, -EINVAL with what is wrong. */
static int find_app(const struct fl_json *pod, const struct own *own, struct fl_appmetrics *ret_metrics,
                    struct fl_err *err)
{
    if (is_merged(own)) {
        int result = own->metrics.len > 0 ? fl_appmetrics_parse(own->metrics, ret_metrics, NULL) : -EINVAL;
        return result == 0 || result == -ENOMEM ? result == 0 ? 1 : result : 0;
    }
    if (!fl_span_eq_str(own->scrape, "true") || is_our_port(own->port))
        return 0;
    uint16_t declared = own->port.len == 0 ? declared_port(pod) : 0;
    if (own->port.len == 0 && declared == 0)
        return fl_err_set(err, -EINVAL, "annotation " WEBHOOK_SCRAPE_PORT " is needed where not one port is declared");
    int result = fl_appmetrics_set(own->scheme, own->port, own->path, declared, ret_metrics, err);
    return result == 0 ? 1 : result;
}

static void set_ours(const struct own *own, struct webhook_scrape *scrape)
{
    scrape->set = true;
    scrape->scrape = FL_SPAN(WEBHOOK_SCRAPE_OURS);
    scrape->port = FL_SPAN(WEBHOOK_SCRAPE_PORT_OURS);
    scrape->path = FL_SPAN(WEBHOOK_SCRAPE_PATH_OURS);
    scrape->set_scheme = own->scheme.data != NULL && !fl_span_eq_str(own->scheme, WEBHOOK_SCRAPE_SCHEME_OURS);
    scrape->scheme = FL_SPAN(WEBHOOK_SCRAPE_SCHEME_OURS);
}

static void set_back(const struct fl_appmetrics *metrics, struct webhook_scrape *scrape)
{
    int len = snprintf(scrape->room, sizeof(scrape->room), "%u", (unsigned)metrics->port);
    memcpy(scrape->room + 8, metrics->path, metrics->path_len);
    scrape->set = true;
    scrape->scrape = FL_SPAN("true");
    scrape->port = fl_span_make(scrape->room, (size_t)len);
    scrape->path = fl_span_make(scrape->room + 8, metrics->path_len);
    scrape->set_scheme = metrics->https;
    scrape->scheme = FL_SPAN("https");
}

int webhook_scrape_plan(const struct fl_json *pod, bool merge, struct webhook_scrape *ret_scrape,
                        struct webhook_warnings *warnings)
{
    struct own own = read_own(pod);
    struct fl_appmetrics metrics;
    struct fl_err err = {0};
    ret_scrape->set = ret_scrape->set_scheme = false;
    fl_buf_init(&ret_scrape->text, FL_APPMETRICS_TEXT_MAX);
    if ((!merge && !is_merged(&own)) || fl_span_eq_str(own.scrape, "false"))
        return 0;
    int app = find_app(pod, &own, &metrics, &err);
    if (app == -EINVAL) {
        webhook_warn(warnings, "the metrics stay apart: %.180s", err.text);
        return 0;
    }
    if (app < 0)
        return app;
    if (!merge) {
        if (app == 1)
            set_back(&metrics, ret_scrape);
        return 0;
    }
    set_ours(&own, ret_scrape);
    int result = app == 1 ? fl_appmetrics_print(&metrics, &ret_scrape->text) : 0;
    if (result < 0)
        webhook_scrape_done(ret_scrape);
    return result;
}

void webhook_scrape_done(struct webhook_scrape *scrape)
{
    fl_buf_done(&scrape->text);
}
