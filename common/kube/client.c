#include "common/kube/client.h"

#include "common/kube/inner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

/* ---- libcurl on our loop ---- */

static struct fl_kube_exchange *find_doomed(struct fl_kube_client *client)
{
    for (struct fl_kube_exchange *exchange = client->exchanges; exchange != NULL; exchange = exchange->next) {
        if (exchange->doomed)
            return exchange;
    }
    client->doomed = false;
    return NULL;
}

void fl_kube_deliver(struct fl_kube_client *client)
{
    CURLMsg *message;
    struct fl_kube_exchange *doomed;
    int left;
    while (!client->dead && client->doomed && (doomed = find_doomed(client)) != NULL)
        fl_kube_exchange_finish(doomed, CURLE_OUT_OF_MEMORY);
    while (!client->dead && client->ready != NULL)
        fl_kube_exchange_hand_over(client->ready);
    while (!client->dead && (message = curl_multi_info_read(client->multi, &left)) != NULL) {
        struct fl_kube_exchange *exchange = NULL;
        if (message->msg == CURLMSG_DONE &&
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (void **)&exchange) == CURLE_OK)
            fl_kube_exchange_finish(exchange, message->data.result);
    }
}

static void act(struct fl_kube_client *client, curl_socket_t fd, int what)
{
    int running;
    curl_multi_socket_action(client->multi, fd, what, &running);
    fl_kube_deliver(client);
}

static void on_socket(struct fl_source *source, uint32_t events)
{
    struct fl_kube_socket *socket = FL_CONTAINER_OF(source, struct fl_kube_socket, source);
    int what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
    act(socket->client, socket->number, what);
}

static void on_timer(struct fl_timer *timer)
{
    act(FL_CONTAINER_OF(timer, struct fl_kube_client, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int want_timer(CURLM *multi, long timeout_ms, void *owner)
{
    (void)multi;
    struct fl_kube_client *client = owner;
    if (timeout_ms < 0)
        fl_timer_cancel(&client->timer);
    else
        fl_timer_set(client->loop, &client->timer, (uint64_t)timeout_ms, on_timer);
    return 0;
}

static void free_socket(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct fl_kube_socket, deferred));
}

static void drop_socket(struct fl_kube_socket *socket)
{
    fl_source_remove(&socket->source);
    close(socket->source.fd);
    *socket->link = socket->next;
    if (socket->next != NULL)
        socket->next->link = socket->link;
    fl_loop_defer(socket->client->loop, &socket->deferred, free_socket);
}

static int add_socket(struct fl_kube_client *client, curl_socket_t number, uint32_t events)
{
    FL_CLEANUP(fl_cleanup_free) struct fl_kube_socket *socket = calloc(1, sizeof(*socket));
    FL_CLEANUP(fl_cleanup_close) int fd = fcntl(number, F_DUPFD_CLOEXEC, 0);
    if (socket == NULL || fd < 0 || curl_multi_assign(client->multi, number, socket) != CURLM_OK)
        return -1;
    if (fl_source_add(client->loop, &socket->source, fd, events, on_socket) < 0) {
        curl_multi_assign(client->multi, number, NULL);
        return -1;
    }
    socket->number = number;
    socket->client = client;
    socket->next = client->sockets;
    socket->link = &client->sockets;
    if (socket->next != NULL)
        socket->next->link = &socket->next;
    client->sockets = fl_take(socket);
    fl_take_fd(fd);
    return 0;
}

/* Telling libcurl of a failure would end all that it does, without a word: so the exchange is ended instead. */
static void doom(struct fl_kube_client *client, CURL *easy)
{
    struct fl_kube_exchange *exchange = NULL;
    if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, (void **)&exchange) == CURLE_OK && exchange != NULL)
        exchange->doomed = client->doomed = true;
}

static int want_socket(CURL *easy, curl_socket_t number, int what, void *owner, void *assigned)
{
    struct fl_kube_client *client = owner;
    struct fl_kube_socket *socket = assigned;
    uint32_t events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) | (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    if (what == CURL_POLL_REMOVE) {
        if (socket != NULL) {
            curl_multi_assign(client->multi, number, NULL);
            drop_socket(socket);
        }
        return 0;
    }
    if ((socket == NULL ? add_socket(client, number, events) : fl_source_modify(&socket->source, events)) < 0)
        doom(client, easy);
    return 0;
}

static bool is_known(const struct fl_kube_client *client, curl_socket_t number)
{
    for (const struct fl_kube_socket *socket = client->sockets; socket != NULL; socket = socket->next) {
        if (socket->number == number)
            return true;
    }
    return false;
}

curl_socket_t fl_kube_on_open(void *owner, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    struct fl_kube_client *client = owner;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    while (fd >= 0 && is_known(client, fd)) {
        int other = fcntl(fd, F_DUPFD_CLOEXEC, fd + 1);
        close(fd);
        fd = other;
    }
    return fd >= 0 ? fd : CURL_SOCKET_BAD;
}

/* ---- Where the server is ---- */

static void cleanup_url(CURLU **url)
{
    curl_url_cleanup(*url);
}

static void cleanup_part(char **part)
{
    curl_free(*part);
}

static char *print(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *print(const char *format, ...)
{
    struct fl_buf text;
    va_list arguments;
    fl_buf_init(&text, FL_KUBE_PATH_MAX);
    va_start(arguments, format);
    int result = fl_buf_vprintf(&text, format, arguments);
    va_end(arguments);
    char *copy = result == 0 ? fl_span_dup(fl_buf_span(&text)) : NULL;
    fl_buf_done(&text);
    return copy;
}

/* tls-server-name: the URL bears that name, and the connection goes to the server's host all the same. */
static int rename_host(struct fl_kube_client *client, CURLU *url)
{
    FL_CLEANUP(cleanup_part) char *host = NULL;
    FL_CLEANUP(cleanup_part) char *port = NULL;
    FL_CLEANUP(cleanup_part) char *renamed = NULL;
    const char *name = client->access.tls_server_name;
    struct in6_addr six;
    FL_CLEANUP(fl_cleanup_free)
    char *literal = inet_pton(AF_INET6, name, &six) == 1 ? print("[%s]", name) : strdup(name);
    if (literal == NULL || curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
        return -ENOMEM;
    if (curl_url_set(url, CURLUPART_HOST, literal, 0) != CURLUE_OK)
        return -EINVAL;
    if (curl_url_get(url, CURLUPART_URL, &renamed, 0) != CURLUE_OK)
        return -ENOMEM;
    free(client->base);
    client->base = strdup(renamed);
    client->connect_to = print("::%s:%s", host, port);
    client->host = print("Host: %s:%s", host, port);
    return client->base != NULL && client->connect_to != NULL && client->host != NULL ? 0 : -ENOMEM;
}

static bool has_credentials(const struct fl_kube_access *access)
{
    return access->token.file != NULL || access->token.pem.len > 0 || access->cert.file != NULL ||
           access->cert.pem.len > 0 || access->plugin != NULL;
}

static int read_server(struct fl_kube_client *client, struct fl_err *err)
{
    FL_CLEANUP(cleanup_url) CURLU *url = curl_url();
    FL_CLEANUP(cleanup_part) char *scheme = NULL;
    FL_CLEANUP(cleanup_part) char *user = NULL;
    FL_CLEANUP(cleanup_part) char *query = NULL;
    const char *server = client->access.server;
    client->base = server != NULL ? strdup(server) : NULL;
    if (url == NULL || (server != NULL && client->base == NULL))
        return fl_err_errno(err, -ENOMEM, "client of the API server");
    if (server == NULL || curl_url_set(url, CURLUPART_URL, server, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
        return fl_err_set(err, -EINVAL, "\"%s\" is not the URL of a server", server != NULL ? server : "");
    if (curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK ||
        curl_url_get(url, CURLUPART_QUERY, &query, 0) == CURLUE_OK || strchr(server, '#') != NULL)
        return fl_err_set(err, -EINVAL, "the server's URL holds a user, a query or a fragment");
    bool plain = strcmp(scheme, "http") == 0;
    if (!plain && strcmp(scheme, "https") != 0)
        return fl_err_set(err, -EINVAL, "%s: only https (and http, without credentials) is spoken", server);
    if (plain && has_credentials(&client->access))
        return fl_err_set(err, -EINVAL, "%s: credentials are not sent over http", server);
    for (size_t len = strlen(client->base); len > 0 && client->base[len - 1] == '/'; len--)
        client->base[len - 1] = '\0';
    if (client->access.tls_server_name == NULL || plain)
        return 0;
    if (curl_url_set(url, CURLUPART_URL, client->base, 0) != CURLUE_OK)
        return fl_err_errno(err, -ENOMEM, "client of the API server");
    int result = rename_host(client, url);
    for (size_t len = client->base != NULL ? strlen(client->base) : 0; len > 0 && client->base[len - 1] == '/'; len--)
        client->base[len - 1] = '\0';
    return result < 0 ? fl_err_errno(err, result, "tls-server-name \"%s\"", client->access.tls_server_name) : 0;
}

/* "socks5" has the proxy look names up, as it does where kubectl is asked; libcurl calls that socks5h. */
static int read_proxy(struct fl_kube_client *client, struct fl_err *err)
{
    static const char socks[] = "socks5://";
    const char *proxy = client->access.proxy;
    FL_CLEANUP(cleanup_url) CURLU *url = curl_url();
    FL_CLEANUP(cleanup_part) char *host = NULL;
    if (proxy == NULL)
        return 0;
    if (url == NULL)
        return fl_err_errno(err, -ENOMEM, "client of the API server");
    bool is_socks = strncmp(proxy, socks, sizeof(socks) - 1) == 0;
    if (curl_url_set(url, CURLUPART_URL, proxy, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        return fl_err_set(err, -EINVAL, "proxy-url: expected http://, https:// or socks5:// and an address");
    client->proxy = is_socks ? print("socks5h://%s", proxy + sizeof(socks) - 1) : strdup(proxy);
    return client->proxy != NULL ? 0 : fl_err_errno(err, -ENOMEM, "client of the API server");
}

/* ---- Life ---- */

static int start_multi(struct fl_kube_client *client)
{
    client->global = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    client->multi = client->global ? curl_multi_init() : NULL;
    if (client->multi == NULL)
        return -ENOMEM;
    CURLMcode codes[] = {
        curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, want_socket),
        curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client),
        curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, want_timer),
        curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client),
        curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING),
        curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)FL_KUBE_CONNECTIONS_MAX),
        curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)FL_KUBE_CONNECTIONS_MAX),
    };
    for (size_t i = 0; i < FL_COUNT(codes); i++) {
        if (codes[i] != CURLM_OK)
            return -ENOMEM;
    }
    return 0;
}

static void cleanup_client(struct fl_kube_client **client)
{
    fl_kube_client_free(*client);
}

int fl_kube_client_new(struct fl_loop *loop, struct fl_kube_access *access, const char *agent,
                       struct fl_kube_client **ret_client, struct fl_err *err)
{
    FL_CLEANUP(cleanup_client) struct fl_kube_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        fl_kube_access_done(access);
        return fl_err_errno(err, -ENOMEM, "client of the API server");
    }
    client->loop = loop;
    client->access = *access;
    *access = (struct fl_kube_access){0};
    client->agent = strdup(agent != NULL ? agent : "fairlead/" FL_VERSION);
    int result = client->agent != NULL ? start_multi(client) : -ENOMEM;
    if (result < 0)
        return fl_err_errno(err, result, "client of the API server");
    result = read_server(client, err);
    if (result == 0)
        result = read_proxy(client, err);
    if (result == 0)
        result = fl_kube_credential_init(&client->credential, &client->access, err);
    if (result == 0)
        *ret_client = fl_take(client);
    return result;
}

static void free_client(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct fl_kube_client, deferred));
}

struct fl_kube_client *fl_kube_client_free(struct fl_kube_client *client)
{
    if (client == NULL || client->dead)
        return NULL;
    client->dead = true;
    while (client->exchanges != NULL)
        fl_kube_exchange_free(client->exchanges);
    if (client->multi != NULL)
        curl_multi_cleanup(client->multi);
    while (client->sockets != NULL) /* none is left where libcurl keeps its word */
        drop_socket(client->sockets);
    fl_timer_cancel(&client->timer);
    if (client->global)
        curl_global_cleanup();
    fl_kube_credential_done(&client->credential);
    fl_kube_access_done(&client->access);
    free(client->agent);
    free(client->base);
    free(client->connect_to);
    free(client->host);
    free(client->proxy);
    fl_loop_defer(client->loop, &client->deferred, free_client);
    return NULL;
}

int64_t fl_kube_client_date(const struct fl_kube_client *client)
{
    return client->date;
}

const char *fl_kube_client_server(const struct fl_kube_client *client)
{
    return client->access.server;
}

bool fl_kube_client_insecure(const struct fl_kube_client *client)
{
    return client->access.insecure;
}

const char *fl_kube_client_namespace(const struct fl_kube_client *client)
{
    return client->access.name_space;
}

/* ---- Requests ---- */

int fl_kube_send(struct fl_kube_client *client, const struct fl_kube_request *request,
                 struct fl_kube_exchange **ret_exchange, struct fl_err *err)
{
    struct fl_kube_exchange *exchange = NULL;
    if (client->count >= FL_KUBE_REQUESTS_MAX)
        return fl_err_set(err, -EBUSY, "%s %s: %d requests are under way", request->method, request->path,
                          FL_KUBE_REQUESTS_MAX);
    fl_kube_credential_look(&client->credential, client->unauthorized);
    int result = fl_kube_credential_renew(&client->credential, &client->access, client->unauthorized, err);
    client->unauthorized = false;
    if (result == 0)
        result = fl_kube_exchange_new(client, request, &exchange, err);
    if (result < 0)
        return result;
    exchange->next = client->exchanges;
    exchange->link = &client->exchanges;
    if (exchange->next != NULL)
        exchange->next->link = &exchange->next;
    client->exchanges = exchange;
    client->count++;
    if (curl_multi_add_handle(client->multi, exchange->easy) != CURLM_OK) {
        fl_kube_exchange_free(exchange);
        return fl_err_errno(err, -ENOMEM, "%s %s", request->method, request->path);
    }
    fl_kube_exchange_listen(exchange);
    if (ret_exchange != NULL)
        *ret_exchange = exchange;
    return 0;
}

struct fl_kube_exchange *fl_kube_cancel(struct fl_kube_exchange *exchange)
{
    if (exchange != NULL)
        fl_kube_exchange_free(exchange);
    return NULL;
}

struct call {
    const struct fl_kube_client *client;
    struct fl_buf *body;
    struct fl_err *err;
    unsigned status;
    int result;
    bool done, again;
};

static void on_called(void *owner, const struct fl_kube_answer *answer)
{
    struct call *call = owner;
    call->done = true;
    call->status = answer->status;
    call->result = answer->result;
    call->again =
        answer->status == 401 && fl_kube_credential_may_renew(&call->client->credential, &call->client->access);
    if (call->again)
        return;
    if (answer->result < 0 && call->err != NULL)
        *call->err = *answer->err;
    if (answer->result == 0)
        call->result = fl_buf_append(call->body, answer->body);
    if (answer->result == 0 && call->result < 0)
        fl_err_errno(call->err, call->result, "the answer's body");
}

static int call_once(struct fl_kube_client *client, const struct fl_kube_request *request, struct call *call)
{
    struct fl_kube_exchange *exchange = NULL;
    call->done = false;
    int result = fl_kube_send(client, request, &exchange, call->err);
    while (result == 0 && !call->done)
        result = fl_loop_turn(client->loop, -1);
    if (result < 0 && !call->done)
        fl_kube_cancel(exchange);
    return result;
}

int fl_kube_call(struct fl_kube_client *client, const struct fl_kube_request *request, struct fl_buf *body,
                 unsigned *ret_status, struct fl_err *err)
{
    struct call call = {.client = client, .body = body, .err = err};
    struct fl_kube_request copy = *request;
    copy.on_data = NULL;
    copy.on_done = on_called;
    copy.owner = &call;
    int result = call_once(client, &copy, &call);
    if (result == 0 && call.again)
        result = call_once(client, &copy, &call);
    if (result < 0)
        return result;
    if (call.result == 0)
        *ret_status = call.status;
    return call.result;
}
