#include "cni/agent/privilege.h"

#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

void cni_privilege_missing(uint64_t effective, bool iptables, char ret_text[CNI_PRIVILEGE_TEXT_MAX])
{
    static const struct {
        unsigned number;
        const char *name;
        bool iptables; /* for that alone */
    } wanted[] = {
        {CAP_SYS_ADMIN, "CAP_SYS_ADMIN (setns)", false},
        {CAP_SYS_PTRACE, "CAP_SYS_PTRACE (environments of sidecars)", false},
        {CAP_NET_ADMIN, "CAP_NET_ADMIN (rules)", false},
        {CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH (environments in user namespaces)", false},
        {CAP_NET_RAW, "CAP_NET_RAW (tables of iptables)", true},
    };
    size_t len = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; i < FL_COUNT(wanted); i++) {
        if ((effective >> wanted[i].number & 1) == 0 && (iptables || !wanted[i].iptables))
            len += (size_t)snprintf(ret_text + len, CNI_PRIVILEGE_TEXT_MAX - len, "%s%s", len > 0 ? ", " : "",
                                    wanted[i].name);
    }
}

uint64_t cni_privilege_effective(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (syscall(SYS_capget, &header, data) < 0)
        return 0;
    return (uint64_t)data[1].effective << 32 | data[0].effective;
}

bool cni_privilege_sees_machine(void)
{
    return getpid() != 1;
}

bool cni_privilege_has_own_network(const char *proc)
{
    char path[PATH_MAX];
    struct stat first, own;
    snprintf(path, sizeof(path), "%s/1/ns/net", proc);
    return stat(path, &first) == 0 && stat("/proc/self/ns/net", &own) == 0 &&
           (first.st_dev != own.st_dev || first.st_ino != own.st_ino);
}
