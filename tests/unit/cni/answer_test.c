/* cni/agent/answer: what the API server, or who stands in its place, may say. */
#include "cni/agent/answer.h"

#include "tests/support/guard.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HEAD "HTTP/1.1 201 Created\r\n"

static const struct {
    const char *what, *text;
    enum cni_answer_outcome outcome;
    unsigned status, retry_after_s;
    bool reusable;
    const char *body;
} rows[] = {
    {"plain", HEAD "Content-Length: 2\r\n\r\n{}", CNI_ANSWER_COMPLETE, 201, 0, true, "{}"},
    {"names in any case", HEAD "content-LENGTH:2\r\n\r\n{}", CNI_ANSWER_COMPLETE, 201, 0, true, "{}"},
    {"the same length twice", HEAD "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", CNI_ANSWER_COMPLETE, 201, 0,
     true, "{}"},
    {"no reason phrase", "HTTP/1.1 201\r\nContent-Length: 0\r\n\r\n", CNI_ANSWER_COMPLETE, 201, 0, true, ""},
    {"no content", "HTTP/1.1 204 No Content\r\n\r\n", CNI_ANSWER_COMPLETE, 204, 0, true, ""},
    {"it closes", HEAD "Connection: close\r\nContent-Length: 0\r\n\r\n", CNI_ANSWER_COMPLETE, 201, 0, false, ""},
    {"HTTP/1.0 closes", "HTTP/1.0 201 Created\r\nContent-Length: 0\r\n\r\n", CNI_ANSWER_COMPLETE, 201, 0, false, ""},
    {"more than it said", HEAD "Content-Length: 0\r\n\r\nHTTP/1.1 500 x\r\n\r\n", CNI_ANSWER_COMPLETE, 201, 0, false,
     ""},
    {"continue in front", "HTTP/1.1 100 Continue\r\n\r\n" HEAD "Content-Length: 0\r\n\r\n", CNI_ANSWER_COMPLETE, 201, 0,
     true, ""},
    {"too many requests", "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
     CNI_ANSWER_COMPLETE, 429, 7, true, ""},
    {"for ever", "HTTP/1.1 503 x\r\nRetry-After: 18446744073709551615\r\nContent-Length: 0\r\n\r\n",
     CNI_ANSWER_COMPLETE, 503, 300, true, ""},
    {"a date", "HTTP/1.1 503 x\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n",
     CNI_ANSWER_COMPLETE, 503, 0, true, ""},
    {"half a body", HEAD "Content-Length: 10\r\n\r\n{}", CNI_ANSWER_HEAD, 201, 0, false, "{}"},
    {"a length past everything", HEAD "Content-Length: 9223372036854775807\r\n\r\n{}", CNI_ANSWER_HEAD, 201, 0, false,
     "{}"},
    {"until it closes", HEAD "\r\n{}", CNI_ANSWER_HEAD, 201, 0, false, "{}"},
    {"chunked", HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", CNI_ANSWER_HEAD, 201, 0, false,
     "2\r\n{}\r\n0\r\n\r\n"},
    {"nothing yet", "", CNI_ANSWER_PARTIAL, 0, 0, false, NULL},
    {"half a head", HEAD "Content-Length: 2\r\n", CNI_ANSWER_PARTIAL, 0, 0, false, NULL},
    {"continue alone", "HTTP/1.1 100 Continue\r\n\r\n", CNI_ANSWER_PARTIAL, 0, 0, false, NULL},
    {"not HTTP", "SSH-2.0-OpenSSH_9.2\r\n", CNI_ANSWER_BAD, 0, 0, false, NULL},
    {"not HTTP, and no line", "\x15\x03\x01", CNI_ANSWER_BAD, 0, 0, false, NULL},
    {"HTTP/2", "HTTP/2 201\r\n\r\n", CNI_ANSWER_BAD, 0, 0, false, NULL},
    {"switching protocols", "HTTP/1.1 101 x\r\n\r\n", CNI_ANSWER_BAD, 0, 0, false, NULL},
    {"a status of two digits", "HTTP/1.1 20 x\r\n\r\n", CNI_ANSWER_BAD, 0, 0, false, NULL},
    {"a status past all", "HTTP/1.1 600 x\r\n\r\n", CNI_ANSWER_BAD, 0, 0, false, NULL},
    {"two lengths", HEAD "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", CNI_ANSWER_BAD, 0, 0, false, NULL},
    {"a length that is none", HEAD "Content-Length: -1\r\n\r\n", CNI_ANSWER_BAD, 0, 0, false, NULL},
    {"a length past numbers", HEAD "Content-Length: 18446744073709551616\r\n\r\n", CNI_ANSWER_BAD, 0, 0, false, NULL},
    {"both framings", HEAD "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", CNI_ANSWER_BAD, 0, 0, false,
     NULL},
    {"no colon", HEAD "hello\r\n\r\n", CNI_ANSWER_BAD, 0, 0, false, NULL},
    {"a folded line", HEAD "A: b\r\n c: d\r\n\r\n", CNI_ANSWER_BAD, 0, 0, false, NULL},
    {"no carriage return", "HTTP/1.1 201 x\n\n", CNI_ANSWER_BAD, 0, 0, false, NULL},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct cni_answer answer = {0};
        struct guard guard;
        guard_init(&guard, fl_span_str(rows[i].text));
        enum cni_answer_outcome outcome = cni_answer_parse(guard.span, &answer);
        if (outcome != rows[i].outcome)
            fail_msg("%s: %d, not %d", rows[i].what, (int)outcome, (int)rows[i].outcome);
        if (outcome == CNI_ANSWER_COMPLETE || outcome == CNI_ANSWER_HEAD) {
            assert_int_equal(answer.status, rows[i].status);
            assert_int_equal(answer.retry_after_s, rows[i].retry_after_s);
            if (answer.reusable != rows[i].reusable || !fl_span_eq_str(answer.body, rows[i].body))
                fail_msg("%s: body or whether it may go on", rows[i].what);
        }
        guard_done(&guard);
    }
}

static const struct {
    const char *what, *body, *message;
} messages[] = {
    {"a Status", "{\"kind\":\"Status\",\"message\":\"events is forbidden\",\"code\":403}", "events is forbidden"},
    {"with escapes", "{\"message\":\"a \\\"b\\\" c\"}", "a \\\"b\\\" c"},
    {"with a space", "{\"message\": \"a\"}", "a"},
    {"none", "{\"kind\":\"Status\"}", ""},
    {"a number", "{\"message\":1}", ""},
    {"cut", "{\"message\":\"abc", "abc"},
    {"cut in an escape", "{\"message\":\"abc\\", "abc\\"},
    {"cut in front", "{\"message\":", ""},
    {"nothing", "", ""},
};

static void test_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(messages); i++) {
        struct guard guard;
        guard_init(&guard, fl_span_str(messages[i].body));
        if (!fl_span_eq_str(cni_answer_message(guard.span), messages[i].message))
            fail_msg("%s", messages[i].what);
        guard_done(&guard);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
