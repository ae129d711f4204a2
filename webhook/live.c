#include "webhook/live.h"

#include "common/base/log.h"
#include "common/pki/cert.h"

#include <errno.h>

static int read_config(struct webhook_live *live, struct fl_err *err)
{
    struct webhook_config *config = NULL;
    int result = webhook_config_parse(fl_buf_span(&live->config_file.text), live->config_file.path, &config, err);
    if (result < 0)
        return result;
    webhook_config_free(live->config);
    live->config = config;
    return 0;
}

static int read_namespaces(struct webhook_live *live, struct fl_err *err)
{
    struct webhook_namespaces *set = NULL;
    int result =
        webhook_namespaces_parse(fl_buf_span(&live->namespaces_file.text), live->namespaces_file.path, &set, err);
    if (result < 0)
        return result;
    webhook_namespaces_free(live->namespaces);
    live->namespaces = set;
    fl_gauge_set(live->stats->namespaces, (double)webhook_namespaces_count(set));
    return 0;
}

static void take_certificate(struct webhook_live *live)
{
    webhook_serving_taken(&live->serving);
    fl_gauge_set(live->stats->not_after, (double)live->serving.not_after);
}

static int look_at_config(struct webhook_live *live, bool force, struct fl_err *err)
{
    int result = fl_reread_look(&live->config_file, force, err);
    if (result < 0 || live->config_file.path == NULL || (result == 0 && !force))
        return result;
    result = read_config(live, err);
    return result < 0 ? result : 1;
}

static int look_at_namespaces(struct webhook_live *live, bool force, struct fl_err *err)
{
    int result = fl_reread_look(&live->namespaces_file, force, err);
    if (result < 0 || live->namespaces_file.path == NULL || (result == 0 && !force))
        return result;
    result = read_namespaces(live, err);
    return result < 0 ? result : 1;
}

static int look_at_certificate(struct webhook_live *live, bool force, struct fl_err *err)
{
    struct webhook_serving *serving = &live->serving;
    int result = webhook_serving_look(serving, force, err);
    if (result <= 0)
        return result;
    result = live->use_certificate(live->owner, fl_buf_span(&serving->cert.text), fl_buf_span(&serving->key.text), err);
    if (result < 0)
        return result;
    take_certificate(live);
    return 1;
}

static int look_at_client_ca(struct webhook_live *live, bool force, struct fl_err *err)
{
    int result = webhook_caller_look_at_ca(&live->caller, force, err);
    if (result <= 0)
        return result;
    result = live->use_client_roots(live->owner, fl_buf_span(&live->caller.ca_file.text), err);
    if (result < 0)
        fl_err_prefix(err, "%s", live->caller.ca_file.path);
    return result < 0 ? result : 1;
}

static int look_at_token_keys(struct webhook_live *live, bool force, struct fl_err *err)
{
    return webhook_caller_look_at_keys(&live->caller, force, err);
}

/* A trouble that lasts is met at every look, and told once. */
static void tell(struct webhook_live *live, enum webhook_reload what, int result, const struct fl_err *err, bool force)
{
    struct fl_err *told = &live->told[what];
    const char *word = webhook_reload_word(what);
    if (result > 0) {
        told->text[0] = '\0';
        webhook_stats_reload(live->stats, what, true);
        fl_log(FL_LOG_INFO, "reloaded", FL_LOG_STR("what", word));
    } else if (result < 0 && (force || strcmp(told->text, err->text) != 0)) {
        *told = *err;
        webhook_stats_reload(live->stats, what, false);
        fl_log(FL_LOG_ERROR, "not reloaded, the old one stays", FL_LOG_STR("what", word),
               FL_LOG_STR("error", err->text));
    }
}

void webhook_live_look(struct webhook_live *live, bool force)
{
    static int (*const looks[])(struct webhook_live *, bool, struct fl_err *) = {
        [WEBHOOK_RELOAD_CONFIG] = look_at_config,           [WEBHOOK_RELOAD_NAMESPACES] = look_at_namespaces,
        [WEBHOOK_RELOAD_CERTIFICATE] = look_at_certificate, [WEBHOOK_RELOAD_CLIENT_CA] = look_at_client_ca,
        [WEBHOOK_RELOAD_TOKEN_KEYS] = look_at_token_keys,
    };
    for (int what = 0; what < WEBHOOK_RELOAD_COUNT; what++) {
        struct fl_err err = {0};
        int result = looks[what](live, force, &err);
        tell(live, (enum webhook_reload)what, result, &err, force);
    }
}

static int read_all(struct webhook_live *live, struct fl_err *err)
{
    int result =
        live->config_file.path != NULL ? look_at_config(live, true, err) : webhook_config_default(&live->config);
    if (result >= 0)
        result = look_at_namespaces(live, true, err);
    if (result >= 0)
        result = webhook_serving_look(&live->serving, true, err);
    if (result < 0)
        return result;
    take_certificate(live);
    return 0;
}

int webhook_live_init(struct webhook_live *live, struct webhook_stats *stats, const char *config_path,
                      const char *namespaces_path, const char *cert_path, const char *key_path,
                      const struct webhook_caller_options *caller, struct fl_err *err)
{
    *live = (struct webhook_live){.stats = stats};
    fl_reread_init(&live->config_file, config_path, WEBHOOK_CONFIG_MAX);
    fl_reread_init(&live->namespaces_file, namespaces_path, WEBHOOK_NAMESPACES_MAX);
    webhook_serving_init(&live->serving, cert_path, key_path);
    int result = read_all(live, err);
    if (result == 0)
        result = webhook_caller_init(&live->caller, caller, err);
    if (result < 0)
        webhook_live_done(live);
    return result;
}

void webhook_live_done(struct webhook_live *live)
{
    fl_reread_done(&live->config_file);
    fl_reread_done(&live->namespaces_file);
    webhook_serving_done(&live->serving);
    webhook_caller_done(&live->caller);
    live->config = webhook_config_free(live->config);
    live->namespaces = webhook_namespaces_free(live->namespaces);
}
