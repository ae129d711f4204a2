#include "tests/support/power.h"

#include "common/base/buf.h"
#include "tests/support/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cmocka.h>

#define NODES_MAX      256
#define OPERATIONS_MAX 2048
#define ENTRIES_MAX    64
#define NAME_MAX_      128
#define FDS_MAX        1024
#define ROOT           0

enum kind { MAKE, WRITE, MODE, LINK /* a name appears */, RENAME, EXCHANGE, UNLINK, SYNC };

static const char *const kinds[] = {"make", "write", "fchmod", "create", "renameat", "exchange", "unlinkat", "fsync"};

struct operation {
    enum kind kind;
    int node, folder; /* what is written, synced or named; the folder of its name */
    int other;        /* EXCHANGE: what the target names */
    char name[NAME_MAX_], target[NAME_MAX_];
    size_t offset, len; /* WRITE: in `written` */
    mode_t mode;
};

struct node {
    bool is_folder;
    mode_t mode;
    struct fl_buf content;
    struct {
        char name[NAME_MAX_];
        int node;
    } entries[ENTRIES_MAX];
    size_t count;
};

static struct {
    char root[PATH_MAX];
    bool recording;
    struct node first[NODES_MAX], now[NODES_MAX]; /* as it was at the start; as the record says up to here */
    int nodes, first_nodes;
    struct operation operations[OPERATIONS_MAX];
    size_t count;
    struct fl_buf written;
    int fds[FDS_MAX]; /* node + 1 */
    size_t calls, fail_at;
    int fail_with;
    bool failed;
} power;

int __real_open(const char *path, int flags, ...);
int __real_openat(int folder, const char *path, int flags, ...);
int __real_mkdirat(int folder, const char *name, mode_t mode);
int __real_close(int fd);
ssize_t __real_write(int fd, const void *bytes, size_t len);
int __real_fchmod(int fd, mode_t mode);
int __real_renameat(int folder, const char *name, int other, const char *target);
int __real_renameat2(int folder, const char *name, int other, const char *target, unsigned flags);
int __real_unlinkat(int folder, const char *name, int flags);
int __real_flock(int fd, int what);

int __wrap_open(const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...);
int __wrap_mkdirat(int folder, const char *name, mode_t mode);
int __wrap_close(int fd);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fsync(int fd);
int __wrap_renameat(int folder, const char *name, int other, const char *target);
int __wrap_renameat2(int folder, const char *name, int other, const char *target, unsigned flags);
int __wrap_unlinkat(int folder, const char *name, int flags);
int __wrap_flock(int fd, int what);

/* --- trees of nodes --- */

static int entry_of(const struct node *folder, const char *name)
{
    for (size_t i = 0; i < folder->count; i++)
        if (strcmp(folder->entries[i].name, name) == 0)
            return (int)i;
    return -1;
}

static void name_remove(struct node *folder, const char *name)
{
    int at = entry_of(folder, name);
    if (at >= 0)
        folder->entries[at] = folder->entries[--folder->count];
}

static void name_put(struct node *folder, const char *name, int node)
{
    name_remove(folder, name);
    assert_true(folder->count < ENTRIES_MAX && strlen(name) < NAME_MAX_);
    snprintf(folder->entries[folder->count].name, NAME_MAX_, "%s", name);
    folder->entries[folder->count++].node = node;
}

static void tree_done(struct node *tree)
{
    for (int i = 0; i < NODES_MAX; i++)
        fl_buf_done(&tree[i].content);
    memset(tree, 0, sizeof(struct node) * NODES_MAX);
}

static void content_append(struct node *node, struct fl_span bytes)
{
    if (node->content.max == 0)
        fl_buf_init(&node->content, 1u << 24);
    assert_int_equal(fl_buf_append(&node->content, bytes), 0);
}

static void tree_copy(struct node *to, const struct node *from, int count)
{
    tree_done(to);
    for (int i = 0; i < count; i++) {
        to[i] = from[i];
        to[i].content = (struct fl_buf){0};
        content_append(&to[i], fl_buf_span(&from[i].content));
    }
}

/* `half`: only the first half of what is written. */
static void apply(struct node *tree, const struct operation *operation, bool half)
{
    struct node *node = &tree[operation->node];
    struct node *folder = &tree[operation->folder];
    switch (operation->kind) {
    case MAKE:
        node->is_folder = true;
        node->mode = operation->mode;
        name_put(folder, operation->name, operation->node);
        break;
    case LINK:
        node->mode = operation->mode;
        name_put(folder, operation->name, operation->node);
        break;
    case WRITE:
        content_append(
            node, fl_span_make(power.written.data + operation->offset, half ? operation->len / 2 : operation->len));
        break;
    case MODE:
        node->mode = operation->mode;
        break;
    case RENAME:
        name_remove(folder, operation->name);
        name_put(folder, operation->target, operation->node);
        break;
    case EXCHANGE:
        name_put(folder, operation->name, operation->other);
        name_put(folder, operation->target, operation->node);
        break;
    case UNLINK:
        name_remove(folder, operation->name);
        break;
    case SYNC:
        break;
    }
}

static int scan(const char *path)
{
    struct stat status;
    int self = power.nodes++;
    struct node *node = &power.first[self];
    assert_true(self < NODES_MAX);
    assert_int_equal(lstat(path, &status), 0);
    *node = (struct node){.is_folder = S_ISDIR(status.st_mode), .mode = status.st_mode & 07777};
    if (!node->is_folder) {
        fl_buf_init(&node->content, 1u << 24);
        if (S_ISREG(status.st_mode))
            assert_int_equal(fl_buf_read_file(&node->content, path), 0);
        return self;
    }
    DIR *entries = opendir(path);
    assert_non_null(entries);
    for (const struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        char below[PATH_MAX];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        assert_true(snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) < (int)sizeof(below));
        name_put(node, entry->d_name, scan(below));
    }
    closedir(entries);
    return self;
}

/* --- the record --- */

static int node_of_fd(int fd)
{
    return power.recording && fd >= 0 && fd < FDS_MAX ? power.fds[fd] - 1 : -1;
}

/* Walks from a folder; -1: nothing of that name, or outside of the root. */
static int node_of_path(int fd, const char *path)
{
    int node = node_of_fd(fd);
    size_t len = strlen(power.root);
    if (path[0] == '/' && strncmp(path, power.root, len) == 0 && (path[len] == '/' || path[len] == '\0')) {
        node = ROOT;
        path += len;
    } else if (path[0] == '/') {
        return -1;
    }
    struct fl_span rest = fl_span_str(path), part;
    while (power.recording && node >= 0 && fl_span_split(&rest, '/', &part)) {
        char name[NAME_MAX_];
        snprintf(name, sizeof(name), "%.*s", FL_SPAN_ARG(part));
        if (name[0] == '\0' || strcmp(name, ".") == 0)
            continue;
        int at = entry_of(&power.now[node], name);
        node = at >= 0 ? power.now[node].entries[at].node : -1;
    }
    return power.recording ? node : -1;
}

static void note(struct operation operation)
{
    assert_true(power.count < OPERATIONS_MAX);
    power.operations[power.count++] = operation;
    apply(power.now, &operation, false);
}

static struct operation operation_on(enum kind kind, int node, int folder, const char *name)
{
    struct operation operation = {.kind = kind, .node = node, .folder = folder < 0 ? 0 : folder};
    snprintf(operation.name, sizeof(operation.name), "%s", name);
    return operation;
}

static bool fails(void)
{
    power.calls++;
    if (power.fail_at == 0 || power.calls != power.fail_at)
        return false;
    power.failed = true;
    errno = power.fail_with;
    return true;
}

void power_start(const char *root)
{
    tree_done(power.first);
    fl_buf_done(&power.written);
    fl_buf_init(&power.written, 1u << 28);
    snprintf(power.root, sizeof(power.root), "%s", root);
    power.nodes = 0;
    power.count = 0;
    memset(power.fds, 0, sizeof(power.fds));
    scan(root);
    power.first_nodes = power.nodes;
    tree_copy(power.now, power.first, power.nodes);
    power.recording = true;
}

static void compare(const char *path, int node)
{
    struct stat status;
    const struct node *expected = &power.now[node];
    if (lstat(path, &status) != 0 || (status.st_mode & 07777) != expected->mode)
        fail_msg("%s is not as recorded: something writes past the wrapped calls", path);
    if (expected->is_folder) {
        for (size_t i = 0; i < expected->count; i++) {
            char below[PATH_MAX];
            assert_true(snprintf(below, sizeof(below), "%s/%s", path, expected->entries[i].name) < (int)sizeof(below));
            compare(below, expected->entries[i].node);
        }
        return;
    }
    if (S_ISREG(status.st_mode) && (size_t)status.st_size != expected->content.len)
        fail_msg("%s has another size than recorded", path);
}

void power_stop(void)
{
    power.recording = false;
    compare(power.root, ROOT);
}

size_t power_operations(void)
{
    return power.count;
}

/* Whether a sync within the first `cut` operations made this one durable. */
static bool is_durable(size_t at, size_t cut)
{
    const struct operation *operation = &power.operations[at];
    bool is_content = operation->kind == WRITE || operation->kind == MODE;
    int synced = is_content ? operation->node : operation->folder;
    for (size_t i = at + 1; i < cut; i++)
        if (power.operations[i].kind == SYNC && power.operations[i].node == synced)
            return true;
    return operation->kind == SYNC;
}

static size_t pending_at(size_t cut)
{
    size_t count = 0;
    for (size_t i = 0; i < cut; i++)
        count += !is_durable(i, cut);
    return count;
}

enum { NONE, ALL, NAMES, CONTENTS, HALVES, SINGLES };

size_t power_variants(size_t cut)
{
    size_t pending = pending_at(cut);
    return pending == 0 ? 1 : SINGLES + 2 * pending;
}

/* `which`: the how-manieth of the pending operations this one is. */
static bool survives(const struct operation *operation, size_t which, size_t pending, size_t variant)
{
    bool is_content = operation->kind == WRITE || operation->kind == MODE;
    switch (variant) {
    case NONE:
        return false;
    case ALL:
    case HALVES:
        return true;
    case NAMES:
        return !is_content;
    case CONTENTS:
        return is_content;
    default:
        return variant < SINGLES + pending ? which == variant - SINGLES : which != variant - SINGLES - pending;
    }
}

static void write_tree(const struct node *tree, int node, const char *path)
{
    const struct node *self = &tree[node];
    if (!self->is_folder) {
        int fd = __real_open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        if (self->content.len > 0)
            assert_int_equal(__real_write(fd, self->content.data, self->content.len), (int)self->content.len);
        __real_fchmod(fd, self->mode);
        __real_close(fd);
        return;
    }
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < self->count; i++) {
        char below[PATH_MAX];
        assert_true(snprintf(below, sizeof(below), "%s/%s", path, self->entries[i].name) < (int)sizeof(below));
        write_tree(tree, self->entries[i].node, below);
    }
    assert_int_equal(chmod(path, self->mode), 0);
}

void power_restore(size_t cut, size_t variant, const char *folder)
{
    static struct node tree[NODES_MAX];
    size_t pending = pending_at(cut), which = 0;
    tree_copy(tree, power.first, power.first_nodes);
    for (size_t i = 0; i < cut; i++) {
        bool durable = is_durable(i, cut);
        if (durable || survives(&power.operations[i], which, pending, variant))
            apply(tree, &power.operations[i], !durable && variant == HALVES);
        which += !durable;
    }
    folder_remove(folder);
    write_tree(tree, ROOT, folder);
    tree_done(tree);
}

const char *power_describe(size_t cut, size_t variant)
{
    static char text[512];
    const struct operation *last = cut > 0 ? &power.operations[cut - 1] : NULL;
    snprintf(text, sizeof(text), "power cut %zu of %zu (variant %zu), after %s %s%s%s", cut, power.count, variant,
             last != NULL ? kinds[last->kind] : "nothing", last != NULL ? last->name : "",
             last != NULL && last->target[0] != '\0' ? " → " : "", last != NULL ? last->target : "");
    return text;
}

void power_fail_at(size_t nth, int error)
{
    power.calls = 0;
    power.fail_at = nth;
    power.fail_with = error;
    power.failed = false;
}

bool power_failed(void)
{
    return power.failed;
}

const char *power_place(void)
{
    return access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
}

/* --- the wrapped calls --- */

static int opened(int fd, int folder, const char *path, int flags, mode_t mode)
{
    int node = node_of_path(folder, path);
    if (fd < 0 || fd >= FDS_MAX || !power.recording)
        return fd;
    if (node < 0 && (flags & O_CREAT) != 0 && node_of_fd(folder) >= 0) {
        assert_true(power.nodes < NODES_MAX);
        struct operation operation = operation_on(LINK, power.nodes++, node_of_fd(folder), path);
        mode_t mask = umask(0);
        umask(mask);
        operation.mode = mode & ~mask;
        note(operation);
        node = operation.node;
    }
    power.fds[fd] = node + 1;
    return fd;
}

static mode_t mode_argument(int flags, va_list arguments)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return fails() ? -1 : opened(__real_open(path, flags, mode), -1, path, flags, mode);
}

int __wrap_openat(int folder, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return fails() ? -1 : opened(__real_openat(folder, path, flags, mode), folder, path, flags, mode);
}

int __wrap_mkdirat(int folder, const char *name, mode_t mode)
{
    int result = fails() ? -1 : __real_mkdirat(folder, name, mode);
    if (result == 0 && node_of_fd(folder) >= 0) {
        struct operation operation = operation_on(MAKE, power.nodes++, node_of_fd(folder), name);
        mode_t mask = umask(0);
        umask(mask);
        operation.mode = mode & ~mask;
        note(operation);
    }
    return result;
}

int __wrap_close(int fd)
{
    if (fd >= 0 && fd < FDS_MAX)
        power.fds[fd] = 0;
    return __real_close(fd);
}

/* At most 1,000 bytes at a time: a writer has to go on. */
ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
    ssize_t count = fails() ? -1 : __real_write(fd, bytes, len < 1000 ? len : 1000);
    if (count > 0 && node_of_fd(fd) >= 0) {
        struct operation operation = operation_on(WRITE, node_of_fd(fd), -1, "");
        operation.offset = power.written.len;
        operation.len = (size_t)count;
        assert_int_equal(fl_buf_append(&power.written, fl_span_make(bytes, (size_t)count)), 0);
        note(operation);
    }
    return count;
}

int __wrap_fchmod(int fd, mode_t mode)
{
    int result = fails() ? -1 : __real_fchmod(fd, mode);
    if (result == 0 && node_of_fd(fd) >= 0) {
        struct operation operation = operation_on(MODE, node_of_fd(fd), -1, "");
        operation.mode = mode;
        note(operation);
    }
    return result;
}

int __wrap_fsync(int fd)
{
    int result = fails() ? -1 : 0; /* the disk is ours: there is nothing to wait for */
    if (result == 0 && node_of_fd(fd) >= 0)
        note(operation_on(SYNC, node_of_fd(fd), -1, ""));
    return result;
}

void (*power_before_rename)(const char *name, const char *target);

static void note_rename(enum kind kind, int node, int replaced, int folder, int other, const char *name,
                        const char *target)
{
    struct operation operation = operation_on(kind, node, node_of_fd(folder), name);
    assert_int_equal(node_of_fd(folder), node_of_fd(other)); /* a rename within one folder, or none */
    snprintf(operation.target, sizeof(operation.target), "%s", target);
    operation.other = replaced;
    note(operation);
}

int __wrap_renameat(int folder, const char *name, int other, const char *target)
{
    if (power_before_rename != NULL)
        power_before_rename(name, target);
    int node = node_of_path(folder, name);
    int result = fails() ? -1 : __real_renameat(folder, name, other, target);
    if (result == 0 && node >= 0)
        note_rename(RENAME, node, -1, folder, other, name, target);
    return result;
}

/* RENAME_EXCHANGE and RENAME_NOREPLACE alone are known here. */
int __wrap_renameat2(int folder, const char *name, int other, const char *target, unsigned flags)
{
    if (power_before_rename != NULL)
        power_before_rename(name, target);
    int node = node_of_path(folder, name), replaced = node_of_path(other, target);
    assert_true(flags == RENAME_EXCHANGE || flags == RENAME_NOREPLACE);
    int result = fails() ? -1 : __real_renameat2(folder, name, other, target, flags);
    if (result == 0 && node >= 0)
        note_rename(flags == RENAME_EXCHANGE ? EXCHANGE : RENAME, node, flags == RENAME_EXCHANGE ? replaced : -1,
                    folder, other, name, target);
    return result;
}

int __wrap_unlinkat(int folder, const char *name, int flags)
{
    int node = node_of_path(folder, name);
    int result = fails() ? -1 : __real_unlinkat(folder, name, flags);
    if (result == 0 && node >= 0)
        note(operation_on(UNLINK, node, node_of_fd(folder), name));
    return result;
}

int __wrap_flock(int fd, int what)
{
    return fails() ? -1 : __real_flock(fd, what);
}
