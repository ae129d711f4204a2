/* What connection tracking says of one connection: its two directions, read from ctnetlink's messages. Pure; bytes are
 * not trusted.
 */
#ifndef CNI_CAPTURE_FLOW_H
#define CNI_CAPTURE_FLOW_H

#include <stdbool.h>
#include <stdint.h>

struct nlmsghdr;

struct cni_flow_way {
    uint8_t source[16], destination[16]; /* network order; 4 bytes used for AF_INET, the rest zero */
    uint16_t source_port, destination_port;
};

struct cni_flow {
    int family;       /* AF_INET, AF_INET6 */
    uint8_t protocol; /* IPPROTO_* */
    struct cni_flow_way original, reply;
};

/* False where the message is none of a connection, or lacks one of the two directions, or ports. `message` is whole
 * (cni_messages_next). */
bool cni_flow_read(const struct nlmsghdr *message, struct cni_flow *ret_flow);

#define CNI_FLOW_REQUEST_MAX 64

/* Writes a request that every kernel with ctnetlink answers (its counts), and that loads the module where it can be.
 * `buffer`: ≥ CNI_FLOW_REQUEST_MAX bytes, aligned as struct nlmsghdr. */
struct nlmsghdr *cni_flow_request(void *buffer);

#endif
