/* cni/agent/post: who can be posted to, and what becomes of Events when nobody answers or memory is out. (Servers that
 * answer: tests/integration/cni_events_test.py.) */
#include "cni/agent/post.h"

#include "common/base/file.h"
#include "tests/support/fail.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

static struct {
    unsigned results[CNI_POST_FAILED + 1], troubles;
    char reason[FL_ERR_TEXT_MAX];
} world;

static void on_done(void *owner, enum cni_post_result result, const char *reason)
{
    (void)owner, (void)reason;
    world.results[result]++;
}

static void on_trouble(void *owner, const char *reason)
{
    (void)owner;
    world.troubles++;
    snprintf(world.reason, sizeof(world.reason), "%s", reason);
}

static const struct cni_post_ops ops = {on_done, on_trouble};

static char folder[] = "/tmp/fl-post-XXXXXX";

static void write_file(const char *name, const char *text)
{
    char path[PATH_MAX];
    assert_int_equal(fl_file_path(folder, name, path, NULL), 0);
    assert_int_equal(fl_file_write(path, fl_span_str(text), 0600, false, NULL), 0);
}

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    write_file("token", "abc\n");
    write_file("ca.crt", "no certificate\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char path[PATH_MAX];
    for (int i = 0; i < 2; i++) {
        if (fl_file_path(folder, i == 0 ? "token" : "ca.crt", path, NULL) == 0)
            unlink(path);
    }
    return rmdir(folder);
}

static void test_access(void **state)
{
    (void)state;
    static const struct {
        const char *host, *port;
        int result;
    } rows[] = {
        {"10.96.0.1", "443", 0},         {"fd00::1", "443", 0},        {"[fd00::1]", "443", 0},
        {NULL, "443", -ENOENT},          {"10.96.0.1", NULL, -ENOENT}, {"", "443", -ENOENT},
        {"10.96.0.1", "", -EINVAL},      {"10.96.0.1", "0", -EINVAL},  {"10.96.0.1", "65536", -EINVAL},
        {"api.example", "443", -EINVAL}, {"[]", "443", -EINVAL},       {"10.96.0.1 ", "443", -EINVAL},
        {"10.96.0.1:443", "1", -EINVAL},
    };
    struct fl_loop *loop = NULL;
    assert_int_equal(fl_loop_new(&loop), 0);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const struct cni_post_access access = {rows[i].host, rows[i].port, folder};
        struct cni_post *post = NULL;
        struct fl_err err = {0};
        if (cni_post_new(loop, &access, &ops, NULL, &post, &err) != rows[i].result)
            fail_msg("row %zu: %s", i, err.text);
        assert_true((err.text[0] != '\0') == (rows[i].result < 0));
        cni_post_free(post);
    }
    fl_loop_free(loop);
}

/* What cannot be used is trouble, once a minute, and what is too much is dropped. */
static void test_bad_authority(void **state)
{
    (void)state;
    const struct cni_post_access access = {"127.0.0.1", "1", folder};
    struct fl_loop *loop = NULL;
    struct cni_post *post = NULL;
    memset(&world, 0, sizeof(world));
    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(cni_post_new(loop, &access, &ops, NULL, &post, NULL), 0);
    for (int i = 0; i < CNI_POST_QUEUE_MAX + 3; i++)
        cni_post_send(post, "/x", FL_SPAN("{}"));
    for (int i = 0; i < 3; i++)
        assert_int_equal(fl_loop_turn(loop, 50), 0);
    assert_int_equal(world.troubles, 1);
    assert_int_equal(world.results[CNI_POST_DROPPED], 3);
    cni_post_free(post);
    fl_loop_free(loop);
}

/* A post is dropped, or put off; nothing leaks and nothing dies. */
static void test_memory_is_out(void **state)
{
    (void)state;
    const struct cni_post_access access = {"127.0.0.1", "1", folder}; /* where nobody listens */
    FAIL_EACH_ALLOCATION
    {
        struct fl_loop *loop = NULL;
        struct cni_post *post = NULL;
        memset(&world, 0, sizeof(world));
        int result = fl_loop_new(&loop);
        if (result == 0)
            result = cni_post_new(loop, &access, &ops, NULL, &post, NULL);
        if (result == 0) {
            cni_post_send(post, "/x", FL_SPAN("{}"));
            for (int i = 0; i < 5; i++)
                assert_int_equal(fl_loop_turn(loop, 10), 0);
            assert_true(world.troubles + world.results[CNI_POST_DROPPED] == 1);
        }
        fail_stop();
        assert_int_equal(result, result < 0 ? -ENOMEM : 0);
        cni_post_free(post);
        fl_loop_free(loop);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_bad_authority),
        cmocka_unit_test(test_memory_is_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
