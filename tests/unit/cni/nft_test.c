/* cni/capture/nft and readback: what is written reads back as the plan, and nothing else does. A batch's messages have
 * the form of the kernel's dumps, so the two directions are held against each other without a kernel. */
#include "cni/capture/attribute.h"
#include "cni/capture/nft.h"
#include "cni/capture/readback.h"

#include "tests/support/fail.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct cni_plan plan;
static struct cni_readback readback;

static struct fl_capture lists(void)
{
    struct fl_capture capture;
    struct fl_err err;
    fl_capture_defaults(&capture);
    assert_int_equal(fl_port_list_parse(FL_SPAN("80,8000-8080"), &capture.inbound_include, &err), 0);
    assert_int_equal(fl_port_list_parse(FL_SPAN("22,65000-65535"), &capture.inbound_exclude, &err), 0);
    assert_int_equal(fl_cidr_list_parse(FL_SPAN("10.0.0.0/8,fd00::/8"), &capture.outbound_include_cidrs, &err), 0);
    assert_int_equal(fl_cidr_list_parse(FL_SPAN("10.1.0.0/16,ff00::/8"), &capture.outbound_exclude_cidrs, &err), 0);
    assert_int_equal(fl_port_list_parse(FL_SPAN("443"), &capture.outbound_include_ports, &err), 0);
    assert_int_equal(fl_port_list_parse(FL_SPAN("25"), &capture.outbound_exclude_ports, &err), 0);
    assert_int_equal(fl_uid_list_parse(FL_SPAN("0,1000-1999"), &capture.outbound_exclude_uids, &err), 0);
    assert_int_equal(fl_interface_list_parse(FL_SPAN("eth1,net1"), &capture.exclude_interfaces, &err), 0);
    capture.dns = capture.drop_invalid = true;
    return capture;
}

/* All lists full, nothing merges, IPv6 throughout: the largest plan there is. */
static struct fl_capture largest(void)
{
    struct fl_capture capture = lists();
    struct fl_port_list *ports[] = {&capture.inbound_include, &capture.inbound_exclude, &capture.outbound_include_ports,
                                    &capture.outbound_exclude_ports};
    struct fl_cidr_list *cidrs[] = {&capture.outbound_include_cidrs, &capture.outbound_exclude_cidrs};
    for (size_t i = 0; i < FL_COUNT(ports); i++) {
        ports[i]->count = FL_CAPTURE_RANGES;
        for (size_t j = 0; j < FL_CAPTURE_RANGES; j++)
            ports[i]->ranges[j] = (struct fl_range){10 * (uint32_t)j + 1, 10 * (uint32_t)j + 5};
    }
    capture.outbound_exclude_uids.count = FL_CAPTURE_RANGES;
    for (size_t j = 0; j < FL_CAPTURE_RANGES; j++)
        capture.outbound_exclude_uids.ranges[j] = (struct fl_range){10 * (uint32_t)j + 1, 10 * (uint32_t)j + 5};
    capture.exclude_interfaces.count = FL_CAPTURE_INTERFACES;
    for (size_t j = 0; j < FL_CAPTURE_INTERFACES; j++)
        snprintf(capture.exclude_interfaces.names[j], FL_INTERFACE_NAME_MAX, "interface-%05zu", j);
    for (size_t i = 0; i < FL_COUNT(cidrs); i++) {
        cidrs[i]->count = FL_CAPTURE_CIDRS;
        cidrs[i]->cidrs[0] = (struct fl_cidr){AF_INET, {10}, 8};
        for (size_t j = 1; j < FL_CAPTURE_CIDRS; j++)
            cidrs[i]->cidrs[j] = (struct fl_cidr){AF_INET6, {0xfd, (uint8_t)(2 * j)}, 16};
    }
    return capture;
}

static void encode(const struct fl_capture *capture, struct cni_nft_batch *batch)
{
    assert_int_equal(cni_plan_build(capture, &plan), 0);
    assert_int_equal(cni_nft_encode(CNI_NFT_CREATE, &plan, 100, batch), 0);
}

static struct nlmsghdr *next_message(struct nlmsghdr *message)
{
    return (struct nlmsghdr *)(void *)((char *)message + cni_align(message->nlmsg_len));
}

/* Feeds the batch's messages, `left_out` excepted, from the one that makes the table. */
static int read_all(const struct cni_nft_batch *batch, size_t left_out, struct fl_err *err)
{
    struct nlmsghdr *message = (struct nlmsghdr *)(void *)batch->data;
    cni_readback_start(&readback, &plan);
    for (size_t i = 0; i < batch->count; i++, message = next_message(message)) {
        if (i >= 1 && i != left_out)
            cni_readback_message(&readback, message, err);
    }
    assert_ptr_equal(message, batch->data + batch->len);
    return cni_readback_finish(&readback, err);
}

static void test_what_is_written_reads_back(void **state)
{
    (void)state;
    struct fl_capture captures[4] = {[1] = lists(), [2] = largest(), [3] = lists()};
    fl_capture_defaults(&captures[0]);
    captures[3].ipv6 = false;
    for (size_t i = 0; i < FL_COUNT(captures); i++) {
        struct cni_nft_batch batch;
        struct fl_err err = {0};
        encode(&captures[i], &batch);
        if (read_all(&batch, SIZE_MAX, &err) != CNI_READBACK_SAME)
            fail_msg("%s", err.text);
        cni_nft_batch_done(&batch);
    }
}

static void test_every_missing_message_is_a_difference(void **state)
{
    (void)state;
    struct cni_nft_batch batch;
    struct fl_capture capture = lists();
    encode(&capture, &batch);
    for (size_t i = 1; i + 1 < batch.count; i++) {
        struct fl_err err = {0};
        assert_int_equal(read_all(&batch, i, &err), CNI_READBACK_DIFFERS);
        assert_int_equal(err.code, -EBADMSG);
        assert_true(err.text[0] != '\0');
    }
    cni_nft_batch_done(&batch);
}

/* What may change without altering what the table does: comments of rules, what nft notes on sets and elements for its
 * listing, the numbers of sets within a batch. */
static bool is_idle(uint16_t message_type, size_t depth, uint16_t type)
{
    switch (message_type & 0xff) {
    case NFT_MSG_NEWRULE:
        return depth == 0 && type == NFTA_RULE_USERDATA;
    case NFT_MSG_NEWSET:
        return type == NFTA_SET_USERDATA || type == NFTA_SET_ID || type == NFTA_SET_KEY_TYPE;
    case NFT_MSG_NEWSETELEM:
        return (depth == 0 && type == NFTA_SET_ELEM_LIST_SET_ID) || (depth == 2 && type == NFTA_SET_ELEM_USERDATA);
    default:
        return false;
    }
}

/* Turns a bit of each byte of each value below `list`; returns how many. */
static size_t alter_values(const struct cni_nft_batch *batch, uint16_t message_type, struct cni_attributes list,
                           size_t depth)
{
    size_t altered = 0;
    for (const struct nlattr *attribute = cni_attributes_next(&list); attribute != NULL;
         attribute = cni_attributes_next(&list)) {
        uint16_t type = mnl_attr_get_type(attribute);
        if ((attribute->nla_type & NLA_F_NESTED) != 0) {
            altered += alter_values(batch, message_type, cni_attributes_in(attribute), depth + 1);
            continue;
        }
        size_t start = (size_t)((const char *)attribute - batch->data) + sizeof(*attribute);
        for (size_t i = 0; i < cni_attribute_bytes(attribute).len && !is_idle(message_type, depth, type); i++) {
            struct fl_err err = {0};
            batch->data[start + i] ^= 1;
            if (read_all(batch, SIZE_MAX, &err) != CNI_READBACK_DIFFERS)
                fail_msg("message type %x, depth %zu, attribute %u, byte %zu", message_type, depth, type, i);
            batch->data[start + i] ^= 1;
            altered++;
        }
    }
    return altered;
}

static void test_every_altered_value_is_a_difference(void **state)
{
    (void)state;
    struct cni_nft_batch batch;
    struct fl_capture capture = lists();
    const size_t head = sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg);
    encode(&capture, &batch);
    const struct nlmsghdr *message = (const struct nlmsghdr *)(void *)batch.data;
    size_t altered = 0;
    for (size_t i = 0; i + 1 < batch.count; i++) {
        struct fl_span attributes = fl_span_make((const char *)message + head, message->nlmsg_len - head);
        if (i >= 1)
            altered += alter_values(&batch, message->nlmsg_type, (struct cni_attributes){attributes}, 0);
        message = next_message((struct nlmsghdr *)(void *)(batch.data + ((const char *)message - batch.data)));
    }
    assert_true(altered > 1000);
    cni_nft_batch_done(&batch);
}

static void test_values_altered_are_differences(void **state)
{
    (void)state;
    struct fl_capture base = lists();
    for (int i = 0; i < 17; i++) {
        struct cni_nft_batch batch;
        struct fl_capture other = base;
        struct fl_err err = {0};
        switch (i) {
        case 0:
            other.uid++;
            break;
        case 1:
            other.gid++;
            break;
        case 2:
            other.inbound_port = 15007;
            break;
        case 3:
            other.outbound_port = 15003;
            break;
        case 4:
            other.inbound_include.ranges[1].last++;
            break;
        case 5:
            other.outbound_include_cidrs.cidrs[0].address[0]++;
            break;
        case 6:
            other.outbound_exclude_cidrs.cidrs[1].prefix++;
            break;
        case 7:
            other.outbound_exclude_ports.count = 0;
            break;
        case 8:
            other.outbound_exclude_uids.ranges[1].last++;
            break;
        case 9:
            other.outbound_exclude_uids.count = 0;
            break;
        case 10:
            other.exclude_interfaces.names[1][3]++;
            break;
        case 11:
            other.exclude_interfaces.count = 1;
            break;
        case 12:
            other.dns = false;
            break;
        case 13:
            other.dns_port++;
            break;
        case 14:
            other.ipv6 = false;
            break;
        case 15:
            other.drop_invalid = false;
            break;
        default:
            other.inbound_include = (struct fl_port_list){.all = true};
            break;
        }
        encode(&other, &batch);
        char comment[CNI_PLAN_COMMENT_MAX];
        memcpy(comment, plan.comment, sizeof(comment));
        assert_int_equal(cni_plan_build(&base, &plan), 0);
        memcpy(plan.comment, comment, sizeof(comment)); /* so that the comment does not give it away */
        if (read_all(&batch, SIZE_MAX, &err) != CNI_READBACK_DIFFERS)
            fail_msg("alteration %d is not seen", i);
        cni_nft_batch_done(&batch);
    }
}

static void test_the_comment_is_compared_where_there_is_one(void **state)
{
    (void)state;
    struct cni_nft_batch batch;
    struct fl_capture capture;
    struct fl_err err = {0};
    fl_capture_defaults(&capture);
    encode(&capture, &batch);
    plan.comment[20]++;
    assert_int_equal(read_all(&batch, SIZE_MAX, &err), CNI_READBACK_DIFFERS);
    assert_non_null(strstr(err.text, "another capture spec"));
    /* Linux before 5.10 keeps no comments of tables: the message without its attribute. */
    plan.comment[20]--;
    struct nlmsghdr *message = (struct nlmsghdr *)(void *)batch.data;
    message = next_message(message);
    const struct nlattr *found[NFTA_TABLE_MAX + 1];
    cni_attributes_of_message(message, sizeof(struct nfgenmsg), found, FL_COUNT(found));
    struct nlattr *comment =
        (struct nlattr *)(void *)(batch.data + ((const char *)found[NFTA_TABLE_USERDATA] - batch.data));
    comment->nla_type = NFTA_TABLE_PAD;
    assert_int_equal(read_all(&batch, SIZE_MAX, &err), CNI_READBACK_SAME);
    cni_nft_batch_done(&batch);
}

static void test_messages_of_other_tables_are_skipped(void **state)
{
    (void)state;
    struct cni_nft_batch batch;
    struct fl_capture capture;
    struct fl_err err = {0};
    fl_capture_defaults(&capture);
    encode(&capture, &batch);
    /* "fairlead" → "gairlead" everywhere */
    for (size_t i = 0; i + 8 < batch.len; i++) {
        if (memcmp(batch.data + i, "fairlead", 9) == 0)
            batch.data[i]++;
    }
    assert_int_equal(read_all(&batch, SIZE_MAX, &err), CNI_READBACK_DIFFERS);
    assert_string_equal(err.text, "table inet fairlead is missing");
    cni_nft_batch_done(&batch);
}

static void test_the_largest_plan_fits(void **state)
{
    (void)state;
    struct cni_nft_batch batch;
    struct fl_capture capture = largest();
    encode(&capture, &batch);
    assert_true(batch.len < CNI_NFT_BATCH_MAX);
    assert_true(batch.count <= CNI_NFT_MESSAGES);
    assert_true(plan.rule_count <= CNI_PLAN_RULES);
    cni_nft_batch_done(&batch);
}

static void test_the_frame_of_a_batch(void **state)
{
    (void)state;
    struct cni_nft_batch batch;
    struct fl_capture capture;
    fl_capture_defaults(&capture);
    encode(&capture, &batch);
    const struct nlmsghdr *message = (const struct nlmsghdr *)(void *)batch.data;
    int left = (int)batch.len;
    for (size_t i = 0; i < batch.count; i++) {
        assert_true(mnl_nlmsg_ok(message, left));
        assert_int_equal(message->nlmsg_seq, 100 + i);
        assert_int_equal((message->nlmsg_flags & NLM_F_ACK) != 0, i == batch.acknowledged);
        assert_int_equal((message->nlmsg_flags & NLM_F_ECHO) != 0, i == 1); /* the table */
        if (i == 0)
            assert_int_equal(message->nlmsg_type, NFNL_MSG_BATCH_BEGIN);
        else if (i + 1 == batch.count)
            assert_int_equal(message->nlmsg_type, NFNL_MSG_BATCH_END);
        else
            assert_int_equal(message->nlmsg_type >> 8, NFNL_SUBSYS_NFTABLES);
        message = mnl_nlmsg_next(message, &left);
    }
    assert_int_equal(left, 0);
    assert_int_equal(batch.acknowledged, batch.count - 2);
    cni_nft_batch_done(&batch);

    const size_t count = batch.count;
    assert_int_equal(cni_nft_encode(CNI_NFT_REPLACE, &plan, 1, &batch), 0);
    assert_int_equal(batch.count, count + 2);
    cni_nft_batch_done(&batch);
    assert_int_equal(cni_nft_encode_removal(0, 1, &batch), 0);
    assert_int_equal(batch.count, 3);
    cni_nft_batch_done(&batch);
    cni_nft_batch_done(&batch);
}

/* A batch's own message stands for the kernel's echo: both have the form of a dump. */
static void test_a_removal_names_its_table(void **state)
{
    (void)state;
    const uint64_t handles[] = {0, 1, UINT64_C(0x123456789abcdef0), UINT64_MAX};
    for (size_t i = 0; i < FL_COUNT(handles); i++) {
        struct cni_nft_batch batch;
        assert_int_equal(cni_nft_encode_removal(handles[i], 1, &batch), 0);
        struct nlmsghdr *message = next_message((struct nlmsghdr *)(void *)batch.data);
        assert_int_equal(message->nlmsg_type, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE);
        assert_int_equal(cni_nft_echoed_handle(message), 0);
        message->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE;
        assert_true(cni_nft_echoed_handle(message) == handles[i]);
        const struct nlattr *found[NFTA_TABLE_MAX + 1];
        cni_attributes_of_message(message, sizeof(struct nfgenmsg), found, FL_COUNT(found));
        ((char *)message)[(const char *)found[NFTA_TABLE_NAME] - (const char *)message +
                          (ptrdiff_t)sizeof(struct nlattr)]++;
        assert_int_equal(cni_nft_echoed_handle(message), 0); /* another table's */
        cni_nft_batch_done(&batch);
    }
}

static void test_the_generation_must_stand_still(void **state)
{
    (void)state;
    struct {
        struct nlmsghdr header;
        struct nfgenmsg family;
        struct nlattr head;
        uint32_t generation;
    } message = {.header = {sizeof(message), NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN, 0, 0, 0},
                 .head = {sizeof(struct nlattr) + sizeof(uint32_t), NFTA_GEN_ID}};
    const uint32_t seen[] = {7, 7, 8, 7};
    cni_readback_start(&readback, &plan);
    for (size_t i = 0; i < FL_COUNT(seen); i++) {
        struct fl_err err = {0};
        message.generation = htonl(seen[i]);
        cni_readback_message(&readback, &message.header, &err);
        assert_int_equal(readback.moved, i >= 2);
        assert_false(readback.differs);
    }
}

static void test_memory_running_out(void **state)
{
    (void)state;
    struct fl_capture capture;
    fl_capture_defaults(&capture);
    assert_int_equal(cni_plan_build(&capture, &plan), 0);
    FAIL_EACH_ALLOCATION
    {
        struct cni_nft_batch batch;
        int result = cni_nft_encode(CNI_NFT_CREATE, &plan, 1, &batch);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        cni_nft_batch_done(&batch);
    }
}

static void test_errors_in_words(void **state)
{
    (void)state;
    static const struct {
        enum cni_nft_object object;
        int code, result;
        const char *extended, *says;
    } rows[] = {
        {CNI_NFT_BATCH, -EOPNOTSUPP, -EOPNOTSUPP, "", "this kernel lacks nf_tables"},
        {CNI_NFT_TABLE_OBJECT, -EAFNOSUPPORT, -EOPNOTSUPP, "", "family inet"},
        {CNI_NFT_CHAIN, -ENOENT, -EOPNOTSUPP, "", "nft_chain_nat"},
        {CNI_NFT_RULE, -ENOENT, -EOPNOTSUPP, "", "nft_redir"},
        {CNI_NFT_RULE, -EINVAL, -EINVAL, "odd", "Invalid argument (odd)"},
        {CNI_NFT_ELEMENTS, -EEXIST, -EEXIST, "", "set own_ports: File exists"},
        {CNI_NFT_BATCH, -EPERM, -EPERM, "", "Operation not permitted"},
    };
    struct cni_nft_batch batch;
    struct fl_capture capture;
    fl_capture_defaults(&capture);
    encode(&capture, &batch);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_err err = {0};
        size_t index = 0;
        while (batch.messages[index].object != rows[i].object)
            index++;
        int result = cni_nft_explain(&batch, &plan, index, rows[i].code, rows[i].extended, &err);
        assert_int_equal(result, rows[i].result);
        assert_int_equal(err.code, rows[i].result);
        if (strstr(err.text, rows[i].says) == NULL)
            fail_msg("\"%s\" says nothing of \"%s\"", err.text, rows[i].says);
    }
    /* A sequence number that is none of the batch's. */
    assert_int_equal(cni_nft_explain(&batch, &plan, SIZE_MAX, -EIO, "", NULL), -EIO);
    cni_nft_batch_done(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_reads_back),
        cmocka_unit_test(test_every_missing_message_is_a_difference),
        cmocka_unit_test(test_every_altered_value_is_a_difference),
        cmocka_unit_test(test_values_altered_are_differences),
        cmocka_unit_test(test_the_comment_is_compared_where_there_is_one),
        cmocka_unit_test(test_messages_of_other_tables_are_skipped),
        cmocka_unit_test(test_the_largest_plan_fits),
        cmocka_unit_test(test_the_frame_of_a_batch),
        cmocka_unit_test(test_a_removal_names_its_table),
        cmocka_unit_test(test_the_generation_must_stand_still),
        cmocka_unit_test(test_memory_running_out),
        cmocka_unit_test(test_errors_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
