/* cni/capture/iptablestext and iptablessave: the texts of plans, by golden files (tests/golden/cni: NAME.json is a
 * capture spec, NAME.iptables its rules for IPv4 and IPv6; UPDATE_GOLDEN=1 writes them anew); texts against each other;
 * what goes to iptables-restore; what a hostile netns may hold. And cni/capture/iptableskernel's reading of bytes. */
#include "cni/capture/iptableskernel.h"
#include "cni/capture/iptablessave.h"

#include "tests/support/fail.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter_ipv4/ip_tables.h>

#define GOLDEN "tests/golden/cni"

static struct cni_plan plan;

static struct fl_span text_of(struct fl_buf *buf)
{
    return fl_buf_span(buf);
}

static int print(int family, struct fl_buf *out)
{
    struct fl_err err = {0};
    fl_buf_init(out, CNI_IPTABLES_TEXT_MAX);
    return cni_iptables_print(&plan, family, out, &err);
}

static void plan_of_file(const char *path)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf text;
    struct fl_capture capture;
    struct fl_err err = {0};
    fl_buf_init(&text, FL_CAPTURE_TEXT_MAX);
    assert_int_equal(fl_buf_read_file(&text, path), 0);
    if (fl_capture_parse(fl_span_trim(fl_buf_span(&text)), &capture, &err) != 0)
        fail_msg("%s: %s", path, err.text);
    assert_int_equal(cni_plan_build(&capture, &plan), 0);
}

/* --- golden files --- */

static void compare_golden(const char *path)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf actual, ipv6, expected;
    assert_int_equal(print(AF_INET, &actual), 0);
    assert_int_equal(print(AF_INET6, &ipv6), 0);
    assert_int_equal(fl_buf_append_str(&actual, "# IPv6\n"), 0);
    assert_int_equal(fl_buf_append(&actual, fl_buf_span(&ipv6)), 0);
    fl_buf_init(&expected, CNI_IPTABLES_TEXT_MAX);
    if (getenv("UPDATE_GOLDEN") != NULL) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fwrite(actual.data, 1, actual.len, file);
        fclose(file);
    }
    assert_int_equal(fl_buf_read_file(&expected, path), 0);
    if (!fl_span_eq(fl_buf_span(&actual), fl_buf_span(&expected)))
        fail_msg("%s: the rules are\n%s\nnot\n%s", path, fl_buf_str(&actual), fl_buf_str(&expected));
}

static void test_golden_texts(void **state)
{
    (void)state;
    DIR *folder = opendir(GOLDEN);
    size_t count = 0;
    assert_non_null(folder);
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        struct fl_span name = fl_span_str(entry->d_name);
        char path[512];
        if (!fl_span_ends_with(name, FL_SPAN(".json")))
            continue;
        snprintf(path, sizeof(path), GOLDEN "/%s", entry->d_name);
        plan_of_file(path);
        snprintf(path, sizeof(path), GOLDEN "/%.*s.iptables", (int)name.len - 5, name.data);
        compare_golden(path);
        count++;
    }
    closedir(folder);
    assert_true(count >= 6);
}

/* --- the largest plan, and names that iptables cannot say --- */

static void fill_ports(struct fl_port_list *list, uint32_t from)
{
    list->all = false;
    list->count = FL_CAPTURE_RANGES;
    for (uint32_t i = 0; i < FL_CAPTURE_RANGES; i++)
        list->ranges[i] = (struct fl_range){from + 10 * i, from + 10 * i + 5};
}

static void fill_cidrs(struct fl_cidr_list *list, uint8_t from)
{
    list->all = false;
    list->count = FL_CAPTURE_CIDRS;
    for (size_t i = 0; i < FL_CAPTURE_CIDRS; i++)
        list->cidrs[i] = (struct fl_cidr){AF_INET6, {0xfd, from, [14] = 1, [15] = (uint8_t)(2 * i + 1)}, 128};
}

static void largest_plan(void)
{
    struct fl_capture capture;
    fl_capture_defaults(&capture);
    capture.dns = capture.drop_invalid = true;
    fill_ports(&capture.inbound_include, 20000);
    fill_ports(&capture.inbound_exclude, 20002);
    fill_ports(&capture.outbound_include_ports, 20000);
    fill_ports(&capture.outbound_exclude_ports, 20002);
    fill_cidrs(&capture.outbound_include_cidrs, 1);
    fill_cidrs(&capture.outbound_exclude_cidrs, 2);
    capture.outbound_exclude_uids.count = FL_CAPTURE_RANGES;
    for (uint32_t i = 0; i < FL_CAPTURE_RANGES; i++)
        capture.outbound_exclude_uids.ranges[i] = (struct fl_range){4000000000u + 10 * i, 4000000000u + 10 * i + 5};
    capture.exclude_interfaces.count = FL_CAPTURE_INTERFACES;
    for (size_t i = 0; i < FL_CAPTURE_INTERFACES; i++)
        snprintf(capture.exclude_interfaces.names[i], FL_INTERFACE_NAME_MAX, "interface-%05zu", i);
    assert_int_equal(cni_plan_build(&capture, &plan), 0);
}

static void test_the_largest_plan_fits(void **state)
{
    (void)state;
    FL_CLEANUP(fl_buf_done) struct fl_buf text, input = {0};
    struct fl_err err = {0};
    largest_plan();
    assert_int_equal(print(AF_INET6, &text), 0);
    assert_true(text.len < CNI_IPTABLES_TEXT_MAX / 8);
    fl_buf_init(&input, 2 * CNI_IPTABLES_TEXT_MAX);
    assert_int_equal(cni_iptables_transition(text_of(&text), text_of(&text), &input, &err), 0);
    assert_true(cni_iptables_same(text_of(&text), text_of(&text), &err));
}

static void test_names_that_are_patterns(void **state)
{
    (void)state;
    static const char *const names[] = {"eth+", "!", "!eth0", "-eth0", "+"};
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        struct fl_capture capture;
        struct fl_err err = {0};
        FL_CLEANUP(fl_buf_done) struct fl_buf text;
        fl_capture_defaults(&capture);
        capture.exclude_interfaces.count = 1;
        snprintf(capture.exclude_interfaces.names[0], sizeof(capture.exclude_interfaces.names[0]), "%s", names[i]);
        assert_int_equal(cni_plan_build(&capture, &plan), 0);
        fl_buf_init(&text, CNI_IPTABLES_TEXT_MAX);
        assert_int_equal(cni_iptables_print(&plan, AF_INET, &text, &err), -EOPNOTSUPP);
        assert_non_null(strstr(err.text, names[i]));
    }
}

/* --- memory and room --- */

static void test_memory_running_out(void **state)
{
    (void)state;
    largest_plan();
    FAIL_EACH_ALLOCATION
    {
        FL_CLEANUP(fl_buf_done) struct fl_buf text, input = {0};
        struct fl_err err = {0};
        int result = print(AF_INET6, &text);
        fl_buf_init(&input, 2 * CNI_IPTABLES_TEXT_MAX);
        if (result == 0)
            result = cni_iptables_transition(text_of(&text), text_of(&text), &input, &err);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
    }
}

static void test_text_running_out_of_room(void **state)
{
    (void)state;
    FL_CLEANUP(fl_buf_done) struct fl_buf whole;
    plan_of_file(GOLDEN "/defaults.json");
    assert_int_equal(print(AF_INET, &whole), 0);
    for (size_t max = 0; max < whole.len; max += 7) {
        FL_CLEANUP(fl_buf_done) struct fl_buf text, input;
        struct fl_err err = {0};
        fl_buf_init(&text, max);
        fl_buf_init(&input, max);
        assert_int_equal(cni_iptables_print(&plan, AF_INET, &text, &err), -EMSGSIZE);
        assert_int_equal(cni_iptables_transition((struct fl_span){0}, text_of(&whole), &input, &err), -EMSGSIZE);
    }
}

/* --- texts against each other --- */

#define PLANNED                                                                                                        \
    "*nat\n:FAIRLEAD_A - [0:0]\n:FAIRLEAD_B - [0:0]\n"                                                                 \
    "-A OUTPUT -m comment --comment \"fairlead capture 1 ab\" -j FAIRLEAD_A\n"                                         \
    "-A FAIRLEAD_A ! -d 127.0.0.0/8 -o lo -p tcp -m multiport --dports 1,2:3 -m comment --comment \"it's\" -j "        \
    "REDIRECT --to-ports 15001\n"                                                                                      \
    "-A FAIRLEAD_A -d 127.0.0.6/32 -m comment --comment \"x\" -j RETURN\nCOMMIT\n"

static void test_what_is_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *what, *present, *difference; /* NULL: the same */
    } cases[] = {
        {"itself", PLANNED, NULL},
        {"as iptables-save shows it",
         "# Generated\n*mangle\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*nat\n:OUTPUT ACCEPT [7:9]\n:FAIRLEAD_A - [0:0]\n"
         ":FAIRLEAD_B - [0:0]\n-A OUTPUT -m comment --comment \"fairlead capture 1 ab\" -j FAIRLEAD_A\n"
         "-A OUTPUT -p tcp -j THEIRS\n-A FAIRLEAD_A ! -d 127.0.0.0/8 -o lo -p tcp -m multiport --dports 1,2:3 -m "
         "comment "
         "--comment \"it\\'s\" -j REDIRECT --to-ports 15001\n"
         "-A FAIRLEAD_A -d 127.0.0.6/32 -m comment --comment x -j RETURN\nCOMMIT\n# Completed\n",
         NULL},
        {"other order of options, no /32",
         "*nat\n:FAIRLEAD_A - [0:0]\n:FAIRLEAD_B - [0:0]\n-A OUTPUT -j FAIRLEAD_A -m comment --comment \"fairlead "
         "capture "
         "1 ab\"\n-A FAIRLEAD_A -p tcp -o lo ! -d 127.0.0.0/8 -m comment --comment \"it's\" -m multiport --dports "
         "1,2:3 "
         "-j REDIRECT --to-ports 15001\n-A FAIRLEAD_A -m comment --comment x -d 127.0.0.6 -j RETURN\nCOMMIT\n",
         NULL},
        {"nothing", "", "table nat: chain FAIRLEAD_A is missing"},
        {"a chain too few", "*nat\n:FAIRLEAD_A - [0:0]\nCOMMIT\n", "table nat: chain FAIRLEAD_B is missing"},
        {"no entry", "*nat\n:FAIRLEAD_A - [0:0]\n:FAIRLEAD_B - [0:0]\nCOMMIT\n",
         "table nat: the entry from OUTPUT is missing"},
        {"in another table",
         "*raw\n:FAIRLEAD_A - [0:0]\n:FAIRLEAD_B - [0:0]\n-A OUTPUT -j FAIRLEAD_A\nCOMMIT\n*nat\nCOMMIT\n",
         "table nat: chain FAIRLEAD_A is missing"},
        {"a chain too many", PLANNED "*raw\n:FAIRLEAD_C - [0:0]\nCOMMIT\n",
         "table raw: chain FAIRLEAD_C is not planned"},
        {"another way in", PLANNED "*nat\n-A PREROUTING -j FAIRLEAD_B\nCOMMIT\n",
         "table nat: the entry from PREROUTING is not planned"},
        {"a rule too many", PLANNED "*nat\n-A FAIRLEAD_A -j RETURN\nCOMMIT\n",
         "table nat, chain FAIRLEAD_A, rule 3: \"\" is not planned"},
    };
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        struct fl_err err = {0};
        bool same = cni_iptables_same(fl_span_str(cases[i].present), FL_SPAN(PLANNED), &err);
        if (same != (cases[i].difference == NULL) || (!same && strcmp(err.text, cases[i].difference) != 0))
            fail_msg("%s: %s", cases[i].what, same ? "the same" : err.text);
    }
}

/* One byte or word of the planned text changed at a time. */
static void test_every_part_of_a_rule_counts(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } changes[] = {
        {"! -d", "-d"},
        {"127.0.0.0/8", "127.0.0.0/9"},
        {"-o lo", "-o eth0"},
        {"-p tcp", "-p udp"},
        {"1,2:3", "1,2:4"},
        {"REDIRECT", "DROP"},
        {"15001", "15002"},
        {"ab\"", "ac\""},
        {" -j RETURN", ""},
        {"-d 127.0.0.6/32 ", ""},
        {"-A OUTPUT", "-A PREROUTING"},
        {"-o lo -p tcp", "-p tcp"},
        {"-A FAIRLEAD_A -d", "-A FAIRLEAD_B -d"},
        {"-A OUTPUT", "-A OUTPUT -j ACCEPT\n-A OUTPUT"},
    };
    for (size_t i = 0; i < FL_COUNT(changes); i++) {
        FL_CLEANUP(fl_buf_done) struct fl_buf text;
        const char *at = strstr(PLANNED, changes[i].from);
        assert_non_null(at);
        fl_buf_init(&text, 4096);
        assert_int_equal(
            fl_buf_printf(&text, "%.*s%s%s", (int)(at - PLANNED), PLANNED, changes[i].to, at + strlen(changes[i].from)),
            0);
        struct fl_err err = {0};
        if (cni_iptables_same(fl_buf_span(&text), FL_SPAN(PLANNED), &err) || err.text[0] == '\0')
            fail_msg("%s is as good as %s", changes[i].to, changes[i].from);
    }
}

static const char *transition(struct fl_buf *input, const char *present, const char *wanted)
{
    struct fl_err err = {0};
    fl_buf_init(input, CNI_IPTABLES_TEXT_MAX);
    if (cni_iptables_transition(fl_span_str(present), fl_span_str(wanted), input, &err) != 0)
        fail_msg("%s", err.text);
    return fl_buf_str(input);
}

static void test_what_goes_to_restore(void **state)
{
    (void)state;
    FL_CLEANUP(fl_buf_done) struct fl_buf first, again, gone, none;
    assert_string_equal(transition(&first, "*nat\n-A OUTPUT -j THEIRS\nCOMMIT\n", PLANNED),
                        "*nat\n:FAIRLEAD_A - [0:0]\n:FAIRLEAD_B - [0:0]\n"
                        "-A FAIRLEAD_A ! -d 127.0.0.0/8 -o lo -p tcp -m multiport --dports 1,2:3 -m comment --comment "
                        "\"it's\" -j REDIRECT --to-ports 15001\n"
                        "-A FAIRLEAD_A -d 127.0.0.6/32 -m comment --comment \"x\" -j RETURN\n"
                        "-I OUTPUT -m comment --comment \"fairlead capture 1 ab\" -j FAIRLEAD_A\nCOMMIT\n");
    assert_string_equal(transition(&again, PLANNED, "*nat\n:FAIRLEAD_B - [0:0]\n-A OUTPUT -j FAIRLEAD_B\nCOMMIT\n"),
                        "*nat\n:FAIRLEAD_B - [0:0]\n:FAIRLEAD_A - [0:0]\n"
                        "-D OUTPUT -m comment --comment \"fairlead capture 1 ab\" -j FAIRLEAD_A\n"
                        "-I OUTPUT -j FAIRLEAD_B\n-X FAIRLEAD_A\nCOMMIT\n");
    assert_string_equal(transition(&gone, PLANNED, ""),
                        "*nat\n:FAIRLEAD_A - [0:0]\n:FAIRLEAD_B - [0:0]\n"
                        "-D OUTPUT -m comment --comment \"fairlead capture 1 ab\" -j FAIRLEAD_A\n"
                        "-X FAIRLEAD_A\n-X FAIRLEAD_B\nCOMMIT\n");
    assert_string_equal(transition(&none, "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n*nat\n-A OUTPUT -j THEIRS\n", ""), "");
}

/* Written by somebody who is root in the pod, to be read by a program that is root on the node. */
static void test_what_is_not_of_our_making(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "*nat\n-A OUTPUT -m bpf --object-pinned /sys/fs/bpf/x -j FAIRLEAD_A\n",
        "*nat\n-A OUTPUT -M /tmp/program -j FAIRLEAD_A\n",
        "*nat\n-A OUTPUT --modprobe=/tmp/program -j FAIRLEAD_A\n",
        "*nat\n-A OUTPUT -m ../../tmp/x -j FAIRLEAD_A\n",
        "*nat\n-A OUTPUT -j FAIRLEAD_A -M\n",
        "*nat\n-A OUTPUT -o \"lo -M /tmp/program\" -j FAIRLEAD_A\n",
        "*nat\n-A OUTPUT -g FAIRLEAD_A\n",
        "*nat\n-A OUTPUT -m comment --comment \"a\\\"b\" -j FAIRLEAD_A\n",
        "*nat\n-A OUTPUT -m comment --comment \"a\tb\" -j FAIRLEAD_A\n",
        "*nat\n-A OUT\"PUT -j FAIRLEAD_A\n",
        "*nat\n-A OUTPUT -j FAIRLEAD_a\n",
        "*nat\n:FAIRLEAD_A;x - [0:0]\n",
        "*nat\n:FAIRLEAD_THIS_IS_LONGER_THAN_ANY_NAME_OF_A_CHAIN - [0:0]\n",
    };
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        FL_CLEANUP(fl_buf_done) struct fl_buf input;
        struct fl_err err = {0};
        fl_buf_init(&input, 4096);
        if (cni_iptables_transition(fl_span_str(texts[i]), (struct fl_span){0}, &input, &err) != -EINVAL)
            fail_msg("%s becomes\n%s", texts[i], fl_buf_str(&input));
        assert_non_null(strstr(err.text, "not of our making"));
    }
}

static void test_more_than_is_ours(void **state)
{
    (void)state;
    FL_CLEANUP(fl_buf_done) struct fl_buf text, input;
    struct fl_err err = {0};
    fl_buf_init(&text, CNI_IPTABLES_TEXT_MAX);
    fl_buf_init(&input, CNI_IPTABLES_TEXT_MAX);
    assert_int_equal(fl_buf_append_str(&text, "*nat\n"), 0);
    for (int i = 0; i < 65; i++)
        assert_int_equal(fl_buf_printf(&text, ":FAIRLEAD_%d - [0:0]\n", i), 0);
    assert_int_equal(cni_iptables_transition(text_of(&text), (struct fl_span){0}, &input, &err), -EINVAL);
    assert_int_equal(input.len, 0);
}

static void test_the_comment(void **state)
{
    (void)state;
    char comment[CNI_PLAN_COMMENT_MAX];
    assert_true(cni_iptables_comment(FL_SPAN(PLANNED), comment));
    assert_string_equal(comment, "fairlead capture 1 ab");
    assert_true(cni_iptables_comment(FL_SPAN("*raw\n-A OUTPUT -j FAIRLEAD_X\n"), comment));
    assert_string_equal(comment, "");
    assert_false(cni_iptables_comment(FL_SPAN("*nat\n:FAIRLEAD_A - [0:0]\n-A FAIRLEAD_A -j RETURN\n"), comment));
}

/* --- the kernel's form --- */

/* An entry with a comment and a standard target, the head of a chain, another such entry: as the kernel gives them. */
#define COMMENT_AT  sizeof(struct ipt_entry)
#define VERDICT_AT  (COMMENT_AT + sizeof(struct xt_entry_match) + sizeof(struct xt_comment_info))
#define RULE_SIZE   (VERDICT_AT + sizeof(struct xt_standard_target))
#define HEAD_SIZE   (sizeof(struct ipt_entry) + sizeof(struct xt_error_target))
#define INSIDE_AT   (RULE_SIZE + HEAD_SIZE)
#define TABLE_SIZE  (2 * RULE_SIZE + HEAD_SIZE)
#define COUNTERS_AT offsetof(struct ipt_entry, counters)

static void put_sizes(char *entry, size_t target, size_t next)
{
    const uint16_t target_offset = (uint16_t)target, next_offset = (uint16_t)next;
    memcpy(entry + offsetof(struct ipt_entry, target_offset), &target_offset, sizeof(target_offset));
    memcpy(entry + offsetof(struct ipt_entry, next_offset), &next_offset, sizeof(next_offset));
}

static void fill_rule(char *entry, const char *comment, size_t verdict)
{
    const uint16_t size = sizeof(struct xt_entry_match) + sizeof(struct xt_comment_info);
    const int number = (int)verdict;
    put_sizes(entry, VERDICT_AT, RULE_SIZE);
    memcpy(entry + COMMENT_AT, &size, sizeof(size));
    memcpy(entry + COMMENT_AT + offsetof(struct xt_entry_match, u.user.name), "comment", sizeof("comment"));
    memcpy(entry + COMMENT_AT + sizeof(struct xt_entry_match), comment, strlen(comment) + 1);
    memcpy(entry + VERDICT_AT + offsetof(struct xt_standard_target, verdict), &number, sizeof(number));
}

static void fill_table(char *table)
{
    char *head = table + RULE_SIZE, *target = head + sizeof(struct ipt_entry);
    memset(table, 0, TABLE_SIZE);
    fill_rule(table, "fairlead capture 1 ab", INSIDE_AT);
    put_sizes(head, sizeof(struct ipt_entry), HEAD_SIZE);
    memcpy(target + offsetof(struct xt_entry_target, u.user.name), XT_ERROR_TARGET, sizeof(XT_ERROR_TARGET));
    memcpy(target + offsetof(struct xt_error_target, errorname), "FAIRLEAD_A", sizeof("FAIRLEAD_A"));
    fill_rule(table + INSIDE_AT, "inside", 0);
}

static void test_the_kernels_entries(void **state)
{
    (void)state;
    char table[TABLE_SIZE];
    struct cni_iptables_traces traces = {0}, counted = {0}, other = {0};
    fill_table(table);
    cni_iptables_kernel_scan(CNI_IPV4, table, sizeof(table), &traces);
    assert_true(traces.legacy[CNI_IPV4] && !traces.legacy[CNI_IPV6] && traces.commented);
    assert_string_equal(traces.comment, "fairlead capture 1 ab");
    fill_table(table);
    memset(table + INSIDE_AT + COUNTERS_AT, 5, sizeof(struct xt_counters));
    cni_iptables_kernel_scan(CNI_IPV4, table, sizeof(table), &counted);
    assert_true(counted.digest == traces.digest);
    fill_table(table);
    table[INSIDE_AT + VERDICT_AT + offsetof(struct xt_standard_target, verdict)] = 1;
    cni_iptables_kernel_scan(CNI_IPV4, table, sizeof(table), &other);
    assert_true(other.digest != traces.digest);
}

/* Cut anywhere, and with each byte set to what hurts. */
static void test_the_kernels_entries_are_not_trusted(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0, 1, 7, 0x7f, 0x80, 0xff};
    for (size_t len = 0; len <= TABLE_SIZE; len++) {
        struct cni_iptables_traces traces = {0};
        char *table = malloc(TABLE_SIZE), *cut = malloc(len > 0 ? len : 1);
        assert_true(table != NULL && cut != NULL);
        fill_table(table);
        memcpy(cut, table, len);
        cni_iptables_kernel_scan(CNI_IPV4, cut, len, &traces);
        for (size_t i = 0; i < FL_COUNT(bytes) && len < TABLE_SIZE; i++) {
            table[len] = (char)bytes[i];
            cni_iptables_kernel_scan(CNI_IPV4, table, TABLE_SIZE, &traces);
        }
        free(cut);
        free(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_texts),
        cmocka_unit_test(test_the_largest_plan_fits),
        cmocka_unit_test(test_names_that_are_patterns),
        cmocka_unit_test(test_memory_running_out),
        cmocka_unit_test(test_text_running_out_of_room),
        cmocka_unit_test(test_what_is_the_same),
        cmocka_unit_test(test_every_part_of_a_rule_counts),
        cmocka_unit_test(test_what_goes_to_restore),
        cmocka_unit_test(test_what_is_not_of_our_making),
        cmocka_unit_test(test_more_than_is_ours),
        cmocka_unit_test(test_the_comment),
        cmocka_unit_test(test_the_kernels_entries),
        cmocka_unit_test(test_the_kernels_entries_are_not_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
