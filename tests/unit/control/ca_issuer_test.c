/* The issuer with real children: this program with "issuer" as its first argument is one. Some of them misbehave on
 * purpose: then the folder's name says how.
 */
#include "common/loop/loop.h"
#include "common/loop/timer.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"
#include "control/ca/channel.h"
#include "control/ca/issuer.h"
#include "control/ca/jail.h"
#include "control/ca/root.h"
#include "tests/support/emulation.h"
#include "tests/support/fail.h"
#include "tests/unit/control/ca_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define DAY       86400
#define WEB       "spiffe://cluster.local/ns/default/sa/web"
#define PATIENCE  (10000 * emulation_patience()) /* ms that anything may take */
#define PROGRAM   "/proc/self/exe"
#define IN_FLIGHT 64

static struct folder folder;
static struct fl_loop *loop;
static struct fl_key *key;

static struct {
    unsigned ready, troubles;
    char trouble[512];
    struct fl_bundle *bundle;
    time_t changes;
} seen;

static void on_ready(void *owner, const struct control_issuer_standing *standing)
{
    (void)owner;
    seen.ready++;
    seen.changes = standing->changes;
    fl_bundle_unref(seen.bundle);
    seen.bundle = NULL;
    if (!fl_span_eq_str(standing->bundle, "roots"))
        assert_true(fl_bundle_parse(standing->bundle, &seen.bundle, NULL) == 0 || fail_happened());
}

static void on_trouble(void *owner, const char *reason)
{
    (void)owner;
    seen.troubles++;
    snprintf(seen.trouble, sizeof(seen.trouble), "%s", reason);
}

static int set_up(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    folder_init(&folder);
    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop = fl_loop_free(loop);
    key = fl_key_unref(key);
    seen.bundle = fl_bundle_unref(seen.bundle);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    folder_done(&folder);
    return 0;
}

static struct control_issuer *start(const char *where, const char *const *names)
{
    struct control_issuer *issuer;
    const struct control_issuer_options options = {.loop = loop,
                                                   .folder = where,
                                                   .trust_domain = "cluster.local",
                                                   .server_names = names,
                                                   .validity_s = DAY,
                                                   .overlap_s = DAY,
                                                   .on_ready = on_ready,
                                                   .on_trouble = on_trouble};
    assert_int_equal(control_issuer_new(&options, &issuer, NULL), 0);
    return issuer;
}

static void on_late(struct fl_timer *timer)
{
    (void)timer;
}

/* Turns the loop until `what` holds. */
#define UNTIL(what)                                                                                                    \
    do {                                                                                                               \
        struct fl_timer late = {0};                                                                                    \
        fl_timer_set(loop, &late, PATIENCE, on_late);                                                                  \
        while (!(what)) {                                                                                              \
            if (!fl_timer_is_set(&late))                                                                               \
                fail_msg("not in time: %s (last trouble: %s)", #what, seen.trouble);                                   \
            assert_int_equal(fl_loop_turn(loop, 100), 0);                                                              \
        }                                                                                                              \
        fl_timer_cancel(&late);                                                                                        \
    } while (0)

struct asked {
    struct control_issue issue;
    unsigned done;
    enum control_issue_outcome outcome;
    char reason[512];
    struct fl_cert *cert;
};

static void on_done(struct control_issue *issue, enum control_issue_outcome outcome,
                    const struct control_issued *issued, const char *reason)
{
    struct asked *asked = FL_CONTAINER_OF(issue, struct asked, issue);
    asked->done++;
    asked->outcome = outcome;
    snprintf(asked->reason, sizeof(asked->reason), "%s", reason);
    if (outcome == CONTROL_ISSUE_OK)
        assert_true(fl_cert_parse(issued->chain, &asked->cert, NULL) == 0 || fail_happened());
    else
        assert_null(issued);
}

static void certificates_are_signed_by_the_child(void **state)
{
    (void)state;
    static struct asked many[IN_FLIGHT];
    memset(many, 0, sizeof(many));
    struct control_issuer *issuer = start(folder.path, NULL);
    UNTIL(seen.ready == 1);
    for (size_t i = 0; i < IN_FLIGHT; i++) {
        many[i].issue.on_done = on_done;
        control_issuer_sign(issuer, &many[i].issue, i % 2 == 0 ? FL_SPAN(WEB) : FL_SPAN("spiffe://other/ns/a/sa/b"),
                            key, 0);
    }
    control_issuer_cancel(&many[10].issue);
    control_issuer_cancel(&many[10].issue);
    control_issuer_cancel(&many[0].issue);
    UNTIL(many[IN_FLIGHT - 1].done > 0);
    for (size_t i = 0; i < IN_FLIGHT; i++) {
        assert_int_equal(many[i].done, i != 10 && i != 0);
        if (many[i].done == 0)
            continue;
        assert_int_equal(many[i].outcome, i % 2 == 0 ? CONTROL_ISSUE_OK : CONTROL_ISSUE_REFUSED);
        if (i % 2 == 0) {
            assert_true(fl_cert_matches(many[i].cert, key));
            assert_int_equal(fl_cert_verify(many[i].cert, seen.bundle, time(NULL), NULL), 0);
        } else {
            assert_string_equal(many[i].reason, "the trust domain is not cluster.local");
        }
        fl_cert_unref(many[i].cert);
    }
    control_issuer_free(issuer);
    assert_int_equal(seen.troubles, 0);
}

static void a_server_has_the_names_it_was_started_with(void **state)
{
    (void)state;
    static const char *const names[] = {"control.example", "127.0.0.1", "::1", NULL};
    struct asked asked = {.issue.on_done = on_done};
    struct fl_span uri;
    struct control_issuer *issuer = start(folder.path, names);
    UNTIL(seen.ready == 1);
    control_issuer_server(issuer, &asked.issue, key);
    UNTIL(asked.done == 1);
    assert_int_equal(asked.outcome, CONTROL_ISSUE_OK);
    assert_int_equal(fl_cert_spiffe(asked.cert, &uri, NULL), -EINVAL);
    fl_cert_unref(asked.cert);
    control_issuer_free(issuer);
}

/* A field of /proc/<pid>/status. */
static void status_of(pid_t pid, const char *field, char *ret_text, size_t size)
{
    char path[64], line[256];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    ret_text[0] = '\0';
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0)
            snprintf(ret_text, size, "%s", line + strlen(field) + 1);
    }
    fclose(file);
    ret_text[strcspn(ret_text, "\n")] = '\0';
}

static size_t descriptors_of(pid_t pid)
{
    char path[64];
    size_t count = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *list = opendir(path);
    assert_non_null(list);
    while (readdir(list) != NULL)
        count++;
    closedir(list);
    return count - 2;
}

static void the_child_has_nothing_but_its_channel(void **state)
{
    (void)state;
    char text[128], path[64], ours[128], theirs[128];
    struct control_issuer *issuer = start(folder.path, NULL);
    UNTIL(seen.ready == 1);
    pid_t pid = control_issuer_pid(issuer);
    status_of(pid, "Seccomp:", text, sizeof(text));
    assert_string_equal(text, "2");
    status_of(pid, "NoNewPrivs:", text, sizeof(text));
    assert_string_equal(text, "1");
    snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_uid, 0); /* not dumpable: its memory is root's alone, whoever runs it */
    if (geteuid() == 0) {
        assert_int_equal(descriptors_of(pid), 4); /* 0 to 2, and the channel */
        snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
        ssize_t a = readlink("/proc/self/ns/net", ours, sizeof(ours));
        ssize_t b = readlink(path, theirs, sizeof(theirs));
        assert_true(a > 0 && b > 0);
        /* Where namespaces are not permitted seccomp has to do: see below. */
        if (a == b && memcmp(ours, theirs, (size_t)a) == 0)
            print_message("no network namespace of its own could be had\n");
    }
    control_issuer_free(issuer);
}

/* Each in a process of its own behind the filter: it must be killed for it. */
static void behind_the_filter_there_is_no_system(void **state)
{
    (void)state;
    static const char *const attempts[] = {"socket", "open", "exec",       "fork", "ptrace",
                                           "write",  "read", "executable", "kill", "none"};
    for (size_t i = 0; i < FL_COUNT(attempts); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            execl(PROGRAM, "ca_issuer_test", "attempt", attempts[i], NULL);
            _exit(99);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
        bool fine = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (strcmp(attempts[i], "none") == 0 ? !fine : !killed)
            fail_msg("%s: status %x", attempts[i], (unsigned)status);
    }
}

static void a_child_that_dies_is_replaced(void **state)
{
    (void)state;
    struct asked first = {.issue.on_done = on_done}, second = {.issue.on_done = on_done},
                 third = {.issue.on_done = on_done};
    struct control_issuer *issuer = start(folder.path, NULL);
    control_issuer_sign(issuer, &first.issue, FL_SPAN(WEB), key, 0);
    assert_int_equal(first.outcome, CONTROL_ISSUE_UNAVAILABLE); /* not ready yet */
    UNTIL(seen.ready == 1);
    pid_t pid = control_issuer_pid(issuer);
    kill(pid, SIGSTOP);
    control_issuer_sign(issuer, &second.issue, FL_SPAN(WEB), key, 0);
    fl_loop_turn(loop, 0);
    kill(pid, SIGKILL);
    UNTIL(second.done == 1);
    assert_int_equal(second.outcome, CONTROL_ISSUE_UNAVAILABLE);
    assert_int_equal(seen.troubles, 1);
    assert_false(control_issuer_is_ready(issuer));
    UNTIL(seen.ready == 2);
    assert_true(control_issuer_pid(issuer) != pid);
    control_issuer_sign(issuer, &third.issue, FL_SPAN(WEB), key, 0);
    UNTIL(third.done == 1);
    assert_int_equal(third.outcome, CONTROL_ISSUE_OK);
    fl_cert_unref(third.cert);
    control_issuer_free(issuer);
}

static void a_key_that_cannot_be_read_now(void **state)
{
    (void)state;
    folder_write(&folder, "root-1.pem", FL_SPAN("nonsense"), 0600);
    struct control_issuer *issuer = start(folder.path, NULL);
    UNTIL(seen.troubles >= 2);
    assert_non_null(strstr(seen.trouble, "root-1.pem"));
    folder_remove(&folder, "root-1.pem"); /* mended: the next attempt makes one */
    UNTIL(seen.ready == 1);
    control_issuer_free(issuer);
}

static void a_reload_loses_nothing(void **state)
{
    (void)state;
    static struct asked many[IN_FLIGHT];
    memset(many, 0, sizeof(many));
    struct control_issuer *issuer = start(folder.path, NULL);
    UNTIL(seen.ready == 1);
    assert_int_equal(fl_bundle_count(seen.bundle), 1);
    assert_int_equal(control_root_rotate(folder.path, time(NULL), NULL), 0);
    control_issuer_reload(issuer);
    size_t next = 0;
    while (seen.ready < 2 || next < IN_FLIGHT) {
        if (next < IN_FLIGHT) {
            many[next].issue.on_done = on_done;
            control_issuer_sign(issuer, &many[next++].issue, FL_SPAN(WEB), key, 0);
        }
        assert_int_equal(fl_loop_turn(loop, 2), 0);
    }
    for (size_t i = 0; i < IN_FLIGHT; i++) { /* of either child */
        UNTIL(many[i].done == 1);
        assert_int_equal(many[i].outcome, CONTROL_ISSUE_OK);
        assert_int_equal(fl_cert_verify(many[i].cert, seen.bundle, time(NULL), NULL), 0);
        fl_cert_unref(many[i].cert);
    }
    assert_int_equal(fl_bundle_count(seen.bundle), 2);
    assert_true(seen.changes > time(NULL));
    assert_int_equal(seen.troubles, 0);
    /* One that does not come up leaves the old one in its place. */
    folder_write(&folder, "root-3.pem", FL_SPAN("nonsense"), 0600);
    control_issuer_reload(issuer);
    UNTIL(seen.troubles == 1);
    assert_true(control_issuer_is_ready(issuer));
    assert_int_equal(seen.ready, 2);
    control_issuer_free(issuer);
}

static void only_so_many_wait(void **state)
{
    (void)state;
    static struct asked many[CONTROL_ISSUER_WAITING + 1];
    memset(many, 0, sizeof(many));
    struct control_issuer *issuer = start(folder.path, NULL);
    UNTIL(seen.ready == 1);
    for (size_t i = 0; i <= CONTROL_ISSUER_WAITING; i++) {
        many[i].issue.on_done = on_done;
        control_issuer_sign(issuer, &many[i].issue, FL_SPAN(WEB), key, 0);
    }
    assert_int_equal(many[CONTROL_ISSUER_WAITING].done, 1);
    assert_int_equal(many[CONTROL_ISSUER_WAITING].outcome, CONTROL_ISSUE_BUSY);
    UNTIL(many[CONTROL_ISSUER_WAITING - 1].done == 1);
    for (size_t i = 0; i < CONTROL_ISSUER_WAITING; i++)
        fl_cert_unref(many[i].cert);
    control_issuer_free(issuer);
}

static void requests_that_are_too_long(void **state)
{
    (void)state;
    static char large[4096];
    struct asked asked = {.issue.on_done = on_done};
    struct control_issuer *issuer = start(folder.path, NULL);
    UNTIL(seen.ready == 1);
    control_issuer_sign(issuer, &asked.issue, fl_span_make(large, sizeof(large)), key, 0);
    assert_int_equal(asked.outcome, CONTROL_ISSUE_REFUSED);
    control_issuer_free(issuer);
}

/* Children of another kind: what they send, and what must be said of it. */
static void children_that_misbehave(void **state)
{
    (void)state;
    static const struct {
        const char *how, *trouble;
    } rows[] = {
        {"garbage", "the issuer sent what is no answer"},
        {"early", "the issuer sent what is no answer"}, /* an answer before READY */
        {"twice", "the issuer sent what is no answer"}, /* READY again */
        {"unasked", "the issuer sent what is no answer"},
        {"cut", "the issuer ended"},
        {"silent", "the issuer ended"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        memset(&seen, 0, sizeof(seen));
        struct control_issuer *issuer = start(rows[i].how, NULL);
        UNTIL(seen.troubles >= 1);
        assert_string_equal(seen.trouble, rows[i].trouble);
        control_issuer_free(issuer);
        assert_int_equal(fl_loop_turn(loop, 0), 0);
        seen.bundle = fl_bundle_unref(seen.bundle);
    }
}

static struct control_issuer *to_free;

static void on_done_free(struct control_issue *issue, enum control_issue_outcome outcome,
                         const struct control_issued *issued, const char *reason)
{
    (void)issued, (void)reason;
    FL_CONTAINER_OF(issue, struct asked, issue)->done++;
    FL_CONTAINER_OF(issue, struct asked, issue)->outcome = outcome;
    to_free = control_issuer_free(to_free);
}

static void a_callback_may_free_the_issuer(void **state)
{
    (void)state;
    struct asked asked[3] = {{.issue.on_done = on_done_free}, {.issue.on_done = on_done}, {.issue.on_done = on_done}};
    to_free = start(folder.path, NULL);
    UNTIL(seen.ready == 1);
    for (size_t i = 0; i < 3; i++)
        control_issuer_sign(to_free, &asked[i].issue, FL_SPAN(WEB), key, 0);
    UNTIL(asked[0].done == 1);
    assert_int_equal(asked[0].outcome, CONTROL_ISSUE_OK);
    assert_null(to_free);
    assert_int_equal(fl_loop_turn(loop, 0), 0);
    assert_int_equal(asked[1].done + asked[2].done, 0);
}

static void when_memory_runs_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        memset(&seen, 0, sizeof(seen));
        struct asked asked = {.issue.on_done = on_done};
        static const char *const names[] = {"control.example", NULL};
        const struct control_issuer_options options = {.loop = loop,
                                                       .folder = folder.path,
                                                       .trust_domain = "cluster.local",
                                                       .server_names = names,
                                                       .validity_s = DAY,
                                                       .on_ready = on_ready,
                                                       .on_trouble = on_trouble};
        struct control_issuer *issuer;
        int result = control_issuer_new(&options, &issuer, NULL);
        if (result < 0) {
            fail_stop();
            assert_int_equal(result, -ENOMEM);
            continue;
        }
        UNTIL(seen.ready == 1);
        control_issuer_sign(issuer, &asked.issue, FL_SPAN(WEB), key, 0);
        UNTIL(asked.done == 1);
        fail_stop();
        assert_true(asked.outcome == CONTROL_ISSUE_OK || fail_happened());
        fl_cert_unref(asked.cert);
        control_issuer_free(issuer);
        assert_int_equal(fl_loop_turn(loop, 0), 0);
        seen.bundle = fl_bundle_unref(seen.bundle);
    }
}

/* --- what this program is when a test starts it --- */

static void say(const void *bytes, size_t len)
{
    if (write(3, bytes, len) != (ssize_t)len)
        _exit(1);
}

static void say_message(const struct control_channel_message *message)
{
    struct fl_buf out;
    fl_buf_init(&out, CONTROL_CHANNEL_ANSWER_MAX);
    if (control_channel_write(message, &out) != 0)
        _exit(1);
    say(out.data, out.len);
    fl_buf_done(&out);
}

/* Never returns. */
static void misbehave(const char *how)
{
    const struct control_channel_message answer = {.kind = CONTROL_CHANNEL_REFUSED, .text = FL_SPAN("no")};
    const struct control_channel_message ready = {.kind = CONTROL_CHANNEL_READY, .bundle = FL_SPAN("roots")};
    if (strcmp(how, "garbage") == 0)
        say("\xff\xff\xff\xff garbage", 12);
    if (strcmp(how, "cut") == 0)
        say("\0\0\0\x10\x10", 5);
    if (strcmp(how, "twice") == 0 || strcmp(how, "unasked") == 0)
        say_message(&ready);
    if (strcmp(how, "twice") == 0)
        say_message(&ready);
    if (strcmp(how, "early") == 0 || strcmp(how, "unasked") == 0)
        say_message(&answer);
    if (strcmp(how, "silent") == 0 || strcmp(how, "cut") == 0)
        _exit(0);
    struct pollfd wait = {.fd = 3, .events = POLLIN};
    poll(&wait, 1, (int)PATIENCE);
    _exit(0);
}

/* Never returns; 0: nothing was asked for, and the end is the channel's. */
static void attempt(const char *what)
{
    int pair[2];
    bool isolated;
    struct fl_err err = {0};
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || dup2(pair[1], 10) < 0 ||
        control_jail_enter(10, &isolated, &err) != 0 || control_jail_lock(10, &err) != 0)
        _exit(98);
    char byte;
    long result = 0;
    if (strcmp(what, "socket") == 0)
        result = socket(AF_INET, SOCK_STREAM, 0);
    else if (strcmp(what, "open") == 0)
        result = open("/etc/passwd", O_RDONLY);
    else if (strcmp(what, "exec") == 0)
        result = execl("/bin/true", "true", NULL);
    else if (strcmp(what, "fork") == 0)
        result = fork();
    else if (strcmp(what, "ptrace") == 0)
        result = ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    else if (strcmp(what, "write") == 0)
        result = write(1, "x", 1);
    else if (strcmp(what, "read") == 0)
        result = read(0, &byte, 1);
    else if (strcmp(what, "executable") == 0)
        result = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
    else if (strcmp(what, "kill") == 0)
        result = kill(1, 0);
    _exit(result == 0 && strcmp(what, "none") == 0 ? 0 : 97);
}

static const char *option_of(int argc, char **argv, const char *name)
{
    for (int i = 0; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    }
    return "";
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    SKIP_ALL_UNDER_EMULATION(
        "the issuer is a process of its own behind a seccomp filter: an emulator starts none and has none");
    if (argc > 2 && strcmp(argv[1], "attempt") == 0)
        attempt(argv[2]);
    if (argc > 1 && strcmp(argv[1], "issuer") == 0) {
        if (option_of(argc, argv, "--folder")[0] != '/')
            misbehave(option_of(argc, argv, "--folder"));
        return control_issuer_main(argc - 1, argv + 1);
    }
    const struct CMUnitTest tests[] = {
        TEST(certificates_are_signed_by_the_child),
        TEST(a_server_has_the_names_it_was_started_with),
        TEST(the_child_has_nothing_but_its_channel),
        TEST(behind_the_filter_there_is_no_system),
        TEST(a_child_that_dies_is_replaced),
        TEST(a_key_that_cannot_be_read_now),
        TEST(a_reload_loses_nothing),
        TEST(only_so_many_wait),
        TEST(requests_that_are_too_long),
        TEST(children_that_misbehave),
        TEST(a_callback_may_free_the_issuer),
        TEST(when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
