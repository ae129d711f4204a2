/* cni/install/watch: another writer, in each way that there is, a hundred times; folders that come and go; two agents;
 * a writer who never gives up; no inotify. On the real inotify, with the loop turned by hand. */
#include "cni/install/watch.h"

#include "cni/install/owner.h"
#include "cni/install/throttle.h"
#include "tests/support/fail.h"
#include "tests/support/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#define OURS     ",{\"type\":\"fairlead-cni\",\"capabilities\":{\"io.kubernetes.cri.pod-annotations\":true}}"
#define TURNS    4000 /* of at most 5 ms */
#define NAME     "10-net.conflist"
#define REWRITES 100

static char top[64], conf[128], bin[128], source[128];
static struct cni_install_settings settings;
static struct fl_loop *loop;
static unsigned reports;

static void on_report(void *owner, const struct cni_install_report *report)
{
    (void)owner, (void)report;
    reports++;
}

static int set_up(void **state)
{
    char bytes[512] = "\177ELF what comes first fairlead-cni slot:";
    (void)state;
    snprintf(top, sizeof(top), "/tmp/fairlead-watch-XXXXXX");
    assert_non_null(mkdtemp(top));
    snprintf(conf, sizeof(conf), "%s/conf", top);
    snprintf(bin, sizeof(bin), "%s/bin", top);
    snprintf(source, sizeof(source), "%s/source", top);
    mkdir(source, 0755);
    mkdir(folder_in(source, "files"), 0755);
    folder_put(source, "launcher", fl_span_make(bytes, sizeof(bytes)));
    folder_put_str(folder_in(source, "files"), "fairlead-cni", "the plugin");
    settings = (struct cni_install_settings){.payload = {source, bin}, .conf_dir = conf};
    assert_int_equal(fl_loop_new(&loop), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop = fl_loop_free(loop);
    folder_remove(top);
    return 0;
}

static void begin(void)
{
    folder_remove(conf);
    folder_remove(bin);
    mkdir(conf, 0755);
    mkdir(bin, 0755);
    reports = 0;
}

static struct cni_watch *start(void)
{
    struct cni_watch *watch = NULL;
    struct fl_err err = {0};
    if (cni_watch_new(loop, &settings, on_report, NULL, &watch, &err) != 0)
        fail_msg("watch: %s", err.text);
    return watch;
}

/* The nth text of the other writer, as it is to stand in the end, and without ours. */
static const char *text_of(unsigned n, bool with_ours)
{
    static char texts[4][512];
    static unsigned next;
    char *text = texts[next++ % 4];
    snprintf(text, sizeof(texts[0]),
             "{\"cniVersion\":\"1.0.0\",\"name\":\"n%u\",\"plugins\":[{\"type\":\"bridge\"}%s]}\n", n,
             with_ours ? OURS : "");
    return text;
}

static bool stands(const char *path, const char *text)
{
    char there[1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, there, sizeof(there)) : -1;
    if (fd >= 0)
        close(fd);
    return length == (ssize_t)strlen(text) && memcmp(there, text, strlen(text)) == 0;
}

static void turn_until_text(const char *path, const char *text)
{
    for (int i = 0; i < TURNS; i++) {
        if (stands(path, text))
            return;
        assert_int_equal(fl_loop_turn(loop, 5), 0);
    }
    fail_msg("%s does not become %s", path, text);
}

static void turn_until_state(const struct cni_watch *watch, enum cni_install_state wanted)
{
    for (int i = 0; i < TURNS; i++) {
        if (cni_watch_report(watch)->state == wanted)
            return;
        assert_int_equal(fl_loop_turn(loop, 5), 0);
    }
    fail_msg("it is %s (%s), not %s", cni_install_state_name(cni_watch_report(watch)->state),
             cni_watch_report(watch)->reason, cni_install_state_name(wanted));
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- a hundred times ---- */

static void write_in_place(const char *text)
{
    folder_put_str(conf, NAME, text);
}

static void write_by_rename(const char *text)
{
    folder_put_str(conf, "theirs.tmp", text);
    assert_int_equal(rename(folder_in(conf, "theirs.tmp"), folder_in(conf, NAME)), 0);
}

static void write_from_elsewhere(const char *text)
{
    folder_put_str(top, "theirs", text);
    assert_int_equal(rename(folder_in(top, "theirs"), folder_in(conf, NAME)), 0);
}

static void write_truncated_first(const char *text)
{
    int fd = open(folder_in(conf, NAME), O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0644);
    size_t half = strlen(text) / 2;
    assert_true(fd >= 0);
    fl_loop_turn(loop, 0);
    assert_int_equal(write(fd, text, half), (ssize_t)half);
    fl_loop_turn(loop, 0);
    assert_int_equal(write(fd, text + half, strlen(text) - half), (ssize_t)(strlen(text) - half));
    fl_loop_turn(loop, 0);
    close(fd);
}

static void write_removed_first(const char *text)
{
    unlink(folder_in(conf, NAME));
    fl_loop_turn(loop, 0);
    folder_put_str(conf, NAME, text);
}

static int compare_times(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void test_a_hundred_rewrites(void **state)
{
    (void)state;
    static const struct {
        const char *how;
        void (*write)(const char *text);
    } ways[] = {{"in place", write_in_place},
                {"by rename", write_by_rename},
                {"by rename from another folder", write_from_elsewhere},
                {"truncated first, in pieces", write_truncated_first},
                {"removed first", write_removed_first}};
    for (size_t way = 0; way < FL_COUNT(ways); way++) {
        uint64_t times[REWRITES];
        begin();
        folder_put_str(conf, NAME, text_of(0, false));
        struct cni_watch *watch = start();
        turn_until_state(watch, CNI_INSTALL_INSTALLED);
        for (unsigned n = 0; n < REWRITES; n++) {
            ways[way].write(text_of(n + 1, false));
            uint64_t start_ns = now_ns();
            turn_until_text(folder_in(conf, NAME), text_of(n + 1, true));
            times[n] = now_ns() - start_ns;
        }
        turn_until_state(watch, CNI_INSTALL_INSTALLED);
        qsort(times, REWRITES, sizeof(times[0]), compare_times);
        print_message("rewritten %s, back in: median %.2f ms, p99 %.2f ms\n", ways[way].how,
                      (double)times[REWRITES / 2] / 1e6, (double)times[REWRITES - 2] / 1e6);
        watch = cni_watch_free(watch);
    }
}

/* A writer that had the file open when we replaced it, and writes on. */
static void test_a_writer_of_the_replaced_file(void **state)
{
    (void)state;
    begin();
    folder_put_str(conf, NAME, text_of(0, false));
    int fd = open(folder_in(conf, NAME), O_WRONLY | O_CLOEXEC);
    struct cni_watch *watch = start();
    turn_until_text(folder_in(conf, NAME), text_of(0, true));
    for (unsigned n = 1; n < 4; n++) {
        const char *text = text_of(n, false);
        size_t half = strlen(text) / 2;
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, text, half, 0), (ssize_t)half);
        fl_loop_turn(loop, 0);
        assert_true(stands(folder_in(conf, NAME), text_of(n - 1, true)));
        assert_int_equal(pwrite(fd, text + half, strlen(text) - half, (off_t)half), (ssize_t)(strlen(text) - half));
        turn_until_text(folder_in(conf, NAME), text_of(n, true));
    }
    assert_int_equal(cni_watch_counts(watch)->rescued, 3);
    close(fd);
    watch = cni_watch_free(watch);
}

/* ---- folders ---- */

static void test_folders_come_and_go(void **state)
{
    (void)state;
    begin();
    folder_remove(conf);
    struct cni_watch *watch = start();
    turn_until_state(watch, CNI_INSTALL_WAITING);
    mkdir(conf, 0755);
    for (int i = 0; i < 100; i++)
        fl_loop_turn(loop, 5);
    folder_put_str(conf, NAME, text_of(1, false));
    turn_until_text(folder_in(conf, NAME), text_of(1, true));
    /* replaced by another one */
    assert_int_equal(rename(conf, folder_in(top, "old")), 0);
    mkdir(conf, 0755);
    folder_put_str(conf, NAME, text_of(2, false));
    turn_until_text(folder_in(conf, NAME), text_of(2, true));
    folder_remove(folder_in(top, "old"));
    folder_put_str(conf, NAME, text_of(3, false));
    turn_until_text(folder_in(conf, NAME), text_of(3, true));
    /* gone */
    folder_remove(conf);
    turn_until_state(watch, CNI_INSTALL_WAITING);
    mkdir(conf, 0755);
    folder_put_str(conf, NAME, text_of(4, false));
    turn_until_text(folder_in(conf, NAME), text_of(4, true));
    /* the plugin's folder, and the plugin in it */
    folder_remove(bin);
    turn_until_state(watch, CNI_INSTALL_WAITING);
    mkdir(bin, 0755);
    turn_until_state(watch, CNI_INSTALL_INSTALLED);
    assert_int_equal(access(folder_in(bin, "fairlead-cni"), X_OK), 0);
    unlink(folder_in(bin, "fairlead-cni"));
    for (int i = 0; i < TURNS && access(folder_in(bin, "fairlead-cni"), X_OK) != 0; i++)
        fl_loop_turn(loop, 5);
    assert_int_equal(access(folder_in(bin, "fairlead-cni"), X_OK), 0);
    watch = cni_watch_free(watch);
}

static void test_half_written(void **state)
{
    (void)state;
    begin();
    folder_put_str(conf, NAME, "{\"cniVersion\":\"1.0.0\",");
    struct cni_watch *watch = start();
    turn_until_state(watch, CNI_INSTALL_UNREADABLE);
    assert_true(stands(folder_in(conf, NAME), "{\"cniVersion\":\"1.0.0\","));
    uint64_t passes = cni_watch_counts(watch)->passes;
    for (int i = 0; i < TURNS && cni_watch_counts(watch)->passes < passes + 3; i++)
        fl_loop_turn(loop, 5); /* without a change */
    assert_true(cni_watch_counts(watch)->passes >= passes + 3);
    folder_put_str(conf, NAME, text_of(1, false));
    turn_until_text(folder_in(conf, NAME), text_of(1, true));
    assert_true(reports >= 2);
    watch = cni_watch_free(watch);
}

/* ---- others ---- */

static void test_two_agents(void **state)
{
    (void)state;
    begin();
    folder_put_str(conf, NAME, text_of(0, false));
    struct cni_watch *older = start();
    turn_until_state(older, CNI_INSTALL_INSTALLED);
    settings.backend = "iptables"; /* the newer one wants something else */
    struct cni_watch *newer = start();
    settings.backend = NULL;
    turn_until_state(newer, CNI_INSTALL_INSTALLED);
    turn_until_state(older, CNI_INSTALL_STANDBY);
    for (unsigned n = 1; n < 5; n++) {
        folder_put_str(conf, NAME, text_of(n, false));
        for (int i = 0; i < 20; i++)
            fl_loop_turn(loop, 5);
    }
    assert_int_equal(cni_watch_counts(older)->conflist_written, 1);
    assert_int_equal(cni_watch_report(older)->state, CNI_INSTALL_STANDBY);
    assert_false(stands(folder_in(conf, NAME), text_of(4, true)));
    /* the newer one is gone without a word: the older one takes over */
    newer = cni_watch_free(newer);
    turn_until_state(older, CNI_INSTALL_INSTALLED);
    turn_until_text(folder_in(conf, NAME), text_of(4, true));
    older = cni_watch_free(older);
}

/* What an uninstaller took out, an agent that still runs does not put back; one that starts does. */
static void test_uninstalled_while_it_runs(void **state)
{
    (void)state;
    begin();
    folder_put_str(conf, NAME, text_of(0, false));
    struct cni_watch *watch = start();
    turn_until_state(watch, CNI_INSTALL_INSTALLED);
    struct cni_owner owner = CNI_OWNER_NOBODY;
    struct fl_err err = {0};
    assert_int_equal(cni_owner_take(bin, CNI_OWNER_UNINSTALL, &owner, &err), 0);
    turn_until_state(watch, CNI_INSTALL_REMOVED);
    cni_owner_done(&owner);
    assert_int_equal(cni_install_remove(&settings, 0, &err), 0);
    for (int i = 0; i < 300; i++)
        fl_loop_turn(loop, 5);
    assert_true(stands(folder_in(conf, NAME), text_of(0, false)));
    assert_int_not_equal(access(folder_in(bin, "fairlead-cni"), F_OK), 0);
    assert_int_not_equal(access(folder_in(bin, "fairlead-cni.d"), F_OK), 0);
    watch = cni_watch_free(watch);
    watch = start();
    turn_until_text(folder_in(conf, NAME), text_of(0, true));
    watch = cni_watch_free(watch);
}

static void test_a_writer_who_never_gives_up(void **state)
{
    (void)state;
    begin();
    folder_put_str(conf, "05-cilium.conflist", text_of(0, false));
    struct cni_watch *watch = start();
    turn_until_state(watch, CNI_INSTALL_INSTALLED);
    for (int i = 0; i < TURNS && cni_watch_report(watch)->state != CNI_INSTALL_EXCLUSIVE; i++) {
        if (stands(folder_in(conf, "05-cilium.conflist"), text_of(0, true)))
            folder_put_str(conf, "05-cilium.conflist", text_of(0, false));
        fl_loop_turn(loop, 5);
    }
    assert_int_equal(cni_watch_report(watch)->state, CNI_INSTALL_EXCLUSIVE);
    assert_non_null(strstr(cni_watch_report(watch)->reason, "05-cilium.conflist"));
    assert_non_null(strstr(cni_watch_report(watch)->reason, "cni.exclusive=false"));
    /* out once more: not put back at once, but in a while */
    uint64_t written = cni_watch_counts(watch)->conflist_written;
    assert_true(written > CNI_THROTTLE_BURST);
    folder_put_str(conf, "05-cilium.conflist", text_of(0, false));
    for (int i = 0; i < 20; i++)
        fl_loop_turn(loop, 5);
    assert_int_equal(cni_watch_counts(watch)->conflist_written, written);
    turn_until_text(folder_in(conf, "05-cilium.conflist"), text_of(0, true));
    /* it is left in place: over */
    turn_until_state(watch, CNI_INSTALL_INSTALLED);
    watch = cni_watch_free(watch);
}

static void test_throttle(void **state)
{
    (void)state;
    struct cni_throttle throttle;
    uint64_t now = 1000000, pause = CNI_THROTTLE_FIRST_MS;
    cni_throttle_init(&throttle, now);
    for (int i = 0; i < CNI_THROTTLE_BURST; i++)
        assert_false(cni_throttle_put_back(&throttle, now));
    now += CNI_THROTTLE_REFILL_MS;
    assert_false(cni_throttle_put_back(&throttle, now));
    for (int i = 0; i < 10; i++) {
        assert_true(cni_throttle_put_back(&throttle, now));
        assert_int_equal(cni_throttle_wait(&throttle, now), pause);
        now += pause;
        assert_int_equal(cni_throttle_wait(&throttle, now), 0);
        pause = 2 * pause < CNI_THROTTLE_LAST_MS ? 2 * pause : CNI_THROTTLE_LAST_MS;
    }
    cni_throttle_kept(&throttle, now);
    assert_false(cni_throttle_put_back(&throttle, now));
    assert_int_equal(cni_throttle_wait(&throttle, now), 0);
}

/* ---- what may fail ---- */

/* The report's receiver ends the watch. */
static struct cni_watch *ended;
static void on_report_end(void *owner, const struct cni_install_report *report)
{
    (void)owner, (void)report;
    ended = cni_watch_free(ended);
}

static void test_freed_by_its_report(void **state)
{
    (void)state;
    struct fl_err err = {0};
    begin();
    folder_put_str(conf, NAME, text_of(0, false));
    assert_int_equal(cni_watch_new(loop, &settings, on_report_end, NULL, &ended, &err), 0);
    for (int i = 0; i < TURNS && ended != NULL; i++)
        fl_loop_turn(loop, 5);
    assert_null(ended);
}

static void test_memory(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct cni_watch *watch = NULL;
        fail_stop();
        begin();
        folder_put_str(conf, NAME, text_of(0, false));
        fail_at(fail_round_);
        int result = cni_watch_new(loop, &settings, on_report, NULL, &watch, NULL);
        if (result == 0)
            fl_loop_turn(loop, 20);
        fail_stop();
        assert_true(result == 0 || result == -ENOMEM);
        if (result == 0)
            turn_until_text(folder_in(conf, NAME), text_of(0, true));
        watch = cni_watch_free(watch);
    }
}

/* The user's inotify instances are used up: played, for they are shared by all that the user runs on the machine. */
static bool used_up;
int __real_inotify_init1(int flags);
int __wrap_inotify_init1(int flags);

int __wrap_inotify_init1(int flags)
{
    if (!used_up)
        return __real_inotify_init1(flags);
    errno = EMFILE;
    return -1;
}

static void test_without_inotify(void **state)
{
    (void)state;
    begin();
    folder_put_str(conf, NAME, text_of(0, false));
    used_up = true;
    struct cni_watch *watch = start();
    turn_until_text(folder_in(conf, NAME), text_of(0, true));
    assert_true(cni_watch_counts(watch)->polling);
    assert_non_null(strstr(cni_watch_report(watch)->reason, "no inotify"));
    assert_int_equal(cni_watch_report(watch)->state, CNI_INSTALL_INSTALLED);
    folder_put_str(conf, NAME, text_of(1, false));
    turn_until_text(folder_in(conf, NAME), text_of(1, true));
    unlink(folder_in(bin, "fairlead-cni"));
    for (int i = 0; i < TURNS && access(folder_in(bin, "fairlead-cni"), X_OK) != 0; i++)
        fl_loop_turn(loop, 5);
    assert_int_equal(access(folder_in(bin, "fairlead-cni"), X_OK), 0);
    watch = cni_watch_free(watch);
    used_up = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_hundred_rewrites),
        cmocka_unit_test(test_a_writer_of_the_replaced_file),
        cmocka_unit_test(test_folders_come_and_go),
        cmocka_unit_test(test_half_written),
        cmocka_unit_test(test_two_agents),
        cmocka_unit_test(test_uninstalled_while_it_runs),
        cmocka_unit_test(test_a_writer_who_never_gives_up),
        cmocka_unit_test(test_throttle),
        cmocka_unit_test(test_freed_by_its_report),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_without_inotify),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
