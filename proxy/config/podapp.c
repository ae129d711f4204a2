#include "proxy/config/podapp.h"

#include "common/mesh/label.h"

#include <errno.h>

static int read_address(struct fl_span ips, struct proxy_podapp *app, struct fl_err *err)
{
    struct fl_span first = FL_SPAN("127.0.0.1");
    if (ips.len > 0)
        (void)fl_span_split(&ips, ',', &first);
    if (proxy_address_parse(fl_span_trim(first), 0, &app->address) != 0)
        return fl_err_set(err, -EINVAL, FL_ENV_POD_IPS ": expected the pod's IP addresses, with commas between");
    return 0;
}

static int read_probes(struct fl_span text, struct proxy_podapp *app, struct fl_err *err)
{
    int result = text.len > 0 ? fl_appprobes_parse(text, &app->probes, err) : 0;
    if (result < 0 && err != NULL)
        fl_err_prefix(err, FL_ENV_PROBES);
    return result;
}

static int read_metrics(struct fl_span text, struct proxy_podapp *app, struct fl_err *err)
{
    app->has_metrics = text.len > 0;
    int result = app->has_metrics ? fl_appmetrics_parse(text, &app->metrics, err) : 0;
    if (result < 0 && err != NULL)
        fl_err_prefix(err, FL_ENV_METRICS);
    return result;
}

int proxy_podapp_read(const char *(*get)(void *owner, const char *name), void *owner, struct proxy_podapp *ret_app,
                      struct fl_err *err)
{
    struct proxy_podapp app = {.has_metrics = false};
    int result = read_probes(fl_span_str(get(owner, FL_ENV_PROBES)), &app, err);
    if (result == 0)
        result = read_metrics(fl_span_str(get(owner, FL_ENV_METRICS)), &app, err);
    if (result == 0 && (app.probes.count > 0 || app.has_metrics))
        result = read_address(fl_span_str(get(owner, FL_ENV_POD_IPS)), &app, err);
    if (result == 0)
        *ret_app = app;
    else
        proxy_podapp_done(&app);
    return result;
}

void proxy_podapp_done(struct proxy_podapp *app)
{
    fl_appprobes_done(&app->probes);
}
