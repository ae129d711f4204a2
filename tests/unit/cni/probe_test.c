/* cni/capture/probe: what was seen, judged; cni/capture/flow: connection tracking's messages, also where they are cut
 * short. */
#include "cni/capture/flow.h"
#include "cni/capture/probe.h"

#include "cni/capture/attribute.h"
#include "tests/support/guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- judging --- */

#define SIGHT(...)                                                                                                     \
    {                                                                                                                  \
        .asked = true, .wanted = true, __VA_ARGS__                                                                     \
    }

static const struct {
    const char *name;
    enum cni_probe_family family;
    struct cni_probe_sight sight;
    enum cni_probe_verdict verdict;
    bool answered;
    const char *text;
} cases[] = {
    {"captured, and the proxy listens", CNI_PROBE_IPV4, SIGHT(.hearing = true, .tracked = true, .from_port = 15001),
     CNI_PROBE_REDIRECTED, true, "redirected to port 15001, which answered"},
    {"captured, nobody listens", CNI_PROBE_IPV4,
     SIGHT(.hearing = true, .tracked = true, .from_port = 15001, .dial = ECONNREFUSED), CNI_PROBE_REDIRECTED, false,
     "redirected to port 15001: nobody listens there now"},
    {"captured, and a rule of somebody else drops the answer", CNI_PROBE_IPV4,
     SIGHT(.hearing = true, .tracked = true, .from_port = 15001, .dial = ETIMEDOUT), CNI_PROBE_REDIRECTED, false,
     "redirected to port 15001: Connection timed out"},
    {"tracked, but as it was sent", CNI_PROBE_IPV4,
     SIGHT(.hearing = true, .tracked = true, .from_port = 15002, .dial = ECONNREFUSED), CNI_PROBE_ASTRAY, false,
     "no rule redirected it"},
    {"redirected by another mesh", CNI_PROBE_IPV4, SIGHT(.hearing = true, .tracked = true, .from_port = 4140),
     CNI_PROBE_ASTRAY, true, "redirected to port 4140"},
    {"no rules at all: nothing is tracked", CNI_PROBE_IPV4, SIGHT(.hearing = true, .dial = ECONNREFUSED),
     CNI_PROBE_ASTRAY, false, "no rule redirected it"},
    {"no rules, and somebody answers on the reserved port", CNI_PROBE_IPV4, SIGHT(.hearing = true, .occupied = true),
     CNI_PROBE_ASTRAY, true, "no rule redirected it"},
    {"::6 is missing", CNI_PROBE_IPV6,
     SIGHT(.hearing = true, .address_missing = true, .occupied = true, .dial = ENETUNREACH), CNI_PROBE_ASTRAY, false,
     "::6 is on no interface here: Network is unreachable"},
    {"::6 is missing, and nobody tells", CNI_PROBE_IPV6,
     SIGHT(.address_missing = true, .occupied = true, .dial = ENETUNREACH), CNI_PROBE_ASTRAY, false,
     "::6 is on no interface here: Network is unreachable"},
    {"lo is down", CNI_PROBE_IPV4,
     SIGHT(.hearing = true, .address_missing = true, .occupied = true, .dial = ENETUNREACH), CNI_PROBE_ASTRAY, false,
     "127.0.0.6 is on no interface here: Network is unreachable"},
    {"dropped before it left", CNI_PROBE_IPV4, SIGHT(.hearing = true, .dial = EPERM), CNI_PROBE_ASTRAY, false,
     "the dial failed: Operation not permitted"},
    {"nobody tells, somebody answers", CNI_PROBE_IPV4, SIGHT(.dial = 0), CNI_PROBE_REDIRECTED, true,
     "redirected: it was answered, though nobody listens on port 15002"},
    {"nobody tells, and the answer may be the reserved port's own", CNI_PROBE_IPV4, SIGHT(.occupied = true),
     CNI_PROBE_UNKNOWN, true, "somebody listens on port 15002 itself, and this kernel does not tell where a dial goes"},
    {"nobody tells, nobody answers", CNI_PROBE_IPV4, SIGHT(.dial = ECONNREFUSED), CNI_PROBE_UNKNOWN, false,
     "nobody answered (Connection refused), and this kernel does not tell where a dial goes"},
    {"the spec leaves IPv6 alone",
     CNI_PROBE_IPV6,
     {.hearing = true},
     CNI_PROBE_NOT_ASKED,
     false,
     "IPv6 is not captured"},
    {"no IPv6",
     CNI_PROBE_IPV6,
     {.wanted = true, .hearing = true},
     CNI_PROBE_NOT_ASKED,
     false,
     "this network namespace has no IPv6"},
};

static void test_judging(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        struct cni_probe_dial dial;
        cni_probe_judge(&cases[i].sight, cases[i].family, 15001, &dial);
        if (dial.verdict != cases[i].verdict || dial.answered != cases[i].answered ||
            strcmp(dial.text, cases[i].text) != 0)
            fail_msg("%s: %s, %s", cases[i].name, cni_probe_verdict_name(dial.verdict), dial.text);
    }
}

static void test_passing(void **state)
{
    (void)state;
    for (unsigned ipv4 = 0; ipv4 < 4; ipv4++) {
        for (unsigned ipv6 = 0; ipv6 < 4; ipv6++) {
            const struct cni_probe probe = {
                .dials = {{.verdict = (enum cni_probe_verdict)ipv4}, {.verdict = (enum cni_probe_verdict)ipv6}}};
            bool fine = ipv4 <= CNI_PROBE_NOT_ASKED && ipv6 <= CNI_PROBE_NOT_ASKED;
            assert_int_equal(cni_probe_passed(&probe), fine);
        }
    }
    assert_string_equal(cni_probe_verdict_name((enum cni_probe_verdict)99), "?");
}

/* --- connection tracking's messages --- */

struct sample {
    _Alignas(struct nlmsghdr) char bytes[512];
    struct nlmsghdr *header;
};

static void put_way(struct sample *sample, uint16_t type, bool ipv4, const void *source, const void *destination,
                    uint16_t source_port, uint16_t destination_port)
{
    size_t size = ipv4 ? 4 : 16;
    struct nlattr *way = mnl_attr_nest_start(sample->header, type);
    struct nlattr *part = mnl_attr_nest_start(sample->header, CTA_TUPLE_IP);
    mnl_attr_put(sample->header, ipv4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, size, source);
    mnl_attr_put(sample->header, ipv4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, size, destination);
    mnl_attr_nest_end(sample->header, part);
    part = mnl_attr_nest_start(sample->header, CTA_TUPLE_PROTO);
    mnl_attr_put_u8(sample->header, CTA_PROTO_NUM, IPPROTO_TCP);
    mnl_attr_put_u16(sample->header, CTA_PROTO_SRC_PORT, htons(source_port));
    mnl_attr_put_u16(sample->header, CTA_PROTO_DST_PORT, htons(destination_port));
    mnl_attr_nest_end(sample->header, part);
    mnl_attr_nest_end(sample->header, way);
}

static void make_sample(struct sample *sample, uint8_t family)
{
    bool ipv4 = family == AF_INET;
    const uint8_t a[16] = {127, 0, 0, 1}, b[16] = {127, 0, 0, 6};
    memset(sample->bytes, 0, sizeof(sample->bytes));
    sample->header = mnl_nlmsg_put_header(sample->bytes);
    sample->header->nlmsg_type = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW;
    struct nfgenmsg *head = mnl_nlmsg_put_extra_header(sample->header, sizeof(*head));
    head->nfgen_family = family;
    put_way(sample, CTA_TUPLE_ORIG, ipv4, a, b, 40000, 15002);
    put_way(sample, CTA_TUPLE_REPLY, ipv4, a, a, 15001, 40000);
}

static void test_flows(void **state)
{
    (void)state;
    const uint8_t families[] = {AF_INET, AF_INET6};
    for (size_t i = 0; i < FL_COUNT(families); i++) {
        struct sample sample;
        struct cni_flow flow;
        make_sample(&sample, families[i]);
        assert_true(cni_flow_read(sample.header, &flow));
        assert_int_equal(flow.family, families[i]);
        assert_int_equal(flow.protocol, IPPROTO_TCP);
        assert_int_equal(flow.original.destination[3], 6);
        assert_int_equal(flow.original.source_port, 40000);
        assert_int_equal(flow.original.destination_port, 15002);
        assert_int_equal(flow.reply.source_port, 15001);
    }
}

static void test_strange_messages(void **state)
{
    (void)state;
    struct sample sample;
    struct cni_flow flow;
    make_sample(&sample, AF_INET);
    sample.header->nlmsg_type = NLMSG_ERROR;
    assert_false(cni_flow_read(sample.header, &flow));
    make_sample(&sample, AF_INET);
    ((struct nfgenmsg *)mnl_nlmsg_get_payload(sample.header))->nfgen_family = AF_INET6; /* addresses of 4 bytes */
    assert_false(cni_flow_read(sample.header, &flow));
    ((struct nfgenmsg *)mnl_nlmsg_get_payload(sample.header))->nfgen_family = AF_UNSPEC;
    assert_false(cni_flow_read(sample.header, &flow));
}

static void test_cut_messages(void **state)
{
    (void)state;
    struct sample sample;
    make_sample(&sample, AF_INET6);
    uint32_t whole = sample.header->nlmsg_len;
    for (uint32_t size = sizeof(struct nlmsghdr); size <= whole; size += 4) {
        struct guard guard;
        struct cni_flow flow;
        sample.header->nlmsg_len = size;
        guard_init(&guard, fl_span_make(sample.bytes, size));
        assert_int_equal(cni_flow_read((const struct nlmsghdr *)(const void *)guard.span.data, &flow), size == whole);
        guard_done(&guard);
    }
}

static void test_the_request(void **state)
{
    (void)state;
    _Alignas(struct nlmsghdr) char request[CNI_FLOW_REQUEST_MAX];
    const struct nlmsghdr *header = cni_flow_request(request);
    assert_true(header->nlmsg_len <= sizeof(request));
    assert_int_equal(header->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judging),      cmocka_unit_test(test_passing),
        cmocka_unit_test(test_flows),        cmocka_unit_test(test_strange_messages),
        cmocka_unit_test(test_cut_messages), cmocka_unit_test(test_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
