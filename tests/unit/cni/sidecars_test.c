/* cni/repair/sidecars: the set, its limits, who is bound to what; cni/repair/environ: a reader that hangs is killed. */
#include "cni/repair/environ.h"
#include "cni/repair/sidecars.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

static pid_t next_pid = 1000;

static struct cni_sidecar_facts in(uint64_t netns, const char *pod)
{
    struct cni_sidecar_facts facts = {.netns = {4, netns}};
    snprintf(facts.pod, sizeof(facts.pod), "%s", pod);
    return facts;
}

static int add(struct cni_sidecars *set, uint64_t netns, const char *pod, struct cni_sidecar **ret_sidecar)
{
    struct cni_sidecar_facts facts = in(netns, pod);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int result = cni_sidecars_add(set, next_pid++, fd, &facts, ret_sidecar);
    if (result < 0)
        close(fd);
    return result;
}

static int believe(struct cni_sidecars *set, struct cni_sidecar *sidecar, const char *spec)
{
    FL_CLEANUP(cni_claim_done)
    struct cni_claim claim = {.pod_namespace = "demo", .pod = "web", .pod_uid = "u", .capture_len = strlen(spec)};
    claim.capture = strdup(spec);
    if (claim.capture == NULL)
        return -ENOMEM;
    if (sidecar->state == CNI_SIDECAR_QUEUED_STATE)
        cni_sidecar_become(sidecar, CNI_SIDECAR_READING_STATE);
    return cni_sidecars_believe(set, sidecar, &claim);
}

static struct cni_sidecar *believed(struct cni_sidecars *set, uint64_t netns, const char *spec)
{
    struct cni_sidecar *sidecar;
    assert_int_equal(add(set, netns, "", &sidecar), 0);
    assert_int_equal(believe(set, sidecar, spec), 0);
    return sidecar;
}

static void test_a_pod_that_takes_long_waits(void **state)
{
    (void)state;
    static const uint64_t second = 1000000000;
    struct cni_sidecars set;
    struct cni_sidecar *slow, *beside, *other, *nobodys;
    cni_sidecars_init(&set, 100);
    assert_int_equal(add(&set, 1, "one", &slow) | add(&set, 2, "one", &beside) | add(&set, 3, "two", &other), 0);
    assert_int_equal(add(&set, 4, "", &nobodys), 0);
    assert_int_equal(believe(&set, slow, "a") | believe(&set, beside, "a") | believe(&set, other, "a"), 0);
    assert_int_equal(believe(&set, nobodys, "a"), 0);
    assert_false(cni_sandbox_is_held(slow->sandbox, 0));
    cni_sandbox_charge(slow->sandbox, 100 * second, 103 * second);
    cni_sandbox_charge(nobodys->sandbox, 100 * second, 103 * second);
    assert_true(cni_sandbox_is_held(slow->sandbox, 103000 + 3000 * CNI_SIDECARS_SHARE - 1));
    assert_true(cni_sandbox_is_held(beside->sandbox, 103001)); /* also in another network namespace of the same pod */
    assert_false(cni_sandbox_is_held(slow->sandbox, 103000 + 3000 * CNI_SIDECARS_SHARE));
    assert_false(cni_sandbox_is_held(other->sandbox, 103001));
    assert_false(cni_sandbox_is_held(nobodys->sandbox, 103001));
    cni_sidecars_done(&set);
}

static void test_the_first_spec_binds(void **state)
{
    (void)state;
    struct cni_sidecars set;
    cni_sidecars_init(&set, 100);
    struct cni_sidecar *first = believed(&set, 1, "a"), *second = believed(&set, 1, "b"),
                       *third = believed(&set, 1, "a"), *elsewhere = believed(&set, 2, "b");
    struct cni_sandbox *sandbox = first->sandbox;
    assert_ptr_equal(second->sandbox, sandbox);
    assert_ptr_not_equal(elsewhere->sandbox, sandbox);
    assert_false(cni_sidecars_agree(sandbox));
    assert_true(cni_sidecars_agree(elsewhere->sandbox));
    cni_sidecars_bind(sandbox, first);
    assert_int_equal(first->state, CNI_SIDECAR_MEMBER_STATE);
    assert_int_equal(second->state, CNI_SIDECAR_CONFLICT_STATE);
    assert_int_equal(third->state, CNI_SIDECAR_MEMBER_STATE);
    assert_int_equal(elsewhere->state, CNI_SIDECAR_CANDIDATE_STATE);
    assert_true(fl_span_eq_str(cni_sidecar_spec(third), "a"));
    assert_int_equal(cni_sidecar_spec(second).len, 0); /* nobody can act upon it any more */
    assert_int_equal(believed(&set, 1, "c")->state, CNI_SIDECAR_CONFLICT_STATE);
    assert_int_equal(believed(&set, 1, "a")->state, CNI_SIDECAR_MEMBER_STATE);
    assert_string_equal(cni_sidecar_namespace(first), "demo");
    assert_string_equal(cni_sidecar_pod(first), "web");
    assert_string_equal(cni_sidecar_pod_uid(first), "u");

    /* the spec outlives those that claimed it, as long as anybody is there */
    cni_sidecars_remove(&set, first);
    cni_sidecars_remove(&set, third);
    assert_ptr_equal(second->sandbox, sandbox);
    assert_true(fl_span_eq(fl_span_make(sandbox->spec, sandbox->spec_len), FL_SPAN("a")));
    cni_sidecars_done(&set);
}

static void test_what_ends_is_forgotten(void **state)
{
    (void)state;
    struct cni_sidecars set;
    cni_sidecars_init(&set, 100);
    struct cni_sidecar *sidecar = believed(&set, 1, "a");
    const pid_t pid = sidecar->pid;
    assert_ptr_equal(cni_sidecars_find(&set, pid), sidecar);
    cni_sidecars_remove(&set, sidecar);
    assert_null(cni_sidecars_find(&set, pid));
    assert_int_equal(set.sandboxes.count + set.pods.count + set.processes.count, 0);
    cni_sidecars_done(&set);
}

static void test_a_pod_fills_its_own_share_alone(void **state)
{
    (void)state;
    struct cni_sidecars set;
    struct cni_sidecar *sidecar;
    cni_sidecars_init(&set, 64);
    for (int i = 0; i < CNI_SIDECARS_POD; i++) {
        assert_int_equal(add(&set, 100 + (uint64_t)i, "p1", &sidecar), 0);
        assert_int_equal(believe(&set, sidecar, "a"), i < CNI_SIDECARS_POD_NETNS ? 0 : -ENOSPC);
    }
    assert_int_equal(add(&set, 1, "p1", &sidecar), -ENOSPC);
    assert_int_equal(add(&set, 1, "p2", &sidecar), 0);
    for (int i = 0; i < 32; i++)
        assert_int_equal(add(&set, 1, "", &sidecar), 0);
    assert_int_equal(add(&set, 1, "", &sidecar), -ENOSPC); /* half of all */
    assert_int_equal(add(&set, 1, "p3", &sidecar), 0);
    cni_sidecars_done(&set);
}

static void test_memory_is_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct cni_sidecars set;
        struct cni_sidecar *sidecar = NULL;
        cni_sidecars_init(&set, 8);
        int result = add(&set, 1, "p", &sidecar);
        if (result == 0)
            result = believe(&set, sidecar, "a");
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (sidecar != NULL && result < 0) {
            assert_null(sidecar->sandbox);
            assert_int_equal(believe(&set, sidecar, "a"), 0); /* it can be tried again */
        }
        cni_sidecars_done(&set);
        assert_int_equal(set.pods.count, 0);
    }
}

static void test_states(void **state)
{
    (void)state;
    for (int from = CNI_SIDECAR_QUEUED_STATE; from <= CNI_SIDECAR_CONFLICT_STATE; from++) {
        assert_true(strlen(cni_sidecar_state_name((enum cni_sidecar_state)from)) > 0);
        /* nobody who was refused, or is in conflict, comes back in */
        for (int to = 0; from >= CNI_SIDECAR_MEMBER_STATE && to <= CNI_SIDECAR_CONFLICT_STATE; to++)
            assert_false(cni_sidecar_may_become((enum cni_sidecar_state)from, (enum cni_sidecar_state)to));
    }
    for (int from = CNI_SANDBOX_WAITING; from <= CNI_SANDBOX_DISPUTED; from++)
        assert_true(strlen(cni_sandbox_state_name((enum cni_sandbox_state)from)) > 0);
    assert_false(cni_sidecar_may_become(CNI_SIDECAR_REFUSED_STATE, CNI_SIDECAR_MEMBER_STATE));
    assert_false(cni_sandbox_may_become(CNI_SANDBOX_CAPTURED, CNI_SANDBOX_DISPUTED)); /* what is bound stays so */
}

/* --- environments --- */

struct reading {
    struct cni_environ environment;
    struct fl_loop *loop;
    int result;
    bool done;
    char pod[16];
};

static void on_done(struct cni_environ *environment, int result, struct cni_claim *claim, const struct fl_err *err)
{
    struct reading *reading = FL_CONTAINER_OF(environment, struct reading, environment);
    (void)err;
    reading->result = result;
    reading->done = true;
    snprintf(reading->pod, sizeof(reading->pod), "%.15s", claim->pod);
}

static int read_environment(int proc, pid_t pid, char ret_pod[16])
{
    struct reading reading = {0};
    assert_int_equal(fl_loop_new(&reading.loop), 0);
    cni_environ_init(&reading.environment);
    reading.environment.on_done = on_done;
    assert_int_equal(cni_environ_start(&reading.environment, reading.loop, proc, pid), 0);
    while (!reading.done || cni_environ_is_busy(&reading.environment))
        assert_int_equal(fl_loop_turn(reading.loop, -1), 0);
    memcpy(ret_pod, reading.pod, sizeof(reading.pod));
    cni_environ_done(&reading.environment);
    fl_loop_free(reading.loop);
    return reading.result;
}

static void test_environments(void **state)
{
    (void)state;
    static const char text[] =
        "POD_NAME=web\0POD_NAMESPACE=demo\0POD_UID=u1\0POD_IPS=10.0.0.1\0FAIRLEAD_CAPTURE={\"version\":1,\"uid\":1,"
        "\"gid\":"
        "1,\"inbound\":{\"port\":15006,\"includePorts\":[\"*\"],\"excludePorts\":[]},\"outbound\":{\"port\":15001,"
        "\"includeCIDRs\":[\"*\"],\"excludeCIDRs\":[],\"includePorts\":[],\"excludePorts\":[]}}";
    char folder[] = "/tmp/fairlead-environ-XXXXXX", pod[16];
    assert_non_null(mkdtemp(folder));
    FL_CLEANUP(fl_cleanup_close) int proc = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(proc, "7", 0700), 0);
    assert_int_equal(mkdirat(proc, "8", 0700), 0);
    int fd = openat(proc, "7/environ", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
    close(fd);
    assert_int_equal(mkfifoat(proc, "8/environ", 0600), 0); /* whoever opens it waits for ever */
    assert_int_equal(read_environment(proc, 7, pod), 0);
    assert_string_equal(pod, "web");
    assert_int_equal(read_environment(proc, 8, pod), -ETIMEDOUT);
    assert_int_equal(read_environment(proc, 9, pod), -ENOENT);
    unlinkat(proc, "7/environ", 0);
    unlinkat(proc, "8/environ", 0);
    unlinkat(proc, "7", AT_REMOVEDIR);
    unlinkat(proc, "8", AT_REMOVEDIR);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pod_that_takes_long_waits),
        cmocka_unit_test(test_the_first_spec_binds),
        cmocka_unit_test(test_what_ends_is_forgotten),
        cmocka_unit_test(test_a_pod_fills_its_own_share_alone),
        cmocka_unit_test(test_memory_is_out),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_environments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
