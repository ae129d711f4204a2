#include "proxy/server/memory.h"

#include "common/base/log.h"
#include "proxy/server/inner.h"

#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define STACK_LEAST  (96u * 1024) /* below the frame of who rests */
#define STACK_SPARED (16u * 1024) /* … beyond what he calls */
#define TRIM_PERCENT 65u          /* where the last stage ends: from there on every look costs a trim */

uint64_t proxy_memory_resident(void)
{
    char text[128];
    FL_CLEANUP(fl_cleanup_close) int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (got <= 0)
        return 0;
    text[got] = '\0';
    size_t first = strcspn(text, " ") + 1;
    uint64_t pages = 0;
    if (first > (size_t)got ||
        !fl_span_to_u64(fl_span_make(text + first, strcspn(text + first, " ")), UINT32_MAX, &pages))
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* -- resting -- */

/* A PT_LOAD without PF_W is never written to, not even by the loader: its pages are the file's. */
static int drop_object(struct dl_phdr_info *object, size_t size, void *total)
{
    (void)size;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0)
            continue;
        uintptr_t begin = (object->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        uintptr_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_memsz) & ~(page - 1);
        if (end > begin && madvise((void *)begin, end - begin, MADV_DONTNEED) == 0) // NOLINT: addresses of the loader's
            *(size_t *)total += end - begin;
    }
    return 0;
}

/* What reading a configuration has left on the main thread's stack, below where it stands now. The kernel has mapped
 * STACK_LEAST from the start on; of what lies beyond the mapping's end nothing is given up. */
static void drop_stack(void)
{
    char *here = __builtin_frame_address(0);
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = ((uintptr_t)here - STACK_SPARED) & ~(page - 1);
    (void)madvise((void *)(end - STACK_LEAST), STACK_LEAST, MADV_DONTNEED); // NOLINT: an address
}

size_t proxy_memory_rest(void)
{
    size_t total = 0;
    (void)malloc_trim(0);
    if (!FL_SANITIZED) {
        (void)dl_iterate_phdr(drop_object, &total);
        drop_stack();
    }
    return total;
}

static uint64_t cpu_us(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

/* Little is done now, and something has been since the last rest: a burst's end, or a trickle that has come to as much.
 */
static void rest_where_idle(struct proxy_memory *memory)
{
    uint64_t now = cpu_us(), used = now - memory->cpu_us;
    memory->cpu_us = now;
    if (used > PROXY_MEMORY_IDLE_US || now - memory->rested_us <= PROXY_MEMORY_IDLE_US)
        return;
    (void)proxy_memory_rest();
    memory->cpu_us = memory->rested_us = cpu_us();
}

/* -- the ceiling -- */

static uint64_t held_by_workers(const struct server *server)
{
    uint64_t held = 0;
    for (unsigned i = 0; i < server->worker_count; i++)
        held += proxy_worker_held(server->workers[i]);
    return held;
}

static bool differs(size_t a, size_t b)
{
    size_t more = a > b ? a : b, less = a > b ? b : a;
    return more - less > more / 16;
}

static void tell_workers(struct server *server, enum proxy_shed stage, uint64_t used)
{
    struct proxy_memory *memory = &server->memory;
    struct proxy_ceiling_room room =
        proxy_ceiling_room(&memory->ceiling, used, held_by_workers(server), server->worker_count);
    if (stage == memory->told_stage && !differs(room.max, memory->told.max))
        return;
    memory->told = room;
    memory->told_stage = stage;
    for (unsigned i = 0; i < server->worker_count; i++)
        proxy_worker_shed(server->workers[i], stage, room.lean_above, room.max);
}

static void tell_stage(struct server *server, enum proxy_shed before, enum proxy_shed stage, uint64_t used)
{
    fl_log(stage > before ? FL_LOG_WARNING : FL_LOG_INFO, "memory ceiling", FL_LOG_STR("stage", proxy_shed_word(stage)),
           FL_LOG_STR("before", proxy_shed_word(before)), FL_LOG_NUM("used_bytes", used),
           FL_LOG_NUM("limit_bytes", server->memory.ceiling.limit));
    for (unsigned i = before + 1; i <= stage; i++)
        proxy_stats_shed_stage(server->stats, (enum proxy_shed)i);
}

/* True: the next look is due soon. */
static bool look(struct server *server)
{
    struct proxy_memory *memory = &server->memory;
    enum proxy_shed before = memory->ceiling.stage;
    uint64_t used = proxy_memory_resident(), now = fl_loop_now_ms(server->loop);
    if (memory->ceiling.limit != 0 && used >= memory->ceiling.limit / 100 * TRIM_PERCENT) {
        (void)malloc_trim(0); /* what was freed, and not given back yet, does not count */
        used = proxy_memory_resident();
    }
    enum proxy_shed stage = proxy_ceiling_update(&memory->ceiling, used, now);
    if (stage != before)
        tell_stage(server, before, stage, used);
    proxy_stats_memory(server->stats, memory->ceiling.limit, used, stage);
    if (memory->ceiling.limit != 0)
        tell_workers(server, stage, used);
    return memory->ceiling.limit != 0 && used >= memory->ceiling.limit / 2;
}

static void on_look(struct fl_timer *timer)
{
    struct server *server = FL_CONTAINER_OF(timer, struct server, memory.timer);
    rest_where_idle(&server->memory);
    fl_timer_set(server->loop, timer, look(server) ? PROXY_MEMORY_SOON_MS : PROXY_MEMORY_LOOK_MS, on_look);
}

void proxy_memory_start(struct server *server, uint64_t limit)
{
    struct proxy_memory *memory = &server->memory;
    if (limit != 0 && limit < PROXY_CEILING_LEAST)
        limit = PROXY_CEILING_LEAST;
    memory->ceiling.limit = limit;
    proxy_stats_memory(server->stats, limit, proxy_memory_resident(), PROXY_SHED_NONE);
    fl_timer_set(server->loop, &memory->timer, limit != 0 ? 0 : PROXY_MEMORY_LOOK_MS, on_look);
}

void proxy_memory_stop(struct server *server)
{
    fl_timer_cancel(&server->memory.timer);
}
