/* The compiled table: for the files of proxy/route alone. */
#ifndef PROXY_ROUTE_TABLE_PRIVATE_H
#define PROXY_ROUTE_TABLE_PRIVATE_H

#include "proxy/route/domain.h"
#include "proxy/route/table.h"

struct proxy_pattern { /* in the arena */
    struct fl_pattern *pattern;
    struct proxy_pattern *next;
};

struct proxy_route_table {
    struct proxy_route_config config;
    struct proxy_domains domains;
    struct fl_arena arena; /* everything that config and domains point to, but the patterns */
    struct proxy_pattern *patterns;
    size_t pattern_bytes;
};

#endif
