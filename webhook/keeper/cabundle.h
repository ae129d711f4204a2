/* The caBundle field of a MutatingWebhookConfiguration: read out of its JSON, and the server-side apply that sets it
 * and nothing else. Pure.
 *
 * An apply says all that its field manager wants: a webhook that is left out loses the field again. So every webhook of
 * the configuration that is ours stands in it, whichever differs. It names the version that was read, so that a keeper
 * that slept meanwhile writes nothing, and so that an apply never makes a configuration.
 */
#ifndef WEBHOOK_KEEPER_CABUNDLE_H
#define WEBHOOK_KEEPER_CABUNDLE_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/doc/json.h"
#include "common/pki/roots.h"
#include "webhook/keeper/secret.h"

#define KEEPER_CONFIGURATIONS_MAX 16
#define KEEPER_WEBHOOKS_MAX       64         /* of one configuration */
#define KEEPER_CONFIGURATION_MAX  (3u << 20) /* bytes of an answer */
#define KEEPER_CONFIGURATION_NAME 254        /* and its NUL */
#define KEEPER_WEBHOOK_NAME       254
#define KEEPER_MANAGER_MAX        129

struct keeper_webhook {
    char name[KEEPER_WEBHOOK_NAME];
    uint32_t roots; /* of its caBundle; 0: none, or nothing that can be read */
    bool empty;     /* there is no caBundle */
};

struct keeper_configuration {
    char name[KEEPER_CONFIGURATION_NAME];
    char version[KEEPER_VERSION_MAX];
    struct keeper_webhook *webhooks; /* owned; those whose service is ours, or that name a URL */
    size_t webhook_count;
};

void keeper_configuration_done(struct keeper_configuration *configuration);

/* Whose webhooks: clientConfig.service of this name and namespace; those with a url count too. Roots are added to
 * `roots`. 0; -EINVAL: it is no such configuration, or one past the limits; -ENOMEM. */
int keeper_configuration_read(const struct fl_json *object, const char *service, const char *name_space,
                              struct fl_roots *roots, struct keeper_configuration *ret_configuration,
                              struct fl_err *err) FL_MUST_CHECK;

/* The apply's body (application/apply-patch+yaml; JSON is YAML), appended. 0, -ENOMEM, -EMSGSIZE. */
int keeper_configuration_print(const struct keeper_configuration *configuration, struct fl_span pem,
                               struct fl_buf *out) FL_MUST_CHECK;

/* Whether a 409 says that the field belongs to another manager (and not that somebody was quicker); its name as the
 * API server tells it, for people, cut. */
bool keeper_is_conflict(struct fl_span status, char ret_manager[KEEPER_MANAGER_MAX]);

#endif
