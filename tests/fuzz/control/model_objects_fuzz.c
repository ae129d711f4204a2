/* Any text as a file of the directory source: documents, objects of every kind, a model of them, and everything that is
 * derived from it. Reading the same text again gives the same versions, and no problem is without words. */
#include "control/source/documents.h"
#include "control/status/report.h"
#include "tests/unit/control/model_dump.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_same(const struct control_documents *a, const struct control_documents *b)
{
    check(a->object_count == b->object_count && a->problem_count == b->problem_count);
    for (size_t i = 0; i < a->object_count; i++)
        check(a->objects[i].object->version == b->objects[i].object->version);
}

static void check_object(const struct control_model *model, const struct control_object *object)
{
    struct control_key key = control_object_key(object);
    check(fl_is_dns_subdomain(key.name));
    check(control_kind_namespaced(object->kind) ? fl_is_dns_label(key.name_space) : key.name_space.len == 0);
    check(object->origin.document > 0);
    check(control_model_get(model, key) != NULL);
}

static void check_model(const struct control_model *model)
{
    struct fl_buf out;
    fl_buf_init(&out, 1 << 20);
    int result = model_dump(model, &out);
    check(result == 0 || result == -EMSGSIZE);
    fl_buf_clear(&out);
    result = control_status_all(model, NULL, NULL, &out);
    check(result == 0 || result == -EMSGSIZE);
    fl_buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct control_documents documents, again;
    struct control_store *store = NULL;
    struct control_diff *diff = NULL;
    check(control_documents_read(fl_span_make(data, size), "fuzz", FL_SPAN(CONTROL_ROOT_DEFAULT), &documents) == 0);
    check(control_documents_read(fl_span_make(data, size), "fuzz", FL_SPAN(CONTROL_ROOT_DEFAULT), &again) == 0);
    check_same(&documents, &again);
    for (size_t i = 0; i < documents.problem_count; i++)
        check(documents.problems[i].text[0] != '\0');
    check(control_store_new(&store) == 0);
    for (size_t i = 0; i < documents.object_count; i++)
        check(control_store_put(store, documents.objects[i].object) == 0);
    check(control_store_commit(store, &diff) == 0);
    for (size_t i = 0; i < documents.object_count; i++)
        check_object(diff->after, documents.objects[i].object);
    check_model(diff->after);
    control_diff_free(diff);
    control_store_free(store);
    check(control_documents_keep(&documents, &again) == 0);
    control_documents_done(&documents);
    control_documents_done(&again);
    return 0;
}
