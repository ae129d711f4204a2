/* Any JSON as an object of the API server, of every kind: cut, then read. What comes out of the cut one, an object or a
 * refusal, is what comes out when it is cut again, and nothing of it is longer than it was. */
#include "control/model/model.h"
#include "control/model/reader.h"
#include "control/source/trim.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static int read_object(const struct fl_json *document, uint64_t *ret_version)
{
    static const struct control_origin origin = {.source = {"", 0}};
    FL_CLEANUP(control_cleanup_object) struct control_object *object = NULL;
    struct control_identity identity;
    struct fl_err err = {0};
    int result = control_object_read(document, NULL, &origin, FL_SPAN(CONTROL_ROOT_DEFAULT), &object, &identity, &err);
    check(result != -ENOMEM && (result >= 0 || err.text[0] != '\0'));
    *ret_version = object != NULL ? object->version : 0;
    return result;
}

static void check_kind(enum control_kind kind, const struct fl_json *object)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *cut = control_trim(kind, "example.com/v1", object);
    check(cut != NULL);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *again = control_trim(kind, "example.com/v1", cut);
    check(again != NULL && fl_json_equal(cut, again));
}

static void check_reading(enum control_kind kind, const struct fl_json *object)
{
    const char *api = kind == CONTROL_POD          ? "v1"
                      : kind == CONTROL_HTTP_ROUTE ? "gateway.networking.k8s.io/v1"
                                                   : "fairlead.io/v1alpha1";
    FL_CLEANUP(fl_cleanup_json) struct fl_json *cut = control_trim(kind, api, object);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *again = control_trim(kind, api, cut);
    uint64_t version, version_again;
    check(read_object(cut, &version) == read_object(again, &version_again) && version == version_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = NULL;
    struct fl_err err = {0};
    if (fl_json_parse(fl_span_make(data, size), NULL, &object, &err) < 0)
        return 0;
    for (int kind = 0; kind < CONTROL_KIND_COUNT; kind++)
        check_kind((enum control_kind)kind, object);
    check_reading(CONTROL_POD, object);
    check_reading(CONTROL_HTTP_ROUTE, object);
    check_reading(CONTROL_AUTHORIZATION_POLICY, object);
    return 0;
}
