/* cni/install/conflist: what is put in where, that all else stays as it was, and what cannot be edited. */
#include "cni/install/conflist.h"
#include "cni/plugin/netconf.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define OURS   "{\"type\":\"fairlead-cni\",\"capabilities\":{\"io.kubernetes.cri.pod-annotations\":true}}"
#define HEAD   "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":["
#define CORPUS "tests/fuzz/cni/corpus/conflist"

static const char *text_of(struct fl_buf *buf)
{
    const char *text = fl_buf_str(buf);
    assert_non_null(text);
    return text;
}

static void test_insert(void **state)
{
    (void)state;
    static const struct {
        const char *what, *before, *backend, *after; /* NULL: as it was */
    } rows[] = {
        {"one line", HEAD "{\"type\":\"a\"}]}", NULL, HEAD "{\"type\":\"a\"}," OURS "]}"},
        {"one line with spaces", HEAD " {\"type\":\"a\"}, {\"type\":\"b\"} ]}\n", NULL,
         HEAD " {\"type\":\"a\"}, {\"type\":\"b\"}, " OURS " ]}\n"},
        {"the indent of the one before", HEAD "\n    {\"type\":\"a\"}\n  ]\n}", NULL,
         HEAD "\n    {\"type\":\"a\"},\n    " OURS "\n  ]\n}"},
        {"tabs and carriage returns", HEAD "\r\n\t{\"type\":\"a\"}\r\n]}", "auto",
         HEAD "\r\n\t{\"type\":\"a\"},\r\n\t" OURS "\r\n]}"},
        {"there already", HEAD "{\"type\":\"a\"}," OURS "]}", NULL, NULL},
        {"there in other words",
         HEAD "{\"type\":\"a\"},{\"capabilities\" : {\"io.kubernetes.cri.pod-annotations\":true},"
              "\"type\":\"fairlead\\u002dcni\"}]}",
         NULL, NULL},
        {"not the last", HEAD OURS ",{\"type\":\"a\"}]}", NULL, HEAD "{\"type\":\"a\"}," OURS "]}"},
        {"twice", HEAD "{\"type\":\"a\"}," OURS ", " OURS "]}", NULL, HEAD "{\"type\":\"a\"}," OURS "]}"},
        {"without the capability", HEAD "{\"type\":\"a\"},{\"type\":\"fairlead-cni\"}]}", NULL,
         HEAD "{\"type\":\"a\"}," OURS "]}"},
        {"with a member more",
         HEAD "{\"type\":\"a\"},{\"x\":1," /* as ours from here on */
              "\"type\":\"fairlead-cni\",\"capabilities\":{\"io.kubernetes.cri.pod-annotations\":"
              "true}}]}",
         NULL, HEAD "{\"type\":\"a\"}," OURS "]}"},
        {"a back end", HEAD "{\"type\":\"a\"}," OURS "]}", "iptables",
         HEAD
         "{\"type\":\"a\"},{\"type\":\"fairlead-cni\",\"capabilities\":{\"io.kubernetes.cri.pod-annotations\":true},"
         "\"backend\":\"iptables\"}]}"},
        {"the last of two lists counts",
         "{\"plugins\":[" OURS "],\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"plugins\":[{"
         "\"TYPE\":\"a\"}]}",
         NULL,
         "{\"plugins\":[" OURS "],\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"plugins\":[{\"TYPE\":\"a\"}," OURS "]}"},
        {"a plugin's own members do not count", HEAD "{\"type\":\"a\",\"x\":[" OURS "]}]}", NULL,
         HEAD "{\"type\":\"a\",\"x\":[" OURS "]}," OURS "]}"},
        {"numbers, names and escapes stay",
         "{\"name\":\"n\",\"a\":1.50e+3,\"a\":-0,\"\\u0062\":\"\xff\","
         "\"cniVersions\":[\"0.2.0\",\"1.1.0\"],\"plugins\":[{\"type\":\"a\"}]}",
         NULL,
         "{\"name\":\"n\",\"a\":1.50e+3,\"a\":-0,\"\\u0062\":\"\xff\",\"cniVersions\":[\"0.2.0\",\"1.1.0\"],"
         "\"plugins\":"
         "[{\"type\":\"a\"}," OURS "]}"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_buf_done) struct fl_buf out;
        struct fl_err err = {0};
        bool changed = false;
        fl_buf_init(&out, 1u << 20);
        int result = cni_conflist_insert(fl_span_str(rows[i].before), rows[i].backend, &out, &changed, &err);
        if (result != 0)
            fail_msg("%s: %d %s", rows[i].what, result, err.text);
        const char *after = rows[i].after != NULL ? rows[i].after : rows[i].before;
        if (strcmp(text_of(&out), after) != 0)
            fail_msg("%s: %s", rows[i].what, text_of(&out));
        assert_int_equal(changed, rows[i].after != NULL);
    }
}

static void test_what_cannot_be_edited(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int outcome;
        const char *says;
    } rows[] = {
        {"", CNI_CONFLIST_UNREADABLE, "line 1, column 1: the text ends where a value is expected"},
        {HEAD "{\"type\":\"a\"}", CNI_CONFLIST_UNREADABLE, "the text ends inside an array"},
        {"{\n  \"name\": \"n", CNI_CONFLIST_UNREADABLE, "line 2, column 13: the text ends inside a string"},
        {"{\"name\":\"n\"", CNI_CONFLIST_UNREADABLE, "the text ends inside an object"},
        {HEAD "{\"type\":\"a\"},]}", CNI_CONFLIST_UNREADABLE, "expected a value"},
        {HEAD "{\"type\":\"a\"}]}x", CNI_CONFLIST_UNREADABLE, "bytes after the value"},
        {"\xef\xbb\xbf" HEAD "{\"type\":\"a\"}]}", CNI_CONFLIST_UNREADABLE, "byte order mark"},
        {"[]", CNI_CONFLIST_UNREADABLE, "is an object"},
        {"{\"plugins\":[{\"type\":\"a\"}]}", CNI_CONFLIST_UNREADABLE, "$.name"},
        {"{\"name\":\"n\",\"cniVersion\":1,\"plugins\":[{\"type\":\"a\"}]}", CNI_CONFLIST_UNREADABLE,
         "column 26: $.cniVersion"},
        {HEAD "]}", CNI_CONFLIST_UNREADABLE, "$.plugins"},
        {HEAD "{}]}", CNI_CONFLIST_UNREADABLE, "without a type"},
        {HEAD "7]}", CNI_CONFLIST_UNREADABLE, "a plugin is an object"},
        {"{\"name\":\"n\",\"cniVersion\":\"1.0.0\"}", CNI_CONFLIST_UNFIT, "a folder"},
        {"{\"name\":\"n\",\"plugins\":[{\"type\":\"a\"}]}", CNI_CONFLIST_UNFIT, "$.cniVersion is missing"},
        {"{\"name\":\"n\",\"cniVersion\":\"0.2.0\",\"plugins\":[{\"type\":\"a\"}]}", CNI_CONFLIST_UNFIT, "0.3.0"},
        {"{\"name\":\"n\",\"cniVersion\":\"1.2.0\",\"plugins\":[{\"type\":\"a\"}]}", CNI_CONFLIST_UNFIT,
         "$.cniVersion"},
        {"{\"name\":\"n\",\"cniVersion\":\"1.1.0\",\"cniVersions\":[\"1.1.0\",\"1.2.0\"],\"plugins\":[{\"type\":\"a\"}]"
         "}",
         CNI_CONFLIST_UNFIT, "$.cniVersions"},
        {"{\"name\":\"n\",\"cniVersions\":[\"0.2.0\"],\"plugins\":[{\"type\":\"a\"}]}", CNI_CONFLIST_UNFIT,
         "$.cniVersions"},
        {"{\"name\":\"\",\"cniVersion\":\"1.1.0\",\"plugins\":[{\"type\":\"a\"}]}", CNI_CONFLIST_UNFIT, "$.name"},
        {HEAD OURS "]}", CNI_CONFLIST_UNFIT, "no chain"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_buf_done) struct fl_buf out;
        struct fl_err err = {0};
        bool changed = false;
        fl_buf_init(&out, 1u << 20);
        int result = cni_conflist_insert(fl_span_str(rows[i].text), NULL, &out, &changed, &err);
        if (result != rows[i].outcome || strstr(err.text, rows[i].says) == NULL)
            fail_msg("%s: %d %s", rows[i].text, result, err.text);
        assert_int_equal(out.len, 0);
    }
}

static void test_limits(void **state)
{
    (void)state;
    FL_CLEANUP(fl_buf_done) struct fl_buf text, out;
    bool changed;
    fl_buf_init(&text, 8u << 20);
    fl_buf_init(&out, 8u << 20);
    assert_int_equal(fl_buf_append_str(&text, HEAD "{\"type\":\"a\",\"x\":\""), 0);
    while (text.len < CNI_CONFLIST_BYTES_MAX - 4)
        assert_int_equal(fl_buf_append_byte(&text, 'x'), 0);
    assert_int_equal(fl_buf_append_str(&text, "\"}]}"), 0);
    /* it can be read, but with ours in it no longer */
    assert_int_equal(cni_conflist_remove(fl_buf_span(&text), &out, &changed, NULL), 0);
    assert_int_equal(cni_conflist_insert(fl_buf_span(&text), NULL, &out, &changed, NULL), -EMSGSIZE);
    assert_int_equal(fl_buf_append_byte(&text, '\n'), 0);
    assert_int_equal(cni_conflist_remove(fl_buf_span(&text), &out, &changed, NULL), -EMSGSIZE);
    fl_buf_clear(&text);
    for (int i = 0; i < CNI_CONFLIST_DEPTH_MAX + 1; i++)
        assert_int_equal(fl_buf_append_byte(&text, '['), 0);
    assert_int_equal(cni_conflist_remove(fl_buf_span(&text), &out, &changed, NULL), -EMSGSIZE);
}

static void test_remove(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
    } rows[] = {
        {HEAD "{\"type\":\"a\"} , " OURS " ]}", HEAD "{\"type\":\"a\"} ]}"},
        {HEAD " " OURS " , {\"type\":\"a\"}]}", HEAD " {\"type\":\"a\"}]}"},
        {HEAD OURS "," OURS ",{\"type\":\"a\"}," OURS ",{\"type\":\"b\"}]}",
         HEAD "{\"type\":\"a\"},{\"type\":\"b\"}]}"},
        {HEAD OURS " ]}", HEAD "]}"},
        {HEAD "{\"type\":\"multus\",\"delegates\":[{\"plugins\":[{\"type\":\"a\"}," OURS "]}]}," OURS "]}",
         HEAD "{\"type\":\"multus\",\"delegates\":[{\"plugins\":[{\"type\":\"a\"}]}]}]}"},
        {HEAD "{\"type\":\"a\"},{\"type\":\"fairlead-cni\",\"x\":[" OURS "]}]}", HEAD "{\"type\":\"a\"}]}"},
        {"[{\"type\":\"fairlead-cni2\"}]", "[{\"type\":\"fairlead-cni2\"}]"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_buf_done) struct fl_buf out;
        bool changed = false;
        fl_buf_init(&out, 1u << 20);
        assert_int_equal(cni_conflist_remove(fl_span_str(rows[i].before), &out, &changed, NULL), 0);
        assert_string_equal(text_of(&out), rows[i].after);
        assert_int_equal(changed, strcmp(rows[i].before, rows[i].after) != 0);
    }
}

static void read_corpus(const char *name, struct fl_buf *text)
{
    char path[512];
    snprintf(path, sizeof(path), CORPUS "/%s", name);
    assert_int_equal(fl_buf_read_file(text, path), 0);
}

/* Every list that is known from outside: in, and out again. */
static void test_known_lists(void **state)
{
    (void)state;
    static const char *const names[] = {"calico", "cilium",     "flannel", "aws",     "gke",
                                        "azure",  "azure-crlf", "k3s",     "versions"};
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        FL_CLEANUP(fl_buf_done) struct fl_buf text, in, out;
        struct fl_err err = {0};
        bool changed = false;
        fl_buf_init(&text, 1u << 20);
        fl_buf_init(&in, 1u << 20);
        fl_buf_init(&out, 1u << 20);
        read_corpus(names[i], &text);
        if (cni_conflist_insert(fl_buf_span(&text), NULL, &in, &changed, &err) != 0 || !changed)
            fail_msg("%s: %s", names[i], err.text);
        assert_int_equal(cni_conflist_remove(fl_buf_span(&in), &out, &changed, &err), 0);
        assert_true(fl_span_eq(fl_buf_span(&out), fl_buf_span(&text)));
    }
}

static void test_wrap(void **state)
{
    (void)state;
    static const struct {
        const char *plugin, *file, *list;
    } rows[] = {
        {"{\"name\":\"cbr0\",\"type\":\"flannel\"}\n", "10-flannel.conf",
         "{\"cniVersion\":\"0.3.1\",\"name\":\"cbr0\",\"fairlead.io/wrapped\":\"10-flannel.conf\",\"plugins\":["
         "{\"name\":\"cbr0\",\"type\":\"flannel\"}\n]}\n"},
        {" {\"cniVersion\":\"0.2.0\",\"Name\":\"a\\u0062\",\"type\":\"x\"}", "x.json",
         "{\"cniVersion\":\"0.3.1\",\"name\":\"a\\u0062\",\"fairlead.io/wrapped\":\"x.json\",\"plugins\":[ "
         "{\"cniVersion\":\"0.2.0\",\"Name\":\"a\\u0062\",\"type\":\"x\"}]}\n"},
        {"{\"cniVersion\":\"0.3.0\",\"name\":\"n\",\"type\":\"x\"}", "x.conf",
         "{\"cniVersion\":\"0.3.0\",\"name\":\"n\",\"fairlead.io/wrapped\":\"x.conf\",\"plugins\":["
         "{\"cniVersion\":\"0.3.0\",\"name\":\"n\",\"type\":\"x\"}]}\n"},
        {"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"x\"}", "x.conf",
         "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"fairlead.io/wrapped\":\"x.conf\",\"plugins\":["
         "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"x\"}]}\n"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_buf_done) struct fl_buf list, chained;
        struct cni_conflist_facts facts;
        struct fl_span inner;
        bool changed;
        fl_buf_init(&list, 1u << 20);
        fl_buf_init(&chained, 1u << 20);
        assert_int_equal(cni_conflist_wrap(fl_span_str(rows[i].plugin), rows[i].file, &list, NULL), 0);
        assert_string_equal(text_of(&list), rows[i].list);
        assert_int_equal(cni_conflist_insert(fl_buf_span(&list), NULL, &chained, &changed, NULL), 0);
        assert_int_equal(cni_conflist_read(fl_buf_span(&chained), true, &facts, NULL), 0);
        assert_true(facts.wrapper);
        assert_string_equal(facts.wrapped, rows[i].file);
        assert_int_equal(cni_conflist_unwrap(fl_buf_span(&list), &inner, NULL), 0);
        assert_true(fl_span_eq_str(inner, rows[i].plugin));
        /* with ours in it, it is not what was made */
        assert_int_equal(cni_conflist_unwrap(fl_buf_span(&chained), &inner, NULL), CNI_CONFLIST_UNFIT);
    }
}

static void test_what_cannot_be_wrapped(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int outcome;
    } rows[] = {
        {"{\"type\":\"a\"}", CNI_CONFLIST_UNFIT},
        {"{\"type\":\"a\",\"name\":\"../x\"}", CNI_CONFLIST_UNFIT},
        {"{\"type\":\"a\",\"name\":\"n\",\"cniVersion\":\"2.0.0\"}", CNI_CONFLIST_UNFIT},
        {"{\"type\":\"a\",\"name\":\"n\",\"cniVersion\":1}", CNI_CONFLIST_UNFIT},
        {"{\"type\":\"fairlead-cni\",\"name\":\"n\"}", CNI_CONFLIST_UNFIT},
        {HEAD "{\"type\":\"a\"}]}", CNI_CONFLIST_UNREADABLE}, /* a list in a .conf: runtimes refuse it */
        {"{\"type\":\"a\",\"name\":\"n\"", CNI_CONFLIST_UNREADABLE},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_buf_done) struct fl_buf out;
        fl_buf_init(&out, 1u << 20);
        if (cni_conflist_wrap(fl_span_str(rows[i].text), "x.conf", &out, NULL) != rows[i].outcome)
            fail_msg("%s", rows[i].text);
    }
}

/* Somebody chained their own plugin into our wrapper, or changed it, or it is a trap. */
static void test_what_is_no_wrapper(void **state)
{
    (void)state;
    static const char *const texts[] = {
        HEAD "{\"type\":\"a\"}]}",
        "{\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"fairlead.io/wrapped\":\"x.conf\",\"plugins\":["
        "{\"name\":\"n\",\"type\":\"a\"},{\"type\":\"b\"}]}\n",
        "{\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"fairlead.io/wrapped\":\"x.conf\",\"plugins\":["
        "{\"name\":\"n\",\"type\":\"a\"}]}",
        "{\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"fairlead.io/wrapped\":\"../x.conf\",\"plugins\":["
        "{\"name\":\"n\",\"type\":\"a\"}]}\n",
        "{\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"fairlead.io/wrapped\":\"passwd\",\"plugins\":["
        "{\"name\":\"n\",\"type\":\"a\"}]}\n",
    };
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        struct cni_conflist_facts facts;
        struct fl_span inner;
        assert_int_equal(cni_conflist_unwrap(fl_span_str(texts[i]), &inner, NULL), CNI_CONFLIST_UNFIT);
        assert_int_equal(cni_conflist_read(fl_span_str(texts[i]), true, &facts, NULL), 0);
        assert_false(facts.wrapper);
    }
}

static void test_facts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool list;
        const char *name;
        unsigned plugins, ours;
    } rows[] = {
        {HEAD "{\"type\":\"a\"}," OURS ",{\"type\":\"b\"}]}", true, "n", 2, 1},
        {HEAD OURS "]}", true, "n", 0, 1},
        {"{\"name\":\"x\",\"type\":\"fairlead-cni\"}", false, "x", 0, 1},
        {"{\"name\":\"x\",\"type\":\"multus\",\"delegates\":[{\"plugins\":[{\"type\":\"a\"}," OURS "]}]}", false, "x",
         1, 1},
        {"{\"name\":\"\xc3\xa4\",\"type\":\"a\"}", false, "", 1, 0},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct cni_conflist_facts facts;
        assert_int_equal(cni_conflist_read(fl_span_str(rows[i].text), rows[i].list, &facts, NULL), 0);
        assert_string_equal(facts.name, rows[i].name);
        assert_int_equal(facts.plugins, rows[i].plugins);
        assert_int_equal(facts.ours, rows[i].ours);
        assert_false(facts.wrapper);
    }
}

/* The versions that are chained into are the ones that the plugin speaks: else each pod of the node would fail. */
static void test_versions_are_the_plugins(void **state)
{
    (void)state;
    static const char *const others[] = {"0.1.0", "0.2.0", "0.3.2", "1.2.0", "", "1.0", "v1.0.0"};
    char text[256];
    FL_CLEANUP(fl_buf_done) struct fl_buf out;
    bool changed;
    fl_buf_init(&out, 1u << 20);
    for (size_t i = 0; cni_netconf_versions[i] != NULL; i++) {
        snprintf(text, sizeof(text), "{\"cniVersion\":\"%s\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\"}]}",
                 cni_netconf_versions[i]);
        assert_int_equal(cni_conflist_insert(fl_span_str(text), NULL, &out, &changed, NULL), 0);
    }
    for (size_t i = 0; i < FL_COUNT(others); i++) {
        snprintf(text, sizeof(text), "{\"cniVersion\":\"%s\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\"}]}",
                 others[i]);
        assert_int_equal(cni_conflist_insert(fl_span_str(text), NULL, &out, &changed, NULL), CNI_CONFLIST_UNFIT);
    }
}

static void test_memory(void **state)
{
    (void)state;
    FL_CLEANUP(fl_buf_done) struct fl_buf text;
    fl_buf_init(&text, 1u << 20);
    read_corpus("ours-everywhere", &text);
    FAIL_EACH_ALLOCATION
    {
        FL_CLEANUP(fl_buf_done) struct fl_buf out;
        struct cni_conflist_facts facts;
        struct fl_span inner;
        bool changed;
        fl_buf_init(&out, 1u << 20);
        int inserted = cni_conflist_insert(fl_buf_span(&text), "nftables", &out, &changed, NULL);
        int removed = cni_conflist_remove(fl_buf_span(&text), &out, &changed, NULL);
        int read = cni_conflist_read(fl_buf_span(&text), true, &facts, NULL);
        fl_buf_clear(&out);
        int wrapped = cni_conflist_wrap(FL_SPAN("{\"type\":\"a\",\"name\":\"n\"}"), "x.conf", &out, NULL);
        int unwrapped = wrapped == 0 ? cni_conflist_unwrap(fl_buf_span(&out), &inner, NULL) : 0;
        fl_buf_clear(&out);
        int standalone = cni_conflist_standalone(NULL, &out);
        fail_stop();
        int worst = inserted < 0    ? inserted
                    : removed < 0   ? removed
                    : read < 0      ? read
                    : wrapped < 0   ? wrapped
                    : unwrapped < 0 ? unwrapped
                                    : standalone;
        assert_int_equal(worst, fail_happened() ? -ENOMEM : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_insert),
        cmocka_unit_test(test_what_cannot_be_edited),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_known_lists),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_what_cannot_be_wrapped),
        cmocka_unit_test(test_what_is_no_wrapper),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_versions_are_the_plugins),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
