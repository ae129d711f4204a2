#include "common/http/inner.h"

#include <assert.h>

/* libmicrohttpd keeps a suspended connection out of its sight: it sees neither its end nor its time. So whoever ends
 * one here (connection.c: out of time, or its place is needed; the server that is freed) resumes it, and then it is
 * closed. */

struct fl_http_deferred {
    struct fl_http_connection *connection;
    struct fl_http_request request;
    struct fl_http_response response;
    void (*on_gone)(void *owner);
    void *owner;
};

static struct fl_http_server *server_of(const struct fl_http_request *request,
                                        struct fl_http_connection **ret_connection)
{
    *ret_connection = fl_http_request_connection(request);
    return *ret_connection != NULL ? (*ret_connection)->server : NULL;
}

struct fl_http_deferred *fl_http_request_defer(const struct fl_http_request *request, void (*on_gone)(void *owner),
                                               void *owner)
{
    struct fl_http_connection *connection;
    struct fl_http_server *server = server_of(request, &connection);
    if (server == NULL || connection->deferred != NULL || server->deferred_count >= server->deferred_max)
        return NULL;
    assert(server->handling);
    struct fl_http_deferred *deferred = calloc(1, sizeof(*deferred));
    if (deferred == NULL)
        return NULL;
    *deferred =
        (struct fl_http_deferred){.connection = connection, .request = *request, .on_gone = on_gone, .owner = owner};
    deferred->response = fl_http_response_make(server);
    connection->deferred = deferred;
    server->deferred_count++;
    return deferred;
}

const struct fl_http_request *fl_http_deferred_request(const struct fl_http_deferred *deferred)
{
    return &deferred->request;
}

struct fl_http_response *fl_http_deferred_response(struct fl_http_deferred *deferred)
{
    return &deferred->response;
}

static void end(struct fl_http_deferred *deferred)
{
    struct fl_http_connection *connection = deferred->connection;
    connection->deferred = NULL;
    connection->server->deferred_count--;
    if (connection->suspended != NULL) {
        MHD_resume_connection(connection->suspended);
        connection->suspended = NULL;
        fl_hook_arm(connection->server->loop, &connection->server->hook);
    }
    free(deferred);
}

void fl_http_deferred_send(struct fl_http_deferred *deferred)
{
    struct fl_http_connection *connection = deferred->connection;
    connection->answer = deferred->response;
    connection->answered = true;
    end(deferred);
}

void fl_http_deferred_abandon(struct fl_http_connection *connection)
{
    struct fl_http_deferred *deferred = connection->deferred;
    if (deferred == NULL)
        return;
    void (*on_gone)(void *) = deferred->on_gone;
    void *owner = deferred->owner;
    fl_buf_done(&deferred->response.body);
    end(deferred);
    if (on_gone != NULL)
        on_gone(owner);
}
