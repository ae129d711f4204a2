/* proxy/dns/cache: time, bounds, order; memory that runs out. And proxy/dns/resolvconf. */
#include "proxy/dns/cache.h"

#include "proxy/dns/resolvconf.h"
#include "tests/support/fail.h"
#include "tests/unit/proxy/dns_wire.h"

#include <stdio.h>

#define S(seconds) (UINT64_C(1000) * (seconds))

static struct wire answer(unsigned ttl)
{
    struct wire wire = wire_query(1, "a.b", DNS_A);
    wire_put16(&wire, 2, 0x8180);
    wire_record(&wire, ANSWER_COUNT, DNS_A, ttl, "\x0a\x00\x00\x01", 4);
    return wire;
}

static void put(struct proxy_dns_cache *cache, const char *key, const struct wire *wire, uint32_t ttl, uint64_t now)
{
    proxy_dns_cache_put(cache, fl_span_str(key), fl_span_make(wire->bytes, wire->len), ttl, false, now);
}

static size_t get(struct proxy_dns_cache *cache, const char *key, uint64_t now, struct wire *ret)
{
    static char out[PROXY_DNS_MESSAGE_MAX];
    size_t len = proxy_dns_cache_get(cache, fl_span_str(key), now, out);
    if (ret != NULL && len > 0)
        memcpy(ret->bytes, out, len);
    return len;
}

static void answers_age_and_end(void **state)
{
    (void)state;
    struct proxy_dns_cache cache;
    struct wire wire = answer(10), got = {.len = 0};
    proxy_dns_cache_init(&cache, 10, 65536);
    put(&cache, "k", &wire, 10, S(100));
    assert_int_equal(get(&cache, "k", S(100) + 999, &got), wire.len);
    assert_int_equal(got.bytes[wire.len - 7 + 0], 10);
    assert_int_equal(get(&cache, "k", S(103), &got), wire.len);
    assert_int_equal(got.bytes[wire.len - 7], 7);
    assert_int_equal(get(&cache, "k", S(110) - 1, &got), wire.len);
    assert_int_equal(got.bytes[wire.len - 7], 1);
    assert_int_equal(get(&cache, "other", S(100), &got), 0);
    assert_int_equal(get(&cache, "k", S(110), &got), 0);
    assert_int_equal(proxy_dns_cache_count(&cache), 0);
    assert_int_equal(cache.bytes, 0);
    put(&cache, "k", &wire, 0, S(100)); /* not to be kept */
    assert_int_equal(proxy_dns_cache_count(&cache), 0);
    put(&cache, "k", &wire, UINT32_MAX, S(0));
    assert_int_equal(get(&cache, "k", S(PROXY_DNS_CACHE_TTL_MAX), NULL), 0);
    proxy_dns_cache_put(&cache, FL_SPAN("k"), fl_span_make(wire.bytes, wire.len), UINT32_MAX, true, S(0));
    assert_int_equal(get(&cache, "k", S(PROXY_DNS_CACHE_DENY_MAX) - 1, NULL), wire.len);
    assert_int_equal(get(&cache, "k", S(PROXY_DNS_CACHE_DENY_MAX), NULL), 0);
    proxy_dns_cache_done(&cache);
}

static void bounded_in_entries(void **state)
{
    (void)state;
    struct proxy_dns_cache cache;
    struct wire wire = answer(1000);
    proxy_dns_cache_init(&cache, 100, 1 << 20);
    put(&cache, "used", &wire, 1000, S(1));
    for (int i = 0; i < 10000; i++) {
        char key[32];
        snprintf(key, sizeof(key), "name-%d", i);
        put(&cache, key, &wire, 1000, S(1));
        assert_int_equal(get(&cache, "used", S(2), NULL), wire.len); /* what is used stays */
        assert_int_equal(get(&cache, key, S(2), NULL), wire.len);
    }
    assert_int_equal(proxy_dns_cache_count(&cache), 100);
    assert_int_equal(get(&cache, "name-9900", S(2), NULL), 0);
    assert_int_equal(get(&cache, "name-9901", S(2), NULL), wire.len);
    proxy_dns_cache_done(&cache);
    assert_int_equal(cache.bytes, 0);
}

static void bounded_in_bytes(void **state)
{
    (void)state;
    struct proxy_dns_cache cache;
    struct wire wire = answer(1000);
    proxy_dns_cache_init(&cache, 1000, 8192);
    for (int i = 0; i < 1000; i++) {
        char key[32];
        snprintf(key, sizeof(key), "name-%d", i);
        put(&cache, key, &wire, 1000, S(1));
        assert_true(cache.bytes <= 8192);
    }
    assert_true(proxy_dns_cache_count(&cache) > 20);
    size_t count = proxy_dns_cache_count(&cache);
    wire.len = 1200; /* more than an eighth: nothing goes for it */
    put(&cache, "large", &wire, 1000, S(1));
    assert_int_equal(get(&cache, "large", S(1), NULL), 0);
    assert_int_equal(proxy_dns_cache_count(&cache), count);
    proxy_dns_cache_done(&cache);
}

static void sweeping(void **state)
{
    (void)state;
    struct proxy_dns_cache cache;
    struct wire wire = answer(1000);
    proxy_dns_cache_init(&cache, 1000, 1 << 20);
    put(&cache, "short", &wire, 10, S(1));
    put(&cache, "long", &wire, 100, S(1));
    put(&cache, "shorter", &wire, 1, S(1));
    proxy_dns_cache_sweep(&cache, S(20));
    assert_int_equal(proxy_dns_cache_count(&cache), 1);
    assert_int_equal(get(&cache, "long", S(20), NULL), wire.len);
    proxy_dns_cache_sweep(&cache, S(200));
    assert_int_equal(proxy_dns_cache_count(&cache), 0);
    assert_int_equal(cache.bytes, 0);
    put(&cache, "again", &wire, 10, S(1));
    assert_int_equal(get(&cache, "again", S(1), NULL), wire.len);
    proxy_dns_cache_done(&cache);
}

static void without_memory_nothing_is_kept(void **state)
{
    (void)state;
    struct wire wire = answer(1000);
    FAIL_EACH_ALLOCATION
    {
        struct proxy_dns_cache cache;
        proxy_dns_cache_init(&cache, 10, 65536);
        put(&cache, "a", &wire, 10, S(1));
        put(&cache, "b", &wire, 10, S(1));
        put(&cache, "a", &wire, 10, S(1));
        fail_stop();
        assert_true(fail_happened() || proxy_dns_cache_count(&cache) == 2);
        assert_true(proxy_dns_cache_count(&cache) * wire.len <= cache.bytes);
        proxy_dns_cache_done(&cache);
        assert_int_equal(cache.bytes, 0);
    }
}

static void resolv_conf(void **state)
{
    (void)state;
    static const struct {
        const char *text, *servers;
        unsigned timeout_s;
        bool rotate, use_vc;
    } rows[] = {
        {"", "127.0.0.1:53", 5, false, false},
        {"nameserver 10.96.0.10\nsearch a.svc b\noptions ndots:5\n", "10.96.0.10:53", 5, false, false},
        {"nameserver\t10.0.0.1\r\nnameserver fd00::a  # x\n#nameserver 1.1.1.1\n;nameserver 1.1.1.2\n",
         "10.0.0.1:53 [fd00::a]:53", 5, false, false},
        {"nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4",
         "10.0.0.1:53 10.0.0.2:53 10.0.0.3:53", 5, false, false},
        {" nameserver 10.0.0.1\nnameserver x\nnameservers 10.0.0.2\nnameserver10.0.0.3\nnameserver", "127.0.0.1:53", 5,
         false, false},
        {"nameserver 10.0.0.1\noptions timeout:2 attempts:3 rotate use-vc\n", "10.0.0.1:53", 2, true, true},
        {"options timeout:0\noptions timeout:x\nnameserver ::1", "[::1]:53", 5, false, false},
        {"options timeout:99999999\nnameserver ::1", "[::1]:53", 30, false, false},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct proxy_resolvconf conf;
        char text[4 * PROXY_ADDRESS_TEXT_MAX] = "";
        guard_init(&guard, fl_span_str(rows[i].text));
        proxy_resolvconf_parse(guard.span, &conf);
        guard_done(&guard);
        for (size_t k = 0; k < conf.count; k++) {
            char one[PROXY_ADDRESS_TEXT_MAX];
            proxy_address_print(&conf.servers[k], one);
            size_t len = strlen(text);
            snprintf(text + len, sizeof(text) - len, "%s%s", k > 0 ? " " : "", one);
        }
        assert_string_equal(text, rows[i].servers);
        assert_int_equal(conf.timeout_s, rows[i].timeout_s);
        assert_int_equal(conf.rotate, rows[i].rotate);
        assert_int_equal(conf.use_vc, rows[i].use_vc);
        assert_true(proxy_resolvconf_eq(&conf, &conf));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_age_and_end), cmocka_unit_test(bounded_in_entries),
        cmocka_unit_test(bounded_in_bytes),    cmocka_unit_test(sweeping),
        cmocka_unit_test(resolv_conf),         cmocka_unit_test(without_memory_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
