/* Plans against what capture specs mean (common/mesh/capture.h): for many specs at random, many packets at random must
 * go where an oracle says that was written from the spec's words and not from the rules. Each of these plans also fits
 * its bounds, is the same after print and parse of its spec, and reads back from its own batch. */
#include "cni/capture/attribute.h"
#include "cni/capture/iptablessave.h"
#include "cni/capture/nft.h"
#include "cni/capture/readback.h"
#include "common/mesh/port.h"

#include "tests/unit/cni/iptables_walk.h"
#include "tests/unit/cni/plan_walk.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SPECS   3000
#define PACKETS 200

/* --- chance --- */

static uint64_t seed;

static uint32_t chance(uint32_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % below;
}

#define PICK(array) ((array)[chance(FL_COUNT(array))])

static bool one_in(uint32_t times)
{
    return chance(times) == 0;
}

/* --- specs --- */

/* Lists that meet each other and the packets below: borders, neighbours, families, our own ports. */
static const char *const port_lists[] = {"",        "*",         "80",           "22,80,443",     "1-1023", "53",
                                         "50-60",   "8080,8443", "15000-15100",  "1024-65535",    "65535",  "1,15002",
                                         "443,444", "54-65535",  "1-52,54-8079", "15006,15020,80"};
static const char *const cidr_lists[] = {"",
                                         "*",
                                         "0.0.0.0/0",
                                         "::/0",
                                         "10.0.0.0/8",
                                         "10.96.0.0/12,fd00::/8",
                                         "10.0.0.5/32",
                                         "10.0.0.0/31,10.0.0.4/30",
                                         "fd00::5/128,192.0.2.0/24",
                                         "127.0.0.0/8,::1/128",
                                         "255.255.255.255/32,8000::/1"};
static const char *const uid_lists[] = {"", "0", "1000-1999", "1337", "4294967294", "0-999,2000-4294967294"};
static const char *const interface_lists[] = {"", "net1", "eth0", "eth1,net1", "eth"};
static const uint32_t ids[] = {1337, 1000, 65534, 4294967294};
static const uint16_t capture_ports[][3] = {
    {15006, 15001, 15053}, {4143, 4140, 5353}, {15007, 15002, 15054}, {80, 443, 15053}, {65535, 1, 54}};

static void pick_ports(struct fl_port_list *list, bool often_all)
{
    const char *text = often_all && !one_in(3) ? "*" : PICK(port_lists);
    assert_int_equal(fl_port_list_parse(fl_span_str(text), list, NULL), 0);
}

static void pick_cidrs(struct fl_cidr_list *list, bool often_all)
{
    const char *text = often_all && !one_in(3) ? "*" : PICK(cidr_lists);
    assert_int_equal(fl_cidr_list_parse(fl_span_str(text), list, NULL), 0);
}

/* Exclusions are seldom, so that something is left to capture. */
static void pick_spec(struct fl_capture *capture)
{
    const uint16_t *ports = PICK(capture_ports);
    fl_capture_defaults(capture);
    capture->inbound_port = ports[0];
    capture->outbound_port = ports[1];
    capture->dns_port = ports[2];
    capture->uid = PICK(ids);
    capture->gid = PICK(ids);
    capture->ipv6 = !one_in(4);
    capture->dns = one_in(2);
    capture->drop_invalid = one_in(2);
    pick_ports(&capture->inbound_include, true);
    pick_cidrs(&capture->outbound_include_cidrs, true);
    pick_ports(&capture->outbound_include_ports, false);
    if (one_in(2))
        pick_ports(&capture->inbound_exclude, false);
    if (one_in(2))
        pick_ports(&capture->outbound_exclude_ports, false);
    if (one_in(2))
        pick_cidrs(&capture->outbound_exclude_cidrs, false);
    assert_int_equal(fl_uid_list_parse(fl_span_str(PICK(uid_lists)), &capture->outbound_exclude_uids, NULL), 0);
    assert_int_equal(fl_interface_list_parse(fl_span_str(PICK(interface_lists)), &capture->exclude_interfaces, NULL),
                     0);
}

/* --- packets --- */

static const char *const ipv4[] = {"127.0.0.1",  "127.0.0.6",  "127.0.0.7",       "10.0.0.0",
                                   "10.0.0.2",   "10.0.0.5",   "10.0.0.7",        "10.0.0.8",
                                   "10.96.0.10", "10.112.0.0", "255.255.255.255", "192.0.2.9"};
static const char *const ipv6[] = {"::1",     "::6",         "::7",    "fd00::5", "fd00::6",
                                   "fe00::1", "2001:db8::1", "8000::", "7fff::1"};
static const uint16_t ports[] = {1,    22,   52,   53,    54,    80,    443,   444,   1023,  1024,  4140,  4143,
                                 5353, 8080, 8443, 15000, 15001, 15002, 15006, 15007, 15020, 15053, 15054, 65535};
static const char *const interfaces[] = {"lo", "eth0", "eth1", "eth", "net1", "net10"};

static void pick_packet(const struct fl_capture *capture, struct cni_packet *packet)
{
    const uint32_t uids[] = {0, 999, 1000, 1999, 2000, 1337, 4294967294, capture->uid};
    *packet = (struct cni_packet){
        .inward = one_in(3),
        .family = one_in(2) ? AF_INET : AF_INET6,
        .protocol = one_in(3)    ? IPPROTO_UDP
                    : one_in(20) ? IPPROTO_SCTP
                                 : IPPROTO_TCP,
        .source_port = one_in(4) ? capture->dns_port : PICK(ports),
        .destination_port = one_in(4) ? 53 : PICK(ports),
        .interface = PICK(interfaces),
        .uid = PICK(uids),
        .gid = one_in(2) ? capture->gid : PICK(uids),
        .invalid = one_in(5),
    };
    if (packet->inward && strcmp(packet->interface, "lo") == 0)
        packet->invalid = false; /* what comes by lo was tracked when it was sent */
    const char *source = packet->family == AF_INET ? PICK(ipv4) : PICK(ipv6);
    const char *destination = packet->family == AF_INET ? PICK(ipv4) : PICK(ipv6);
    assert_int_equal(inet_pton(packet->family, source, packet->source), 1);
    assert_int_equal(inet_pton(packet->family, destination, packet->destination), 1);
}

/* --- the oracle --- */

static bool is_address(const struct cni_packet *packet, const uint8_t *address, const char *ipv4_text,
                       const char *ipv6_text)
{
    uint8_t bytes[16] = {0};
    inet_pton(packet->family, packet->family == AF_INET ? ipv4_text : ipv6_text, bytes);
    return memcmp(bytes, address, packet->family == AF_INET ? 4 : 16) == 0;
}

static bool is_loopback_address(const struct cni_packet *packet)
{
    return packet->family == AF_INET ? packet->destination[0] == 127
                                     : is_address(packet, packet->destination, "", "::1");
}

static bool is_own_port(const struct fl_capture *capture, uint16_t port)
{
    return fl_port_is_ours(port) || port == capture->inbound_port || port == capture->outbound_port ||
           (capture->dns && port == capture->dns_port);
}

static bool is_inbound_port(const struct fl_capture *capture, uint16_t port)
{
    return !is_own_port(capture, port) && fl_port_list_contains(&capture->inbound_include, port) &&
           !fl_port_list_contains(&capture->inbound_exclude, port);
}

static void expect_inward(const struct fl_capture *capture, const struct cni_packet *packet,
                          struct cni_decision *decision)
{
    bool tcp = packet->protocol == IPPROTO_TCP;
    if (strcmp(packet->interface, "lo") == 0 ||
        fl_interface_list_contains(&capture->exclude_interfaces, packet->interface))
        return;
    if (packet->invalid)
        decision->dropped = tcp && capture->drop_invalid;
    else if (tcp && is_inbound_port(capture, packet->destination_port))
        decision->redirected = capture->inbound_port;
}

static bool is_excluded_outward(const struct fl_capture *capture, const struct cni_packet *packet)
{
    return fl_interface_list_contains(&capture->exclude_interfaces, packet->interface) ||
           fl_uid_list_contains(&capture->outbound_exclude_uids, packet->uid) ||
           fl_port_list_contains(&capture->outbound_exclude_ports, packet->destination_port) ||
           fl_cidr_list_contains(&capture->outbound_exclude_cidrs, packet->family, packet->destination);
}

static void expect_of_the_app(const struct fl_capture *capture, const struct cni_packet *packet,
                              struct cni_decision *decision)
{
    bool tcp = packet->protocol == IPPROTO_TCP, udp = packet->protocol == IPPROTO_UDP;
    if (strcmp(packet->interface, "lo") == 0 || is_excluded_outward(capture, packet) ||
        (tcp && is_own_port(capture, packet->destination_port)))
        return;
    if (capture->dns && packet->destination_port == 53 && (tcp || udp)) {
        decision->redirected = capture->dns_port;
        decision->zone = udp ? capture->dns_port : 0;
    } else if (tcp && (fl_port_list_contains(&capture->outbound_include_ports, packet->destination_port) ||
                       fl_cidr_list_contains(&capture->outbound_include_cidrs, packet->family, packet->destination))) {
        decision->redirected = capture->outbound_port;
    }
}

static void expect_of_the_proxy(const struct fl_capture *capture, const struct cni_packet *packet,
                                struct cni_decision *decision)
{
    bool to_itself = strcmp(packet->interface, "lo") == 0;
    bool some_dns = capture->dns && !fl_port_list_contains(&capture->outbound_exclude_ports, 53) &&
                    !capture->outbound_exclude_cidrs.all;
    if (to_itself && packet->protocol == IPPROTO_TCP && !is_loopback_address(packet) &&
        is_inbound_port(capture, packet->destination_port))
        decision->redirected = capture->inbound_port;
    if (to_itself && packet->protocol == IPPROTO_UDP && some_dns && packet->source_port == capture->dns_port)
        decision->zone = capture->dns_port;
}

static void expect(const struct fl_capture *capture, const struct cni_packet *packet, struct cni_decision *decision)
{
    bool passes_through =
        strcmp(packet->interface, "lo") == 0 && is_address(packet, packet->source, "127.0.0.6", "::6");
    *decision = (struct cni_decision){0};
    if (packet->family == AF_INET6 && !capture->ipv6)
        return;
    if (packet->inward) {
        expect_inward(capture, packet, decision);
        return;
    }
    if (packet->protocol == IPPROTO_TCP && packet->destination_port == FL_PORT_PROBE &&
        is_address(packet, packet->destination, "127.0.0.6", "::6")) {
        decision->redirected = capture->outbound_port;
        return;
    }
    if (packet->uid == capture->uid && packet->gid == capture->gid)
        expect_of_the_proxy(capture, packet, decision);
    else
        expect_of_the_app(capture, packet, decision);
    if (passes_through)
        decision->redirected = 0;
}

/* --- the tests --- */

static struct cni_plan plan;

static void explain(const struct fl_capture *capture, const struct cni_packet *packet,
                    const struct cni_decision *expected, const struct cni_decision *actual)
{
    char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
    struct fl_buf text;
    fl_buf_init(&text, 65536);
    (void)!fl_capture_print(capture, &text);
    inet_ntop(packet->family, packet->source, source, sizeof(source));
    inet_ntop(packet->family, packet->destination, destination, sizeof(destination));
    fail_msg("%s\n%s %s port %u to %s port %u by %s, protocol %u, uid %u gid %u%s:\nexpected %u zone %u%s, got %u zone "
             "%u%s (%s)",
             fl_buf_str(&text), packet->inward ? "in" : "out", source, packet->source_port, destination,
             packet->destination_port, packet->interface, packet->protocol, packet->uid, packet->gid,
             packet->invalid ? ", invalid" : "", expected->redirected, expected->zone,
             expected->dropped ? " dropped" : "", actual->redirected, actual->zone, actual->dropped ? " dropped" : "",
             actual->rule != NULL ? actual->rule->reason : "no rule");
}

static void test_plans_do_what_specs_mean(void **state)
{
    (void)state;
    size_t redirected = 0, dropped = 0, apart = 0;
    seed = 1;
    for (size_t i = 0; i < SPECS; i++) {
        struct fl_capture capture;
        pick_spec(&capture);
        assert_int_equal(cni_plan_build(&capture, &plan), 0);
        for (size_t j = 0; j < PACKETS; j++) {
            struct cni_packet packet;
            struct cni_decision expected, actual;
            pick_packet(&capture, &packet);
            expect(&capture, &packet, &expected);
            cni_plan_decide(&plan, &packet, &actual);
            if (expected.dropped != actual.dropped || expected.redirected != actual.redirected ||
                expected.zone != actual.zone)
                explain(&capture, &packet, &expected, &actual);
            redirected += actual.redirected != 0;
            dropped += actual.dropped;
            apart += actual.zone != 0;
        }
    }
    assert_true(redirected > SPECS * PACKETS / 20 && dropped > SPECS && apart > SPECS);
}

/* --- the same by iptables --- */

static void print_texts(struct fl_buf texts[2])
{
    struct fl_err err = {0};
    const int families[] = {AF_INET, AF_INET6};
    for (size_t i = 0; i < 2; i++) {
        fl_buf_init(&texts[i], CNI_IPTABLES_TEXT_MAX);
        if (cni_iptables_print(&plan, families[i], &texts[i], &err) != 0)
            fail_msg("%s", err.text);
    }
}

static void test_texts_of_iptables_do_what_specs_mean(void **state)
{
    (void)state;
    static struct iptables_text walked[2];
    size_t redirected = 0, dropped = 0, apart = 0;
    seed = 4;
    for (size_t i = 0; i < SPECS; i++) {
        struct fl_capture capture;
        struct fl_buf texts[2];
        pick_spec(&capture);
        assert_int_equal(cni_plan_build(&capture, &plan), 0);
        print_texts(texts);
        for (size_t family = 0; family < 2; family++) {
            iptables_walk_read(fl_buf_span(&texts[family]), &walked[family]);
            fl_buf_done(&texts[family]);
        }
        for (size_t j = 0; j < PACKETS; j++) {
            struct cni_packet packet;
            struct cni_decision expected, actual;
            pick_packet(&capture, &packet);
            expect(&capture, &packet, &expected);
            iptables_walk_decide(&walked[packet.family == AF_INET ? 0 : 1], &packet, &actual);
            if (expected.dropped != actual.dropped || expected.redirected != actual.redirected ||
                expected.zone != actual.zone)
                explain(&capture, &packet, &expected, &actual);
            redirected += actual.redirected != 0;
            dropped += actual.dropped;
            apart += actual.zone != 0;
        }
    }
    assert_true(redirected > SPECS * PACKETS / 20 && dropped > SPECS && apart > SPECS);
}

/* Each text is itself, and differs from the one before unless the specs mean the same. */
static void test_texts_of_iptables_compare(void **state)
{
    (void)state;
    struct fl_buf before[2] = {0};
    size_t differed = 0;
    seed = 5;
    for (size_t i = 0; i < SPECS / 10; i++) {
        struct fl_capture capture;
        struct fl_buf texts[2];
        struct fl_err err = {0};
        pick_spec(&capture);
        assert_int_equal(cni_plan_build(&capture, &plan), 0);
        print_texts(texts);
        for (size_t family = 0; family < 2; family++) {
            struct fl_span now = fl_buf_span(&texts[family]), old = fl_buf_span(&before[family]);
            if (!cni_iptables_same(now, now, &err))
                fail_msg("%s", err.text);
            assert_int_equal(cni_iptables_same(now, old, NULL), fl_span_eq(now, old));
            differed += !fl_span_eq(now, old);
            fl_buf_done(&before[family]);
            before[family] = texts[family];
        }
    }
    assert_true(differed > SPECS / 20);
    fl_buf_done(&before[0]);
    fl_buf_done(&before[1]);
}

static void assert_same(const struct cni_plan *one, const struct cni_plan *other)
{
    struct fl_buf first, second;
    fl_buf_init(&first, 65536);
    fl_buf_init(&second, 65536);
    assert_int_equal(cni_plan_print(one, &first), 0);
    assert_int_equal(cni_plan_print(other, &second), 0);
    assert_string_equal(fl_buf_str(&first), fl_buf_str(&second));
    fl_buf_done(&first);
    fl_buf_done(&second);
}

static void test_plans_survive_print_and_parse(void **state)
{
    (void)state;
    static struct cni_plan again;
    size_t most = 0;
    seed = 2;
    for (size_t i = 0; i < SPECS; i++) {
        struct fl_capture capture, read;
        struct fl_buf text;
        struct fl_err err = {0};
        fl_buf_init(&text, FL_CAPTURE_TEXT_MAX);
        pick_spec(&capture);
        assert_int_equal(cni_plan_build(&capture, &plan), 0);
        assert_int_equal(fl_capture_print(&capture, &text), 0);
        if (fl_capture_parse(fl_buf_span(&text), &read, &err) != 0)
            fail_msg("%s: %s", fl_buf_str(&text), err.text);
        assert_int_equal(cni_plan_build(&read, &again), 0);
        assert_same(&plan, &again);
        most = plan.rule_count > most ? plan.rule_count : most;
        fl_buf_done(&text);
    }
    assert_in_range(most, CNI_PLAN_RULES / 2, CNI_PLAN_RULES);
}

static void test_plans_read_back(void **state)
{
    (void)state;
    static struct cni_readback readback;
    seed = 3;
    for (size_t i = 0; i < SPECS; i++) {
        struct fl_capture capture;
        struct cni_nft_batch batch;
        struct fl_err err = {0};
        pick_spec(&capture);
        assert_int_equal(cni_plan_build(&capture, &plan), 0);
        assert_int_equal(cni_nft_encode(CNI_NFT_CREATE, &plan, 1, &batch), 0);
        cni_readback_start(&readback, &plan);
        struct fl_span rest = fl_span_make(batch.data, batch.len);
        for (const struct nlmsghdr *message = cni_messages_next(&rest); message != NULL;
             message = cni_messages_next(&rest))
            cni_readback_message(&readback, message, &err);
        if (cni_readback_finish(&readback, &err) != CNI_READBACK_SAME)
            fail_msg("%s", err.text);
        cni_nft_batch_done(&batch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans_do_what_specs_mean),  cmocka_unit_test(test_texts_of_iptables_do_what_specs_mean),
        cmocka_unit_test(test_texts_of_iptables_compare), cmocka_unit_test(test_plans_survive_print_and_parse),
        cmocka_unit_test(test_plans_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
