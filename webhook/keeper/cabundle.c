#include "webhook/keeper/cabundle.h"

#include "common/base/base64.h"
#include "common/base/print.h"

#include <errno.h>
#include <stdio.h>

void keeper_configuration_done(struct keeper_configuration *configuration)
{
    free(configuration->webhooks);
    *configuration = (struct keeper_configuration){.webhook_count = 0};
}

/* False: it does not fit, or holds a NUL. */
static bool copy_name(const struct fl_json *value, char *name, size_t size)
{
    struct fl_span text = fl_json_string(value);
    if (text.len == 0 || text.len >= size)
        return false;
    memcpy(name, text.data, text.len);
    name[text.len] = '\0';
    return true;
}

static bool is_ours(const struct fl_json *client, const char *service, const char *name_space)
{
    const struct fl_json *target = fl_json_get(client, "service");
    if (target == NULL)
        return fl_json_is(fl_json_get(client, "url"), FL_JSON_STRING);
    return fl_span_eq_str(fl_json_string(fl_json_get(target, "name")), service) &&
           fl_span_eq_str(fl_json_string(fl_json_get(target, "namespace")), name_space);
}

/* What cannot be read counts as no root, and is written over. */
static int read_bundle(const struct fl_json *value, struct fl_roots *roots, struct keeper_webhook *webhook)
{
    struct fl_span text = fl_json_string(value);
    webhook->empty = text.len == 0;
    if (webhook->empty)
        return 0;
    struct fl_buf pem;
    fl_buf_init(&pem, FL_ROOTS_PEM_MAX);
    int result = fl_base64_decode(text, &pem);
    if (result == 0)
        result = fl_roots_parse(roots, fl_buf_span(&pem), &webhook->roots, NULL);
    fl_buf_done(&pem);
    return result == -ENOMEM ? result : 0;
}

static int read_webhooks(const struct fl_json *list, const char *service, const char *name_space,
                         struct fl_roots *roots, struct keeper_configuration *configuration, struct fl_err *err)
{
    size_t count = fl_json_count(list);
    if (count > KEEPER_WEBHOOKS_MAX)
        return fl_err_set(err, -EINVAL, "%s: more than %d webhooks", configuration->name, KEEPER_WEBHOOKS_MAX);
    configuration->webhooks = count > 0 ? calloc(count, sizeof(*configuration->webhooks)) : NULL;
    if (count > 0 && configuration->webhooks == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
        struct keeper_webhook *webhook = &configuration->webhooks[configuration->webhook_count];
        const struct fl_json *client = fl_json_get(item, "clientConfig");
        if (!is_ours(client, service, name_space))
            continue;
        if (!copy_name(fl_json_get(item, "name"), webhook->name, sizeof(webhook->name)))
            return fl_err_set(err, -EINVAL, "%s: a webhook without a name", configuration->name);
        int result = read_bundle(fl_json_get(client, "caBundle"), roots, webhook);
        if (result < 0)
            return fl_err_set(err, result, "out of memory");
        configuration->webhook_count++;
    }
    return 0;
}

int keeper_configuration_read(const struct fl_json *object, const char *service, const char *name_space,
                              struct fl_roots *roots, struct keeper_configuration *ret_configuration,
                              struct fl_err *err)
{
    struct keeper_configuration configuration = {.webhook_count = 0};
    const struct fl_json *metadata = fl_json_get(object, "metadata"), *list = fl_json_get(object, "webhooks");
    if (!copy_name(fl_json_get(metadata, "name"), configuration.name, sizeof(configuration.name)) ||
        !copy_name(fl_json_get(metadata, "resourceVersion"), configuration.version, sizeof(configuration.version)))
        return fl_err_set(err, -EINVAL, "the answer is not a configuration with a name and a version");
    if (list != NULL && !fl_json_is(list, FL_JSON_ARRAY) && !fl_json_is(list, FL_JSON_NULL))
        return fl_err_set(err, -EINVAL, "%s: webhooks is not a list", configuration.name);
    int result = read_webhooks(list, service, name_space, roots, &configuration, err);
    if (result < 0)
        keeper_configuration_done(&configuration);
    else
        *ret_configuration = configuration;
    return result;
}

int keeper_configuration_print(const struct keeper_configuration *configuration, struct fl_span pem, struct fl_buf *out)
{
    struct fl_print print = {.out = out};
    fl_print(&print, "{\"apiVersion\":\"admissionregistration.k8s.io/v1\",\"kind\":\"MutatingWebhookConfiguration\","
                     "\"metadata\":{\"name\":");
    fl_print_json(&print, fl_span_str(configuration->name));
    fl_print(&print, ",\"resourceVersion\":");
    fl_print_json(&print, fl_span_str(configuration->version));
    fl_print(&print, "},\"webhooks\":[");
    for (size_t i = 0; i < configuration->webhook_count; i++) {
        fl_print(&print, "%s{\"name\":", i > 0 ? "," : "");
        fl_print_json(&print, fl_span_str(configuration->webhooks[i].name));
        fl_print(&print, ",\"clientConfig\":{\"caBundle\":\"");
        if (print.result == 0)
            print.result = fl_base64_encode(pem, out);
        fl_print(&print, "\"}}");
    }
    fl_print(&print, "]}");
    return print.result;
}

/* `conflict with "kubectl-edit" using admissionregistration.k8s.io/v1` → kubectl-edit; the whole where it is worded
 * otherwise. */
static void take_manager(struct fl_span message, char ret_manager[KEEPER_MANAGER_MAX])
{
    size_t from = fl_span_find(message, '"');
    struct fl_span name = message;
    if (from < message.len) {
        struct fl_span rest = fl_span_from(message, from + 1);
        name = fl_span_make(rest.data, fl_span_find(rest, '"'));
    }
    snprintf(ret_manager, KEEPER_MANAGER_MAX, "%.*s", FL_SPAN_ARG(name));
}

bool keeper_is_conflict(struct fl_span status, char ret_manager[KEEPER_MANAGER_MAX])
{
    const struct fl_json_limits limits = {.bytes_max = KEEPER_CONFIGURATION_MAX};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    if (fl_json_parse(status, &limits, &root, NULL) < 0)
        return false;
    const struct fl_json *causes = fl_json_get(fl_json_get(root, "details"), "causes");
    for (const struct fl_json *cause = fl_json_first(causes); cause != NULL; cause = fl_json_next(cause)) {
        if (fl_span_eq_str(fl_json_string(fl_json_get(cause, "reason")), "FieldManagerConflict")) {
            take_manager(fl_json_string(fl_json_get(cause, "message")), ret_manager);
            return true;
        }
    }
    return false;
}
