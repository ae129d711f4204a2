/* "path \n location": a target is always an origin form without blanks, and a redirect never leaves the pod's address
 * nor reaches a port of the sidecar. The same bytes are a health check's answer. */
#include "common/mesh/port.h"
#include "proxy/admin/apphealth.h"
#include "proxy/admin/appscrape.h"
#include "proxy/admin/appurl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_target(const struct proxy_appurl *url)
{
    check(url->target.len > 0 && url->target.data[0] == '/');
    for (size_t i = 0; i < url->target.len; i++)
        check(url->target.data[i] > ' ' && url->target.data[i] < 0x7f && url->target.data[i] != '#');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span text = fl_span_make(data, size), path = {NULL, 0}, location = {NULL, 0};
    struct proxy_appurl url;
    struct proxy_address here;
    bool relative = false;
    (void)fl_span_split(&text, '\n', &path);
    (void)fl_span_split(&text, '\n', &location);
    proxy_appurl_init(&url);
    check(proxy_address_parse(FL_SPAN("10.0.0.1"), 8080, &url.to) == 0);
    here = url.to;
    if (proxy_appurl_set_path(&url, path) == 0) {
        check_target(&url);
        int where = proxy_appurl_follow(&url, location, &relative);
        check_target(&url);
        check(fl_span_eq(proxy_address_bytes(&url.to), proxy_address_bytes(&here)));
        check(where == PROXY_APPURL_SAME || proxy_address_eq(&url.to, &here));
        check(!fl_port_is_ours(proxy_address_port(&url.to)) && proxy_address_port(&url.to) != 0);
    }
    proxy_appurl_done(&url);
    check(proxy_apphealth_status(fl_span_make(data, size)) >= -1);
    check(proxy_appscrape_wait_ms(fl_span_make(data, size)) <= PROXY_APPSCRAPE_WAIT_MAX);
    return 0;
}
