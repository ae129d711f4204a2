/* x-forwarded-for of any content, a field a line: as many entries as there are commas and fields, each without a comma;
 * an entry that is appended is the last, and those before it stay where they were. */
#include "proxy/http/forwarded.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct proxy_headers headers;

static size_t fill(struct fl_span text)
{
    size_t entries = 0;
    struct fl_span line;
    proxy_headers_init(&headers);
    while (headers.count < PROXY_HEADERS_WIRE_MAX && fl_span_split(&text, '\n', &line)) {
        assert(proxy_headers_add(&headers, FL_SPAN("x-forwarded-for"), line) == 0);
        entries++;
        for (size_t i = 0; i < line.len; i++)
            entries += line.data[i] == ',';
    }
    return entries;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span text = fl_span_make((const char *)data, size), entry, value, last = {0};
    size_t entries = fill(text);
    for (size_t i = 0; i < entries && i < 64; i++) {
        assert(proxy_forwarded_for(&headers, i, &entry));
        assert(fl_span_find(entry, ',') == entry.len);
        last = i == 0 ? entry : last;
    }
    assert(!proxy_forwarded_for(&headers, entries, &entry));
    size_t room = size + sizeof(", ::1");
    char *scratch = malloc(room);
    assert(scratch != NULL);
    assert(proxy_forwarded_append(&headers, FL_SPAN("::1"), scratch, room, &value) == 0 && value.len <= room);
    assert(proxy_forwarded_for(&headers, 0, &entry) && fl_span_eq(entry, FL_SPAN("::1")));
    if (last.len > 0)
        assert(proxy_forwarded_for(&headers, 1, &entry) && fl_span_eq(entry, last));
    free(scratch);
    return 0;
}
