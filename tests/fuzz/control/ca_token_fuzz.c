/* Bearer tokens: whatever comes is judged; what is good was signed, and names a service account. The input is a token,
 * or (first byte '!') a header and claims with a NUL between that are signed here, so that claims are reached.
 */
#include "common/base/base64.h"
#include "common/pki/signature.h"
#include "control/ca/token.h"

#include <stdlib.h>

#define NOW 1700000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fl_key *the_key(void)
{
    static const char pem[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg66VCwRjy5G8eUtt/\n"
                              "SZwf212PFPise2HKDVXjLEkTbW6hRANCAAT1asi+AdxJVzb6LxrIMSO8rZlCmIVl\n"
                              "6AcO3Oh3d8JQHkutE4K19imgZ87Ud0xQYNIn5eYYE7n8g/cPs7T6H2jG\n"
                              "-----END PRIVATE KEY-----\n";
    static struct fl_key *key;
    if (key == NULL && fl_key_parse(fl_span_str(pem), &key, NULL) != 0)
        abort();
    return key;
}

static void sign(struct fl_span input, struct fl_buf *token)
{
    unsigned char signature[FL_SIGNATURE_SIZE];
    size_t cut = fl_span_find(input, '\0');
    struct fl_span claims = fl_span_from(input, cut < input.len ? cut + 1 : cut);
    if (fl_base64url_encode(fl_span_make(input.data, cut), token) != 0 || fl_buf_append_byte(token, '.') != 0 ||
        fl_base64url_encode(claims, token) != 0 ||
        fl_signature_make(the_key(), fl_buf_span(token), signature, NULL) != 0 || fl_buf_append_byte(token, '.') != 0 ||
        fl_base64url_encode(fl_span_make(signature, sizeof(signature)), token) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span input = fl_span_make(data, size);
    struct fl_buf token, uri;
    struct control_caller caller;
    if (size > 2 * CONTROL_TOKEN_MAX)
        return 0;
    fl_buf_init(&token, 8 * CONTROL_TOKEN_MAX);
    fl_buf_init(&uri, FL_IDENTITY_MAX);
    if (size > 0 && data[0] == '!')
        sign(fl_span_from(input, 1), &token);
    else if (fl_buf_append(&token, input) != 0)
        abort();
    if (control_token_check(the_key(), fl_buf_span(&token), "fairlead-ca", NOW, &caller) == CONTROL_AUTH_OK &&
        (control_caller_identity(&caller, "cluster.local", &uri, NULL) != 0 || caller.expires + 30 <= NOW))
        abort();
    if (control_token_claims(fl_buf_span(&token), "fairlead-ca", NOW, &caller) == CONTROL_AUTH_OK &&
        (caller.service_account[0] == '\0' || caller.expires + 30 <= NOW))
        abort();
    fl_buf_done(&token);
    fl_buf_done(&uri);
    return 0;
}
