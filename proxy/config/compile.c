#include "proxy/config/compile.h"

#include "proxy/config/context.h"

#include <errno.h>

#define NAMES_MAX 65536 /* distinct files, certificates, TLS contexts */

static int read_static(struct compile *compile, const pb_bootstrap *bootstrap)
{
    if (bootstrap->static_resources == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "static_resources");
    int result = COMPILE_REFUSE(compile, bootstrap->static_resources, "secrets");
    if (result == 0) /* first: listeners name clusters */
        result =
            compile_clusters(compile, bootstrap->static_resources->clusters, bootstrap->static_resources->n_clusters);
    if (result == 0)
        result = compile_listeners(compile, bootstrap->static_resources->listeners,
                                   bootstrap->static_resources->n_listeners);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int read_admin(struct compile *compile, const pb_bootstrap *bootstrap)
{
    if (bootstrap->admin == NULL || bootstrap->admin->address == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "admin");
    compile_enter(compile, "address");
    int result = compile_address(compile, bootstrap->admin->address, &compile->snapshot->admin, NULL);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static bool has_dynamic(const pb_bootstrap *bootstrap)
{
    return bootstrap->dynamic_resources != NULL &&
           (bootstrap->dynamic_resources->ads_config != NULL || bootstrap->dynamic_resources->lds_config != NULL ||
            bootstrap->dynamic_resources->cds_config != NULL);
}

static int read_bootstrap(struct compile *compile, const pb_bootstrap *bootstrap)
{
    if (has_dynamic(bootstrap))
        return compile_fail_at(compile, "dynamic_resources",
                               "dynamic_resources is not supported yet: give listeners and clusters in "
                               "static_resources");
    struct compile_mark mark = compile_enter(compile, "node");
    int result = compile_node(compile, bootstrap->node);
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    result = read_admin(compile, bootstrap);
    return result == 0 ? read_static(compile, bootstrap) : result;
}

/* The files and certificates that were met, as arrays of the snapshot. */
static int collect(struct compile *compile)
{
    struct proxy_snapshot *snapshot = compile->snapshot;
    struct proxy_watched_file *files = compile_array(compile, compile->files.count, sizeof(*files));
    struct proxy_cert_info *certs = compile_array(compile, compile->certs.count, sizeof(*certs));
    if (files == NULL || certs == NULL)
        return compile_no_memory(compile);
    void *value;
    for (size_t cursor = 0; fl_map_next(&compile->files, &cursor, NULL, &value);)
        files[snapshot->file_count++] = *(const struct proxy_watched_file *)value;
    for (size_t cursor = 0; fl_map_next(&compile->certs, &cursor, NULL, &value);)
        certs[snapshot->cert_count++] = *(const struct proxy_cert_info *)value;
    snapshot->files = files;
    snapshot->certs = certs;
    return 0;
}

/* Kept as bytes: /config_dump shows it, a refresh compiles it again. */
static int keep(struct compile *compile, const pb_bootstrap *bootstrap)
{
    int result = fl_xds_pack(&bootstrap->base, &compile->snapshot->arena, &compile->snapshot->bootstrap);
    return result == 0 ? 0 : compile_no_memory(compile);
}

static void compile_init(struct compile *compile, struct proxy_snapshot *snapshot,
                         const struct proxy_compile_from *from, struct fl_err *err)
{
    *compile = (struct compile){.snapshot = snapshot, .err = err};
    fl_arena_init(&compile->scratch, COMPILE_SCRATCH_MAX);
    fl_map_init(&compile->tls_contexts, NAMES_MAX);
    fl_map_init(&compile->pki, NAMES_MAX);
    fl_map_init(&compile->files, NAMES_MAX);
    fl_map_init(&compile->certs, NAMES_MAX);
    fl_reader_init(&compile->reader, from->positions, err);
    compile->here = from->document;
    compile->lost = from->document == NULL;
    compile->report = from->report;
}

static void compile_done(struct compile *compile)
{
    fl_map_done(&compile->tls_contexts);
    fl_map_done(&compile->pki);
    fl_map_done(&compile->files);
    fl_map_done(&compile->certs);
    fl_arena_done(&compile->scratch);
}

int proxy_compile(const pb_bootstrap *bootstrap, const struct proxy_compile_from *from,
                  struct proxy_snapshot **ret_snapshot, struct fl_err *err)
{
    struct fl_err unread;
    FL_CLEANUP(fl_cleanup_proxy_snapshot) struct proxy_snapshot *snapshot = proxy_snapshot_new(PROXY_SNAPSHOT_MAX);
    if (snapshot == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    struct fl_xds_report counting = {0};
    struct proxy_compile_from place = from != NULL ? *from : (struct proxy_compile_from){0};
    if (place.report == NULL)
        place.report = &counting;
    struct compile compile;
    compile_init(&compile, snapshot, &place, err != NULL ? err : &unread);
    int result = read_bootstrap(&compile, bootstrap);
    if (result == 0)
        result = collect(&compile);
    if (result == 0)
        result = keep(&compile, bootstrap);
    snapshot->ignored_fields = place.report->ignored;
    snapshot->version = 1;
    compile_done(&compile);
    if (result == 0)
        *ret_snapshot = fl_take(snapshot);
    return result;
}
