#include "common/base/arena.h"
#include "common/xds/message.h"
#include "proxy/config/credential.h"
#include "proxy/config/messages.h"
#include "proxy/config/secret.h"
#include "proxy/config/token.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"
#include "tests/unit/common/authority.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#define WEB "spiffe://cluster.local/ns/default/sa/web"

static struct authority ours, theirs;
static struct identity web;
static struct fl_buf key, chain, roots, other_roots;
static char volume[] = "/tmp/fairlead-identity-XXXXXX";
static time_t now;

static int set_up(void **state)
{
    (void)state;
    now = time(NULL);
    authority_init(&ours, "ours");
    authority_init(&theirs, "theirs");
    authority_issue(&ours, WEB, NULL, &web);
    pem_of_key(web.key, &key);
    pem_of_cert(web.cert, &chain);
    pem_of_cert(ours.root, &roots);
    pem_of_cert(theirs.root, &other_roots);
    return mkdtemp(volume) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    fl_buf_done(&key);
    fl_buf_done(&chain);
    fl_buf_done(&roots);
    fl_buf_done(&other_roots);
    identity_done(&web);
    authority_done(&ours);
    authority_done(&theirs);
    return rmdir(volume);
}

static int take(struct proxy_credential *credential, struct fl_err *err)
{
    return proxy_credential_take(fl_buf_span(&key), fl_buf_span(&chain), fl_buf_span(&roots), FL_SPAN(WEB), now,
                                 credential, err);
}

static void assert_web(const struct proxy_credential *credential)
{
    assert_true(fl_span_eq(credential->key, fl_buf_span(&key)));
    assert_true(fl_span_eq(credential->chain, fl_buf_span(&chain)));
    assert_true(fl_span_eq(credential->roots, fl_buf_span(&roots)));
    assert_true(fl_span_eq_str(credential->uri, WEB));
    assert_true(credential->not_before <= now && credential->not_after > now);
}

static void what_is_printed_reads_back(void **state)
{
    (void)state;
    struct proxy_credential credential, again;
    struct fl_buf text;
    struct fl_err err = {0};
    fl_buf_init(&text, PROXY_CREDENTIAL_FILE_MAX);
    assert_int_equal(take(&credential, &err), 0);
    assert_web(&credential);
    assert_int_equal(proxy_credential_print(&credential, &text), 0);
    assert_int_equal(proxy_credential_read(fl_buf_span(&text), FL_SPAN(""), now, &again, &err), 0);
    assert_web(&again);
    proxy_credential_done(&again);
    for (size_t len = 0; len < text.len; len += len < 120 ? 1 : 7) { /* cut off anywhere */
        struct guard guard;
        guard_init(&guard, fl_span_make(text.data, len));
        assert_int_equal(proxy_credential_read(guard.span, FL_SPAN(WEB), now, &again, &err), -EINVAL);
        guard_done(&guard);
    }
    for (size_t i = 0; i < text.len; i += 11) { /* damaged anywhere */
        text.data[i] ^= 4;
        if (proxy_credential_read(fl_buf_span(&text), FL_SPAN(WEB), now, &again, &err) == 0)
            fail_msg("byte %zu", i);
        text.data[i] ^= 4;
    }
    assert_int_equal(fl_buf_append_byte(&text, 'x'), 0);
    assert_int_equal(proxy_credential_read(fl_buf_span(&text), FL_SPAN(WEB), now, &again, &err), -EINVAL);
    fl_buf_done(&text);
    proxy_credential_done(&credential);
}

static void what_is_not_taken(void **state)
{
    (void)state;
    static char large[PROXY_CREDENTIAL_PART_MAX + 1];
    struct identity other, server;
    struct fl_buf other_key, server_key, server_chain;
    authority_issue(&ours, "spiffe://cluster.local/ns/default/sa/api", NULL, &other);
    authority_issue(&ours, NULL, "web.example", &server);
    pem_of_key(other.key, &other_key);
    pem_of_key(server.key, &server_key);
    pem_of_cert(server.cert, &server_chain);
    struct fl_span k = fl_buf_span(&key), c = fl_buf_span(&chain), r = fl_buf_span(&roots);
    const struct {
        struct fl_span key, chain, roots, uri;
        time_t at;
        const char *reason;
    } rows[] = {
        {fl_buf_span(&other_key), c, r, FL_SPAN(""), 0, "the certificate is for another key"},
        {k, c, fl_buf_span(&other_roots), FL_SPAN(""), 0, "certificate chain: "},
        {k, c, r, FL_SPAN("spiffe://cluster.local/ns/default/sa/api"), 0, "the certificate is for " WEB},
        {k, c, r, FL_SPAN(WEB), 7200, "certificate has expired"},
        {k, c, r, FL_SPAN(WEB), -7200, "not yet valid"},
        {fl_buf_span(&server_key), fl_buf_span(&server_chain), r, FL_SPAN(""), 0, "URI"},
        {FL_SPAN(""), c, r, FL_SPAN(WEB), 0, "private key"},
        {k, FL_SPAN(""), r, FL_SPAN(WEB), 0, "certificate"},
        {k, c, FL_SPAN(""), FL_SPAN(WEB), 0, "trust bundle"},
        {k, c, c, FL_SPAN(WEB), 0, "is not a CA's"},
        {fl_span_make(large, sizeof(large)), c, r, FL_SPAN(WEB), 0, "more than"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_credential credential;
        struct fl_err err = {0};
        int result = proxy_credential_take(rows[i].key, rows[i].chain, rows[i].roots, rows[i].uri, now + rows[i].at,
                                           &credential, &err);
        if (result >= 0 || strstr(err.text, rows[i].reason) == NULL)
            fail_msg("row %zu: %d %s", i, result, err.text);
    }
    fl_buf_done(&other_key);
    fl_buf_done(&server_key);
    fl_buf_done(&server_chain);
    identity_done(&other);
    identity_done(&server);
}

static void the_file_of_a_volume(void **state)
{
    (void)state;
    struct proxy_credential credential, again;
    struct fl_err err = {0};
    struct stat status;
    char path[128];
    snprintf(path, sizeof(path), "%s/" PROXY_CREDENTIAL_FILE, volume);
    assert_int_equal(proxy_credential_load(volume, FL_SPAN(WEB), now, &again, &err), -ENOENT);
    assert_int_equal(take(&credential, NULL), 0);
    assert_int_equal(proxy_credential_store(&credential, volume, &err), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(proxy_credential_load(volume, FL_SPAN(WEB), now, &again, &err), 0);
    assert_web(&again);
    proxy_credential_done(&again);
    assert_int_equal(proxy_credential_load(volume, FL_SPAN(WEB), now + 7200, &again, &err), -EACCES);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(proxy_credential_load(volume, FL_SPAN(WEB), now, &again, &err), -EACCES);
    assert_int_equal(proxy_credential_store(&credential, volume, &err), 0); /* replaced, not repaired */
    assert_int_equal(proxy_credential_load(volume, FL_SPAN(WEB), now, &again, &err), 0);
    proxy_credential_done(&again);
    assert_int_equal(proxy_credential_store(&credential, "/nonexistent", &err), -ENOENT);
    assert_int_equal(unlink(path), 0);
    proxy_credential_done(&credential);
}

static void tokens_of_a_file(void **state)
{
    (void)state;
    static char large[PROXY_TOKEN_MAX + 1];
    memset(large, 'a', sizeof(large));
    static const struct {
        struct fl_span content;
        const char *result; /* NULL: refused */
    } rows[] = {
        {FL_SPAN("a.b.c"), "Bearer a.b.c"},
        {FL_SPAN(" \n a.b.c\r\n"), "Bearer a.b.c"},
        {FL_SPAN(""), NULL},
        {FL_SPAN("\n"), NULL},
        {FL_SPAN("a\r\nx-forged: b"), NULL},
        {FL_SPAN("a b"), NULL},
        {FL_SPAN("a\0b"), NULL},
        {FL_SPAN("a\xff"), NULL},
        {{large, PROXY_TOKEN_MAX + 1}, NULL},
    };
    char path[128];
    snprintf(path, sizeof(path), "%s/token", volume);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_buf out;
        struct fl_err err = {0};
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, rows[i].content.data, rows[i].content.len), rows[i].content.len);
        close(fd);
        fl_buf_init(&out, 2 * PROXY_TOKEN_MAX);
        int result = proxy_token_read(path, &out, &err);
        if ((result == 0) != (rows[i].result != NULL))
            fail_msg("row %zu: %s", i, err.text);
        if (result == 0)
            assert_string_equal(fl_buf_str(&out), rows[i].result);
        else
            assert_null(strstr(err.text, "a.b.c"));
        fl_buf_done(&out);
    }
    assert_int_equal(unlink(path), 0);
    struct fl_buf out;
    fl_buf_init(&out, 100);
    assert_int_equal(proxy_token_read(path, &out, NULL), -ENOENT);
    fl_buf_done(&out);
}

static void secrets_hold_the_bytes(void **state)
{
    (void)state;
    struct fl_arena arena, second;
    struct fl_span wire;
    ProtobufCMessage *message;
    fl_arena_init(&arena, 1u << 20);
    fl_arena_init(&second, 1u << 20);
    assert_int_equal(proxy_secret_certificate(PROXY_SECRET_OWN, fl_buf_span(&key), fl_buf_span(&chain), &arena, &wire),
                     0);
    assert_int_equal(fl_xds_unpack(&envoy__extensions__transport_sockets__tls__v3__secret__descriptor, wire, &second,
                                   NULL, &message, NULL),
                     0);
    const Envoy__Extensions__TransportSockets__Tls__V3__Secret *secret =
        (const Envoy__Extensions__TransportSockets__Tls__V3__Secret *)message;
    assert_string_equal(secret->name, "default");
    assert_int_equal(secret->tls_certificate->certificate_chain->inline_bytes.len, chain.len);
    assert_int_equal(secret->tls_certificate->private_key->inline_bytes.len, key.len);
    assert_int_equal(proxy_secret_roots(PROXY_SECRET_ROOTS, fl_buf_span(&roots), &arena, &wire), 0);
    assert_int_equal(fl_xds_unpack(&envoy__extensions__transport_sockets__tls__v3__secret__descriptor, wire, &second,
                                   NULL, &message, NULL),
                     0);
    secret = (const Envoy__Extensions__TransportSockets__Tls__V3__Secret *)message;
    assert_int_equal(secret->validation_context->trusted_ca->inline_bytes.len, roots.len);
    fl_arena_done(&arena);
    fl_arena_done(&second);
}

static void when_memory_runs_out(void **state)
{
    (void)state;
    struct proxy_credential credential, again;
    struct fl_buf text;
    FAIL_EACH_ALLOCATION
    {
        int result = take(&credential, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (result == 0)
            proxy_credential_done(&credential);
    }
    assert_int_equal(take(&credential, NULL), 0);
    FAIL_EACH_ALLOCATION
    {
        fl_buf_init(&text, PROXY_CREDENTIAL_FILE_MAX);
        int result = proxy_credential_print(&credential, &text);
        if (result == 0)
            result = proxy_credential_read(fl_buf_span(&text), FL_SPAN(WEB), now, &again, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (result == 0)
            proxy_credential_done(&again);
        fl_buf_done(&text);
    }
    proxy_credential_done(&credential);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_printed_reads_back), cmocka_unit_test(what_is_not_taken),
        cmocka_unit_test(the_file_of_a_volume),       cmocka_unit_test(tokens_of_a_file),
        cmocka_unit_test(secrets_hold_the_bytes),     cmocka_unit_test(when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
