#include "common/kube/event.h"

#include "common/kube/object.h"

#include <errno.h>

#define VALUES_MAX (1u << 20) /* of a page or an event; an object of 1.5 MiB has no more than 0.8 million */
#define DEPTH_MAX  256

static int parse(struct fl_span text, size_t max, const char *what, struct fl_json **ret_root, struct fl_err *err)
{
    const struct fl_json_limits limits = {
        .bytes_max = max, .depth_max = DEPTH_MAX, .values_max = VALUES_MAX, .nul_replaced = true};
    int result = fl_json_parse(text, &limits, ret_root, err);
    if (result < 0) {
        fl_err_prefix(err, "%s", what);
        return result;
    }
    if (fl_json_is(*ret_root, FL_JSON_OBJECT))
        return 0;
    *ret_root = fl_json_free(*ret_root);
    return fl_err_set(err, -EINVAL, "%s: not an object", what);
}

bool fl_kube_identify(const struct fl_json *object, struct fl_kube_identity *ret_identity)
{
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    *ret_identity = (struct fl_kube_identity){
        .name = fl_json_string(fl_json_get(metadata, "name")),
        .name_space = fl_json_string(fl_json_get(metadata, "namespace")),
        .version = fl_json_string(fl_json_get(metadata, "resourceVersion")),
    };
    return ret_identity->name.len > 0 && ret_identity->name.len <= FL_KUBE_NAME_MAX &&
           ret_identity->name_space.len <= FL_KUBE_NAMESPACE_MAX && ret_identity->version.len > 0 &&
           ret_identity->version.len <= FL_KUBE_VERSION_MAX;
}

static bool type_of(struct fl_span word, enum fl_kube_event_type *ret_type)
{
    static const char *const words[] = {
        [FL_KUBE_EVENT_ADDED] = "ADDED",     [FL_KUBE_EVENT_MODIFIED] = "MODIFIED",
        [FL_KUBE_EVENT_DELETED] = "DELETED", [FL_KUBE_EVENT_BOOKMARK] = "BOOKMARK",
        [FL_KUBE_EVENT_ERROR] = "ERROR",
    };
    for (size_t i = 0; i < FL_COUNT(words); i++) {
        if (fl_span_eq_str(word, words[i])) {
            *ret_type = (enum fl_kube_event_type)i;
            return true;
        }
    }
    return false;
}

/* 0, or -EINVAL for an event that says less than it must. */
static int read_event(struct fl_kube_event *event, struct fl_err *err)
{
    struct fl_kube_identity identity;
    int64_t code;
    event->object = fl_json_get(event->root, "object");
    if (!type_of(fl_json_string(fl_json_get(event->root, "type")), &event->type) ||
        !fl_json_is(event->object, FL_JSON_OBJECT))
        return fl_err_set(err, -EINVAL, "watch event: without a type that is known, or without an object");
    bool named = fl_kube_identify(event->object, &identity);
    if (event->type == FL_KUBE_EVENT_ERROR) {
        event->code = fl_json_int(fl_json_get(event->object, "code"), 100, 599, &code) ? (unsigned)code : 0;
        return 0;
    }
    event->version = identity.version;
    bool good = event->type == FL_KUBE_EVENT_BOOKMARK
                    ? identity.version.len > 0 && identity.version.len <= FL_KUBE_VERSION_MAX
                    : named;
    return good ? 0 : fl_err_set(err, -EINVAL, "watch event: an object without a name or resourceVersion");
}

int fl_kube_event_parse(struct fl_span line, size_t max, struct fl_kube_event *ret_event, struct fl_err *err)
{
    struct fl_kube_event event = {.root = NULL};
    int result = parse(line, max, "watch event", &event.root, err);
    if (result < 0)
        return result;
    result = read_event(&event, err);
    if (result < 0)
        fl_json_free(event.root);
    else
        *ret_event = event;
    return result;
}

void fl_kube_stream_init(struct fl_kube_stream *stream, size_t line_max)
{
    fl_buf_init(&stream->line, line_max);
}

void fl_kube_stream_done(struct fl_kube_stream *stream)
{
    fl_buf_done(&stream->line);
}

/* A newline in front marks a line that was handed out: the buffer is emptied before the next one. */
int fl_kube_stream_next(struct fl_kube_stream *stream, struct fl_span *bytes, struct fl_span *ret_line)
{
    struct fl_buf *line = &stream->line;
    if (line->len > 0 && line->data[line->len - 1] == '\n') { /* a large one's memory is not kept */
        size_t max = line->max;
        fl_buf_done(line);
        fl_buf_init(line, max);
    }
    for (;;) {
        size_t end = fl_span_find(*bytes, '\n');
        bool whole = end < bytes->len;
        struct fl_span part = fl_span_make(bytes->data, end);
        *bytes = fl_span_from(*bytes, whole ? end + 1 : end);
        if (whole && line->len == 0) { /* no copy */
            if (part.len == 0)
                continue;
            if (part.len > line->max)
                return -EMSGSIZE;
            *ret_line = part;
            return 1;
        }
        int result = fl_buf_append(line, part);
        if (result < 0 || !whole)
            return result;
        line->max++; /* for the mark */
        result = fl_buf_append_byte(line, '\n');
        line->max--;
        if (result < 0)
            return result;
        *ret_line = fl_span_make(line->data, line->len - 1);
        return 1;
    }
}

int fl_kube_page_parse(struct fl_span body, size_t max, struct fl_kube_page *ret_page, struct fl_err *err)
{
    struct fl_kube_page page = {.root = NULL};
    int result = parse(body, max, "list", &page.root, err);
    if (result < 0)
        return result;
    const struct fl_json *metadata = fl_json_get(page.root, "metadata");
    const struct fl_json *items = fl_json_get(page.root, "items");
    page.version = fl_json_string(fl_json_get(metadata, "resourceVersion"));
    page.next = fl_json_string(fl_json_get(metadata, "continue"));
    page.items = fl_json_is(items, FL_JSON_ARRAY) ? items : NULL;
    bool good = page.version.len > 0 && page.version.len <= FL_KUBE_VERSION_MAX &&
                page.next.len <= FL_KUBE_CONTINUE_MAX &&
                (page.items != NULL || items == NULL || fl_json_is(items, FL_JSON_NULL));
    if (!good) {
        fl_json_free(page.root);
        return fl_err_set(err, -EINVAL, "list: without a resourceVersion, or its items are no array");
    }
    *ret_page = page;
    return 0;
}

void fl_kube_page_done(struct fl_kube_page *page)
{
    page->root = fl_json_free(page->root);
}
