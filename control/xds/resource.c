#include "control/xds/resource.h"

#include "common/base/siphash.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* Not a secret: versions are the same in every process. SipHash-2-4 keeps chance collisions away, and a tenant who
 * searched for one would only keep a change of its own objects from being seen. */
static const uint64_t key[2] = {UINT64_C(0x6661697266616972), UINT64_C(0x6c6561646c656164)};

static uint64_t hash(struct fl_span name, struct fl_span bytes)
{
    uint64_t named[2] = {key[0], key[1] ^ fl_siphash_keyed(key, 2, 4, name)};
    uint64_t version = fl_siphash_keyed(named, 2, 4, bytes);
    return version != 0 ? version : 1;
}

int control_resource_new(enum fl_resource_type type, struct fl_span name, struct fl_span bytes, uint32_t ttl_seconds,
                         struct control_resource **ret_resource)
{
    struct control_resource *resource = malloc(sizeof(*resource) + name.len + bytes.len + 1);
    if (resource == NULL)
        return -ENOMEM;
    char *data = (char *)(resource + 1);
    *resource = (struct control_resource){.refs = 1, .type = type, .ttl_seconds = ttl_seconds};
    if (name.len > 0)
        memcpy(data, name.data, name.len);
    data[name.len] = '\0';
    resource->name = fl_span_make(data, name.len);
    data += name.len + 1;
    if (bytes.len > 0)
        memcpy(data, bytes.data, bytes.len);
    resource->bytes = fl_span_make(data, bytes.len);
    resource->version = hash(resource->name, resource->bytes);
    *ret_resource = resource;
    return 0;
}

struct control_resource *control_resource_ref(struct control_resource *resource)
{
    resource->refs++;
    return resource;
}

struct control_resource *control_resource_unref(struct control_resource *resource)
{
    if (resource == NULL || --resource->refs > 0)
        return NULL;
    if (resource->type == FL_RESOURCE_SECRET) /* it holds a key */
        explicit_bzero((char *)(uintptr_t)resource->bytes.data, resource->bytes.len);
    free(resource);
    return NULL;
}

void control_version_print(uint64_t version, char ret_text[CONTROL_VERSION_TEXT])
{
    snprintf(ret_text, CONTROL_VERSION_TEXT, "%016" PRIx64, version);
}

bool control_version_parse(struct fl_span text, uint64_t *ret_version)
{
    uint64_t version = 0;
    if (text.len != CONTROL_VERSION_TEXT - 1)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char digit = text.data[i];
        if (digit >= '0' && digit <= '9')
            version = version << 4 | (uint64_t)(digit - '0');
        else if (digit >= 'a' && digit <= 'f')
            version = version << 4 | (uint64_t)(digit - 'a' + 10);
        else
            return false;
    }
    *ret_version = version;
    return version != 0;
}
