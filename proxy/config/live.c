#include "proxy/config/live.h"

#include "common/base/log.h"
#include "common/mesh/label.h"
#include "common/xds/message.h"
#include "proxy/config/environment.h"
#include "proxy/config/identity.h"
#include "proxy/config/messages.h"
#include "proxy/config/secret.h"
#include "proxy/config/subscribe.h"

#include <errno.h>
#include <stdio.h>

#define SECRET_MEMORY    (1u << 20)
#define BOOTSTRAP_MEMORY (64u << 20) /* bytes that a bootstrap may take while its xDS server is looked for */

struct proxy_live {
    struct proxy_live_options options;
    struct fl_arena arena; /* what `discovery` points to */
    struct proxy_discovery discovery;
    struct proxy_subscribe *subscribe;
    struct proxy_identity *identity; /* NULL: none to ask for */
};

/* --- the bootstrap ---------------------------------------------------------------------------------------------- */

static const char *from_environment(void *owner, const char *name)
{
    (void)owner;
    return getenv(name);
}

int proxy_live_print_bootstrap(struct fl_buf *out, struct fl_err *err)
{
    return proxy_environment_print(from_environment, NULL, out, err);
}

int proxy_live_load_environment(struct proxy_bootstrap_warnings *warnings, struct proxy_assembly *assembly,
                                struct fl_err *err)
{
    struct fl_buf text;
    fl_buf_init(&text, PROXY_ENVIRONMENT_TEXT_MAX);
    int result = proxy_live_print_bootstrap(&text, err);
    if (result != 0)
        fl_err_prefix(err, "there is no -c FILE, so the environment is read");
    else
        result = proxy_bootstrap_read(fl_buf_span(&text), "environment", warnings, assembly, err);
    fl_buf_done(&text);
    return result;
}

static int read_discovery(struct fl_span bootstrap, struct fl_arena *arena, struct proxy_discovery *ret_discovery,
                          struct fl_err *err)
{
    ProtobufCMessage *message;
    fl_arena_init(arena, BOOTSTRAP_MEMORY);
    int result =
        fl_xds_unpack(&envoy__config__bootstrap__v3__bootstrap__descriptor, bootstrap, arena, NULL, &message, err);
    return result == 0 ? proxy_discovery_read((const pb_bootstrap *)message, arena, ret_discovery, err) : result;
}

int proxy_live_check(struct fl_span bootstrap, struct fl_err *err)
{
    struct proxy_discovery discovery;
    struct fl_arena arena;
    int result = read_discovery(bootstrap, &arena, &discovery, err);
    fl_arena_done(&arena);
    return result;
}

/* --- our identity ----------------------------------------------------------------------------------------------- */

static int put_secret(struct proxy_live *live, const char *name, struct fl_span wire, struct fl_err *err)
{
    return proxy_assembly_put(live->options.assembly, FL_RESOURCE_SECRET, fl_span_str(name), FL_SPAN(""), wire, err);
}

/* The secrets by which listeners and clusters call our own certificate and the mesh's roots. */
static int put_secrets(struct proxy_live *live, const struct proxy_identity_held *held, struct fl_err *err)
{
    struct fl_arena arena;
    struct fl_span roots, pair = {NULL, 0};
    fl_arena_init(&arena, SECRET_MEMORY);
    int result = proxy_secret_roots(PROXY_SECRET_ROOTS, held->roots, &arena, &roots);
    if (result == 0)
        result = proxy_secret_certificate(PROXY_SECRET_OWN, held->key, held->chain, &arena, &pair);
    if (result != 0)
        fl_err_set(err, result, "out of memory");
    if (result == 0)
        result = put_secret(live, PROXY_SECRET_ROOTS, roots, err);
    if (result == 0)
        result = put_secret(live, PROXY_SECRET_OWN, pair, err);
    if (pair.len > 0)
        explicit_bzero((char *)(uintptr_t)pair.data, pair.len);
    fl_arena_done(&arena);
    return result;
}

static void on_identity(void *owner, const struct proxy_identity_held *held)
{
    struct proxy_live *live = owner;
    const struct proxy_discovery_identity identity = {.key = held->key, .chain = held->chain, .roots = held->roots};
    struct fl_err err = {0};
    int result = put_secrets(live, held, &err);
    if (result == 0 && proxy_subscribe_identity(live->subscribe, &identity) != 0)
        result = fl_err_set(&err, -ENOMEM, "out of memory");
    if (result != 0)
        fl_log(FL_LOG_ERROR, "a new certificate could not be taken; the one before stays",
               FL_LOG_STR("reason", err.text));
    live->options.on_change(live->options.owner);
}

static const char *resolv_conf(void)
{
    const char *file = getenv(FL_ENV_RESOLV_CONF);
    return file != NULL && *file != '\0' ? file : NULL;
}

static int start_identity(struct proxy_live *live, struct fl_err *err)
{
    if (live->discovery.identity.places.len == 0)
        return 0;
    const struct proxy_identity_options options = {
        .loop = live->options.loop,
        .metrics = live->options.metrics,
        .places = live->discovery.identity.places,
        .resolv_conf = resolv_conf(),
        .server_name = live->discovery.identity.server_name.data,
        .root_file = live->discovery.identity.root_file.data,
        .token_file = live->discovery.identity.token_file.data,
        .volume = live->options.state_folder,
        .uri = live->discovery.identity.uri.len > 0 ? live->discovery.identity.uri.data : NULL,
        .on_identity = on_identity,
        .owner = live,
    };
    return proxy_identity_new(&options, &live->identity, err);
}

/* --- the xDS client --------------------------------------------------------------------------------------------- */

static void on_change(void *owner)
{
    struct proxy_live *live = owner;
    live->options.on_change(live->options.owner);
}

static void on_answer(void *owner, const struct proxy_address *destination, enum proxy_directory_answer answer)
{
    struct proxy_live *live = owner;
    live->options.on_answer(live->options.owner, destination, answer);
}

/* A number of the environment that one turns in tests and in trouble. */
static uint64_t setting(const char *name)
{
    uint64_t value = 0;
    (void)fl_span_to_u64(fl_span_str(getenv(name)), 1000000, &value);
    return value;
}

static int start_subscribe(struct proxy_live *live, struct fl_err *err)
{
    const struct proxy_subscribe_options options = {
        .loop = live->options.loop,
        .metrics = live->options.metrics,
        .assembly = live->options.assembly,
        .discovery = &live->discovery,
        .resolv_conf = resolv_conf(),
        .state_folder = live->options.state_folder,
        .demand = {.max = setting("FAIRLEAD_DESTINATIONS_MAX"),
                   .idle_ms = setting("FAIRLEAD_DESTINATION_IDLE_S") * 1000},
        .on_change = on_change,
        .on_answer = on_answer,
        .owner = live,
    };
    return proxy_subscribe_new(&options, &live->subscribe, err);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

int proxy_live_new(const struct proxy_live_options *options, struct proxy_live **ret_live, struct fl_err *err)
{
    struct proxy_live *live = calloc(1, sizeof(*live));
    if (live == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    live->options = *options;
    int result = read_discovery(options->bootstrap, &live->arena, &live->discovery, err);
    bool dynamic = result == 0 && live->discovery.present;
    if (dynamic)
        result = start_subscribe(live, err);
    if (dynamic && result == 0)
        result = start_identity(live, err);
    if (!dynamic || result != 0)
        live = proxy_live_free(live);
    if (result != 0)
        return result;
    *ret_live = live;
    return 0;
}

struct proxy_live *proxy_live_free(struct proxy_live *live)
{
    if (live == NULL)
        return NULL;
    live->identity = proxy_identity_free(live->identity);
    live->subscribe = proxy_subscribe_free(live->subscribe);
    fl_arena_done(&live->arena);
    free(live);
    return NULL;
}

struct proxy_directory proxy_live_directory(struct proxy_live *live)
{
    return live != NULL ? proxy_subscribe_directory(live->subscribe) : (struct proxy_directory){0};
}

/* Without a certificate there is no stream either: why there is none says more. */
static bool waits_for_certificate(const struct proxy_live *live, char *text, size_t size)
{
    struct proxy_identity_held held;
    const char *trouble = live->identity != NULL ? proxy_identity_trouble(live->identity) : NULL;
    if (trouble == NULL || proxy_identity_held(live->identity, &held))
        return false;
    snprintf(text, size, "a certificate: %s", trouble);
    return true;
}

bool proxy_live_waits(struct proxy_live *live, char *text, size_t size)
{
    if (live != NULL && proxy_subscribe_waits(live->subscribe, text, size) && waits_for_certificate(live, text, size))
        return true;
    return live != NULL && proxy_subscribe_waits(live->subscribe, text, size);
}

int proxy_live_print(const struct proxy_live *live, struct fl_buf *out)
{
    return live != NULL ? proxy_subscribe_print(live->subscribe, out)
                        : fl_buf_append_str(out, "{\"connected\":false,\"static\":true}\n");
}
