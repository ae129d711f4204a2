#include "common/jose/jws.h"

#include "common/base/base64.h"
#include "common/pki/signature.h"

#include <errno.h>
#include <math.h>

/* -- its form -- */

/* Three parts, each of any length but none: an empty signature is no signature. */
static bool cut(struct fl_span token, struct fl_span parts[3])
{
    struct fl_span rest = token;
    for (size_t i = 0; i < 3; i++) {
        if (!fl_span_split(&rest, '.', &parts[i]) || parts[i].len == 0)
            return false;
    }
    return rest.data == NULL;
}

/* A JSON object in base64url. `failure` where it is something else. */
static int read_object(struct fl_span text, int failure, struct fl_json **ret_root)
{
    static const struct fl_json_limits limits = {.bytes_max = FL_JWS_BYTES_MAX, .depth_max = 16};
    FL_CLEANUP(fl_buf_done) struct fl_buf bytes;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    fl_buf_init(&bytes, FL_JWS_BYTES_MAX);
    int result = fl_base64url_decode(text, &bytes);
    if (result == 0)
        result = fl_json_parse(fl_buf_span(&bytes), &limits, &root, NULL);
    if (result == -ENOMEM)
        return result;
    if (result < 0 || !fl_json_is(root, FL_JSON_OBJECT))
        return failure;
    *ret_root = fl_take(root);
    return 0;
}

/* alg, kid and crit (RFC 7515 §4.1). Others are for the application. b64 (RFC 7797) only counts where crit names it. */
static int read_header(struct fl_jws *jws)
{
    const struct fl_json *kid = fl_json_get(jws->header, "kid");
    struct fl_span algorithm = fl_json_string(fl_json_get(jws->header, "alg"));
    if (fl_json_get(jws->header, "crit") != NULL)
        return FL_JWS_CRITICAL;
    if (kid != NULL && !fl_json_is(kid, FL_JSON_STRING))
        return FL_JWS_HEADER;
    jws->kid = fl_json_string(kid);
    if (fl_span_eq_str(algorithm, "RS256"))
        jws->algorithm = FL_JWK_RS256;
    else if (fl_span_eq_str(algorithm, "ES256"))
        jws->algorithm = FL_JWK_ES256;
    else
        return FL_JWS_ALGORITHM;
    return 0;
}

static int read_parts(struct fl_span token, struct fl_jws *jws)
{
    struct fl_span parts[3];
    if (token.len > FL_JWS_BYTES_MAX)
        return FL_JWS_SIZE;
    if (!cut(token, parts))
        return FL_JWS_FORM;
    int result = read_object(parts[0], FL_JWS_HEADER, &jws->header);
    if (result == 0)
        result = read_header(jws);
    if (result == 0)
        result = read_object(parts[1], FL_JWS_PAYLOAD, &jws->payload);
    if (result != 0)
        return result;
    fl_buf_init(&jws->signature, FL_JWS_BYTES_MAX);
    result = fl_base64url_decode(parts[2], &jws->signature);
    jws->payload_part = parts[1];
    jws->signed_part = fl_span_make(token.data, (size_t)(parts[2].data - token.data) - 1);
    return result == -ENOMEM ? result : result < 0 ? FL_JWS_FORM : 0;
}

int fl_jws_parse(struct fl_span token, struct fl_jws *ret_jws)
{
    struct fl_jws jws = {0};
    int result = read_parts(token, &jws);
    if (result == 0)
        *ret_jws = jws;
    else
        fl_jws_done(&jws);
    return result;
}

void fl_jws_done(struct fl_jws *jws)
{
    jws->header = fl_json_free(jws->header);
    jws->payload = fl_json_free(jws->payload);
    fl_buf_done(&jws->signature);
}

/* -- its signature -- */

static int check_signature(const struct fl_jwk *jwk, const struct fl_jws *jws)
{
    struct fl_span signature = fl_buf_span(&jws->signature);
    if (jwk->algorithm == FL_JWK_RS256)
        return fl_signature_check_rs256(jwk->key, jws->signed_part, signature);
    return fl_signature_check(jwk->key, jws->signed_part, signature);
}

int fl_jws_verify(const struct fl_jws *jws, const struct fl_jwks *keys)
{
    int failure = FL_JWS_KEY;
    for (size_t i = 0; i < keys->count; i++) {
        const struct fl_jwk *jwk = &keys->keys[i];
        if (jwk->algorithm != jws->algorithm ||
            (jwk->kid.len > 0 && jws->kid.len > 0 && !fl_span_eq(jwk->kid, jws->kid)))
            continue;
        int result = check_signature(jwk, jws);
        if (result == 0 || result == -ENOMEM)
            return result;
        failure = FL_JWS_SIGNATURE;
    }
    return failure;
}

/* -- its claims -- */

/* A time claim, in seconds. False: another type, or past all sense. */
static bool read_time(const struct fl_json *payload, const char *name, double absent, double *ret_time)
{
    const struct fl_json *value = fl_json_get(payload, name);
    *ret_time = absent;
    if (value == NULL)
        return true;
    *ret_time = fl_json_number(value);
    return fl_json_is(value, FL_JSON_NUMBER) && isfinite(*ret_time);
}

int fl_jws_check_times(const struct fl_json *payload, int64_t now_s, unsigned skew_s, struct fl_jws_times *ret_times)
{
    double expires, not_before, issued, now = (double)now_s, skew = skew_s;
    if (!read_time(payload, "exp", INFINITY, &expires) || !read_time(payload, "nbf", -INFINITY, &not_before) ||
        !read_time(payload, "iat", now, &issued))
        return FL_JWS_PAYLOAD;
    if (now + skew < not_before)
        return FL_JWS_NOT_YET;
    if (now - skew > expires)
        return FL_JWS_EXPIRED;
    *ret_times = (struct fl_jws_times){.expires = expires, .issued = issued};
    return FL_JWS_GOOD;
}

static bool is_listed(struct fl_span text, const struct fl_span *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fl_span_eq(text, list[i]))
            return true;
    }
    return false;
}

bool fl_jws_has_audience(const struct fl_json *payload, const struct fl_span *wanted, size_t count)
{
    const struct fl_json *audience = fl_json_get(payload, "aud");
    if (fl_json_is(audience, FL_JSON_STRING))
        return is_listed(fl_json_string(audience), wanted, count);
    if (!fl_json_is(audience, FL_JSON_ARRAY) || fl_json_count(audience) > FL_JWS_AUDIENCES_MAX)
        return false;
    for (const struct fl_json *one = fl_json_first(audience); one != NULL; one = fl_json_next(one)) {
        if (fl_json_is(one, FL_JSON_STRING) && is_listed(fl_json_string(one), wanted, count))
            return true;
    }
    return false;
}
