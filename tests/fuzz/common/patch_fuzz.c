/* A document and a patch, separated by a NUL. A patch that fails changes nothing; applied to a copy that shares with
 * the document it does the same, and leaves the document alone; where one applies, the difference between before and
 * after applied to before gives after. */
#include "common/doc/patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *document = NULL;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = NULL;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *difference = NULL;
    struct fl_span rest = fl_span_make(data, size), text;
    struct fl_err err = {0};
    if (!fl_span_split(&rest, '\0', &text) || fl_json_parse(text, NULL, &document, NULL) < 0 ||
        fl_json_parse(rest, NULL, &patch, NULL) < 0)
        return 0;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *before = fl_json_copy(document);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *sharing = NULL;
    int applied = fl_patch_applied(before, patch, &sharing, NULL);
    check(fl_json_equal(before, document));
    int result = fl_patch_apply(&document, patch, &err);
    check(applied == result && (result < 0 || fl_json_equal(sharing, document)));
    sharing = fl_json_free(sharing); /* before what it shares with */
    if (result < 0) {
        check(err.code < 0 && err.text[0] != '\0' && fl_json_equal(before, document));
        return 0;
    }
    check(fl_json_depth(document) <= FL_JSON_DEPTH_MAX);
    check(fl_patch_diff(before, document, &difference, NULL) == 0);
    check(fl_patch_apply(&before, difference, NULL) == 0);
    check(fl_json_equal(before, document));
    return 0;
}
