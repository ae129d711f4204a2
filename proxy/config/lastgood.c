/* The format: "FLLG" and a version byte; SipHash-2-4 of everything behind it (against bits that fell over, not against
 * people: the folder is ours alone); the node; records. Numbers are big-endian. */
#include "proxy/config/lastgood.h"

#include "common/base/siphash.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define MAGIC "FLLG\1"
#define HEAD  (sizeof(MAGIC) - 1 + 8)
#define NAMES UINT16_MAX

static const uint64_t key[2] = {0x6c617374676f6f64, 0x666169726c656164};

/* --- writing ---------------------------------------------------------------------------------------------------- */

static int put_number(struct fl_buf *file, uint64_t number, unsigned bytes)
{
    char text[8];
    for (unsigned i = 0; i < bytes; i++)
        text[i] = (char)(number >> (8 * (bytes - 1 - i)) & 0xff);
    return fl_buf_append(file, fl_span_make(text, bytes));
}

static int put_span(struct fl_buf *file, struct fl_span span, unsigned bytes)
{
    int result = put_number(file, span.len, bytes);
    return result == 0 ? fl_buf_append(file, span) : result;
}

int proxy_lastgood_begin(struct fl_buf *file, struct fl_span node)
{
    int result = fl_buf_append(file, FL_SPAN(MAGIC));
    if (result == 0)
        result = put_number(file, 0, 8);
    return result == 0 ? put_span(file, node, 4) : result;
}

int proxy_lastgood_add(struct fl_buf *file, const struct proxy_lastgood_record *record)
{
    size_t before = file->len;
    if (record->name.len > NAMES || record->version.len > NAMES || record->bytes.len > UINT32_MAX)
        return -EMSGSIZE;
    int result = put_number(file, (uint64_t)record->type << 1 | record->by_name, 1);
    if (result == 0)
        result = put_span(file, record->name, 2);
    if (result == 0)
        result = put_span(file, record->version, 2);
    if (result == 0)
        result = put_span(file, record->bytes, 4);
    if (result != 0)
        file->len = before;
    return result;
}

int proxy_lastgood_end(struct fl_buf *file)
{
    uint64_t hash = fl_siphash_keyed(key, 2, 4, fl_span_from(fl_buf_span(file), HEAD));
    for (unsigned i = 0; i < 8; i++)
        file->data[sizeof(MAGIC) - 1 + i] = (char)(hash >> (8 * (7 - i)) & 0xff);
    return 0;
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static bool take_number(struct fl_span *rest, unsigned bytes, uint64_t *ret_number)
{
    if (rest->len < bytes)
        return false;
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes; i++)
        number = number << 8 | (unsigned char)rest->data[i];
    *rest = fl_span_from(*rest, bytes);
    *ret_number = number;
    return true;
}

static bool take_span(struct fl_span *rest, unsigned bytes, struct fl_span *ret_span)
{
    uint64_t len;
    if (!take_number(rest, bytes, &len) || len > rest->len)
        return false;
    *ret_span = fl_span_make(rest->data, (size_t)len);
    *rest = fl_span_from(*rest, (size_t)len);
    return true;
}

bool proxy_lastgood_next(struct fl_span *rest, struct proxy_lastgood_record *ret_record)
{
    uint64_t head;
    struct fl_span after = *rest; /* at a half of a record, rest stays: then it is not empty */
    struct proxy_lastgood_record record = {0};
    if (!take_number(&after, 1, &head) || head >> 1 >= FL_RESOURCE_TYPES || !take_span(&after, 2, &record.name) ||
        !take_span(&after, 2, &record.version) || !take_span(&after, 4, &record.bytes))
        return false;
    record.type = (enum fl_resource_type)(head >> 1);
    record.by_name = (head & 1) != 0;
    *ret_record = record;
    *rest = after;
    return true;
}

int proxy_lastgood_open(struct fl_span file, struct fl_span node, struct fl_span *ret_rest, struct fl_err *err)
{
    uint64_t hash;
    struct fl_span rest, theirs;
    if (!fl_span_starts_with(file, FL_SPAN(MAGIC)))
        return fl_err_set(err, -EBADMSG, "of another format");
    rest = fl_span_from(file, sizeof(MAGIC) - 1);
    if (!take_number(&rest, 8, &hash) || hash != fl_siphash_keyed(key, 2, 4, rest) || !take_span(&rest, 4, &theirs))
        return fl_err_set(err, -EBADMSG, "cut or changed");
    if (!fl_span_eq(theirs, node))
        return fl_err_set(err, -ESTALE, "of another node or control plane");
    struct proxy_lastgood_record record;
    struct fl_span walk = rest;
    while (proxy_lastgood_next(&walk, &record)) {
    }
    if (walk.len > 0)
        return fl_err_set(err, -EBADMSG, "malformed");
    *ret_rest = rest;
    return 0;
}

/* --- the file --------------------------------------------------------------------------------------------------- */

static int path_of(const char *folder, const char *suffix, char path[PATH_MAX], struct fl_err *err)
{
    int len = snprintf(path, PATH_MAX, "%s/" PROXY_LASTGOOD_FILE "%s", folder, suffix);
    return len > 0 && len < PATH_MAX ? 0 : fl_err_set(err, -ENAMETOOLONG, "%s: the path is too long", folder);
}

int proxy_lastgood_load(const char *folder, struct fl_buf *file, struct fl_err *err)
{
    char path[PATH_MAX];
    int result = path_of(folder, "", path, err);
    if (result != 0)
        return result;
    FL_CLEANUP(fl_cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        return fl_err_errno(err, -errno, "cannot read %s", path);
    if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 0077) != 0)
        return fl_err_set(err, -EPERM, "%s is not a file of ours alone (0600)", path);
    result = fl_buf_read_fd(file, fd);
    return result == 0 ? 0 : fl_err_errno(err, result, "cannot read %s", path);
}

static int write_all(int fd, struct fl_span bytes)
{
    while (bytes.len > 0) {
        ssize_t wrote = write(fd, bytes.data, bytes.len);
        if (wrote < 0 && errno != EINTR)
            return -errno;
        if (wrote > 0)
            bytes = fl_span_from(bytes, (size_t)wrote);
    }
    return 0;
}

int proxy_lastgood_save(const char *folder, struct fl_span file, struct fl_err *err)
{
    char path[PATH_MAX], fresh[PATH_MAX];
    int result = path_of(folder, "", path, err);
    if (result == 0)
        result = path_of(folder, ".new", fresh, err);
    if (result != 0)
        return result;
    (void)unlink(fresh); /* of a life that ended while it wrote */
    FL_CLEANUP(fl_cleanup_close) int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fl_err_errno(err, -errno, "cannot write %s", fresh);
    result = write_all(fd, file);
    if (result == 0 && rename(fresh, path) != 0)
        result = -errno;
    if (result == 0)
        return 0;
    (void)unlink(fresh);
    return fl_err_errno(err, result, "cannot write %s", path);
}

void proxy_lastgood_remove(const char *folder)
{
    char path[PATH_MAX];
    if (path_of(folder, "", path, NULL) == 0)
        (void)unlink(path);
}
