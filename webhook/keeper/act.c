#include "webhook/keeper/state.h"

#include "common/base/log.h"

#include <errno.h>
#include <stdio.h>

#define BODY_MAX (2u << 20)
#define TIME_MAX 32

static void publish_next(struct keeper *keeper);

static void format_time(int64_t at, char text[TIME_MAX])
{
    time_t seconds = (time_t)at;
    struct tm parts;
    strftime(text, TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &parts));
}

static struct keeper_blocked *find_blocked(struct keeper *keeper, const char *name)
{
    for (size_t i = 0; i < KEEPER_CONFIGURATIONS_MAX; i++) {
        if (strcmp(keeper->blocked[i].name, name) == 0)
            return &keeper->blocked[i];
    }
    return NULL;
}

bool keeper_act_is_blocked(const void *owner, const struct keeper_configuration *configuration)
{
    const struct keeper *keeper = owner;
    for (size_t i = 0; i < KEEPER_CONFIGURATIONS_MAX; i++) {
        const struct keeper_blocked *blocked = &keeper->blocked[i];
        if (strcmp(blocked->name, configuration->name) == 0)
            return strcmp(blocked->version, configuration->version) == 0 && fl_boot_ms() < blocked->until_ms;
    }
    return false;
}

static void block(struct keeper *keeper, const struct keeper_configuration *configuration, const char *manager)
{
    struct keeper_blocked *blocked = find_blocked(keeper, configuration->name);
    bool known = blocked != NULL;
    if (!known)
        blocked = find_blocked(keeper, "");
    if (blocked == NULL) /* more names than configurations: by a selector, over time */
        blocked = &keeper->blocked[0];
    snprintf(blocked->name, sizeof(blocked->name), "%s", configuration->name);
    snprintf(blocked->version, sizeof(blocked->version), "%s", configuration->version);
    blocked->until_ms = fl_boot_ms() + KEEPER_BLOCKED_MS;
    if (!known)
        fl_log(FL_LOG_ERROR, "the caBundle belongs to another field manager; see --force-conflicts",
               FL_LOG_STR("configuration", configuration->name), FL_LOG_STR("manager", manager));
}

static void unblock(struct keeper *keeper, const char *name)
{
    struct keeper_blocked *blocked = find_blocked(keeper, name);
    if (blocked != NULL)
        blocked->name[0] = '\0';
}

/* One line a step. */
static void tell_step(struct keeper *keeper, const char *where)
{
    const struct keeper_decision *decision = &keeper->decision;
    char end[TIME_MAX] = "";
    keeper->failures = 0;
    keeper->told.text[0] = '\0';
    if (decision->not_after > 0)
        format_time(decision->not_after, end);
    fl_log(FL_LOG_INFO, keeper_step_word(decision->step), FL_LOG_STR("why", decision->why), FL_LOG_STR("object", where),
           FL_LOG_STR("not_after", end));
}

static void rest(struct keeper *keeper)
{
    const struct keeper_decision *decision = &keeper->decision;
    const struct keeper_view *view = &keeper->material.view;
    keeper->failures = keeper->steps = 0;
    keeper->told.text[0] = '\0';
    if (keeper->waits_for != decision->why) {
        char leaf[TIME_MAX] = "", root[TIME_MAX] = "";
        if (view->leaf_there)
            format_time(view->leaf_not_after, leaf);
        if (view->current >= 0)
            format_time(view->roots[view->current].not_after, root);
        fl_log(FL_LOG_INFO, "waiting", FL_LOG_STR("for", decision->why), FL_LOG_STR("leaf_not_after", leaf),
               FL_LOG_STR("root_not_after", root), FL_LOG_NUM("blocked", view->blocked),
               FL_LOG_NUM("look_ms", decision->look_ms));
    }
    keeper->waits_for = decision->why;
    keeper_look_in(keeper, decision->look_ms);
}

static void failed(struct keeper *keeper, int code, struct fl_err *err)
{
    if (err->text[0] == '\0')
        fl_err_errno(err, code, "%s", keeper_step_word(keeper->decision.step));
    else
        fl_err_prefix(err, "%s", keeper_step_word(keeper->decision.step));
    keeper_look_failed(keeper, err);
}

static void send_secret(struct keeper *keeper, const struct keeper_secret_write *write)
{
    char path[1024];
    struct fl_err err = {0};
    struct fl_buf body;
    bool make = write->version[0] == '\0';
    snprintf(path, sizeof(path), "/api/v1/namespaces/%s/secrets%s%s?fieldManager=fairlead-keeper", write->name_space,
             make ? "" : "/", make ? "" : write->name);
    fl_buf_init(&body, BODY_MAX);
    int result = keeper_secret_print(write, &body);
    if (result < 0) {
        failed(keeper, result, &err);
    } else {
        const struct fl_kube_request request = {.method = make ? "POST" : "PATCH",
                                                .path = path,
                                                .content_type = make ? NULL : "application/merge-patch+json",
                                                .body = fl_buf_span(&body),
                                                .body_max = KEEPER_SECRET_MAX};
        keeper_look_send(keeper, &request);
    }
    fl_buf_wipe(&body);
}

/* Text that is empty is taken out of the Secret. */
static struct fl_span or_none(const struct fl_buf *buf)
{
    return buf->len > 0 ? fl_buf_span(buf) : (struct fl_span){NULL, 0};
}

static void write_ca(struct keeper *keeper, const struct fl_buf *cert, const struct fl_buf *key)
{
    const struct keeper_decision *decision = &keeper->decision;
    const struct keeper_secret *ca = &keeper->ca;
    const struct fl_span none = {NULL, 0};
    struct fl_err err = {0};
    struct fl_buf old;
    char end[TIME_MAX] = "";
    struct keeper_secret_change changes[KEEPER_SECRET_KEY_COUNT];
    size_t count = 0;
    fl_buf_init(&old, FL_ROOTS_PEM_MAX);
    int result = fl_roots_print(&keeper->material.roots, decision->old, &old);
    const struct keeper_view *view = &keeper->material.view;
    int root = view->current;
    changes[count++] = (struct keeper_secret_change){KEEPER_SECRET_OLD_CERTS, or_none(&old)};
    if (decision->step == KEEPER_MAKE_ROOT) {
        changes[count++] = (struct keeper_secret_change){KEEPER_SECRET_CA_CERT, fl_buf_span(cert)};
        changes[count++] = (struct keeper_secret_change){KEEPER_SECRET_CA_KEY, fl_buf_span(key)};
    } else if (decision->step == KEEPER_MAKE_NEXT) {
        changes[count++] = (struct keeper_secret_change){KEEPER_SECRET_NEXT_CERT, fl_buf_span(cert)};
        changes[count++] = (struct keeper_secret_change){KEEPER_SECRET_NEXT_KEY, fl_buf_span(key)};
    } else if (decision->step == KEEPER_PROMOTE) {
        changes[count++] =
            (struct keeper_secret_change){KEEPER_SECRET_CA_CERT, fl_buf_span(&ca->values[KEEPER_SECRET_NEXT_CERT])};
        changes[count++] =
            (struct keeper_secret_change){KEEPER_SECRET_CA_KEY, fl_buf_span(&ca->values[KEEPER_SECRET_NEXT_KEY])};
        root = view->next;
    }
    if (decision->step == KEEPER_MAKE_ROOT || decision->step == KEEPER_PROMOTE) {
        changes[count++] = (struct keeper_secret_change){KEEPER_SECRET_NEXT_CERT, none};
        changes[count++] = (struct keeper_secret_change){KEEPER_SECRET_NEXT_KEY, none};
    }
    format_time(decision->step == KEEPER_MAKE_ROOT ? decision->not_after : view->roots[root].not_after, end);
    const struct keeper_secret_write write = {.name = keeper->options->ca_secret,
                                              .name_space = keeper->options->name_space,
                                              .version = ca->version,
                                              .changes = changes,
                                              .change_count = count,
                                              .annotations = {{"ca-not-after", end}}};
    if (result < 0)
        failed(keeper, result, &err);
    else
        send_secret(keeper, &write);
    fl_buf_done(&old);
}

static void make_root(struct keeper *keeper)
{
    struct fl_buf cert, key;
    struct fl_err err = {0};
    fl_buf_init(&cert, FL_CERT_PEM_MAX);
    fl_buf_init(&key, FL_KEY_PEM_MAX);
    int result = keeper_make_root(keeper->material.view.now, keeper->decision.not_after, &cert, &key, &err);
    if (result < 0)
        failed(keeper, result, &err);
    else
        write_ca(keeper, &cert, &key);
    fl_buf_done(&cert);
    fl_buf_wipe(&key);
}

static void write_leaf(struct keeper *keeper, const struct fl_buf *cert, const struct fl_buf *key,
                       const struct fl_buf *roots)
{
    const struct keeper_view *view = &keeper->material.view;
    char end[TIME_MAX], root_end[TIME_MAX];
    const struct keeper_secret_change changes[] = {
        {KEEPER_SECRET_TLS_CERT, fl_buf_span(cert)},
        {KEEPER_SECRET_TLS_KEY, fl_buf_span(key)},
        {KEEPER_SECRET_CA_CERT, fl_buf_span(roots)},
    };
    format_time(keeper->decision.not_after, end);
    format_time(view->roots[view->current].not_after, root_end);
    const struct keeper_secret_write write = {.name = keeper->options->secret,
                                              .name_space = keeper->options->name_space,
                                              .version = keeper->leaf.version,
                                              .tls = true,
                                              .changes = changes,
                                              .change_count = FL_COUNT(changes),
                                              .annotations = {{"not-after", end}, {"ca-not-after", root_end}}};
    send_secret(keeper, &write);
}

static void make_leaf(struct keeper *keeper)
{
    const struct keeper_view *view = &keeper->material.view;
    struct fl_buf cert, key, roots;
    struct fl_err err = {0};
    fl_buf_init(&cert, FL_CERT_PEM_MAX);
    fl_buf_init(&key, FL_KEY_PEM_MAX);
    fl_buf_init(&roots, FL_ROOTS_PEM_MAX);
    int result = keeper_make_leaf(&keeper->material, keeper->options->names, view->now, keeper->decision.not_after,
                                  &cert, &key, &err);
    if (result == 0)
        result = fl_roots_print(&keeper->material.roots, keeper_bit(view->current) | keeper_bit(view->next) | view->old,
                                &roots);
    if (result < 0)
        failed(keeper, result, &err);
    else
        write_leaf(keeper, &cert, &key, &roots);
    fl_buf_done(&cert);
    fl_buf_wipe(&key);
    fl_buf_done(&roots);
}

static bool differs(const struct keeper *keeper, const struct keeper_configuration *configuration)
{
    for (size_t i = 0; i < configuration->webhook_count; i++) {
        if (configuration->webhooks[i].roots != keeper->decision.bundle)
            return true;
    }
    return false;
}

static void send_bundle(struct keeper *keeper, const struct keeper_configuration *configuration)
{
    char path[1024];
    struct fl_err err = {0};
    struct fl_buf body;
    snprintf(
        path, sizeof(path),
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/%s?fieldManager=fairlead-keeper&force=%s",
        configuration->name, keeper->options->force ? "true" : "false");
    fl_buf_init(&body, BODY_MAX);
    int result = keeper_configuration_print(configuration, fl_buf_span(&keeper->bundle), &body);
    if (result < 0) {
        failed(keeper, result, &err);
    } else {
        const struct fl_kube_request request = {.method = "PATCH",
                                                .path = path,
                                                .content_type = "application/apply-patch+yaml",
                                                .body = fl_buf_span(&body),
                                                .body_max = KEEPER_CONFIGURATION_MAX};
        keeper_look_send(keeper, &request);
    }
    fl_buf_done(&body);
}

/* keeper->published is the next to look at. One that cannot be written keeps nothing from the others. */
static void publish_next(struct keeper *keeper)
{
    for (; keeper->published < keeper->object_count; keeper->published++) {
        const struct keeper_configuration *configuration = &keeper->configurations[keeper->published];
        if (differs(keeper, configuration) && !keeper_act_is_blocked(keeper, configuration)) {
            send_bundle(keeper, configuration);
            return;
        }
    }
    if (keeper->publish_err.code < 0)
        failed(keeper, keeper->publish_err.code, &keeper->publish_err);
    else
        keeper_look_in(keeper, 0);
}

static void publish(struct keeper *keeper)
{
    struct fl_err err = {0};
    fl_buf_init(&keeper->bundle, FL_ROOTS_PEM_MAX);
    int result = fl_roots_print(&keeper->material.roots, keeper->decision.bundle, &keeper->bundle);
    keeper->published = 0;
    keeper->publish_err = (struct fl_err){.code = 0};
    if (result < 0)
        failed(keeper, result, &err);
    else
        publish_next(keeper);
}

static void take_step(struct keeper *keeper)
{
    if (keeper->decision.step != KEEPER_IDLE && ++keeper->steps > KEEPER_STEPS_IN_A_ROW) {
        struct fl_err err = {0};
        fl_err_set(&err, -ELOOP, "what was written does not stay as it was written");
        keeper->steps = 0;
        failed(keeper, -ELOOP, &err);
        return;
    }
    switch (keeper->decision.step) {
    case KEEPER_IDLE:
        rest(keeper);
        break;
    case KEEPER_MAKE_ROOT:
    case KEEPER_MAKE_NEXT:
        make_root(keeper);
        break;
    case KEEPER_PROMOTE:
    case KEEPER_DROP_OLD:
        write_ca(keeper, NULL, NULL);
        break;
    case KEEPER_MAKE_LEAF:
        make_leaf(keeper);
        break;
    case KEEPER_PUBLISH:
        publish(keeper);
        break;
    }
}

void keeper_act(struct keeper *keeper)
{
    const struct keeper_options *options = keeper->options;
    const struct keeper_material_options reading = {.external = options->external,
                                                    .names = options->names,
                                                    .service = options->service,
                                                    .name_space = options->name_space,
                                                    .is_blocked = keeper_act_is_blocked,
                                                    .owner = keeper};
    struct keeper_view *view = &keeper->material.view;
    keeper_digest digests[FL_ROOTS_MAX];
    struct fl_err err = {0};
    int result = keeper_material_read(&keeper->material, &reading, &keeper->leaf, &keeper->ca, keeper->objects,
                                      keeper->configurations, keeper->object_count, &err);
    if (result == 0)
        result = keeper_material_digests(&keeper->material, digests);
    if (result < 0) {
        failed(keeper, result, &err);
        return;
    }
    view->now = fl_wall_us() / 1000000;
    view->now_ms = fl_boot_ms();
    keeper_observe(&keeper->memory, digests, view);
    if (!view->clock_steady)
        fl_log(FL_LOG_DEBUG, "the clock jumped", FL_LOG_NUM("now", view->now));
    keeper->decision = keeper_rotate(view, &options->policy);
    take_step(keeper);
}

/* A configuration was applied, or not. */
static void published(struct keeper *keeper, const struct fl_kube_answer *answer)
{
    const struct keeper_configuration *configuration = &keeper->configurations[keeper->published];
    char manager[KEEPER_MANAGER_MAX];
    struct fl_err err = {0};
    if (answer->status == 409 && keeper_is_conflict(answer->body, manager)) {
        block(keeper, configuration, manager);
    } else if (answer->status == 409 || answer->status == 404) { /* somebody was quicker, or it is gone: look anew */
        keeper_look_in(keeper, 100);
        return;
    } else if (fl_kube_answer_check(answer, &err) < 0) {
        fl_err_prefix(&err, "%s", configuration->name);
        keeper->publish_err = err;
    } else {
        unblock(keeper, configuration->name);
        tell_step(keeper, configuration->name);
    }
    keeper->published++;
    publish_next(keeper);
}

void keeper_acted(struct keeper *keeper, const struct fl_kube_answer *answer)
{
    struct fl_err err = {0};
    keeper->waits_for = NULL;
    if (keeper->decision.step == KEEPER_PUBLISH) {
        published(keeper, answer);
    } else if (answer->status == 409) {
        fl_log(FL_LOG_DEBUG, "somebody else was quicker", FL_LOG_STR("step", keeper_step_word(keeper->decision.step)));
        keeper_look_in(keeper, 100);
    } else if (fl_kube_answer_check(answer, &err) < 0) {
        failed(keeper, -EIO, &err);
    } else {
        tell_step(keeper,
                  keeper->decision.step == KEEPER_MAKE_LEAF ? keeper->options->secret : keeper->options->ca_secret);
        keeper_look_in(keeper, 0);
    }
}
