/* The client's side of one ADS stream, without the stream: what is wanted, what the server was told, what it has sent,
 * what is still to be answered. Messages come and go as protobuf bytes; delta and state-of-the-world. Pure.
 *
 *   proxy_ads_want ──┐                                              ┌──► take(type, name, version, bytes): 0 or why not
 *   proxy_ads_start ─┼──► proxy_ads_next ──► server ──► receive ────┤
 *   proxy_ads_hold ──┘         ▲                                    └──► drop(type, name)
 *                              └──────── ACK, NACK ────────────────────── (the same call)
 *
 * Rules:
 *  - Requests go out by type in the order of enum fl_resource_type (make before break). What changed since the last
 *    request of a type and the answer to its last response share one message. The node goes with the first message of
 *    a stream alone.
 *  - A resource is taken or refused by itself. A refused one keeps what was held before; the response that it came in
 *    is NACKed with its name and the reason, and the good ones of that response are in force all the same.
 *  - A resource whose bytes are those in force is not taken again; its version is noted.
 *  - What is removed goes before what comes is taken: a listener may have the address of one that leaves. What was
 *    refused and is removed is dropped, too, so that nobody remembers it for ever.
 *  - State of the world: what a whole CDS or LDS response does not name is dropped, unless something in it could not
 *    even be named. EDS, RDS and SDS responses change what they name.
 *  - Delta: a resource that nobody wants (any more) is passed over. One with a TTL is dropped when it passes, unless
 *    it is sent again before; one without a body only renews its TTL. Aliases are ignored.
 *  - A server may answer a NACK by the same response at once: from the second NACK of a type in a row on, each waits
 *    (1 s, doubling, up to PROXY_ADS_NACK_MAX_MS), unless a change of what is wanted goes out, which takes it along.
 *  - A stream that ends loses nothing: what is held stays, and its versions go with the next stream's first request.
 *  - A type that nobody asked for is NACKed; what cannot be answered (not a response, no nonce) ends the stream.
 *
 * proxy_ads_next is to be called until it has nothing more after each receive and each change of what is wanted: of two
 * responses of a type that come before, the second is answered for both (a NACK stays one).
 */
#ifndef PROXY_CONFIG_ADS_H
#define PROXY_CONFIG_ADS_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/mesh/resource.h"

#include <stdint.h>

#define PROXY_ADS_MESSAGE_MAX (64u << 20)  /* bytes of a response */
#define PROXY_ADS_MEMORY_MAX  (160u << 20) /* bytes that a response may take while it is worked on */
#define PROXY_ADS_NAMES_MAX   65536        /* resources of a type, wanted or held */
#define PROXY_ADS_NAME_MAX    1024         /* bytes */
#define PROXY_ADS_VERSION_MAX 256          /* bytes of a version, or of a nonce */
#define PROXY_ADS_DETAIL_MAX  1024         /* bytes of a NACK's reason */
#define PROXY_ADS_NACK_MAX_MS 30000u
#define PROXY_ADS_PARTED_MS   10000u /* a name given up: what was still on its way is passed over so long */

struct proxy_ads;

enum proxy_ads_outcome { PROXY_ADS_NOTHING = 1 /* nothing to send */ };

struct proxy_ads_resource {
    enum fl_resource_type type;
    struct fl_span name, version, bytes; /* of the message inside of the Any */
    uint64_t ttl_ms;                     /* 0: none */
};

struct proxy_ads_options {
    bool delta;
    struct fl_span node; /* the Node message, packed. Copied */
    /* Takes a resource into use, or says why not (a negative errno with the reason; -ENOMEM too is answered by a NACK).
     * The spans live until it returns. Neither call may change what is wanted: that comes after what called it. */
    int (*take)(void *owner, const struct proxy_ads_resource *resource, struct fl_err *err);
    void (*drop)(void *owner, enum fl_resource_type type, struct fl_span name);
    void *owner;
};

int proxy_ads_new(const struct proxy_ads_options *options, struct proxy_ads **ret_ads) FL_MUST_CHECK;
struct proxy_ads *proxy_ads_free(struct proxy_ads *ads); /* NULL is allowed; returns NULL */

/* -- what is wanted. 0, -ENOMEM, -ENOSPC (too many), -ENAMETOOLONG. */

/* Everything that there is of a type (CDS, LDS), besides the names. */
void proxy_ads_want_all(struct proxy_ads *ads, enum fl_resource_type type);
int proxy_ads_want(struct proxy_ads *ads, enum fl_resource_type type, struct fl_span name) FL_MUST_CHECK;
/* No longer by name. What is held of it is forgotten (and dropped), unless the type is wanted as a whole. */
void proxy_ads_unwant(struct proxy_ads *ads, enum fl_resource_type type, struct fl_span name, uint64_t now_ms);
bool proxy_ads_wants(const struct proxy_ads *ads, enum fl_resource_type type, struct fl_span name);
/* The names that are wanted become exactly those that were marked since proxy_ads_mark_begin. */
void proxy_ads_mark_begin(struct proxy_ads *ads, enum fl_resource_type type);
int proxy_ads_mark(struct proxy_ads *ads, enum fl_resource_type type, struct fl_span name) FL_MUST_CHECK;
void proxy_ads_mark_end(struct proxy_ads *ads, enum fl_resource_type type, uint64_t now_ms);

/* A resource that is in force before the first stream (kept from an earlier life). Same results as proxy_ads_want. */
int proxy_ads_hold(struct proxy_ads *ads, const struct proxy_ads_resource *resource) FL_MUST_CHECK;

/* -- the stream */

/* A new stream begins: nothing was told yet. */
void proxy_ads_start(struct proxy_ads *ads);
/* The next message, appended to `out`. 0; PROXY_ADS_NOTHING; -ENOMEM, -EMSGSIZE (out is full): nothing was noted as
 * sent. */
int proxy_ads_next(struct proxy_ads *ads, struct fl_buf *out) FL_MUST_CHECK;
/* A response. 0; -EBADMSG: end the stream, err says why (what it held before stays); -ENOMEM: the same. */
int proxy_ads_receive(struct proxy_ads *ads, struct fl_span message, uint64_t now_ms, struct fl_err *err) FL_MUST_CHECK;

/* Drops what outlived its TTL. Returns when to call it again, UINT64_MAX: no need. */
uint64_t proxy_ads_expire(struct proxy_ads *ads, uint64_t now_ms);

/* -- for people */

struct proxy_ads_info {
    bool wildcard;
    size_t wanted, held;          /* names */
    struct fl_span version;       /* of the last response that was accepted (state of the world), or the server's
                                     system_version_info; may be empty */
    uint64_t responses, accepted; /* since the beginning */
    uint64_t nacks;               /* responses with something refused */
    struct fl_span nack;          /* the last reason; empty: none. With the next response accepted it goes */
    uint64_t nack_ms;
};
void proxy_ads_describe(const struct proxy_ads *ads, enum fl_resource_type type, struct proxy_ads_info *ret_info);
/* The version held of a resource; data == NULL: none is held. */
struct fl_span proxy_ads_version(const struct proxy_ads *ads, enum fl_resource_type type, struct fl_span name);
/* Whether what is held of it has a TTL. */
bool proxy_ads_is_passing(const struct proxy_ads *ads, enum fl_resource_type type, struct fl_span name);
/* Walks what is held; *cursor starts at 0; false at the end. Nothing may be changed on the walk. */
bool proxy_ads_each(const struct proxy_ads *ads, enum fl_resource_type type, size_t *cursor, struct fl_span *ret_name,
                    struct fl_span *ret_version);
/* Responses of types that nobody asked for. */
uint64_t proxy_ads_foreign(const struct proxy_ads *ads);

#endif
