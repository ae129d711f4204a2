/* Access log: one line for every request and every TCP connection, written by whoever never waits for a reader.
 *
 * Each worker has a struct proxy_log per file: a bounded buffer of finished lines, handed to the kernel by
 * proxy_log_flush without blocking: at the end of a turn where PROXY_LOG_FLUSH bytes have come together, else a little
 * later, so that the reader is not woken for every line. While the reader is slow lines pile up to
 * PROXY_LOG_BUFFER_MAX; then whole lines are dropped and counted. A line is at most PROXY_LOG_LINE_MAX bytes: long
 * values are cut, the line stays valid JSON. Bytes from outside cannot forge a line: they are escaped, and what is not
 * UTF-8 becomes U+FFFD.
 *
 * The default format is one JSON object with Istio's key names, keys without a value left out, times in milliseconds
 * with three decimals. Others are compiled from Envoy's text_format or json_format.
 */
#ifndef PROXY_TELEMETRY_ACCESSLOG_H
#define PROXY_TELEMETRY_ACCESSLOG_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "proxy/http/message.h"
#include "proxy/net/address.h"
#include "proxy/telemetry/flag.h"
#include "proxy/telemetry/stats.h"

#define PROXY_LOG_BUFFER_MIN (8 * 1024)
#define PROXY_LOG_BUFFER_MAX (64 * 1024)
#define PROXY_LOG_FLUSH      (4 * 1024) /* bytes that are worth a system call */
#define PROXY_LOG_LINE_MAX   4096       /* = PIPE_BUF: a line goes into a pipe whole or not at all */
#define PROXY_LOG_VALUE_MAX  1024 /* bytes of one value after escaping; most fields of the default format have less */

enum proxy_log_direction { PROXY_LOG_UNKNOWN, PROXY_LOG_INBOUND, PROXY_LOG_OUTBOUND };

/* Everything is borrowed during the call; absent: empty span, NULL, -1 or 0 as told. */
struct proxy_log_record {
    uint64_t start_us;              /* wall clock, microseconds since 1970 */
    int64_t duration_us;            /* -1: not known */
    int64_t upstream_first_byte_us; /* request's end to response's first byte; -1 */
    enum proxy_log_direction direction;
    enum proxy_protocol protocol;
    const struct proxy_message
        *request; /* for format operators %REQ(…)%; may be NULL: then from the spans below alone */
    const struct proxy_message *response;   /* for %RESP(…)%; may be NULL */
    struct fl_span method, path, authority; /* empty for TCP */
    struct fl_span user_agent, request_id, forwarded_for, traceparent;
    uint8_t major, minor;                /* HTTP version: 2, else 1.<minor> */
    uint16_t status;                     /* 0: none */
    int32_t grpc_status;                 /* -1: none */
    uint32_t flags;                      /* enum proxy_flag */
    struct fl_span details;              /* response_code_details or connection_termination_details */
    struct fl_span transport_failure;    /* upstream_transport_failure_reason */
    uint64_t bytes_received, bytes_sent; /* bodies (TCP: all bytes), from and to the client */
    const struct proxy_address *downstream_remote, *downstream_local, *upstream_host,
        *upstream_local; /* NULL: absent */
    struct fl_span upstream_cluster, route_name, listener, virtual_host;
    struct fl_span server_name;                             /* SNI */
    struct fl_span source_principal, destination_principal; /* verified SPIFFE IDs of client and server */
    struct fl_span source_workload, source_namespace, destination_workload, destination_namespace;
    struct fl_span tls_version, alpn; /* of the downstream connection; empty: plaintext */
    uint64_t connection_id;           /* 0: none */
    uint32_t attempts;                /* tries of a request that was meant for an upstream; 0: it was not */
    struct fl_span trace_id, span_id; /* hexadecimal */
};

/* A compiled format; immutable, shared between threads. NULL stands for the default JSON wherever a format is taken. */
struct proxy_log_format;

/* text: Envoy's format string with % operators; it ends with one line end, whether it has one or not. An
 * absent value is "-". Values are escaped as in JSON, so that they cannot forge a line. 0, -ENOMEM, -EINVAL with the
 * operator that is unknown. Known (accessformat.c has the table): START_TIME REQ(X?Y):N RESP(X?Y):N PROTOCOL
 * RESPONSE_CODE RESPONSE_CODE_DETAILS CONNECTION_TERMINATION_DETAILS RESPONSE_FLAGS GRPC_STATUS(NUMBER) BYTES_RECEIVED
 * BYTES_SENT DURATION UPSTREAM_HOST UPSTREAM_CLUSTER UPSTREAM_LOCAL_ADDRESS UPSTREAM_TRANSPORT_FAILURE_REASON
 * DOWNSTREAM_{REMOTE,LOCAL}_ADDRESS[_WITHOUT_PORT] DOWNSTREAM_{PEER,LOCAL}_URI_SAN REQUESTED_SERVER_NAME ROUTE_NAME
 * CONNECTION_ID UPSTREAM_REQUEST_ATTEMPT_COUNT TRACE_ID SPAN_ID. */
int proxy_log_format_text(struct fl_span text, struct proxy_log_format **ret_format, struct fl_err *err) FL_MUST_CHECK;

struct proxy_log_json_field {
    struct fl_span key;
    struct fl_span text; /* a format string; a lone operator whose value is a number is written as a number, one whose
                            value is absent as null */
};
/* json_format, one level: keys in the order given. */
int proxy_log_format_json(const struct proxy_log_json_field *fields, size_t count, struct proxy_log_format **ret_format,
                          struct fl_err *err) FL_MUST_CHECK;
struct proxy_log_format *proxy_log_format_free(struct proxy_log_format *format);

/* The line with its newline into `to` (PROXY_LOG_LINE_MAX bytes); returns its length. Pure. */
size_t proxy_log_print(const struct proxy_log_format *format, const struct proxy_log_record *record, char *to);

/* Where lines go. "/dev/stdout" and "/dev/stderr" are the process's own descriptors, whose flags others share: a pipe
 * or terminal is opened anew to be non-blocking, or else asked by a poll without waiting before each write; regular
 * files do not block. Another file is opened to append. Into a pipe, whole lines go by writes of at most PIPE_BUF
 * bytes, so that the lines of several workers (and other processes) stay whole. */
enum proxy_log_kind { PROXY_LOG_KIND_FILE, PROXY_LOG_KIND_PIPE, PROXY_LOG_KIND_SOCKET };

struct proxy_log {
    int fd;
    uint8_t kind;     /* enum proxy_log_kind */
    bool owned;       /* fd is closed by proxy_log_done */
    bool polled;      /* fd may block: ask before each write */
    size_t len;       /* bytes waiting in buffer */
    size_t cap;       /* of buffer: PROXY_LOG_BUFFER_MIN, doubled while the reader is slow, and given back */
    char *buffer;     /* NULL until the first line */
    uint64_t lines;   /* accepted */
    uint64_t dropped; /* no room, no memory, or the file is broken */
};

/* 0 or a negative errno. `path` is NUL-terminated. Opening is for the main thread or start-up (it may block on a FIFO
 * without reader: -ENXIO instead). */
int proxy_log_open(struct proxy_log *log, const char *path, struct fl_err *err) FL_MUST_CHECK;
/* Opens `path` anew, because it may have been renamed since: what waits goes to the old file as far as that takes it
 * at once, everything else to the new one. The process's own descriptors stay. On failure nothing has changed. */
int proxy_log_reopen(struct proxy_log *log, const char *path, struct fl_err *err) FL_MUST_CHECK;
/* Over a descriptor that stays the caller's. */
void proxy_log_init(struct proxy_log *log, int fd);
void proxy_log_done(struct proxy_log *log); /* one last flush, without waiting */

/* Adds one line, or counts it as dropped. No system call. */
void proxy_log_write(struct proxy_log *log, const struct proxy_log_format *format,
                     const struct proxy_log_record *record);

/* 0 when nothing waits any more, 1 where the reader is slow (call again next turn or after some 10 ms), or
 * a negative errno where the file is broken (what waited is dropped and counted). */
int proxy_log_flush(struct proxy_log *log);

#endif
