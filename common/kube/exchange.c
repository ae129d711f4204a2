#include "common/kube/inner.h"

#include <errno.h>
#include <stdio.h>

#define PENDING_MAX (8u << 20) /* bytes of a stream that libcurl may read before we hand them over */

static bool is_status_ok(CURL *easy)
{
    long status = 0;
    return curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status == 200;
}

static void make_ready(struct fl_kube_exchange *exchange)
{
    struct fl_kube_client *client = exchange->client;
    if (exchange->ready_link != NULL)
        return;
    exchange->ready_next = client->ready;
    exchange->ready_link = &client->ready;
    if (client->ready != NULL)
        client->ready->ready_link = &exchange->ready_next;
    client->ready = exchange;
}

static void unready(struct fl_kube_exchange *exchange)
{
    if (exchange->ready_link == NULL)
        return;
    *exchange->ready_link = exchange->ready_next;
    if (exchange->ready_next != NULL)
        exchange->ready_next->ready_link = exchange->ready_link;
    exchange->ready_link = NULL;
}

/* libcurl's callback: only notes. */
static size_t take_body(char *data, size_t size, size_t count, void *owner)
{
    struct fl_kube_exchange *exchange = owner;
    exchange->heard_ms = fl_loop_now_ms(exchange->client->loop);
    exchange->body_result = fl_buf_append(&exchange->body, fl_span_make(data, size * count));
    if (exchange->body_result < 0)
        return 0;
    if (exchange->on_data != NULL && is_status_ok(exchange->easy))
        make_ready(exchange);
    return size * count;
}

/* The span would go with the exchange, if the owner cancels it: so the bytes are taken out before. */
void fl_kube_exchange_hand_over(struct fl_kube_exchange *exchange)
{
    struct fl_buf bytes = exchange->body;
    unready(exchange);
    fl_buf_init(&exchange->body, bytes.max);
    exchange->on_data(exchange->owner, fl_buf_span(&bytes));
    fl_buf_done(&bytes);
}

/* ---- How it ends ---- */

static int errno_of(const struct fl_kube_exchange *exchange, CURLcode code)
{
    switch ((int)code) {
    case CURLE_WRITE_ERROR:
        return exchange->body_result < 0 ? exchange->body_result : -EIO;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
        return -ECONNREFUSED;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return -EACCES;
    default:
        return -EIO;
    }
}

/* Detached from everything but its own parts, which go with `parts_free`. */
static void detach(struct fl_kube_exchange *exchange)
{
    struct fl_kube_client *client = exchange->client;
    unready(exchange);
    fl_timer_cancel(&exchange->silence);
    if (exchange->link != NULL) {
        *exchange->link = exchange->next;
        if (exchange->next != NULL)
            exchange->next->link = exchange->link;
        exchange->link = NULL;
        client->count--;
        curl_multi_remove_handle(client->multi, exchange->easy);
    }
    if (exchange->easy != NULL)
        curl_easy_cleanup(exchange->easy);
    exchange->easy = NULL;
    curl_slist_free_all(exchange->headers);
    curl_slist_free_all(exchange->connect_to);
}

void fl_kube_exchange_free(struct fl_kube_exchange *exchange)
{
    detach(exchange);
    fl_buf_done(&exchange->body);
    free(exchange);
}

static void end(struct fl_kube_exchange *exchange, struct fl_kube_answer *answer)
{
    detach(exchange); /* from here on the client may go */
    answer->body = answer->result == 0 ? fl_buf_span(&exchange->body) : (struct fl_span){NULL, 0};
    exchange->on_done(exchange->owner, answer);
    fl_buf_done(&exchange->body);
    free(exchange);
}

static void note_date(struct fl_kube_exchange *exchange)
{
    struct curl_header *header;
    if (curl_easy_header(exchange->easy, "Date", 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return;
    time_t date = curl_getdate(header->value, NULL);
    if (date > 0)
        exchange->client->date = date;
}

void fl_kube_exchange_finish(struct fl_kube_exchange *exchange, CURLcode code)
{
    struct fl_err err = {0};
    struct fl_kube_answer answer = {.err = &err};
    long status = 0;
    curl_off_t retry_after = 0;
    if (code != CURLE_OK) {
        answer.result = errno_of(exchange, code);
        if (answer.result == -EMSGSIZE)
            fl_err_set(&err, answer.result, "%s: an answer of more than %zu bytes", exchange->target,
                       exchange->body.max);
        else
            fl_err_set(&err, answer.result, "%s: %s", exchange->target,
                       exchange->reason[0] != '\0' ? exchange->reason : curl_easy_strerror(code));
    } else if (curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK) {
        answer.status = (unsigned)status;
        note_date(exchange);
        if (curl_easy_getinfo(exchange->easy, CURLINFO_RETRY_AFTER, &retry_after) == CURLE_OK && retry_after > 0)
            answer.retry_after = retry_after < UINT16_MAX ? (unsigned)retry_after : UINT16_MAX;
    }
    if (answer.status == 401)
        exchange->client->unauthorized = true;
    else if (answer.result == 0)
        exchange->client->credential.renewed = false;
    end(exchange, &answer);
}

static void on_silence(struct fl_timer *timer)
{
    struct fl_kube_exchange *exchange = FL_CONTAINER_OF(timer, struct fl_kube_exchange, silence);
    struct fl_loop *loop = exchange->client->loop;
    uint64_t late = exchange->heard_ms + exchange->silence_ms, now = fl_loop_now_ms(loop);
    if (now < late) {
        fl_timer_set(loop, timer, late - now, on_silence);
        return;
    }
    struct fl_err err = {0};
    struct fl_kube_answer answer = {.result = -ETIMEDOUT, .err = &err};
    fl_err_set(&err, answer.result, "%s: nothing came for %u ms", exchange->target, exchange->silence_ms);
    end(exchange, &answer);
}

void fl_kube_exchange_listen(struct fl_kube_exchange *exchange)
{
    struct fl_loop *loop = exchange->client->loop;
    exchange->heard_ms = fl_loop_now_ms(loop);
    if (exchange->silence_ms > 0)
        fl_timer_set(loop, &exchange->silence, exchange->silence_ms, on_silence);
}

/* ---- How it begins ---- */

static int add(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);
    if (longer == NULL)
        return -ENOMEM;
    *list = longer;
    return 0;
}

static int add_token(struct fl_kube_exchange *exchange)
{
    const struct fl_kube_client *client = exchange->client;
    struct fl_span token = fl_kube_token(&client->credential, &client->access);
    struct fl_buf line;
    if (token.len == 0)
        return 0;
    for (size_t i = 0; i < token.len; i++) {
        if (token.data[i] <= ' ' || token.data[i] == 0x7f) /* it would be another header */
            return -EINVAL;
    }
    fl_buf_init(&line, FL_KUBE_TOKEN_MAX + 64);
    int result = fl_buf_reserve(&line, token.len + 64);
    if (result == 0)
        result = fl_buf_printf(&line, "Authorization: Bearer %.*s", FL_SPAN_ARG(token));
    const char *text = result == 0 ? fl_buf_str(&line) : NULL;
    if (result == 0)
        result = text != NULL ? add(&exchange->headers, text) : -ENOMEM;
    fl_buf_wipe(&line);
    return result;
}

static int add_header(struct fl_kube_exchange *exchange, const char *name, const char *value)
{
    char line[256];
    int len = snprintf(line, sizeof(line), "%s: %s", name, value);
    return len > 0 && (size_t)len < sizeof(line) ? add(&exchange->headers, line) : -EINVAL;
}

static int set_headers(struct fl_kube_exchange *exchange, const struct fl_kube_request *request)
{
    const struct fl_kube_client *client = exchange->client;
    int result = add_header(exchange, "Accept", request->accept != NULL ? request->accept : "application/json");
    if (result == 0 && request->body.len > 0)
        result = add_header(exchange, "Content-Type",
                            request->content_type != NULL ? request->content_type : "application/json");
    if (result == 0)
        result = add(&exchange->headers, "Expect:"); /* libcurl would wait a second for "100 Continue" */
    if (result == 0 && client->host != NULL)
        result = add(&exchange->headers, client->host);
    if (result == 0)
        result = add_token(exchange);
    for (size_t i = 0; result == 0 && i < client->access.header_count; i++)
        result = add(&exchange->headers, client->access.headers[i]);
    if (result == 0 && client->connect_to != NULL)
        result = add(&exchange->connect_to, client->connect_to);
    return result;
}

static CURLcode set_blob(CURL *easy, CURLoption option, struct fl_span bytes)
{
    union {
        const char *from;
        void *to;
    } same = {.from = bytes.data};
    struct curl_blob blob = {.data = same.to, .len = bytes.len, .flags = CURL_BLOB_COPY};
    return bytes.len > 0 ? curl_easy_setopt(easy, option, &blob) : CURLE_OK;
}

static bool all_good(const CURLcode *codes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (codes[i] != CURLE_OK)
            return false;
    }
    return true;
}

static int set_trust(struct fl_kube_exchange *exchange)
{
    const struct fl_kube_client *client = exchange->client;
    const struct fl_kube_access *access = &client->access;
    const struct fl_kube_credential *credential = &client->credential;
    CURL *easy = exchange->easy;
    const CURLcode codes[] = {
        curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2),
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, access->insecure ? 0L : 1L),
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, access->insecure ? 0L : 2L),
        set_blob(easy, CURLOPT_CAINFO_BLOB, fl_kube_material(&access->ca, &credential->ca)),
        set_blob(easy, CURLOPT_SSLCERT_BLOB, fl_kube_material(&access->cert, &credential->cert)),
        set_blob(easy, CURLOPT_SSLKEY_BLOB, fl_kube_material(&access->key, &credential->key)),
    };
    return all_good(codes, FL_COUNT(codes)) ? 0 : -ENOMEM;
}

static int set_transport(struct fl_kube_exchange *exchange)
{
    CURL *easy = exchange->easy;
    const CURLcode codes[] = {
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https"),
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1),
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L),
        curl_easy_setopt(easy, CURLOPT_PROXY, exchange->client->proxy != NULL ? exchange->client->proxy : ""),
        curl_easy_setopt(easy, CURLOPT_NOPROXY, ""),                          /* nor what the environment excepts */
        curl_easy_setopt(easy, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE), /* the token is not for the proxy */
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L),
        curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L), /* a name that is being resolved is waited for by nobody */
        curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L),
        curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L),
        curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 30L),
        curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 10L),
        curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, (long)FL_KUBE_CONNECTION_SECONDS),
        curl_easy_setopt(easy, CURLOPT_USERAGENT, exchange->client->agent),
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->reason),
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, fl_kube_on_open),
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, exchange->client),
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body),
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange),
        curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange),
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->headers),
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, exchange->connect_to),
    };
    return all_good(codes, FL_COUNT(codes)) ? 0 : -ENOMEM;
}

static int set_method(struct fl_kube_exchange *exchange, const struct fl_kube_request *request)
{
    CURL *easy = exchange->easy;
    if (strcmp(request->method, "GET") == 0)
        return 0;
    if (request->body.len > 0 || strcmp(request->method, "DELETE") != 0) {
        const CURLcode codes[] = {
            curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len),
            curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body.len > 0 ? request->body.data : ""),
        };
        if (!all_good(codes, FL_COUNT(codes)))
            return -ENOMEM;
    }
    return curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK ? 0 : -ENOMEM;
}

static int set_times(struct fl_kube_exchange *exchange, const struct fl_kube_request *request)
{
    unsigned timeout = request->timeout_ms > 0    ? request->timeout_ms
                       : request->on_data != NULL ? 0
                                                  : FL_KUBE_TIMEOUT_MS;
    unsigned connect = timeout > 0 && timeout < FL_KUBE_CONNECT_MS ? timeout : FL_KUBE_CONNECT_MS;
    const CURLcode codes[] = {
        curl_easy_setopt(exchange->easy, CURLOPT_TIMEOUT_MS, (long)timeout),
        curl_easy_setopt(exchange->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect),
    };
    return all_good(codes, FL_COUNT(codes)) ? 0 : -ENOMEM;
}

static int set_url(struct fl_kube_exchange *exchange, const char *path)
{
    struct fl_buf url;
    size_t base = strlen(exchange->client->base);
    fl_buf_init(&url, base + FL_KUBE_PATH_MAX);
    int result = fl_buf_printf(&url, "%s%s", exchange->client->base, path);
    const char *text = result == 0 ? fl_buf_str(&url) : NULL;
    if (text == NULL || curl_easy_setopt(exchange->easy, CURLOPT_URL, text) != CURLE_OK)
        result = -ENOMEM;
    fl_buf_done(&url);
    return result;
}

static bool is_path(const char *path)
{
    for (const char *at = path; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~' || *at == '#')
            return false;
    }
    return path[0] == '/' && strlen(path) < FL_KUBE_PATH_MAX;
}

static bool is_method(const char *method)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    for (size_t i = 0; i < FL_COUNT(methods); i++) {
        if (strcmp(methods[i], method) == 0)
            return true;
    }
    return false;
}

static int set_up(struct fl_kube_exchange *exchange, const struct fl_kube_request *request)
{
    exchange->easy = curl_easy_init();
    int result = exchange->easy != NULL ? set_headers(exchange, request) : -ENOMEM;
    if (result == 0)
        result = set_transport(exchange);
    if (result == 0)
        result = set_trust(exchange);
    if (result == 0)
        result = set_method(exchange, request);
    if (result == 0)
        result = set_times(exchange, request);
    return result == 0 ? set_url(exchange, request->path) : result;
}

int fl_kube_exchange_new(struct fl_kube_client *client, const struct fl_kube_request *request,
                         struct fl_kube_exchange **ret_exchange, struct fl_err *err)
{
    if (!is_method(request->method) || !is_path(request->path) || request->on_done == NULL)
        return fl_err_set(err, -EINVAL, "%s %s: not a request", request->method, request->path);
    struct fl_kube_exchange *exchange = calloc(1, sizeof(*exchange));
    if (exchange == NULL)
        return fl_err_errno(err, -ENOMEM, "%s %s", request->method, request->path);
    exchange->client = client;
    exchange->on_data = request->on_data;
    exchange->on_done = request->on_done;
    exchange->owner = request->owner;
    exchange->silence_ms = request->silence_ms;
    size_t body_max = request->body_max > 0 ? request->body_max : FL_KUBE_BODY_MAX;
    fl_buf_init(&exchange->body, request->on_data != NULL ? PENDING_MAX : body_max);
    snprintf(exchange->target, sizeof(exchange->target), "%s %.*s", request->method, (int)strcspn(request->path, "?"),
             request->path);
    int result = set_up(exchange, request);
    if (result < 0) {
        fl_kube_exchange_free(exchange);
        return fl_err_errno(err, result, "%s %s", request->method, request->path);
    }
    *ret_exchange = exchange;
    return 0;
}
