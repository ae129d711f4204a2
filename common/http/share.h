/* What one client address holds of the server: connections, and bytes of bodies. So that who is many gives way to who
 * is few. IPv6 counts by /64, which one host has; an IPv4 address in IPv6's form as IPv4.
 *
 * A connection is *known* once the server's owner has vouched for it (fl_http_request_vouch): it gives way last, and so
 * does what comes from its address.
 */
#ifndef FL_HTTP_SHARE_H
#define FL_HTTP_SHARE_H

#include "common/base/map.h"

#include <stdint.h>
#include <sys/socket.h>

#define FL_HTTP_SHARE_KEY 9 /* bytes: the family, and of IPv6 8, of IPv4 4 */

struct fl_http_share {
    unsigned char key[FL_HTTP_SHARE_KEY];
    unsigned connections, known;
    size_t bodies;       /* bytes */
    uint64_t turn;       /* of what follows: it begins anew in each */
    unsigned accepted;   /* in this turn */
    unsigned handshakes; /* steps of them in this turn */
};

struct fl_http_shares { /* embedded; one share for each address that has a connection */
    struct fl_map map;
};

void fl_http_shares_init(struct fl_http_shares *shares, size_t max);
void fl_http_shares_done(struct fl_http_shares *shares);

/* The address's share, made where there is none. NULL: memory is out, or there are too many. */
struct fl_http_share *fl_http_share_of(struct fl_http_shares *shares, const struct sockaddr *address);
/* One that holds no connection goes. */
void fl_http_share_release(struct fl_http_shares *shares, struct fl_http_share *share);
/* Begins its count for this turn anew where it is of an earlier one. */
void fl_http_share_turn(struct fl_http_share *share, uint64_t turn);

/* Whether a's connections give way before b's: those of an address that has no known one, then of who has more that are
 * not known. */
bool fl_http_share_yields(const struct fl_http_share *a, const struct fl_http_share *b);

#endif
