/* A path under any of the rules: the result is a fixed point, not longer, has no dot segments where it was normalized,
 * also not in escapes,
 * no escaped slashes where those go, and its query is the one that came. The first byte chooses the rules. */
#include "proxy/http/path.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_segments(const struct proxy_path_rules *rules, struct fl_span path)
{
    struct fl_span rest = fl_span_make(path.data, fl_span_find(path, '?')), segment;
    rest = fl_span_from(rest, 1);
    while (rules->normalize && fl_span_split(&rest, '/', &segment))
        assert(!fl_span_eq_str(segment, ".") && !fl_span_eq_str(segment, ".."));
}

static void check_escapes(const struct proxy_path_rules *rules, struct fl_span path)
{
    size_t end = fl_span_find(path, '?');
    for (size_t i = 0; i + 3 <= end; i++) {
        struct fl_span escape = fl_span_make(path.data + i, 3);
        bool slash = fl_span_eq_nocase(escape, FL_SPAN("%2f")) || fl_span_eq_nocase(escape, FL_SPAN("%5c"));
        assert(rules->escaped_slashes == PROXY_SLASHES_KEEP || !slash);
        assert(!rules->normalize || !fl_span_eq_nocase(escape, FL_SPAN("%2e")));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct proxy_path_rules rules = {.normalize = (data[0] & 1) != 0,
                                           .merge_slashes = (data[0] & 2) != 0,
                                           .escaped_slashes = (enum proxy_escaped_slashes)(data[0] >> 2 & 3)};
    struct fl_span path = fl_span_make((const char *)data + 1, size - 1), once = path, twice;
    char *first = malloc(size), *second = malloc(size);
    assert(first != NULL && second != NULL);
    enum proxy_path_result result = proxy_path_apply(&rules, path, first, &once);
    if (result != PROXY_PATH_REFUSED && path.len > 0 && path.data[0] == '/') {
        assert(once.len > 0 && once.len <= path.len && once.data[0] == '/');
        assert(proxy_path_apply(&rules, once, second, &twice) == PROXY_PATH_SAME);
        assert(fl_span_eq(fl_span_from(once, fl_span_find(once, '?')), fl_span_from(path, fl_span_find(path, '?'))));
        check_segments(&rules, once);
        check_escapes(&rules, once);
    }
    free(first);
    free(second);
    return 0;
}
