#include "proxy/server/handover.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define FDS_A_MESSAGE 64u
#define FDS_MAX       65536u /* descriptors that are looked at */

enum word { WORD_SOCKETS = 'S', WORD_END = 'E', WORD_READY = 'R' };

struct proxy_handover {
    struct proxy_handover_options options;
    struct fl_source source, peer; /* peer.fd is -1 where nobody is taking over */
    struct sockaddr_un address;
    ino_t inode;
};

static int address_of(const char *folder, struct sockaddr_un *ret_address, struct fl_err *err)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "%s/" PROXY_HANDOVER_FILE, folder);
    if (length < 0 || (size_t)length >= sizeof(ret_address->sun_path) - 4)
        return fl_err_set(err, -ENAMETOOLONG, "%s/" PROXY_HANDOVER_FILE " is too long for a Unix socket", folder);
    return 0;
}

/* Whoever may open the file is of this uid, or root; that it is the same uid is what counts. */
static bool is_ours(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

/* -- messages: a word, with descriptors where it has any -- */

static int send_word(int fd, enum word word, const int *fds, unsigned count)
{
    char byte = (char)word;
    union {
        char room[CMSG_SPACE(FDS_A_MESSAGE * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static int keep_fds(struct msghdr *message, struct proxy_inherited *inherited)
{
    int result = (message->msg_flags & MSG_CTRUNC) != 0 ? -EMFILE : 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
            if (inherited->count < PROXY_INHERITED_MAX)
                inherited->fds[inherited->count++] = fd;
            else
                close(fd);
        }
    }
    return result;
}

/* A word; -ECONNRESET at the end. */
static int receive_word(int fd, struct proxy_inherited *inherited)
{
    char byte = 0;
    union {
        char room[CMSG_SPACE(FDS_A_MESSAGE * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)};
    ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (got < 0)
        return errno == EAGAIN ? -ETIMEDOUT : -errno;
    int result = keep_fds(&message, inherited);
    return result < 0 ? result : got == 0 ? -ECONNRESET : byte;
}

/* -- the new process -- */

static int receive_all(int fd, struct proxy_inherited *inherited)
{
    for (;;) {
        int word = receive_word(fd, inherited);
        if (word == WORD_END)
            return 0;
        if (word != WORD_SOCKETS)
            return word < 0 ? word : -EPROTO;
    }
}

int proxy_handover_take(const char *folder, struct proxy_inherited *ret_inherited, int *ret_fd, struct fl_err *err)
{
    const struct timeval patience = {.tv_sec = PROXY_HANDOVER_WAIT_MS / 1000};
    struct sockaddr_un address;
    FL_CLEANUP(fl_cleanup_close) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ret_inherited->count = 0;
    int result = address_of(folder, &address, err);
    if (result < 0)
        return result;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return fl_err_errno(err, -errno, "connect to %s", address.sun_path);
    if (!is_ours(fd))
        return fl_err_set(err, -EPERM, "%s is served by another user", address.sun_path);
    result = receive_all(fd, ret_inherited);
    if (result < 0) {
        proxy_inherited_done(ret_inherited);
        return fl_err_errno(err, result, "take over from the process at %s", address.sun_path);
    }
    *ret_fd = fl_take_fd(fd);
    return 0;
}

void proxy_handover_ready(int fd)
{
    (void)send_word(fd, WORD_READY, NULL, 0);
    close(fd);
}

/* -- the old process -- */

/* What clients come in by: TCP sockets that listen, UDP ones that are bound and have no peer. */
static bool is_listener(int fd)
{
    int type = 0, listens = 0, domain = 0;
    socklen_t size = sizeof(int);
    struct sockaddr_storage peer;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || (domain != AF_INET && domain != AF_INET6))
        return false;
    size = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
        return false;
    size = sizeof(int);
    if (type == SOCK_STREAM)
        return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0;
    size = sizeof(peer);
    return type == SOCK_DGRAM && getpeername(fd, (struct sockaddr *)&peer, &size) < 0;
}

static int send_listeners(int to)
{
    struct rlimit files;
    int fds[FDS_A_MESSAGE], result = 0;
    unsigned count = 0;
    rlim_t end = getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < FDS_MAX ? files.rlim_cur : FDS_MAX;
    for (int fd = 3; result == 0 && (rlim_t)fd < end; fd++) {
        if (!is_listener(fd))
            continue;
        fds[count++] = fd;
        if (count == FDS_A_MESSAGE) {
            result = send_word(to, WORD_SOCKETS, fds, count);
            count = 0;
        }
    }
    if (result == 0 && count > 0)
        result = send_word(to, WORD_SOCKETS, fds, count);
    return result == 0 ? send_word(to, WORD_END, NULL, 0) : result;
}

static void drop_peer(struct proxy_handover *handover)
{
    int fd = handover->peer.fd;
    if (fd < 0)
        return;
    fl_source_remove(&handover->peer);
    handover->peer.fd = -1;
    close(fd);
}

static void on_peer(struct fl_source *source, uint32_t events)
{
    struct proxy_handover *handover = FL_CONTAINER_OF(source, struct proxy_handover, peer);
    struct proxy_inherited unwanted = {.count = 0};
    (void)events;
    int word = receive_word(source->fd, &unwanted);
    proxy_inherited_done(&unwanted);
    if (word == -ETIMEDOUT || word == -EINTR) /* nothing there after all */
        return;
    drop_peer(handover);
    if (word == WORD_READY)
        handover->options.on_ready(handover->options.owner);
}

/* The newest one counts: who asked before may be gone. */
static void on_connection(struct fl_source *source, uint32_t events)
{
    struct proxy_handover *handover = FL_CONTAINER_OF(source, struct proxy_handover, source);
    FL_CLEANUP(fl_cleanup_close) int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    (void)events;
    if (fd < 0 || !is_ours(fd) || send_listeners(fd) < 0)
        return;
    drop_peer(handover);
    if (fl_source_add(handover->options.loop, &handover->peer, fd, EPOLLIN, on_peer) < 0) {
        handover->peer.fd = -1;
        return;
    }
    (void)fl_take_fd(fd);
}

/* Bound by another name and renamed: whoever connects finds the old process, or the new one. */
static int listen_at(struct proxy_handover *handover, int fd)
{
    struct sockaddr_un fresh = handover->address;
    struct stat about;
    size_t length = strlen(fresh.sun_path);
    snprintf(fresh.sun_path + length, sizeof(fresh.sun_path) - length, ".n");
    (void)unlink(fresh.sun_path);
    if (bind(fd, (const struct sockaddr *)&fresh, sizeof(fresh)) < 0 || chmod(fresh.sun_path, 0600) < 0 ||
        listen(fd, 4) < 0 || stat(fresh.sun_path, &about) < 0 || rename(fresh.sun_path, handover->address.sun_path) < 0)
        return -errno;
    handover->inode = about.st_ino;
    return 0;
}

int proxy_handover_new(const struct proxy_handover_options *options, struct proxy_handover **ret_handover,
                       struct fl_err *err)
{
    struct proxy_handover *handover = calloc(1, sizeof(*handover));
    FL_CLEANUP(fl_cleanup_close) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int result = handover == NULL ? -ENOMEM : fd < 0 ? -errno : 0;
    if (result == 0) {
        handover->options = *options;
        handover->peer.fd = -1;
        result = address_of(options->folder, &handover->address, err);
    }
    if (result == 0)
        result = listen_at(handover, fd);
    if (result == 0)
        result = fl_source_add(options->loop, &handover->source, fd, EPOLLIN, on_connection);
    if (result < 0) {
        free(handover);
        return fl_err_errno(err, result, "listen at %s/" PROXY_HANDOVER_FILE, options->folder);
    }
    (void)fl_take_fd(fd);
    *ret_handover = handover;
    return 0;
}

struct proxy_handover *proxy_handover_free(struct proxy_handover *handover)
{
    struct stat about;
    if (handover == NULL)
        return NULL;
    drop_peer(handover);
    int fd = handover->source.fd;
    fl_source_remove(&handover->source);
    close(fd);
    if (stat(handover->address.sun_path, &about) == 0 && about.st_ino == handover->inode)
        (void)unlink(handover->address.sun_path);
    free(handover);
    return NULL;
}
