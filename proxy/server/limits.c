#include "proxy/server/limits.h"

#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>

unsigned long proxy_limits_raise(void)
{
    struct rlimit files = {0, 0};
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_TOP_PAD, 16 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    (void)mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return 0;
    if (files.rlim_cur < files.rlim_max) {
        struct rlimit more = {files.rlim_max, files.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            return more.rlim_cur;
    }
    return files.rlim_cur;
}

void proxy_limits_close_memory(void)
{
    if (!FL_SANITIZED)
        (void)prctl(PR_SET_DUMPABLE, 0);
}
