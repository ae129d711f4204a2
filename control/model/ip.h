/* One IP address, compact (17 bytes) and comparable. IPv4-mapped IPv6 is read as IPv4, so that equal peers are equal.
 */
#ifndef CONTROL_MODEL_IP_H
#define CONTROL_MODEL_IP_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#define CONTROL_IP_TEXT_MAX 46 /* with NUL */

struct control_ip {
    uint8_t version;   /* 4, 6; 0: none */
    uint8_t bytes[16]; /* network order; 4 used for version 4, the rest zero */
};

/* Text without brackets, zone or prefix. 0 or -EINVAL. */
int control_ip_parse(struct fl_span text, struct control_ip *ret_ip) FL_MUST_CHECK;
/* NUL-terminated; returns `room`. The empty text for version 0. */
const char *control_ip_print(const struct control_ip *ip, char room[CONTROL_IP_TEXT_MAX]);
int control_ip_compare(const struct control_ip *a, const struct control_ip *b);

#endif
