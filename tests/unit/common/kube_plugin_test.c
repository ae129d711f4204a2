#include "common/kube/spawn.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define V1      "client.authentication.k8s.io/v1"
#define V1BETA1 "client.authentication.k8s.io/v1beta1"
#define ANSWER  "{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1 "\",\"status\":{\"token\":\"abc\"}}"
#define CERT    "-----BEGIN CERTIFICATE-----\\nAA==\\n-----END CERTIFICATE-----\\n"
#define KEY     "-----BEGIN PRIVATE KEY-----\\nAA==\\n-----END PRIVATE KEY-----\\n"

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/fl-kube-plugin-XXXXXX");
    return mkdtemp(folder) != NULL && setenv("FL_FOLDER", folder, 1) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"plugin", "out", "fifo", "plain"};
    char path[128];
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

/* ---- What a plugin prints ---- */

#define HEAD         "{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1 "\",\"status\":"
#define STATUS(text) HEAD "{" text "}}"

static int read_text(const char *text, struct fl_kube_plugin_answer *answer, struct fl_err *err)
{
    char version[] = V1;
    const struct fl_kube_plugin plugin = {.api_version = version};
    return fl_kube_plugin_read(&plugin, fl_span_str(text), answer, err);
}

static void answers_are_read(void **state)
{
    (void)state;
    struct fl_kube_plugin_answer answer = {0};
    assert_int_equal(
        read_text("\n" STATUS("\"token\":\"k8s-aws-v1.aHR0cHM\",\"expirationTimestamp\":\"2026-01-02T03:04:05Z\","
                              "\"other\":[1]") "\n",
                  &answer, NULL),
        0);
    assert_true(fl_span_eq_str(fl_buf_span(&answer.token), "k8s-aws-v1.aHR0cHM"));
    assert_int_equal(answer.cert.len + answer.key.len, 0);
    assert_int_equal(answer.expires, 1767323045);
    fl_kube_plugin_answer_done(&answer);

    assert_int_equal(
        read_text(STATUS("\"clientCertificateData\":\"" CERT "\",\"clientKeyData\":\"" KEY "\",\"token\":null,"
                         "\"expirationTimestamp\":null"),
                  &answer, NULL),
        0);
    assert_int_equal(answer.token.len, 0);
    assert_true(fl_span_starts_with(fl_buf_span(&answer.cert), FL_SPAN("-----BEGIN CERTIFICATE-----\nAA")));
    assert_true(fl_span_starts_with(fl_buf_span(&answer.key), FL_SPAN("-----BEGIN PRIVATE KEY-----\n")));
    assert_int_equal(answer.expires, 0);
    fl_kube_plugin_answer_done(&answer);
}

static void answers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "expected one ExecCredential in JSON"},
        {"Please log in at https://x", "expected one ExecCredential in JSON"},
        {ANSWER ANSWER, "expected one ExecCredential in JSON"},
        {"Updated token\n" ANSWER, "expected one ExecCredential in JSON"},
        {"[]", "kind: expected \"ExecCredential\", got nothing"},
        {"{\"kind\":5}", "kind: expected \"ExecCredential\", got a number"},
        {"{\"kind\":\"Secret\"}", "kind: expected \"ExecCredential\", got \"Secret\""},
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1BETA1 "\",\"status\":{\"token\":\"a\"}}",
         "apiVersion: expected \"" V1 "\", got \"" V1BETA1 "\""},
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1 "\"}", "status: expected an object"},
        {HEAD "\"token\"}", "status: expected an object"},
        {STATUS(""), "status: expected a token, or clientCertificateData and clientKeyData"},
        {STATUS("\"token\":\"\""), "status: expected a token, or"},
        {STATUS("\"token\":5"), "status.token: expected a string, got a number"},
        {STATUS("\"token\":\"a\\r\\nImpersonate-User: root\""), "status.token: expected visible ASCII"},
        {STATUS("\"token\":\"a\",\"token\":\"b\""), "token"},
        {STATUS("\"clientCertificateData\":\"" CERT "\""), "clientKeyData is missing"},
        {STATUS("\"token\":\"a\",\"clientKeyData\":\"" KEY "\""), "clientCertificateData is missing"},
        {STATUS("\"clientCertificateData\":\"LS0t\",\"clientKeyData\":\"" KEY "\""),
         "status.clientCertificateData: expected PEM with"},
        {STATUS("\"clientCertificateData\":\"" CERT "\",\"clientKeyData\":\"" CERT "\""),
         "status.clientKeyData: expected PEM with"},
        {STATUS("\"token\":\"a\",\"expirationTimestamp\":\"tomorrow\""), "status.expirationTimestamp: expected a time"},
        {STATUS("\"token\":\"a\",\"expirationTimestamp\":1767323045"), "status.expirationTimestamp: expected a time"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_kube_plugin_answer answer = {0};
        struct fl_err err = {0};
        int result = read_text(rows[i].text, &answer, &err);
        if (result != -EACCES || err.code != -EACCES || strstr(err.text, rows[i].says) == NULL)
            fail_msg("row %zu: %d %s", i, result, err.text);
        assert_null(answer.token.data);
    }
}

static void a_token_is_bounded(void **state)
{
    (void)state;
    static char text[32768];
    struct fl_kube_plugin_answer answer = {0};
    struct fl_err err = {0};
    memset(text, 'a', sizeof(text) - 1);
    memcpy(text, HEAD "{\"token\":\"", sizeof(HEAD "{\"token\":\"") - 1);
    memcpy(text + sizeof(text) - 4, "\"}}", 4);
    assert_int_equal(read_text(text, &answer, &err), -EACCES);
    assert_non_null(strstr(err.text, "expected at most 16384 bytes"));
}

/* ---- Real programs ---- */

static const char *write_script(const char *name, const char *body, mode_t mode)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_true(dprintf(fd, "#!/bin/sh\n%s\n", body) > 0);
    assert_int_equal(close(fd), 0);
    return path;
}

static void assert_out(const char *expected)
{
    char path[128];
    struct fl_buf text;
    fl_buf_init(&text, 4096);
    snprintf(path, sizeof(path), "%s/out", folder);
    assert_int_equal(fl_buf_read_file(&text, path), 0);
    assert_string_equal(fl_buf_str(&text), expected);
    fl_buf_done(&text);
    unlink(path);
}

static struct fl_kube_plugin plugin_of(const char *command)
{
    static char text[128], user[] = "dev", version[] = V1;
    snprintf(text, sizeof(text), "%s", command);
    return (struct fl_kube_plugin){
        .user = user, .command = text, .api_version = version, .mode = FL_KUBE_PLUGIN_IF_AVAILABLE};
}

static int spawn(const struct fl_kube_plugin *plugin, unsigned timeout_ms, bool interactive, struct fl_err *err)
{
    const struct fl_kube_starter starter = {fl_kube_spawn, timeout_ms, interactive};
    struct fl_kube_plugin_answer answer = {0};
    int result = starter.start(&starter, plugin, &answer, err);
    if (result == 0)
        assert_true(fl_span_eq_str(fl_buf_span(&answer.token), "abc"));
    fl_kube_plugin_answer_done(&answer);
    return result;
}

static void assert_spawned(const struct fl_kube_plugin *plugin, bool interactive)
{
    struct fl_err err = {0};
    if (spawn(plugin, 0, interactive, &err) < 0)
        fail_msg("%s", err.text);
}

#define SAY "printf '%s' '" ANSWER "'"

static void what_it_gets(void **state)
{
    (void)state;
    char one[] = "eks", two[] = "$(touch /tmp/x) *; a'b\"", first[] = "FL_SET=first", last[] = "FL_SET=a b=c";
    char fake[] = "KUBERNETES_EXEC_INFO=fake", cluster[] = "{\"server\":\"https://h\"}";
    char *args[] = {one, two}, *env[] = {first, last, fake};
    assert_int_equal(setenv("FL_SET", "ours", 1), 0);
    assert_int_equal(setenv("FL_SETTER", "stays", 1), 0);
    int beyond = fcntl(STDERR_FILENO, F_DUPFD, 77); /* as one that a shell left open for us */
    assert_true(beyond >= 77);
    struct fl_kube_plugin plugin = plugin_of(write_script(
        "plugin",
        "{ for word; do echo \"<$word>\"; done; env | grep ^FL_SET; echo \"$KUBERNETES_EXEC_INFO\"; read line && echo "
        "read;"
        " for fd in 3 4 5 6 7 8 9 77; do [ -e /proc/$$/fd/$fd ] && echo open $fd; done; } >$FL_FOLDER/out\n" SAY,
        0700));
    plugin.args = args;
    plugin.arg_count = FL_COUNT(args);
    plugin.env = env;
    plugin.env_count = FL_COUNT(env);
    plugin.cluster = cluster;
    assert_spawned(&plugin, false);
    char path[128];
    struct fl_buf text;
    snprintf(path, sizeof(path), "%s/out", folder);
    fl_buf_init(&text, 4096);
    assert_int_equal(fl_buf_read_file(&text, path), 0);
    const char *out = fl_buf_str(&text);
    assert_non_null(strstr(out, "<eks>\n<$(touch /tmp/x) *; a'b\">\n"));
    assert_non_null(strstr(out, "FL_SET=a b=c\n"));
    assert_non_null(strstr(out, "FL_SETTER=stays\n"));
    assert_null(strstr(out, "first"));
    assert_null(strstr(out, "ours"));
    assert_null(strstr(out, "fake"));
    assert_null(strstr(out, "read"));
    assert_null(strstr(out, "open"));
    assert_non_null(strstr(out, "{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1 "\",\"spec\":{\"cluster\":"
                                "{\"server\":\"https://h\"},\"interactive\":false}}\n"));
    fl_buf_done(&text);
    unlink(path);
    close(beyond);
}

/* Whoever started us left stdin closed, and wants no word of children. */
static void what_we_have_not(void **state)
{
    (void)state;
    struct fl_kube_plugin plugin =
        plugin_of(write_script("plugin", "[ -e /proc/$$/fd/0 ] && echo stdin >$FL_FOLDER/out\n" SAY, 0700));
    int own = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
    close(STDIN_FILENO);
    assert_spawned(&plugin, false);
    assert_true(own < 0 || dup2(own, STDIN_FILENO) == STDIN_FILENO);
    assert_out("stdin\n");
    close(own);
    signal(SIGCHLD, SIG_IGN);
    plugin = plugin_of(write_script("plugin", SAY, 0700));
    for (int i = 0; i < 20; i++)
        assert_spawned(&plugin, false);
    signal(SIGCHLD, SIG_DFL);
}

static void a_terminal_is_handed_over(void **state)
{
    (void)state;
    static const struct {
        enum fl_kube_plugin_mode mode;
        bool asked;
        const char *expected;
    } rows[] = {
        {FL_KUBE_PLUGIN_NEVER, true, "none\n"},
        {FL_KUBE_PLUGIN_IF_AVAILABLE, true, "terminal\n"},
        {FL_KUBE_PLUGIN_ALWAYS, true, "terminal\n"},
        {FL_KUBE_PLUGIN_IF_AVAILABLE, false, "none\n"}, /* a key was pressed: nobody is to be asked */
    };
    int own = dup(STDIN_FILENO), master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0 && dup2(slave, STDIN_FILENO) == STDIN_FILENO);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_kube_plugin plugin = plugin_of(
            write_script("plugin", "{ [ -t 0 ] && echo terminal || echo none; } >$FL_FOLDER/out\n" SAY, 0700));
        plugin.mode = rows[i].mode;
        assert_spawned(&plugin, rows[i].asked);
        assert_out(rows[i].expected);
    }
    assert_true(own >= 0 ? dup2(own, STDIN_FILENO) == STDIN_FILENO : close(STDIN_FILENO) == 0);
    close(own);
    close(slave);
    close(master);
}

static void what_goes_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *body, *says;
        mode_t mode;
        enum fl_kube_plugin_mode wants;
    } rows[] = {
        {"exit 3", "ended with status 3: expected an ExecCredential", 0700, 0},
        {SAY "\nexit 1", "ended with status 1", 0700, 0},
        {"kill -TERM $$", "was ended by signal 15", 0700, 0},
        {"exec yes", "printed more than 1048576 bytes", 0700, 0},
        {"echo hello", "printed something else: expected one ExecCredential", 0700, 0},
        {"", "printed something else: expected one ExecCredential", 0700, 0},
        {SAY, "is not a program that may be started here: get it at https://x", 0600, 0},
        {SAY, "expected a terminal as stdin", 0700, FL_KUBE_PLUGIN_ALWAYS},
    };
    char hint[] = "get it at https://x";
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_err err = {0};
        char name[8];
        snprintf(name, sizeof(name), "%s", rows[i].mode == 0700 ? "plugin" : "plain");
        struct fl_kube_plugin plugin = plugin_of(write_script(name, rows[i].body, rows[i].mode));
        plugin.mode = rows[i].wants;
        plugin.install_hint = hint;
        int result = spawn(&plugin, 0, false, &err);
        if (result != -EACCES || strstr(err.text, rows[i].says) == NULL ||
            strstr(err.text, "user \"dev\", exec \"/") == NULL)
            fail_msg("row %zu: %d %s", i, result, err.text);
    }
}

static void its_time_is_bounded(void **state)
{
    (void)state;
    struct fl_err err = {0};
    struct fl_kube_plugin plugin = plugin_of(write_script("plugin", "printf '{'\nexec sleep 1000", 0700));
    assert_int_equal(spawn(&plugin, 50, false, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "gave no ExecCredential within 1 s"));
    plugin = plugin_of(write_script("plugin", "exec >&-\nexec sleep 1000", 0700)); /* nothing more can come */
    assert_int_equal(spawn(&plugin, 50, false, &err), -ETIMEDOUT);
}

/* What it left running holds the pipe: that is not waited for. The one here ends with the file. */
static void a_program_of_its_own_stays(void **state)
{
    (void)state;
    struct fl_kube_plugin plugin =
        plugin_of(write_script("plugin", "while [ -e \"$0\" ]; do sleep 0.05; done &\n" SAY, 0700));
    assert_spawned(&plugin, false);
}

static void where_it_is_looked_for(void **state)
{
    (void)state;
    char path[256], *was = strdup(getenv("PATH")), hint[] = "see https://x/install";
    struct fl_err err = {0};
    struct fl_kube_plugin plugin = plugin_of("plugin");
    write_script("plugin", SAY, 0700);
    snprintf(path, sizeof(path), "/nowhere:%s:%s", folder, was);
    assert_int_equal(setenv("PATH", path, 1), 0);
    assert_spawned(&plugin, false);

    assert_int_equal(chdir(folder), 0); /* not here, whatever PATH says */
    assert_int_equal(setenv("PATH", ":.:/nowhere", 1), 0);
    plugin.install_hint = hint;
    assert_int_equal(spawn(&plugin, 0, false, &err), -EACCES);
    assert_string_equal(err.text, "user \"dev\", exec \"plugin\": is in no folder of PATH: see https://x/install");
    assert_int_equal(chdir("/"), 0);
    unsetenv("PATH");
    assert_int_equal(spawn(&plugin, 0, false, &err), -EACCES);
    assert_int_equal(setenv("PATH", was, 1), 0);
    free(was);

    char nowhere[] = "/nowhere/plugin";
    plugin.command = nowhere;
    assert_int_equal(spawn(&plugin, 0, false, &err), -EACCES);
    write_script("plugin", "", 0700);
    plugin = plugin_of(folder); /* a folder is no program */
    assert_int_equal(spawn(&plugin, 0, false, &err), -EACCES);
}

static void an_interpreter_that_is_not_there(void **state)
{
    (void)state;
    char path[128];
    struct fl_err err = {0};
    snprintf(path, sizeof(path), "%s/plain", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("#!/nowhere/python\n", file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0700), 0);
    struct fl_kube_plugin plugin = plugin_of(path);
    assert_int_equal(spawn(&plugin, 0, false, &err), -EACCES);
    assert_non_null(strstr(err.text, "cannot be started: No such file"));
}

/* The pipe's other end is the plugin's alone: it closes when the plugin is gone. */
static void it_ends_with_us(void **state)
{
    (void)state;
    char path[128], said[8];
    snprintf(path, sizeof(path), "%s/fifo", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    struct fl_kube_plugin plugin =
        plugin_of(write_script("plugin", "exec 9>$FL_FOLDER/fifo\necho up >&9\nexec sleep 1000", 0700));
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(spawn(&plugin, 0, false, NULL) < 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, said, sizeof(said)), 3);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(read(fd, said, sizeof(said)), 0);
    close(fd);
}

static void each_allocation_fails(void **state)
{
    (void)state;
    char word[] = "A=b", cluster[] = "{}", *words[] = {word};
    struct fl_kube_plugin plugin = plugin_of(write_script("plugin", SAY, 0700));
    plugin.args = plugin.env = words;
    plugin.arg_count = plugin.env_count = 1;
    plugin.cluster = cluster;
    const struct fl_kube_starter starter = {.start = fl_kube_spawn};
    FAIL_EACH_ALLOCATION
    {
        struct fl_kube_plugin_answer answer = {0};
        int result = starter.start(&starter, &plugin, &answer, NULL);
        fail_stop();
        if (fail_happened())
            assert_int_equal(result, -ENOMEM);
        else
            assert_int_equal(result, 0);
        fl_kube_plugin_answer_done(&answer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_read),          cmocka_unit_test(answers_are_refused),
        cmocka_unit_test(a_token_is_bounded),        cmocka_unit_test(what_it_gets),
        cmocka_unit_test(a_token_is_bounded),        cmocka_unit_test(what_we_have_not),
        cmocka_unit_test(a_terminal_is_handed_over), cmocka_unit_test(what_goes_wrong),
        cmocka_unit_test(its_time_is_bounded),       cmocka_unit_test(a_program_of_its_own_stays),
        cmocka_unit_test(where_it_is_looked_for),    cmocka_unit_test(an_interpreter_that_is_not_there),
        cmocka_unit_test(it_ends_with_us),           cmocka_unit_test(each_allocation_fails),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
