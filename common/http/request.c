#include "common/http/inner.h"

#include <arpa/inet.h>
#include <stdio.h>

#define REASON_MAX 128

/* Answers */

static struct MHD_Connection *handle_of(const void *connection)
{
    union {
        const void *from;
        struct MHD_Connection *to;
    } same = {.from = connection};
    return same.to;
}

static struct fl_span header_of(const void *handle, const char *name)
{
    const char *value = NULL;
    size_t size = 0;
    if (MHD_lookup_connection_value_n(handle_of(handle), MHD_HEADER_KIND, name, strlen(name), &value, &size) != MHD_YES)
        return (struct fl_span){NULL, 0};
    return fl_span_make(value, value != NULL ? size : 0);
}

/* Takes the body over, in every case. NULL when memory is out. */
static struct MHD_Response *make_response(struct fl_http_response *answer)
{
    void *data = answer->body.data;
    size_t size = answer->body.len;
    answer->body = (struct fl_buf){0};
    struct MHD_Response *response = MHD_create_response_from_buffer(size, data, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(data);
        return NULL;
    }
    bool good = MHD_add_response_header(response, "Content-Type", answer->content_type) == MHD_YES;
    if (good && answer->allow != NULL)
        good = MHD_add_response_header(response, "Allow", answer->allow) == MHD_YES;
    if (good && answer->authenticate != NULL)
        good = MHD_add_response_header(response, "WWW-Authenticate", answer->authenticate) == MHD_YES;
    if (good && answer->close)
        good = MHD_add_response_header(response, "Connection", "close") == MHD_YES;
    if (!good) {
        MHD_destroy_response(response);
        return NULL;
    }
    return response;
}

static enum MHD_Result send_answer(struct fl_http_connection *connection, struct MHD_Connection *handle,
                                   struct fl_http_response *answer)
{
    unsigned status = answer->status >= 200 && answer->status <= 599 ? answer->status : 500;
    answer->close = answer->close || connection->server->draining;
    struct MHD_Response *response = make_response(answer);
    if (response == NULL)
        return MHD_NO;
    fl_http_connection_enter(connection, FL_HTTP_STEP_ANSWERING);
    enum MHD_Result result = MHD_queue_response(handle, status, response);
    MHD_destroy_response(response);
    return result;
}

/* An answer of the server's own; the connection closes. */
static enum MHD_Result refuse(struct fl_http_connection *connection, struct MHD_Connection *handle, unsigned status,
                              const char *reason)
{
    struct fl_http_response answer = {.status = status, .content_type = "text/plain", .close = true};
    fl_buf_init(&answer.body, REASON_MAX);
    if (fl_buf_printf(&answer.body, "%s\n", reason) < 0) {
        fl_buf_done(&answer.body);
        return MHD_NO;
    }
    if (connection->server->refused != NULL)
        connection->server->refused(connection->server->owner, status, reason);
    return send_answer(connection, handle, &answer);
}

static enum MHD_Result refuse_large(struct fl_http_connection *connection, struct MHD_Connection *handle)
{
    char reason[REASON_MAX];
    snprintf(reason, sizeof(reason), "the body is larger than %zu bytes", connection->server->body_max);
    return refuse(connection, handle, MHD_HTTP_CONTENT_TOO_LARGE, reason);
}

struct fl_http_response fl_http_response_make(const struct fl_http_server *server)
{
    struct fl_http_response response = {.status = 200, .content_type = "application/json"};
    fl_buf_init(&response.body, server->response_max);
    return response;
}

/* The handler wants to answer later: the request stays as it is, and this function is called again then. */
static enum MHD_Result suspend(struct fl_http_connection *connection, struct MHD_Connection *handle)
{
    fl_http_connection_enter(connection, FL_HTTP_STEP_DEFERRED);
    connection->suspended = handle;
    MHD_suspend_connection(handle);
    return MHD_YES;
}

static struct fl_http_request make_request(const struct fl_http_connection *connection, struct MHD_Connection *handle,
                                           const char *method)
{
    struct fl_span uri = fl_span_str(connection->uri);
    size_t mark = fl_span_find(uri, '?');
    return (struct fl_http_request){
        .method = fl_span_str(method),
        .path = fl_span_make(uri.data, mark),
        .query = mark < uri.len ? fl_span_from(uri, mark + 1) : (struct fl_span){NULL, 0},
        .content_type = header_of(handle, "Content-Type"),
        .body = fl_buf_span(&connection->body),
        .connection = handle,
    };
}

/* Asked before the body is read where one is to come, else with the whole request: libmicrohttpd closes a connection
 * whose answer is early. */
static bool passes_head(struct fl_http_connection *connection, struct MHD_Connection *handle, const char *method,
                        struct fl_http_response *answer)
{
    struct fl_http_server *server = connection->server;
    const struct fl_http_request request = make_request(connection, handle, method);
    connection->passed = server->head == NULL || server->head(server->owner, &request, answer);
    return connection->passed;
}

static enum MHD_Result dispatch(struct fl_http_connection *connection, struct MHD_Connection *handle,
                                const char *method)
{
    struct fl_http_server *server = connection->server;
    const struct fl_http_request request = make_request(connection, handle, method);
    struct fl_http_response answer = fl_http_response_make(server);
    if (!connection->passed && !passes_head(connection, handle, method, &answer))
        return send_answer(connection, handle, &answer);
    server->handling = true;
    server->handle(server->owner, &request, &answer);
    server->handling = false;
    if (connection->deferred != NULL) {
        fl_buf_done(&answer.body);
        return suspend(connection, handle);
    }
    fl_http_connection_forget(connection); /* a slow reader of the answer keeps no request */
    return send_answer(connection, handle, &answer);
}

static enum MHD_Result send_deferred(struct fl_http_connection *connection, struct MHD_Connection *handle)
{
    struct fl_http_response answer = connection->answer;
    connection->answer = (struct fl_http_response){0};
    connection->answered = false;
    fl_http_connection_forget(connection);
    return send_answer(connection, handle, &answer);
}

/* Requests */

/* What libmicrohttpd lets pass in a head and we do not. Of two lengths it would take the first; any name before a
 * space; the rest of the connection for another transfer coding than chunked. What we cannot see any more is told in
 * tests/unit/common/http_head_test.c: there is one reading of it, and nobody between client and us who has another. */
struct head {
    struct fl_span length, coding, once[3]; /* data NULL: there is none */
    bool ambiguous, malformed;
};

static bool is_token(struct fl_span name)
{
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.data[i];
        if (c <= ' ' || c >= 127 || strchr("\"(),/:;<=>?@[\\]{}", c) != NULL)
            return false;
    }
    return name.len > 0;
}

static bool is_clean(struct fl_span value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if ((c < ' ' && c != '\t') || c == 127)
            return false;
    }
    return true;
}

/* Where the value of this header is kept; NULL: nowhere, it may come as often as it likes. */
static struct fl_span *place_of(struct head *head, struct fl_span name)
{
    static const char *const once[] = {"Host", "Content-Type", "Authorization"};
    if (fl_span_eq_nocase(name, FL_SPAN("Content-Length")))
        return &head->length;
    if (fl_span_eq_nocase(name, FL_SPAN("Transfer-Encoding")))
        return &head->coding;
    for (size_t i = 0; i < FL_COUNT(once); i++) {
        if (fl_span_eq_nocase(name, fl_span_str(once[i])))
            return &head->once[i];
    }
    return NULL;
}

static enum MHD_Result look_at_header(void *owner, enum MHD_ValueKind kind, const char *name, size_t name_size,
                                      const char *value, size_t value_size)
{
    (void)kind;
    struct head *head = owner;
    const struct fl_span of = {name, name_size}, text = fl_span_make(value != NULL ? value : "", value_size);
    struct fl_span *place = place_of(head, of);
    if (fl_span_find(of, ' ') < of.len || fl_span_find(of, '\t') < of.len)
        head->ambiguous = true;
    if (!is_token(of) || !is_clean(text))
        head->malformed = true;
    if (place == NULL)
        return MHD_YES;
    if (place->data != NULL)
        *(place == &head->length || place == &head->coding ? &head->ambiguous : &head->malformed) = true;
    *place = text;
    return MHD_YES;
}

/* NULL, or what is wrong with the head. */
static const char *read_head(struct MHD_Connection *handle, uint64_t *ret_length, bool *ret_chunked)
{
    struct head head = {.ambiguous = false};
    MHD_get_connection_values_n(handle, MHD_HEADER_KIND, look_at_header, &head);
    *ret_length = 0;
    *ret_chunked = head.coding.data != NULL;
    if (*ret_chunked && (head.length.data != NULL || !fl_span_eq_nocase(head.coding, FL_SPAN("chunked"))))
        head.ambiguous = true;
    if (!head.ambiguous && head.length.data != NULL && !fl_span_to_u64(head.length, UINT64_MAX, ret_length))
        head.ambiguous = true;
    return head.ambiguous ? "ambiguous length of the body" : head.malformed ? "malformed head" : NULL;
}

/* The head is here, nothing of the body has been asked for. */
static enum MHD_Result begin_request(struct fl_http_connection *connection, struct MHD_Connection *handle,
                                     const char *method)
{
    struct fl_http_server *server = connection->server;
    uint64_t length;
    bool chunked;
    const char *trouble = read_head(handle, &length, &chunked);
    connection->step = FL_HTTP_STEP_COLLECTING;
    fl_buf_init(&connection->body, server->body_max);
    connection->lingers = chunked || length > 0 || trouble != NULL; /* taken back once the whole request is here */
    if (trouble != NULL)
        return refuse(connection, handle, MHD_HTTP_BAD_REQUEST, trouble);
    if (length > server->body_max)
        return refuse_large(connection, handle);
    if (server->head == NULL || !connection->lingers)
        return MHD_YES;
    struct fl_http_response answer = fl_http_response_make(server);
    if (passes_head(connection, handle, method, &answer)) {
        fl_buf_done(&answer.body);
        return MHD_YES;
    }
    answer.close = true;
    return send_answer(connection, handle, &answer);
}

/* Bytes beyond the limit are dropped up to the limit again: an answer is possible only at the body's end. */
static enum MHD_Result collect(struct fl_http_connection *connection, struct fl_span bytes)
{
    struct fl_http_server *server = connection->server;
    if (connection->dropped == 0 && bytes.len <= server->body_max - connection->body.len) {
        fl_http_connection_claim(connection, bytes.len);
        if (fl_buf_append(&connection->body, bytes) < 0)
            return MHD_NO;
        server->bodies += bytes.len;
        connection->share->bodies += bytes.len;
        return MHD_YES;
    }
    connection->dropped += bytes.len;
    return connection->dropped <= server->body_max ? MHD_YES : MHD_NO;
}

/* Called with the head, with each part of the body, and at the end. MHD_NO closes the connection. */
enum MHD_Result fl_http_on_request(void *owner, struct MHD_Connection *handle, const char *url, const char *method,
                                   const char *version, const char *upload, size_t *upload_size, void **context)
{
    (void)owner, (void)url, (void)version, (void)context;
    struct fl_http_connection *connection = fl_http_connection_of(handle);
    if (connection == NULL || connection->uri == NULL)
        return MHD_NO;
    connection->server->moved++;
    if (connection->step == FL_HTTP_STEP_RECEIVING)
        return begin_request(connection, handle, method);
    if (*upload_size > 0) {
        enum MHD_Result result = collect(connection, fl_span_make(upload, *upload_size));
        *upload_size = 0;
        return result;
    }
    connection->lingers = false;
    if (connection->answered)
        return send_deferred(connection, handle);
    if (connection->deferred != NULL) /* called for nothing */
        return suspend(connection, handle);
    return connection->dropped > 0 ? refuse_large(connection, handle) : dispatch(connection, handle, method);
}

/* The request line is here. libmicrohttpd decodes the path and cuts up the query afterwards, in place. */
void *fl_http_on_line(void *owner, const char *uri, struct MHD_Connection *handle)
{
    (void)owner;
    struct fl_http_connection *connection = fl_http_connection_of(handle);
    if (connection != NULL) {
        fl_http_connection_forget(connection);
        connection->passed = false;
        connection->uri = strdup(uri);
        fl_http_connection_enter(connection, FL_HTTP_STEP_RECEIVING);
    }
    return NULL;
}

void fl_http_on_completed(void *owner, struct MHD_Connection *handle, void **context,
                          enum MHD_RequestTerminationCode code)
{
    (void)owner, (void)context, (void)code;
    struct fl_http_connection *connection = fl_http_connection_of(handle);
    if (connection != NULL) {
        connection->server->moved++;
        fl_http_connection_forget(connection);
        fl_http_connection_enter(connection, FL_HTTP_STEP_WAITING);
    }
}

struct MHD_Connection *fl_http_request_handle(const struct fl_http_request *request)
{
    return handle_of(request->connection);
}

void fl_http_request_vouch(const struct fl_http_request *request)
{
    struct fl_http_connection *connection = fl_http_request_connection(request);
    if (connection == NULL || connection->known)
        return;
    connection->known = true;
    connection->share->known++;
}

struct fl_http_connection *fl_http_request_connection(const struct fl_http_request *request)
{
    return fl_http_connection_of(handle_of(request->connection));
}

struct fl_span fl_http_request_header(const struct fl_http_request *request, const char *name)
{
    return header_of(request->connection, name);
}

bool fl_http_request_is_loopback(const struct fl_http_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(handle_of(request->connection), MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info == NULL || info->client_addr == NULL)
        return false;
    struct sockaddr_storage address = {.ss_family = info->client_addr->sa_family};
    if (address.ss_family == AF_INET) {
        memcpy(&address, info->client_addr, sizeof(struct sockaddr_in));
        return ntohl(((const struct sockaddr_in *)&address)->sin_addr.s_addr) >> 24 == 127;
    }
    if (address.ss_family != AF_INET6)
        return false;
    memcpy(&address, info->client_addr, sizeof(struct sockaddr_in6));
    const struct in6_addr *ip = &((const struct sockaddr_in6 *)&address)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(ip) || (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == 127);
}
