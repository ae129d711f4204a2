#include "common/kube/credential.h"

#include "common/base/clock.h"

#include <errno.h>

static void take(struct fl_buf *from, struct fl_buf *to)
{
    fl_buf_wipe(to);
    *to = *from;
    *from = (struct fl_buf){0};
}

/* What it answers takes the place of what it said before: a token of last time beside a certificate of today would be
 * two people. */
static int ask_plugin(struct fl_kube_credential *credential, struct fl_kube_access *access, struct fl_err *err)
{
    struct fl_kube_plugin_answer answer = {0};
    int result = access->starter->start(access->starter, access->plugin, &answer, err);
    if (result < 0)
        return result;
    take(&answer.token, &access->token.pem);
    take(&answer.cert, &access->cert.pem);
    take(&answer.key, &access->key.pem);
    credential->expires = answer.expires;
    return 0;
}

int fl_kube_credential_init(struct fl_kube_credential *credential, struct fl_kube_access *access, struct fl_err *err)
{
    fl_reread_init(&credential->ca, access->ca.file, FL_KUBE_CREDENTIAL_MAX);
    fl_reread_init(&credential->cert, access->cert.file, FL_KUBE_CREDENTIAL_MAX);
    fl_reread_init(&credential->key, access->key.file, FL_KUBE_CREDENTIAL_MAX);
    fl_reread_init(&credential->token, access->token.file, FL_KUBE_TOKEN_MAX);
    struct fl_reread *files[] = {&credential->ca, &credential->cert, &credential->key, &credential->token};
    for (size_t i = 0; i < FL_COUNT(files); i++) {
        int result = fl_reread_look(files[i], true, err);
        if (result < 0)
            return result;
        if (files[i]->path != NULL && files[i]->text.len == 0)
            return fl_err_set(err, -EINVAL, "%s: is empty", files[i]->path);
    }
    return access->plugin != NULL ? ask_plugin(credential, access, err) : 0;
}

void fl_kube_credential_done(struct fl_kube_credential *credential)
{
    fl_reread_done(&credential->ca);
    fl_reread_done(&credential->cert);
    fl_reread_done(&credential->key);
    fl_reread_done(&credential->token);
}

/* A certificate without its key yet, or the other way round, is a connection that fails and is tried again. */
void fl_kube_credential_look(struct fl_kube_credential *credential, bool force)
{
    struct fl_reread *files[] = {&credential->ca, &credential->cert, &credential->key, &credential->token};
    for (size_t i = 0; i < FL_COUNT(files); i++) {
        if (fl_reread_look(files[i], force, NULL) < 0)
            continue;
    }
}

bool fl_kube_credential_may_renew(const struct fl_kube_credential *credential, const struct fl_kube_access *access)
{
    return access->plugin != NULL && !credential->renewed;
}

int fl_kube_credential_renew(struct fl_kube_credential *credential, struct fl_kube_access *access, bool refused,
                             struct fl_err *err)
{
    bool expired = credential->expires > 0 && fl_wall_us() / 1000000 >= credential->expires;
    if (access->plugin == NULL || (!expired && !(refused && !credential->renewed)))
        return 0;
    credential->renewed = credential->renewed || refused;
    return ask_plugin(credential, access, err);
}

struct fl_span fl_kube_material(const struct fl_kube_material *material, const struct fl_reread *file)
{
    return material->file != NULL ? fl_buf_span(&file->text) : fl_buf_span(&material->pem);
}

struct fl_span fl_kube_token(const struct fl_kube_credential *credential, const struct fl_kube_access *access)
{
    struct fl_span token = fl_kube_material(&access->token, &credential->token);
    while (token.len > 0 && (unsigned char)token.data[token.len - 1] <= ' ')
        token.len--;
    while (token.len > 0 && (unsigned char)token.data[0] <= ' ')
        token = fl_span_from(token, 1);
    return token;
}
