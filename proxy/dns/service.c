#include "proxy/dns/service.h"

#include "common/base/log.h"
#include "proxy/dns/stream.h"
#include "proxy/dns/udp.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>

#define STACK_SIZE (256u * 1024)
#define LAST_TURNS 3 /* what was deferred, and what that deferred */
#define FAMILIES   2

struct proxy_dns_service {
    struct fl_loop *loop;
    struct proxy_dns_stats stats;
    struct proxy_dns_resolver resolver;
    struct proxy_dns_udp udp[FAMILIES];
    struct proxy_dns_streams streams[FAMILIES];
    char *scratch;
    int stop_fd;
    struct fl_source stop;
    pthread_t thread;
    bool running;
};

static void on_stop(struct fl_source *source, uint32_t events)
{
    (void)events;
    fl_loop_stop(source->loop, 0);
}

/* Neither family is missing for long: a netns has IPv6 from its start, or never. */
static bool is_missing(int result)
{
    return result == -EAFNOSUPPORT || result == -EADDRNOTAVAIL;
}

static int open_family(struct proxy_dns_service *service, size_t family, const struct proxy_dns_options *options,
                       struct fl_err *err)
{
    struct proxy_address address;
    int result = proxy_address_parse(family == 0 ? FL_SPAN("127.0.0.1") : FL_SPAN("::1"), options->port, &address);
    if (result == 0)
        result = proxy_dns_udp_open(&service->udp[family], &service->resolver, &address, options->inherited,
                                    service->scratch, err);
    if (family == 1 && is_missing(result))
        return 0;
    if (result == 0)
        result =
            proxy_dns_streams_open(&service->streams[family], &service->resolver, &address, options->inherited, err);
    return result;
}

static int set_up(struct proxy_dns_service *service, const struct proxy_dns_options *options, struct fl_err *err)
{
    int result = fl_loop_new(&service->loop);
    if (result == 0)
        result = proxy_dns_stats_init(&service->stats);
    if (result == 0)
        result = proxy_dns_resolver_init(&service->resolver, service->loop, &service->stats, options->resolv_conf,
                                         options->files);
    service->scratch = malloc(PROXY_DNS_MESSAGE_MAX);
    service->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (result == 0 && service->scratch == NULL)
        result = -ENOMEM;
    if (result == 0)
        result = service->stop_fd < 0
                     ? -errno
                     : fl_source_add(service->loop, &service->stop, service->stop_fd, EPOLLIN, on_stop);
    if (result < 0)
        return fl_err_errno(err, result, "DNS");
    for (size_t family = 0; family < (options->ipv4_only ? 1 : FAMILIES) && result == 0; family++)
        result = open_family(service, family, options, err);
    return result;
}

static void close_all(struct proxy_dns_service *service)
{
    for (size_t family = 0; family < FAMILIES; family++) {
        proxy_dns_udp_close(&service->udp[family]);
        proxy_dns_streams_close(&service->streams[family]);
    }
    proxy_dns_resolver_done(&service->resolver);
    for (int i = 0; i < LAST_TURNS; i++)
        (void)!fl_loop_turn(service->loop, 0);
}

static void *run(void *argument)
{
    struct proxy_dns_service *service = argument;
    int result = fl_loop_run(service->loop);
    if (result < 0)
        fl_log(FL_LOG_ERROR, "the event loop of DNS failed", FL_LOG_STR("reason", strerrordesc_np(-result)));
    return NULL;
}

static int start_thread(struct proxy_dns_service *service)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int result = pthread_create(&service->thread, &attributes, run, service);
    pthread_attr_destroy(&attributes);
    service->running = result == 0;
    return -result;
}

int proxy_dns_service_new(const struct proxy_dns_options *options, struct proxy_dns_service **ret_service,
                          struct fl_err *err)
{
    struct proxy_dns_service *service = calloc(1, sizeof(*service));
    if (service == NULL)
        return fl_err_errno(err, -ENOMEM, "DNS");
    service->stop_fd = -1;
    int result = set_up(service, options, err);
    if (result == 0) {
        result = start_thread(service);
        if (result < 0)
            result = fl_err_errno(err, result, "start the thread of DNS");
    }
    if (result < 0) {
        proxy_dns_service_free(service);
        return result;
    }
    *ret_service = service;
    return 0;
}

struct proxy_dns_service *proxy_dns_service_free(struct proxy_dns_service *service)
{
    const uint64_t one = 1;
    if (service == NULL)
        return NULL;
    if (service->running) {
        (void)!write(service->stop_fd, &one, sizeof(one));
        pthread_join(service->thread, NULL);
    }
    if (service->loop != NULL)
        close_all(service);
    if (service->stop_fd >= 0) {
        fl_source_remove(&service->stop);
        close(service->stop_fd);
    }
    fl_loop_free(service->loop);
    proxy_dns_stats_done(&service->stats);
    free(service->scratch);
    free(service);
    return NULL;
}

struct fl_metrics *proxy_dns_service_metrics(struct proxy_dns_service *service)
{
    return service->stats.metrics;
}
