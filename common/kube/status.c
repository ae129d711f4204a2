#include "common/doc/json.h"
#include "common/kube/client.h"

#include <errno.h>
#include <stdio.h>

#define STATUS_BYTES_MAX (64u << 10) /* a Status that is larger is not looked into */

static const struct {
    unsigned status;
    int result;
    const char *word;
} meanings[] = {
    {400, -EINVAL, "Bad Request"},
    {401, -EACCES, "Unauthorized"},
    {403, -EACCES, "Forbidden"},
    {404, -ENOENT, "Not Found"},
    {405, -EINVAL, "Method Not Allowed"},
    {406, -EINVAL, "Not Acceptable"},
    {409, -EEXIST, "Conflict"},
    {410, -ESTALE, "Gone"},
    {413, -EINVAL, "Content Too Large"},
    {415, -EINVAL, "Unsupported Media Type"},
    {422, -EINVAL, "Unprocessable Content"},
    {429, -EAGAIN, "Too Many Requests"},
    {500, -EIO, "Internal Server Error"},
    {502, -EIO, "Bad Gateway"},
    {503, -EAGAIN, "Service Unavailable"},
    {504, -EAGAIN, "Gateway Timeout"},
};

/* The message of a Status object goes to `err` behind what stands there; another body says nothing. */
static void add_message(struct fl_span body, struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = STATUS_BYTES_MAX, .depth_max = 16, .values_max = 1024};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *status = NULL;
    if (body.len == 0 || fl_json_parse(body, &limits, &status, NULL) < 0)
        return;
    struct fl_span message = fl_json_string(fl_json_get(status, "message"));
    if (message.len > 0 && fl_span_eq_str(fl_json_string(fl_json_get(status, "kind")), "Status")) {
        struct fl_err before = *err;
        fl_err_set(err, before.code, "%s: %.*s", before.text, FL_SPAN_ARG(message));
    }
}

int fl_kube_status_check(unsigned status, struct fl_span body, struct fl_err *err)
{
    int result = -EIO;
    const char *word = "";
    if (status >= 200 && status <= 299)
        return 0;
    for (size_t i = 0; i < FL_COUNT(meanings); i++) {
        if (meanings[i].status == status) {
            result = meanings[i].result;
            word = meanings[i].word;
        }
    }
    fl_err_set(err, result, "%u%s%s", status, word[0] != '\0' ? " " : "", word);
    if (err != NULL)
        add_message(body, err);
    return result;
}

int fl_kube_answer_check(const struct fl_kube_answer *answer, struct fl_err *err)
{
    if (answer->result == 0)
        return fl_kube_status_check(answer->status, answer->body, err);
    if (err != NULL && answer->err != NULL)
        *err = *answer->err;
    return answer->result;
}

int fl_kube_escape(struct fl_buf *out, struct fl_span text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    size_t mark = out->len;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        int result = byte != '\0' && strchr(plain, byte) != NULL
                         ? fl_buf_append_byte(out, byte)
                         : fl_buf_printf(out, "%%%02X", (unsigned)(unsigned char)byte);
        if (result < 0) {
            out->len = mark;
            return result;
        }
    }
    return 0;
}
