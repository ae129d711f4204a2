#include "control/ca/review.h"

#include "common/base/print.h"
#include "common/doc/json.h"
#include "control/ca/token.h"

#include <errno.h>

#define GROUP    "system:serviceaccounts"
#define POD_NAME "authentication.kubernetes.io/pod-name"
#define POD_UID  "authentication.kubernetes.io/pod-uid"

static const struct fl_json_limits limits = {
    .bytes_max = CONTROL_REVIEW_ANSWER_MAX, .depth_max = 16, .values_max = 2048};

int control_review_print(struct fl_span token, const char *audience, struct fl_buf *out)
{
    struct fl_print print = {.out = out};
    fl_print(&print, "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\",\"spec\":{\"token\":");
    fl_print_json(&print, token);
    fl_print(&print, ",\"audiences\":[");
    fl_print_json(&print, fl_span_str(audience));
    fl_print(&print, "]}}");
    return print.result;
}

static bool has_text(const struct fl_json *list, const char *wanted)
{
    for (const struct fl_json *one = fl_json_first(list); one != NULL; one = fl_json_next(one)) {
        if (fl_span_eq_str(fl_json_string(one), wanted))
            return true;
    }
    return false;
}

/* The first value of an extra; empty where there is none, or one that no name can be. */
static void copy_extra(const struct fl_json *extra, const char *name, char *room, size_t size)
{
    struct fl_span value = fl_json_string(fl_json_at(fl_json_get(extra, name), 0));
    if (value.len >= size)
        value.len = 0;
    if (value.len > 0)
        memcpy(room, value.data, value.len);
    room[value.len] = '\0';
}

static enum control_auth_outcome read_user(const struct fl_json *user, struct control_caller *caller)
{
    const struct fl_json *extra = fl_json_get(user, "extra");
    if (!has_text(fl_json_get(user, "groups"), GROUP))
        return CONTROL_AUTH_SUBJECT;
    enum control_auth_outcome outcome = control_token_subject(fl_json_string(fl_json_get(user, "username")), caller);
    if (outcome != CONTROL_AUTH_OK)
        return outcome;
    copy_extra(extra, POD_NAME, caller->pod, sizeof(caller->pod));
    copy_extra(extra, POD_UID, caller->pod_uid, sizeof(caller->pod_uid));
    return CONTROL_AUTH_OK;
}

enum control_auth_outcome control_review_read(struct fl_span json, const char *audience,
                                              struct control_caller *ret_caller, struct fl_err *detail)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    *ret_caller = (struct control_caller){0};
    if (fl_json_parse(json, &limits, &root, detail) < 0)
        return CONTROL_AUTH_UNAVAILABLE;
    const struct fl_json *status = fl_json_get(root, "status");
    if (!fl_span_eq_str(fl_json_string(fl_json_get(root, "kind")), "TokenReview") ||
        !fl_json_is(status, FL_JSON_OBJECT)) {
        fl_err_set(detail, -EINVAL, "the answer is no TokenReview with a status");
        return CONTROL_AUTH_UNAVAILABLE;
    }
    if (!fl_json_bool(fl_json_get(status, "authenticated"))) {
        fl_err_set(detail, -EACCES, "%.*s", FL_SPAN_ARG(fl_json_string(fl_json_get(status, "error"))));
        return CONTROL_AUTH_REFUSED;
    }
    if (!has_text(fl_json_get(status, "audiences"), audience)) {
        fl_err_set(detail, -EACCES, "the API server did not look at the audience");
        return CONTROL_AUTH_AUDIENCE;
    }
    return read_user(fl_json_get(status, "user"), ret_caller);
}
