/* cli/cniverdict: what was found, in words and as JSON. */
#include "cli/cniverdict.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SEEN(ipv4, ipv6)                                                                                               \
    .probe = {.dials = {{.verdict = CNI_PROBE_##ipv4, .text = "four"}, {.verdict = CNI_PROBE_##ipv6, .text = "six"}}}

static const struct {
    struct cli_cni_verdict verdict;
    enum cli_cni_capture capture;
} judged[] = {
    {{.looked = true, .as_planned = true, SEEN(REDIRECTED, REDIRECTED)}, CLI_CNI_CAPTURED},
    {{.looked = true, .as_planned = true, SEEN(REDIRECTED, NOT_ASKED)}, CLI_CNI_CAPTURED},
    {{.looked = true, .as_planned = false, SEEN(REDIRECTED, REDIRECTED)}, CLI_CNI_UNCAPTURED},
    {{.looked = true, .as_planned = true, SEEN(REDIRECTED, ASTRAY)}, CLI_CNI_UNCAPTURED},
    {{.looked = true, .as_planned = true, SEEN(UNKNOWN, ASTRAY)}, CLI_CNI_UNCAPTURED},
    {{.looked = true, .as_planned = true, SEEN(UNKNOWN, UNKNOWN)}, CLI_CNI_UNKNOWN},
    {{.looked = true, .as_planned = true, SEEN(REDIRECTED, UNKNOWN)}, CLI_CNI_UNKNOWN},
    {{.looked = false, SEEN(REDIRECTED, REDIRECTED)}, CLI_CNI_UNKNOWN},
};

static void test_judging(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(judged); i++)
        if (cli_cni_judge(&judged[i].verdict) != judged[i].capture)
            fail_msg("row %zu", i);
}

static const struct cli_cni_verdict verdicts[] = {
    {.name = "shop/web-1",
     .pid = 47,
     .netns = 4026531840,
     .looked = true,
     .as_planned = true,
     SEEN(REDIRECTED, NOT_ASKED)},
    {.name = "shop/web-2",
     .pid = 48,
     .netns = 4026531841,
     .looked = true,
     .err = {.code = -EBADMSG, .text = "no \"table\""},
     SEEN(ASTRAY, ASTRAY)},
    {.name = "pid 1", .pid = 1, .err = {.code = -EPERM, .text = "the host's"}},
};

static void assert_prints(size_t from, size_t count, bool json, const char *expected)
{
    struct fl_buf out;
    fl_buf_init(&out, 1u << 16);
    assert_int_equal(cli_cni_verdicts_print(verdicts + from, count, json, &out), 0);
    assert_string_equal(fl_buf_str(&out), expected);
    fl_buf_done(&out);
}

static void test_words(void **state)
{
    (void)state;
    assert_prints(0, 3, false,
                  "POD         PID  NETNS       CAPTURED  RULES       PROBE IPV4  PROBE IPV6\n"
                  "shop/web-1  47   4026531840  yes       as planned  redirected  not asked\n"
                  "shop/web-2  48   4026531841  NO        differ      astray      astray\n"
                  "pid 1       1    -           unknown   -           -           -\n"
                  "\nshop/web-2 is NOT captured\n"
                  "  rules: no \"table\"\n"
                  "  probe of 127.0.0.6:15002: four\n"
                  "  probe of [::6]:15002: six\n"
                  "  what to do: a fairlead-agent on this node puts it right in 10 s, or logs why not; without "
                  "one, see to the node's chain (fairlead cni install), then make the pod anew\n"
                  "\npid 1 could not be looked at\n"
                  "  reason: the host's\n");
    assert_prints(0, 1, false,
                  "POD         PID  NETNS       CAPTURED  RULES       PROBE IPV4  PROBE IPV6\n"
                  "shop/web-1  47   4026531840  yes       as planned  redirected  not asked\n"
                  "\nshop/web-1\n"
                  "  probe of 127.0.0.6:15002: four\n"
                  "  probe of [::6]:15002: six\n");
}

static void test_json(void **state)
{
    (void)state;
    assert_prints(0, 3, true,
                  "{\"pods\":[{\"captured\":true,\"name\":\"shop/web-1\",\"pid\":47,\"netns\":4026531840,"
                  "\"asPlanned\":true,\"difference\":null,"
                  "\"probe\":{\"ipv4\":{\"verdict\":\"redirected\",\"answered\":false,\"text\":\"four\"},"
                  "\"ipv6\":{\"verdict\":\"not asked\",\"answered\":false,\"text\":\"six\"}}},"
                  "{\"captured\":false,\"name\":\"shop/web-2\",\"pid\":48,\"netns\":4026531841,"
                  "\"asPlanned\":false,\"difference\":\"no \\\"table\\\"\","
                  "\"probe\":{\"ipv4\":{\"verdict\":\"astray\",\"answered\":false,\"text\":\"four\"},"
                  "\"ipv6\":{\"verdict\":\"astray\",\"answered\":false,\"text\":\"six\"}}},"
                  "{\"captured\":null,\"name\":\"pid 1\",\"pid\":1,\"netns\":0,\"error\":\"the host's\"}]}\n");
}

static void test_every_failed_allocation(void **state)
{
    (void)state;
    for (unsigned json = 0; json < 2; json++) {
        FAIL_EACH_ALLOCATION
        {
            struct fl_buf out;
            fl_buf_init(&out, 1u << 16);
            int result = cli_cni_verdicts_print(verdicts, FL_COUNT(verdicts), json != 0, &out);
            fail_stop();
            assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
            fl_buf_done(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judging),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
