/* tests/golden/control/<case>.yaml, read and dumped, is <case>.model; errors of documents come first. With
 * FL_GOLDEN_UPDATE in the environment the files are written instead. */
#include "common/doc/yaml.h"
#include "control/model/reader.h"
#include "control/model/store.h"
#include "tests/support/fail.h"
#include "tests/unit/control/model_dump.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void read_into(struct control_store *store, const char *name, const char *path, struct fl_buf *out)
{
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    struct fl_buf text;
    struct fl_err err = {0};
    fl_buf_init(&text, 1 << 20);
    assert_int_equal(fl_buf_read_file(&text, path), 0);
    assert_int_equal(fl_yaml_parse(fl_buf_span(&text), name, NULL, &yaml, &err), 0);
    for (size_t i = 0; i < fl_yaml_count(yaml); i++) {
        const struct control_origin origin = {fl_span_str(name), (uint32_t)i + 1, 0, 0};
        struct control_identity identity;
        struct control_object *object = NULL;
        int result = control_object_read(fl_yaml_document(yaml, i), fl_yaml_positions(yaml), &origin,
                                         FL_SPAN(CONTROL_ROOT_DEFAULT), &object, &identity, &err);
        if (result < 0)
            assert_int_equal(fl_buf_printf(out, "error %s\n", err.text), 0);
        if (object == NULL)
            continue;
        assert_int_equal(control_store_put(store, object), 0);
        control_object_unref(object);
    }
    fl_buf_done(&text);
}

static void compare(const char *path, struct fl_buf *actual)
{
    if (getenv("FL_GOLDEN_UPDATE") != NULL) {
        FILE *file = fopen(path, "we");
        assert_non_null(file);
        fwrite(actual->data, 1, actual->len, file);
        fclose(file);
        return;
    }
    struct fl_buf expected;
    fl_buf_init(&expected, 1 << 20);
    assert_int_equal(fl_buf_read_file(&expected, path), 0);
    if (!fl_span_eq(fl_buf_span(&expected), fl_buf_span(actual)))
        print_error("%s differs; got\n%s", path, fl_buf_str(actual));
    assert_true(fl_span_eq(fl_buf_span(&expected), fl_buf_span(actual)));
    fl_buf_done(&expected);
}

static void one_case(const char *name)
{
    char path[512];
    struct control_store *store = NULL;
    struct control_diff *diff = NULL;
    struct fl_buf out;
    fl_buf_init(&out, 4 << 20);
    snprintf(path, sizeof(path), "%s/%s", GOLDEN, name);
    assert_int_equal(control_store_new(&store), 0);
    read_into(store, name, path, &out);
    assert_int_equal(control_store_commit(store, &diff), 0);
    assert_int_equal(model_dump(diff->after, &out), 0);
    snprintf(path, sizeof(path), "%s/%.*s.model", GOLDEN, (int)(strlen(name) - strlen(".yaml")), name);
    compare(path, &out);
    control_diff_free(diff);
    control_store_free(store);
    fl_buf_done(&out);
}

static void every_case(void **state)
{
    (void)state;
    size_t cases = 0;
    DIR *folder = opendir(GOLDEN);
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (!fl_span_ends_with(fl_span_str(entry->d_name), FL_SPAN(".yaml")))
            continue;
        one_case(entry->d_name);
        cases++;
    }
    closedir(folder);
    assert_true(cases > 0);
}

/* Everything that is derived, with memory running out at every place in turn. */
static void memory_that_is_out_is_told(void **state)
{
    struct control_store *store = NULL;
    struct control_diff *diff = NULL;
    struct fl_buf errors;
    (void)state;
    fl_buf_init(&errors, 1 << 20);
    assert_int_equal(control_store_new(&store), 0);
    read_into(store, "mesh.yaml", GOLDEN "/mesh.yaml", &errors);
    read_into(store, "gateway.yaml", GOLDEN "/gateway.yaml", &errors);
    assert_int_equal(control_store_commit(store, &diff), 0);
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf out;
        fl_buf_init(&out, 4 << 20);
        int result = model_dump(diff->after, &out);
        fail_stop();
        assert_true(result == 0 || (result == -ENOMEM && fail_happened()));
        fl_buf_done(&out);
    }
    control_diff_free(diff);
    control_store_free(store);
    fl_buf_done(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_case), cmocka_unit_test(memory_that_is_out_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
