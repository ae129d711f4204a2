/* A TLS setting: what a transport socket says, without the secrets that it names (SDS). Immutable and counted; equal
 * messages are one setting, whose slot is named by the message's bytes. Setting and secrets together make a context.
 * For proxy/config alone.
 */
#ifndef PROXY_CONFIG_SETTING_H
#define PROXY_CONFIG_SETTING_H

#include "common/base/map.h"
#include "common/tls/context.h"
#include "proxy/config/assembly.h"

struct proxy_tls_setting {
    struct proxy_unit unit; /* first */
    const struct proxy_slot *slot;
    /* cert, key and bundle: its own ones, counted by it; NULL where there is none or a secret has it. require_spiffe is
     * set when the context is built. */
    struct fl_tls_options options;
    struct fl_span cert_secret, trust_secret; /* names; empty: none */
    enum proxy_want_source cert_source, trust_source;
    uint64_t digest;                /* of what was read from files and variables: equal names, other contents */
    struct fl_tls_context *context; /* where it names no secret; counted by it */
};

struct proxy_tls_setting *proxy_tls_setting_new(void); /* NULL when memory is out */
struct proxy_tls_setting *proxy_tls_setting_ref(struct proxy_tls_setting *setting);
struct proxy_tls_setting *proxy_tls_setting_unref(struct proxy_tls_setting *setting);

/* What a Secret resource holds: a certificate with its key, or roots, with the names that they are good for. */
struct proxy_secret {
    struct fl_cert *cert; /* all three are counted by the unit; NULL: none */
    struct fl_key *key;
    struct fl_bundle *bundle;
    const struct fl_tls_name_match *names;
    size_t name_count;
    struct proxy_cert_info info; /* of cert */
    uint64_t digest;             /* of what was read from files and variables */
};

/* Builds the context; `cert` and `trust` are the secrets that the setting names (else NULL). Contexts that differ in
 * names alone share what is dear: `cores` maps to those that were made before, with keys in `arena`; the caller keeps
 * them alive as long as the map. -EINVAL with the reason, -ENOMEM. */
int proxy_tls_setting_build(const struct proxy_tls_setting *setting, const struct proxy_secret *cert,
                            const struct proxy_secret *trust, struct fl_map *cores, struct fl_arena *arena,
                            struct fl_tls_context **ret_context, struct fl_err *err) FL_MUST_CHECK;
/* A context that is there already joins `cores`. 0 or -ENOMEM. */
int proxy_tls_setting_share(const struct proxy_tls_setting *setting, const struct proxy_secret *cert,
                            const struct proxy_secret *trust, struct fl_tls_context *context, struct fl_map *cores,
                            struct fl_arena *arena) FL_MUST_CHECK;

#endif
