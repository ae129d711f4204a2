#include "common/base/base64.h"
#include "common/pki/signature.h"
#include "control/ca/command.h"
#include "control/ca/token.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"
#include "tests/unit/control/ca_folder.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#define NOW      1700000000
#define AUDIENCE "fairlead-ca"
#define GOOD     "{\"alg\":\"ES256\",\"typ\":\"JWT\"}"

static struct fl_key *key, *public_key;

static int set_up(void **state)
{
    (void)state;
    struct fl_buf der;
    fl_buf_init(&der, FL_KEY_PUBLIC_MAX);
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    assert_int_equal(fl_key_print_public(key, &der), 0);
    assert_int_equal(fl_key_parse_public(fl_buf_span(&der), &public_key, NULL), 0);
    fl_buf_done(&der);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    key = fl_key_unref(key);
    public_key = fl_key_unref(public_key);
    return 0;
}

/* A token with a header and claims of the test's own. */
static struct fl_span forge(const char *header, const char *claims, struct fl_buf *token)
{
    unsigned char signature[FL_SIGNATURE_SIZE];
    fl_buf_init(token, 1u << 20);
    assert_int_equal(fl_base64url_encode(fl_span_str(header), token), 0);
    assert_int_equal(fl_buf_append_byte(token, '.'), 0);
    assert_int_equal(fl_base64url_encode(fl_span_str(claims), token), 0);
    assert_int_equal(fl_signature_make(key, fl_buf_span(token), signature, NULL), 0);
    assert_int_equal(fl_buf_append_byte(token, '.'), 0);
    assert_int_equal(fl_base64url_encode(fl_span_make(signature, sizeof(signature)), token), 0);
    return fl_buf_span(token);
}

static void a_token_names_its_service_account(void **state)
{
    (void)state;
    const struct control_caller web = {.name_space = "default", .service_account = "web.v1", .expires = NOW + 60};
    struct control_caller caller;
    struct fl_buf token;
    struct guard guard;
    fl_buf_init(&token, CONTROL_TOKEN_MAX);
    assert_int_equal(control_token_make(key, &web, AUDIENCE, NOW, &token, NULL), 0);
    guard_init(&guard, fl_buf_span(&token));
    assert_int_equal(control_token_check(public_key, guard.span, AUDIENCE, NOW, &caller), CONTROL_AUTH_OK);
    assert_string_equal(caller.name_space, "default");
    assert_string_equal(caller.service_account, "web.v1");
    assert_int_equal(caller.expires, NOW + 60);
    /* Cut anywhere, or with any bit of the signature changed, it is none. */
    for (size_t len = 0; len < guard.span.len; len++)
        assert_int_not_equal(
            control_token_check(public_key, fl_span_make(guard.span.data, len), AUDIENCE, NOW, &caller),
            CONTROL_AUTH_OK);
    guard_done(&guard);
    for (size_t i = 0; i < token.len; i++) {
        char before = token.data[i];
        token.data[i] = before == 'A' ? 'B' : 'A';
        assert_int_not_equal(control_token_check(public_key, fl_buf_span(&token), AUDIENCE, NOW, &caller),
                             CONTROL_AUTH_OK);
        token.data[i] = before;
    }
    assert_int_equal(control_token_check(public_key, fl_buf_span(&token), AUDIENCE, NOW + 60 + 29, &caller),
                     CONTROL_AUTH_OK); /* clocks differ */
    assert_int_equal(control_token_check(public_key, fl_buf_span(&token), AUDIENCE, NOW + 60 + 30, &caller),
                     CONTROL_AUTH_EXPIRED);
    assert_string_equal(caller.service_account, "web.v1"); /* whose it was, for the log */
    assert_int_equal(control_token_check(public_key, fl_buf_span(&token), AUDIENCE, NOW - 31, &caller),
                     CONTROL_AUTH_NOT_YET);
    assert_int_equal(control_token_check(public_key, fl_buf_span(&token), "istio-ca", NOW, &caller),
                     CONTROL_AUTH_AUDIENCE);
    fl_buf_done(&token);
}

#define CLAIMS(sub, rest) "{\"iss\":\"fairlead-control\",\"sub\":\"" sub "\"," rest "}"
#define SUB               "system:serviceaccount:default:web"
#define TIMES             "\"exp\":1700000060"

static void claims_and_headers(void **state)
{
    (void)state;
    static const struct {
        const char *header, *claims;
        enum control_auth_outcome outcome;
    } rows[] = {
        {GOOD, CLAIMS(SUB, "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_OK},
        {GOOD, CLAIMS(SUB, "\"aud\":[\"a\",\"fairlead-ca\"]," TIMES), CONTROL_AUTH_OK},
        {"{\"alg\":\"ES256\",\"kid\":\"x\"}", CLAIMS(SUB, "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_OK},
        {"{\"alg\":\"none\"}", CLAIMS(SUB, "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_MALFORMED},
        {"{\"alg\":\"HS256\"}", CLAIMS(SUB, "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_MALFORMED},
        {"{\"alg\":\"es256\"}", CLAIMS(SUB, "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_MALFORMED},
        {"{\"ALG\":\"ES256\"}", CLAIMS(SUB, "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_MALFORMED},
        {"{\"alg\":\"ES256\",\"crit\":[\"x\"]}", CLAIMS(SUB, "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_MALFORMED},
        {"{}", CLAIMS(SUB, "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_MALFORMED},
        {"[]", CLAIMS(SUB, "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_MALFORMED},
        {"x", CLAIMS(SUB, "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_MALFORMED},
        {GOOD, CLAIMS(SUB, TIMES), CONTROL_AUTH_MALFORMED},                     /* no audience */
        {GOOD, CLAIMS(SUB, "\"aud\":\"fairlead-ca\""), CONTROL_AUTH_MALFORMED}, /* no end */
        {GOOD, CLAIMS(SUB, "\"aud\":[],\"exp\":1700000060"), CONTROL_AUTH_AUDIENCE},
        {GOOD, CLAIMS(SUB, "\"aud\":[1,null],\"exp\":1700000060"), CONTROL_AUTH_AUDIENCE},
        {GOOD, CLAIMS(SUB, "\"aud\":{},\"exp\":1700000060"), CONTROL_AUTH_MALFORMED},
        {GOOD, CLAIMS(SUB, "\"aud\":\"fairlead-ca\",\"exp\":\"1700000060\""), CONTROL_AUTH_MALFORMED},
        {GOOD, CLAIMS(SUB, "\"aud\":\"fairlead-ca\",\"exp\":-1"), CONTROL_AUTH_MALFORMED},
        {GOOD, CLAIMS(SUB, "\"aud\":\"fairlead-ca\",\"exp\":1e300"), CONTROL_AUTH_MALFORMED},
        {GOOD, CLAIMS(SUB, "\"aud\":\"fairlead-ca\",\"nbf\":\"x\"," TIMES), CONTROL_AUTH_MALFORMED},
        {GOOD, CLAIMS(SUB, "\"aud\":\"fairlead-ca\",\"exp\":1,\"exp\":1700000060"), CONTROL_AUTH_MALFORMED},
        {GOOD, CLAIMS("system:node:a", "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_SUBJECT},
        {GOOD, CLAIMS("system:serviceaccount:default", "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_SUBJECT},
        {GOOD, CLAIMS("system:serviceaccount:default:", "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_SUBJECT},
        {GOOD, CLAIMS("system:serviceaccount::web", "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_SUBJECT},
        {GOOD, CLAIMS("system:serviceaccount:a:b:c", "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_SUBJECT},
        {GOOD, CLAIMS("system:serviceaccount:a/sa/x:b", "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_SUBJECT},
        {GOOD, CLAIMS("system:serviceaccount:A:b", "\"aud\":\"fairlead-ca\"," TIMES), CONTROL_AUTH_SUBJECT},
        {GOOD, "{\"iss\":\"other\",\"sub\":\"" SUB "\",\"aud\":\"fairlead-ca\"," TIMES "}", CONTROL_AUTH_MALFORMED},
        {GOOD, "{\"sub\":\"" SUB "\",\"aud\":\"fairlead-ca\"," TIMES "}", CONTROL_AUTH_MALFORMED},
        {GOOD, "[[[[[[[[[[]]]]]]]]]]", CONTROL_AUTH_MALFORMED},
        {GOOD, "", CONTROL_AUTH_MALFORMED},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_buf token;
        struct control_caller caller;
        enum control_auth_outcome outcome =
            control_token_check(public_key, forge(rows[i].header, rows[i].claims, &token), AUDIENCE, NOW, &caller);
        if (outcome != rows[i].outcome)
            fail_msg("%s %s: %s", rows[i].header, rows[i].claims, control_auth_word(outcome));
        fl_buf_done(&token);
    }
}

static void texts_that_are_no_token(void **state)
{
    (void)state;
    static char large[CONTROL_TOKEN_MAX + 1];
    memset(large, 'A', sizeof(large));
    const struct fl_span rows[] = {
        FL_SPAN(""),        FL_SPAN("."),        FL_SPAN(".."),
        FL_SPAN("..."),     FL_SPAN("a.b"),      FL_SPAN("a.b.c"),
        FL_SPAN("a.b.c.d"), FL_SPAN("\0.\0.\0"), fl_span_make(large, sizeof(large)),
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct control_caller caller;
        guard_init(&guard, rows[i]);
        assert_int_equal(control_token_check(public_key, guard.span, AUDIENCE, NOW, &caller), CONTROL_AUTH_MALFORMED);
        guard_done(&guard);
    }
    const struct control_caller web = {.name_space = "default", .service_account = "web", .expires = NOW + 60};
    struct fl_key *other;
    struct fl_buf token;
    struct control_caller caller;
    assert_int_equal(fl_key_generate(&other, NULL), 0);
    fl_buf_init(&token, CONTROL_TOKEN_MAX);
    assert_int_equal(control_token_make(other, &web, AUDIENCE, NOW, &token, NULL), 0);
    assert_int_equal(control_token_check(public_key, fl_buf_span(&token), AUDIENCE, NOW, &caller),
                     CONTROL_AUTH_SIGNATURE);
    assert_string_equal(caller.service_account, ""); /* what it claims was not read */
    fl_buf_done(&token);
    fl_key_unref(other);
}

static void what_is_not_made(void **state)
{
    (void)state;
    static char long_audience[CONTROL_TOKEN_AUDIENCE_MAX + 2];
    memset(long_audience, 'a', sizeof(long_audience) - 1);
    const struct {
        struct control_caller caller;
        const char *audience;
    } rows[] = {
        {{.name_space = "Default", .service_account = "web"}, AUDIENCE},
        {{.name_space = "a:b", .service_account = "web"}, AUDIENCE},
        {{.name_space = "", .service_account = "web"}, AUDIENCE},
        {{.name_space = "a", .service_account = "\"b"}, AUDIENCE},
        {{.name_space = "a", .service_account = "b"}, ""},
        {{.name_space = "a", .service_account = "b"}, long_audience},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_buf token;
        fl_buf_init(&token, CONTROL_TOKEN_MAX);
        assert_int_equal(control_token_make(key, &rows[i].caller, rows[i].audience, NOW, &token, NULL), -EINVAL);
        assert_int_equal(token.len, 0);
        fl_buf_done(&token);
    }
}

/* --- the authenticator --- */

static struct {
    struct control_authentication authentication;
    unsigned done;
    enum control_auth_outcome outcome;
    struct control_caller caller;
} asked;

static void on_done(struct control_authentication *authentication, enum control_auth_outcome outcome,
                    const struct control_caller *caller)
{
    assert_ptr_equal(authentication, &asked.authentication);
    asked.done++;
    asked.outcome = outcome;
    asked.caller = *caller;
}

static enum control_auth_outcome ask(struct control_authenticator *authenticator, struct fl_span authorization)
{
    asked.done = 0;
    asked.authentication.on_done = on_done;
    control_authenticate(authenticator, &asked.authentication, authorization);
    assert_int_equal(asked.done, 1);
    control_authentication_cancel(&asked.authentication);
    return asked.outcome;
}

static void run_token(struct folder *folder, const char *audience, const char *out, int status)
{
    char program[] = "token", command[] = "create", dir[] = "--token-dir", ns[] = "--namespace",
         sa[] = "--service-account", to[] = "--out", aud[] = "--audience", name_space[] = "default", account[] = "web",
         folder_text[256], out_text[PATH_MAX], audience_text[300];
    snprintf(folder_text, sizeof(folder_text), "%s", folder->path);
    snprintf(out_text, sizeof(out_text), "%s", out);
    snprintf(audience_text, sizeof(audience_text), "%s", audience);
    char *arguments[] = {program, command, dir,           folder_text, ns,       name_space, sa,
                         account, aud,     audience_text, to,          out_text, NULL};
    assert_int_equal(control_token_main(12, arguments), status);
}

static void the_folder_by_command_and_authenticator(void **state)
{
    (void)state;
    struct folder folder;
    struct control_authenticator *authenticator;
    struct fl_buf bearer;
    struct stat status;
    char public_path[PATH_MAX];
    folder_init(&folder);
    snprintf(public_path, sizeof(public_path), "%s", folder_path(&folder, CONTROL_TOKEN_PUBLIC_KEY));
    assert_int_equal(control_tokens_new(public_path, AUDIENCE, &authenticator), 0);
    assert_int_equal(ask(authenticator, FL_SPAN("Bearer a.b.c")), CONTROL_AUTH_UNAVAILABLE); /* no key yet */

    run_token(&folder, AUDIENCE, folder_path(&folder, "web"), 0);
    assert_int_equal(stat(folder_path(&folder, "web"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(stat(folder_path(&folder, CONTROL_TOKEN_KEY), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    fl_buf_init(&bearer, 2 * CONTROL_TOKEN_MAX);
    assert_int_equal(fl_buf_append_str(&bearer, "bEARER "), 0);
    assert_int_equal(fl_buf_read_file(&bearer, folder_path(&folder, "web")), 0);
    bearer.len--; /* its line's end: who reads the file takes it off */
    assert_int_equal(ask(authenticator, fl_buf_span(&bearer)), CONTROL_AUTH_OK);
    assert_string_equal(asked.caller.name_space, "default");
    assert_string_equal(asked.caller.service_account, "web");

    static const char *const missing[] = {"", "Bearer", "Bearer ", "Basic eA==", "Bearer\ta", "Bearer  \t "};
    for (size_t i = 0; i < FL_COUNT(missing); i++)
        assert_int_equal(ask(authenticator, fl_span_str(missing[i])), CONTROL_AUTH_MISSING);
    struct fl_buf large;
    fl_buf_init(&large, 4 * CONTROL_TOKEN_MAX);
    assert_int_equal(fl_buf_printf(&large, "Bearer %0*d", CONTROL_TOKEN_MAX + 1, 0), 0);
    assert_int_equal(ask(authenticator, fl_buf_span(&large)), CONTROL_AUTH_MALFORMED);
    fl_buf_done(&large);

    run_token(&folder, "somebody-else", folder_path(&folder, "web"), 0);
    fl_buf_clear(&bearer);
    assert_int_equal(fl_buf_append_str(&bearer, "Bearer "), 0);
    assert_int_equal(fl_buf_read_file(&bearer, folder_path(&folder, "web")), 0);
    bearer.len--;
    assert_int_equal(ask(authenticator, fl_buf_span(&bearer)), CONTROL_AUTH_AUDIENCE);
    assert_string_equal(asked.caller.service_account, "web");

    /* Another key: what the old one signed is void at once. */
    folder_remove(&folder, CONTROL_TOKEN_KEY);
    run_token(&folder, AUDIENCE, folder_path(&folder, "other"), 0);
    assert_int_equal(ask(authenticator, fl_buf_span(&bearer)), CONTROL_AUTH_SIGNATURE);
    assert_int_equal(chmod(folder_path(&folder, CONTROL_TOKEN_KEY), 0644), 0);
    run_token(&folder, AUDIENCE, folder_path(&folder, "other"), 1); /* a key that others may read signs nothing */
    control_authenticator_free(authenticator);
    fl_buf_done(&bearer);
    folder_done(&folder);
}

static void when_memory_runs_out(void **state)
{
    (void)state;
    const struct control_caller web = {.name_space = "default", .service_account = "web", .expires = NOW + 60};
    struct fl_buf token;
    struct control_caller caller;
    FAIL_EACH_ALLOCATION
    {
        fl_buf_init(&token, CONTROL_TOKEN_MAX);
        int result = control_token_make(key, &web, AUDIENCE, NOW, &token, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&token);
    }
    fl_buf_init(&token, CONTROL_TOKEN_MAX);
    assert_int_equal(control_token_make(key, &web, AUDIENCE, NOW, &token, NULL), 0);
    FAIL_EACH_ALLOCATION
    {
        enum control_auth_outcome outcome =
            control_token_check(public_key, fl_buf_span(&token), AUDIENCE, NOW, &caller);
        fail_stop();
        assert_int_equal(outcome, fail_happened() ? CONTROL_AUTH_UNAVAILABLE : CONTROL_AUTH_OK);
    }
    fl_buf_done(&token);
    FAIL_EACH_ALLOCATION
    {
        struct control_authenticator *authenticator;
        int result = control_tokens_new("/x", AUDIENCE, &authenticator);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (result == 0)
            control_authenticator_free(authenticator);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_names_its_service_account),
        cmocka_unit_test(claims_and_headers),
        cmocka_unit_test(texts_that_are_no_token),
        cmocka_unit_test(what_is_not_made),
        cmocka_unit_test(the_folder_by_command_and_authenticator),
        cmocka_unit_test(when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
