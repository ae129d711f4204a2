/* Access log: any bytes in every text of a record give one line of valid JSON; any bytes as a format compile or are
 * refused, and give one bounded line. */
#include "common/doc/json.h"
#include "proxy/telemetry/accesslog.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_json(const struct proxy_log_format *format, const struct proxy_log_record *record)
{
    char line[PROXY_LOG_LINE_MAX];
    size_t len = proxy_log_print(format, record, line);
    struct fl_json *json = NULL;
    assert(len <= sizeof(line) && memchr(line, '\n', len) == line + len - 1);
    int result = fl_json_parse(fl_span_make(line, len), NULL, &json, NULL);
    assert(result == 0 || result == -12); /* out of memory */
    fl_json_free(json);
}

/* The bytes, cut into as many texts as there are. */
static void fill(struct proxy_log_record *record, struct fl_span input)
{
    struct fl_span *const texts[] = {
        &record->method,
        &record->path,
        &record->authority,
        &record->user_agent,
        &record->request_id,
        &record->forwarded_for,
        &record->traceparent,
        &record->details,
        &record->transport_failure,
        &record->server_name,
        &record->upstream_cluster,
        &record->source_principal,
        &record->route_name,
        &record->alpn,
    };
    for (size_t i = 0; i < FL_COUNT(texts) && input.data != NULL; i++) {
        if (!fl_span_split(&input, '\0', texts[i]))
            break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_log_record record = {.grpc_status = -1, .minor = 1, .duration_us = (int64_t)size};
    struct fl_span input = fl_span_make(data, size);
    fill(&record, input);
    record.protocol = size % 2 == 0 ? PROXY_PROTOCOL_HTTP : PROXY_PROTOCOL_TCP;
    record.flags = size > 4 ? data[4] : 0;
    check_json(NULL, &record);

    struct proxy_log_format *format = NULL;
    const struct proxy_log_json_field fields[] = {
        {FL_SPAN("a"), FL_SPAN("%REQ(:PATH)%")}, {FL_SPAN("b"), input}, {FL_SPAN("c"), FL_SPAN("%DURATION%")}};
    /* A format comes from a configuration of text; our JSON reader refuses U+0000. */
    bool text = size > 0 && memchr(data, '\0', size) == NULL;
    if (text && proxy_log_format_json(fields, FL_COUNT(fields), &format, NULL) == 0)
        check_json(format, &record);
    format = proxy_log_format_free(format);
    char line[PROXY_LOG_LINE_MAX];
    if (proxy_log_format_text(input, &format, NULL) == 0) {
        size_t len = proxy_log_print(format, &record, line);
        assert(len <= sizeof(line) && line[len - 1] == '\n');
    }
    proxy_log_format_free(format);
    return 0;
}
