/* proxy/http/path: one form of a path, by each rule and by all together. */
#include "proxy/http/path.h"

#include "tests/support/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NORMALIZE                                                                                                      \
    {                                                                                                                  \
        .normalize = true                                                                                              \
    }
#define MERGE                                                                                                          \
    {                                                                                                                  \
        .merge_slashes = true                                                                                          \
    }
#define ESCAPED(how)                                                                                                   \
    {                                                                                                                  \
        .escaped_slashes = PROXY_SLASHES_##how                                                                         \
    }
#define ALL(how)                                                                                                       \
    {                                                                                                                  \
        .normalize = true, .merge_slashes = true, .escaped_slashes = PROXY_SLASHES_##how                               \
    }

struct row {
    const char *what;
    struct proxy_path_rules rules;
    const char *path;
    enum proxy_path_result result;
    const char *expected; /* of CHANGED and REDIRECT */
};

static const struct row rows[] = {
    {"no rules: everything stays", {0}, "/a/../%2e//%2F\\%00", PROXY_PATH_SAME, NULL},

    {"plain", NORMALIZE, "/a/b.c/..d/e..", PROXY_PATH_SAME, NULL},
    {"root", NORMALIZE, "/", PROXY_PATH_SAME, NULL},
    {"asterisk", NORMALIZE, "*", PROXY_PATH_SAME, NULL},
    {"no path (CONNECT)", NORMALIZE, "", PROXY_PATH_SAME, NULL},
    {"current", NORMALIZE, "/a/./b", PROXY_PATH_CHANGED, "/a/b"},
    {"parent", NORMALIZE, "/a/b/../c", PROXY_PATH_CHANGED, "/a/c"},
    {"parent beyond the root", NORMALIZE, "/a/../../../c", PROXY_PATH_CHANGED, "/c"},
    {"parent at the root", NORMALIZE, "/..", PROXY_PATH_CHANGED, "/"},
    {"current at the root", NORMALIZE, "/.", PROXY_PATH_CHANGED, "/"},
    {"parent at the end keeps the slash", NORMALIZE, "/a/b/..", PROXY_PATH_CHANGED, "/a/"},
    {"current at the end keeps the slash", NORMALIZE, "/a/b/.", PROXY_PATH_CHANGED, "/a/b/"},
    {"parent with a slash behind it", NORMALIZE, "/a/b/../", PROXY_PATH_CHANGED, "/a/"},
    {"three dots are a name", NORMALIZE, "/a/.../b", PROXY_PATH_SAME, NULL},
    {"a name that begins with a dot", NORMALIZE, "/.well-known/x", PROXY_PATH_SAME, NULL},
    {"escaped dots", NORMALIZE, "/a/%2e%2E/b/%2e/c", PROXY_PATH_CHANGED, "/b/c"},
    {"half escaped dots", NORMALIZE, "/a/.%2e/b", PROXY_PATH_CHANGED, "/b"},
    {"an empty segment is one", NORMALIZE, "/a//../b", PROXY_PATH_CHANGED, "/a/b"},
    {"double slashes stay", NORMALIZE, "//a//b", PROXY_PATH_SAME, NULL},
    {"backslash", NORMALIZE, "/a\\..\\b", PROXY_PATH_CHANGED, "/b"},
    {"unreserved", NORMALIZE, "/%41%7a%30%2D%5f%7E", PROXY_PATH_CHANGED, "/Az0-_~"},
    {"reserved and others stay, in their case", NORMALIZE, "/%2f%2F%5c%25%3f%20%c3%A9", PROXY_PATH_SAME, NULL},
    {"octets from 0x80 stay", NORMALIZE, "/\xc3\xa9/./", PROXY_PATH_CHANGED, "/\xc3\xa9/"},
    {"an escape decoded once", NORMALIZE, "/%252e%252e/a", PROXY_PATH_SAME, NULL},
    {"broken escapes stay", NORMALIZE, "/%/%2/%zz/%2", PROXY_PATH_SAME, NULL},
    {"a broken escape is not completed", NORMALIZE, "/%2%46", PROXY_PATH_SAME, NULL},
    {"nor its first digit", NORMALIZE, "/%%32e%%32e/a", PROXY_PATH_SAME, NULL},
    {"behind a broken escape", NORMALIZE, "/%2/%41", PROXY_PATH_CHANGED, "/%2/A"},
    {"dots behind a broken escape", NORMALIZE, "/%/%2e%2e/b", PROXY_PATH_CHANGED, "/b"},
    {"dots cannot complete one", NORMALIZE, "/%2%2e%2E/b", PROXY_PATH_CHANGED, "/%2../b"},
    {"behind a whole one", NORMALIZE, "/%20%41", PROXY_PATH_CHANGED, "/%20A"},
    {"escaped NUL", NORMALIZE, "/a%00b", PROXY_PATH_REFUSED, NULL},
    {"escaped NUL among dots", NORMALIZE, "/a/.%00./b", PROXY_PATH_REFUSED, NULL},
    {"escaped NUL in a segment that goes", NORMALIZE, "/%00/../a", PROXY_PATH_REFUSED, NULL},
    {"the query stays", NORMALIZE, "/a/../b?c=/../%41//%00", PROXY_PATH_CHANGED, "/b?c=/../%41//%00"},
    {"dots before a query", NORMALIZE, "/a/..?b", PROXY_PATH_CHANGED, "/?b"},
    {"a query alone", NORMALIZE, "/?/../", PROXY_PATH_SAME, NULL},

    {"merged", MERGE, "//a///b//", PROXY_PATH_CHANGED, "/a/b/"},
    {"merging alone leaves dots", MERGE, "/a/..//b", PROXY_PATH_CHANGED, "/a/../b"},
    {"nothing to merge", MERGE, "/a/./%2F/", PROXY_PATH_SAME, NULL},
    {"not in the query", MERGE, "/a?b=//c", PROXY_PATH_SAME, NULL},

    {"kept", ESCAPED(KEEP), "/a%2Fb", PROXY_PATH_SAME, NULL},
    {"refused", ESCAPED(REJECT), "/a%2Fb", PROXY_PATH_REFUSED, NULL},
    {"refused in lower case", ESCAPED(REJECT), "/a%2fb", PROXY_PATH_REFUSED, NULL},
    {"refused backslash", ESCAPED(REJECT), "/a%5cb", PROXY_PATH_REFUSED, NULL},
    {"not in the query", ESCAPED(REJECT), "/a?b=%2F", PROXY_PATH_SAME, NULL},
    {"an escaped percent sign is none", ESCAPED(REJECT), "/a%252Fb", PROXY_PATH_SAME, NULL},
    {"a broken one before it", ESCAPED(REJECT), "/%%2F", PROXY_PATH_REFUSED, NULL},
    {"forwarded", ESCAPED(FORWARD_UNESCAPED), "/a%2Fb%5Cc?%2F", PROXY_PATH_CHANGED, "/a/b\\c?%2F"},
    {"redirected", ESCAPED(REDIRECT), "/a%2Fb?%2F", PROXY_PATH_REDIRECT, "/a/b?%2F"},
    {"nothing to redirect", ESCAPED(REDIRECT), "/a/%20", PROXY_PATH_SAME, NULL},

    {"all: an escaped way up", ALL(FORWARD_UNESCAPED), "/a%2F..%5c%2e%2e//b", PROXY_PATH_CHANGED, "/b"},
    {"all: redirect to the last form", ALL(REDIRECT), "/a/%2e%2e%2f%2Fb", PROXY_PATH_REDIRECT, "/b"},
    {"all: no redirect without an escaped slash", ALL(REDIRECT), "/a/../b", PROXY_PATH_CHANGED, "/b"},
    {"all: refused", ALL(REJECT), "/a/../b%2f", PROXY_PATH_REFUSED, NULL},
    {"all: refused must not be spelled by decoding", ALL(REJECT), "/a%2%46..", PROXY_PATH_SAME, NULL},
    {"all: dots before merging", ALL(KEEP), "/a//../b", PROXY_PATH_CHANGED, "/a/b"},
};

static void every_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const struct row *row = &rows[i];
        char to[256];
        struct fl_span path = {0};
        print_message("%s\n", row->what);
        assert_int_equal(proxy_path_apply(&row->rules, fl_span_str(row->path), to, &path), row->result);
        if (row->expected == NULL)
            continue;
        assert_int_equal(path.len, strlen(row->expected));
        assert_memory_equal(path.data, row->expected, path.len);
        assert_int_equal(proxy_path_apply(&row->rules, path, (char[256]){0}, &path), PROXY_PATH_SAME);
    }
}

static void nothing_is_read_or_written_beyond_the_path(void **state)
{
    (void)state;
    static const struct proxy_path_rules rules = ALL(FORWARD_UNESCAPED);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        size_t len = strlen(rows[i].path);
        struct guard in, out;
        struct fl_span path;
        guard_init(&in, fl_span_make(rows[i].path, len));
        guard_init(&out, fl_span_make(rows[i].path, len));
        (void)!proxy_path_apply(&rules, in.span, (char *)(uintptr_t)out.span.data, &path);
        guard_done(&in);
        guard_done(&out);
    }
}

static void a_reference_never_names_a_host(void **state)
{
    (void)state;
    static const char *const paths[][2] = {{"/a//b?c", "/a//b?c"},
                                           {"/", "/"},
                                           {"//evil.example/a", "/.//evil.example/a"},
                                           {"/\\evil.example", "/./\\evil.example"}};
    for (size_t i = 0; i < FL_COUNT(paths); i++) {
        char to[64];
        struct fl_span reference = proxy_path_reference(fl_span_str(paths[i][0]), to);
        assert_true(fl_span_eq_str(reference, paths[i][1]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row),
        cmocka_unit_test(nothing_is_read_or_written_beyond_the_path),
        cmocka_unit_test(a_reference_never_names_a_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
