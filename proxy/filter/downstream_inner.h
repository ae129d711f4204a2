/* What the files of downstream connections share: downstream.c (from accept to filter), parking.c (destinations that
 * are asked for), rebind.c (changed listeners). For these alone. */
#ifndef PROXY_FILTER_DOWNSTREAM_INNER_H
#define PROXY_FILTER_DOWNSTREAM_INNER_H

#include "proxy/filter/downstream.h"

/* Counted, told, reset and ended. */
void downstream_refuse(struct proxy_downstream *downstream, enum proxy_refused reason);
/* It belongs to this listener (of the snapshot in force): counted, and in the list of its slot. */
void downstream_bind(struct proxy_downstream *downstream, const struct proxy_listener *listener);
/* Out of the list that it is in; the listener stays what it is. */
void downstream_unlist(struct proxy_downstream *downstream);
/* From its listener to its first bytes. It may be gone afterwards. */
void downstream_begin(struct proxy_downstream *downstream);
/* The chain that a listener has for it, by what its first bytes were. NULL: none. */
const struct proxy_filter_chain *downstream_pick(const struct proxy_downstream *downstream,
                                                 const struct proxy_listener *listener);
/* rebind.c. Where its listener has changed: under the new one, or refused (conn is NULL then), or soon ended. */
void downstream_rebind(struct proxy_downstream *downstream);

/* parking.c. Where nobody knows its destination yet and the directory can be asked: true, it is parked (or refused). */
bool downstream_park(struct proxy_downstream *downstream);

#endif
