/* A scrape of a pod: every sample that is found lies within the text, and so does every label that is asked for; what
 * is counted of it can be counted off again. */
#include "cli/exposition.h"
#include "cli/plaintext.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void within(struct fl_span whole, struct fl_span part)
{
    if (part.len > 0 && (part.data < whole.data || part.data + part.len > whole.data + whole.len))
        abort();
}

static void count(struct fl_span text)
{
    struct fl_json *before = fl_json_new_object(), *after = fl_json_new_object();
    if (before == NULL || after == NULL || cli_plaintext_read(text, NULL, before) < 0 ||
        cli_plaintext_read(text, before, after) < 0 || fl_json_count(fl_json_get(after, "sources")) != 0)
        abort();
    fl_json_free(before);
    fl_json_free(after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span text = fl_span_make(data, size), rest = text;
    struct cli_sample sample;
    while (cli_exposition_next(&rest, &sample)) {
        within(text, sample.name);
        within(text, sample.labels);
        within(text, cli_sample_label(&sample, "reporter"));
        within(text, cli_sample_label(&sample, "none"));
        if (sample.name.len == 0 || !(sample.value >= 0))
            abort();
    }
    count(text);
    return 0;
}
