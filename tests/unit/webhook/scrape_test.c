#include "tests/unit/webhook/test.h"

#include "common/mesh/label.h"
#include "webhook/scrape.h"

#define MERGED                  "'prometheus.io/scrape':'true','prometheus.io/port':'15020','prometheus.io/path':'/stats/prometheus'"
#define APP(scheme, port, path) "{\"version\":1,\"scheme\":\"" scheme "\",\"port\":" port ",\"path\":\"" path "\"}"
#define QUOTED(scheme, port, path)                                                                                     \
    "'{\\\"version\\\":1,\\\"scheme\\\":\\\"" scheme "\\\",\\\"port\\\":" port ",\\\"path\\\":\\\"" path "\\\"}'"
#define ONE_PORT                                                                                                       \
    "{'containers':[{'name':'a','ports':[{'containerPort':8080},{'containerPort':8080,'protocol':'TCP'},"              \
    "{'containerPort':53,'protocol':'UDP'}]}]}"

static const struct {
    const char *annotations, *spec;
    bool merge, set;
    const char *port, *path;
    const char *scheme;  /* NULL: not written */
    const char *metrics; /* NULL: none */
    const char *warning;
} rows[] = {
    {"", "{}", true, true, "15020", "/stats/prometheus", NULL, NULL, NULL},
    {"'prometheus.io/scrape':'false','prometheus.io/port':'80'", "{}", true, false, NULL, NULL, NULL, NULL, NULL},
    {"'prometheus.io/scrape':'true','prometheus.io/port':'9100'", "{}", true, true, "15020", "/stats/prometheus", NULL,
     APP("http", "9100", "/metrics"), NULL},
    {"'prometheus.io/scrape':'true','prometheus.io/port':'9100','prometheus.io/path':'/x?y=1','prometheus.io/scheme':"
     "'https'",
     "{}", true, true, "15020", "/stats/prometheus", "http", APP("https", "9100", "/x?y=1"), NULL},
    {"'prometheus.io/scrape':'true','prometheus.io/port':'1','prometheus.io/scheme':'http'", "{}", true, true, "15020",
     "/stats/prometheus", NULL, APP("http", "1", "/metrics"), NULL},
    /* a port without scrape is not scraped by anybody */
    {"'prometheus.io/port':'9100'", "{}", true, true, "15020", "/stats/prometheus", NULL, NULL, NULL},
    {"'prometheus.io/scrape':'true','prometheus.io/port':'15090'", "{}", true, true, "15020", "/stats/prometheus", NULL,
     NULL, NULL},
    /* without a port: the one that is declared */
    {"'prometheus.io/scrape':'true'", ONE_PORT, true, true, "15020", "/stats/prometheus", NULL,
     APP("http", "8080", "/metrics"), NULL},
    {"'prometheus.io/scrape':'true'", "{}", true, false, NULL, NULL, NULL, NULL, "prometheus.io/port is needed"},
    {"'prometheus.io/scrape':'true'", "{'containers':[{'ports':[{'containerPort':1},{'containerPort':2}]}]}", true,
     false, NULL, NULL, NULL, NULL, "prometheus.io/port is needed"},
    {"'prometheus.io/scrape':'true','prometheus.io/port':'web'", "{}", true, false, NULL, NULL, NULL, NULL,
     "the metrics stay apart: "},
    {"'prometheus.io/scrape':'true','prometheus.io/port':'80','prometheus.io/path':'a b'", "{}", true, false, NULL,
     NULL, NULL, NULL, "the metrics stay apart: "},
    {"'prometheus.io/scrape':'true','prometheus.io/port':'80','prometheus.io/scheme':'ftp'", "{}", true, false, NULL,
     NULL, NULL, NULL, "the metrics stay apart: "},
    /* reviewed again */
    {MERGED ",'fairlead.io/metrics':" QUOTED("http", "9100", "/m"), "{}", true, true, "15020", "/stats/prometheus",
     NULL, APP("http", "9100", "/m"), NULL},
    {MERGED, ONE_PORT, true, true, "15020", "/stats/prometheus", NULL, NULL, NULL},
    {MERGED ",'fairlead.io/metrics':'forged'", "{}", true, true, "15020", "/stats/prometheus", NULL, NULL, NULL},
    {MERGED ",'fairlead.io/metrics':" QUOTED("http", "15000", "/"), "{}", true, true, "15020", "/stats/prometheus",
     NULL, NULL, NULL},
    {"'prometheus.io/scrape':'true','prometheus.io/port':'81','prometheus.io/path':'/stats/prometheus',"
     "'fairlead.io/metrics':" QUOTED("http", "9100", "/m"),
     "{}", true, true, "15020", "/stats/prometheus", NULL, APP("http", "81", "/stats/prometheus"), NULL},
    /* turned off */
    {"'prometheus.io/scrape':'true','prometheus.io/port':'80'", "{}", false, false, NULL, NULL, NULL, NULL, NULL},
    {MERGED ",'fairlead.io/metrics':" QUOTED("https", "9100", "/m"), "{}", false, true, "9100", "/m", "https", NULL,
     NULL},
    {MERGED, "{}", false, false, NULL, NULL, NULL, NULL, NULL},
};

static struct fl_json *pod_of(const char *annotations, const char *spec)
{
    char text[2048];
    snprintf(text, sizeof(text), "{'metadata':{'annotations':{%s}},'spec':%s}", annotations, spec);
    return json(text);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct webhook_scrape scrape;
        struct webhook_warnings warnings = {.count = 0};
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = pod_of(rows[i].annotations, rows[i].spec);
        assert_int_equal(webhook_scrape_plan(pod, rows[i].merge, &scrape, &warnings), 0);
        if (scrape.set != rows[i].set || scrape.set_scheme != (rows[i].scheme != NULL))
            fail_msg("%s: %d, %d", rows[i].annotations, scrape.set, scrape.set_scheme);
        if (scrape.set) {
            assert_span(scrape.scrape, "true");
            assert_span(scrape.port, rows[i].port);
            assert_span(scrape.path, rows[i].path);
        }
        if (scrape.set_scheme)
            assert_span(scrape.scheme, rows[i].scheme);
        assert_span(fl_buf_span(&scrape.text), rows[i].metrics != NULL ? rows[i].metrics : "");
        assert_int_equal(warnings.count, rows[i].warning != NULL);
        if (rows[i].warning != NULL)
            assert_contains(warnings.text[0], rows[i].warning);
        webhook_scrape_done(&scrape);
    }
}

static void test_allocations(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *pod = pod_of(MERGED ",'fairlead.io/metrics':" QUOTED("http", "9100", "/m"), "{}");
    FAIL_EACH_ALLOCATION
    {
        struct webhook_scrape scrape;
        struct webhook_warnings warnings = {.count = 0};
        int result = webhook_scrape_plan(pod, true, &scrape, &warnings);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (result == 0)
            webhook_scrape_done(&scrape);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_allocations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
