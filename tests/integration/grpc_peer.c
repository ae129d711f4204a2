/* Our gRPC client or server as a process, for grpc_interop_test.py, which puts a foreign implementation on the other
 * side.
 *
 *   grpc_peer server [CERT KEY CA]          prints "listening ADDRESS"; ends with its stdin
 *   grpc_peer client ADDRESS [CERT KEY CA]  makes the calls of `calls`, a line of outcome each
 *   grpc_peer ads ADDRESS                   asks an xDS server for its clusters, by delta; prints what comes
 *
 * Methods (the Python side has the same): /t.S/Unary gives the message back, /t.S/Echo each message, /t.S/Refuse
 * refuses with a text, /t.S/Count (client streams) answers with the number of messages, /t.S/Pour (server streams)
 * sends as many messages of 100,000 bytes as the request has.
 */
#include "common/grpc/client.h"
#include "common/grpc/server.h"
#include "common/loop/loop.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"
#include "common/tls/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POUR_SIZE 100000

static struct fl_loop *loop;

static void must(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "grpc_peer: %s: %s\n", what, strerror(-result));
        exit(1);
    }
}

static struct fl_span read_file(const char *path, struct fl_buf *buf)
{
    fl_buf_init(buf, 1u << 20);
    must(fl_buf_read_file(buf, path), path);
    return fl_buf_span(buf);
}

/* From CERT, KEY, CA; NULL where none are given. */
static struct fl_tls_context *make_context(char **files, int count, bool server)
{
    const struct fl_span h2 = FL_SPAN("h2");
    struct fl_tls_options options = {.server = server, .alpn = &h2, .alpn_count = 1};
    struct fl_tls_context *context = NULL;
    struct fl_buf cert, key, bundle;
    if (count < 3)
        return NULL;
    must(fl_cert_parse(read_file(files[0], &cert), &options.cert, NULL), files[0]);
    must(fl_key_parse(read_file(files[1], &key), &options.key, NULL), files[1]);
    must(fl_bundle_parse(read_file(files[2], &bundle), &options.bundle, NULL), files[2]);
    must(fl_tls_context_new(&options, &context, NULL), "TLS");
    fl_buf_done(&cert);
    fl_buf_done(&key);
    fl_buf_done(&bundle);
    fl_cert_unref(options.cert);
    fl_key_unref(options.key);
    fl_bundle_unref(options.bundle);
    return context;
}

/* The server. */

struct end {
    struct fl_grpc_stream *stream;
    unsigned count, left;
};

static void on_closed(void *owner)
{
    free(owner);
}

static void reply(void *owner, struct fl_span message)
{
    struct end *end = owner;
    fl_grpc_stream_reply(end->stream, message);
}

static void echo(void *owner, struct fl_span message)
{
    struct end *end = owner;
    must(fl_grpc_stream_send(end->stream, message), "echo");
}

static void finish_ok(void *owner)
{
    struct end *end = owner;
    fl_grpc_stream_finish(end->stream, FL_GRPC_OK, NULL);
}

static void count_message(void *owner, struct fl_span message)
{
    (void)message;
    ((struct end *)owner)->count++;
}

static void tell_count(void *owner)
{
    struct end *end = owner;
    char text[16];
    snprintf(text, sizeof(text), "%u", end->count);
    fl_grpc_stream_reply(end->stream, fl_span_str(text));
}

static void pour(void *owner)
{
    static const char message[POUR_SIZE];
    struct end *end = owner;
    while (end->left > 0) {
        int result = fl_grpc_stream_send(end->stream, fl_span_make(message, sizeof(message)));
        if (result < 0)
            return; /* on_writable goes on */
        end->left--;
    }
    fl_grpc_stream_finish(end->stream, FL_GRPC_OK, NULL);
}

static void begin_pour(void *owner, struct fl_span message)
{
    ((struct end *)owner)->left = (unsigned)message.len;
    pour(owner);
}

static const struct fl_grpc_stream_ops unary = {.on_message = reply, .on_closed = on_closed};
static const struct fl_grpc_stream_ops echoing = {
    .on_message = echo, .on_half_close = finish_ok, .on_closed = on_closed};
static const struct fl_grpc_stream_ops counting = {
    .on_message = count_message, .on_half_close = tell_count, .on_closed = on_closed};
static const struct fl_grpc_stream_ops pouring = {
    .on_message = begin_pour, .on_writable = pour, .on_closed = on_closed};

static void open_with(void *context, struct fl_grpc_stream *stream)
{
    struct end *end = calloc(1, sizeof(*end));
    must(end != NULL ? 0 : -1, "memory");
    end->stream = stream;
    fl_grpc_stream_accept(stream, context, end);
}

static void refuse(void *context, struct fl_grpc_stream *stream)
{
    char text[256];
    (void)context;
    snprintf(text, sizeof(text), "%.*s is 100%% not \xc3\xa4llowed",
             FL_SPAN_ARG(fl_grpc_stream_metadata(stream, "x-who")));
    fl_grpc_stream_finish(stream, FL_GRPC_PERMISSION_DENIED, text);
}

/* Ends with stdin, so that nothing stays behind when the test dies. */
static void on_stdin(struct fl_source *source, uint32_t events)
{
    char scratch[64];
    (void)events;
    if (read(source->fd, scratch, sizeof(scratch)) <= 0) {
        fl_source_remove(source);
        fl_loop_stop(loop, 0);
    }
}

/* Contexts are the const ops of each method. */
#define OPS(ops) ((void *)(uintptr_t) & (ops))

static int run_server(char **arguments, int count)
{
    const struct fl_grpc_method methods[] = {
        {.path = "/t.S/Unary", .open = open_with, .context = OPS(unary), .unary = true},
        {.path = "/t.S/Echo", .open = open_with, .context = OPS(echoing)},
        {.path = "/t.S/Count", .open = open_with, .context = OPS(counting)},
        {.path = "/t.S/Pour", .open = open_with, .context = OPS(pouring), .unary = true},
        {.path = "/t.S/Refuse", .open = refuse},
    };
    struct fl_tls_context *tls = make_context(arguments, count, true);
    const struct fl_grpc_server_options options = {.methods = methods, .method_count = FL_COUNT(methods), .tls = tls};
    struct fl_grpc_server *server = NULL;
    struct fl_grpc_address address;
    char text[FL_GRPC_ADDRESS_TEXT_MAX];
    struct fl_source in = {0};
    must(fl_source_add(loop, &in, STDIN_FILENO, EPOLLIN, on_stdin), "stdin");
    must(fl_grpc_server_new(loop, &options, &server, NULL), "server");
    must(fl_grpc_address_parse(FL_SPAN("127.0.0.1:0"), &address), "address");
    must(fl_grpc_server_listen(server, &address, tls != NULL, &address, NULL), "listen");
    fl_tls_context_unref(tls);
    fl_grpc_address_print(&address, text);
    printf("listening %s\n", text);
    fflush(stdout);
    int code = fl_loop_run(loop);
    fl_source_remove(&in);
    fl_grpc_server_free(server);
    return code;
}

/* The client. */

struct job {
    const char *name, *path;
    size_t size;    /* of a message */
    unsigned count; /* messages */
    bool lockstep;  /* the next message goes when the one before came back */
};

static const struct job jobs[] = {
    {"unary", "/t.S/Unary", 5, 1, false},        {"big", "/t.S/Unary", 3000000, 1, false},
    {"empty", "/t.S/Unary", 0, 1, false},        {"echo", "/t.S/Echo", 1000, 200, true},
    {"echo-burst", "/t.S/Echo", 100, 50, false}, {"count", "/t.S/Count", 10, 500, false},
    {"pour", "/t.S/Pour", 50, 1, false},         {"refuse", "/t.S/Refuse", 1, 1, false},
    {"none", "/t.S/None", 1, 1, false},
};

static struct fl_grpc_client *client;
static struct fl_grpc_call *call;
static size_t at;            /* job */
static unsigned sent, heard; /* messages of the job */
static size_t heard_bytes;

static void next_job(void);

static void send_some(void)
{
    const struct job *job = &jobs[at];
    char *message = calloc(1, job->size + 1);
    int result = message != NULL ? 0 : -1;
    while (sent < job->count && result == 0 && (!job->lockstep || sent == heard)) {
        result = fl_grpc_call_send(call, fl_span_make(message, job->size));
        sent += result == 0;
    }
    free(message);
    if (sent == job->count)
        fl_grpc_call_finish(call);
}

static void on_message(void *owner, struct fl_span message)
{
    (void)owner;
    heard++;
    heard_bytes += message.len;
    send_some();
}

static void on_writable(void *owner)
{
    (void)owner;
    send_some();
}

static void on_end(void *owner, enum fl_grpc_status status, struct fl_span text)
{
    (void)owner;
    printf("%s %s %u %zu %.*s\n", jobs[at].name, fl_grpc_status_text(status), heard, heard_bytes, FL_SPAN_ARG(text));
    at++;
    next_job();
}

static const struct fl_grpc_call_ops call_ops = {
    .on_message = on_message, .on_end = on_end, .on_writable = on_writable};

static void next_job(void)
{
    const struct fl_grpc_metadata metadata = {FL_SPAN("x-who"), FL_SPAN("me")};
    if (at == FL_COUNT(jobs)) {
        fl_loop_stop(loop, 0);
        return;
    }
    const struct fl_grpc_call_options options = {
        .path = fl_span_str(jobs[at].path), .metadata = &metadata, .metadata_count = 1, .timeout_ms = 20000};
    sent = heard = 0;
    heard_bytes = 0;
    must(fl_grpc_call_start(client, &options, &call_ops, NULL, &call), jobs[at].name);
    send_some();
}

static void on_connected(void *owner)
{
    (void)owner;
    next_job();
}

static void on_lost(void *owner, const struct fl_err *reason)
{
    (void)owner;
    printf("lost %s\n", reason->text);
    fl_loop_stop(loop, 1);
}

/* xDS: a request for all clusters, written by hand (DeltaDiscoveryRequest.type_url is field 2). */

#define CLUSTERS "type.googleapis.com/envoy.config.cluster.v3.Cluster"

static void on_resources(void *owner, struct fl_span message)
{
    (void)owner;
    printf("response %zu\n", message.len);
    fl_grpc_call_finish(call);
    fl_loop_stop(loop, 0);
}

static const struct fl_grpc_call_ops ads_ops = {.on_message = on_resources, .on_end = on_end};

static void ask_clusters(void *owner)
{
    const struct fl_grpc_call_options options = {
        .path = FL_SPAN("/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources")};
    (void)owner;
    must(fl_grpc_call_start(client, &options, &ads_ops, NULL, &call), "ADS");
    must(fl_grpc_call_send(call, FL_SPAN("\x12\x33" CLUSTERS)), "ADS");
}

static int run_client(const struct fl_grpc_client_ops *ops, char **arguments, int count)
{
    struct fl_tls_context *tls = make_context(arguments + 1, count - 1, false);
    struct fl_grpc_address address;
    must(fl_grpc_address_parse(fl_span_str(arguments[0]), &address), arguments[0]);
    const struct fl_grpc_client_options options = {
        .addresses = &address, .address_count = 1, .tls = tls, .authority = FL_SPAN("localhost")};
    must(fl_grpc_client_new(loop, &options, ops, NULL, &client, NULL), "client");
    fl_tls_context_unref(tls);
    must(fl_grpc_client_connect(client), "connect");
    int code = fl_loop_run(loop);
    fl_grpc_client_free(client);
    return code;
}

int main(int argc, char **argv)
{
    static const struct fl_grpc_client_ops calls = {.on_connected = on_connected, .on_lost = on_lost};
    static const struct fl_grpc_client_ops ads = {.on_connected = ask_clusters, .on_lost = on_lost};
    int code = 2;
    must(fl_loop_new(&loop), "loop");
    if (argc >= 2 && strcmp(argv[1], "server") == 0)
        code = run_server(argv + 2, argc - 2);
    else if (argc >= 3 && strcmp(argv[1], "client") == 0)
        code = run_client(&calls, argv + 2, argc - 2);
    else if (argc >= 3 && strcmp(argv[1], "ads") == 0)
        code = run_client(&ads, argv + 2, argc - 2);
    fl_loop_free(loop);
    return code;
}
