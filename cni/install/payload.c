#include "cni/install/payload.h"

#include "cni/install/disk.h"
#include "common/base/siphash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SLOT_MARK          "fairlead-cni slot:" /* cni/launcher: the version's name follows, up to a NUL */
#define LAUNCHER_BYTES_MAX (4u << 20)
#define MODE               0755

struct payload_file {
    char name[CNI_PAYLOAD_NAME_MAX];
    struct fl_span bytes; /* mapped: 3 MB that nobody has to keep */
};

/* A payload as it lies in its source. */
struct version {
    struct payload_file files[CNI_PAYLOAD_FILES_MAX]; /* by name */
    size_t count;
    struct fl_buf launcher; /* with the version's name in its slot */
    char name[CNI_PAYLOAD_NAME_MAX];
};

static void version_done(struct version *version)
{
    for (size_t i = 0; i < version->count; i++)
        if (version->files[i].bytes.len > 0)
            munmap((void *)(uintptr_t)version->files[i].bytes.data, version->files[i].bytes.len);
    fl_buf_done(&version->launcher);
}

static int map_file(const struct cni_disk *folder, const char *name, struct fl_span *ret_bytes, struct fl_err *err)
{
    struct stat status;
    FL_CLEANUP(fl_cleanup_close) int fd = openat(folder->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) != 0)
        return fl_err_errno(err, -errno, "read %s/%s", folder->path, name);
    if (!S_ISREG(status.st_mode) || status.st_size == 0 || status.st_size > CNI_PAYLOAD_FILE_BYTES_MAX)
        return fl_err_set(err, -EINVAL, "%s/%s: expected a file of 1 to %u bytes", folder->path, name,
                          CNI_PAYLOAD_FILE_BYTES_MAX);
    void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return fl_err_errno(err, -errno, "read %s/%s", folder->path, name);
    *ret_bytes = fl_span_make(bytes, (size_t)status.st_size);
    return 0;
}

static int add_file(struct version *version, const struct cni_disk *folder, const char *name, struct fl_err *err)
{
    struct payload_file file = {0};
    size_t at = version->count;
    if (version->count == CNI_PAYLOAD_FILES_MAX || strlen(name) >= sizeof(file.name))
        return fl_err_set(err, -E2BIG, "%s/%s: more than %d files, or too long a name", folder->path, name,
                          CNI_PAYLOAD_FILES_MAX);
    memcpy(file.name, name, strlen(name));
    int result = map_file(folder, name, &file.bytes, err);
    if (result < 0)
        return result;
    for (; at > 0 && strcmp(version->files[at - 1].name, name) > 0; at--)
        version->files[at] = version->files[at - 1];
    version->files[at] = file;
    version->count++;
    return 0;
}

static int list(const struct cni_disk *folder, DIR **ret_entries, struct fl_err *err)
{
    int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd >= 0 ? fdopendir(fd) : NULL;
    int result = -errno;
    if (entries == NULL && fd >= 0)
        close(fd);
    *ret_entries = entries;
    return entries != NULL ? 0 : fl_err_errno(err, result, "read %s", folder->path);
}

static int add_files(struct version *version, const struct cni_disk *source, struct fl_err *err)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk folder = CNI_DISK_CLOSED;
    char path[PATH_MAX + sizeof("/files")];
    snprintf(path, sizeof(path), "%s/files", source->path);
    DIR *entries = NULL;
    int result = cni_disk_open(path, &folder, err);
    if (result == 0)
        result = list(&folder, &entries, err);
    if (result < 0)
        return result;
    for (const struct dirent *entry; result == 0 && (entry = readdir(entries)) != NULL;)
        if (entry->d_name[0] != '.')
            result = add_file(version, &folder, entry->d_name, err);
    closedir(entries);
    return result < 0 || version->count > 0 ? result : fl_err_set(err, -ENOENT, "%s: no files", path);
}

/* Stable over machines and processes: a name, not a defence. What is installed is compared byte by byte. */
static uint64_t digest_of(const struct version *version)
{
    static const uint64_t key[2] = {0x6661697266696c65, 0x7061796c6f616473};
    uint64_t lines[CNI_PAYLOAD_FILES_MAX][2];
    for (size_t i = 0; i < version->count; i++) {
        lines[i][0] = fl_siphash_keyed(key, 2, 4, fl_span_str(version->files[i].name));
        lines[i][1] = fl_siphash_keyed(key, 2, 4, version->files[i].bytes);
    }
    return fl_siphash_keyed(key, 2, 4, fl_span_make(lines, version->count * sizeof(lines[0])));
}

/* The bytes behind the mark, as many as a name may have; NULL where the file is no launcher of ours. */
static char *slot_of(const struct fl_buf *launcher)
{
    char *mark = launcher->len > 0 ? memmem(launcher->data, launcher->len, SLOT_MARK, sizeof(SLOT_MARK) - 1) : NULL;
    if (mark == NULL)
        return NULL;
    char *slot = mark + sizeof(SLOT_MARK) - 1;
    return (size_t)(launcher->data + launcher->len - slot) >= CNI_PAYLOAD_NAME_MAX ? slot : NULL;
}

static int version_load(struct version *version, const char *path, struct fl_err *err)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk source = CNI_DISK_CLOSED;
    fl_buf_init(&version->launcher, LAUNCHER_BYTES_MAX);
    int result = cni_disk_open(path, &source, err);
    if (result == 0)
        result = add_files(version, &source, err);
    if (result == 0)
        result = cni_disk_read(&source, "launcher", &version->launcher, NULL, err);
    if (result == -ENOENT) /* an image that was made without them, or a wrong --payload */
        fl_err_prefix(err, "the plugin's files (launcher, files/) are not in %s", path);
    if (result < 0)
        return result;
    int len = snprintf(version->name, sizeof(version->name), "%s-%016" PRIx64, FL_VERSION, digest_of(version));
    char *slot = slot_of(&version->launcher);
    if (slot == NULL || len < 0 || (size_t)len >= sizeof(version->name))
        return fl_err_set(err, -EINVAL, "%s/launcher has no place for the name of a version", path);
    memcpy(slot, version->name, sizeof(version->name));
    return 0;
}

/* What failed does not matter here. */
static int forgive(struct fl_err *err)
{
    if (err != NULL)
        *err = (struct fl_err){0};
    return 0;
}

/* bin_dir, locked. */
static int open_bin_dir(const struct cni_payload *payload, unsigned wait_ms, struct cni_disk *ret_bin,
                        struct fl_err *err)
{
    int result = cni_disk_open(payload->bin_dir, ret_bin, err);
    if (result == 0)
        result = cni_disk_lock(ret_bin, wait_ms, err);
    return result == CNI_DISK_BUSY ? CNI_PAYLOAD_BUSY : result;
}

static int put(const struct cni_disk *folder, const char *name, struct fl_span bytes, struct fl_err *err)
{
    int result = cni_disk_compare(folder, name, bytes, MODE, err);
    return result == CNI_DISK_DIFFERS ? cni_disk_replace(folder, name, bytes, MODE, err) : result;
}

/* A leftover that cannot be removed is no reason not to install; what is in the way of a file fails there. */
static void sweep(const struct cni_disk *folder)
{
    struct fl_err ignored;
    if (cni_disk_sweep(folder, &ignored) < 0)
        return;
}

int cni_payload_install(const struct cni_payload *payload, struct fl_err *err)
{
    FL_CLEANUP(version_done) struct version version = {0};
    FL_CLEANUP(cni_disk_close) struct cni_disk bin = CNI_DISK_CLOSED, all = CNI_DISK_CLOSED, own = CNI_DISK_CLOSED;
    int result = version_load(&version, payload->source, err);
    if (result == 0)
        result = open_bin_dir(payload, CNI_PAYLOAD_WAIT_MS, &bin, err);
    if (result != 0)
        return result;
    sweep(&bin);
    result = cni_disk_enter(&bin, CNI_PAYLOAD_FOLDER, &all, err);
    if (result < 0)
        return result;
    sweep(&all);
    result = cni_disk_enter(&all, version.name, &own, err);
    if (result < 0)
        return result;
    sweep(&own);
    for (size_t i = 0; result == 0 && i < version.count; i++)
        result = put(&own, version.files[i].name, version.files[i].bytes, err);
    if (result == 0)
        result = put(&bin, CNI_PAYLOAD_LAUNCHER, fl_buf_span(&version.launcher), err);
    return result;
}

static int compare(const struct cni_disk *folder, const char *name, struct fl_span bytes, struct fl_err *err)
{
    int result = cni_disk_compare(folder, name, bytes, MODE, err);
    if (result != CNI_DISK_DIFFERS)
        return result;
    fl_err_set(err, -ENOENT, "%s/%s is missing, or is not this version's", folder->path, name);
    return CNI_PAYLOAD_DIFFERS;
}

int cni_payload_check(const struct cni_payload *payload, struct fl_err *err)
{
    FL_CLEANUP(version_done) struct version version = {0};
    FL_CLEANUP(cni_disk_close) struct cni_disk bin = CNI_DISK_CLOSED, own = CNI_DISK_CLOSED;
    char path[PATH_MAX + CNI_PAYLOAD_NAME_MAX + sizeof(CNI_PAYLOAD_FOLDER)];
    int result = version_load(&version, payload->source, err);
    if (result == 0)
        result = cni_disk_open(payload->bin_dir, &bin, err);
    if (result == 0)
        result = compare(&bin, CNI_PAYLOAD_LAUNCHER, fl_buf_span(&version.launcher), err);
    if (result != 0)
        return result;
    snprintf(path, sizeof(path), "%s/" CNI_PAYLOAD_FOLDER "/%s", payload->bin_dir, version.name);
    result = cni_disk_open(path, &own, err);
    for (size_t i = 0; result == 0 && i < version.count; i++)
        result = compare(&own, version.files[i].name, version.files[i].bytes, err);
    return result == -ENOENT || result == -ENOTDIR ? CNI_PAYLOAD_DIFFERS : result;
}

int cni_payload_version(const struct cni_payload *payload, char ret_name[CNI_PAYLOAD_NAME_MAX], struct fl_err *err)
{
    FL_CLEANUP(version_done) struct version version = {0};
    int result = version_load(&version, payload->source, err);
    if (result == 0)
        memcpy(ret_name, version.name, sizeof(version.name));
    return result;
}

static int read_in_force(const struct cni_disk *bin, char ret_name[CNI_PAYLOAD_NAME_MAX], struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf launcher;
    fl_buf_init(&launcher, LAUNCHER_BYTES_MAX);
    int result = cni_disk_read(bin, CNI_PAYLOAD_LAUNCHER, &launcher, NULL, err);
    if (result == -ENOENT || result == -EINVAL || result == -EMSGSIZE)
        return CNI_PAYLOAD_DIFFERS;
    if (result < 0)
        return result;
    const char *slot = slot_of(&launcher);
    if (slot == NULL || slot[0] == '\0' || slot[0] == '.' || memchr(slot, '\0', CNI_PAYLOAD_NAME_MAX) == NULL) {
        fl_err_set(err, -EINVAL, "%s/" CNI_PAYLOAD_LAUNCHER " is no launcher of ours, or names no version", bin->path);
        return CNI_PAYLOAD_DIFFERS;
    }
    memcpy(ret_name, slot, CNI_PAYLOAD_NAME_MAX);
    return 0;
}

int cni_payload_in_force(const struct cni_payload *payload, char ret_name[CNI_PAYLOAD_NAME_MAX], struct fl_err *err)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk bin = CNI_DISK_CLOSED;
    int result = cni_disk_open(payload->bin_dir, &bin, err);
    return result < 0 ? result : read_in_force(&bin, ret_name, err);
}

/* Removes a version that nobody uses. 0, CNI_PAYLOAD_BUSY where a plugin runs from it. */
static int remove_version(const struct cni_disk *all, const char *name, struct fl_err *err)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk own = CNI_DISK_CLOSED;
    char path[2 * PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", all->path, name);
    int result = cni_disk_open(path, &own, err);
    if (result == 0)
        result = cni_disk_lock(&own, 0, err); /* held until it has lost its name: a launcher then looks again */
    if (result == CNI_DISK_BUSY) {
        fl_err_set(err, -EBUSY, "%s: a plugin runs from it", path);
        return CNI_PAYLOAD_BUSY;
    }
    return result < 0 ? result : cni_disk_remove_folder(all, name, err);
}

/* "0.1.0-0123456789abcdef": what is named otherwise is not ours to remove. */
static bool is_version(const char *name)
{
    const char *digest = strrchr(name, '-');
    return name[0] != '.' && digest != NULL && strlen(digest + 1) == 16 && strspn(digest + 1, "0123456789abcdef") == 16;
}

/* All versions but `kept` (NULL: all). 0, CNI_PAYLOAD_BUSY where one at least is in use. */
static int remove_versions(const struct cni_disk *all, const char *kept, struct fl_err *err)
{
    bool busy = false;
    DIR *entries = NULL;
    int result = list(all, &entries, err);
    if (result < 0)
        return result;
    for (const struct dirent *entry; result >= 0 && (entry = readdir(entries)) != NULL;) {
        struct stat status;
        if (!is_version(entry->d_name) || (kept != NULL && strcmp(entry->d_name, kept) == 0) ||
            fstatat(all->fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(status.st_mode))
            continue;
        result = remove_version(all, entry->d_name, err);
        busy = busy || result == CNI_PAYLOAD_BUSY;
    }
    closedir(entries);
    return result < 0 ? result : busy ? CNI_PAYLOAD_BUSY : 0;
}

/* bin_dir locked, and the folder of versions; not open where there is none. */
static int open_folders(const struct cni_payload *payload, unsigned wait_ms, struct cni_disk *bin, struct cni_disk *all,
                        struct fl_err *err)
{
    char path[PATH_MAX + sizeof(CNI_PAYLOAD_FOLDER)];
    struct stat status;
    int result = open_bin_dir(payload, wait_ms, bin, err);
    if (result != 0)
        return result;
    /* a link may lead to a folder with other things than versions in it, which would be removed as unused ones */
    if (fstatat(bin->fd, CNI_PAYLOAD_FOLDER, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode))
        return fl_err_set(err, -ELOOP, "%s/" CNI_PAYLOAD_FOLDER " is a symbolic link: put the folder itself there",
                          payload->bin_dir);
    snprintf(path, sizeof(path), "%s/" CNI_PAYLOAD_FOLDER, payload->bin_dir);
    result = cni_disk_open(path, all, err);
    return result == -ENOENT ? forgive(err) : result;
}

int cni_payload_prune(const struct cni_payload *payload, struct fl_err *err)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk bin = CNI_DISK_CLOSED, all = CNI_DISK_CLOSED;
    char kept[CNI_PAYLOAD_NAME_MAX];
    int result = open_folders(payload, 0, &bin, &all, err);
    if (result != 0 || all.fd < 0)
        return result;
    sweep(&bin);
    sweep(&all);
    result = read_in_force(&bin, kept, err);
    if (result != 0) /* who has no launcher is about to get one; nothing is known to be unused */
        return result < 0 ? result : forgive(err);
    result = remove_versions(&all, kept, err);
    return result == CNI_PAYLOAD_BUSY ? forgive(err) : result;
}

int cni_payload_remove(const struct cni_payload *payload, struct fl_err *err)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk bin = CNI_DISK_CLOSED, all = CNI_DISK_CLOSED;
    int result = open_folders(payload, CNI_PAYLOAD_WAIT_MS, &bin, &all, err);
    if (result == -ENOENT) /* no bin_dir: nothing of ours */
        return forgive(err);
    if (result == 0) {
        sweep(&bin);
        result = cni_disk_remove(&bin, CNI_PAYLOAD_LAUNCHER, err);
    }
    if (result == 0 && all.fd >= 0)
        result = remove_versions(&all, NULL, err);
    if (result == 0)
        result = cni_disk_remove_folder(&bin, CNI_PAYLOAD_FOLDER, err);
    return result;
}
