#include "cli/cnirehearsal.h"

#include "cni/install/confdir.h"
#include "cni/install/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILES_MAX (2 * CNI_CONFDIR_FILES_MAX)
#define PLACE     "/tmp"

static bool is_copied(const char *name)
{
    return cni_confdir_is_read(name) || fl_span_ends_with(fl_span_str(name), FL_SPAN(CNI_CONFDIR_BACKUP));
}

static int copy_text(int from, int to, const char *name, mode_t mode)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf text;
    FL_CLEANUP(fl_cleanup_close) int in = openat(from, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    FL_CLEANUP(fl_cleanup_close) int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0777);
    fl_buf_init(&text, 2 * CNI_CONFLIST_BYTES_MAX);
    if (in < 0 || out < 0)
        return -errno;
    int result = fl_buf_read_fd(&text, in);
    if (result < 0)
        return result;
    return write(out, text.data, text.len) == (ssize_t)text.len ? 0 : -EIO;
}

/* A link stays one, to the same file. */
static int copy_file(const struct cli_rehearsed *rehearsed, int from, int to, const char *name)
{
    char path[PATH_MAX];
    struct stat file;
    if (fstatat(from, name, &file, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (S_ISREG(file.st_mode))
        return copy_text(from, to, name, file.st_mode);
    if (!S_ISLNK(file.st_mode))
        return 0;
    int size = snprintf(path, sizeof(path), "%s/%s", rehearsed->real_conf_dir, name);
    return size < (int)sizeof(path) && symlinkat(path, to, name) == 0 ? 0 : -errno;
}

/* Every file of the folder that counts, to `act`. */
static int each_file(const char *path, int (*act)(void *context, const char *name), void *context)
{
    DIR *folder = opendir(path);
    size_t count = 0;
    int result = 0;
    if (folder == NULL)
        return -errno;
    for (const struct dirent *entry = readdir(folder); entry != NULL && result == 0; entry = readdir(folder)) {
        if (is_copied(entry->d_name))
            result = ++count > FILES_MAX ? -EMSGSIZE : act(context, entry->d_name);
    }
    (void)closedir(folder);
    return result;
}

struct copying {
    const struct cli_rehearsed *rehearsed;
    int from, to;
};

static int copy_one(void *context, const char *name)
{
    const struct copying *copying = context;
    return copy_file(copying->rehearsed, copying->from, copying->to, name);
}

static int copy_folder(struct cli_rehearsed *rehearsed)
{
    FL_CLEANUP(fl_cleanup_close)
    int from = open(rehearsed->real_conf_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (from < 0)
        return errno == ENOENT ? 0 : -errno;
    rehearsed->there = true;
    if (mkdir(rehearsed->conf_dir, 0755) < 0)
        return -errno;
    FL_CLEANUP(fl_cleanup_close) int to = open(rehearsed->conf_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct copying copying = {rehearsed, from, to};
    return to < 0 ? -errno : each_file(rehearsed->real_conf_dir, copy_one, &copying);
}

int cli_rehearsed_make(const char *conf_dir, bool bin_dir, struct cli_rehearsed *ret, struct fl_err *err)
{
    *ret = (struct cli_rehearsed){.root = PLACE "/fairlead-rehearsal-XXXXXX", .real_conf_dir = conf_dir};
    if (mkdtemp(ret->root) == NULL) {
        ret->root[0] = '\0';
        return fl_err_errno(err, -errno, "make a temporary folder in " PLACE);
    }
    snprintf(ret->conf_dir, sizeof(ret->conf_dir), "%s/conf", ret->root);
    snprintf(ret->bin_dir, sizeof(ret->bin_dir), "%s/bin", ret->root);
    int result = bin_dir && mkdir(ret->bin_dir, 0755) < 0 ? -errno : copy_folder(ret);
    return result < 0 ? fl_err_errno(err, result, "copy %s", conf_dir) : 0;
}

/* --- what differs --- */

struct comparing {
    const struct cli_rehearsed *rehearsed;
    struct fl_buf *out;
    size_t count;
};

/* 0 with the text; -ENOENT. A link counts by what it leads to. */
static int read_in(const char *folder, const char *name, struct fl_buf *text)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof(path), "%s/%s", folder, name);
    fl_buf_init(text, 2 * CNI_CONFLIST_BYTES_MAX);
    return size < (int)sizeof(path) ? fl_buf_read_file(text, path) : -ENAMETOOLONG;
}

/* A text for a terminal: whole lines, no control characters. */
static int put_text(struct fl_buf *out, struct fl_span text)
{
    int result = 0;
    bool start = true;
    for (size_t i = 0; i < text.len && result == 0; i++) {
        char byte = text.data[i];
        if (start)
            result = fl_buf_append_str(out, "  ");
        start = byte == '\n';
        if (result == 0)
            result = fl_buf_append_byte(out, start || byte == '\t' || (unsigned char)byte >= ' ' ? byte : '?');
    }
    return result == 0 && !start ? fl_buf_append_byte(out, '\n') : result;
}

static int compare_new(void *context, const char *name)
{
    struct comparing *comparing = context;
    FL_CLEANUP(fl_buf_done) struct fl_buf before = {0};
    FL_CLEANUP(fl_buf_done) struct fl_buf after = {0};
    int result = read_in(comparing->rehearsed->conf_dir, name, &after);
    int old = read_in(comparing->rehearsed->real_conf_dir, name, &before);
    if (result < 0 || (old == 0 && fl_span_eq(fl_buf_span(&before), fl_buf_span(&after))))
        return result;
    comparing->count++;
    result = fl_buf_printf(comparing->out, "would write %s/%s:\n", comparing->rehearsed->real_conf_dir, name);
    return result < 0 ? result : put_text(comparing->out, fl_buf_span(&after));
}

static int compare_old(void *context, const char *name)
{
    struct comparing *comparing = context;
    char path[PATH_MAX];
    struct stat file;
    int size = snprintf(path, sizeof(path), "%s/%s", comparing->rehearsed->conf_dir, name);
    if (size >= (int)sizeof(path) || lstat(path, &file) == 0)
        return 0;
    comparing->count++;
    return fl_buf_printf(comparing->out, "would remove %s/%s\n", comparing->rehearsed->real_conf_dir, name);
}

int cli_rehearsed_compare(const struct cli_rehearsed *rehearsed, struct fl_buf *out, size_t *ret_count,
                          struct fl_err *err)
{
    struct comparing comparing = {rehearsed, out, 0};
    int result = 0;
    if (rehearsed->there) {
        result = each_file(rehearsed->conf_dir, compare_new, &comparing);
        if (result == 0)
            result = each_file(rehearsed->real_conf_dir, compare_old, &comparing);
    }
    *ret_count = comparing.count;
    return result < 0 ? fl_err_errno(err, result, "compare %s", rehearsed->real_conf_dir) : 0;
}

void cli_rehearsed_rename(const struct cli_rehearsed *rehearsed, char *text, size_t size)
{
    char renamed[2 * FL_ERR_TEXT_MAX];
    const char *found = rehearsed->root[0] != '\0' ? strstr(text, rehearsed->conf_dir) : NULL;
    if (found == NULL)
        return;
    snprintf(renamed, sizeof(renamed), "%.*s%s%s", (int)(found - text), text, rehearsed->real_conf_dir,
             found + strlen(rehearsed->conf_dir));
    snprintf(text, size, "%s", renamed);
}

/* --- the end --- */

void cli_rehearsed_done(struct cli_rehearsed *rehearsed)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk parent = CNI_DISK_CLOSED;
    if (rehearsed->root[0] != '\0' && cni_disk_open(PLACE, &parent, NULL) == 0)
        (void)!cni_disk_remove_folder(&parent, rehearsed->root + sizeof(PLACE), NULL);
    rehearsed->root[0] = '\0';
}
