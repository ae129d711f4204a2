#include "control/model/model.h"

#include "common/mesh/identity.h"
#include "control/model/model_private.h"

struct control_model *control_model_new(void)
{
    struct control_model *model = calloc(1, sizeof(*model));
    if (model != NULL)
        atomic_init(&model->references, 1);
    return model;
}

/* Immutable but for the count. */
static struct control_model *counted(const struct control_model *model)
{
    return (struct control_model *)(uintptr_t)model;
}

struct control_model *control_model_ref(const struct control_model *model)
{
    if (model != NULL)
        atomic_fetch_add_explicit(&counted(model)->references, 1, memory_order_relaxed);
    return counted(model);
}

void control_model_hold(struct control_model *model)
{
    const struct control_index *all = model->indexes[CONTROL_INDEX_ALL];
    for (size_t i = 0; i < all->count; i++)
        control_object_ref(all->objects[i]);
    model->holds = true;
}

void control_model_unref(const struct control_model *model)
{
    if (model == NULL || atomic_fetch_sub_explicit(&counted(model)->references, 1, memory_order_acq_rel) != 1)
        return;
    const struct control_index *all = model->indexes[CONTROL_INDEX_ALL];
    for (size_t i = 0; model->holds && i < all->count; i++)
        control_object_unref(all->objects[i]);
    for (size_t i = 0; i < CONTROL_INDEX_COUNT; i++)
        control_index_unref(model->indexes[i]);
    control_problems_unref(model->problems);
    free(counted(model));
}

void control_cleanup_model(struct control_model **model)
{
    control_model_unref(*model);
}

uint64_t control_model_version(const struct control_model *model)
{
    return model->version;
}

static struct control_objects range(const struct control_model *model, enum control_index_kind kind, unsigned tag,
                                    struct fl_span a, struct fl_span b)
{
    const struct control_index *index = model->indexes[kind];
    const struct control_index_key key = {tag, a, b};
    size_t from, to;
    control_index_range(index, &key, &from, &to);
    return (struct control_objects){index->objects + from, to - from};
}

#define ANY ((struct fl_span){NULL, 0})

/* A span that is given, also where it is empty. */
static struct fl_span given(struct fl_span text)
{
    return text.data != NULL ? text : FL_SPAN("");
}

static const struct control_object *first(struct control_objects objects)
{
    return objects.count > 0 ? objects.items[0] : NULL;
}

const struct control_object *control_model_get(const struct control_model *model, struct control_key key)
{
    return first(range(model, CONTROL_INDEX_ALL, key.kind, given(key.name_space), given(key.name)));
}

struct control_objects control_model_all(const struct control_model *model, enum control_kind kind)
{
    return range(model, CONTROL_INDEX_ALL, kind, ANY, ANY);
}

struct control_objects control_model_in(const struct control_model *model, enum control_kind kind,
                                        struct fl_span name_space)
{
    return range(model, CONTROL_INDEX_ALL, kind, given(name_space), ANY);
}

const struct control_service *control_model_service(const struct control_model *model, struct fl_span name_space,
                                                    struct fl_span name)
{
    return control_as_service(control_model_get(model, (struct control_key){CONTROL_SERVICE, name_space, name}));
}

const struct control_pod *control_model_pod(const struct control_model *model, struct fl_span name_space,
                                            struct fl_span name)
{
    return control_as_pod(control_model_get(model, (struct control_key){CONTROL_POD, name_space, name}));
}

const struct control_namespace *control_model_namespace(const struct control_model *model, struct fl_span name)
{
    return control_as_namespace(control_model_get(model, (struct control_key){CONTROL_NAMESPACE, FL_SPAN(""), name}));
}

const struct control_service *control_model_service_at(const struct control_model *model, const struct control_ip *ip)
{
    struct fl_span key = fl_span_make(ip, sizeof(*ip));
    return control_as_service(first(range(model, CONTROL_INDEX_SERVICE_IPS, 0, key, ANY)));
}

const struct control_pod *control_model_pod_at(const struct control_model *model, const struct control_ip *ip)
{
    struct fl_span key = fl_span_make(ip, sizeof(*ip));
    return control_as_pod(first(range(model, CONTROL_INDEX_POD_IPS, 0, key, ANY)));
}

struct control_objects control_model_slices(const struct control_model *model, struct fl_span name_space,
                                            struct fl_span service)
{
    return range(model, CONTROL_INDEX_SLICES, 0, given(name_space), given(service));
}

struct control_objects control_model_pods_of(const struct control_model *model, struct fl_span name_space,
                                             struct fl_span service_account)
{
    return range(model, CONTROL_INDEX_ACCOUNTS, 0, given(name_space), given(service_account));
}

struct control_objects control_model_routes_of(const struct control_model *model, enum control_kind parent,
                                               struct fl_span name_space, struct fl_span name)
{
    return range(model, CONTROL_INDEX_ROUTES, parent, given(name_space), given(name));
}

struct control_objects control_model_sets_of(const struct control_model *model, struct fl_span name_space,
                                             struct fl_span gateway)
{
    return range(model, CONTROL_INDEX_SETS, 0, given(name_space), given(gateway));
}

struct control_objects control_model_traffic_of(const struct control_model *model, struct fl_span name_space,
                                                struct fl_span service)
{
    return range(model, CONTROL_INDEX_TARGETS, 0, given(name_space), given(service));
}

struct fl_span control_model_foreign_issuer(const struct control_model *model)
{
    struct fl_span none = {NULL, 0}, wanted = control_model_settings(model).trust_domain;
    return fl_span_eq(model->issuer, wanted) ? none : model->issuer;
}

struct fl_span control_model_root(const struct control_model *model)
{
    return fl_span_str(model->root);
}

struct control_settings control_model_settings(const struct control_model *model)
{
    const struct control_key key = {CONTROL_MESH_SETTINGS, control_model_root(model), FL_SPAN("default")};
    const struct control_mesh_settings *settings = control_as_mesh_settings(control_model_get(model, key));
    struct fl_span domain = model->issuer.len > 0 ? model->issuer : FL_SPAN(FL_TRUST_DOMAIN_DEFAULT);
    if (settings == NULL)
        return (struct control_settings){domain, FL_SPAN("cluster.local"), CONTROL_EGRESS_ALLOW_ANY, NULL, 0, false};
    if (settings->trust_domain.len > 0)
        domain = settings->trust_domain;
    return (struct control_settings){domain,          settings->cluster_domain, settings->egress,
                                     settings->cidrs, settings->cidr_count,     settings->istio_peers};
}

static bool grants(const struct control_reference_grant *grant, enum control_kind kind, struct fl_span from,
                   const struct control_reference *to)
{
    bool from_fits = false, to_fits = false;
    for (size_t i = 0; i < grant->from_count; i++)
        from_fits |= fl_span_eq_str(grant->from[i].group, control_kind_group(kind)) &&
                     fl_span_eq_str(grant->from[i].kind, control_kind_name(kind)) &&
                     fl_span_eq(grant->from[i].name_space, from);
    for (size_t i = 0; i < grant->to_count; i++)
        to_fits |= fl_span_eq(grant->to[i].group, to->group) && fl_span_eq(grant->to[i].kind, to->kind) &&
                   (grant->to[i].name.len == 0 || fl_span_eq(grant->to[i].name, to->name));
    return from_fits && to_fits;
}

bool control_model_granted(const struct control_model *model, enum control_kind kind, struct fl_span from,
                           const struct control_reference *to)
{
    if (fl_span_eq(from, to->name_space))
        return true;
    struct control_objects objects = control_model_in(model, CONTROL_REFERENCE_GRANT, to->name_space);
    for (size_t i = 0; i < objects.count; i++)
        if (grants(control_as_reference_grant(objects.items[i]), kind, from, to))
            return true;
    return false;
}

/* -- problems ------------------------------------------------------------------------------------------------------ */

struct control_problems *control_problems_ref(const struct control_problems *problems)
{
    struct control_problems *mutable = (struct control_problems *)(uintptr_t)problems;
    if (mutable != NULL)
        atomic_fetch_add_explicit(&mutable->references, 1, memory_order_relaxed);
    return mutable;
}

void control_problems_unref(const struct control_problems *problems)
{
    struct control_problems *mutable = (struct control_problems *)(uintptr_t)problems;
    if (mutable == NULL || atomic_fetch_sub_explicit(&mutable->references, 1, memory_order_acq_rel) != 1)
        return;
    fl_arena_done(&mutable->arena);
    free(mutable);
}

const struct control_problems *control_model_problems(const struct control_model *model)
{
    return model->problems;
}

/* -- problems ------------------------------------------------------------------------------------------------------ */

const char *control_problem_word(enum control_problem_reason reason)
{
    static const char *const words[] = {
#define WORD(id, word, in_force) [CONTROL_PROBLEM_##id] = word,
        CONTROL_PROBLEM_REASONS(WORD)
#undef WORD
    };
    return words[reason];
}

const char *control_problem_in_force(enum control_problem_reason reason)
{
    static const char *const words[] = {
#define WORD(id, word, in_force) [CONTROL_PROBLEM_##id] = in_force,
        CONTROL_PROBLEM_REASONS(WORD)
#undef WORD
    };
    return words[reason];
}

bool control_problem_is_warning(enum control_problem_reason reason)
{
    return reason == CONTROL_PROBLEM_NOT_READ || reason == CONTROL_PROBLEM_IGNORED;
}
