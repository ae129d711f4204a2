#include "cni/launcher/system.h"

#include <errno.h>
#include <sys/auxv.h>
#include <unistd.h>

long system_call(long number, long a, long b, long c, long d, long e)
{
    long result = syscall(number, a, b, c, d, e);
    return result < 0 ? -errno : result;
}

int main(int argc, char **argv)
{
    (void)argc;
    return launcher_run(argv, environ, (const char *)getauxval(AT_EXECFN));
}
