/* cni/repair/procfile, scan and procevents: text and datagrams of the kernel, with what processes may put into them. */
#include "cni/repair/procevents.h"
#include "cni/repair/procfile.h"
#include "cni/repair/scan.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#define MIDDLE " 1 2 3 4 -1 4194560 9 8 7 6 5 4 3 2 20 0 1 0 " /* fields 4 to 21 */

static bool read_start(struct fl_span stat, uint64_t *ret_ticks)
{
    struct guard guard;
    guard_init(&guard, stat);
    bool result = cni_procfile_start_time(guard.span, ret_ticks);
    guard_done(&guard);
    return result;
}

static void test_start_time(void **state)
{
    (void)state;
    static const struct {
        struct fl_span stat;
        uint64_t ticks;
    } rows[] = {
        {FL_SPAN("7 (a) S" MIDDLE "2593292 17379328 3509\n"), 2593292},
        {FL_SPAN("4194303 (fairlead-proxy) R 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 -2 -20 1 0 0 1\n"), 0}, /* real-time */
        {FL_SPAN("7 (a) I" MIDDLE "18446744073709551615 1\n"), UINT64_MAX},
        /* names that a process gave itself */
        {FL_SPAN("7 (x) S 9 (\n) R" MIDDLE "42 1 1\n"), 42},
        {FL_SPAN("7 () R 1 2 3 4 5 () S" MIDDLE "42 1\n"), 42},
        {FL_SPAN("7 ()))) (() S" MIDDLE "42 1\n"), 42},
        {FL_SPAN("7 () S" MIDDLE "42 1\n"), 42},
        {FL_SPAN("7 (\0\xff\n \t) S" MIDDLE "42 1\n"), 42},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        uint64_t ticks = 1;
        assert_true(read_start(rows[i].stat, &ticks));
        assert_true(ticks == rows[i].ticks);
    }
}

static void test_no_start_time(void **state)
{
    (void)state;
    static const struct fl_span wrong[] = {
        FL_SPAN(")"),
        FL_SPAN("7 (a S" MIDDLE "42 1\n"),
        FL_SPAN("7 a) S" MIDDLE "42 1\n"),
        FL_SPAN("(a) S" MIDDLE "42 1\n"),
        FL_SPAN("-7 (a) S" MIDDLE "42 1\n"),
        FL_SPAN("99999999999 (a) S" MIDDLE "42 1\n"),
        FL_SPAN("7 (a)" MIDDLE "42 1\n"), /* no state: each field would be another one */
        FL_SPAN("7 (a) SS" MIDDLE "42 1\n"),
        FL_SPAN("7 (a) 1" MIDDLE "42 1\n"),
        FL_SPAN("7 (a) S" MIDDLE "-42 1\n"),
        FL_SPAN("7 (a) S" MIDDLE "42x 1\n"),
        FL_SPAN("7 (a) S" MIDDLE "18446744073709551616 1\n"),
        FL_SPAN("7 (a) S 1 2 3 4 - 4194560 9 8 7 6 5 4 3 2 20 0 1 0 42 1\n"),
        FL_SPAN("7 (a) S 1 2 3 4 --1 4194560 9 8 7 6 5 4 3 2 20 0 1 0 42 1\n"),
        FL_SPAN("7 (a) S 1 2 3 4 -1 4194560 9 8 7 x 5 4 3 2 20 0 1 0 42 1\n"),
        FL_SPAN("7 (a) S 1 2 3 4 -1 4194560 9 8 7 6 5 4 3 2 20 0 1 42\n"), /* a field less, and the end */
    };
    uint64_t ticks = 77;
    for (size_t i = 0; i < FL_COUNT(wrong); i++)
        assert_false(read_start(wrong[i], &ticks));
    /* cut anywhere before what is behind the start, were it in the middle of its number */
    const struct fl_span whole = FL_SPAN("7 (a) b) S" MIDDLE "2593292 17379328\n");
    const size_t needed = sizeof("7 (a) b) S" MIDDLE "2593292") - 1;
    for (size_t len = 0; len <= needed; len++)
        assert_false(read_start(fl_span_make(whole.data, len), &ticks));
    assert_int_equal(ticks, 77);
    assert_true(read_start(fl_span_make(whole.data, needed + 1), &ticks));
    assert_int_equal(ticks, 2593292);
}

static void test_age(void **state)
{
    (void)state;
    static const uint64_t second = 1000000000;
    const struct {
        uint64_t ticks, ticks_per_second, now_ns, age_ns;
    } rows[] = {
        {0, 100, 0, 0},
        {0, 100, 5 * second, 5 * second},
        {250, 100, 5 * second, 5 * second / 2},
        {250, 1000, second, 3 * second / 4},
        {1, 3, second, second - 333333333},
        {500, 100, 5 * second, 0},
        /* ahead of the clock: by a tick, by a time namespace's shift, by one that made it wrap */
        {501, 100, 5 * second, 0},
        {100000, 100, 5 * second, 0},
        {UINT64_MAX, 100, UINT64_MAX, 0},
        {UINT64_MAX / 10000000, 100, 5 * second, 0},
        /* no more than thirty days */
        {0, 100, CNI_PROCFILE_AGE_MAX_NS, CNI_PROCFILE_AGE_MAX_NS},
        {0, 100, CNI_PROCFILE_AGE_MAX_NS + 1, CNI_PROCFILE_AGE_MAX_NS},
        {0, 100, UINT64_MAX, CNI_PROCFILE_AGE_MAX_NS},
        /* what sysconf gives where it fails */
        {250, 0, 5 * second, 0},
        {250, UINT64_MAX, 5 * second, 0},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++)
        assert_true(cni_procfile_age_ns(rows[i].ticks, rows[i].ticks_per_second, rows[i].now_ns) == rows[i].age_ns);
}

static void test_ids(void **state)
{
    (void)state;
    uint32_t uid = 0, gid = 0;
    assert_true(cni_procfile_ids(
        FL_SPAN("Name:\tfairlead-proxy\nUid:\t1\t2\t3\t1337\nGid:\t5\t6\t7\t1338\nGroups:\t9\n"), &uid, &gid));
    assert_int_equal(uid, 1337);
    assert_int_equal(gid, 1338);
    assert_false(cni_procfile_ids(FL_SPAN("Uid:\t1\t2\t3\nGid:\t1\t1\t1\t1\n"), &uid, &gid));
    assert_false(cni_procfile_ids(FL_SPAN("Uid:\t1\t2\t3\t4294967296\nGid:\t1\t1\t1\t1\n"), &uid, &gid));
    assert_false(cni_procfile_ids(FL_SPAN(""), &uid, &gid));
}

static void test_maps(void **state)
{
    (void)state;
    uint32_t inside = 0;
    const struct fl_span map = FL_SPAN("         0     100000      65536\n     70000     300000          1\n");
    assert_true(cni_procfile_map_id(map, 101337, &inside));
    assert_int_equal(inside, 1337);
    assert_true(cni_procfile_map_id(map, 300000, &inside));
    assert_int_equal(inside, 70000);
    assert_false(cni_procfile_map_id(map, 99999, &inside));
    assert_false(cni_procfile_map_id(map, 165536, &inside));
    assert_false(cni_procfile_map_id(FL_SPAN("0 x 1\n"), 0, &inside));
    assert_false(cni_procfile_map_id(FL_SPAN(""), 0, &inside));
    assert_true(cni_procfile_map_id(FL_SPAN("0 0 4294967295\n"), 1337, &inside));
}

static void test_pods(void **state)
{
    (void)state;
    static const char uid[] = "0b5c1c9e-1111-4222-8333-444455556666";
    static const struct {
        struct fl_span cgroup;
        const char *pod;
    } rows[] = {
        {FL_SPAN("0::/kubepods.slice/kubepods-burstable.slice/"
                 "kubepods-burstable-pod0b5c1c9e_1111_4222_8333_444455556666.slice/cri-containerd-ab.scope\n"),
         uid},
        {FL_SPAN("0::/kubepods/besteffort/pod0b5c1c9e-1111-4222-8333-444455556666/ab12\n"), uid},
        {FL_SPAN("0::/../../kubepods-pod0b5c1c9e_1111_4222_8333_444455556666.slice/x\n"), uid},
        {FL_SPAN("9:name=systemd:/\n5:memory:/kubepods/pod0b5c1c9e-1111-4222-8333-444455556666/ab\n0::/\n"), uid},
        {FL_SPAN("0::/kubepods/pod00000000000000000000000000000001/ab\n"), "00000000000000000000000000000001"},
        /* what a pod makes below its own cgroup does not count */
        {FL_SPAN("0::/kubepods/pod0b5c1c9e-1111-4222-8333-444455556666/ab/pod11111111-1111-1111-1111-111111111111\n"),
         uid},
        {FL_SPAN("0::/\n"), ""},
        {FL_SPAN("0::/user.slice/tripod0b5c1c9e-1111-4222-8333-444455556666\n"), ""},
        {FL_SPAN("0::/kubepods/pod0b5c1c9e-1111-4222-8333-44445555666/ab\n"), ""},
        {FL_SPAN("0::/kubepods/pod0b5c1c9e-1111-4222-8333-4444555566667/ab\n"), ""},
        {FL_SPAN("0::/pod\n"), ""},
        {FL_SPAN(""), ""},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        char pod[CNI_PROCFILE_POD_MAX];
        assert_int_equal(cni_procfile_pod(rows[i].cgroup, pod), rows[i].pod[0] != '\0');
        assert_string_equal(pod, rows[i].pod);
    }
}

static void test_last_pid(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        pid_t pid;
    } rows[] = {{"0.20 0.18 0.12 1/80 11206\n", 11206},
                {"11206", 0},
                {"", 0},
                {"a b\n", 0},
                {"1 -5\n", 0},
                {" 7 \n", 7},
                {"1 99999999999\n", 0}};
    for (size_t i = 0; i < FL_COUNT(rows); i++)
        assert_int_equal(cni_scan_parse_last(rows[i].text, strlen(rows[i].text)), rows[i].pid);
}

/* --- the scan, in a folder that looks like /proc --- */

static char folder[] = "/tmp/fairlead-scan-XXXXXX";
static pid_t named[64];
static size_t named_count;

static void on_named(void *owner, pid_t pid)
{
    (void)owner;
    assert_true(named_count < FL_COUNT(named));
    named[named_count++] = pid;
}

static void put(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FL_CLEANUP(fl_cleanup_close) int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void put_process(pid_t pid, const char *comm)
{
    char name[64], path[128];
    snprintf(path, sizeof(path), "%s/%d", folder, (int)pid);
    (void)mkdir(path, 0700);
    snprintf(name, sizeof(name), "%d/comm", (int)pid);
    put(name, comm);
}

static void remove_process(pid_t pid)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%d/comm", folder, (int)pid);
    unlink(path);
    snprintf(path, sizeof(path), "%s/%d", folder, (int)pid);
    rmdir(path);
}

static void put_last(pid_t pid)
{
    char text[64];
    snprintf(text, sizeof(text), "0.0 0.0 0.0 1/2 %d\n", (int)pid);
    put("loadavg", text);
}

static int count_named(struct cni_scan *scan, uint64_t now_ms)
{
    named_count = 0;
    int result = cni_scan_tick(scan, now_ms);
    return result == 0 ? (int)named_count : result == CNI_SCAN_FULL ? -1000 : result;
}

static void test_scan(void **state)
{
    (void)state;
    char path[128];
    struct cni_scan scan;
    struct fl_err err = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/sys", folder);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/sys/kernel", folder);
    mkdir(path, 0700);
    put("sys/kernel/pid_max", "5000\n");
    put_last(1000);
    put_process(1, "init\n");
    put_process(900, "fairlead-proxy\n");
    FL_CLEANUP(fl_cleanup_close) int proc = open(folder, O_RDONLY | O_DIRECTORY);
    assert_int_equal(cni_scan_init(&scan, proc, on_named, NULL, &err), 0);
    assert_int_equal(count_named(&scan, 1), -1000); /* the first look is a full one */
    named_count = 0;
    assert_int_equal(cni_scan_full(&scan, 1), 0);
    assert_int_equal(named_count, 1);
    assert_int_equal(named[0], 900);

    uint64_t looks = scan.looks;
    assert_int_equal(count_named(&scan, 500), 0); /* nothing was started: nothing is read */
    assert_int_equal(scan.looks, looks);

    put_process(1002, "fairlead-proxy\n");
    put_process(1003, "runc:[2:INIT]\n");
    put_process(1004, "sh\n");
    put_last(1005);
    assert_int_equal(count_named(&scan, 1000), 1);
    assert_int_equal(scan.young_count, 3);

    put_process(1004, "fairlead-proxy\n"); /* it becomes one, and no pid was given out */
    assert_int_equal(count_named(&scan, 1500), 2);
    remove_process(1002);
    assert_int_equal(count_named(&scan, 2000), 1);

    assert_int_equal(count_named(&scan, 12000), 1); /* the last look at the young ones */
    assert_int_equal(scan.young_count, 1);          /* a container that is created stays young */
    assert_int_equal(count_named(&scan, 21000), 0);
    put_process(1003, "fairlead-proxy\n");
    assert_int_equal(count_named(&scan, 30000), 1);

    put_last(4990); /* too far to go one by one */
    assert_int_equal(count_named(&scan, 40000), -1000);
    put_process(4000, "sh\n");
    assert_int_equal(cni_scan_full(&scan, 40000), 0);
    put_process(4000, "fairlead-proxy\n"); /* found by a full look, and young as well */
    assert_true(count_named(&scan, 40500) >= 1);

    put_process(4999, "fairlead-proxy\n"); /* over the top */
    put_process(310, "fairlead-proxy\n");
    put_last(311);
    named_count = 0;
    assert_int_equal(cni_scan_tick(&scan, 60000), 0);
    bool top = false, bottom = false;
    for (size_t i = 0; i < named_count; i++) {
        top = top || named[i] == 4999;
        bottom = bottom || named[i] == 310;
    }
    assert_true(top && bottom);
    cni_scan_done(&scan);
    for (pid_t pid = 1; pid < 5000; pid++)
        remove_process(pid);
    for (size_t i = 0; i < 4; i++) {
        static const char *const left[] = {"sys/kernel/pid_max", "loadavg", "sys/kernel", "sys"};
        snprintf(path, sizeof(path), "%s/%s", folder, left[i]);
        (void)remove(path);
    }
    assert_int_equal(rmdir(folder), 0);
}

/* --- exec events --- */

struct datagram {
    char bytes[NLMSG_HDRLEN + sizeof(struct cn_msg) + sizeof(struct proc_event)];
};

static struct datagram make(uint32_t what, uint32_t value, uint32_t index)
{
    struct datagram datagram = {{0}};
    struct proc_event event = {0};
    const struct nlmsghdr header = {.nlmsg_len = sizeof(datagram), .nlmsg_type = NLMSG_DONE};
    const struct cn_msg envelope = {.id = {.idx = index, .val = CN_VAL_PROC}, .ack = 5, .len = sizeof(event)};
    memcpy(&event, &what, sizeof(what));
    if (what == PROC_EVENT_EXEC)
        memcpy(&event.event_data.exec.process_tgid, &value, sizeof(value));
    else
        event.event_data.ack.err = value;
    memcpy(datagram.bytes, &header, sizeof(header));
    memcpy(datagram.bytes + NLMSG_HDRLEN, &envelope, sizeof(envelope));
    memcpy(datagram.bytes + NLMSG_HDRLEN + sizeof(envelope), &event, sizeof(event));
    return datagram;
}

static void test_exec_events(void **state)
{
    (void)state;
    struct datagram exec = make(PROC_EVENT_EXEC, 77, CN_IDX_PROC);
    struct cni_procevents_message message = cni_procevents_read(exec.bytes, sizeof(exec.bytes));
    assert_int_equal(message.kind, CNI_PROCEVENTS_EXEC);
    assert_int_equal(message.pid, 77);
    for (size_t len = 0; len < NLMSG_HDRLEN + sizeof(struct cn_msg) + 20; len++)
        assert_int_equal(cni_procevents_read(exec.bytes, len).kind, CNI_PROCEVENTS_NOTHING);

    struct datagram acknowledged = make(PROC_EVENT_NONE, EPERM, CN_IDX_PROC);
    message = cni_procevents_read(acknowledged.bytes, sizeof(acknowledged.bytes));
    assert_int_equal(message.kind, CNI_PROCEVENTS_ACK);
    assert_int_equal(message.ack, 5);
    assert_int_equal(message.error, EPERM);

    const struct datagram others[] = {make(PROC_EVENT_EXEC, 77, CN_IDX_PROC + 1), make(PROC_EVENT_FORK, 1, CN_IDX_PROC),
                                      make(PROC_EVENT_EXEC, 0, CN_IDX_PROC),
                                      make(PROC_EVENT_EXEC, UINT32_MAX, CN_IDX_PROC)};
    for (size_t i = 0; i < FL_COUNT(others); i++)
        assert_int_equal(cni_procevents_read(others[i].bytes, sizeof(others[i].bytes)).kind, CNI_PROCEVENTS_NOTHING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_time), cmocka_unit_test(test_no_start_time), cmocka_unit_test(test_age),
        cmocka_unit_test(test_ids),        cmocka_unit_test(test_maps),          cmocka_unit_test(test_pods),
        cmocka_unit_test(test_last_pid),   cmocka_unit_test(test_scan),          cmocka_unit_test(test_exec_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
