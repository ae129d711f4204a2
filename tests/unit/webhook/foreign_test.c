#include "tests/unit/webhook/test.h"

#include "webhook/foreign.h"

static const struct {
    const char *spec;
    const char *found; /* NULL: none */
} rows[] = {
    {"{'containers':[{'name':'app','image':'nginx'},{'name':'istio-proxy','image':'x'}]}", "istio-proxy"},
    {"{'initContainers':[{'name':'istio-init'}]}", "istio-init"},
    {"{'initContainers':[{'name':'istio-validation'}]}", "istio-validation"},
    {"{'containers':[{'name':'linkerd-proxy'}]}", "linkerd-proxy"},
    {"{'initContainers':[{'name':'linkerd-init'}]}", "linkerd-init"},
    {"{'initContainers':[{'name':'linkerd-network-validator'}]}", "linkerd-network-validator"},
    {"{'containers':[{'name':'kuma-sidecar'}]}", "kuma-sidecar"},
    {"{'initContainers':[{'name':'kuma-init'}]}", "kuma-init"},
    {"{'containers':[{'name':'consul-dataplane'}]}", "consul-dataplane"},
    {"{'initContainers':[{'name':'consul-connect-inject-init'}]}", "consul-connect-inject-init"},
    {"{'containers':[{'name':'envoy-sidecar'}]}", "envoy-sidecar"},
    /* by image, whatever its registry, tag, digest */
    {"{'containers':[{'name':'p','image':'docker.io/istio/proxyv2:1.2.3'}]}", "p"},
    {"{'containers':[{'name':'p','image':'host.example:5000/mirror/istio/proxyv2@sha256:00'}]}", "p"},
    {"{'containers':[{'name':'p','image':'istio/proxyv2'}]}", "p"},
    {"{'containers':[{'name':'p','image':'cr.l5d.io/linkerd/proxy:stable-1'}]}", "p"},
    {"{'containers':[{'name':'p','image':'kumahq/kuma-dp:2'}]}", "p"},
    {"{'containers':[{'name':'p','image':'hashicorp/consul-dataplane:1'}]}", "p"},
    /* and what only looks like one */
    {"{'containers':[{'name':'istio-proxy-demo','image':'a/istio/proxyv2-demo:1'}]}", NULL},
    {"{'containers':[{'name':'app','image':'notistio/proxyv2:1'}]}", NULL},
    {"{'containers':[{'name':'app','image':'envoyproxy/envoy:v1'}]}", NULL},
    {"{'containers':[{'name':'fairlead-proxy','image':'fairlead/fairlead-proxy:1'}]}", NULL},
    {"{'containers':[{'name':'app','image':''},{'name':'b'}]}", NULL},
    /* any tree is stood */
    {"{'containers':[null,1,'istio-proxy',{'name':1},{'image':'istio/proxyv2'},[]]}", NULL},
    {"{'containers':null,'initContainers':{},'ephemeralContainers':'istio-proxy'}", NULL},
    {"[]", NULL},
    {"null", NULL},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *spec = json(rows[i].spec);
        struct fl_span found = webhook_foreign_find(spec);
        if (rows[i].found == NULL ? found.data != NULL : !fl_span_eq_str(found, rows[i].found))
            fail_msg("%s gave \"%.*s\"", rows[i].spec, FL_SPAN_ARG(found));
    }
    assert_null(webhook_foreign_find(NULL).data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
