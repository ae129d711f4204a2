#include "control/model/workload.h"

#include "common/mesh/identity.h"
#include "common/mesh/label.h"
#include "common/mesh/resource.h"

#include <errno.h>
#include <stdio.h>

/* -- names --------------------------------------------------------------------------------------------------------- */

static struct fl_span first_label(const struct fl_labels *labels, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct fl_span value = fl_labels_get(labels, fl_span_str(keys[i]));
        if (value.len > 0)
            return value;
    }
    return (struct fl_span){NULL, 0};
}

static struct fl_span or_else(struct fl_span text, struct fl_span otherwise)
{
    return text.len > 0 ? text : otherwise;
}

/* A ReplicaSet of a Deployment is named "<deployment>-<pod-template-hash>". */
static struct fl_span deployment_of(const struct control_object *object, struct fl_span replica_set)
{
    struct fl_span hash = fl_labels_get(&object->metadata.labels, FL_SPAN("pod-template-hash"));
    if (hash.len == 0 || replica_set.len < hash.len + 2 || !fl_span_ends_with(replica_set, hash) ||
        replica_set.data[replica_set.len - hash.len - 1] != '-')
        return replica_set;
    return fl_span_make(replica_set.data, replica_set.len - hash.len - 1);
}

static struct fl_span owner_of(const struct control_object *object)
{
    const struct fl_metadata *metadata = &object->metadata;
    for (size_t i = 0; i < metadata->owner_count; i++)
        if (metadata->owners[i].controller)
            return fl_span_eq_str(metadata->owners[i].kind, "ReplicaSet")
                       ? deployment_of(object, metadata->owners[i].name)
                       : metadata->owners[i].name;
    return metadata->name;
}

static bool pod_meshed(const struct control_pod *pod)
{
    const struct fl_metadata *metadata = &pod->object.metadata;
    struct fl_span label = fl_labels_get(&metadata->labels, FL_SPAN(FL_LABEL_INJECT));
    if (fl_span_eq_str(label, FL_INJECT_DISABLED) || pod->host_network)
        return false;
    return pod->has_sidecar || fl_labels_have(&metadata->annotations, FL_SPAN(FL_ANNOTATION_STATUS)) ||
           fl_span_eq_str(label, FL_INJECT_ENABLED);
}

bool control_pod_is_istio(const struct control_model *model, const struct control_pod *pod)
{
    struct fl_span mode = fl_labels_get(&pod->object.metadata.labels, FL_SPAN(FL_LABEL_ISTIO_TLS_MODE));
    return control_model_settings(model).istio_peers && fl_span_eq_str(mode, FL_METADATA_TLS_MODE_ISTIO) &&
           !pod->host_network && !pod_meshed(pod);
}

bool control_pod_is_ambient(const struct control_model *model, const struct control_pod *pod)
{
    struct fl_span mode = fl_labels_get(&pod->object.metadata.annotations, FL_SPAN(FL_ANNOTATION_AMBIENT));
    return control_model_settings(model).istio_peers && fl_span_eq_str(mode, FL_INJECT_ENABLED) && !pod->host_network &&
           !pod_meshed(pod) && !control_pod_is_istio(model, pod);
}

static void name_workload(const struct fl_labels *labels, struct fl_span name, struct control_workload *workload)
{
    static const char *const apps[] = {FL_LABEL_APP_NAME, FL_LABEL_APP};
    static const char *const versions[] = {FL_LABEL_APP_VERSION, FL_LABEL_VERSION};
    static const char *const canonical_names[] = {FL_LABEL_CANONICAL_NAME, FL_LABEL_APP_NAME, FL_LABEL_APP};
    static const char *const revisions[] = {FL_LABEL_CANONICAL_REVISION, FL_LABEL_APP_VERSION, FL_LABEL_VERSION};
    workload->labels = labels;
    workload->name = or_else(name, FL_SPAN("unknown"));
    workload->app = or_else(first_label(labels, apps, FL_COUNT(apps)), FL_SPAN("unknown"));
    workload->version = or_else(first_label(labels, versions, FL_COUNT(versions)), FL_SPAN("unknown"));
    workload->canonical_name = or_else(first_label(labels, canonical_names, FL_COUNT(canonical_names)), workload->name);
    workload->canonical_revision = or_else(first_label(labels, revisions, FL_COUNT(revisions)), FL_SPAN("latest"));
}

void control_workload_of_pod(const struct control_pod *pod, struct control_workload *ret_workload)
{
    *ret_workload = (struct control_workload){
        .pod = pod,
        .name_space = pod->object.metadata.name_space,
        .service_account = pod->service_account,
        .meshed = pod_meshed(pod),
    };
    name_workload(&pod->object.metadata.labels, owner_of(&pod->object), ret_workload);
}

int control_workload_of_gateway(const struct control_gateway *gateway, struct fl_arena *arena,
                                struct control_workload *ret_workload)
{
    const struct fl_metadata *metadata = &gateway->object.metadata;
    const struct fl_span suffix = FL_SPAN("-fairlead");
    char *account = fl_arena_alloc(arena, metadata->name.len + suffix.len + 1);
    if (account == NULL)
        return -ENOMEM;
    memcpy(account, metadata->name.data, metadata->name.len);
    memcpy(account + metadata->name.len, suffix.data, suffix.len);
    *ret_workload = (struct control_workload){
        .gateway = gateway,
        .name_space = metadata->name_space,
        .service_account = fl_span_make(account, metadata->name.len + suffix.len),
        .meshed = true,
    };
    name_workload(&metadata->labels, ret_workload->service_account, ret_workload);
    return 0;
}

int control_workload_identity(const struct control_model *model, const struct control_workload *workload,
                              struct fl_buf *out)
{
    const struct fl_identity identity = {
        .trust_domain = control_model_settings(model).trust_domain,
        .name_space = workload->name_space,
        .service_account = workload->service_account,
    };
    return fl_identity_print(&identity, out, NULL);
}

/* -- which policies apply ------------------------------------------------------------------------------------------ */

static const struct control_target *target_of(const struct control_object *object)
{
    const struct control_authorization_policy *authorization = control_as_authorization_policy(object);
    const struct control_request_authentication *request = control_as_request_authentication(object);
    const struct control_peer_authentication *peer = control_as_peer_authentication(object);
    const struct control_telemetry *telemetry = control_as_telemetry(object);
    if (authorization != NULL)
        return &authorization->target;
    if (request != NULL)
        return &request->target;
    return peer != NULL ? &peer->target : telemetry != NULL ? &telemetry->target : NULL;
}

static bool names_gateway(const struct control_target *target, const struct control_object *object,
                          const struct control_workload *workload)
{
    const struct control_gateway *gateway = workload->gateway;
    if (gateway == NULL || !fl_span_eq(object->metadata.name_space, workload->name_space))
        return false;
    for (size_t i = 0; i < target->name_count; i++)
        if (fl_span_eq(target->names[i], gateway->object.metadata.name))
            return true;
    return false;
}

static bool applies(const struct control_object *object, const struct control_workload *workload)
{
    const struct control_target *target = target_of(object);
    if (target == NULL)
        return false;
    if (target->name_count > 0)
        return names_gateway(target, object, workload);
    return !target->selects || fl_selector_match(&target->selector, workload->labels);
}

static size_t append(struct control_objects in, const struct control_workload *workload,
                     const struct control_object **out)
{
    size_t count = 0;
    for (size_t i = 0; i < in.count; i++) {
        if (!applies(in.items[i], workload))
            continue;
        if (out != NULL)
            out[count] = in.items[i];
        count++;
    }
    return count;
}

int control_workload_policies(const struct control_model *model, const struct control_workload *workload,
                              enum control_kind kind, struct fl_arena *arena, struct control_objects *ret_policies)
{
    struct control_objects root = control_model_in(model, kind, control_model_root(model));
    struct control_objects own = control_model_in(model, kind, workload->name_space);
    if (fl_span_eq(workload->name_space, control_model_root(model)))
        own.count = 0;
    size_t count = append(root, workload, NULL) + append(own, workload, NULL);
    const struct control_object **items = count > 0 ? fl_arena_array(arena, count, sizeof(*items)) : NULL;
    if (items == NULL && count > 0)
        return -ENOMEM;
    if (count > 0) {
        size_t used = append(root, workload, items);
        append(own, workload, items + used);
    }
    *ret_policies = (struct control_objects){items, count};
    return 0;
}

/* -- mTLS ---------------------------------------------------------------------------------------------------------- */

/* The level of a policy that applies: 0 mesh, 1 namespace, 2 workload. One with a selector in the root namespace is of
 * the workloads that it selects. */
#define LEVELS 3
static unsigned level_of(const struct control_object *object, struct fl_span root)
{
    const struct control_target *target = target_of(object);
    if (target->selects || target->name_count > 0)
        return 2;
    return fl_span_eq(object->metadata.name_space, root) ? 0 : 1;
}

static bool older(const struct control_object *a, const struct control_object *b)
{
    if (a->metadata.created != b->metadata.created)
        return a->metadata.created < b->metadata.created;
    struct control_key key_a = control_object_key(a), key_b = control_object_key(b);
    return control_key_compare(&key_a, &key_b) < 0;
}

/* The oldest that applies on each level (own namespaces before the root's on the level of workloads). */
static void pick_levels(struct control_objects in, const struct control_workload *workload, struct fl_span root,
                        const struct control_object *picked[LEVELS])
{
    const struct control_object *found[LEVELS] = {NULL};
    for (size_t i = 0; i < in.count; i++) {
        if (!applies(in.items[i], workload))
            continue;
        unsigned level = level_of(in.items[i], root);
        if (found[level] == NULL || older(in.items[i], found[level]))
            found[level] = in.items[i];
    }
    for (unsigned level = 0; level < LEVELS; level++)
        if (found[level] != NULL)
            picked[level] = found[level];
}

static void pick(const struct control_model *model, const struct control_workload *workload, enum control_kind kind,
                 const struct control_object *picked[LEVELS])
{
    struct fl_span root = control_model_root(model);
    memset(picked, 0, LEVELS * sizeof(*picked));
    pick_levels(control_model_in(model, kind, root), workload, root, picked);
    if (!fl_span_eq(workload->name_space, root))
        pick_levels(control_model_in(model, kind, workload->name_space), workload, root, picked);
}

static enum control_mtls mode_of(const struct control_peer_authentication *peer, uint16_t port)
{
    for (size_t i = 0; peer != NULL && port != 0 && i < peer->port_count; i++)
        if (peer->ports[i].port == port && peer->ports[i].mode != CONTROL_MTLS_UNSET)
            return peer->ports[i].mode;
    return peer != NULL ? peer->mode : CONTROL_MTLS_UNSET;
}

static bool any_closed(struct control_objects in, const struct control_workload *workload)
{
    for (size_t i = 0; i < in.count; i++)
        if (in.items[i]->broken.len > 0 && applies(in.items[i], workload))
            return true;
    return false;
}

/* One that was not understood may have been of any level and of any age: it counts before all others. */
static bool is_closed(const struct control_model *model, const struct control_workload *workload)
{
    const enum control_kind kind = CONTROL_PEER_AUTHENTICATION;
    return any_closed(control_model_in(model, kind, control_model_root(model)), workload) ||
           any_closed(control_model_in(model, kind, workload->name_space), workload);
}

enum control_mtls control_workload_mtls(const struct control_model *model, const struct control_workload *workload,
                                        uint16_t port)
{
    const struct control_object *picked[LEVELS];
    if (!workload->meshed)
        return CONTROL_MTLS_DISABLE;
    if (is_closed(model, workload))
        return CONTROL_MTLS_STRICT;
    pick(model, workload, CONTROL_PEER_AUTHENTICATION, picked);
    for (unsigned level = LEVELS; level-- > 0;) {
        enum control_mtls mode = mode_of(control_as_peer_authentication(picked[level]), port);
        if (mode != CONTROL_MTLS_UNSET)
            return mode;
    }
    return CONTROL_MTLS_PERMISSIVE;
}

static int compare_ports(const void *a, const void *b)
{
    const struct control_port_mtls *one = a, *other = b;
    return one->port < other->port ? -1 : one->port > other->port;
}

int control_workload_mtls_ports(const struct control_model *model, const struct control_workload *workload,
                                struct fl_arena *arena, const struct control_port_mtls **ret_ports, size_t *ret_count)
{
    const struct control_object *picked[LEVELS];
    pick(model, workload, CONTROL_PEER_AUTHENTICATION, picked);
    const struct control_peer_authentication *peer = control_as_peer_authentication(picked[LEVELS - 1]);
    size_t count = 0;
    *ret_ports = NULL;
    *ret_count = 0;
    if (peer == NULL || peer->port_count == 0 || !workload->meshed || is_closed(model, workload))
        return 0;
    struct control_port_mtls *ports = fl_arena_array(arena, peer->port_count, sizeof(*ports));
    if (ports == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < peer->port_count; i++)
        if (peer->ports[i].mode != CONTROL_MTLS_UNSET)
            ports[count++] = peer->ports[i];
    qsort(ports, count, sizeof(*ports), compare_ports);
    *ret_ports = ports;
    *ret_count = count;
    return 0;
}

/* -- telemetry ----------------------------------------------------------------------------------------------------- */

struct control_telemetry_view control_workload_telemetry(const struct control_model *model,
                                                         const struct control_workload *workload)
{
    struct control_telemetry_view view = {true, FL_SPAN("/dev/stdout"), true, {NULL, 0}, 1000};
    const struct control_object *picked[LEVELS];
    pick(model, workload, CONTROL_TELEMETRY, picked);
    for (unsigned level = 0; level < LEVELS; level++) {
        const struct control_telemetry *telemetry = control_as_telemetry(picked[level]);
        if (telemetry == NULL)
            continue;
        if (telemetry->access_log != CONTROL_SWITCH_UNSET)
            view.access_log = telemetry->access_log == CONTROL_SWITCH_ON;
        view.access_log_path = or_else(telemetry->access_log_path, view.access_log_path);
        if (telemetry->tracing != CONTROL_SWITCH_UNSET)
            view.tracing = telemetry->tracing == CONTROL_SWITCH_ON;
        view.endpoint = or_else(telemetry->endpoint, view.endpoint);
        if (telemetry->sampling >= 0)
            view.sampling = (uint32_t)telemetry->sampling;
    }
    view.tracing = view.tracing && view.endpoint.len > 0;
    return view;
}
