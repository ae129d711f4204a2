/* What is exchanged while the program runs: configuration, namespaces, certificate. Each is read, checked whole, and
 * only then takes the place of the old one; a bad version is logged and counted once, and the old one stays. Single
 * thread: an exchange never happens inside an admission. */
#ifndef WEBHOOK_LIVE_H
#define WEBHOOK_LIVE_H

#include "webhook/caller.h"
#include "webhook/review.h"
#include "webhook/serving.h"
#include "webhook/stats.h"

struct webhook_live {
    struct webhook_stats *stats; /* borrowed */
    struct fl_reread config_file, namespaces_file;
    struct webhook_serving serving;
    struct webhook_caller caller;
    struct webhook_config *config;            /* never NULL after webhook_live_init */
    struct webhook_namespaces *namespaces;    /* NULL where there is no file */
    struct fl_err told[WEBHOOK_RELOAD_COUNT]; /* the trouble that was logged last; empty: none */
    /* Brings a checked certificate into use. 0 or negative with the reason. */
    int (*use_certificate)(void *owner, struct fl_span cert_pem, struct fl_span key_pem, struct fl_err *err);
    int (*use_client_roots)(void *owner, struct fl_span pem, struct fl_err *err);
    void *owner;
};

/* Reads everything for the first time; nothing is logged, the first trouble fails. Paths are borrowed; config and
 * namespaces may be NULL. The certificate is checked, not yet used: serving.cert.text and serving.key.text hold it. */
int webhook_live_init(struct webhook_live *live, struct webhook_stats *stats, const char *config_path,
                      const char *namespaces_path, const char *cert_path, const char *key_path,
                      const struct webhook_caller_options *caller, struct fl_err *err) FL_MUST_CHECK;
void webhook_live_done(struct webhook_live *live);

/* Looks at the files, as often as one likes; with `force` all are read again and said to be. */
void webhook_live_look(struct webhook_live *live, bool force);

#endif
