#include "cni/repair/sidecars.h"

#include <assert.h>
#include <errno.h>

/* --- states --- */

static const char *const sidecar_names[] = {
#define X(symbol, word) [CNI_SIDECAR_##symbol##_STATE] = word,
    CNI_SIDECAR_STATES(X)
#undef X
};
static const char *const sandbox_names[] = {
#define X(symbol, word) [CNI_SANDBOX_##symbol] = word,
    CNI_SANDBOX_STATES(X)
#undef X
};

#define BIT(state) (1u << (state))

static const unsigned sidecar_steps[] = {
    [CNI_SIDECAR_QUEUED_STATE] = BIT(CNI_SIDECAR_READING_STATE) | BIT(CNI_SIDECAR_REFUSED_STATE),
    [CNI_SIDECAR_READING_STATE] = BIT(CNI_SIDECAR_QUEUED_STATE) | BIT(CNI_SIDECAR_FOREIGN_STATE) |
                                  BIT(CNI_SIDECAR_REFUSED_STATE) | BIT(CNI_SIDECAR_CANDIDATE_STATE) |
                                  BIT(CNI_SIDECAR_MEMBER_STATE) | BIT(CNI_SIDECAR_CONFLICT_STATE),
    [CNI_SIDECAR_FOREIGN_STATE] = 0,
    [CNI_SIDECAR_REFUSED_STATE] = 0,
    [CNI_SIDECAR_CANDIDATE_STATE] = BIT(CNI_SIDECAR_MEMBER_STATE) | BIT(CNI_SIDECAR_CONFLICT_STATE),
    [CNI_SIDECAR_MEMBER_STATE] = 0,
    [CNI_SIDECAR_CONFLICT_STATE] = 0,
};

static const unsigned sandbox_steps[] = {
    [CNI_SANDBOX_WAITING] = BIT(CNI_SANDBOX_CAPTURED) | BIT(CNI_SANDBOX_FAILED) | BIT(CNI_SANDBOX_DISPUTED),
    [CNI_SANDBOX_CAPTURED] = BIT(CNI_SANDBOX_CAPTURED) | BIT(CNI_SANDBOX_FAILED),
    [CNI_SANDBOX_FAILED] = BIT(CNI_SANDBOX_CAPTURED) | BIT(CNI_SANDBOX_FAILED) | BIT(CNI_SANDBOX_DISPUTED),
    [CNI_SANDBOX_DISPUTED] = BIT(CNI_SANDBOX_CAPTURED) | BIT(CNI_SANDBOX_FAILED) | BIT(CNI_SANDBOX_DISPUTED),
};

const char *cni_sidecar_state_name(enum cni_sidecar_state state)
{
    return sidecar_names[state];
}

bool cni_sidecar_may_become(enum cni_sidecar_state from, enum cni_sidecar_state to)
{
    return (sidecar_steps[from] & BIT(to)) != 0;
}

const char *cni_sandbox_state_name(enum cni_sandbox_state state)
{
    return sandbox_names[state];
}

bool cni_sandbox_may_become(enum cni_sandbox_state from, enum cni_sandbox_state to)
{
    return (sandbox_steps[from] & BIT(to)) != 0;
}

void cni_sidecar_become(struct cni_sidecar *sidecar, enum cni_sidecar_state state)
{
    assert(cni_sidecar_may_become(sidecar->state, state));
    sidecar->state = state;
}

void cni_sandbox_become(struct cni_sandbox *sandbox, enum cni_sandbox_state state)
{
    assert(cni_sandbox_may_become(sandbox->state, state));
    sandbox->state = state;
}

/* --- pods --- */

static struct fl_span pod_key(const char *uid)
{
    return uid[0] != '\0' ? fl_span_str(uid) : FL_SPAN("-");
}

static struct cni_sidecars_pod *find_pod(struct cni_sidecars *set, const char *uid)
{
    struct cni_sidecars_pod *pod = fl_map_get(&set->pods, pod_key(uid));
    if (pod != NULL)
        return pod;
    pod = calloc(1, sizeof(*pod));
    if (pod == NULL)
        return NULL;
    memcpy(pod->uid, uid, strlen(uid) + 1); /* of the same size */
    if (fl_map_put(&set->pods, pod_key(pod->uid), pod) < 0) {
        free(pod);
        return NULL;
    }
    return pod;
}

/* One that was read from lately, or has had its share of time, stays for a while: else a process that is made anew,
 * again and again, would begin anew each time. */
static void release_pod(struct cni_sidecars *set, struct cni_sidecars_pod *pod, uint64_t now_ms)
{
    if (pod->processes > 0 || pod->sandboxes > 0 || pod->reading > 0 || pod->next_read_ms > now_ms ||
        pod->held_ms > now_ms)
        return;
    fl_map_remove(&set->pods, pod_key(pod->uid));
    free(pod);
}

void cni_sidecars_tidy(struct cni_sidecars *set, uint64_t now_ms)
{
    void *pod;
    for (size_t cursor = 0; fl_map_next(&set->pods, &cursor, NULL, &pod);)
        release_pod(set, pod, now_ms);
}

/* Those of no pod may have half of everything: a node's own processes are many pods' worth, and trusted no more. */
static bool has_room(const struct cni_sidecars *set, const struct cni_sidecars_pod *pod)
{
    return pod->processes < (pod->uid[0] != '\0' ? CNI_SIDECARS_POD : set->max / 2);
}

static bool has_room_for_sandbox(const struct cni_sidecars_pod *pod)
{
    return pod->sandboxes < (pod->uid[0] != '\0' ? CNI_SIDECARS_POD_NETNS : CNI_SIDECARS_SANDBOXES / 2);
}

/* --- the set --- */

static struct fl_span pid_key(const pid_t *pid)
{
    return fl_span_make(pid, sizeof(*pid));
}

static struct fl_span sandbox_key(const struct cni_netns_id *id)
{
    return fl_span_make(id, sizeof(*id));
}

void cni_sidecars_init(struct cni_sidecars *set, size_t max)
{
    set->max = max;
    fl_map_init(&set->processes, max);
    fl_map_init(&set->sandboxes, CNI_SIDECARS_SANDBOXES);
    fl_map_init(&set->pods, max);
}

void cni_sidecars_done(struct cni_sidecars *set)
{
    void *sidecar;
    for (size_t cursor = 0; fl_map_next(&set->processes, &cursor, NULL, &sidecar);)
        cni_sidecars_remove(set, sidecar);
    cni_sidecars_tidy(set, UINT64_MAX);
    fl_map_done(&set->processes);
    fl_map_done(&set->sandboxes);
    fl_map_done(&set->pods);
}

struct cni_sidecar *cni_sidecars_find(const struct cni_sidecars *set, pid_t pid)
{
    return fl_map_get(&set->processes, pid_key(&pid));
}

struct cni_sandbox *cni_sidecars_sandbox(const struct cni_sidecars *set, const struct cni_netns_id *id)
{
    return fl_map_get(&set->sandboxes, sandbox_key(id));
}

int cni_sidecars_add(struct cni_sidecars *set, pid_t pid, int pidfd, const struct cni_sidecar_facts *facts,
                     struct cni_sidecar **ret_sidecar)
{
    struct cni_sidecars_pod *pod = find_pod(set, facts->pod);
    if (pod == NULL)
        return -ENOMEM;
    if (!has_room(set, pod))
        return -ENOSPC;
    struct cni_sidecar *sidecar = calloc(1, sizeof(*sidecar));
    if (sidecar == NULL) {
        release_pod(set, pod, 0);
        return -ENOMEM;
    }
    sidecar->pid = pid;
    int result = fl_map_put(&set->processes, pid_key(&sidecar->pid), sidecar);
    if (result < 0) {
        free(sidecar);
        release_pod(set, pod, 0);
        return result;
    }
    sidecar->pidfd = pidfd;
    sidecar->facts = *facts;
    sidecar->pod = pod;
    pod->processes++;
    *ret_sidecar = sidecar;
    return 0;
}

/* --- sandboxes --- */

static void leave_sandbox(struct cni_sidecars *set, struct cni_sidecar *sidecar)
{
    struct cni_sandbox *sandbox = sidecar->sandbox;
    if (sandbox == NULL)
        return;
    struct cni_sidecar **link = &sandbox->members;
    while (*link != sidecar)
        link = &(*link)->next;
    *link = sidecar->next;
    if (sandbox->members != NULL)
        return;
    fl_map_remove(&set->sandboxes, sandbox_key(&sandbox->id));
    sandbox->pod->sandboxes--;
    release_pod(set, sandbox->pod, 0);
    free(sandbox->spec);
    free(sandbox);
}

void cni_sidecars_remove(struct cni_sidecars *set, struct cni_sidecar *sidecar)
{
    leave_sandbox(set, sidecar);
    fl_map_remove(&set->processes, pid_key(&sidecar->pid));
    sidecar->pod->processes--;
    release_pod(set, sidecar->pod, 0);
    close(sidecar->pidfd);
    free(sidecar->names);
    free(sidecar->spec);
    free(sidecar);
}

static int find_sandbox(struct cni_sidecars *set, const struct cni_sidecar *sidecar, struct cni_sandbox **ret_sandbox)
{
    struct cni_sandbox *sandbox = fl_map_get(&set->sandboxes, sandbox_key(&sidecar->facts.netns));
    if (sandbox == NULL) {
        if (!has_room_for_sandbox(sidecar->pod))
            return -ENOSPC;
        sandbox = calloc(1, sizeof(*sandbox));
        if (sandbox == NULL)
            return -ENOMEM;
        sandbox->id = sidecar->facts.netns;
        int result = fl_map_put(&set->sandboxes, sandbox_key(&sandbox->id), sandbox);
        if (result < 0) {
            free(sandbox);
            return result;
        }
        sandbox->pod = sidecar->pod;
        sandbox->pod->sandboxes++;
    }
    *ret_sandbox = sandbox;
    return 0;
}

static char *join_names(const struct cni_claim *claim)
{
    const size_t space = strlen(claim->pod_namespace) + 1, pod = strlen(claim->pod) + 1,
                 uid = strlen(claim->pod_uid) + 1;
    char *names = malloc(space + pod + uid);
    if (names == NULL)
        return NULL;
    memcpy(names, claim->pod_namespace, space);
    memcpy(names + space, claim->pod, pod);
    memcpy(names + space + pod, claim->pod_uid, uid);
    return names;
}

static bool is_bound_to(const struct cni_sandbox *sandbox, struct fl_span spec)
{
    return fl_span_eq(fl_span_make(sandbox->spec, sandbox->spec_len), spec);
}

/* Against a sandbox that is bound. */
static void compare(struct cni_sidecar *sidecar)
{
    bool same = is_bound_to(sidecar->sandbox, fl_span_make(sidecar->spec, sidecar->spec_len));
    cni_sidecar_become(sidecar, same ? CNI_SIDECAR_MEMBER_STATE : CNI_SIDECAR_CONFLICT_STATE);
    free(sidecar->spec); /* never to be acted upon, where it is another one */
    sidecar->spec = NULL;
    sidecar->spec_len = 0;
}

int cni_sidecars_believe(struct cni_sidecars *set, struct cni_sidecar *sidecar, struct cni_claim *claim)
{
    FL_CLEANUP(fl_cleanup_free) char *names = join_names(claim);
    if (names == NULL)
        return -ENOMEM;
    int result = find_sandbox(set, sidecar, &sidecar->sandbox);
    if (result < 0)
        return result;
    struct cni_sidecar **link = &sidecar->sandbox->members;
    while (*link != NULL)
        link = &(*link)->next;
    *link = sidecar;
    sidecar->next = NULL;
    free(sidecar->names);
    sidecar->names = fl_take(names);
    sidecar->spec = fl_take(claim->capture);
    sidecar->spec_len = claim->capture_len;
    if (sidecar->sandbox->spec != NULL)
        compare(sidecar);
    else
        cni_sidecar_become(sidecar, CNI_SIDECAR_CANDIDATE_STATE);
    return 0;
}

void cni_sidecars_bind(struct cni_sandbox *sandbox, struct cni_sidecar *member)
{
    sandbox->spec = fl_take(member->spec);
    sandbox->spec_len = member->spec_len;
    cni_sidecar_become(member, CNI_SIDECAR_MEMBER_STATE);
    for (struct cni_sidecar *other = sandbox->members; other != NULL; other = other->next) {
        if (other->state == CNI_SIDECAR_CANDIDATE_STATE)
            compare(other);
    }
}

bool cni_sidecars_agree(const struct cni_sandbox *sandbox)
{
    const struct cni_sidecar *first = NULL;
    for (const struct cni_sidecar *member = sandbox->members; member != NULL; member = member->next) {
        if (member->state != CNI_SIDECAR_CANDIDATE_STATE)
            continue;
        if (first != NULL && !fl_span_eq(cni_sidecar_spec(first), cni_sidecar_spec(member)))
            return false;
        first = first != NULL ? first : member;
    }
    return true;
}

/* --- a pod's share of time --- */

void cni_sandbox_charge(struct cni_sandbox *sandbox, uint64_t since_ns, uint64_t now_ns)
{
    if (sandbox->pod->uid[0] != '\0')
        sandbox->pod->held_ms = (now_ns + CNI_SIDECARS_SHARE * (now_ns - since_ns)) / 1000000;
}

bool cni_sandbox_is_held(const struct cni_sandbox *sandbox, uint64_t now_ms)
{
    return sandbox->pod->held_ms > now_ms;
}

/* --- words --- */

struct fl_span cni_sidecar_spec(const struct cni_sidecar *sidecar)
{
    if (sidecar->spec != NULL || sidecar->state != CNI_SIDECAR_MEMBER_STATE)
        return fl_span_make(sidecar->spec, sidecar->spec_len);
    return fl_span_make(sidecar->sandbox->spec, sidecar->sandbox->spec_len);
}

static const char *name_at(const struct cni_sidecar *sidecar, int index)
{
    const char *name = sidecar->names;
    for (; name != NULL && index > 0; index--)
        name += strlen(name) + 1;
    return name != NULL ? name : "";
}

const char *cni_sidecar_namespace(const struct cni_sidecar *sidecar)
{
    return name_at(sidecar, 0);
}

const char *cni_sidecar_pod(const struct cni_sidecar *sidecar)
{
    return name_at(sidecar, 1);
}

const char *cni_sidecar_pod_uid(const struct cni_sidecar *sidecar)
{
    return name_at(sidecar, 2);
}
