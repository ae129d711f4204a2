/* proxy/policy: key sets, tokens, requirements, the cache. Keys and signatures are made by the test. */
#include "proxy/http/h1.h"
#include "proxy/policy/jwt.h"
#include "proxy/policy/jwt_cache.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"
#include "tests/unit/common/jwt_maker.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW 1700000000
#define RS  "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"rsa\"}"
#define ES  "{\"alg\":\"ES256\",\"kid\":\"ec\"}"
#define OK                                                                                                             \
    "{\"iss\":\"me\",\"sub\":\"alice\",\"aud\":[\"web\",\"api\"],\"exp\":1700000100,\"nbf\":1699999900,\"iat\":"       \
    "1699999900}"

static struct jwt_maker ours, theirs;
static struct fl_jwks *keys, *their_keys;

static struct fl_jwks *parse_jwks(char *text)
{
    struct fl_jwks *jwks;
    struct fl_err err = {0};
    if (fl_jwks_parse(fl_span_str(text), &jwks, &err) != 0)
        fail_msg("%s", err.text);
    free(text);
    return jwks;
}

static int setup(void **state)
{
    (void)state;
    jwt_maker_init(&ours);
    jwt_maker_init(&theirs);
    keys = parse_jwks(jwt_maker_jwks(&ours));
    their_keys = parse_jwks(jwt_maker_jwks(&theirs));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fl_jwks_free(keys);
    fl_jwks_free(their_keys);
    jwt_maker_done(&ours);
    jwt_maker_done(&theirs);
    return 0;
}

static const struct proxy_jwt_header bearer[] = {{.name = FL_SPAN("authorization"), .prefix = FL_SPAN("Bearer ")}};
static const struct fl_span params[] = {FL_SPAN("access_token")};
static const struct fl_span web[] = {FL_SPAN("web")}, other[] = {FL_SPAN("other")};

static struct proxy_jwt_provider provider(void)
{
    return (struct proxy_jwt_provider){.id = 1,
                                       .issuer = FL_SPAN("me"),
                                       .clock_skew_s = 60,
                                       .keys = keys,
                                       .headers = bearer,
                                       .header_count = 1,
                                       .params = params,
                                       .param_count = 1};
}

static int verify(const struct proxy_jwt_provider *by, const char *token)
{
    struct proxy_payload *payload = NULL;
    struct guard guard;
    guard_init(&guard, fl_span_str(token));
    int result = proxy_jwt_verify(by, NULL, 0, guard.span, NOW, &payload);
    guard_done(&guard);
    assert_int_equal(payload != NULL, result == 0);
    proxy_payload_unref(payload);
    return result;
}

static void expect(const char *what, int result, int expected)
{
    if (result != expected)
        fail_msg("%s: %s", what, result < 0 ? strerror(-result) : proxy_jwt_word((enum proxy_jwt_failure)result));
}

/* Verifies and frees. */
static void check(const char *what, const struct proxy_jwt_provider *by, char *token, int expected)
{
    expect(what, verify(by, token), expected);
    free(token);
}

static void test_good_tokens(void **state)
{
    (void)state;
    struct proxy_jwt_provider by = provider();
    check("RS256", &by, jwt_sign(ours.rsa, RS, OK), PROXY_JWT_GOOD);
    check("ES256", &by, jwt_sign(ours.ec, ES, OK), PROXY_JWT_GOOD);
    check("without kid", &by, jwt_sign(ours.ec, "{\"alg\":\"ES256\"}", OK), PROXY_JWT_GOOD);
    check("without times", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"me\"}"), PROXY_JWT_GOOD);
    for (int i = 0; i < 40; i++) /* r and s with zeros in front */
        check("ES256 again", &by, jwt_sign(ours.ec, ES, OK), PROXY_JWT_GOOD);
    by.audiences = web;
    by.audience_count = 1;
    check("an audience", &by, jwt_sign(ours.ec, ES, OK), PROXY_JWT_GOOD);
    check("an audience as text", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"aud\":\"web\"}"), PROXY_JWT_GOOD);
    by.issuer = FL_SPAN("");
    check("any issuer", &by, jwt_sign(ours.ec, ES, "{\"aud\":\"web\"}"), PROXY_JWT_GOOD);
}

static void test_forged_tokens(void **state)
{
    (void)state;
    struct proxy_jwt_provider by = provider();
    char *text = jwt_maker_jwks(&ours);
    check("another's RSA key", &by, jwt_sign(theirs.rsa, RS, OK), PROXY_JWT_SIGNATURE);
    check("another's EC key", &by, jwt_sign(theirs.ec, ES, OK), PROXY_JWT_SIGNATURE);
    check("none", &by, jwt_join("{\"alg\":\"none\"}", OK, "AA"), PROXY_JWT_ALGORITHM);
    check("none, empty", &by, jwt_join("{\"alg\":\"none\"}", OK, ""), PROXY_JWT_FORM);
    check("None", &by, jwt_join("{\"alg\":\"None\"}", OK, "AA"), PROXY_JWT_ALGORITHM);
    check("the public key as HMAC secret", &by,
          jwt_sign_hmac(fl_span_str(text), "{\"alg\":\"HS256\",\"kid\":\"rsa\"}", OK), PROXY_JWT_ALGORITHM);
    check("HMAC called RS256", &by, jwt_sign_hmac(fl_span_str(text), RS, OK), PROXY_JWT_SIGNATURE);
    check("HMAC called ES256", &by, jwt_sign_hmac(fl_span_str(text), ES, OK), PROXY_JWT_SIGNATURE);
    check("PS256", &by, jwt_sign(ours.rsa, "{\"alg\":\"PS256\"}", OK), PROXY_JWT_ALGORITHM);
    check("an RSA signature called ES256", &by, jwt_sign(ours.rsa, ES, OK), PROXY_JWT_SIGNATURE);
    check("the RSA key by an EC algorithm", &by, jwt_sign(ours.ec, "{\"alg\":\"ES256\",\"kid\":\"rsa\"}", OK),
          PROXY_JWT_KEY);
    check("a kid of nobody", &by, jwt_sign(ours.ec, "{\"alg\":\"ES256\",\"kid\":\"x\"}", OK), PROXY_JWT_KEY);
    check("a key of the token's own", &by,
          jwt_sign(theirs.ec, "{\"alg\":\"ES256\",\"jwk\":{\"kty\":\"EC\"},\"kid\":\"ec\"}", OK), PROXY_JWT_SIGNATURE);
    check("crit", &by, jwt_sign(ours.ec, "{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}", OK),
          PROXY_JWT_CRITICAL);
    check("an empty crit", &by, jwt_sign(ours.ec, "{\"alg\":\"ES256\",\"crit\":[]}", OK), PROXY_JWT_CRITICAL);
    check("no alg", &by, jwt_sign(ours.ec, "{\"kid\":\"ec\"}", OK), PROXY_JWT_ALGORITHM);
    check("alg as a list", &by, jwt_sign(ours.ec, "{\"alg\":[\"ES256\"]}", OK), PROXY_JWT_ALGORITHM);
    check("alg in another case", &by, jwt_sign(ours.ec, "{\"ALG\":\"ES256\"}", OK), PROXY_JWT_ALGORITHM);
    check("alg twice", &by, jwt_sign(ours.ec, "{\"alg\":\"none\",\"alg\":\"ES256\"}", OK), PROXY_JWT_HEADER);
    check("kid as a number", &by, jwt_sign(ours.ec, "{\"alg\":\"ES256\",\"kid\":1}", OK), PROXY_JWT_HEADER);
    check("a claim twice", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"iss\":\"me\"}"), PROXY_JWT_PAYLOAD);
    check("a payload that is a list", &by, jwt_sign(ours.ec, ES, "[]"), PROXY_JWT_PAYLOAD);
    check("a payload that is no JSON", &by, jwt_sign(ours.ec, ES, "x"), PROXY_JWT_PAYLOAD);
    check("a NUL in a claim", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"me\\u0000\"}"), PROXY_JWT_PAYLOAD);
    check("DER instead of r and s", &by, jwt_sign_der(ours.ec, ES, OK), PROXY_JWT_SIGNATURE);
    check("zeros as signature", &by,
          jwt_join(ES, OK, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
          PROXY_JWT_SIGNATURE);
    free(text);
}

static void test_claims(void **state)
{
    (void)state;
    struct proxy_jwt_provider by = provider(), strict = provider();
    check("issuer", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"you\"}"), PROXY_JWT_ISSUER);
    check("no issuer", &by, jwt_sign(ours.ec, ES, "{}"), PROXY_JWT_ISSUER);
    check("issuer as a list", &by, jwt_sign(ours.ec, ES, "{\"iss\":[\"me\"]}"), PROXY_JWT_ISSUER);
    check("expired", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"exp\":1699999939}"), PROXY_JWT_EXPIRED);
    check("within the skew", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"exp\":1699999940}"), PROXY_JWT_GOOD);
    check("a fraction too late", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"exp\":1699999939.9}"),
          PROXY_JWT_EXPIRED);
    check("exp 0", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"exp\":0}"), PROXY_JWT_EXPIRED);
    check("exp negative", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"exp\":-1}"), PROXY_JWT_EXPIRED);
    check("exp as text", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"exp\":\"1800000000\"}"), PROXY_JWT_PAYLOAD);
    check("exp null", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"exp\":null}"), PROXY_JWT_PAYLOAD);
    check("exp past all sense", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"exp\":1e999}"), PROXY_JWT_PAYLOAD);
    check("not yet", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"nbf\":1700000061}"), PROXY_JWT_NOT_YET);
    check("nbf within the skew", &by, jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"nbf\":1700000060}"), PROXY_JWT_GOOD);
    strict.audiences = other;
    strict.audience_count = 1;
    check("another audience", &strict, jwt_sign(ours.ec, ES, OK), PROXY_JWT_AUDIENCE);
    check("no audience", &strict, jwt_sign(ours.ec, ES, "{\"iss\":\"me\"}"), PROXY_JWT_AUDIENCE);
    check("an audience with more", &strict, jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"aud\":\"other/\"}"),
          PROXY_JWT_AUDIENCE);
    strict = provider();
    strict.require_expiration = true;
    check("exp is wanted", &strict, jwt_sign(ours.ec, ES, "{\"iss\":\"me\"}"), PROXY_JWT_LIFETIME);
    strict.max_lifetime_s = 100;
    check("a life too long", &strict, jwt_sign(ours.ec, ES, OK), PROXY_JWT_LIFETIME);
    check("short enough", &strict, jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"exp\":1700000100}"), PROXY_JWT_GOOD);
    strict = provider();
    strict.has_subjects = true;
    strict.subjects = (struct proxy_string_match){.kind = PROXY_STRING_PREFIX, .text = FL_SPAN("bob")};
    check("another subject", &strict, jwt_sign(ours.ec, ES, OK), PROXY_JWT_SUBJECT);
    check("no subject", &strict, jwt_sign(ours.ec, ES, "{\"iss\":\"me\"}"), PROXY_JWT_SUBJECT);
}

/* Cut at any byte, and with any byte changed: never good, never a crash. */
static void test_broken_tokens(void **state)
{
    (void)state;
    struct proxy_jwt_provider by = provider();
    char *token = jwt_sign(ours.ec, ES, OK);
    size_t len = strlen(token);
    for (size_t cut = 0; cut < len; cut++) {
        struct proxy_payload *payload;
        struct guard guard;
        guard_init(&guard, fl_span_make(token, cut));
        assert_true(proxy_jwt_verify(&by, NULL, 0, guard.span, NOW, &payload) > 0);
        guard_done(&guard);
    }
    for (size_t at = 0; at < len; at++) {
        char before = token[at];
        token[at] = before == 'A' ? 'B' : 'A';
        assert_true(verify(&by, token) > 0);
        token[at] = before;
    }
    static const char *const around[] = {"%s.", ".%s", "%s ", " %s", "%s=", "%s.x", "%s\n"};
    for (size_t i = 0; i < FL_COUNT(around); i++) {
        char text[4096];
        size_t here = fl_span_find(fl_span_str(around[i]), '%');
        int size = snprintf(text, sizeof(text), "%.*s%s%s", (int)here, around[i], token, around[i] + here + 2);
        assert_true(size > 0 && verify(&by, text) > 0);
    }
    assert_int_equal(verify(&by, token), 0);
    free(token);
    char *huge = malloc(2 * FL_JWS_BYTES_MAX + 1);
    memset(huge, 'a', 2 * FL_JWS_BYTES_MAX);
    huge[2 * FL_JWS_BYTES_MAX] = '\0';
    expect("huge", verify(&by, huge), PROXY_JWT_SIZE);
    free(huge);
}

/* --- key sets ---------------------------------------------------------------------------------------------------- */

static int parse(const char *before, char *middle, const char *after, char *ret_error, size_t size)
{
    struct fl_buf text;
    struct fl_jwks *jwks = NULL;
    struct fl_err err = {0};
    fl_buf_init(&text, 1u << 20);
    assert_int_equal(fl_buf_printf(&text, "%s%s%s", before, middle != NULL ? middle : "", after), 0);
    int result = fl_jwks_parse(fl_buf_span(&text), &jwks, &err);
    snprintf(ret_error, size, "%s", err.text);
    fl_jwks_free(jwks);
    fl_buf_done(&text);
    free(middle);
    return result;
}

static void test_bad_key_sets(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"", NULL},
        {"[]", "expected an object with a list \"keys\""},
        {"{}", "expected an object with a list \"keys\""},
        {"{\"keys\":{}}", "expected an object with a list \"keys\""},
        {"{\"keys\":[]}", "keys: none is for RS256 or ES256"},
        {"{\"keys\":[1]}", "keys[0]: expected an object"},
        {"{\"keys\":[{}]}", "keys[0].kty: must be set"},
        {"{\"keys\":[{\"kty\":1}]}", "keys[0].kty: expected a string"},
        {"{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}", "keys: none is for RS256 or ES256"},
        {"{\"keys\":[{\"kty\":\"RSA\"}]}", "keys[0].n: must be set"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"A+\",\"e\":\"AQAB\"}]}",
         "keys[0].n: expected a number of at most 1024 bytes as base64url"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
         "keys[0]: an RSA key of 17 bits (2048 to 8192 are accepted)"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQ\"}]}",
         "keys[0]: modulus and exponent must be odd, the exponent 3 or more"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AAEAAQ\",\"e\":\"AQAB\"}]}", "keys[0]: modulus: begins with zeros"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQAB\",\"y\":\"AQAB\"}]}",
         "keys[0]: expected coordinates of 32 bytes, got 3 and 3"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"AQAB\",\"y\":\"AQAB\"}]}",
         "keys: none is for RS256 or ES256"},
        {"{\"keys\":[],\"keys\":[]}", NULL},
    };
    char error[512];
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        assert_int_equal(parse(rows[i].text, NULL, "", error, sizeof(error)), -EINVAL);
        if (rows[i].expected != NULL)
            assert_string_equal(error, rows[i].expected);
    }
    assert_int_equal(parse("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
                           "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"y\":\""
                           "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
                           NULL, "", error, sizeof(error)),
                     -EINVAL);
    assert_non_null(strstr(error, "not a public key")); /* not on the curve */
    EVP_PKEY *weak = EVP_RSA_gen(1024);
    assert_int_equal(parse("{\"keys\":[", jwt_maker_jwk(weak, ""), "]}", error, sizeof(error)), -EINVAL);
    assert_string_equal(error, "keys[0]: an RSA key of 1024 bits (2048 to 8192 are accepted)");
    EVP_PKEY_free(weak);
}

static void test_which_keys_count(void **state)
{
    (void)state;
    static const char *const left_out[] = {",\"use\":\"enc\"", ",\"alg\":\"RSA-OAEP\"", ",\"alg\":\"RS512\"",
                                           ",\"key_ops\":[\"encrypt\"]"};
    char error[512];
    for (size_t i = 0; i < FL_COUNT(left_out); i++) {
        assert_int_equal(parse("{\"keys\":[", jwt_maker_jwk(ours.rsa, left_out[i]), "]}", error, sizeof(error)),
                         -EINVAL);
        assert_string_equal(error, "keys: none is for RS256 or ES256");
    }
    assert_int_equal(parse("{\"keys\":[{\"kty\":\"OKP\"},", jwt_maker_jwk(ours.rsa, ",\"key_ops\":[\"verify\"]"), "]}",
                           error, sizeof(error)),
                     0);
    char *twice = jwt_maker_jwk(ours.ec, ",\"kid\":\"a\"");
    struct fl_buf text;
    fl_buf_init(&text, 1u << 16);
    assert_int_equal(fl_buf_printf(&text, "{\"keys\":[%s,%s]}", twice, twice), 0);
    free(twice);
    struct fl_jwks *jwks;
    struct fl_err err = {0};
    assert_int_equal(fl_jwks_parse(fl_buf_span(&text), &jwks, &err), -EINVAL);
    assert_string_equal(err.text, "keys[1].kid: another key has it");
    fl_buf_done(&text);
}

static void test_memory_runs_out(void **state)
{
    (void)state;
    char *text = jwt_maker_jwks(&ours), *token = jwt_sign(ours.ec, ES, OK);
    FAIL_EACH_ALLOCATION
    {
        struct fl_jwks *jwks = NULL;
        int result = fl_jwks_parse(fl_span_str(text), &jwks, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_jwks_free(jwks);
    }
    struct proxy_jwt_provider by = provider();
    static const struct fl_span words[] = {FL_SPAN("sub")};
    by.space_delimited = words;
    by.space_delimited_count = 1;
    FAIL_EACH_ALLOCATION
    {
        struct proxy_payload *payload = NULL;
        int result = proxy_jwt_verify(&by, NULL, 0, fl_span_str(token), NOW, &payload);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        proxy_payload_unref(payload);
    }
    free(text);
    free(token);
}

/* --- requests ---------------------------------------------------------------------------------------------------- */

static struct proxy_message message;

static const struct proxy_message *request(const char *format, const char *token)
{
    static char text[65536];
    static const struct proxy_h1_limits limits;
    struct proxy_h1_parser parser = {0};
    struct fl_buf buf;
    size_t size;
    fl_buf_init(&buf, sizeof(text) - 1);
    for (const char *c = format; *c != '\0'; c++) {
        if (*c == '@')
            assert_int_equal(fl_buf_append_str(&buf, token), 0);
        else
            assert_int_equal(fl_buf_append_byte(&buf, *c), 0);
    }
    assert_int_equal(fl_buf_append_str(&buf, "\r\n\r\n"), 0);
    memcpy(text, buf.data, buf.len);
    int result = proxy_h1_parse_request(&parser, fl_span_make(text, buf.len), &limits, &message, &size);
    fl_buf_done(&buf);
    assert_int_equal(result, PROXY_H1_DONE);
    return &message;
}

#define HEAD "GET / HTTP/1.0\r\nHost: a\r\n"

static void test_places(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        enum proxy_jwt_failure found;
        const char *token;
    } rows[] = {
        {HEAD "authorization: Bearer tok", PROXY_JWT_GOOD, "tok"},
        {HEAD "Authorization: bearer   tok", PROXY_JWT_GOOD, "tok"},
        {HEAD "authorization: Basic tok", PROXY_JWT_MISSING, ""},
        {HEAD "authorization: Bearer", PROXY_JWT_MISSING, ""},
        {HEAD "authorization: Bearertok", PROXY_JWT_MISSING, ""},
        {HEAD "authorization: tok", PROXY_JWT_MISSING, ""},
        {HEAD "x: y", PROXY_JWT_MISSING, ""},
        {HEAD "authorization: Bearer a\r\nauthorization: Bearer b", PROXY_JWT_SEVERAL, ""},
        {HEAD "authorization: Bearer a\r\nauthorization: Bearer a", PROXY_JWT_GOOD, "a"},
        {HEAD "authorization: Bearer a\r\nauthorization: Basic b", PROXY_JWT_GOOD, "a"},
        {"GET /?access_token=q&b=c HTTP/1.0\r\nHost: a", PROXY_JWT_GOOD, "q"},
        {"GET /?b&access_token=q HTTP/1.0\r\nHost: a", PROXY_JWT_GOOD, "q"},
        {"GET /?access_tokens=q HTTP/1.0\r\nHost: a", PROXY_JWT_MISSING, ""},
        {"GET /?access_token=q HTTP/1.0\r\nHost: a\r\nauthorization: Bearer a", PROXY_JWT_SEVERAL, ""},
        {"GET /?access_token=q&access_token=r HTTP/1.0\r\nHost: a", PROXY_JWT_SEVERAL, ""},
    };
    struct proxy_jwt_provider by = provider();
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_span token = {"", 0};
        expect(rows[i].head, (int)proxy_jwt_find(&by, request(rows[i].head, ""), &token), (int)rows[i].found);
        if (!fl_span_eq_str(token, rows[i].token))
            fail_msg("%s: %.*s", rows[i].head, FL_SPAN_ARG(token));
    }
}

/* What each requirement says to: no token; a good one of mine; of the other provider; expired; of nobody. */
static void test_requirements(void **state)
{
    (void)state;
    struct proxy_jwt_provider both[2] = {provider(), provider()};
    both[1].id = 2;
    both[1].issuer = FL_SPAN("you");
    both[1].keys = their_keys;
    const struct proxy_jwt_requirement mine = {.kind = PROXY_JWT_PROVIDER, .provider = &both[0]};
    const struct proxy_jwt_requirement yours = {.kind = PROXY_JWT_PROVIDER, .provider = &both[1]};
    const struct proxy_jwt_requirement missing = {.kind = PROXY_JWT_ALLOW_MISSING};
    const struct proxy_jwt_requirement failed = {.kind = PROXY_JWT_ALLOW_MISSING_OR_FAILED};
    const struct proxy_jwt_requirement for_other = {
        .kind = PROXY_JWT_PROVIDER, .provider = &both[0], .audiences = other, .audience_count = 1};
    const struct proxy_jwt_requirement either[] = {mine, yours}, or_none[] = {mine, missing},
                                       whatever[] = {mine, failed};
    const struct proxy_jwt_requirement any_either = {.kind = PROXY_JWT_ANY, .list = either, .count = 2};
    const struct proxy_jwt_requirement any_none = {.kind = PROXY_JWT_ANY, .list = or_none, .count = 2};
    const struct proxy_jwt_requirement any_whatever = {.kind = PROXY_JWT_ANY, .list = whatever, .count = 2};
    const struct proxy_jwt_requirement all_either = {.kind = PROXY_JWT_ALL, .list = either, .count = 2};
    const struct proxy_jwt_requirement only_missing = {.kind = PROXY_JWT_ANY, .list = &missing, .count = 1};
    const struct proxy_jwt_requirement nothing = {.kind = PROXY_JWT_NOTHING};
#define G PROXY_JWT_GOOD
    const struct {
        const char *what;
        const struct proxy_jwt_requirement *requirement;
        enum proxy_jwt_failure none, of_mine, of_yours, expired, of_nobody;
    } rows[] = {
        {"nothing", &nothing, G, G, G, G, G},
        {"mine", &mine, PROXY_JWT_MISSING, G, PROXY_JWT_ISSUER, PROXY_JWT_EXPIRED, PROXY_JWT_SIGNATURE},
        {"any", &any_either, PROXY_JWT_MISSING, G, G, PROXY_JWT_EXPIRED, PROXY_JWT_SIGNATURE},
        {"mine or none", &any_none, G, G, PROXY_JWT_ISSUER, PROXY_JWT_EXPIRED, PROXY_JWT_SIGNATURE},
        {"mine or whatever", &any_whatever, G, G, G, G, G},
        {"all", &all_either, PROXY_JWT_MISSING, PROXY_JWT_ISSUER, PROXY_JWT_ISSUER, PROXY_JWT_EXPIRED,
         PROXY_JWT_SIGNATURE},
        {"allow_missing", &missing, G, G, G, PROXY_JWT_EXPIRED, PROXY_JWT_SIGNATURE},
        {"any of allow_missing", &only_missing, G, G, G, PROXY_JWT_EXPIRED, PROXY_JWT_SIGNATURE},
        {"allow_missing_or_failed", &failed, G, G, G, G, G},
        {"for an audience", &for_other, PROXY_JWT_MISSING, PROXY_JWT_AUDIENCE, PROXY_JWT_ISSUER, PROXY_JWT_EXPIRED,
         PROXY_JWT_SIGNATURE},
    };
    char *tokens[] = {NULL, jwt_sign(ours.ec, ES, OK), jwt_sign(theirs.rsa, RS, "{\"iss\":\"you\"}"),
                      jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"exp\":1}"), jwt_sign(theirs.ec, ES, OK)};
    struct proxy_jwt_cache cache;
    proxy_jwt_cache_init(&cache);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const enum proxy_jwt_failure expected[] = {rows[i].none, rows[i].of_mine, rows[i].of_yours, rows[i].expired,
                                                   rows[i].of_nobody};
        for (size_t k = 0; k < FL_COUNT(tokens); k++) {
            const char *head = tokens[k] != NULL ? HEAD "authorization: Bearer @" : HEAD "x: y";
            for (int again = 0; again < 2; again++) { /* the second time from the cache */
                struct proxy_jwt_case one = {.providers = both,
                                             .provider_count = 2,
                                             .request = request(head, tokens[k]),
                                             .now_s = NOW,
                                             .cache = &cache};
                expect(rows[i].what, (int)proxy_jwt_judge(rows[i].requirement, &one), (int)expected[k]);
                assert_true(one.good_count <= (k == 1 || k == 2));
                proxy_jwt_case_done(&one);
            }
        }
    }
    assert_true(cache.hits > 0 && cache.map.count == 2);
    proxy_jwt_cache_done(&cache);
    for (size_t k = 0; k < FL_COUNT(tokens); k++)
        free(tokens[k]);
}

/* --- cache ------------------------------------------------------------------------------------------------------- */

static void test_the_cache_is_bounded(void **state)
{
    (void)state;
    struct proxy_jwt_cache cache;
    proxy_jwt_cache_init(&cache);
    struct proxy_payload *payload = proxy_payload_new(fl_json_new_object(), NOW);
    static char token[8192];
    memset(token, 'a', sizeof(token));
    for (int i = 0; i < 1000; i++) {
        int size = i < 500 ? 100 : 8000;
        token[snprintf(token, sizeof(token), "%d", i)] = 'a';
        proxy_jwt_cache_put(&cache, 7, fl_span_make(token, (size_t)size), payload);
        assert_true(cache.map.count <= PROXY_JWT_CACHE_ENTRIES && cache.bytes <= PROXY_JWT_CACHE_BYTES);
    }
    struct fl_span last = fl_span_make(token, 8000);
    struct proxy_payload *found = proxy_jwt_cache_get(&cache, 7, last, NOW);
    assert_ptr_equal(found, payload);
    proxy_payload_unref(found);
    assert_null(proxy_jwt_cache_get(&cache, 8, last, NOW)); /* another provider's */
    assert_null(proxy_jwt_cache_get(&cache, 7, fl_span_make(token, 7999), NOW));
    assert_null(proxy_jwt_cache_get(&cache, 7, last, NOW + 1)); /* expired, and gone with that */
    assert_null(proxy_jwt_cache_get(&cache, 7, last, NOW));
    proxy_jwt_cache_put(NULL, 7, last, payload);
    assert_null(proxy_jwt_cache_get(NULL, 7, last, NOW));
    proxy_jwt_cache_done(&cache);
    assert_int_equal(payload->references, 1);
    proxy_payload_unref(payload);
}

static void test_words_become_a_list(void **state)
{
    (void)state;
    static const struct fl_span names[] = {FL_SPAN("scope"), FL_SPAN("gone"), FL_SPAN("n")};
    struct proxy_jwt_provider by = provider();
    by.space_delimited = names;
    by.space_delimited_count = FL_COUNT(names);
    char *token = jwt_sign(ours.ec, ES, "{\"iss\":\"me\",\"scope\":\"read  write\",\"n\":1}");
    struct proxy_payload *payload = NULL;
    assert_int_equal(proxy_jwt_verify(&by, NULL, 0, fl_span_str(token), NOW, &payload), 0);
    const struct fl_json *scope = fl_json_get(payload->root, "scope");
    assert_int_equal(fl_json_count(scope), 2);
    assert_true(fl_span_eq_str(fl_json_string(fl_json_at(scope, 1)), "write"));
    assert_int_equal(payload->expires_s, INT64_MAX);
    proxy_payload_unref(payload);
    free(token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_tokens),
        cmocka_unit_test(test_forged_tokens),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_broken_tokens),
        cmocka_unit_test(test_bad_key_sets),
        cmocka_unit_test(test_which_keys_count),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_requirements),
        cmocka_unit_test(test_the_cache_is_bounded),
        cmocka_unit_test(test_words_become_a_list),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
