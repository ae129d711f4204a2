/* Very many proxies' ADS streams to a fairlead-control, each over its own TLS connection with its own token, delta and
 * on demand, as sidecars have them; what they are told is counted and acknowledged, nothing is made of it.
 *
 *     streams ADDRESS:PORT ROOT.pem TOKEN-FOLDER PLAN        (tests/bench/streams.py writes the plan and drives it)
 *
 * The plan has a line "ask LDS|RDS|CDS|EDS NAME" for each name that every stream subscribes to, and a line "proxy
 * NODE-ID NAMESPACE ACCOUNT" for each stream. Prints, with CLOCK_REALTIME in seconds:
 *
 *     connected TIME                 all streams are open
 *     synced TIME                    all streams have all names
 *     all NAME VERSION TIME          all streams have this version of it
 *     lost COUNT TIME                streams that ended since the last "connected"; they come again, with back-off
 */
#include "common/base/backoff.h"
#include "common/grpc/client.h"
#include "common/loop/timer.h"
#include "common/mesh/resource.h"
#include "common/pki/bundle.h"
#include "common/tls/context.h"
#include "control/ca/token.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#define STREAMS_MAX 4000
#define NAMES_MAX   512
#define VERSION_MAX 31
#define PATH        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

struct name {
    enum fl_resource_type type;
    char *text;
    char version[VERSION_MAX + 1]; /* the newest that somebody has */
    size_t have;                   /* streams that have it */
};

struct stream {
    struct fl_grpc_client *client;
    struct fl_grpc_call *call;
    struct fl_timer timer;
    struct fl_backoff backoff;
    struct fl_buf bearer;
    char *node;
    char (*versions)[VERSION_MAX + 1]; /* by name */
    size_t missing;                    /* names that it does not have */
};

static struct fl_loop *loop;
static struct name names[NAMES_MAX];
static size_t name_count, stream_count, connected, lost, synced;
static struct stream *streams;

__attribute__((noreturn)) static void die(const char *what, const char *why)
{
    fprintf(stderr, "streams: %s: %s\n", what, why);
    exit(1);
}

static void say(const char *format, const char *a, const char *b)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    printf("%s%s%s%s%s %.4f\n", format, a != NULL ? " " : "", a != NULL ? a : "", b != NULL ? " " : "",
           b != NULL ? b : "", (double)now.tv_sec + (double)now.tv_nsec / 1e9);
    fflush(stdout);
}

/* -- protobuf, as much as it takes ----------------------------------------------------------------------------------
 */

static void put_varint(struct fl_buf *out, uint64_t value)
{
    for (; value > 127; value >>= 7)
        if (fl_buf_append_byte(out, (char)(value | 128)) < 0)
            die("message", "out of memory");
    if (fl_buf_append_byte(out, (char)value) < 0)
        die("message", "out of memory");
}

static void put(struct fl_buf *out, unsigned field, struct fl_span bytes)
{
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len);
    if (fl_buf_append(out, bytes) < 0)
        die("message", "out of memory");
}

static uint64_t take_varint(struct fl_span *message)
{
    uint64_t value = 0;
    for (unsigned shift = 0; message->len > 0 && shift < 64; shift += 7) {
        unsigned char byte = (unsigned char)message->data[0];
        *message = fl_span_from(*message, 1);
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            break;
    }
    return value;
}

/* The next field of bytes; others are left out. False at the end. */
static bool take(struct fl_span *message, unsigned *ret_field, struct fl_span *ret_bytes)
{
    while (message->len > 0) {
        uint64_t tag = take_varint(message), value = take_varint(message);
        if ((tag & 7) == 0)
            continue;
        if ((tag & 7) != 2 || value > message->len)
            die("answer", "malformed");
        *ret_field = (unsigned)(tag >> 3);
        *ret_bytes = fl_span_make(message->data, value);
        *message = fl_span_from(*message, value);
        return true;
    }
    return false;
}

/* -- a stream -------------------------------------------------------------------------------------------------------
 */

static void put_node(const struct stream *stream, struct fl_buf *out)
{
    struct fl_buf node, metadata, entry, value;
    fl_buf_init(&node, 4096);
    fl_buf_init(&metadata, 4096);
    fl_buf_init(&entry, 4096);
    fl_buf_init(&value, 4096);
    put(&value, 3, FL_SPAN("on-demand"));
    put(&entry, 1, FL_SPAN("FAIRLEAD_DISCOVERY"));
    put(&entry, 2, fl_buf_span(&value));
    put(&metadata, 1, fl_buf_span(&entry));
    put(&node, 1, fl_span_str(stream->node));
    put(&node, 3, fl_buf_span(&metadata));
    put(out, 1, fl_buf_span(&node));
    fl_buf_done(&node);
    fl_buf_done(&metadata);
    fl_buf_done(&entry);
    fl_buf_done(&value);
}

static void ask(struct stream *stream, enum fl_resource_type type, bool first)
{
    struct fl_buf message, known;
    fl_buf_init(&message, 1u << 20);
    fl_buf_init(&known, 4096);
    if (first)
        put_node(stream, &message);
    put(&message, 2, fl_span_str(fl_resource_type_url(type)));
    for (size_t i = 0; i < name_count; i++)
        if (names[i].type == type)
            put(&message, 3, fl_span_str(names[i].text));
    for (size_t i = 0; i < name_count; i++) {
        if (names[i].type != type || stream->versions[i][0] == '\0')
            continue;
        fl_buf_clear(&known);
        put(&known, 1, fl_span_str(names[i].text));
        put(&known, 2, fl_span_str(stream->versions[i]));
        put(&message, 5, fl_buf_span(&known));
    }
    if (fl_grpc_call_send(stream->call, fl_buf_span(&message)) < 0)
        die("send", "refused");
    fl_buf_done(&message);
    fl_buf_done(&known);
}

static void note(struct stream *stream, size_t i, struct fl_span version)
{
    struct name *name = &names[i];
    char text[VERSION_MAX + 1];
    snprintf(text, sizeof(text), "%.*s", FL_SPAN_ARG(version));
    if (stream->versions[i][0] == '\0' && --stream->missing == 0 && ++synced == stream_count)
        say("synced", NULL, NULL);
    if (strcmp(name->version, text) != 0) {
        name->have = 0;
        memcpy(name->version, text, sizeof(text));
    }
    if (strcmp(stream->versions[i], text) != 0 && ++name->have == stream_count)
        say("all", name->text, text);
    memcpy(stream->versions[i], text, sizeof(text));
}

static void take_resource(struct stream *stream, enum fl_resource_type type, struct fl_span resource)
{
    struct fl_span name = FL_SPAN(""), version = FL_SPAN(""), bytes;
    unsigned field;
    while (take(&resource, &field, &bytes)) {
        if (field == 1)
            version = bytes;
        if (field == 3)
            name = bytes;
    }
    for (size_t i = 0; i < name_count; i++)
        if (names[i].type == type && fl_span_eq_str(name, names[i].text))
            note(stream, i, version);
}

static void on_message(void *owner, struct fl_span message)
{
    struct stream *stream = owner;
    struct fl_span whole = message, bytes, nonce = FL_SPAN("");
    enum fl_resource_type type = FL_RESOURCE_TYPES;
    unsigned field;
    while (take(&message, &field, &bytes)) {
        if (field == 4)
            type = fl_resource_type_of(bytes);
        if (field == 5)
            nonce = bytes;
    }
    message = whole;
    while (take(&message, &field, &bytes))
        if (field == 2)
            take_resource(stream, type, bytes);
    struct fl_buf answer;
    fl_buf_init(&answer, 4096);
    put(&answer, 2, fl_span_str(fl_resource_type_url(type)));
    put(&answer, 6, nonce);
    if (fl_grpc_call_send(stream->call, fl_buf_span(&answer)) < 0)
        die("acknowledge", "refused");
    fl_buf_done(&answer);
}

static void on_due(struct fl_timer *timer)
{
    struct stream *stream = FL_CONTAINER_OF(timer, struct stream, timer);
    if (fl_grpc_client_connect(stream->client) != 0)
        die("connect", "refused");
}

static void come_again(struct stream *stream)
{
    fl_timer_set(loop, &stream->timer, fl_backoff_next(&stream->backoff), on_due);
}

static void lose(struct stream *stream)
{
    char count[32];
    if (stream->call != NULL) {
        connected--;
        snprintf(count, sizeof(count), "%zu", ++lost);
        if (lost == 1 || lost == stream_count)
            say("lost", count, NULL);
    }
    stream->call = NULL;
}

static void on_end(void *owner, enum fl_grpc_status status, struct fl_span text)
{
    static int told;
    struct stream *stream = owner;
    if (told++ < 3)
        fprintf(stderr, "a stream ended: %s %.*s\n", fl_grpc_status_text(status), FL_SPAN_ARG(text));
    lose(stream);
    if (fl_grpc_client_state(stream->client) == FL_GRPC_CLIENT_CONNECTED) {
        fl_grpc_client_close(stream->client);
        come_again(stream);
    }
}

static void on_connected(void *owner)
{
    static const struct fl_grpc_call_ops ops = {on_message, on_end, NULL};
    struct stream *stream = owner;
    const struct fl_grpc_metadata metadata = {FL_SPAN("authorization"), fl_buf_span(&stream->bearer)};
    const struct fl_grpc_call_options options = {.path = FL_SPAN(PATH), .metadata = &metadata, .metadata_count = 1};
    if (fl_grpc_call_start(stream->client, &options, &ops, stream, &stream->call) != 0)
        die("stream", "refused");
    fl_backoff_reset(&stream->backoff);
    for (int type = 0; type < FL_RESOURCE_SECRET; type++)
        ask(stream, (enum fl_resource_type)type, type == 0);
    if (++connected == stream_count) {
        lost = 0;
        say("connected", NULL, NULL);
    }
}

static void on_lost(void *owner, const struct fl_err *reason)
{
    struct stream *stream = owner;
    (void)reason;
    lose(stream);
    come_again(stream);
}

/* -- the plan -------------------------------------------------------------------------------------------------------
 */

static void add_stream(const struct fl_grpc_client_options *options, struct fl_key *key, const char *node,
                       const char *name_space, const char *account)
{
    static const struct fl_grpc_client_ops ops = {on_connected, on_lost};
    struct stream *stream = &streams[stream_count++];
    struct control_caller caller = {.expires = time(NULL) + 36000};
    struct fl_err err = {0};
    snprintf(caller.name_space, sizeof(caller.name_space), "%.63s", name_space);
    snprintf(caller.service_account, sizeof(caller.service_account), "%.253s", account);
    fl_buf_init(&stream->bearer, CONTROL_TOKEN_MAX);
    fl_backoff_init(&stream->backoff, 500, 30000); /* proxy/config/subscribe.h */
    stream->node = strdup(node);
    stream->versions = calloc(name_count, sizeof(*stream->versions));
    stream->missing = name_count;
    if (stream->node == NULL || stream->versions == NULL || fl_buf_append_str(&stream->bearer, "Bearer ") < 0 ||
        control_token_make(key, &caller, "fairlead-ca", time(NULL), &stream->bearer, &err) != 0 ||
        fl_grpc_client_new(loop, options, &ops, stream, &stream->client, &err) != 0)
        die("stream", err.text);
    fl_timer_set(loop, &stream->timer, stream_count, on_due); /* one a millisecond */
}

static void read_plan(const char *path, const struct fl_grpc_client_options *options, struct fl_key *key)
{
    static char line[2048], first[64], second[1024], third[256], fourth[256];
    FILE *file = fopen(path, "re");
    streams = calloc(STREAMS_MAX, sizeof(*streams));
    if (file == NULL || streams == NULL)
        die(path, strerror(errno));
    while (fgets(line, sizeof(line), file) != NULL) {
        int count = sscanf(line, "%63s %1023s %255s %255s", first, second, third, fourth);
        if (count == 3 && strcmp(first, "ask") == 0 && name_count < NAMES_MAX) {
            struct name *name = &names[name_count++];
            while (name->type < FL_RESOURCE_TYPES && strcmp(fl_resource_type_word(name->type), second) != 0)
                name->type++;
            name->text = strdup(third);
        } else if (count == 4 && strcmp(first, "proxy") == 0 && stream_count < STREAMS_MAX) {
            add_stream(options, key, second, third, fourth);
        } else {
            die("plan", line);
        }
    }
    fclose(file);
}

static struct fl_tls_context *make_tls(const char *roots)
{
    static const struct fl_span alpn = FL_SPAN("h2");
    struct fl_bundle *bundle;
    struct fl_tls_context *context;
    struct fl_buf pem;
    struct fl_err err = {0};
    fl_buf_init(&pem, 65536);
    if (fl_buf_read_file(&pem, roots) != 0 || fl_bundle_parse(fl_buf_span(&pem), &bundle, &err) != 0)
        die("roots", err.text);
    const struct fl_tls_options tls = {.bundle = bundle, .alpn = &alpn, .alpn_count = 1};
    if (fl_tls_context_new(&tls, &context, &err) != 0)
        die("TLS", err.text);
    return context;
}

int main(int argc, char **argv)
{
    const struct rlimit files = {16384, 16384};
    struct fl_grpc_address address;
    struct fl_key *key;
    struct fl_err err = {0};
    setrlimit(RLIMIT_NOFILE, &files);
    if (argc != 5 || fl_grpc_address_parse(fl_span_str(argv[1]), &address) != 0)
        die("usage", "streams ADDRESS:PORT ROOT.pem TOKEN-FOLDER PLAN");
    if (fl_loop_new(&loop) != 0 || control_token_key_open(argv[3], &key, &err) != 0)
        die("start", err.text);
    const struct fl_grpc_client_options options = {
        .addresses = &address, .address_count = 1, .tls = make_tls(argv[2]), .authority = FL_SPAN("localhost")};
    read_plan(argv[4], &options, key);
    return fl_loop_run(loop);
}
