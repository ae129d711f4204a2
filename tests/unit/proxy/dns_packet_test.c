/* proxy/dns/packet: queries and answers, whole, cut and hostile; what is changed in them. */
#include "proxy/dns/packet.h"

#include "common/base/buf.h"
#include "tests/support/guard.h"
#include "tests/unit/proxy/dns_wire.h"

static void queries_are_read(void **state)
{
    (void)state;
    struct proxy_dns_query query;
    struct wire wire = wire_query(0x1234, "Web.Shop.svc", DNS_A);
    assert_int_equal(wire_parse(&wire, &query), PROXY_DNS_QUERY_GOOD);
    assert_int_equal(query.id, 0x1234);
    assert_int_equal(query.question.type, DNS_A);
    assert_int_equal(query.question.class, 1);
    assert_int_equal(query.question.name.len, 14);
    assert_int_equal(query.limit, 512);
    assert_false(query.alone);
    char key[PROXY_DNS_KEY_MAX], other[PROXY_DNS_KEY_MAX];
    size_t len = proxy_dns_query_key(&query, key);
    struct wire lower = wire_query(9, "web.shop.SVC", DNS_A);
    assert_int_equal(wire_parse(&lower, &query), PROXY_DNS_QUERY_GOOD);
    assert_int_equal(proxy_dns_query_key(&query, other), len);
    assert_memory_equal(key, other, len);
}

static void what_answers_hang_on_is_in_the_key(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        unsigned flags; /* of the header */
        bool edns;
        unsigned edns_flags;
    } rows[] = {
        {"plain", 0x0100, false, 0},       {"no recursion", 0x0000, false, 0}, {"authentic", 0x0120, false, 0},
        {"no checking", 0x0110, false, 0}, {"EDNS", 0x0100, true, 0},          {"DNSSEC", 0x0100, true, 0x8000},
    };
    char keys[FL_COUNT(rows)][PROXY_DNS_KEY_MAX];
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct wire wire = wire_query(1, "a.b", DNS_A);
        struct proxy_dns_query query;
        wire_put16(&wire, 2, rows[i].flags);
        if (rows[i].edns)
            wire_edns(&wire, 1232, rows[i].edns_flags, NULL);
        assert_int_equal(wire_parse(&wire, &query), PROXY_DNS_QUERY_GOOD);
        assert_int_equal(query.limit, rows[i].edns ? 1232 : 512);
        assert_false(query.alone);
        size_t len = proxy_dns_query_key(&query, keys[i]);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(keys[i], keys[k], len);
    }
}

static void queries_of_their_own(void **state)
{
    (void)state;
    struct proxy_dns_query query;
    struct wire wire = wire_query(1, "a.b", DNS_A);
    wire_edns(&wire, 1232, 0, "\x00\x0a\x00\x02hi"); /* an option */
    assert_int_equal(wire_parse(&wire, &query), PROXY_DNS_QUERY_GOOD);
    assert_true(query.alone);
    wire = wire_query(1, "a.b", DNS_A);
    wire_edns(&wire, 1232, 0x4000, NULL); /* a flag that nobody knows */
    assert_int_equal(wire_parse(&wire, &query), PROXY_DNS_QUERY_GOOD);
    assert_true(query.alone);
    wire = wire_query(1, "a.b", DNS_A);
    wire_record(&wire, ADDITIONAL_COUNT, 250, 0, "abc", 3); /* a signature */
    assert_int_equal(wire_parse(&wire, &query), PROXY_DNS_QUERY_GOOD);
    assert_true(query.alone);
}

static void what_is_no_query(void **state)
{
    (void)state;
    struct proxy_dns_query query;
    struct wire wire = wire_query(1, "a.b", DNS_A);
    for (size_t len = 0; len < wire.len; len++) {
        struct wire cut = wire;
        cut.len = len;
        assert_int_equal(wire_parse(&cut, &query), len < 12 ? PROXY_DNS_QUERY_DROP : PROXY_DNS_QUERY_FORMERR);
    }
    struct wire bad = wire;
    wire_put16(&bad, 2, 0x8100);
    assert_int_equal(wire_parse(&bad, &query), PROXY_DNS_QUERY_DROP);
    bad = wire;
    wire_put16(&bad, 2, 0x2800);
    assert_int_equal(wire_parse(&bad, &query), PROXY_DNS_QUERY_NOTIMP);
    for (unsigned count = 0; count < 4; count += count == 0 ? 2 : 1) {
        bad = wire;
        wire_put16(&bad, 4, count);
        assert_int_equal(wire_parse(&bad, &query), PROXY_DNS_QUERY_FORMERR);
    }
    bad = wire;
    wire_put16(&bad, 6, 1); /* an answer in a query */
    assert_int_equal(wire_parse(&bad, &query), PROXY_DNS_QUERY_FORMERR);
    bad = wire;
    bad.bytes[bad.len++] = 0; /* more than it says */
    assert_int_equal(wire_parse(&bad, &query), PROXY_DNS_QUERY_FORMERR);
    bad = wire;
    wire_edns(&bad, 512, 0, NULL);
    wire_edns(&bad, 512, 0, NULL);
    assert_int_equal(wire_parse(&bad, &query), PROXY_DNS_QUERY_FORMERR);
    bad = wire_query(1, "a.b", 252);
    assert_int_equal(wire_parse(&bad, &query), PROXY_DNS_QUERY_REFUSED);
    bad = wire;
    bad.bytes[12] = (char)0xc0; /* a pointer in the question, to itself */
    bad.bytes[13] = 12;
    assert_int_equal(wire_parse(&bad, &query), PROXY_DNS_QUERY_FORMERR);
    bad = wire;
    bad.bytes[12] = 0x41;
    assert_int_equal(wire_parse(&bad, &query), PROXY_DNS_QUERY_FORMERR);
}

static void long_names(void **state)
{
    (void)state;
    struct proxy_dns_query query;
    struct wire wire = {.len = 12};
    wire_put16(&wire, 4, 1);
    for (int i = 0; i < 4; i++) { /* 4 × 63 and the root: 257, so the last is cut below */
        unsigned label = i < 3 ? 63 : 61;
        wire.bytes[wire.len++] = (char)label;
        memset(wire.bytes + wire.len, 'x', label);
        wire.len += label;
    }
    struct wire good = wire;
    good.len += 5;
    good.bytes[good.len - 3] = 1;
    good.bytes[good.len - 1] = 1;
    assert_int_equal(wire_parse(&good, &query), PROXY_DNS_QUERY_GOOD);
    assert_int_equal(query.question.name.len, PROXY_DNS_NAME_MAX);
    wire.bytes[wire.len++] = 0;
    wire.bytes[12 + 3 * 64] = 62;
    wire.len += 5;
    assert_int_equal(wire_parse(&wire, &query), PROXY_DNS_QUERY_FORMERR);
}

static struct wire asked(void)
{
    return wire_query(7, "a.b", DNS_A);
}

static enum proxy_dns_answer_result read_answer(const struct wire *wire, struct proxy_dns_answer *ret)
{
    struct wire question = asked();
    struct proxy_dns_query query;
    assert_int_equal(wire_parse(&question, &query), PROXY_DNS_QUERY_GOOD);
    struct guard guard;
    guard_init(&guard, fl_span_make(wire->bytes, wire->len));
    enum proxy_dns_answer_result result = proxy_dns_answer_parse(guard.span, 7, &query.question, ret);
    guard_done(&guard);
    return result;
}

static void answers_and_how_long_they_hold(void **state)
{
    (void)state;
    struct proxy_dns_answer answer;
    struct wire wire = asked();
    wire_put16(&wire, 2, 0x8180);
    wire_record(&wire, ANSWER_COUNT, 5, 300, "\x01z\xc0\x0c", 4);
    wire_record(&wire, ANSWER_COUNT, DNS_A, 60, "\x0a\x00\x00\x01", 4);
    wire_record(&wire, AUTHORITY_COUNT, 2, 90, "\xc0\x0c", 2);
    wire_edns(&wire, 1232, 0, NULL);
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_GOOD);
    assert_int_equal(answer.ttl, 60);
    assert_false(answer.negative);

    struct wire other = wire; /* TC */
    wire_put16(&other, 2, 0x8380);
    assert_int_equal(read_answer(&other, &answer), PROXY_DNS_ANSWER_GOOD);
    assert_true(answer.truncated);
    assert_int_equal(answer.ttl, 0);

    other = wire; /* SERVFAIL */
    wire_put16(&other, 2, 0x8182);
    assert_int_equal(read_answer(&other, &answer), PROXY_DNS_ANSWER_GOOD);
    assert_int_equal(answer.rcode, PROXY_DNS_SERVFAIL);
    assert_int_equal(answer.ttl, 0);

    other = asked(); /* a TTL with the highest bit is 0 */
    wire_put16(&other, 2, 0x8180);
    wire_record(&other, ANSWER_COUNT, DNS_A, 0x80000001, "\x0a\x00\x00\x01", 4);
    assert_int_equal(read_answer(&other, &answer), PROXY_DNS_ANSWER_GOOD);
    assert_int_equal(answer.ttl, 0);

    other = asked(); /* an alias without what was asked for and without an SOA */
    wire_put16(&other, 2, 0x8180);
    wire_record(&other, ANSWER_COUNT, 5, 300, "\x01z\xc0\x0c", 4);
    assert_int_equal(read_answer(&other, &answer), PROXY_DNS_ANSWER_GOOD);
    assert_int_equal(answer.ttl, 0);
}

static void denials(void **state)
{
    (void)state;
    static const char soa[] = "\x01n\x00\x01m\x00" /* two names */
                              "\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\x1e";
    struct proxy_dns_answer answer;
    for (unsigned rcode = 0; rcode <= 3; rcode += 3) {
        struct wire wire = asked();
        wire_put16(&wire, 2, 0x8180 | rcode);
        assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_GOOD);
        assert_int_equal(answer.ttl, 0); /* nobody says how long */
        wire_record(&wire, AUTHORITY_COUNT, 6, 3600, soa, sizeof(soa) - 1);
        assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_GOOD);
        assert_true(answer.negative);
        assert_int_equal(answer.ttl, 30);
    }
    struct wire wire = asked(); /* the SOA's own TTL is less */
    wire_put16(&wire, 2, 0x8183);
    wire_record(&wire, AUTHORITY_COUNT, 6, 5, soa, sizeof(soa) - 1);
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_GOOD);
    assert_int_equal(answer.ttl, 5);
    wire = asked(); /* no whole SOA */
    wire_put16(&wire, 2, 0x8183);
    wire_record(&wire, AUTHORITY_COUNT, 6, 5, soa, 20);
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_GOOD);
    assert_int_equal(answer.ttl, 0);
}

static void foreign_answers(void **state)
{
    (void)state;
    struct proxy_dns_answer answer;
    struct wire good = asked();
    wire_put16(&good, 2, 0x8180);
    assert_int_equal(read_answer(&good, &answer), PROXY_DNS_ANSWER_GOOD);
    struct wire wire = good;
    wire_put16(&wire, 0, 8);
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_FOREIGN);
    wire = good;
    wire_put16(&wire, 2, 0x0180);
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_FOREIGN);
    wire = good;
    wire.bytes[13] = 'x';
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_FOREIGN);
    wire = good;
    wire.bytes[13] = 'A'; /* the case does not matter */
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_GOOD);
    wire = good;
    wire_put16(&wire, wire.len - 4, 28);
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_FOREIGN);
    wire = good;
    wire.len = 12;
    wire_put16(&wire, 4, 0);
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_FOREIGN);
    wire_put16(&wire, 2, 0x8181); /* a server that knows no EDNS, and says so in twelve bytes */
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_GOOD);
    assert_int_equal(answer.rcode, PROXY_DNS_FORMERR);
}

static void broken_answers(void **state)
{
    (void)state;
    struct proxy_dns_answer answer;
    struct wire good = asked();
    wire_put16(&good, 2, 0x8180);
    wire_record(&good, ANSWER_COUNT, DNS_A, 60, "\x0a\x00\x00\x01", 4);
    for (size_t len = asked().len; len < good.len; len++) {
        struct wire cut = good;
        cut.len = len;
        assert_int_equal(read_answer(&cut, &answer), PROXY_DNS_ANSWER_BROKEN);
    }
    struct wire wire = good;
    size_t name = asked().len;
    wire_put16(&wire, name, 0xc000 | (unsigned)name); /* to itself */
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_BROKEN);
    wire_put16(&wire, name, 0xc000 | (unsigned)(name + 4)); /* forward */
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_BROKEN);
    wire_put16(&wire, name, 0xc000); /* into the header */
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_BROKEN);
    wire = good;
    wire_put16(&wire, 6, 65535); /* more than there is */
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_BROKEN);
    wire = good; /* two records whose pointers lead into each other */
    wire_record(&wire, ANSWER_COUNT, 16, 60, "\xc0\x30", 2);
    wire_put16(&wire, wire.len - 14, 0xc000 | (unsigned)(wire.len - 2));
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_BROKEN);
    wire = good; /* bytes behind the message: handed on, never kept */
    wire.bytes[wire.len++] = 0;
    assert_int_equal(read_answer(&wire, &answer), PROXY_DNS_ANSWER_GOOD);
    assert_int_equal(answer.ttl, 0);
}

static void ttls_are_counted_down(void **state)
{
    (void)state;
    struct wire wire = asked();
    wire_put16(&wire, 2, 0x8180);
    wire_record(&wire, ANSWER_COUNT, DNS_A, 0x00010005, "\x0a\x00\x00\x01", 4);
    size_t first = wire.len - 10;
    wire_record(&wire, AUTHORITY_COUNT, 2, 5, "\xc0\x0c", 2);
    size_t second = wire.len - 8;
    wire_edns(&wire, 1232, 0x8000, NULL);
    struct wire before = wire;
    proxy_dns_age(wire.bytes, wire.len, 7);
    static const char expected[4] = {0, 0, (char)0xff, (char)0xfe};
    assert_memory_equal(wire.bytes + first, expected, 4);
    assert_memory_equal(wire.bytes + second, "\0\0\0\0", 4);
    memcpy(wire.bytes + first, before.bytes + first, 4);
    memcpy(wire.bytes + second, before.bytes + second, 4);
    assert_memory_equal(wire.bytes, before.bytes, wire.len); /* and nothing else */
}

static void large_answers_are_cut_at_records(void **state)
{
    (void)state;
    struct wire wire = asked();
    wire_put16(&wire, 2, 0x8180);
    for (int i = 0; i < 100; i++)
        wire_record(&wire, ANSWER_COUNT, DNS_A, 60, "\x0a\x00\x00\x01", 4);
    wire_record(&wire, AUTHORITY_COUNT, 2, 5, "\xc0\x0c", 2);
    wire_edns(&wire, 1232, 0, NULL);
    struct wire cut = wire;
    assert_int_equal(proxy_dns_truncate(cut.bytes, cut.len, cut.len), cut.len);
    cut.len = proxy_dns_truncate(cut.bytes, cut.len, 512);
    assert_true(cut.len <= 512 && cut.len > 512 - 16);
    struct proxy_dns_answer answer;
    assert_int_equal(read_answer(&cut, &answer), PROXY_DNS_ANSWER_GOOD);
    assert_true(answer.truncated);
    assert_int_equal(cut.bytes[7], (512 - asked().len - 11) / 16);
    assert_int_equal(cut.bytes[11], 1); /* EDNS is there */
    assert_int_equal(cut.bytes[cut.len - 9], 41);
    assert_memory_equal(cut.bytes + 12, wire.bytes + 12, cut.len - 12 - 11);
}

static void errors_and_names(void **state)
{
    (void)state;
    char out[PROXY_DNS_ERROR_MAX];
    struct wire wire = wire_query(0x0102, "a.b", DNS_A);
    wire_edns(&wire, 1232, 0, NULL);
    size_t len = proxy_dns_error_print(fl_span_make(wire.bytes, wire.len), PROXY_DNS_SERVFAIL, out);
    static const char head[] = {1, 2, (char)0x81, (char)0x82, 0, 1, 0, 0, 0, 0, 0, 0};
    assert_int_equal(len, asked().len);
    assert_memory_equal(out, head, sizeof(head));
    assert_memory_equal(out + 12, wire.bytes + 12, len - 12);
    proxy_dns_set_name(out, len, fl_span_make("\1A\1B", 5));
    assert_memory_equal(out + 12, "\1A\1B", 5);
    proxy_dns_set_name(out, len, fl_span_make("\1A", 3)); /* not its length */
    assert_memory_equal(out + 12, "\1A\1B", 5);
    proxy_dns_set_id(out, 0xa0b0);
    assert_memory_equal(out, "\xa0\xb0", 2);
    len = proxy_dns_error_print(fl_span_make(wire.bytes, 14), PROXY_DNS_FORMERR, out);
    assert_int_equal(len, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_are_read),
        cmocka_unit_test(what_answers_hang_on_is_in_the_key),
        cmocka_unit_test(queries_of_their_own),
        cmocka_unit_test(what_is_no_query),
        cmocka_unit_test(long_names),
        cmocka_unit_test(answers_and_how_long_they_hold),
        cmocka_unit_test(denials),
        cmocka_unit_test(foreign_answers),
        cmocka_unit_test(broken_answers),
        cmocka_unit_test(ttls_are_counted_down),
        cmocka_unit_test(large_answers_are_cut_at_records),
        cmocka_unit_test(errors_and_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
