/* A pattern, a substitution and a text, a line each: whatever they are, a look ends, and what is written fits. */
#include "common/regex/pattern.h"

#include <assert.h>
#include <string.h>

#define ROOM 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span rest = fl_span_make(data, size), text = {NULL, 0}, substitution = {NULL, 0}, result = {NULL, 0};
    struct fl_pattern *pattern = NULL;
    struct fl_err err = {0};
    char to[ROOM];
    if (!fl_span_split(&rest, '\n', &text) || fl_pattern_new(text, &pattern, &err) < 0)
        return 0;
    fl_span_split(&rest, '\n', &substitution);
    bool whole = fl_pattern_matches(pattern, rest);
    assert(whole == fl_pattern_matches(pattern, rest));
    if (fl_pattern_check(pattern, substitution, &err) == 0 &&
        fl_pattern_replace(pattern, rest, substitution, to, sizeof(to), &result) == 0)
        assert(result.data == to && result.len <= sizeof(to));
    (void)whole;
    fl_pattern_free(pattern);
    return 0;
}
