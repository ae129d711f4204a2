#include "control/ca/token.h"

#include "common/base/base64.h"
#include "common/base/file.h"
#include "common/doc/json.h"
#include "common/pki/signature.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#define ISSUER      "fairlead-control"
#define SUBJECT     "system:serviceaccount:"
#define HEADER      "{\"alg\":\"ES256\",\"typ\":\"JWT\"}"
#define JSON_MAX    8192 /* bytes of a header or of claims */
#define SECONDS_MAX (INT64_C(1) << 40)

static const struct fl_json_limits limits = {.bytes_max = JSON_MAX, .depth_max = 8, .values_max = 256};

/* --- making --- */

static int check_names(const struct control_caller *caller, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf uri;
    fl_buf_init(&uri, FL_IDENTITY_MAX);
    return control_caller_identity(caller, FL_TRUST_DOMAIN_DEFAULT, &uri, err);
}

static int print_claims(const struct control_caller *caller, const char *audience, time_t now, struct fl_buf *out)
{
    int result = fl_buf_printf(out, "{\"iss\":\"" ISSUER "\",\"sub\":\"" SUBJECT "%s:%s\",\"aud\":[",
                               caller->name_space, caller->service_account);
    if (result == 0)
        result = fl_buf_append_json_string(out, fl_span_str(audience));
    if (result == 0)
        result = fl_buf_printf(out, "],\"iat\":%lld,\"nbf\":%lld,\"exp\":%lld}", (long long)now, (long long)now,
                               (long long)caller->expires);
    return result;
}

static int sign(const struct fl_key *key, struct fl_span claims, struct fl_buf *token, struct fl_err *err)
{
    unsigned char signature[FL_SIGNATURE_SIZE];
    int result = fl_base64url_encode(FL_SPAN(HEADER), token);
    if (result == 0)
        result = fl_buf_append_byte(token, '.');
    if (result == 0)
        result = fl_base64url_encode(claims, token);
    if (result < 0)
        return fl_err_errno(err, result, "token");
    result = fl_signature_make(key, fl_buf_span(token), signature, err);
    if (result < 0)
        return result;
    result = fl_buf_append_byte(token, '.');
    if (result == 0)
        result = fl_base64url_encode(fl_span_make(signature, sizeof(signature)), token);
    return result < 0 ? fl_err_errno(err, result, "token") : 0;
}

int control_token_make(const struct fl_key *key, const struct control_caller *caller, const char *audience, time_t now,
                       struct fl_buf *out, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf claims;
    FL_CLEANUP(fl_buf_wipe) struct fl_buf token;
    fl_buf_init(&claims, JSON_MAX);
    fl_buf_init(&token, CONTROL_TOKEN_MAX);
    size_t len = strlen(audience);
    if (len == 0 || len > CONTROL_TOKEN_AUDIENCE_MAX)
        return fl_err_set(err, -EINVAL, "an audience of 1 to %d bytes is wanted", CONTROL_TOKEN_AUDIENCE_MAX);
    int result = check_names(caller, err);
    if (result < 0)
        return result;
    result = print_claims(caller, audience, now, &claims);
    if (result < 0)
        return fl_err_errno(err, result, "token");
    result = sign(key, fl_buf_span(&claims), &token, err);
    if (result < 0)
        return result;
    result = fl_buf_append(out, fl_buf_span(&token));
    return result < 0 ? fl_err_errno(err, result, "token") : 0;
}

/* --- judging --- */

struct parts {
    struct fl_span header, claims, signature, signed_text;
};

static bool cut(struct fl_span token, struct parts *parts)
{
    struct fl_span rest = token, more;
    if (token.len > CONTROL_TOKEN_MAX || !fl_span_split(&rest, '.', &parts->header) ||
        !fl_span_split(&rest, '.', &parts->claims) || !fl_span_split(&rest, '.', &parts->signature) ||
        fl_span_split(&rest, '.', &more))
        return false;
    parts->signed_text = fl_span_make(token.data, parts->header.len + 1 + parts->claims.len);
    return parts->header.len > 0 && parts->claims.len > 0 && parts->signature.len > 0;
}

/* A part as an object. 0, -EINVAL, -ENOMEM. */
static int read_object(struct fl_span part, struct fl_json **ret_object)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf text;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = NULL;
    fl_buf_init(&text, JSON_MAX);
    int result = fl_base64url_decode(part, &text);
    if (result == 0)
        result = fl_json_parse(fl_buf_span(&text), &limits, &object, NULL);
    if (result == 0 && !fl_json_is(object, FL_JSON_OBJECT))
        result = -EINVAL;
    if (result == 0)
        *ret_object = fl_take(object);
    return result;
}

static enum control_auth_outcome outcome_of(int result)
{
    return result == -ENOMEM ? CONTROL_AUTH_UNAVAILABLE : CONTROL_AUTH_MALFORMED;
}

/* The algorithm is ours to say; the header may only agree. */
static enum control_auth_outcome check_header(struct fl_span part)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *header = NULL;
    int result = read_object(part, &header);
    if (result < 0)
        return outcome_of(result);
    bool good =
        fl_span_eq_str(fl_json_string(fl_json_get(header, "alg")), "ES256") && fl_json_get(header, "crit") == NULL;
    return good ? CONTROL_AUTH_OK : CONTROL_AUTH_MALFORMED;
}

static enum control_auth_outcome check_signature(const struct fl_key *public_key, const struct parts *parts)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf signature;
    fl_buf_init(&signature, FL_SIGNATURE_SIZE + 2);
    int result = fl_base64url_decode(parts->signature, &signature);
    if (result < 0)
        return outcome_of(result);
    result = fl_signature_check(public_key, parts->signed_text, fl_buf_span(&signature));
    return result == 0 ? CONTROL_AUTH_OK : result == -ENOMEM ? CONTROL_AUTH_UNAVAILABLE : CONTROL_AUTH_SIGNATURE;
}

static bool copy_name(struct fl_span name, char *room, size_t size)
{
    if (name.len >= size)
        return false;
    memcpy(room, name.data, name.len);
    room[name.len] = '\0';
    return true;
}

enum control_auth_outcome control_token_subject(struct fl_span subject, struct control_caller *ret_caller)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf uri;
    struct fl_span name_space;
    struct control_caller read = {0};
    fl_buf_init(&uri, FL_IDENTITY_MAX);
    if (!fl_span_starts_with(subject, FL_SPAN(SUBJECT)))
        return CONTROL_AUTH_SUBJECT;
    subject = fl_span_from(subject, sizeof(SUBJECT) - 1);
    if (!fl_span_split(&subject, ':', &name_space) || subject.data == NULL ||
        !copy_name(name_space, read.name_space, sizeof(read.name_space)) ||
        !copy_name(subject, read.service_account, sizeof(read.service_account)))
        return CONTROL_AUTH_SUBJECT;
    int result = control_caller_identity(&read, FL_TRUST_DOMAIN_DEFAULT, &uri, NULL);
    if (result < 0)
        return result == -ENOMEM ? CONTROL_AUTH_UNAVAILABLE : CONTROL_AUTH_SUBJECT;
    *ret_caller = read;
    return CONTROL_AUTH_OK;
}

static enum control_auth_outcome check_times(const struct fl_json *claims, time_t now, struct control_caller *caller)
{
    int64_t expires, from = 0;
    const struct fl_json *not_before = fl_json_get(claims, "nbf");
    if (!fl_json_int(fl_json_get(claims, "exp"), 0, SECONDS_MAX, &expires) ||
        (not_before != NULL && !fl_json_int(not_before, 0, SECONDS_MAX, &from)))
        return CONTROL_AUTH_MALFORMED;
    caller->expires = (time_t)expires;
    if (now >= expires + CONTROL_TOKEN_LEEWAY_S)
        return CONTROL_AUTH_EXPIRED;
    return now + CONTROL_TOKEN_LEEWAY_S < from ? CONTROL_AUTH_NOT_YET : CONTROL_AUTH_OK;
}

static enum control_auth_outcome check_audience(const struct fl_json *claims, const char *audience)
{
    const struct fl_json *value = fl_json_get(claims, "aud");
    if (fl_json_is(value, FL_JSON_STRING))
        return fl_span_eq_str(fl_json_string(value), audience) ? CONTROL_AUTH_OK : CONTROL_AUTH_AUDIENCE;
    if (!fl_json_is(value, FL_JSON_ARRAY) || fl_json_count(value) > CONTROL_TOKEN_AUDIENCES)
        return CONTROL_AUTH_MALFORMED;
    for (const struct fl_json *one = fl_json_first(value); one != NULL; one = fl_json_next(one)) {
        if (fl_json_is(one, FL_JSON_STRING) && fl_span_eq_str(fl_json_string(one), audience))
            return CONTROL_AUTH_OK;
    }
    return CONTROL_AUTH_AUDIENCE;
}

/* `issuer` NULL: anybody. */
static enum control_auth_outcome check_claims(struct fl_span part, const char *issuer, const char *audience, time_t now,
                                              struct control_caller *caller)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *claims = NULL;
    int result = read_object(part, &claims);
    if (result < 0)
        return outcome_of(result);
    enum control_auth_outcome outcome = control_token_subject(fl_json_string(fl_json_get(claims, "sub")), caller);
    if (outcome == CONTROL_AUTH_OK && issuer != NULL &&
        !fl_span_eq_str(fl_json_string(fl_json_get(claims, "iss")), issuer))
        outcome = CONTROL_AUTH_MALFORMED;
    if (outcome == CONTROL_AUTH_OK)
        outcome = check_times(claims, now, caller);
    if (outcome == CONTROL_AUTH_OK)
        outcome = check_audience(claims, audience);
    return outcome;
}

enum control_auth_outcome control_token_claims(struct fl_span token, const char *audience, time_t now,
                                               struct control_caller *ret_caller)
{
    struct parts parts;
    *ret_caller = (struct control_caller){0};
    return cut(token, &parts) ? check_claims(parts.claims, NULL, audience, now, ret_caller) : CONTROL_AUTH_MALFORMED;
}

enum control_auth_outcome control_token_check(const struct fl_key *public_key, struct fl_span token,
                                              const char *audience, time_t now, struct control_caller *ret_caller)
{
    struct parts parts;
    *ret_caller = (struct control_caller){0};
    if (!cut(token, &parts))
        return CONTROL_AUTH_MALFORMED;
    enum control_auth_outcome outcome = check_header(parts.header);
    if (outcome == CONTROL_AUTH_OK)
        outcome = check_signature(public_key, &parts);
    if (outcome == CONTROL_AUTH_OK)
        outcome = check_claims(parts.claims, ISSUER, audience, now, ret_caller);
    return outcome;
}

/* --- the folder's key --- */

static int make_key(const char *path, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_key) struct fl_key *key = NULL;
    FL_CLEANUP(fl_buf_wipe) struct fl_buf pem;
    fl_buf_init(&pem, FL_KEY_PEM_MAX);
    int result = fl_key_generate(&key, err);
    if (result < 0)
        return result;
    if (fl_buf_reserve(&pem, FL_KEY_PEM_MAX) < 0 || fl_key_print(key, &pem) < 0)
        return fl_err_set(err, -ENOMEM, "token key: out of memory");
    result = fl_file_write(path, fl_buf_span(&pem), 0600, true, err);
    return result == -EEXIST ? 0 : result; /* somebody else was quicker: then that is the key */
}

static int read_key(const char *folder, struct fl_key **ret_key, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_wipe) struct fl_buf pem;
    fl_buf_init(&pem, FL_KEY_PEM_MAX);
    if (fl_buf_reserve(&pem, FL_KEY_PEM_MAX) < 0)
        return fl_err_set(err, -ENOMEM, "token key: out of memory");
    int result = fl_file_read(folder, CONTROL_TOKEN_KEY, FL_FILE_OWNER_ALONE, &pem, err);
    return result < 0 ? result : fl_key_parse(fl_buf_span(&pem), ret_key, err);
}

/* The public half beside it, where it is missing or another key's. */
static int publish(const char *folder, const struct fl_key *key, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf der;
    FL_CLEANUP(fl_buf_done) struct fl_buf there;
    char path[PATH_MAX];
    fl_buf_init(&der, FL_KEY_PUBLIC_MAX);
    fl_buf_init(&there, FL_KEY_PUBLIC_MAX);
    int result = fl_file_path(folder, CONTROL_TOKEN_PUBLIC_KEY, path, err);
    if (result == 0)
        result = fl_key_print_public(key, &der);
    if (result < 0)
        return fl_err_errno(err, result, "token key");
    if (fl_file_read(folder, CONTROL_TOKEN_PUBLIC_KEY, 0, &there, NULL) == 0 &&
        fl_span_eq(fl_buf_span(&there), fl_buf_span(&der)))
        return 0;
    return fl_file_write(path, fl_buf_span(&der), 0644, false, err);
}

int control_token_key_open(const char *folder, struct fl_key **ret_key, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_key) struct fl_key *key = NULL;
    char path[PATH_MAX];
    int result = fl_file_path(folder, CONTROL_TOKEN_KEY, path, err);
    if (result == 0 && mkdir(folder, 0700) != 0 && errno != EEXIST)
        result = fl_err_errno(err, -errno, "%s", folder);
    if (result == 0)
        result = read_key(folder, &key, err);
    if (result == -ENOENT) {
        result = make_key(path, err);
        if (result == 0)
            result = read_key(folder, &key, err);
    }
    if (result == 0)
        result = publish(folder, key, err);
    if (result == 0)
        *ret_key = fl_take(key);
    return result;
}
