#include "webhook/keeper/state.h"

#include "common/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#define CONFIGURATIONS "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
#define PATH_MAX_BYTES 4096
#define SETTLE_MS      20 /* a change is looked at a little later: several come together */

static void look(struct keeper *keeper);
static void ask_next(struct keeper *keeper);

static void forget(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->object_count; i++) {
        keeper->objects[i] = fl_json_free(keeper->objects[i]);
        keeper_configuration_done(&keeper->configurations[i]);
    }
    keeper->object_count = keeper->asked = 0;
    keeper_secret_done(&keeper->leaf);
    keeper_secret_done(&keeper->ca);
    keeper_material_done(&keeper->material);
    keeper->material = (struct keeper_material){.current_key = NULL};
    fl_buf_done(&keeper->bundle);
}

static void on_due(struct fl_timer *timer)
{
    look(FL_CONTAINER_OF(timer, struct keeper, look_timer));
}

void keeper_look_in(struct keeper *keeper, uint64_t ms)
{
    keeper->phase = KEEPER_RESTING;
    forget(keeper);
    if (keeper->look_again && ms > SETTLE_MS)
        ms = SETTLE_MS;
    keeper->look_again = false;
    fl_timer_set(keeper->loop, &keeper->look_timer, ms, on_due);
}

void keeper_look_failed(struct keeper *keeper, const struct fl_err *err)
{
    uint64_t wait = KEEPER_RETRY_MS, draw = 0;
    for (unsigned i = 0; i < keeper->failures && wait < KEEPER_RETRY_MAX_MS; i++)
        wait *= 2;
    if (wait > KEEPER_RETRY_MAX_MS)
        wait = KEEPER_RETRY_MAX_MS;
    keeper->failures++;
    if (getrandom(&draw, sizeof(draw), GRND_NONBLOCK) == sizeof(draw))
        wait = wait / 2 + draw % (wait / 2);
    if (strcmp(err->text, keeper->told.text) != 0)
        fl_log(FL_LOG_ERROR, "will try again", FL_LOG_STR("error", err->text), FL_LOG_NUM("in_ms", wait));
    keeper->told = *err;
    keeper->look_again = false; /* what changed meanwhile is seen then */
    keeper_look_in(keeper, wait);
}

static bool take_json(struct keeper *keeper, struct fl_span text, struct fl_json **ret_root)
{
    const struct fl_json_limits limits = {.bytes_max = KEEPER_CONFIGURATION_MAX * KEEPER_CONFIGURATIONS_MAX};
    struct fl_err err = {0};
    if (fl_json_parse(text, &limits, ret_root, &err) == 0)
        return true;
    keeper_look_failed(keeper, &err);
    return false;
}

/* One configuration, by name. */
static bool take_configuration(struct keeper *keeper, const struct fl_kube_answer *answer)
{
    const char *name = keeper->options->configurations[keeper->asked++];
    if (answer->status == 404) {
        fl_log(FL_LOG_DEBUG, "there is no such configuration", FL_LOG_STR("configuration", name));
        return true;
    }
    if (!take_json(keeper, answer->body, &keeper->objects[keeper->object_count]))
        return false;
    keeper->object_count++;
    return true;
}

/* All of a label selector. */
static bool take_list(struct keeper *keeper, const struct fl_kube_answer *answer)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    if (!take_json(keeper, answer->body, &root))
        return false;
    struct fl_json *items = fl_json_get(root, "items");
    if (fl_json_count(items) > KEEPER_CONFIGURATIONS_MAX) {
        struct fl_err err = {0};
        fl_err_set(&err, -EINVAL, "--configuration-selector: more than %d configurations", KEEPER_CONFIGURATIONS_MAX);
        keeper_look_failed(keeper, &err);
        return false;
    }
    while (fl_json_count(items) > 0)
        keeper->objects[keeper->object_count++] = fl_json_detach_at(items, 0);
    return true;
}

static bool take_secret(struct keeper *keeper, const struct fl_kube_answer *answer, const char *name,
                        struct keeper_secret *secret)
{
    struct fl_err err = {0};
    if (answer->status == 404)
        return true;
    int result = keeper_secret_read(answer->body, secret, &err);
    if (result == 0 && secret->foreign && !keeper->options->external)
        result = fl_err_set(&err, -EPERM,
                            "Secret %s is cert-manager's; start with --external, and only caBundles are kept", name);
    if (result < 0)
        keeper_look_failed(keeper, &err);
    return result == 0;
}

static void told_apart(struct keeper *keeper, const struct fl_kube_answer *answer)
{
    bool good = true;
    switch (keeper->phase) {
    case KEEPER_READING_CONFIGURATIONS:
        good = keeper->options->selector != NULL ? take_list(keeper, answer) : take_configuration(keeper, answer);
        if (good && (keeper->options->selector != NULL || keeper->asked == keeper->options->configuration_count))
            keeper->phase = KEEPER_READING_LEAF;
        break;
    case KEEPER_READING_LEAF:
        good = take_secret(keeper, answer, keeper->options->secret, &keeper->leaf);
        keeper->phase = good && !keeper->options->external ? KEEPER_READING_CA : KEEPER_ACTING;
        break;
    case KEEPER_READING_CA:
        good = take_secret(keeper, answer, keeper->options->ca_secret, &keeper->ca);
        keeper->phase = KEEPER_ACTING;
        break;
    case KEEPER_RESTING:
    case KEEPER_ACTING:
        break;
    }
    if (!good)
        keeper->phase = KEEPER_RESTING;
    else if (keeper->phase == KEEPER_ACTING)
        keeper_act(keeper);
    else
        ask_next(keeper);
}

static void on_answer(void *owner, const struct fl_kube_answer *answer)
{
    struct keeper *keeper = owner;
    struct fl_err err = {0};
    keeper->exchange = NULL;
    if (keeper->phase == KEEPER_ACTING) {
        keeper_acted(keeper, answer);
        return;
    }
    bool absent =
        answer->status == 404 && (keeper->phase != KEEPER_READING_CONFIGURATIONS || keeper->options->selector == NULL);
    if (!absent && fl_kube_answer_check(answer, &err) < 0)
        keeper_look_failed(keeper, &err);
    else
        told_apart(keeper, answer);
}

bool keeper_look_send(struct keeper *keeper, const struct fl_kube_request *request)
{
    struct fl_kube_request full = *request;
    struct fl_err err = {0};
    full.timeout_ms = fl_kube_lease_request_ms(keeper->lease);
    full.on_done = on_answer;
    full.owner = keeper;
    if (!fl_kube_lease_leads(keeper->lease))
        fl_err_set(&err, -EPERM, "the Lease is not ours any more");
    else if (fl_kube_send(keeper->client, &full, &keeper->exchange, &err) == 0)
        return true;
    keeper_look_failed(keeper, &err);
    return false;
}

static int path_of(const struct keeper *keeper, struct fl_buf *path)
{
    const struct keeper_options *options = keeper->options;
    if (keeper->phase == KEEPER_READING_CONFIGURATIONS && options->selector != NULL) {
        int result = fl_buf_append_str(path, CONFIGURATIONS "?labelSelector=");
        return result == 0 ? fl_kube_escape(path, fl_span_str(options->selector)) : result;
    }
    if (keeper->phase == KEEPER_READING_CONFIGURATIONS)
        return fl_buf_printf(path, CONFIGURATIONS "/%s", options->configurations[keeper->asked]);
    return fl_buf_printf(path, "/api/v1/namespaces/%s/secrets/%s", options->name_space,
                         keeper->phase == KEEPER_READING_CA ? options->ca_secret : options->secret);
}

static void ask_next(struct keeper *keeper)
{
    struct fl_buf path;
    struct fl_err err = {0};
    fl_buf_init(&path, PATH_MAX_BYTES);
    int result = path_of(keeper, &path);
    const char *text = result == 0 ? fl_buf_str(&path) : NULL;
    if (text == NULL) {
        fl_err_set(&err, -ENOMEM, "out of memory");
        keeper_look_failed(keeper, &err);
    } else {
        size_t body_max = KEEPER_SECRET_MAX;
        if (keeper->phase == KEEPER_READING_CONFIGURATIONS)
            body_max = KEEPER_CONFIGURATION_MAX * (keeper->options->selector != NULL ? KEEPER_CONFIGURATIONS_MAX : 1u);
        const struct fl_kube_request request = {.method = "GET", .path = text, .body_max = body_max};
        keeper_look_send(keeper, &request);
    }
    fl_buf_done(&path);
}

/* The order counts: caBundles first, the CA's Secret last. What the Secret says is at least as new as the caBundles
 * then, and a write that names the version which was read does not undo what another keeper did in between. */
static void look(struct keeper *keeper)
{
    if (!fl_kube_lease_leads(keeper->lease))
        return;
    if (keeper->phase != KEEPER_RESTING) {
        keeper->look_again = true;
        return;
    }
    forget(keeper);
    keeper->phase = keeper->options->selector != NULL || keeper->options->configuration_count > 0
                        ? KEEPER_READING_CONFIGURATIONS
                        : KEEPER_READING_LEAF;
    ask_next(keeper);
}

void keeper_look_poke(struct keeper *keeper)
{
    if (keeper->phase != KEEPER_RESTING)
        keeper->look_again = true;
    else if (keeper->failures == 0)
        keeper_look_in(keeper, SETTLE_MS);
}

void keeper_look_start(struct keeper *keeper)
{
    keeper->memory = (struct keeper_memory){.root_count = 0};
    memset(keeper->blocked, 0, sizeof(keeper->blocked));
    keeper->failures = keeper->steps = 0;
    keeper->told.text[0] = '\0';
    keeper->waits_for = NULL;
    keeper_look_in(keeper, 0);
    keeper_follow_start(keeper);
}

void keeper_look_stop(struct keeper *keeper)
{
    keeper->exchange = fl_kube_cancel(keeper->exchange);
    fl_timer_cancel(&keeper->look_timer);
    keeper_follow_stop(keeper);
    keeper->phase = KEEPER_RESTING;
    keeper->look_again = false;
    forget(keeper);
}
