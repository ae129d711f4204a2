#include "common/tls/session.h"

#include "common/pki/spiffe.h"
#include "common/tls/inner.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>

/* OpenSSL over a BIO of our own: reading takes from the span that fl_tls_feed was given (one copy, into OpenSSL's
 * record buffer; without read-ahead nothing is moved twice), writing goes to the send sink as it is. The BIO is never
 * full, so OpenSSL never wants to write; when the span is used up it wants to read, and the feed is over. */

#define MESSAGES_MAX 32    /* key updates and tickets in a row; far beyond what a peer has reason for */
#define PLAIN_MAX    16384 /* a record's plaintext (RFC 8446 §5.1) */

struct fl_tls *fl_tls_of(const SSL *ssl)
{
    return BIO_get_data(SSL_get_rbio(ssl));
}

void fl_tls_refuse(struct fl_tls *tls, enum fl_tls_reason reason, int code, const char *format, ...)
{
    if (tls->code < 0)
        return;
    char text[FL_ERR_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    struct fl_err err;
    fl_err_set(&err, code, "%s", text); /* what a peer wrote cannot forge a line */
    tls->code = code;
    tls->reason = reason;
    tls->error = strdup(err.text);
}

static int transport_read(BIO *bio, char *data, size_t size, size_t *ret_count)
{
    struct fl_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->messages > MESSAGES_MAX) {
        fl_tls_refuse(tls, FL_TLS_REASON_PROTOCOL, -EPROTO, "the peer floods us with TLS messages that are not data");
        return 0;
    }
    if (tls->input.len == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    size_t count = size < tls->input.len ? size : tls->input.len;
    memcpy(data, tls->input.data, count);
    tls->input = fl_span_from(tls->input, count);
    *ret_count = count;
    return 1;
}

static int transport_write(BIO *bio, const char *data, size_t size, size_t *ret_count)
{
    struct fl_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    tls->sending = true;
    int result = tls->sinks.send(tls->sinks.owner, fl_span_make(data, size));
    tls->sending = false;
    if (result < 0) {
        fl_tls_refuse(tls, FL_TLS_REASON_LOCAL, result, "sending failed: %s", strerror(-result));
        return 0;
    }
    *ret_count = size;
    return 1;
}

static long transport_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int transport_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *fl_tls_transport_new(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "fairlead");
    if (method != NULL &&
        (BIO_meth_set_read_ex(method, transport_read) != 1 || BIO_meth_set_write_ex(method, transport_write) != 1 ||
         BIO_meth_set_ctrl(method, transport_control) != 1 || BIO_meth_set_create(method, transport_create) != 1)) {
        BIO_meth_free(method);
        return NULL;
    }
    return method;
}

void fl_tls_observe(const SSL *ssl, int where, int value)
{
    (void)value;
    struct fl_tls *tls = fl_tls_of(ssl);
    if (tls->state != FL_TLS_HANDSHAKE && (where & SSL_CB_LOOP) != 0)
        tls->messages++;
}

static int attach(struct fl_tls *tls)
{
    const struct fl_tls_context *context = tls->context;
    tls->ssl = SSL_new(context->core->ssl);
    BIO *bio = tls->ssl != NULL ? BIO_new(context->core->transport) : NULL;
    if (bio == NULL)
        return -ENOMEM;
    BIO_set_data(bio, tls);
    SSL_set_bio(tls->ssl, bio, bio);
    if (context->core->server)
        SSL_set_accept_state(tls->ssl);
    else
        SSL_set_connect_state(tls->ssl);
    return context->server_name == NULL || SSL_set_tlsext_host_name(tls->ssl, context->server_name) == 1 ? 0 : -ENOMEM;
}

int fl_tls_new(struct fl_tls_context *context, const struct fl_tls_sinks *sinks, struct fl_tls **ret_tls)
{
    struct fl_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return -ENOMEM;
    tls->context = fl_tls_context_ref(context);
    tls->sinks = *sinks;
    int result = attach(tls);
    if (result < 0) {
        ERR_clear_error();
        fl_tls_free(tls);
        return result;
    }
    *ret_tls = tls;
    return 0;
}

int fl_tls_expect(struct fl_tls *tls, struct fl_span identity)
{
    if (!tls->context->core->has_trust || identity.len == 0 || memchr(identity.data, '\0', identity.len) != NULL)
        return -EINVAL;
    char *copy = fl_span_dup(identity);
    if (copy == NULL)
        return -ENOMEM;
    free(tls->expected);
    tls->expected = copy;
    return 0;
}

bool fl_tls_lists_http1(struct fl_span list)
{
    struct fl_span token;
    while (fl_tls_next_token(&list, &token)) {
        if (fl_span_eq(token, FL_SPAN("http/1.1")))
            return true;
    }
    return false;
}

int fl_tls_offer(struct fl_tls *tls, bool (*likes)(struct fl_span token, unsigned use), unsigned use)
{
    unsigned char offers[FL_TLS_ALPN_MAX * (UINT8_MAX + 1)];
    const struct fl_span all = fl_buf_span(&tls->context->core->alpn);
    struct fl_span rest = all, token;
    size_t size = 0;
    while (fl_tls_next_token(&rest, &token)) {
        if (!likes(token, use))
            continue;
        memcpy(offers + size, token.data - 1, token.len + 1);
        size += token.len + 1;
    }
    bool some = size > 0 && size < all.len;
    tls->alpn_need_not = fl_span_eq(fl_span_make((const char *)offers, size), FL_SPAN("\5istio"));
    tls->alpn_may_lack = fl_tls_lists_http1(some ? fl_span_make((const char *)offers, size) : all);
    if (!some)
        return 0;
    return SSL_set_alpn_protos(tls->ssl, offers, (unsigned)size) == 0 ? 0 : -ENOMEM;
}

struct fl_tls *fl_tls_free(struct fl_tls *tls)
{
    if (tls != NULL) {
        assert(tls->calls == 0); /* not from a sink */
        SSL_free(tls->ssl);
        fl_tls_context_unref(tls->context);
        X509_free(tls->refused_leaf);
        free(tls->error);
        free(tls->expected);
        free(tls);
    }
    return NULL;
}

static void refuse_by_queue(struct fl_tls *tls)
{
    unsigned long error = ERR_peek_error();
    int reason = ERR_GET_REASON(error);
    const char *text = ERR_reason_error_string(error);
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        fl_tls_refuse(tls, FL_TLS_REASON_NO_CERTIFICATE, -EACCES, "the peer shows no certificate");
    else if (reason == ERR_R_MALLOC_FAILURE)
        fl_tls_refuse(tls, FL_TLS_REASON_LOCAL, -ENOMEM, "out of memory");
    else if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET)
        fl_tls_refuse(tls, FL_TLS_REASON_ALERT, -EPROTO, "the peer sent an alert: %s",
                      SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
    else
        fl_tls_refuse(tls, FL_TLS_REASON_PROTOCOL, -EPROTO, "TLS: %s", text != NULL ? text : "unknown error");
}

/* After a call of OpenSSL that did not succeed. It just waits for bytes, or the peer closed: then nothing failed. */
static void examine(struct fl_tls *tls, bool *ret_ended)
{
    int kind = SSL_get_error(tls->ssl, 0);
    *ret_ended = kind == SSL_ERROR_ZERO_RETURN && tls->code == 0;
    if (tls->code == 0 && (kind == SSL_ERROR_WANT_READ || *ret_ended))
        return;
    if (tls->code == 0)
        refuse_by_queue(tls);
    ERR_clear_error();
    tls->state = FL_TLS_FAILED;
}

static void check_sink(struct fl_tls *tls, int result)
{
    if (result < 0) {
        fl_tls_refuse(tls, FL_TLS_REASON_LOCAL, result, "the receiver gave up: %s", strerror(-result));
        tls->state = FL_TLS_FAILED;
    }
}

static void shake_hands(struct fl_tls *tls)
{
    bool ended = false;
    if (SSL_do_handshake(tls->ssl) != 1) {
        examine(tls, &ended);
        if (ended) {
            fl_tls_refuse(tls, FL_TLS_REASON_CLOSED, -EPROTO, "the peer closed the connection during the handshake");
            tls->state = FL_TLS_FAILED;
        }
        return;
    }
    X509 *peer = SSL_get0_peer_certificate(tls->ssl);
    struct fl_span identity;
    if (peer != NULL && fl_spiffe_of(peer, &identity, NULL) == 0)
        tls->identity = identity;
    tls->state = FL_TLS_OPEN;
    if (tls->sinks.opened != NULL)
        check_sink(tls, tls->sinks.opened(tls->sinks.owner));
}

/* Until the input is used up. Small records of one feed are handed on together. */
static void read_records(struct fl_tls *tls, char *plain, size_t size)
{
    size_t filled = 0;
    bool more = true;
    while (more && tls->code == 0) {
        size_t count = 0;
        bool ended = false;
        bool read = SSL_read_ex(tls->ssl, plain + filled, size - filled, &count) == 1;
        filled += count;
        more = read && (tls->input.len > 0 || SSL_has_pending(tls->ssl) == 1); /* not asked for what cannot be there */
        if (more && filled < size)
            continue;
        if (!read)
            examine(tls, &ended);
        if (filled > 0) {
            /* What came before a failure was good and is handed on, however the bytes were split into feeds. */
            tls->messages = 0;
            check_sink(tls, tls->sinks.receive(tls->sinks.owner, fl_span_make(plain, filled)));
            filled = 0;
        }
        if (ended && tls->code == 0)
            tls->state = FL_TLS_PEER_CLOSED;
    }
}

static void begin(struct fl_tls *tls)
{
    assert(!tls->sending);
    tls->calls++;
    if (ERR_peek_error() != 0) /* clearing touches every place of the queue */
        ERR_clear_error();
}

static int end(struct fl_tls *tls)
{
    tls->calls--;
    return tls->code;
}

/* A record begins with its type (RFC 8446 §5.1); before the handshake only these two can come. */
static void look_at_first(struct fl_tls *tls, struct fl_span input)
{
    if (tls->begun || input.len == 0)
        return;
    tls->begun = true;
    tls->plaintext = input.data[0] != SSL3_RT_HANDSHAKE && input.data[0] != SSL3_RT_ALERT;
}

int fl_tls_start(struct fl_tls *tls)
{
    assert(tls->calls == 0);
    begin(tls);
    if (!tls->context->core->server && tls->code == 0)
        shake_hands(tls);
    return end(tls);
}

int fl_tls_feed_into(struct fl_tls *tls, struct fl_span ciphertext, char *plain, size_t size)
{
    assert(tls->calls == 0 && size >= PLAIN_MAX);
    begin(tls);
    tls->input = ciphertext;
    look_at_first(tls, ciphertext);
    if (tls->state == FL_TLS_HANDSHAKE && ciphertext.len > 0)
        shake_hands(tls);
    if (tls->state == FL_TLS_OPEN && tls->input.len > 0)
        read_records(tls, plain, size);
    tls->input = (struct fl_span){NULL, 0};
    return end(tls);
}

/* The buffer stands on the stack, so that a sink may feed other sessions meanwhile. */
int fl_tls_feed(struct fl_tls *tls, struct fl_span ciphertext)
{
    char plain[PLAIN_MAX];
    return fl_tls_feed_into(tls, ciphertext, plain, sizeof(plain));
}

/* Whether the session can send: 0, or why not. */
static int check_open(const struct fl_tls *tls)
{
    if (tls->code < 0)
        return tls->code;
    return tls->state == FL_TLS_HANDSHAKE ? -ENOTCONN : 0;
}

int fl_tls_write(struct fl_tls *tls, struct fl_span plaintext)
{
    int result = check_open(tls);
    if (result < 0 || plaintext.len == 0)
        return result;
    if (tls->closed)
        return -EPIPE;
    begin(tls);
    size_t written;
    bool ended = false;
    if (SSL_write_ex(tls->ssl, plaintext.data, plaintext.len, &written) != 1)
        examine(tls, &ended);
    assert(tls->code < 0 || written == plaintext.len);
    return end(tls);
}

int fl_tls_shutdown(struct fl_tls *tls)
{
    int result = check_open(tls);
    if (result < 0 || tls->closed)
        return result;
    begin(tls);
    tls->closed = true;
    bool ended = false;
    if (SSL_shutdown(tls->ssl) < 0)
        examine(tls, &ended);
    return end(tls);
}

enum fl_tls_state fl_tls_state(const struct fl_tls *tls)
{
    return tls->state;
}

static bool is_open(const struct fl_tls *tls)
{
    return tls->state == FL_TLS_OPEN || tls->state == FL_TLS_PEER_CLOSED;
}

struct fl_span fl_tls_alpn(const struct fl_tls *tls)
{
    const unsigned char *chosen = NULL;
    unsigned length = 0;
    if (is_open(tls))
        SSL_get0_alpn_selected(tls->ssl, &chosen, &length);
    return fl_span_make(chosen, length);
}

struct fl_span fl_tls_peer_identity(const struct fl_tls *tls)
{
    return tls->identity;
}

static bool read_time(const ASN1_TIME *time, int64_t *ret_time)
{
    struct tm parts;
    if (ASN1_TIME_to_tm(time, &parts) != 1)
        return false;
    *ret_time = (int64_t)timegm(&parts);
    return true;
}

bool fl_tls_peer_validity(const struct fl_tls *tls, int64_t *ret_not_before, int64_t *ret_not_after)
{
    const X509 *leaf = is_open(tls) ? SSL_get0_peer_certificate(tls->ssl) : NULL;
    int64_t not_before, not_after;
    if (leaf == NULL || !read_time(X509_get0_notBefore(leaf), &not_before) ||
        !read_time(X509_get0_notAfter(leaf), &not_after))
        return false;
    *ret_not_before = not_before;
    *ret_not_after = not_after;
    return true;
}

struct fl_span fl_tls_own_identity(const struct fl_tls *tls)
{
    return tls->context->core->identity;
}

struct fl_span fl_tls_server_name(const struct fl_tls *tls)
{
    return fl_span_str(is_open(tls) ? SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name) : NULL);
}

const char *fl_tls_version_name(const struct fl_tls *tls)
{
    return is_open(tls) ? SSL_get_version(tls->ssl) : "";
}

const char *fl_tls_cipher_name(const struct fl_tls *tls)
{
    const char *name = is_open(tls) ? SSL_get_cipher_name(tls->ssl) : NULL;
    return name != NULL ? name : "";
}

const char *fl_tls_error(const struct fl_tls *tls)
{
    if (tls->code == 0)
        return "";
    return tls->error != NULL ? tls->error : "out of memory";
}

enum fl_tls_reason fl_tls_reason(const struct fl_tls *tls)
{
    return tls->plaintext ? FL_TLS_REASON_PLAINTEXT : tls->reason;
}

const char *fl_tls_reason_word(enum fl_tls_reason reason)
{
    static const char *const words[] = {
#define X(id, word) [FL_TLS_REASON_##id] = word,
        FL_TLS_REASONS(X)
#undef X
    };
    return words[reason];
}
