/* JSON from a port of the mesh, for the subcommands.
 */
#ifndef CLI_FETCH_H
#define CLI_FETCH_H

#include "common/doc/json.h"

#define CLI_FETCH_BYTES (256u << 20) /* of an answer: the dump of a proxy in wildcard mode */

/* GET <base><path>; `base` is "http://host:port", or "host:port". 0 with an owned tree; as fl_http_get and
 * fl_json_parse. */
int cli_fetch(const char *base, const char *path, struct fl_json **ret_json, struct fl_err *err) FL_MUST_CHECK;
/* The answer as it is. */
int cli_fetch_text(const char *base, const char *path, struct fl_buf *ret_text, struct fl_err *err) FL_MUST_CHECK;

#endif
