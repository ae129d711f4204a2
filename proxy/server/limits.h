/* What the process asks of kernel and C library once, before anything else runs. */
#ifndef PROXY_SERVER_LIMITS_H
#define PROXY_SERVER_LIMITS_H

/* Descriptors up to the hard limit; one malloc arena for all threads, with little kept beyond what is in use. Returns
 * the number of descriptors that the process may have. */
unsigned long proxy_limits_raise(void);

/* Keys and tokens are in this memory: no core dump, and no other process of the same uid may trace it or look into its
 * /proc (an app that gets hold of the proxy's uid by a setuid could). Root with CAP_SYS_PTRACE still may. Not in a
 * build with sanitizers: LeakSanitizer traces its own process. */
void proxy_limits_close_memory(void);

#endif
