#include "proxy/server/cgroup.h"

#include "common/base/cleanup.h"
#include "common/base/span.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX     8192
#define WORKERS_MANY 4u
#define NO_LIMIT_V1  (UINT64_C(1) << 60) /* version 1 says "none" by a number close to 2^63 */

/* The whole of a small file, as a string; false where there is none. */
static bool read_file(const char *path, char text[FILE_MAX])
{
    FL_CLEANUP(fl_cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    ssize_t got = 0;
    if (fd < 0)
        return false;
    while (length < FILE_MAX - 1 && (got = read(fd, text + length, FILE_MAX - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    return got == 0 && length > 0;
}

static bool read_number(const char *path, uint64_t *ret_number)
{
    char text[FILE_MAX];
    if (!read_file(path, text))
        return false;
    return fl_span_to_u64(fl_span_make(text, strcspn(text, " \n")), UINT64_MAX, ret_number);
}

static void take_least(uint64_t *least, uint64_t number)
{
    if (number > 0 && (*least == 0 || number < *least))
        *least = number;
}

static void take_cpu(struct proxy_cgroup *cgroup, uint64_t quota, uint64_t period)
{
    if (quota > 0 && period > 0 && quota < UINT64_MAX / 1000)
        take_least(&cgroup->cpu_milli, (quota * 1000 + period - 1) / period);
}

/* -- one group -- */

static void read_v2(struct proxy_cgroup *cgroup, const char *folder)
{
    char path[PATH_MAX], text[FILE_MAX];
    uint64_t quota, period, bytes;
    snprintf(path, sizeof(path), "%s/cpu.max", folder);
    if (read_file(path, text)) {
        size_t first = strcspn(text, " \n"), second = first + strspn(text + first, " ");
        if (fl_span_to_u64(fl_span_make(text, first), UINT64_MAX, &quota) &&
            fl_span_to_u64(fl_span_make(text + second, strcspn(text + second, "\n")), UINT64_MAX, &period))
            take_cpu(cgroup, quota, period); /* "max" is no number */
    }
    snprintf(path, sizeof(path), "%s/memory.max", folder);
    if (read_number(path, &bytes))
        take_least(&cgroup->memory_bytes, bytes);
}

static void read_v1_cpu(struct proxy_cgroup *cgroup, const char *folder)
{
    char path[PATH_MAX];
    uint64_t quota, period;
    snprintf(path, sizeof(path), "%s/cpu.cfs_quota_us", folder);
    if (!read_number(path, &quota)) /* "-1": none */
        return;
    snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", folder);
    if (read_number(path, &period))
        take_cpu(cgroup, quota, period);
}

static void read_v1_memory(struct proxy_cgroup *cgroup, const char *folder)
{
    char path[PATH_MAX];
    uint64_t bytes;
    snprintf(path, sizeof(path), "%s/memory.limit_in_bytes", folder);
    if (read_number(path, &bytes) && bytes < NO_LIMIT_V1)
        take_least(&cgroup->memory_bytes, bytes);
}

/* -- the group and those above it -- */

typedef void (*group_reader)(struct proxy_cgroup *cgroup, const char *folder);

static void read_up(struct proxy_cgroup *cgroup, const char *mount, const char *group, group_reader reader)
{
    char folder[PATH_MAX];
    if (strstr(group, "/..") != NULL) /* outside of our namespace */
        group = "/";
    int length = snprintf(folder, sizeof(folder), "%s%s", mount, strcmp(group, "/") != 0 ? group : "");
    if (length < 0 || (size_t)length >= sizeof(folder))
        return;
    for (size_t top = strlen(mount);;) {
        reader(cgroup, folder);
        if (strlen(folder) <= top)
            return;
        char *slash = strrchr(folder, '/');
        *slash = '\0';
    }
}

/* Whether a comma-separated list has the word. */
static bool has_word(const char *list, size_t length, const char *word)
{
    size_t size = strlen(word);
    for (size_t i = 0; i < length;) {
        size_t end = i;
        while (end < length && list[end] != ',')
            end++;
        if (end - i == size && memcmp(list + i, word, size) == 0)
            return true;
        i = end + 1;
    }
    return false;
}

/* "ID:CONTROLLERS:PATH"; no controllers: version 2 */
static void read_line(struct proxy_cgroup *cgroup, const char *root, char *line)
{
    char mount[PATH_MAX];
    char *controllers = strchr(line, ':'), *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    if (group == NULL || group[1] != '/')
        return;
    controllers++;
    size_t length = (size_t)(group - controllers);
    group++;
    if (length == 0) {
        snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup", root);
        read_up(cgroup, mount, group, read_v2);
        snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/unified", root); /* beside version 1 */
        read_up(cgroup, mount, group, read_v2);
        return;
    }
    snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/%.*s", root, (int)length, controllers);
    if (has_word(controllers, length, "cpu"))
        read_up(cgroup, mount, group, read_v1_cpu);
    if (has_word(controllers, length, "memory"))
        read_up(cgroup, mount, group, read_v1_memory);
}

struct proxy_cgroup proxy_cgroup_read(const char *root)
{
    struct proxy_cgroup cgroup = {0, 0};
    char path[PATH_MAX], text[FILE_MAX];
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    if (!read_file(path, text))
        return cgroup;
    for (char *line = text, *end; *line != '\0'; line = end) {
        end = line + strcspn(line, "\n");
        if (*end == '\n')
            *end++ = '\0';
        read_line(&cgroup, root, line);
    }
    return cgroup;
}

unsigned proxy_cgroup_workers(const struct proxy_cgroup *cgroup, unsigned cpus, uint64_t limit)
{
    uint64_t quota = cgroup->cpu_milli / 1000 + (cgroup->cpu_milli % 1000 != 0), count = cpus;
    if (quota > 0 && quota < count)
        count = quota;
    if (limit > 0 && limit < count)
        count = limit;
    return count <= 2 ? 1 : count < WORKERS_MANY ? (unsigned)count : WORKERS_MANY;
}
