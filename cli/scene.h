/* What a rehearsal stands in: the webhook's configuration, and the namespaces with their labels and annotations.
 */
#ifndef CLI_SCENE_H
#define CLI_SCENE_H

#include "webhook/review.h"

enum cli_labelled {
    CLI_LABELLED_AS_IT_IS,
    CLI_LABELLED_WHERE_UNSAID, /* a namespace without the inject label counts as enabled */
    CLI_LABELLED_ALL,          /* every namespace counts as enabled, whatever its label says */
};

struct cli_scene {
    struct fl_json *list; /* owned: Namespace objects, each once */
    struct webhook_config *config;
    struct webhook_namespaces *namespaces;
};

/* `config_file` NULL: the webhook's own defaults. Nothing to release on failure. */
int cli_scene_open(const char *config_file, struct cli_scene *ret_scene, struct fl_err *err) FL_MUST_CHECK;
/* The same with a configuration as text; `name` names it in errors. */
int cli_scene_open_text(struct fl_span config, const char *name, struct cli_scene *ret_scene,
                        struct fl_err *err) FL_MUST_CHECK;
void cli_scene_close(struct cli_scene *scene); /* a zeroed one is fine */

/* Adds a copy of a Namespace object; one of the same name is replaced. */
int cli_scene_add(struct cli_scene *scene, const struct fl_json *name_space) FL_MUST_CHECK;
/* Adds an empty one of this name where there is none. */
int cli_scene_need(struct cli_scene *scene, struct fl_span name) FL_MUST_CHECK;
/* When all are there: labels them as asked, and makes the set that the webhook reads. */
int cli_scene_set(struct cli_scene *scene, enum cli_labelled labelled, struct fl_err *err) FL_MUST_CHECK;

struct webhook_context cli_scene_context(const struct cli_scene *scene); /* borrowed from the scene */

#endif
