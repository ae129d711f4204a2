/* Who calls a pod in plaintext, by its sidecar's own metrics. Pure.
 */
#ifndef CLI_PLAINTEXT_H
#define CLI_PLAINTEXT_H

#include "common/base/buf.h"
#include "common/doc/json.h"

#define CLI_SOURCES_MAX 256 /* of one pod that are told apart; others are counted with the last */

/* Reads a scrape of a sidecar: its requests and connections as destination, by how they came. Appends to `pod` (an
 * object): "mutual_tls", "plaintext" (numbers), "sources" ([{"workload","namespace","protocol","count"}], in plaintext
 * alone). `before` is such an object of an earlier scrape: what it counted is taken off; NULL: since the start. 0,
 * -ENOMEM. */
int cli_plaintext_read(struct fl_span scrape, const struct fl_json *before, struct fl_json *pod) FL_MUST_CHECK;

/* {"namespace":…,"ready":…,"over_ms":…,"pods":[{"pod","mtls","mutual_tls","plaintext","sources"}|{"pod","error"}…]} as
 * a table and a line that says what it means. 0, -ENOMEM, -EMSGSIZE. */
int cli_plaintext_print(const struct fl_json *answer, struct fl_buf *out) FL_MUST_CHECK;

/* Whether nobody calls in plaintext, and every pod could be asked. */
bool cli_plaintext_is_ready(const struct fl_json *pods);

#endif
