/* The namespaces of a scene, gathered from manifests: those that stand among them, and an empty one for each that an
 * object lies in. */
#ifndef CLI_GATHER_H
#define CLI_GATHER_H

#include "cli/manifest.h"
#include "cli/scene.h"

/* `otherwise`: the namespace of objects that name none. 0 or -ENOMEM. */
int cli_gather(const struct cli_manifests *manifests, struct fl_span otherwise, struct cli_scene *scene) FL_MUST_CHECK;
/* The same from a file (--namespaces); NULL: none. Also what cli_manifests_read answers. */
int cli_gather_file(const char *path, struct fl_span otherwise, struct cli_scene *scene,
                    struct fl_err *err) FL_MUST_CHECK;

#endif
