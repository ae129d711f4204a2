#include "cni/agent/request.h"

#include "cni/agent/headline.h"

static bool is_token(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static bool is_all(struct fl_span text, bool (*is_good)(char byte))
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_good(text.data[i]))
            return false;
    }
    return true;
}

static bool is_visible(char byte)
{
    return byte > ' ' && byte < 0x7f;
}

static bool is_letter(char byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

static bool parse_first_line(struct fl_span line, struct cni_request *request)
{
    struct fl_span target, rest = line;
    if (!fl_span_split(&rest, ' ', &request->method) || !fl_span_split(&rest, ' ', &target))
        return false;
    request->path = fl_span_make(target.data, fl_span_find(target, '?'));
    return request->method.len > 0 && is_all(request->method, is_letter) && target.len > 0 && target.data[0] == '/' &&
           is_all(target, is_visible) && (fl_span_eq_str(rest, "HTTP/1.1") || fl_span_eq_str(rest, "HTTP/1.0"));
}

static bool is_value(char byte)
{
    return (unsigned char)byte >= ' ' ? byte != 0x7f : byte == '\t';
}

static bool is_header(struct fl_span line)
{
    size_t colon = fl_span_find(line, ':');
    return colon > 0 && colon < line.len && is_all(fl_span_make(line.data, colon), is_token) &&
           is_all(fl_span_from(line, colon), is_value);
}

enum cni_request_outcome cni_request_parse(struct fl_span bytes, struct cni_request *ret_request)
{
    struct cni_request request;
    struct fl_span line, rest = bytes;
    bool first = true;
    if (bytes.len > 0 && !is_letter(bytes.data[0]))
        return CNI_REQUEST_BAD; /* TLS and noise need not be waited for */
    enum cni_headline_outcome taken;
    while ((taken = cni_headline_take(&rest, &line)) == CNI_HEADLINE_TAKEN) {
        if (!first && line.len == 0) {
            *ret_request = request;
            return CNI_REQUEST_COMPLETE;
        }
        if (first ? !parse_first_line(line, &request) : !is_header(line))
            return CNI_REQUEST_BAD;
        first = false;
    }
    return taken == CNI_HEADLINE_BAD ? CNI_REQUEST_BAD : CNI_REQUEST_PARTIAL;
}
