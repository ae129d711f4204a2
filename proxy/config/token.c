#include "proxy/config/token.h"

#include <errno.h>

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static struct fl_span trim(struct fl_span text)
{
    while (text.len > 0 && is_space(text.data[text.len - 1]))
        text.len--;
    while (text.len > 0 && is_space(text.data[0]))
        text = fl_span_from(text, 1);
    return text;
}

static bool is_visible(struct fl_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~')
            return false;
    }
    return true;
}

int proxy_token_read(const char *path, struct fl_buf *out, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_wipe) struct fl_buf file;
    fl_buf_init(&file, PROXY_TOKEN_MAX);
    int result = fl_buf_reserve(&file, PROXY_TOKEN_MAX);
    if (result == 0)
        result = fl_buf_read_file(&file, path);
    if (result < 0)
        return fl_err_errno(err, result, "token %s", path);
    struct fl_span token = trim(fl_buf_span(&file));
    if (token.len == 0)
        return fl_err_set(err, -EINVAL, "token %s: it is empty", path);
    if (!is_visible(token))
        return fl_err_set(err, -EINVAL, "token %s: it holds bytes that no token has", path);
    size_t before = out->len;
    result = fl_buf_append_str(out, "Bearer ");
    if (result == 0)
        result = fl_buf_append(out, token);
    if (result < 0) {
        out->len = before;
        return fl_err_errno(err, result, "token %s", path);
    }
    return 0;
}
