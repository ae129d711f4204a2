/* cni/capture/netlink and attribute: what the kernel's messages say, also where they are cut short. */
#include "cni/capture/attribute.h"
#include "cni/capture/netlink.h"

#include "tests/support/guard.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

struct error_message {
    struct nlmsghdr header;
    struct nlmsgerr error;
    char tail[64];
};

static size_t add_text(struct error_message *message, const char *text, size_t size)
{
    struct nlattr attribute = {.nla_len = (uint16_t)(sizeof(attribute) + size), .nla_type = NLMSGERR_ATTR_MSG};
    memcpy(message->tail, &attribute, sizeof(attribute));
    memcpy(message->tail + sizeof(attribute), text, size);
    return cni_align(attribute.nla_len);
}

static struct error_message make(int code, uint16_t flags, size_t tail)
{
    struct error_message message = {.header = {.nlmsg_type = NLMSG_ERROR, .nlmsg_flags = flags}};
    message.error.error = code;
    message.error.msg.nlmsg_len = sizeof(struct nlmsghdr);
    message.header.nlmsg_len = (uint32_t)(sizeof(message.header) + sizeof(message.error) + tail);
    return message;
}

static void test_codes_and_texts(void **state)
{
    (void)state;
    char text[16];
    int code = 1;

    struct error_message message = make(-ENOENT, 0, 0);
    assert_true(cni_netlink_read_error(&message.header, &code, text, sizeof(text)));
    assert_int_equal(code, -ENOENT);
    assert_string_equal(text, "");

    message = make(0, NLM_F_CAPPED, 0);
    assert_true(cni_netlink_read_error(&message.header, &code, text, sizeof(text)));
    assert_int_equal(code, 0);

    message = make(-EINVAL, NLM_F_CAPPED | NLM_F_ACK_TLVS, 12);
    add_text(&message, "reason", 7);
    assert_true(cni_netlink_read_error(&message.header, &code, text, sizeof(text)));
    assert_string_equal(text, "reason");

    /* longer than the room, and not ended by a NUL */
    message = make(-EINVAL, NLM_F_CAPPED | NLM_F_ACK_TLVS, 36);
    add_text(&message, "abcdefghijklmnopqrstuvwxyz123456", 32);
    assert_true(cni_netlink_read_error(&message.header, &code, text, sizeof(text)));
    assert_string_equal(text, "abcdefghijklmno");

    /* a positive code is none */
    message = make(5, 0, 0);
    assert_true(cni_netlink_read_error(&message.header, &code, text, sizeof(text)));
    assert_int_equal(code, -EPROTO);
}

static void test_the_echoed_request_is_stepped_over(void **state)
{
    (void)state;
    char text[32];
    int code;
    struct error_message message = make(-EINVAL, NLM_F_ACK_TLVS, 8 + 12);
    message.error.msg.nlmsg_len += 8;
    add_text(&message, "reason", 7);
    memmove(message.tail + 8, message.tail, 12);
    assert_true(cni_netlink_read_error(&message.header, &code, text, sizeof(text)));
    assert_string_equal(text, "reason");
    /* one that claims to be longer than the whole message */
    message.error.msg.nlmsg_len = UINT32_MAX;
    assert_true(cni_netlink_read_error(&message.header, &code, text, sizeof(text)));
    assert_string_equal(text, "");
}

static void test_cut_messages(void **state)
{
    (void)state;
    struct error_message message = make(-EINVAL, NLM_F_CAPPED | NLM_F_ACK_TLVS, 12);
    add_text(&message, "reason", 7);
    for (uint32_t size = sizeof(struct nlmsghdr); size <= message.header.nlmsg_len; size += 4) {
        struct error_message cut = message;
        struct guard guard;
        char text[32];
        int code;
        cut.header.nlmsg_len = size;
        guard_init(&guard, fl_span_make(&cut, size));
        bool whole =
            cni_netlink_read_error((const struct nlmsghdr *)(const void *)guard.span.data, &code, text, sizeof(text));
        assert_int_equal(whole, size >= sizeof(struct nlmsghdr) + sizeof(struct nlmsgerr));
        guard_done(&guard);
    }
}

static void test_attributes(void **state)
{
    (void)state;
    _Alignas(4) uint8_t bytes[] = {
        9,    0, 1, 0, 't', 'e', 'x', 't', 0, 0, 0, 0, /* 1: "text", padded */
        8,    0, 2, 0, 1,   2,   3,   4,               /* 2: a number */
        5,    0, 2, 0, 9,   0,   0,   0,               /* 2 again: the first counts */
        8,    0, 9, 0, 1,   2,   3,   4,               /* 9: not asked for */
        0xff, 0, 3, 0,                                 /* longer than what is left */
    };
    struct {
        struct nlattr head;
        uint8_t bytes[sizeof(bytes)];
    } nest = {.head = {.nla_len = sizeof(nest)}};
    const struct nlattr *found[4];
    uint32_t number = 0;
    memcpy(nest.bytes, bytes, sizeof(bytes));
    cni_attributes_of_nest(&nest.head, found, 4);
    assert_null(found[0]);
    assert_true(cni_attribute_is(found[1], "text"));
    assert_false(cni_attribute_is(found[1], "tex"));
    assert_false(cni_attribute_is(NULL, ""));
    assert_true(cni_attribute_u32(found[2], &number));
    assert_int_equal(number, 0x01020304);
    assert_false(cni_attribute_u32(found[1], &number));
    assert_false(cni_attribute_u32(NULL, &number));
    assert_null(found[3]);
    cni_attributes_of_nest(NULL, found, 4);
    assert_null(found[1]);
}

static void test_messages(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        uint32_t lengths[3]; /* of the messages, 0: no more */
        size_t size, count;
    } rows[] = {
        {"one", {16}, 16, 1},
        {"two, the first padded", {17, 16}, 36, 2},
        {"the last without its padding", {16, 17}, 33, 2},
        {"cut in the header", {16, 16}, 31, 1},
        {"cut in the body", {16, 24}, 36, 1},
        {"shorter than a header", {15, 16}, 48, 0},
        {"of 2 GiB", {0x80000010}, 48, 0},
        {"of 4 GiB", {UINT32_MAX}, 48, 0},
        {"nothing", {0}, 0, 0},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        _Alignas(4) char bytes[64] = {0};
        size_t at = 0, count = 0;
        for (size_t j = 0; j < 3 && rows[i].lengths[j] != 0 && at + 4 <= sizeof(bytes); j++) {
            memcpy(bytes + at, &rows[i].lengths[j], 4);
            at += cni_align(rows[i].lengths[j]);
        }
        struct fl_span rest = fl_span_make(bytes, rows[i].size);
        while (cni_messages_next(&rest) != NULL)
            count++;
        if (count != rows[i].count)
            fail_msg("%s: %zu messages", rows[i].what, count);
    }
}

static void test_writing_past_the_end(void **state)
{
    (void)state;
    _Alignas(4) char room[256] = {0};
    for (size_t size = sizeof(struct nlmsghdr); size <= 64; size++) {
        memset(room, 0x55, sizeof(room));
        struct cni_message message = {.header = mnl_nlmsg_put_header(room), .size = size};
        struct nlattr *outer = cni_message_enter(&message, 1);
        cni_message_put_u32(&message, 2, 7);
        cni_message_put_text(&message, 3, "text");
        struct nlattr *inner = cni_message_enter(&message, 4);
        cni_message_put(&message, 5, "12345", 5);
        cni_message_leave(&message, inner);
        cni_message_leave(&message, outer);
        assert_int_equal(message.overflow, size < 16 + 4 + 8 + 12 + 4 + 12);
        for (size_t i = size; i < sizeof(room); i++)
            assert_int_equal(room[i], 0x55);
    }
}

/* What another process sends to the socket's port is refused: the sender is told, and nothing is in the queue. */
static void test_others_cannot_reach_the_socket(void **state)
{
    (void)state;
    struct cni_netlink netlink;
    struct fl_err err = {0};
    struct nlmsghdr message = {.nlmsg_len = sizeof(message), .nlmsg_type = NLMSG_DONE, .nlmsg_seq = 1};
    assert_int_equal(cni_netlink_open(&netlink, NETLINK_ROUTE, &err), 0);
    FL_CLEANUP(fl_cleanup_close) int other = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    assert_true(other >= 0);
    struct sockaddr_nl own = {0};
    socklen_t size = sizeof(own);
    assert_int_equal(getsockname(mnl_socket_get_fd(netlink.socket), (struct sockaddr *)&own, &size), 0);
    assert_true(own.nl_pid != 0);
    ssize_t sent = sendto(other, &message, sizeof(message), 0, (const struct sockaddr *)&own, sizeof(own));
    /* EPERM: without CAP_NET_ADMIN nobody can try */
    assert_true(sent < 0 && (errno == ECONNREFUSED || errno == EPERM));
    cni_netlink_close(&netlink);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_others_cannot_reach_the_socket),
        cmocka_unit_test(test_codes_and_texts),
        cmocka_unit_test(test_the_echoed_request_is_stepped_over),
        cmocka_unit_test(test_cut_messages),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_writing_past_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
