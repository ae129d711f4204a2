#include "cni/repair/scan.h"

#include "cni/repair/procfile.h"
#include "common/base/span.h"
#include "common/mesh/label.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define RESERVED_PIDS   300 /* not given out again after the pids have reached the top */
#define PID_MAX_DEFAULT 4194304
/* A pid is given out a moment before its process can be seen: the last ones of a look are looked at again. */
#define OVERLAP 32

/* --- numbers in text --- */

/* 0 where it is none. */
static pid_t parse_number(struct fl_span text)
{
    uint64_t number;
    return fl_span_to_u64(text, INT32_MAX, &number) ? (pid_t)number : 0;
}

pid_t cni_scan_parse_last(const char *text, size_t len)
{
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
        len--;
    size_t start = len;
    while (start > 0 && text[start - 1] != ' ')
        start--;
    return start == 0 ? 0 : parse_number(fl_span_make(text + start, len - start));
}

static int read_last(const struct cni_scan *scan, pid_t *ret_last)
{
    char text[128];
    ssize_t got = pread(scan->loadavg, text, sizeof(text), 0);
    if (got < 0)
        return -errno;
    *ret_last = cni_scan_parse_last(text, (size_t)got);
    return *ret_last > 0 ? 0 : -EBADMSG;
}

static pid_t read_pid_max(int proc)
{
    char text[32];
    ssize_t got = cni_procfile_read(proc, "sys/kernel/pid_max", text, sizeof(text));
    while (got > 0 && text[got - 1] == '\n')
        got--;
    pid_t max = got > 0 ? parse_number(fl_span_make(text, (size_t)got)) : 0;
    return max > RESERVED_PIDS ? max : PID_MAX_DEFAULT;
}

/* --- young ones --- */

static bool is_young(const struct cni_scan *scan, pid_t pid)
{
    for (size_t i = 0; i < scan->young_count; i++) {
        if (scan->young[i].pid == pid)
            return true;
    }
    return false;
}

/* Where there is no room (or no memory for it), the eldest goes: the full look finds it. */
static void add_young(struct cni_scan *scan, pid_t pid, uint64_t until_ms)
{
    if (scan->young_count == scan->young_room && scan->young_room < CNI_SCAN_YOUNG) {
        size_t room = scan->young_room == 0 ? 32 : 2 * scan->young_room;
        struct cni_scan_young *grown = realloc(scan->young, room * sizeof(*grown));
        if (grown != NULL) {
            scan->young = grown;
            scan->young_room = room;
        }
    }
    if (scan->young_room == 0)
        return;
    if (scan->young_count == scan->young_room)
        memmove(scan->young, scan->young + 1, --scan->young_count * sizeof(*scan->young));
    scan->young[scan->young_count++] = (struct cni_scan_young){pid, until_ms};
}

/* --- one process --- */

enum sight { GONE, OTHER, CREATED /* a container that waits to be started */, NAMED };

static enum sight look_at(struct cni_scan *scan, pid_t pid)
{
    char comm[32];
    scan->looks++;
    ssize_t len = cni_procfile_comm(scan->proc, pid, comm, sizeof(comm));
    if (len < 0)
        return GONE;
    struct fl_span name = fl_span_make(comm, (size_t)len);
    if (fl_span_eq_str(name, FL_CONTAINER_NAME)) {
        scan->on_named(scan->owner, pid);
        return NAMED;
    }
    return fl_span_starts_with(name, FL_SPAN("runc:[")) ? CREATED : OTHER;
}

static void look_at_young(struct cni_scan *scan, uint64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < scan->young_count; i++) {
        struct cni_scan_young young = scan->young[i];
        enum sight sight = look_at(scan, young.pid);
        if (sight == CREATED)
            young.until_ms = now_ms + CNI_SCAN_YOUNG_MS;
        if (sight != GONE && young.until_ms > now_ms)
            scan->young[kept++] = young;
    }
    scan->young_count = kept;
}

static void look_at_new(struct cni_scan *scan, pid_t pid, uint64_t now_ms)
{
    if (!is_young(scan, pid) && look_at(scan, pid) != GONE)
        add_young(scan, pid, now_ms + CNI_SCAN_YOUNG_MS);
}

/* --- the looks --- */

static pid_t after(const struct cni_scan *scan, pid_t pid)
{
    return pid + 1 < scan->pid_max ? pid + 1 : RESERVED_PIDS;
}

/* Pids behind `from` up to `to`, over the top where `to` is lower. */
static size_t distance(const struct cni_scan *scan, pid_t from, pid_t to)
{
    return to >= from ? (size_t)(to - from) : (size_t)(scan->pid_max - from) + (size_t)to;
}

static bool is_between(pid_t from, pid_t pid, pid_t to)
{
    return from <= to ? pid > from && pid <= to : pid > from || pid <= to;
}

static pid_t overlapping(pid_t last)
{
    return last > OVERLAP ? last - OVERLAP : 0;
}

int cni_scan_tick(struct cni_scan *scan, uint64_t now_ms)
{
    pid_t last;
    scan->ticks++;
    int result = read_last(scan, &last);
    if (result < 0)
        return result;
    if (scan->last == 0)
        return CNI_SCAN_FULL;
    if (last >= scan->pid_max)
        scan->pid_max = read_pid_max(scan->proc);
    look_at_young(scan, now_ms);
    if (last == scan->last)
        return 0;
    if (distance(scan, scan->last, last) > CNI_SCAN_RANGE)
        return CNI_SCAN_FULL;
    pid_t pid = overlapping(scan->last);
    for (size_t i = distance(scan, pid, last); i > 0; i--) {
        pid = after(scan, pid);
        look_at_new(scan, pid, now_ms);
    }
    scan->last = last;
    return 0;
}

int cni_scan_full(struct cni_scan *scan, uint64_t now_ms)
{
    const pid_t before = scan->last;
    pid_t last;
    int result = read_last(scan, &last);
    int fd = result == 0 ? openat(scan->proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0)
        return result < 0 ? result : -errno;
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        result = -errno;
        close(fd);
        return result;
    }
    scan->full_looks++;
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        pid_t pid = parse_number(fl_span_str(entry->d_name));
        if (pid <= 0)
            continue;
        if (before > 0 && is_between(overlapping(before), pid, last))
            look_at_new(scan, pid, now_ms);
        else if (look_at(scan, pid) == CREATED && !is_young(scan, pid))
            add_young(scan, pid, now_ms + CNI_SCAN_YOUNG_MS);
    }
    closedir(folder);
    scan->last = last;
    return 0;
}

int cni_scan_init(struct cni_scan *scan, int proc, void (*on_named)(void *owner, pid_t pid), void *owner,
                  struct fl_err *err)
{
    *scan = (struct cni_scan){.proc = proc, .loadavg = -1, .on_named = on_named, .owner = owner};
    scan->loadavg = openat(proc, "loadavg", O_RDONLY | O_CLOEXEC);
    if (scan->loadavg < 0)
        return fl_err_errno(err, -errno, "loadavg");
    scan->pid_max = read_pid_max(proc);
    return 0;
}

void cni_scan_done(struct cni_scan *scan)
{
    if (scan->loadavg > 0)
        close(scan->loadavg);
    free(scan->young);
    *scan = (struct cni_scan){.loadavg = -1};
}
