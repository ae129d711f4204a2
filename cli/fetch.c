#include "cli/fetch.h"

#include "common/http/client.h"

#include <errno.h>
#include <stdio.h>

#define URL_MAX 2048

int cli_fetch_text(const char *base, const char *path, struct fl_buf *ret_text, struct fl_err *err)
{
    char url[URL_MAX];
    const char *scheme = strstr(base, "://") == NULL ? "http://" : "";
    size_t base_len = strlen(base);
    while (base_len > 0 && base[base_len - 1] == '/')
        base_len--;
    int len = snprintf(url, sizeof(url), "%s%.*s%s", scheme, (int)base_len, base, path);
    if (len < 0 || (size_t)len >= sizeof(url))
        return fl_err_set(err, -EINVAL, "the address is longer than %d bytes", URL_MAX - 1);
    const struct fl_http_client_options options = {.url = url};
    return fl_http_get(&options, ret_text, err);
}

int cli_fetch(const char *base, const char *path, struct fl_json **ret_json, struct fl_err *err)
{
    static const struct fl_json_limits limits = {.bytes_max = CLI_FETCH_BYTES, .values_max = 1u << 24};
    struct fl_buf text;
    fl_buf_init(&text, CLI_FETCH_BYTES);
    int result = cli_fetch_text(base, path, &text, err);
    if (result == 0) {
        result = fl_json_parse(fl_buf_span(&text), &limits, ret_json, err);
        if (result < 0)
            fl_err_prefix(err, "%s%s: the answer", base, path);
    }
    fl_buf_done(&text);
    return result;
}
