/* cni/repair/claim: what an environment claims, in pieces of any size. */
#include "cni/repair/claim.h"

#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SPEC                                                                                                           \
    "{\"version\":1,\"uid\":1337,\"gid\":1338,\"inbound\":{\"port\":15006,\"includePorts\":[\"*\"],"                   \
    "\"excludePorts\":[]},\"outbound\":{\"port\":15001,\"includeCIDRs\":[\"*\"],\"excludeCIDRs\":[],"                  \
    "\"includePorts\":[],\"excludePorts\":[]}}"
#define CAPTURE  "FAIRLEAD_CAPTURE=" SPEC "\0"
#define SPACE    "POD_NAMESPACE=demo\0"
#define POD      "POD_NAME=web-0.x\0"
#define UID      "POD_UID=0b5c1c9e-1111-4222-8333-444455556666\0"
#define IPS      "POD_IPS=10.0.0.7,fd00::7\0"
#define COMPLETE SPACE POD UID IPS

static int feed(struct fl_span bytes, size_t piece, struct cni_claim *claim, struct fl_err *err)
{
    FL_CLEANUP(cni_claim_reader_done) struct cni_claim_reader reader;
    int result = 0;
    cni_claim_reader_init(&reader);
    for (size_t at = 0; at < bytes.len && result == 0; at += piece) {
        size_t len = bytes.len - at < piece ? bytes.len - at : piece;
        result = cni_claim_feed(&reader, fl_span_make(bytes.data + at, len));
    }
    return result < 0 ? result : cni_claim_finish(&reader, claim, err);
}

static void assert_claims(struct fl_span bytes)
{
    for (size_t piece = 1; piece <= bytes.len; piece = piece < 40 ? piece + 1 : piece * 3) {
        struct cni_claim claim = {0};
        struct fl_err err = {0};
        int result = feed(bytes, piece, &claim, &err);
        if (result != 0)
            fail_msg("%d: %s", result, err.text);
        assert_string_equal(claim.pod_namespace, "demo");
        assert_string_equal(claim.pod, "web-0.x");
        assert_string_equal(claim.pod_uid, "0b5c1c9e-1111-4222-8333-444455556666");
        assert_int_equal(claim.address_count, 2);
        assert_int_equal(claim.addresses[1].prefix, 128);
        assert_int_equal(claim.uid, 1337);
        assert_int_equal(claim.gid, 1338);
        assert_true(fl_span_eq(fl_span_make(claim.capture, claim.capture_len), FL_SPAN(SPEC)));
        cni_claim_done(&claim);
    }
}

static void test_what_is_claimed(void **state)
{
    (void)state;
    assert_claims(FL_SPAN(CAPTURE COMPLETE));
    assert_claims(FL_SPAN(COMPLETE CAPTURE));
    assert_claims(FL_SPAN("PATH=/bin\0\0=\0A\0" COMPLETE "FAIRLEAD_CAPTURED=x\0XPOD_UID=y\0" CAPTURE "B=c\0"));
    assert_claims(FL_SPAN(COMPLETE CAPTURE "POD_UID=second\0FAIRLEAD_CAPTURE=\0")); /* the first counts */
    assert_claims(FL_SPAN(COMPLETE "FAIRLEAD_CAPTURE=" SPEC));                      /* not ended */
}

static void test_what_claims_nothing(void **state)
{
    (void)state;
    const struct fl_span none[] = {FL_SPAN(""), FL_SPAN(COMPLETE), FL_SPAN("FAIRLEAD_CAPTURE\0" COMPLETE),
                                   FL_SPAN("\0\0\0"), FL_SPAN("fairlead_capture=" SPEC)};
    for (size_t i = 0; i < FL_COUNT(none); i++) {
        struct cni_claim claim = {0};
        struct fl_err err = {0};
        assert_int_equal(feed(none[i], 7, &claim, &err), CNI_CLAIM_NONE);
        assert_null(claim.capture);
    }
}

static void test_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        struct fl_span bytes;
        const char *what;
    } rows[] = {
        {FL_SPAN(COMPLETE "FAIRLEAD_CAPTURE=\0"), "FAIRLEAD_CAPTURE"},
        {FL_SPAN(COMPLETE "FAIRLEAD_CAPTURE={\"version\":3}\0"), "FAIRLEAD_CAPTURE"},
        {FL_SPAN(CAPTURE POD UID IPS), "POD_NAMESPACE is missing"},
        {FL_SPAN(CAPTURE SPACE UID IPS), "POD_NAME is missing"},
        {FL_SPAN(CAPTURE SPACE POD IPS), "POD_UID is missing"},
        {FL_SPAN(CAPTURE SPACE POD UID), "POD_IPS is missing"},
        {FL_SPAN(CAPTURE "POD_NAMESPACE=\0" POD UID IPS), "POD_NAMESPACE is no name"},
        {FL_SPAN(CAPTURE "POD_NAMESPACE=a.b\0" POD UID IPS), "POD_NAMESPACE is no name"},
        {FL_SPAN(CAPTURE "POD_NAMESPACE=a\nb\0" POD UID IPS), "POD_NAMESPACE is no name"},
        {FL_SPAN(CAPTURE SPACE "POD_NAME=\xff\0" UID IPS), "POD_NAME is no name"},
        {FL_SPAN(CAPTURE SPACE POD "POD_UID=../x\0" IPS), "POD_UID is no name"},
        {FL_SPAN(CAPTURE SPACE POD UID "POD_IPS=\0"), "POD_IPS is empty"},
        {FL_SPAN(CAPTURE SPACE POD UID "POD_IPS=10.0.0.1,\0"), "POD_IPS ends"},
        {FL_SPAN(CAPTURE SPACE POD UID "POD_IPS=,10.0.0.1\0"), "POD_IPS holds"},
        {FL_SPAN(CAPTURE SPACE POD UID "POD_IPS=10.0.0.0/8\0"), "POD_IPS holds"},
        {FL_SPAN(CAPTURE SPACE POD UID "POD_IPS=127.0.0.1\0"), "POD_IPS holds"},
        {FL_SPAN(CAPTURE SPACE POD UID "POD_IPS=::6\0"), "POD_IPS holds"},
        {FL_SPAN(CAPTURE SPACE POD UID "POD_IPS=::ffff:127.0.0.1\0"), "POD_IPS holds"},
        {FL_SPAN(CAPTURE SPACE POD UID "POD_IPS=fe80::1\0"), "POD_IPS holds"},
        {FL_SPAN(CAPTURE SPACE POD UID "POD_IPS=0.0.0.0\0"), "POD_IPS holds"},
        {FL_SPAN(CAPTURE SPACE POD UID
                 "POD_IPS=1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,1.1.1.7,1.1.1.8,1.1.1.9,"
                 "1.1.2.1,1.1.2.2,1.1.2.3,1.1.2.4,1.1.2.5,1.1.2.6,1.1.2.7,1.1.2.8\0"),
         "too many"},
        {FL_SPAN(CAPTURE
                 "POD_NAMESPACE=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0" POD UID IPS),
         "POD_NAMESPACE is too long"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct cni_claim claim = {0};
        struct fl_err err = {0};
        int result = feed(rows[i].bytes, 64, &claim, &err);
        if (result != CNI_CLAIM_WRONG || strstr(err.text, rows[i].what) == NULL)
            fail_msg("row %zu: %d, %s", i, result, err.text);
        assert_null(claim.capture);
    }
}

static void test_how_much_is_read(void **state)
{
    (void)state;
    static char large[CNI_CLAIM_ENVIRON_MAX];
    struct cni_claim_reader reader;
    memset(large, 'x', sizeof(large));
    cni_claim_reader_init(&reader);
    assert_int_equal(cni_claim_feed(&reader, fl_span_make(large, sizeof(large))), 0);
    assert_int_equal(cni_claim_feed(&reader, FL_SPAN("x")), -EMSGSIZE);
    cni_claim_reader_done(&reader);

    /* a value that is too long is not kept */
    struct cni_claim claim = {0};
    struct fl_err err = {0};
    cni_claim_reader_init(&reader);
    assert_int_equal(cni_claim_feed(&reader, FL_SPAN(COMPLETE "FAIRLEAD_CAPTURE=")), 0);
    assert_int_equal(cni_claim_feed(&reader, fl_span_make(large, sizeof(large) / 2)), 0);
    assert_true(reader.values[0].len <= CNI_CLAIM_CAPTURE_MAX);
    assert_int_equal(cni_claim_finish(&reader, &claim, &err), CNI_CLAIM_WRONG);
    assert_non_null(strstr(err.text, "too long"));
    cni_claim_reader_done(&reader);
}

static void test_an_excerpt_claims_the_same(void **state)
{
    (void)state;
    FL_CLEANUP(fl_buf_done) struct fl_buf excerpt;
    FL_CLEANUP(cni_claim_reader_done) struct cni_claim_reader reader;
    fl_buf_init(&excerpt, CNI_CLAIM_EXCERPT_MAX);
    cni_claim_reader_init(&reader);
    assert_int_equal(cni_claim_feed(&reader, FL_SPAN("A=b\0" COMPLETE CAPTURE)), CNI_CLAIM_COMPLETE);
    assert_int_equal(cni_claim_excerpt(&reader, &excerpt), 0);
    assert_claims(fl_buf_span(&excerpt));
}

static void test_memory_is_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct cni_claim claim = {0};
        struct fl_err err = {0};
        int result = feed(FL_SPAN(CAPTURE COMPLETE), 50, &claim, &err);
        fail_stop();
        if (fail_happened())
            assert_true(result == -ENOMEM || result == CNI_CLAIM_WRONG); /* JSON's own words for it */
        else
            assert_int_equal(result, 0);
        cni_claim_done(&claim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_claimed),
        cmocka_unit_test(test_what_claims_nothing),
        cmocka_unit_test(test_what_is_wrong),
        cmocka_unit_test(test_how_much_is_read),
        cmocka_unit_test(test_an_excerpt_claims_the_same),
        cmocka_unit_test(test_memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
