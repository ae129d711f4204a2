/* The mutable side: sources put and remove objects, then commit; each commit makes a new immutable model (model.h) and
 * the difference to the one before. Objects that did not change are shared. Single-threaded.
 *
 * A put whose content hash equals what is there is no change (only the origin is taken over). A commit costs one pass
 * over arrays of pointers and a merge of what changed: ≤ 20 ms for one endpoint of 10,000. When memory is out, the
 * commit fails whole: the model before stays, the pending changes stay pending.
 */
#ifndef CONTROL_MODEL_STORE_H
#define CONTROL_MODEL_STORE_H

#include "control/model/model.h"

#define CONTROL_OBJECTS_MAX (1u << 20)

struct control_store;

enum control_change_kind { CONTROL_CAME, CONTROL_CHANGED, CONTROL_WENT };

struct control_change {
    enum control_change_kind kind;
    const struct control_object *before, *after; /* NULL where it came, went */
};

struct control_diff { /* by kind, namespace, name; holds its objects and the two models */
    struct control_model *before, *after;
    const struct control_change *changes;
    size_t count;
};

int control_store_new(struct control_store **ret_store) FL_MUST_CHECK; /* with an empty model; 0, -ENOMEM */
struct control_store *control_store_free(struct control_store *store);

/* The trust domain whose identities our CA signs: the default of MeshSettings. Before the first commit; borrowed, for
 * as long as any of the store's models. */
void control_store_set_issuer(struct control_store *store, struct fl_span trust_domain);
/* The root namespace (control_model_root), which is CONTROL_ROOT_DEFAULT without this. Before the first commit; copied,
 * 63 bytes at most. */
void control_store_set_root(struct control_store *store, struct fl_span name_space);

/* Takes a reference of its own. 0, -ENOMEM, -ENOSPC past CONTROL_OBJECTS_MAX. */
int control_store_put(struct control_store *store, const struct control_object *object) FL_MUST_CHECK;
/* 0, also where it was not there; -ENOMEM. */
int control_store_remove(struct control_store *store, struct control_key key) FL_MUST_CHECK;
/* What a commit would have of this key; NULL: nothing. Borrowed until the next call. Looks through all that waits for
 * the commit: for what is rare. */
const struct control_object *control_store_find(const struct control_store *store, struct control_key key);
/* Whether anything waits for a commit. */
bool control_store_is_pending(const struct control_store *store);
/* What the source could not put (shown in status); replaces the list before; takes a reference. */
void control_store_set_problems(struct control_store *store, const struct control_problems *problems);

/* *ret_diff (owned by the caller: control_diff_free) has count 0 where nothing changed; then the model stays the same
 * one unless the problems changed. 0, -ENOMEM. */
int control_store_commit(struct control_store *store, struct control_diff **ret_diff) FL_MUST_CHECK;
struct control_diff *control_diff_free(struct control_diff *diff);

struct control_model *control_store_model(const struct control_store *store); /* the one in force, borrowed */

#endif
