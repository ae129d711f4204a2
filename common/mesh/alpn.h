/* ALPN tokens (RFC 7301) between sidecars and to others: what each promises, and which of a TLS context's tokens a
 * connection offers by its use. The rule for both ends of a mesh, in this one place.
 *
 *     fairlead-http/1        requests of any HTTP version over HTTP/2, restored at the far end; a preface first
 *     fairlead-tcp/1         opaque bytes; a preface first
 *     h2, istio-h2           HTTP/2
 *     http/1.1, http/1.0, istio-http/1.1, istio-http/1.0
 *     istio, istio-peer-exchange    opaque bytes (Istio's peer metadata is not spoken: both ends may go without)
 */
#ifndef FL_MESH_ALPN_H
#define FL_MESH_ALPN_H

#include "common/base/span.h"

#define FL_ALPN_TCP  "fairlead-tcp/1"
#define FL_ALPN_HTTP "fairlead-http/1"

enum fl_alpn_kind {
    FL_ALPN_KIND_UNKNOWN, /* also the empty token: none was agreed on */
    FL_ALPN_KIND_SHARED,  /* fairlead-http/1 */
    FL_ALPN_KIND_HTTP2,
    FL_ALPN_KIND_HTTP1,
    FL_ALPN_KIND_BYTES,
};
enum fl_alpn_kind fl_alpn_kind(struct fl_span token);
/* Each side sends a preface (preface.h) before anything else. */
bool fl_alpn_has_preface(struct fl_span token);

enum fl_alpn_use {
    FL_ALPN_USE_ANY,   /* all tokens */
    FL_ALPN_USE_HTTP,  /* all but those of bytes */
    FL_ALPN_USE_HTTP1, /* a connection of one's own for HTTP: those of HTTP/1 */
    FL_ALPN_USE_BYTES, /* those of bytes, and unknown ones */
};
/* Whether it is offered; a list of which none is offers all. */
bool fl_alpn_is_offered(struct fl_span token, enum fl_alpn_use use);

#endif
