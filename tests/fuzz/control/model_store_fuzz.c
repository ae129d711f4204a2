/* Random puts, removals and commits against a plain list: the model holds exactly what was put, every index finds what
 * a search of the whole finds, in its order, and the diff says what changed. Each step is two bytes: what, and which.
 */
#include "common/doc/yaml.h"
#include "control/model/reader.h"
#include "control/model/store.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define VARIANTS 64 /* of objects: 4 kinds, 4 names, 4 contents */

static struct control_object *variants[VARIANTS];

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void write_text(unsigned kind, unsigned name, unsigned content, char *text, size_t size)
{
    switch (kind) {
    case 0:
        snprintf(text, size,
                 "{apiVersion: v1, kind: Service, metadata: {name: n%u}, spec: {clusterIPs: [10.0.0.%u, 'fd00::%u'], "
                 "selector: {a: b}}}",
                 name, content, content);
        return;
    case 1:
        snprintf(text, size,
                 "{apiVersion: v1, kind: Pod, metadata: {name: n%u}, spec: {serviceAccountName: s%u}, status: {podIP: "
                 "10.1.0.%u}}",
                 name, content, content);
        return;
    case 2:
        snprintf(text, size,
                 "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: n%u, labels: "
                 "{kubernetes.io/service-name: n%u, x: '%u'}}}",
                 name, content, content);
        return;
    default:
        snprintf(
            text, size,
            "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: n%u}, spec: {parentRefs: "
            "[{group: '', kind: Service, name: n%u}, {name: n%u}]}}",
            name, content, content);
    }
}

static struct control_object *make(unsigned index)
{
    char text[512];
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    const struct control_origin origin = {FL_SPAN("f"), 1, 0, 0};
    struct control_identity identity;
    struct control_object *object = NULL;
    write_text(index / 16, index / 4 % 4, index % 4, text, sizeof(text));
    check(fl_yaml_parse(fl_span_str(text), "f", NULL, &yaml, NULL) == 0);
    check(control_object_read(fl_yaml_document(yaml, 0), NULL, &origin, FL_SPAN(CONTROL_ROOT_DEFAULT), &object,
                              &identity, NULL) == 0);
    return object;
}

struct twin { /* what should be there, by kind and name */
    struct control_object *objects[16];
};

static size_t slot_of(unsigned variant)
{
    return variant / 4;
}

static void check_objects(const struct control_model *model, const struct twin *twin)
{
    size_t there = 0, found = 0;
    for (size_t i = 0; i < FL_COUNT(twin->objects); i++) {
        struct control_key key = control_object_key(variants[i * 4]);
        check(control_model_get(model, key) == twin->objects[i]);
        there += twin->objects[i] != NULL;
    }
    for (int kind = 0; kind < CONTROL_KIND_COUNT; kind++)
        found += control_model_all(model, (enum control_kind)kind).count;
    check(there == found);
}

/* Without creation times, of equals the first by name counts. */
static void check_addresses(const struct control_model *model, const struct twin *twin)
{
    for (unsigned content = 0; content < 4; content++) {
        const struct control_service *service = control_as_service(variants[content]);
        const struct control_pod *pod = control_as_pod(variants[16 + content]);
        const struct control_object *first_service = NULL, *first_pod = NULL;
        for (unsigned name = 4; name-- > 0;) {
            const struct control_service *there = control_as_service(twin->objects[name]);
            const struct control_pod *pod_there = control_as_pod(twin->objects[4 + name]);
            if (there != NULL && control_ip_compare(&there->ips[1], &service->ips[1]) == 0)
                first_service = &there->object;
            if (pod_there != NULL && control_ip_compare(&pod_there->ips[0], &pod->ips[0]) == 0)
                first_pod = &pod_there->object;
        }
        check(control_model_service_at(model, &service->ips[0]) == control_as_service(first_service));
        check(control_model_service_at(model, &service->ips[1]) == control_as_service(first_service));
        check(control_model_pod_at(model, &pod->ips[0]) == control_as_pod(first_pod));
    }
}

static void check_lists(const struct control_model *model, const struct twin *twin)
{
    for (unsigned content = 0; content < 4; content++) {
        char name[8], account[8];
        size_t slices = 0, pods = 0, routes = 0;
        snprintf(name, sizeof(name), "n%u", content);
        snprintf(account, sizeof(account), "s%u", content);
        for (unsigned i = 0; i < 4; i++) {
            const struct control_slice *slice = control_as_slice(twin->objects[8 + i]);
            const struct control_pod *pod = control_as_pod(twin->objects[4 + i]);
            const struct control_http_route *route = control_as_http_route(twin->objects[12 + i]);
            slices += slice != NULL && fl_span_eq_str(slice->service, name);
            pods += pod != NULL && fl_span_eq_str(pod->service_account, account);
            routes += route != NULL && fl_span_eq_str(route->parents[0].reference.name, name);
        }
        struct fl_span space = FL_SPAN("default");
        check(control_model_slices(model, space, fl_span_str(name)).count == slices);
        check(control_model_pods_of(model, space, fl_span_str(account)).count == pods);
        check(control_model_routes_of(model, CONTROL_SERVICE, space, fl_span_str(name)).count == routes);
        check(control_model_routes_of(model, CONTROL_GATEWAY, space, fl_span_str(name)).count == routes);
    }
}

static void check_diff(const struct control_diff *diff, const struct twin *before, const struct twin *after)
{
    size_t expected = 0;
    for (size_t i = 0; i < FL_COUNT(before->objects); i++)
        expected += before->objects[i] != after->objects[i];
    check(diff->count == expected);
    check((control_model_version(diff->before) == control_model_version(diff->after)) == (expected == 0));
    for (size_t i = 0; i < diff->count; i++) {
        const struct control_change *change = &diff->changes[i];
        check((change->kind == CONTROL_CAME) == (change->before == NULL));
        check((change->kind == CONTROL_WENT) == (change->after == NULL));
    }
}

static void commit(struct control_store *store, struct twin *committed, const struct twin *wanted)
{
    struct control_diff *diff = NULL;
    check(control_store_commit(store, &diff) == 0);
    check_diff(diff, committed, wanted);
    check_objects(diff->after, wanted);
    check_addresses(diff->after, wanted);
    check_lists(diff->after, wanted);
    check_objects(diff->before, committed); /* the old one is what it was */
    control_diff_free(diff);
    *committed = *wanted;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct control_store *store = NULL;
    struct twin committed = {{NULL}}, wanted = {{NULL}};
    for (unsigned i = 0; i < VARIANTS && variants[VARIANTS - 1] == NULL; i++)
        variants[i] = make(i);
    check(control_store_new(&store) == 0);
    for (size_t i = 0; i + 1 < size; i += 2) {
        unsigned variant = data[i + 1] % VARIANTS;
        switch (data[i] % 4) {
        case 0:
            commit(store, &committed, &wanted);
            break;
        case 1:
            check(control_store_remove(store, control_object_key(variants[variant])) == 0);
            wanted.objects[slot_of(variant)] = NULL;
            break;
        default:
            check(control_store_put(store, variants[variant]) == 0);
            wanted.objects[slot_of(variant)] = variants[variant];
        }
    }
    commit(store, &committed, &wanted);
    control_store_free(store);
    return 0;
}
