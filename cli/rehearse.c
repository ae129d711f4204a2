#include "cli/rehearse.h"

#include "common/base/base64.h"
#include "common/base/cleanup.h"
#include "common/doc/patch.h"

#include <errno.h>

static int print_request(const struct fl_json *pod, struct fl_span name_space, struct fl_buf *out)
{
    int result = fl_buf_append_str(
        out, "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{\"uid\":\"rehearsal\","
             "\"kind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":\"Pod\"},"
             "\"resource\":{\"group\":\"\",\"version\":\"v1\",\"resource\":\"pods\"},"
             "\"operation\":\"CREATE\",\"dryRun\":true,\"namespace\":");
    if (result == 0)
        result = fl_buf_append_json_string(out, name_space);
    if (result == 0)
        result = fl_buf_append_str(out, ",\"object\":");
    if (result == 0)
        result = fl_json_print(pod, out);
    return result < 0 ? result : fl_buf_append_str(out, "}}");
}

/* The patch of an answer, applied as the API server does. */
static int apply(const struct fl_json *response, struct fl_json **pod, struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = WEBHOOK_PATCH_MAX, .depth_max = FL_JSON_DEPTH_MAX};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = NULL;
    struct fl_span text = fl_json_string(fl_json_get(response, "patch"));
    struct fl_buf bytes;
    if (text.len == 0)
        return 0;
    fl_buf_init(&bytes, WEBHOOK_PATCH_MAX);
    int result = fl_base64_decode(text, &bytes);
    if (result == 0)
        result = fl_json_parse(fl_buf_span(&bytes), &limits, &patch, err);
    if (result == 0)
        result = fl_patch_apply(pod, patch, err);
    fl_buf_done(&bytes);
    return result;
}

static int read_answer(struct fl_span text, const struct fl_json *pod, struct cli_rehearsal *rehearsal,
                       struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = WEBHOOK_RESPONSE_MAX};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *answer = NULL;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patched = NULL;
    if (rehearsal->report.status != 200)
        return 0;
    int result = fl_json_parse(text, &limits, &answer, err);
    if (result < 0)
        return result == -ENOMEM ? result : -EBADMSG;
    rehearsal->audit = fl_json_detach(fl_json_get(answer, "response"), FL_SPAN("auditAnnotations"));
    if (rehearsal->report.outcome == WEBHOOK_DENIED)
        return 0;
    if ((patched = fl_json_copy(pod)) == NULL)
        return -ENOMEM;
    result = apply(fl_json_get(answer, "response"), &patched, err);
    if (result == 0)
        rehearsal->patched = fl_take(patched);
    return result == 0 || result == -ENOMEM ? result : -EBADMSG;
}

int cli_rehearse(const struct webhook_context *context, const struct fl_json *pod, struct fl_span name_space,
                 struct cli_rehearsal *ret_rehearsal, struct fl_err *err)
{
    struct cli_rehearsal rehearsal = {0};
    struct fl_buf request, answer;
    fl_buf_init(&request, WEBHOOK_REVIEW_MAX);
    fl_buf_init(&answer, WEBHOOK_RESPONSE_MAX);
    int result = print_request(pod, name_space, &request);
    if (result == -EMSGSIZE)
        (void)fl_err_set(err, result, "the pod has more than %u bytes", WEBHOOK_REVIEW_MAX);
    else if (result < 0)
        (void)fl_err_errno(err, result, "the review");
    if (result == 0) {
        webhook_review(context, fl_buf_span(&request), &answer, &rehearsal.report);
        result = read_answer(fl_buf_span(&answer), pod, &rehearsal, err);
    }
    fl_buf_done(&request);
    fl_buf_done(&answer);
    if (result == 0)
        *ret_rehearsal = rehearsal;
    else
        cli_rehearsal_done(&rehearsal);
    return result;
}

void cli_rehearsal_done(struct cli_rehearsal *rehearsal)
{
    rehearsal->patched = fl_json_free(rehearsal->patched);
    rehearsal->audit = fl_json_free(rehearsal->audit);
}
