/* How a client's exchange begins: the check of what is asked, and the request's headers. */
#include "common/grpc/inner.h"
#include "common/grpc/lines.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>

static bool is_ours(struct fl_span name)
{
    static const char *const reserved[] = {"content-type", "te",         "user-agent",        "connection",
                                           "host",         "keep-alive", "transfer-encoding", "content-length",
                                           "upgrade"};
    for (size_t i = 0; i < FL_COUNT(reserved); i++) {
        if (fl_span_eq_str(name, reserved[i]))
            return true;
    }
    return name.len == 0 || name.data[0] == ':' || fl_span_starts_with(name, FL_SPAN("grpc-"));
}

static bool is_good_metadata(const struct fl_grpc_metadata *entry)
{
    return !is_ours(entry->name) && nghttp2_check_header_name((const uint8_t *)entry->name.data, entry->name.len) &&
           nghttp2_check_header_value((const uint8_t *)entry->value.data, entry->value.len);
}

static int check_request(const struct fl_grpc_request *request)
{
    if (request->path.len == 0 || request->path.data[0] != '/' ||
        !nghttp2_check_path((const uint8_t *)request->path.data, request->path.len) ||
        request->metadata_count > FL_GRPC_METADATA_MAX)
        return -EINVAL;
    for (size_t i = 0; i < request->metadata_count; i++) {
        if (!is_good_metadata(&request->metadata[i]))
            return -EINVAL;
    }
    return 0;
}

static bool has_place(struct fl_grpc_session *session)
{
    uint32_t max = nghttp2_session_get_remote_settings(session->h2, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return !session->aborted && session->fault == 0 && session->count < max &&
           session->count < session->options.streams && nghttp2_session_check_request_allowed(session->h2) != 0;
}

#define OWN_LINES 8

static int submit_request(struct fl_grpc_exchange *exchange, const struct fl_grpc_request *request)
{
    char timeout[16];
    bool seconds = request->timeout_ms > 99999999; /* eight digits at most */
    snprintf(timeout, sizeof(timeout), "%u%s", seconds ? request->timeout_ms / 1000 : request->timeout_ms,
             seconds ? "S" : "m");
    nghttp2_nv lines[OWN_LINES + FL_GRPC_METADATA_MAX] = {
        fl_grpc_line(":method", FL_SPAN("POST")),
        fl_grpc_line(":scheme", fl_span_str(request->scheme)),
        fl_grpc_line(":path", request->path),
        fl_grpc_line(":authority", request->authority),
        fl_grpc_line("te", FL_SPAN("trailers")),
        fl_grpc_line("content-type", FL_SPAN("application/grpc")),
        fl_grpc_line("user-agent", FL_SPAN("grpc-fairlead/" FL_VERSION)),
    };
    size_t count = OWN_LINES - 1;
    if (request->timeout_ms > 0)
        lines[count++] = fl_grpc_line("grpc-timeout", fl_span_str(timeout));
    for (size_t i = 0; i < request->metadata_count; i++) {
        lines[count] = fl_grpc_line("", request->metadata[i].value);
        lines[count].name = (uint8_t *)(uintptr_t)request->metadata[i].name.data;
        lines[count++].namelen = request->metadata[i].name.len;
    }
    int32_t id = nghttp2_submit_request(exchange->session->h2, NULL, lines, count, &fl_grpc_provider, exchange);
    if (id < 0)
        return id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EAGAIN; /* stream ids are used up */
    exchange->id = id;
    return 0;
}

int fl_grpc_exchange_start(struct fl_grpc_session *session, const struct fl_grpc_request *request, void *user,
                           struct fl_grpc_exchange **ret_exchange)
{
    int result = check_request(request);
    if (result < 0)
        return result;
    if (!has_place(session))
        return -EAGAIN;
    struct fl_grpc_exchange *exchange;
    result = fl_grpc_exchange_new(session, &exchange);
    if (result < 0)
        return result;
    result = submit_request(exchange, request);
    if (result < 0) {
        session->count--;
        fl_grpc_exchange_free(exchange);
        return result;
    }
    exchange->user = user;
    fl_grpc_session_wake(session);
    *ret_exchange = exchange;
    return 0;
}
