/* From the stack that the kernel made (System V ABI) to launcher_run: argc, the arguments, NULL, the environment, NULL,
 * the auxiliary vector. Included once, by a system_<architecture>.c. */
#ifndef CNI_LAUNCHER_START_H
#define CNI_LAUNCHER_START_H

#include "cni/launcher/system.h"

#include <linux/auxvec.h>
#include <stddef.h>
#include <sys/syscall.h>

__attribute__((noreturn, used)) static void start(char **stack)
{
    char **arguments = stack + 1, **environment = arguments, **end;
    const char *execfn = NULL;
    while (*environment != NULL)
        environment++;
    for (end = ++environment; *end != NULL; end++)
        ;
    /* pairs of type and value; AT_NULL is 0 */
    for (char **pair = end + 1; pair[0] != NULL; pair += 2)
        if ((unsigned long)pair[0] == AT_EXECFN)
            execfn = pair[1];
    int exit_code = launcher_run(arguments, environment, execfn);
    for (;;)
        system_call(SYS_exit_group, exit_code, 0, 0, 0, 0);
}

#endif
