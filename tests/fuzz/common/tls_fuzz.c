/* A TLS session against hostile bytes. The first byte of the input says how:
 *   even: a server is fed the rest;  odd: a client, which has said hello, is fed the rest. Each piece has its length in
 *   one byte before it.
 *   ≥ 128: two good sessions talk, and the input meddles with what passes between them: pairs of a byte that says where
 *   (mod the flight's size) and one that is xor-ed there, one pair a flight.
 * Nothing may be received before the peer was accepted, and what is received must be what was sent.
 */
#include "common/base/buf.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"
#include "common/tls/session.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fl_tls_context *client_context, *server_context;

struct end {
    struct fl_tls *tls;
    struct fl_buf out;
    struct fl_buf received;
};

static void must(bool good)
{
    if (!good)
        abort();
}

static int on_send(void *owner, struct fl_span bytes)
{
    struct end *end = owner;
    return fl_buf_append(&end->out, bytes);
}

static int on_receive(void *owner, struct fl_span bytes)
{
    struct end *end = owner;
    must(bytes.len > 0 && fl_tls_peer_identity(end->tls).len > 0);
    return fl_buf_append(&end->received, bytes);
}

static void make_contexts(void)
{
    const time_t now = time(NULL);
    const struct fl_cert_request for_root = {
        .common_name = FL_SPAN("root"), .not_before = now - 60, .not_after = now + 86400, .authority = true};
    const struct fl_cert_request for_leaf = {
        .uri = FL_SPAN("spiffe://a/b"), .not_before = now - 60, .not_after = now + 86400};
    const struct fl_span alpn[] = {FL_SPAN("x"), FL_SPAN("yy")};
    struct fl_key *root_key = NULL, *key = NULL;
    struct fl_cert *root = NULL, *cert = NULL;
    struct fl_bundle *bundle = NULL;
    struct fl_buf pem;
    fl_buf_init(&pem, FL_CERT_PEM_MAX);
    must(fl_key_generate(&root_key, NULL) == 0 && fl_key_generate(&key, NULL) == 0);
    must(fl_cert_issue(&for_root, root_key, NULL, root_key, &root, NULL) == 0);
    must(fl_cert_issue(&for_leaf, key, root, root_key, &cert, NULL) == 0);
    must(fl_cert_print(root, &pem) == 0 && fl_bundle_parse(fl_buf_span(&pem), &bundle, NULL) == 0);
    struct fl_tls_options options = {.cert = cert,
                                     .key = key,
                                     .bundle = bundle,
                                     .require_spiffe = true,
                                     .alpn = alpn,
                                     .alpn_count = 2,
                                     .server_name = FL_SPAN("a.b"),
                                     .minimum_version = 0x0303};
    must(fl_tls_context_new(&options, &client_context, NULL) == 0);
    options.server = true;
    options.require_peer_cert = true;
    must(fl_tls_context_new(&options, &server_context, NULL) == 0);
    fl_buf_done(&pem);
    fl_bundle_unref(bundle);
    fl_cert_unref(root);
    fl_cert_unref(cert);
    fl_key_unref(root_key);
    fl_key_unref(key);
}

static void open_end(struct end *end, struct fl_tls_context *context)
{
    const struct fl_tls_sinks sinks = {.send = on_send, .receive = on_receive, .owner = end};
    fl_buf_init(&end->out, 1u << 20);
    fl_buf_init(&end->received, 1u << 20);
    must(fl_tls_new(context, &sinks, &end->tls) == 0 && fl_tls_start(end->tls) == 0);
}

static void close_end(struct end *end)
{
    must((fl_tls_state(end->tls) == FL_TLS_FAILED) == (fl_tls_error(end->tls)[0] != '\0'));
    fl_tls_free(end->tls);
    fl_buf_done(&end->out);
    fl_buf_done(&end->received);
}

static void feed_pieces(struct fl_span input)
{
    struct end end;
    open_end(&end, (input.data[0] & 1) != 0 ? client_context : server_context);
    input = fl_span_from(input, 1);
    int result = 0;
    while (input.len > 0 && result == 0) {
        size_t size = (uint8_t)input.data[0];
        input = fl_span_from(input, 1);
        if (size > input.len)
            size = input.len;
        result = fl_tls_feed(end.tls, fl_span_make(input.data, size));
        input = fl_span_from(input, size);
    }
    must(end.received.len == 0 && fl_tls_state(end.tls) != FL_TLS_OPEN);
    close_end(&end);
}

/* False once nothing goes on. */
static bool pass(struct end *from, struct end *to, struct fl_span *meddling)
{
    if (from->out.len == 0)
        return false;
    if (meddling->len >= 2) {
        from->out.data[(uint8_t)meddling->data[0] * 5u % from->out.len] ^= meddling->data[1];
        *meddling = fl_span_from(*meddling, 2);
    }
    int result = fl_tls_feed(to->tls, fl_buf_span(&from->out));
    fl_buf_clear(&from->out);
    if (result == 0 && fl_tls_state(to->tls) == FL_TLS_OPEN && to->received.len == 0)
        result = fl_tls_write(to->tls, FL_SPAN("hello"));
    return result == 0;
}

static void meddle(struct fl_span input)
{
    struct end client, server;
    input = fl_span_from(input, 1);
    open_end(&client, client_context);
    open_end(&server, server_context);
    bool goes_on = true;
    for (int i = 0; i < 8 && goes_on; i++) {
        goes_on = pass(&client, &server, &input);
        goes_on = pass(&server, &client, &input) || goes_on;
    }
    must(fl_span_starts_with(FL_SPAN("hellohellohellohello"), fl_buf_span(&client.received)));
    must(fl_span_starts_with(FL_SPAN("hellohellohellohello"), fl_buf_span(&server.received)));
    close_end(&client);
    close_end(&server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (client_context == NULL)
        make_contexts();
    if (size == 0)
        return 0;
    struct fl_span input = fl_span_make(data, size);
    if (data[0] >= 128)
        meddle(input);
    else
        feed_pieces(input);
    return 0;
}
