/* Golden admissions: every folder of tests/golden/webhook is a case.
 *
 *   pod.yaml          a Pod; it is wrapped into a review (CREATE, namespace of its metadata, else "shop"); or
 *   review.json       the body as it is posted
 *   namespaces.yaml   optional; else the one beside the folders
 *   config.yaml       optional; else the defaults
 *   answer.json       what must come out, the patch decoded
 *
 * Beside the text, each case is held to what every admission must keep: the answer is a whole AdmissionReview with the
 * request's uid; the patch applies; what was patched keeps to invariant.h; reviewed again it stays as it is.
 * FL_GOLDEN_UPDATE=1 writes answer.json anew (and then the eyes must judge the difference).
 */
#include "tests/unit/webhook/invariant.h"
#include "tests/unit/webhook/test.h"

#include "common/doc/patch.h"
#include "common/doc/region.h"
#include "webhook/review.h"

#include <dirent.h>

#define ROOT      "tests/golden/webhook"
#define TEXT_MAX  (8u << 20)
#define CASES_MAX 200

static const struct fl_json_limits limits = {.bytes_max = TEXT_MAX};

struct golden {
    char folder[512];
    struct webhook_config *config;
    struct webhook_namespaces *namespaces;
    struct fl_buf body, answer;
    struct webhook_verdict_report report;
};

/* ---- Reading ---- */

/* False where there is no such file in the case. */
static bool read_file(const char *folder, const char *name, struct fl_buf *text)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    fl_buf_init(text, TEXT_MAX);
    int result = fl_buf_read_file(text, path);
    if (result < 0 && result != -ENOENT)
        fail_msg("%s: %s", path, strerror(-result));
    return result == 0;
}

static void read_context(struct golden *golden)
{
    struct fl_buf text;
    struct fl_err err = {0};
    bool own = read_file(golden->folder, "config.yaml", &text);
    int result = own ? webhook_config_parse(fl_buf_span(&text), "config.yaml", &golden->config, &err)
                     : webhook_config_default(&golden->config);
    fl_buf_done(&text);
    own = result == 0 && read_file(golden->folder, "namespaces.yaml", &text);
    if (result == 0 && !own)
        assert_true(read_file(ROOT, "namespaces.yaml", &text));
    if (result == 0)
        result = webhook_namespaces_parse(fl_buf_span(&text), "namespaces.yaml", &golden->namespaces, &err);
    fl_buf_done(&text);
    if (result < 0)
        fail_msg("%s: %s", golden->folder, err.text);
}

static void wrap(const struct fl_json *pod, struct fl_buf *body)
{
    struct fl_span name_space = fl_json_string(fl_json_get(fl_json_get(pod, "metadata"), "namespace"));
    if (name_space.len == 0)
        name_space = FL_SPAN("shop");
    assert_int_equal(fl_buf_printf(body,
                                   "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{"
                                   "\"uid\":\"case\",\"operation\":\"CREATE\",\"namespace\":\"%.*s\",\"resource\":{"
                                   "\"group\":\"\",\"version\":\"v1\",\"resource\":\"pods\"},\"object\":",
                                   FL_SPAN_ARG(name_space)),
                     0);
    assert_int_equal(fl_json_print(pod, body), 0);
    assert_int_equal(fl_buf_append_str(body, "}}"), 0);
}

static void read_body(struct golden *golden)
{
    struct fl_buf text;
    struct fl_err err = {0};
    if (read_file(golden->folder, "review.json", &golden->body))
        return;
    struct fl_yaml *yaml = NULL;
    assert_true(read_file(golden->folder, "pod.yaml", &text));
    if (fl_yaml_parse(fl_buf_span(&text), "pod.yaml", &limits, &yaml, &err) < 0)
        fail_msg("%s: %s", golden->folder, err.text);
    fl_buf_done(&golden->body);
    fl_buf_init(&golden->body, TEXT_MAX);
    wrap(fl_yaml_document(yaml, 0), &golden->body);
    fl_yaml_free(yaml);
    fl_buf_done(&text);
}

/* ---- What every answer keeps ---- */

static struct fl_json *parse(struct fl_span text)
{
    struct fl_json *root = NULL;
    struct fl_err err = {0};
    if (fl_json_parse(text, &limits, &root, &err) < 0)
        fail_msg("%s: %.*s", err.text, FL_SPAN_ARG(text));
    return root;
}

static int digit(char byte)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = strchr(digits, byte);
    assert_true(found != NULL && byte != '\0');
    return (int)(found - digits);
}

static struct fl_json *decode_patch(struct fl_span text)
{
    struct fl_buf bytes;
    fl_buf_init(&bytes, TEXT_MAX);
    assert_int_equal(text.len % 4, 0);
    for (size_t i = 0; i < text.len; i += 4) {
        int pads = (text.data[i + 2] == '=') + (text.data[i + 3] == '=');
        int group = digit(text.data[i]) << 18 | digit(text.data[i + 1]) << 12;
        group |= pads < 2 ? digit(text.data[i + 2]) << 6 : 0;
        group |= pads < 1 ? digit(text.data[i + 3]) : 0;
        for (int part = 0; part < 3 - pads; part++)
            assert_int_equal(fl_buf_append_byte(&bytes, (char)(group >> (16 - 8 * part) & 255)), 0);
    }
    struct fl_json *patch = parse(fl_buf_span(&bytes));
    fl_buf_done(&bytes);
    return patch;
}

static void check_again(const struct golden *golden, const struct fl_json *patched)
{
    const struct webhook_context context = {.config = golden->config, .namespaces = golden->namespaces};
    struct webhook_verdict_report report;
    struct fl_buf body, answer;
    fl_buf_init(&body, TEXT_MAX);
    fl_buf_init(&answer, TEXT_MAX);
    wrap(patched, &body);
    webhook_review(&context, fl_buf_span(&body), &answer, &report);
    if (report.outcome != WEBHOOK_UNCHANGED || strstr(fl_buf_str(&answer), "\"patch\"") != NULL)
        fail_msg("%s: reviewed again: %s (%s)", golden->folder, webhook_outcome_word(report.outcome), report.err.text);
    fl_buf_done(&body);
    fl_buf_done(&answer);
}

static void check_patched(const struct golden *golden, const struct fl_json *patch)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *review = parse(fl_buf_span(&golden->body));
    const struct fl_json *pod = fl_json_get(fl_json_get(review, "request"), "object");
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patched = fl_json_copy(pod);
    struct fl_err err = {0};
    if (fl_patch_apply(&patched, patch, &err) < 0)
        fail_msg("%s: %s", golden->folder, err.text);
    check_patched_pod(golden->folder, pod, patched);
    check_again(golden, patched);
    check_removed_pod(golden->folder, pod, patched);
}

/* The answer as it is kept: status and text of an HTTP error, or the response with its patch decoded. */
static struct fl_json *answer_of(const struct golden *golden)
{
    struct fl_json *kept = fl_json_new_object();
    if (golden->report.status != 200) {
        assert_int_equal(fl_json_set(kept, "status", fl_json_new_int(golden->report.status)), 0);
        assert_int_equal(fl_json_set(kept, "text", fl_json_new_string(fl_buf_span(&golden->answer))), 0);
        return kept;
    }
    FL_CLEANUP(fl_cleanup_json) struct fl_json *review = parse(fl_buf_span(&golden->answer));
    struct fl_json *response = fl_json_get(review, "response");
    assert_span(fl_json_string(fl_json_get(review, "apiVersion")), "admission.k8s.io/v1");
    assert_span(fl_json_string(fl_json_get(review, "kind")), "AdmissionReview");
    assert_span(fl_json_string(fl_json_get(response, "uid")), "case");
    const struct fl_json *text = fl_json_get(response, "patch");
    assert_true((text != NULL) == (fl_json_get(response, "patchType") != NULL));
    if (text != NULL) {
        struct fl_json *patch = decode_patch(fl_json_string(text));
        assert_true(fl_json_count(patch) > 0);
        check_patched(golden, patch);
        assert_int_equal(fl_json_set(response, "patch", patch), 0);
    }
    fl_json_free(kept);
    return fl_json_detach(review, FL_SPAN("response"));
}

/* ---- Comparing ---- */

static void indent(struct fl_buf *out, unsigned depth)
{
    assert_int_equal(fl_buf_printf(out, "\n%*s", (int)depth * 2, ""), 0);
}

static void print(const struct fl_json *value, unsigned depth, struct fl_buf *out)
{
    bool object = fl_json_is(value, FL_JSON_OBJECT);
    if ((!object && !fl_json_is(value, FL_JSON_ARRAY)) || fl_json_count(value) == 0) {
        assert_int_equal(fl_json_print(value, out), 0);
        return;
    }
    assert_int_equal(fl_buf_append_byte(out, object ? '{' : '['), 0);
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item)) {
        if (item != fl_json_first(value))
            assert_int_equal(fl_buf_append_byte(out, ','), 0);
        indent(out, depth + 1);
        if (object) {
            assert_int_equal(fl_buf_append_json_string(out, fl_json_name(item)), 0);
            assert_int_equal(fl_buf_append_str(out, ": "), 0);
        }
        print(item, depth + 1, out);
    }
    indent(out, depth);
    assert_int_equal(fl_buf_append_byte(out, object ? '}' : ']'), 0);
}

/* The program's version changes, the cases do not: it is kept as <version>. */
static void hide_version(struct fl_buf *text)
{
    struct fl_buf out;
    fl_buf_init(&out, TEXT_MAX);
    const char *rest = fl_buf_str(text);
    for (const char *found = strstr(rest, FL_VERSION); found != NULL; found = strstr(rest, FL_VERSION)) {
        assert_int_equal(fl_buf_append(&out, fl_span_make(rest, (size_t)(found - rest))), 0);
        assert_int_equal(fl_buf_append_str(&out, "<version>"), 0);
        rest = found + strlen(FL_VERSION);
    }
    assert_int_equal(fl_buf_append_str(&out, rest), 0);
    fl_buf_done(text);
    *text = out;
}

static void compare(const struct golden *golden, const struct fl_json *kept)
{
    struct fl_buf text, wanted;
    fl_buf_init(&text, TEXT_MAX);
    print(kept, 0, &text);
    assert_int_equal(fl_buf_append_byte(&text, '\n'), 0);
    hide_version(&text);
    if (getenv("FL_GOLDEN_UPDATE") != NULL) {
        char path[600];
        snprintf(path, sizeof(path), "%s/answer.json", golden->folder);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fwrite(text.data, 1, text.len, file);
        fclose(file);
    } else if (!read_file(golden->folder, "answer.json", &wanted)) {
        fail_msg("%s: there is no answer.json", golden->folder);
    } else {
        if (!fl_span_eq(fl_buf_span(&text), fl_buf_span(&wanted)))
            fail_msg("%s: another answer:\n%s", golden->folder, fl_buf_str(&text));
        fl_buf_done(&wanted);
    }
    fl_buf_done(&text);
}

/* As the server does it: the same answer. */
static void check_in_region(const struct golden *golden, const struct webhook_context *context)
{
    static struct fl_region region; /* with what the last case left in it */
    struct webhook_verdict_report report;
    struct fl_buf answer;
    fl_buf_init(&answer, TEXT_MAX);
    fl_region_enter(&region);
    webhook_review(context, fl_buf_span(&golden->body), &answer, &report);
    fl_region_leave(&region);
    assert_int_equal(report.outcome, golden->report.outcome);
    assert_true(fl_span_eq(fl_buf_span(&answer), fl_buf_span(&golden->answer)));
    fl_buf_done(&answer);
}

static void test_case(void **state)
{
    struct golden golden = {.config = NULL};
    snprintf(golden.folder, sizeof(golden.folder), "%s/%s", ROOT, (const char *)*state);
    fl_buf_init(&golden.answer, TEXT_MAX);
    read_context(&golden);
    read_body(&golden);
    const struct webhook_context context = {.config = golden.config, .namespaces = golden.namespaces};
    webhook_review(&context, fl_buf_span(&golden.body), &golden.answer, &golden.report);
    check_in_region(&golden, &context);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *kept = answer_of(&golden);
    compare(&golden, kept);
    fl_buf_done(&golden.body);
    fl_buf_done(&golden.answer);
    webhook_namespaces_free(golden.namespaces);
    webhook_config_free(golden.config);
}

int main(void)
{
    static struct CMUnitTest tests[CASES_MAX];
    static char names[CASES_MAX][256];
    size_t count = 0;
    struct dirent **entries = NULL;
    int found = scandir(ROOT, &entries, NULL, alphasort);
    for (int i = 0; i < found; i++) {
        if (entries[i]->d_name[0] != '.' && strchr(entries[i]->d_name, '.') == NULL && count < CASES_MAX) {
            snprintf(names[count], sizeof(names[count]), "%s", entries[i]->d_name);
            tests[count] = (struct CMUnitTest){names[count], test_case, NULL, NULL, names[count]};
            count++;
        }
        free(entries[i]);
    }
    free(entries);
    if (count == 0) {
        fprintf(stderr, "no cases in %s\n", ROOT);
        return 1;
    }
    return _cmocka_run_group_tests("golden admissions", tests, count, NULL, NULL);
}
