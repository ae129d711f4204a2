#include "webhook/keeper/material.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

void keeper_material_done(struct keeper_material *material)
{
    fl_roots_done(&material->roots);
    material->current_key = fl_key_unref(material->current_key);
    material->next_key = fl_key_unref(material->next_key);
}

static struct fl_span value_of(const struct keeper_secret *secret, enum keeper_secret_key key)
{
    return secret->there ? fl_buf_span(&secret->values[key]) : (struct fl_span){NULL, 0};
}

/* The roots of a text; none where it cannot be read. -ENOMEM alone is an error. */
static int read_roots(struct fl_roots *roots, struct fl_span pem, uint32_t *ret_mask)
{
    *ret_mask = 0;
    if (pem.len == 0)
        return 0;
    int result = fl_roots_parse(roots, pem, ret_mask, NULL);
    return result == -ENOMEM ? result : 0;
}

/* A certificate and its key; *ret_cert NULL where there is none, *ret_key NULL where it is not its own. */
static int read_pair(struct fl_span cert_pem, struct fl_span key_pem, struct fl_cert **ret_cert,
                     struct fl_key **ret_key)
{
    FL_CLEANUP(fl_cleanup_cert) struct fl_cert *cert = NULL;
    FL_CLEANUP(fl_cleanup_key) struct fl_key *key = NULL;
    int result = cert_pem.len > 0 ? fl_cert_parse(cert_pem, &cert, NULL) : 0;
    if (result == -ENOMEM)
        return result;
    result = cert != NULL && key_pem.len > 0 ? fl_key_parse(key_pem, &key, NULL) : 0;
    if (result == -ENOMEM)
        return result;
    bool own = key != NULL && fl_cert_matches(cert, key);
    *ret_cert = fl_take(cert);
    *ret_key = own ? fl_take(key) : NULL;
    return 0;
}

/* A root of the CA's Secret: its index where it can sign, else it is one of the old ones. */
static int read_signer(struct keeper_material *material, struct fl_span cert_pem, struct fl_span key_pem,
                       int *ret_index, struct fl_key **ret_key)
{
    FL_CLEANUP(fl_cleanup_cert) struct fl_cert *cert = NULL;
    FL_CLEANUP(fl_cleanup_key) struct fl_key *key = NULL;
    *ret_index = -1;
    int result = read_pair(cert_pem, key_pem, &cert, &key);
    if (result < 0 || cert == NULL)
        return result;
    int index = fl_roots_add(&material->roots, cert);
    if (index == -ENOSPC)
        return 0;
    if (index < 0)
        return index;
    if (key != NULL && fl_cert_issued_by(cert, cert)) {
        *ret_index = index;
        *ret_key = fl_take(key);
    } else {
        material->view.old |= keeper_bit(index);
    }
    return 0;
}

static int read_ca(struct keeper_material *material, const struct keeper_secret *ca)
{
    struct keeper_view *view = &material->view;
    uint32_t old;
    int result = read_signer(material, value_of(ca, KEEPER_SECRET_CA_CERT), value_of(ca, KEEPER_SECRET_CA_KEY),
                             &view->current, &material->current_key);
    if (result == 0)
        result = read_signer(material, value_of(ca, KEEPER_SECRET_NEXT_CERT), value_of(ca, KEEPER_SECRET_NEXT_KEY),
                             &view->next, &material->next_key);
    if (result == 0)
        result = read_roots(&material->roots, value_of(ca, KEEPER_SECRET_OLD_CERTS), &old);
    if (result < 0)
        return result;
    if (view->next == view->current)
        view->next = -1;
    view->old = (view->old | old) & ~keeper_bit(view->current) & ~keeper_bit(view->next);
    return 0;
}

/* Roots whose signature the leaf bears, and the leaf itself where somebody trusts it as it is. */
static uint32_t issuers_of(const struct fl_roots *roots, const struct fl_cert *leaf)
{
    uint32_t issuers = 0;
    for (size_t i = 0; i < roots->count; i++) {
        if (fl_cert_equal(leaf, roots->items[i]) || fl_cert_issued_by(leaf, roots->items[i]))
            issuers |= UINT32_C(1) << i;
    }
    return issuers;
}

static int read_leaf(struct keeper_material *material, const struct keeper_material_options *options,
                     const struct keeper_secret *secret)
{
    struct keeper_view *view = &material->view;
    FL_CLEANUP(fl_cleanup_cert) struct fl_cert *leaf = NULL;
    FL_CLEANUP(fl_cleanup_key) struct fl_key *key = NULL;
    time_t not_before, not_after;
    int result =
        read_pair(value_of(secret, KEEPER_SECRET_TLS_CERT), value_of(secret, KEEPER_SECRET_TLS_KEY), &leaf, &key);
    if (result < 0 || key == NULL)
        return result;
    view->leaf_there = true;
    view->leaf_fits = fl_cert_serves(leaf, options->names);
    view->leaf_issuers = issuers_of(&material->roots, leaf);
    fl_cert_validity(leaf, &not_before, &not_after);
    view->leaf_not_before = not_before;
    view->leaf_not_after = not_after;
    if (options->external && view->leaf_issuers == 0)
        view->leaf_issuers = view->given; /* by an intermediate in the chain: whoever made it knows */
    return 0;
}

static void count_bundles(struct keeper_view *view, const struct keeper_configuration *configuration, bool blocked)
{
    for (size_t i = 0; i < configuration->webhook_count; i++) {
        if (blocked) {
            view->blocked++;
            continue;
        }
        view->everywhere = view->bundle_count > 0 ? view->everywhere & configuration->webhooks[i].roots
                                                  : configuration->webhooks[i].roots;
        view->anywhere |= configuration->webhooks[i].roots;
        view->bundle_count++;
    }
}

static int read_configurations(struct keeper_material *material, const struct keeper_material_options *options,
                               struct fl_json *const *objects, struct keeper_configuration *configurations,
                               size_t count, struct fl_err *err)
{
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        result = keeper_configuration_read(objects[i], options->service, options->name_space, &material->roots,
                                           &configurations[i], err);
        if (result == 0)
            count_bundles(&material->view, &configurations[i],
                          options->is_blocked != NULL && options->is_blocked(options->owner, &configurations[i]));
    }
    return result;
}

static int read_secrets(struct keeper_material *material, const struct keeper_material_options *options,
                        const struct keeper_secret *leaf, const struct keeper_secret *ca)
{
    struct fl_span given = value_of(leaf, KEEPER_SECRET_CA_CERT);
    return options->external ? read_roots(&material->roots, given, &material->view.given) : read_ca(material, ca);
}

static int read_all(struct keeper_material *material, const struct keeper_material_options *options,
                    const struct keeper_secret *leaf, const struct keeper_secret *ca, struct fl_json *const *objects,
                    struct keeper_configuration *configurations, size_t count, struct fl_err *err)
{
    uint32_t known;
    int result = read_secrets(material, options, leaf, ca);
    if (result == 0)
        result = read_configurations(material, options, objects, configurations, count, err);
    if (result == 0 && !options->external) /* of help where the leaf's root stands nowhere else */
        result = read_roots(&material->roots, value_of(leaf, KEEPER_SECRET_CA_CERT), &known);
    if (result == 0)
        result = read_leaf(material, options, leaf);
    return result;
}

int keeper_material_read(struct keeper_material *material, const struct keeper_material_options *options,
                         const struct keeper_secret *leaf, const struct keeper_secret *ca,
                         struct fl_json *const *objects, struct keeper_configuration *configurations, size_t count,
                         struct fl_err *err)
{
    struct keeper_view *view = &material->view;
    *view = (struct keeper_view){.external = options->external, .current = -1, .next = -1};
    int result = read_all(material, options, leaf, ca, objects, configurations, count, err);
    if (result < 0) {
        for (size_t i = 0; i < count; i++)
            keeper_configuration_done(&configurations[i]);
        keeper_material_done(material);
        return result == -ENOMEM ? fl_err_set(err, result, "out of memory") : result;
    }
    view->root_count = material->roots.count;
    for (size_t i = 0; i < view->root_count; i++) {
        time_t not_before, not_after;
        fl_cert_validity(material->roots.items[i], &not_before, &not_after);
        view->roots[i] = (struct keeper_root){not_before, not_after, KEEPER_NEVER};
    }
    return 0;
}

int keeper_material_digests(const struct keeper_material *material, keeper_digest *ret_digests)
{
    int result = 0;
    for (size_t i = 0; i < material->roots.count && result == 0; i++)
        result = fl_cert_fingerprint(material->roots.items[i], ret_digests[i]);
    return result;
}

static int print_pair(const struct fl_cert *cert, const struct fl_key *key, struct fl_buf *cert_pem,
                      struct fl_buf *key_pem, struct fl_err *err)
{
    int result = fl_cert_print(cert, cert_pem);
    if (result == 0)
        result = fl_buf_reserve(key_pem, 1024); /* grown at once: nothing of it is left behind on the way */
    if (result == 0)
        result = fl_key_print(key, key_pem);
    return result < 0 ? fl_err_errno(err, result, "cannot print a certificate") : 0;
}

int keeper_make_root(int64_t now, int64_t not_after, struct fl_buf *cert, struct fl_buf *key, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_key) struct fl_key *root_key = NULL;
    FL_CLEANUP(fl_cleanup_cert) struct fl_cert *root = NULL;
    char name[64];
    time_t seconds = (time_t)now;
    struct tm parts;
    strftime(name, sizeof(name), "fairlead webhook root %Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &parts));
    const struct fl_cert_request request = {.common_name = fl_span_str(name),
                                            .not_before = (time_t)(now - (int64_t)KEEPER_BACKDATE_SECONDS),
                                            .not_after = (time_t)not_after,
                                            .authority = true,
                                            .leaves_only = true};
    int result = fl_key_generate(&root_key, err);
    if (result == 0)
        result = fl_cert_issue(&request, root_key, NULL, root_key, &root, err);
    return result == 0 ? print_pair(root, root_key, cert, key, err) : result;
}

int keeper_make_leaf(const struct keeper_material *material, const char *const *names, int64_t now, int64_t not_after,
                     struct fl_buf *cert, struct fl_buf *key, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_key) struct fl_key *leaf_key = NULL;
    FL_CLEANUP(fl_cleanup_cert) struct fl_cert *leaf = NULL;
    const struct fl_cert_request request = {.dns_names = names,
                                            .not_before = (time_t)(now - (int64_t)KEEPER_BACKDATE_SECONDS),
                                            .not_after = (time_t)not_after,
                                            .server_only = true};
    int result = fl_key_generate(&leaf_key, err);
    if (result == 0)
        result = fl_cert_issue(&request, leaf_key, material->roots.items[material->view.current], material->current_key,
                               &leaf, err);
    return result == 0 ? print_pair(leaf, leaf_key, cert, key, err) : result;
}
