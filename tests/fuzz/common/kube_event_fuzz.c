/* A watch's stream: the first byte says how large the pieces are. The same bytes in one piece give the same lines; the
 * whole is also read as a list. */
#include "common/kube/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t feed(const uint8_t *data, size_t size, size_t piece)
{
    struct fl_kube_stream stream;
    size_t sum = 0;
    int result = 0;
    fl_kube_stream_init(&stream, 4096);
    for (size_t at = 0; at < size && result == 0; at += piece) {
        struct fl_span bytes = fl_span_make(data + at, size - at < piece ? size - at : piece), line;
        while ((result = fl_kube_stream_next(&stream, &bytes, &line)) > 0) {
            struct fl_kube_event event;
            struct fl_err err = {0};
            sum = sum * 31 + line.len;
            if (fl_kube_event_parse(line, 4096, &event, &err) < 0)
                continue;
            if (event.type != FL_KUBE_EVENT_ERROR &&
                (event.version.len == 0 || event.version.len > FL_KUBE_VERSION_MAX))
                abort();
            fl_json_free(event.root);
        }
    }
    fl_kube_stream_done(&stream);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_kube_page page;
    if (size == 0)
        return 0;
    if (feed(data + 1, size - 1, (size_t)data[0] + 1) != feed(data + 1, size - 1, size))
        abort();
    if (fl_kube_page_parse(fl_span_make(data + 1, size - 1), 1u << 16, &page, NULL) == 0) {
        struct fl_kube_identity identity;
        for (const struct fl_json *item = fl_json_first(page.items); item != NULL; item = fl_json_next(item)) {
            if (fl_kube_identify(item, &identity) && identity.name.len == 0)
                abort();
        }
        fl_kube_page_done(&page);
    }
    return 0;
}
