/* What is kept of iptables-save's output, however it is cut, and that it says the same as the whole. */
#include "cni/capture/iptablessieve.h"

#include "cni/capture/iptablessave.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define OURS  ":FAIRLEAD_OUTPUT - [0:0]\n"
#define ENTRY "-A OUTPUT -m comment --comment \"c\" -j FAIRLEAD_OUTPUT\n"
#define RULE  "-A FAIRLEAD_OUTPUT -o lo -m comment --comment \"r\" -j RETURN\n"
#define WANT  "*nat\n" OURS ENTRY RULE "COMMIT\n"

static const struct {
    const char *what, *text, *kept;
    bool same; /* as WANT */
} rows[] = {
    {"nothing", "", "", false},
    {"ours alone", "# x\n" WANT, "*nat\n" OURS ENTRY RULE, true},
    {"rules of others behind, and in other chains",
     "*nat\n:OUTPUT ACCEPT [1:2]\n" OURS "-A INPUT -j ACCEPT\n" ENTRY "-A OUTPUT -j ACCEPT\n-A OUTPUT -j DROP\n" RULE
     "COMMIT\n*filter\n-A OUTPUT -j DROP\nCOMMIT\n",
     "*nat\n" OURS ENTRY RULE "*filter\n", true},
    {"the entry is not the first", "*nat\n" OURS "-A OUTPUT -j ACCEPT\n-A OUTPUT -j DROP\n" ENTRY RULE "COMMIT\n",
     "*nat\n" OURS "-A OUTPUT\n" ENTRY RULE, false},
    {"nor the second", "*nat\n" OURS ENTRY "-A OUTPUT -j ACCEPT\n" ENTRY RULE "COMMIT\n",
     "*nat\n" OURS ENTRY "-A OUTPUT\n" ENTRY RULE, false},
    {"a chain of that name in another table", "*raw\n-A OUTPUT -j DROP\nCOMMIT\n" WANT, "*raw\n*nat\n" OURS ENTRY RULE,
     true},
    {"odd lines", "\n-A \n-A\n-A x\n*\n FAIRLEAD_\n", "*\n FAIRLEAD_\n", false},
    {"a line without an end", WANT "-A OUTPUT -j FAIRLEAD_OUTPUT", "*nat\n" OURS ENTRY RULE, true},
};

static void sieve_in_pieces(struct fl_span text, size_t piece, struct fl_buf *out)
{
    struct cni_iptables_sieve sieve;
    fl_buf_init(out, 65536);
    cni_iptables_sieve_init(&sieve, out);
    for (size_t at = 0; at < text.len; at += piece) {
        size_t len = text.len - at < piece ? text.len - at : piece;
        assert_int_equal(cni_iptables_sieve_feed(&sieve, fl_span_make(text.data + at, len)), 0);
    }
    cni_iptables_sieve_done(&sieve);
}

static void test_what_is_kept(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 2, 7, 4096};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        for (size_t j = 0; j < FL_COUNT(pieces); j++) {
            FL_CLEANUP(fl_buf_done) struct fl_buf out;
            sieve_in_pieces(fl_span_str(rows[i].text), pieces[j], &out);
            if (!fl_span_eq_str(fl_buf_span(&out), rows[i].kept))
                fail_msg("%s: %s", rows[i].what, fl_buf_str(&out));
            bool kept = cni_iptables_same(fl_buf_span(&out), FL_SPAN(WANT), NULL);
            if (kept != rows[i].same)
                fail_msg("%s: same %d", rows[i].what, kept);
            if (rows[i].text[0] != '\0' && strcmp(rows[i].what, "a line without an end") != 0 &&
                kept != cni_iptables_same(fl_span_str(rows[i].text), FL_SPAN(WANT), NULL))
                fail_msg("%s: not as the whole", rows[i].what);
        }
    }
}

static void test_limits(void **state)
{
    (void)state;
    static char bytes[1u << 20];
    struct cni_iptables_sieve sieve;
    FL_CLEANUP(fl_buf_done) struct fl_buf out;
    int result = 0;
    size_t fed = 0;
    fl_buf_init(&out, 1024);
    cni_iptables_sieve_init(&sieve, &out);
    memset(bytes, '\n', sizeof(bytes));
    for (; result == 0 && fed < CNI_IPTABLES_OUTPUT_MAX; fed += sizeof(bytes))
        result = cni_iptables_sieve_feed(&sieve, fl_span_make(bytes, sizeof(bytes)));
    assert_int_equal(result, 0);
    assert_int_equal(cni_iptables_sieve_feed(&sieve, FL_SPAN("x")), -EMSGSIZE);
    cni_iptables_sieve_done(&sieve);
    cni_iptables_sieve_init(&sieve, &out);
    memset(bytes, 'x', sizeof(bytes));
    assert_int_equal(cni_iptables_sieve_feed(&sieve, fl_span_make(bytes, sizeof(bytes))), -EMSGSIZE);
    cni_iptables_sieve_done(&sieve);
}

static void test_memory(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct cni_iptables_sieve sieve;
        FL_CLEANUP(fl_buf_done) struct fl_buf out;
        fl_buf_init(&out, 1024);
        cni_iptables_sieve_init(&sieve, &out);
        int result = cni_iptables_sieve_feed(&sieve, FL_SPAN(WANT));
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        cni_iptables_sieve_done(&sieve);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_kept),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
