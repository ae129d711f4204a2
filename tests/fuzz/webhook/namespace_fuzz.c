/* The namespaces file: read or refused with a reason; names that were read are found. */
#include "webhook/namespace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct webhook_namespaces *set = NULL;
    struct fl_err err = {0};
    int result = webhook_namespaces_parse(fl_span_make(data, size), "fuzz", &set, &err);
    if (result < 0 && err.text[0] == '\0')
        abort();
    const struct webhook_namespace *shop = webhook_namespaces_find(set, FL_SPAN("shop"));
    if (shop != NULL && !fl_span_eq_str(shop->name, "shop"))
        abort();
    webhook_namespaces_free(set);
    return 0;
}
