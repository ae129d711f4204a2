/* A Pod as the checks see it: its sidecar, and the sidecar's state in the kubelet's words. Pure.
 */
#ifndef CLI_CHECK_SUBJECT_H
#define CLI_CHECK_SUBJECT_H

#include "cli/check/world.h"

/* Whether it is one that is asked about (--namespace, one pod) and lives: neither ended, nor being deleted, nor a
 * static pod. */
bool cli_subject_is_wanted(const struct cli_world *world, const struct fl_json *pod);

/* The sidecar's container in the spec, native or classic; NULL: it has none. */
const struct fl_json *cli_subject_sidecar(const struct fl_json *pod);
/* Its status; NULL: the kubelet has said nothing yet. */
const struct fl_json *cli_subject_status(const struct fl_json *pod);

/* A Gateway's proxy: nobody captures it, and the control plane knows it by the Gateway's name. data == NULL: it is
 * none.
 */
struct fl_span cli_subject_gateway(const struct fl_json *pod);

/* The start gate has opened: capture was proven by the sidecar's own dial. */
bool cli_subject_is_proven(const struct fl_json *pod);
/* The condition Ready. */
bool cli_subject_is_ready(const struct fl_json *pod);

/* Whether the namespace asks for the mesh: inject enabled or required, and not paused. */
bool cli_space_is_meshed(const struct fl_json *name_space);

/* Seconds since the pod was made; 0 where that cannot be told. */
int64_t cli_subject_age(const struct cli_world *world, const struct fl_json *pod);

#endif
