#include "common/kube/plugin.h"

#include "common/doc/json.h"
#include "common/kube/access.h"
#include "common/kube/object.h"

#include <errno.h>

static void free_words(char **words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(words[i]);
    free(words);
}

struct fl_kube_plugin *fl_kube_plugin_free(struct fl_kube_plugin *plugin)
{
    if (plugin == NULL)
        return NULL;
    free(plugin->user);
    free(plugin->command);
    free_words(plugin->args, plugin->arg_count);
    free_words(plugin->env, plugin->env_count);
    free(plugin->api_version);
    free(plugin->install_hint);
    free(plugin->cluster);
    free(plugin);
    return NULL;
}

void fl_kube_plugin_answer_done(struct fl_kube_plugin_answer *answer)
{
    fl_buf_wipe(&answer->token);
    fl_buf_wipe(&answer->cert);
    fl_buf_wipe(&answer->key);
    *answer = (struct fl_kube_plugin_answer){0};
}

/* ---- What it printed ---- */

static int check_word(const struct fl_json *root, const char *name, const char *expected, struct fl_err *err)
{
    const struct fl_json *value = fl_json_get(root, name);
    struct fl_span text = fl_json_string(value);
    if (fl_json_is(value, FL_JSON_STRING) && fl_span_eq_str(text, expected))
        return 0;
    if (fl_json_is(value, FL_JSON_STRING))
        return fl_err_set(err, -EACCES, "%s: expected \"%s\", got \"%.*s\"", name, expected, FL_SPAN_ARG(text));
    return fl_err_set(err, -EACCES, "%s: expected \"%s\", got %s", name, expected,
                      value != NULL ? fl_json_kind_name(fl_json_kind(value)) : "nothing");
}

/* An absent, null or empty text is none. */
static int take_text(const struct fl_json *status, const char *name, size_t max, struct fl_buf *out, struct fl_err *err)
{
    const struct fl_json *value = fl_json_get(status, name);
    struct fl_span text = fl_json_string(value);
    fl_buf_init(out, max);
    if (value == NULL || fl_json_is(value, FL_JSON_NULL))
        return 0;
    if (!fl_json_is(value, FL_JSON_STRING))
        return fl_err_set(err, -EACCES, "status.%s: expected a string, got %s", name,
                          fl_json_kind_name(fl_json_kind(value)));
    if (text.len > max)
        return fl_err_set(err, -EACCES, "status.%s: expected at most %zu bytes, got %zu", name, max, text.len);
    return fl_buf_append(out, text) == 0 ? 0 : fl_err_errno(err, -ENOMEM, "status.%s", name);
}

static int check_pem(const struct fl_buf *text, const char *name, struct fl_span mark, struct fl_err *err)
{
    if (text->len == 0 || memmem(text->data, text->len, mark.data, mark.len) != NULL)
        return 0;
    return fl_err_set(err, -EACCES, "status.%s: expected PEM with \"%.*s\"", name, FL_SPAN_ARG(mark));
}

static int check_token(const struct fl_buf *token, struct fl_err *err)
{
    for (size_t i = 0; i < token->len; i++) {
        if ((unsigned char)token->data[i] <= ' ' || (unsigned char)token->data[i] >= 0x7f) /* it is to be in a header */
            return fl_err_set(err, -EACCES, "status.token: expected visible ASCII characters, byte %zu is 0x%02x", i,
                              (unsigned)(unsigned char)token->data[i]);
    }
    return 0;
}

static int take_time(const struct fl_json *status, int64_t *ret_time, struct fl_err *err)
{
    const struct fl_json *value = fl_json_get(status, "expirationTimestamp");
    if (value == NULL || fl_json_is(value, FL_JSON_NULL))
        return 0;
    if (!fl_json_is(value, FL_JSON_STRING) || fl_time_parse(fl_json_string(value), ret_time) < 0)
        return fl_err_set(err, -EACCES,
                          "status.expirationTimestamp: expected a time as in RFC 3339, \"2026-01-02T03:04:05Z\"");
    return 0;
}

static int take_status(const struct fl_json *status, struct fl_kube_plugin_answer *answer, struct fl_err *err)
{
    if (!fl_json_is(status, FL_JSON_OBJECT))
        return fl_err_set(err, -EACCES, "status: expected an object with a token, or a certificate and its key");
    int result = take_text(status, "token", FL_KUBE_TOKEN_MAX, &answer->token, err);
    if (result == 0)
        result = take_text(status, "clientCertificateData", FL_KUBE_CREDENTIAL_MAX, &answer->cert, err);
    if (result == 0)
        result = take_text(status, "clientKeyData", FL_KUBE_CREDENTIAL_MAX, &answer->key, err);
    if (result == 0)
        result = check_token(&answer->token, err);
    if (result == 0)
        result = check_pem(&answer->cert, "clientCertificateData", FL_SPAN("-----BEGIN CERTIFICATE-----"), err);
    if (result == 0)
        result = check_pem(&answer->key, "clientKeyData", FL_SPAN("PRIVATE KEY-----"), err);
    if (result == 0)
        result = take_time(status, &answer->expires, err);
    if (result == 0 && (answer->cert.len > 0) != (answer->key.len > 0))
        result = fl_err_set(err, -EACCES,
                            "status: clientCertificateData and clientKeyData belong together, and %s is missing",
                            answer->cert.len > 0 ? "clientKeyData" : "clientCertificateData");
    if (result == 0 && answer->token.len == 0 && answer->cert.len == 0)
        result = fl_err_set(err, -EACCES, "status: expected a token, or clientCertificateData and clientKeyData");
    return result;
}

int fl_kube_plugin_read(const struct fl_kube_plugin *plugin, struct fl_span text,
                        struct fl_kube_plugin_answer *ret_answer, struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = FL_KUBE_PLUGIN_SAID_MAX};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    struct fl_kube_plugin_answer answer = {0};
    int result = fl_json_parse(text, &limits, &root, err);
    if (result == -ENOMEM)
        return result;
    if (result < 0) {
        (void)fl_err_prefix(err, "expected one ExecCredential in JSON");
        if (err != NULL)
            err->code = -EACCES;
        return -EACCES;
    }
    result = check_word(root, "kind", "ExecCredential", err);
    if (result == 0)
        result = check_word(root, "apiVersion", plugin->api_version, err);
    if (result == 0)
        result = take_status(fl_json_get(root, "status"), &answer, err);
    if (result == 0)
        *ret_answer = answer;
    else
        fl_kube_plugin_answer_done(&answer);
    return result;
}
