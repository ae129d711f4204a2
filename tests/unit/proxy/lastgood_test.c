/* proxy/config/lastgood: what was written is read; what is cut, changed or another node's is not; the file on disk. */
#include "proxy/config/lastgood.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

static const struct proxy_lastgood_record records[] = {
    {FL_RESOURCE_CLUSTER, false, FL_SPAN("a"), FL_SPAN("1"), FL_SPAN("\0\1\2")},
    {FL_RESOURCE_LISTENER, true, FL_SPAN("outbound|10.0.0.1:80"), FL_SPAN(""), FL_SPAN("")},
    {FL_RESOURCE_SECRET, true, FL_SPAN("s"), FL_SPAN("v2"), FL_SPAN("bytes")},
};

static int build(struct fl_buf *file)
{
    fl_buf_init(file, PROXY_LASTGOOD_BYTES_MAX);
    int result = proxy_lastgood_begin(file, FL_SPAN("node"));
    for (size_t i = 0; i < FL_COUNT(records) && result == 0; i++)
        result = proxy_lastgood_add(file, &records[i]);
    return result == 0 ? proxy_lastgood_end(file) : result;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct fl_buf file;
    struct fl_span rest;
    struct fl_err err;
    struct proxy_lastgood_record record;
    assert_int_equal(build(&file), 0);
    assert_int_equal(proxy_lastgood_open(fl_buf_span(&file), FL_SPAN("node"), &rest, &err), 0);
    for (size_t i = 0; i < FL_COUNT(records); i++) {
        assert_true(proxy_lastgood_next(&rest, &record));
        assert_int_equal(record.type, records[i].type);
        assert_int_equal(record.by_name, records[i].by_name);
        assert_true(fl_span_eq(record.name, records[i].name));
        assert_true(fl_span_eq(record.version, records[i].version));
        assert_true(fl_span_eq(record.bytes, records[i].bytes));
    }
    assert_false(proxy_lastgood_next(&rest, &record));
    assert_int_equal(proxy_lastgood_open(fl_buf_span(&file), FL_SPAN("other"), &rest, &err), -ESTALE);
    fl_buf_done(&file);
}

/* Every cut and every single bit: refused, never misread. */
static void test_damage(void **state)
{
    (void)state;
    struct fl_buf file;
    struct fl_span rest;
    struct fl_err err;
    assert_int_equal(build(&file), 0);
    for (size_t len = 0; len < file.len; len++)
        assert_int_equal(proxy_lastgood_open(fl_span_make(file.data, len), FL_SPAN("node"), &rest, &err), -EBADMSG);
    for (size_t bit = 0; bit < file.len * 8; bit++) {
        file.data[bit / 8] = (char)(file.data[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(proxy_lastgood_open(fl_buf_span(&file), FL_SPAN("node"), &rest, &err), -EBADMSG);
        file.data[bit / 8] = (char)(file.data[bit / 8] ^ 1 << bit % 8);
    }
    fl_buf_done(&file);
}

static void test_limits(void **state)
{
    (void)state;
    struct fl_buf file;
    fl_buf_init(&file, 64);
    assert_int_equal(proxy_lastgood_begin(&file, FL_SPAN("n")), 0);
    size_t before = file.len;
    char big[100] = "";
    const struct proxy_lastgood_record record = {.bytes = fl_span_make(big, sizeof(big))};
    assert_int_equal(proxy_lastgood_add(&file, &record), -EMSGSIZE);
    assert_int_equal(file.len, before); /* the others stay whole */
    fl_buf_done(&file);
}

static void test_disk(void **state)
{
    (void)state;
    char folder[] = "/tmp/lastgood-XXXXXX", path[64];
    struct fl_buf file;
    struct fl_err err;
    struct stat status;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/" PROXY_LASTGOOD_FILE, folder);
    fl_buf_init(&file, 100);
    assert_int_equal(proxy_lastgood_load(folder, &file, &err), -ENOENT);
    assert_int_equal(proxy_lastgood_save(folder, FL_SPAN("one"), &err), 0);
    assert_int_equal(proxy_lastgood_save(folder, FL_SPAN("two"), &err), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(proxy_lastgood_load(folder, &file, &err), 0);
    assert_true(fl_span_eq_str(fl_buf_span(&file), "two"));
    fl_buf_done(&file);
    fl_buf_init(&file, 2);
    assert_int_equal(proxy_lastgood_load(folder, &file, &err), -EMSGSIZE);
    assert_int_equal(chmod(path, 0644), 0); /* somebody else could have read or made it */
    fl_buf_done(&file);
    fl_buf_init(&file, 100);
    assert_int_equal(proxy_lastgood_load(folder, &file, &err), -EPERM);
    fl_buf_done(&file);
    proxy_lastgood_remove(folder);
    assert_int_not_equal(stat(path, &status), 0);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    fl_buf_init(&file, 100);
    assert_int_not_equal(proxy_lastgood_load(folder, &file, &err), 0);
    fl_buf_done(&file);
    proxy_lastgood_remove(folder);
    assert_int_equal(rmdir(folder), 0);
    assert_true(proxy_lastgood_save(folder, FL_SPAN("x"), &err) < 0);
}

static void test_memory(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf file;
        int result = build(&file);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_damage), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_disk),       cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
