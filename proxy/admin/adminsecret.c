#include "proxy/admin/adminsecret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static bool is_secret(const char *text)
{
    return strspn(text, "0123456789abcdef") == PROXY_ADMIN_SECRET_LENGTH && strlen(text) == PROXY_ADMIN_SECRET_LENGTH;
}

static int write_file(const char *path, const char *text)
{
    (void)unlink(path); /* of a process that ended in between; nobody else writes here */
    FL_CLEANUP(fl_cleanup_close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    ssize_t size = (ssize_t)strlen(text);
    ssize_t wrote = write(fd, text, (size_t)size);
    return wrote == size ? 0 : wrote < 0 ? -errno : -ENOSPC;
}

static int put(const char *folder, const char *text)
{
    char path[PATH_MAX], fresh[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/" PROXY_ADMIN_SECRET_FILE, folder);
    int more = snprintf(fresh, sizeof(fresh), "%s/." PROXY_ADMIN_SECRET_FILE ".%d", folder, (int)getpid());
    if (length < 0 || length >= PATH_MAX || more < 0 || more >= PATH_MAX)
        return -ENAMETOOLONG;
    int result = write_file(fresh, text);
    if (result == 0 && rename(fresh, path) < 0)
        result = -errno;
    if (result < 0)
        (void)unlink(fresh);
    return result;
}

int proxy_admin_secret_make(const char *folder, struct proxy_admin_secret *ret_secret, struct fl_err *err)
{
    unsigned char bytes[PROXY_ADMIN_SECRET_LENGTH / 2];
    struct proxy_admin_secret secret = {0};
    int result = getrandom(bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes) ? 0 : -EIO;
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(secret.text + 2 * i, 3, "%02x", bytes[i]);
    if (result == 0)
        result = put(folder, secret.text);
    explicit_bzero(bytes, sizeof(bytes));
    if (result < 0)
        return fl_err_errno(err, result, "write %s/" PROXY_ADMIN_SECRET_FILE, folder);
    *ret_secret = secret;
    return 0;
}

int proxy_admin_secret_read(const char *folder, struct proxy_admin_secret *ret_secret, struct fl_err *err)
{
    char path[PATH_MAX];
    struct proxy_admin_secret secret = {0};
    snprintf(path, sizeof(path), "%s/" PROXY_ADMIN_SECRET_FILE, folder);
    FL_CLEANUP(fl_cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return fl_err_errno(err, -errno, "read %s", path);
    ssize_t got = read(fd, secret.text, PROXY_ADMIN_SECRET_LENGTH);
    if (got != (ssize_t)PROXY_ADMIN_SECRET_LENGTH || !is_secret(secret.text))
        return fl_err_set(err, -EPROTO, "%s holds no secret of an admin port", path);
    *ret_secret = secret;
    return 0;
}

bool proxy_admin_secret_matches(const struct proxy_admin_secret *secret, struct fl_span shown)
{
    volatile unsigned char differs = 0;
    if (secret->text[0] == '\0' || shown.len != PROXY_ADMIN_SECRET_LENGTH)
        return false;
    for (size_t i = 0; i < PROXY_ADMIN_SECRET_LENGTH; i++)
        differs = (unsigned char)(differs | (unsigned char)(secret->text[i] ^ shown.data[i]));
    return differs == 0;
}
