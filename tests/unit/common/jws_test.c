/* Tokens: their form, their signature, the claims that all have. Keys and signatures are made by the test. What a
 * hostile header may say is tried in tests/unit/proxy/policy_jwt_test.c, which stands on this. */
#include "common/jose/jws.h"

#include "tests/support/fail.h"
#include "tests/support/guard.h"
#include "tests/unit/common/jwt_maker.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define NOW 1700000000
#define RS  "{\"alg\":\"RS256\",\"kid\":\"rsa\"}"
#define ES  "{\"alg\":\"ES256\",\"kid\":\"ec\"}"

static struct jwt_maker ours, theirs;
static struct fl_jwks *keys;

static int set_up(void **state)
{
    (void)state;
    jwt_maker_init(&ours);
    jwt_maker_init(&theirs);
    char *text = jwt_maker_jwks(&ours);
    assert_int_equal(fl_jwks_parse(fl_span_str(text), &keys, NULL), 0);
    free(text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    keys = fl_jwks_free(keys);
    jwt_maker_done(&ours);
    jwt_maker_done(&theirs);
    return 0;
}

/* Parses and verifies; frees the token. */
static int judge(char *token)
{
    struct fl_jws jws = {0};
    struct guard guard;
    guard_init(&guard, fl_span_str(token));
    int result = fl_jws_parse(guard.span, &jws);
    if (result == 0)
        result = fl_jws_verify(&jws, keys);
    fl_jws_done(&jws);
    guard_done(&guard);
    free(token);
    return result;
}

static void signatures(void **state)
{
    (void)state;
    assert_int_equal(judge(jwt_sign(ours.rsa, RS, "{}")), FL_JWS_GOOD);
    assert_int_equal(judge(jwt_sign(ours.ec, ES, "{}")), FL_JWS_GOOD);
    assert_int_equal(judge(jwt_sign(ours.ec, "{\"alg\":\"ES256\"}", "{}")), FL_JWS_GOOD);
    assert_int_equal(judge(jwt_sign(theirs.rsa, RS, "{}")), FL_JWS_SIGNATURE);
    assert_int_equal(judge(jwt_sign(theirs.ec, ES, "{}")), FL_JWS_SIGNATURE);
    assert_int_equal(judge(jwt_sign(ours.ec, "{\"alg\":\"ES256\",\"kid\":\"rsa\"}", "{}")), FL_JWS_KEY);
    assert_int_equal(judge(jwt_join("{\"alg\":\"none\"}", "{}", "AA")), FL_JWS_ALGORITHM);
    assert_int_equal(judge(jwt_sign(ours.ec, "{\"alg\":\"ES256\",\"crit\":[]}", "{}")), FL_JWS_CRITICAL);
    assert_int_equal(judge(jwt_join("[]", "{}", "AA")), FL_JWS_HEADER);
    assert_int_equal(judge(jwt_join(ES, "[]", "AA")), FL_JWS_PAYLOAD);
}

static void forms(void **state)
{
    (void)state;
    static const char *const texts[] = {"", ".", "..", "a.b", "a.b.c.d", "a..c", "a.b.", "a=.b.c", "a b.b.c"};
    struct fl_jws jws;
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        int result = fl_jws_parse(fl_span_str(texts[i]), &jws);
        assert_true(result == FL_JWS_FORM || result == FL_JWS_HEADER);
    }
    char *huge = calloc(1, FL_JWS_BYTES_MAX + 2);
    memset(huge, 'a', FL_JWS_BYTES_MAX + 1);
    assert_int_equal(fl_jws_parse(fl_span_str(huge), &jws), FL_JWS_SIZE);
    free(huge);
}

static struct fl_json *parse(const char *text)
{
    static const struct fl_json_limits limits = {.bytes_max = 8192, .depth_max = 8};
    struct fl_json *root;
    assert_int_equal(fl_json_parse(fl_span_str(text), &limits, &root, NULL), 0);
    return root;
}

static int times(const char *text, struct fl_jws_times *ret_times)
{
    struct fl_json *root = parse(text);
    int result = fl_jws_check_times(root, NOW, 60, ret_times);
    fl_json_free(root);
    return result;
}

static void times_are_held(void **state)
{
    (void)state;
    struct fl_jws_times found;
    assert_int_equal(times("{}", &found), FL_JWS_GOOD);
    assert_true(isinf(found.expires) && found.issued >= NOW && found.issued <= NOW);
    assert_int_equal(times("{\"exp\":1700000100,\"iat\":1699999000.5,\"nbf\":1699999000}", &found), FL_JWS_GOOD);
    assert_true(found.expires > 1700000099 && found.issued < 1699999001);
    assert_int_equal(times("{\"exp\":1699999940}", &found), FL_JWS_GOOD);
    assert_int_equal(times("{\"exp\":1699999939}", &found), FL_JWS_EXPIRED);
    assert_int_equal(times("{\"nbf\":1700000060}", &found), FL_JWS_GOOD);
    assert_int_equal(times("{\"nbf\":1700000061}", &found), FL_JWS_NOT_YET);
    assert_int_equal(times("{\"exp\":\"1800000000\"}", &found), FL_JWS_PAYLOAD);
    assert_int_equal(times("{\"nbf\":null}", &found), FL_JWS_PAYLOAD);
    assert_int_equal(times("{\"iat\":[]}", &found), FL_JWS_PAYLOAD);
}

static bool has(const char *text)
{
    static const struct fl_span wanted[] = {FL_SPAN("a"), FL_SPAN("https://b/")};
    struct fl_json *root = parse(text);
    bool result = fl_jws_has_audience(root, wanted, FL_COUNT(wanted));
    fl_json_free(root);
    return result;
}

static void audiences(void **state)
{
    (void)state;
    assert_true(has("{\"aud\":\"a\"}"));
    assert_true(has("{\"aud\":[\"x\",\"https://b/\"]}"));
    assert_false(has("{}"));
    assert_false(has("{\"aud\":\"A\"}"));
    assert_false(has("{\"aud\":[]}"));
    assert_false(has("{\"aud\":[[\"a\"],{\"a\":\"a\"},1,null,\"ab\"]}"));
    assert_false(has("{\"aud\":{\"a\":\"a\"}}"));
    assert_false(has("{\"AUD\":\"a\"}"));
}

static void allocations_may_fail(void **state)
{
    (void)state;
    char *token = jwt_sign(ours.ec, ES, "{\"a\":\"b\"}");
    FAIL_EACH_ALLOCATION
    {
        struct fl_jws jws = {0};
        int result = fl_jws_parse(fl_span_str(token), &jws);
        if (result == 0)
            result = fl_jws_verify(&jws, keys);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_jws_done(&jws);
    }
    free(token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures),           cmocka_unit_test(forms),
        cmocka_unit_test(times_are_held),       cmocka_unit_test(audiences),
        cmocka_unit_test(allocations_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
