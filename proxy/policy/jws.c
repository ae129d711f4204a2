#include "proxy/policy/jws.h"

#include "common/base/base64.h"

#include <errno.h>

const char *proxy_jwt_word(enum proxy_jwt_failure failure)
{
    static const char *const words[] = {[PROXY_JWT_GOOD] = "good",
#define X(id, word, text) [PROXY_JWT_##id] = word,
                                        PROXY_JWT_FAILURES(X)
#undef X
    };
    return words[failure];
}

const char *proxy_jwt_text(enum proxy_jwt_failure failure)
{
    static const char *const texts[] = {[PROXY_JWT_GOOD] = "OK",
#define X(id, word, text) [PROXY_JWT_##id] = text,
                                        PROXY_JWT_FAILURES(X)
#undef X
    };
    return texts[failure];
}

/* Three parts, each but for the header's sake of any length: an empty signature is told as a bad one. */
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
    static const struct fl_json_limits limits = {.bytes_max = PROXY_JWT_BYTES_MAX, .depth_max = 16};
    FL_CLEANUP(fl_buf_done) struct fl_buf bytes;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    fl_buf_init(&bytes, PROXY_JWT_BYTES_MAX);
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
static int read_header(struct proxy_jws *jws)
{
    const struct fl_json *kid = fl_json_get(jws->header, "kid");
    struct fl_span algorithm = fl_json_string(fl_json_get(jws->header, "alg"));
    if (fl_json_get(jws->header, "crit") != NULL)
        return PROXY_JWT_CRITICAL;
    if (kid != NULL && !fl_json_is(kid, FL_JSON_STRING))
        return PROXY_JWT_HEADER;
    jws->kid = fl_json_string(kid);
    if (fl_span_eq_str(algorithm, "RS256"))
        jws->algorithm = FL_JWK_RS256;
    else if (fl_span_eq_str(algorithm, "ES256"))
        jws->algorithm = FL_JWK_ES256;
    else
        return PROXY_JWT_ALGORITHM;
    return 0;
}

static int read_parts(struct fl_span token, struct proxy_jws *jws)
{
    struct fl_span parts[3];
    if (token.len > PROXY_JWT_BYTES_MAX)
        return PROXY_JWT_SIZE;
    if (!cut(token, parts))
        return PROXY_JWT_FORM;
    int result = read_object(parts[0], PROXY_JWT_HEADER, &jws->header);
    if (result == 0)
        result = read_header(jws);
    if (result == 0)
        result = read_object(parts[1], PROXY_JWT_PAYLOAD, &jws->payload);
    if (result != 0)
        return result;
    fl_buf_init(&jws->signature, PROXY_JWT_BYTES_MAX);
    result = fl_base64url_decode(parts[2], &jws->signature);
    jws->payload_part = parts[1];
    jws->signed_part = fl_span_make(token.data, (size_t)(parts[2].data - token.data) - 1);
    return result == -ENOMEM ? result : result < 0 ? PROXY_JWT_FORM : 0;
}

int proxy_jws_parse(struct fl_span token, struct proxy_jws *ret_jws)
{
    struct proxy_jws jws = {0};
    int result = read_parts(token, &jws);
    if (result == 0)
        *ret_jws = jws;
    else
        proxy_jws_done(&jws);
    return result;
}

void proxy_jws_done(struct proxy_jws *jws)
{
    jws->header = fl_json_free(jws->header);
    jws->payload = fl_json_free(jws->payload);
    fl_buf_done(&jws->signature);
}
