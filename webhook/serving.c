#include "webhook/serving.h"

#include "common/pki/cert.h"

#include <errno.h>

void webhook_serving_init(struct webhook_serving *serving, const char *cert_path, const char *key_path)
{
    *serving = (struct webhook_serving){.pending = true};
    fl_reread_init(&serving->cert, cert_path, FL_CERT_PEM_MAX);
    fl_reread_init(&serving->key, key_path, FL_CERT_PEM_MAX);
}

void webhook_serving_done(struct webhook_serving *serving)
{
    fl_reread_done(&serving->cert);
    if (serving->key.text.data != NULL)
        explicit_bzero(serving->key.text.data, serving->key.text.cap);
    fl_reread_done(&serving->key);
}

static int check_pair(struct webhook_serving *serving, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_cert) struct fl_cert *cert = NULL;
    FL_CLEANUP(fl_cleanup_key) struct fl_key *key = NULL;
    time_t not_before;
    int result = fl_cert_parse(fl_buf_span(&serving->cert.text), &cert, err);
    if (result < 0) {
        fl_err_prefix(err, "%s", serving->cert.path);
        return result;
    }
    result = fl_key_parse(fl_buf_span(&serving->key.text), &key, err);
    if (result < 0) {
        fl_err_prefix(err, "%s", serving->key.path);
        return result;
    }
    if (!fl_cert_matches(cert, key))
        return fl_err_set(err, -EINVAL, "%s and %s do not belong together", serving->cert.path, serving->key.path);
    fl_cert_validity(cert, &not_before, &serving->next_not_after);
    return 0;
}

int webhook_serving_look(struct webhook_serving *serving, bool force, struct fl_err *err)
{
    int cert = fl_reread_look(&serving->cert, force, err);
    int key = cert < 0 ? cert : fl_reread_look(&serving->key, force, err);
    if (cert > 0 || key > 0 || force)
        serving->pending = true;
    if (key < 0)
        return key;
    if (!serving->pending)
        return 0;
    int result = check_pair(serving, err);
    return result < 0 ? result : 1;
}

void webhook_serving_taken(struct webhook_serving *serving)
{
    serving->pending = false;
    serving->not_after = serving->next_not_after;
}
