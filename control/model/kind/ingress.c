#include "control/model/kind/ingress.h"

#include "control/model/kind/field.h"

#include <errno.h>

/* An IP address before a host name, as the API server lets both stand in one entry. */
static struct fl_span address_of(const struct fl_json *entry)
{
    struct fl_span ip = fl_json_string(fl_json_get(entry, "ip"));
    struct fl_span name = fl_json_string(fl_json_get(entry, "hostname"));
    struct control_ip parsed;
    if (ip.len > 0 && control_ip_parse(ip, &parsed) == 0)
        return ip;
    return fl_is_dns_subdomain(name) ? name : (struct fl_span){NULL, 0};
}

int control_read_ingress(struct fl_reader *reader, const struct fl_json *document, struct control_service *service)
{
    const struct fl_json *balancer = fl_json_get(fl_json_get(document, "status"), "loadBalancer");
    const struct fl_json *entry = fl_json_first(fl_json_get(balancer, "ingress"));
    if (entry == NULL)
        return 0;
    struct fl_span *items = fl_arena_array(reader->context, CONTROL_INGRESS_MAX, sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    service->ingress = items;
    for (; entry != NULL && service->ingress_count < CONTROL_INGRESS_MAX; entry = fl_json_next(entry)) {
        struct fl_span address = address_of(entry);
        if (address.len == 0)
            continue;
        int result = control_copy(reader, address, &items[service->ingress_count]);
        if (result < 0)
            return result;
        service->ingress_count++;
    }
    return 0;
}
