/* struct control_resource: one generated xDS resource, as the bytes that go on the wire. Immutable and counted: the
 * cache, every stream that has it and every response under way share one. Single-threaded.
 *
 * Its version is a hash of name and bytes, the same in every process: a proxy that reconnects to another replica, or
 * after a restart, is sent the differences alone.
 */
#ifndef CONTROL_XDS_RESOURCE_H
#define CONTROL_XDS_RESOURCE_H

#include "common/base/cleanup.h"
#include "common/mesh/resource.h"

#define CONTROL_VERSION_TEXT 17 /* 16 hexadecimal digits and a NUL */

struct control_resource {
    size_t refs;
    enum fl_resource_type type;
    uint32_t ttl_seconds; /* how long an answer in the negative holds; 0: for ever */
    uint64_t version;     /* never 0 */
    struct fl_span name;
    struct fl_span bytes; /* the packed message */
};

/* Name and bytes are copied. 0 or -ENOMEM. */
int control_resource_new(enum fl_resource_type type, struct fl_span name, struct fl_span bytes, uint32_t ttl_seconds,
                         struct control_resource **ret_resource) FL_MUST_CHECK;
struct control_resource *control_resource_ref(struct control_resource *resource);
struct control_resource *control_resource_unref(struct control_resource *resource); /* NULL is allowed; returns NULL */

void control_version_print(uint64_t version, char ret_text[CONTROL_VERSION_TEXT]);
/* False where it is no version of ours. */
bool control_version_parse(struct fl_span text, uint64_t *ret_version);

#endif
