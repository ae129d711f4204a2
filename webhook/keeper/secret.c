#include "webhook/keeper/secret.h"

#include "common/base/base64.h"
#include "common/base/print.h"
#include "common/doc/json.h"

#include <errno.h>
#include <stdio.h>

#define MANAGED_BY "{\"app.kubernetes.io/managed-by\":\"fairlead-keeper\"}"

static const char *const key_words[] = {
#define KEY_WORD(name, word) [KEEPER_SECRET_##name] = word,
    KEEPER_SECRET_KEYS(KEY_WORD)
#undef KEY_WORD
};

void keeper_secret_done(struct keeper_secret *secret)
{
    for (size_t i = 0; i < KEEPER_SECRET_KEY_COUNT; i++)
        fl_buf_wipe(&secret->values[i]);
    *secret = (struct keeper_secret){.there = false};
}

static int read_value(const struct fl_json *data, const char *word, struct fl_buf *value)
{
    struct fl_span text = fl_json_string(fl_json_get(data, word));
    fl_buf_init(value, KEEPER_VALUE_MAX);
    if (text.len == 0)
        return 0;
    int result = fl_base64_decode(text, value);
    return result == -ENOMEM ? result : 0;
}

static int read_metadata(const struct fl_json *root, struct keeper_secret *secret, struct fl_err *err)
{
    const struct fl_json *metadata = fl_json_get(root, "metadata");
    struct fl_span version = fl_json_string(fl_json_get(metadata, "resourceVersion"));
    if (!fl_span_eq_str(fl_json_string(fl_json_get(root, "kind")), "Secret") || version.len == 0 ||
        version.len >= KEEPER_VERSION_MAX)
        return fl_err_set(err, -EINVAL, "the answer is not a Secret with a version");
    memcpy(secret->version, version.data, version.len);
    secret->version[version.len] = '\0';
    const struct fl_json *annotations = fl_json_get(metadata, "annotations");
    secret->foreign = fl_json_get(annotations, "cert-manager.io/certificate-name") != NULL;
    return 0;
}

int keeper_secret_read(struct fl_span json, struct keeper_secret *ret_secret, struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = KEEPER_SECRET_MAX};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    struct keeper_secret secret = {.there = true};
    int result = fl_json_parse(json, &limits, &root, err);
    if (result < 0)
        return result == -EMSGSIZE ? -EINVAL : result;
    result = read_metadata(root, &secret, err);
    for (size_t i = 0; i < KEEPER_SECRET_KEY_COUNT && result == 0; i++)
        result = read_value(fl_json_get(root, "data"), key_words[i], &secret.values[i]);
    if (result < 0) {
        keeper_secret_done(&secret);
        return result == -ENOMEM ? fl_err_set(err, -ENOMEM, "out of memory") : result;
    }
    *ret_secret = secret;
    return 0;
}

static void print_data(struct fl_print *print, const struct keeper_secret_write *write, bool make)
{
    const char *comma = "";
    fl_print(print, "\"data\":{");
    for (size_t i = 0; i < write->change_count; i++) {
        const struct keeper_secret_change *change = &write->changes[i];
        if (change->value.data == NULL && make)
            continue;
        fl_print(print, "%s\"%s\":", comma, key_words[change->key]);
        comma = ",";
        if (change->value.data == NULL) {
            fl_print(print, "null");
            continue;
        }
        fl_print(print, "\"");
        if (print->result == 0)
            print->result = fl_base64_encode(change->value, print->out);
        fl_print(print, "\"");
    }
    fl_print(print, "}}");
}

int keeper_secret_print(const struct keeper_secret_write *write, struct fl_buf *out)
{
    bool make = write->version == NULL || *write->version == '\0';
    struct fl_print print = {.out = out};
    fl_print(&print, "{");
    if (make)
        fl_print(&print, "\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"%s\",",
                 write->tls ? "kubernetes.io/tls" : "Opaque");
    fl_print(&print, "\"metadata\":{");
    if (make) {
        fl_print(&print, "\"name\":");
        fl_print_json(&print, fl_span_str(write->name));
        fl_print(&print, ",\"namespace\":");
        fl_print_json(&print, fl_span_str(write->name_space));
    } else {
        fl_print(&print, "\"resourceVersion\":");
        fl_print_json(&print, fl_span_str(write->version));
    }
    fl_print(&print, ",\"labels\":" MANAGED_BY ",\"annotations\":{");
    for (size_t i = 0; i < FL_COUNT(write->annotations) && write->annotations[i].name != NULL; i++) {
        fl_print(&print, "%s\"fairlead.io/%s\":", i > 0 ? "," : "", write->annotations[i].name);
        fl_print_json(&print, fl_span_str(write->annotations[i].value));
    }
    fl_print(&print, "}},");
    print_data(&print, write, make);
    return print.result;
}
