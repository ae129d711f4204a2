/* TLS contexts: of a setting and the secrets that it names. */
#include "proxy/config/assembly_inner.h"

#include <errno.h>
#include <stdlib.h>

#define CORES_MAX (64u << 20) /* bytes of keys while contexts are made */

struct tls_entry *assembly_tls_free(struct tls_entry *entry)
{
    if (entry == NULL)
        return NULL;
    proxy_tls_setting_unref(entry->setting);
    proxy_tls_setting_unref(entry->staged);
    fl_tls_context_unref(entry->context);
    proxy_unit_unref(entry->cert_from);
    proxy_unit_unref(entry->trust_from);
    free(entry->reason);
    free(entry);
    return NULL;
}

/* -- making them -- */

/* The build of a secret that is in force; NULL. */
static const struct build *secret_of(const struct proxy_assembly *assembly, struct fl_span name)
{
    const struct resource *resource = name.len > 0 ? assembly_find(assembly, FL_RESOURCE_SECRET, name) : NULL;
    return resource != NULL ? resource->active : NULL;
}

static const struct proxy_secret *value_of(const struct build *build)
{
    return build != NULL ? build->value : NULL;
}

static struct proxy_unit *unit_of(const struct build *build)
{
    return build != NULL ? build->unit : NULL;
}

/* Nothing to do: it names no secrets and is made, these are the secrets that it was made of, or one is missing. */
static bool is_settled(const struct proxy_assembly *assembly, const struct tls_entry *entry)
{
    const struct proxy_tls_setting *setting = entry->setting;
    const struct build *cert = secret_of(assembly, setting->cert_secret);
    const struct build *trust = secret_of(assembly, setting->trust_secret);
    if (setting->cert_secret.len == 0 && setting->trust_secret.len == 0)
        return true;
    if ((setting->cert_secret.len > 0 && cert == NULL) || (setting->trust_secret.len > 0 && trust == NULL))
        return true;
    return entry->cert_from == unit_of(cert) && entry->trust_from == unit_of(trust);
}

static void note_tried(struct tls_entry *entry, const struct build *cert, const struct build *trust)
{
    proxy_unit_unref(entry->cert_from);
    proxy_unit_unref(entry->trust_from);
    entry->cert_from = proxy_unit_ref(unit_of(cert));
    entry->trust_from = proxy_unit_ref(unit_of(trust));
}

/* A setting that secrets do not fit keeps the context that it had. */
static int make(struct proxy_assembly *assembly, struct tls_entry *entry, struct fl_map *cores, struct fl_arena *arena)
{
    const struct build *cert = secret_of(assembly, entry->setting->cert_secret);
    const struct build *trust = secret_of(assembly, entry->setting->trust_secret);
    struct fl_tls_context *context;
    struct fl_err err = {0};
    int result = proxy_tls_setting_build(entry->setting, value_of(cert), value_of(trust), cores, arena, &context, &err);
    if (result == -ENOMEM)
        return result;
    note_tried(entry, cert, trust);
    free(fl_take(entry->reason));
    if (result < 0) {
        entry->reason = strdup(err.text);
        return 0;
    }
    assembly_hide_context(assembly, entry);
    fl_tls_context_unref(entry->context);
    entry->context = context;
    assembly_show_context(assembly, entry);
    return 0;
}

/* Those that are made of the secrets in force share their cores with the ones that are made now. */
static int share(const struct proxy_assembly *assembly, struct fl_map *cores, struct fl_arena *arena)
{
    void *value;
    int result = 0;
    for (size_t cursor = 0; result == 0 && fl_map_next(&assembly->tls, &cursor, NULL, &value);) {
        const struct tls_entry *entry = value;
        const struct build *cert = secret_of(assembly, entry->setting->cert_secret);
        const struct build *trust = secret_of(assembly, entry->setting->trust_secret);
        if (entry->context == NULL || entry->reason != NULL || !is_settled(assembly, entry) ||
            unit_of(cert) != entry->cert_from || unit_of(trust) != entry->trust_from)
            continue;
        result = proxy_tls_setting_share(entry->setting, value_of(cert), value_of(trust), entry->context, cores, arena);
    }
    return result;
}

static bool all_settled(const struct proxy_assembly *assembly)
{
    void *value;
    for (size_t cursor = 0; fl_map_next(&assembly->tls, &cursor, NULL, &value);) {
        if (!is_settled(assembly, value))
            return false;
    }
    return true;
}

int assembly_make_contexts(struct proxy_assembly *assembly)
{
    if (!assembly->contexts_touched)
        return 0;
    if (all_settled(assembly)) {
        assembly->contexts_touched = false;
        return 0;
    }
    struct fl_map cores;
    struct fl_arena arena;
    fl_map_init(&cores, FL_MAP_MAX);
    fl_arena_init(&arena, CORES_MAX);
    int result = share(assembly, &cores, &arena);
    void *value;
    for (size_t cursor = 0; result == 0 && fl_map_next(&assembly->tls, &cursor, NULL, &value);) {
        if (!is_settled(assembly, value))
            result = make(assembly, value, &cores, &arena);
    }
    fl_map_done(&cores);
    fl_arena_done(&arena);
    if (result == 0)
        assembly->contexts_touched = false;
    return result;
}

/* -- a bootstrap's files -- */

void assembly_tls_stage(struct proxy_assembly *assembly, const struct compile *compile)
{
    void *value;
    for (size_t cursor = 0; fl_map_next(&compile->settings, &cursor, NULL, &value);) {
        struct proxy_tls_setting *setting = value;
        struct tls_entry *entry = fl_map_get(&assembly->tls, setting->slot->name);
        if (entry == NULL || entry->setting == setting || entry->setting->digest == setting->digest)
            continue;
        proxy_tls_setting_unref(entry->staged);
        entry->staged = proxy_tls_setting_ref(setting);
    }
}

void assembly_tls_unstage(struct proxy_assembly *assembly, bool take)
{
    void *value;
    for (size_t cursor = 0; fl_map_next(&assembly->tls, &cursor, NULL, &value);) {
        struct tls_entry *entry = value;
        struct proxy_tls_setting *staged = fl_take(entry->staged);
        if (staged == NULL)
            continue;
        if (!take) {
            proxy_tls_setting_unref(staged);
            continue;
        }
        /* The slot's name is the same bytes in the same slot: the map's key stays. */
        proxy_tls_setting_unref(entry->setting);
        entry->setting = staged;
        if (staged->context != NULL) {
            assembly_hide_context(assembly, entry);
            fl_tls_context_unref(entry->context);
            entry->context = fl_tls_context_ref(staged->context);
            assembly_show_context(assembly, entry);
        }
        note_tried(entry, NULL, NULL);
        assembly->contexts_touched = true;
    }
}
