/* The settings of a pod: {"namespace": {annotations}, "pod": {annotations}}. They are refused with a reason, or whole:
 * what must hold between them holds, and what is printed of each for people and for `explain` reads back as the same.
 */
#include "webhook/resolve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

#define TEXT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Everything may be set everywhere, so that everything is reached. */
static struct webhook_config *make_config(void)
{
    struct webhook_config *config = NULL;
    EXPECT(webhook_config_default(&config) == 0);
    for (int i = 0; i < WEBHOOK_SETTING_COUNT; i++)
        config->levels[i] = WEBHOOK_LEVEL_POD;
    return config;
}

static bool is_map(const struct fl_json *value)
{
    const struct fl_json *item = fl_json_first(value);
    while (item != NULL && fl_json_is(item, FL_JSON_STRING))
        item = fl_json_next(item);
    return fl_json_is(value, FL_JSON_OBJECT) && item == NULL;
}

static void print(enum webhook_setting setting, const struct webhook_settings *settings, struct fl_buf *out)
{
    fl_buf_init(out, TEXT_MAX);
    EXPECT(webhook_setting_print(setting, settings, out) == 0);
}

static void check_printed(enum webhook_setting setting, const struct webhook_settings *settings)
{
    const struct fl_json_limits limits = {.bytes_max = TEXT_MAX};
    struct webhook_settings again;
    struct fl_buf first, second;
    struct fl_reader reader;
    struct fl_err err = {0};
    struct fl_json *value = NULL;
    webhook_settings_defaults(&again);
    print(setting, settings, &first);
    EXPECT(fl_json_parse(fl_buf_span(&first), &limits, &value, &err) == 0);
    fl_reader_init(&reader, NULL, &err);
    EXPECT(webhook_setting_take(setting, &reader, value, &again) == 0);
    print(setting, &again, &second);
    EXPECT(fl_span_eq(fl_buf_span(&first), fl_buf_span(&second)));
    fl_buf_done(&first);
    fl_buf_done(&second);
    fl_json_free(value);
}

static void check_settings(const struct webhook_config *config, const struct webhook_settings *settings)
{
    struct fl_buf capture;
    fl_buf_init(&capture, FL_CAPTURE_TEXT_MAX);
    EXPECT(webhook_settings_check(settings, config->token_audience, false, NULL, NULL) == 0);
    EXPECT(fl_capture_print(&settings->capture, &capture) == 0);
    EXPECT(settings->start_seconds > 0);
    for (int i = 0; i < WEBHOOK_SETTING_COUNT; i++)
        check_printed((enum webhook_setting)i, settings);
    fl_buf_done(&capture);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct webhook_config *config;
    const struct fl_json_limits limits = {.bytes_max = TEXT_MAX};
    struct fl_json *root = NULL;
    if (config == NULL)
        config = make_config();
    if (fl_json_parse(fl_span_make(data, size), &limits, &root, NULL) < 0)
        return 0;
    const struct fl_json *name_space = fl_json_get(root, "namespace"), *pod = fl_json_get(root, "pod");
    name_space = is_map(name_space) ? name_space : NULL;
    pod = is_map(pod) ? pod : NULL;
    struct webhook_settings settings;
    struct webhook_warnings warnings = {0};
    struct fl_err err = {0};
    int result = webhook_settings_resolve(config, FL_SPAN("shop"), false, name_space, pod, &settings, &warnings, &err);
    if (result < 0) {
        EXPECT(result == -EINVAL && err.text[0] != '\0');
    } else {
        check_settings(config, &settings);
        webhook_settings_done(&settings);
    }
    fl_json_free(root);
    return 0;
}
