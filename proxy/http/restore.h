/* HTTP/1 over a shared HTTP/2 connection between sidecars (ALPN fairlead-http/1), and back: what HTTP/2 has no place
 * for travels in one private field, so that the far end can put the message together as it was. Pure.
 *
 *     sender:    proxy_restore_pack_*    then the HTTP/2 encoder     (message as parsed, or as routes changed it)
 *     receiver:  the HTTP/2 decoder,     then proxy_restore_unpack_*
 *
 * What is kept: the version (1.0, 1.1; no field: it came by HTTP/2), the target's absolute form, whether there was a
 * Host, its place, the sender's word on its connection, an answer until close, the places of Transfer-Encoding, TE and
 * Upgrade, the case of field names, a reason phrase that is not the usual one. What is not kept is what an HTTP/1 proxy
 * between the two would not pass on either: chunk boundaries and extensions, Connection and what it names, white space
 * around values, Content-Length fields beyond the first. Beyond that (docs/http.md): several Cookie fields are one.
 *
 * The value; "1t" is the usual one of curl, Go and Java, and HPACK makes one byte of what was there before:
 *
 *     version   "0" | "1"
 *     case      "l" all names lower | "t" a capital at the front and after each hyphen
 *     items     each "," and then; first those that say where a field is, in the order of the places, which count the
 *               fields that are passed on from 0
 *               h<place>     Host (default: 0); h-: there is none
 *               e<place>     Transfer-Encoding: chunked
 *               t<place>     TE: trailers
 *               u<place>     Upgrade; an answer that has it is a 101, which HTTP/2 tells as a 200
 *               c            it closes (HTTP/1.1), or keeps its connection (HTTP/1.0)
 *               z            answer: until close
 *               a | A        absolute form | and it had no path
 *               n<place>x<hex>  the name of that field: a bit for each capital letter, its first octet's lowest
 *               r<text>      the reason phrase, its octets from 0x21 but % as they are, others %<two hex digits>; last
 *
 * The private field is never taken from an application: pack removes what a message says under its name, in both
 * directions and in trailers. Unpack takes the word of the last hop, which is an authenticated sidecar: a value that is
 * none (or longer than pack makes it, or says a place twice) is -EPROTO, and the message is not to be used.
 */
#ifndef PROXY_HTTP_RESTORE_H
#define PROXY_HTTP_RESTORE_H

#include "proxy/http/message.h"

#define PROXY_RESTORE_FIELD     "fairlead-http"
#define PROXY_RESTORE_VALUE_MAX 1024u /* bytes of a value: spellings that do not fit are not kept */
#define PROXY_RESTORE_NAME_MAX  64u   /* octets of a name that is neither lower nor capitalised whose case is kept */

/* Changes `message` for the HTTP/2 encoder: removes what is not passed on, and adds the private field where the message
 * came by HTTP/1. `room`: PROXY_RESTORE_VALUE_MAX bytes that the value points into. Where the list of fields is full
 * the field is left out: the message arrives as one of HTTP/2. */
void proxy_restore_pack_request(struct proxy_message *request, char *room);
void proxy_restore_pack_response(struct proxy_message *response, char *room);
void proxy_restore_pack_trailers(struct proxy_headers *trailers, char *room);

/* Of a 2xx that HTTP/2 tells to an extended CONNECT, before it is unpacked: whether it was a 101. True where nothing is
 * said: the application speaks HTTP/2, and means a tunnel. */
bool proxy_restore_is_upgrade(const struct proxy_headers *answer);

/* The other way. names: memory for `size` bytes that must live as long as the message; what
 * does not fit stays as HTTP/2 has it. 0 or -EPROTO. */
int proxy_restore_unpack_request(struct proxy_message *request, char *names, size_t size) FL_MUST_CHECK;
int proxy_restore_unpack_response(struct proxy_message *response, char *names, size_t size) FL_MUST_CHECK;
int proxy_restore_unpack_trailers(struct proxy_headers *trailers, char *names, size_t size) FL_MUST_CHECK;

#endif
