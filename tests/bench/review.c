/* What one review costs by itself, without HTTP and TLS: CPU time of the whole, and of each stage, so that a stage that
 * became dearer is seen. Printed, never asserted: the best of some rounds.
 *
 *     cmake --preset release -DFL_TESTS=ON && cmake --build --preset release --target bench_review
 *     python3 -B tests/bench/reviews.py 10000 pod.json && build/release/tests/bench_review pod.json
 *
 * On a busy machine instructions tell more: `bench_review FILE once` does one review after a warm one, for
 *     valgrind --tool=callgrind --toggle-collect=webhook_review_measured build/release/tests/bench_review FILE once
 * whose total is those of one review (callgrind_annotate --inclusive=yes names the functions).
 */
#include "webhook/review.h"
#include "common/doc/region.h"
#include "webhook/facts.h"
#include "webhook/patch.h"
#include "webhook/pod.h"
#include "webhook/request.h"
#include "webhook/resolve.h"
#include "webhook/response.h"
#include "webhook/selfcheck.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define ROUNDS 7
#define TIMES  300

static const char namespaces_text[] =
    "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {fairlead.io/inject: enabled}}}\n";

static struct webhook_config *config;
static struct webhook_namespaces *namespaces;
static struct fl_buf body, out;
static struct fl_region region; /* as in the server */
static volatile size_t sink;

/* What the stages hand on: made once, and read by every repetition of a later one. */
static struct webhook_request request;
static struct webhook_settings settings;
static struct webhook_plan plan;
static struct fl_json *patch;
static struct webhook_owner owner;
static struct webhook_warnings warnings;

void webhook_review_measured(void); /* external, so that callgrind finds it by name */

__attribute__((noinline)) void webhook_review_measured(void)
{
    struct webhook_verdict_report report;
    const struct webhook_context context = {.config = config, .namespaces = namespaces};
    fl_buf_clear(&out);
    fl_region_enter(&region);
    webhook_review(&context, fl_buf_span(&body), &out, &report);
    fl_region_leave(&region);
    sink = report.operations;
}

static void parse(void)
{
    struct webhook_request again;
    sink = (size_t)webhook_request_parse(fl_buf_span(&body), &again, NULL);
    webhook_request_done(&again);
}

static void decide(void)
{
    struct webhook_facts facts;
    webhook_facts_gather(config, &request, webhook_namespaces_find(namespaces, request.name_space), &facts, &warnings);
    sink = (size_t)webhook_decide(&facts).verdict;
    sink += (size_t)webhook_pod_check(request.object, NULL);
}

static void resolve(void)
{
    struct webhook_settings again;
    sink = (size_t)webhook_settings_resolve(config, request.name_space, false, NULL,
                                            webhook_pod_annotations(request.object), &again, &warnings, NULL);
    webhook_settings_done(&again);
}

static void make_plan(void)
{
    struct webhook_plan again;
    webhook_owner_find(request.object, &owner);
    sink = (size_t)webhook_plan_make(config, &settings, &owner, request.object, &again, &warnings, NULL);
    webhook_plan_done(&again);
}

static void make_patch(void)
{
    struct fl_json *again = NULL;
    sink = (size_t)webhook_patch_build(request.object, &plan, &again, &warnings, NULL);
    fl_json_free(again);
}

static void check(void)
{
    sink = (size_t)webhook_selfcheck(request.object, patch, &plan, NULL, NULL);
}

static void print(void)
{
    const struct webhook_response response = {.uid = request.uid,
                                              .allowed = true,
                                              .outcome = WEBHOOK_INJECTED,
                                              .reason = WEBHOOK_REASON_NAMESPACE_ENABLED,
                                              .patch = patch,
                                              .warnings = &warnings,
                                              .workload = fl_span_str(owner.name)};
    fl_buf_clear(&out);
    sink = (size_t)webhook_response_print(&response, &out);
}

static double cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void measure(const char *what, void (*work)(void))
{
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double start = cpu_us();
        for (size_t i = 0; i < TIMES; i++) {
            warnings.count = 0;
            if (work != webhook_review_measured)
                fl_region_enter(&region);
            work();
            if (work != webhook_review_measured)
                fl_region_leave(&region);
        }
        double took = (cpu_us() - start) / TIMES;
        if (round == 0 || took < best)
            best = took;
    }
    printf("  %-32s %8.1f µs\n", what, best);
}

static int prepare(const char *file)
{
    struct fl_err err = {0};
    fl_buf_init(&body, WEBHOOK_REVIEW_MAX);
    fl_buf_init(&out, WEBHOOK_RESPONSE_MAX);
    int result = fl_buf_read_file(&body, file);
    if (result == 0)
        result = webhook_config_default(&config);
    if (result == 0)
        result = webhook_namespaces_parse(fl_span_str(namespaces_text), "namespaces", &namespaces, &err);
    if (result == 0)
        result = webhook_request_parse(fl_buf_span(&body), &request, &err);
    if (result == 0)
        result = webhook_settings_resolve(config, request.name_space, false, NULL,
                                          webhook_pod_annotations(request.object), &settings, &warnings, &err);
    webhook_owner_find(request.object, &owner);
    if (result == 0)
        result = webhook_plan_make(config, &settings, &owner, request.object, &plan, &warnings, &err);
    if (result == 0)
        result = webhook_patch_build(request.object, &plan, &patch, &warnings, &err);
    if (result != 0)
        fprintf(stderr, "%s: %d %s\n", file, result, err.text);
    return result;
}

int main(int argc, char **argv)
{
    if (argc < 2 || prepare(argv[1]) != 0)
        return 1;
    webhook_review_measured();
    if (argc > 2 && strcmp(argv[2], "once") == 0)
        return 0;
    printf("a review of %zu bytes, %zu operations, answer of %zu bytes\n", body.len, fl_json_count(patch), out.len);
    measure("the whole", webhook_review_measured);
    measure("parse, free", parse);
    measure("facts, decision, the pod's form", decide);
    measure("settings", resolve);
    measure("plan", make_plan);
    measure("patch", make_patch);
    measure("self-check", check);
    measure("print", print);
    fl_json_free(patch);
    webhook_plan_done(&plan);
    webhook_settings_done(&settings);
    webhook_request_done(&request);
    webhook_namespaces_free(namespaces);
    webhook_config_free(config);
    fl_region_done(&region);
    fl_buf_done(&body);
    fl_buf_done(&out);
    return 0;
}
