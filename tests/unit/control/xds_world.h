/* A model from YAML, for tests of what is generated from it. */
#ifndef TESTS_UNIT_CONTROL_XDS_WORLD_H
#define TESTS_UNIT_CONTROL_XDS_WORLD_H

#include "control/model/store.h"

/* Puts every document of the text into the store (asserts that each is an object that is known) and commits. */
struct control_diff *world_put(struct control_store *store, struct fl_span yaml);
/* Removes what the text names, and commits. */
struct control_diff *world_remove(struct control_store *store, struct fl_span yaml);

#endif
