#include "proxy/snapshot/snapshot.h"

#include <errno.h>

struct proxy_snapshot_hold {
    struct proxy_snapshot_hold *next;
    void *object;
    void (*release)(void *object);
};

struct proxy_snapshot *proxy_snapshot_new(size_t arena_max)
{
    struct proxy_snapshot *snapshot = calloc(1, sizeof(*snapshot));
    if (snapshot == NULL)
        return NULL;
    fl_arena_init(&snapshot->arena, arena_max);
    snapshot->references = 1;
    return snapshot;
}

struct proxy_snapshot *proxy_snapshot_ref(struct proxy_snapshot *snapshot)
{
    if (snapshot != NULL)
        __atomic_fetch_add(&snapshot->references, 1, __ATOMIC_RELAXED);
    return snapshot;
}

struct proxy_snapshot *proxy_snapshot_unref(struct proxy_snapshot *snapshot)
{
    if (snapshot == NULL || __atomic_sub_fetch(&snapshot->references, 1, __ATOMIC_ACQ_REL) > 0)
        return NULL;
    for (struct proxy_snapshot_hold *hold = snapshot->holds; hold != NULL; hold = hold->next)
        hold->release(hold->object);
    fl_arena_done(&snapshot->arena); /* the holds live there too */
    free(snapshot);
    return NULL;
}

void fl_cleanup_proxy_snapshot(struct proxy_snapshot **snapshot)
{
    proxy_snapshot_unref(*snapshot);
}

int proxy_snapshot_hold(struct proxy_snapshot *snapshot, void *object, void (*release)(void *object))
{
    struct proxy_snapshot_hold *hold = fl_arena_alloc(&snapshot->arena, sizeof(*hold));
    if (hold == NULL) {
        release(object);
        return -ENOMEM;
    }
    *hold = (struct proxy_snapshot_hold){.next = snapshot->holds, .object = object, .release = release};
    snapshot->holds = hold;
    return 0;
}

int proxy_name_compare(struct fl_span a, struct fl_span b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

const struct proxy_cluster *proxy_snapshot_cluster(const struct proxy_snapshot *snapshot, struct fl_span name)
{
    size_t low = 0, high = snapshot->cluster_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = proxy_name_compare(name, snapshot->clusters[middle].name);
        if (order == 0)
            return &snapshot->clusters[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool proxy_snapshot_files_changed(const struct proxy_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->file_count; i++) {
        const struct stat *old = &snapshot->files[i].status;
        struct stat now = {0};
        if (stat(snapshot->files[i].path.data, &now) != 0)
            now = (struct stat){0};
        if (now.st_dev != old->st_dev || now.st_ino != old->st_ino || now.st_size != old->st_size ||
            !same_time(now.st_mtim, old->st_mtim) || !same_time(now.st_ctim, old->st_ctim))
            return true;
    }
    return false;
}
