/* Any bytes as a token: no crash, and nothing is good that our key did not sign. What is taken apart is as it was
 * written. */
#include "proxy/policy/jwt.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of a key that nobody has (RFC 7515 A.3's public part). */
static const char set[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";

/* RFC 7515 A.3's token, the only one that we have with a good signature. */
static const char signed_once[] =
    "eyJhbGciOiJFUzI1NiJ9."
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fl_jwks *keys;
    if (keys == NULL && fl_jwks_parse(fl_span_str(set), &keys, NULL) != 0)
        abort();
    struct fl_span token = fl_span_make(data, size);
    struct fl_jws jws = {0};
    if (fl_jws_parse(token, &jws) == 0) {
        assert(jws.signed_part.data == token.data && jws.signed_part.len < token.len);
        assert(fl_json_is(jws.header, FL_JSON_OBJECT) && fl_json_is(jws.payload, FL_JSON_OBJECT));
        fl_jws_done(&jws);
    }
    const struct proxy_jwt_provider provider = {.keys = keys, .clock_skew_s = 60};
    struct proxy_payload *payload = NULL;
    int result = proxy_jwt_verify(&provider, NULL, 0, token, 1300819380, &payload);
    assert(result != 0 || fl_span_eq_str(token, signed_once));
    assert((result == 0) == (payload != NULL));
    proxy_payload_unref(payload);
    return 0;
}
