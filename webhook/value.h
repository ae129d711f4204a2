/* Values that operators and users write, and what is right for each: image references, Kubernetes quantities, log
 * levels, pull policies. Pure; used by the configuration and by annotations, so that both say the same. */
#ifndef WEBHOOK_VALUE_H
#define WEBHOOK_VALUE_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

/* All answer 0, or -EINVAL with the value and what would be right in err. */

/* [host[:port]/]path[:tag][@algorithm:hex], as container runtimes read it; ≤ WEBHOOK_IMAGE_MAX bytes. */
int webhook_image_check(struct fl_span text, struct fl_err *err) FL_MUST_CHECK;

/* A Kubernetes quantity that is not negative: "100m", "0.5", "64Mi", "1e3". *ret_nano: in units of 10^-9, rounded up;
 * larger than 10^18 (an exa) is refused. */
int webhook_quantity_parse(struct fl_span text, __int128 *ret_nano, struct fl_err *err) FL_MUST_CHECK;

int webhook_log_level_check(struct fl_span text, struct fl_err *err) FL_MUST_CHECK;
int webhook_pull_policy_check(struct fl_span text, struct fl_err *err) FL_MUST_CHECK;

/* A DNS-1123 label (namespaces, revisions). */
bool webhook_is_label(struct fl_span text);
/* A DNS name: labels with dots between, ≤ WEBHOOK_NAME_MAX bytes. */
bool webhook_is_dns_name(struct fl_span text);

/* Copies the text into a field of `size` bytes, cut where it is too long, NUL-terminated. */
void webhook_keep(char *field, size_t size, struct fl_span text);

/* For messages: at most 64 bytes of a value, for "%.*s". */
#define WEBHOOK_SHOW(span) (int)((span).len < 64 ? (span).len : 64), (span).len > 0 ? (span).data : ""

#endif
