/* The annotation fairlead.io/status: what was added to a pod, by which program and revision, and what stood in the
 * place of what was changed, so that exactly ours can be taken away again (remove.h). Read here, written by origin.h.
 *
 *   {"version":1,"program":"0.1.0","revision":"default","container":"fairlead-proxy",
 *    "volumes":["fairlead-proxy","fairlead-token"],                        those that we added
 *    "added":{"labels":{"service.istio.io/canonical-name":"web"},          what we wrote where nothing was
 *             "annotations":{"prometheus.io/scrape":"true"}},
 *    "replaced":{"prometheus.io/port":"9100"},                             annotations: what was there
 *    "handlers":[{"container":"app","kind":"readyz","handler":{"httpGet":{"port":"web"}}}],
 *                                       where fairlead.io/probes tells the same, but not as it was written
 *    "empty":{"volumes":[]}}                                               what was there without anything in it
 *
 * Members from "added" on are left out where they hold nothing. Anybody can write such a text: it tells what may be
 * brought into form or taken away, never that it is in form. Pure. */
#ifndef WEBHOOK_STATUS_H
#define WEBHOOK_STATUS_H

#include "common/doc/json.h"

#define WEBHOOK_STATUS_VERSION 1
#define WEBHOOK_STATUS_MAX     32768 /* bytes; a longer one is written without what makes it long */

/* The pod's, owned by the caller; NULL where it has none, or not in this form. 0 or -ENOMEM. */
int webhook_status_read(const struct fl_json *pod, struct fl_json **ret_status) FL_MUST_CHECK;

/* It lists this volume. */
bool webhook_status_lists(const struct fl_json *status, struct fl_span volume);

/* What we wrote where nothing was, in "labels" or "annotations"; NULL: nothing. */
const struct fl_json *webhook_status_added(const struct fl_json *status, const char *map, const char *key);
/* What an annotation was; NULL: we replaced nothing. */
const struct fl_json *webhook_status_replaced(const struct fl_json *status, const char *key);
/* An app's handler as it was written: {"httpGet":{…}}; NULL: as the annotation fairlead.io/probes has it. */
const struct fl_json *webhook_status_handler(const struct fl_json *status, struct fl_span container,
                                             struct fl_span kind);

#endif
