#include "cni/repair/procfile.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define NS_PER_SECOND UINT64_C(1000000000)

/* --- reading --- */

ssize_t cni_procfile_read(int proc, const char *name, char *ret_text, size_t size)
{
    FL_CLEANUP(fl_cleanup_close) int fd = openat(proc, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    size_t len = 0;
    if (fd < 0)
        return -errno;
    while (len < size) {
        ssize_t got = read(fd, ret_text + len, size - len);
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        len += (size_t)got;
    }
    return (ssize_t)len;
}

ssize_t cni_procfile_read_of(int proc, pid_t pid, const char *name, char *ret_text, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "%d/%s", (int)pid, name);
    return cni_procfile_read(proc, path, ret_text, size);
}

ssize_t cni_procfile_comm(int proc, pid_t pid, char *ret_name, size_t size)
{
    char path[32];
    snprintf(path, sizeof(path), "%d/comm", (int)pid);
    FL_CLEANUP(fl_cleanup_close) int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, ret_name, size);
    if (len < 0)
        return -errno;
    return len > 0 && ret_name[len - 1] == '\n' ? len - 1 : len;
}

/* --- words and numbers --- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Takes the next word from the front of *text; empty at the end. */
static struct fl_span take_word(struct fl_span *text)
{
    size_t start = 0;
    while (start < text->len && is_blank(text->data[start]))
        start++;
    size_t end = start;
    while (end < text->len && !is_blank(text->data[end]))
        end++;
    struct fl_span word = {text->data + start, end - start};
    *text = (struct fl_span){text->data + end, text->len - end};
    return word;
}

static bool take_number(struct fl_span *text, uint64_t max, uint64_t *ret_number)
{
    return fl_span_to_u64(take_word(text), max, ret_number);
}

/* --- the files --- */

static bool take_letter(struct fl_span *text)
{
    struct fl_span word = take_word(text);
    return word.len == 1 &&
           ((word.data[0] >= 'A' && word.data[0] <= 'Z') || (word.data[0] >= 'a' && word.data[0] <= 'z'));
}

static bool take_signed(struct fl_span *text)
{
    struct fl_span word = take_word(text);
    uint64_t number;
    if (word.len > 0 && word.data[0] == '-')
        word = (struct fl_span){word.data + 1, word.len - 1};
    return fl_span_to_u64(word, UINT64_MAX, &number);
}

bool cni_procfile_start_time(struct fl_span stat, uint64_t *ret_ticks)
{
    /* "pid (name) state …": the name may hold anything, and no ')' comes behind it. */
    uint64_t pid, ticks;
    if (!take_number(&stat, INT32_MAX, &pid) || !fl_span_starts_with(stat, FL_SPAN(" (")))
        return false;
    const char *end = memrchr(stat.data, ')', stat.len);
    if (end == NULL)
        return false;
    struct fl_span rest = {end + 1, stat.len - (size_t)(end + 1 - stat.data)};
    if (!take_letter(&rest))
        return false;
    for (int field = 4; field < 22; field++) {
        if (!take_signed(&rest))
            return false;
    }
    if (!take_number(&rest, UINT64_MAX, &ticks) || rest.len == 0) /* a number at the end may have been cut */
        return false;
    *ret_ticks = ticks;
    return true;
}

uint64_t cni_procfile_age_ns(uint64_t start_ticks, uint64_t ticks_per_second, uint64_t now_ns)
{
    if (ticks_per_second == 0 || ticks_per_second > NS_PER_SECOND ||
        start_ticks / ticks_per_second > now_ns / NS_PER_SECOND)
        return 0;
    const uint64_t start_ns = start_ticks / ticks_per_second * NS_PER_SECOND +
                              start_ticks % ticks_per_second * NS_PER_SECOND / ticks_per_second;
    const uint64_t age_ns = start_ns < now_ns ? now_ns - start_ns : 0;
    return age_ns < CNI_PROCFILE_AGE_MAX_NS ? age_ns : CNI_PROCFILE_AGE_MAX_NS;
}

/* The last of the four numbers of a line: real, effective, saved, file system. */
static bool take_fourth(struct fl_span line, uint32_t *ret_id)
{
    uint64_t id = 0;
    for (int i = 0; i < 4; i++) {
        if (!take_number(&line, UINT32_MAX, &id))
            return false;
    }
    *ret_id = (uint32_t)id;
    return true;
}

bool cni_procfile_ids(struct fl_span status, uint32_t *ret_uid, uint32_t *ret_gid)
{
    bool uid = false, gid = false;
    for (struct fl_span line; fl_span_split(&status, '\n', &line);) {
        struct fl_span name = take_word(&line);
        if (!uid && fl_span_eq_str(name, "Uid:"))
            uid = take_fourth(line, ret_uid);
        else if (!gid && fl_span_eq_str(name, "Gid:"))
            gid = take_fourth(line, ret_gid);
    }
    return uid && gid;
}

bool cni_procfile_map_id(struct fl_span map, uint32_t outside, uint32_t *ret_inside)
{
    for (struct fl_span line; fl_span_split(&map, '\n', &line);) {
        uint64_t inside, first, count;
        if (!take_number(&line, UINT32_MAX, &inside) || !take_number(&line, UINT32_MAX, &first) ||
            !take_number(&line, UINT32_MAX, &count))
            return false;
        if (outside >= first && outside - first < count && inside + (outside - first) < UINT32_MAX) {
            *ret_inside = (uint32_t)(inside + (outside - first));
            return true;
        }
    }
    return false;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* A uid at the front: 32 hexadecimal digits, with '-' or '_' between them; its length, 0 where it is none. */
static size_t pod_uid_length(struct fl_span text)
{
    size_t len = 0, digits = 0;
    while (len < text.len && len < CNI_PROCFILE_POD_MAX - 1 &&
           (is_hex(text.data[len]) || text.data[len] == '-' || text.data[len] == '_'))
        digits += is_hex(text.data[len++]);
    return digits == 32 ? len : 0;
}

/* The first part of a path of which "pod" and a uid are the end (".slice" may follow). The first, because what lies
 * below a pod's cgroup may be named by the pod. */
static size_t find_pod(struct fl_span path, struct fl_span *ret_uid)
{
    for (size_t i = 0; i + 3 < path.len; i++) {
        if (memcmp(path.data + i, "pod", 3) != 0 || (i > 0 && path.data[i - 1] != '/' && path.data[i - 1] != '-'))
            continue;
        struct fl_span rest = {path.data + i + 3, path.len - i - 3};
        size_t len = pod_uid_length(rest);
        struct fl_span behind = {rest.data + len, rest.len - len};
        if (len > 0 && (behind.len == 0 || behind.data[0] == '/' || fl_span_starts_with(behind, FL_SPAN(".slice")))) {
            *ret_uid = (struct fl_span){rest.data, len};
            return len;
        }
    }
    return 0;
}

bool cni_procfile_pod(struct fl_span cgroup, char ret_uid[CNI_PROCFILE_POD_MAX])
{
    ret_uid[0] = '\0';
    for (struct fl_span line, uid; fl_span_split(&cgroup, '\n', &line);) {
        size_t len = find_pod(line, &uid);
        for (size_t i = 0; i < len; i++)
            ret_uid[i] = uid.data[i] == '_' ? '-' : uid.data[i];
        ret_uid[len] = '\0';
        if (len > 0)
            return true;
    }
    return false;
}
