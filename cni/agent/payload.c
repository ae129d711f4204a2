#include "cni/agent/payload.h"

#include <errno.h>

static int not_yet(const struct cni_payload *payload, struct fl_err *err)
{
    return fl_err_set(err, -ENOSYS, "%s: installing the plugin's files is not built yet", payload->bin_dir);
}

int cni_payload_install(const struct cni_payload *payload, struct fl_err *err)
{
    return not_yet(payload, err);
}

int cni_payload_check(const struct cni_payload *payload, struct fl_err *err)
{
    return not_yet(payload, err);
}

int cni_payload_prune(const struct cni_payload *payload, struct fl_err *err)
{
    return not_yet(payload, err);
}

int cni_payload_remove(const struct cni_payload *payload, struct fl_err *err)
{
    return not_yet(payload, err);
}

int cni_payload_version(const struct cni_payload *payload, char ret_name[CNI_PAYLOAD_NAME_MAX], struct fl_err *err)
{
    (void)ret_name;
    return not_yet(payload, err);
}

int cni_payload_in_force(const struct cni_payload *payload, char ret_name[CNI_PAYLOAD_NAME_MAX], struct fl_err *err)
{
    (void)ret_name;
    return not_yet(payload, err);
}
