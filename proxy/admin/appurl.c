#include "proxy/admin/appurl.h"

#include "common/base/print.h"
#include "common/mesh/port.h"

#include <errno.h>

void proxy_appurl_init(struct proxy_appurl *url)
{
    *url = (struct proxy_appurl){.https = false};
    fl_buf_init(&url->target, PROXY_APPURL_TARGET_MAX);
}

void proxy_appurl_done(struct proxy_appurl *url)
{
    fl_buf_done(&url->target);
}

/* -- paths -- */

static bool is_alpha(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

/* The length of "scheme:" at the start; 0 where there is none. */
static size_t scheme_length(struct fl_span text)
{
    size_t at = 0;
    while (at < text.len && (is_alpha(text.data[at]) ||
                             (at > 0 && strchr("0123456789+-.", text.data[at]) != NULL && text.data[at] != '\0')))
        at++;
    return at > 0 && at < text.len && text.data[at] == ':' ? at + 1 : 0;
}

/* Takes what stands for an authority behind "//". */
static bool take_authority(struct fl_span *rest, struct fl_span *ret_authority)
{
    if (!fl_span_starts_with(*rest, FL_SPAN("//")))
        return false;
    struct fl_span text = fl_span_from(*rest, 2);
    size_t end = 0;
    while (end < text.len && text.data[end] != '/' && text.data[end] != '?')
        end++;
    *ret_authority = (struct fl_span){text.data, end};
    *rest = fl_span_from(text, end);
    return true;
}

static struct fl_span without_fragment(struct fl_span text)
{
    return (struct fl_span){text.data, fl_span_find(text, '#')};
}

static bool is_hex(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

/* Visible ASCII stays, but for what no URL may have; a '%' stays where it begins an escape. */
static bool stays(struct fl_span text, size_t at)
{
    char byte = text.data[at];
    if (byte == '%')
        return at + 2 < text.len && is_hex(text.data[at + 1]) && is_hex(text.data[at + 2]);
    return byte > ' ' && byte < 0x7f && strchr("\"<>\\^`{|}", byte) == NULL;
}

static int append_escaped(struct fl_buf *out, struct fl_span text)
{
    int result = 0;
    for (size_t i = 0; i < text.len && result == 0; i++) {
        if (stays(text, i))
            result = fl_buf_append_byte(out, text.data[i]);
        else
            result = fl_buf_printf(out, "%%%02X", (unsigned char)text.data[i]);
    }
    return result;
}

/* Path and query, a '/' in front where there is none. */
static int append_target(struct fl_buf *out, struct fl_span text)
{
    int result = text.len > 0 && text.data[0] == '/' ? 0 : fl_buf_append_byte(out, '/');
    return result < 0 ? result : append_escaped(out, text);
}

static void swap_in(struct fl_buf *target, struct fl_buf *made)
{
    fl_buf_done(target);
    *target = *made;
    *made = (struct fl_buf){0};
}

int proxy_appurl_set_path(struct proxy_appurl *url, struct fl_span path)
{
    struct fl_span rest = without_fragment(path), authority;
    size_t scheme = scheme_length(rest);
    struct fl_span behind = fl_span_from(rest, scheme);
    if (scheme == 0 || fl_span_starts_with(behind, FL_SPAN("//")))
        rest = behind;
    (void)take_authority(&rest, &authority);
    FL_CLEANUP(fl_buf_done) struct fl_buf made;
    fl_buf_init(&made, PROXY_APPURL_TARGET_MAX);
    int result = append_target(&made, rest);
    if (result == 0)
        swap_in(&url->target, &made);
    return result;
}

/* -- redirects -- */

/* Removes dot segments from the path in made[0…path), in place; the new length (RFC 3986 §5.2.4). */
static size_t remove_dots(char *path, size_t length)
{
    size_t out = 0;
    for (size_t at = 0; at < length;) { /* at a '/' */
        size_t end = at + 1;
        while (end < length && path[end] != '/')
            end++;
        struct fl_span segment = {path + at + 1, end - at - 1};
        bool last = end == length, dot = fl_span_eq_str(segment, "."), dots = fl_span_eq_str(segment, "..");
        if (dots) {
            while (out > 0 && path[--out] != '/')
                ;
        }
        if (!dot && !dots) {
            memmove(path + out, path + at, end - at);
            out += end - at;
        } else if (last) {
            path[out++] = '/';
        }
        at = end;
    }
    return out;
}

/* A reference without scheme and authority, against the target that is. */
static int resolve(const struct fl_buf *base, struct fl_span reference, struct fl_buf *made)
{
    struct fl_span target = fl_buf_span(base), path = {target.data, fl_span_find(target, '?')};
    if (reference.len == 0)
        return fl_buf_append(made, target);
    int result = 0;
    if (reference.data[0] == '?') {
        result = fl_buf_append(made, path);
        return result < 0 ? result : append_escaped(made, reference);
    }
    if (reference.data[0] != '/') {
        while (path.len > 0 && path.data[path.len - 1] != '/')
            path.len--;
        result = fl_buf_append(made, path);
    }
    return result < 0 ? result : append_escaped(made, reference);
}

static void remove_dots_of(struct fl_buf *made)
{
    struct fl_span all = fl_buf_span(made);
    size_t path = fl_span_find(all, '?');
    if (path == 0)
        return;
    size_t shorter = remove_dots(made->data, path);
    memmove(made->data + shorter, made->data + path, made->len - path);
    made->len -= path - shorter;
}

/* "10.0.0.1:80", "[fd00::1]": whether it names the host of `here`; its port, or 0. */
static bool same_host(struct fl_span authority, const struct proxy_address *here, uint16_t *ret_port)
{
    uint64_t port = 0;
    struct fl_span host = authority;
    size_t close = fl_span_find(authority, ']');
    if (authority.len > 0 && authority.data[0] == '[' && close < authority.len)
        host.len = close + 1;
    else
        host.len = fl_span_find(authority, ':');
    struct fl_span rest = fl_span_from(authority, host.len);
    if (rest.len > 1 && (rest.data[0] != ':' || !fl_span_to_u64(fl_span_from(rest, 1), 65535, &port) || port == 0))
        return false;
    *ret_port = (uint16_t)port;
    if (host.len > 1 && host.data[0] == '[')
        host = fl_span_make(host.data + 1, host.len - 2);
    struct proxy_address there;
    return proxy_address_parse(host, 0, &there) == 0 &&
           fl_span_eq(proxy_address_bytes(&there), proxy_address_bytes(here));
}

struct place {
    bool https;
    uint16_t port;
};

/* Where an authority leads; `place` has the present scheme and port. */
static enum proxy_appurl_redirect go_to(struct fl_span authority, const struct proxy_address *here, struct place *place)
{
    uint16_t port = 0;
    if (authority.len == 0)
        return PROXY_APPURL_BAD;
    if (!same_host(authority, here, &port))
        return PROXY_APPURL_ELSEWHERE;
    place->port = port != 0 ? port : place->https ? 443 : 80;
    return fl_port_is_ours(place->port) ? PROXY_APPURL_BAD : PROXY_APPURL_SAME;
}

int proxy_appurl_follow(struct proxy_appurl *url, struct fl_span location, bool *ret_relative)
{
    struct fl_span rest = without_fragment(location), authority;
    struct place place = {url->https, proxy_address_port(&url->to)};
    size_t scheme = scheme_length(rest);
    struct fl_span name = {rest.data, scheme > 0 ? scheme - 1 : 0};
    rest = fl_span_from(rest, scheme);
    if (scheme > 0 && !fl_span_eq_nocase(name, FL_SPAN("http")) && !fl_span_eq_nocase(name, FL_SPAN("https")))
        return PROXY_APPURL_BAD;
    if (scheme > 0)
        place.https = fl_span_eq_nocase(name, FL_SPAN("https"));
    bool absolute = take_authority(&rest, &authority);
    if (scheme > 0 && !absolute)
        return PROXY_APPURL_BAD;
    if (absolute) {
        enum proxy_appurl_redirect where = go_to(authority, &url->to, &place);
        if (where != PROXY_APPURL_SAME)
            return (int)where;
    }
    FL_CLEANUP(fl_buf_done) struct fl_buf made;
    fl_buf_init(&made, PROXY_APPURL_TARGET_MAX);
    int result = absolute ? append_target(&made, rest) : resolve(&url->target, rest, &made);
    if (result < 0)
        return result;
    remove_dots_of(&made);
    swap_in(&url->target, &made);
    url->https = place.https;
    proxy_address_set_port(&url->to, place.port);
    *ret_relative = scheme == 0;
    return PROXY_APPURL_SAME;
}

/* -- requests -- */

static bool is_named(const struct fl_appprobe_header *header, struct fl_span name)
{
    return fl_span_eq_nocase(header->name, name);
}

static const struct fl_appprobe_header *find(const struct proxy_apprequest *request, struct fl_span name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (is_named(&request->headers[i], name))
            return &request->headers[i];
    return NULL;
}

static bool is_the_connections(const struct fl_appprobe_header *header)
{
    static const char *const names[] = {"host",    "user-agent", "accept",     "content-length", "transfer-encoding",
                                        "trailer", "connection", "keep-alive", "upgrade",        "expect"};
    for (size_t i = 0; i < FL_COUNT(names); i++)
        if (is_named(header, fl_span_str(names[i])))
            return true;
    return false;
}

static void print_field(struct fl_print *print, struct fl_span name, struct fl_span value)
{
    if (print->result == 0)
        print->result = fl_buf_append(print->out, name);
    fl_print(print, ": ");
    if (print->result == 0)
        print->result = fl_buf_append(print->out, fl_span_trim(value));
    fl_print(print, "\r\n");
}

/* The probe's own first field of that name, where it has one; an empty one is left out. */
static void print_chosen(struct fl_print *print, const struct proxy_apprequest *request, const char *name,
                         struct fl_span absent)
{
    const struct fl_appprobe_header *header = find(request, fl_span_str(name));
    struct fl_span value = header != NULL ? fl_span_trim(header->value) : absent;
    if (value.len > 0)
        print_field(print, fl_span_str(name), value);
}

static void print_host(struct fl_print *print, const struct proxy_apprequest *request)
{
    const struct fl_appprobe_header *header = request->no_host ? NULL : find(request, FL_SPAN("host"));
    char address[PROXY_ADDRESS_TEXT_MAX];
    proxy_address_print(&request->url->to, address);
    struct fl_span value = header != NULL ? fl_span_trim(header->value) : (struct fl_span){NULL, 0};
    print_field(print, FL_SPAN("Host"), value.len > 0 ? value : fl_span_str(address));
}

int proxy_apprequest_print(const struct proxy_apprequest *request, struct fl_buf *out)
{
    struct fl_print print = {.out = out};
    fl_print(&print, "GET ");
    if (print.result == 0)
        print.result = fl_buf_append(out, fl_buf_span(&request->url->target));
    fl_print(&print, " HTTP/1.1\r\n");
    print_host(&print, request);
    print_chosen(&print, request, "User-Agent", request->user_agent);
    print_chosen(&print, request, "Accept", request->accept);
    for (size_t i = 0; i < request->header_count; i++) {
        const struct fl_appprobe_header *header = &request->headers[i];
        bool hidden = request->no_authorization && is_named(header, FL_SPAN("authorization"));
        if (!hidden && !is_the_connections(header))
            print_field(&print, header->name, header->value);
    }
    fl_print(&print, "Connection: close\r\n\r\n");
    return print.result;
}
