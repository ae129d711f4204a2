/* 303, 304, 404: what only those know who run: the control plane's proxies, and the certificate that the webhook
 * serves. Reached through kubectl port-forward; judged purely.
 */
#ifndef CLI_CHECK_LIVE_H
#define CLI_CHECK_LIVE_H

#include "cli/check/checks.h"
#include "cli/option.h"

/* Asks, then judges. Where nothing can be asked the checks are SKIPPED. */
void cli_check_webhook_certificate(const struct cli_world *world, const struct cli_access *access,
                                   struct cli_report *report);
/* The proxies of all replicas ({"proxies":[…]}), owned. NULL: one did not answer, or there is none; why is in err. */
struct fl_json *cli_check_ask_proxies(const struct cli_world *world, struct cli_cluster *cluster,
                                      const struct cli_access *access, struct fl_err *err);

/* Pure. `proxies` NULL: `err` says why. */
void cli_check_certificates(const struct cli_world *world, const struct fl_json *proxies, const struct fl_err *err,
                            struct cli_report *report);
void cli_check_connected(const struct cli_world *world, const struct fl_json *proxies, const struct fl_err *err,
                         struct cli_report *report);

#endif
