/* What the files of downstream connections share: downstream.c (from accept to filter), proxied.c (the PROXY protocol),
 * inspect.c (first bytes),
 * early.c (a server dialled meanwhile), parking.c (destinations that are asked for), rebind.c (changed listeners). For
 * these alone. */
#ifndef PROXY_FILTER_DOWNSTREAM_INNER_H
#define PROXY_FILTER_DOWNSTREAM_INNER_H

#include "proxy/filter/downstream.h"
#include "proxy/net/detect.h"

/* Counted, told, reset and ended. */
void downstream_refuse(struct proxy_downstream *downstream, enum proxy_refused reason);
/* It belongs to this listener (of the snapshot in force): counted, and in the list of its slot. */
void downstream_bind(struct proxy_downstream *downstream, const struct proxy_listener *listener);
/* Out of the list that it is in; the listener stays what it is. */
void downstream_unlist(struct proxy_downstream *downstream);
/* inspect.c. From its listener to its first bytes. It may be gone afterwards. */
void downstream_begin(struct proxy_downstream *downstream);
/* inspect.c. Its listener has changed while its first bytes are looked at. */
void downstream_watch_again(struct proxy_downstream *downstream);
/* inspect.c. The early connection's server has said something (or ended), or that connection is gone. It may be gone
 * afterwards. */
void downstream_server_spoke(struct proxy_downstream *downstream);
void downstream_server_failed(struct proxy_downstream *downstream);
/* What its first bytes were, where they decided; from there to its chain, TLS and filter. It may be gone afterwards. */
void downstream_choose(struct proxy_downstream *downstream, enum proxy_detect_result kind,
                       const struct proxy_detect *detect);
/* The chain that a listener has for it, by what its first bytes were. NULL: none. */
const struct proxy_filter_chain *downstream_pick(const struct proxy_downstream *downstream,
                                                 const struct proxy_listener *listener);
/* rebind.c. Where its listener has changed: under the new one, or refused (conn is NULL then), or soon ended. */
void downstream_rebind(struct proxy_downstream *downstream);

/* downstream.c. By its destination to the listener that has it (`listener`, or one that it hands over to), and on. */
void downstream_place(struct proxy_downstream *downstream, const struct proxy_listener *listener);
/* downstream.c. Whether a destination is one of our own. */
bool downstream_leads_to_us(const struct proxy_data *data, const struct proxy_listener *listener,
                            const struct proxy_address *destination, const struct proxy_address *peer);
/* proxied.c. It is bound to a listener that reads a header of the PROXY protocol first; then it is placed, or refused.
 */
void downstream_await_header(struct proxy_downstream *downstream);

/* parking.c. Where nobody knows its destination yet and the directory can be asked: true, it is parked (or refused). */
bool downstream_park(struct proxy_downstream *downstream);

#endif
