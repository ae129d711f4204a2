/* Answers of the API server: parts lie in the input, and numbers in their ranges; what is complete was never bad on its
 * way. */
#include "cni/agent/answer.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool lies_in(struct fl_span part, struct fl_span whole)
{
    return part.len == 0 || (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span bytes = fl_span_make(data, size);
    struct cni_answer answer, part;
    enum cni_answer_outcome outcome = cni_answer_parse(bytes, &answer);
    check(lies_in(cni_answer_message(bytes), bytes));
    if (outcome == CNI_ANSWER_PARTIAL || outcome == CNI_ANSWER_BAD)
        return 0;
    check(answer.status >= 200 && answer.status <= 599 && answer.retry_after_s <= CNI_ANSWER_RETRY_MAX_S);
    check(lies_in(answer.body, bytes) && lies_in(cni_answer_message(answer.body), answer.body));
    check(!answer.reusable || outcome == CNI_ANSWER_COMPLETE);
    for (size_t len = 0; len < size && size <= 1024; len++)
        check(cni_answer_parse(fl_span_make(data, len), &part) != CNI_ANSWER_BAD);
    return 0;
}
