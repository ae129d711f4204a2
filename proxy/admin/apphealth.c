#include "proxy/admin/apphealth.h"

#include "common/grpc/client.h"
#include "common/mesh/appprobe.h"
#include "common/mesh/port.h"

#include <errno.h>

#define SERVING 1
/* The owner's deadline is what counts. */
#define CONNECT_MS (3600u * 1000)

_Static_assert(FL_APPPROBE_NAME_MAX <= 16383, "a length of two bytes");

struct proxy_apphealth {
    struct proxy_apphealth_options options;
    struct fl_deferred deferred;
    struct fl_grpc_client *client;
    struct fl_grpc_call *call;
    char service[FL_APPPROBE_NAME_MAX];
    bool over;
};

/* -- the messages: one field each -- */

size_t proxy_apphealth_request(struct fl_span service, char *to)
{
    size_t at = 0;
    if (service.len == 0)
        return 0;
    to[at++] = 0x0a; /* field 1, bytes */
    if (service.len > 127)
        to[at++] = (char)(0x80 | (service.len & 0x7f));
    to[at++] = (char)(service.len > 127 ? service.len >> 7 : service.len);
    memcpy(to + at, service.data, service.len);
    return at + service.len;
}

static bool take_varint(struct fl_span *rest, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && rest->len > 0; shift += 7) {
        unsigned char byte = (unsigned char)rest->data[0];
        *rest = fl_span_from(*rest, 1);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* The payload of an unknown field. */
static bool skip(struct fl_span *rest, uint64_t wire)
{
    uint64_t size = 0;
    if (wire == 0)
        return take_varint(rest, &size);
    if (wire == 1)
        size = 8;
    else if (wire == 5)
        size = 4;
    else if (wire != 2 || !take_varint(rest, &size))
        return false;
    if (size > rest->len)
        return false;
    *rest = fl_span_from(*rest, (size_t)size);
    return true;
}

int proxy_apphealth_status(struct fl_span message)
{
    uint64_t status = 0, tag;
    while (message.len > 0) {
        if (!take_varint(&message, &tag))
            return -1;
        if (tag == 0x08) { /* field 1, varint */
            if (!take_varint(&message, &status))
                return -1;
        } else if (tag >> 3 == 0 || !skip(&message, tag & 7)) {
            return -1;
        }
    }
    return status <= INT32_MAX ? (int)status : -1;
}

/* -- the call -- */

static void finish(struct proxy_apphealth *health, enum proxy_apphealth_result result, const char *reason)
{
    if (health->over)
        return;
    health->over = true;
    health->options.on_done(health->options.owner, result, reason);
}

static void on_reply(void *owner, enum fl_grpc_status status, struct fl_span text, struct fl_span message)
{
    (void)text;
    struct proxy_apphealth *health = owner;
    int said = status == FL_GRPC_OK ? proxy_apphealth_status(message) : -1;
    health->call = NULL;
    if (status == FL_GRPC_UNIMPLEMENTED)
        finish(health, PROXY_APPHEALTH_NOT_SERVING, "the app does not implement grpc.health.v1.Health");
    else if (status != FL_GRPC_OK)
        finish(health, PROXY_APPHEALTH_NOT_SERVING, "the app's health service answered with an error");
    else if (said != SERVING)
        finish(health, PROXY_APPHEALTH_NOT_SERVING, "the app's health service says that it does not serve");
    else
        finish(health, PROXY_APPHEALTH_SERVING, "");
}

static void on_connected(void *owner)
{
    struct proxy_apphealth *health = owner;
    char message[FL_APPPROBE_NAME_MAX + 4];
    size_t size = proxy_apphealth_request(fl_span_str(health->service), message);
    const struct fl_grpc_call_options options = {.path = FL_SPAN("/grpc.health.v1.Health/Check")};
    if (fl_grpc_call_unary(health->client, &options, fl_span_make(message, size), on_reply, health, &health->call) < 0)
        finish(health, PROXY_APPHEALTH_CONNECT, "out of memory");
}

static void on_lost(void *owner, const struct fl_err *reason)
{
    finish(owner, PROXY_APPHEALTH_CONNECT,
           reason->code == -ECONNREFUSED ? "Connection refused" : "no HTTP/2 connection to the app");
}

static const struct fl_grpc_client_ops ops = {.on_connected = on_connected, .on_lost = on_lost};

static int to_grpc(const struct proxy_address *address, struct fl_grpc_address *ret_address)
{
    struct sockaddr_storage raw = {0};
    memcpy(&raw, &address->any, proxy_address_size(address));
    return fl_grpc_address_from_sockaddr(&raw, ret_address);
}

static int connect_client(struct proxy_apphealth *health)
{
    struct proxy_address from = {0};
    struct fl_grpc_address to, source;
    char authority[PROXY_ADDRESS_TEXT_MAX];
    struct fl_span text =
        health->options.to.any.sa_family == AF_INET ? FL_SPAN(FL_PASSTHROUGH_IPV4) : FL_SPAN(FL_PASSTHROUGH_IPV6);
    int result = proxy_address_parse(text, 0, &from);
    if (result == 0)
        result = to_grpc(&health->options.to, &to);
    if (result == 0)
        result = to_grpc(&from, &source);
    if (result < 0)
        return result;
    proxy_address_print(&health->options.to, authority);
    const struct fl_grpc_client_options options = {.addresses = &to,
                                                   .address_count = 1,
                                                   .source = &source,
                                                   .authority = fl_span_str(authority),
                                                   .connect_timeout_ms = CONNECT_MS,
                                                   .message_max = PROXY_APPHEALTH_MESSAGE_MAX};
    result = fl_grpc_client_new(health->options.loop, &options, &ops, health, &health->client, NULL);
    return result == 0 ? fl_grpc_client_connect(health->client) : result;
}

static void release(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct proxy_apphealth, deferred));
}

struct proxy_apphealth *proxy_apphealth_free(struct proxy_apphealth *health)
{
    if (health == NULL)
        return NULL;
    health->over = true;
    health->client = fl_grpc_client_free(health->client);
    fl_loop_defer(health->options.loop, &health->deferred, release);
    return NULL;
}

int proxy_apphealth_new(const struct proxy_apphealth_options *options, struct proxy_apphealth **ret_health)
{
    struct proxy_apphealth *health = calloc(1, sizeof(*health));
    if (health == NULL)
        return -ENOMEM;
    health->options = *options;
    if (options->service.len >= sizeof(health->service)) {
        free(health);
        return -EINVAL;
    }
    memcpy(health->service, options->service.data != NULL ? options->service.data : "", options->service.len);
    int result = connect_client(health);
    if (result < 0)
        proxy_apphealth_free(health);
    else
        *ret_health = health;
    return result;
}
