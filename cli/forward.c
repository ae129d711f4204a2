#include "cli/forward.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define ARGUMENTS_MAX 24
#define TEXT_MAX      512

bool cli_forward_read(struct fl_span line, uint16_t *ret_local, uint16_t *ret_remote)
{
    static const char lead[] = "Forwarding from 127.0.0.1:";
    struct fl_span local;
    uint64_t from, to;
    if (!fl_span_starts_with(line, FL_SPAN("Forwarding from 127.0.0.1:")))
        return false;
    line = fl_span_from(line, sizeof(lead) - 1);
    if (!fl_span_split(&line, ' ', &local) || !fl_span_starts_with(line, FL_SPAN("-> ")) ||
        !fl_span_to_u64(local, UINT16_MAX, &from) || from == 0 ||
        !fl_span_to_u64(fl_span_trim(fl_span_from(line, 3)), UINT16_MAX, &to) || to == 0)
        return false;
    *ret_local = (uint16_t)from;
    *ret_remote = (uint16_t)to;
    return true;
}

/* --- the process ------------------------------------------------------------------------------------------------ */

struct call {
    const char *words[ARGUMENTS_MAX];
    size_t count;
    char name_space[TEXT_MAX], pod[TEXT_MAX], ports[CLI_FORWARD_PORTS_MAX][8];
};

static void add(struct call *call, const char *word)
{
    call->words[call->count++] = word;
}

static int make_call(const struct cli_access *access, struct fl_span name_space, struct fl_span pod,
                     const uint16_t *ports, size_t count, struct call *call, struct fl_err *err)
{
    if (count == 0 || count > CLI_FORWARD_PORTS_MAX || name_space.len == 0 || name_space.len > TEXT_MAX / 2 ||
        pod.len == 0 || pod.len > TEXT_MAX / 2)
        return fl_err_set(err, -EINVAL, "not the name of a pod");
    add(call, access->kubectl != NULL ? access->kubectl : "kubectl");
    if (access->kubeconfig != NULL) {
        add(call, "--kubeconfig");
        add(call, access->kubeconfig);
    }
    if (access->context != NULL) {
        add(call, "--context");
        add(call, access->context);
    }
    (void)snprintf(call->name_space, sizeof(call->name_space), "%.*s", FL_SPAN_ARG(name_space));
    (void)snprintf(call->pod, sizeof(call->pod), "%s%.*s", fl_span_find(pod, '/') < pod.len ? "" : "pod/",
                   FL_SPAN_ARG(pod));
    add(call, "-n");
    add(call, call->name_space);
    add(call, "port-forward");
    add(call, "--address");
    add(call, "127.0.0.1");
    add(call, call->pod);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(call->ports[i], sizeof(call->ports[i]), ":%u", ports[i]);
        add(call, call->ports[i]);
    }
    add(call, NULL);
    return 0;
}

/* In the child: only what is safe there. Its end is told by the status 127. */
static _Noreturn void become(const struct call *call, int out, int err)
{
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
        dup2(err, STDERR_FILENO) >= 0)
        execvp(call->words[0], (char *const *)(uintptr_t)call->words);
    _exit(127);
}

static int start(const struct call *call, struct cli_forward *forward)
{
    int out[2], err[2];
    if (pipe2(out, O_CLOEXEC) < 0)
        return -errno;
    if (pipe2(err, O_CLOEXEC) < 0) {
        int result = -errno;
        close(out[0]);
        close(out[1]);
        return result;
    }
    pid_t pid = fork();
    int result = pid < 0 ? -errno : 0;
    if (pid == 0)
        become(call, out[1], err[1]);
    close(out[1]);
    close(err[1]);
    if (result < 0) {
        close(out[0]);
        close(err[0]);
        return result;
    }
    *forward = (struct cli_forward){.pid = pid, .out = out[0], .err = err[0]};
    return 0;
}

void cli_forward_close(struct cli_forward *forward)
{
    if (forward->pid <= 0)
        return;
    kill(forward->pid, SIGKILL); /* it has nothing to lose, and might wait for its connections otherwise */
    while (waitpid(forward->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(forward->out);
    close(forward->err);
    *forward = (struct cli_forward){0};
}

/* --- what it says ----------------------------------------------------------------------------------------------- */

struct said {
    char text[CLI_FORWARD_SAID_MAX];
    size_t len;
    bool ended;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void take(int fd, struct said *said)
{
    ssize_t count = read(fd, said->text + said->len, sizeof(said->text) - said->len);
    if (count > 0)
        said->len += (size_t)count;
    if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN) || said->len == sizeof(said->text))
        said->ended = true;
}

/* The lines that are whole: how many of the wanted ports are known. */
static size_t look(const struct said *said, const uint16_t *ports, size_t count, struct cli_forward *forward)
{
    struct fl_span rest = fl_span_make(said->text, said->len), line;
    size_t known = 0;
    while (fl_span_find(rest, '\n') < rest.len && fl_span_split(&rest, '\n', &line)) {
        uint16_t local, remote;
        if (!cli_forward_read(line, &local, &remote))
            continue;
        for (size_t i = 0; i < count; i++)
            if (ports[i] == remote && forward->base[i][0] == '\0') {
                (void)snprintf(forward->base[i], sizeof(forward->base[i]), "127.0.0.1:%u", local);
                break;
            }
    }
    for (size_t i = 0; i < count; i++)
        known += forward->base[i][0] != '\0';
    return known;
}

static int tell_end(struct cli_forward *forward, const struct call *call, const struct said *errors, struct fl_err *err)
{
    int status = 0;
    struct fl_span text = fl_span_make(errors->text, errors->len);
    text.len = fl_span_find(text, '\n');
    while (waitpid(forward->pid, &status, 0) < 0 && errno == EINTR)
        ;
    forward->pid = -1; /* waited for */
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && errors->len == 0)
        return fl_err_set(err, -ENOENT,
                          "%s is not there, and port-forward needs it: expected kubectl in PATH, or --kubectl FILE",
                          call->words[0]);
    if (text.len == 0)
        return fl_err_set(err, -ECONNREFUSED, "kubectl port-forward ended without a word");
    return fl_err_set(err, -ECONNREFUSED, "kubectl port-forward: %.*s", FL_SPAN_ARG(text));
}

static int wait_for_ports(struct cli_forward *forward, const struct call *call, const uint16_t *ports, size_t count,
                          unsigned timeout_ms, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_free) struct said *said = calloc(2, sizeof(*said));
    int64_t end = now_ms() + timeout_ms;
    if (said == NULL)
        return fl_err_errno(err, -ENOMEM, "port-forward");
    while (look(&said[0], ports, count, forward) < count) {
        struct pollfd wanted[] = {{said[0].ended ? -1 : forward->out, POLLIN, 0},
                                  {said[1].ended ? -1 : forward->err, POLLIN, 0}};
        int64_t left = end - now_ms();
        if (said[0].ended && said[1].ended)
            return tell_end(forward, call, &said[1], err);
        if (left <= 0)
            return fl_err_set(err, -ETIMEDOUT, "kubectl port-forward did not listen within %u ms", timeout_ms);
        if (poll(wanted, 2, (int)left) < 0 && errno != EINTR)
            return fl_err_errno(err, -errno, "port-forward");
        for (size_t i = 0; i < 2; i++)
            if (wanted[i].revents != 0)
                take(wanted[i].fd, &said[i]);
    }
    forward->count = count;
    return 0;
}

static void drop(struct cli_forward *forward)
{
    if (forward->pid > 0) {
        cli_forward_close(forward);
        return;
    }
    close(forward->out);
    close(forward->err);
    forward->pid = 0;
}

int cli_forward_open(const struct cli_access *access, struct fl_span name_space, struct fl_span pod,
                     const uint16_t *ports, size_t count, struct cli_forward *ret_forward, struct fl_err *err)
{
    struct cli_forward forward = {0};
    struct call call = {0};
    int result = make_call(access, name_space, pod, ports, count, &call, err);
    if (result < 0)
        return result;
    result = start(&call, &forward);
    if (result < 0)
        return fl_err_errno(err, result, "start %s", call.words[0]);
    result = wait_for_ports(&forward, &call, ports, count,
                            access->timeout_ms != 0 ? access->timeout_ms : CLI_FORWARD_MS, err);
    if (result < 0) {
        drop(&forward);
        (void)fl_err_prefix(err, "pod %.*s/%.*s", FL_SPAN_ARG(name_space), FL_SPAN_ARG(pod));
        return result;
    }
    *ret_forward = forward;
    return 0;
}
