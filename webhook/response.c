#include "webhook/response.h"

#include "common/base/base64.h"
#include "webhook/request.h"

#include <errno.h>
#include <stdio.h>

#define RESPONSE_USUAL 8192 /* bytes of an answer with a patch: one allocation instead of six */

static int append_member(struct fl_buf *out, const char *prefix, struct fl_span value)
{
    int result = fl_buf_append_str(out, prefix);
    return result < 0 ? result : fl_buf_append_json_string(out, value);
}

static int append_patch(struct fl_buf *out, const struct fl_json *patch)
{
    if (fl_json_count(patch) == 0)
        return 0;
    struct fl_buf text;
    fl_buf_init(&text, WEBHOOK_PATCH_MAX);
    int result = fl_buf_reserve(&text, RESPONSE_USUAL);
    if (result == 0)
        result = fl_json_print(patch, &text);
    if (result == 0)
        result = fl_buf_append_str(out, ",\"patchType\":\"JSONPatch\",\"patch\":\"");
    if (result == 0)
        result = fl_base64_encode(fl_buf_span(&text), out);
    if (result == 0)
        result = fl_buf_append_byte(out, '"');
    fl_buf_done(&text);
    return result;
}

static int append_warnings(struct fl_buf *out, const struct webhook_warnings *warnings)
{
    if (warnings == NULL || warnings->count == 0)
        return 0;
    int result = 0;
    for (size_t i = 0; i < warnings->count && result == 0; i++)
        result = append_member(out, i == 0 ? ",\"warnings\":[" : ",", fl_span_str(warnings->text[i]));
    return result < 0 ? result : fl_buf_append_byte(out, ']');
}

/* "<what is wrong> [<reason>]" */
static int append_message(struct fl_buf *out, const struct webhook_response *response)
{
    char text[FL_ERR_TEXT_MAX + 64];
    snprintf(text, sizeof(text), "%s [%s]", response->message, webhook_reason_word(response->reason));
    return append_member(out, ",\"message\":", fl_span_str(text));
}

/* metav1.Status; codes of the denial stand with the reasons. */
static int append_status(struct fl_buf *out, const struct webhook_response *response)
{
    if (response->allowed)
        return 0;
    unsigned code = webhook_reason_code(response->reason);
    const char *reason = code == 422   ? "Invalid"
                         : code == 403 ? "Forbidden"
                         : code == 503 ? "ServiceUnavailable"
                                       : "InternalError";
    int result = fl_buf_printf(out, ",\"status\":{\"status\":\"Failure\",\"code\":%u,\"reason\":\"%s\"", code, reason);
    if (result == 0)
        result = append_message(out, response);
    return result < 0 ? result : fl_buf_append_byte(out, '}');
}

static int append_audit(struct fl_buf *out, const struct webhook_response *response)
{
    const struct {
        const char *prefix;
        struct fl_span value;
    } annotations[] = {
        {",\"auditAnnotations\":{\"outcome\":", fl_span_str(webhook_outcome_word(response->outcome))},
        {",\"reason\":", fl_span_str(webhook_reason_word(response->reason))},
        {",\"workload\":", response->workload},
        {",\"identity\":", response->identity},
    };
    int result = 0;
    for (size_t i = 0; i < sizeof(annotations) / sizeof(annotations[0]) && result == 0; i++) {
        if (annotations[i].value.len > 0)
            result = append_member(out, annotations[i].prefix, annotations[i].value);
    }
    return result < 0 ? result : fl_buf_append_byte(out, '}');
}

int webhook_response_print(const struct webhook_response *response, struct fl_buf *out)
{
    size_t before = out->len;
    int result = fl_buf_reserve(out, RESPONSE_USUAL);
    if (result == -EMSGSIZE) /* then it grows as it must */
        result = 0;
    if (result == 0)
        result = append_member(
            out, "{\"apiVersion\":\"" WEBHOOK_API_VERSION "\",\"kind\":\"" WEBHOOK_KIND "\",\"response\":{\"uid\":",
            response->uid);
    if (result == 0)
        result = fl_buf_append_str(out, response->allowed ? ",\"allowed\":true" : ",\"allowed\":false");
    if (result == 0)
        result = append_status(out, response);
    if (result == 0)
        result = append_patch(out, response->patch);
    if (result == 0)
        result = append_warnings(out, response->warnings);
    if (result == 0)
        result = append_audit(out, response);
    if (result == 0)
        result = fl_buf_append_str(out, "}}");
    if (result < 0)
        out->len = before;
    return result;
}
