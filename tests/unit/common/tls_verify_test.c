#include "common/tls/session.h"

#include "common/pki/openssl.h"
#include "tests/unit/common/authority.h"
#include "tests/unit/common/tls_pair.h"

#include <errno.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* Who is let in, and what each side says when not. */

#define WEB "spiffe://cluster.local/ns/default/sa/web"
#define APP "spiffe://cluster.local/ns/default/sa/app"

static struct authority ours, theirs;
static struct identity web, app;

static int set_up(void **state)
{
    (void)state;
    authority_init(&ours, "our root");
    authority_init(&theirs, "their root");
    authority_issue(&ours, WEB, "web.example", &web);
    authority_issue(&ours, APP, NULL, &app);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    identity_done(&web);
    identity_done(&app);
    authority_done(&ours);
    authority_done(&theirs);
    return 0;
}

static struct fl_tls_options client_options(void)
{
    return (struct fl_tls_options){.cert = app.cert, .key = app.key, .bundle = ours.bundle, .require_spiffe = true};
}

static struct fl_tls_options server_options(void)
{
    return (struct fl_tls_options){.server = true,
                                   .cert = web.cert,
                                   .key = web.key,
                                   .bundle = ours.bundle,
                                   .require_peer_cert = true,
                                   .require_spiffe = true};
}

struct outcome {
    int client, server;
    char client_error[600], server_error[600];
    enum fl_tls_reason client_reason, server_reason;
    char server_peer[100]; /* as the server knows the client */
    bool client_opened, server_opened;
    struct fl_span alpn;
};

/* A handshake, and one write of each side where it is open: the client of TLS 1.3 learns late that it was refused. */
static struct outcome meet(const struct fl_tls_options *client, const struct fl_tls_options *server)
{
    struct fl_tls_context *client_context = NULL, *server_context = NULL;
    struct tls_pair pair;
    struct fl_err err = {0};
    if (fl_tls_context_new(client, &client_context, &err) < 0 || fl_tls_context_new(server, &server_context, &err) < 0)
        fail_msg("%s", err.text);
    tls_pair_init(&pair, client_context, server_context);
    tls_pair_run(&pair, SIZE_MAX);
    struct outcome outcome = {.client = pair.client.result,
                              .server = pair.server.result,
                              .client_opened = pair.client.opened > 0,
                              .server_opened = pair.server.opened > 0,
                              .client_reason = fl_tls_reason(pair.client.tls),
                              .server_reason = fl_tls_reason(pair.server.tls)};
    snprintf(outcome.server_peer, sizeof(outcome.server_peer), "%.*s",
             FL_SPAN_ARG(fl_tls_peer_identity(pair.server.tls)));
    snprintf(outcome.client_error, sizeof(outcome.client_error), "%s", fl_tls_error(pair.client.tls));
    snprintf(outcome.server_error, sizeof(outcome.server_error), "%s", fl_tls_error(pair.server.tls));
    if (outcome.client == 0 && outcome.server == 0) {
        assert_int_equal(fl_tls_write(pair.client.tls, FL_SPAN("ping")), 0);
        assert_int_equal(fl_tls_write(pair.server.tls, FL_SPAN("pong")), 0);
        tls_pair_settle(&pair, SIZE_MAX);
        assert_true(fl_span_eq_str(fl_buf_span(&pair.server.received), "ping"));
        assert_true(fl_span_eq_str(fl_buf_span(&pair.client.received), "pong"));
    } else {
        assert_int_equal(pair.server.received.len + pair.client.received.len, 0);
    }
    tls_pair_done(&pair);
    fl_tls_context_unref(client_context);
    fl_tls_context_unref(server_context);
    return outcome;
}

static void assert_good(struct outcome outcome)
{
    if (outcome.client != 0 || outcome.server != 0)
        fail_msg("client: %s; server: %s", outcome.client_error, outcome.server_error);
}

static void assert_begins(const char *text, const char *begin)
{
    if (strncmp(text, begin, strlen(begin)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", text, begin);
}

/* The server refuses: it has the reason, the client the alert, and nobody got a byte. */
static void assert_server_refuses(struct outcome outcome, int code, const char *reason, const char *alert)
{
    assert_begins(outcome.server_error, reason);
    assert_int_equal(outcome.server, code);
    assert_false(outcome.server_opened);
    assert_int_equal(outcome.client, -EPROTO);
    assert_begins(outcome.client_error, "the peer sent an alert: ");
    assert_begins(outcome.client_error + strlen("the peer sent an alert: "), alert);
}

static void assert_client_refuses(struct outcome outcome, int code, const char *reason, const char *alert)
{
    assert_begins(outcome.client_error, reason);
    assert_int_equal(outcome.client, code);
    assert_false(outcome.client_opened);
    assert_false(outcome.server_opened);
    assert_int_equal(outcome.server, -EPROTO);
    assert_begins(outcome.server_error, "the peer sent an alert: ");
    assert_begins(outcome.server_error + strlen("the peer sent an alert: "), alert);
}

static void strangers_are_refused_by_both_sides(void **state)
{
    (void)state;
    struct identity stranger;
    authority_issue(&theirs, APP, NULL, &stranger);
    struct fl_tls_options client = client_options(), server = server_options();
    client.cert = stranger.cert;
    client.key = stranger.key;
    assert_server_refuses(meet(&client, &server), -EACCES,
                          "peer certificate of " APP " is not from a trusted root: unable to get", "unknown CA");
    client = client_options();
    server.cert = stranger.cert;
    server.key = stranger.key;
    assert_client_refuses(meet(&client, &server), -EACCES,
                          "peer certificate of " APP " is not from a trusted root: unable to get", "unknown CA");
    identity_done(&stranger);
}

static void any_root_of_the_bundle_will_do(void **state)
{
    (void)state;
    struct identity stranger;
    authority_issue(&theirs, APP, NULL, &stranger);
    struct fl_bundle *both = authority_bundle_of(&ours, &theirs);
    assert_int_equal(fl_bundle_count(both), 2);
    struct fl_tls_options client = client_options(), server = server_options();
    client.cert = stranger.cert;
    client.key = stranger.key;
    client.bundle = both;
    server.bundle = both;
    assert_good(meet(&client, &server));
    fl_bundle_unref(both);
    identity_done(&stranger);
}

static void a_certificate_must_be_valid_now(void **state)
{
    (void)state;
    const struct {
        int from, to;
        const char *reason, *alert;
    } rows[] = {
        {-7200, -3600, "peer certificate of " APP " is not valid: certificate has expired", "certificate expired"},
        {3600, 7200, "peer certificate of " APP " is not valid: certificate is not yet valid", "bad certificate"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct identity out_of_time;
        const struct fl_cert_request request = {
            .uri = FL_SPAN(APP), .not_before = time(NULL) + rows[i].from, .not_after = time(NULL) + rows[i].to};
        authority_issue_request(&ours, &request, &out_of_time);
        struct fl_tls_options client = client_options(), server = server_options();
        client.cert = out_of_time.cert;
        client.key = out_of_time.key;
        assert_server_refuses(meet(&client, &server), -EACCES, rows[i].reason, rows[i].alert);
        identity_done(&out_of_time);
    }
}

static void a_client_without_certificate(void **state)
{
    (void)state;
    struct fl_tls_options client = client_options(), server = server_options();
    client.cert = NULL;
    client.key = NULL;
    struct outcome outcome = meet(&client, &server);
    assert_server_refuses(outcome, -EACCES, "the peer shows no certificate", "");
    server.require_peer_cert = false; /* now it may come, unnamed */
    assert_good(meet(&client, &server));
    server.bundle = NULL;
    server.require_spiffe = false;
    assert_good(meet(&client, &server));
}

static void only_an_svid_will_do(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *dns, *reason;
    } rows[] = {
        {NULL, "app.example", "peer certificate is no X.509-SVID: no URI name"},
        {NULL, NULL, "peer certificate is no X.509-SVID: no URI name"},
        {"spiffe://cluster.local", NULL, "peer certificate is no X.509-SVID: a SPIFFE ID without a path"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct identity other;
        authority_issue(&ours, rows[i].uri, rows[i].dns, &other);
        struct fl_tls_options client = client_options(), server = server_options();
        client.cert = other.cert;
        client.key = other.key;
        assert_server_refuses(meet(&client, &server), -EACCES, rows[i].reason, "bad certificate");
        server.require_spiffe = false;
        assert_good(meet(&client, &server));
        identity_done(&other);
    }
}

struct extension {
    int nid;
    const char *value; /* as in OpenSSL's configuration files */
};

/* No issuer of ours makes it: the root signs a certificate that OpenSSL was told to write. `key` is taken over. */
static void make_odd(EVP_PKEY *key, const struct extension *extensions, size_t count, struct identity *ret_identity)
{
    X509 *x509 = X509_new();
    X509_set_version(x509, X509_VERSION_3);
    X509_set_pubkey(x509, key);
    X509_set_issuer_name(x509, X509_get_subject_name(fl_cert_x509(ours.root, 0)));
    X509_gmtime_adj(X509_getm_notBefore(x509), -60);
    X509_gmtime_adj(X509_getm_notAfter(x509), 60);
    for (size_t i = 0; i < count && extensions[i].value != NULL; i++) {
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, extensions[i].nid, extensions[i].value);
        assert_non_null(extension);
        X509_add_ext(x509, extension, -1);
        X509_EXTENSION_free(extension);
    }
    assert_true(X509_sign(x509, fl_key_evp(ours.key), EVP_sha256()) > 0);
    *ret_identity = (struct identity){.key = fl_key_wrap(key), .cert = fl_cert_wrap(&x509, 1)};
    X509_free(x509);
}

#define NO_SVID "peer certificate is no X.509-SVID: "
#define INVALID "peer certificate of " APP " is not valid: "

/* Signed by our root all of them; the server asks for the one name and the SPIFFE form. */
static void odd_certificates(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct extension extensions[3];
        const char *reason; /* NULL: it is let in */
    } rows[] = {
        {"nothing but the name", {{NID_subject_alt_name, "URI:" APP}}, NULL},
        {"for clients", {{NID_subject_alt_name, "URI:" APP}, {NID_ext_key_usage, "clientAuth"}}, NULL},
        {"for servers", {{NID_subject_alt_name, "URI:" APP}, {NID_ext_key_usage, "serverAuth"}}, INVALID},
        {"for code", {{NID_subject_alt_name, "URI:" APP}, {NID_ext_key_usage, "codeSigning"}}, INVALID},
        {"no signatures", {{NID_subject_alt_name, "URI:" APP}, {NID_key_usage, "critical,keyEncipherment"}}, INVALID},
        {"an unknown critical extension",
         {{NID_subject_alt_name, "URI:" APP}, {NID_invalidity_date, "critical,DER:0500"}},
         INVALID},
        {"two URI names", {{NID_subject_alt_name, "critical,URI:" APP ",URI:" WEB}}, NO_SVID "more than one URI name"},
        {"two lists of names",
         {{NID_subject_alt_name, "URI:" APP}, {NID_subject_alt_name, "URI:" WEB}},
         "peer certificate of "},
        {"no name at all", {{0, NULL}}, NO_SVID "no URI name"},
        {"a NUL in the name",
         {{NID_subject_alt_name,
           "DER:3030862e7370696666653a2f2f636c75737465722e6c6f63616c2f6e732f64656661756c742f73612f617070002e6576696c"}},
         NO_SVID},
        {"names cut off", {{NID_subject_alt_name, "DER:303086ff"}}, "peer certificate "},
        {"a name of another", {{NID_subject_alt_name, "URI:" WEB}}, "peer's name " WEB " is not " APP},
        {"a name that goes on", {{NID_subject_alt_name, "URI:" APP "/more"}}, "peer"},
        {"a scheme in capitals", {{NID_subject_alt_name, "URI:SPIFFE://cluster.local/ns/default/sa/app"}}, "peer"},
    };
    const struct fl_tls_name_match name = {FL_TLS_NAME_URI, FL_TLS_MATCH_EXACT, FL_SPAN(APP)};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct identity odd;
        make_odd(EVP_EC_gen("P-256"), rows[i].extensions, FL_COUNT(rows[i].extensions), &odd);
        struct fl_tls_options client = client_options(), server = server_options();
        client.cert = odd.cert;
        client.key = odd.key;
        server.names = &name;
        server.name_count = 1;
        struct outcome outcome = meet(&client, &server);
        const char *begin = rows[i].reason != NULL ? rows[i].reason : "";
        if (outcome.server != (rows[i].reason != NULL ? -EACCES : 0) || outcome.server_opened != (*begin == '\0') ||
            strncmp(outcome.server_error, begin, strlen(begin)) != 0)
            fail_msg("%s: %d %s", rows[i].what, outcome.server, outcome.server_error);
        identity_done(&odd);
    }
}

/* What a stranger may send is bounded before it is looked at. */
static void a_chain_of_absurd_size(void **state)
{
    (void)state;
    struct fl_buf names;
    fl_buf_init(&names, 1u << 20);
    assert_int_equal(fl_buf_append_str(&names, "URI:" APP), 0);
    while (names.len < 2 * FL_TLS_PEER_CHAIN_BYTES)
        assert_int_equal(fl_buf_append_str(&names, ",DNS:a.name.that.is.of.no.use.example"), 0);
    const struct extension extension = {NID_subject_alt_name, fl_buf_str(&names)};
    struct identity odd;
    make_odd(EVP_EC_gen("P-256"), &extension, 1, &odd);
    struct fl_tls_options client = client_options(), server = server_options();
    client.cert = odd.cert;
    client.key = odd.key;
    struct outcome outcome = meet(&client, &server);
    assert_int_equal(outcome.server, -EPROTO);
    assert_false(outcome.server_opened);
    identity_done(&odd);
    fl_buf_done(&names);
}

static void a_ca_certificate_is_no_peer(void **state)
{
    (void)state;
    struct identity authority;
    const struct fl_cert_request request = {
        .uri = FL_SPAN(APP), .not_before = time(NULL) - 60, .not_after = time(NULL) + 3600, .authority = true};
    authority_issue_request(&ours, &request, &authority);
    struct fl_tls_options client = client_options(), server = server_options();
    client.cert = authority.cert;
    client.key = authority.key;
    assert_server_refuses(meet(&client, &server), -EACCES,
                          "peer certificate of " APP " is not valid: unsuitable certificate purpose", "");
    identity_done(&authority);
}

static void names_are_matched(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct fl_tls_name_match match;
        bool good;
    } rows[] = {
        {"the URI", {FL_TLS_NAME_URI, FL_TLS_MATCH_EXACT, {WEB, sizeof(WEB) - 1}}, true},
        {"another URI", {FL_TLS_NAME_URI, FL_TLS_MATCH_EXACT, {APP, sizeof(APP) - 1}}, false},
        {"the URI in other case", {FL_TLS_NAME_URI, FL_TLS_MATCH_EXACT, {"SPIFFE", 6}}, false},
        {"the trust domain", {FL_TLS_NAME_URI, FL_TLS_MATCH_PREFIX, {"spiffe://cluster.local/", 23}}, true},
        {"a foreign trust domain", {FL_TLS_NAME_URI, FL_TLS_MATCH_PREFIX, {"spiffe://cluster/", 17}}, false},
        {"the end of the URI", {FL_TLS_NAME_URI, FL_TLS_MATCH_SUFFIX, {"/sa/web", 7}}, true},
        {"another end", {FL_TLS_NAME_URI, FL_TLS_MATCH_SUFFIX, {"/sa/we", 6}}, false},
        {"longer than the name", {FL_TLS_NAME_URI, FL_TLS_MATCH_PREFIX, {WEB "/more", sizeof(WEB) + 4}}, false},
        {"the DNS name", {FL_TLS_NAME_DNS, FL_TLS_MATCH_EXACT, {"web.example", 11}}, true},
        {"the DNS name in other case", {FL_TLS_NAME_DNS, FL_TLS_MATCH_EXACT, {"WEB.Example", 11}}, true},
        {"another DNS name", {FL_TLS_NAME_DNS, FL_TLS_MATCH_EXACT, {"app.example", 11}}, false},
        {"the end of the DNS name", {FL_TLS_NAME_DNS, FL_TLS_MATCH_SUFFIX, {".EXAMPLE", 8}}, true},
        {"the start of the DNS name", {FL_TLS_NAME_DNS, FL_TLS_MATCH_PREFIX, {"Web.", 4}}, true},
        {"the DNS name as a URI", {FL_TLS_NAME_URI, FL_TLS_MATCH_EXACT, {"web.example", 11}}, false},
        {"the URI as a DNS name", {FL_TLS_NAME_DNS, FL_TLS_MATCH_EXACT, {WEB, sizeof(WEB) - 1}}, false},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_tls_options client = client_options(), server = server_options();
        client.names = &rows[i].match;
        client.name_count = 1;
        struct outcome outcome = meet(&client, &server);
        if ((outcome.client == 0) != rows[i].good)
            fail_msg("%s: %s", rows[i].what, outcome.client_error);
        if (!rows[i].good)
            assert_client_refuses(outcome, -EACCES, "peer's name " WEB " is not ", "bad certificate");
    }
}

static void any_of_the_names_will_do(void **state)
{
    (void)state;
    const struct fl_tls_name_match names[] = {{FL_TLS_NAME_URI, FL_TLS_MATCH_EXACT, FL_SPAN(WEB)},
                                              {FL_TLS_NAME_URI, FL_TLS_MATCH_EXACT, FL_SPAN(APP)}};
    struct fl_tls_options client = client_options(), server = server_options();
    server.names = names;
    server.name_count = 2;
    assert_good(meet(&client, &server));
    server.name_count = 1;
    assert_server_refuses(meet(&client, &server), -EACCES, "peer's name " APP " is not " WEB, "bad certificate");
    struct identity third;
    authority_issue(&ours, "spiffe://elsewhere/x", NULL, &third);
    client.cert = third.cert;
    client.key = third.key;
    server.name_count = 2;
    assert_server_refuses(meet(&client, &server), -EACCES, "peer's name spiffe://elsewhere/x is not one of " WEB ", …",
                          "bad certificate");
    identity_done(&third);
}

static void wildcards_in_certificates(void **state)
{
    (void)state;
    static const struct {
        const char *in_certificate, *wanted;
        bool good;
    } rows[] = {
        {"*.web.example", "a.web.example", true},  {"*.web.example", "A.WEB.example", true},
        {"*.web.example", "web.example", false},   {"*.web.example", "a.b.web.example", false},
        {"*.web.example", ".web.example", false},  {"*.example", "web.example", false},
        {"a.web.example", "*.web.example", false},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct identity wild;
        authority_issue(&ours, WEB, rows[i].in_certificate, &wild);
        const struct fl_tls_name_match name = {FL_TLS_NAME_DNS, FL_TLS_MATCH_EXACT, fl_span_str(rows[i].wanted)};
        struct fl_tls_options client = client_options(), server = server_options();
        server.cert = wild.cert;
        server.key = wild.key;
        client.names = &name;
        client.name_count = 1;
        if ((meet(&client, &server).client == 0) != rows[i].good)
            fail_msg("%s for %s", rows[i].in_certificate, rows[i].wanted);
        identity_done(&wild);
    }
}

static void alpn_is_agreed_or_refused(void **state)
{
    (void)state;
    const struct fl_span a[] = {FL_SPAN("a")}, b[] = {FL_SPAN("b")}, ba[] = {FL_SPAN("b"), FL_SPAN("a")};
    struct fl_tls_options client = client_options(), server = server_options();
    client.alpn = ba;
    client.alpn_count = 2;
    server.alpn = a;
    server.alpn_count = 1;
    assert_good(meet(&client, &server));
    client.alpn = b;
    client.alpn_count = 1;
    assert_server_refuses(meet(&client, &server), -EPROTO, "the client offers none of our ALPN protocols",
                          "no application protocol");
    client.alpn_count = 0;
    assert_server_refuses(meet(&client, &server), -EPROTO, "the client offers no ALPN protocol",
                          "no application protocol");
    const struct fl_span http[] = {FL_SPAN("h2"), FL_SPAN("http/1.1")};
    server.alpn = http;
    server.alpn_count = 2;
    assert_good(meet(&client, &server)); /* it is one of HTTP/1.1 then */
    client.alpn_count = 1;
    server.alpn_count = 0;
    assert_client_refuses(meet(&client, &server), -EPROTO, "the server chose none of our ALPN protocols",
                          "handshake failure");
    client.alpn_count = 0;
    assert_good(meet(&client, &server));
}

static void assert_reasons(const char *what, struct outcome outcome, enum fl_tls_reason client,
                           enum fl_tls_reason server)
{
    if (outcome.client_reason != client || outcome.server_reason != server)
        fail_msg("%s: client %s, server %s", what, fl_tls_reason_word(outcome.client_reason),
                 fl_tls_reason_word(outcome.server_reason));
}

static void each_failure_has_its_reason(void **state)
{
    (void)state;
    const struct fl_span a[] = {FL_SPAN("a")}, b[] = {FL_SPAN("b")};
    const struct fl_tls_name_match other = {.kind = FL_TLS_NAME_URI, .value = FL_SPAN("spiffe://elsewhere/x")};
    const struct fl_cert_request past = {
        .uri = FL_SPAN(APP), .not_before = time(NULL) - 7200, .not_after = time(NULL) - 3600};
    const struct fl_cert_request future = {
        .uri = FL_SPAN(APP), .not_before = time(NULL) + 3600, .not_after = time(NULL) + 7200};
    struct identity stranger, old, early, unnamed;
    authority_issue(&theirs, APP, NULL, &stranger);
    authority_issue(&ours, NULL, NULL, &unnamed);
    authority_issue_request(&ours, &past, &old);
    authority_issue_request(&ours, &future, &early);
    const struct {
        const char *what;
        const struct identity *client; /* NULL: no certificate */
        const struct fl_tls_name_match *names;
        const struct fl_span *client_alpn, *server_alpn;
        enum fl_tls_reason client_reason, server_reason;
    } rows[] = {
        {"good", &app, NULL, NULL, NULL, FL_TLS_REASON_NONE, FL_TLS_REASON_NONE},
        {"none", NULL, NULL, NULL, NULL, FL_TLS_REASON_ALERT, FL_TLS_REASON_NO_CERTIFICATE},
        {"another root", &stranger, NULL, NULL, NULL, FL_TLS_REASON_ALERT, FL_TLS_REASON_UNTRUSTED},
        {"too old", &old, NULL, NULL, NULL, FL_TLS_REASON_ALERT, FL_TLS_REASON_EXPIRED},
        {"too early", &early, NULL, NULL, NULL, FL_TLS_REASON_ALERT, FL_TLS_REASON_EXPIRED},
        {"no SVID", &unnamed, NULL, NULL, NULL, FL_TLS_REASON_ALERT, FL_TLS_REASON_IDENTITY},
        {"another name", &app, &other, NULL, NULL, FL_TLS_REASON_ALERT, FL_TLS_REASON_IDENTITY},
        {"another ALPN", &app, NULL, a, b, FL_TLS_REASON_ALERT, FL_TLS_REASON_ALPN},
        {"no ALPN offered", &app, NULL, NULL, b, FL_TLS_REASON_ALERT, FL_TLS_REASON_ALPN},
        {"no ALPN chosen", &app, NULL, a, NULL, FL_TLS_REASON_ALPN, FL_TLS_REASON_ALERT},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_tls_options client = client_options(), server = server_options();
        client.cert = rows[i].client != NULL ? rows[i].client->cert : NULL;
        client.key = rows[i].client != NULL ? rows[i].client->key : NULL;
        client.alpn = rows[i].client_alpn;
        client.alpn_count = rows[i].client_alpn != NULL;
        server.alpn = rows[i].server_alpn;
        server.alpn_count = rows[i].server_alpn != NULL;
        server.names = rows[i].names;
        server.name_count = rows[i].names != NULL;
        struct outcome outcome = meet(&client, &server);
        assert_reasons(rows[i].what, outcome, rows[i].client_reason, rows[i].server_reason);
        /* Who it is, is known where the chain was good, and nowhere else. */
        bool known = rows[i].names != NULL || rows[i].server_reason == FL_TLS_REASON_NONE;
        assert_string_equal(outcome.server_peer, known ? APP : "");
    }
    identity_done(&stranger);
    identity_done(&old);
    identity_done(&early);
    identity_done(&unnamed);
}

static void the_server_prefers_its_own_order(void **state)
{
    (void)state;
    const struct fl_span ab[] = {FL_SPAN("a"), FL_SPAN("b")}, ba[] = {FL_SPAN("b"), FL_SPAN("a")};
    struct fl_tls_options client = client_options(), server = server_options();
    client.alpn = ab;
    client.alpn_count = 2;
    server.alpn = ba;
    server.alpn_count = 2;
    struct fl_tls_context *client_context, *server_context;
    struct tls_pair pair;
    assert_int_equal(fl_tls_context_new(&client, &client_context, NULL), 0);
    assert_int_equal(fl_tls_context_new(&server, &server_context, NULL), 0);
    tls_pair_init(&pair, client_context, server_context);
    tls_pair_run(&pair, SIZE_MAX);
    assert_true(fl_span_eq_str(fl_tls_alpn(pair.client.tls), "b"));
    tls_pair_done(&pair);
    fl_tls_context_unref(client_context);
    fl_tls_context_unref(server_context);
}

static void versions(void **state)
{
    (void)state;
    struct fl_tls_options client = client_options(), server = server_options();
    client.minimum_version = 0x0303;
    assert_good(meet(&client, &server));
    server.minimum_version = 0x0303;
    assert_good(meet(&client, &server));
}

/* root → intermediate → leaf; the intermediate travels with the leaf. */
static void chains_are_followed(void **state)
{
    (void)state;
    struct identity middle, leaf;
    const struct fl_cert_request for_middle = {.common_name = FL_SPAN("middle"),
                                               .not_before = time(NULL) - 60,
                                               .not_after = time(NULL) + 3600,
                                               .authority = true};
    const struct fl_cert_request for_leaf = {
        .uri = FL_SPAN(APP), .not_before = time(NULL) - 60, .not_after = time(NULL) + 3600};
    authority_issue_request(&ours, &for_middle, &middle);
    assert_int_equal(fl_key_generate(&leaf.key, NULL), 0);
    assert_int_equal(fl_cert_issue(&for_leaf, leaf.key, middle.cert, middle.key, &leaf.cert, NULL), 0);
    struct fl_tls_options client = client_options(), server = server_options();
    client.cert = leaf.cert;
    client.key = leaf.key;
    assert_good(meet(&client, &server));

    struct fl_buf pem; /* a bundle of the intermediate alone ends the chain too */
    assert_int_equal(fl_bundle_parse(pem_of_cert(middle.cert, &pem), &server.bundle, NULL), 0);
    fl_buf_done(&pem);
    assert_good(meet(&client, &server));
    fl_bundle_unref(server.bundle);

    struct identity below; /* path length 0: the intermediate makes no further CA */
    struct fl_cert_request for_below = for_middle;
    for_below.common_name = FL_SPAN("below");
    assert_int_equal(fl_key_generate(&below.key, NULL), 0);
    assert_int_equal(fl_cert_issue(&for_below, below.key, middle.cert, middle.key, &below.cert, NULL), 0);
    identity_done(&leaf);
    assert_int_equal(fl_key_generate(&leaf.key, NULL), 0);
    assert_int_equal(fl_cert_issue(&for_leaf, leaf.key, below.cert, below.key, &leaf.cert, NULL), 0);
    server = server_options();
    client.cert = leaf.cert;
    client.key = leaf.key;
    assert_server_refuses(meet(&client, &server), -EACCES,
                          "peer certificate of " APP " is not valid: path length constraint exceeded", "unknown CA");
    identity_done(&below);
    identity_done(&middle);
    identity_done(&leaf);
}

/* What the kubelet's health checks do: whoever answers is good. The server still decides whom it takes. */
static void a_client_that_accepts_anybody(void **state)
{
    (void)state;
    const struct fl_tls_options client = {.anybody = true, .minimum_version = 0x0303};
    struct fl_tls_options server = {.server = true, .cert = web.cert, .key = web.key};
    assert_good(meet(&client, &server));
    server.minimum_version = 0x0303;
    assert_good(meet(&client, &server));
    server.bundle = ours.bundle;
    server.require_peer_cert = true;
    assert_true(meet(&client, &server).server < 0);
}

static void bad_options(void **state)
{
    (void)state;
    const struct fl_span empty[] = {{"", 0}};
    const struct fl_tls_name_match no_name = {FL_TLS_NAME_URI, FL_TLS_MATCH_PREFIX, {NULL, 0}};
    const struct {
        const char *what;
        struct fl_tls_options options;
    } rows[] = {
        {"a server without certificate", {.server = true, .bundle = ours.bundle}},
        {"a client without bundle", {.cert = app.cert, .key = app.key}},
        {"a key without certificate", {.key = app.key, .bundle = ours.bundle}},
        {"another's key", {.cert = app.cert, .key = web.key, .bundle = ours.bundle}},
        {"rules without bundle", {.server = true, .cert = web.cert, .key = web.key, .require_spiffe = true}},
        {"demand without bundle", {.server = true, .cert = web.cert, .key = web.key, .require_peer_cert = true}},
        {"a server that accepts anybody", {.server = true, .cert = web.cert, .key = web.key, .anybody = true}},
        {"anybody, and a bundle", {.bundle = ours.bundle, .anybody = true}},
        {"anybody, with a name", {.anybody = true, .names = &no_name, .name_count = 1}},
        {"an empty ALPN token", {.bundle = ours.bundle, .alpn = empty, .alpn_count = 1}},
        {"too many ALPN tokens", {.bundle = ours.bundle, .alpn = empty, .alpn_count = FL_TLS_ALPN_MAX + 1}},
        {"an empty name", {.bundle = ours.bundle, .names = &no_name, .name_count = 1}},
        {"a NUL in the SNI", {.bundle = ours.bundle, .server_name = {"a\0b", 3}}},
        {"TLS 1.1", {.bundle = ours.bundle, .minimum_version = 0x0302}},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_tls_context *context = NULL;
        struct fl_err err = {0};
        if (fl_tls_context_new(&rows[i].options, &context, &err) != -EINVAL || err.text[0] == '\0')
            fail_msg("%s", rows[i].what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_are_refused_by_both_sides),
        cmocka_unit_test(any_root_of_the_bundle_will_do),
        cmocka_unit_test(a_certificate_must_be_valid_now),
        cmocka_unit_test(a_client_without_certificate),
        cmocka_unit_test(only_an_svid_will_do),
        cmocka_unit_test(odd_certificates),
        cmocka_unit_test(a_chain_of_absurd_size),
        cmocka_unit_test(a_ca_certificate_is_no_peer),
        cmocka_unit_test(names_are_matched),
        cmocka_unit_test(any_of_the_names_will_do),
        cmocka_unit_test(wildcards_in_certificates),
        cmocka_unit_test(alpn_is_agreed_or_refused),
        cmocka_unit_test(each_failure_has_its_reason),
        cmocka_unit_test(the_server_prefers_its_own_order),
        cmocka_unit_test(versions),
        cmocka_unit_test(chains_are_followed),
        cmocka_unit_test(a_client_that_accepts_anybody),
        cmocka_unit_test(bad_options),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
