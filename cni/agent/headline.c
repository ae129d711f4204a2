#include "cni/agent/headline.h"

enum cni_headline_outcome cni_headline_take(struct fl_span *rest, struct fl_span *ret_line)
{
    size_t end = fl_span_find(*rest, '\n');
    if (end == rest->len)
        return CNI_HEADLINE_PARTIAL;
    if (end == 0 || rest->data[end - 1] != '\r')
        return CNI_HEADLINE_BAD;
    *ret_line = fl_span_make(rest->data, end - 1);
    *rest = fl_span_from(*rest, end + 1);
    return CNI_HEADLINE_TAKEN;
}
