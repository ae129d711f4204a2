/* What every pod that was brought into the mesh keeps to, whatever it was before: asserted for each golden case and
 * for random pods. Written apart from the product's own self-check, and blunter. */
#ifndef TESTS_UNIT_WEBHOOK_INVARIANT_H
#define TESTS_UNIT_WEBHOOK_INVARIANT_H

#include "common/doc/json.h"

/* Fails the test, naming `what`, where
 * - anything but ours differs: the container, the volumes, the app's handlers, labels and annotations that we write;
 * - a container, a volume, or a mount, port or variable of our container is there twice (and was not before);
 * - the sidecar's container would be refused by Pod Security "restricted", or is not what holds the app;
 * - another container mounts the sidecar's volumes;
 * - an annotation of ours cannot be read, or handlers that point to the sidecar and their originals do not fit. */
void check_patched_pod(const char *what, const struct fl_json *before, const struct fl_json *after);

/* The mesh taken out of `after` again (webhook/remove.h) gives `before`, but for the annotations that only the mesh
 * writes; and there is nothing more to take out then. Left out is a pod that had parts of ours before. */
void check_removed_pod(const char *what, const struct fl_json *before, const struct fl_json *after);

#endif
