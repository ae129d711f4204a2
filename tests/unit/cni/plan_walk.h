/* What a plan does to one packet: its rules walked as the kernel walks them, without a kernel. So plans are held
 * against what specs mean. */
#ifndef TESTS_CNI_PLAN_WALK_H
#define TESTS_CNI_PLAN_WALK_H

#include "cni/capture/plan.h"

struct cni_packet {                      /* the first one of a connection, or a stray one */
    bool inward;                         /* comes from outside the netns; false: sent by a process of it */
    int family;                          /* AF_INET, AF_INET6 */
    uint8_t protocol;                    /* IPPROTO_… */
    uint8_t source[16], destination[16]; /* network order; 4 bytes of AF_INET */
    uint16_t source_port, destination_port;
    const char *interface; /* which it comes in by, or leaves through: "lo", "eth0", … */
    uint32_t uid, gid;     /* of the socket that sent it; read where it is not inward */
    bool invalid;          /* belongs to no connection and begins none; read where it is inward */
};

struct cni_decision {
    bool dropped;
    uint16_t redirected;         /* to this port of the netns; 0: it goes its way */
    uint16_t zone;               /* tracked there; 0: where everything is */
    const struct cni_rule *rule; /* that dropped, redirected or accepted it; NULL: none said anything */
};

void cni_plan_decide(const struct cni_plan *plan, const struct cni_packet *packet, struct cni_decision *ret_decision);

#endif
