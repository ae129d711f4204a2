#include "common/pki/cert.h"
#include "common/xds/scalar.h"
#include "control/model/core.h"
#include "control/model/kind/field.h"
#include "control/model/kind/kinds.h"

#include <errno.h>

/* data.<name> in base64, or stringData.<name> as it is. */
static int read_pem(struct fl_reader *reader, const struct fl_json *document, const char *name, struct fl_span *ret_pem)
{
    const struct fl_json *plain = fl_json_get(fl_json_get(document, "stringData"), name);
    const struct fl_json *coded = fl_json_get(fl_json_get(document, "data"), name);
    if (fl_json_is(plain, FL_JSON_STRING))
        return control_copy(reader, fl_json_string(plain), ret_pem);
    if (!fl_json_is(coded, FL_JSON_STRING))
        return 0;
    struct fl_span text = fl_json_string(coded);
    size_t len = 0;
    char *decoded = fl_arena_alloc(reader->context, fl_xds_base64_bound(text.len));
    if (decoded == NULL)
        return -ENOMEM;
    if (!fl_xds_base64_decode(text, decoded, &len))
        return fl_reader_fail(reader, coded, "data: %s is not base64", name);
    *ret_pem = fl_span_make(decoded, len);
    return 0;
}

/* -ENOMEM, or 0 with the reason in secret->unusable. */
static int check_secret(struct fl_reader *reader, struct control_secret *secret)
{
    struct fl_err err = {0};
    struct fl_cert *cert = NULL;
    struct fl_key *key = NULL;
    int result = 0;
    if (secret->certificate.len == 0 || secret->key.len == 0)
        result = fl_err_set(&err, -EINVAL, "it has no tls.crt and tls.key");
    if (result == 0 && (result = fl_cert_parse(secret->certificate, &cert, &err)) < 0)
        fl_err_prefix(&err, "tls.crt");
    if (result == 0 && (result = fl_key_parse(secret->key, &key, &err)) < 0)
        fl_err_prefix(&err, "tls.key");
    if (result == 0 && !fl_cert_matches(cert, key))
        result = fl_err_set(&err, -EINVAL, "tls.key is not the key of tls.crt");
    fl_cert_unref(cert);
    fl_key_unref(key);
    if (result == 0 || result == -ENOMEM)
        return result;
    return control_copy(reader, fl_span_str(err.text), &secret->unusable);
}

static int read_secret(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_secret *secret = FL_CONTAINER_OF(object, struct control_secret, object);
    int result = read_pem(reader, document, "tls.crt", &secret->certificate);
    if (result == 0)
        result = read_pem(reader, document, "tls.key", &secret->key);
    return result < 0 ? result : check_secret(reader, secret);
}

const struct control_kind_reader control_read_secret = {sizeof(struct control_secret), read_secret, NULL};
