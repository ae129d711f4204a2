/* 501: NetworkPolicies between meshed pods and what they need: the control plane's 15012 and DNS for its name; and
 * between whoever scrapes and 15020.
 *
 * Thousands of pods, most of them alike: what stands between is told once for each policy and port, with the first pod
 * and the number of the others.
 */
#include "cli/check/checks.h"
#include "cli/check/netpolicy.h"
#include "cli/check/subject.h"

#include "common/mesh/port.h"

#include <stdio.h>

#define WALLS_MAX 64 /* that are told apart; more are in the report's count of no one */
#define DNS_PORT  53

struct wall { /* a policy that stands before a port */
    const struct fl_json *policy, *pod;
    enum cli_direction direction;
    uint16_t port;
    size_t others, policies;
};

struct walls {
    const struct cli_world *world;
    struct wall items[WALLS_MAX];
    size_t count;
};

static const struct fl_json *space_of(const struct cli_world *world, const struct fl_json *pod)
{
    const struct fl_json *item = cli_world_first(world, CLI_DOCUMENT_NAMESPACES);
    while (item != NULL && !fl_span_eq(cli_object_name(item), cli_object_space(pod)))
        item = fl_json_next(item);
    return item;
}

static void note(struct walls *walls, const struct fl_json *policy, size_t policies, const struct fl_json *pod,
                 enum cli_direction direction, uint16_t port)
{
    size_t i = 0;
    while (i < walls->count &&
           (walls->items[i].policy != policy || walls->items[i].direction != direction || walls->items[i].port != port))
        i++;
    if (i < walls->count)
        walls->items[i].others++;
    else if (walls->count < WALLS_MAX)
        walls->items[walls->count++] = (struct wall){policy, pod, direction, port, 0, policies};
}

static void ask(struct walls *walls, enum cli_direction direction, const struct fl_json *subject,
                const struct fl_json *peer, const char *protocol, uint16_t port)
{
    const struct fl_json *policy;
    size_t policies;
    const struct cli_flow flow = {
        .direction = direction,
        .subject = {subject, NULL},
        .peer = {peer, peer != NULL ? space_of(walls->world, peer) : NULL},
        .protocol = protocol,
        .port = port,
    };
    if (!cli_netpolicy_allows(cli_world_first(walls->world, CLI_DOCUMENT_POLICIES), &flow, &policy, &policies))
        note(walls, policy, policies, subject, direction, port);
}

static const struct fl_json *pod_of(const struct cli_world *world, const char *component)
{
    const struct fl_json *pod = cli_world_first(world, CLI_DOCUMENT_MESH_PODS);
    while (pod != NULL && (!fl_span_eq_str(cli_object_label(pod, "app.kubernetes.io/name"), "fairlead") ||
                           !fl_span_eq_str(cli_object_label(pod, "app.kubernetes.io/component"), component)))
        pod = fl_json_next(pod);
    return pod;
}

static void look_at(struct walls *walls, const struct fl_json *pod, const struct fl_json *control)
{
    if (control != NULL) {
        ask(walls, CLI_EGRESS, pod, control, "TCP", FL_PORT_XDS);
        ask(walls, CLI_INGRESS, control, pod, "TCP", FL_PORT_XDS);
        ask(walls, CLI_EGRESS, pod, NULL, "UDP", DNS_PORT);
    }
    ask(walls, CLI_INGRESS, pod, NULL, "TCP", FL_PORT_MERGED);
}

static const char *hint_of(const struct wall *wall)
{
    if (wall->port == DNS_PORT)
        return "allow egress to kube-dns (namespace kube-system), UDP and TCP 53: the control plane is found by its "
               "name";
    if (wall->port == FL_PORT_MERGED)
        return "allow ingress to TCP 15020 from whoever scrapes metrics; the app's probes come there as well, from the "
               "node, which policies let in";
    return wall->direction == CLI_EGRESS
               ? "allow egress to the mesh's namespace, TCP 15012: the sidecar gets its certificate and its "
                 "configuration there"
               : "allow ingress to fairlead-control's pods, TCP 15012, from every meshed namespace";
}

static void tell(const struct wall *wall, struct cli_report *report)
{
    char others[64] = "", policies[64] = "";
    if (wall->others > 0)
        (void)snprintf(others, sizeof(others), " (and %zu more)", wall->others);
    if (wall->policies > 1)
        (void)snprintf(policies, sizeof(policies), " (with %zu more that select it)", wall->policies - 1);
    cli_report_find(report, wall->port == FL_PORT_XDS ? CLI_CHECK_FAILED : CLI_CHECK_WARNING, hint_of(wall),
                    "NetworkPolicy %.*s/%.*s%s: nothing lets %s %.*s/%.*s%s %s port %u",
                    FL_SPAN_ARG(cli_object_space(wall->policy)), FL_SPAN_ARG(cli_object_name(wall->policy)), policies,
                    wall->direction == CLI_EGRESS ? "pod"
                    : wall->port == FL_PORT_XDS   ? "meshed pods reach"
                                                  : "anybody reach pod",
                    FL_SPAN_ARG(cli_object_space(wall->pod)), FL_SPAN_ARG(cli_object_name(wall->pod)), others,
                    wall->direction == CLI_INGRESS ? "at"
                    : wall->port == DNS_PORT       ? "reach DNS,"
                                                   : "reach the control plane's",
                    wall->port);
}

void cli_check_network(const struct cli_world *world, struct cli_report *report)
{
    struct walls walls = {.world = world};
    size_t pods = 0;
    cli_report_begin(report, CLI_CHECK_NETWORK_POLICIES);
    if (!cli_check_has(world, CLI_DOCUMENT_POLICIES, report) || !cli_check_has(world, CLI_DOCUMENT_PODS, report))
        return;
    const struct fl_json *control = pod_of(world, "control");
    for (const struct fl_json *pod = cli_world_first(world, CLI_DOCUMENT_PODS); pod != NULL; pod = fl_json_next(pod))
        if (cli_subject_is_wanted(world, pod) && cli_subject_sidecar(pod) != NULL) {
            pods++;
            look_at(&walls, pod, control);
        }
    for (size_t i = 0; i < walls.count; i++)
        tell(&walls.items[i], report);
    if (control == NULL && world->documents[CLI_DOCUMENT_MESH_PODS] != NULL && pods > 0)
        cli_report_find(report, CLI_CHECK_SKIPPED, NULL, "there is no pod of the control plane to be reached");
    cli_report_fact(report, "%zu meshed pods", pods);
}
