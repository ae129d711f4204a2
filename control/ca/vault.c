#include "control/ca/vault.h"

#include "common/kube/connect.h"
#include "common/kube/object.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define TRIES    5 /* somebody else may be quicker now and then */
#define GIVEN(n) (CONTROL_ROOTS_MAX + (n))

int control_vault_connect(struct fl_loop *loop, const char *kubeconfig, const char *context,
                          struct fl_kube_client **ret_client, struct fl_err *err)
{
    return fl_kube_connect(loop, kubeconfig, context, "fairlead-control-ca/" FL_VERSION, ret_client, err);
}

static int call(struct fl_kube_client *client, const struct fl_kube_request *request, struct control_stored *ret_stored,
                struct fl_err *err)
{
    FL_CLEANUP(fl_buf_wipe) struct fl_buf answer;
    unsigned status;
    fl_buf_init(&answer, CONTROL_STORED_ANSWER_MAX);
    int result = fl_kube_call(client, request, &answer, &status, err);
    if (result == 0)
        result = fl_kube_status_check(status, fl_buf_span(&answer), err);
    return result < 0 ? result : control_stored_read(fl_buf_span(&answer), ret_stored, err);
}

/* A Secret that is not there is none. */
static int get(struct fl_kube_client *client, const char *name_space, const char *name, struct control_stored *stored,
               struct fl_err *err)
{
    char path[64 + FL_KUBE_NAMESPACE_MAX + FL_KUBE_NAME_MAX];
    snprintf(path, sizeof(path), "/api/v1/namespaces/%s/secrets/%s", name_space, name);
    const struct fl_kube_request request = {.method = "GET", .path = path, .body_max = CONTROL_STORED_ANSWER_MAX};
    int result = call(client, &request, stored, err);
    if (result == -ENOENT)
        return 0;
    if (result < 0)
        fl_err_prefix(err, "Secret %s", name);
    return result;
}

static int put(struct fl_kube_client *client, const struct control_vault_options *options, unsigned changed,
               struct control_stored *own, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_wipe) struct fl_buf body;
    struct control_stored written = {.there = false};
    char path[64 + FL_KUBE_NAMESPACE_MAX + FL_KUBE_NAME_MAX];
    fl_buf_init(&body, CONTROL_STORED_ANSWER_MAX);
    snprintf(path, sizeof(path), "/api/v1/namespaces/%s/secrets%s%s", options->name_space, own->there ? "/" : "",
             own->there ? options->secret : "");
    int result = control_stored_print(own, options->secret, options->name_space, changed, &body);
    if (result < 0)
        return fl_err_errno(err, result, "Secret %s", options->secret);
    const struct fl_kube_request request = {.method = own->there ? "PATCH" : "POST",
                                            .path = path,
                                            .content_type = own->there ? "application/merge-patch+json" : NULL,
                                            .body = fl_buf_span(&body),
                                            .body_max = CONTROL_STORED_ANSWER_MAX};
    result = call(client, &request, &written, err);
    if (result < 0) {
        fl_err_prefix(err, "Secret %s", options->secret);
        return result;
    }
    control_stored_done(own);
    *own = written;
    return 0;
}

/* What is to be written, as files of `own`: a bit for each, in *changed. */
static int plan(const struct control_vault_options *options, bool asked, struct control_stored *own, unsigned *changed,
                struct fl_err *err)
{
    struct control_rotation_root roots[CONTROL_ROOTS_MAX + 1];
    time_t now = time(NULL);
    int result = control_stored_roots(own, roots, err);
    if (result < 0) {
        fl_err_prefix(err, "Secret %s", options->secret);
        return result;
    }
    struct control_rotation rotation =
        control_rotation_plan(roots, options->overlap_s, options->validity_s, asked, now);
    if (asked && rotation.make == 0)
        return fl_err_set(err, -ENOSPC, "Secret %s: all of root-1.pem to root-%d.pem are taken", options->secret,
                          CONTROL_ROOTS_MAX);
    *changed = 0;
    for (unsigned number = 1; number <= CONTROL_ROOTS_MAX; number++) {
        if ((rotation.drop & 1u << number) != 0) {
            fl_buf_wipe(&own->files[number - 1]);
            *changed |= 1u << (number - 1);
        }
    }
    if (rotation.make == 0)
        return 0;
    *changed |= 1u << (rotation.make - 1);
    fl_buf_init(&own->files[rotation.make - 1], CONTROL_STORED_FILE_MAX);
    return control_root_make(now, options->root_life_s > 0 ? options->root_life_s : CONTROL_ROOT_LIFE_S,
                             &own->files[rotation.make - 1], err);
}

static bool has_root(const struct control_stored *own)
{
    for (size_t i = 0; i < CONTROL_ROOTS_MAX; i++) {
        if (own->files[i].len > 0)
            return true;
    }
    return false;
}

static int check_given(const struct control_vault_options *options, const struct control_stored *given,
                       struct fl_err *err)
{
    for (size_t i = 0; given->there && i < CONTROL_GIVEN_FILES; i++) {
        const char *name = control_given_files[i];
        if (given->files[GIVEN(i)].len == 0 && strcmp(name, "cert-chain.pem") != 0)
            return fl_err_set(err, -EINVAL, "Secret %s: %s is missing", options->cacerts, name);
    }
    return 0;
}

/* As it was before somebody deleted it. */
static int restore(const struct control_stored *former, struct control_stored *own, unsigned *changed,
                   struct fl_err *err)
{
    for (unsigned i = 0; i < CONTROL_ROOTS_MAX; i++) {
        if (former->files[i].len == 0)
            continue;
        *changed |= 1u << i;
        fl_buf_init(&own->files[i], CONTROL_STORED_FILE_MAX);
        int result = fl_buf_reserve(&own->files[i], former->files[i].len);
        if (result == 0)
            result = fl_buf_append(&own->files[i], fl_buf_span(&former->files[i]));
        if (result < 0)
            return fl_err_errno(err, result, "the Secret of before");
    }
    return 0;
}

static int sync_once(struct fl_kube_client *client, const struct control_vault_options *options, bool asked,
                     struct control_stored *own, struct control_stored *given, struct fl_err *err)
{
    unsigned changed = 0;
    int result = get(client, options->name_space, options->secret, own, err);
    if (result == 0 && options->cacerts != NULL)
        result = get(client, options->name_space, options->cacerts, given, err);
    if (result == 0)
        result = check_given(options, given, err);
    if (result < 0)
        return result;
    if (asked && !has_root(own))
        return fl_err_set(err, -ENOENT, "Secret %s holds no root that could be rotated", options->secret);
    if (asked && given->there)
        return fl_err_set(err, -EBUSY, "the certificate authority of Secret %s issues: rotate that one",
                          options->cacerts);
    if (given->there) /* whoever made it rotates it */
        return 0;
    if (!own->there && options->former != NULL && has_root(options->former))
        result = restore(options->former, own, &changed, err);
    else
        result = plan(options, asked, own, &changed, err);
    return result < 0 || changed == 0 ? result : put(client, options, changed, own, err);
}

int control_vault_sync(struct fl_kube_client *client, const struct control_vault_options *options, bool asked,
                       struct control_stored *ret_own, struct control_stored *ret_given, struct fl_err *err)
{
    int result = -EEXIST;
    for (int i = 0; i < TRIES && result == -EEXIST; i++) { /* EEXIST: somebody else was quicker */
        struct control_stored own = {.there = false}, given = {.there = false};
        result = sync_once(client, options, asked, &own, &given, err);
        if (result == 0) {
            *ret_own = own;
            *ret_given = given;
        } else {
            control_stored_done(&own);
            control_stored_done(&given);
        }
    }
    return result;
}
