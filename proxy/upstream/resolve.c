#include "proxy/upstream/resolve.h"

#include "common/loop/timer.h"

#include <ares.h>
#include <errno.h>
#include <netdb.h>
#include <strings.h>
#include <sys/stat.h>

#define SOCKETS_MAX 32u /* of c-ares at a time; beyond it a server is as good as silent */

struct watched { /* a socket of c-ares */
    struct fl_source source;
    struct proxy_resolver *resolver;
};

/* One getaddrinfo. It outlives its question where that is cancelled. */
struct proxy_asked {
    struct proxy_resolver *resolver;
    struct proxy_question *question; /* NULL: cancelled */
    struct proxy_asked *next;        /* of those that are asked again */
};

struct proxy_resolver {
    struct fl_loop *loop;
    ares_channel channel;
    bool open, freeing;
    char *path;
    struct stat seen; /* resolv.conf as it was read */
    struct watched sockets[SOCKETS_MAX];
    struct fl_timer timer;
    struct proxy_asked *again; /* whose channel was closed under them */
};

bool proxy_resolve_is_name(struct fl_span text)
{
    if (text.len > 0 && text.data[text.len - 1] == '.')
        text.len--;
    if (text.len == 0 || text.len > PROXY_RESOLVE_NAME_MAX)
        return false;
    struct fl_span label;
    while (fl_span_split(&text, '.', &label)) {
        if (label.len == 0 || label.len > 63)
            return false;
        for (size_t i = 0; i < label.len; i++) {
            char c = label.data[i];
            if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
                return false;
        }
    }
    return true;
}

/* --- its sockets and its clock ------------------------------------------------------------------------------------ */

static void set_timer(struct proxy_resolver *resolver);

static void on_event(struct fl_source *source, uint32_t events)
{
    struct watched *watched = FL_CONTAINER_OF(source, struct watched, source);
    struct proxy_resolver *resolver = watched->resolver;
    bool in = (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0, out = (events & EPOLLOUT) != 0;
    ares_process_fd(resolver->channel, in ? source->fd : ARES_SOCKET_BAD, out ? source->fd : ARES_SOCKET_BAD);
    set_timer(resolver);
}

static struct watched *find_socket(struct proxy_resolver *resolver, int fd)
{
    struct watched *room = NULL;
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        struct watched *one = &resolver->sockets[i];
        if (one->source.loop != NULL && one->source.fd == fd)
            return one;
        if (one->source.loop == NULL && room == NULL)
            room = one;
    }
    return room;
}

/* c-ares tells what it waits for; neither: it is about to close the socket. */
static void on_socket(void *owner, ares_socket_t fd, int readable, int writable)
{
    struct proxy_resolver *resolver = owner;
    struct watched *watched = find_socket(resolver, fd);
    uint32_t events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);
    if (watched == NULL)
        return; /* no answer will be seen: the try ends by its time */
    watched->resolver = resolver;
    if (events == 0)
        fl_source_remove(&watched->source);
    else if (watched->source.loop != NULL)
        (void)!fl_source_modify(&watched->source, events);
    else
        (void)!fl_source_add(resolver->loop, &watched->source, fd, events, on_event);
}

static void on_timer(struct fl_timer *timer)
{
    struct proxy_resolver *resolver = FL_CONTAINER_OF(timer, struct proxy_resolver, timer);
    ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(resolver);
}

static void set_timer(struct proxy_resolver *resolver)
{
    struct timeval room, *next = resolver->open ? ares_timeout(resolver->channel, NULL, &room) : NULL;
    fl_timer_cancel(&resolver->timer);
    if (next != NULL)
        fl_timer_set(resolver->loop, &resolver->timer,
                     (uint64_t)next->tv_sec * 1000 + (uint64_t)next->tv_usec / 1000 + 1, on_timer);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static bool is_wanted(enum proxy_resolve_family family, int of, bool v4, bool v6)
{
    switch (family) {
    case PROXY_RESOLVE_AUTO:
        return of == AF_INET6 || !v6;
    case PROXY_RESOLVE_V4_PREFERRED:
        return of == AF_INET || !v4;
    case PROXY_RESOLVE_V4_ONLY:
        return of == AF_INET;
    case PROXY_RESOLVE_V6_ONLY:
        return of == AF_INET6;
    case PROXY_RESOLVE_ALL:
        break;
    }
    return true;
}

static bool has(const struct proxy_address *list, size_t count, const struct proxy_address *address)
{
    for (size_t i = 0; i < count; i++)
        if (proxy_address_eq(&list[i], address))
            return true;
    return false;
}

/* The families in turn, IPv6 first; each in the answer's order. */
static void interleave(struct proxy_address *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int want = i % 2 == 0 ? AF_INET6 : AF_INET;
        size_t at = i;
        while (at < count && list[at].any.sa_family != want)
            at++;
        if (at == count)
            return; /* the rest is of one family */
        struct proxy_address found = list[at];
        memmove(&list[i + 1], &list[i], (at - i) * sizeof(found));
        list[i] = found;
    }
}

static size_t collect(const struct ares_addrinfo *result, enum proxy_resolve_family family, struct proxy_address *list,
                      uint32_t *ret_ttl)
{
    bool v4 = false, v6 = false;
    size_t count = 0;
    for (const struct ares_addrinfo_node *node = result->nodes; node != NULL; node = node->ai_next) {
        v4 |= node->ai_family == AF_INET;
        v6 |= node->ai_family == AF_INET6;
    }
    for (const struct ares_addrinfo_node *node = result->nodes; node != NULL; node = node->ai_next) {
        struct sockaddr_storage raw = {0};
        if (!is_wanted(family, node->ai_family, v4, v6) || count == PROXY_RESOLVE_ADDRESSES ||
            node->ai_addrlen > sizeof(raw))
            continue;
        memcpy(&raw, node->ai_addr, node->ai_addrlen);
        if (proxy_address_from_sockaddr(&raw, &list[count]) < 0 || has(list, count, &list[count]))
            continue;
        count++;
        if (node->ai_ttl > 0 && (uint32_t)node->ai_ttl < *ret_ttl)
            *ret_ttl = (uint32_t)node->ai_ttl;
    }
    if (family == PROXY_RESOLVE_ALL)
        interleave(list, count);
    return count;
}

static bool is_negative(int status)
{
    return status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_ENONAME;
}

static void answer(struct proxy_asked *asked, int status, const struct ares_addrinfo *result)
{
    struct proxy_question *question = asked->question;
    struct proxy_address list[PROXY_RESOLVE_ADDRESSES];
    struct proxy_resolved told = {.list = list, .ttl_s = UINT32_MAX, .reason = ares_strerror(status)};
    if (status == ARES_SUCCESS && result != NULL)
        told.count = collect(result, question->family, list, &told.ttl_s);
    if (told.count > 0)
        told.outcome = PROXY_RESOLVE_FOUND;
    else
        told.outcome = status == ARES_SUCCESS || is_negative(status) ? PROXY_RESOLVE_NONE : PROXY_RESOLVE_FAILED;
    question->asked = NULL;
    question->on_answer(question, &told);
}

static void on_result(void *owner, int status, int timeouts, struct ares_addrinfo *result)
{
    struct proxy_asked *asked = owner;
    struct proxy_resolver *resolver = asked->resolver;
    (void)timeouts;
    if (status == ARES_EDESTRUCTION && !resolver->freeing && asked->question != NULL) {
        asked->next = resolver->again; /* resolv.conf has changed */
        resolver->again = asked;
    } else {
        if (asked->question != NULL && status != ARES_EDESTRUCTION)
            answer(asked, status, result);
        else if (asked->question != NULL)
            asked->question->asked = NULL;
        free(asked);
    }
    if (result != NULL)
        ares_freeaddrinfo(result);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static int open_channel(struct proxy_resolver *resolver)
{
    struct ares_options options = {
        .timeout = PROXY_RESOLVE_TRY_MS,
        .tries = PROXY_RESOLVE_TRIES,
        .sock_state_cb = on_socket,
        .sock_state_cb_data = resolver,
        .resolvconf_path = resolver->path,
    };
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_RESOLVCONF;
    if (stat(resolver->path, &resolver->seen) < 0)
        memset(&resolver->seen, 0, sizeof(resolver->seen));
    int status = ares_init_options(&resolver->channel, &options, mask);
    resolver->open = status == ARES_SUCCESS;
    return resolver->open ? 0 : status == ARES_ENOMEM ? -ENOMEM : -EIO;
}

static void close_channel(struct proxy_resolver *resolver)
{
    if (resolver->open)
        ares_destroy(resolver->channel);
    resolver->open = false;
    fl_timer_cancel(&resolver->timer);
}

static bool has_changed(const struct proxy_resolver *resolver)
{
    struct stat now;
    if (stat(resolver->path, &now) < 0)
        memset(&now, 0, sizeof(now));
    const struct stat *seen = &resolver->seen;
    return now.st_ino != seen->st_ino || now.st_dev != seen->st_dev || now.st_size != seen->st_size ||
           now.st_mtim.tv_sec != seen->st_mtim.tv_sec || now.st_mtim.tv_nsec != seen->st_mtim.tv_nsec;
}

static void ask(struct proxy_asked *asked)
{
    const struct proxy_question *question = asked->question;
    int family = question->family == PROXY_RESOLVE_V4_ONLY   ? AF_INET
                 : question->family == PROXY_RESOLVE_V6_ONLY ? AF_INET6
                                                             : AF_UNSPEC;
    const struct ares_addrinfo_hints hints = {
        .ai_family = family, .ai_flags = ARES_AI_NOSORT, .ai_socktype = SOCK_STREAM};
    /* RFC 6761 §6.3. c-ares 1.18 loses memory where the hosts file has no IPv6 address for it. */
    bool own = family == AF_INET6 && strcasecmp(question->name, "localhost") == 0;
    ares_getaddrinfo(asked->resolver->channel, own ? "::1" : question->name, NULL, &hints, on_result, asked);
}

/* By what resolv.conf says now. */
static int renew(struct proxy_resolver *resolver)
{
    if (resolver->open && !has_changed(resolver))
        return 0;
    close_channel(resolver);
    int result = open_channel(resolver);
    while (resolver->again != NULL) {
        struct proxy_asked *asked = resolver->again;
        resolver->again = asked->next;
        if (asked->question == NULL)
            free(asked);
        else if (result == 0)
            ask(asked);
        else
            on_result(asked, ARES_ECONNREFUSED, 0, NULL);
    }
    return result;
}

int proxy_resolve(struct proxy_resolver *resolver, struct proxy_question *question)
{
    struct proxy_asked *asked = calloc(1, sizeof(*asked));
    int result = asked != NULL ? renew(resolver) : -ENOMEM;
    if (result < 0) {
        free(asked);
        return -ENOMEM;
    }
    asked->resolver = resolver;
    asked->question = question;
    question->asked = asked;
    ask(asked);
    set_timer(resolver);
    return 0;
}

void proxy_resolve_cancel(struct proxy_question *question)
{
    if (question->asked != NULL)
        question->asked->question = NULL;
    question->asked = NULL;
}

int proxy_resolver_new(struct fl_loop *loop, const char *path, struct proxy_resolver **ret_resolver)
{
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
        return -EIO;
    struct proxy_resolver *resolver = calloc(1, sizeof(*resolver));
    if (resolver != NULL)
        resolver->path = strdup(path != NULL ? path : "/etc/resolv.conf");
    if (resolver == NULL || resolver->path == NULL) {
        free(resolver);
        ares_library_cleanup();
        return -ENOMEM;
    }
    resolver->loop = loop;
    *ret_resolver = resolver;
    return 0;
}

struct proxy_resolver *proxy_resolver_free(struct proxy_resolver *resolver)
{
    if (resolver == NULL)
        return NULL;
    resolver->freeing = true;
    close_channel(resolver);
    free(resolver->path);
    free(resolver);
    ares_library_cleanup();
    return NULL;
}
