#include "control/xds/view.h"

#include "common/mesh/identity.h"

#include <errno.h>
#include <stdio.h>

static int check_identity(const struct control_model *model, struct fl_span text, struct fl_identity *ret_identity,
                          struct fl_err *err)
{
    struct fl_span trust_domain = control_model_settings(model).trust_domain;
    if (fl_identity_parse(text, ret_identity, err) < 0)
        return fl_err_set(err, -EACCES, "identity: %s", err != NULL ? err->text : "");
    if (!fl_span_eq(ret_identity->trust_domain, trust_domain))
        return fl_err_set(err, -EACCES, "identity %.*s is not of trust domain %.*s", FL_SPAN_ARG(text),
                          FL_SPAN_ARG(trust_domain));
    return 0;
}

static bool has_address(const struct control_pod *pod, const char *text)
{
    struct control_ip ip;
    if (control_ip_parse(fl_span_str(text), &ip) < 0)
        return false;
    for (size_t i = 0; i < pod->ip_count; i++)
        if (control_ip_compare(&pod->ips[i], &ip) == 0)
            return true;
    return pod->ip_count == 0; /* it has none yet */
}

/* `identity` is NULL for nobody. */
static int make_sidecar(const struct control_node *node, const struct fl_identity *identity, struct control_view *view,
                        struct fl_err *err)
{
    view->name_space = fl_span_str(node->name_space);
    if (identity != NULL && !fl_span_eq(identity->name_space, view->name_space))
        return fl_err_set(err, -EACCES, "node %s: the identity is of namespace %.*s", node->id,
                          FL_SPAN_ARG(identity->name_space));
    const struct control_pod *pod = control_model_pod(view->model, view->name_space, fl_span_str(node->name));
    if (pod == NULL)
        return 0;
    if (identity != NULL && !fl_span_eq(identity->service_account, pod->service_account))
        return fl_err_set(err, -EACCES, "node %s: the Pod's service account is %.*s, the identity's %.*s", node->id,
                          FL_SPAN_ARG(pod->service_account), FL_SPAN_ARG(identity->service_account));
    if (!has_address(pod, node->ip))
        return fl_err_set(err, -EACCES, "node %s: the Pod has another address", node->id);
    view->pod = pod;
    view->has_workload = true;
    control_workload_of_pod(pod, &view->workload);
    return 0;
}

static int make_gateway(const struct control_node *node, const struct fl_identity *identity, struct fl_arena *arena,
                        struct control_view *view, struct fl_err *err)
{
    view->name_space = fl_span_str(node->name_space);
    const struct control_key key = {CONTROL_GATEWAY, view->name_space, fl_span_str(node->name)};
    const struct control_object *object = control_model_get(view->model, key);
    char account[sizeof(node->name) + 16];
    snprintf(account, sizeof(account), "%s-fairlead", node->name);
    if (identity != NULL &&
        (!fl_span_eq(identity->name_space, view->name_space) || !fl_span_eq_str(identity->service_account, account)))
        return fl_err_set(err, -EACCES, "node %s: Gateway %s/%s belongs to service account %s", node->id,
                          node->name_space, node->name, account);
    if (object == NULL)
        return 0;
    view->gateway = control_as_gateway(object);
    view->has_workload = true;
    return control_workload_of_gateway(view->gateway, arena, &view->workload);
}

int control_view_make(const struct control_model *model, const struct control_node *node, struct fl_span identity,
                      struct fl_arena *arena, struct control_view *ret_view, struct fl_err *err)
{
    struct fl_identity parsed;
    struct control_view view = {.model = model, .role = node->role, .on_demand = node->on_demand, .identity = identity};
    int result = identity.len > 0 ? check_identity(model, identity, &parsed, err) : 0;
    const struct fl_identity *who = identity.len > 0 ? &parsed : NULL;
    if (result == 0 && node->role == CONTROL_ROLE_SIDECAR)
        result = make_sidecar(node, who, &view, err);
    else if (result == 0 && node->role == CONTROL_ROLE_GATEWAY)
        result = make_gateway(node, who, arena, &view, err);
    else if (result == 0 && who != NULL)
        view.name_space = who->name_space;
    if (result == 0)
        *ret_view = view;
    return result == -ENOMEM ? fl_err_set(err, -ENOMEM, "out of memory") : result;
}
