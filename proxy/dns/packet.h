/* DNS messages (RFC 1035 §4, EDNS0: RFC 6891), as far as a proxy must know them that hands them on as they are: the
 * question, how large an answer may be, how long it holds and where its TTLs stand. Pure: nothing is copied, kept or
 * allocated, and no byte beyond the message is read.
 *
 * Strict about the frame, blind to the content: every record's owner name and length is checked (a compression pointer
 * leads to an earlier place than where it stands, so a walk ends; names are at most 255 bytes), record data of whatever
 * type is never looked into, but for the minimum of an SOA (RFC 2308).
 */
#ifndef PROXY_DNS_PACKET_H
#define PROXY_DNS_PACKET_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#include <stdint.h>

#define PROXY_DNS_HEADER_SIZE 12
#define PROXY_DNS_NAME_MAX    255 /* bytes of a name, its lengths and the root included */
#define PROXY_DNS_MESSAGE_MAX 65535
#define PROXY_DNS_UDP_SIZE    512 /* what may be sent by UDP to whoever says nothing else */
#define PROXY_DNS_KEY_MAX     (PROXY_DNS_NAME_MAX + 6)
#define PROXY_DNS_ERROR_MAX   (PROXY_DNS_HEADER_SIZE + PROXY_DNS_NAME_MAX + 4)

enum proxy_dns_rcode {
    PROXY_DNS_NOERROR = 0,
    PROXY_DNS_FORMERR = 1,
    PROXY_DNS_SERVFAIL = 2,
    PROXY_DNS_NXDOMAIN = 3,
    PROXY_DNS_NOTIMP = 4,
    PROXY_DNS_REFUSED = 5,
};

struct proxy_dns_question {
    struct fl_span name; /* as it stands in the message: lengths and labels, root included, no pointer, any case */
    uint16_t type, class;
};

struct proxy_dns_query {
    struct proxy_dns_question question;
    uint16_t id;
    uint16_t limit; /* bytes of an answer by UDP that the client takes, ≥ PROXY_DNS_UDP_SIZE */
    uint8_t flags;  /* RD, AD, CD, whether there is EDNS, DO: with the question what an answer hangs on */
    bool alone;     /* has something of its own (EDNS options, a signature …): its answer is nobody else's */
};

enum proxy_dns_query_result {
    PROXY_DNS_QUERY_GOOD = 0,
    PROXY_DNS_QUERY_DROP,    /* no query at all: an answer to it could begin a loop */
    PROXY_DNS_QUERY_FORMERR, /* not one question, or broken */
    PROXY_DNS_QUERY_NOTIMP,  /* an update, a notification … */
    PROXY_DNS_QUERY_REFUSED, /* the transfer of a zone: more than one message, and not a resolver's affair */
};

/* What a client sent. An enum proxy_dns_query_result; ret_query holds while the packet does, and is set where GOOD. */
enum proxy_dns_query_result proxy_dns_query_parse(struct fl_span packet, struct proxy_dns_query *ret_query);

/* What makes two queries the same, in one case of letters. Returns its length. */
size_t proxy_dns_query_key(const struct proxy_dns_query *query, char key[PROXY_DNS_KEY_MAX]);

struct proxy_dns_answer {
    uint8_t rcode;
    bool truncated;
    bool negative;
    uint32_t ttl; /* seconds that it may be kept; 0: not at all */
};

enum proxy_dns_answer_result {
    PROXY_DNS_ANSWER_GOOD = 0,
    PROXY_DNS_ANSWER_FOREIGN, /* id or question is another: forged, or late */
    PROXY_DNS_ANSWER_BROKEN,
};

/* What a server sent to a query that had this id and question (whose case does not matter). An error without a question
 * section (FORMERR, NOTIMP of old servers) is an answer. */
enum proxy_dns_answer_result proxy_dns_answer_parse(struct fl_span packet, uint16_t id,
                                                    const struct proxy_dns_question *question,
                                                    struct proxy_dns_answer *ret_answer);

/* --- changes, in place. `packet` is one that was parsed as GOOD; a length is returned where it may change --- */

void proxy_dns_set_id(char *packet, uint16_t id);
/* The question's name as this client spelled it; nothing happens where the length is another. */
void proxy_dns_set_name(char *packet, size_t len, struct fl_span name);
/* Every TTL but EDNS's, less so many seconds, 0 at least. */
void proxy_dns_age(char *packet, size_t len, uint32_t seconds);
/* At most `limit` (≥ PROXY_DNS_UDP_SIZE) bytes: as many whole records of the answer section as fit, EDNS's record, TC.
 */
size_t proxy_dns_truncate(char *packet, size_t len, size_t limit) FL_MUST_CHECK;

/* The error that answers `packet` (≥ PROXY_DNS_HEADER_SIZE bytes); with the question where it has a whole one. */
size_t proxy_dns_error_print(struct fl_span packet, enum proxy_dns_rcode rcode, char out[PROXY_DNS_ERROR_MAX]);

#endif
