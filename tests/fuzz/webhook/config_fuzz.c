/* The configuration file: read or refused with a reason; what was read keeps its own rules. */
#include "webhook/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct webhook_config *config = NULL;
    struct fl_err err = {0};
    int result = webhook_config_parse(fl_span_make(data, size), "fuzz", &config, &err);
    if (result < 0 ? err.text[0] == '\0'
                   : webhook_settings_check(&config->defaults, config->token_audience, true, NULL, NULL) < 0 ||
                         config->uid == 0)
        abort();
    webhook_config_free(config);
    return 0;
}
