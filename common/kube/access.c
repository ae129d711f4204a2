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
    material_done(&access->ca);
    material_done(&access->cert);
    material_done(&access->key);
    material_done(&access->token);
    *access = (struct fl_kube_access){0};
}
