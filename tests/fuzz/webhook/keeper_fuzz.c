/* Answers of the API server as the keeper reads them: a Secret (both of them), a configuration, a Lease, a Status. What
 * is read leads to a step, and what is sent is JSON again. */
#include "common/kube/election.h"
#include "webhook/keeper/material.h"

#include <stdio.h>

#define NOW INT64_C(1800000000)

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_json(struct fl_buf *text)
{
    struct fl_json *root = NULL;
    EXPECT(fl_json_parse(fl_buf_span(text), NULL, &root, NULL) == 0);
    fl_json_free(root);
    fl_buf_done(text);
}

static void read_lease(struct fl_span text)
{
    struct fl_kube_election election = {.identity = "me", .seconds = 30};
    struct fl_kube_lease_state lease;
    struct fl_buf out;
    if (fl_kube_lease_parse(text, &lease, NULL) < 0)
        return;
    fl_kube_election_saw(&election, &lease, 1000);
    EXPECT(fl_kube_election_next(&election, 1000 + FL_KUBE_LEASE_SECONDS_MAX * UINT64_C(1000)) ==
           FL_KUBE_ELECTION_TAKE);
    fl_buf_init(&out, 1u << 20);
    EXPECT(fl_kube_lease_print(&election, "n", "s", 1, false, &out) == 0);
    expect_json(&out);
}

/* The sets that a decision names are sets of roots that are there. */
static void decide(struct keeper_material *material)
{
    static const bool steady[] = {true, false};
    struct keeper_memory memory = {.root_count = 0};
    struct keeper_policy policy;
    keeper_digest digests[FL_ROOTS_MAX];
    struct keeper_view *view = &material->view;
    uint32_t all = view->root_count < 32 ? (UINT32_C(1) << view->root_count) - 1 : UINT32_MAX;
    keeper_policy_init(&policy);
    EXPECT(keeper_material_digests(material, digests) == 0);
    for (size_t i = 0; i < FL_COUNT(steady); i++) {
        view->now = steady[i] ? NOW : NOW + 10000000;
        view->now_ms = 1000 + i;
        keeper_observe(&memory, digests, view);
        struct keeper_decision decision = keeper_rotate(view, &policy);
        EXPECT(view->clock_steady == steady[i]);
        EXPECT(((decision.bundle | decision.old) & ~all) == 0 && decision.why != NULL);
        EXPECT(decision.step != KEEPER_IDLE || decision.look_ms > 0);
    }
}

static void read_configuration(struct fl_json *object, const struct keeper_secret *secret, bool external)
{
    static const char *const names[] = {"w.n.svc", NULL};
    const struct keeper_material_options options = {
        .external = external, .names = names, .service = "w", .name_space = "n"};
    struct keeper_material material = {.current_key = NULL};
    struct keeper_configuration configuration = {.webhook_count = 0};
    struct fl_buf out;
    size_t count = object != NULL ? 1 : 0;
    if (keeper_material_read(&material, &options, secret, secret, &object, &configuration, count, NULL) < 0)
        return;
    decide(&material);
    fl_buf_init(&out, 4u << 20);
    if (count > 0) {
        EXPECT(keeper_configuration_print(&configuration, FL_SPAN("PEM"), &out) == 0);
        expect_json(&out);
    }
    keeper_configuration_done(&configuration);
    keeper_material_done(&material);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span text = fl_span_make(data, size);
    struct keeper_secret secret = {.there = false};
    struct fl_json *object = NULL;
    char manager[KEEPER_MANAGER_MAX] = "";
    read_lease(text);
    if (keeper_is_conflict(text, manager))
        EXPECT(strlen(manager) < sizeof(manager));
    if (keeper_secret_read(text, &secret, NULL) == 0)
        EXPECT(secret.there && secret.version[0] != '\0');
    if (fl_json_parse(text, NULL, &object, NULL) < 0)
        object = NULL;
    read_configuration(NULL, &secret, false);
    read_configuration(NULL, &secret, true);
    read_configuration(object, &secret, false);
    fl_json_free(object);
    keeper_secret_done(&secret);
    return 0;
}
