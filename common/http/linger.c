#include "common/http/linger.h"

#include <sys/socket.h>

static void close_place(struct fl_linger_place *place)
{
    int fd = place->source.fd;
    fl_source_remove(&place->source);
    place->source.fd = -1;
    close(fd);
}

static void on_event(struct fl_source *source, uint32_t events)
{
    struct fl_linger_place *place = FL_CONTAINER_OF(source, struct fl_linger_place, source);
    char dropped[16384];
    (void)events;
    ssize_t count = recv(source->fd, dropped, sizeof(dropped), MSG_DONTWAIT);
    if (count <= 0 || (size_t)count >= place->left)
        close_place(place); /* an event without bytes is an end or an error */
    else
        place->left -= (size_t)count;
}

static void on_due(struct fl_timer *timer)
{
    struct fl_linger *linger = FL_CONTAINER_OF(timer, struct fl_linger, timer);
    uint64_t now = fl_loop_now_ms(linger->loop);
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < FL_LINGER_MAX; i++) {
        struct fl_linger_place *place = &linger->places[i];
        if (place->source.fd < 0)
            continue;
        if (place->deadline_ms <= now)
            close_place(place);
        else if (place->deadline_ms < next)
            next = place->deadline_ms;
    }
    if (next != UINT64_MAX)
        fl_timer_set(linger->loop, timer, next - now, on_due);
}

void fl_linger_init(struct fl_linger *linger, struct fl_loop *loop)
{
    *linger = (struct fl_linger){.loop = loop};
    for (size_t i = 0; i < FL_LINGER_MAX; i++)
        linger->places[i].source.fd = -1;
}

void fl_linger_done(struct fl_linger *linger)
{
    fl_timer_cancel(&linger->timer);
    for (size_t i = 0; i < FL_LINGER_MAX; i++) {
        if (linger->places[i].source.fd >= 0)
            close_place(&linger->places[i]);
    }
}

void fl_linger_add(struct fl_linger *linger, int fd)
{
    struct fl_linger_place *place = linger->places;
    while (place < linger->places + FL_LINGER_MAX && place->source.fd >= 0)
        place++;
    if (place == linger->places + FL_LINGER_MAX ||
        fl_source_add(linger->loop, &place->source, fd, EPOLLIN | EPOLLRDHUP, on_event) < 0) {
        close(fd);
        return;
    }
    place->deadline_ms = fl_loop_now_ms(linger->loop) + FL_LINGER_SECONDS * 1000;
    place->left = FL_LINGER_BYTES;
    if (!fl_timer_is_set(&linger->timer))
        fl_timer_set(linger->loop, &linger->timer, FL_LINGER_SECONDS * 1000, on_due);
}

bool fl_linger_idle(const struct fl_linger *linger)
{
    for (size_t i = 0; i < FL_LINGER_MAX; i++) {
        if (linger->places[i].source.fd >= 0)
            return false;
    }
    return true;
}
