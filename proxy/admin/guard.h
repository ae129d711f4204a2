/* Who may ask the admin port. Pure.
 *
 * Not a web page: a browser on the same host (kubectl port-forward, a debug container) can be made to send requests to
 * loopback, by a name that resolves to 127.0.0.1 (DNS rebinding), or by a form or fetch from a foreign page (CSRF). So
 * the Host must be a loopback address or "localhost", and a request with an Origin, or one that a browser says comes
 * from another site, is refused: there is no page of ours that it could come from.
 *
 * Not the app: every container of the pod reaches the port. So what changes something needs the secret (adminsecret.h),
 * which only the sidecar's volume holds; and a Host, by which a program shows that it knows whom it talks to.
 */
#ifndef PROXY_ADMIN_GUARD_H
#define PROXY_ADMIN_GUARD_H

#include "proxy/admin/adminsecret.h"
#include "proxy/http/message.h"

/* "127.0.0.1", "127.8.8.8:15000", "[::1]:15000", "localhost", "localhost:15000"; empty (HTTP/1.0 without one). */
bool proxy_guard_host(struct fl_span host);

/* NULL where it may pass, else the reason for people (status 403). `changes`: the request changes something. */
const char *proxy_guard_check(const struct proxy_message *request, const struct proxy_admin_secret *secret,
                              bool changes);

#endif
