/* What packing (restore_pack.c) and unpacking (restore_unpack.c) have in common. For these alone. */
#ifndef PROXY_HTTP_RESTORE_INNER_H
#define PROXY_HTTP_RESTORE_INNER_H

#include "proxy/http/restore.h"

#define RESTORE_FIELD FL_SPAN(PROXY_RESTORE_FIELD)

/* The well-known names as most HTTP/1 programs write them, by id; NULL: PROXY_HEADER_OTHER. */
extern const char *const restore_capitalised[PROXY_HEADER_IDS];

static inline bool restore_is_upper(char octet)
{
    return octet >= 'A' && octet <= 'Z';
}

static inline bool restore_is_lower(char octet)
{
    return octet >= 'a' && octet <= 'z';
}

#endif
