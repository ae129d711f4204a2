/* 301, 302, 305: roots, the trust bundle in every namespace, and clocks, by which both are judged. */
#include "cli/check/certificate.h"
#include "cli/check/checks.h"
#include "cli/check/subject.h"

#include "common/kube/object.h"

#include <stdlib.h>

#define SKEW_TOLD  5  /* seconds between two clocks */
#define SKEW_WRONG 60 /* certificates begin a minute before they are made */
#define BEAT_MAX   60 /* a kubelet renews its Lease each 10 s; one that is silent longer is not Ready soon */

#define BUNDLE_HINT                                                                                                    \
    "the control plane writes ConfigMap " FL_ROOT_MAP                                                                  \
    " into every namespace and corrects it: see check 204, and its log"

static const struct fl_json *bundle_in(const struct cli_world *world, struct fl_span name_space)
{
    const struct fl_json *item = cli_world_first(world, CLI_DOCUMENT_BUNDLES);
    while (item != NULL &&
           (!fl_span_eq(cli_object_space(item), name_space) || !fl_span_eq_str(cli_object_name(item), FL_ROOT_MAP)))
        item = fl_json_next(item);
    return item;
}

static struct fl_span pem_of(const struct fl_json *map)
{
    return fl_json_string(fl_json_get(fl_json_get(map, "data"), FL_ROOT_KEY));
}

static void check_root(const struct cli_world *world, struct cli_report *report)
{
    const struct fl_json *map = bundle_in(world, fl_span_str(world->mesh));
    char first[CLI_LIFE_MAX];
    struct cli_life life;
    struct fl_err err = {0};
    cli_report_begin(report, CLI_CHECK_ROOT);
    if (!cli_check_has(world, CLI_DOCUMENT_BUNDLES, report))
        return;
    if (map == NULL) {
        cli_report_find(report, CLI_CHECK_FAILED, BUNDLE_HINT, "there is no ConfigMap %s/" FL_ROOT_MAP, world->mesh);
        return;
    }
    if (cli_life_read(pem_of(map), world->now, &life, &err) < 0) {
        cli_report_find(report, CLI_CHECK_FAILED, BUNDLE_HINT, "ConfigMap %s/" FL_ROOT_MAP ", " FL_ROOT_KEY ": %s",
                        world->mesh, err.text);
        return;
    }
    cli_life_print(life.first - world->now, first);
    cli_report_fact(report, "%zu, the first to end in %s", life.count, first);
    if (life.expired == life.count)
        cli_report_find(report, CLI_CHECK_FAILED, "make a new one: fairlead-control ca rotate, or a new Secret cacerts",
                        "all roots have expired: %s", first);
    else if (life.early == life.count)
        cli_report_find(report, CLI_CHECK_FAILED, "see to the clocks: check 305", "no root is valid yet");
    else if (life.last - world->now < CLI_ROOT_SOON)
        cli_report_find(report, CLI_CHECK_WARNING,
                        "rotate it in time (control/README.md): the new root must be everywhere before it issues",
                        "the mesh has no root that lives longer than 90 days");
    else if (life.expired > 0)
        cli_report_find(report, CLI_CHECK_WARNING,
                        "take the old root out: nobody can have a certificate of it any more",
                        "%zu of %zu roots have expired", life.expired, life.count);
}

/* Meshed: labelled so, or with a pod that has a sidecar. */
static bool needs_bundle(const struct cli_world *world, const struct fl_json *name_space)
{
    if (cli_space_is_meshed(name_space))
        return true;
    for (const struct fl_json *pod = cli_world_first(world, CLI_DOCUMENT_PODS); pod != NULL; pod = fl_json_next(pod))
        if (fl_span_eq(cli_object_space(pod), cli_object_name(name_space)) && cli_subject_sidecar(pod) != NULL &&
            cli_subject_is_wanted(world, pod))
            return true;
    return false;
}

static void check_bundles(const struct cli_world *world, struct cli_report *report)
{
    struct fl_span own = pem_of(bundle_in(world, fl_span_str(world->mesh)));
    size_t spaces = 0;
    cli_report_begin(report, CLI_CHECK_BUNDLES);
    if (!cli_check_has(world, CLI_DOCUMENT_BUNDLES, report) || !cli_check_has(world, CLI_DOCUMENT_NAMESPACES, report))
        return;
    for (const struct fl_json *one = cli_world_first(world, CLI_DOCUMENT_NAMESPACES); one != NULL;
         one = fl_json_next(one)) {
        struct fl_span name = cli_object_name(one);
        if ((world->name_space != NULL && !fl_span_eq_str(name, world->name_space)) || !needs_bundle(world, one))
            continue;
        spaces++;
        const struct fl_json *map = bundle_in(world, name);
        if (map == NULL)
            cli_report_find(report, CLI_CHECK_FAILED, BUNDLE_HINT,
                            "namespace %.*s has no ConfigMap " FL_ROOT_MAP ": sidecars there cannot start",
                            FL_SPAN_ARG(name));
        else if (!cli_bundles_equal(pem_of(map), own))
            cli_report_find(report, CLI_CHECK_FAILED, BUNDLE_HINT,
                            "ConfigMap %.*s/" FL_ROOT_MAP
                            " is another bundle than %s's: sidecars there do not trust the "
                            "control plane, or each other",
                            FL_SPAN_ARG(name), world->mesh);
    }
    cli_report_fact(report, "%zu namespaces", spaces);
}

/* --- clocks ----------------------------------------------------------------------------------------------------- */

static bool is_ready(const struct cli_world *world, struct fl_span node)
{
    const struct fl_json *item = cli_world_first(world, CLI_DOCUMENT_NODES);
    while (item != NULL && !fl_span_eq(cli_object_name(item), node))
        item = fl_json_next(item);
    return cli_subject_is_ready(item); /* a Node has the same form of conditions */
}

/* The kubelet stamps its Lease each 10 s by its own clock; all pods of the node have that clock. */
static void check_node_clock(const struct fl_json *beat, int64_t now, struct cli_report *report)
{
    static const char hint[] = "see to time synchronisation (chrony, systemd-timesyncd) on the node";
    int64_t stamped;
    struct fl_span name = cli_object_name(beat);
    if (fl_time_parse(fl_json_string(cli_object_at(beat, "spec.renewTime")), &stamped) < 0)
        return;
    if (stamped - now > SKEW_TOLD)
        cli_report_find(report, stamped - now > SKEW_WRONG ? CLI_CHECK_FAILED : CLI_CHECK_WARNING, hint,
                        "node %.*s is %lld s ahead of the API server", FL_SPAN_ARG(name), (long long)(stamped - now));
    else if (now - stamped > BEAT_MAX)
        cli_report_find(report, now - stamped > 2 * BEAT_MAX ? CLI_CHECK_FAILED : CLI_CHECK_WARNING, hint,
                        "node %.*s is some %lld s behind the API server, or its kubelet is stuck", FL_SPAN_ARG(name),
                        (long long)(now - stamped));
}

static void check_clocks(const struct cli_world *world, struct cli_report *report)
{
    int64_t skew = world->now - world->server;
    size_t nodes = 0;
    cli_report_begin(report, CLI_CHECK_CLOCK);
    if (world->server == 0) {
        cli_report_find(report, CLI_CHECK_SKIPPED, NULL, "the API server does not tell its time");
        return;
    }
    if (llabs(skew) > SKEW_TOLD)
        cli_report_find(report, llabs(skew) > SKEW_WRONG ? CLI_CHECK_FAILED : CLI_CHECK_WARNING,
                        "see to time synchronisation of this machine, or of the control plane's node",
                        "this machine is %lld s %s the API server", (long long)llabs(skew),
                        skew > 0 ? "ahead of" : "behind");
    if (!cli_check_has(world, CLI_DOCUMENT_HEARTBEATS, report) || !cli_check_has(world, CLI_DOCUMENT_NODES, report))
        return;
    for (const struct fl_json *beat = cli_world_first(world, CLI_DOCUMENT_HEARTBEATS); beat != NULL;
         beat = fl_json_next(beat))
        if (is_ready(world, cli_object_name(beat))) {
            nodes++;
            check_node_clock(beat, world->server, report);
        }
    cli_report_fact(report, "%zu nodes", nodes);
}

void cli_check_trust(const struct cli_world *world, struct cli_report *report)
{
    if (!cli_check_is_onboarding_alone(world)) {
        check_root(world, report);
        check_bundles(world, report);
        return;
    }
    cli_report_begin(report, CLI_CHECK_ROOT);
    cli_report_find(report, CLI_CHECK_SKIPPED, NULL, "no control plane is installed: sidecars have no certificates");
}

void cli_check_clocks(const struct cli_world *world, struct cli_report *report)
{
    check_clocks(world, report);
}
