#include "common/mesh/capture.h"
#include "common/mesh/port.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define DEFAULTS                                                                                                       \
    "{\"version\":1,\"uid\":1337,\"gid\":1337,\"inbound\":{\"port\":15006,\"includePorts\":[\"*\"],"                   \
    "\"excludePorts\":[]},\"outbound\":{\"port\":15001,\"includeCIDRs\":[\"*\"],\"excludeCIDRs\":[],"                  \
    "\"includePorts\":[],\"excludePorts\":[]}}"

static void assert_prints(const struct fl_capture *capture, const char *expected)
{
    struct fl_buf out;
    fl_buf_init(&out, FL_CAPTURE_TEXT_MAX);
    assert_int_equal(fl_capture_print(capture, &out), 0);
    assert_string_equal(fl_buf_str(&out), expected);
    fl_buf_done(&out);
}

static void defaults_have_the_documented_form(void **state)
{
    (void)state;
    struct fl_capture capture;
    fl_capture_defaults(&capture);
    assert_prints(&capture, DEFAULTS);
    struct fl_capture again;
    assert_int_equal(fl_capture_parse(FL_SPAN(DEFAULTS), &again, NULL), 0);
    assert_prints(&again, DEFAULTS);
}

/* Each list stands where its name is; items are merged; members come in any order. */
static void equal_specs_give_equal_bytes(void **state)
{
    (void)state;
    static const char canonical[] =
        "{\"version\":1,\"uid\":2000,\"gid\":3000,\"inbound\":{\"port\":16006,\"includePorts\":[\"80-90\",\"443\"],"
        "\"excludePorts\":[\"81\"]},\"outbound\":{\"port\":16001,\"includeCIDRs\":[\"10.0.0.0/8\",\"fd00::/8\"],"
        "\"excludeCIDRs\":[\"10.1.2.3/32\"],\"includePorts\":[\"1-2\"],\"excludePorts\":[\"25\"]}}";
    static const char other[] =
        " { "
        "\"outbound\":{\"excludePorts\":[\"25\",\"25\"],\"includePorts\":[\"2\",\"1\"],\"excludeCIDRs\":[\"10.1.2.3\"],"
        "\"includeCIDRs\":[\"fdff::1/8\",\"10.128.0.0/9\",\"10.0.0.0/9\",\"10.200.0.0/16\"],\"port\":16001},"
        "\"gid\":3000,\"uid\":2000,\"inbound\":{\"excludePorts\":[\"81-81\"],\"port\":16006,"
        "\"includePorts\":[\"443\",\"85-90\",\"80-86\"]},\"version\":1 } ";
    static const char *const texts[] = {canonical, other};
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        struct fl_capture capture;
        struct fl_err err = {0};
        if (fl_capture_parse(fl_span_str(texts[i]), &capture, &err) < 0)
            fail_msg("%s", err.text);
        assert_prints(&capture, canonical);
    }
}

/* What says nothing new is written as a reader that is one version behind understands it. */
static void a_spec_is_written_in_the_lowest_version_that_can_say_it(void **state)
{
    (void)state;
#define WITH(ipv6, invalid, interfaces, uids, dns)                                                                     \
    "{\"version\":2,\"uid\":1337,\"gid\":1337,\"ipv6\":" ipv6 ",\"dropInvalid\":" invalid                              \
    ",\"excludeInterfaces\":" interfaces ",\"inbound\":{\"port\":15006,\"includePorts\":[\"*\"],\"excludePorts\":[]}," \
    "\"outbound\":{\"port\":15001,\"includeCIDRs\":[\"*\"],\"excludeCIDRs\":[],\"includePorts\":[],\"excludePorts\":[" \
    "],"                                                                                                               \
    "\"excludeUIDs\":" uids "},\"dns\":" dns "}"
    static const char *const rows[][2] = {
        {WITH("true", "false", "[]", "[]", "{\"enabled\":false,\"port\":15053}"), DEFAULTS},
        {WITH("false", "false", "[]", "[]", "{\"enabled\":false,\"port\":15053}"), NULL},
        {WITH("true", "true", "[]", "[]", "{\"enabled\":false,\"port\":15053}"), NULL},
        {WITH("true", "false", "[\"eth1\",\"net1\"]", "[]", "{\"enabled\":false,\"port\":15053}"), NULL},
        {WITH("true", "false", "[]", "[\"0\",\"1000-2000\",\"4294967294\"]", "{\"enabled\":false,\"port\":15053}"),
         NULL},
        {WITH("true", "false", "[]", "[]", "{\"enabled\":true,\"port\":15053}"), NULL},
        {WITH("true", "false", "[]", "[]", "{\"enabled\":false,\"port\":53}"), NULL},
        {WITH("true", "false", "[\"net1\",\"eth1\",\"net1\"]", "[\"7\",\"5\",\"6-9\"]",
              "{\"port\":15053,\"enabled\":true}"),
         WITH("true", "false", "[\"eth1\",\"net1\"]", "[\"5-9\"]", "{\"enabled\":true,\"port\":15053}")},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const char *canonical = rows[i][1] != NULL ? rows[i][1] : rows[i][0];
        struct fl_capture capture;
        struct fl_err err = {0};
        if (fl_capture_parse(fl_span_str(rows[i][0]), &capture, &err) < 0)
            fail_msg("%s", err.text);
        assert_prints(&capture, canonical);
        assert_int_equal(fl_capture_version(&capture), canonical[11] - '0');
    }
}

static void what_is_wrong_is_named_with_what_is_right(void **state)
{
    (void)state;
#define SPEC(version, uid, gid, inbound, outbound)                                                                     \
    "{\"version\":" version ",\"uid\":" uid ",\"gid\":" gid ",\"inbound\":" inbound ",\"outbound\":" outbound "}"
#define INBOUND  "{\"port\":15006,\"includePorts\":[\"*\"],\"excludePorts\":[]}"
#define OUTBOUND "{\"port\":15001,\"includeCIDRs\":[],\"excludeCIDRs\":[],\"includePorts\":[],\"excludePorts\":[]}"
#define OUTBOUND_WITH(cidrs)                                                                                           \
    "{\"port\":15001,\"includeCIDRs\":" cidrs ",\"excludeCIDRs\":[],\"includePorts\":[],\"excludePorts\":[]}"
#define SPEC_2(ipv6, interfaces, uids, dns)                                                                            \
    "{\"version\":2,\"uid\":1,\"gid\":1,\"ipv6\":" ipv6 ",\"dropInvalid\":true,\"excludeInterfaces\":" interfaces      \
    ",\"inbound\":" INBOUND                                                                                            \
    ",\"outbound\":{\"port\":15001,\"includeCIDRs\":[],\"excludeCIDRs\":[],\"includePorts\":[],"                       \
    "\"excludePorts\":[],\"excludeUIDs\":" uids "},\"dns\":{\"enabled\":" dns "}}"
#define INBOUND_WITH(ports) "{\"port\":15006,\"includePorts\":" ports ",\"excludePorts\":[]}"
    static const struct {
        const char *text;
        int code;
        const char *message;
    } rows[] = {
        {"", -EINVAL, "byte 0 ($): the text ends where a value is expected"},
        {"[]", -EINVAL, "$: expected an object, got an array"},
        {"{}", -EINVAL, "$.version: expected the version of a capture spec, got nothing"},
        {SPEC("\"1\"", "1", "1", INBOUND, OUTBOUND), -EINVAL,
         "$.version: expected the version of a capture spec, got \"1\""},
        {"{\"version\":3,\"later\":true}", -ENOTSUP, "$.version: the capture spec is of version 3; known are 1 to 2"},
        {"{\"version\":0}", -EINVAL, "$.version: expected the version of a capture spec, got 0"},
        {SPEC_2("true", "[]", "[]", "false,\"port\":0"), -EINVAL,
         "$.dns.port: expected a whole number from 1 to 65535, got 0"},
        {SPEC_2("true", "[]", "[]", "true,\"port\":15001"), -EINVAL,
         "$.dns.port: expected another port than inbound's and outbound's, got 15001"},
        {SPEC_2("true", "[]", "[]", "true,\"port\":15006"), -EINVAL,
         "$.dns.port: expected another port than inbound's and outbound's, got 15006"},
        {SPEC_2("true", "[]", "[]", "true,\"port\":53"), -EINVAL,
         "$.dns.port: expected another port than 53, which is what is captured"},
        {SPEC_2("true", "[]", "[]", "true"), -EINVAL, "$.dns.port: required, but missing"},
        {SPEC_2("1", "[]", "[]", "true"), -EINVAL, "$.ipv6: expected true or false, got 1"},
        {SPEC_2("true", "[\"*\"]", "[]", "true"), -EINVAL,
         "$.excludeInterfaces[0]: expected names of network interfaces like eth1,net1; got \"*\""},
        {SPEC_2("true", "\"eth1\"", "[]", "true"), -EINVAL, "$.excludeInterfaces: expected an array, got \"eth1\""},
        {SPEC_2("true", "[]", "[\"1\",\"*\"]", "true"), -EINVAL,
         "$.outbound.excludeUIDs[1]: expected user ids like 1000,2000-2999; got \"*\""},
        {SPEC_2("true", "[]", "[1]", "true"), -EINVAL, "$.outbound.excludeUIDs[0]: expected a string, got 1"},
        {SPEC("2", "1", "1", INBOUND, OUTBOUND), -EINVAL, "$.ipv6: required, but missing"},
        {SPEC("1", "1", "1", INBOUND, OUTBOUND ",\"ipv6\":true"), -EINVAL,
         "$.ipv6: unknown member; known are version, uid, gid, inbound, outbound"},
        {SPEC("1", "0", "1", INBOUND, OUTBOUND), -EINVAL, "$.uid: expected a whole number from 1 to 4294967294, got 0"},
        {SPEC("1", "1", "0", INBOUND, OUTBOUND), -EINVAL, "$.gid: expected a whole number from 1 to 4294967294, got 0"},
        {SPEC("1", "1", "4294967295", INBOUND, OUTBOUND), -EINVAL,
         "$.gid: expected a whole number from 1 to 4294967294, got 4294967295"},
        {SPEC("1", "1.5", "1", INBOUND, OUTBOUND), -EINVAL,
         "$.uid: expected a whole number from 1 to 4294967294, got 1.5"},
        {SPEC("1", "1", "1", "[]", OUTBOUND), -EINVAL, "$.inbound: expected an object, got an array"},
        {SPEC("1", "1", "1", "{\"port\":1}", OUTBOUND), -EINVAL, "$.inbound.includePorts: required, but missing"},
        {SPEC("1", "1", "1", "null", OUTBOUND), -EINVAL, "$.inbound: required, but null"},
        {SPEC("1", "1", "1", INBOUND, OUTBOUND ",\"extra\":1"), -EINVAL,
         "$.extra: unknown member; known are version, uid, gid, inbound, outbound"},
        {SPEC("1", "1", "1", "{\"Port\":1}", OUTBOUND), -EINVAL,
         "$.inbound.Port: unknown member; known are port, includePorts, excludePorts"},
        {SPEC("1", "1", "1", "{\"port\":15001,\"includePorts\":[],\"excludePorts\":[]}", OUTBOUND), -EINVAL,
         "$.outbound.port: expected another port than inbound's, got 15001"},
        {SPEC("1", "1", "1", INBOUND_WITH("\"80\""), OUTBOUND), -EINVAL,
         "$.inbound.includePorts: expected an array, got \"80\""},
        {SPEC("1", "1", "1", INBOUND_WITH("[80]"), OUTBOUND), -EINVAL,
         "$.inbound.includePorts[0]: expected a string, got 80"},
        {SPEC("1", "1", "1", INBOUND_WITH("[\"1\",\"80x\"]"), OUTBOUND), -EINVAL,
         "$.inbound.includePorts[1]: expected ports like 80,443 or 8000-8080, or *; got \"80x\""},
        {SPEC("1", "1", "1", INBOUND_WITH("[\"80,81\"]"), OUTBOUND), -EINVAL,
         "$.inbound.includePorts[0]: expected ports like 80,443 or 8000-8080, or *; got \"80,81\""},
        {SPEC("1", "1", "1", INBOUND_WITH("[\"*\",\"80\"]"), OUTBOUND), -EINVAL,
         "$.inbound.includePorts[1]: expected * to stand alone: it means every port"},
        {SPEC("1", "1", "1", INBOUND, OUTBOUND_WITH("[\"10.0.0.0/33\"]")), -EINVAL,
         "$.outbound.includeCIDRs[0]: expected a prefix from 0 to 32; got \"10.0.0.0/33\""},
        {SPEC("1", "1", "1", INBOUND, OUTBOUND_WITH("[\"10.0.0.0/8\",\"*\"]")), -EINVAL,
         "$.outbound.includeCIDRs[1]: expected * to stand alone: it means every address"},
        {SPEC("1", "1", "1", INBOUND, OUTBOUND_WITH("[{}]")), -EINVAL,
         "$.outbound.includeCIDRs[0]: expected a string, got an object"},
        {SPEC("1", "1", "1", INBOUND, OUTBOUND_WITH("[[[]]]")), -EMSGSIZE,
         "byte 135 ($.outbound.includeCIDRs[0][0]): arrays and objects are nested too deeply"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct fl_err err = {0};
        struct fl_capture capture;
        guard_init(&guard, fl_span_str(rows[i].text));
        assert_int_equal(fl_capture_parse(guard.span, &capture, &err), rows[i].code);
        assert_string_equal(err.text, rows[i].message);
        guard_done(&guard);
    }
    char large[FL_CAPTURE_TEXT_MAX + 1];
    memset(large, ' ', sizeof(large));
    struct fl_capture capture;
    assert_int_equal(fl_capture_parse(fl_span_make(large, sizeof(large)), &capture, NULL), -EMSGSIZE);
}

static void print_ports(const struct fl_port_list *list, char *text, size_t size)
{
    size_t length = (size_t)snprintf(text, size, "%s", list->all ? "*" : "");
    for (size_t i = 0; i < list->count; i++)
        length += (size_t)snprintf(text + length, size - length, "%s%u-%u", i > 0 ? "," : "", list->ranges[i].first,
                                   list->ranges[i].last);
}

static void lists_of_ports_are_read_and_merged(void **state)
{
    (void)state;
    static const struct {
        const char *text, *merged; /* NULL: refused */
        const char *message;
    } rows[] = {
        {"", "", NULL},
        {" \t ", "", NULL},
        {"*", "*", NULL},
        {" * ", "*", NULL},
        {"80", "80-80", NULL},
        {" 443 ,\t80 ", "80-80,443-443", NULL},
        {"80,81", "80-81", NULL}, /* adjacent */
        {"80-90,85-95,96", "80-96", NULL},
        {"100,80-200,90", "80-200", NULL},
        {"1,3,5,2-4", "1-5", NULL},
        {"65535,1", "1-1,65535-65535", NULL},
        {"1-65535", "*", NULL},
        {"2-65535,1", "*", NULL},
        {"080", "80-80", NULL},
        {"80,80", "80-80", NULL},
        {"80x", NULL, "expected ports like 80,443 or 8000-8080, or *; got \"80x\""},
        {"80,,443", NULL, "expected ports like 80,443 or 8000-8080, or *; got \"\""},
        {"80,", NULL, "expected ports like 80,443 or 8000-8080, or *; got \"\""},
        {",", NULL, "expected ports like 80,443 or 8000-8080, or *; got \"\""},
        {"-80", NULL, "expected ports like 80,443 or 8000-8080, or *; got \"-80\""},
        {"80-", NULL, "expected ports like 80,443 or 8000-8080, or *; got \"80-\""},
        {"80-90-100", NULL, "expected ports like 80,443 or 8000-8080, or *; got \"80-90-100\""},
        {"80 443", NULL, "expected ports like 80,443 or 8000-8080, or *; got \"80 443\""},
        {"+80", NULL, "expected ports like 80,443 or 8000-8080, or *; got \"+80\""},
        {"0", NULL, "expected ports from 1 to 65535; got \"0\""},
        {"65536", NULL, "expected ports from 1 to 65535; got \"65536\""},
        {"1-65536", NULL, "expected ports from 1 to 65535; got \"1-65536\""},
        {"90-80", NULL, "expected a range from low to high; got \"90-80\""},
        {"*,80", NULL, "expected * to stand alone: it means every port"},
        {"80,*", NULL, "expected * to stand alone: it means every port"},
        {"*,*", NULL, "expected * to stand alone: it means every port"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct fl_err err = {0};
        struct fl_port_list list = {.count = 99};
        guard_init(&guard, fl_span_str(rows[i].text));
        assert_int_equal(fl_port_list_parse(guard.span, &list, &err), rows[i].merged != NULL ? 0 : -EINVAL);
        char text[1024];
        if (rows[i].merged != NULL) {
            print_ports(&list, text, sizeof(text));
            assert_string_equal(text, rows[i].merged);
        } else {
            assert_string_equal(err.text, rows[i].message);
            assert_int_equal(list.count, 99);
        }
        guard_done(&guard);
    }
}

static void a_list_of_ports_has_a_most(void **state)
{
    (void)state;
    char text[1024];
    size_t length = 0;
    struct fl_port_list list;
    struct fl_err err;
    for (unsigned i = 1; i <= FL_CAPTURE_RANGES; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%u", i > 1 ? "," : "", i * 10);
    assert_int_equal(fl_port_list_parse(fl_span_str(text), &list, &err), 0);
    assert_int_equal(list.count, FL_CAPTURE_RANGES);
    size_t full = length;
    snprintf(text + full, sizeof(text) - full, ",11"); /* touches 10: still fits */
    assert_int_equal(fl_port_list_parse(fl_span_str(text), &list, &err), 0);
    snprintf(text + full, sizeof(text) - full, ",5");
    assert_int_equal(fl_port_list_parse(fl_span_str(text), &list, &err), -EINVAL);
    assert_string_equal(err.text, "expected at most 64 ports and ranges");
}

static void lists_of_ports_answer_for_every_port(void **state)
{
    (void)state;
    struct fl_port_list list, all = {.all = true}, none = {0};
    assert_int_equal(fl_port_list_parse(FL_SPAN("1,80-90,65535"), &list, NULL), 0);
    for (unsigned port = 1; port <= 65535; port++) {
        bool inside = port == 1 || (port >= 80 && port <= 90) || port == 65535;
        assert_int_equal(fl_port_list_contains(&list, (uint16_t)port), inside);
    }
    assert_true(fl_port_list_contains(&all, 80));
    assert_false(fl_port_list_contains(&none, 80));
}

static void print_cidrs(const struct fl_cidr_list *list, char *text, size_t size)
{
    size_t length = (size_t)snprintf(text, size, "%s", list->all ? "*" : "");
    for (size_t i = 0; i < list->count; i++) {
        char address[INET6_ADDRSTRLEN];
        inet_ntop(list->cidrs[i].family, list->cidrs[i].address, address, sizeof(address));
        length +=
            (size_t)snprintf(text + length, size - length, "%s%s/%u", i > 0 ? "," : "", address, list->cidrs[i].prefix);
    }
}

static void lists_of_uids_are_read_and_merged(void **state)
{
    (void)state;
    static const struct {
        const char *text, *merged; /* NULL: refused */
        const char *message;
    } rows[] = {
        {"", "", NULL},
        {" 1000 , 2000-2999 ", "1000-1000,2000-2999", NULL},
        {"0", "0-0", NULL},
        {"4294967294,0", "0-0,4294967294-4294967294", NULL},
        {"0-4294967294,5", "0-4294967294", NULL},
        {"3,1,2", "1-3", NULL},
        {"4294967295", NULL, "expected user ids from 0 to 4294967294; got \"4294967295\""},
        {"1-99999999999999999999", NULL, "expected user ids like 1000,2000-2999; got \"1-99999999999999999999\""},
        {"*", NULL, "expected user ids like 1000,2000-2999; got \"*\""},
        {"root", NULL, "expected user ids like 1000,2000-2999; got \"root\""},
        {"-1", NULL, "expected user ids like 1000,2000-2999; got \"-1\""},
        {"1,", NULL, "expected user ids like 1000,2000-2999; got \"\""},
        {"9-8", NULL, "expected a range from low to high; got \"9-8\""},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct fl_err err = {0};
        struct fl_uid_list list = {.count = 99};
        guard_init(&guard, fl_span_str(rows[i].text));
        assert_int_equal(fl_uid_list_parse(guard.span, &list, &err), rows[i].merged != NULL ? 0 : -EINVAL);
        char text[1024] = "";
        size_t length = 0;
        for (size_t j = 0; rows[i].merged != NULL && j < list.count; j++)
            length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%u-%u", j > 0 ? "," : "",
                                       list.ranges[j].first, list.ranges[j].last);
        if (rows[i].merged != NULL)
            assert_string_equal(text, rows[i].merged);
        else
            assert_string_equal(err.text, rows[i].message);
        assert_true(rows[i].merged != NULL || list.count == 99);
        guard_done(&guard);
    }
    struct fl_uid_list list;
    assert_int_equal(fl_uid_list_parse(FL_SPAN("0,1000-1999"), &list, NULL), 0);
    assert_true(fl_uid_list_contains(&list, 0) && fl_uid_list_contains(&list, 1000));
    assert_true(fl_uid_list_contains(&list, 1999));
    assert_false(fl_uid_list_contains(&list, 1) || fl_uid_list_contains(&list, 2000));
}

static void a_list_of_uids_has_a_most(void **state)
{
    (void)state;
    char text[1024];
    size_t length = 0;
    struct fl_uid_list list;
    struct fl_err err;
    for (unsigned i = 0; i < FL_CAPTURE_RANGES; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%u", i > 0 ? "," : "", i * 10);
    assert_int_equal(fl_uid_list_parse(fl_span_str(text), &list, &err), 0);
    snprintf(text + length, sizeof(text) - length, ",5");
    assert_int_equal(fl_uid_list_parse(fl_span_str(text), &list, &err), -EINVAL);
    assert_string_equal(err.text, "expected at most 64 user ids and ranges");
}

static void lists_of_interfaces_are_read_in_order(void **state)
{
    (void)state;
#define REFUSED(shown) "expected names of network interfaces like eth1,net1; got \"" shown "\""
    static const struct {
        const char *text, *read; /* NULL: refused */
        const char *message;
    } rows[] = {
        {"", "", NULL},
        {" net1 , eth1 ", "eth1,net1", NULL},
        {"eth1,eth1", "eth1", NULL},
        {"eth10,eth1,Eth1", "Eth1,eth1,eth10", NULL},
        {"fifteen-letters", "fifteen-letters", NULL},
        {"eth0.100@x~%1", "eth0.100@x~%1", NULL},
        {"...", "...", NULL},
        {"sixteen-letters-", NULL, REFUSED("sixteen-letters-")},
        {".", NULL, REFUSED(".")},
        {"..", NULL, REFUSED("..")},
        {"a/b", NULL, REFUSED("a/b")},
        {"a:1", NULL, REFUSED("a:1")},
        {"eth*", NULL, REFUSED("eth*")},
        {"eth 1", NULL, REFUSED("eth 1")},
        {"a\"b", NULL, REFUSED("a\"b")},
        {"a\\b", NULL, REFUSED("a\\b")},
        {"eth1,", NULL, REFUSED("")},
        {"\xc3\xa9th", NULL, REFUSED("\xc3\xa9th")},
        {"lo", NULL, "expected other interfaces than lo: capture itself goes through it"},
        {"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", NULL, "expected at most 16 network interfaces"},
        {"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,a", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p", NULL},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct fl_err err = {0};
        struct fl_interface_list list = {.count = 99};
        guard_init(&guard, fl_span_str(rows[i].text));
        assert_int_equal(fl_interface_list_parse(guard.span, &list, &err), rows[i].read != NULL ? 0 : -EINVAL);
        char text[FL_CAPTURE_INTERFACES * FL_INTERFACE_NAME_MAX] = "";
        size_t length = 0;
        for (size_t j = 0; rows[i].read != NULL && j < list.count; j++) {
            length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s", j > 0 ? "," : "", list.names[j]);
            assert_true(fl_interface_list_contains(&list, list.names[j]));
        }
        if (rows[i].read != NULL)
            assert_string_equal(text, rows[i].read);
        else
            assert_string_equal(err.text, rows[i].message);
        assert_true(rows[i].read != NULL || list.count == 99);
        assert_false(list.count != 99 && fl_interface_list_contains(&list, "eth"));
        guard_done(&guard);
    }
}

static void lists_of_cidrs_are_read_and_merged(void **state)
{
    (void)state;
    static const struct {
        const char *text, *merged; /* NULL: refused */
        const char *message;
    } rows[] = {
        {"", "", NULL},
        {"*", "*", NULL},
        {" 10.0.0.0/8 , fd00::/8 ", "10.0.0.0/8,fd00::/8", NULL},
        {"fd00::/8,10.0.0.0/8", "10.0.0.0/8,fd00::/8", NULL},
        {"10.1.2.3/8", "10.0.0.0/8", NULL}, /* host bits */
        {"10.1.2.3", "10.1.2.3/32", NULL},
        {"::1", "::1/128", NULL},
        {"FD00::ABCD/128", "fd00::abcd/128", NULL},
        {"2001:db8::ffff/33", "2001:db8::/33", NULL},
        {"10.0.0.0/8,10.1.0.0/16", "10.0.0.0/8", NULL},
        {"10.1.0.0/16,10.0.0.0/8", "10.0.0.0/8", NULL},
        {"10.0.0.0/9,10.128.0.0/9", "10.0.0.0/8", NULL},
        {"10.0.0.0/10,10.64.0.0/10,10.128.0.0/9", "10.0.0.0/8", NULL},      /* halves of halves */
        {"10.64.0.0/10,10.128.0.0/10", "10.64.0.0/10,10.128.0.0/10", NULL}, /* side by side, no halves */
        {"0.0.0.0/0", "0.0.0.0/0", NULL},
        {"::/0", "::/0", NULL},
        {"0.0.0.0/0,::/0", "*", NULL},
        {"0.0.0.0/1,128.0.0.0/1,8000::/1,::/1", "*", NULL},
        {"0.0.0.0/0,::/1", "0.0.0.0/0,::/1", NULL},
        {"::ffff:0:0/95", "::fffe:0:0/95", NULL}, /* wider than the mapped ones */
        {"10.0.0.0/", NULL, "expected CIDRs like 10.0.0.0/8 or fd00::/8, or *; got \"10.0.0.0/\""},
        {"10.0.0.0/+8", NULL, "expected CIDRs like 10.0.0.0/8 or fd00::/8, or *; got \"10.0.0.0/+8\""},
        {"10.0.0.0/8/8", NULL, "expected CIDRs like 10.0.0.0/8 or fd00::/8, or *; got \"10.0.0.0/8/8\""},
        {"10.0.0/8", NULL, "expected CIDRs like 10.0.0.0/8 or fd00::/8, or *; got \"10.0.0/8\""},
        {"010.0.0.0/8", NULL, "expected CIDRs like 10.0.0.0/8 or fd00::/8, or *; got \"010.0.0.0/8\""},
        {"example.com", NULL, "expected CIDRs like 10.0.0.0/8 or fd00::/8, or *; got \"example.com\""},
        {"fe80::1%eth0/64", NULL, "expected CIDRs like 10.0.0.0/8 or fd00::/8, or *; got \"fe80::1%eth0/64\""},
        {"10.0.0.0/8,", NULL, "expected CIDRs like 10.0.0.0/8 or fd00::/8, or *; got \"\""},
        {"/8", NULL, "expected CIDRs like 10.0.0.0/8 or fd00::/8, or *; got \"/8\""},
        {"10.0.0.0/33", NULL, "expected a prefix from 0 to 32; got \"10.0.0.0/33\""},
        {"::/129", NULL, "expected a prefix from 0 to 128; got \"::/129\""},
        {"::ffff:10.0.0.0/104", NULL,
         "expected IPv4-mapped addresses to be written as IPv4; got \"::ffff:10.0.0.0/104\""},
        {"*,10.0.0.0/8", NULL, "expected * to stand alone: it means every address"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct fl_err err = {0};
        struct fl_cidr_list list = {.count = 99};
        guard_init(&guard, fl_span_str(rows[i].text));
        assert_int_equal(fl_cidr_list_parse(guard.span, &list, &err), rows[i].merged != NULL ? 0 : -EINVAL);
        char text[1024];
        if (rows[i].merged != NULL) {
            print_cidrs(&list, text, sizeof(text));
            assert_string_equal(text, rows[i].merged);
        } else {
            assert_string_equal(err.text, rows[i].message);
            assert_int_equal(list.count, 99);
        }
        guard_done(&guard);
    }
}

static void a_list_of_cidrs_has_a_most(void **state)
{
    (void)state;
    char text[2048];
    size_t length = 0;
    struct fl_cidr_list list;
    struct fl_err err;
    for (unsigned i = 0; i < FL_CAPTURE_CIDRS; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s10.%u.0.1", i > 0 ? "," : "", i);
    assert_int_equal(fl_cidr_list_parse(fl_span_str(text), &list, &err), 0);
    assert_int_equal(list.count, FL_CAPTURE_CIDRS);
    size_t full = length;
    snprintf(text + full, sizeof(text) - full, ",10.0.0.0"); /* the other half of one that is there */
    assert_int_equal(fl_cidr_list_parse(fl_span_str(text), &list, &err), 0);
    snprintf(text + full, sizeof(text) - full, ",11.0.0.0");
    assert_int_equal(fl_cidr_list_parse(fl_span_str(text), &list, &err), -EINVAL);
    assert_string_equal(err.text, "expected at most 64 CIDRs");
}

static void lists_of_cidrs_answer_by_family(void **state)
{
    (void)state;
    struct fl_cidr_list list, all = {.all = true};
    uint8_t inside[4] = {10, 255, 0, 1}, outside[4] = {11, 0, 0, 1}, six[16] = {0xfd, 1}, edge[16] = {0xfe};
    assert_int_equal(fl_cidr_list_parse(FL_SPAN("10.0.0.0/8,fd00::/8,192.168.0.129/25"), &list, NULL), 0);
    assert_true(fl_cidr_list_contains(&list, AF_INET, inside));
    assert_false(fl_cidr_list_contains(&list, AF_INET, outside));
    assert_true(fl_cidr_list_contains(&list, AF_INET6, six));
    assert_false(fl_cidr_list_contains(&list, AF_INET6, edge));
    assert_true(fl_cidr_list_contains(&list, AF_INET, (const uint8_t[]){192, 168, 0, 128}));
    assert_false(fl_cidr_list_contains(&list, AF_INET, (const uint8_t[]){192, 168, 0, 127}));
    assert_true(fl_cidr_list_contains(&all, AF_INET6, edge));
}

/* Any spec that can be built from lists prints to bytes that read back to the same bytes; the longest fits the limit.
 */
static void what_is_printed_reads_back(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int round = 0; round < 2000; round++) {
        char ports[512] = "", cidrs[1024] = "";
        size_t length = 0, size = 0;
        for (int i = 0; i < 20; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            uint32_t number = (uint32_t)(seed >> 32);
            unsigned first = number % 60000 + 1;
            length += (size_t)snprintf(ports + length, sizeof(ports) - length, "%s%u-%u", i > 0 ? "," : "", first,
                                       first + (number >> 28) * 100);
            size += number % 2 == 0
                        ? (size_t)snprintf(cidrs + size, sizeof(cidrs) - size, "%s%u.%u.0.0/%u", i > 0 ? "," : "",
                                           number >> 24, number >> 16 & 0xff, number >> 8 & 31)
                        : (size_t)snprintf(cidrs + size, sizeof(cidrs) - size, "%sfd00:%x:%x::/%u", i > 0 ? "," : "",
                                           number >> 16, number & 0xffff, number >> 8 & 127);
        }
        struct fl_capture capture, again;
        fl_capture_defaults(&capture);
        assert_int_equal(fl_port_list_parse(fl_span_str(ports), &capture.inbound_exclude, NULL), 0);
        assert_int_equal(fl_cidr_list_parse(fl_span_str(cidrs), &capture.outbound_exclude_cidrs, NULL), 0);
        struct fl_buf out;
        struct fl_err err = {0};
        fl_buf_init(&out, FL_CAPTURE_TEXT_MAX);
        assert_int_equal(fl_capture_print(&capture, &out), 0);
        if (fl_capture_parse(fl_buf_span(&out), &again, &err) < 0)
            fail_msg("%s", err.text);
        assert_prints(&again, fl_buf_str(&out));
        fl_buf_done(&out);
    }
}

static void the_longest_spec_fits(void **state)
{
    (void)state;
    struct fl_capture capture, again;
    fl_capture_defaults(&capture);
    struct fl_port_list ports = {.count = FL_CAPTURE_RANGES};
    struct fl_cidr_list cidrs = {.count = FL_CAPTURE_CIDRS};
    for (unsigned i = 0; i < FL_CAPTURE_RANGES; i++)
        ports.ranges[i] = (struct fl_range){20000 + 3 * i, 20001 + 3 * i};
    for (unsigned i = 0; i < FL_CAPTURE_CIDRS; i++) {
        cidrs.cidrs[i] = (struct fl_cidr){.family = AF_INET6, .prefix = 127};
        memset(cidrs.cidrs[i].address, 0xf1, 15);
        cidrs.cidrs[i].address[15] = (uint8_t)(4 * i);
    }
    capture.uid = capture.gid = 4294967294;
    capture.inbound_include = capture.inbound_exclude = ports;
    capture.outbound_include_ports = capture.outbound_exclude_ports = ports;
    capture.outbound_include_cidrs = capture.outbound_exclude_cidrs = cidrs;
    capture.outbound_exclude_uids.count = FL_CAPTURE_RANGES;
    for (unsigned i = 0; i < FL_CAPTURE_RANGES; i++)
        capture.outbound_exclude_uids.ranges[i] = (struct fl_range){4000000000 + 3 * i, 4000000001 + 3 * i};
    capture.exclude_interfaces.count = FL_CAPTURE_INTERFACES;
    for (unsigned i = 0; i < FL_CAPTURE_INTERFACES; i++)
        snprintf(capture.exclude_interfaces.names[i], FL_INTERFACE_NAME_MAX, "interface-%05u", i);
    struct fl_buf out;
    fl_buf_init(&out, FL_CAPTURE_TEXT_MAX);
    assert_int_equal(fl_capture_print(&capture, &out), 0);
    assert_int_equal(fl_capture_parse(fl_buf_span(&out), &again, NULL), 0);
    assert_prints(&again, fl_buf_str(&out));
    fl_buf_done(&out);
    fl_buf_init(&out, 100);
    assert_int_equal(fl_capture_print(&capture, &out), -EMSGSIZE);
    assert_int_equal(out.len, 0);
    fl_buf_done(&out);
}

static void every_failed_allocation_is_told(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_capture capture;
        struct fl_buf out;
        fl_buf_init(&out, FL_CAPTURE_TEXT_MAX);
        int result = fl_capture_parse(FL_SPAN(DEFAULTS), &capture, NULL);
        if (result == 0)
            result = fl_capture_print(&capture, &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&out);
    }
}

static void our_own_ports_are_those_that_the_sidecar_listens_on(void **state)
{
    (void)state;
    static const uint16_t ours[] = {15000, 15001, 15006, 15020, 15021, 15053, 15090};
    size_t found = 0;
    for (unsigned port = 0; port <= 65535; port++)
        found += fl_port_is_ours((uint16_t)port);
    assert_int_equal(found, FL_COUNT(ours));
    for (size_t i = 0; i < FL_COUNT(ours); i++)
        assert_true(fl_port_is_ours(ours[i]));
    assert_false(fl_port_is_ours(FL_PORT_PROBE)); /* the start gate's dial must be captured */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_have_the_documented_form),
        cmocka_unit_test(equal_specs_give_equal_bytes),
        cmocka_unit_test(a_spec_is_written_in_the_lowest_version_that_can_say_it),
        cmocka_unit_test(lists_of_uids_are_read_and_merged),
        cmocka_unit_test(a_list_of_uids_has_a_most),
        cmocka_unit_test(lists_of_interfaces_are_read_in_order),
        cmocka_unit_test(what_is_wrong_is_named_with_what_is_right),
        cmocka_unit_test(lists_of_ports_are_read_and_merged),
        cmocka_unit_test(a_list_of_ports_has_a_most),
        cmocka_unit_test(lists_of_ports_answer_for_every_port),
        cmocka_unit_test(lists_of_cidrs_are_read_and_merged),
        cmocka_unit_test(a_list_of_cidrs_has_a_most),
        cmocka_unit_test(lists_of_cidrs_answer_by_family),
        cmocka_unit_test(what_is_printed_reads_back),
        cmocka_unit_test(the_longest_spec_fits),
        cmocka_unit_test(every_failed_allocation_is_told),
        cmocka_unit_test(our_own_ports_are_those_that_the_sidecar_listens_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
