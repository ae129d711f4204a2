/* What the process asks of kernel and C library once, before anything else runs. */
#ifndef PROXY_SERVER_LIMITS_H
#define PROXY_SERVER_LIMITS_H

/* Descriptors up to the hard limit; one malloc arena for all threads, with little kept beyond what is in use. Returns
 * the number of descriptors that the process may have. */
unsigned long proxy_limits_raise(void);

#endif
