/* resolv.conf: any bytes are one. */
#include "proxy/dns/resolvconf.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_resolvconf conf;
    proxy_resolvconf_parse(fl_span_make(data, size), &conf);
    if (conf.count == 0 || conf.count > PROXY_RESOLVCONF_SERVERS || conf.timeout_s == 0)
        abort();
    for (size_t i = 0; i < conf.count; i++) {
        if (!proxy_address_is_set(&conf.servers[i]) || proxy_address_port(&conf.servers[i]) != PROXY_RESOLVCONF_PORT)
            abort();
    }
    return 0;
}
