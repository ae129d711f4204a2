/* The last good configuration on disk (a memory volume): what a restarted proxy starts from when the control plane is
 * away. A file of records, one a resource, with the bytes as they came and the version; written whole beside the old
 * one and renamed over it, 0600. A file that is cut, changed, of another node or of another format is no configuration.
 *
 * It is not a cache to be merged: what is written is all that is in force.
 */
#ifndef PROXY_CONFIG_LASTGOOD_H
#define PROXY_CONFIG_LASTGOOD_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/mesh/resource.h"

#include <stdint.h>

#define PROXY_LASTGOOD_FILE      "last-good"
#define PROXY_LASTGOOD_BYTES_MAX (8u << 20) /* of the file: half of the sidecar's volume */

struct proxy_lastgood_record {
    enum fl_resource_type type;
    bool by_name; /* it was asked for by its own name */
    struct fl_span name, version, bytes;
};

/* Building: begin, add each, end; then the buffer is the file. `node` is any text that stands for this node and its
 * server: another one's file is not taken. The buffer is initialised with a maximum of PROXY_LASTGOOD_BYTES_MAX.
 * 0, -ENOMEM, -EMSGSIZE. */
int proxy_lastgood_begin(struct fl_buf *file, struct fl_span node) FL_MUST_CHECK;
int proxy_lastgood_add(struct fl_buf *file, const struct proxy_lastgood_record *record) FL_MUST_CHECK;
int proxy_lastgood_end(struct fl_buf *file) FL_MUST_CHECK;

/* Checks the file and finds its first record. 0; -EBADMSG with the reason; -ESTALE: of another node. */
int proxy_lastgood_open(struct fl_span file, struct fl_span node, struct fl_span *ret_rest,
                        struct fl_err *err) FL_MUST_CHECK;
/* Spans into the file. False at the end. */
bool proxy_lastgood_next(struct fl_span *rest, struct proxy_lastgood_record *ret_record);

/* In `folder`. Loading: 0, -ENOENT, -EMSGSIZE, -ENOMEM, -errno. Saving: 0 or -errno; on failure the old file stays. */
int proxy_lastgood_load(const char *folder, struct fl_buf *file, struct fl_err *err) FL_MUST_CHECK;
int proxy_lastgood_save(const char *folder, struct fl_span file, struct fl_err *err) FL_MUST_CHECK;
void proxy_lastgood_remove(const char *folder);

#endif
