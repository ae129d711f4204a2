/* cni/agent/event: which Events are worth posting, and what stands in them. */
#include "cni/agent/event.h"

#include "common/doc/json.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define POD(which)                                                                                                     \
    {                                                                                                                  \
        .reason = CNI_EVENT_CAPTURED, .name_space = FL_SPAN("shop"), .name = FL_SPAN(which), .uid = FL_SPAN("6a1c"),   \
        .note = FL_SPAN("late")                                                                                        \
    }

static void test_once_and_counted(void **state)
{
    (void)state;
    static struct cni_event_memory memory;
    const struct cni_event event = POD("cart-1");
    struct cni_event_telling telling;
    memset(&memory, 0, sizeof(memory));
    assert_int_equal(cni_event_consider(&memory, &event, 1000, 100, &telling), CNI_EVENT_POST);
    assert_int_equal(telling.count, 1);
    assert_int_equal(telling.first_s, 100);
    for (int i = 0; i < 3; i++)
        assert_int_equal(cni_event_consider(&memory, &event, 2000, 101 + i, &telling), CNI_EVENT_REPEATED);
    assert_int_equal(cni_event_consider(&memory, &event, 1000 + CNI_EVENT_WINDOW_MS, 700, &telling), CNI_EVENT_POST);
    assert_int_equal(telling.count, 4);
    assert_int_equal(telling.first_s, 101);
    assert_int_equal(telling.last_s, 700);
}

static void test_others_are_others(void **state)
{
    (void)state;
    static struct cni_event_memory memory;
    struct cni_event event = POD("cart-1");
    struct cni_event_telling telling;
    memset(&memory, 0, sizeof(memory));
    assert_int_equal(cni_event_consider(&memory, &event, 0, 0, &telling), CNI_EVENT_POST);
    event.reason = CNI_EVENT_RESTORED;
    assert_int_equal(cni_event_consider(&memory, &event, 0, 0, &telling), CNI_EVENT_POST);
    event.uid = FL_SPAN("6a1d");
    assert_int_equal(cni_event_consider(&memory, &event, 0, 0, &telling), CNI_EVENT_POST);
    event.note = FL_SPAN("other words are no other Event");
    assert_int_equal(cni_event_consider(&memory, &event, 0, 0, &telling), CNI_EVENT_REPEATED);
}

/* Names are the pod's own word: one that takes others' has no more Events for it. */
static void test_names_are_made_up(void **state)
{
    (void)state;
    static struct cni_event_memory memory;
    struct cni_event event = POD("cart-1");
    struct cni_event_telling telling;
    memset(&memory, 0, sizeof(memory));
    assert_int_equal(cni_event_consider(&memory, &event, 0, 0, &telling), CNI_EVENT_POST);
    event.name = FL_SPAN("coredns-1");
    assert_int_equal(cni_event_consider(&memory, &event, 0, 0, &telling), CNI_EVENT_REPEATED);
    event.name_space = FL_SPAN("kube-system");
    assert_int_equal(cni_event_consider(&memory, &event, 0, 0, &telling), CNI_EVENT_REPEATED);
    event.uid = FL_SPAN("");
    assert_int_equal(cni_event_consider(&memory, &event, 0, 0, &telling), CNI_EVENT_POST);
    event.name = FL_SPAN("coredns-2");
    assert_int_equal(cni_event_consider(&memory, &event, 0, 0, &telling), CNI_EVENT_POST);
}

/* A flood of pods: the bucket, and its refill; and the memory holds the latest. */
static void test_flood(void **state)
{
    (void)state;
    static struct cni_event_memory memory;
    struct cni_event_telling telling;
    memset(&memory, 0, sizeof(memory));
    unsigned posted = 0;
    for (unsigned i = 0; i < 1000; i++) {
        char uid[32];
        snprintf(uid, sizeof(uid), "6a1c-%u", i);
        struct cni_event event = POD("x");
        event.uid = fl_span_str(uid);
        posted += cni_event_consider(&memory, &event, 5000, 5, &telling) == CNI_EVENT_POST;
    }
    assert_int_equal(posted, CNI_EVENT_BURST);
    const struct cni_event late = POD("late");
    assert_int_equal(cni_event_consider(&memory, &late, 5000 + CNI_EVENT_REFILL_MS - 1, 6, &telling),
                     CNI_EVENT_LIMITED);
    assert_int_equal(cni_event_consider(&memory, &late, 5000 + CNI_EVENT_REFILL_MS, 6, &telling), CNI_EVENT_POST);
    struct cni_event later = POD("later");
    later.uid = FL_SPAN("6a1d");
    assert_int_equal(cni_event_consider(&memory, &later, 5000 + CNI_EVENT_REFILL_MS, 6, &telling), CNI_EVENT_LIMITED);
    assert_int_equal(cni_event_consider(&memory, &later, 5000 + 1000 * CNI_EVENT_REFILL_MS, 6, &telling),
                     CNI_EVENT_POST);
}

static void test_names(void **state)
{
    (void)state;
    static struct cni_event_memory memory;
    struct cni_event_telling telling;
    static const struct {
        const char *name_space, *name, *uid;
    } bad[] = {
        {"a/b", "c", ""},   {"..", "c", ""}, {"a", "", ""},    {"a", "c/../d", ""},
        {"a", "c", "{}\""}, {"A", "c", ""},  {"a", "c\n", ""}, {"a b", "c", ""},
    };
    for (size_t i = 0; i < FL_COUNT(bad); i++) {
        const struct cni_event event = {.reason = CNI_EVENT_FAILED,
                                        .name_space = fl_span_str(bad[i].name_space),
                                        .name = fl_span_str(bad[i].name),
                                        .uid = fl_span_str(bad[i].uid)};
        if (cni_event_consider(&memory, &event, 0, 0, &telling) != CNI_EVENT_BAD)
            fail_msg("row %zu", i);
    }
}

static struct fl_json *print(const struct cni_event *event)
{
    static const struct cni_event_telling telling = {3, 1000000000, 1000000060};
    struct fl_buf out;
    struct fl_json *root = NULL;
    fl_buf_init(&out, CNI_EVENT_BYTES_MAX);
    assert_int_equal(cni_event_print(event, &telling, FL_SPAN("node-1"), 0xabc, &out), 0);
    assert_int_equal(fl_json_parse(fl_buf_span(&out), NULL, &root, NULL), 0);
    fl_buf_done(&out);
    return root;
}

static void assert_text(const struct fl_json *object, const char *name, const char *value)
{
    if (!fl_span_eq_str(fl_json_string(fl_json_get(object, name)), value))
        fail_msg("%s is not %s", name, value);
}

static void test_pod(void **state)
{
    (void)state;
    const struct cni_event event = POD("cart-1");
    struct fl_json *root = print(&event);
    const struct fl_json *object = fl_json_get(root, "involvedObject");
    char path[CNI_EVENT_PATH_MAX];
    int64_t count;
    assert_text(root, "kind", "Event");
    assert_text(fl_json_get(root, "metadata"), "name", "cart-1.0000000000000abc");
    assert_text(fl_json_get(root, "metadata"), "namespace", "shop");
    assert_text(object, "kind", "Pod");
    assert_text(object, "namespace", "shop");
    assert_text(object, "uid", "6a1c");
    assert_text(root, "type", "Warning");
    assert_text(root, "reason", "CapturedLate");
    assert_text(root, "message", "late");
    assert_text(root, "firstTimestamp", "2001-09-09T01:46:40Z");
    assert_text(root, "lastTimestamp", "2001-09-09T01:47:40Z");
    assert_text(fl_json_get(root, "source"), "host", "node-1");
    assert_true(fl_json_int(fl_json_get(root, "count"), 0, 100, &count) && count == 3);
    fl_json_free(root);
    cni_event_path(&event, path);
    assert_string_equal(path, "/api/v1/namespaces/shop/events");
}

static void test_node(void **state)
{
    (void)state;
    const struct cni_event event = {
        .reason = CNI_EVENT_NODE_RESTORED, .name = FL_SPAN("node-1"), .uid = FL_SPAN("node-1")};
    struct fl_json *root = print(&event);
    char path[CNI_EVENT_PATH_MAX];
    assert_text(fl_json_get(root, "metadata"), "namespace", "default");
    assert_text(fl_json_get(root, "involvedObject"), "kind", "Node");
    assert_null(fl_json_get(fl_json_get(root, "involvedObject"), "namespace"));
    assert_text(root, "type", "Normal");
    fl_json_free(root);
    cni_event_path(&event, path);
    assert_string_equal(path, "/api/v1/namespaces/default/events");
}

/* The longest names, and a note of what JSON has to escape: it fits, and is still JSON. */
static void test_longest(void **state)
{
    (void)state;
    char name[254], space[64], note[4096];
    memset(name, 'a', sizeof(name) - 1), name[sizeof(name) - 1] = '\0';
    memset(space, 'b', sizeof(space) - 1), space[sizeof(space) - 1] = '\0';
    name[199] = '.';
    for (size_t i = 0; i + 1 < sizeof(note); i += 2)
        note[i] = (char)0xc3, note[i + 1] = (char)0xa4;
    struct cni_event event = {.reason = CNI_EVENT_FAILED,
                              .name_space = fl_span_str(space),
                              .name = fl_span_str(name),
                              .note = fl_span_make(note, sizeof(note))};
    struct fl_json *root = print(&event);
    assert_int_equal(fl_json_string(fl_json_get(root, "message")).len, CNI_EVENT_NOTE_MAX);
    assert_true(fl_json_string(fl_json_get(fl_json_get(root, "metadata"), "name")).len <= 253);
    fl_json_free(root);
    memset(note, 1, sizeof(note));
    root = print(&event);
    fl_json_free(root);
}

static void test_memory_is_out(void **state)
{
    (void)state;
    const struct cni_event event = POD("cart-1");
    const struct cni_event_telling telling = {1, 0, 0};
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf out;
        fl_buf_init(&out, CNI_EVENT_BYTES_MAX);
        int result = cni_event_print(&event, &telling, FL_SPAN("n"), 1, &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_and_counted),
        cmocka_unit_test(test_others_are_others),
        cmocka_unit_test(test_names_are_made_up),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_pod),
        cmocka_unit_test(test_node),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
