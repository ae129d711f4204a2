#include "control/ca/service.h"

#include "common/base/log.h"
#include "common/grpc/server.h"
#include "common/loop/loop.h"
#include "common/metrics/registry.h"
#include "common/pki/csr.h"
#include "common/xds/certificate.h"
#include "control/ca/quota.h"

#include <errno.h>
#include <stdio.h>

#define ARENA_MAX ((size_t)1 << 20) /* of a request, or of an answer */
#define PEM_END   FL_SPAN("-----END CERTIFICATE-----\n")
#define QUIET_MS  1000 /* between two lines on quotas */

/* Why a certificate is refused, beside what the authenticator says (its words are reasons too). X(id, word, status). */
#define REASONS(X)                                                                                                     \
    X(PEER_RATE, "peer_rate", RESOURCE_EXHAUSTED)                                                                      \
    X(IDENTITY_RATE, "identity_rate", RESOURCE_EXHAUSTED)                                                              \
    X(CALLS, "too_many_calls", RESOURCE_EXHAUSTED)                                                                     \
    X(REQUEST, "request_malformed", INVALID_ARGUMENT)                                                                  \
    X(CSR, "csr_refused", INVALID_ARGUMENT)                                                                            \
    X(IDENTITY, "identity_invalid", PERMISSION_DENIED)                                                                 \
    X(ISSUER_BUSY, "issuer_busy", RESOURCE_EXHAUSTED)                                                                  \
    X(ISSUER_REFUSED, "issuer_refused", INTERNAL)                                                                      \
    X(ISSUER_UNAVAILABLE, "issuer_unavailable", UNAVAILABLE)                                                           \
    X(CLIENT_GONE, "client_gone", CANCELLED)                                                                           \
    X(MEMORY, "no_memory", UNAVAILABLE)

enum reason {
#define X(id, word, status) REASON_##id,
    REASONS(X)
#undef X
        REASON_COUNT
};

static const struct {
    const char *word;
    enum fl_grpc_status status;
} reasons[] = {
#define X(id, word, status) [REASON_##id] = {word, FL_GRPC_##status},
    REASONS(X)
#undef X
};

static const char *const reason_label[] = {"reason"};
static const struct fl_metric_family issued_family = {.name = "fairlead_ca_certificates_issued_total",
                                                      .help = "Certificates issued by CreateCertificate.",
                                                      .kind = FL_METRIC_COUNTER};
static const struct fl_metric_family refused_family = {.name = "fairlead_ca_certificates_refused_total",
                                                       .help = "Calls of CreateCertificate that were refused.",
                                                       .kind = FL_METRIC_COUNTER,
                                                       .label_names = reason_label,
                                                       .label_count = 1};

struct control_certificates {
    struct fl_loop *loop;
    struct control_authority *authority;
    struct control_authenticator *authenticator;
    struct control_quota *peers, *identities;
    struct fl_counter *issued;
    struct fl_counter *refused[REASON_COUNT];
    struct fl_counter *unauthenticated[CONTROL_AUTH_OUTCOME_COUNT];
    size_t calls, vouched;               /* places taken: CONTROL_CERTIFICATE_CALLS_MAX, _VOUCHED_MAX */
    uint64_t quiet_until_ms, suppressed; /* lines on quotas */
};

struct call {
    struct control_certificates *service;
    struct fl_grpc_stream *stream;
    struct control_authentication authentication;
    struct control_issue issue;
    struct fl_buf request;  /* the message */
    struct fl_buf identity; /* of who was authenticated */
    size_t *places;         /* of the service: where its place is counted */
    bool vouched;           /* whoever calls has shown a certificate of ours */
    bool decided;           /* told and counted; on_closed is all that is to come */
};

/* --- the end of a call: one line, one count --- */

static void peer_text(const struct call *call, char text[FL_GRPC_ADDRESS_TEXT_MAX])
{
    fl_grpc_address_print(fl_grpc_stream_peer(call->stream), text);
}

static void log_refused(const struct call *call, const char *word, const char *detail, const char *known)
{
    char peer[FL_GRPC_ADDRESS_TEXT_MAX];
    peer_text(call, peer);
    fl_log(FL_LOG_WARNING, "certificate refused", FL_LOG_STR("reason", word), FL_LOG_STR("detail", detail),
           FL_LOG_STR("peer", peer),
           FL_LOG_SPAN("identity", call->identity.len > 0 ? fl_buf_span(&call->identity) : fl_span_str(known)));
}

static void refuse(struct call *call, enum reason reason, const char *detail)
{
    call->decided = true;
    fl_counter_add(call->service->refused[reason], 1);
    log_refused(call, reasons[reason].word, detail, "");
    fl_grpc_stream_finish(call->stream, reasons[reason].status,
                          reason == REASON_CSR || reason == REASON_REQUEST ? detail : reasons[reason].word);
}

/* For quotas alone: whoever floods us gets a line a second, and the rest of them counted. */
static void refuse_quietly(struct call *call, enum reason reason)
{
    struct control_certificates *service = call->service;
    uint64_t now_ms = fl_loop_now_ms(service->loop);
    char peer[FL_GRPC_ADDRESS_TEXT_MAX];
    call->decided = true;
    fl_counter_add(service->refused[reason], 1);
    if (now_ms >= service->quiet_until_ms) {
        peer_text(call, peer);
        fl_log(FL_LOG_WARNING, "certificate refused", FL_LOG_STR("reason", reasons[reason].word),
               FL_LOG_STR("peer", peer), FL_LOG_SPAN("identity", fl_buf_span(&call->identity)),
               FL_LOG_NUM("suppressed", service->suppressed));
        service->quiet_until_ms = now_ms + QUIET_MS;
        service->suppressed = 0;
    } else {
        service->suppressed++;
    }
    fl_grpc_stream_finish(call->stream, reasons[reason].status, reasons[reason].word);
}

/* The subject of a token that was ours, however it was refused. */
static void name_caller(const struct control_caller *caller, char *text, size_t size)
{
    if (caller->service_account[0] != '\0')
        snprintf(text, size, "%s/%s", caller->name_space, caller->service_account);
    else
        text[0] = '\0';
}

static void refuse_caller(struct call *call, enum control_auth_outcome outcome, const struct control_caller *caller)
{
    char known[sizeof(caller->name_space) + sizeof(caller->service_account)];
    const char *word = control_auth_word(outcome);
    call->decided = true;
    fl_counter_add(call->service->unauthenticated[outcome], 1);
    name_caller(caller, known, sizeof(known));
    log_refused(call, word, "", known);
    fl_grpc_stream_finish(call->stream, control_auth_is_final(outcome) ? FL_GRPC_UNAUTHENTICATED : FL_GRPC_UNAVAILABLE,
                          word);
}

/* --- the issuer's answer --- */

/* Each certificate of a PEM text as an element, then the roots as one. */
static bool fill_chain(struct fl_span pem, struct fl_span bundle, struct fl_certificate_response *response)
{
    response->count = 0;
    while (pem.len > 0 && response->count + 1 < FL_CERTIFICATE_CHAIN_MAX) {
        const char *end = memmem(pem.data, pem.len, PEM_END.data, PEM_END.len);
        if (end == NULL)
            return false;
        size_t len = (size_t)(end - pem.data) + PEM_END.len;
        response->chain[response->count++] = fl_span_make(pem.data, len);
        pem = fl_span_from(pem, len);
    }
    response->chain[response->count++] = bundle;
    return pem.len == 0 && bundle.len > 0;
}

static int reply(struct call *call, const struct control_issued *issued)
{
    FL_CLEANUP(fl_arena_done) struct fl_arena arena;
    struct fl_certificate_response response;
    struct fl_span wire;
    fl_arena_init(&arena, ARENA_MAX);
    if (!fill_chain(issued->chain, control_authority_bundle(call->service->authority), &response))
        return -EINVAL;
    int result = fl_certificate_response_print(&response, &arena, &wire);
    if (result == 0)
        fl_grpc_stream_reply(call->stream, wire);
    return result;
}

static void log_issued(const struct call *call, const struct control_issued *issued)
{
    char peer[FL_GRPC_ADDRESS_TEXT_MAX];
    peer_text(call, peer);
    fl_log(FL_LOG_INFO, "certificate issued", FL_LOG_SPAN("identity", fl_buf_span(&call->identity)),
           FL_LOG_SPAN("serial", issued->serial), FL_LOG_NUM("not_after", issued->not_after), FL_LOG_STR("peer", peer));
}

static enum reason reason_of(enum control_issue_outcome outcome)
{
    return outcome == CONTROL_ISSUE_REFUSED ? REASON_ISSUER_REFUSED
           : outcome == CONTROL_ISSUE_BUSY  ? REASON_ISSUER_BUSY
                                            : REASON_ISSUER_UNAVAILABLE;
}

static void on_issued(struct control_issue *issue, enum control_issue_outcome outcome,
                      const struct control_issued *issued, const char *reason)
{
    struct call *call = FL_CONTAINER_OF(issue, struct call, issue);
    if (outcome != CONTROL_ISSUE_OK) {
        refuse(call, reason_of(outcome), reason);
        return;
    }
    int result = reply(call, issued);
    if (result < 0) {
        refuse(call, result == -ENOMEM ? REASON_MEMORY : REASON_ISSUER_REFUSED, "its answer cannot be passed on");
        return;
    }
    call->decided = true;
    fl_counter_add(call->service->issued, 1);
    log_issued(call, issued);
}

/* --- the caller, then what is asked for --- */

static uint32_t validity_of(int64_t asked_s, uint32_t longest_s)
{
    return asked_s <= 0 || asked_s > longest_s ? longest_s : (uint32_t)asked_s;
}

static void issue(struct call *call)
{
    FL_CLEANUP(fl_arena_done) struct fl_arena arena;
    FL_CLEANUP(fl_cleanup_key) struct fl_key *key = NULL;
    struct control_authority *authority = call->service->authority;
    struct fl_certificate_request request;
    struct fl_err err = {0};
    fl_arena_init(&arena, ARENA_MAX);
    int result = fl_certificate_request_read(fl_buf_span(&call->request), &arena, &request, &err);
    if (result < 0) {
        refuse(call, result == -ENOMEM ? REASON_MEMORY : REASON_REQUEST, err.text);
        return;
    }
    result = fl_csr_parse(request.csr, &key, &err);
    if (result < 0) {
        refuse(call, result == -ENOMEM ? REASON_MEMORY : REASON_CSR, err.text);
        return;
    }
    call->issue.on_done = on_issued;
    control_issuer_sign(control_authority_issuer(authority), &call->issue, fl_buf_span(&call->identity), key,
                        validity_of(request.validity_s, control_authority_validity(authority)));
}

static void on_authenticated(struct control_authentication *authentication, enum control_auth_outcome outcome,
                             const struct control_caller *caller)
{
    struct call *call = FL_CONTAINER_OF(authentication, struct call, authentication);
    struct control_certificates *service = call->service;
    struct fl_err err = {0};
    if (outcome != CONTROL_AUTH_OK) {
        refuse_caller(call, outcome, caller);
        return;
    }
    int result =
        control_caller_identity(caller, control_authority_trust_domain(service->authority), &call->identity, &err);
    if (result < 0)
        refuse(call, result == -ENOMEM ? REASON_MEMORY : REASON_IDENTITY, err.text);
    else if (!control_quota_take(service->identities, fl_buf_span(&call->identity), fl_loop_now_ms(service->loop)))
        refuse_quietly(call, REASON_IDENTITY_RATE);
    else
        issue(call);
}

/* --- the stream --- */

static void on_message(void *owner, struct fl_span message)
{
    struct call *call = owner;
    if (call->decided)
        return;
    if (message.len > CONTROL_CERTIFICATE_REQUEST_MAX) {
        refuse(call, REASON_REQUEST, "the message is too long");
        return;
    }
    if (fl_buf_append(&call->request, message) < 0) {
        refuse(call, REASON_MEMORY, "");
        return;
    }
    call->authentication.on_done = on_authenticated;
    call->authentication.peer = fl_grpc_address_source(fl_grpc_stream_peer(call->stream));
    call->authentication.vouched = call->vouched;
    control_authenticate(call->service->authenticator, &call->authentication,
                         fl_grpc_stream_metadata(call->stream, "authorization"));
}

/* Where there is one for another call; NULL: nowhere. Who is vouched for takes everybody's, too, once his own are
 * taken: a few of them that dawdle would keep the others out. */
static size_t *places_for(struct control_certificates *service, bool vouched)
{
    if (vouched && service->vouched < CONTROL_CERTIFICATE_VOUCHED_MAX)
        return &service->vouched;
    return service->calls < CONTROL_CERTIFICATE_CALLS_MAX ? &service->calls : NULL;
}

static void on_closed(void *owner)
{
    struct call *call = owner;
    control_authentication_cancel(&call->authentication);
    control_issuer_cancel(&call->issue);
    if (!call->decided) {
        fl_counter_add(call->service->refused[REASON_CLIENT_GONE], 1);
        log_refused(call, reasons[REASON_CLIENT_GONE].word, "", "");
    }
    *call->places -= 1;
    fl_buf_done(&call->request);
    fl_buf_done(&call->identity);
    free(call);
}

static void open_call(void *context, struct fl_grpc_stream *stream)
{
    static const struct fl_grpc_stream_ops ops = {.on_message = on_message, .on_closed = on_closed};
    struct control_certificates *service = context;
    bool vouched = fl_grpc_stream_identity(stream).len > 0;
    size_t *places = places_for(service, vouched);
    struct call *call = places != NULL ? calloc(1, sizeof(*call)) : NULL;
    struct call refused = {.service = service, .stream = stream};
    if (call == NULL) {
        refuse_quietly(&refused, REASON_CALLS);
        return;
    }
    struct fl_span source = fl_grpc_address_source(fl_grpc_stream_peer(stream));
    if (!control_quota_take(service->peers, source, fl_loop_now_ms(service->loop))) {
        refuse_quietly(&refused, REASON_PEER_RATE);
        free(call);
        return;
    }
    *call = (struct call){.service = service, .stream = stream, .places = places, .vouched = vouched};
    fl_buf_init(&call->request, CONTROL_CERTIFICATE_REQUEST_MAX);
    fl_buf_init(&call->identity, FL_IDENTITY_MAX);
    *places += 1;
    fl_grpc_stream_accept(stream, &ops, call);
}

void control_certificates_method(struct control_certificates *certificates, struct fl_grpc_method *ret_method)
{
    *ret_method =
        (struct fl_grpc_method){.path = FL_CERTIFICATE_PATH, .open = open_call, .context = certificates, .unary = true};
}

/* --- making it --- */

static struct fl_counter *refused_counter(struct fl_metrics *metrics, const char *word)
{
    const struct fl_span value = fl_span_str(word);
    return fl_metrics_counter(metrics, &refused_family, &value);
}

static void set_up_metrics(struct control_certificates *certificates, struct fl_metrics *metrics)
{
    certificates->issued = fl_metrics_counter(metrics, &issued_family, NULL);
    for (size_t i = 0; i < REASON_COUNT; i++)
        certificates->refused[i] = refused_counter(metrics, reasons[i].word);
    for (size_t i = CONTROL_AUTH_OK + 1; i < CONTROL_AUTH_OUTCOME_COUNT; i++)
        certificates->unauthenticated[i] = refused_counter(metrics, control_auth_word((enum control_auth_outcome)i));
}

int control_certificates_new(const struct control_certificates_options *options,
                             struct control_certificates **ret_certificates)
{
    struct control_certificates *certificates = calloc(1, sizeof(*certificates));
    if (certificates == NULL)
        return -ENOMEM;
    *certificates = (struct control_certificates){
        .loop = options->loop, .authority = options->authority, .authenticator = options->authenticator};
    int result = control_quota_new(options->peer_rate, options->peer_burst, &certificates->peers);
    if (result == 0)
        result = control_quota_new(options->identity_rate, options->identity_burst, &certificates->identities);
    if (result < 0) {
        control_certificates_free(certificates);
        return result;
    }
    set_up_metrics(certificates, options->metrics);
    *ret_certificates = certificates;
    return 0;
}

struct control_certificates *control_certificates_free(struct control_certificates *certificates)
{
    if (certificates == NULL)
        return NULL;
    control_quota_free(certificates->peers);
    control_quota_free(certificates->identities);
    free(certificates);
    return NULL;
}
