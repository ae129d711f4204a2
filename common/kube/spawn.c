#include "common/kube/spawn.h"

#include "common/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define INFO     "KUBERNETES_EXEC_INFO="
#define INFO_MAX (4u << 20)

/* What the child becomes, made before it is born: in it memory must not be asked for. */
struct birth {
    char path[PATH_MAX];
    char **argv; /* borrowed texts */
    char **envp; /* the same, but for `info` */
    char *info;
    bool interactive;
};

static void birth_done(struct birth *birth)
{
    free(birth->argv);
    free(birth->envp);
    free(birth->info);
}

/* ---- Before ---- */

static bool is_program(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

/* Folders of PATH that are not absolute are left out: what lies in the folder that one happens to stand in is not
 * meant. */
static int find_program(const struct fl_kube_plugin *plugin, struct birth *birth, struct fl_err *err)
{
    struct fl_span rest = fl_span_str(getenv("PATH")), folder;
    const char *hint =
        plugin->install_hint != NULL ? plugin->install_hint : "install it, or have the kubeconfig name it";
    if (strchr(plugin->command, '/') != NULL) {
        if ((size_t)snprintf(birth->path, sizeof(birth->path), "%s", plugin->command) >= sizeof(birth->path))
            return fl_err_set(err, -EACCES, "expected a path shorter than %d bytes", PATH_MAX);
        return is_program(birth->path)
                   ? 0
                   : fl_err_set(err, -EACCES, "is not a program that may be started here: %s", hint);
    }
    while (fl_span_split(&rest, ':', &folder)) {
        if (folder.len == 0 || folder.data[0] != '/' ||
            (size_t)snprintf(birth->path, sizeof(birth->path), "%.*s/%s", FL_SPAN_ARG(folder), plugin->command) >=
                sizeof(birth->path))
            continue;
        if (is_program(birth->path))
            return 0;
    }
    return fl_err_set(err, -EACCES, "is in no folder of PATH: %s", hint);
}

static int make_info(const struct fl_kube_plugin *plugin, struct birth *birth)
{
    struct fl_buf text;
    fl_buf_init(&text, INFO_MAX);
    int result = fl_buf_append_str(&text, INFO "{\"kind\":\"ExecCredential\",\"apiVersion\":");
    if (result == 0)
        result = fl_buf_append_json_string(&text, fl_span_str(plugin->api_version));
    if (result == 0)
        result = fl_buf_append_str(&text, ",\"spec\":{");
    if (result == 0 && plugin->cluster != NULL)
        result = fl_buf_printf(&text, "\"cluster\":%s,", plugin->cluster);
    if (result == 0)
        result = fl_buf_printf(&text, "\"interactive\":%s}}", birth->interactive ? "true" : "false");
    birth->info = result == 0 ? fl_span_dup(fl_buf_span(&text)) : NULL;
    fl_buf_done(&text);
    return birth->info != NULL ? 0 : -ENOMEM;
}

static bool is_same_name(const char *one, const char *two)
{
    size_t len = strcspn(one, "=");
    return strncmp(one, two, len) == 0 && two[len] == '=';
}

/* Whether a later word of `words` (NULL: none), or what is told of the cluster, says the same variable. */
static bool is_said(const char *variable, char *const *words, size_t from, size_t count)
{
    if (is_same_name(INFO, variable))
        return true;
    for (size_t i = from; i < count; i++) {
        if (is_same_name(words[i], variable))
            return true;
    }
    return false;
}

static int make_words(const struct fl_kube_plugin *plugin, struct birth *birth)
{
    size_t own = 0, count = 0;
    while (environ[own] != NULL)
        own++;
    birth->argv = calloc(plugin->arg_count + 2, sizeof(*birth->argv));
    birth->envp = calloc(own + plugin->env_count + 2, sizeof(*birth->envp));
    if (birth->argv == NULL || birth->envp == NULL)
        return -ENOMEM;
    birth->argv[0] = plugin->command;
    for (size_t i = 0; i < plugin->arg_count; i++)
        birth->argv[i + 1] = plugin->args[i];
    for (size_t i = 0; i < own; i++) {
        if (!is_said(environ[i], plugin->env, 0, plugin->env_count))
            birth->envp[count++] = environ[i];
    }
    for (size_t i = 0; i < plugin->env_count; i++) {
        if (!is_said(plugin->env[i], plugin->env, i + 1, plugin->env_count))
            birth->envp[count++] = plugin->env[i];
    }
    birth->envp[count] = birth->info;
    return 0;
}

static int prepare(const struct fl_kube_starter *starter, const struct fl_kube_plugin *plugin, struct birth *birth,
                   struct fl_err *err)
{
    birth->interactive = starter->interactive && plugin->mode != FL_KUBE_PLUGIN_NEVER && isatty(STDIN_FILENO) == 1;
    if (plugin->mode == FL_KUBE_PLUGIN_ALWAYS && !birth->interactive)
        return fl_err_set(err, -EACCES,
                          "wants to ask a person (interactiveMode: Always): expected a terminal as stdin");
    int result = find_program(plugin, birth, err);
    if (result < 0)
        return result;
    result = make_info(plugin, birth);
    if (result == 0)
        result = make_words(plugin, birth);
    return result < 0 ? fl_err_errno(err, result, "is not started") : 0;
}

/* ---- The child ---- */

/* Only what is safe after fork. That there is no program any more is told through `report`, which exec closes. */
static _Noreturn void become(const struct birth *birth, pid_t parent, int out, int report)
{
    sigset_t none;
    int nothing = birth->interactive ? STDIN_FILENO : open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing == STDIN_FILENO) /* ours was closed: it is to outlive the exec */
        fcntl(STDIN_FILENO, F_SETFD, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent && nothing >= 0 && (nothing == STDIN_FILENO || dup2(nothing, STDIN_FILENO) >= 0) &&
        dup2(out, STDOUT_FILENO) >= 0) {
        close_range(STDERR_FILENO + 1, ~0u,
                    CLOSE_RANGE_CLOEXEC); /* ours are so already; who started us may have more */
        sigemptyset(&none);
        signal(SIGPIPE, SIG_DFL);
        signal(SIGCHLD, SIG_DFL); /* it may start programs, too */
        sigprocmask(SIG_SETMASK, &none, NULL);
        execve(birth->path, birth->argv, birth->envp);
    }
    int why = errno;
    while (write(report, &why, sizeof(why)) < 0 && errno == EINTR)
        ;
    _exit(127);
}

struct child {
    pid_t pid;
    int out, handle, report; /* -1: not open */
};

static void close_child(struct child *child)
{
    int *fds[] = {&child->out, &child->handle, &child->report};
    for (size_t i = 0; i < FL_COUNT(fds); i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

/* Pipes whose ends are beyond the standard three, whatever of those is closed here. */
static int open_pipe(int ends[2])
{
    int made[2];
    if (pipe2(made, O_CLOEXEC) < 0)
        return -errno;
    for (size_t i = 0; i < 2; i++)
        ends[i] = fcntl(made[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int result = ends[0] < 0 || ends[1] < 0 ? -errno : 0;
    close(made[0]);
    close(made[1]);
    if (result == 0)
        return 0;
    for (size_t i = 0; i < 2; i++) {
        if (ends[i] >= 0)
            close(ends[i]);
    }
    return result;
}

static int give_birth(const struct birth *birth, struct child *child)
{
    int out[2], report[2];
    int result = open_pipe(out);
    if (result < 0)
        return result;
    result = open_pipe(report);
    if (result < 0) {
        close(out[0]);
        close(out[1]);
        return result;
    }
    pid_t parent = getpid(), pid = fork();
    result = pid < 0 ? -errno : 0;
    if (pid == 0)
        become(birth, parent, out[1], report[1]);
    close(out[1]);
    close(report[1]);
    *child = (struct child){.pid = pid, .out = out[0], .handle = -1, .report = report[0]};
    return result;
}

/* 0 where it is another program by now, else why it is not. */
static int hear_start(struct child *child)
{
    int why = 0;
    ssize_t count;
    while ((count = read(child->report, &why, sizeof(why))) < 0 && errno == EINTR)
        ;
    return count == (ssize_t)sizeof(why) ? -why : 0;
}

/* ---- What it says ---- */

/* 1: more may come, 0: that was all, or why not. */
static int take(int fd, struct fl_buf *said)
{
    size_t room = said->max - said->len;
    char beyond;
    ssize_t count = room > 0 ? read(fd, said->data + said->len, room) : read(fd, &beyond, 1);
    if (count < 0)
        return errno == EINTR || errno == EAGAIN ? 1 : -errno;
    if (room == 0 && count > 0)
        return -EMSGSIZE;
    said->len += (size_t)count;
    return count > 0;
}

/* What is there of a child that has ended: another process may hold the pipe for ever. */
static int take_rest(int fd, struct fl_buf *said)
{
    struct pollfd wanted = {fd, POLLIN, 0};
    int result = 1;
    while (result > 0 && poll(&wanted, 1, 0) > 0)
        result = take(fd, said);
    return result < 0 ? result : 0;
}

static int listen_to(struct child *child, unsigned timeout_ms, struct fl_buf *said)
{
    uint64_t end = fl_boot_ms() + timeout_ms;
    bool closed = false;
    for (;;) {
        struct pollfd wanted[] = {{child->handle, POLLIN, 0}, {closed ? -1 : child->out, POLLIN, 0}};
        uint64_t now = fl_boot_ms();
        if (now >= end)
            return -ETIMEDOUT;
        int count = poll(wanted, 2, end - now < INT_MAX ? (int)(end - now) : INT_MAX);
        if (count < 0 && errno != EINTR)
            return -errno;
        if (count <= 0)
            continue;
        if (wanted[0].revents != 0)
            return closed ? 0 : take_rest(child->out, said);
        int result = take(child->out, said);
        if (result < 0)
            return result;
        closed = result == 0;
    }
}

static int reap(struct child *child, bool kill_it)
{
    int status = 0;
    if (kill_it)
        kill(child->pid, SIGKILL);
    while (waitpid(child->pid, &status, 0) < 0) {
        if (errno != EINTR)
            return 0; /* somebody who started us wants no word of children: what was said counts */
    }
    return status;
}

static int judge(int result, int status, const struct fl_buf *said, unsigned timeout_ms, struct fl_err *err)
{
    if (result == -ETIMEDOUT)
        return fl_err_set(err, result, "gave no ExecCredential within %u s", (timeout_ms + 999) / 1000);
    if (result == -EMSGSIZE)
        return fl_err_set(err, -EACCES, "printed more than %zu bytes: expected one ExecCredential", said->max);
    if (result < 0)
        return fl_err_set(err, -EACCES, "could not be heard: %s", strerrordesc_np(-result));
    if (WIFSIGNALED(status))
        return fl_err_set(err, -EACCES, "was ended by signal %d: expected an ExecCredential and status 0",
                          WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return fl_err_set(err, -EACCES,
                          "ended with status %d: expected an ExecCredential and status 0 (what it says of it is on "
                          "stderr)",
                          WEXITSTATUS(status));
    return 0;
}

static int run(const struct birth *birth, unsigned timeout_ms, struct fl_buf *said, struct fl_err *err)
{
    struct child child = {.out = -1, .handle = -1, .report = -1};
    int result = give_birth(birth, &child);
    if (result < 0) {
        close_child(&child);
        return fl_err_set(err, -EACCES, "is not started: %s", strerrordesc_np(-result));
    }
    result = hear_start(&child);
    if (result < 0) {
        close_child(&child);
        reap(&child, false);
        return fl_err_set(err, -EACCES, "cannot be started: %s", strerrordesc_np(-result));
    }
    child.handle = pidfd_open(child.pid, 0);
    if (child.handle >= 0)
        result = listen_to(&child, timeout_ms, said);
    else /* it has ended, and who started us wants no word of children: nothing is left of it but what it said */
        result = errno == ESRCH ? take_rest(child.out, said) : -errno;
    int status = reap(&child, result < 0);
    close_child(&child);
    return judge(result, status, said, timeout_ms, err);
}

int fl_kube_spawn(const struct fl_kube_starter *starter, const struct fl_kube_plugin *plugin,
                  struct fl_kube_plugin_answer *ret_answer, struct fl_err *err)
{
    struct birth birth = {.argv = NULL};
    struct fl_buf said;
    fl_buf_init(&said, FL_KUBE_PLUGIN_SAID_MAX);
    int result = prepare(starter, plugin, &birth, err);
    if (result == 0 && (result = fl_buf_reserve(&said, FL_KUBE_PLUGIN_SAID_MAX)) < 0)
        (void)fl_err_errno(err, result, "is not started");
    if (result == 0)
        result = run(&birth, starter->timeout_ms > 0 ? starter->timeout_ms : FL_KUBE_PLUGIN_MS, &said, err);
    if (result == 0 && (result = fl_kube_plugin_read(plugin, fl_buf_span(&said), ret_answer, err)) < 0)
        (void)fl_err_prefix(err, "printed something else");
    birth_done(&birth);
    fl_buf_wipe(&said);
    if (result < 0)
        (void)fl_err_prefix(err, "user \"%s\", exec \"%s\"", plugin->user, plugin->command);
    return result;
}
