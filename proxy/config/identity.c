#include "proxy/config/identity.h"

#include "common/base/backoff.h"
#include "common/base/log.h"
#include "common/base/spiffeid.h"
#include "common/grpc/client.h"
#include "common/loop/timer.h"
#include "common/metrics/registry.h"
#include "common/pki/bundle.h"
#include "common/pki/csr.h"
#include "common/tls/context.h"
#include "common/xds/certificate.h"
#include "proxy/config/credential.h"
#include "proxy/config/token.h"
#include "proxy/config/whereabouts.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

/* One attempt at a time:
 *
 *   WAITING ──timer──► CONNECTING ──connected──► CALLING ──answer──► WAITING (for half of its life)
 *                           └─────── lost, refused, not in time ───► WAITING (back-off)
 */

#define ARENA_MAX   ((size_t)1 << 20)
#define ANSWER_MAX  (4 * PROXY_CREDENTIAL_PART_MAX)
#define WAIT_MAX_S  3600 /* a plan further away is looked at again then: clocks are set, machines sleep */
#define RETRY_LEAST 50   /* ms */
#define NAMELESS    FL_SPAN("spiffe://cluster.local/ns/unknown/sa/unknown")

enum state { WAITING, CONNECTING, CALLING };

static const char *const result_label[] = {"result"};
static const struct fl_metric_family renewals_family = {.name = "fairlead_identity_renewals_total",
                                                        .help = "Attempts to get a certificate.",
                                                        .kind = FL_METRIC_COUNTER,
                                                        .label_names = result_label,
                                                        .label_count = 1};
static const struct fl_metric_family expiry_family = {.name = "fairlead_identity_expiry_timestamp_seconds",
                                                      .help = "When our certificate expires.",
                                                      .kind = FL_METRIC_GAUGE};

#define TROUBLE_MAX 256

struct proxy_identity {
    struct fl_loop *loop;
    char *server_name, *root_file, *token_file, *volume, *uri; /* the last two may be NULL */
    uint32_t validity_s;
    void (*on_identity)(void *owner, const struct proxy_identity_held *held);
    void *owner;
    struct proxy_whereabouts *whereabouts;
    struct fl_grpc_client *client;
    struct fl_grpc_call *call;
    struct fl_backoff backoff;
    enum state state;
    struct fl_timer timer;
    time_t due;                  /* of the next attempt; 0: when the timer says */
    struct fl_key *key;          /* of the call under way */
    struct proxy_credential own; /* in use; zeroed: none yet */
    char trouble[TROUBLE_MAX];   /* of the last attempt; empty: none */
    bool started;                /* the volume was looked at */
    struct fl_counter *renewed, *failed;
    struct fl_gauge *expiry;
};

/* --- waiting --- */

static void on_due(struct fl_timer *timer);

static uint64_t random_below(uint64_t bound)
{
    uint64_t number;
    if (bound == 0 || getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
        return bound / 2;
    return number % bound;
}

static void wait_until(struct proxy_identity *identity, time_t due)
{
    int64_t wait_s = due - time(NULL);
    identity->due = due;
    if (wait_s > WAIT_MAX_S)
        wait_s = WAIT_MAX_S;
    fl_timer_set(identity->loop, &identity->timer, wait_s > 0 ? (uint64_t)wait_s * 1000 : 0, on_due);
}

/* Half of its life from when we got it, a tenth of that earlier or later: many proxies that started together do not
 * come back together. Of one that the volume held we know only when it began, which is earlier. */
static void wait_for_renewal(struct proxy_identity *identity, time_t from)
{
    time_t now = time(NULL);
    int64_t life_s = identity->own.not_after - from;
    uint64_t jitter = random_below((uint64_t)life_s / 10 + 1);
    time_t due = from + life_s / 2 - life_s / 20 + (time_t)jitter;
    wait_until(identity, from == now && due <= now ? now + 1 : due);
}

static void finish_attempt(struct proxy_identity *identity)
{
    identity->state = WAITING;
    fl_grpc_call_cancel(identity->call);
    identity->call = NULL;
    identity->key = fl_key_unref(identity->key);
    proxy_whereabouts_cancel(identity->whereabouts);
    fl_grpc_client_close(identity->client);
}

/* Sooner where what is in use does not last for long; such hurry is no reason to wait for longer when it is over. */
static uint64_t retry_delay(struct proxy_identity *identity)
{
    uint64_t delay = fl_backoff_next(&identity->backoff);
    int64_t left_s = identity->own.not_after - time(NULL);
    if (left_s > 0 && delay > (uint64_t)left_s * 250) {
        delay = (uint64_t)left_s * 250;
        fl_backoff_reset(&identity->backoff);
    }
    return delay > RETRY_LEAST ? delay : RETRY_LEAST;
}

static void fail_attempt(struct proxy_identity *identity, const char *reason)
{
    finish_attempt(identity);
    uint64_t delay = retry_delay(identity);
    bool valid = identity->own.not_after > time(NULL);
    fl_counter_add(identity->failed, 1);
    snprintf(identity->trouble, sizeof(identity->trouble), "%s", reason);
    fl_log(valid ? FL_LOG_WARNING : FL_LOG_ERROR, "no certificate", FL_LOG_STR("reason", reason),
           FL_LOG_NUM("retry_ms", delay), FL_LOG_NUM("not_after", identity->own.not_after));
    identity->due = 0;
    fl_timer_set(identity->loop, &identity->timer, delay, on_due);
}

/* --- a new certificate --- */

static void fill_held(const struct proxy_credential *own, struct proxy_identity_held *held)
{
    *held = (struct proxy_identity_held){.key = own->key,
                                         .chain = own->chain,
                                         .roots = own->roots,
                                         .uri = own->uri,
                                         .not_before = own->not_before,
                                         .not_after = own->not_after};
}

/* Takes `credential` over. The callback may free us: nothing of ours is touched behind it. */
static void put_in_use(struct proxy_identity *identity, struct proxy_credential *credential, time_t from)
{
    struct proxy_identity_held held;
    proxy_credential_done(&identity->own);
    identity->own = *credential;
    *credential = (struct proxy_credential){0};
    fl_gauge_set(identity->expiry, (double)identity->own.not_after);
    wait_for_renewal(identity, from);
    fill_held(&identity->own, &held);
    identity->on_identity(identity->owner, &held);
}

static struct fl_span expected_uri(const struct proxy_identity *identity)
{
    return identity->uri != NULL ? fl_span_str(identity->uri) : identity->own.uri;
}

/* All elements but the last are the chain, the last one is the roots. */
static int read_answer(struct proxy_identity *identity, struct fl_span message, struct proxy_credential *ret_credential,
                       struct fl_err *err)
{
    FL_CLEANUP(fl_arena_done) struct fl_arena arena;
    FL_CLEANUP(fl_buf_done) struct fl_buf chain;
    FL_CLEANUP(fl_buf_wipe) struct fl_buf key;
    struct fl_certificate_response answer;
    fl_arena_init(&arena, ARENA_MAX);
    fl_buf_init(&chain, PROXY_CREDENTIAL_PART_MAX);
    fl_buf_init(&key, FL_KEY_PEM_MAX);
    int result = fl_certificate_response_read(message, &arena, &answer, err);
    if (result < 0)
        return result;
    if (answer.count < 2)
        return fl_err_set(err, -EINVAL, "an answer without a certificate and its roots");
    for (size_t i = 0; i + 1 < answer.count && result == 0; i++) {
        result = fl_buf_append(&chain, answer.chain[i]);
        if (result == 0 && answer.chain[i].len > 0 && answer.chain[i].data[answer.chain[i].len - 1] != '\n')
            result = fl_buf_append_byte(&chain, '\n');
    }
    if (result == 0)
        result = fl_buf_reserve(&key, FL_KEY_PEM_MAX);
    if (result == 0)
        result = fl_key_print(identity->key, &key);
    if (result < 0)
        return fl_err_errno(err, result, "the answer");
    return proxy_credential_take(fl_buf_span(&key), fl_buf_span(&chain), answer.chain[answer.count - 1],
                                 expected_uri(identity), time(NULL), ret_credential, err);
}

static void store(const struct proxy_identity *identity, const struct proxy_credential *credential)
{
    struct fl_err err = {0};
    if (identity->volume != NULL && proxy_credential_store(credential, identity->volume, &err) < 0)
        fl_log(FL_LOG_WARNING, "certificate not kept", FL_LOG_STR("reason", err.text));
}

static void take_answer(struct proxy_identity *identity, struct fl_span message)
{
    struct proxy_credential credential;
    struct fl_err err = {0};
    if (read_answer(identity, message, &credential, &err) < 0) {
        fl_err_prefix(&err, "the answer is refused");
        fail_attempt(identity, err.text);
        return;
    }
    finish_attempt(identity);
    fl_backoff_reset(&identity->backoff);
    fl_counter_add(identity->renewed, 1);
    store(identity, &credential);
    identity->trouble[0] = '\0';
    fl_log(FL_LOG_INFO, "certificate received", FL_LOG_SPAN("identity", credential.uri),
           FL_LOG_NUM("not_after", credential.not_after));
    put_in_use(identity, &credential, time(NULL));
}

static void on_reply(void *owner, enum fl_grpc_status status, struct fl_span text, struct fl_span message)
{
    struct proxy_identity *identity = owner;
    struct fl_err err = {0};
    identity->call = NULL; /* over */
    if (status == FL_GRPC_OK) {
        take_answer(identity, message);
        return;
    }
    fl_err_set(&err, -EPROTO, "%s: %.*s", fl_grpc_status_text(status), FL_SPAN_ARG(text));
    fail_attempt(identity, err.text);
}

/* --- asking --- */

static int print_request(struct proxy_identity *identity, struct fl_arena *arena, struct fl_span *ret_wire,
                         struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf csr;
    struct fl_span uri = expected_uri(identity);
    fl_buf_init(&csr, FL_CSR_PEM_MAX);
    int result = fl_key_generate(&identity->key, err);
    if (result == 0)
        result = fl_csr_make(identity->key, uri.len > 0 ? uri : NAMELESS, &csr, err);
    if (result < 0)
        return result;
    const struct fl_certificate_request request = {.csr = fl_buf_span(&csr), .validity_s = identity->validity_s};
    result = fl_certificate_request_print(&request, arena, ret_wire);
    return result < 0 ? fl_err_errno(err, result, "request") : 0;
}

static int start_call(struct proxy_identity *identity, struct fl_err *err)
{
    FL_CLEANUP(fl_arena_done) struct fl_arena arena;
    FL_CLEANUP(fl_buf_wipe) struct fl_buf bearer;
    struct fl_span wire;
    fl_arena_init(&arena, ARENA_MAX);
    fl_buf_init(&bearer, PROXY_TOKEN_MAX + 16);
    int result = fl_buf_reserve(&bearer, bearer.max);
    if (result < 0)
        return fl_err_errno(err, result, "token");
    result = proxy_token_read(identity->token_file, &bearer, err);
    if (result == 0)
        result = print_request(identity, &arena, &wire, err);
    if (result < 0)
        return result;
    const struct fl_grpc_metadata metadata = {FL_SPAN("authorization"), fl_buf_span(&bearer)};
    const struct fl_grpc_call_options options = {.path = FL_SPAN(FL_CERTIFICATE_PATH),
                                                 .metadata = &metadata,
                                                 .metadata_count = 1,
                                                 .timeout_ms = PROXY_IDENTITY_CALL_MS};
    result = fl_grpc_call_unary(identity->client, &options, wire, on_reply, identity, &identity->call);
    return result < 0 ? fl_err_errno(err, result, "the call cannot be made") : 0;
}

static void on_connected(void *owner)
{
    struct proxy_identity *identity = owner;
    struct fl_err err = {0};
    identity->state = CALLING;
    if (start_call(identity, &err) < 0)
        fail_attempt(identity, err.text);
}

static void on_lost(void *owner, const struct fl_err *reason)
{
    struct proxy_identity *identity = owner;
    if (identity->state != WAITING) /* a call has told by itself */
        fail_attempt(identity, reason->text);
}

/* The roots of the file as it is now, and those that came with what is in use: during a rotation of either. */
static int read_roots(const struct proxy_identity *identity, struct fl_bundle **ret_bundle, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf pem;
    fl_buf_init(&pem, 2 * PROXY_CREDENTIAL_PART_MAX + 1);
    int result = fl_buf_read_file(&pem, identity->root_file);
    if (result < 0 && identity->own.roots.len == 0)
        return fl_err_errno(err, result, "roots %s", identity->root_file);
    result = fl_buf_append_byte(&pem, '\n');
    if (result == 0)
        result = fl_buf_append(&pem, identity->own.roots);
    return result < 0 ? fl_err_errno(err, result, "roots") : fl_bundle_parse(fl_buf_span(&pem), ret_bundle, err);
}

static int make_context(const struct proxy_identity *identity, struct fl_tls_context **ret_context, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_bundle) struct fl_bundle *bundle = NULL;
    const struct fl_span alpn = FL_SPAN("h2"), name = fl_span_str(identity->server_name);
    const struct fl_tls_name_match wanted = {FL_TLS_NAME_DNS, FL_TLS_MATCH_EXACT, name};
    int result = read_roots(identity, &bundle, err);
    if (result < 0)
        return result;
    const struct fl_tls_options options = {
        .bundle = bundle, .names = &wanted, .name_count = 1, .alpn = &alpn, .alpn_count = 1, .server_name = name};
    return fl_tls_context_new(&options, ret_context, err);
}

static void start_attempt(struct proxy_identity *identity)
{
    FL_CLEANUP(fl_cleanup_tls_context) struct fl_tls_context *context = NULL;
    struct fl_err err = {0};
    identity->state = CONNECTING;
    int result = make_context(identity, &context, &err);
    if (result == 0) {
        fl_grpc_client_set_tls(identity->client, context);
        result = proxy_whereabouts_connect(identity->whereabouts, identity->client);
        if (result < 0)
            fl_err_errno(&err, result, "cannot connect");
    }
    if (result < 0)
        fail_attempt(identity, err.text);
}

/* --- the volume, once --- */

static void look_at_volume(struct proxy_identity *identity)
{
    struct proxy_credential credential;
    struct fl_err err = {0};
    int result = identity->volume == NULL
                     ? -ENOENT
                     : proxy_credential_load(identity->volume, expected_uri(identity), time(NULL), &credential, &err);
    if (result == 0) {
        fl_log(FL_LOG_INFO, "certificate of before in use", FL_LOG_SPAN("identity", credential.uri),
               FL_LOG_NUM("not_after", credential.not_after));
        put_in_use(identity, &credential, credential.not_before);
        return;
    }
    if (result != -ENOENT)
        fl_log(FL_LOG_WARNING, "certificate of before refused", FL_LOG_STR("reason", err.text));
    start_attempt(identity);
}

static void on_due(struct fl_timer *timer)
{
    struct proxy_identity *identity = FL_CONTAINER_OF(timer, struct proxy_identity, timer);
    if (!identity->started) {
        identity->started = true;
        look_at_volume(identity);
    } else if (identity->due > time(NULL)) {
        wait_until(identity, identity->due);
    } else {
        start_attempt(identity);
    }
}

/* --- making it --- */

static int copy(const char *text, char **ret_copy)
{
    *ret_copy = text != NULL ? strdup(text) : NULL;
    return text != NULL && *ret_copy == NULL ? -ENOMEM : 0;
}

static int copy_options(const struct proxy_identity_options *options, struct proxy_identity *identity)
{
    int result = copy(options->server_name, &identity->server_name);
    if (result == 0)
        result = copy(options->root_file, &identity->root_file);
    if (result == 0)
        result = copy(options->token_file, &identity->token_file);
    if (result == 0)
        result = copy(options->volume, &identity->volume);
    if (result == 0)
        result = copy(options->uri, &identity->uri);
    identity->validity_s = options->validity_s > 0 ? options->validity_s : PROXY_IDENTITY_VALIDITY_S;
    identity->on_identity = options->on_identity;
    identity->owner = options->owner;
    identity->loop = options->loop;
    return result;
}

static int check_options(const struct proxy_identity_options *options, struct fl_err *err)
{
    if (options->server_name == NULL || options->server_name[0] == '\0')
        return fl_err_set(err, -EINVAL, "no server name of the certificate authority");
    if (options->root_file == NULL || options->token_file == NULL)
        return fl_err_set(err, -EINVAL, "no file of %s", options->root_file == NULL ? "roots" : "a token");
    return options->uri != NULL ? fl_spiffe_check(fl_span_str(options->uri), NULL, err) : 0;
}

static int set_up(const struct proxy_identity_options *options, struct proxy_identity *identity, struct fl_err *err)
{
    static const struct fl_grpc_client_ops ops = {on_connected, on_lost};
    if (copy_options(options, identity) < 0)
        return fl_err_set(err, -ENOMEM, "identity: out of memory");
    const struct proxy_whereabouts_options whereabouts = {.loop = options->loop,
                                                          .places = options->places,
                                                          .resolv_conf = options->resolv_conf,
                                                          .on_failed = on_lost,
                                                          .owner = identity};
    int result = proxy_whereabouts_new(&whereabouts, &identity->whereabouts, err);
    if (result < 0)
        return fl_err_prefix(err, "certificate authority"), result;
    const struct fl_grpc_client_options for_client = {.authority = fl_span_str(identity->server_name),
                                                      .message_max = ANSWER_MAX};
    return fl_grpc_client_new(options->loop, &for_client, &ops, identity, &identity->client, err);
}

static void release(struct proxy_identity *identity)
{
    proxy_whereabouts_free(identity->whereabouts);
    free(identity->server_name);
    free(identity->root_file);
    free(identity->token_file);
    free(identity->volume);
    free(identity->uri);
    free(identity);
}

int proxy_identity_new(const struct proxy_identity_options *options, struct proxy_identity **ret_identity,
                       struct fl_err *err)
{
    static const struct fl_span success = FL_SPAN("success"), failure = FL_SPAN("failure");
    int result = check_options(options, err);
    if (result < 0)
        return result;
    struct proxy_identity *identity = calloc(1, sizeof(*identity));
    if (identity == NULL)
        return fl_err_set(err, -ENOMEM, "identity: out of memory");
    result = set_up(options, identity, err);
    if (result < 0) {
        release(identity);
        return result;
    }
    fl_backoff_init(&identity->backoff, options->backoff_ms > 0 ? options->backoff_ms : PROXY_IDENTITY_BACKOFF_MS,
                    PROXY_IDENTITY_BACKOFF_MAX_MS);
    identity->renewed = fl_metrics_counter(options->metrics, &renewals_family, &success);
    identity->failed = fl_metrics_counter(options->metrics, &renewals_family, &failure);
    identity->expiry = fl_metrics_gauge(options->metrics, &expiry_family, NULL);
    fl_timer_set(identity->loop, &identity->timer, 0, on_due);
    *ret_identity = identity;
    return 0;
}

struct proxy_identity *proxy_identity_free(struct proxy_identity *identity)
{
    if (identity == NULL)
        return NULL;
    fl_timer_cancel(&identity->timer);
    fl_grpc_client_free(identity->client);
    fl_key_unref(identity->key);
    proxy_credential_done(&identity->own);
    release(identity);
    return NULL;
}

const char *proxy_identity_trouble(const struct proxy_identity *identity)
{
    return identity->trouble[0] != '\0' ? identity->trouble : NULL;
}

bool proxy_identity_held(const struct proxy_identity *identity, struct proxy_identity_held *ret_held)
{
    if (identity->own.chain.len == 0)
        return false;
    fill_held(&identity->own, ret_held);
    return true;
}

void proxy_identity_renew(struct proxy_identity *identity)
{
    if (identity->state != WAITING)
        return;
    identity->due = 0;
    fl_timer_set(identity->loop, &identity->timer, 0, on_due);
}
