/* What the launcher has instead of a C library: its start and the system call.
 *
 * A static libc spends most of its start on asking what the CPU can do; on a virtual machine each question leaves the
 * guest, and that alone is 0.3 ms, a fifth of a whole ADD. So on x86_64 and aarch64 the launcher has no libc at all
 * (system_<architecture>.c); elsewhere it is linked with a static one (system_libc.c). The build picks the file.
 */
#ifndef CNI_LAUNCHER_SYSTEM_H
#define CNI_LAUNCHER_SYSTEM_H

/* The kernel's answer: a value, or a negative errno. */
long system_call(long number, long a, long b, long c, long d, long e);

/* The program: what it returns is the exit code. `execfn` is the path that was executed (AT_EXECFN). */
int launcher_run(char **arguments, char **environment, const char *execfn);

#endif
