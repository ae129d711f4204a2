#include "proxy/upstream/shared.h"

#include "common/base/map.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define CLUSTERS_MAX 1048576u

struct shared_host {
    struct proxy_address address;
    struct proxy_outlier_state state;
    char key[sizeof(struct in6_addr) + 2]; /* address and port: what the map keeps */
};

struct proxy_shared_cluster {
    struct proxy_shared *shared; /* NULL: nobody else's */
    uint32_t used[PROXY_UPSTREAM_LIMIT_COUNT];
    uint32_t version;  /* of what is ejected */
    uint32_t suspects; /* hosts in the map */
    uint64_t due_ms;   /* when the first of the ejected comes back; UINT64_MAX: none is */
    size_t references; /* under the lock of `shared` */
    size_t ejected;    /* from here on under `lock` */
    struct fl_map hosts;
    pthread_mutex_t lock;
    size_t name_len;
    char name[];
};

struct proxy_shared {
    struct fl_map clusters;
    pthread_mutex_t lock;
};

/* --- clusters by name ------------------------------------------------------------------------------------------- */

int proxy_shared_new(struct proxy_shared **ret_shared)
{
    struct proxy_shared *shared = calloc(1, sizeof(*shared));
    if (shared == NULL)
        return -ENOMEM;
    fl_map_init(&shared->clusters, CLUSTERS_MAX);
    pthread_mutex_init(&shared->lock, NULL);
    *ret_shared = shared;
    return 0;
}

struct proxy_shared *proxy_shared_free(struct proxy_shared *shared)
{
    if (shared == NULL)
        return NULL;
    assert(shared->clusters.count == 0);
    fl_map_done(&shared->clusters);
    pthread_mutex_destroy(&shared->lock);
    free(shared);
    return NULL;
}

static struct proxy_shared_cluster *cluster_new(struct proxy_shared *shared, struct fl_span name)
{
    struct proxy_shared_cluster *cluster = calloc(1, sizeof(*cluster) + name.len);
    if (cluster == NULL)
        return NULL;
    cluster->shared = shared;
    cluster->references = 1;
    cluster->version = 1;
    cluster->due_ms = UINT64_MAX;
    cluster->name_len = name.len;
    if (name.len > 0)
        memcpy(cluster->name, name.data, name.len);
    fl_map_init(&cluster->hosts, PROXY_SHARED_HOSTS_MAX);
    pthread_mutex_init(&cluster->lock, NULL);
    return cluster;
}

static void cluster_free(struct proxy_shared_cluster *cluster)
{
    void *host;
    for (size_t cursor = 0; fl_map_next(&cluster->hosts, &cursor, NULL, &host);)
        free(host);
    fl_map_done(&cluster->hosts);
    pthread_mutex_destroy(&cluster->lock);
    free(cluster);
}

static int find_or_make(struct proxy_shared *shared, struct fl_span name, struct proxy_shared_cluster **ret_cluster)
{
    struct proxy_shared_cluster *cluster = fl_map_get(&shared->clusters, name);
    if (cluster != NULL) {
        cluster->references++;
        *ret_cluster = cluster;
        return 0;
    }
    cluster = cluster_new(shared, name);
    if (cluster == NULL)
        return -ENOMEM;
    if (fl_map_put(&shared->clusters, fl_span_make(cluster->name, cluster->name_len), cluster) < 0) {
        cluster_free(cluster);
        return -ENOMEM;
    }
    *ret_cluster = cluster;
    return 0;
}

int proxy_shared_cluster_get(struct proxy_shared *shared, struct fl_span name,
                             struct proxy_shared_cluster **ret_cluster)
{
    if (shared == NULL) {
        *ret_cluster = cluster_new(NULL, name);
        return *ret_cluster != NULL ? 0 : -ENOMEM;
    }
    pthread_mutex_lock(&shared->lock);
    int result = find_or_make(shared, name, ret_cluster);
    pthread_mutex_unlock(&shared->lock);
    return result;
}

struct proxy_shared_cluster *proxy_shared_cluster_put(struct proxy_shared_cluster *cluster)
{
    if (cluster == NULL)
        return NULL;
    struct proxy_shared *shared = cluster->shared;
    if (shared == NULL) {
        cluster_free(cluster);
        return NULL;
    }
    pthread_mutex_lock(&shared->lock);
    bool last = --cluster->references == 0;
    if (last)
        fl_map_remove(&shared->clusters, fl_span_make(cluster->name, cluster->name_len));
    pthread_mutex_unlock(&shared->lock);
    if (last)
        cluster_free(cluster);
    return NULL;
}

/* --- counts ----------------------------------------------------------------------------------------------------- */

bool proxy_shared_take(struct proxy_shared_cluster *cluster, enum proxy_upstream_limit what, uint32_t limit)
{
    uint32_t before = __atomic_fetch_add(&cluster->used[what], 1, __ATOMIC_RELAXED);
    if (before < limit)
        return true;
    __atomic_fetch_sub(&cluster->used[what], 1, __ATOMIC_RELAXED);
    return false;
}

void proxy_shared_give(struct proxy_shared_cluster *cluster, enum proxy_upstream_limit what)
{
    __atomic_fetch_sub(&cluster->used[what], 1, __ATOMIC_RELAXED);
}

uint32_t proxy_shared_used(const struct proxy_shared_cluster *cluster, enum proxy_upstream_limit what)
{
    return __atomic_load_n(&cluster->used[what], __ATOMIC_RELAXED);
}

/* --- who is ejected --------------------------------------------------------------------------------------------- */

static struct fl_span print_key(const struct proxy_address *address, char to[sizeof(struct in6_addr) + 2])
{
    struct fl_span bytes = proxy_address_bytes(address);
    uint16_t port = proxy_address_port(address);
    memcpy(to, &port, sizeof(port));
    memcpy(to + sizeof(port), bytes.data, bytes.len);
    return fl_span_make(to, sizeof(port) + bytes.len);
}

static struct shared_host *find_host(const struct proxy_shared_cluster *cluster, const struct proxy_address *address)
{
    char key[sizeof(struct in6_addr) + 2];
    return fl_map_get(&cluster->hosts, print_key(address, key));
}

static void drop_host(struct proxy_shared_cluster *cluster, struct shared_host *host)
{
    fl_map_remove(&cluster->hosts, fl_span_make(host->key, sizeof(uint16_t) + proxy_address_bytes(&host->address).len));
    __atomic_fetch_sub(&cluster->suspects, 1, __ATOMIC_RELAXED);
    free(host);
}

/* The one that is known for the longest and not ejected goes: mostly it is a host that is no more. */
static void make_room(struct proxy_shared_cluster *cluster)
{
    void *value;
    for (size_t cursor = 0; fl_map_next(&cluster->hosts, &cursor, NULL, &value);) {
        struct shared_host *host = value;
        if (host->state.ejected)
            continue;
        drop_host(cluster, host);
        return;
    }
}

static struct shared_host *make_host(struct proxy_shared_cluster *cluster, const struct proxy_address *address)
{
    if (cluster->hosts.count >= PROXY_SHARED_HOSTS_MAX)
        make_room(cluster);
    struct shared_host *host = calloc(1, sizeof(*host));
    if (host == NULL)
        return NULL;
    host->address = *address;
    if (fl_map_put(&cluster->hosts, print_key(address, host->key), host) < 0) {
        free(host);
        return NULL;
    }
    __atomic_fetch_add(&cluster->suspects, 1, __ATOMIC_RELAXED);
    return host;
}

/* After a change of who is ejected. */
static void republish(struct proxy_shared_cluster *cluster)
{
    uint64_t due_ms = UINT64_MAX;
    void *value;
    for (size_t cursor = 0; fl_map_next(&cluster->hosts, &cursor, NULL, &value);) {
        const struct proxy_outlier_state *state = &((const struct shared_host *)value)->state;
        if (state->ejected && state->until_ms < due_ms)
            due_ms = state->until_ms;
    }
    __atomic_store_n(&cluster->due_ms, due_ms, __ATOMIC_RELAXED);
    __atomic_fetch_add(&cluster->version, 1, __ATOMIC_RELAXED);
}

static void bring_back(struct proxy_shared_cluster *cluster, uint64_t now_ms)
{
    void *value;
    size_t before = cluster->ejected;
    for (size_t cursor = 0; fl_map_next(&cluster->hosts, &cursor, NULL, &value);) {
        struct shared_host *host = value;
        if (!proxy_outlier_is_due(&host->state, now_ms))
            continue;
        proxy_outlier_return(&host->state, now_ms);
        cluster->ejected--;
    }
    if (cluster->ejected != before)
        republish(cluster);
}

static bool is_due(const struct proxy_shared_cluster *cluster, uint64_t now_ms)
{
    return now_ms >= __atomic_load_n(&cluster->due_ms, __ATOMIC_RELAXED);
}

bool proxy_shared_changed(struct proxy_shared_cluster *cluster, uint64_t now_ms, uint32_t *version)
{
    if (is_due(cluster, now_ms)) {
        pthread_mutex_lock(&cluster->lock);
        bring_back(cluster, now_ms);
        pthread_mutex_unlock(&cluster->lock);
    }
    uint32_t present = __atomic_load_n(&cluster->version, __ATOMIC_RELAXED);
    bool changed = present != *version;
    *version = present;
    return changed;
}

bool proxy_shared_is_ejected(struct proxy_shared_cluster *cluster, const struct proxy_address *address)
{
    if (proxy_shared_is_clean(cluster))
        return false;
    pthread_mutex_lock(&cluster->lock);
    const struct shared_host *host = find_host(cluster, address);
    bool ejected = host != NULL && host->state.ejected;
    pthread_mutex_unlock(&cluster->lock);
    return ejected;
}

bool proxy_shared_is_clean(const struct proxy_shared_cluster *cluster)
{
    return __atomic_load_n(&cluster->suspects, __ATOMIC_RELAXED) == 0;
}

size_t proxy_shared_ejected(struct proxy_shared *shared, uint64_t now_ms)
{
    size_t sum = 0;
    void *value;
    pthread_mutex_lock(&shared->lock);
    for (size_t cursor = 0; fl_map_next(&shared->clusters, &cursor, NULL, &value);) {
        struct proxy_shared_cluster *cluster = value;
        pthread_mutex_lock(&cluster->lock);
        bring_back(cluster, now_ms);
        sum += cluster->ejected;
        pthread_mutex_unlock(&cluster->lock);
    }
    pthread_mutex_unlock(&shared->lock);
    return sum;
}

/* Nothing is known against it any more, and it was not ejected so lately that it would count. */
static bool is_forgiven(const struct proxy_outlier_config *config, const struct proxy_outlier_state *state,
                        uint64_t now_ms)
{
    for (unsigned kind = 0; kind < PROXY_OUTLIER_KIND_COUNT; kind++) {
        if (state->failures[kind] > 0)
            return false;
    }
    return !state->ejected && (state->times == 0 || (now_ms - state->until_ms) / config->interval_ms >= state->times);
}

static enum proxy_shared_verdict judge(struct proxy_shared_cluster *cluster, const struct proxy_outlier_config *config,
                                       struct shared_host *host, size_t hosts, uint64_t now_ms, uint64_t random,
                                       enum proxy_outlier_kind kind)
{
    if (host->state.ejected)
        return PROXY_SHARED_NOTHING; /* by an answer that was under way */
    if (random % 100 >= config->enforcing[kind] || !proxy_outlier_allowed(config, cluster->ejected, hosts))
        return PROXY_SHARED_SPARED;
    proxy_outlier_eject(config, &host->state, now_ms);
    cluster->ejected++;
    republish(cluster);
    return PROXY_SHARED_EJECTED;
}

static enum proxy_shared_verdict report(struct proxy_shared_cluster *cluster, const struct proxy_outlier_config *config,
                                        const struct proxy_address *address, size_t hosts,
                                        enum proxy_outlier_event event, uint64_t now_ms, uint64_t random,
                                        enum proxy_outlier_kind *ret_kind)
{
    struct shared_host *host = find_host(cluster, address);
    if (host == NULL && proxy_outlier_is_good(event))
        return PROXY_SHARED_NOTHING;
    if (host == NULL)
        host = make_host(cluster, address);
    if (host == NULL)
        return PROXY_SHARED_NOTHING;
    bool full = proxy_outlier_count(config, &host->state, event, ret_kind);
    if (full)
        return judge(cluster, config, host, hosts, now_ms, random, *ret_kind);
    if (is_forgiven(config, &host->state, now_ms))
        drop_host(cluster, host);
    return PROXY_SHARED_NOTHING;
}

enum proxy_shared_verdict proxy_shared_report(struct proxy_shared_cluster *cluster,
                                              const struct proxy_outlier_config *config,
                                              const struct proxy_address *address, size_t hosts,
                                              enum proxy_outlier_event event, uint64_t now_ms, uint64_t random,
                                              enum proxy_outlier_kind *ret_kind)
{
    if (proxy_outlier_is_good(event) && proxy_shared_is_clean(cluster))
        return PROXY_SHARED_NOTHING;
    pthread_mutex_lock(&cluster->lock);
    if (is_due(cluster, now_ms))
        bring_back(cluster, now_ms);
    enum proxy_shared_verdict verdict = report(cluster, config, address, hosts, event, now_ms, random, ret_kind);
    pthread_mutex_unlock(&cluster->lock);
    return verdict;
}
