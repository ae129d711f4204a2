#include "webhook/caller.h"

#include "common/jose/jws.h"

#include <errno.h>

#define SCHEME "Bearer "

const char *webhook_caller_word(enum webhook_caller_result result)
{
    static const char *const words[] = {
#define X(symbol, word) [WEBHOOK_CALLER_##symbol] = word,
        WEBHOOK_CALLERS(X)
#undef X
    };
    return words[result];
}

/* ---- Files ---- */

int webhook_caller_look_at_ca(struct webhook_caller *caller, bool force, struct fl_err *err)
{
    int result = fl_reread_look(&caller->ca_file, force, err);
    return result >= 0 && force && caller->ca_file.path != NULL ? 1 : result;
}

int webhook_caller_look_at_keys(struct webhook_caller *caller, bool force, struct fl_err *err)
{
    struct fl_jwks *keys;
    int result = fl_reread_look(&caller->keys_file, force, err);
    if (result < 0 || caller->keys_file.path == NULL || (result == 0 && !force))
        return result;
    result = fl_jwks_parse(fl_buf_span(&caller->keys_file.text), &keys, err);
    if (result < 0) {
        fl_err_prefix(err, "%s", caller->keys_file.path);
        return result;
    }
    fl_jwks_free(caller->keys);
    caller->keys = keys;
    return 1;
}

int webhook_caller_init(struct webhook_caller *caller, const struct webhook_caller_options *options, struct fl_err *err)
{
    *caller = (struct webhook_caller){.options = *options};
    fl_reread_init(&caller->ca_file, options->ca, WEBHOOK_CALLER_CA_MAX);
    fl_reread_init(&caller->keys_file, options->token != WEBHOOK_TOKEN_OFF ? options->keys : NULL, FL_JWKS_BYTES_MAX);
    int result = webhook_caller_look_at_ca(caller, true, err);
    if (result >= 0)
        result = webhook_caller_look_at_keys(caller, true, err);
    if (result < 0)
        webhook_caller_done(caller);
    return result < 0 ? result : 0;
}

void webhook_caller_done(struct webhook_caller *caller)
{
    fl_reread_done(&caller->ca_file);
    fl_reread_done(&caller->keys_file);
    caller->keys = fl_jwks_free(caller->keys);
}

bool webhook_caller_is_asked(const struct webhook_caller *caller)
{
    return caller->options.ca != NULL || caller->options.token != WEBHOOK_TOKEN_OFF;
}

/* ---- The certificate ---- */

static bool is_listed(const struct webhook_caller_list *list, struct fl_span text)
{
    for (size_t i = 0; i < list->count; i++) {
        if (fl_span_eq(list->texts[i], text))
            return true;
    }
    return false;
}

static enum webhook_caller_result say(struct fl_err *err, enum webhook_caller_result result, const char *text)
{
    fl_err_set(err, -EACCES, "%s", text);
    return result;
}

enum webhook_caller_result webhook_caller_certificate(const struct webhook_caller *caller,
                                                      const struct fl_http_peer *peer, struct fl_err *err)
{
    if (peer->state == FL_HTTP_PEER_NONE)
        return say(err, WEBHOOK_CALLER_MISSING, "the client showed no certificate");
    if (peer->state == FL_HTTP_PEER_BAD)
        return say(err, WEBHOOK_CALLER_UNTRUSTED, peer->trouble);
    for (size_t i = 0; i < peer->name_count; i++) {
        if (is_listed(&caller->options.names, peer->names[i]))
            return WEBHOOK_CALLER_GOOD;
    }
    return say(err, WEBHOOK_CALLER_NAME, "the client's certificate has none of the names of --client-name");
}

/* ---- The token ---- */

static bool is_attested(const struct fl_json *payload)
{
    const struct fl_json *ours = fl_json_get(payload, "kubernetes.io");
    const struct fl_json *groups = fl_json_get(fl_json_get(ours, "attestations"), "admissionReviewAPIGroups");
    return fl_json_is(fl_json_get(ours, "mutatingwebhookconfiguration"), FL_JSON_OBJECT) &&
           fl_json_is(groups, FL_JSON_ARRAY) && fl_json_count(groups) == 1 &&
           fl_span_eq_str(fl_json_string(fl_json_first(groups)), "*"); /* pods' own group has no name to list */
}

static enum webhook_caller_result judge_claims(const struct webhook_caller *caller, const struct fl_json *payload,
                                               time_t now, struct fl_err *err)
{
    struct fl_jws_times times;
    const struct webhook_caller_list *audiences = &caller->options.audiences;
    int result = fl_jws_check_times(payload, now, WEBHOOK_CALLER_SKEW_S, &times);
    if (!fl_span_eq_str(fl_json_string(fl_json_get(payload, "iss")), caller->options.issuer))
        return say(err, WEBHOOK_CALLER_NAME, "the token is of another issuer");
    if (result == FL_JWS_PAYLOAD || fl_json_get(payload, "exp") == NULL)
        return say(err, WEBHOOK_CALLER_MALFORMED, "the token's times cannot be read");
    if (result != FL_JWS_GOOD)
        return say(err, WEBHOOK_CALLER_EXPIRED, "the token is expired, or not valid yet");
    if (!fl_jws_has_audience(payload, audiences->texts, audiences->count))
        return say(err, WEBHOOK_CALLER_AUDIENCE, "the token is for another audience");
    if (!is_attested(payload))
        return say(err, WEBHOOK_CALLER_ATTESTATION, "the token is not attested for admission reviews");
    return WEBHOOK_CALLER_GOOD;
}

static enum webhook_caller_result judge_token(const struct webhook_caller *caller, struct fl_span token, time_t now,
                                              struct fl_err *err)
{
    struct fl_jws jws = {0};
    if (fl_jws_parse(token, &jws) != FL_JWS_GOOD)
        return say(err, WEBHOOK_CALLER_MALFORMED, "the token cannot be read");
    enum webhook_caller_result result =
        fl_jws_verify(&jws, caller->keys) == FL_JWS_GOOD
            ? judge_claims(caller, jws.payload, now, err)
            : say(err, WEBHOOK_CALLER_UNTRUSTED, "the token is not signed by a key of --token-keys");
    fl_jws_done(&jws);
    return result;
}

enum webhook_caller_result webhook_caller_token(const struct webhook_caller *caller, struct fl_span header, time_t now,
                                                struct fl_err *err)
{
    const size_t scheme = sizeof(SCHEME) - 1;
    if (header.data == NULL || header.len == 0)
        return say(err, WEBHOOK_CALLER_MISSING, "the client sent no token");
    if (header.len <= scheme || !fl_span_eq_nocase(fl_span_make(header.data, scheme), FL_SPAN(SCHEME)))
        return say(err, WEBHOOK_CALLER_MALFORMED, "the authorization is no Bearer token");
    return judge_token(caller, fl_span_trim(fl_span_from(header, scheme)), now, err);
}
