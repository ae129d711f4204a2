#include "cli/gather.h"

#include "cli/workload.h"

struct gathering {
    struct cli_scene *scene;
    struct fl_span otherwise;
};

static int gather_object(void *context, const char *file, struct fl_json *object)
{
    const struct gathering *gathering = context;
    struct cli_workload workload;
    (void)file;
    if (fl_span_eq_str(fl_json_string(fl_json_get(object, "kind")), "Namespace"))
        return cli_scene_add(gathering->scene, object);
    if (!cli_workload_find(object, &workload))
        return 0;
    return cli_scene_need(gathering->scene, workload.space.len > 0 ? workload.space : gathering->otherwise);
}

int cli_gather(const struct cli_manifests *manifests, struct fl_span otherwise, struct cli_scene *scene)
{
    struct gathering gathering = {scene, otherwise};
    return cli_manifests_visit(manifests, gather_object, &gathering);
}

int cli_gather_file(const char *path, struct fl_span otherwise, struct cli_scene *scene, struct fl_err *err)
{
    struct cli_manifests manifests = {0};
    char *paths[] = {(char *)(uintptr_t)path};
    if (path == NULL)
        return 0;
    int result = cli_manifests_read(paths, 1, false, &manifests, err);
    if (result == 0)
        result = cli_gather(&manifests, otherwise, scene);
    cli_manifests_done(&manifests);
    return result;
}
