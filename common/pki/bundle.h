/* Trust bundles: the roots that a peer's chain must end in. Immutable, counted (atomically); replaced whole on
 * rotation. What stands in it is trusted as it is: an intermediate in the bundle ends a chain too. */
#ifndef FL_PKI_BUNDLE_H
#define FL_PKI_BUNDLE_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define FL_BUNDLE_ROOTS_MAX 100
#define FL_BUNDLE_PEM_MAX   1048576 /* bytes of a PEM text */

struct fl_bundle;

/* PEM of one or more CA certificates (by basicConstraints); a leaf among them refuses the whole. -EINVAL, -ENOMEM. */
int fl_bundle_parse(struct fl_span pem, struct fl_bundle **ret_bundle, struct fl_err *err) FL_MUST_CHECK;
struct fl_bundle *fl_bundle_ref(struct fl_bundle *bundle);
struct fl_bundle *fl_bundle_unref(struct fl_bundle *bundle);
void fl_cleanup_bundle(struct fl_bundle **bundle);
size_t fl_bundle_count(const struct fl_bundle *bundle);

#endif
