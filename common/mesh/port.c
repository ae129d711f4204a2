#include "common/mesh/port.h"

bool fl_port_is_ours(uint16_t port)
{
    switch (port) {
    case FL_PORT_ADMIN:
    case FL_PORT_OUTBOUND:
    case FL_PORT_INBOUND:
    case FL_PORT_MERGED:
    case FL_PORT_HEALTH:
    case FL_PORT_DNS:
    case FL_PORT_STATS:
        return true;
    default:
        return false;
    }
}
