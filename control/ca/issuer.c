#include "control/ca/issuer.h"

#include "common/loop/timer.h"
#include "control/ca/channel.h"
#include "control/ca/signer.h"
#include "control/ca/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define ARGUMENTS_MAX (16 + 2 * CONTROL_SIGNER_NAMES_MAX)
#define READ_SIZE     65536

enum child_state {
    CHILD_STARTING, /* to say READY or FAILED */
    CHILD_READY,
    CHILD_RETIRED, /* another one took its place: it ends with its last answer */
    CHILD_GONE,    /* killed, or died; until the kernel lets go of it */
};

struct control_child {
    struct control_issuer *issuer;
    struct control_child *next; /* of the issuer's children */
    enum child_state state;
    pid_t pid;
    int pidfd, channel;
    struct fl_source dying, talking; /* pidfd; channel */
    struct fl_buf in, out;
    struct fl_hook flush;
    struct fl_timer deadline; /* of READY, then of the oldest answer */
    struct control_issue *first, *last;
    size_t waiting; /* answers to come, those to cancelled requests included */
    uint32_t next_id, expected_id;
    struct fl_deferred deferred;
};

struct control_issuer {
    struct fl_loop *loop;
    char *program, *folder, *trust_domain;
    char *server_names[CONTROL_SIGNER_NAMES_MAX + 1];
    bool given, stored;
    uint32_t validity_s, overlap_s;
    void (*on_ready)(void *owner, const struct control_issuer_standing *standing);
    void (*on_trouble)(void *owner, const char *reason);
    void *owner;
    struct control_child *children; /* every one that the kernel still has */
    struct control_child *current;  /* READY; NULL: none */
    struct control_child *coming;   /* STARTING; NULL: none */
    struct fl_timer retry;
    unsigned failures; /* in a row */
    bool stopped;      /* freed: no callback any more */
    struct fl_deferred deferred;
};

static void start_child(struct control_issuer *issuer);

/* --- the end of a child --- */

static void free_child(struct control_child *child)
{
    fl_source_remove(&child->dying);
    fl_source_remove(&child->talking);
    fl_hook_disarm(&child->flush);
    fl_timer_cancel(&child->deadline);
    if (child->channel >= 0)
        close(child->channel);
    if (child->pidfd >= 0)
        close(child->pidfd);
    fl_buf_done(&child->in);
    fl_buf_done(&child->out);
    free(child);
}

static void run_free_child(struct fl_deferred *deferred)
{
    free_child(FL_CONTAINER_OF(deferred, struct control_child, deferred));
}

static void unlink_child(struct control_child *child)
{
    struct control_child **link = &child->issuer->children;
    while (*link != child)
        link = &(*link)->next;
    *link = child->next;
}

static void unlink_issue(struct control_issue *issue)
{
    struct control_child *child = issue->child;
    *(issue->previous != NULL ? &issue->previous->next : &child->first) = issue->next;
    *(issue->next != NULL ? &issue->next->previous : &child->last) = issue->previous;
    issue->next = issue->previous = NULL;
    issue->child = NULL;
}

static void drop_issues(struct control_child *child, bool tell)
{
    while (child->first != NULL) {
        struct control_issue *issue = child->first;
        unlink_issue(issue);
        if (tell)
            issue->on_done(issue, CONTROL_ISSUE_UNAVAILABLE, NULL, "the issuer went away");
    }
}

static void close_child(struct control_child *child)
{
    child->state = CHILD_GONE;
    fl_timer_cancel(&child->deadline);
    fl_hook_disarm(&child->flush);
    fl_source_remove(&child->talking);
    close(fl_take_fd(child->channel));
    if (child->pid > 0) /* not waited for yet: the number is its own */
        kill(child->pid, SIGKILL);
}

static void on_retry(struct fl_timer *timer)
{
    start_child(FL_CONTAINER_OF(timer, struct control_issuer, retry));
}

static void retry_later(struct control_issuer *issuer)
{
    unsigned doublings = issuer->failures < 16 ? issuer->failures : 16;
    uint64_t delay = (uint64_t)CONTROL_ISSUER_BACKOFF_MS << doublings;
    issuer->failures++;
    fl_timer_set(issuer->loop, &issuer->retry,
                 delay < CONTROL_ISSUER_BACKOFF_MAX_MS ? delay : CONTROL_ISSUER_BACKOFF_MAX_MS, on_retry);
}

static void fail_child(struct control_child *child, const char *reason)
{
    struct control_issuer *issuer = child->issuer;
    bool expected = child->state == CHILD_RETIRED && child->waiting == 0;
    if (child->state == CHILD_GONE)
        return;
    close_child(child);
    if (issuer->current == child)
        issuer->current = NULL;
    if (issuer->coming == child)
        issuer->coming = NULL;
    if (issuer->current == NULL && issuer->coming == NULL)
        retry_later(issuer);
    drop_issues(child, true);
    if (!expected && !issuer->stopped)
        issuer->on_trouble(issuer->owner, reason);
}

/* --- talking to it --- */

static void on_deadline(struct fl_timer *timer)
{
    struct control_child *child = FL_CONTAINER_OF(timer, struct control_child, deadline);
    fail_child(child, child->state == CHILD_STARTING ? "the issuer did not start in time"
                                                     : "the issuer did not answer in time");
}

static void set_deadline(struct control_child *child)
{
    if (child->waiting > 0)
        fl_timer_set(child->issuer->loop, &child->deadline, CONTROL_ISSUER_ANSWER_MS, on_deadline);
    else
        fl_timer_cancel(&child->deadline);
}

static int write_some(struct control_child *child)
{
    while (child->out.len > 0) {
        ssize_t count = send(child->channel, child->out.data, child->out.len, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            break;
        if (count < 0)
            return -errno;
        fl_buf_consume(&child->out, (size_t)count);
    }
    return fl_source_modify(&child->talking, child->out.len > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* A broken channel is told by its end, with what the child said before. */
static void run_flush(struct fl_hook *hook)
{
    struct control_child *child = FL_CONTAINER_OF(hook, struct control_child, flush);
    int result = write_some(child);
    if (result < 0 && result != -EPIPE && result != -ECONNRESET)
        fail_child(child, "the channel to the issuer broke");
}

static void retire(struct control_child *child)
{
    child->state = CHILD_RETIRED;
    if (child->waiting == 0)
        fail_child(child, "");
}

static void take_ready(struct control_child *child, const struct control_channel_message *message)
{
    struct control_issuer *issuer = child->issuer;
    const struct control_issuer_standing standing = {.bundle = message->bundle,
                                                     .not_after = (time_t)message->not_after,
                                                     .changes = (time_t)message->changes,
                                                     .isolated = message->isolated != 0};
    struct control_child *old = issuer->current;
    child->state = CHILD_READY;
    fl_timer_cancel(&child->deadline);
    issuer->current = child;
    issuer->coming = NULL;
    if (old != NULL)
        retire(old);
    issuer->on_ready(issuer->owner, &standing);
}

static void take_answer(struct control_child *child, const struct control_channel_message *message)
{
    struct control_issue *issue = child->first;
    bool signed_well = message->kind == CONTROL_CHANNEL_SIGNED;
    const struct control_issued issued = {
        .chain = message->chain, .serial = message->serial, .not_after = (time_t)message->not_after};
    char reason[CONTROL_CHANNEL_TEXT_MAX + 1];
    child->waiting--;
    child->expected_id++;
    set_deadline(child);
    if (signed_well)
        child->issuer->failures = 0;
    if (issue != NULL && issue->id == message->id) {
        snprintf(reason, sizeof(reason), "%.*s", FL_SPAN_ARG(message->text));
        unlink_issue(issue);
        issue->on_done(issue, signed_well ? CONTROL_ISSUE_OK : CONTROL_ISSUE_REFUSED, signed_well ? &issued : NULL,
                       reason);
    }
    if (child->state == CHILD_RETIRED && child->waiting == 0)
        fail_child(child, "");
}

/* False: it says what it must not say now. */
static bool take_message(struct control_child *child, const struct control_channel_message *message)
{
    char text[CONTROL_CHANNEL_TEXT_MAX + 1];
    bool answer = message->kind == CONTROL_CHANNEL_SIGNED || message->kind == CONTROL_CHANNEL_REFUSED;
    if (child->state == CHILD_STARTING && message->kind == CONTROL_CHANNEL_READY) {
        take_ready(child, message);
    } else if (child->state == CHILD_STARTING && message->kind == CONTROL_CHANNEL_FAILED) {
        snprintf(text, sizeof(text), "%.*s", FL_SPAN_ARG(message->text));
        fail_child(child, text);
    } else if (child->state != CHILD_STARTING && answer && child->waiting > 0 && message->id == child->expected_id) {
        take_answer(child, message);
    } else {
        return false;
    }
    return true;
}

static void take_messages(struct control_child *child)
{
    struct fl_span rest = fl_buf_span(&child->in);
    struct control_channel_message message;
    int result;
    while ((result = control_channel_read(&rest, true, &message)) == CONTROL_CHANNEL_MESSAGE) {
        bool good = take_message(child, &message);
        if (child->state == CHILD_GONE)
            return;
        if (!good) {
            result = -EBADMSG;
            break;
        }
    }
    if (result < 0)
        fail_child(child, "the issuer sent what is no answer");
    else
        fl_buf_consume(&child->in, child->in.len - rest.len);
}

/* False: nothing more can be read now; then the channel may have ended, and the child with it. */
static bool read_some(struct control_child *child)
{
    if (fl_buf_reserve(&child->in, child->in.max - child->in.len) < 0) {
        fail_child(child, "out of memory");
        return false;
    }
    ssize_t count = read(child->channel, child->in.data + child->in.len, child->in.max - child->in.len);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (count <= 0) {
        fail_child(child, "the issuer ended");
        return false;
    }
    child->in.len += (size_t)count;
    take_messages(child);
    return child->state != CHILD_GONE;
}

static void on_talk(struct fl_source *source, uint32_t events)
{
    struct control_child *child = FL_CONTAINER_OF(source, struct control_child, talking);
    if ((events & EPOLLOUT) != 0)
        fl_hook_arm(child->issuer->loop, &child->flush);
    if ((events & ~(uint32_t)EPOLLOUT) != 0)
        read_some(child);
}

/* The kernel has its exit status: nothing is left of it but what it said last. */
static void on_dead(struct fl_source *source, uint32_t events)
{
    (void)events;
    struct control_child *child = FL_CONTAINER_OF(source, struct control_child, dying);
    siginfo_t info;
    if (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG) != 0 && errno != ECHILD)
        return;
    child->pid = 0;
    fl_source_remove(&child->dying);
    unlink_child(child);
    while (child->state != CHILD_GONE && read_some(child)) {
    }
    fail_child(child, "the issuer ended");
    fl_loop_defer(child->issuer->loop, &child->deferred, run_free_child);
}

/* --- starting one --- */

/* The command line of a child; texts are borrowed. */
static void fill_arguments(struct control_issuer *issuer, char numbers[2][16], char **arguments)
{
    static char words[][20] = {"fairlead-control", "issuer",    "--channel", "3",      "--folder", "--trust-domain",
                               "--validity",       "--overlap", "--given",   "--name", "--stored"};
    size_t at = 0;
    snprintf(numbers[0], sizeof(numbers[0]), "%u", issuer->validity_s);
    snprintf(numbers[1], sizeof(numbers[1]), "%u", issuer->overlap_s);
    char *fixed[] = {words[0], words[1],       words[2], words[3],
                     words[4], issuer->folder, words[5], issuer->trust_domain,
                     words[6], numbers[0],     words[7], numbers[1]};
    for (; at < FL_COUNT(fixed); at++)
        arguments[at] = fixed[at];
    if (issuer->given)
        arguments[at++] = words[8];
    if (issuer->stored)
        arguments[at++] = words[10];
    for (size_t i = 0; issuer->server_names[i] != NULL; i++) {
        arguments[at++] = words[9];
        arguments[at++] = issuer->server_names[i];
    }
    arguments[at] = NULL;
}

/* No environment: nothing of ours but the channel and stderr. */
static int open_child(struct control_issuer *issuer, struct control_child *child)
{
    char numbers[2][16], *arguments[ARGUMENTS_MAX], *environment[] = {NULL};
    fill_arguments(issuer, numbers, arguments);
    int result = control_spawn(issuer->program, arguments, environment, &child->pid, &child->pidfd, &child->channel);
    if (result < 0)
        return result;
    result = fl_source_add(issuer->loop, &child->dying, child->pidfd, EPOLLIN, on_dead);
    if (result == 0)
        result = fl_source_add(issuer->loop, &child->talking, child->channel, EPOLLIN, on_talk);
    if (result < 0) {
        kill(child->pid, SIGKILL);
        waitpid(child->pid, NULL, 0);
    }
    return result;
}

static void start_child(struct control_issuer *issuer)
{
    struct control_child *child = calloc(1, sizeof(*child));
    int result = -ENOMEM;
    fl_timer_cancel(&issuer->retry);
    if (child != NULL) {
        *child = (struct control_child){.issuer = issuer, .pidfd = -1, .channel = -1, .flush.run = run_flush};
        fl_buf_init(&child->in, CONTROL_CHANNEL_ANSWER_MAX + READ_SIZE);
        fl_buf_init(&child->out, (size_t)CONTROL_ISSUER_WAITING * CONTROL_CHANNEL_REQUEST_MAX);
        result = open_child(issuer, child);
        if (result < 0)
            free_child(child);
    }
    if (result < 0) {
        struct fl_err err = {0};
        fl_err_errno(&err, result, "the issuer cannot be started");
        if (issuer->current == NULL)
            retry_later(issuer);
        issuer->on_trouble(issuer->owner, err.text);
        return;
    }
    child->next = issuer->children;
    issuer->children = child;
    issuer->coming = child;
    fl_timer_set(issuer->loop, &child->deadline, CONTROL_ISSUER_START_MS, on_deadline);
}

static void on_first_start(struct fl_timer *timer)
{
    start_child(FL_CONTAINER_OF(timer, struct control_issuer, retry));
}

/* --- the issuer --- */

static void release(struct control_issuer *issuer)
{
    free(issuer->program);
    free(issuer->folder);
    free(issuer->trust_domain);
    for (size_t i = 0; i < CONTROL_SIGNER_NAMES_MAX; i++)
        free(issuer->server_names[i]);
    free(issuer);
}

static int copy_options(const struct control_issuer_options *options, struct control_issuer *issuer)
{
    *issuer = (struct control_issuer){.loop = options->loop,
                                      .given = options->given,
                                      .stored = options->stored,
                                      .validity_s = options->validity_s,
                                      .overlap_s = options->overlap_s,
                                      .on_ready = options->on_ready,
                                      .on_trouble = options->on_trouble,
                                      .owner = options->owner};
    issuer->program = strdup(options->program != NULL ? options->program : "/proc/self/exe");
    issuer->folder = strdup(options->folder);
    issuer->trust_domain = strdup(options->trust_domain);
    bool good = issuer->program != NULL && issuer->folder != NULL && issuer->trust_domain != NULL;
    for (size_t i = 0; options->server_names != NULL && options->server_names[i] != NULL && good; i++) {
        issuer->server_names[i] = strdup(options->server_names[i]);
        good = issuer->server_names[i] != NULL;
    }
    return good ? 0 : -ENOMEM;
}

static int check_options(const struct control_issuer_options *options, struct fl_err *err)
{
    size_t names = 0;
    while (options->server_names != NULL && options->server_names[names] != NULL)
        names++;
    if (names > CONTROL_SIGNER_NAMES_MAX)
        return fl_err_set(err, -EINVAL, "more than %d server names", CONTROL_SIGNER_NAMES_MAX);
    return options->validity_s == 0 ? fl_err_set(err, -EINVAL, "a validity of 0 seconds") : 0;
}

int control_issuer_new(const struct control_issuer_options *options, struct control_issuer **ret_issuer,
                       struct fl_err *err)
{
    int result = check_options(options, err);
    if (result < 0)
        return result;
    struct control_issuer *issuer = calloc(1, sizeof(*issuer));
    if (issuer == NULL || copy_options(options, issuer) < 0) {
        if (issuer != NULL)
            release(issuer);
        return fl_err_set(err, -ENOMEM, "the issuer: out of memory");
    }
    if (!options->stored) /* else there is nothing to start with before the first reload */
        fl_timer_set(issuer->loop, &issuer->retry, 0, on_first_start);
    *ret_issuer = issuer;
    return 0;
}

static void run_release(struct fl_deferred *deferred)
{
    release(FL_CONTAINER_OF(deferred, struct control_issuer, deferred));
}

struct control_issuer *control_issuer_free(struct control_issuer *issuer)
{
    if (issuer == NULL)
        return NULL;
    issuer->stopped = true;
    fl_timer_cancel(&issuer->retry);
    while (issuer->children != NULL) {
        struct control_child *child = issuer->children;
        drop_issues(child, false);
        if (child->state != CHILD_GONE)
            close_child(child);
        waitpid(child->pid, NULL, 0); /* killed: it is soon over */
        fl_source_remove(&child->dying);
        issuer->children = child->next;
        fl_loop_defer(issuer->loop, &child->deferred, run_free_child);
    }
    issuer->current = issuer->coming = NULL;
    fl_loop_defer(issuer->loop, &issuer->deferred, run_release);
    return NULL;
}

void control_issuer_reload(struct control_issuer *issuer)
{
    if (issuer->coming != NULL) { /* it may have read what has changed since: no loss, it serves nobody yet */
        struct control_child *coming = fl_take(issuer->coming);
        close_child(coming);
    }
    issuer->failures = 0;
    start_child(issuer);
}

bool control_issuer_is_ready(const struct control_issuer *issuer)
{
    return issuer->current != NULL;
}

pid_t control_issuer_pid(const struct control_issuer *issuer)
{
    return issuer->current != NULL ? issuer->current->pid : 0;
}

static void put_issue(struct control_child *child, struct control_issue *issue)
{
    issue->child = child;
    issue->next = NULL;
    issue->previous = child->last;
    *(child->last != NULL ? &child->last->next : &child->first) = issue;
    child->last = issue;
    if (child->waiting++ == 0)
        set_deadline(child);
    fl_hook_arm(child->issuer->loop, &child->flush);
}

static void ask(struct control_issuer *issuer, struct control_issue *issue, struct control_channel_message *request,
                const struct fl_key *key)
{
    struct control_child *child = issuer->current;
    if (child == NULL) {
        issue->on_done(issue, CONTROL_ISSUE_UNAVAILABLE, NULL, "the issuer is not ready");
        return;
    }
    if (child->waiting >= CONTROL_ISSUER_WAITING) {
        issue->on_done(issue, CONTROL_ISSUE_BUSY, NULL, "too many requests wait for the issuer");
        return;
    }
    FL_CLEANUP(fl_buf_done) struct fl_buf der;
    fl_buf_init(&der, FL_KEY_PUBLIC_MAX);
    int result = fl_key_print_public(key, &der);
    issue->id = child->next_id;
    request->id = issue->id;
    request->key = fl_buf_span(&der);
    if (result == 0)
        result = control_channel_write(request, &child->out);
    if (result < 0) {
        issue->on_done(issue, result == -EMSGSIZE ? CONTROL_ISSUE_REFUSED : CONTROL_ISSUE_UNAVAILABLE, NULL,
                       result == -EMSGSIZE ? "the request is too long" : "out of memory");
        return;
    }
    child->next_id++;
    put_issue(child, issue);
}

void control_issuer_sign(struct control_issuer *issuer, struct control_issue *issue, struct fl_span identity,
                         const struct fl_key *key, uint32_t validity_s)
{
    struct control_channel_message request = {
        .kind = CONTROL_CHANNEL_SIGN, .validity_s = validity_s, .identity = identity};
    ask(issuer, issue, &request, key);
}

void control_issuer_server(struct control_issuer *issuer, struct control_issue *issue, const struct fl_key *key)
{
    struct control_channel_message request = {.kind = CONTROL_CHANNEL_SERVER};
    ask(issuer, issue, &request, key);
}

void control_issuer_cancel(struct control_issue *issue)
{
    if (issue->child != NULL)
        unlink_issue(issue);
}
