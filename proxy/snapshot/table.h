/* The tables of snapshots while they are made: what each slot leads to now. Who builds snapshots sets what changes;
 * freezing gives the next snapshot a copy of the values, and a share of the pages that count them.
 *
 * A page counts what 64 slots lead to. A page in which nothing has changed is the same one in all snapshots, so
 * freezing costs a copy of the array (8 bytes a slot) and the pages that have changed, whatever else there is. Main
 * thread only; pages go with the last snapshot that shares them, wherever that is freed.
 */
#ifndef PROXY_SNAPSHOT_TABLE_H
#define PROXY_SNAPSHOT_TABLE_H

#include "proxy/snapshot/snapshot.h"

#define PROXY_PAGE_SLOTS 64u

enum proxy_table_kind { /* struct proxy_… */
                        PROXY_TABLE_LISTENERS,
                        PROXY_TABLE_CLUSTERS,
                        PROXY_TABLE_ENDPOINTS, /* by the cluster's slot */
                        PROXY_TABLE_ROUTES,
                        PROXY_TABLE_TLS, /* struct fl_tls_context */
                        PROXY_TABLE_KINDS,
};

struct proxy_page;
struct proxy_table_page {
    struct proxy_page *frozen; /* counted: as the last freeze left it; NULL: all its slots lead nowhere */
    bool touched;              /* something was set since */
};

struct proxy_table {
    enum proxy_table_kind kind;
    const void **values; /* by slot; not counted: who sets one keeps it until it is set to another */
    struct proxy_table_page *pages;
    size_t size;  /* slots: a multiple of PROXY_PAGE_SLOTS */
    size_t count; /* that lead somewhere */
    bool touched; /* one of the pages is */
};

void proxy_table_init(struct proxy_table *table, enum proxy_table_kind kind);
void proxy_table_done(struct proxy_table *table);

/* Room for that slot, so that setting it cannot fail. 0 or -ENOMEM. */
int proxy_table_reserve(struct proxy_table *table, uint32_t index) FL_MUST_CHECK;
/* NULL: nothing (then no room is needed). */
void proxy_table_set(struct proxy_table *table, uint32_t index, const void *value);
/* Whether it is another one than was frozen last. What was set and set back is no change. */
bool proxy_table_changed(struct proxy_table *table);

/* Copies the values into the arena of `unit`, which holds them from now on. -ENOMEM: some changes may be forgotten: the
 * next freeze must not be left out for want of a change. */
int proxy_table_freeze(struct proxy_table *table, struct proxy_unit *unit, const void *const **ret_values,
                       size_t *ret_size) FL_MUST_CHECK;

#endif
