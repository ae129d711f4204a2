/* Who may ask the admin port: not a web page. Pure.
 *
 * A browser on the same host (kubectl port-forward, a debug container) can be made to send requests to loopback: by a
 * name that resolves to 127.0.0.1 (DNS rebinding), or by a form or fetch from a foreign page (CSRF). So the Host must
 * be an address or "localhost", and what changes something needs POST and, where an Origin is told, our own.
 */
#ifndef PROXY_ADMIN_GUARD_H
#define PROXY_ADMIN_GUARD_H

#include "proxy/http/message.h"

/* "127.0.0.1", "127.0.0.1:15000", "[::1]:15000", "localhost", "localhost:15000"; empty (HTTP/1.0 without one). */
bool proxy_guard_host(struct fl_span host);

/* NULL where it may pass, else the reason for people (status 403). `changes`: the request changes something. */
const char *proxy_guard_check(const struct proxy_message *request, bool changes);

#endif
