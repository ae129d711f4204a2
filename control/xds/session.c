#include "control/xds/session.h"

#include "common/base/map.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/queue.h>

/* A stream has hundreds of entries, and there are thousands of streams: an entry is kept small. Where it stands. An
 * entry that is queued is looked at when its type makes its next response. */
enum place { PLACE_SETTLED, PLACE_DIRTY, PLACE_LEAVING };

struct entry {
    TAILQ_ENTRY(entry) link;           /* of the list that `place` names */
    struct control_resource *resource; /* what the client has; held for the state of the world of whole types */
    uint64_t version;                  /* what the client has; 0: nothing */
    uint16_t len;                      /* of the name */
    uint8_t place;                     /* enum place */
    uint8_t groups;                    /* by which it is a member */
    bool named : 1;                    /* the client named it */
    bool owed : 1;                     /* it is to be answered even if nothing changed */
    bool marked : 1;                   /* during a walk over a group */
    char name[];
};

TAILQ_HEAD(queue, entry);

static struct fl_span name_of(const struct entry *entry)
{
    return fl_span_make(entry->name, entry->len);
}

struct type_state {
    enum fl_resource_type type;
    struct fl_map entries;       /* by name */
    struct queue dirty, leaving; /* leaving: gone, and waiting for listeners and routes to let go */
    unsigned groups;             /* subscribed */
    bool groups_dirty;           /* to be walked */
    bool asked, answer_owed, in_flight;
    uint64_t nonce; /* of the last response */
    uint64_t sum;   /* of the versions that the client has */
    size_t bytes;   /* of the entries */
    uint64_t sent, acked, refused;
    bool last_refused;
    char *reason; /* of the last refusal; NULL: none, or no memory for it */
};

struct control_session {
    enum control_session_form form;
    struct type_state types[FL_RESOURCE_TYPES];
};

#define MAP_BYTES   40 /* about, of an entry in a map that has just grown */
#define ENTRY_BYTES offsetof(struct entry, name)

/* -- responses -- */

void control_response_init(struct control_response *response)
{
    *response = (struct control_response){0};
}

static void response_clear(struct control_response *response)
{
    for (size_t i = 0; i < response->count; i++)
        control_resource_unref(response->resources[i]);
    for (size_t i = 0; i < response->removed_count; i++)
        free((char *)(uintptr_t)response->removed[i].data);
    response->count = response->removed_count = response->bytes = 0;
}

void control_response_done(struct control_response *response)
{
    response_clear(response);
    free(response->resources);
    free(response->removed);
    control_response_init(response);
}

static int grow(void **array, size_t size, size_t count, size_t *capacity)
{
    if (count < *capacity)
        return 0;
    size_t larger = *capacity > 0 ? 2 * *capacity : 16;
    void *grown = realloc(*array, larger * size);
    if (grown == NULL)
        return -ENOMEM;
    *array = grown;
    *capacity = larger;
    return 0;
}

static int response_add(struct control_response *response, struct control_resource *resource)
{
    void *array = response->resources;
    int result = grow(&array, sizeof(struct control_resource *), response->count, &response->capacity);
    response->resources = array;
    if (result < 0)
        return result;
    response->resources[response->count++] = control_resource_ref(resource);
    response->bytes += resource->name.len + resource->bytes.len;
    return 0;
}

static int response_remove(struct control_response *response, struct fl_span name)
{
    void *array = response->removed;
    int result = grow(&array, sizeof(struct fl_span), response->removed_count, &response->removed_capacity);
    response->removed = array;
    char *copy = result == 0 ? malloc(name.len + 1) : NULL;
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, name.data, name.len);
    copy[name.len] = '\0';
    response->removed[response->removed_count++] = fl_span_make(copy, name.len);
    response->bytes += name.len;
    return 0;
}

/* -- entries -- */

static void entry_place(struct type_state *state, struct entry *entry, enum place place)
{
    if (entry->place == place)
        return;
    if (entry->place != PLACE_SETTLED)
        TAILQ_REMOVE(entry->place == PLACE_DIRTY ? &state->dirty : &state->leaving, entry, link);
    if (place != PLACE_SETTLED)
        TAILQ_INSERT_TAIL(place == PLACE_DIRTY ? &state->dirty : &state->leaving, entry, link);
    entry->place = (uint8_t)place;
}

/* What the client has from now on; NULL: nothing. */
static void entry_set(struct type_state *state, struct entry *entry, struct control_resource *resource, bool hold)
{
    state->sum -= entry->version;
    control_resource_unref(entry->resource);
    entry->version = resource != NULL ? resource->version : 0;
    entry->resource = resource != NULL && hold ? control_resource_ref(resource) : NULL;
    state->sum += entry->version;
}

static void entry_drop(struct type_state *state, struct entry *entry)
{
    entry_place(state, entry, PLACE_SETTLED);
    entry_set(state, entry, NULL, false);
    fl_map_remove(&state->entries, name_of(entry));
    state->bytes -= ENTRY_BYTES + entry->len + MAP_BYTES;
    free(entry);
}

/* The name begins within the struct's padding; of a short one all of the struct is there, as the compiler may read it.
 */
static size_t entry_size(struct fl_span name)
{
    size_t size = ENTRY_BYTES + name.len;
    return size > sizeof(struct entry) ? size : sizeof(struct entry);
}

static int entry_get(struct type_state *state, struct fl_span name, struct entry **ret_entry)
{
    struct entry *entry = fl_map_get(&state->entries, name);
    if (name.len > UINT16_MAX)
        return -EINVAL; /* FL_RESOURCE_NAME_MAX is far below */
    if (entry == NULL) {
        entry = calloc(1, entry_size(name));
        if (entry == NULL)
            return -ENOMEM;
        memcpy(entry->name, name.data, name.len);
        entry->len = (uint16_t)name.len;
        int result = fl_map_put(&state->entries, name_of(entry), entry);
        if (result < 0) {
            free(entry);
            return -ENOMEM;
        }
        state->bytes += ENTRY_BYTES + name.len + MAP_BYTES;
    }
    *ret_entry = entry;
    return 0;
}

static bool entry_is_wanted(const struct entry *entry)
{
    return entry->named || entry->groups != 0;
}

/* -- the session -- */

int control_session_new(enum control_session_form form, struct control_session **ret_session)
{
    struct control_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return -ENOMEM;
    session->form = form;
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++) {
        struct type_state *state = &session->types[type];
        state->type = type;
        fl_map_init(&state->entries, FL_MAP_MAX);
        TAILQ_INIT(&state->dirty);
        TAILQ_INIT(&state->leaving);
    }
    *ret_session = session;
    return 0;
}

struct control_session *control_session_free(struct control_session *session)
{
    if (session == NULL)
        return NULL;
    control_session_clear(session);
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++)
        free(session->types[type].reason);
    free(session);
    return NULL;
}

size_t control_session_bytes(const struct control_session *session)
{
    size_t bytes = sizeof(*session);
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++)
        bytes += session->types[type].bytes;
    return bytes;
}

void control_session_clear(struct control_session *session)
{
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++) {
        struct type_state *state = &session->types[type];
        void *entry;
        for (size_t cursor = 0; fl_map_next(&state->entries, &cursor, NULL, &entry);)
            entry_drop(state, entry);
        fl_map_done(&state->entries);
        fl_map_init(&state->entries, FL_MAP_MAX);
        state->groups = 0;
        state->groups_dirty = state->answer_owed = false;
    }
}

/* -- requests -- */

static bool is_whole(enum fl_resource_type type)
{
    return type == FL_RESOURCE_CLUSTER || type == FL_RESOURCE_LISTENER;
}

/* The group that a subscription names, or CONTROL_GROUPS where it is a resource. */
static enum control_group group_of(enum fl_resource_type type, struct fl_span name)
{
    if (fl_span_eq_str(name, "*"))
        return CONTROL_GROUP_EVERYTHING;
    if (type == FL_RESOURCE_LISTENER && fl_span_eq_str(name, FL_RESOURCE_NAME_OWN_NAMESPACE))
        return CONTROL_GROUP_OWN_NAMESPACE;
    return CONTROL_GROUPS;
}

static int check_name(const struct type_state *state, struct fl_span name, struct fl_err *err)
{
    if (name.len == 0 || name.len > FL_RESOURCE_NAME_MAX)
        return fl_err_set(err, -EPROTO, "%s: a name of %zu bytes, expected 1 to %d", fl_resource_type_word(state->type),
                          name.len, FL_RESOURCE_NAME_MAX);
    if (state->entries.count >= CONTROL_SESSION_NAMES_MAX && fl_map_get(&state->entries, name) == NULL)
        return fl_err_set(err, -EPROTO, "%s: more than %d names", fl_resource_type_word(state->type),
                          CONTROL_SESSION_NAMES_MAX);
    return 0;
}

static void join_group(struct type_state *state, enum control_group group)
{
    state->groups |= 1u << group;
    state->groups_dirty = true;
}

/* Names one resource or group. `again`: it is answered also where it was named before. */
static int subscribe(struct type_state *state, struct fl_span name, bool again, struct fl_err *err)
{
    enum control_group group = group_of(state->type, name);
    if (group != CONTROL_GROUPS) {
        if (again || (state->groups & 1u << group) == 0)
            join_group(state, group);
        state->answer_owed = state->answer_owed || again;
        return 0;
    }
    struct entry *entry;
    int result = check_name(state, name, err);
    if (result == 0)
        result = entry_get(state, name, &entry);
    if (result < 0)
        return result;
    if (again || !entry->named) {
        entry->owed = true;
        entry_place(state, entry, PLACE_DIRTY);
    }
    entry->named = entry->marked = true;
    return 0;
}

/* The client itself forgets what it takes back, so nothing is sent for it. */
static void release(struct type_state *state, struct entry *entry)
{
    if (entry_is_wanted(entry))
        entry_place(state, entry, PLACE_DIRTY);
    else
        entry_drop(state, entry);
}

static void leave_group(struct type_state *state, enum control_group group)
{
    void *value;
    if ((state->groups & 1u << group) == 0)
        return; /* no entry is in it: one message may take "*" back a million times */
    state->groups &= ~(1u << group);
    for (size_t cursor = 0; fl_map_next(&state->entries, &cursor, NULL, &value);) {
        struct entry *entry = value;
        if ((entry->groups & 1u << group) == 0)
            continue;
        entry->groups = (uint8_t)(entry->groups & ~(1u << group));
        release(state, entry);
    }
}

static void unsubscribe(struct type_state *state, struct fl_span name)
{
    enum control_group group = group_of(state->type, name);
    if (group != CONTROL_GROUPS) {
        leave_group(state, group);
        return;
    }
    struct entry *entry = fl_map_get(&state->entries, name);
    if (entry == NULL || !entry->named)
        return;
    entry->named = false;
    entry->owed = entry->groups != 0; /* still seen by a group: told again, or the client would miss it */
    release(state, entry);
}

/* What the client brings from an earlier stream. Names that it does not ask for are its own affair. */
static int recall(struct type_state *state, struct fl_span name, struct fl_span version, struct fl_err *err)
{
    struct entry *entry = fl_map_get(&state->entries, name);
    int result = 0;
    if (entry == NULL && state->groups == 0)
        return 0;
    if (entry == NULL)
        result = check_name(state, name, err);
    if (entry == NULL && result == 0)
        result = entry_get(state, name, &entry);
    if (result < 0)
        return result;
    if (!entry->named)
        entry->groups = (uint8_t)state->groups; /* the walk tells which it really is in */
    entry->owed = false;
    state->sum -= entry->version;
    if (!control_version_parse(version, &entry->version))
        entry->version = 1; /* something, and none of ours */
    state->sum += entry->version;
    return 0;
}

static int request_delta(struct type_state *state, const struct control_ask *request, struct fl_err *err)
{
    bool first = !state->asked;
    int result = 0;
    state->asked = true;
    if (first && request->name_count == 0 && is_whole(state->type))
        join_group(state, CONTROL_GROUP_EVERYTHING);
    for (size_t i = 0; i < request->name_count && result == 0; i++)
        result = subscribe(state, request->names[i], true, err);
    for (size_t i = 0; i < request->unsubscribe_count && result == 0; i++)
        unsubscribe(state, request->unsubscribe[i]);
    for (size_t i = 0; i < request->known_count && result == 0 && first; i++)
        result = recall(state, request->known_names[i], request->known_versions[i], err);
    state->answer_owed = state->answer_owed || first;
    return result;
}

/* The names of a request are all that the client wants: what is not among them it has forgotten. */
static int request_world(struct type_state *state, const struct control_ask *request, struct fl_err *err)
{
    bool first = !state->asked;
    bool everything = request->name_count == 0 && is_whole(state->type) &&
                      (first || (state->groups & 1u << CONTROL_GROUP_EVERYTHING) != 0);
    unsigned groups = everything ? 1u << CONTROL_GROUP_EVERYTHING : 0;
    void *value;
    int result = 0;
    for (size_t cursor = 0; fl_map_next(&state->entries, &cursor, NULL, &value);)
        ((struct entry *)value)->marked = false;
    for (size_t i = 0; i < request->name_count && result == 0; i++) {
        enum control_group group = group_of(state->type, request->names[i]);
        groups |= group != CONTROL_GROUPS ? 1u << group : 0;
        result = subscribe(state, request->names[i], false, err);
    }
    if (result < 0)
        return result;
    for (enum control_group group = 0; group < CONTROL_GROUPS; group++)
        if ((state->groups & ~groups & 1u << group) != 0)
            leave_group(state, group);
    if (everything && first)
        join_group(state, CONTROL_GROUP_EVERYTHING);
    for (size_t cursor = 0; fl_map_next(&state->entries, &cursor, NULL, &value);) {
        struct entry *entry = value;
        if (!entry->named || entry->marked)
            continue;
        entry->named = false;
        release(state, entry);
    }
    state->asked = true;
    state->answer_owed = state->answer_owed || first;
    return 0;
}

/* What the nonce of a request says. */
static enum control_session_outcome judge(struct type_state *state, const struct control_ask *request)
{
    uint64_t nonce;
    if (request->nonce.len == 0 || !state->asked)
        return CONTROL_SESSION_TAKEN;
    if (!control_version_parse(request->nonce, &nonce) || nonce != state->nonce)
        return CONTROL_SESSION_STALE;
    if (!state->in_flight)
        return CONTROL_SESSION_TAKEN;
    state->in_flight = false;
    state->last_refused = request->refused;
    if (!request->refused) {
        state->acked++;
        return CONTROL_SESSION_ACKED;
    }
    state->refused++;
    free(state->reason);
    size_t len =
        request->reason.len < CONTROL_SESSION_REASON_MAX ? request->reason.len : CONTROL_SESSION_REASON_MAX - 1;
    state->reason = len > 0 ? fl_span_dup(fl_span_make(request->reason.data, len)) : NULL;
    return CONTROL_SESSION_REFUSED;
}

int control_session_request(struct control_session *session, const struct control_ask *request, struct fl_err *err)
{
    struct type_state *state = &session->types[request->type];
    bool delta = session->form == CONTROL_SESSION_DELTA;
    enum control_session_outcome outcome = judge(state, request);
    if (outcome == CONTROL_SESSION_STALE && !delta)
        return (int)outcome;
    int result = delta ? request_delta(state, request, err) : request_world(state, request, err);
    return result < 0 ? result : (int)outcome;
}

/* -- changes -- */

void control_session_touch(struct control_session *session, enum fl_resource_type type, struct fl_span name)
{
    struct type_state *state = &session->types[type];
    struct entry *entry = fl_map_get(&state->entries, name);
    if (entry != NULL)
        entry_place(state, entry, PLACE_DIRTY);
    /* It may have come into a group; and whether it is still one of its own namespace's the walk alone tells. */
    if (state->groups != 0 && (entry == NULL || (entry->groups & 1u << CONTROL_GROUP_OWN_NAMESPACE) != 0))
        state->groups_dirty = true;
}

void control_session_touch_type(struct control_session *session, enum fl_resource_type type)
{
    struct type_state *state = &session->types[type];
    void *entry;
    for (size_t cursor = 0; fl_map_next(&state->entries, &cursor, NULL, &entry);)
        entry_place(state, entry, PLACE_DIRTY);
    state->groups_dirty = state->groups != 0;
}

void control_session_touch_prefix(struct control_session *session, enum fl_resource_type type, struct fl_span prefix)
{
    struct type_state *state = &session->types[type];
    struct fl_span name;
    void *value;
    for (size_t cursor = 0; fl_map_next(&state->entries, &cursor, &name, &value);) {
        struct entry *entry = value;
        if (!fl_span_starts_with(name, prefix))
            continue;
        entry_place(state, entry, PLACE_DIRTY);
        if ((entry->groups & 1u << CONTROL_GROUP_OWN_NAMESPACE) != 0)
            state->groups_dirty = true;
    }
}

void control_session_touch_groups(struct control_session *session, enum fl_resource_type type)
{
    session->types[type].groups_dirty = session->types[type].groups != 0;
}

/* -- making responses -- */

struct walk {
    struct type_state *state;
    enum control_group group;
};

static int visit_member(void *visitor, struct fl_span name)
{
    struct walk *walk = visitor;
    struct entry *entry;
    int result = entry_get(walk->state, name, &entry);
    if (result < 0)
        return result;
    entry->groups = (uint8_t)(entry->groups | 1u << walk->group);
    entry->marked = true;
    entry_place(walk->state, entry, PLACE_DIRTY);
    return 0;
}

static int walk_group(struct type_state *state, enum control_group group, const struct control_session_source *source)
{
    struct walk walk = {state, group};
    void *value;
    for (size_t cursor = 0; fl_map_next(&state->entries, &cursor, NULL, &value);)
        ((struct entry *)value)->marked = false;
    int result = source->each(source->owner, state->type, group, visit_member, &walk);
    for (size_t cursor = 0; result == 0 && fl_map_next(&state->entries, &cursor, NULL, &value);) {
        struct entry *entry = value;
        if (entry->marked || (entry->groups & 1u << group) == 0)
            continue;
        entry->groups = (uint8_t)(entry->groups & ~(1u << group));
        entry_place(state, entry, PLACE_DIRTY);
    }
    return result;
}

static int walk_groups(struct type_state *state, const struct control_session_source *source)
{
    int result = 0;
    for (enum control_group group = 0; group < CONTROL_GROUPS && result == 0 && state->groups_dirty; group++)
        if ((state->groups & 1u << group) != 0)
            result = walk_group(state, group, source);
    if (result == 0)
        state->groups_dirty = false;
    return result;
}

static bool has_changes(const struct type_state *state)
{
    return state->groups_dirty || state->answer_owed || !TAILQ_EMPTY(&state->dirty);
}

/* Whether clusters and endpoints that are gone may be taken away: nothing names them any more. */
static bool may_remove(const struct control_session *session, enum fl_resource_type type)
{
    const struct type_state *listeners = &session->types[FL_RESOURCE_LISTENER];
    const struct type_state *routes = &session->types[FL_RESOURCE_ROUTES];
    if (type != FL_RESOURCE_CLUSTER && type != FL_RESOURCE_ENDPOINTS)
        return true;
    return !has_changes(listeners) && !listeners->in_flight && !has_changes(routes) && !routes->in_flight;
}

struct making {
    struct type_state *state;
    const struct control_session_source *source;
    struct control_response *response;
    bool delta, may_remove;
    bool hold;    /* the state of the world of a whole type: resources are kept, to be sent again with the others */
    bool changed; /* of that */
};

/* The resource is gone, or not the client's to see. */
static int make_gone(struct making *making, struct entry *entry)
{
    bool told = entry->version != 0 || (entry->owed && entry->named);
    int result = 0;
    if (entry->version != 0 && !making->may_remove) {
        entry_place(making->state, entry, PLACE_LEAVING);
        return 0;
    }
    if (told && making->delta)
        result = response_remove(making->response, name_of(entry));
    making->changed = making->changed || entry->version != 0;
    entry->owed = false;
    entry_place(making->state, entry, PLACE_SETTLED);
    if (entry->named)
        entry_set(making->state, entry, NULL, false);
    else
        entry_drop(making->state, entry);
    return result;
}

static int make_entry(struct making *making, struct entry *entry)
{
    struct control_resource *resource = NULL;
    int result = 0;
    if (entry_is_wanted(entry))
        result = making->source->get(making->source->owner, making->state->type, name_of(entry), &resource);
    if (result < 0)
        return result;
    if (resource == NULL)
        return make_gone(making, entry);
    bool differs = entry->version != resource->version || entry->owed;
    making->changed = making->changed || differs;
    entry->owed = false;
    entry_place(making->state, entry, PLACE_SETTLED);
    if (differs && !making->hold)
        result = response_add(making->response, resource);
    if (differs || (making->hold && entry->resource == NULL))
        entry_set(making->state, entry, resource, making->hold);
    control_resource_unref(resource);
    return result;
}

/* The state of the world of a whole type: everything that the client is to have. */
static int make_world(struct making *making)
{
    void *value;
    int result = 0;
    for (size_t cursor = 0; result == 0 && fl_map_next(&making->state->entries, &cursor, NULL, &value);)
        if (((struct entry *)value)->resource != NULL)
            result = response_add(making->response, ((struct entry *)value)->resource);
    return result;
}

static int make(struct making *making)
{
    struct type_state *state = making->state;
    int result = walk_groups(state, making->source);
    if (making->may_remove)
        while (!TAILQ_EMPTY(&state->leaving))
            entry_place(state, TAILQ_FIRST(&state->leaving), PLACE_DIRTY);
    while (result == 0 && !TAILQ_EMPTY(&state->dirty) && making->response->bytes < CONTROL_SESSION_RESPONSE_BYTES)
        result = make_entry(making, TAILQ_FIRST(&state->dirty));
    if (result == 0 && making->hold && (making->changed || state->answer_owed))
        result = make_world(making);
    return result;
}

static void seal(struct type_state *state, struct control_response *response)
{
    response->type = state->type;
    control_version_print(++state->nonce, response->nonce);
    control_version_print(state->sum, response->version);
    state->in_flight = true;
    state->answer_owed = false;
    state->sent++;
}

/* 1, 0 or -ENOMEM for one type. */
static int next_of(struct control_session *session, struct type_state *state,
                   const struct control_session_source *source, struct control_response *response)
{
    struct making making = {
        .state = state,
        .source = source,
        .response = response,
        .delta = session->form == CONTROL_SESSION_DELTA,
        .may_remove = may_remove(session, state->type),
    };
    making.hold = !making.delta && is_whole(state->type);
    int result = make(&making);
    bool empty = making.hold ? !making.changed : response->count == 0 && response->removed_count == 0;
    if (result < 0 || (empty && !state->answer_owed))
        return result;
    seal(state, response);
    return 1;
}

int control_session_next(struct control_session *session, const struct control_session_source *source,
                         struct control_response *response)
{
    response_clear(response);
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++) {
        struct type_state *state = &session->types[type];
        bool leaving = !TAILQ_EMPTY(&state->leaving) && may_remove(session, type);
        if (!state->asked || (!has_changes(state) && !leaving))
            continue;
        if (state->in_flight && has_changes(state))
            return 0; /* make before break: those behind it wait too */
        if (state->in_flight)
            continue;
        int result = next_of(session, state, source, response);
        if (result != 0)
            return result;
    }
    /* Listeners and routes may have settled on the way without a response: then what they named can go. */
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_LISTENER; type++) {
        struct type_state *state = &session->types[type];
        if (TAILQ_EMPTY(&state->leaving) || state->in_flight || !may_remove(session, type))
            continue;
        int result = next_of(session, state, source, response);
        if (result != 0)
            return result;
    }
    return 0;
}

/* -- what is known -- */

bool control_session_pending(const struct control_session *session)
{
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++)
        if (session->types[type].asked &&
            (has_changes(&session->types[type]) || !TAILQ_EMPTY(&session->types[type].leaving)))
            return true;
    return false;
}

bool control_session_settled(const struct control_session *session)
{
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++)
        if (session->types[type].in_flight)
            return false;
    return !control_session_pending(session);
}

void control_session_status(const struct control_session *session, enum fl_resource_type type,
                            struct control_session_status *ret_status)
{
    const struct type_state *state = &session->types[type];
    *ret_status = (struct control_session_status){
        .asked = state->asked,
        .subscribed = state->entries.count,
        .version = state->sum,
        .in_flight = state->in_flight,
        .in_sync = !state->in_flight && !state->last_refused && !has_changes(state) && TAILQ_EMPTY(&state->leaving),
        .sent = state->sent,
        .acked = state->acked,
        .refused = state->refused,
        .last_refused = state->last_refused,
    };
    snprintf(ret_status->reason, sizeof(ret_status->reason), "%s", state->reason != NULL ? state->reason : "");
}

int control_session_each(const struct control_session *session, enum fl_resource_type type,
                         int (*visit)(void *visitor, struct fl_span name, uint64_t version), void *visitor)
{
    void *value;
    int result = 0;
    for (size_t cursor = 0; result == 0 && fl_map_next(&session->types[type].entries, &cursor, NULL, &value);)
        result = visit(visitor, name_of(value), ((struct entry *)value)->version);
    return result;
}
