/* What a credential plugin prints, of any bytes. */
#include "common/kube/plugin.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char version[] = "client.authentication.k8s.io/v1";
    const struct fl_kube_plugin plugin = {.api_version = version};
    struct fl_kube_plugin_answer answer = {0};
    struct fl_err err = {0};
    int result = fl_kube_plugin_read(&plugin, fl_span_make(data, size), &answer, &err);
    if (result < 0 && (err.code != result || err.text[0] == '\0' || answer.token.data != NULL))
        abort();
    if (result == 0 && ((answer.cert.len > 0) != (answer.key.len > 0) || answer.token.len + answer.cert.len == 0))
        abort();
    for (size_t i = 0; i < answer.token.len; i++) {
        if (answer.token.data[i] <= ' ' || answer.token.data[i] == 0x7f)
            abort();
    }
    fl_kube_plugin_answer_done(&answer);
    return 0;
}
