/* What this process may do and see on its machine, for people who installed it with less: each lack is named once, with
 * what is off for it. Nothing is refused here: what needs a right that is not there fails by itself. */
#ifndef CNI_AGENT_PRIVILEGE_H
#define CNI_AGENT_PRIVILEGE_H

#include "common/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

#define CNI_PRIVILEGE_TEXT_MAX 256

/* The capabilities that repair needs (`iptables`: by that back end alone) and `effective` (a bit each, as the kernel
 * numbers them) lacks, as "CAP_SYS_ADMIN, CAP_NET_ADMIN"; "" for none. */
void cni_privilege_missing(uint64_t effective, bool iptables, char ret_text[CNI_PRIVILEGE_TEXT_MAX]);

/* This process's effective ones. */
uint64_t cni_privilege_effective(void);

/* Whether /proc may show the machine's processes: not where this process is the first of its pid namespace. (A pod that
 * shares its own, and has a pause container there, is not told apart from a node whose first process is of that name.)
 */
bool cni_privilege_sees_machine(void);

/* Whether this process's network namespace is another one than that of the first process in `proc`. False where that
 * may not be looked at. */
bool cni_privilege_has_own_network(const char *proc);

#endif
