#include "control/ca/storage.h"

#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/loop/timer.h"
#include "control/ca/spawn.h"
#include "control/ca/stored.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEARD_MAX     4096
#define ARGUMENTS_MAX 32

struct control_storage {
    struct fl_loop *loop;
    char *program, *folder, *name_space, *secret, *cacerts, *kubeconfig, *context;
    uint32_t overlap_s, validity_s, root_life_s, look_ms;
    void (*on_changed)(void *owner);
    void (*on_trouble)(void *owner, const char *reason);
    void *owner;
    pid_t pid; /* 0: none */
    int pidfd, channel;
    struct fl_source dying, talking;
    struct fl_buf heard;
    struct fl_timer retry;
    unsigned failures; /* in a row */
    struct fl_deferred deferred;
};

static void on_retry(struct fl_timer *timer);

/* --- the courier --- */

static void reap(struct control_storage *storage)
{
    fl_source_remove(&storage->dying);
    fl_source_remove(&storage->talking);
    if (storage->pid > 0) {
        kill(storage->pid, SIGKILL);
        waitpid(storage->pid, NULL, 0);
    }
    storage->pid = 0;
    if (storage->pidfd >= 0)
        close(fl_take_fd(storage->pidfd));
    if (storage->channel >= 0)
        close(fl_take_fd(storage->channel));
    fl_buf_clear(&storage->heard);
}

static void restart_later(struct control_storage *storage, const char *reason)
{
    uint64_t delay = (uint64_t)CONTROL_STORAGE_BACKOFF_MS << (storage->failures < 16 ? storage->failures : 16);
    reap(storage);
    storage->failures++;
    fl_timer_set(storage->loop, &storage->retry,
                 delay < CONTROL_STORAGE_BACKOFF_MAX_MS ? delay : CONTROL_STORAGE_BACKOFF_MAX_MS, on_retry);
    if (reason != NULL)
        storage->on_trouble(storage->owner, reason);
}

static void take_line(struct control_storage *storage, struct fl_span line)
{
    const struct fl_span trouble = FL_SPAN("trouble ");
    char reason[HEARD_MAX];
    if (fl_span_eq_str(line, "changed")) {
        storage->failures = 0;
        storage->on_changed(storage->owner);
    } else if (fl_span_eq_str(line, "well")) {
        storage->on_trouble(storage->owner, NULL);
    } else if (fl_span_starts_with(line, trouble)) {
        snprintf(reason, sizeof(reason), "%.*s", FL_SPAN_ARG(fl_span_from(line, trouble.len)));
        storage->on_trouble(storage->owner, reason);
    }
}

static void take_lines(struct control_storage *storage)
{
    struct fl_span rest = fl_buf_span(&storage->heard);
    const char *end;
    while (rest.len > 0 && (end = memchr(rest.data, '\n', rest.len)) != NULL) {
        struct fl_span line = fl_span_make(rest.data, (size_t)(end - rest.data));
        rest = fl_span_from(rest, line.len + 1);
        take_line(storage, line);
    }
    fl_buf_consume(&storage->heard, storage->heard.len - rest.len);
}

static void on_talk(struct fl_source *source, uint32_t events)
{
    struct control_storage *storage = FL_CONTAINER_OF(source, struct control_storage, talking);
    char bytes[1024];
    (void)events;
    ssize_t count = read(storage->channel, bytes, sizeof(bytes));
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count <= 0 || fl_buf_append(&storage->heard, fl_span_make(bytes, (size_t)count)) < 0)
        restart_later(storage, count == 0 ? NULL : "what the courier says cannot be heard");
    else
        take_lines(storage);
}

static void on_dead(struct fl_source *source, uint32_t events)
{
    struct control_storage *storage = FL_CONTAINER_OF(source, struct control_storage, dying);
    (void)events;
    char bytes[1024];
    ssize_t count; /* its last words */
    while ((count = read(storage->channel, bytes, sizeof(bytes))) > 0 &&
           fl_buf_append(&storage->heard, fl_span_make(bytes, (size_t)count)) == 0)
        take_lines(storage);
    restart_later(storage, "the courier ended");
}

static size_t add(char **arguments, size_t at, const char *option, char *value)
{
    if (value == NULL)
        return at;
    arguments[at] = (char *)(uintptr_t)option;
    arguments[at + 1] = value;
    return at + 2;
}

/* Nothing of our environment but where the API server is. */
static int start(struct control_storage *storage)
{
    char numbers[4][16], host[280] = "", port[64] = "", channel[16];
    char program[] = "fairlead-control", command[] = "courier";
    char *arguments[ARGUMENTS_MAX] = {program, command}, *environment[3] = {NULL};
    const char *api_host = getenv("KUBERNETES_SERVICE_HOST"), *api_port = getenv("KUBERNETES_SERVICE_PORT");
    const uint32_t values[] = {storage->overlap_s, storage->validity_s, storage->root_life_s, storage->look_ms};
    size_t at = 2;
    for (size_t i = 0; i < FL_COUNT(values); i++)
        snprintf(numbers[i], sizeof(numbers[i]), "%u", values[i]);
    snprintf(channel, sizeof(channel), "%d", CONTROL_SPAWN_CHANNEL);
    at = add(arguments, at, "--channel", channel);
    at = add(arguments, at, "--folder", storage->folder);
    at = add(arguments, at, "--namespace", storage->name_space);
    at = add(arguments, at, "--secret", storage->secret);
    at = add(arguments, at, "--cacerts", storage->cacerts);
    at = add(arguments, at, "--kubeconfig", storage->kubeconfig);
    at = add(arguments, at, "--context", storage->context);
    at = add(arguments, at, "--overlap", numbers[0]);
    at = add(arguments, at, "--validity", numbers[1]);
    at = add(arguments, at, "--root-life", numbers[2]);
    at = add(arguments, at, "--look", numbers[3]);
    arguments[at] = NULL;
    if (api_host != NULL && api_port != NULL) {
        snprintf(host, sizeof(host), "KUBERNETES_SERVICE_HOST=%s", api_host);
        snprintf(port, sizeof(port), "KUBERNETES_SERVICE_PORT=%s", api_port);
        environment[0] = host;
        environment[1] = port;
    }
    int result =
        control_spawn(storage->program, arguments, environment, &storage->pid, &storage->pidfd, &storage->channel);
    if (result == 0)
        result = fl_source_add(storage->loop, &storage->dying, storage->pidfd, EPOLLIN, on_dead);
    if (result == 0)
        result = fl_source_add(storage->loop, &storage->talking, storage->channel, EPOLLIN, on_talk);
    return result;
}

static void on_retry(struct fl_timer *timer)
{
    struct control_storage *storage = FL_CONTAINER_OF(timer, struct control_storage, retry);
    struct fl_err err = {0};
    int result = start(storage);
    if (result < 0) {
        fl_err_errno(&err, result, "the courier cannot be started");
        restart_later(storage, err.text);
    }
}

void control_storage_look(struct control_storage *storage)
{
    if (storage->channel >= 0 && send(storage->channel, "l", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        /* it ends: the next one looks anyway */
    }
}

/* --- its life --- */

static int make_folder(const char *wanted, char **ret_folder, struct fl_err *err)
{
    bool mounted = access("/run/fairlead", W_OK | X_OK) == 0; /* as the chart has it, in memory too */
    char *folder = strdup(wanted != NULL ? wanted
                          : mounted      ? "/run/fairlead/ca-XXXXXX"
                                         : "/dev/shm/fairlead-ca-XXXXXX");
    if (folder == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    int result = 0;
    if (wanted == NULL)
        result = mkdtemp(folder) == NULL ? -errno : 0;
    else if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        result = -errno;
    if (result < 0) {
        fl_err_errno(err, result, "a folder in memory for the certificate authority: %s", folder);
        free(folder);
        return result;
    }
    *ret_folder = folder;
    return 0;
}

static bool copy(const char *text, char **ret_copy)
{
    *ret_copy = text != NULL ? strdup(text) : NULL;
    return (*ret_copy == NULL) == (text == NULL);
}

static void run_release(struct fl_deferred *deferred)
{
    struct control_storage *storage = FL_CONTAINER_OF(deferred, struct control_storage, deferred);
    char *texts[] = {storage->program, storage->folder,     storage->name_space, storage->secret,
                     storage->cacerts, storage->kubeconfig, storage->context};
    for (size_t i = 0; i < FL_COUNT(texts); i++)
        free(texts[i]);
    fl_buf_done(&storage->heard);
    free(storage);
}

/* Names alone: nothing is read. */
static void remove_folder(const struct control_storage *storage)
{
    char path[PATH_MAX];
    if (storage->folder == NULL)
        return;
    for (size_t i = 0; i <= CONTROL_STORED_FILES; i++) {
        const char *name = i < CONTROL_STORED_FILES ? control_stored_name(i) : CONTROL_GIVEN_SINCE;
        if (fl_file_path(storage->folder, name, path, NULL) == 0)
            unlink(path);
    }
    rmdir(storage->folder);
}

int control_storage_new(const struct control_storage_options *options, struct control_storage **ret_storage,
                        struct fl_err *err)
{
    struct control_storage *storage = calloc(1, sizeof(*storage));
    if (storage == NULL)
        return fl_err_set(err, -ENOMEM, "the certificate authority: out of memory");
    *storage = (struct control_storage){.loop = options->loop,
                                        .overlap_s = options->overlap_s,
                                        .validity_s = options->validity_s,
                                        .root_life_s = options->root_life_s,
                                        .look_ms = options->look_ms > 0 ? options->look_ms : CONTROL_STORAGE_LOOK_MS,
                                        .on_changed = options->on_changed,
                                        .on_trouble = options->on_trouble,
                                        .owner = options->owner,
                                        .pidfd = -1,
                                        .channel = -1};
    fl_buf_init(&storage->heard, HEARD_MAX);
    bool good = copy(options->program != NULL ? options->program : "/proc/self/exe", &storage->program) &&
                copy(options->name_space, &storage->name_space) && copy(options->secret, &storage->secret) &&
                copy(options->cacerts, &storage->cacerts) && copy(options->kubeconfig, &storage->kubeconfig) &&
                copy(options->context, &storage->context);
    int result = good ? make_folder(options->folder, &storage->folder, err)
                      : fl_err_set(err, -ENOMEM, "the certificate authority: out of memory");
    if (result < 0) {
        run_release(&storage->deferred);
        return result;
    }
    fl_timer_set(storage->loop, &storage->retry, 0, on_retry);
    *ret_storage = storage;
    return 0;
}

struct control_storage *control_storage_free(struct control_storage *storage)
{
    if (storage == NULL)
        return NULL;
    fl_timer_cancel(&storage->retry);
    reap(storage);
    remove_folder(storage);
    fl_loop_defer(storage->loop, &storage->deferred, run_release);
    return NULL;
}

const char *control_storage_folder(const struct control_storage *storage)
{
    return storage->folder;
}

pid_t control_storage_pid(const struct control_storage *storage)
{
    return storage->pid;
}
