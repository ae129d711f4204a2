#include "common/doc/patch.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct fl_json *parse(const char *text)
{
    struct fl_json *root = NULL;
    struct fl_err err = {0};
    if (fl_json_parse(fl_span_str(text), NULL, &root, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return root;
}

static void assert_prints(const struct fl_json *value, const char *expected)
{
    struct fl_buf out;
    fl_buf_init(&out, 1 << 20);
    assert_int_equal(fl_json_print(value, &out), 0);
    assert_string_equal(fl_buf_str(&out), expected);
    fl_buf_done(&out);
}

static void patches_that_apply(void **state)
{
    (void)state;
    static const struct {
        const char *document, *patch, *result;
    } rows[] = {
        {"{\"a\":1}", "[]", "{\"a\":1}"},
        /* add */
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":{\"c\":null}}]", "{\"a\":1,\"b\":{\"c\":null}}"},
        {"{\"a\":1,\"b\":2}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":3}]", "{\"a\":3,\"b\":2}"},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":null}]", "{\"a\":1,\"b\":null}"},
        {"[1,3]", "[{\"op\":\"add\",\"path\":\"/1\",\"value\":2}]", "[1,2,3]"},
        {"[1,3]", "[{\"op\":\"add\",\"path\":\"/0\",\"value\":[]}]", "[[],1,3]"},
        {"[1]", "[{\"op\":\"add\",\"path\":\"/1\",\"value\":2}]", "[1,2]"},
        {"[1]", "[{\"op\":\"add\",\"path\":\"/-\",\"value\":2}]", "[1,2]"},
        {"[]", "[{\"op\":\"add\",\"path\":\"/0\",\"value\":2}]", "[2]"},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"\",\"value\":[7]}]", "[7]"},
        {"{}", "[{\"op\":\"add\",\"path\":\"/\",\"value\":1}]", "{\"\":1}"},
        {"{\"\":{}}", "[{\"op\":\"add\",\"path\":\"//\",\"value\":1}]", "{\"\":{\"\":1}}"},
        {"{}", "[{\"op\":\"add\",\"path\":\"/a~1b~0c\",\"value\":1}]", "{\"a/b~c\":1}"},
        {"{}", "[{\"op\":\"add\",\"path\":\"/~01\",\"value\":1}]", "{\"~1\":1}"},
        {"{}", "[{\"op\":\"add\",\"path\":\"/-\",\"value\":1}]", "{\"-\":1}"}, /* a name where it is an object */
        {"{}", "[{\"op\":\"add\",\"path\":\"/01\",\"value\":1}]", "{\"01\":1}"},
        {"{}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1,\"extra\":true}]", "{\"a\":1}"},
        /* remove */
        {"{\"a\":1,\"b\":2}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", "{\"b\":2}"},
        {"[1,2,3]", "[{\"op\":\"remove\",\"path\":\"/1\"},{\"op\":\"remove\",\"path\":\"/1\"}]", "[1]"},
        /* replace */
        {"{\"a\":1,\"b\":2}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":[]}]", "{\"a\":[],\"b\":2}"},
        {"[1,2]", "[{\"op\":\"replace\",\"path\":\"/1\",\"value\":null}]", "[1,null]"},
        {"[1,2]", "[{\"op\":\"replace\",\"path\":\"\",\"value\":3}]", "3"},
        {"12345678901234567890", "[{\"op\":\"test\",\"path\":\"\",\"value\":12345678901234567890}]",
         "12345678901234567890"},
        /* move */
        {"{\"a\":{\"b\":1},\"c\":{}}", "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/c/d\"}]",
         "{\"a\":{},\"c\":{\"d\":1}}"},
        {"[1,2,3]", "[{\"op\":\"move\",\"from\":\"/0\",\"path\":\"/2\"}]", "[2,3,1]"},
        {"[1,2,3]", "[{\"op\":\"move\",\"from\":\"/2\",\"path\":\"/-\"}]", "[1,2,3]"},
        {"{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a\"}]", "{\"a\":1}"},
        {"{\"a\":1}", "[{\"op\":\"move\",\"from\":\"\",\"path\":\"\"}]", "{\"a\":1}"},
        {"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"\"}]", "1"},
        {"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/a\"}]", "{\"a\":1}"},
        {"{\"a\":1,\"ab\":{}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/ab/c\"}]", "{\"ab\":{\"c\":1}}"},
        /* copy */
        {"{\"a\":{\"b\":1}}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/c\"}]",
         "{\"a\":{\"b\":1,\"c\":{\"b\":1}}}"},
        {"[1]", "[{\"op\":\"copy\",\"from\":\"\",\"path\":\"/0\"}]", "[[1],1]"},
        {"[1.50]", "[{\"op\":\"copy\",\"from\":\"/0\",\"path\":\"/-\"}]", "[1.50,1.50]"},
        /* test */
        {"{\"a\":{\"x\":1,\"y\":[2]}}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":{\"y\":[2.0],\"x\":1}}]",
         "{\"a\":{\"x\":1,\"y\":[2]}}"},
        {"{\"a\":null}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]", "{\"a\":null}"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_err err = {0};
        struct fl_json *document = parse(rows[i].document);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = parse(rows[i].patch);
        struct fl_json *sharing = NULL;
        if (fl_patch_applied(document, patch, &sharing, &err) != 0)
            fail_msg("%s: %s", rows[i].patch, err.text);
        assert_prints(sharing, rows[i].result);
        fl_json_free(sharing);
        assert_prints(document, rows[i].document);
        if (fl_patch_apply(&document, patch, &err) != 0)
            fail_msg("%s: %s", rows[i].patch, err.text);
        assert_prints(document, rows[i].result);
        fl_json_free(document);
    }
}

static void patches_that_fail_change_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *document, *patch;
        int code;
        const char *message;
    } rows[] = {
        {"{}", "{}", -EINVAL, "a patch is an array of operations"},
        {"{}", "[1]", -EINVAL, "operation 0 ( ): expected an object"},
        {"{}", "[{}]", -EINVAL, "operation 0 ( ): expected a string \"op\""},
        {"{}", "[{\"op\":\"Add\",\"path\":\"/a\",\"value\":1}]", -EINVAL,
         "operation 0 (Add ): expected one of add, remove, replace, move, copy, test as \"op\""},
        {"{}", "[{\"op\":\"add\",\"value\":1}]", -EINVAL, "operation 0 (add ): expected a string \"path\""},
        {"{}", "[{\"op\":\"add\",\"path\":1,\"value\":1}]", -EINVAL, "operation 0 (add ): expected a string \"path\""},
        {"{}", "[{\"op\":\"add\",\"path\":\"/a\"}]", -EINVAL, "operation 0 (add /a): expected a member \"value\""},
        {"{}", "[{\"op\":\"copy\",\"path\":\"/a\"}]", -EINVAL, "operation 0 (copy /a): expected a string \"from\""},
        {"{}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", -EINVAL,
         "operation 0 (add a): a pointer starts with '/' or is empty"},
        {"{}", "[{\"op\":\"add\",\"path\":\"/~2\",\"value\":1}]", -EINVAL,
         "operation 0 (add /~2): '~' in a pointer is followed by 0 or 1"},
        {"{}", "[{\"op\":\"add\",\"path\":\"/a~\",\"value\":1}]", -EINVAL,
         "operation 0 (add /a~): '~' in a pointer is followed by 0 or 1"},
        {"{}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]", -ENOENT,
         "operation 0 (add /a/b): nothing is there: \"a\""},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]", -ENOENT,
         "operation 0 (add /a/b): no object or array is there to hold: \"b\""},
        {"[1]", "[{\"op\":\"add\",\"path\":\"/2\",\"value\":1}]", -ENOENT,
         "operation 0 (add /2): the index lies behind the array's end: \"2\""},
        {"[1,2]", "[{\"op\":\"add\",\"path\":\"/01\",\"value\":1}]", -EINVAL,
         "operation 0 (add /01): not the index of an element: \"01\""},
        {"[1,2]", "[{\"op\":\"add\",\"path\":\"/+1\",\"value\":1}]", -EINVAL,
         "operation 0 (add /+1): not the index of an element: \"+1\""},
        {"[1,2]", "[{\"op\":\"add\",\"path\":\"/-1\",\"value\":1}]", -EINVAL,
         "operation 0 (add /-1): not the index of an element: \"-1\""},
        {"[1,2]", "[{\"op\":\"add\",\"path\":\"/\",\"value\":1}]", -EINVAL,
         "operation 0 (add /): not the index of an element: \"\""},
        {"[1]", "[{\"op\":\"add\",\"path\":\"/18446744073709551616\",\"value\":1}]", -EINVAL,
         "operation 0 (add /18446744073709551616): not the index of an element: \"18446744073709551616\""},
        {"[1]", "[{\"op\":\"remove\",\"path\":\"/-\"}]", -ENOENT, "operation 0 (remove /-): nothing is there"},
        {"[1]", "[{\"op\":\"remove\",\"path\":\"/1\"}]", -ENOENT, "operation 0 (remove /1): nothing is there"},
        {"[1]", "[{\"op\":\"remove\",\"path\":\"\"}]", -EINVAL,
         "operation 0 (remove ): the whole document cannot be removed"},
        {"{}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", -ENOENT, "operation 0 (remove /a): nothing is there"},
        {"{}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":1}]", -ENOENT,
         "operation 0 (replace /a): nothing is there"},
        {"[1]", "[{\"op\":\"replace\",\"path\":\"/1\",\"value\":1}]", -ENOENT,
         "operation 0 (replace /1): nothing is there"},
        {"[1]", "[{\"op\":\"replace\",\"path\":\"/-\",\"value\":1}]", -ENOENT,
         "operation 0 (replace /-): nothing is there"},
        {"{\"a\":{}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]", -EINVAL,
         "operation 0 (move /a/b): a value cannot be moved into itself"},
        {"{\"a\":{}}", "[{\"op\":\"move\",\"from\":\"\",\"path\":\"/a\"}]", -EINVAL,
         "operation 0 (move /a): a value cannot be moved into itself"},
        {"{}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a\"}]", -ENOENT,
         "operation 0 (move /a): nothing is there: \"a\""},
        {"{}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"}]", -ENOENT,
         "operation 0 (copy /b): nothing is there: \"a\""},
        {"[1]", "[{\"op\":\"copy\",\"from\":\"/-\",\"path\":\"/0\"}]", -ENOENT,
         "operation 0 (copy /0): nothing is there: \"-\""},
        {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":\"1\"}]", -ENOENT,
         "operation 0 (test /a): the value is another one"},
        {"12345678901234567890", "[{\"op\":\"test\",\"path\":\"\",\"value\":12345678901234567891}]", -ENOENT,
         "operation 0 (test ): the value is another one"},
        /* The first two are fine; the third undoes them. */
        {"{\"a\":[1]}",
         "[{\"op\":\"add\",\"path\":\"/b\",\"value\":1},{\"op\":\"remove\",\"path\":\"/a/0\"},"
         "{\"op\":\"test\",\"path\":\"/b\",\"value\":2}]",
         -ENOENT, "operation 2 (test /b): the value is another one"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_err err = {0};
        FL_CLEANUP(fl_cleanup_json) struct fl_json *document = parse(rows[i].document);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = parse(rows[i].patch);
        struct fl_json *sharing = NULL;
        assert_int_equal(fl_patch_applied(document, patch, &sharing, &err), rows[i].code);
        assert_string_equal(err.text, rows[i].message);
        assert_prints(document, rows[i].document);
        assert_int_equal(fl_patch_apply(&document, patch, &err), rows[i].code);
        assert_string_equal(err.text, rows[i].message);
        assert_prints(document, rows[i].document);
    }
}

/* Of every kind, at places that lie in one another; the document and the patch stay whole at every failure. */
static void a_shared_copy_needs_memory_only_where_it_changes(void **state)
{
    (void)state;
    static const char before[] =
        "{\"a\":{\"b\":[{\"c\":\"text\"},2],\"d\":{\"e\":[1]}},\"f\":[{\"g\":\"h\"}],\"i\":null}";
    static const char after[] = "{\"a\":{\"b\":[{\"j\":\"k\"},2],\"l\":{\"m\":[1,2]}},\"f\":[\"text\",{\"g\":\"h\","
                                "\"n\":3}],\"o\":{\"e\":[1]}}";
    FL_CLEANUP(fl_cleanup_json) struct fl_json *document = parse(before);
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *patch =
        parse("[{\"op\":\"add\",\"path\":\"/f/0\",\"value\":\"x\"},{\"op\":\"remove\",\"path\":\"/f/0\"},"
              "{\"op\":\"move\",\"from\":\"/a/b/0/c\",\"path\":\"/f/0\"},{\"op\":\"add\",\"path\":\"/a/b/0/"
              "j\",\"value\":\"k\"},"
              "{\"op\":\"add\",\"path\":\"/f/1/n\",\"value\":3},{\"op\":\"copy\",\"from\":\"/a/d\",\"path\":\"/o\"},"
              "{\"op\":\"remove\",\"path\":\"/a/d\"},{\"op\":\"add\",\"path\":\"/a/l\",\"value\":{\"m\":[1]}},"
              "{\"op\":\"add\",\"path\":\"/a/l/m/-\",\"value\":2},{\"op\":\"replace\",\"path\":\"/i\",\"value\":{}},"
              "{\"op\":\"remove\",\"path\":\"/i\"}]");
    FAIL_EACH_ALLOCATION
    {
        struct fl_json *sharing = NULL;
        int result = fl_patch_applied(document, patch, &sharing, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (result == 0)
            assert_prints(sharing, after);
        fl_json_free(sharing);
        assert_prints(document, before);
    }
    struct fl_json *copy = fl_json_share(document), *second = fl_json_copy(copy);
    assert_true(fl_json_identical(copy, document));
    assert_false(fl_json_identical(second, document));
    assert_true(fl_json_equal(second, document));
    fl_json_free(copy);
    assert_prints(second, before);
    fl_json_free(second);
}

static void a_long_path_does_not_hide_the_reason(void **state)
{
    (void)state;
    char path[2000] = "/";
    memset(path + 1, 'a', sizeof(path) - 2);
    struct fl_err err = {0};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *document = parse("{}");
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = parse("[{\"op\":\"remove\"}]");
    struct fl_json *text = fl_json_new_string(fl_span_make(path, sizeof(path) - 1));
    assert_int_equal(fl_json_set(fl_json_at(patch, 0), "path", text), 0);
    assert_int_equal(fl_patch_apply(&document, patch, &err), -EMSGSIZE);
    assert_non_null(strstr(err.text, "the pointer is longer than 1024 bytes"));
}

/* Each copy doubles what is there. */
static void copies_cannot_fill_the_memory(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *document = parse("{\"a\":[\"some text of some length\"]}");
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = fl_json_new_array();
    for (int i = 0; i < 60; i++) {
        char text[128];
        snprintf(text, sizeof(text), "{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/%d\"}", i % 2);
        assert_int_equal(fl_json_append(patch, parse(text)), 0);
    }
    struct fl_err err = {0};
    assert_int_equal(fl_patch_apply(&document, patch, &err), -EMSGSIZE);
    assert_non_null(strstr(err.text, "the copies take too much memory"));
}

/* Each copy adds a level. */
static void copies_cannot_nest_without_end(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *document = parse("{}");
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = fl_json_new_array();
    for (int i = 0; i < 4000; i++) {
        assert_int_equal(fl_json_append(patch, parse("{\"op\":\"add\",\"path\":\"/b\",\"value\":{}}")), 0);
        assert_int_equal(fl_json_append(patch, parse("{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b/a\"}")), 0);
        assert_int_equal(fl_json_append(patch, parse("{\"op\":\"move\",\"from\":\"/b\",\"path\":\"/a\"}")), 0);
        if (i == 0)
            assert_int_equal(fl_json_remove_at(patch, 1), 0);
        if (fl_json_count(patch) > FL_PATCH_OPERATIONS_MAX - 3)
            break;
    }
    struct fl_err err = {0};
    assert_int_equal(fl_patch_apply(&document, patch, &err), -EMSGSIZE);
    assert_string_equal(err.text, "the result is nested too deeply");
    assert_prints(document, "{}");
}

static void operations_are_bounded(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *document = parse("{}");
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = fl_json_new_array();
    const struct fl_pointer root = {0};
    for (int i = 0; i <= FL_PATCH_OPERATIONS_MAX; i++)
        assert_int_equal(fl_patch_test(patch, &root, fl_json_new_object()), 0);
    struct fl_err err = {0};
    assert_int_equal(fl_patch_apply(&document, patch, &err), -EMSGSIZE);
    assert_int_equal(fl_json_remove_at(patch, 0), 0);
    assert_int_equal(fl_patch_apply(&document, patch, &err), 0);
}

static void pointers_are_escaped_and_bounded(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = fl_json_new_array();
    struct fl_pointer pointer = {0};
    fl_pointer_push(&pointer, FL_SPAN("metadata"));
    size_t mark = pointer.len;
    fl_pointer_push(&pointer, FL_SPAN("fairlead.io/a~b"));
    assert_int_equal(fl_patch_add(patch, &pointer, fl_json_new_int(1)), 0);
    fl_pointer_cut(&pointer, mark);
    fl_pointer_push_index(&pointer, 10);
    assert_int_equal(fl_patch_remove(patch, &pointer), 0);
    fl_pointer_cut(&pointer, mark);
    fl_pointer_push_end(&pointer);
    assert_int_equal(fl_patch_replace(patch, &pointer, fl_json_new_null()), 0);
    assert_prints(patch, "[{\"op\":\"add\",\"path\":\"/metadata/fairlead.io~1a~0b\",\"value\":1},"
                         "{\"op\":\"remove\",\"path\":\"/metadata/10\"},"
                         "{\"op\":\"replace\",\"path\":\"/metadata/-\",\"value\":null}]");
    assert_int_equal(fl_patch_add(patch, &pointer, NULL), -ENOMEM);
    char name[FL_POINTER_MAX];
    memset(name, '~', sizeof(name));
    fl_pointer_cut(&pointer, 0);
    fl_pointer_push(&pointer, fl_span_make(name, (FL_POINTER_MAX - 1) / 2));
    assert_false(pointer.overflow);
    fl_pointer_push_index(&pointer, 1);
    assert_true(pointer.overflow);
    assert_int_equal(fl_patch_add(patch, &pointer, fl_json_new_int(1)), -EMSGSIZE);
    assert_int_equal(fl_patch_remove(patch, &pointer), -EMSGSIZE);
    assert_int_equal(fl_json_count(patch), 3);
}

static void pointers_find_by_rfc_6901(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *document = parse("{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\" \":7,\"m~n\":8}");
    static const struct {
        const char *pointer, *found; /* NULL: nothing */
    } rows[] = {{"/foo", "[\"bar\",\"baz\"]"},
                {"/foo/0", "\"bar\""},
                {"/", "0"},
                {"/a~1b", "1"},
                {"/c%d", "2"},
                {"/ ", "7"},
                {"/m~0n", "8"},
                {"/foo/-", NULL},
                {"/foo/2", NULL},
                {"/foo/0/0", NULL},
                {"foo", NULL},
                {"/m~n", NULL},
                {"/Foo", NULL}};
    assert_ptr_equal(fl_pointer_find(document, FL_SPAN("")), document);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const struct fl_json *found = fl_pointer_find(document, fl_span_str(rows[i].pointer));
        assert_int_equal(found != NULL, rows[i].found != NULL);
        if (found != NULL)
            assert_prints(found, rows[i].found);
    }
}

static void differences_are_small_and_stable(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after, *patch;
    } rows[] = {
        {"{\"a\":1,\"b\":[1]}", "{\"b\":[1.0],\"a\":1}", "[]"},
        {"{\"a\":1}", "{\"a\":2}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":2}]"},
        {"{\"a\":1}", "[1]", "[{\"op\":\"replace\",\"path\":\"\",\"value\":[1]}]"},
        {"{\"a\":1}", "{\"b\":1}",
         "[{\"op\":\"remove\",\"path\":\"/a\"},{\"op\":\"add\",\"path\":\"/b\",\"value\":1}]"},
        {"{\"a\":null}", "{\"a\":{}}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":{}}]"},
        {"{\"args\":[\"a\",\"b\"]}", "{\"args\":[\"a\",\"c\"]}",
         "[{\"op\":\"replace\",\"path\":\"/args\",\"value\":[\"a\",\"c\"]}]"},
        {"12345678901234567890", "12345678901234567891",
         "[{\"op\":\"replace\",\"path\":\"\",\"value\":12345678901234567891}]"},
        /* lists by name: inserted first, appended, changed, removed */
        {"[{\"name\":\"a\"}]", "[{\"name\":\"p\"},{\"name\":\"a\"}]",
         "[{\"op\":\"add\",\"path\":\"/0\",\"value\":{\"name\":\"p\"}}]"},
        {"[{\"name\":\"a\"}]", "[{\"name\":\"a\"},{\"name\":\"p\"}]",
         "[{\"op\":\"add\",\"path\":\"/-\",\"value\":{\"name\":\"p\"}}]"},
        {"[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]",
         "[{\"name\":\"x\"},{\"name\":\"b\",\"v\":1},{\"name\":\"y\"},{\"name\":\"z\"}]",
         "[{\"op\":\"remove\",\"path\":\"/2\"},{\"op\":\"remove\",\"path\":\"/0\"},"
         "{\"op\":\"add\",\"path\":\"/0\",\"value\":{\"name\":\"x\"}},{\"op\":\"add\",\"path\":\"/1/v\",\"value\":1},"
         "{\"op\":\"add\",\"path\":\"/-\",\"value\":{\"name\":\"y\"}},"
         "{\"op\":\"add\",\"path\":\"/-\",\"value\":{\"name\":\"z\"}}]"},
        /* the order changed, a name twice, nothing shared, emptied: whole */
        {"[{\"name\":\"a\"},{\"name\":\"b\"}]", "[{\"name\":\"b\"},{\"name\":\"a\"}]",
         "[{\"op\":\"replace\",\"path\":\"\",\"value\":[{\"name\":\"b\"},{\"name\":\"a\"}]}]"},
        {"[{\"name\":\"a\"},{\"name\":\"a\"}]", "[{\"name\":\"a\"}]",
         "[{\"op\":\"replace\",\"path\":\"\",\"value\":[{\"name\":\"a\"}]}]"},
        {"[{\"name\":\"a\"}]", "[{\"name\":\"b\"}]",
         "[{\"op\":\"replace\",\"path\":\"\",\"value\":[{\"name\":\"b\"}]}]"},
        {"[{\"name\":\"a\"}]", "[]", "[{\"op\":\"replace\",\"path\":\"\",\"value\":[]}]"},
        {"[]", "[]", "[]"},
        /* a typical pod */
        {"{\"metadata\":{\"name\":\"web\",\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"web\","
         "\"image\":\"nginx\",\"livenessProbe\":{\"httpGet\":{\"path\":\"/\",\"port\":80}}}],\"volumes\":[{\"name\":"
         "\"v\"}]}}",
         "{\"metadata\":{\"name\":\"web\",\"labels\":{\"app\":\"web\"},\"annotations\":{\"fairlead.io/status\":\"s\"}},"
         "\"spec\":{\"containers\":[{\"name\":\"web\",\"image\":\"nginx\",\"livenessProbe\":{\"httpGet\":{\"path\":\"/"
         "p\",\"port\":15020}}}],\"volumes\":[{\"name\":\"v\"},{\"name\":\"fairlead-proxy\"}],\"initContainers\":[{"
         "\"name\":\"fairlead-proxy\"}]}}",
         "[{\"op\":\"add\",\"path\":\"/metadata/annotations\",\"value\":{\"fairlead.io/status\":\"s\"}},"
         "{\"op\":\"replace\",\"path\":\"/spec/containers/0/livenessProbe/httpGet/path\",\"value\":\"/p\"},"
         "{\"op\":\"replace\",\"path\":\"/spec/containers/0/livenessProbe/httpGet/port\",\"value\":15020},"
         "{\"op\":\"add\",\"path\":\"/spec/volumes/-\",\"value\":{\"name\":\"fairlead-proxy\"}},"
         "{\"op\":\"add\",\"path\":\"/spec/initContainers\",\"value\":[{\"name\":\"fairlead-proxy\"}]}]"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *before = parse(rows[i].before);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *after = parse(rows[i].after);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = NULL;
        assert_int_equal(fl_patch_diff(before, after, &patch, NULL), 0);
        assert_prints(patch, rows[i].patch);
        assert_int_equal(fl_patch_apply(&before, patch, NULL), 0);
        assert_true(fl_json_equal(before, after));
    }
}

/* Documents by a small generator, the same in every run. */
static uint32_t random_below(uint64_t *seed, uint32_t limit)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % limit;
}

static struct fl_json *generate(uint64_t *seed, unsigned depth);

static struct fl_json *generate_list(uint64_t *seed, unsigned depth)
{
    struct fl_json *list = fl_json_new_array();
    bool named = random_below(seed, 2) == 0;
    uint32_t start = random_below(seed, 3);
    for (uint32_t i = 0; i < 4; i++) {
        if (random_below(seed, 2) == 0)
            continue;
        struct fl_json *element = generate(seed, depth);
        if (named) {
            char name[] = {(char)('a' + (start + i) % 5), '\0'};
            fl_json_free(element);
            element = fl_json_new_object();
            assert_int_equal(fl_json_set(element, "name", fl_json_new_string(fl_span_str(name))), 0);
            assert_int_equal(fl_json_set(element, "v", generate(seed, depth)), 0);
        }
        assert_int_equal(fl_json_append(list, element), 0);
    }
    return list;
}

static struct fl_json *generate_object(uint64_t *seed, unsigned depth)
{
    static const char *const names[] = {"a", "b/c", "~", "", "name", "0", "-"};
    struct fl_json *object = fl_json_new_object();
    for (uint32_t i = random_below(seed, 5); i > 0; i--)
        assert_int_equal(fl_json_set(object, names[random_below(seed, FL_COUNT(names))], generate(seed, depth)), 0);
    return object;
}

static struct fl_json *generate(uint64_t *seed, unsigned depth)
{
    switch (random_below(seed, depth > 0 ? 8 : 4)) {
    case 0:
        return fl_json_new_null();
    case 1:
        return fl_json_new_bool(random_below(seed, 2) == 0);
    case 2:
        return fl_json_new_int(random_below(seed, 3));
    case 3:
        return fl_json_new_string(random_below(seed, 2) == 0 ? FL_SPAN("x") : FL_SPAN("y"));
    case 4:
    case 5:
        return generate_list(seed, depth - 1);
    default:
        return generate_object(seed, depth - 1);
    }
}

static void a_difference_applied_gives_the_other_document(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 20000; round++) {
        uint64_t seed = round;
        FL_CLEANUP(fl_cleanup_json) struct fl_json *before = generate(&seed, 4);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *after = generate(&seed, 4);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = NULL;
        struct fl_err err = {0};
        assert_int_equal(fl_patch_diff(before, after, &patch, &err), 0);
        if (fl_patch_apply(&before, patch, &err) != 0)
            fail_msg("round %u: %s", (unsigned)round, err.text);
        assert_true(fl_json_equal(before, after));
        fl_json_free(patch);
        patch = NULL;
        assert_int_equal(fl_patch_diff(before, after, &patch, &err), 0);
        assert_int_equal(fl_json_count(patch), 0);
    }
}

static void a_difference_past_the_limits_is_one_replacement(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *before = fl_json_new_object();
    FL_CLEANUP(fl_cleanup_json) struct fl_json *after = fl_json_new_object();
    char name[FL_POINTER_MAX + 1];
    memset(name, 'n', sizeof(name));
    assert_int_equal(fl_json_set_span(after, fl_span_make(name, sizeof(name)), fl_json_new_int(1)), 0);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = NULL;
    assert_int_equal(fl_patch_diff(before, after, &patch, NULL), 0);
    assert_int_equal(fl_json_count(patch), 1);
    assert_int_equal(fl_patch_apply(&before, patch, NULL), 0);
    assert_true(fl_json_equal(before, after));
    for (int i = 0; i <= FL_PATCH_OPERATIONS_MAX; i++) {
        snprintf(name, sizeof(name), "%d", i);
        assert_int_equal(fl_json_add(before, fl_span_str(name), fl_json_new_int(1)), 0);
    }
    fl_json_free(patch);
    patch = NULL;
    assert_int_equal(fl_patch_diff(before, after, &patch, NULL), 0);
    assert_int_equal(fl_json_count(patch), 1);
}

static void every_failed_allocation_is_told_and_changes_nothing(void **state)
{
    (void)state;
    static const char before[] = "{\"a\":[{\"name\":\"x\"},{\"name\":\"y\",\"v\":1}],\"b\":[1],\"c\":{\"d\":2}}";
    static const char after[] = "{\"a\":[{\"name\":\"y\",\"v\":2},{\"name\":\"z\"}],\"b\":[2],\"e\":{\"d\":2}}";
    FL_CLEANUP(fl_cleanup_json) struct fl_json *right = parse(after);
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *more =
        parse("[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/f\"},{\"op\":\"move\",\"from\":\"/f\",\"path\":\"/g\"},"
              "{\"op\":\"test\",\"path\":\"/g/0/name\",\"value\":\"y\"},{\"op\":\"remove\",\"path\":\"/g\"}]");
    FAIL_EACH_ALLOCATION
    {
        struct fl_err err = {0};
        struct fl_json *patch = NULL, *document = NULL;
        int result = fl_json_parse(fl_span_str(before), NULL, &document, &err);
        if (result == 0)
            result = fl_patch_diff(document, right, &patch, &err);
        if (result == 0)
            result = fl_patch_apply(&document, patch, &err);
        bool patched = result == 0;
        if (result == 0)
            result = fl_patch_apply(&document, more, &err);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (patched)
            assert_true(fl_json_equal(document, right));
        else if (document != NULL)
            assert_prints(document, before);
        fl_json_free(patch);
        fl_json_free(document);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patches_that_apply),
        cmocka_unit_test(patches_that_fail_change_nothing),
        cmocka_unit_test(a_shared_copy_needs_memory_only_where_it_changes),
        cmocka_unit_test(a_long_path_does_not_hide_the_reason),
        cmocka_unit_test(copies_cannot_fill_the_memory),
        cmocka_unit_test(copies_cannot_nest_without_end),
        cmocka_unit_test(operations_are_bounded),
        cmocka_unit_test(pointers_are_escaped_and_bounded),
        cmocka_unit_test(pointers_find_by_rfc_6901),
        cmocka_unit_test(differences_are_small_and_stable),
        cmocka_unit_test(a_difference_applied_gives_the_other_document),
        cmocka_unit_test(a_difference_past_the_limits_is_one_replacement),
        cmocka_unit_test(every_failed_allocation_is_told_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
