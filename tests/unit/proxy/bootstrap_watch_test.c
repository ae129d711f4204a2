/* proxy/config/watch: a file that is replaced is told once, whatever way it was replaced. */
#include "proxy/config/bootstrap.h"
#include "proxy/config/watch.h"
#include "tests/support/fail.h"
#include "tests/unit/proxy/pki_folder.h"

#include <errno.h>
#include <sys/stat.h>

static struct pki_folder folder;
static struct fl_loop *loop;
static struct proxy_snapshot *snapshot;

static int setup(void **state)
{
    (void)state;
    pki_folder_init(&folder);
    assert_int_equal(fl_loop_new(&loop), 0);
    struct fl_buf text;
    fl_buf_init(&text, 1u << 20);
    pki_folder_golden(&folder, "client", &text);
    assert_int_equal(proxy_bootstrap_parse(fl_buf_span(&text), "client", NULL, &snapshot, NULL), 0);
    fl_buf_done(&text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    proxy_snapshot_unref(snapshot);
    fl_loop_free(loop);
    pki_folder_done(&folder);
    return 0;
}

static void on_change(void *owner)
{
    ++*(unsigned *)owner;
}

/* Turns for a while past the settling time, or until it was told. */
static void wait_for(const unsigned *told, unsigned wanted)
{
    uint64_t start = 0;
    for (unsigned i = 0; i < 200; i++) {
        assert_true(fl_loop_turn(loop, 20) >= 0);
        start = start == 0 ? fl_loop_now_ms(loop) : start;
        if (*told >= wanted && wanted > 0)
            return;
        if (wanted == 0 && fl_loop_now_ms(loop) - start > 2 * PROXY_WATCH_SETTLE_MS)
            return;
    }
}

static void path_of(const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", folder.path, name);
}

static void test_changes_are_told(void **state)
{
    (void)state;
    unsigned told = 0;
    struct proxy_watch *watch = NULL;
    assert_int_equal(proxy_watch_new(loop, on_change, &told, &watch), 0);
    assert_int_equal(proxy_watch_set(watch, snapshot), 0);
    wait_for(&told, 0);
    assert_int_equal(told, 0); /* nothing changed */

    pki_folder_write(&folder, "bootstrap.yaml", FL_SPAN("x")); /* in the same folder, but not watched */
    wait_for(&told, 0);
    assert_int_equal(told, 0);

    pki_folder_write(&folder, "key.pem", FL_SPAN("written in place"));
    wait_for(&told, 1);
    assert_int_equal(told, 1);
    wait_for(&told, 0);
    assert_int_equal(told, 1); /* once, though the snapshot is still the old one */

    char from[128], to[128];
    path_of("other.pem", from);
    path_of("root-cert.pem", to);
    pki_folder_write(&folder, "other.pem", FL_SPAN("renamed over it"));
    assert_int_equal(rename(from, to), 0);
    wait_for(&told, 2);
    assert_int_equal(told, 2);

    assert_int_equal(unlink(to), 0);
    wait_for(&told, 3);
    assert_int_equal(told, 3);
    proxy_watch_free(watch);
    pki_folder_issue(&folder, "spiffe://cluster.local/ns/demo/sa/server", 4000000000);
}

/* What changed between the compilation and the watch has no event. */
static void test_a_change_before_the_watch(void **state)
{
    (void)state;
    unsigned told = 0;
    struct proxy_watch *watch = NULL;
    pki_folder_issue(&folder, "spiffe://cluster.local/ns/demo/sa/server", 4000000000);
    assert_int_equal(proxy_watch_new(loop, on_change, &told, &watch), 0);
    assert_int_equal(proxy_watch_set(watch, snapshot), 0);
    wait_for(&told, 1);
    assert_int_equal(told, 1);
    proxy_watch_free(watch);
    proxy_watch_free(NULL);
}

/* The symlink swap of a mounted volume: the file's own folder sees "..data" being renamed. */
static void test_a_swapped_link(void **state)
{
    (void)state;
    char root[] = "/tmp/fairlead-watch-XXXXXX", path[128], next[128], target[256];
    assert_non_null(mkdtemp(root));
    struct proxy_watched_file file = {0};
    struct proxy_snapshot *small = proxy_snapshot_new(NULL);
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof(path), "%s/v%d", root, i);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(target, sizeof(target), "%s/cert", path);
        FILE *out = fopen(target, "we");
        assert_non_null(out);
        fprintf(out, "version %d", i);
        fclose(out);
    }
    snprintf(path, sizeof(path), "%s/..data", root);
    assert_int_equal(symlink("v1", path), 0);
    snprintf(target, sizeof(target), "%s/cert", root);
    assert_int_equal(symlink("..data/cert", target), 0);
    file.path = fl_span_str(target);
    assert_int_equal(stat(target, &file.status), 0);
    small->files = &file;
    small->file_count = 1;

    unsigned told = 0;
    struct proxy_watch *watch = NULL;
    assert_int_equal(proxy_watch_new(loop, on_change, &told, &watch), 0);
    assert_int_equal(proxy_watch_set(watch, small), 0);
    wait_for(&told, 0);
    assert_int_equal(told, 0);
    snprintf(next, sizeof(next), "%s/..next", root);
    assert_int_equal(symlink("v2", next), 0);
    assert_int_equal(rename(next, path), 0);
    wait_for(&told, 1);
    assert_int_equal(told, 1);
    proxy_watch_free(watch);
    proxy_snapshot_unref(small);
    static const char *const names[] = {"cert", "..data", "v1/cert", "v2/cert", "v1", "v2", ""};
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        snprintf(target, sizeof(target), "%s/%s", root, names[i]);
        assert_int_equal(remove(target), 0);
    }
}

static void test_memory_running_out(void **state)
{
    (void)state;
    unsigned told = 0;
    FAIL_EACH_ALLOCATION
    {
        struct proxy_watch *watch = NULL;
        int result = proxy_watch_new(loop, on_change, &told, &watch);
        if (result == 0)
            result = proxy_watch_set(watch, snapshot);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        proxy_watch_free(watch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes_are_told),
        cmocka_unit_test(test_a_change_before_the_watch),
        cmocka_unit_test(test_a_swapped_link),
        cmocka_unit_test(test_memory_running_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
