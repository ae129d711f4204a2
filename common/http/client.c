#include "common/http/client.h"

#include <curl/curl.h>
#include <errno.h>

#define TIMEOUT_MS 10000u

struct sink {
    struct fl_buf *body;
    int result;
};

static size_t take(char *data, size_t size, size_t count, void *owner)
{
    struct sink *sink = owner;
    sink->result = fl_buf_append(sink->body, fl_span_make(data, size * count));
    return sink->result == 0 ? size * count : 0;
}

static void cleanup_easy(CURL **easy)
{
    curl_easy_cleanup(*easy);
}

static int set_up(CURL *easy, const struct fl_http_client_options *options, struct sink *sink)
{
    long timeout_ms = options->timeout_ms > 0 ? (long)options->timeout_ms : (long)TIMEOUT_MS;
    CURLcode codes[] = {
        curl_easy_setopt(easy, CURLOPT_URL, options->url),
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https"),
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L),
        curl_easy_setopt(easy, CURLOPT_PROXY, ""),
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L),
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms),
        curl_easy_setopt(easy, CURLOPT_USERAGENT, "fairlead/" FL_VERSION),
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take),
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, sink),
        options->ca_file != NULL ? curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file) : CURLE_OK,
    };
    for (size_t i = 0; i < FL_COUNT(codes); i++)
        if (codes[i] != CURLE_OK)
            return -ENOMEM;
    return 0;
}

static int errno_of(CURL *easy, CURLcode code, const struct sink *sink)
{
    long port = 0; /* of the peer: there was one */
    bool spoken = curl_easy_getinfo(easy, CURLINFO_PRIMARY_PORT, &port) == CURLE_OK && port > 0;
    switch ((int)code) {
    case CURLE_WRITE_ERROR:
        return sink->result != 0 ? sink->result : -EIO;
    case CURLE_COULDNT_CONNECT:
        return -ECONNREFUSED;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_URL_MALFORMAT:
        return -EINVAL;
    case CURLE_UNSUPPORTED_PROTOCOL: /* also an answer that is no HTTP/1 */
        return spoken ? -EIO : -EINVAL;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

int fl_http_get(const struct fl_http_client_options *options, struct fl_buf *body, struct fl_err *err)
{
    FL_CLEANUP(cleanup_easy) CURL *easy = curl_easy_init();
    char reason[CURL_ERROR_SIZE] = "";
    struct sink sink = {.body = body};
    if (easy == NULL || curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, reason) != CURLE_OK ||
        set_up(easy, options, &sink) < 0)
        return fl_err_set(err, -ENOMEM, "%s: out of memory", options->url);
    CURLcode code = curl_easy_perform(easy);
    if (code == CURLE_WRITE_ERROR && sink.result == -EMSGSIZE)
        return fl_err_set(err, -EMSGSIZE, "%s: an answer of more than %zu bytes", options->url, body->max);
    if (code != CURLE_OK)
        return fl_err_set(err, errno_of(easy, code, &sink), "%s: %s", options->url,
                          reason[0] != '\0' ? reason : curl_easy_strerror(code));
    long status = 0;
    if (curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK || status != 200)
        return fl_err_set(err, -EPROTO, "%s: answered with status %ld", options->url, status);
    return 0;
}
