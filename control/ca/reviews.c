#include "control/ca/reviews.h"

#include "common/base/log.h"
#include "common/base/log_limit.h"
#include "common/base/map.h"
#include "common/loop/timer.h"
#include "common/metrics/registry.h"
#include "control/ca/quota.h"
#include "control/ca/review.h"
#include "control/ca/token.h"
#include "control/ca/verdicts.h"

#include <errno.h>
#include <sys/queue.h>

#define RATE_LOOK_MS 20 /* until the rate of all lets one more through */
#define BODY_MAX     (2 * CONTROL_TOKEN_MAX)

static const char *const outcome_label[] = {"outcome"};
static const struct fl_metric_family reviews_family = {.name = "fairlead_ca_token_reviews_total",
                                                       .help = "Tokens that the API server was asked about.",
                                                       .kind = FL_METRIC_COUNTER,
                                                       .label_names = outcome_label,
                                                       .label_count = 1};
static const struct fl_metric_family known_family = {.name = "fairlead_ca_token_reviews_known_total",
                                                     .help = "Tokens that were judged by what was said of them before.",
                                                     .kind = FL_METRIC_COUNTER};
static const struct fl_metric_family waiting_family = {.name = "fairlead_ca_token_reviews_waiting",
                                                       .help = "Tokens that wait to be asked about.",
                                                       .kind = FL_METRIC_GAUGE};

enum word { WORD_ACCEPTED, WORD_REFUSED, WORD_FAILED, WORD_RATE, WORD_LATE, WORD_COUNT };
static const char *const words[] = {"accepted", "refused", "failed", "peer_rate", "late"};

struct waiter { /* one caller */
    struct control_authentication *authentication;
    struct review *review;
    TAILQ_ENTRY(waiter) link;
};

TAILQ_HEAD(waiters, waiter);

struct review { /* one token, waiting or under way */
    struct reviews *reviews;
    unsigned char digest[FL_DIGEST_SIZE];
    struct control_caller claimed; /* what it says of itself, which counts once it is known to be genuine */
    struct fl_buf body;            /* until it is sent */
    struct fl_kube_exchange *exchange;
    struct waiters waiters;
    char peer[64]; /* who asked first */
    size_t peer_len;
    uint64_t late_ms;
    bool vouched, queued, mapped;
    TAILQ_ENTRY(review) link; /* of a queue, while it is queued */
};

TAILQ_HEAD(queue, review);

struct reviews {
    struct control_authenticator authenticator;
    struct fl_loop *loop;
    struct fl_kube_client *client;
    char *audience;
    enum control_reviews_pod (*look_up)(void *owner, const struct control_caller *caller);
    void *owner;
    struct control_verdicts *verdicts;
    struct control_quota *rate, *peers;
    struct fl_map map;            /* of struct review, by digest */
    struct queue vouched, others; /* each the oldest first */
    size_t queued, queued_vouched /* of these */, under_way;
    struct fl_timer timer;
    struct fl_log_limit told;
    struct fl_counter *counters[WORD_COUNT], *known;
    struct fl_gauge *waiting;
};

static void pump(struct reviews *reviews);

/* --- the end of a review --- */

static void leave_map(struct review *review)
{
    if (review->mapped)
        fl_map_remove(&review->reviews->map, fl_span_make(review->digest, FL_DIGEST_SIZE));
    review->mapped = false;
}

static void leave_queue(struct review *review)
{
    struct reviews *reviews = review->reviews;
    if (!review->queued)
        return;
    review->queued = false;
    if (review->vouched) {
        TAILQ_REMOVE(&reviews->vouched, review, link);
        reviews->queued_vouched--;
    } else {
        TAILQ_REMOVE(&reviews->others, review, link);
    }
    reviews->queued--;
    fl_gauge_set(reviews->waiting, (double)reviews->queued);
}

static void join_queue(struct review *review, bool vouched)
{
    struct reviews *reviews = review->reviews;
    review->vouched = vouched;
    if (vouched) {
        TAILQ_INSERT_TAIL(&reviews->vouched, review, link);
        reviews->queued_vouched++;
    } else {
        TAILQ_INSERT_TAIL(&reviews->others, review, link);
    }
    review->queued = true;
    reviews->queued++;
    fl_gauge_set(reviews->waiting, (double)reviews->queued);
}

static bool has_place(const struct reviews *reviews, bool vouched)
{
    return vouched ? reviews->queued_vouched < CONTROL_REVIEWS_VOUCHED
                   : reviews->queued - reviews->queued_vouched < CONTROL_REVIEWS_WAITING;
}

/* Who is vouched for takes everybody's place, too, once his own are taken. */
static bool has_any_place(const struct reviews *reviews, bool vouched)
{
    return (vouched && has_place(reviews, true)) || has_place(reviews, false);
}

/* One that waits already, and now for somebody who is vouched for, too. */
static void promote(struct review *review)
{
    if (!review->queued || review->vouched || !has_place(review->reviews, true))
        return;
    leave_queue(review);
    join_queue(review, true);
}

/* Nobody is told. */
static void free_review(struct review *review)
{
    struct reviews *reviews = review->reviews;
    struct waiter *waiter;
    leave_queue(review);
    if (review->exchange != NULL) {
        review->exchange = fl_kube_cancel(review->exchange);
        reviews->under_way--;
    }
    leave_map(review);
    while ((waiter = TAILQ_FIRST(&review->waiters)) != NULL) {
        TAILQ_REMOVE(&review->waiters, waiter, link);
        waiter->authentication->authenticator = NULL;
        free(waiter);
    }
    fl_buf_wipe(&review->body);
    free(review);
}

/* A callback may cancel others of them, and begin new ones. */
static void conclude(struct review *review, enum control_auth_outcome outcome, const struct control_caller *caller)
{
    struct waiter *waiter;
    leave_map(review); /* who comes now is not for it */
    leave_queue(review);
    while ((waiter = TAILQ_FIRST(&review->waiters)) != NULL) {
        struct control_authentication *authentication = waiter->authentication;
        TAILQ_REMOVE(&review->waiters, waiter, link);
        free(waiter);
        authentication->authenticator = NULL;
        authentication->on_done(authentication, outcome, caller);
    }
    free_review(review);
}

static void drop(struct review *review, enum word word, enum control_auth_outcome outcome)
{
    static const struct control_caller nobody;
    fl_counter_add(review->reviews->counters[word], 1);
    conclude(review, outcome, &nobody);
}

/* --- the API server's answer --- */

static void keep(struct review *review, enum control_auth_outcome outcome, const struct control_caller *caller)
{
    struct control_verdict verdict = {
        .outcome = outcome, .caller = *caller, .made_ms = fl_loop_now_ms(review->reviews->loop)};
    int64_t left_s = (int64_t)caller->expires - (int64_t)time(NULL);
    uint64_t left_ms = left_s > 0 ? (uint64_t)left_s * 1000 : 0;
    uint64_t keep_ms = outcome == CONTROL_AUTH_OK ? CONTROL_REVIEWS_ACCEPTED_MS : CONTROL_REVIEWS_REFUSED_MS;
    verdict.until_ms = verdict.made_ms + (keep_ms < left_ms ? keep_ms : left_ms);
    control_verdicts_put(review->reviews->verdicts, review->digest, &verdict);
}

static void punish(const struct review *review)
{
    struct reviews *reviews = review->reviews;
    struct fl_span peer = fl_span_make(review->peer, review->peer_len);
    for (int i = 1; i < CONTROL_REVIEWS_REFUSAL_COST && peer.len > 0; i++) {
        if (!control_quota_take(reviews->peers, peer, fl_loop_now_ms(reviews->loop)))
            return;
    }
}

static void tell_trouble(struct reviews *reviews, const struct fl_err *err)
{
    uint64_t suppressed = 0;
    if (fl_log_limit_take(&reviews->told, fl_loop_now_ms(reviews->loop), &suppressed))
        fl_log(FL_LOG_WARNING, "token not reviewed", FL_LOG_STR("error", err->text),
               FL_LOG_NUM("suppressed", suppressed));
}

static void on_answer(void *owner, const struct fl_kube_answer *answer)
{
    struct review *review = owner;
    struct reviews *reviews = review->reviews;
    struct control_caller caller = {0};
    struct fl_err err = {0};
    enum control_auth_outcome outcome = CONTROL_AUTH_UNAVAILABLE;
    review->exchange = NULL;
    reviews->under_way--;
    if (fl_kube_answer_check(answer, &err) == 0)
        outcome = control_review_read(answer->body, reviews->audience, &caller, &err);
    caller.expires = review->claimed.expires;
    if (!control_auth_is_final(outcome)) {
        tell_trouble(reviews, &err);
    } else {
        keep(review, outcome, &caller);
        if (outcome != CONTROL_AUTH_OK)
            punish(review);
    }
    fl_counter_add(reviews->counters[outcome == CONTROL_AUTH_OK            ? WORD_ACCEPTED
                                     : outcome == CONTROL_AUTH_UNAVAILABLE ? WORD_FAILED
                                                                           : WORD_REFUSED],
                   1);
    conclude(review, outcome, outcome == CONTROL_AUTH_OK ? &caller : &review->claimed);
    pump(reviews);
}

/* --- the queue --- */

static void on_due(struct fl_timer *timer)
{
    pump(FL_CONTAINER_OF(timer, struct reviews, timer));
}

static void send(struct review *review)
{
    struct reviews *reviews = review->reviews;
    struct fl_err err = {0};
    const struct fl_kube_request request = {.method = "POST",
                                            .path = CONTROL_REVIEW_PATH,
                                            .body = fl_buf_span(&review->body),
                                            .body_max = CONTROL_REVIEW_ANSWER_MAX,
                                            .timeout_ms = CONTROL_REVIEWS_REQUEST_MS,
                                            .on_done = on_answer,
                                            .owner = review};
    leave_queue(review);
    int result = fl_kube_send(reviews->client, &request, &review->exchange, &err);
    fl_buf_wipe(&review->body);
    if (result < 0) {
        review->exchange = NULL;
        tell_trouble(reviews, &err);
        drop(review, WORD_FAILED, CONTROL_AUTH_UNAVAILABLE);
    } else {
        reviews->under_way++;
    }
}

static void drop_late(struct queue *queue, uint64_t now_ms)
{
    struct review *review;
    while ((review = TAILQ_FIRST(queue)) != NULL && review->late_ms <= now_ms)
        drop(review, WORD_LATE, CONTROL_AUTH_BUSY);
}

/* Sends what may be sent, sends away who waited for too long, and comes again while somebody waits. */
static void pump(struct reviews *reviews)
{
    uint64_t now_ms = fl_loop_now_ms(reviews->loop);
    drop_late(&reviews->vouched, now_ms);
    drop_late(&reviews->others, now_ms);
    while (reviews->under_way < CONTROL_REVIEWS_UNDER_WAY && reviews->queued > 0) {
        struct review *first =
            !TAILQ_EMPTY(&reviews->vouched) ? TAILQ_FIRST(&reviews->vouched) : TAILQ_FIRST(&reviews->others);
        if (!control_quota_take(reviews->rate, FL_SPAN("all"), now_ms))
            break;
        send(first);
    }
    if (reviews->queued > 0 && !fl_timer_is_set(&reviews->timer))
        fl_timer_set(reviews->loop, &reviews->timer, RATE_LOOK_MS, on_due);
}

static int start_review(struct reviews *reviews, const unsigned char digest[FL_DIGEST_SIZE], struct fl_span token,
                        const struct control_authentication *authentication, const struct control_caller *claimed,
                        struct review **ret_review)
{
    struct review *review = calloc(1, sizeof(*review));
    if (review == NULL)
        return -ENOMEM;
    review->reviews = reviews;
    TAILQ_INIT(&review->waiters);
    fl_buf_init(&review->body, BODY_MAX);
    memcpy(review->digest, digest, FL_DIGEST_SIZE);
    review->claimed = *claimed;
    review->peer_len =
        authentication->peer.len < sizeof(review->peer) ? authentication->peer.len : sizeof(review->peer);
    if (review->peer_len > 0)
        memcpy(review->peer, authentication->peer.data, review->peer_len);
    review->late_ms = fl_loop_now_ms(reviews->loop) + CONTROL_REVIEWS_WAIT_MS;
    int result = control_review_print(token, reviews->audience, &review->body);
    if (result == 0)
        result = fl_map_put(&reviews->map, fl_span_make(review->digest, FL_DIGEST_SIZE), review);
    if (result < 0) {
        fl_buf_wipe(&review->body);
        free(review);
        return result;
    }
    review->mapped = true;
    join_queue(review, authentication->vouched && has_place(reviews, true));
    *ret_review = review;
    return 0;
}

static int join(struct review *review, struct control_authentication *authentication)
{
    struct waiter *waiter = malloc(sizeof(*waiter));
    if (waiter == NULL)
        return -ENOMEM;
    *waiter = (struct waiter){.authentication = authentication, .review = review};
    TAILQ_INSERT_TAIL(&review->waiters, waiter, link);
    authentication->authenticator = &review->reviews->authenticator;
    authentication->state = waiter;
    return 0;
}

/* --- a caller --- */

/* Whether what was said before still counts. */
static bool is_settled(struct reviews *reviews, const struct control_verdict *verdict)
{
    if (verdict->outcome != CONTROL_AUTH_OK || verdict->caller.pod[0] == '\0' || reviews->look_up == NULL ||
        fl_loop_now_ms(reviews->loop) - verdict->made_ms < CONTROL_REVIEWS_SETTLE_MS)
        return true;
    return reviews->look_up(reviews->owner, &verdict->caller) != CONTROL_REVIEWS_POD_GONE;
}

static bool is_within_rate(struct reviews *reviews, struct fl_span peer)
{
    if (peer.len == 0 || control_quota_take(reviews->peers, peer, fl_loop_now_ms(reviews->loop)))
        return true;
    fl_counter_add(reviews->counters[WORD_RATE], 1);
    return false;
}

/* OK: it waits now. Another outcome: it is over. */
static enum control_auth_outcome ask(struct reviews *reviews, struct control_authentication *authentication,
                                     struct fl_span token, const unsigned char digest[FL_DIGEST_SIZE],
                                     const struct control_caller *claimed)
{
    struct review *review = fl_map_get(&reviews->map, fl_span_make(digest, FL_DIGEST_SIZE));
    bool is_new = review == NULL;
    if (is_new && (!has_any_place(reviews, authentication->vouched) || !is_within_rate(reviews, authentication->peer)))
        return CONTROL_AUTH_BUSY;
    if (!is_new && authentication->vouched)
        promote(review);
    int result = is_new ? start_review(reviews, digest, token, authentication, claimed, &review) : 0;
    if (result == 0) {
        result = join(review, authentication);
        if (result < 0 && is_new)
            free_review(review);
    }
    return result == 0 ? CONTROL_AUTH_OK : CONTROL_AUTH_UNAVAILABLE;
}

static void begin(struct control_authenticator *authenticator, struct control_authentication *authentication,
                  struct fl_span token)
{
    struct reviews *reviews = FL_CONTAINER_OF(authenticator, struct reviews, authenticator);
    unsigned char digest[FL_DIGEST_SIZE];
    struct control_caller claimed;
    enum control_auth_outcome outcome = control_token_claims(token, reviews->audience, time(NULL), &claimed);
    if (outcome == CONTROL_AUTH_OK && fl_digest(token, digest) < 0)
        outcome = CONTROL_AUTH_UNAVAILABLE;
    if (outcome != CONTROL_AUTH_OK) {
        authentication->on_done(authentication, outcome, &claimed);
        return;
    }
    const struct control_verdict *verdict =
        control_verdicts_get(reviews->verdicts, digest, fl_loop_now_ms(reviews->loop));
    if (verdict != NULL && is_settled(reviews, verdict)) {
        const struct control_verdict said = *verdict; /* the callback may drive it out */
        fl_counter_add(reviews->known, 1);
        authentication->on_done(authentication, said.outcome, &said.caller);
        return;
    }
    outcome = ask(reviews, authentication, token, digest, &claimed);
    if (outcome != CONTROL_AUTH_OK)
        authentication->on_done(authentication, outcome, &claimed);
    else
        pump(reviews);
}

static void cancel(struct control_authenticator *authenticator, struct control_authentication *authentication)
{
    struct waiter *waiter = authentication->state;
    struct review *review = waiter->review;
    (void)authenticator;
    TAILQ_REMOVE(&review->waiters, waiter, link);
    free(waiter);
    if (TAILQ_EMPTY(&review->waiters) && review->queued) /* what is under way goes on: its answer is kept */
        free_review(review);
}

/* --- its life --- */

static void free_reviews(struct control_authenticator *authenticator)
{
    struct reviews *reviews = FL_CONTAINER_OF(authenticator, struct reviews, authenticator);
    void *review;
    for (size_t cursor = 0; fl_map_next(&reviews->map, &cursor, NULL, &review);)
        free_review(review);
    fl_timer_cancel(&reviews->timer);
    fl_map_done(&reviews->map);
    control_verdicts_free(reviews->verdicts);
    control_quota_free(reviews->rate);
    control_quota_free(reviews->peers);
    free(reviews->audience);
    free(reviews);
}

static int set_up(struct reviews *reviews, const struct control_reviews_options *options)
{
    uint32_t rate = options->rate > 0 ? options->rate : CONTROL_REVIEWS_RATE;
    uint32_t peer_rate = options->peer_rate > 0 ? options->peer_rate : CONTROL_REVIEWS_PEER_RATE;
    reviews->audience = strdup(options->audience);
    int result = reviews->audience == NULL ? -ENOMEM : 0;
    if (result == 0)
        result = control_verdicts_new(CONTROL_REVIEWS_ACCEPTED, CONTROL_REVIEWS_REFUSED, &reviews->verdicts);
    if (result == 0)
        result = control_quota_new(rate, 2 * rate, &reviews->rate);
    if (result == 0)
        result = control_quota_new(peer_rate, 4 * peer_rate, &reviews->peers);
    return result;
}

int control_reviews_new(const struct control_reviews_options *options, struct control_authenticator **ret_authenticator)
{
    struct reviews *reviews = calloc(1, sizeof(*reviews));
    if (reviews == NULL)
        return -ENOMEM;
    reviews->authenticator = (struct control_authenticator){.begin = begin, .cancel = cancel, .free = free_reviews};
    reviews->loop = options->loop;
    reviews->client = options->client;
    reviews->look_up = options->look_up;
    reviews->owner = options->owner;
    TAILQ_INIT(&reviews->vouched);
    TAILQ_INIT(&reviews->others);
    fl_map_init(&reviews->map, CONTROL_REVIEWS_WAITING + CONTROL_REVIEWS_VOUCHED + CONTROL_REVIEWS_UNDER_WAY);
    int result = set_up(reviews, options);
    if (result < 0) {
        free_reviews(&reviews->authenticator);
        return result;
    }
    for (size_t i = 0; i < WORD_COUNT; i++) {
        const struct fl_span value = fl_span_str(words[i]);
        reviews->counters[i] = fl_metrics_counter(options->metrics, &reviews_family, &value);
    }
    reviews->known = fl_metrics_counter(options->metrics, &known_family, NULL);
    reviews->waiting = fl_metrics_gauge(options->metrics, &waiting_family, NULL);
    *ret_authenticator = &reviews->authenticator;
    return 0;
}
