#include "proxy/filter/head.h"

#include "proxy/filter/tracing.h"
#include "proxy/http/forwarded.h"
#include "proxy/tls/filter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#define REQUEST_ID_SIZE 36u /* a UUID's text (RFC 9562) */

static struct proxy_downstream *downstream_of(const struct proxy_exchange_run *exchange)
{
    return exchange->downstream;
}

static char *room(const struct fl_span *scratch)
{
    return (char *)(uintptr_t)scratch->data;
}

static struct fl_span take(struct fl_span *scratch, size_t len)
{
    struct fl_span taken = fl_span_make(scratch->data, len);
    *scratch = fl_span_from(*scratch, len);
    return taken;
}

/* --- who asks ---------------------------------------------------------------------------------------------------- */

/* A version 4 UUID: for people who follow a request through logs, not a secret. */
static void print_request_id(struct proxy_data *data, char *to)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t random[2] = {proxy_data_random(data), proxy_data_random(data)};
    uint8_t octets[16];
    memcpy(octets, random, sizeof(octets));
    octets[6] = 0x40 | (octets[6] & 0x0f);
    octets[8] = 0x80 | (octets[8] & 0x3f);
    for (size_t i = 0; i < sizeof(octets); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        *to++ = digits[octets[i] >> 4];
        *to++ = digits[octets[i] & 15];
    }
}

static int add_request_id(struct proxy_exchange_run *exchange, struct proxy_message *request, struct fl_span *scratch)
{
    if (!proxy_exchange_config(exchange)->generate_request_id || request->headers.first[PROXY_HEADER_X_REQUEST_ID] != 0)
        return 0;
    print_request_id(downstream_of(exchange)->data, room(scratch));
    return proxy_headers_add(&request->headers, FL_SPAN("x-request-id"), take(scratch, REQUEST_ID_SIZE));
}

/* x-forwarded-client-cert: what a client says of it is worth nothing unless the configuration trusts it. Writes into
 * `scratch`. */
static int client_cert(struct proxy_exchange_run *exchange, struct proxy_message *request, struct fl_span *scratch)
{
    const struct proxy_hcm_config *config = proxy_exchange_config(exchange);
    const struct proxy_tls *tls = proxy_tls_of(exchange->downstream->conn);
    const struct fl_span name = FL_SPAN("x-forwarded-client-cert");
    struct fl_span theirs = proxy_headers_value(&request->headers, PROXY_HEADER_X_FORWARDED_CLIENT_CERT);
    bool mutual = tls != NULL && proxy_tls_peer_identity(tls).len > 0;
    enum proxy_forward_cert mode = config->forward_client_cert;
    if (mode == PROXY_XFCC_ALWAYS_FORWARD_ONLY || (mode == PROXY_XFCC_FORWARD_ONLY && mutual))
        return 0;
    if (mode == PROXY_XFCC_SANITIZE || mode == PROXY_XFCC_FORWARD_ONLY || !mutual) {
        proxy_headers_remove(&request->headers, name); /* all of them: the first may be an empty one */
        return 0;
    }
    bool append = mode == PROXY_XFCC_APPEND_FORWARD && theirs.len > 0;
    struct fl_span own = proxy_tls_own_identity(tls), peer = proxy_tls_peer_identity(tls);
    char *to = (char *)(uintptr_t)scratch->data;
    int len = snprintf(to, scratch->len, "%.*s%sBy=%.*s;URI=%.*s", append ? (int)theirs.len : 0,
                       append ? theirs.data : "", append ? "," : "", FL_SPAN_ARG(own), FL_SPAN_ARG(peer));
    if (len < 0 || (size_t)len >= scratch->len)
        return -EMSGSIZE;
    struct fl_span value = fl_span_make(to, (size_t)len);
    *scratch = fl_span_from(*scratch, value.len);
    return proxy_headers_set(&request->headers, name, value);
}

/* The client's address as trusted proxies in front of us tell it, for the log. Where none is trusted the connection's
 * own counts: anybody can write a field. use_remote_address: the last of those proxies is the one that connected. */
static void trusted_client(struct proxy_exchange_run *exchange, const struct proxy_message *request)
{
    const struct proxy_hcm_config *config = proxy_exchange_config(exchange);
    uint32_t hops = config->xff_trusted_hops;
    struct proxy_address client;
    struct fl_span text;
    if (hops == 0 || !proxy_forwarded_for(&request->headers, config->use_remote_address ? hops - 1 : hops, &text))
        return;
    if (proxy_address_parse(text, 0, &client) == 0)
        exchange->trusted_client = client;
}

static int append_forwarded_for(struct proxy_exchange_run *exchange, struct proxy_message *request,
                                struct fl_span *scratch)
{
    const struct proxy_hcm_config *config = proxy_exchange_config(exchange);
    if (!config->use_remote_address || config->skip_xff_append)
        return 0;
    const struct proxy_address *peer = proxy_conn_peer(downstream_of(exchange)->conn);
    char text[INET6_ADDRSTRLEN];
    if (inet_ntop(peer->any.sa_family, proxy_address_bytes(peer).data, text, sizeof(text)) == NULL)
        return 0;
    struct fl_span value;
    int result = proxy_forwarded_append(&request->headers, fl_span_str(text), room(scratch), scratch->len, &value);
    (void)take(scratch, value.len);
    return result;
}

/* --- where to ---------------------------------------------------------------------------------------------------- */

static int default_host(struct proxy_exchange_run *exchange, struct proxy_message *request)
{
    const struct proxy_hcm_config *config = proxy_exchange_config(exchange);
    if (request->authority.len == 0 && config->default_host_for_http_10.len > 0)
        return proxy_message_set_authority(request, config->default_host_for_http_10);
    return 0;
}

/* Not for CONNECT: its target is where the tunnel leads, with a port. */
static int strip_host_port(struct proxy_exchange_run *exchange, struct proxy_message *request)
{
    const struct proxy_hcm_config *config = proxy_exchange_config(exchange);
    uint16_t port = config->strip_any_host_port ? 0 : proxy_address_port(&downstream_of(exchange)->destination);
    bool strip = config->strip_any_host_port || (config->strip_matching_host_port && port != 0);
    if (!strip || request->target_form == PROXY_TARGET_AUTHORITY)
        return 0;
    struct fl_span stripped = proxy_authority_strip_port(request->authority, port);
    return stripped.len < request->authority.len ? proxy_message_set_authority(request, stripped) : 0;
}

static void redirect(struct proxy_exchange_run *exchange, struct fl_span path)
{
    FL_CLEANUP(fl_cleanup_free) char *text = malloc(path.len + 2);
    if (text == NULL) {
        proxy_exchange_reply(exchange, 503, PROXY_FLAG_OVERLOAD, "out_of_memory", NULL, NULL, 0);
        return;
    }
    const struct proxy_header location = {.name = FL_SPAN("location"), .value = proxy_path_reference(path, text)};
    proxy_exchange_reply(exchange, 307, 0, "path_normalization_redirect", "", &location, 1);
}

/* False: answered. */
static bool apply_path(struct proxy_exchange_run *exchange, struct proxy_message *request, struct fl_span *scratch)
{
    struct fl_span changed;
    if (request->path.len > scratch->len) {
        proxy_exchange_reply(exchange, 431, 0, "request_headers_too_large", NULL, NULL, 0);
        return false;
    }
    switch (proxy_path_apply(&proxy_exchange_config(exchange)->path, request->path, room(scratch), &changed)) {
    case PROXY_PATH_SAME:
        return true;
    case PROXY_PATH_CHANGED:
        proxy_message_set_path(request, take(scratch, changed.len));
        return true;
    case PROXY_PATH_REDIRECT:
        redirect(exchange, changed);
        return false;
    case PROXY_PATH_REFUSED:
        break;
    }
    proxy_exchange_reply(exchange, 400, 0, "path_normalization_failed", NULL, NULL, 0);
    return false;
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

/* A list may be spread over several fields (RFC 9110 §5.3): one more is one more member. */
static int add_via(const struct proxy_exchange_run *exchange, struct proxy_headers *headers)
{
    struct fl_span value = proxy_exchange_config(exchange)->via;
    return value.len > 0 ? proxy_headers_add(headers, FL_SPAN("via"), value) : 0;
}

static int request_fields(struct proxy_exchange_run *exchange, struct proxy_message *request, struct fl_span *scratch)
{
    trusted_client(exchange, request);
    int result = default_host(exchange, request);
    if (result == 0)
        result = add_request_id(exchange, request, scratch);
    if (result == 0)
        result = append_forwarded_for(exchange, request, scratch);
    if (result == 0)
        result = client_cert(exchange, request, scratch);
    return result == 0 ? add_via(exchange, &request->headers) : result;
}

bool proxy_head_request(struct proxy_exchange_run *exchange, struct fl_span *scratch)
{
    struct proxy_message *request = &downstream_of(exchange)->data->request;
    struct proxy_trace_parent parent = {.forms = 0};
    int result = request_fields(exchange, request, scratch);
    proxy_tracing_begin(exchange, &parent);
    if (proxy_exchange_config(exchange)->access_log_count > 0 || exchange->trace.sampled)
        proxy_exchange_keep_texts(exchange);
    if (result == 0)
        result = proxy_tracing_write(exchange, &parent, scratch);
    if (result == 0)
        result = strip_host_port(exchange, request);
    if (result < 0) {
        proxy_exchange_reply(exchange, 431, 0, "request_headers_too_many", NULL, NULL, 0);
        return false;
    }
    return apply_path(exchange, request, scratch);
}

int proxy_head_response(const struct proxy_exchange_run *exchange, struct proxy_message *response)
{
    const struct proxy_hcm_config *config = proxy_exchange_config(exchange);
    bool absent = response->headers.first[PROXY_HEADER_SERVER] == 0;
    int result = 0;
    if (config->server_header == PROXY_SERVER_OVERWRITE ||
        (config->server_header == PROXY_SERVER_APPEND_IF_ABSENT && absent))
        result = proxy_headers_set(&response->headers, FL_SPAN("server"), config->server_name);
    return result == 0 ? add_via(exchange, &response->headers) : result;
}
