/* HTTP/1 over a shared HTTP/2 connection between sidecars (ALPN fairlead-http/1), and back: what HTTP/2 has no place
 * for travels in one private field, so that the far end can put the message together as it was. Pure.
 *
 *     sender:   proxy_restore_pack_*    then the HTTP/2 encoder     (message as parsed, or as routes changed it)
 *     receiver: the HTTP/2 decoder,     then proxy_restore_unpack_*
 *
 * What is kept: the version (1.0, 1.1; no field: it came by HTTP/2), the target's absolute form, whether there was a
 * Host, its place and spelling, the sender's word on its connection, an answer until close, the place and spelling of
 * Transfer-Encoding and Upgrade, the case of field names, a reason phrase that is not the usual one. What is not kept:
 * chunk boundaries and extensions, Connection and what it names, TE other than trailers, white space around values,
 * Content-Length fields beyond the first: what an HTTP/1 proxy between the two would not pass on either.
 *
 * The value, in the order of the list, is short enough for HPACK to index ("1t" is the usual one of curl, Go and Java):
 *
 *     version   "0" | "1"
 *     case      "l" all names lower | "t" a capital after each hyphen and at the front
 *     items     each "," and then
 *               c           the sender said close (1.1) or did not say keep-alive (1.0 says it by "k")
 *               k           HTTP/1.0 with keep-alive
 *               a<scheme>   absolute form;  A<scheme>: and without a path
 *               h<at>       Host is the <at>th field (default: the first);  h-: there is none
 *               e<at>       Transfer-Encoding: chunked is the <at>th field (default: not among the fields)
 *               u<at>       Upgrade is
 *               u-          answer: until close
 *               n<at>x<hex> the name of field <at>: a bit for each capital, the first letter's lowest
 *               r<text>.    the reason phrase (last)
 *
 * The private field is never taken from an application: pack removes what a message says under its name, in both
 * directions and in trailers; an HTTP/1 writer drops it as a field of one connection (PROXY_HEADER_FAIRLEAD_HTTP).
 * Unpack takes the last hop's word, which is an authenticated sidecar's: a value that is no value is ignored, the
 * message stays one of HTTP/2, and -EPROTO tells.
 */
#ifndef PROXY_HTTP_RESTORE_H
#define PROXY_HTTP_RESTORE_H

#include "proxy/http/message.h"

#define PROXY_RESTORE_FIELD "fairlead-http"
#define PROXY_RESTORE_VALUE_MAX                                                                                        \
    1024u /* bytes of a value; names whose case does not fit are restored as the rest are                              \
           */

/* Changes `message` for the HTTP/2 encoder: removes what belongs to one connection, Host (its authority says it),
 * Transfer-Encoding, and adds the private field where it came by HTTP/1. `room`: PROXY_RESTORE_VALUE_MAX bytes that the
 * value points into. 0, or -E2BIG where the list of fields is full. */
int proxy_restore_pack_request(struct proxy_message *request, char *room) FL_MUST_CHECK;
int proxy_restore_pack_response(struct proxy_message *response, char *room) FL_MUST_CHECK;
int proxy_restore_pack_trailers(struct proxy_headers *trailers, char *room) FL_MUST_CHECK;

/* The other way. `end`: no body follows. names: memory for `size` bytes that must live as long as the message; where
 * names or a target do not fit they stay as HTTP/2 has them. 0, -EPROTO, -E2BIG. */
int proxy_restore_unpack_request(struct proxy_message *request, bool end, char *names, size_t size) FL_MUST_CHECK;
int proxy_restore_unpack_response(struct proxy_message *response, bool end, char *names, size_t size) FL_MUST_CHECK;
int proxy_restore_unpack_trailers(struct proxy_headers *trailers, char *names, size_t size) FL_MUST_CHECK;

#endif
