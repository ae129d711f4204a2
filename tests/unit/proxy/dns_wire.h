/* DNS messages for the tests, byte by byte. */
#ifndef TESTS_UNIT_PROXY_DNS_WIRE_H
#define TESTS_UNIT_PROXY_DNS_WIRE_H

#include "proxy/dns/packet.h"
#include "tests/support/guard.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define DNS_A 1u
enum wire_count { ANSWER_COUNT = 6, AUTHORITY_COUNT = 8, ADDITIONAL_COUNT = 10 };

struct wire {
    char bytes[4096];
    size_t len;
};

static inline void wire_put16(struct wire *wire, size_t at, unsigned value)
{
    wire->bytes[at] = (char)(value >> 8);
    wire->bytes[at + 1] = (char)value;
}

static inline void wire_add16(struct wire *wire, unsigned value)
{
    wire->len += 2;
    wire_put16(wire, wire->len - 2, value);
}

static inline void wire_add(struct wire *wire, const char *bytes, size_t len)
{
    assert_true(wire->len + len <= sizeof(wire->bytes));
    memcpy(wire->bytes + wire->len, bytes, len);
    wire->len += len;
}

static inline struct wire wire_query(unsigned id, const char *name, unsigned type)
{
    struct wire wire = {.len = PROXY_DNS_HEADER_SIZE};
    struct fl_span rest = fl_span_str(name), label;
    wire_put16(&wire, 0, id);
    wire_put16(&wire, 2, 0x0100);
    wire_put16(&wire, 4, 1);
    while (fl_span_split(&rest, '.', &label)) {
        wire.bytes[wire.len++] = (char)label.len;
        wire_add(&wire, label.data, label.len);
    }
    wire.bytes[wire.len++] = 0;
    wire_add16(&wire, type);
    wire_add16(&wire, 1);
    return wire;
}

static inline void wire_counted(struct wire *wire, enum wire_count count)
{
    wire->bytes[count + 1]++;
}

/* Its owner is the question's name. */
static inline void wire_record(struct wire *wire, enum wire_count count, unsigned type, unsigned ttl, const char *data,
                               size_t len)
{
    wire_counted(wire, count);
    wire_add16(wire, 0xc00c);
    wire_add16(wire, type);
    wire_add16(wire, 1);
    wire_add16(wire, ttl >> 16);
    wire_add16(wire, ttl & 0xffff);
    wire_add16(wire, (unsigned)len);
    wire_add(wire, data, len);
}

/* `option`: six bytes, or none. */
static inline void wire_edns(struct wire *wire, unsigned size, unsigned flags, const char option[6])
{
    size_t len = option != NULL ? 6 : 0;
    wire_counted(wire, ADDITIONAL_COUNT);
    wire->bytes[wire->len++] = 0;
    wire_add16(wire, 41);
    wire_add16(wire, size);
    wire_add16(wire, 0);
    wire_add16(wire, flags);
    wire_add16(wire, (unsigned)len);
    if (len > 0)
        wire_add(wire, option, len);
}

/* Of a copy that ends at a page which must not be touched: what `ret` points to is gone, but for its sizes. */
static inline enum proxy_dns_query_result wire_parse(const struct wire *wire, struct proxy_dns_query *ret)
{
    struct guard guard;
    guard_init(&guard, fl_span_make(wire->bytes, wire->len));
    enum proxy_dns_query_result result = proxy_dns_query_parse(guard.span, ret);
    guard_done(&guard);
    if (result == PROXY_DNS_QUERY_GOOD)
        ret->question.name.data = wire->bytes + PROXY_DNS_HEADER_SIZE;
    return result;
}

#endif
