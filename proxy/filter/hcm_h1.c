/* HTTP/1 under the connection manager. */
#include "proxy/filter/hcm_inner.h"

struct proxy_h1_limits hcm_h1_limits(const struct proxy_hcm_config *config)
{
    return (struct proxy_h1_limits){
        .head_max = config->max_head_bytes, .headers_max = config->max_header_count, .lenient = config->lenient};
}

static void on_late(struct fl_timer *timer)
{
    proxy_h1_server_late(&FL_CONTAINER_OF(timer, struct proxy_hcm, timer)->h1);
}

static bool on_stream(void *owner, struct proxy_stream *stream)
{
    return hcm_on_stream(owner, stream);
}

static void on_head_begun(void *owner)
{
    struct proxy_hcm *hcm = owner;
    hcm->head_begun = true;
    if (hcm->config->request_headers_timeout_ms > 0)
        fl_timer_set(hcm_loop(hcm), &hcm->timer, hcm->config->request_headers_timeout_ms, on_late);
}

static void on_idle(void *owner)
{
    hcm_wait(owner);
}

/* The client gets an answer where none has begun. A head that is none has an exchange of its own, to be counted. */
static void on_refused(void *owner, struct proxy_stream *stream, enum proxy_h1_error error)
{
    struct proxy_hcm *hcm = owner;
    bool late = error == PROXY_H1_ERROR_NONE;
    const char *word = late ? "request_headers_timeout" : proxy_h1_error_word(error);
    fl_timer_cancel(&hcm->timer);
    if (!late)
        proxy_stats_parse_error(hcm->downstream->data->options.stats, PROXY_SIDE_DOWNSTREAM, word);
    if (hcm->exchanges == NULL && !proxy_exchange_begin(hcm, stream))
        return;
    hcm->closing = true;
    hcm->downstream->details = word;
    if (!hcm->exchanges->answered)
        proxy_exchange_reply(hcm->exchanges, late ? 408 : proxy_h1_error_status(error),
                             PROXY_FLAG_DOWNSTREAM_PROTOCOL_ERROR, word, NULL, NULL, 0);
}

static void on_over(void *owner, enum proxy_close how)
{
    hcm_end(owner, how);
}

static const struct proxy_h1_server_owner ops = {
    .on_stream = on_stream,
    .on_head_begun = on_head_begun,
    .on_idle = on_idle,
    .on_refused = on_refused,
    .on_over = on_over,
};

void hcm_h1_start(struct proxy_hcm *hcm)
{
    struct proxy_data *data = hcm->downstream->data;
    const struct proxy_h1_server_options options = {
        .conn = hcm->downstream->conn,
        .limits = hcm_h1_limits(hcm->config),
        .message = &data->request,
        .trailers = &data->trailers,
        .ops = &ops,
        .owner = hcm,
    };
    hcm->version = PROXY_HCM_H1;
    proxy_h1_server_init(&hcm->h1, &options);
}
