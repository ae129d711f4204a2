/* Who gets in. We accept, not libmicrohttpd: it would take one after the other, whoever stands at the door with most.
 *
 * A look at the door takes a few clients in, whoever they are, so that a flood of them leaves time for those inside. Of
 * one address that nobody has vouched for only some get in at once where places are short and others are inside; the
 * rest is sent away, which costs next to nothing, so that the queue in front of the door stays short for the others.
 */
#include "common/http/inner.h"

#define LOOK_MAX             256 /* at the queue, in one look */
#define IN_MAX               16  /* let in, in one look */
#define CROWD_MAX            4   /* of them of one address, where places are short */
#define HEADROOM             64  /* connections that were shut down and that libmicrohttpd has not seen the end of */
#define IS_SHORT(count, max) ((count) > (max) - (max) / 8)

static bool has_places(const struct fl_http_server *server)
{
    unsigned headroom = server->connections_max >= 8 ? HEADROOM : 0;
    return server->connection_count < server->connections_max + headroom;
}

static bool is_crowd(const struct fl_http_server *server, const struct fl_http_share *share)
{
    return share->known == 0 && share->accepted >= CROWD_MAX && server->shares.map.count > 1 &&
           IS_SHORT(server->connection_count, server->connections_max) && server->connections_max >= 8;
}

static void let_in(struct fl_http_server *server, struct fl_http_share *share, int fd, const struct sockaddr *address,
                   socklen_t size)
{
    share->accepted++;
    share->connections++; /* so that it stays; a connection counts by itself */
    fl_http_connections_make_place(server);
    MHD_add_connection(server->daemon, fd, address, size); /* which closes the fd where it fails */
    share->connections--;
    fl_http_share_release(&server->shares, share);
}

/* True: it is in. */
static bool receive(struct fl_http_server *server, int fd, const struct sockaddr *address, socklen_t size)
{
    struct fl_http_share *share = fl_http_share_of(&server->shares, address);
    if (share == NULL) {
        close(fd);
        return false;
    }
    fl_http_share_turn(share, server->turn);
    if (share->connections >= server->connections_per_address || is_crowd(server, share)) {
        close(fd);
        fl_http_share_release(&server->shares, share);
        return false;
    }
    let_in(server, share, fd, address, size);
    return true;
}

static void on_door(struct fl_source *door, uint32_t events)
{
    struct fl_http_server *server = FL_CONTAINER_OF(door, struct fl_http_server, door);
    (void)events;
    fl_http_server_begin_turn(server);
    for (unsigned looked = 0, in = 0; looked < LOOK_MAX && in < IN_MAX && has_places(server); looked++) {
        struct sockaddr_storage address;
        socklen_t size = sizeof(address);
        union {
            struct sockaddr_storage *from;
            struct sockaddr *to;
        } same = {.from = &address};
        int fd = accept4(door->fd, same.to, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            break;
        in += receive(server, fd, same.to, size);
    }
    fl_http_door_look(server);
    fl_hook_arm(server->loop, &server->hook);
}

void fl_http_door_look(struct fl_http_server *server)
{
    if (server->door.loop == NULL)
        return;
    bool open = has_places(server);
    if (open != server->door_shut)
        return;
    if (fl_source_modify(&server->door, open ? EPOLLIN : 0) == 0)
        server->door_shut = !open;
}

int fl_http_door_open(struct fl_http_server *server, int fd)
{
    int result = fl_source_add(server->loop, &server->door, fd, EPOLLIN, on_door);
    if (result < 0)
        close(fd);
    return result;
}

void fl_http_door_close(struct fl_http_server *server)
{
    if (server->door.loop == NULL)
        return;
    int fd = server->door.fd;
    fl_source_remove(&server->door);
    close(fd);
}
