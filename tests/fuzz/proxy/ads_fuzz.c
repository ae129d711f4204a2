/* Sequences of responses and changes of mind against the ADS client's state: no crash, requests that decode, an end to
 * what there is to send, and what is held is what was taken and not dropped.
 *
 * Input: a byte (1: delta), then steps. A step is an operation, a length (two bytes) and so many bytes. */
#include "proxy/config/ads.h"

#include "common/xds/message.h"
#include "common/xds/proto/discovery.pb-c.h"

#include <stdlib.h>

#define STEPS_MAX    64
#define REQUESTS_MAX 64

static bool refuse;
static size_t held[FL_RESOURCE_TYPES];
static struct proxy_ads *ads;

static int on_take(void *owner, const struct proxy_ads_resource *resource, struct fl_err *err)
{
    (void)owner;
    if (resource->name.len == 0 || resource->name.len > PROXY_ADS_NAME_MAX)
        abort();
    if (refuse)
        return fl_err_set(err, -22, "no");
    held[resource->type] += proxy_ads_version(ads, resource->type, resource->name).data == NULL;
    return 0;
}

static void on_drop(void *owner, enum fl_resource_type type, struct fl_span name)
{
    (void)owner;
    (void)type;
    if (name.len > PROXY_ADS_NAME_MAX)
        abort();
}

static void send_all(bool delta)
{
    const struct ProtobufCMessageDescriptor *type =
        delta ? &envoy__service__discovery__v3__delta_discovery_request__descriptor
              : &envoy__service__discovery__v3__discovery_request__descriptor;
    for (unsigned i = 0;; i++) {
        struct fl_buf buf;
        struct fl_arena arena;
        struct ProtobufCMessage *message;
        struct fl_err err;
        fl_buf_init(&buf, 1 << 24);
        fl_arena_init(&arena, 1 << 26);
        int result = proxy_ads_next(ads, &buf);
        if (i > REQUESTS_MAX ||
            (result == 0 && fl_xds_unpack(type, fl_buf_span(&buf), &arena, NULL, &message, &err) != 0))
            abort();
        fl_arena_done(&arena);
        fl_buf_done(&buf);
        if (result != 0)
            break;
    }
}

/* What we want ourselves is text: it was read from messages. */
static bool is_name(struct fl_span bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.data[i] <= ' ' || bytes.data[i] > '~')
            return false;
    return true;
}

static void step(unsigned operation, struct fl_span bytes, uint64_t now_ms)
{
    enum fl_resource_type type = (enum fl_resource_type)(operation / 8 % FL_RESOURCE_TYPES);
    struct fl_err err;
    if ((operation % 8 == 1 || operation % 8 == 6) && !is_name(bytes))
        return;
    switch (operation % 8) {
    case 0:
        (void)!proxy_ads_receive(ads, bytes, now_ms, &err);
        break;
    case 1:
        (void)!proxy_ads_want(ads, type, bytes);
        break;
    case 2:
        proxy_ads_unwant(ads, type, bytes, now_ms);
        break;
    case 3:
        proxy_ads_want_all(ads, type);
        break;
    case 4:
        proxy_ads_start(ads);
        break;
    case 5:
        proxy_ads_expire(ads, now_ms + bytes.len * 1000);
        break;
    case 6:
        proxy_ads_mark_begin(ads, type);
        (void)!proxy_ads_mark(ads, type, bytes);
        proxy_ads_mark_end(ads, type, now_ms);
        break;
    default:
        refuse = !refuse;
        break;
    }
}

static void check_held(void)
{
    for (int type = 0; type < FL_RESOURCE_TYPES; type++) {
        struct proxy_ads_info info;
        struct fl_span name, version;
        size_t count = 0;
        proxy_ads_describe(ads, (enum fl_resource_type)type, &info);
        for (size_t cursor = 0; proxy_ads_each(ads, (enum fl_resource_type)type, &cursor, &name, &version); count++)
            if (version.data == NULL || version.len > PROXY_ADS_VERSION_MAX)
                abort();
        if (count != info.held || count > held[type])
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bool delta = (data[0] & 1) != 0;
    struct proxy_ads_options options = {.delta = delta, .node = FL_SPAN(""), .take = on_take, .drop = on_drop};
    refuse = false;
    memset(held, 0, sizeof(held));
    if (proxy_ads_new(&options, &ads) != 0)
        return 0;
    size_t at = 1;
    for (unsigned i = 0; i < STEPS_MAX && at + 3 <= size; i++) {
        unsigned operation = data[at];
        size_t len = (size_t)data[at + 1] << 8 | data[at + 2];
        at += 3;
        len = len < size - at ? len : size - at;
        step(operation, fl_span_make(data + at, len), i * 1000);
        send_all(delta);
        check_held();
        at += len;
    }
    proxy_ads_free(ads);
    return 0;
}
