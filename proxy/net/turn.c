#include "proxy/net/turn.h"

#include "proxy/net/conn.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

/* Resuming may pause somebody else and the other way round; what is still ready after so many rounds waits for the
 * hook's next one, so that a turn ends. */
#define ROUNDS 4096u

static void run_ready(struct fl_hook *hook)
{
    struct proxy_turn *turn = FL_CONTAINER_OF(hook, struct proxy_turn, hook);
    for (unsigned i = 0; i < ROUNDS && turn->ready != NULL; i++) {
        struct proxy_conn *conn = turn->ready;
        turn->ready = proxy_conn_next_ready(conn);
        if (turn->ready == NULL)
            turn->ready_tail = &turn->ready;
        proxy_conn_run(conn);
    }
    if (turn->ready != NULL)
        fl_hook_arm(turn->loop, &turn->hook);
}

int proxy_turn_init(struct proxy_turn *turn, struct fl_loop *loop)
{
    memset(turn, 0, sizeof(*turn));
    turn->loop = loop;
    turn->hook.run = run_ready;
    proxy_handshakes_init(&turn->handshakes, loop, proxy_conn_step);
    turn->ready_tail = &turn->ready;
    turn->scratch = malloc(PROXY_TURN_READ_BULK); /* pages that no read reaches are never there */
    turn->work = malloc(PROXY_TURN_WORK);
    turn->names = malloc(PROXY_TURN_NAMES);
    if (turn->scratch != NULL && turn->work != NULL && turn->names != NULL)
        return 0;
    proxy_turn_done(turn);
    return -ENOMEM;
}

/* Whole pages between two addresses are no longer there until they are written again. */
static void forget(char *from, char *to)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = ((uintptr_t)from + page - 1) & ~(page - 1);
    uintptr_t end = (uintptr_t)to & ~(page - 1);
    if (begin < end)
        (void)madvise(from + (begin - (uintptr_t)from), end - begin, MADV_DONTNEED);
}

void proxy_turn_trim(struct proxy_turn *turn)
{
    turn->peak = turn->connections;
    if (turn->on_trim != NULL)
        turn->on_trim(turn);
    proxy_pool_trim(&turn->pool);
    forget(turn->scratch + PROXY_TURN_READ / 4, turn->scratch + PROXY_TURN_READ_BULK);
    forget(turn->work, turn->work + PROXY_TURN_WORK);
    forget(turn->names, turn->names + PROXY_TURN_NAMES);
    (void)malloc_trim(0);
}

static void look(struct fl_timer *timer)
{
    struct proxy_turn *turn = FL_CONTAINER_OF(timer, struct proxy_turn, trim);
    size_t gone = turn->peak - turn->connections;
    bool fewer = gone * 2 >= turn->peak || (gone >= PROXY_TURN_TRIM_GONE && gone * 8 >= turn->peak);
    bool calm = !turn->bulk && turn->plain != NULL;
    if (turn->bulk) {
        turn->bulk = false;
        proxy_turn_trim_later(turn);
    }
    if (calm)
        free(fl_take(turn->plain));
    if (fewer || calm)
        proxy_turn_trim(turn);
}

void proxy_turn_trim_later(struct proxy_turn *turn)
{
    if (!fl_timer_is_set(&turn->trim))
        fl_timer_set(turn->loop, &turn->trim, PROXY_TURN_TRIM_MS, look);
}

void proxy_turn_abort(struct proxy_turn *turn)
{
    turn->on_settled = NULL;
    while (turn->closing != NULL)
        proxy_conn_abandon(turn->closing);
}

void proxy_turn_done(struct proxy_turn *turn)
{
    assert(turn->ready == NULL && turn->connections == 0);
    if (turn->loop != NULL)
        fl_hook_disarm(&turn->hook);
    fl_timer_cancel(&turn->trim);
    proxy_handshakes_done(&turn->handshakes);
    proxy_pool_done(&turn->pool);
    free(fl_take(turn->scratch));
    free(fl_take(turn->work));
    free(fl_take(turn->names));
    free(fl_take(turn->plain));
}

bool proxy_turn_take_dial(struct proxy_turn *turn)
{
    uint64_t now = fl_loop_now_ns(turn->loop);
    if (turn->dials_ns != now)
        turn->dials = 0;
    turn->dials_ns = now;
    return turn->dials++ < PROXY_TURN_DIALS;
}
