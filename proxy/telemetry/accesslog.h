/* Access log: one line for every request and every TCP connection, written by whoever never waits for a reader.
 *
 * Each worker has a struct proxy_log per file: a bounded buffer of finished lines, handed to the kernel once a turn by
 * proxy_log_flush without blocking. While the reader is slow lines pile up to PROXY_LOG_BUFFER_MAX; then whole lines
 * are dropped and counted. A line is at most PROXY_LOG_LINE_MAX bytes: long values are cut, the line stays valid JSON.
 * Bytes from outside cannot forge a line: they are escaped, and what is not UTF-8 becomes U+FFFD.
 *
 * The default format is one JSON object with Istio's key names, keys without a value left out. Others are compiled from
 * Envoy's text_format or json_format by proxy_log_format_new.
 */
#ifndef PROXY_TELEMETRY_ACCESSLOG_H
#define PROXY_TELEMETRY_ACCESSLOG_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "proxy/http/message.h"
#include "proxy/net/address.h"
#include "proxy/telemetry/flag.h"
#include "proxy/telemetry/stats.h"

#define PROXY_LOG_BUFFER_MAX (64 * 1024)
#define PROXY_LOG_LINE_MAX   4096 /* = PIPE_BUF: a line goes into a pipe whole or not at all */
#define PROXY_LOG_VALUE_MAX  1024 /* bytes of one value before escaping */

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
    uint8_t minor;                       /* HTTP version 1.<minor> */
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
};

/* A compiled format; immutable, shared between threads. NULL stands for the default JSON wherever a format is taken. */
struct proxy_log_format;

/* text: Envoy's format string with % operators; a line end is added where it has none. 0, -ENOMEM, -EINVAL with the
 * operator's name and place. */
int proxy_log_format_text(struct fl_span text, struct proxy_log_format **ret_format, struct fl_err *err) FL_MUST_CHECK;

struct proxy_log_json_field {
    struct fl_span key;
    struct fl_span text; /* a format string; a lone operator with a number as result is written as a number */
};
/* json_format: keys in the order given. */
int proxy_log_format_json(const struct proxy_log_json_field *fields, size_t count, struct proxy_log_format **ret_format,
                          struct fl_err *err) FL_MUST_CHECK;
struct proxy_log_format *proxy_log_format_free(struct proxy_log_format *format);

/* The line with its newline into `to` (PROXY_LOG_LINE_MAX bytes); returns its length. Pure. */
size_t proxy_log_print(const struct proxy_log_format *format, const struct proxy_log_record *record, char *to);

/* Where lines go. A file is opened to append; "/dev/stdout" and "/dev/stderr" are the process's own. */
struct proxy_log {
    int fd;
    bool owned;       /* fd is closed by proxy_log_done */
    bool own_flags;   /* fd is non-blocking in its own right; else each write is preceded by a poll without waiting */
    size_t len;       /* bytes waiting */
    size_t written;   /* of them, already with the kernel (a line that went out in part) */
    char *buffer;     /* PROXY_LOG_BUFFER_MAX, allocated on the first line, given back when idle */
    uint64_t dropped; /* lines */
    uint64_t lines;   /* accepted */
};

/* 0 or a negative errno. `path` is NUL-terminated. Opening is for the main thread or start-up (it may block on a FIFO
 * without reader: -ENXIO instead). */
int proxy_log_open(struct proxy_log *log, const char *path, struct fl_err *err) FL_MUST_CHECK;
/* Over a descriptor that stays the caller's. */
void proxy_log_init(struct proxy_log *log, int fd);
void proxy_log_done(struct proxy_log *log); /* one last flush, without waiting */

/* Adds one line, or counts it as dropped. No system call. */
void proxy_log_write(struct proxy_log *log, const struct proxy_log_format *format,
                     const struct proxy_log_record *record);

/* Once a turn. 0 when nothing waits any more, 1 where the reader is slow (call again next turn or after some 10 ms), or
 * a negative errno where the file is broken (what waited is dropped and counted). */
int proxy_log_flush(struct proxy_log *log);

#endif
