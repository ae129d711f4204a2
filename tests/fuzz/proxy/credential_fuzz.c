/* The identity that the memory volume kept: whatever stands there is read or refused. The checksum is mended first, so
 * that the parts behind it are reached; what reads is printed and reads again.
 */
#include "common/base/siphash.h"
#include "proxy/config/credential.h"

#include <stdlib.h>

#define NOW 1800000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct fl_span text)
{
    struct proxy_credential credential, again;
    struct fl_err err;
    struct fl_buf out;
    fl_buf_init(&out, 2 * PROXY_CREDENTIAL_FILE_MAX);
    if (proxy_credential_read(text, FL_SPAN(""), NOW, &credential, &err) == 0) {
        if (proxy_credential_print(&credential, &out) != 0 ||
            proxy_credential_read(fl_buf_span(&out), credential.uri, NOW, &again, &err) != 0)
            abort();
        proxy_credential_done(&again);
        proxy_credential_done(&credential);
    }
    fl_buf_done(&out);
}

/* The first line's last word becomes what it should be. */
static void mend(struct fl_span text, struct fl_buf *mended)
{
    static const uint64_t key[2] = {0, 0};
    size_t end = fl_span_find(text, '\n');
    struct fl_span line = {text.data, end}, body = fl_span_from(text, end < text.len ? end + 1 : end), word;
    for (int i = 0; i < 5 && fl_span_split(&line, ' ', &word); i++) {
        if (fl_buf_append(mended, word) != 0 || fl_buf_append_byte(mended, ' ') != 0)
            abort();
    }
    if (fl_buf_printf(mended, "%llu\n", (unsigned long long)fl_siphash_keyed(key, 2, 4, body)) != 0 ||
        fl_buf_append(mended, body) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span text = fl_span_make(data, size);
    struct fl_buf mended;
    if (size > PROXY_CREDENTIAL_FILE_MAX)
        return 0;
    fl_buf_init(&mended, 2 * PROXY_CREDENTIAL_FILE_MAX);
    check(text);
    mend(text, &mended);
    check(fl_buf_span(&mended));
    fl_buf_done(&mended);
    return 0;
}
