/* Sequences of puts, removals and publishes of arbitrary bytes: no crash, and what holds at all times; every snapshot
 * is what one made from scratch would be. Input: records of an operation byte, a name byte and, for a put, two bytes of
 * length and the resource.
 */
#include "proxy/config/assembly.h"

#include "tests/unit/proxy/assembly_scratch.h"

#include <stdlib.h>

#define NAMES 4

static void check_snapshot(const struct proxy_snapshot *snapshot)
{
    size_t clusters = 0, listeners = 0;
    for (size_t i = 0; i < snapshot->cluster_slots; i++) {
        const struct proxy_cluster *cluster = snapshot->clusters[i];
        clusters += cluster != NULL;
        if (cluster != NULL && cluster->slot->index != i)
            abort();
    }
    for (size_t i = 0; i < snapshot->listener_slots; i++) {
        const struct proxy_listener *listener = snapshot->listeners[i];
        listeners += listener != NULL;
        if (listener != NULL && listener->slot->index != i)
            abort();
        if (listener != NULL && proxy_snapshot_listener_of(snapshot, &listener->address) == NULL)
            abort();
    }
    if (clusters != snapshot->cluster_count || listeners != snapshot->listener_count)
        abort();
}

/* What is in force has no refused bytes in it, and nothing is both absent and there. */
static void check_states(const struct proxy_assembly *assembly)
{
    struct proxy_resource_state state;
    struct proxy_want want;
    for (size_t cursor = 0; proxy_assembly_next_state(assembly, &cursor, &state);) {
        if ((state.presence == PROXY_PRESENCE_ACTIVE) != (state.has_active && state.warming_wire.len == 0))
            abort();
    }
    for (size_t cursor = 0; proxy_assembly_next_want(assembly, &cursor, &want);) {
        if (want.name.len == 0)
            abort();
    }
}

static struct proxy_snapshot *publish(struct proxy_assembly *assembly, uint64_t now_ms, struct proxy_snapshot *last)
{
    struct proxy_snapshot *next = NULL, *again = NULL;
    struct fl_err err;
    int result = proxy_assembly_publish(assembly, now_ms, &next, &err);
    if (result == PROXY_ASSEMBLY_PUBLISHED) {
        check_snapshot(next);
        if (last != NULL && next->version <= last->version)
            abort();
        proxy_snapshot_unref(last);
        last = next;
    }
    if (result > 0 && assembly_scratch_differs(assembly, last) != NULL)
        abort();
    if (result > 0 && proxy_assembly_publish(assembly, now_ms, &again, &err) == PROXY_ASSEMBLY_PUBLISHED)
        abort(); /* nothing has changed since */
    return last;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_assembly *assembly;
    struct proxy_snapshot *last = NULL;
    struct fl_err err;
    uint64_t now_ms = 1;
    if (proxy_assembly_new(NULL, NULL, &assembly) < 0)
        return 0;
    while (size >= 2) {
        static const char *const names[NAMES] = {"a", "b", "c", "d"};
        enum fl_resource_type type = (enum fl_resource_type)(data[0] % FL_RESOURCE_TYPES);
        unsigned act = data[0] / FL_RESOURCE_TYPES % 4;
        struct fl_span name = fl_span_str(names[data[1] % NAMES]);
        data += 2;
        size -= 2;
        if (act == 0 || act == 1) {
            size_t len = size >= 2 ? (size_t)(data[0] | data[1] << 8) : 0;
            size_t head = size >= 2 ? 2 : size;
            data += head;
            size -= head;
            len = len < size ? len : size;
            (void)!proxy_assembly_put(assembly, type, name, FL_SPAN("v"), fl_span_make(data, len), &err);
            data += len;
            size -= len;
        } else if (act == 2) {
            (void)!proxy_assembly_remove(assembly, type, name);
        } else {
            now_ms += 6000;
            last = publish(assembly, now_ms, last);
        }
        check_states(assembly);
    }
    last = publish(assembly, now_ms, last);
    proxy_assembly_free(assembly);
    proxy_snapshot_unref(last);
    return 0;
}
