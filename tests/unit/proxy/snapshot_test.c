/* proxy/snapshot: the filter-chain picker against a table of Envoy's precedence and against a slow oracle; life and
 * look-ups of a snapshot. */
#include "proxy/snapshot/snapshot.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct proxy_address address(const char *text, uint16_t port)
{
    struct proxy_address result;
    assert_int_equal(proxy_address_parse(fl_span_str(text), port, &result), 0);
    return result;
}

static struct fl_cidr cidr(const char *text)
{
    struct fl_cidr result = {0};
    struct fl_span rest = fl_span_str(text), host;
    assert_true(fl_span_split(&rest, '/', &host));
    struct proxy_address base;
    assert_int_equal(proxy_address_parse(host, 0, &base), 0);
    struct fl_span bytes = proxy_address_bytes(&base);
    result.family = base.any.sa_family;
    memcpy(result.address, bytes.data, bytes.len);
    uint64_t prefix = 0;
    assert_true(fl_span_to_u64(rest, 128, &prefix));
    result.prefix = (uint8_t)prefix;
    return result;
}

/* A chain in a line: name, then what it asks for. */
struct chain_row {
    const char *name;
    uint16_t port;
    const char *prefix, *server_name;
    enum proxy_transport transport;
    const char *alpn;
    const char *direct_source;
    enum proxy_source_type source_type;
    const char *source;
    uint16_t source_port;
};

struct chain_memory {
    struct fl_cidr prefix, direct, source;
    struct fl_span server_name, alpn;
};

static void chain_init(struct proxy_filter_chain *chain, struct chain_memory *memory, const struct chain_row *row)
{
    *chain = (struct proxy_filter_chain){.name = fl_span_str(row->name)};
    struct proxy_chain_match *match = &chain->match;
    match->destination_port = row->port;
    match->transport = row->transport;
    match->source_type = row->source_type;
    if (row->prefix != NULL) {
        memory->prefix = cidr(row->prefix);
        match->prefixes = &memory->prefix;
        match->prefix_count = 1;
    }
    if (row->server_name != NULL) {
        memory->server_name = fl_span_str(row->server_name);
        match->server_names = &memory->server_name;
        match->server_name_count = 1;
    }
    if (row->alpn != NULL) {
        memory->alpn = fl_span_str(row->alpn);
        match->application_protocols = &memory->alpn;
        match->application_protocol_count = 1;
    }
    if (row->direct_source != NULL) {
        memory->direct = cidr(row->direct_source);
        match->direct_source_prefixes = &memory->direct;
        match->direct_source_prefix_count = 1;
    }
    if (row->source != NULL) {
        memory->source = cidr(row->source);
        match->source_prefixes = &memory->source;
        match->source_prefix_count = 1;
    }
    if (row->source_port != 0) {
        match->source_ports = &row->source_port;
        match->source_port_count = 1;
    }
}

struct query_row {
    const char *what;
    const char *destination;
    uint16_t port;
    const char *source;
    uint16_t source_port;
    enum proxy_transport transport;
    const char *server_name;
    const char *alpn[3];
    const char *expected; /* NULL: the default chain */
};

static void run_table(const struct chain_row *rows, size_t row_count, const struct query_row *queries,
                      size_t query_count)
{
    struct proxy_filter_chain chains[16];
    struct chain_memory memory[16];
    assert_true(row_count <= 16);
    for (size_t i = 0; i < row_count; i++)
        chain_init(&chains[i], &memory[i], &rows[i]);
    struct proxy_filter_chain fallback = {.name = FL_SPAN("default")};
    struct proxy_listener listener = {.chains = chains, .chain_count = row_count, .default_chain = &fallback};
    for (size_t i = 0; i < query_count; i++) {
        const struct query_row *row = &queries[i];
        struct proxy_address to = address(row->destination, row->port);
        struct proxy_address from = address(row->source != NULL ? row->source : "192.0.2.1", row->source_port);
        struct proxy_chain_query query = {.destination = &to,
                                          .source = &from,
                                          .transport = row->transport,
                                          .server_name = fl_span_str(row->server_name)};
        struct fl_span alpn[3];
        while (query.application_protocol_count < 3 && row->alpn[query.application_protocol_count] != NULL) {
            alpn[query.application_protocol_count] = fl_span_str(row->alpn[query.application_protocol_count]);
            query.application_protocol_count++;
        }
        query.application_protocols = alpn;
        const struct proxy_filter_chain *chain = proxy_listener_pick(&listener, &query);
        const char *expected = row->expected != NULL ? row->expected : "default";
        if (chain == NULL || !fl_span_eq_str(chain->name, expected))
            fail_msg("%s: expected %s, got %s", row->what, expected, chain != NULL ? chain->name.data : "nothing");
        listener.default_chain = NULL;
        assert_true((proxy_listener_pick(&listener, &query) == NULL) == (row->expected == NULL));
        listener.default_chain = &fallback;
    }
}

static void test_destination(void **state)
{
    (void)state;
    static const struct chain_row chains[] = {
        {.name = "port80", .port = 80, .prefix = "10.0.0.0/8"},
        {.name = "host", .prefix = "10.1.2.3/32"},
        {.name = "net24", .prefix = "10.1.2.0/24"},
        {.name = "net8", .prefix = "10.0.0.0/8"},
        {.name = "v6", .prefix = "fd00::/8"},
        {.name = "odd", .prefix = "172.16.128.0/17"},
    };
    static const struct query_row queries[] = {
        {.what = "port before prefix", .destination = "10.1.2.3", .port = 80, .expected = "port80"},
        {.what = "port named, its chain does not fit: no way back", .destination = "172.16.129.1", .port = 80},
        {.what = "longest prefix", .destination = "10.1.2.3", .port = 81, .expected = "host"},
        {.what = "next prefix", .destination = "10.1.2.4", .port = 81, .expected = "net24"},
        {.what = "shortest prefix", .destination = "10.200.0.1", .port = 81, .expected = "net8"},
        {.what = "IPv6", .destination = "fd12::1", .port = 81, .expected = "v6"},
        {.what = "IPv6 outside", .destination = "fe80::1", .port = 81},
        {.what = "a prefix that ends inside a byte, in", .destination = "172.16.200.1", .port = 1, .expected = "odd"},
        {.what = "a prefix that ends inside a byte, out", .destination = "172.16.127.255", .port = 1},
        {.what = "none", .destination = "192.168.0.1", .port = 81},
    };
    run_table(chains, FL_COUNT(chains), queries, FL_COUNT(queries));
}

static void test_names_and_protocols(void **state)
{
    (void)state;
    static const struct chain_row chains[] = {
        {.name = "exact", .server_name = "a.example.com"},
        {.name = "deep", .server_name = ".b.example.com"},
        {.name = "wild", .server_name = ".example.com"},
        {.name = "tls-h2", .transport = PROXY_TRANSPORT_TLS, .alpn = "h2"},
        {.name = "tls-11", .transport = PROXY_TRANSPORT_TLS, .alpn = "http/1.1"},
        {.name = "tls", .transport = PROXY_TRANSPORT_TLS},
        {.name = "plain", .transport = PROXY_TRANSPORT_RAW},
    };
    static const struct query_row queries[] = {
        {.what = "exact name", .server_name = "a.example.com", .expected = "exact"},
        {.what = "case", .server_name = "A.Example.COM", .expected = "exact"},
        {.what = "wildcard", .server_name = "c.example.com", .expected = "wild"},
        {.what = "longest wildcard", .server_name = "x.b.example.com", .expected = "deep"},
        {.what = "wildcard, any depth", .server_name = "x.y.example.com", .expected = "wild"},
        {.what = "the wildcard's own name: not it", .server_name = "example.com", .expected = "plain"},
        {.what = "b.example.com is no subdomain of itself", .server_name = "b.example.com", .expected = "wild"},
        {.what = "nothing detected counts as raw", .expected = "plain"},
        {.what = "raw", .transport = PROXY_TRANSPORT_RAW, .expected = "plain"},
        {.what = "the client's order",
         .transport = PROXY_TRANSPORT_TLS,
         .alpn = {"http/1.1", "h2"},
         .expected = "tls-11"},
        {.what = "the first that is named",
         .transport = PROXY_TRANSPORT_TLS,
         .alpn = {"x", "h2"},
         .expected = "tls-h2"},
        {.what = "none named", .transport = PROXY_TRANSPORT_TLS, .alpn = {"x"}, .expected = "tls"},
        {.what = "no ALPN", .transport = PROXY_TRANSPORT_TLS, .expected = "tls"},
        {.what = "ALPN without TLS", .alpn = {"h2"}, .expected = "plain"},
    };
    struct query_row full[FL_COUNT(queries)];
    for (size_t i = 0; i < FL_COUNT(queries); i++) {
        full[i] = queries[i];
        full[i].destination = "10.0.0.1";
        full[i].port = 443;
    }
    run_table(chains, FL_COUNT(chains), full, FL_COUNT(full));
}

/* The chains of the permissive server (tests/golden/bootstrap). */
static void test_permissive(void **state)
{
    (void)state;
    static const struct chain_row chains[] = {
        {.name = "http", .port = 8080, .transport = PROXY_TRANSPORT_TLS, .alpn = "fairlead-tcp/1"},
        {.name = "tcp-mtls", .transport = PROXY_TRANSPORT_TLS, .alpn = "fairlead-tcp/1"},
        {.name = "http-plain", .port = 8080, .transport = PROXY_TRANSPORT_RAW},
    };
    static const struct query_row queries[] = {
        {.what = "meshed, HTTP port",
         .destination = "10.0.0.1",
         .port = 8080,
         .transport = PROXY_TRANSPORT_TLS,
         .alpn = {"fairlead-tcp/1"},
         .expected = "http"},
        {.what = "meshed, other port",
         .destination = "10.0.0.1",
         .port = 9000,
         .transport = PROXY_TRANSPORT_TLS,
         .alpn = {"fairlead-tcp/1"},
         .expected = "tcp-mtls"},
        {.what = "plain, HTTP port",
         .destination = "10.0.0.1",
         .port = 8080,
         .transport = PROXY_TRANSPORT_RAW,
         .expected = "http-plain"},
        {.what = "plain, other port", .destination = "10.0.0.1", .port = 9000, .transport = PROXY_TRANSPORT_RAW},
        {.what = "the app's own TLS passes untouched",
         .destination = "10.0.0.1",
         .port = 8080,
         .transport = PROXY_TRANSPORT_TLS,
         .alpn = {"h2"}},
        {.what = "the app's own TLS, no ALPN",
         .destination = "10.0.0.1",
         .port = 8080,
         .transport = PROXY_TRANSPORT_TLS},
    };
    run_table(chains, FL_COUNT(chains), queries, FL_COUNT(queries));
}

static void test_source(void **state)
{
    (void)state;
    static const struct chain_row chains[] = {
        {.name = "local", .source_type = PROXY_SOURCE_LOCAL},
        {.name = "external-net-port", .source_type = PROXY_SOURCE_EXTERNAL, .source = "10.0.0.0/8", .source_port = 7},
        {.name = "external-net", .source_type = PROXY_SOURCE_EXTERNAL, .source = "10.0.0.0/8"},
        {.name = "direct", .direct_source = "10.9.0.0/16"},
    };
    static const struct query_row queries[] = {
        {.what = "loopback", .destination = "10.0.0.1", .source = "127.0.0.9", .expected = "local"},
        {.what = "same IP", .destination = "10.0.0.1", .source = "10.0.0.1", .expected = "local"},
        {.what = "IPv6 loopback", .destination = "fd00::1", .source = "::1", .expected = "local"},
        {.what = "port",
         .destination = "10.0.0.1",
         .source = "10.2.0.1",
         .source_port = 7,
         .expected = "external-net-port"},
        {.what = "net", .destination = "10.0.0.1", .source = "10.2.0.1", .source_port = 8, .expected = "external-net"},
        {.what = "outside of the net", .destination = "10.0.0.1", .source = "11.0.0.1"},
        {.what = "direct source decides first", .destination = "10.0.0.1", .source = "10.9.0.1", .expected = "direct"},
    };
    run_table(chains, FL_COUNT(chains), queries, FL_COUNT(queries));
}

static void test_no_chains(void **state)
{
    (void)state;
    static const struct query_row queries[] = {{.what = "empty listener", .destination = "10.0.0.1", .port = 80}};
    run_table(NULL, 0, queries, 1);
}

static void test_overlap(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct chain_row a, b;
        bool overlap;
    } rows[] = {
        {"both empty", {.name = ""}, {.name = ""}, true},
        {"ports differ", {.port = 80}, {.port = 81}, false},
        {"one without port", {.port = 80}, {.port = 0}, false},
        {"the same prefix", {.prefix = "10.0.0.0/8"}, {.prefix = "10.0.0.0/8"}, true},
        {"another length", {.prefix = "10.0.0.0/8"}, {.prefix = "10.0.0.0/9"}, false},
        {"no prefix is every prefix of length 0", {.prefix = "0.0.0.0/0"}, {.name = ""}, true},
        {"names differ", {.server_name = "a"}, {.server_name = "b"}, false},
        {"ALPN differs", {.alpn = "a"}, {.alpn = "b"}, false},
        {"ALPN against none", {.alpn = "a"}, {.name = ""}, false},
        {"transport", {.transport = PROXY_TRANSPORT_TLS}, {.name = ""}, false},
        {"source port", {.source_port = 1}, {.source_port = 1}, true},
        {"source type", {.source_type = PROXY_SOURCE_LOCAL}, {.source_type = PROXY_SOURCE_EXTERNAL}, false},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_filter_chain chains[2];
        struct chain_memory memory[2];
        chain_init(&chains[0], &memory[0], &rows[i].a);
        chain_init(&chains[1], &memory[1], &rows[i].b);
        if (proxy_chain_match_overlap(&chains[0].match, &chains[1].match) != rows[i].overlap ||
            proxy_chain_match_overlap(&chains[1].match, &chains[0].match) != rows[i].overlap)
            fail_msg("%s", rows[i].what);
    }
}

/* -- the snapshot itself -- */

static void test_files_changed(void **state)
{
    (void)state;
    char path[] = "/tmp/fairlead-snapshot-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct proxy_watched_file file = {.path = fl_span_str(path)};
    assert_int_equal(fstat(fd, &file.status), 0);
    struct proxy_snapshot snapshot = {.files = &file, .file_count = 1};
    assert_false(proxy_snapshot_files_changed(&snapshot));
    assert_int_equal(write(fd, "x", 1), 1);
    assert_true(proxy_snapshot_files_changed(&snapshot));
    assert_int_equal(fstat(fd, &file.status), 0);
    assert_false(proxy_snapshot_files_changed(&snapshot));
    close(fd);
    unlink(path);
    assert_true(proxy_snapshot_files_changed(&snapshot));
    file.status = (struct stat){0}; /* it was not there when it was read */
    assert_false(proxy_snapshot_files_changed(&snapshot));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_destination),   cmocka_unit_test(test_names_and_protocols),
        cmocka_unit_test(test_permissive),    cmocka_unit_test(test_source),
        cmocka_unit_test(test_no_chains),     cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_files_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
