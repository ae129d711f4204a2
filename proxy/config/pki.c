/* DataSources that hold certificates, keys and roots. */
#include "proxy/config/pki.h"
#include "proxy/config/context.h"

#include "common/base/siphash.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"

#include <errno.h>

#define KEY_PEM_MAX 65536

enum pki_kind { PKI_CERT = 'c', PKI_KEY = 'k', PKI_BUNDLE = 'b' };

struct pki { /* in scratch memory */
    enum pki_kind kind;
    void *object;    /* counted */
    uint64_t digest; /* of the bytes, where they came from a file or a variable; else 0 */
};

static void release_pki(const struct pki *pki)
{
    switch (pki->kind) {
    case PKI_CERT:
        fl_cert_unref(pki->object);
        break;
    case PKI_KEY:
        fl_key_unref(pki->object);
        break;
    case PKI_BUNDLE:
        fl_bundle_unref(pki->object);
        break;
    default:
        break;
    }
}

void proxy_pki_cache_done(struct fl_map *cache)
{
    void *value;
    for (size_t cursor = 0; fl_map_next(cache, &cursor, NULL, &value);)
        release_pki(value);
    fl_map_done(cache);
}

static int note_cert(struct compile *compile, const pb_data_source *source, struct fl_cert *cert)
{
    struct fl_span name = compile_source_name(source);
    struct proxy_cert_info *info = fl_arena_alloc(&compile->scratch, sizeof(*info));
    if (info != NULL)
        info->path = fl_arena_copy(&compile->scratch, name);
    if (info == NULL || info->path.data == NULL)
        return compile_no_memory(compile);
    struct fl_span spiffe;
    if (fl_cert_spiffe(cert, &spiffe, NULL) == 0) {
        info->spiffe = fl_arena_copy(&compile->scratch, spiffe);
        if (info->spiffe.data == NULL)
            return compile_no_memory(compile);
    }
    time_t before, after;
    fl_cert_validity(cert, &before, &after);
    info->not_before = before;
    info->not_after = after;
    int result = fl_map_put(&compile->certs, info->path, info);
    return result == 0 || result == -EEXIST ? 0 : compile_no_memory(compile);
}

static int parse_pki(struct compile *compile, enum pki_kind kind, struct fl_span bytes, void **ret_object)
{
    struct fl_cert *cert = NULL;
    struct fl_key *key = NULL;
    struct fl_bundle *bundle = NULL;
    int result;
    switch (kind) {
    case PKI_CERT:
        result = fl_cert_parse(bytes, &cert, compile->err);
        break;
    case PKI_KEY:
        result = fl_key_parse(bytes, &key, compile->err);
        break;
    case PKI_BUNDLE:
    default:
        result = fl_bundle_parse(bytes, &bundle, compile->err);
        break;
    }
    *ret_object = kind == PKI_CERT ? (void *)cert : kind == PKI_KEY ? (void *)key : (void *)bundle;
    return result == 0 ? 0 : compile_prefix(compile, result);
}

/* Takes the object, whatever comes. */
static int remember_pki(struct compile *compile, struct fl_span id, const struct pki *found, struct pki **ret_pki)
{
    struct pki *pki = fl_arena_alloc(&compile->scratch, sizeof(*pki));
    if (pki != NULL)
        *pki = *found;
    if (pki == NULL || fl_map_put(&compile->pki, id, pki) != 0) {
        release_pki(found);
        return compile_no_memory(compile);
    }
    *ret_pki = pki;
    return 0;
}

static bool is_outside(const pb_data_source *source)
{
    return source->specifier_case == ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_FILENAME ||
           source->specifier_case == ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_ENVIRONMENT_VARIABLE;
}

static int read_pki(struct compile *compile, const pb_data_source *source, struct fl_span id, enum pki_kind kind,
                    struct pki **ret_pki)
{
    struct fl_span bytes = {NULL, 0};
    struct pki found = {.kind = kind};
    size_t max = kind == PKI_KEY ? KEY_PEM_MAX : kind == PKI_CERT ? FL_CERT_PEM_MAX : FL_BUNDLE_PEM_MAX;
    int result = COMPILE_ONLY(compile, source, "filename", "inline_bytes", "inline_string", "environment_variable",
                              "watched_directory");
    bool read_before = compile->reads_files; /* what is read here is the setting's, not the resource's */
    if (result == 0)
        result = compile_source(compile, source, max, &bytes);
    compile->reads_files = read_before;
    if (result == 0)
        result = parse_pki(compile, kind, bytes, &found.object);
    if (result == 0 && is_outside(source))
        found.digest = fl_siphash(bytes);
    if (kind == PKI_KEY && bytes.data != NULL &&
        source->specifier_case == ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_FILENAME)
        explicit_bzero((char *)(uintptr_t)bytes.data, bytes.len); /* our copy, in scratch memory */
    if (result == 0)
        result = remember_pki(compile, id, &found, ret_pki);
    return result == 0 && kind == PKI_CERT ? note_cert(compile, source, found.object) : result;
}

/* At the DataSource. */
static int load_pki(struct compile *compile, const pb_data_source *source, enum pki_kind kind, void **ret_object)
{
    size_t size = protobuf_c_message_get_packed_size(&source->base);
    char *id = fl_arena_alloc(&compile->scratch, size + 1);
    if (id == NULL)
        return compile_no_memory(compile);
    id[0] = (char)kind;
    protobuf_c_message_pack(&source->base, (uint8_t *)id + 1);
    struct pki *pki = fl_map_get(&compile->pki, fl_span_make(id, size + 1));
    int result = pki != NULL ? 0 : read_pki(compile, source, fl_span_make(id, size + 1), kind, &pki);
    if (result != 0)
        return result;
    compile->digest = compile->digest * 31 + pki->digest;
    *ret_object = pki->object;
    return 0;
}

static int load_at(struct compile *compile, const char *field, const pb_data_source *source, enum pki_kind kind,
                   void **ret_object)
{
    if (source == NULL)
        return compile_fail_at(compile, field, "must be set");
    struct compile_mark mark = compile_enter(compile, field);
    int result = load_pki(compile, source, kind, ret_object);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

int compile_cert(struct compile *compile, const char *field, const pb_data_source *source, struct fl_cert **ret_cert)
{
    void *object;
    int result = load_at(compile, field, source, PKI_CERT, &object);
    if (result == 0)
        *ret_cert = object;
    return result;
}

int compile_key(struct compile *compile, const char *field, const pb_data_source *source, struct fl_key **ret_key)
{
    void *object;
    int result = load_at(compile, field, source, PKI_KEY, &object);
    if (result == 0)
        *ret_key = object;
    return result;
}

int compile_bundle(struct compile *compile, const char *field, const pb_data_source *source,
                   struct fl_bundle **ret_bundle)
{
    void *object;
    int result = load_at(compile, field, source, PKI_BUNDLE, &object);
    if (result == 0)
        *ret_bundle = object;
    return result;
}
