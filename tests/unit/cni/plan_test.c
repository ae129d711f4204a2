/* cni/capture/plan: what the rules do to packets, told by walking them as a kernel would; and their text, by golden
 * files (tests/golden/cni: NAME.json is a capture spec, NAME.plan its plan; UPDATE_GOLDEN=1 writes the plans anew). */
#include "common/mesh/port.h"

#include "tests/support/fail.h"
#include "tests/unit/cni/plan_walk.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define GOLDEN  "tests/golden/cni"
#define PASSES  0
#define DROPPED 1

/* --- walking the rules --- */

struct packet {
    bool inward;
    const char *source, *destination;
    uint16_t port;
    uint32_t uid, gid;
    bool lo;
    uint8_t protocol;      /* 0: TCP */
    const char *interface; /* NULL: lo or eth0 */
    uint16_t source_port;
    bool invalid;
};

static int family_of(const char *address)
{
    return strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
}

static bool in_set(const struct cni_set *set, const uint8_t *value)
{
    for (size_t i = 0; i < set->count; i++) {
        if (memcmp(value, set->ranges[i].first, set->width) >= 0 && memcmp(value, set->ranges[i].last, set->width) <= 0)
            return true;
    }
    return false;
}

static struct cni_decision decide(const struct cni_plan *plan, const struct packet *packet)
{
    struct cni_decision decision;
    struct cni_packet facts = {.inward = packet->inward,
                               .family = family_of(packet->destination),
                               .protocol = packet->protocol != 0 ? packet->protocol : IPPROTO_TCP,
                               .source_port = packet->source_port,
                               .destination_port = packet->port,
                               .interface = packet->lo ? "lo" : packet->interface != NULL ? packet->interface : "eth0",
                               .uid = packet->uid,
                               .gid = packet->gid,
                               .invalid = packet->invalid};
    assert_int_equal(inet_pton(facts.family, packet->source, facts.source), 1);
    assert_int_equal(inet_pton(facts.family, packet->destination, facts.destination), 1);
    cni_plan_decide(plan, &facts, &decision);
    return decision;
}

/* The port that the packet is redirected to, or PASSES. */
static uint16_t walk(const struct cni_plan *plan, const struct packet *packet)
{
    struct cni_decision decision = decide(plan, packet);
    return decision.dropped ? DROPPED : decision.redirected;
}

static bool read_switch(struct fl_span word, struct fl_capture *capture)
{
    capture->dns |= fl_span_eq_str(word, "dns");
    capture->drop_invalid |= fl_span_eq_str(word, "drop-invalid");
    capture->ipv6 &= !fl_span_eq_str(word, "ipv4-only");
    return fl_span_eq_str(word, "dns") || fl_span_eq_str(word, "drop-invalid") || fl_span_eq_str(word, "ipv4-only");
}

/* "key=value;…" and switches in the words of users; what is not named keeps its default. */
static void read_spec(const char *settings, struct fl_capture *capture)
{
    struct fl_span rest = fl_span_str(settings), part;
    struct fl_err err = {0};
    fl_capture_defaults(capture);
    while (settings[0] != '\0' && fl_span_split(&rest, ';', &part)) {
        size_t at = fl_span_find(part, '=');
        struct fl_span key = {part.data, at}, value = fl_span_from(part, at + 1);
        int result = -ENOENT;
        if (fl_span_eq_str(key, "in"))
            result = fl_port_list_parse(value, &capture->inbound_include, &err);
        else if (fl_span_eq_str(key, "in-not"))
            result = fl_port_list_parse(value, &capture->inbound_exclude, &err);
        else if (fl_span_eq_str(key, "out"))
            result = fl_cidr_list_parse(value, &capture->outbound_include_cidrs, &err);
        else if (fl_span_eq_str(key, "out-not"))
            result = fl_cidr_list_parse(value, &capture->outbound_exclude_cidrs, &err);
        else if (fl_span_eq_str(key, "out-ports"))
            result = fl_port_list_parse(value, &capture->outbound_include_ports, &err);
        else if (fl_span_eq_str(key, "out-ports-not"))
            result = fl_port_list_parse(value, &capture->outbound_exclude_ports, &err);
        else if (fl_span_eq_str(key, "uids-not"))
            result = fl_uid_list_parse(value, &capture->outbound_exclude_uids, &err);
        else if (fl_span_eq_str(key, "interfaces-not"))
            result = fl_interface_list_parse(value, &capture->exclude_interfaces, &err);
        else
            result = read_switch(part, capture) ? 0 : result;
        if (result != 0)
            fail_msg("%s: %s", settings, err.text);
    }
}

static struct cni_plan plan;

static void plan_for(const char *settings)
{
    struct fl_capture capture;
    read_spec(settings, &capture);
    assert_int_equal(cni_plan_build(&capture, &plan), 0);
}

#define OUT(source, destination, port, uid, gid)                                                                       \
    {                                                                                                                  \
        false, source, destination, port, uid, gid, false, 0, NULL, 0, false                                           \
    }
#define LO(source, destination, port, uid, gid)                                                                        \
    {                                                                                                                  \
        false, source, destination, port, uid, gid, true, 0, NULL, 0, false                                            \
    }
#define IN(source, destination, port)                                                                                  \
    {                                                                                                                  \
        true, source, destination, port, 0, 0, false, 0, NULL, 0, false                                                \
    }

/* The same by an interface of the pod, in or out. */
#define BY(name, source, destination, port)                                                                            \
    {                                                                                                                  \
        true, source, destination, port, 0, 0, false, 0, name, 0, false                                                \
    }
#define THROUGH(name, source, destination, port)                                                                       \
    {                                                                                                                  \
        false, source, destination, port, 1000, 1000, false, 0, name, 0, false                                         \
    }
#define UDP(source, destination, port, uid, gid)                                                                       \
    {                                                                                                                  \
        false, source, destination, port, uid, gid, false, IPPROTO_UDP, NULL, 0, false                                 \
    }
#define STRAY(name, source, destination)                                                                               \
    {                                                                                                                  \
        true, source, destination, 8080, 0, 0, false, 0, name, 0, true                                                 \
    }

static const struct {
    const char *what, *settings;
    struct packet packet;
    uint16_t to;
} cases[] = {
    /* the start gate: whoever asks, before every exemption */
    {"gate: root", "", LO("127.0.0.1", "127.0.0.6", 15002, 0, 0), 15001},
    {"gate: the proxy itself", "", LO("127.0.0.1", "127.0.0.6", 15002, 1337, 1337), 15001},
    {"gate: from the pass-through address", "", LO("127.0.0.6", "127.0.0.6", 15002, 1337, 1337), 15001},
    {"gate: IPv6", "", LO("::6", "::6", 15002, 1337, 1337), 15001},
    {"gate: open where nothing is captured", "in=;out=", LO("::6", "::6", 15002, 1337, 1337), 15001},
    {"gate: open where all is excluded", "in-not=*;out-not=*;out-ports-not=*", LO("::6", "::6", 15002, 0, 0), 15001},
    {"gate: its port alone", "", LO("127.0.0.1", "127.0.0.6", 15003, 1337, 1337), PASSES},

    /* inbound pass-through */
    {"pass-through IPv4", "", LO("127.0.0.6", "10.0.0.5", 8080, 1337, 1337), PASSES},
    {"pass-through IPv6", "", LO("::6", "fd00::5", 8080, 1337, 1337), PASSES},
    {"127.0.0.6 not through lo is no pass-through", "", OUT("127.0.0.6", "10.0.0.9", 8080, 1000, 1000), 15001},

    /* the proxy */
    {"proxy out", "", OUT("10.0.0.5", "10.0.0.9", 8080, 1337, 1337), PASSES},
    {"proxy out, IPv6", "", OUT("fd00::5", "fd00::9", 8080, 1337, 1337), PASSES},
    {"its uid alone is captured", "", OUT("10.0.0.5", "10.0.0.9", 8080, 1337, 1000), 15001},
    {"its gid alone is captured", "", OUT("10.0.0.5", "10.0.0.9", 8080, 1000, 1337), 15001},
    {"proxy to its own pod", "", LO("10.0.0.5", "10.0.0.5", 8080, 1337, 1337), 15006},
    {"proxy to its own pod, IPv6", "", LO("fd00::5", "fd00::5", 8080, 1337, 1337), 15006},
    {"proxy to its own pod's 15020", "", LO("10.0.0.5", "10.0.0.5", 15020, 1337, 1337), PASSES},
    {"proxy to its own pod's 15090", "", LO("fd00::5", "fd00::5", 15090, 1337, 1337), PASSES},
    {"proxy to its own pod, excluded inbound", "in-not=8080", LO("10.0.0.5", "10.0.0.5", 8080, 1337, 1337), PASSES},
    {"proxy to its own pod, not included", "in=80", LO("10.0.0.5", "10.0.0.5", 8080, 1337, 1337), PASSES},
    {"proxy to its own pod, included", "in=8080", LO("10.0.0.5", "10.0.0.5", 8080, 1337, 1337), 15006},
    {"proxy to its own pod, nothing inbound", "in=", LO("10.0.0.5", "10.0.0.5", 8080, 1337, 1337), PASSES},
    {"proxy to loopback", "", LO("127.0.0.1", "127.0.0.1", 8080, 1337, 1337), PASSES},
    {"proxy to a local resolver", "", LO("127.0.0.1", "127.0.0.53", 53, 1337, 1337), PASSES},
    {"proxy to loopback, IPv6", "", LO("::1", "::1", 8080, 1337, 1337), PASSES},

    /* the app */
    {"app out", "", OUT("10.0.0.5", "10.0.0.9", 8080, 1000, 1000), 15001},
    {"app out, IPv6", "", OUT("fd00::5", "fd00::9", 8080, 0, 0), 15001},
    {"app to itself by pod IP", "", LO("10.0.0.5", "10.0.0.5", 8080, 1000, 1000), PASSES},
    {"app to loopback", "", LO("127.0.0.1", "127.0.0.1", 8080, 1000, 1000), PASSES},
    {"app to a sidecar's port elsewhere", "", OUT("10.0.0.5", "10.0.0.9", 15020, 1000, 1000), PASSES},
    {"app to the control plane's port is ordinary", "", OUT("10.0.0.5", "10.0.0.9", 15012, 1000, 1000), 15001},

    /* outbound choices */
    {"excluded port", "out-ports-not=3306", OUT("10.0.0.5", "10.0.0.9", 3306, 0, 0), PASSES},
    {"beside an excluded port", "out-ports-not=3306", OUT("10.0.0.5", "10.0.0.9", 3307, 0, 0), 15001},
    {"last port excluded", "out-ports-not=65535", OUT("10.0.0.5", "10.0.0.9", 65535, 0, 0), PASSES},
    {"excluded CIDR", "out-not=10.0.0.0/8", OUT("10.0.0.5", "10.9.9.9", 80, 0, 0), PASSES},
    {"behind an excluded CIDR", "out-not=10.0.0.0/8", OUT("10.0.0.5", "11.0.0.0", 80, 0, 0), 15001},
    {"a CIDR that ends inside a byte", "out-not=10.96.0.0/12", OUT("10.0.0.5", "10.111.255.255", 80, 0, 0), PASSES},
    {"behind it", "out-not=10.96.0.0/12", OUT("10.0.0.5", "10.112.0.0", 80, 0, 0), 15001},
    {"excluded IPv6 CIDR", "out-not=fd00::/8", OUT("fd00::5", "fdff::1", 80, 0, 0), PASSES},
    {"the other family stays captured", "out-not=10.0.0.0/8", OUT("fd00::5", "fd00::9", 80, 0, 0), 15001},
    {"all of IPv4 excluded", "out-not=0.0.0.0/0", OUT("10.0.0.5", "255.255.255.255", 80, 0, 0), PASSES},
    {"included CIDR", "out=10.0.0.0/8", OUT("10.0.0.5", "10.9.9.9", 80, 0, 0), 15001},
    {"not included", "out=10.0.0.0/8", OUT("10.0.0.5", "192.0.2.1", 80, 0, 0), PASSES},
    {"touching CIDRs", "out=10.0.0.0/8,11.0.0.0/8", OUT("10.0.0.5", "11.1.1.1", 80, 0, 0), 15001},
    {"included port outside the CIDRs", "out=10.0.0.0/8;out-ports=443", OUT("1.1.1.1", "192.0.2.1", 443, 0, 0), 15001},
    {"all ports included", "out=;out-ports=*", OUT("1.1.1.1", "192.0.2.1", 443, 0, 0), 15001},
    {"exclusion beats inclusion", "out=;out-ports=443;out-not=192.0.2.0/24", OUT("1.1.1.1", "192.0.2.1", 443, 0, 0),
     PASSES},
    {"excluded port beats inclusion", "out-ports=443;out-ports-not=443", OUT("1.1.1.1", "192.0.2.1", 443, 0, 0),
     PASSES},
    {"nothing outbound", "out=", OUT("10.0.0.5", "10.0.0.9", 80, 0, 0), PASSES},
    {"every CIDR excluded", "out-not=*", OUT("10.0.0.5", "10.0.0.9", 80, 0, 0), PASSES},
    {"every port excluded", "out-ports-not=*", OUT("10.0.0.5", "10.0.0.9", 80, 0, 0), PASSES},

    /* inbound */
    {"inbound", "", IN("10.0.0.9", "10.0.0.5", 8080), 15006},
    {"inbound, IPv6", "", IN("fd00::9", "fd00::5", 8080), 15006},
    {"inbound to 15006 itself", "", IN("10.0.0.9", "10.0.0.5", 15006), PASSES},
    {"inbound to 15001", "", IN("10.0.0.9", "10.0.0.5", 15001), PASSES},
    {"inbound to 15021", "", IN("10.0.0.9", "10.0.0.5", 15021), PASSES},
    {"inbound from 127.0.0.6 outside", "", IN("127.0.0.6", "10.0.0.5", 8080), 15006},
    {"the probe port is no gate from outside", "", IN("10.0.0.9", "127.0.0.6", 15002), 15006},
    {"excluded inbound", "in-not=22,9000-9010", IN("10.0.0.9", "10.0.0.5", 9010), PASSES},
    {"beside it", "in-not=22,9000-9010", IN("10.0.0.9", "10.0.0.5", 9011), 15006},
    {"included inbound", "in=80,8000-8080", IN("10.0.0.9", "10.0.0.5", 8000), 15006},
    {"not included inbound", "in=80,8000-8080", IN("10.0.0.9", "10.0.0.5", 81), PASSES},
    {"included and excluded", "in=80;in-not=80", IN("10.0.0.9", "10.0.0.5", 80), PASSES},
    {"nothing inbound", "in=", IN("10.0.0.9", "10.0.0.5", 80), PASSES},
    /* interfaces */
    {"in by an excluded interface", "interfaces-not=net1", BY("net1", "10.0.0.9", "10.0.0.5", 8080), PASSES},
    {"in by another", "interfaces-not=net1", BY("net10", "10.0.0.9", "10.0.0.5", 8080), 15006},
    {"out through an excluded interface", "interfaces-not=a,net1", THROUGH("net1", "fd00::5", "fd00::9", 80), PASSES},
    {"out through another", "interfaces-not=a,net1", THROUGH("net", "fd00::5", "fd00::9", 80), 15001},

    /* uids */
    {"excluded uid", "uids-not=0,1000-1999", OUT("10.0.0.5", "10.0.0.9", 80, 1999, 5), PASSES},
    {"root, excluded", "uids-not=0,1000-1999", OUT("fd00::5", "fd00::9", 80, 0, 0), PASSES},
    {"behind the excluded uids", "uids-not=0,1000-1999", OUT("10.0.0.5", "10.0.0.9", 80, 2000, 1000), 15001},
    {"an excluded uid's gate", "uids-not=0", LO("127.0.0.1", "127.0.0.6", 15002, 0, 0), 15001},

    /* IPv4 only */
    {"IPv4 as ever", "ipv4-only", OUT("10.0.0.5", "10.0.0.9", 80, 0, 0), 15001},
    {"IPv6 out", "ipv4-only", OUT("fd00::5", "fd00::9", 80, 0, 0), PASSES},
    {"IPv6 in", "ipv4-only", IN("fd00::9", "fd00::5", 80), PASSES},
    {"IPv6: no gate", "ipv4-only", LO("::6", "::6", 15002, 1337, 1337), PASSES},
    {"IPv6: the proxy to its own pod", "ipv4-only", LO("fd00::5", "fd00::5", 8080, 1337, 1337), PASSES},
    {"IPv6: DNS", "ipv4-only;dns", UDP("fd00::5", "fd00::53", 53, 1000, 1000), PASSES},
    {"IPv6: invalid", "ipv4-only;drop-invalid", STRAY("eth0", "fd00::9", "fd00::5"), PASSES},

    /* packets of no connection */
    {"invalid, kept", "", STRAY("eth0", "10.0.0.9", "10.0.0.5"), PASSES},
    {"invalid, dropped", "drop-invalid", STRAY("eth0", "10.0.0.9", "10.0.0.5"), DROPPED},
    {"invalid by an excluded interface", "drop-invalid;interfaces-not=net1", STRAY("net1", "10.0.0.9", "10.0.0.5"),
     PASSES},
    {"valid stays", "drop-invalid", IN("10.0.0.9", "10.0.0.5", 8080), 15006},

    /* DNS */
    {"DNS is not captured unless asked for", "", UDP("10.0.0.5", "10.96.0.10", 53, 1000, 1000), PASSES},
    {"DNS by TCP is ordinary then", "", OUT("10.0.0.5", "10.96.0.10", 53, 1000, 1000), 15001},
    {"DNS", "dns", UDP("10.0.0.5", "10.96.0.10", 53, 1000, 1000), 15053},
    {"DNS by TCP", "dns", OUT("10.0.0.5", "10.96.0.10", 53, 1000, 1000), 15053},
    {"DNS, IPv6", "dns", UDP("fd00::5", "fd00::a", 53, 0, 0), 15053},
    {"DNS where nothing outbound is captured", "dns;out=", UDP("10.0.0.5", "10.96.0.10", 53, 1000, 1000), 15053},
    {"DNS of the proxy", "dns", UDP("10.0.0.5", "10.96.0.10", 53, 1337, 1337), PASSES},
    {"DNS of an excluded uid", "dns;uids-not=5", UDP("10.0.0.5", "10.96.0.10", 53, 5, 5), PASSES},
    {"DNS, port excluded", "dns;out-ports-not=50-60", UDP("10.0.0.5", "10.96.0.10", 53, 0, 0), PASSES},
    {"DNS, resolver excluded", "dns;out-not=10.96.0.0/12", UDP("10.0.0.5", "10.96.0.10", 53, 0, 0), PASSES},
    {"other ports of UDP", "dns", UDP("10.0.0.5", "10.96.0.10", 54, 1000, 1000), PASSES},
    {"UDP to a captured port", "dns;out-ports=443", UDP("10.0.0.5", "10.96.0.10", 443, 1000, 1000), PASSES},

    {"all inbound excluded", "in-not=*", IN("10.0.0.9", "10.0.0.5", 80), PASSES},
};

static void test_packets(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        plan_for(cases[i].settings);
        uint16_t to = walk(&plan, &cases[i].packet);
        if (to != cases[i].to)
            fail_msg("%s: goes to %u, not %u", cases[i].what, to, cases[i].to);
    }
}

/* What is redirected as DNS by UDP is tracked apart, and so are the proxy's answers; nothing else is. */
static void test_zones_go_with_redirection(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        plan_for(cases[i].settings);
        struct cni_decision decision = decide(&plan, &cases[i].packet);
        bool apart = cases[i].packet.protocol == IPPROTO_UDP && decision.redirected == FL_PORT_DNS;
        if ((decision.zone != 0) != apart)
            fail_msg("%s: zone %u", cases[i].what, decision.zone);
    }
    struct packet answer = {false, "127.0.0.1", "10.0.0.5", 5000, 1337, 1337, true, IPPROTO_UDP, NULL, 15053, false};
    plan_for("dns");
    assert_int_equal(decide(&plan, &answer).zone, FL_PORT_DNS);
    answer.uid = 1000; /* somebody else at that port */
    assert_int_equal(decide(&plan, &answer).zone, 0);
    plan_for("");
    assert_false(cni_plan_has_chain(&plan, CNI_CHAIN_DNS_ZONE) || cni_plan_has_chain(&plan, CNI_CHAIN_DROP_INVALID));
}

static void test_own_ports_are_the_meshs(void **state)
{
    (void)state;
    plan_for("");
    for (uint32_t port = 1; port <= UINT16_MAX; port++) {
        const uint8_t value[2] = {(uint8_t)(port >> 8), (uint8_t)port};
        bool is_ours = fl_port_is_ours((uint16_t)port);
        if (in_set(&plan.sets[CNI_SET_OWN_PORTS], value) != is_ours)
            fail_msg("port %u", port);
    }
}

static void test_the_proxys_ports_are_own_wherever_they_are(void **state)
{
    (void)state;
    const uint16_t ports[][2] = {{4143, 4140}, {40000, 50000}, {15006, 40000}, {1, 65535}, {15007, 15005}};
    for (size_t i = 0; i < FL_COUNT(ports); i++) {
        struct fl_capture capture;
        fl_capture_defaults(&capture);
        capture.inbound_port = ports[i][0];
        capture.outbound_port = ports[i][1];
        assert_int_equal(cni_plan_build(&capture, &plan), 0);
        for (size_t j = 0; j < 2; j++) {
            struct packet packet = IN("10.0.0.9", "10.0.0.5", ports[i][j]);
            assert_int_equal(walk(&plan, &packet), PASSES);
        }
        const struct cni_set *own = &plan.sets[CNI_SET_OWN_PORTS];
        for (size_t j = 1; j < own->count; j++)
            assert_true(memcmp(own->ranges[j - 1].last, own->ranges[j].first, 2) < 0);
    }
}

static void test_rules_name_sets_that_exist_and_no_others_exist(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        bool used[CNI_SETS] = {true};
        plan_for(cases[i].settings);
        for (size_t j = 0; j < plan.rule_count; j++) {
            const struct cni_rule *rule = &plan.rules[j];
            used[rule->destination_set] = used[rule->port_set] = used[rule->port_set_not] = true;
            used[rule->uid_set] = used[rule->interface_set] = true;
        }
        for (size_t id = 1; id < CNI_SETS; id++)
            assert_int_equal(used[id], plan.sets[id].count > 0);
    }
}

static void test_the_comment_tells_specs_apart(void **state)
{
    (void)state;
    char first[CNI_PLAN_COMMENT_MAX];
    plan_for("");
    memcpy(first, plan.comment, sizeof(first));
    plan_for("");
    assert_string_equal(plan.comment, first);
    plan_for("in-not=22");
    assert_string_not_equal(plan.comment, first);
    assert_memory_equal(plan.comment, "fairlead capture 1 ", 19);
}

static void test_memory_running_out(void **state)
{
    (void)state;
    struct fl_capture capture;
    fl_capture_defaults(&capture);
    FAIL_EACH_ALLOCATION
    {
        int result = cni_plan_build(&capture, &plan);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
    }
}

static void test_text_running_out_of_room(void **state)
{
    (void)state;
    FL_CLEANUP(fl_buf_done) struct fl_buf whole, cut;
    plan_for("in=80,443;in-not=22;out=10.0.0.0/8,fd00::/8;out-not=10.1.0.0/16;out-ports=25;out-ports-not=26;"
             "uids-not=5;interfaces-not=net1;dns;drop-invalid");
    fl_buf_init(&whole, 65536);
    fl_buf_init(&cut, 0);
    assert_int_equal(cni_plan_print(&plan, &whole), 0);
    for (size_t max = 0; max < whole.len; max++) {
        fl_buf_clear(&cut);
        cut.max = max;
        assert_int_equal(cni_plan_print(&plan, &cut), -EMSGSIZE);
    }
}

/* --- golden files --- */

static void compare_golden(const char *name, const char *plan_path)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf actual, expected;
    fl_buf_init(&actual, 65536);
    fl_buf_init(&expected, 65536);
    assert_int_equal(cni_plan_print(&plan, &actual), 0);
    if (getenv("UPDATE_GOLDEN") != NULL) {
        FILE *file = fopen(plan_path, "w");
        assert_non_null(file);
        fwrite(actual.data, 1, actual.len, file);
        fclose(file);
    }
    assert_int_equal(fl_buf_read_file(&expected, plan_path), 0);
    if (!fl_span_eq(fl_buf_span(&actual), fl_buf_span(&expected)))
        fail_msg("%s: the plan is\n%s\nnot\n%s", name, fl_buf_str(&actual), fl_buf_str(&expected));
}

static void test_golden_plans(void **state)
{
    (void)state;
    DIR *folder = opendir(GOLDEN);
    size_t count = 0;
    assert_non_null(folder);
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        struct fl_span name = fl_span_str(entry->d_name);
        struct fl_capture capture;
        struct fl_err err = {0};
        char path[512];
        if (!fl_span_ends_with(name, FL_SPAN(".json")))
            continue;
        FL_CLEANUP(fl_buf_done) struct fl_buf text;
        snprintf(path, sizeof(path), GOLDEN "/%s", entry->d_name);
        fl_buf_init(&text, FL_CAPTURE_TEXT_MAX);
        assert_int_equal(fl_buf_read_file(&text, path), 0);
        if (fl_capture_parse(fl_span_trim(fl_buf_span(&text)), &capture, &err) != 0)
            fail_msg("%s: %s", path, err.text);
        assert_int_equal(cni_plan_build(&capture, &plan), 0);
        snprintf(path, sizeof(path), GOLDEN "/%.*s.plan", (int)name.len - 5, name.data);
        compare_golden(entry->d_name, path);
        count++;
    }
    closedir(folder);
    assert_true(count >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packets),
        cmocka_unit_test(test_zones_go_with_redirection),
        cmocka_unit_test(test_own_ports_are_the_meshs),
        cmocka_unit_test(test_the_proxys_ports_are_own_wherever_they_are),
        cmocka_unit_test(test_rules_name_sets_that_exist_and_no_others_exist),
        cmocka_unit_test(test_the_comment_tells_specs_apart),
        cmocka_unit_test(test_memory_running_out),
        cmocka_unit_test(test_text_running_out_of_room),
        cmocka_unit_test(test_golden_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
