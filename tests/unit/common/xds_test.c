/* common/xds: JSON → message → JSON, what is refused, wire bytes. */
#include "common/doc/yaml.h"
#include "common/xds/convert.h"

#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include "common/xds/proto/bootstrap.pb-c.h"
#include "common/xds/proto/route.pb-c.h"
#include "common/xds/proto/tls.pb-c.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const ProtobufCMessageDescriptor *type_of(const char *name)
{
    static const ProtobufCMessageDescriptor *const others[] = {
        &envoy__config__core__v3__metadata__descriptor,
        &envoy__config__core__v3__node__descriptor,
        &envoy__config__core__v3__header_value__descriptor,
        &envoy__config__core__v3__socket_address__descriptor,
        &envoy__config__core__v3__data_source__descriptor,
        &envoy__config__route__v3__route_match__descriptor,
        &envoy__type__matcher__v3__string_matcher__descriptor,
        &envoy__type__v3__int64_range__descriptor,
        &envoy__type__v3__double_range__descriptor,
        &envoy__type__v3__int32_range__descriptor,
        &google__protobuf__any__descriptor,
    };
    for (size_t i = 0; i < FL_COUNT(others); i++)
        if (strcmp(others[i]->short_name, name) == 0)
            return others[i];
    const ProtobufCMessageDescriptor *type = fl_xds_type(fl_span_str(name));
    assert_non_null(type);
    return type;
}

struct reading {
    struct fl_yaml *yaml;
    struct fl_arena arena;
    struct fl_xds_report report;
    struct fl_err err;
    ProtobufCMessage *message;
};

static int begin(struct reading *reading, const char *type, const char *text)
{
    *reading = (struct reading){0};
    fl_arena_init(&reading->arena, 1u << 20);
    int result = fl_yaml_parse(fl_span_str(text), "x.yaml", NULL, &reading->yaml, &reading->err);
    if (result != 0)
        return result;
    struct fl_reader reader;
    fl_reader_init(&reader, fl_yaml_positions(reading->yaml), &reading->err);
    return fl_xds_read(&reader, type_of(type), fl_yaml_document(reading->yaml, 0), &reading->arena, &reading->report,
                       &reading->message);
}

static void end(struct reading *reading)
{
    fl_yaml_free(reading->yaml);
    fl_arena_done(&reading->arena);
}

#define DURATION "type.googleapis.com/google.protobuf.Duration"
#define STRUCT   "google.protobuf.Struct"

static void test_round_trip(void **state)
{
    (void)state;
    static const struct {
        const char *what, *type, *text, *expected;
    } rows[] = {
        {"empty", "Node", "{}", "{}"},
        {"snake_case and camelCase", "Node", "{userAgentName: a, client_features: [b, c]}",
         "{\"user_agent_name\":\"a\",\"client_features\":[\"b\",\"c\"]}"},
        {"null is absence", "Node", "{id: null, metadata: null, client_features: null}", "{}"},
        {"struct and all values", "Node", "{metadata: {a: null, b: true, c: 1.5, d: x, e: [1, [], {}], f: {g: {}}}}",
         "{\"metadata\":{\"a\":null,\"b\":true,\"c\":1.5,\"d\":\"x\",\"e\":[1,[],{}],\"f\":{\"g\":{}}}}"},
        {"map of messages", "Metadata", "{filter_metadata: {istio: {a: 1}, \"b.c\": {}}}",
         "{\"filter_metadata\":{\"istio\":{\"a\":1},\"b.c\":{}}}"},
        {"map of Any", "Metadata", "{typed_filter_metadata: {x: {\"@type\": " DURATION ", value: 2s}}}",
         "{\"typed_filter_metadata\":{\"x\":{\"@type\":\"" DURATION "\",\"value\":\"2s\"}}}"},
        {"enum by name", "SocketAddress", "{protocol: UDP, address: a, port_value: 0}",
         "{\"protocol\":\"UDP\",\"address\":\"a\",\"port_value\":0}"},
        {"enum by number", "SocketAddress", "{protocol: 1}", "{\"protocol\":\"UDP\"}"},
        {"a oneof's zero is kept", "SocketAddress", "{portValue: 0}", "{\"port_value\":0}"},
        {"64 bits as strings", "Int64Range", "{start: \"-9223372036854775808\", end: \"9223372036854775807\"}",
         "{\"start\":\"-9223372036854775808\",\"end\":\"9223372036854775807\"}"},
        {"64 bits as numbers", "Int64Range", "{start: -5, end: 9007199254740992}",
         "{\"start\":\"-5\",\"end\":\"9007199254740992\"}"},
        {"whole doubles", "Int32Range", "{start: 5.0, end: 1e3}", "{\"start\":5,\"end\":1000}"},
        {"doubles", "DoubleRange", "{start: -0.25, end: 1e300}", "{\"start\":-0.25,\"end\":1e+300}"},
        {"doubles that JSON has no number for", "DoubleRange", "{start: \"-Infinity\", end: \"NaN\"}",
         "{\"start\":\"-Infinity\",\"end\":\"NaN\"}"},
        {"base64", "HeaderValue", "{raw_value: \"/+8=\"}", "{\"raw_value\":\"/+8=\"}"},
        {"base64url without padding", "HeaderValue", "{raw_value: _-8}", "{\"raw_value\":\"/+8=\"}"},
        {"durations", "envoy.config.cluster.v3.Cluster", "{connect_timeout: 1.5s}", "{\"connect_timeout\":\"1.500s\"}"},
        {"durations below a second", "envoy.config.cluster.v3.Cluster", "{connect_timeout: -0.000001s}",
         "{\"connect_timeout\":\"-0.000001s\"}"},
        {"nanoseconds", "envoy.config.cluster.v3.Cluster", "{connect_timeout: 0.000000001s}",
         "{\"connect_timeout\":\"0.000000001s\"}"},
        {"wrappers", "envoy.config.listener.v3.Listener", "{transparent: false, tcp_backlog_size: \"7\"}",
         "{\"transparent\":false,\"tcp_backlog_size\":7}"},
        {"Any", "Any",
         "{\"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /x}",
         "{\"@type\":\"type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog\",\"path\":\"/x\"}"},
        {"Any inside Any", "Any",
         "{\"@type\": a/envoy.config.listener.v3.Listener, filter_chains: [{transport_socket: {name: x, "
         "typed_config: {\"@type\": b/" STRUCT ", value: {c: 1}}}}]}",
         "{\"@type\":\"a/envoy.config.listener.v3.Listener\",\"filter_chains\":[{\"transport_socket\":{\"name\":\"x\","
         "\"typed_config\":{\"@type\":\"b/" STRUCT "\",\"value\":{\"c\":1}}}}]}"},
        {"Any of a type that is not known: its name is kept", "Any", "{\"@type\": a/b.C, d: 1}",
         "{\"@type\":\"a/b.C\"}"},
        {"text is escaped", "Node", "{id: \"a\\\"\\\\\\n\"}", "{\"id\":\"a\\\"\\\\\\n\"}"},
        {"private keys are left out", "envoy.extensions.transport_sockets.tls.v3.Secret",
         "{name: a, tls_certificate: {certificate_chain: {inline_string: c}, private_key: {inline_string: k}, "
         "password: {filename: /p}}}",
         "{\"name\":\"a\",\"tls_certificate\":{\"certificate_chain\":{\"inline_string\":\"c\"},\"private_key\":{"
         "\"inline_string\":\"[redacted]\"},\"password\":{\"filename\":\"/p\"}}}"},
        {"secrets in a map are left out", "envoy.extensions.transport_sockets.tls.v3.Secret",
         "{generic_secret: {secrets: {a: {inline_bytes: aGk=}}}}",
         "{\"generic_secret\":{\"secrets\":{\"a\":{\"inline_bytes\":\"[redacted]\"}}}}"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct reading reading;
        if (begin(&reading, rows[i].type, rows[i].text) != 0)
            fail_msg("%s: %s", rows[i].what, reading.err.text);
        struct fl_buf out;
        fl_buf_init(&out, 1u << 16);
        assert_int_equal(fl_xds_print(reading.message, &out), 0);
        if (!fl_span_eq_str(fl_buf_span(&out), rows[i].expected))
            fail_msg("%s:\n  expected %s\n  got      %s", rows[i].what, rows[i].expected, fl_buf_str(&out));
        fl_buf_done(&out);
        end(&reading);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what, *type, *text, *expected;
    } rows[] = {
        {"array for object", "Node", "[]", "x.yaml:1:1: $: expected an object, got an array"},
        {"object for string", "Node", "{id: {}}", "x.yaml:1:6: $.id: expected a string, got an object"},
        {"number for string", "Node", "{id: 5}", "x.yaml:1:6: $.id: expected a string, got a number"},
        {"string for bool", "envoy.config.listener.v3.Listener", "{transparent: \"true\"}",
         "x.yaml:1:15: $.transparent: expected true or false, got a string"},
        {"string for array", "Node", "{client_features: a}",
         "x.yaml:1:19: $.client_features: expected an array, got a string"},
        {"null in an array", "Node", "{client_features: [a, null]}",
         "x.yaml:1:23: $.client_features[1]: expected a value, got null"},
        {"null in a map", "Metadata", "{filter_metadata: {a: null}}",
         "x.yaml:1:23: $.filter_metadata.a: expected a value, got null"},
        {"array for map", "Metadata", "{filter_metadata: []}",
         "x.yaml:1:19: $.filter_metadata: expected an object, got an array"},
        {"both spellings", "Node", "{user_agent_name: a, userAgentName: b}",
         "x.yaml:1:37: $.userAgentName: the field is there twice, as user_agent_name too"},
        {"oneof twice", "SocketAddress", "{port_value: 1, named_port: a}",
         "x.yaml:1:29: $.named_port: only one of port_value and named_port may be set"},
        {"32 bits exceeded", "SocketAddress", "{port_value: 4294967296}",
         "x.yaml:1:14: $.port_value: expected a whole number from 0 to 4294967295"},
        {"negative for unsigned", "SocketAddress", "{port_value: -1}",
         "x.yaml:1:14: $.port_value: expected a whole number from 0 to 4294967295"},
        {"a fraction", "Int32Range", "{start: 1.5}",
         "x.yaml:1:9: $.start: expected a whole number from -2147483648 to 2147483647"},
        {"64 bits exceeded", "Int64Range", "{start: \"9223372036854775808\"}",
         "x.yaml:1:9: $.start: expected a whole number from -9223372036854775808 to 9223372036854775807"},
        {"not a number", "DoubleRange", "{start: a}", "x.yaml:1:9: $.start: expected a number, got a string"},
        {"not base64", "HeaderValue", "{raw_value: \"a*\"}", "x.yaml:1:13: $.raw_value: expected base64 text"},
        {"base64 of an impossible length", "HeaderValue", "{raw_value: abcde}",
         "x.yaml:1:13: $.raw_value: expected base64 text"},
        {"enum unknown", "SocketAddress", "{protocol: SCTP}", "x.yaml:1:12: $.protocol: expected one of TCP, UDP"},
        {"enum number unknown", "SocketAddress", "{protocol: 2}", "x.yaml:1:12: $.protocol: expected one of TCP, UDP"},
        {"duration without unit", "envoy.config.cluster.v3.Cluster", "{connect_timeout: \"5\"}",
         "x.yaml:1:19: $.connect_timeout: expected a duration such as \"1.5s\""},
        {"duration in minutes", "envoy.config.cluster.v3.Cluster", "{connect_timeout: 5m}",
         "x.yaml:1:19: $.connect_timeout: expected a duration such as \"1.5s\""},
        {"duration with ten digits", "envoy.config.cluster.v3.Cluster", "{connect_timeout: 0.0000000001s}",
         "x.yaml:1:19: $.connect_timeout: expected a duration such as \"1.5s\""},
        {"duration beyond its range", "envoy.config.cluster.v3.Cluster", "{connect_timeout: 315576000001s}",
         "x.yaml:1:19: $.connect_timeout: expected a duration such as \"1.5s\""},
        {"Any without type", "Any", "{a: 1}", "x.yaml:1:1: $: expected a member \"@type\" with a type's name"},
        {"Any of a value without value", "Any", "{\"@type\": " DURATION "}",
         "x.yaml:1:1: $: expected a member \"value\""},
        {"unknown field of a strict message", "StringMatcher", "{exact: a, ignoreCase: true, x: 1}",
         "x.yaml:1:33: $.x: there is no such field in envoy.type.matcher.v3.StringMatcher"},
        {"unknown field of a strict message inside of an Any", "Any",
         "{\"@type\": a/envoy.extensions.transport_sockets.tls.v3.Secret, namee: b}",
         "x.yaml:1:70: $.namee: there is no such field in envoy.extensions.transport_sockets.tls.v3.Secret"},
        {"empty oneof of a strict message", "DataSource", "{}",
         "x.yaml:1:1: $: filename, inline_bytes, inline_string or environment_variable must be set"},
        {"oneof set to null", "DataSource", "{filename: null}",
         "x.yaml:1:1: $: filename, inline_bytes, inline_string or environment_variable must be set"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct reading reading;
        int result = begin(&reading, rows[i].type, rows[i].text);
        if (result != -EINVAL || strcmp(reading.err.text, rows[i].expected) != 0)
            fail_msg("%s (%d):\n  expected %s\n  got      %s", rows[i].what, result, rows[i].expected,
                     reading.err.text);
        end(&reading);
    }
}

static void test_ignored_is_counted(void **state)
{
    (void)state;
    struct reading reading;
    assert_int_equal(begin(&reading, "Node", "{id: a, x: {y: [1]}, locality: {z: 1}}"), 0);
    assert_int_equal(reading.report.ignored, 2);
    end(&reading);
    assert_int_equal(begin(&reading, "Any", "{\"@type\": a/b.C, d: 1}"), 0);
    assert_int_equal(reading.report.ignored, 1);
    end(&reading);
}

static void test_member_names(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = NULL;
    assert_int_equal(fl_json_parse(FL_SPAN("{\"http2ProtocolOptions\":1,\"a_b\":2}"), NULL, &object, NULL), 0);
    assert_non_null(fl_xds_member(object, "http2_protocol_options"));
    assert_non_null(fl_xds_member(object, "a_b"));
    assert_null(fl_xds_member(object, "a"));
    assert_null(fl_xds_member(object, "aB"));
    assert_null(fl_xds_member(NULL, "a"));
}

static void test_the_arena_bounds_a_message(void **state)
{
    (void)state;
    struct reading reading = {0};
    fl_arena_init(&reading.arena, 600);
    assert_int_equal(
        fl_yaml_parse(FL_SPAN("{id: abcdefghij, client_features: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, "
                              "o, p, q, r, s, t, u, v, w, x, y, z]}"),
                      "x.yaml", NULL, &reading.yaml, &reading.err),
        0);
    struct fl_reader reader;
    fl_reader_init(&reader, fl_yaml_positions(reading.yaml), &reading.err);
    assert_int_equal(fl_xds_read(&reader, type_of("Node"), fl_yaml_document(reading.yaml, 0), &reading.arena, NULL,
                                 &reading.message),
                     -ENOMEM);
    assert_non_null(strstr(reading.err.text, "larger than the limit"));
    end(&reading);
}

static void test_memory_running_out(void **state)
{
    (void)state;
    static const char text[] = "{metadata: {a: [1, {b: c}]}, client_features: [a, b]}";
    FAIL_EACH_ALLOCATION
    {
        struct reading reading;
        int result = begin(&reading, "Node", text);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        end(&reading);
    }
}

/* -- wire -- */

static int unpack(const char *type, struct fl_span bytes, struct fl_xds_report *report, struct fl_err *err)
{
    struct guard guard;
    guard_init(&guard, bytes);
    struct fl_arena arena;
    fl_arena_init(&arena, 1u << 20);
    ProtobufCMessage *message;
    int result = fl_xds_unpack(type_of(type), guard.span, &arena, report, &message, err);
    fl_arena_done(&arena);
    guard_done(&guard);
    return result;
}

static void test_wire(void **state)
{
    (void)state;
    static const struct {
        const char *what, *type;
        struct fl_span bytes;
        const char *expected; /* NULL: fine */
        unsigned ignored;
    } rows[] = {
        {"empty", "Node", {"", 0}, NULL, 0},
        {"a string",
         "Node",
         {"\x0a\x01"
          "a",
          3},
         NULL,
         0},
        {"unknown field, ignored", "Node", {"\xf8\x06\x01", 3}, NULL, 1},
        {"unknown field inside", "Node", {"\x22\x03\xf8\x06\x01", 5}, NULL, 1},
        {"unknown field of a strict message",
         "StringMatcher",
         {"\x0a\x01"
          "a\xf8\x06\x01",
          6},
         "envoy.type.matcher.v3.StringMatcher: field 111 is not known",
         0},
        {"empty oneof of a strict message",
         "StringMatcher",
         {"\x30\x01", 2},
         "envoy.type.matcher.v3.StringMatcher: exact, prefix, suffix, safe_regex, contains or custom must be set",
         0},
        {"truncated string",
         "Node",
         {"\x0a\x05"
          "a",
          3},
         "envoy.config.core.v3.Node: malformed protobuf",
         0},
        {"truncated varint",
         "SocketAddress",
         {"\x18\xff", 2},
         "envoy.config.core.v3.SocketAddress: malformed protobuf",
         0},
        {"endless varint",
         "SocketAddress",
         {"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12},
         "envoy.config.core.v3.SocketAddress: malformed protobuf",
         0},
        {"field number 0", "Node", {"\x02\x00", 2}, "envoy.config.core.v3.Node: malformed protobuf", 0},
        {"group", "Node", {"\x0b\x0c", 2}, "envoy.config.core.v3.Node: malformed protobuf", 0},
        {"length past the end",
         "Node",
         {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
         "envoy.config.core.v3.Node: malformed protobuf",
         0},
        {"NUL in a string",
         "Node",
         {"\x0a\x03"
          "a\0b",
          5},
         "envoy.config.core.v3.Node.id: not UTF-8, or holds a NUL",
         0},
        {"not UTF-8", "Node", {"\x0a\x01\xff", 3}, "envoy.config.core.v3.Node.id: not UTF-8, or holds a NUL", 0},
        {"wire type that does not fit", "Node", {"\x08\x01", 2}, "envoy.config.core.v3.Node: malformed protobuf", 0},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_err err = {0};
        struct fl_xds_report report = {0};
        int result = unpack(rows[i].type, rows[i].bytes, &report, &err);
        if (rows[i].expected == NULL ? result != 0 : result != -EINVAL || strcmp(err.text, rows[i].expected) != 0)
            fail_msg("%s (%d):\n  expected %s\n  got      %s", rows[i].what, result, rows[i].expected, err.text);
        assert_int_equal(report.ignored, rows[i].ignored);
    }
}

/* Value{list_value: ListValue{values: [Value{…}]}}, so many times. */
static size_t nest(char *bytes, size_t size, unsigned levels)
{
    size_t len = 0;
    for (unsigned i = 0; i < levels; i++) {
        char head[16];
        size_t n = 0;
        for (int step = 0; step < 2; step++) {
            size_t inside = len + n;
            char front[8];
            size_t m = 0;
            front[m++] = step == 0 ? '\x0a' : '\x32';
            do {
                front[m++] = (char)((inside & 0x7f) | (inside > 0x7f ? 0x80 : 0));
                inside >>= 7;
            } while (inside > 0);
            memmove(head + m, head, n);
            memcpy(head, front, m);
            n += m;
        }
        assert_true(len + n <= size);
        memmove(bytes + n, bytes, len);
        memcpy(bytes, head, n);
        len += n;
    }
    return len;
}

static void test_wire_string(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct fl_span bytes;
        const char *text; /* NULL: malformed */
    } rows[] = {
        {"nothing", FL_SPAN(""), ""},
        {"the first field", FL_SPAN("\x0a\x02hi\x10\x05"), "hi"},
        {"the last of several counts", FL_SPAN("\x0a\x01x\x12\x01z\x0a\x01y"), "y"},
        {"another wire type is not it", FL_SPAN("\x08\x01"), ""},
        {"cut in the length", FL_SPAN("\x0a"), NULL},
        {"cut in the text", FL_SPAN("\x0a\x05hi"), NULL},
        {"cut behind it", FL_SPAN("\x0a\x02hi\x12\x7f"), NULL},
        {"a NUL", FL_SPAN("\x0a\x02h\0"), NULL},
        {"not UTF-8", FL_SPAN("\x0a\x01\xff"), NULL},
        {"a group", FL_SPAN("\x0b\x0c"), NULL},
        {"field 0", FL_SPAN("\x02\x01x"), NULL},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_span text = {NULL, 0};
        if (fl_xds_wire_string(rows[i].bytes, 1, &text) != (rows[i].text != NULL) ||
            (rows[i].text != NULL && !fl_span_eq_str(text, rows[i].text)))
            fail_msg("%s: %.*s", rows[i].what, FL_SPAN_ARG(text));
    }
}

static void test_wire_depth(void **state)
{
    (void)state;
    static char bytes[65536];
    struct fl_err err = {0};
    size_t len = nest(bytes, sizeof(bytes), 30);
    assert_int_equal(unpack("google.protobuf.Value", fl_span_make(bytes, len), NULL, &err), 0);
    len = nest(bytes, sizeof(bytes), 5000);
    assert_int_equal(unpack("google.protobuf.Value", fl_span_make(bytes, len), NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "more than 64 messages inside each other"));
}

static void test_wire_memory_running_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_arena arena;
        fl_arena_init(&arena, 1u << 20);
        ProtobufCMessage *message;
        int result = fl_xds_unpack(type_of("Node"),
                                   FL_SPAN("\x0a\x01"
                                           "a\x52\x01"
                                           "b\x52\x01"
                                           "c"),
                                   &arena, NULL, &message, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_arena_done(&arena);
    }
}

static void test_types_by_name(void **state)
{
    (void)state;
    static const char name[] = "envoy.config.listener.v3.Listener";
    assert_string_equal(type_of(name)->name, name);
    assert_string_equal(type_of("type.googleapis.com/envoy.config.listener.v3.Listener")->name, name);
    assert_null(fl_xds_type(FL_SPAN("")));
    assert_null(fl_xds_type(FL_SPAN("envoy.config.listener.v3.Listener/")));
    assert_null(fl_xds_type(FL_SPAN("Listener")));
    assert_true(fl_xds_is_strict(&envoy__type__matcher__v3__regex_matcher__google_re2__descriptor));
    assert_true(fl_xds_is_strict(&envoy__config__route__v3__route_match__descriptor));
    assert_false(fl_xds_is_strict(&envoy__config__route__v3__route__descriptor));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_ignored_is_counted),
        cmocka_unit_test(test_member_names),
        cmocka_unit_test(test_the_arena_bounds_a_message),
        cmocka_unit_test(test_memory_running_out),
        cmocka_unit_test(test_wire),
        cmocka_unit_test(test_wire_string),
        cmocka_unit_test(test_wire_depth),
        cmocka_unit_test(test_wire_memory_running_out),
        cmocka_unit_test(test_types_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
