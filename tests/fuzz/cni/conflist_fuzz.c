/* The editor of network configurations: what was put in can be taken out, byte for byte; what is put in stands once and
 * last; what is read strictly is read here. */
#include "cni/install/conflist.h"
#include "cni/install/jsonwalk.h"
#include "common/doc/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool same(const struct fl_buf *buf, struct fl_span text)
{
    return fl_span_eq(fl_buf_span(buf), text);
}

static unsigned ours_in(struct fl_span text, bool list)
{
    struct cni_conflist_facts facts = {0};
    struct fl_err err;
    int result = cni_conflist_read(text, list, &facts, &err);
    return result == 0 ? facts.ours : 0;
}

/* At the end of the text's list there is ours, in these very words or in others, and nowhere else in it. */
static void check_once_and_last(struct fl_span text)
{
    struct cni_json json = {0};
    unsigned ours = 0;
    uint32_t last = CNI_JSON_NONE;
    check(cni_json_read(text, &json, NULL) == 0);
    uint32_t plugins = cni_json_get(&json, 0, "plugins");
    for (uint32_t i = cni_json_first(&json, plugins); i != CNI_JSON_NONE; i = cni_json_after(&json, plugins, i)) {
        last = i;
        ours += cni_json_is(&json, cni_json_get_field(&json, i, "type"), CNI_CONFLIST_TYPE);
    }
    check(ours == 1 && cni_json_is(&json, cni_json_get_field(&json, last, "type"), CNI_CONFLIST_TYPE));
    cni_json_done(&json);
}

static void try_remove(struct fl_span text, bool list)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf out, again;
    bool changed = false;
    fl_buf_init(&out, 4u << 20);
    fl_buf_init(&again, 4u << 20);
    if (cni_conflist_remove(text, &out, &changed, NULL) != 0)
        return;
    check(changed || same(&out, text));
    check(cni_conflist_remove(fl_buf_span(&out), &again, &changed, NULL) == 0);
    check(!changed && same(&again, fl_buf_span(&out)));
    check(!list || ours_in(fl_buf_span(&out), list) == 0);
}

static void try_insert(struct fl_span text, const char *backend)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf out, again, without;
    bool changed = false, removed = false;
    fl_buf_init(&out, 4u << 20);
    fl_buf_init(&again, 4u << 20);
    fl_buf_init(&without, 4u << 20);
    if (cni_conflist_insert(text, backend, &out, &changed, NULL) != 0)
        return;
    check(changed || same(&out, text));
    check_once_and_last(fl_buf_span(&out));
    check(cni_conflist_insert(fl_buf_span(&out), backend, &again, &removed, NULL) == 0);
    check(!removed && same(&again, fl_buf_span(&out)));
    check(cni_conflist_remove(fl_buf_span(&out), &without, &removed, NULL) == 0 && removed);
    check(ours_in(text, true) > 0 || same(&without, text));
}

static void try_wrap(struct fl_span text)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf wrapped, chained, without;
    struct cni_conflist_facts facts;
    struct fl_span inner;
    bool changed = false;
    fl_buf_init(&wrapped, 4u << 20);
    fl_buf_init(&chained, 4u << 20);
    fl_buf_init(&without, 4u << 20);
    if (text.len > CNI_CONFLIST_BYTES_MAX / 4 || cni_conflist_wrap(text, "10-x.conf", &wrapped, NULL) != 0)
        return;
    check(cni_conflist_insert(fl_buf_span(&wrapped), NULL, &chained, &changed, NULL) == 0 && changed);
    check(cni_conflist_read(fl_buf_span(&chained), true, &facts, NULL) == 0);
    if (ours_in(text, false) > 0)
        return; /* taken out of the text as well */
    check(facts.wrapper && strcmp(facts.wrapped, "10-x.conf") == 0 && facts.plugins == 1 && facts.ours == 1);
    check(cni_conflist_remove(fl_buf_span(&chained), &without, &changed, NULL) == 0 && changed);
    check(cni_conflist_unwrap(fl_buf_span(&without), &inner, NULL) == 0 && fl_span_eq(inner, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span text = fl_span_make(data, size), inner;
    struct fl_json *tree = NULL;
    struct cni_json json = {0};
    int strict = fl_json_parse(text, NULL, &tree, NULL);
    int read = cni_json_read(text, &json, NULL);
    check(strict != 0 || read == 0 || read == -90);
    fl_json_free(tree);
    cni_json_done(&json);
    try_remove(text, true);
    try_remove(text, false);
    try_insert(text, NULL);
    try_insert(text, "iptables");
    try_wrap(text);
    if (cni_conflist_unwrap(text, &inner, NULL) == 0)
        check(inner.len < size);
    return 0;
}
