/* What was read, as keys and certificates; the view that `rotate` decides upon; and the making of new ones. No network.
 *
 * Whatever stands in a Secret or caBundle may be garbage: what cannot be used is as if it were not there, and no text
 * of it reaches the API again.
 */
#ifndef WEBHOOK_KEEPER_MATERIAL_H
#define WEBHOOK_KEEPER_MATERIAL_H

#include "webhook/keeper/cabundle.h"
#include "webhook/keeper/observe.h"
#include "webhook/keeper/secret.h"

struct keeper_material {
    struct fl_roots roots; /* all that stand anywhere; the view's masks are over these */
    struct fl_key *current_key, *next_key;
    struct keeper_view view;
};

struct keeper_material_options {
    bool external;
    const char *const *names;         /* DNS names of the leaf; ends with NULL */
    const char *service, *name_space; /* whose webhooks are ours */
    bool (*is_blocked)(const void *owner, const struct keeper_configuration *configuration);
    const void *owner;
};

void keeper_material_done(struct keeper_material *material);

/* Reads everything into a fresh (zeroed) material: the roots of the CA's Secret first, so that whatever stands
 * elsewhere cannot crowd them out. `objects`: MutatingWebhookConfigurations as JSON, which become configurations[];
 * is_blocked tells those that belong to another manager. 0, -EINVAL (an object is none), -ENOMEM; then material and
 * configurations are as empty as before. */
int keeper_material_read(struct keeper_material *material, const struct keeper_material_options *options,
                         const struct keeper_secret *leaf, const struct keeper_secret *ca,
                         struct fl_json *const *objects, struct keeper_configuration *configurations, size_t count,
                         struct fl_err *err) FL_MUST_CHECK;

/* Fingerprints of all roots, for keeper_observe. 0 or -ENOMEM. */
int keeper_material_digests(const struct keeper_material *material, keeper_digest *ret_digests) FL_MUST_CHECK;

/* A new root (its name tells when it was made) or a leaf under the present root: PEM, appended to `cert` and `key`,
 * valid from KEEPER_BACKDATE_SECONDS before now to not_after. 0, or a negative errno with the reason. */
int keeper_make_root(int64_t now, int64_t not_after, struct fl_buf *cert, struct fl_buf *key,
                     struct fl_err *err) FL_MUST_CHECK;
int keeper_make_leaf(const struct keeper_material *material, const char *const *names, int64_t now, int64_t not_after,
                     struct fl_buf *cert, struct fl_buf *key, struct fl_err *err) FL_MUST_CHECK;

#endif
