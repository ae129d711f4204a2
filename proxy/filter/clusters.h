/* The clusters of a worker at work: their state by slot, and what a snapshot changes in it. For data.c. */
#ifndef PROXY_FILTER_CLUSTERS_H
#define PROXY_FILTER_CLUSTERS_H

#include "proxy/filter/data.h"

/* Room for that many slots. 0 or -ENOMEM. */
int proxy_clusters_grow(struct proxy_data *data, size_t slots) FL_MUST_CHECK;
/* data->snapshot is another one: what it changes is brought up to date at its next use, or soon by itself. */
void proxy_clusters_compare(struct proxy_data *data);
void proxy_clusters_close_idle(struct proxy_data *data); /* idle connections of all of them: memory is short */
/* All of them, at the end. */
void proxy_clusters_drop(struct proxy_data *data);

#endif
