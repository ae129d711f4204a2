#include "proxy/config/assembly.h"

#include "proxy/config/assembly_inner.h"

#include <errno.h>
#include <stdlib.h>

#define SHOWN_MAX 200 /* bytes of a name in an error */

static const char *const words[FL_RESOURCE_TYPES] = {
    [FL_RESOURCE_CLUSTER] = "cluster", [FL_RESOURCE_ENDPOINTS] = "endpoints", [FL_RESOURCE_LISTENER] = "listener",
    [FL_RESOURCE_ROUTES] = "routes",   [FL_RESOURCE_SECRET] = "secret",
};

/* -- resources by name -- */

struct resource *assembly_find(const struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name)
{
    return fl_map_get(&assembly->resources[type], name);
}

static void resource_free(struct proxy_assembly *assembly, struct resource *resource)
{
    assembly_put_waiting(assembly, resource, NULL);
    assembly_put_in_force(assembly, resource, NULL);
    free(resource->refused);
    free(resource->refused_version);
    free(resource);
}

int assembly_intern(struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name,
                    struct resource **ret_resource)
{
    struct resource *resource = assembly_find(assembly, type, name);
    if (resource == NULL) {
        resource = malloc(sizeof(*resource) + name.len + 1);
        if (resource == NULL)
            return -ENOMEM;
        char *text = (char *)(resource + 1);
        if (name.len > 0)
            memcpy(text, name.data, name.len);
        text[name.len] = '\0';
        *resource = (struct resource){.type = type, .name = fl_span_make(text, name.len), .source = PROXY_WANT_NONE};
        int result = fl_map_put(&assembly->resources[type], resource->name, resource);
        if (result < 0) {
            free(resource);
            return result;
        }
    }
    *ret_resource = resource;
    return 0;
}

void assembly_settle(struct proxy_assembly *assembly, struct resource *resource)
{
    if (resource->wanted > 0 || resource->active != NULL || resource->warming != NULL || resource->refused != NULL)
        return;
    fl_map_remove(&assembly->resources[resource->type], resource->name);
    resource_free(assembly, resource);
}

/* -- life -- */

int proxy_assembly_new(void (*on_dead)(void *owner), void *owner, struct proxy_assembly **ret_assembly)
{
    struct proxy_assembly *assembly = calloc(1, sizeof(*assembly));
    if (assembly == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < FL_RESOURCE_TYPES; i++)
        fl_map_init(&assembly->resources[i],
                    i == FL_RESOURCE_SECRET ? PROXY_ASSEMBLY_SECRETS_MAX : PROXY_ASSEMBLY_RESOURCES_MAX);
    fl_map_init(&assembly->tls, PROXY_SLOTS_MAX);
    for (size_t i = 0; i < PROXY_TABLE_KINDS; i++)
        proxy_table_init(&assembly->tables[i], (enum proxy_table_kind)i);
    assembly->graveyard = proxy_graveyard_new(on_dead, owner);
    assembly->slots = proxy_slots_new();
    assembly->waits_for = malloc(FL_ERR_TEXT_MAX);
    if (assembly->graveyard == NULL || assembly->slots == NULL || assembly->waits_for == NULL) {
        proxy_assembly_free(assembly);
        return -ENOMEM;
    }
    *ret_assembly = assembly;
    return 0;
}

struct proxy_assembly *proxy_assembly_free(struct proxy_assembly *assembly)
{
    if (assembly == NULL)
        return NULL;
    void *value;
    /* First what refers, then what is referred to. */
    for (size_t i = 0; i < FL_RESOURCE_TYPES; i++) {
        for (size_t cursor = 0; fl_map_next(&assembly->resources[i], &cursor, NULL, &value);) {
            struct resource *resource = value;
            resource->wanted++; /* stays until all builds are gone */
            assembly_put_waiting(assembly, resource, NULL);
            assembly_put_in_force(assembly, resource, NULL);
        }
    }
    for (size_t i = 0; i < FL_RESOURCE_TYPES; i++) {
        for (size_t cursor = 0; fl_map_next(&assembly->resources[i], &cursor, NULL, &value);)
            resource_free(assembly, value);
        fl_map_done(&assembly->resources[i]);
    }
    fl_map_done(&assembly->tls);
    for (size_t i = 0; i < PROXY_TABLE_KINDS; i++)
        proxy_table_done(&assembly->tables[i]);
    proxy_unit_unref(assembly->certs != NULL ? &assembly->certs->unit : NULL);
    assembly_base_done(&assembly->base);
    proxy_snapshot_unref(assembly->last);
    proxy_graveyard_close(assembly->graveyard);
    proxy_slots_free(assembly->slots);
    free(assembly->waits_for);
    free(assembly);
    return NULL;
}

void proxy_assembly_sweep(struct proxy_assembly *assembly)
{
    (void)proxy_graveyard_sweep(assembly->graveyard);
}

/* -- put -- */

static void replace_text(char **text, char *by)
{
    free(*text);
    *text = by;
}

static void accept_version(struct build *build, struct fl_span version)
{
    char *copy = fl_span_dup(version);
    if (copy != NULL)
        replace_text(&build->version, copy);
}

static bool is_same(const struct build *build, struct fl_span wire)
{
    return build != NULL && fl_packed_eq(&build->wire, wire);
}

/* Two listeners that open one port would share its connections by chance. */
static int check_address(const struct proxy_assembly *assembly, const struct proxy_listener *listener,
                         struct fl_err *err)
{
    void *value;
    if (!listener->bind_to_port || proxy_address_port(&listener->address) == 0)
        return 0;
    for (size_t cursor = 0; fl_map_next(&assembly->resources[FL_RESOURCE_LISTENER], &cursor, NULL, &value);) {
        const struct resource *other = value;
        const struct build *build = other->warming != NULL ? other->warming : other->active;
        const struct proxy_listener *there = build != NULL ? build->value : NULL;
        if (there != NULL && there->bind_to_port && !fl_span_eq(other->name, listener->name) &&
            proxy_address_eq(&there->address, &listener->address))
            return fl_err_set(err, -EINVAL, "$.address: the listener %.*s has the same address",
                              (int)(other->name.len < SHOWN_MAX ? other->name.len : SHOWN_MAX), other->name.data);
    }
    return 0;
}

static int compile_one(struct proxy_assembly *assembly, struct compile *compile, enum fl_resource_type type,
                       struct fl_span name, struct fl_span version, struct fl_span wire, struct build **ret_build)
{
    ProtobufCMessage *message;
    const void *value = NULL;
    uint64_t ignored_before = compile->report->ignored;
    int result = fl_xds_unpack(build_type(type), wire, &compile->scratch, compile->report, &message, compile->err);
    if (result < 0)
        return result;
    if (!fl_span_eq(build_name(type, message), name))
        return fl_err_set(compile->err, -EINVAL, "the message is of another name");
    FL_CLEANUP(fl_cleanup_proxy_unit)
    struct proxy_unit *unit = proxy_unit_new(sizeof(*unit), PROXY_UNIT_MAX, assembly->graveyard);
    if (unit == NULL)
        return fl_err_set(compile->err, -ENOMEM, "out of memory");
    compile_begin(compile, unit);
    result = build_value(compile, type, message, &value);
    if (result == 0 && type == FL_RESOURCE_LISTENER)
        result = check_address(assembly, value, compile->err);
    if (result < 0)
        return result;
    unit = NULL; /* build_new takes it */
    result = build_new(assembly, compile, type, value, wire, version, ret_build);
    if (result == 0)
        (*ret_build)->ignored = compile->report->ignored - ignored_before;
    return result;
}

static int check(enum fl_resource_type type, const struct resource *resource, struct fl_span name, struct fl_span wire,
                 struct fl_err *err)
{
    if (name.len == 0 || name.len > PROXY_ASSEMBLY_NAME_MAX)
        return fl_err_set(err, -EINVAL, "a name has 1 to %u bytes", PROXY_ASSEMBLY_NAME_MAX);
    if (wire.len > PROXY_ASSEMBLY_RESOURCE_BYTES)
        return fl_err_set(err, -EMSGSIZE, "it is larger than %u bytes", PROXY_ASSEMBLY_RESOURCE_BYTES);
    if (resource != NULL && resource->is_static)
        return fl_err_set(err, -EINVAL, "the bootstrap has %s of this name", words[type]);
    return 0;
}

/* A new build waits; the one that waited before goes. */
static int put(struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name, struct fl_span version,
               struct fl_span wire, struct fl_err *err)
{
    struct resource *resource = assembly_find(assembly, type, name);
    int result = check(type, resource, name, wire, err);
    if (result < 0)
        return result;
    if (resource != NULL && is_same(resource->warming, wire)) {
        accept_version(resource->warming, version);
        return 0;
    }
    if (resource != NULL && is_same(resource->active, wire)) {
        accept_version(resource->active, version);
        assembly_put_waiting(assembly, resource, NULL);
        return 0;
    }
    struct fl_xds_report report = {0};
    const struct compile_options options = {.slots = assembly->slots, .from = {.report = &report}, .err = err};
    struct compile compile;
    struct build *build = NULL;
    compile_init(&compile, &options);
    result = compile_one(assembly, &compile, type, name, version, wire, &build);
    compile_done(&compile);
    if (result == 0)
        result = assembly_intern(assembly, type, name, &resource);
    if (result == -ENOSPC && build != NULL)
        fl_err_set(err, result, "there are %zu of this type already", assembly->resources[type].count);
    if (result < 0) {
        build_free(assembly, build);
        return result;
    }
    assembly_put_waiting(assembly, resource, build);
    resource->absent = false;
    return 0;
}

/* Whoever asks is told, also where no memory is left to remember it. */
static void remember_refusal(struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name,
                             struct fl_span version, const char *reason)
{
    struct resource *resource;
    if (name.len == 0 || name.len > PROXY_ASSEMBLY_NAME_MAX || assembly_intern(assembly, type, name, &resource) < 0)
        return;
    replace_text(&resource->refused, strdup(reason));
    replace_text(&resource->refused_version, fl_span_dup(version));
    assembly_settle(assembly, resource);
}

int proxy_assembly_put(struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name,
                       struct fl_span version, struct fl_span wire, struct fl_err *err)
{
    struct fl_err unread = {0};
    if (err == NULL)
        err = &unread;
    int result = put(assembly, type, name, version, wire, err);
    if (result == 0) {
        struct resource *resource = assembly_find(assembly, type, name);
        replace_text(&resource->refused, NULL);
        replace_text(&resource->refused_version, NULL);
        return 0;
    }
    fl_err_prefix(err, "%s %.*s", words[type], (int)(name.len < SHOWN_MAX ? name.len : SHOWN_MAX), name.data);
    remember_refusal(assembly, type, name, version, err->text);
    return result;
}

int proxy_assembly_remove(struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name)
{
    struct resource *resource = assembly_find(assembly, type, name);
    if (resource == NULL || resource->is_static)
        return 0;
    resource->absent = true;
    assembly_put_in_force(assembly, resource, NULL);
    assembly_put_waiting(assembly, resource, NULL);
    replace_text(&resource->refused, NULL);
    replace_text(&resource->refused_version, NULL);
    assembly_settle(assembly, resource);
    return 0;
}

void proxy_assembly_forget(struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name)
{
    struct resource *resource = assembly_find(assembly, type, name);
    if (resource != NULL)
        resource->absent = false;
}

/* -- what is wanted, what is known -- */

/* The cursor: type and the map's own, side by side. */
static struct resource *next(const struct proxy_assembly *assembly, size_t *cursor)
{
    size_t type = *cursor >> 32, inner = *cursor & UINT32_MAX;
    void *value = NULL;
    while (type < FL_RESOURCE_TYPES && !fl_map_next(&assembly->resources[type], &inner, NULL, &value)) {
        type++;
        inner = 0;
        value = NULL;
    }
    *cursor = type << 32 | inner;
    return value;
}

static enum proxy_presence presence_of(const struct resource *resource)
{
    if (resource->warming != NULL)
        return PROXY_PRESENCE_WARMING;
    if (resource->active != NULL)
        return PROXY_PRESENCE_ACTIVE;
    return resource->absent ? PROXY_PRESENCE_ABSENT : PROXY_PRESENCE_UNKNOWN;
}

bool proxy_assembly_next_want(const struct proxy_assembly *assembly, size_t *cursor, struct proxy_want *ret_want)
{
    const struct resource *resource;
    while ((resource = next(assembly, cursor)) != NULL) {
        if (resource->wanted == 0)
            continue;
        *ret_want = (struct proxy_want){.type = resource->type,
                                        .name = resource->name,
                                        .source = resource->source,
                                        .presence = presence_of(resource),
                                        .is_static = resource->is_static};
        return true;
    }
    return false;
}

bool proxy_assembly_next_dns(const struct proxy_assembly *assembly, size_t *cursor,
                             const struct proxy_cluster **ret_cluster)
{
    void *value;
    while (fl_map_next(&assembly->resources[FL_RESOURCE_CLUSTER], cursor, NULL, &value)) {
        const struct resource *resource = value;
        const struct build *build = resource->warming != NULL ? resource->warming : resource->active;
        if (build == NULL || !build->is_dns)
            continue;
        *ret_cluster = build->value;
        return true;
    }
    return false;
}

uint64_t proxy_assembly_dns_version(const struct proxy_assembly *assembly)
{
    return assembly->dns_version;
}

uint64_t proxy_assembly_wants_version(const struct proxy_assembly *assembly)
{
    return assembly->wants_version;
}

static struct fl_span text_of(const char *text)
{
    return text != NULL ? fl_span_str(text) : (struct fl_span){NULL, 0};
}

uint64_t proxy_assembly_used_ms(const struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name)
{
    if (type != FL_RESOURCE_LISTENER && type != FL_RESOURCE_CLUSTER)
        return 0;
    const struct proxy_slot *slot = proxy_slots_find(
        assembly->slots, type == FL_RESOURCE_LISTENER ? PROXY_SLOT_LISTENER : PROXY_SLOT_CLUSTER, name);
    return slot != NULL ? proxy_slot_used_ms(slot) : 0;
}

bool proxy_assembly_next_state(const struct proxy_assembly *assembly, size_t *cursor,
                               struct proxy_resource_state *ret_state)
{
    const struct resource *resource = next(assembly, cursor);
    if (resource == NULL)
        return false;
    const struct build *active = resource->active, *warming = resource->warming;
    *ret_state = (struct proxy_resource_state){
        .type = resource->type,
        .name = resource->name,
        .is_static = resource->is_static,
        .presence = presence_of(resource),
        .wanted = resource->wanted > 0,
        .has_active = active != NULL,
        .refused = resource->refused,
        .refused_version = text_of(resource->refused_version),
        .used_ms = proxy_assembly_used_ms(assembly, resource->type, resource->name),
    };
    if (active != NULL) {
        ret_state->active_version = text_of(active->version);
        ret_state->active_wire = active->wire;
    }
    if (warming != NULL) {
        ret_state->warming_version = text_of(warming->version);
        ret_state->warming_wire = warming->wire;
        ret_state->waits_for = assembly_waits_for(resource, assembly->waits_for, FL_ERR_TEXT_MAX);
    }
    return true;
}
