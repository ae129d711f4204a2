/* Connections to destinations that the configuration does not have, while the directory looks for them. */
#include "proxy/filter/downstream_inner.h"
#include "proxy/upstream/directory.h"

static void ignore(void *owner)
{
    (void)owner;
}

/* What the client sends waits unread. */
static size_t on_data(void *owner, struct fl_span bytes)
{
    (void)owner, (void)bytes;
    return 0;
}

static void on_closed(void *owner, enum proxy_end end)
{
    struct proxy_downstream *downstream = owner;
    (void)end;
    downstream->conn = NULL;
    proxy_downstream_end(downstream);
}

static const struct proxy_conn_ops parked_ops = {
    .on_open = ignore,
    .on_data = on_data,
    .on_eof = ignore, /* half a connection may be served, too */
    .on_writable = ignore,
    .on_closed = on_closed,
};

static void time_is_over(struct fl_timer *timer)
{
    downstream_refuse(FL_CONTAINER_OF(timer, struct proxy_downstream, deadline), PROXY_REFUSED_UNKNOWN_DESTINATION);
}

bool downstream_park(struct proxy_downstream *downstream)
{
    struct proxy_data *data = downstream->data;
    const struct proxy_directory *directory = data->options.directory;
    if (!downstream->listener->hand_over || downstream->listener->direction == PROXY_INBOUND ||
        !data->snapshot->node.on_demand || directory == NULL)
        return false;
    if (data->parked_count >= PROXY_DIRECTORY_PARKED_MAX ||
        !directory->ask(directory->owner, &downstream->destination)) {
        downstream_refuse(downstream, PROXY_REFUSED_UNKNOWN_DESTINATION);
        return true;
    }
    downstream_unlist(downstream);
    downstream->is_parked = true;
    downstream->listener_next = data->parked;
    if (data->parked != NULL)
        data->parked->listener_previous = downstream;
    data->parked = downstream;
    data->parked_count++;
    proxy_conn_set_owner(downstream->conn, &parked_ops, downstream);
    fl_timer_set(data->turn.loop, &downstream->deadline, PROXY_DIRECTORY_WAIT_MS, time_is_over);
    return true;
}

static void go_on(struct proxy_downstream *downstream, const struct proxy_listener *listener)
{
    fl_timer_cancel(&downstream->deadline);
    downstream_unlist(downstream);
    downstream_bind(downstream, listener);
    downstream_begin(downstream);
}

/* The listener that accepted it, as it is now; NULL where it is gone. */
static const struct proxy_listener *own_listener(const struct proxy_downstream *downstream)
{
    return proxy_snapshot_listener(downstream->data->snapshot, downstream->listener->slot->index);
}

void proxy_downstream_resolve(struct proxy_data *data)
{
    for (struct proxy_downstream *one = data->parked, *next; one != NULL; one = next) {
        next = one->listener_next;
        const struct proxy_listener *found = proxy_snapshot_listener_of(data->snapshot, &one->destination);
        const struct proxy_listener *own = own_listener(one);
        if (found != NULL && found != own)
            go_on(one, found);
        else if (own == NULL)
            downstream_refuse(one, PROXY_REFUSED_UNKNOWN_DESTINATION);
    }
}

void proxy_data_answer(struct proxy_data *data, const struct proxy_address *destination, int answer)
{
    for (struct proxy_downstream *one = data->parked, *next; one != NULL; one = next) {
        next = one->listener_next;
        if (!proxy_address_eq(&one->destination, destination))
            continue;
        const struct proxy_listener *own = own_listener(one);
        if (answer == PROXY_DIRECTORY_PASS && own != NULL)
            go_on(one, own);
        else
            downstream_refuse(one, PROXY_REFUSED_UNKNOWN_DESTINATION);
    }
}
