#include "control/model/reader.h"

#include "common/base/siphash.h"
#include "control/model/kind/kinds.h"

#include <errno.h>
#include <stdio.h>

#define CHUNK_BYTES     448         /* of an object's arena: most objects take one to three */
#define HASH_BYTES_MAX  (64u << 20) /* of a document as JSON */
#define BROKEN_TEXT_MAX FL_ERR_TEXT_MAX

static const struct {
    const char *name, *group, *versions;
    const struct control_kind_reader *reader;
} kinds[CONTROL_KIND_COUNT] = {
#define ROW(constant, kind, api_group, api_versions, namespaced)                                                       \
    [CONTROL_##constant] = {kind, api_group, api_versions, NULL},
    CONTROL_KINDS(ROW)
#undef ROW
};

static const struct control_kind_reader *reader_of(enum control_kind kind)
{
    static const struct control_kind_reader *const readers[CONTROL_KIND_COUNT] = {
        [CONTROL_NAMESPACE] = &control_read_namespace,
        [CONTROL_SERVICE] = &control_read_service,
        [CONTROL_ENDPOINT_SLICE] = &control_read_slice,
        [CONTROL_POD] = &control_read_pod,
        [CONTROL_SERVICE_ACCOUNT] = &control_read_service_account,
        [CONTROL_SECRET] = &control_read_secret,
        [CONTROL_GATEWAY_CLASS] = &control_read_gateway_class,
        [CONTROL_GATEWAY] = &control_read_gateway,
        [CONTROL_LISTENER_SET] = &control_read_listener_set,
        [CONTROL_HTTP_ROUTE] = &control_read_http_route,
        [CONTROL_GRPC_ROUTE] = &control_read_grpc_route,
        [CONTROL_TCP_ROUTE] = &control_read_tcp_route,
        [CONTROL_TLS_ROUTE] = &control_read_tls_route,
        [CONTROL_REFERENCE_GRANT] = &control_read_reference_grant,
        [CONTROL_AUTHORIZATION_POLICY] = &control_read_authorization_policy,
        [CONTROL_REQUEST_AUTHENTICATION] = &control_read_request_authentication,
        [CONTROL_PEER_AUTHENTICATION] = &control_read_peer_authentication,
        [CONTROL_TRAFFIC_POLICY] = &control_read_traffic_policy,
        [CONTROL_TELEMETRY] = &control_read_telemetry,
        [CONTROL_MESH_SETTINGS] = &control_read_mesh_settings,
    };
    return readers[kind];
}

/* "apps/v1" → "apps", "v1"; "v1" → "", "v1". */
static void split_version(struct fl_span text, struct fl_span *ret_group, struct fl_span *ret_version)
{
    size_t slash = fl_span_find(text, '/');
    *ret_group = slash < text.len ? fl_span_make(text.data, slash) : FL_SPAN("");
    *ret_version = slash < text.len ? fl_span_from(text, slash + 1) : text;
}

static bool has_word(struct fl_span words, struct fl_span wanted)
{
    struct fl_span word;
    while (fl_span_split(&words, ' ', &word))
        if (fl_span_eq(word, wanted))
            return true;
    return false;
}

/* CONTROL_READ_OK, CONTROL_READ_FOREIGN, -EINVAL. An unknown kind of fairlead.io is an error: it is ours. *known: the
 * kind is told also where its version is wrong. */
static int find_kind(struct fl_reader *reader, const struct fl_json *document, enum control_kind *kind, bool *known)
{
    const struct fl_json *api = fl_json_get(document, "apiVersion"), *name = fl_json_get(document, "kind");
    struct fl_span group, version;
    if (!fl_json_is(document, FL_JSON_OBJECT))
        return fl_reader_expected(reader, document, "an object with apiVersion and kind");
    if (!fl_json_is(api, FL_JSON_STRING) || !fl_json_is(name, FL_JSON_STRING))
        return fl_reader_fail(reader, document, "apiVersion and kind are required");
    split_version(fl_json_string(api), &group, &version);
    for (size_t i = 0; i < CONTROL_KIND_COUNT; i++) {
        if (!fl_span_eq_str(fl_json_string(name), kinds[i].name) || !fl_span_eq_str(group, kinds[i].group))
            continue;
        *kind = (enum control_kind)i;
        *known = true;
        if (!has_word(fl_span_str(kinds[i].versions), version))
            return fl_reader_fail(reader, api, "%s of version \"%.*s\" is not known; known are %s", kinds[i].name,
                                  FL_SPAN_ARG(version), kinds[i].versions);
        return CONTROL_READ_OK;
    }
    if (fl_span_eq(group, FL_SPAN("fairlead.io")))
        return fl_reader_fail(reader, name, "fairlead.io has no kind \"%.64s\"", fl_json_string(name).data);
    return CONTROL_READ_FOREIGN;
}

static void identify(const struct fl_json *document, const struct fl_positions *positions, bool kind_known,
                     enum control_kind kind, struct control_identity *ret_identity)
{
    const struct fl_json *metadata = fl_json_get(document, "metadata");
    struct fl_span name_space = fl_json_string(fl_json_get(metadata, "namespace"));
    *ret_identity = (struct control_identity){.position = fl_positions_find(positions, document)};
    if (!kind_known)
        return;
    if (!control_kind_namespaced(kind))
        name_space = FL_SPAN("");
    else if (name_space.len == 0)
        name_space = FL_SPAN(CONTROL_DEFAULT_NAMESPACE);
    ret_identity->key = (struct control_key){kind, name_space, fl_json_string(fl_json_get(metadata, "name"))};
    ret_identity->known =
        fl_is_dns_subdomain(ret_identity->key.name) && (name_space.len == 0 || fl_is_dns_label(name_space));
}

/* The document's own text, so that equal content gives an equal version in every process. */
static int hash(const struct fl_json *document, uint64_t *ret_hash)
{
    static const uint64_t key[2] = {0x6661697261616400, 0x6d6f64656c000001};
    struct fl_buf text;
    fl_buf_init(&text, HASH_BYTES_MAX);
    int result = fl_json_print(document, &text);
    if (result == 0)
        *ret_hash = fl_siphash_keyed(key, 1, 3, fl_buf_span(&text));
    fl_buf_done(&text);
    return result;
}

static int start_object(enum control_kind kind, const struct control_origin *origin, struct control_object **ret_object)
{
    struct fl_arena arena;
    fl_arena_init_small(&arena, CONTROL_OBJECT_BYTES_MAX, CHUNK_BYTES);
    struct control_object *object = fl_arena_alloc(&arena, reader_of(kind)->size);
    struct fl_span source = object != NULL ? fl_arena_copy(&arena, origin->source) : (struct fl_span){NULL, 0};
    if (source.data == NULL) {
        fl_arena_done(&arena);
        return -ENOMEM;
    }
    atomic_init(&object->references, 1);
    object->kind = kind;
    object->origin = *origin;
    object->origin.source = source;
    object->arena = arena;
    *ret_object = object;
    return 0;
}

static int read_metadata(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    int result = fl_metadata_read(reader, document, reader->context, &object->metadata);
    if (result < 0)
        return result;
    if (!control_kind_namespaced(object->kind))
        object->metadata.name_space = FL_SPAN("");
    else if (object->metadata.name_space.len == 0)
        object->metadata.name_space = FL_SPAN(CONTROL_DEFAULT_NAMESPACE);
    return 0;
}

/* Policies whose spec was not understood stay, closed, with the reason. Everything read so far is dropped. */
static int close_object(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    const struct control_kind_reader *kind = reader_of(object->kind);
    struct fl_span why = fl_span_str(reader->err != NULL ? reader->err->text : "not understood");
    size_t head = sizeof(struct control_object);
    memset((char *)object + head, 0, kind->size - head);
    why = fl_arena_copy(reader->context, why);
    if (why.data == NULL)
        return -ENOMEM;
    object->broken = why;
    struct fl_err *err = reader->err, ignored = {0};
    reader->err = &ignored; /* what `close` finds is no news */
    int result = kind->close(reader, document, object);
    reader->err = err;
    return result;
}

/* -ENOMEM also stands for an object that is larger than its arena may become: tell these apart. */
static int memory_result(struct fl_reader *reader, const struct fl_json *document, const struct control_object *object)
{
    if (object->arena.used < CONTROL_OBJECT_BYTES_MAX / 2)
        return -ENOMEM;
    fl_reader_fail(reader, document, "larger than %u bytes in memory", CONTROL_OBJECT_BYTES_MAX);
    return -EMSGSIZE;
}

static int fill(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    int result = read_metadata(reader, document, object);
    if (result < 0)
        return result;
    result = reader_of(object->kind)->read(reader, document, object);
    if (result == -EINVAL && reader_of(object->kind)->close != NULL)
        result = close_object(reader, document, object);
    return result;
}

static int read_object(struct fl_reader *reader, const struct fl_json *document, enum control_kind kind,
                       const struct control_origin *origin, struct control_object **ret_object)
{
    FL_CLEANUP(control_cleanup_object) struct control_object *object = NULL;
    int result = start_object(kind, origin, &object);
    if (result < 0)
        return result;
    reader->context = &object->arena;
    result = fill(reader, document, object);
    if (result == 0)
        result = hash(document, &object->version);
    if (result == -ENOMEM)
        return memory_result(reader, document, object);
    if (result == 0)
        *ret_object = fl_take(object);
    return result;
}

/* -- closing without an object --------------------------------------------------------------------------------------
 */

/* A name of our own, the same in every process, that no file can take from another policy by accident. */
static struct fl_span make_name(struct fl_arena *arena, const struct control_origin *origin)
{
    static const uint64_t key[2] = {0x6661697261616400, 0x636c6f7365640001};
    char text[64];
    unsigned long long source = fl_siphash_keyed(key, 1, 3, origin->source);
    int length = snprintf(text, sizeof(text), "unnamed-%016llx-%u-%u", source, origin->document, origin->line);
    return fl_arena_copy(arena, fl_span_make(text, (size_t)length));
}

static int name_closed(const struct control_key *key, struct fl_span root, struct control_object *object)
{
    object->metadata = (struct fl_metadata){.created = INT64_MAX};
    struct fl_span name = key->name;
    if (name.len == 0 && object->kind == CONTROL_MESH_SETTINGS)
        name = FL_SPAN("default"); /* the one that counts: another name would close nothing */
    bool usable = fl_is_dns_subdomain(name) || fl_span_eq_str(name, CONTROL_LEFT_OUT);
    object->metadata.name = usable ? fl_arena_copy(&object->arena, name) : make_name(&object->arena, &object->origin);
    object->metadata.name_space =
        fl_arena_copy(&object->arena, fl_is_dns_label(key->name_space) ? key->name_space : root);
    return object->metadata.name.data == NULL || object->metadata.name_space.data == NULL ? -ENOMEM : 0;
}

bool control_kind_closes(enum control_kind kind)
{
    return reader_of(kind)->close != NULL;
}

int control_object_close(const struct control_key *key, const struct control_origin *origin, struct fl_span root,
                         const char *why, const struct fl_json *document, struct control_object **ret_object)
{
    static const uint64_t hash_key[2] = {0x6661697261616400, 0x636c6f7365640002};
    FL_CLEANUP(control_cleanup_object) struct control_object *object = NULL;
    struct fl_err text = {0};
    struct fl_reader reader;
    fl_err_set(&text, -EINVAL, "%s", why);
    fl_reader_init(&reader, NULL, &text);
    int result = start_object(key->kind, origin, &object);
    if (result == 0)
        result = name_closed(key, root, object);
    if (result < 0)
        return result;
    reader.context = &object->arena;
    result = close_object(&reader, document, object);
    if (result < 0)
        return result;
    object->version = fl_siphash_keyed(hash_key, 1, 3, object->broken);
    *ret_object = fl_take(object);
    return 0;
}

/* The key of a policy whose metadata may be anything: what cannot be told is empty. */
static struct control_key closing_key(const struct fl_json *document, enum control_kind kind)
{
    const struct fl_json *metadata = fl_json_get(document, "metadata"), *given = fl_json_get(metadata, "namespace");
    bool absent = given == NULL || fl_json_is(given, FL_JSON_NULL);
    struct fl_span name_space = fl_json_string(given);
    if (fl_json_is(metadata, FL_JSON_OBJECT) && (absent || (fl_json_is(given, FL_JSON_STRING) && name_space.len == 0)))
        name_space = FL_SPAN(CONTROL_DEFAULT_NAMESPACE);
    return (struct control_key){kind, name_space, fl_json_string(fl_json_get(metadata, "name"))};
}

int control_object_read(const struct fl_json *document, const struct fl_positions *positions,
                        const struct control_origin *origin, struct fl_span root, struct control_object **ret_object,
                        struct control_identity *ret_identity, struct fl_err *err)
{
    struct fl_err own = {0};
    struct fl_reader reader;
    enum control_kind kind = CONTROL_NAMESPACE;
    struct control_origin at = *origin;
    bool known = false;
    fl_reader_init(&reader, positions, err != NULL ? err : &own);
    int result = find_kind(&reader, document, &kind, &known);
    identify(document, positions, known, kind, ret_identity);
    at.line = ret_identity->position.line;
    at.column = ret_identity->position.column;
    if (result == CONTROL_READ_OK)
        result = read_object(&reader, document, kind, &at, ret_object);
    if ((result != -EINVAL && result != -EMSGSIZE) || !known || !control_kind_closes(kind))
        return result;
    const struct control_key key = closing_key(document, kind);
    return control_object_close(&key, &at, root, reader.err->text, result == -EINVAL ? document : NULL, ret_object);
}

const struct fl_json *control_read_items(const struct fl_json *document)
{
    struct fl_span kind = fl_json_string(fl_json_get(document, "kind"));
    const struct fl_json *items = fl_json_get(document, "items");
    return fl_span_ends_with(kind, FL_SPAN("List")) && fl_json_is(items, FL_JSON_ARRAY) ? items : NULL;
}
