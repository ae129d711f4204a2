#include "control/model/index.h"

#include "control/model/core.h"
#include "control/model/gatewayapi.h"
#include "control/model/meshapi.h"

#include <errno.h>

struct entry {
    const struct control_object *object;
    uint32_t sub;
};

/* -- keys ---------------------------------------------------------------------------------------------------------- */

static struct fl_span ip_span(const struct control_ip *ip)
{
    return fl_span_make(ip, sizeof(*ip));
}

static bool service_ip_key(const struct control_object *object, uint32_t sub, struct control_index_key *ret_key)
{
    const struct control_service *service = control_as_service(object);
    if (service == NULL || sub >= service->ip_count)
        return false;
    *ret_key = (struct control_index_key){0, ip_span(&service->ips[sub]), FL_SPAN("")};
    return true;
}

static bool pod_ip_key(const struct control_object *object, uint32_t sub, struct control_index_key *ret_key)
{
    const struct control_pod *pod = control_as_pod(object);
    if (pod == NULL || sub >= pod->ip_count || pod->ended || pod->host_network)
        return false;
    *ret_key = (struct control_index_key){0, ip_span(&pod->ips[sub]), FL_SPAN("")};
    return true;
}

static bool slice_key(const struct control_object *object, uint32_t sub, struct control_index_key *ret_key)
{
    const struct control_slice *slice = control_as_slice(object);
    if (slice == NULL || sub > 0 || slice->service.len == 0)
        return false;
    *ret_key = (struct control_index_key){0, object->metadata.name_space, slice->service};
    return true;
}

static bool account_key(const struct control_object *object, uint32_t sub, struct control_index_key *ret_key)
{
    const struct control_pod *pod = control_as_pod(object);
    if (pod == NULL || sub > 0)
        return false;
    *ret_key = (struct control_index_key){0, object->metadata.name_space, pod->service_account};
    return true;
}

static bool target_key(const struct control_object *object, uint32_t sub, struct control_index_key *ret_key)
{
    const struct control_traffic_policy *policy = control_as_traffic_policy(object);
    if (policy == NULL || sub >= policy->target.name_count)
        return false;
    *ret_key = (struct control_index_key){0, object->metadata.name_space, policy->target.names[sub]};
    return true;
}

static bool parent_kind(const struct control_reference *reference, unsigned *ret_kind)
{
    static const enum control_kind kinds[] = {CONTROL_SERVICE, CONTROL_GATEWAY, CONTROL_LISTENER_SET};
    for (size_t i = 0; i < FL_COUNT(kinds); i++)
        if (fl_span_eq_str(reference->kind, control_kind_name(kinds[i])) &&
            fl_span_eq_str(reference->group, control_kind_group(kinds[i]))) {
            *ret_kind = kinds[i];
            return true;
        }
    return false;
}

static bool set_key(const struct control_object *object, uint32_t sub, struct control_index_key *ret_key)
{
    const struct control_listener_set *set = control_as_listener_set(object);
    unsigned kind = CONTROL_KIND_COUNT;
    if (set == NULL || sub > 0 || !parent_kind(&set->parent.reference, &kind) || kind != CONTROL_GATEWAY)
        return false;
    *ret_key = (struct control_index_key){0, set->parent.reference.name_space, set->parent.reference.name};
    return true;
}

static bool same_parent(const struct control_reference *a, const struct control_reference *b)
{
    return fl_span_eq(a->kind, b->kind) && fl_span_eq(a->group, b->group) && fl_span_eq(a->name, b->name) &&
           fl_span_eq(a->name_space, b->name_space);
}

/* A route that names a parent twice (for two ports) is there once. */
static bool route_key(const struct control_object *object, uint32_t sub, struct control_index_key *ret_key)
{
    const struct control_parent *parents = NULL;
    size_t count = control_route_parent_list(object, &parents);
    unsigned kind = 0;
    if (sub >= count || !parent_kind(&parents[sub].reference, &kind))
        return false;
    for (uint32_t i = 0; i < sub; i++)
        if (same_parent(&parents[i].reference, &parents[sub].reference))
            return false;
    *ret_key = (struct control_index_key){kind, parents[sub].reference.name_space, parents[sub].reference.name};
    return true;
}

static bool key_of(enum control_index_kind kind, const struct control_object *object, uint32_t sub,
                   struct control_index_key *ret_key)
{
    switch (kind) {
    case CONTROL_INDEX_SERVICE_IPS:
        return service_ip_key(object, sub, ret_key);
    case CONTROL_INDEX_POD_IPS:
        return pod_ip_key(object, sub, ret_key);
    case CONTROL_INDEX_SLICES:
        return slice_key(object, sub, ret_key);
    case CONTROL_INDEX_ACCOUNTS:
        return account_key(object, sub, ret_key);
    case CONTROL_INDEX_ROUTES:
        return route_key(object, sub, ret_key);
    case CONTROL_INDEX_SETS:
        return set_key(object, sub, ret_key);
    case CONTROL_INDEX_TARGETS:
        return target_key(object, sub, ret_key);
    case CONTROL_INDEX_ALL:
    case CONTROL_INDEX_COUNT:
        break;
    }
    *ret_key = (struct control_index_key){object->kind, object->metadata.name_space, object->metadata.name};
    return sub == 0;
}

/* How many subs there may be: keys of some may be missing. */
static uint32_t subs_of(enum control_index_kind kind, const struct control_object *object)
{
    const struct control_parent *parents = NULL;
    const struct control_service *service = control_as_service(object);
    const struct control_pod *pod = control_as_pod(object);
    const struct control_traffic_policy *policy = control_as_traffic_policy(object);
    if (kind == CONTROL_INDEX_SERVICE_IPS)
        return service != NULL ? (uint32_t)service->ip_count : 0;
    if (kind == CONTROL_INDEX_POD_IPS)
        return pod != NULL ? (uint32_t)pod->ip_count : 0;
    if (kind == CONTROL_INDEX_ROUTES)
        return (uint32_t)control_route_parent_list(object, &parents);
    if (kind == CONTROL_INDEX_TARGETS)
        return policy != NULL ? (uint32_t)policy->target.name_count : 0;
    return 1;
}

/* -- order --------------------------------------------------------------------------------------------------------- */

static int compare_keys(const struct control_index_key *a, const struct control_index_key *b)
{
    if (a->tag != b->tag)
        return a->tag < b->tag ? -1 : 1;
    int order = fl_span_compare(a->a, b->a);
    return order != 0 ? order : fl_span_compare(a->b, b->b);
}

static int compare_age(const struct control_object *a, const struct control_object *b)
{
    if (a->metadata.created != b->metadata.created)
        return a->metadata.created < b->metadata.created ? -1 : 1;
    struct control_key key_a = control_object_key(a), key_b = control_object_key(b);
    int order = fl_span_compare(key_a.name_space, key_b.name_space);
    if (order == 0)
        order = fl_span_compare(key_a.name, key_b.name);
    return order != 0 || a->kind == b->kind ? order : a->kind < b->kind ? -1 : 1;
}

static int compare_entries(enum control_index_kind kind, const struct entry *a, const struct entry *b)
{
    struct control_index_key key_a = {0}, key_b = {0};
    key_of(kind, a->object, a->sub, &key_a);
    key_of(kind, b->object, b->sub, &key_b);
    int order = compare_keys(&key_a, &key_b);
    if (order == 0)
        order = compare_age(a->object, b->object);
    return order != 0 || a->sub == b->sub ? order : a->sub < b->sub ? -1 : 1;
}

static int compare_for_sort(const void *a, const void *b, void *kind)
{
    return compare_entries(*(const enum control_index_kind *)kind, a, b);
}

/* The first entry that does not come before `entry`. */
static size_t lower_bound(const struct control_index *index, const struct entry *entry)
{
    size_t low = 0, high = index->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct entry there = {index->objects[middle], index->subs[middle]};
        if (compare_entries(index->kind, &there, entry) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* -- change -------------------------------------------------------------------------------------------------------- */

static struct control_index *index_new(enum control_index_kind kind, size_t count)
{
    struct control_index *index = calloc(1, sizeof(*index));
    if (index == NULL)
        return NULL;
    atomic_init(&index->references, 1);
    index->kind = kind;
    index->objects = malloc((count > 0 ? count : 1) * sizeof(*index->objects));
    index->subs = malloc((count > 0 ? count : 1) * sizeof(*index->subs));
    if (index->objects != NULL && index->subs != NULL)
        return index;
    control_index_unref(index);
    return NULL;
}

void control_index_unref(struct control_index *index)
{
    if (index == NULL || atomic_fetch_sub_explicit(&index->references, 1, memory_order_acq_rel) != 1)
        return;
    free(index->objects);
    free(index->subs);
    free(index);
}

/* The keys of one side of the changes, sorted. NULL with *ret_count 0: there are none; false: memory is out. */
static bool collect(enum control_index_kind kind, const struct control_index_change *changes, size_t count, bool after,
                    struct entry **ret_entries, size_t *ret_count)
{
    size_t room = 0, used = 0;
    *ret_entries = NULL;
    *ret_count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct control_object *object = after ? changes[i].after : changes[i].before;
        room += object != NULL ? subs_of(kind, object) : 0;
    }
    if (room == 0)
        return true;
    struct entry *entries = malloc(room * sizeof(*entries));
    if (entries == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct control_object *object = after ? changes[i].after : changes[i].before;
        struct control_index_key key;
        for (uint32_t sub = 0; object != NULL && sub < subs_of(kind, object); sub++)
            if (key_of(kind, object, sub, &key))
                entries[used++] = (struct entry){object, sub};
    }
    qsort_r(entries, used, sizeof(*entries), compare_for_sort, &kind);
    *ret_entries = entries;
    *ret_count = used;
    return true;
}

static void copy_range(struct control_index *to, const struct control_index *from, size_t start, size_t end)
{
    if (end <= start)
        return;
    memcpy(to->objects + to->count, from->objects + start, (end - start) * sizeof(*to->objects));
    memcpy(to->subs + to->count, from->subs + start, (end - start) * sizeof(*to->subs));
    to->count += end - start;
}

/* Copies old to `to` without what went and with what came; both lists are sorted. */
static void merge(struct control_index *to, const struct control_index *old, const struct entry *went,
                  size_t went_count, const struct entry *came, size_t came_count)
{
    size_t at = 0, w = 0, c = 0;
    while (w < went_count || c < came_count) {
        size_t went_at = w < went_count ? lower_bound(old, &went[w]) : SIZE_MAX;
        size_t came_at = c < came_count ? lower_bound(old, &came[c]) : SIZE_MAX;
        if (came_at <= went_at) {
            copy_range(to, old, at, came_at);
            at = came_at > at ? came_at : at;
            to->objects[to->count] = came[c].object;
            to->subs[to->count++] = came[c++].sub;
        } else {
            copy_range(to, old, at, went_at);
            at = went_at + 1;
            w++;
        }
    }
    copy_range(to, old, at, old->count);
}

static int update(struct control_index *old, enum control_index_kind kind, const struct entry *went, size_t went_count,
                  const struct entry *came, size_t came_count, struct control_index **ret_index)
{
    static const struct control_index nothing = {0};
    size_t before = old != NULL ? old->count : 0;
    struct control_index *index = index_new(kind, before + came_count);
    if (index == NULL)
        return -ENOMEM;
    merge(index, old != NULL ? old : &nothing, went, went_count, came, came_count);
    *ret_index = index;
    return 0;
}

int control_index_update(struct control_index *old, enum control_index_kind kind,
                         const struct control_index_change *changes, size_t count, struct control_index **ret_index)
{
    FL_CLEANUP(fl_cleanup_free) struct entry *went = NULL;
    FL_CLEANUP(fl_cleanup_free) struct entry *came = NULL;
    size_t went_count = 0, came_count = 0;
    if (!collect(kind, changes, count, false, &went, &went_count) ||
        !collect(kind, changes, count, true, &came, &came_count))
        return -ENOMEM;
    if (went_count == 0 && came_count == 0 && old != NULL) {
        atomic_fetch_add_explicit(&old->references, 1, memory_order_relaxed);
        *ret_index = old;
        return 0;
    }
    return update(old, kind, went, went_count, came, came_count, ret_index);
}

/* -- look-up ------------------------------------------------------------------------------------------------------- */

/* As compare_keys; what `wanted` does not give is equal. */
static int compare_prefix(const struct control_index_key *there, const struct control_index_key *wanted)
{
    if (there->tag != wanted->tag)
        return there->tag < wanted->tag ? -1 : 1;
    int order = wanted->a.data != NULL ? fl_span_compare(there->a, wanted->a) : 0;
    return order != 0 || wanted->b.data == NULL ? order : fl_span_compare(there->b, wanted->b);
}

static size_t bound(const struct control_index *index, const struct control_index_key *wanted, bool after)
{
    size_t low = 0, high = index->count;
    while (low < high) {
        struct control_index_key there = {0};
        size_t middle = low + (high - low) / 2;
        key_of(index->kind, index->objects[middle], index->subs[middle], &there);
        int order = compare_prefix(&there, wanted);
        if (order < 0 || (after && order == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void control_index_range(const struct control_index *index, const struct control_index_key *key, size_t *ret_from,
                         size_t *ret_to)
{
    *ret_from = bound(index, key, false);
    *ret_to = bound(index, key, true);
}
