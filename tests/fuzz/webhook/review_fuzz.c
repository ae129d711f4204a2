/* AdmissionReviews: whatever comes in, the answer is whole. An answer with status 200 is JSON; its patch applies to the
 * object that came in, and the result reviewed again is left alone. */
#include "common/doc/patch.h"
#include "webhook/review.h"

#include <stdio.h>

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char namespaces_text[] =
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {fairlead.io/inject: enabled}}\n---\n"
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: strict, labels: {fairlead.io/require: \"true\"}}\n---\n"
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: paused, labels: {fairlead.io/pause: \"true\"}}\n";

static struct webhook_context context;

static void make_context(void)
{
    struct webhook_config *config = NULL;
    struct webhook_namespaces *namespaces = NULL;
    EXPECT(webhook_config_default(&config) == 0);
    EXPECT(webhook_namespaces_parse(fl_span_str(namespaces_text), "n", &namespaces, NULL) == 0);
    for (int i = 0; i < WEBHOOK_SETTING_COUNT;
         i++) /* everything may be set everywhere, so that everything is reached */
        config->levels[i] = WEBHOOK_LEVEL_POD;
    context = (struct webhook_context){.config = config, .namespaces = namespaces};
}

static struct fl_json *parse(struct fl_span text)
{
    const struct fl_json_limits limits = {.bytes_max = 16u << 20, .depth_max = 100};
    struct fl_json *root = NULL;
    EXPECT(fl_json_parse(text, &limits, &root, NULL) == 0);
    return root;
}

static struct fl_json *decode(struct fl_span text)
{
    static signed char values[256];
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 64; i++)
        values[(unsigned char)digits[i]] = (signed char)i;
    char *bytes = malloc(text.len + 1);
    size_t len = 0;
    EXPECT(bytes != NULL && text.len % 4 == 0);
    for (size_t i = 0; i < text.len; i += 4) {
        unsigned group = 0;
        for (size_t j = 0; j < 4; j++)
            group = group << 6 | (unsigned)values[(unsigned char)text.data[i + j]];
        bytes[len++] = (char)(group >> 16);
        bytes[len++] = (char)(group >> 8);
        bytes[len++] = (char)group;
    }
    while (text.len > 0 && text.data[text.len - 1] == '=') {
        text.len--;
        len--;
    }
    struct fl_json *patch = parse(fl_span_make(bytes, len));
    free(bytes);
    return patch;
}

/* Puts the patched object into the review and reviews it again. */
static void check_again(struct fl_json *review, struct fl_json *patched)
{
    struct webhook_verdict_report report;
    struct fl_buf body, answer;
    fl_buf_init(&body, 32u << 20);
    fl_buf_init(&answer, WEBHOOK_RESPONSE_MAX);
    EXPECT(fl_json_set(fl_json_get(review, "request"), "object", patched) == 0);
    EXPECT(fl_json_print(review, &body) == 0);
    webhook_review(&context, fl_buf_span(&body), &answer, &report);
    bool grown = body.len > WEBHOOK_REVIEW_MAX; /* past what we would read */
    EXPECT(grown || report.outcome == WEBHOOK_UNCHANGED);
    fl_buf_done(&body);
    fl_buf_done(&answer);
}

static void check_answer(struct fl_span body, struct fl_span answer, const struct webhook_verdict_report *report)
{
    struct fl_json *root = parse(answer), *response = fl_json_get(root, "response");
    struct fl_json *review = parse(body), *request = fl_json_get(review, "request");
    struct fl_json *patch_text = fl_json_get(response, "patch");
    EXPECT(fl_json_equal(fl_json_get(response, "uid"), fl_json_get(request, "uid")));
    EXPECT(fl_json_bool(fl_json_get(response, "allowed")) == (report->outcome != WEBHOOK_DENIED));
    EXPECT((patch_text != NULL) == (report->outcome == WEBHOOK_INJECTED));
    EXPECT(report->reason != WEBHOOK_REASON_SELF_CHECK);
    if (patch_text != NULL) {
        struct fl_json *patch = decode(fl_json_string(patch_text));
        struct fl_json *patched = fl_json_copy(fl_json_get(request, "object"));
        EXPECT(fl_patch_apply(&patched, patch, NULL) == 0);
        check_again(review, patched);
        fl_json_free(patch);
    }
    fl_json_free(review);
    fl_json_free(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct webhook_verdict_report report;
    struct fl_buf answer;
    if (context.config == NULL)
        make_context();
    fl_buf_init(&answer, WEBHOOK_RESPONSE_MAX);
    webhook_review(&context, fl_span_make(data, size), &answer, &report);
    if (report.status == 200)
        check_answer(fl_span_make(data, size), fl_buf_span(&answer), &report);
    else
        EXPECT(report.outcome == WEBHOOK_INVALID && answer.len > 0);
    fl_buf_done(&answer);
    return 0;
}
