#include "common/kube/access.h"

static void material_done(struct fl_kube_material *material)
{
    free(material->file);
    fl_buf_wipe(&material->pem);
}

void fl_kube_access_done(struct fl_kube_access *access)
{
    free(access->server);
    free(access->tls_server_name);
    free(access->name_space);
    free(access->proxy);
    for (size_t i = 0; i < access->header_count; i++)
        free(access->headers[i]);
    free(access->headers);
    fl_kube_plugin_free(access->plugin);
    material_done(&access->ca);
    material_done(&access->cert);
    material_done(&access->key);
    material_done(&access->token);
    *access = (struct fl_kube_access){0};
}
