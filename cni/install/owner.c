#include "cni/install/owner.h"

#include "cni/install/payload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>

#define FILE_MODE  0644
#define BYTES_MAX  128
#define AGENT_     "agent "
#define UNINSTALL_ "uninstall "

static int draw_id(char id[33])
{
    uint64_t half[2];
    if (getrandom(half, sizeof(half), 0) != (ssize_t)sizeof(half))
        return -EIO;
    snprintf(id, 33, "%016llx%016llx", (unsigned long long)half[0], (unsigned long long)half[1]);
    return 0;
}

/* The folder of our versions; -ENOENT where it is not there. */
static int open_folder(const char *bin_dir, struct cni_disk *ret_folder, struct fl_err *err)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/" CNI_PAYLOAD_FOLDER, bin_dir);
    if (length < 0 || (size_t)length >= sizeof(path))
        return fl_err_set(err, -ENAMETOOLONG, "path too long: %s", bin_dir);
    return cni_disk_open(path, ret_folder, err);
}

static int make_folder(const char *bin_dir, struct cni_disk *ret_folder, struct fl_err *err)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk parent = CNI_DISK_CLOSED;
    int result = cni_disk_open(bin_dir, &parent, err);
    return result < 0 ? result : cni_disk_enter(&parent, CNI_PAYLOAD_FOLDER, ret_folder, err);
}

static void print_owner(char text[BYTES_MAX], enum cni_owner_kind kind, const char *id)
{
    snprintf(text, BYTES_MAX, "%s%s\n", kind == CNI_OWNER_AGENT ? AGENT_ : UNINSTALL_, id);
}

/* The file's text; at most BYTES_MAX - 1 bytes of it. */
static int read_owner(const struct cni_disk *folder, int *ret_fd, char text[BYTES_MAX])
{
    FL_CLEANUP(fl_cleanup_close)
    int fd = openat(folder->fd, CNI_OWNER_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ssize_t length = fd >= 0 ? read(fd, text, BYTES_MAX - 1) : -1;
    if (length < 0)
        return -errno;
    text[length] = '\0';
    *ret_fd = fl_take_fd(fd);
    return 0;
}

int cni_owner_take(const char *bin_dir, enum cni_owner_kind kind, struct cni_owner *owner, struct fl_err *err)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk folder = CNI_DISK_CLOSED;
    char id[33], text[BYTES_MAX];
    int fd, result = draw_id(id);
    if (result < 0)
        return fl_err_errno(err, result, "random bytes");
    result = make_folder(bin_dir, &folder, err);
    if (result < 0)
        return result;
    print_owner(text, kind, id);
    /* locked before anybody can read it: a living owner is never taken for a dead one */
    result = cni_disk_replace_locked(&folder, CNI_OWNER_FILE, fl_span_str(text), FILE_MODE, &fd, err);
    if (result < 0)
        return result;
    cni_owner_done(owner);
    owner->taken = true;
    memcpy(owner->id, id, sizeof(id));
    owner->fd = fd;
    return 0;
}

static int judge(int fd, struct fl_span text, const struct cni_owner *owner)
{
    struct fl_span line = fl_span_make(text.data, fl_span_find(text, '\n'));
    if (fl_span_starts_with(line, FL_SPAN(UNINSTALL_)))
        return owner->taken ? CNI_OWNER_UNINSTALLED : CNI_OWNER_DEAD;
    if (fl_span_starts_with(line, FL_SPAN(AGENT_)) && owner->taken &&
        fl_span_eq_str(fl_span_from(line, sizeof(AGENT_) - 1), owner->id))
        return 0;
    /* shared: two who look at once do not take each other for a living owner */
    if (flock(fd, LOCK_SH | LOCK_NB) == 0)
        return CNI_OWNER_DEAD;
    return errno == EWOULDBLOCK ? CNI_OWNER_OTHER : CNI_OWNER_DEAD;
}

int cni_owner_check(const char *bin_dir, const struct cni_owner *owner, struct fl_err *err)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk folder = CNI_DISK_CLOSED;
    char text[BYTES_MAX];
    int result = open_folder(bin_dir, &folder, err);
    if (result == -ENOENT)
        return CNI_OWNER_DEAD;
    if (result < 0)
        return result;
    FL_CLEANUP(fl_cleanup_close) int fd = -1;
    result = read_owner(&folder, &fd, text);
    if (result == -ENOENT)
        return CNI_OWNER_DEAD;
    if (result < 0)
        return fl_err_errno(err, result, "read %s/" CNI_OWNER_FILE, folder.path);
    result = judge(fd, fl_span_str(text), owner);
    if (result == CNI_OWNER_OTHER)
        fl_err_set(err, -EBUSY, "another agent, which came later, owns this node");
    if (result == CNI_OWNER_UNINSTALLED)
        fl_err_set(err, -EBUSY,
                   "fairlead-cni was uninstalled from this node while this agent ran; a restart of the agent installs "
                   "it again");
    return result;
}

int cni_owner_remove(const char *bin_dir, struct fl_err *err)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk folder = CNI_DISK_CLOSED;
    int result = open_folder(bin_dir, &folder, err);
    if (result == -ENOENT || result == -ENOTDIR)
        return 0;
    return result < 0 ? result : cni_disk_remove(&folder, CNI_OWNER_FILE, err);
}

void cni_owner_done(struct cni_owner *owner)
{
    if (owner->fd >= 0)
        close(owner->fd);
    owner->fd = -1;
}
