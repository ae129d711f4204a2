/* The HTTP port: /healthz, /readyz, /metrics, /status, /debug/proxies, /debug/config?proxy=ID. Read only; keys are
 * never shown. */
#ifndef CONTROL_PAGES_H
#define CONTROL_PAGES_H

#include "common/base/err.h"
#include "control/xds/server.h"

struct control_pages;

struct control_pages_options {
    struct fl_loop *loop;
    const char *address;
    struct fl_metrics *metrics;
    struct control_store *store;
    struct control_proxies *proxies;
};

int control_pages_new(const struct control_pages_options *options, struct control_pages **ret_pages,
                      struct fl_err *err) FL_MUST_CHECK;
struct control_pages *control_pages_free(struct control_pages *pages);

uint16_t control_pages_port(const struct control_pages *pages);
/* Whether it is ready to serve: /readyz. */
void control_pages_set_ready(struct control_pages *pages, bool ready);

#endif
