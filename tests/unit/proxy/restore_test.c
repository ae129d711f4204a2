/* proxy/http/restore: what an HTTP/1 writer makes of a message after its way over HTTP/2 is what it would have made of
 * it without, byte by byte. */
#include "proxy/http/restore.h"

#include "proxy/http/h1_write.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TEXT_MAX 16384

static char names[TEXT_MAX];
static struct proxy_message message, far_end;

/* What HTTP/2 does to a message: names in lower case, Host at the front, connection fields gone (h2.h). */
struct wire {
    char text[TEXT_MAX];
    size_t len;
};

static struct fl_span keep(struct wire *wire, struct fl_span text, bool fold)
{
    char *to = wire->text + wire->len;
    assert_true(wire->len + text.len <= TEXT_MAX);
    for (size_t i = 0; i < text.len; i++)
        to[i] = fold && text.data[i] >= 'A' && text.data[i] <= 'Z' ? (char)(text.data[i] | 0x20) : text.data[i];
    wire->len += text.len;
    return fl_span_make(to, text.len);
}

static bool is_kept(const struct proxy_message *from, const struct proxy_header *field)
{
    switch ((int)field->id) {
    case PROXY_HEADER_HOST:
        return from->status != 0;
    case PROXY_HEADER_TRANSFER_ENCODING:
    case PROXY_HEADER_CONNECTION:
    case PROXY_HEADER_KEEP_ALIVE:
    case PROXY_HEADER_PROXY_CONNECTION:
    case PROXY_HEADER_HTTP2_SETTINGS:
    case PROXY_HEADER_TE:
    case PROXY_HEADER_UPGRADE:
        return false;
    case PROXY_HEADER_CONTENT_LENGTH:
        return field == proxy_headers_get(&from->headers, PROXY_HEADER_CONTENT_LENGTH);
    default:
        break;
    }
    return !field->removed && !(proxy_header_kind((enum proxy_header_id)field->id) == PROXY_HEADER_KIND_FREE &&
                                from->connection_options && field->name.len == 5 /* X-Hop */);
}

static void add(struct proxy_message *to, struct fl_span name, struct fl_span value)
{
    assert_int_equal(proxy_headers_add(&to->headers, name, value), 0);
}

static void over_h2(const struct proxy_message *from, struct wire *wire, struct proxy_message *to)
{
    wire->len = 0;
    proxy_message_init(to);
    to->major = 2;
    to->minor = 1;
    to->keep_alive = true;
    to->status = from->status;
    to->method_id = from->method_id;
    to->method = keep(wire, from->method, false);
    to->authority = keep(wire, from->authority, false);
    to->path = to->target = keep(wire, from->path, false);
    to->scheme = from->scheme.len > 0 ? keep(wire, from->scheme, false) : FL_SPAN("https");
    to->reason = fl_span_str(from->status != 0 ? proxy_status_reason(from->status) : "");
    to->upgrade = from->upgrade;
    to->target_form = PROXY_TARGET_ORIGIN;
    if (from->method_id == PROXY_METHOD_CONNECT && from->status == 0) {
        to->target_form = PROXY_TARGET_AUTHORITY;
        to->target = to->authority;
        to->path = (struct fl_span){NULL, 0};
    }
    if (from->target_form == PROXY_TARGET_ASTERISK)
        to->target_form = PROXY_TARGET_ASTERISK;
    if (from->status == 0) {
        add(to, FL_SPAN("host"), to->authority);
        to->headers.list[0].removed = to->authority.len == 0;
        to->headers.first[PROXY_HEADER_HOST] = to->authority.len > 0;
    }
    for (size_t i = 0; i < from->headers.count; i++) {
        const struct proxy_header *field = &from->headers.list[i];
        if (!field->removed && is_kept(from, field))
            add(to, keep(wire, field->name, true), keep(wire, field->value, false));
    }
    if (from->te_trailers && from->status == 0)
        add(to, FL_SPAN("te"), FL_SPAN("trailers"));
    if (from->upgrade && from->headers.first[PROXY_HEADER_UPGRADE] != 0)
        add(to, FL_SPAN("upgrade"), proxy_headers_value(&from->headers, PROXY_HEADER_UPGRADE));
    bool length = to->headers.first[PROXY_HEADER_CONTENT_LENGTH] != 0;
    bool open = from->framing == PROXY_FRAMING_CHUNKED || from->framing == PROXY_FRAMING_CLOSE;
    to->framing = open ? PROXY_FRAMING_CHUNKED : from->framing;
    to->has_content_length = length;
    to->content_length = from->content_length;
    to->te_trailers = from->te_trailers;
}

static size_t write_head(const struct proxy_message *of, char *to)
{
    struct proxy_h1_plan plan;
    const struct proxy_exchange exchange = {.method_id = of->method_id, .minor = 1, .keep_alive = true};
    if (of->status == 0)
        proxy_h1_plan_request(of, &plan);
    else
        proxy_h1_plan_response(of, &exchange, &plan);
    assert_true(proxy_h1_head_bound(of, &plan) <= TEXT_MAX);
    return proxy_h1_write_head(of, &plan, to);
}

static void parse(const char *text, struct proxy_message *to)
{
    struct proxy_h1_parser parser = {0};
    static const struct proxy_exchange exchange = {
        .method_id = PROXY_METHOD_GET, .minor = 1, .keep_alive = true, .upgrade = true};
    size_t size;
    int result = strncmp(text, "HTTP/", 5) == 0
                     ? proxy_h1_parse_response(&parser, fl_span_str(text), NULL, &exchange, to, &size)
                     : proxy_h1_parse_request(&parser, fl_span_str(text), NULL, to, &size);
    if (result != PROXY_H1_DONE)
        fail_msg("%s: %s", proxy_h1_error_word(parser.error), text);
}

/* Returns the private field's value, or "". */
static const char *there_and_back(const char *text)
{
    static char value[PROXY_RESTORE_VALUE_MAX + 1];
    static struct wire wire;
    char room[PROXY_RESTORE_VALUE_MAX], before[TEXT_MAX], after[TEXT_MAX];
    parse(text, &message);
    proxy_headers_remove(&message.headers, FL_SPAN(PROXY_RESTORE_FIELD)); /* the app's own: dropped */
    size_t len = write_head(&message, before);
    parse(text, &message);
    bool request = message.status == 0;
    if (request)
        proxy_restore_pack_request(&message, room);
    else
        proxy_restore_pack_response(&message, room);
    struct fl_span told = proxy_headers_value(&message.headers, PROXY_HEADER_FAIRLEAD_HTTP);
    assert_true(told.len < sizeof(value));
    if (told.len > 0)
        memcpy(value, told.data, told.len);
    value[told.len] = '\0';
    over_h2(&message, &wire, &far_end);
    int result = request ? proxy_restore_unpack_request(&far_end, names, sizeof(names))
                         : proxy_restore_unpack_response(&far_end, names, sizeof(names));
    assert_int_equal(result, 0);
    assert_int_equal(far_end.headers.first[PROXY_HEADER_FAIRLEAD_HTTP], 0);
    size_t got = write_head(&far_end, after);
    if (got != len || memcmp(before, after, len) != 0)
        fail_msg("%s\n%.*s\nis not\n%.*s", value, (int)got, after, (int)len, before);
    assert_int_equal(far_end.keep_alive, message.keep_alive);
    assert_int_equal(far_end.minor, message.minor);
    assert_int_equal(far_end.framing, message.framing);
    assert_int_equal(far_end.target_form, message.target_form);
    return value;
}

static const struct row {
    const char *text, *value;
} rows[] = {
    {"GET / HTTP/1.1\r\nhost: h\r\naccept: */*\r\n\r\n", "1l"},
    {"GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n", "1t"},
    {"GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n", "1t"},
    {"GET / HTTP/1.1\r\nUser-Agent: Java\r\nHost: h\r\nX-Foo-Bar: 1\r\n\r\n", "1t,h1"},
    {"GET / HTTP/1.1\r\nHost: h\r\nDNT: 1\r\nX-B3-TraceId: 5\r\n\r\n", "1t,n1x7,n2x425"},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Type: a/b\r\n\r\n", "1t,e1"},
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n", "1t"},
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n", "1t"},
    {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "1t,c"},
    {"GET / HTTP/1.0\r\nHost: h\r\n\r\n", "0t"},
    {"GET / HTTP/1.0\r\n\r\n", "0l,h-"},
    {"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", "0t,c"},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "1t"},
    {"GET http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n", "1t,a"},
    {"GET HTTP://h HTTP/1.1\r\nHost: other\r\n\r\n", "1t,A"},
    {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "1t"},
    {"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", "1t"},
    {"GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\nX-A: b\r\n\r\n", "1t,t1,n1x3"},
    {"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n", NULL},
    {"GET / HTTP/1.1\r\nHost: h\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Other: 2\r\n\r\n", "1t"},
    {"GET / HTTP/1.1\r\nX-One: 1\r\nTE: trailers\r\nhOST: h\r\nx-two: 2\r\n\r\n", NULL},
    {"GET / HTTP/1.1\r\nHost: h\r\nFairlead-HTTP: 0t,c\r\nX: y\r\n\r\n", "1t"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: d\r\n\r\n", "1t"},
    {"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", "1l"},
    {"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nETag: \"a\"\r\n\r\n", "1t,n1x3,rFine"},
    {"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n", "1t,r"},
    {"HTTP/1.1 404 Not  here, 100% sure\r\nContent-Length: 0\r\n\r\n", "1t,rNot%20%20here,%20100%25%20sure"},
    {"HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n", "1t,e1"},
    {"HTTP/1.1 200 OK\r\nDate: d\r\n\r\n", "1t,z"},
    {"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", "0t"},
    {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n", "1t,c"},
    {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "1t"},
    {"HTTP/1.1 204 No Content\r\nTrailer: x\r\n\r\n", "1l"},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nEtag: e\r\n\r\n", "1t"},
    {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\n",
     NULL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nfairlead-http: 0l\r\n\r\n", "1t"},
};

static void messages_arrive_as_they_were(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const char *value = there_and_back(rows[i].text);
        if (rows[i].value != NULL && strcmp(value, rows[i].value) != 0)
            fail_msg("%s: %s", rows[i].text, value);
    }
}

/* HTTP/2 has the same word for both: what the far application said tells whether an upgrade came to be. */
static void upgrades_are_told_from_ordinary_answers(void **state)
{
    (void)state;
    static const struct {
        const char *value; /* NULL: no field */
        bool upgrade;
    } cases[] = {{NULL, true},    {"1t,u0", true},     {"1t,e0,u1,c,rFine", true}, {"1l", false},
                 {"1t,c", false}, {"1t,rA,u0", false}, {"1t,n0x1,u1", false},      {"", false}};
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        proxy_message_init(&message);
        if (cases[i].value != NULL)
            add(&message, FL_SPAN(PROXY_RESTORE_FIELD), fl_span_str(cases[i].value));
        assert_int_equal(proxy_restore_is_upgrade(&message.headers), cases[i].upgrade);
    }
    char room[PROXY_RESTORE_VALUE_MAX]; /* a server that does not say to what it switches */
    parse("HTTP/1.1 101 Switching Protocols\r\nX-A: b\r\n\r\n", &message);
    proxy_restore_pack_response(&message, room);
    assert_true(proxy_restore_is_upgrade(&message.headers));
}

/* --- generated ones ------------------------------------------------------------------------------------------------
 */

static uint64_t seed = 20250807;

static size_t draw(size_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(seed >> 33) % below;
}

static void append(char *to, const char *text)
{
    size_t len = strlen(to);
    assert_true(len + strlen(text) < TEXT_MAX);
    snprintf(to + len, TEXT_MAX - len, "%s", text);
}

static void append_field(char *to, const char *name, const char *value)
{
    size_t at = strlen(to), how = draw(4);
    append(to, name);
    for (char before = '-'; to[at] != '\0'; before = to[at++]) {
        bool letter = (to[at] | 0x20) >= 'a' && (to[at] | 0x20) <= 'z';
        bool up = how == 0 ? false : how == 3 ? draw(2) == 0 : before == '-';
        if (letter)
            to[at] = (char)(up ? to[at] & ~0x20 : to[at] | 0x20);
    }
    append(to, ": ");
    append(to, value);
    append(to, "\r\n");
}

static void append_some_fields(char *to)
{
    static const char *const some[] = {"accept",       "user-agent",
                                       "x-request-id", "content-type",
                                       "x-b3-flags",   "cache-control",
                                       "etag",         "www-authenticate",
                                       "x_y",          "a-very-long-name-of-a-field-that-has-nearly-sixty-four-octets",
                                       "date",         "fairlead-http",
                                       "trailer",      "expect"};
    for (size_t count = draw(5); count > 0; count--)
        append_field(to, some[draw(FL_COUNT(some))], draw(4) == 0 ? "" : "value of it");
}

static void make_request(char *to)
{
    static const char *const targets[] = {"/", "/a/b?c=d", "http://host.example/x", "http://host.example", "*"};
    size_t target = draw(FL_COUNT(targets)), minor = draw(4) > 0, body = draw(3);
    to[0] = '\0';
    append(to, target == 4 ? "OPTIONS " : body > 0 ? "POST " : "GET ");
    append(to, targets[target]);
    append(to, minor == 1 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
    append_some_fields(to);
    if (minor == 1 || draw(2) == 0)
        append_field(to, "host", "host.example");
    append_some_fields(to);
    if (body == 1)
        append_field(to, "content-length", "12");
    if (body == 2 && minor == 1)
        append_field(to, "transfer-encoding", "chunked");
    if (draw(3) == 0)
        append_field(to, "connection", draw(2) == 0 ? "close" : "keep-alive");
    if (draw(4) == 0 && minor == 1)
        append_field(to, "te", "trailers");
    append_some_fields(to);
    append(to, "\r\n");
}

static void make_response(char *to)
{
    static const char *const lines[] = {"200 OK", "200 Alright", "404 Not Found", "500 ", "204 No Content", "304 \t%x"};
    size_t framing = draw(3), line = draw(FL_COUNT(lines)), minor = draw(4) > 0;
    to[0] = '\0';
    append(to, minor == 1 ? "HTTP/1.1 " : "HTTP/1.0 ");
    append(to, lines[line]);
    append(to, "\r\n");
    append_some_fields(to);
    if (framing == 1 && line < 4)
        append_field(to, "content-length", "12");
    if (framing == 2 && minor == 1 && line < 4)
        append_field(to, "transfer-encoding", "chunked");
    if (draw(3) == 0)
        append_field(to, "connection", draw(2) == 0 ? "close" : "keep-alive");
    append_some_fields(to);
    append(to, "\r\n");
}

static void thousands_of_generated_messages_do_too(void **state)
{
    (void)state;
    char text[TEXT_MAX];
    for (int i = 0; i < 4000; i++) {
        make_request(text);
        there_and_back(text);
        make_response(text);
        there_and_back(text);
    }
}

/* --- trailers, HTTP/2, bad values ------------------------------------------------------------------------------- */

static void trailers_keep_their_case(void **state)
{
    (void)state;
    char room[PROXY_RESTORE_VALUE_MAX];
    struct proxy_headers *trailers = &message.headers;
    proxy_headers_init(trailers);
    assert_int_equal(proxy_headers_add(trailers, FL_SPAN("grpc-status"), FL_SPAN("0")), 0);
    proxy_restore_pack_trailers(trailers, room);
    assert_int_equal(trailers->count, 1); /* nothing to say */
    assert_int_equal(proxy_headers_add(trailers, FL_SPAN("X-Sum"), FL_SPAN("1")), 0);
    assert_int_equal(proxy_headers_add(trailers, FL_SPAN("Fairlead-Http"), FL_SPAN("l")), 0);
    assert_int_equal(proxy_headers_add(trailers, FL_SPAN("X-MD5"), FL_SPAN("2")), 0);
    proxy_restore_pack_trailers(trailers, room);
    struct fl_span told = proxy_headers_value(trailers, PROXY_HEADER_FAIRLEAD_HTTP);
    assert_true(fl_span_eq_str(told, "l,n1x5,n2xd"));
    proxy_headers_init(&far_end.headers);
    assert_int_equal(proxy_headers_add(&far_end.headers, FL_SPAN("grpc-status"), FL_SPAN("0")), 0);
    assert_int_equal(proxy_headers_add(&far_end.headers, FL_SPAN("x-sum"), FL_SPAN("1")), 0);
    assert_int_equal(proxy_headers_add(&far_end.headers, FL_SPAN("x-md5"), FL_SPAN("2")), 0);
    assert_int_equal(proxy_headers_add(&far_end.headers, FL_SPAN("fairlead-http"), told), 0);
    assert_int_equal(proxy_restore_unpack_trailers(&far_end.headers, names, sizeof(names)), 0);
    assert_true(fl_span_eq_str(far_end.headers.list[0].name, "grpc-status"));
    assert_true(fl_span_eq_str(far_end.headers.list[1].name, "X-Sum"));
    assert_true(fl_span_eq_str(far_end.headers.list[2].name, "X-MD5"));
    assert_true(far_end.headers.list[3].removed);
}

static void messages_of_http2_get_nothing(void **state)
{
    (void)state;
    char room[PROXY_RESTORE_VALUE_MAX];
    proxy_message_init(&message);
    message.major = 2;
    message.method = FL_SPAN("GET");
    add(&message, FL_SPAN("fairlead-http"), FL_SPAN("0t"));
    proxy_restore_pack_request(&message, room);
    assert_int_equal(message.headers.first[PROXY_HEADER_FAIRLEAD_HTTP], 0);
    assert_int_equal(message.headers.count, 1);
    assert_true(message.headers.list[0].removed);
    assert_int_equal(proxy_restore_unpack_request(&message, names, sizeof(names)), 0);
    assert_int_equal(message.major, 2);
}

static void bad_values_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         "1",        "2t",         "1x",       "1t,",
                                      "1tc",      "1t,q",     "1t,h",       "1t,h9999", "1t,n9x1",
                                      "1t,n0",    "1t,n0y",   "1t,c,h1",    "1t,z",     "1t,rx",
                                      "1t,e",     "11",       "1t,n0x1,h0", "1t,c,,c",  "1t,n0x11111111111111111",
                                      "1l,h0,h0", "1l,h0,h1", "1l,e0,e1",   "1l,t0,t1", "1l,u0,u1"};
    for (size_t i = 0; i < FL_COUNT(bad); i++) {
        proxy_message_init(&message);
        message.major = 2;
        message.method = FL_SPAN("GET");
        message.path = message.target = FL_SPAN("/");
        message.authority = FL_SPAN("h");
        add(&message, FL_SPAN("host"), FL_SPAN("h"));
        add(&message, FL_SPAN(PROXY_RESTORE_FIELD), fl_span_str(bad[i]));
        if (proxy_restore_unpack_request(&message, names, sizeof(names)) != -EPROTO)
            fail_msg("%s was taken", bad[i]);
    }
}

/* Each of its items is one, but pack makes none that long. */
static void a_value_that_is_too_long(void **state)
{
    (void)state;
    static char value[PROXY_RESTORE_VALUE_MAX + 3] = "1t";
    for (size_t len = PROXY_RESTORE_VALUE_MAX; len <= PROXY_RESTORE_VALUE_MAX + 2; len += 2) {
        proxy_message_init(&message);
        message.major = 2;
        message.status = 200;
        for (size_t at = 2; at < len; at += 2)
            memcpy(value + at, ",c", 2);
        add(&message, FL_SPAN(PROXY_RESTORE_FIELD), fl_span_make(value, len));
        bool fits = len <= PROXY_RESTORE_VALUE_MAX;
        assert_int_equal(proxy_restore_unpack_response(&message, names, sizeof(names)), fits ? 0 : -EPROTO);
    }
}

static void an_answers_value_that_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"1t,ra b", "1t,ra\nb", "1t,r%0a", "1t,r%0D", "1t,r%",
                                      "1t,r%1",  "1t,r\x80", "1t,h0",   "1t,t0"};
    for (size_t i = 0; i < FL_COUNT(bad); i++) {
        proxy_message_init(&message);
        message.major = 2;
        message.status = 200;
        add(&message, FL_SPAN(PROXY_RESTORE_FIELD), fl_span_str(bad[i]));
        if (proxy_restore_unpack_response(&message, names, sizeof(names)) != -EPROTO)
            fail_msg("%s was taken", bad[i]);
    }
}

static void a_full_list_and_little_memory_change_nothing_else(void **state)
{
    (void)state;
    char room[PROXY_RESTORE_VALUE_MAX];
    static struct wire wire;
    parse("GET / HTTP/1.1\r\nHost: h\r\nX-App-Name: a\r\n\r\n", &message);
    proxy_restore_pack_request(&message, room);
    over_h2(&message, &wire, &far_end);
    assert_int_equal(proxy_restore_unpack_request(&far_end, names, 5), 0); /* well-known names need none */
    assert_true(fl_span_eq_str(far_end.headers.list[0].name, "Host"));
    assert_true(fl_span_eq_str(far_end.headers.list[1].name, "x-app-name"));
    parse("GET / HTTP/1.1\r\nHost: h\r\n\r\n", &message);
    while (message.headers.count < PROXY_HEADERS_MAX)
        add(&message, FL_SPAN("X"), FL_SPAN("y"));
    proxy_restore_pack_request(&message, room);
    assert_int_equal(message.headers.first[PROXY_HEADER_FAIRLEAD_HTTP], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_arrive_as_they_were),
        cmocka_unit_test(upgrades_are_told_from_ordinary_answers),
        cmocka_unit_test(thousands_of_generated_messages_do_too),
        cmocka_unit_test(trailers_keep_their_case),
        cmocka_unit_test(messages_of_http2_get_nothing),
        cmocka_unit_test(bad_values_are_refused),
        cmocka_unit_test(a_value_that_is_too_long),
        cmocka_unit_test(an_answers_value_that_is_none),
        cmocka_unit_test(a_full_list_and_little_memory_change_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
