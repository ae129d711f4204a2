/* A proxy's configuration dump as tables. The dump is Envoy's /config_dump (envoy.admin.v3.ConfigDump), so an Envoy's
 * is read as well as a fairlead-proxy's. Pure.
 *
 * What a dump lacks, or has in another form, is shown as "-": a table is for people, `-o json` is the whole truth.
 */
#ifndef CLI_DUMP_H
#define CLI_DUMP_H

#include "common/base/buf.h"
#include "common/doc/json.h"

/* X(id, word) */
#define CLI_DUMPS(X)                                                                                                   \
    X(LISTENERS, "listeners")                                                                                          \
    X(ROUTES, "routes")                                                                                                \
    X(CLUSTERS, "clusters")                                                                                            \
    X(ENDPOINTS, "endpoints")                                                                                          \
    X(SECRETS, "secrets")

enum cli_dump {
#define X(id, word) CLI_DUMP_##id,
    CLI_DUMPS(X)
#undef X
        CLI_DUMP_COUNT
};

/* The word of a table; false where there is none of this name. */
bool cli_dump_parse(const char *word, enum cli_dump *ret_dump);

/* Appends the table. `filter`: only rows whose name holds it; empty: all. 0, -ENOMEM, -EMSGSIZE. */
int cli_dump_print(enum cli_dump dump, const struct fl_json *config_dump, struct fl_span filter,
                   struct fl_buf *out) FL_MUST_CHECK;

#endif
