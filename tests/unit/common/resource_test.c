#include "common/mesh/resource.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LDS FL_RESOURCE_LISTENER
#define RDS FL_RESOURCE_ROUTES
#define CDS FL_RESOURCE_CLUSTER
#define EDS FL_RESOURCE_ENDPOINTS
#define SDS FL_RESOURCE_SECRET

static void names_are_read_and_printed_back(void **state)
{
    (void)state;
    static const struct {
        enum fl_resource_type type;
        const char *text;
        enum fl_resource_kind kind;
        uint16_t port;
        const char *ip, *host, *name_space, *name, *section;
    } rows[] = {
        {LDS, "virtualOutbound", FL_RESOURCE_VIRTUAL_OUTBOUND, 0, "", "", "", "", ""},
        {LDS, "virtualInbound", FL_RESOURCE_VIRTUAL_INBOUND, 0, "", "", "", "", ""},
        {LDS, "tunnelInbound", FL_RESOURCE_TUNNEL_INBOUND, 0, "", "", "", "", ""},
        {LDS, "outbound|*", FL_RESOURCE_OWN_NAMESPACE, 0, "", "", "", "", ""},
        {LDS, "outbound|10.0.0.1:80", FL_RESOURCE_DESTINATION, 80, "10.0.0.1", "", "", "", ""},
        {LDS, "outbound|[fd00::1]:65535", FL_RESOURCE_DESTINATION, 65535, "fd00::1", "", "", "", ""},
        {LDS, "gateway|edge/main.v1|443", FL_RESOURCE_GATEWAY, 443, "", "", "edge", "main.v1", ""},
        {RDS, "gateway|edge/main|443|https-a", FL_RESOURCE_GATEWAY, 443, "", "", "edge", "main", "https-a"},
        {RDS, "gateway|edge/main|80", FL_RESOURCE_GATEWAY, 80, "", "", "edge", "main", ""},
        {RDS, "outbound|8080|web.demo.svc.cluster.local", FL_RESOURCE_SERVICE, 8080, "", "web.demo.svc.cluster.local",
         "", "", ""},
        {CDS, "outbound|8080||web.demo.svc.cluster.local", FL_RESOURCE_SERVICE, 8080, "", "web.demo.svc.cluster.local",
         "", "", ""},
        {EDS, "outbound|1||a", FL_RESOURCE_SERVICE, 1, "", "a", "", "", ""},
        {CDS, "inbound|8080||", FL_RESOURCE_INBOUND, 8080, "", "", "", "", ""},
        {CDS, "workload|10.0.0.1:80", FL_RESOURCE_WORKLOAD, 80, "10.0.0.1", "", "", "", ""},
        {EDS, "workload|[::1]:80", FL_RESOURCE_WORKLOAD, 80, "::1", "", "", "", ""},
        {CDS, "PassthroughCluster", FL_RESOURCE_PASSTHROUGH, 0, "", "", "", "", ""},
        {CDS, "BlackHoleCluster", FL_RESOURCE_BLACKHOLE, 0, "", "", "", "", ""},
        {CDS, "InboundPassthroughCluster", FL_RESOURCE_INBOUND_PASSTHROUGH, 0, "", "", "", "", ""},
        {SDS, "default", FL_RESOURCE_OWN_CERTIFICATE, 0, "", "", "", "", ""},
        {SDS, "ROOTCA", FL_RESOURCE_TRUST_BUNDLE, 0, "", "", "", "", ""},
        {SDS, "kubernetes://edge/tls.cert", FL_RESOURCE_KUBERNETES_SECRET, 0, "", "", "edge", "tls.cert", ""},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct fl_resource_name name;
        struct fl_buf out;
        fl_buf_init(&out, FL_RESOURCE_NAME_MAX);
        guard_init(&guard, fl_span_str(rows[i].text));
        assert_int_equal(fl_resource_parse(rows[i].type, guard.span, &name), rows[i].kind);
        assert_int_equal(name.kind, rows[i].kind);
        assert_int_equal(name.port, rows[i].port);
        assert_true(fl_span_eq_str(name.ip, rows[i].ip));
        assert_true(fl_span_eq_str(name.host, rows[i].host));
        assert_true(fl_span_eq_str(name.name_space, rows[i].name_space));
        assert_true(fl_span_eq_str(name.name, rows[i].name));
        assert_true(fl_span_eq_str(name.section, rows[i].section));
        assert_int_equal(fl_resource_print(rows[i].type, &name, &out), 0);
        assert_string_equal(fl_buf_str(&out), rows[i].text);
        fl_buf_done(&out);
        guard_done(&guard);
    }
}

static void other_texts_are_no_names(void **state)
{
    (void)state;
    static const struct {
        enum fl_resource_type type;
        const char *text;
    } rows[] = {
        {LDS, ""},
        {LDS, "outbound"},
        {LDS, "outbound|"},
        {LDS, "outbound|:80"},
        {LDS, "outbound|10.0.0.1"},
        {LDS, "outbound|10.0.0.1:"},
        {LDS, "outbound|10.0.0.1:0"},
        {LDS, "outbound|10.0.0.1:080"},
        {LDS, "outbound|10.0.0.1:65536"},
        {LDS, "outbound|10.0.0.01:80"},
        {LDS, "outbound|fd00::1:80"},
        {LDS, "outbound|[fd00::1]80"},
        {LDS, "outbound|[fd00::1"},
        {LDS, "outbound|[fd00:0::1]:80"}, /* not canonical */
        {LDS, "outbound|[FD00::1]:80"},   /* not canonical */
        {LDS, "outbound|[10.0.0.1]:80"},  /* brackets are for IPv6 */
        {LDS, "outbound|80||web"},        /* a cluster's name */
        {LDS, "PassthroughCluster"},      /* likewise */
        {LDS, "gateway|edge/main|443|a"}, /* routes alone have sections */
        {LDS, "gateway|edge|443"},
        {LDS, "gateway|/main|443"},
        {LDS, "gateway|edge/main|"},
        {RDS, "gateway|edge/main|443|"},
        {RDS, "gateway|edge/main|443|a|b"},
        {RDS, "outbound|80||web"}, /* two bars are a cluster's */
        {RDS, "outbound|80|"},
        {RDS, "outbound|80|Web"},
        {RDS, "outbound|80|-web"},
        {CDS, "outbound|80|web"},
        {CDS, "outbound|80|v1|web"}, /* no subsets */
        {CDS, "outbound|80||"},
        {CDS, "inbound|80|"},
        {CDS, "inbound|80|||"},
        {CDS, "inbound|||"},
        {EDS, "inbound|80||"},
        {EDS, "PassthroughCluster"},
        {SDS, "kubernetes://edge"},
        {SDS, "kubernetes://edge/"},
        {SDS, "kubernetes://edge/a/b"},
        {SDS, "kubernetes://e.dge/a"},
        {SDS, "Default"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct fl_resource_name name;
        guard_init(&guard, fl_span_str(rows[i].text));
        if (fl_resource_parse(rows[i].type, guard.span, &name) != FL_RESOURCE_NONE)
            fail_msg("\"%s\" was taken for a name", rows[i].text);
        guard_done(&guard);
    }
    struct fl_resource_name name;
    assert_int_equal(fl_resource_parse(LDS, FL_SPAN("outbound|10.0.0.1\0:80"), &name), FL_RESOURCE_NONE);
}

static void printing_asks_for_every_part(void **state)
{
    (void)state;
    static const struct {
        enum fl_resource_type type;
        struct fl_resource_name name;
    } rows[] = {
        {LDS, {.kind = FL_RESOURCE_NONE}},
        {LDS, {.kind = FL_RESOURCE_PASSTHROUGH}},
        {LDS, {.kind = FL_RESOURCE_DESTINATION, .port = 80}},
        {LDS, {.kind = FL_RESOURCE_DESTINATION, .ip = FL_SPAN("10.0.0.1")}},
        {CDS, {.kind = FL_RESOURCE_DESTINATION, .ip = FL_SPAN("10.0.0.1"), .port = 80}},
        {CDS, {.kind = FL_RESOURCE_SERVICE, .port = 80}},
        {CDS, {.kind = FL_RESOURCE_INBOUND}},
        {EDS, {.kind = FL_RESOURCE_INBOUND, .port = 80}},
        {LDS, {.kind = FL_RESOURCE_GATEWAY, .port = 80, .name = FL_SPAN("a")}},
        {SDS, {.kind = FL_RESOURCE_KUBERNETES_SECRET, .name = FL_SPAN("a")}},
    };
    struct fl_buf out;
    fl_buf_init(&out, FL_RESOURCE_NAME_MAX);
    for (size_t i = 0; i < FL_COUNT(rows); i++)
        assert_int_equal(fl_resource_print(rows[i].type, &rows[i].name, &out), -EINVAL);
    assert_int_equal(out.len, 0);
    fl_buf_done(&out);
}

static void types_have_their_urls(void **state)
{
    (void)state;
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++)
        assert_int_equal(fl_resource_type_of(fl_span_str(fl_resource_type_url(type))), type);
    assert_int_equal(fl_resource_type_of(FL_SPAN("type.googleapis.com/google.protobuf.Any")), FL_RESOURCE_TYPES);
    assert_string_equal(fl_resource_type_word(FL_RESOURCE_SECRET), "SDS");
}

static void the_nth_allocation_fails(void **state)
{
    (void)state;
    const struct fl_resource_name name = {.kind = FL_RESOURCE_INBOUND, .port = 80};
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf out;
        fl_buf_init(&out, FL_RESOURCE_NAME_MAX);
        int result = fl_resource_print(CDS, &name, &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read_and_printed_back), cmocka_unit_test(other_texts_are_no_names),
        cmocka_unit_test(printing_asks_for_every_part),    cmocka_unit_test(types_have_their_urls),
        cmocka_unit_test(the_nth_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
