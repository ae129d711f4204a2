/* cni/capture/netns: what a path may name, and that the host's namespace is refused however it is named. Nothing is
 * entered here; but who cannot leave one again must not go on. */
#include "cni/capture/netns.h"
#include "tests/support/emulation.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char folder[] = "/tmp/fairlead-netns-XXXXXX";

static void assert_outcome(const char *path, int outcome)
{
    struct fl_err err = {0};
    int fd = -1;
    int result = cni_netns_open(path, &fd, &err);
    if (result != outcome)
        fail_msg("%s: %d (%s), not %d", path, result, err.text, outcome);
    assert_int_equal(fd, -1);
    assert_non_null(strstr(err.text, path));
}

static void test_what_is_no_netns(void **state)
{
    (void)state;
    char path[128];
    assert_non_null(mkdtemp(folder));
    assert_outcome("/nowhere/at/all", CNI_NETNS_ABSENT);
    assert_outcome("/proc/self/ns/mnt", CNI_NETNS_FOREIGN);
    assert_outcome("/dev/null", CNI_NETNS_FOREIGN);
    assert_outcome("/", CNI_NETNS_FOREIGN);
    assert_outcome("/etc/passwd", CNI_NETNS_FOREIGN);
    assert_outcome("/etc/passwd/x", CNI_NETNS_ABSENT);

    /* what is left of a namespace that was unmounted */
    snprintf(path, sizeof(path), "%s/left", folder);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_outcome(path, CNI_NETNS_ABSENT);
    unlink(path);

    /* opening a FIFO would wait for a writer */
    snprintf(path, sizeof(path), "%s/fifo", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_outcome(path, CNI_NETNS_FOREIGN);
    unlink(path);
    rmdir(folder);
}

static void test_the_hosts_is_refused(void **state)
{
    (void)state;
    SKIP_UNDER_EMULATION("qemu does not pass on the ioctls of namespaces (NS_GET_NSTYPE, SIOCGSKNS)");
    if (geteuid() != 0)
        skip(); /* asking for the own namespace needs CAP_NET_ADMIN */
    assert_outcome("/proc/self/ns/net", CNI_NETNS_HOST);
    if (access("/proc/1/ns/net", R_OK) == 0)
        assert_outcome("/proc/1/ns/net", CNI_NETNS_HOST);
}

static int shortages, refusal;

int __wrap_setns(int fd, int type);
int __wrap_setns(int fd, int type)
{
    (void)fd, (void)type;
    errno = shortages > 0 ? ENOMEM : refusal;
    return shortages-- > 0 || refusal != 0 ? -1 : 0;
}

static void test_who_cannot_leave(void **state)
{
    (void)state;
    int status = 0;
    shortages = 3;
    refusal = 0;
    assert_int_equal(cni_netns_leave(-1, NULL), 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        shortages = 0;
        refusal = EPERM;
        (void)!cni_netns_leave(-1, NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_no_netns),
        cmocka_unit_test(test_the_hosts_is_refused),
        cmocka_unit_test(test_who_cannot_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
