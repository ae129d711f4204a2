/* Starts a credential plugin (kube/plugin.h) as kubectl does. Only programs of a person link this.
 *
 * No shell. The program is looked for in those folders of PATH that are absolute. It gets our environment, with `env`
 * of the kubeconfig over it and KUBERNETES_EXEC_INFO; stdin where it may ask the person, /dev/null otherwise; our
 * stderr, where it tells the person what it wants; none of our other descriptors. Its stdout is read up to
 * FL_KUBE_PLUGIN_SAID_MAX, until it ends; where it says more, or its time is up, it is killed. It gets SIGTERM when we
 * end. It stays in our process group, so that it may read the terminal, and ^C ends both.
 */
#ifndef FL_KUBE_SPAWN_H
#define FL_KUBE_SPAWN_H

#include "common/kube/plugin.h"

/* For struct fl_kube_starter.start. */
int fl_kube_spawn(const struct fl_kube_starter *starter, const struct fl_kube_plugin *plugin,
                  struct fl_kube_plugin_answer *ret_answer, struct fl_err *err) FL_MUST_CHECK;

#endif
