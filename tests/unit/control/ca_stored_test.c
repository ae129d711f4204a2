#include "common/base/base64.h"
#include "common/pki/bundle.h"
#include "control/ca/root.h"
#include "control/ca/rotation.h"
#include "control/ca/stored.h"
#include "tests/support/fail.h"
#include "tests/unit/control/ca_folder.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define DAY  86400
#define YEAR (365 * DAY)

/* --- when roots come and go --- */

static struct control_rotation_root root_of(time_t from, time_t to)
{
    return (struct control_rotation_root){.there = true, .from = from, .to = to};
}

static void when_roots_come_and_go(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct {
            time_t from, to;
        } roots[3]; /* to 0: not there */
        bool asked;
        time_t now;
        unsigned make, drop;
    } rows[] = {
        {"none is there", {{0, 0}}, false, 0, 1, 0},
        {"a young one", {{0, 10 * YEAR}}, false, YEAR, 0, 0},
        {"a fifth of its life before its end", {{0, 10 * YEAR}}, false, 8 * YEAR, 2, 0},
        {"a moment before that", {{0, 10 * YEAR}}, false, 8 * YEAR - 1, 0, 0},
        {"somebody asks", {{0, 10 * YEAR}}, true, YEAR, 2, 0},
        {"a short life: half of it", {{0, 4 * DAY}}, false, 2 * DAY, 2, 0},
        {"the new one is only trusted", {{0, 10 * YEAR}, {8 * YEAR, 18 * YEAR}}, false, 8 * YEAR + DAY, 0, 0},
        {"leaves of the old one may be valid",
         {{0, 10 * YEAR}, {8 * YEAR, 18 * YEAR}},
         false,
         8 * YEAR + 2 * DAY,
         0,
         0},
        {"none is", {{0, 10 * YEAR}, {8 * YEAR, 18 * YEAR}}, false, 8 * YEAR + 2 * DAY + 3601, 0, 1u << 1},
        {"the newest is never dropped", {{0, 10 * YEAR}}, false, 11 * YEAR, 2, 0},
        {"an expired one beside it is", {{0, YEAR}, {1, 10 * YEAR}}, false, 2 * YEAR, 0, 1u << 1},
        {"the newest by age, not by number", {{8 * YEAR, 18 * YEAR}, {0, 10 * YEAR}}, false, 9 * YEAR, 0, 1u << 2},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct control_rotation_root roots[CONTROL_ROOTS_MAX + 1] = {0};
        for (size_t n = 0; n < FL_COUNT(rows[i].roots); n++)
            if (rows[i].roots[n].to > 0)
                roots[n + 1] = root_of(rows[i].roots[n].from, rows[i].roots[n].to);
        struct control_rotation plan = control_rotation_plan(roots, DAY, DAY, rows[i].asked, rows[i].now);
        if (plan.make != rows[i].make || plan.drop != rows[i].drop)
            fail_msg("%s: makes %u, drops %x", rows[i].what, plan.make, plan.drop);
    }
}

static void numbers_are_used_again(void **state)
{
    (void)state;
    struct control_rotation_root roots[CONTROL_ROOTS_MAX + 1] = {0};
    roots[CONTROL_ROOTS_MAX] = root_of(0, YEAR);
    assert_int_equal(control_rotation_plan(roots, DAY, DAY, true, 1).make, 1);
    for (unsigned number = 1; number <= CONTROL_ROOTS_MAX; number++)
        roots[number] = root_of(0, YEAR);
    assert_int_equal(control_rotation_plan(roots, DAY, DAY, true, 1).make, 0);
}

/* --- Secrets --- */

static void put_secret(struct fl_buf *json, const char *key, struct fl_span value)
{
    fl_buf_init(json, 1u << 20);
    assert_int_equal(fl_buf_printf(json,
                                   "{\"kind\":\"Secret\",\"metadata\":{\"resourceVersion\":\"7\",\"creationTimestamp\":"
                                   "\"2026-01-02T03:04:05Z\"},\"data\":{\"other\":\"AA==\",\"%s\":\"",
                                   key),
                     0);
    assert_int_equal(fl_base64_encode(value, json), 0);
    assert_int_equal(fl_buf_append_str(json, "\"}}"), 0);
}

static void there_and_back(void **state)
{
    (void)state;
    struct control_stored stored;
    struct control_rotation_root roots[CONTROL_ROOTS_MAX + 1];
    struct fl_buf pem, json, out;
    struct fl_err err = {0};
    fl_buf_init(&pem, CONTROL_STORED_FILE_MAX);
    fl_buf_init(&out, 1u << 20);
    assert_int_equal(control_root_make(1000000000, YEAR, &pem, NULL), 0);
    put_secret(&json, "root-2.pem", fl_buf_span(&pem));
    assert_int_equal(control_stored_read(fl_buf_span(&json), &stored, &err), 0);
    assert_true(stored.there && strcmp(stored.version, "7") == 0 && stored.created == 1767323045);
    assert_true(fl_span_eq(fl_buf_span(&stored.files[1]), fl_buf_span(&pem)));
    assert_int_equal(control_stored_roots(&stored, roots, &err), 0);
    assert_true(!roots[1].there && roots[2].there && roots[2].from == 1000000000 && roots[2].to == 1000000000 + YEAR);
    fl_buf_wipe(&stored.files[1]);
    fl_buf_init(&stored.files[0], 16);
    assert_int_equal(fl_buf_append_str(&stored.files[0], "abc"), 0);
    assert_int_equal(control_stored_print(&stored, "n", "s", 3, &out), 0);
    assert_string_equal(
        fl_buf_str(&out),
        "{\"metadata\":{\"resourceVersion\":\"7\"},\"data\":{\"root-1.pem\":\"YWJj\",\"root-2.pem\":null}}");
    fl_buf_clear(&out);
    stored.there = false;
    assert_int_equal(control_stored_print(&stored, "n", "s", 1, &out), 0);
    assert_string_equal(
        fl_buf_str(&out),
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"Opaque\",\"metadata\":{\"name\":\"n\",\"namespace\":"
        "\"s\","
        "\"labels\":{\"app.kubernetes.io/managed-by\":\"fairlead-control\"}},\"data\":{\"root-1.pem\":\"YWJj\"}}");
    control_stored_done(&stored);
    fl_buf_done(&pem);
    fl_buf_done(&json);
    fl_buf_done(&out);
}

static void what_is_refused_names_the_key(void **state)
{
    (void)state;
    static const struct {
        const char *json, *word;
    } rows[] = {
        {"", ""},
        {"{\"kind\":\"ConfigMap\",\"metadata\":{\"resourceVersion\":\"1\"}}", "not a Secret"},
        {"{\"kind\":\"Secret\",\"metadata\":{}}", "not a Secret"},
        {"{\"kind\":\"Secret\",\"metadata\":{\"resourceVersion\":\"1\"},\"data\":{\"ca-key.pem\":\"*\"}}",
         "ca-key.pem"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct control_stored stored;
        struct fl_err err = {0};
        assert_int_equal(control_stored_read(fl_span_str(rows[i].json), &stored, &err), -EINVAL);
        assert_non_null(strstr(err.text, rows[i].word));
    }
    struct control_rotation_root roots[CONTROL_ROOTS_MAX + 1];
    struct control_stored stored = {.there = true};
    struct fl_err err = {0};
    fl_buf_init(&stored.files[3], 16);
    assert_int_equal(fl_buf_append_str(&stored.files[3], "no root"), 0);
    assert_int_equal(control_stored_roots(&stored, roots, &err), -EINVAL);
    assert_non_null(strstr(err.text, "root-4.pem"));
    control_stored_done(&stored);
}

/* --- the folder that the courier fills --- */

static struct folder folder;

static int set_up(void **state)
{
    (void)state;
    folder_init(&folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_done(&folder);
    return 0;
}

static void put_root(const char *name, time_t from, struct fl_buf *pem)
{
    fl_buf_init(pem, CONTROL_STORED_FILE_MAX);
    assert_int_equal(control_root_make(from, YEAR, pem, NULL), 0);
    folder_write(&folder, name, fl_buf_span(pem), 0600);
}

/* A given one that is a root itself: its own file in both parts. */
static void put_given(time_t from, long since, struct fl_buf *pem)
{
    char text[32];
    fl_buf_init(pem, CONTROL_STORED_FILE_MAX);
    assert_int_equal(control_root_make(from, YEAR, pem, NULL), 0);
    size_t cut = (size_t)((char *)memmem(pem->data, pem->len, "-----BEGIN CERT", 15) - (char *)pem->data);
    struct fl_span all = fl_buf_span(pem), cert = fl_span_from(all, cut);
    folder_write(&folder, "ca-key.pem", fl_span_make(all.data, cut), 0600);
    folder_write(&folder, "ca-cert.pem", cert, 0600);
    folder_write(&folder, "root-cert.pem", cert, 0600);
    snprintf(text, sizeof(text), "%ld", since);
    folder_write(&folder, CONTROL_GIVEN_SINCE, fl_span_str(text), 0600);
}

static size_t roots_in(const struct control_root *root)
{
    struct fl_bundle *bundle;
    assert_int_equal(fl_bundle_parse(fl_buf_span(&root->bundle), &bundle, NULL), 0);
    size_t count = fl_bundle_count(bundle);
    fl_bundle_unref(bundle);
    return count;
}

static time_t begin_of(const struct control_root *root)
{
    time_t from, to;
    fl_cert_validity(root->cert, &from, &to);
    return from;
}

static void load(time_t now, size_t roots, time_t issuer_from, time_t changes)
{
    struct control_root root;
    struct fl_err err = {0};
    if (control_root_load_stored(folder.path, 100, now, &root, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(roots_in(&root), roots);
    assert_int_equal(begin_of(&root), issuer_from);
    assert_int_equal(root.changes, changes);
    control_root_done(&root);
}

static void nothing_is_made_there(void **state)
{
    (void)state;
    struct control_root root;
    struct fl_err err = {0};
    assert_int_equal(control_root_load_stored(folder.path, 0, time(NULL), &root, &err), -ENOENT);
}

static void a_given_one_is_trusted_before_it_issues(void **state)
{
    (void)state;
    time_t now = time(NULL);
    struct fl_buf own, given;
    put_root("root-1.pem", now - 1000, &own);
    load(now, 1, now - 1000, 0);
    put_given(now - 500, (long)now - 50, &given);
    load(now, 2, now - 1000, now + 50); /* half of the overlap is over */
    load(now + 50, 2, now - 500, 0);
    folder_remove(&folder, "root-1.pem");
    load(now, 1, now - 500, 0); /* nobody trusts another: at once */
    folder_remove(&folder, "ca-cert.pem");
    struct control_root root;
    assert_true(control_root_load_stored(folder.path, 0, now, &root, NULL) < 0);
    fl_buf_done(&own);
    fl_buf_done(&given);
}

static void the_newest_by_age_issues(void **state)
{
    (void)state;
    time_t now = time(NULL);
    struct fl_buf old, new;
    put_root("root-9.pem", now - 1000, &old);
    put_root("root-1.pem", now - 50, &new);
    load(now, 2, now - 1000, now + 50);
    load(now + 60, 2, now - 50, 0);
    fl_buf_done(&old);
    fl_buf_done(&new);
}

static void memory_runs_out(void **state)
{
    (void)state;
    time_t now = time(NULL);
    struct fl_buf own, given, json;
    put_root("root-1.pem", now - 1000, &own);
    put_given(now - 500, (long)now - 500, &given);
    put_secret(&json, "root-2.pem", fl_buf_span(&own));
    FAIL_EACH_ALLOCATION
    {
        struct control_root root;
        int result = control_root_load_stored(folder.path, 100, now, &root, NULL);
        fail_stop();
        if (result == 0)
            control_root_done(&root);
        else
            assert_true(fail_happened());
    }
    FAIL_EACH_ALLOCATION
    {
        struct control_rotation_root roots[CONTROL_ROOTS_MAX + 1];
        struct control_stored stored = {.there = false};
        struct fl_buf out;
        fl_buf_init(&out, 1u << 20);
        int result = control_stored_read(fl_buf_span(&json), &stored, NULL);
        if (result == 0)
            result = control_stored_roots(&stored, roots, NULL);
        if (result == 0)
            result = control_stored_print(&stored, "n", "s", 2, &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        control_stored_done(&stored);
        fl_buf_done(&out);
    }
    fl_buf_done(&own);
    fl_buf_done(&given);
    fl_buf_done(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(when_roots_come_and_go),
        cmocka_unit_test(numbers_are_used_again),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(what_is_refused_names_the_key),
        cmocka_unit_test_setup_teardown(nothing_is_made_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_given_one_is_trusted_before_it_issues, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_newest_by_age_issues, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_runs_out, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
