#include "proxy/policy/claims.h"

#include <errno.h>

struct proxy_payload *proxy_payload_new(struct fl_json *root, int64_t expires_s)
{
    struct proxy_payload *payload = malloc(sizeof(*payload));
    if (payload == NULL) {
        fl_json_free(root);
        return NULL;
    }
    *payload = (struct proxy_payload){.root = root, .expires_s = expires_s, .references = 1};
    return payload;
}

struct proxy_payload *proxy_payload_ref(struct proxy_payload *payload)
{
    payload->references++;
    return payload;
}

struct proxy_payload *proxy_payload_unref(struct proxy_payload *payload)
{
    if (payload == NULL || --payload->references > 0)
        return NULL;
    fl_json_free(payload->root);
    free(payload);
    return NULL;
}

int proxy_claims_put(struct proxy_claims *claims, struct fl_span key, struct proxy_payload *payload)
{
    size_t at = 0;
    while (at < claims->count && !fl_span_eq(claims->list[at].key, key))
        at++;
    if (at == PROXY_CLAIMS_MAX)
        return -E2BIG;
    struct proxy_payload *before = at < claims->count ? claims->list[at].payload : NULL;
    claims->list[at].key = key;
    claims->list[at].payload = proxy_payload_ref(payload);
    if (at == claims->count)
        claims->count++;
    proxy_payload_unref(before);
    return 0;
}

void proxy_claims_done(struct proxy_claims *claims)
{
    for (size_t i = 0; i < claims->count; i++)
        proxy_payload_unref(claims->list[i].payload);
    claims->count = 0;
}

const struct fl_json *proxy_claims_get(const struct proxy_claims *claims, struct fl_span key)
{
    for (size_t i = 0; claims != NULL && i < claims->count; i++) {
        if (fl_span_eq(claims->list[i].key, key))
            return claims->list[i].payload->root;
    }
    return NULL;
}
