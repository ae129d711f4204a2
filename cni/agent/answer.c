#include "cni/agent/answer.h"

#include "cni/agent/headline.h"

#define MESSAGE_MAX 200

struct framing {
    uint64_t length;
    bool has_length, chunked, closes;
};

/* "HTTP/1.1 201 Created"; HTTP/1.0 ends with the connection. */
static bool parse_status(struct fl_span line, unsigned *ret_status, struct framing *framing)
{
    uint64_t status;
    struct fl_span version, code;
    if (!fl_span_split(&line, ' ', &version) || !fl_span_split(&line, ' ', &code) || code.len != 3 ||
        !fl_span_to_u64(code, 599, &status) || status < 100)
        return false;
    *framing = (struct framing){.closes = fl_span_eq_str(version, "HTTP/1.0")};
    *ret_status = (unsigned)status;
    return framing->closes || fl_span_eq_str(version, "HTTP/1.1");
}

static bool take_length(struct fl_span value, struct framing *framing)
{
    uint64_t length;
    if (!fl_span_to_u64(value, INT64_MAX, &length) || (framing->has_length && framing->length != length))
        return false;
    framing->length = length;
    framing->has_length = true;
    return true;
}

static void take_retry(struct fl_span value, unsigned *retry_after_s)
{
    uint64_t seconds;
    if (fl_span_to_u64(value, UINT64_MAX, &seconds))
        *retry_after_s = seconds < CNI_ANSWER_RETRY_MAX_S ? (unsigned)seconds : CNI_ANSWER_RETRY_MAX_S;
}

static bool take_header(struct fl_span line, struct framing *framing, struct cni_answer *answer)
{
    size_t colon = fl_span_find(line, ':');
    if (colon == 0 || colon == line.len || line.data[0] == ' ' || line.data[0] == '\t' || line.data[colon - 1] == ' ')
        return false;
    struct fl_span name = fl_span_make(line.data, colon), value = fl_span_trim(fl_span_from(line, colon + 1));
    if (fl_span_eq_nocase(name, FL_SPAN("Content-Length")))
        return take_length(value, framing);
    if (fl_span_eq_nocase(name, FL_SPAN("Transfer-Encoding")))
        framing->chunked = true;
    else if (fl_span_eq_nocase(name, FL_SPAN("Connection")) && fl_span_eq_nocase(value, FL_SPAN("close")))
        framing->closes = true;
    else if (fl_span_eq_nocase(name, FL_SPAN("Retry-After")))
        take_retry(value, &answer->retry_after_s);
    return true;
}

/* One head, off the front of *rest. */
static enum cni_answer_outcome parse_head(struct fl_span *rest, struct framing *framing, struct cni_answer *answer)
{
    struct fl_span line;
    enum cni_headline_outcome taken;
    *answer = (struct cni_answer){0};
    while ((taken = cni_headline_take(rest, &line)) == CNI_HEADLINE_TAKEN) {
        if (answer->status == 0 ? !parse_status(line, &answer->status, framing)
                                : line.len > 0 && !take_header(line, framing, answer))
            return CNI_ANSWER_BAD;
        if (line.len == 0)
            return CNI_ANSWER_COMPLETE;
    }
    return taken == CNI_HEADLINE_BAD ? CNI_ANSWER_BAD : CNI_ANSWER_PARTIAL;
}

static enum cni_answer_outcome take_body(struct fl_span rest, const struct framing *framing, struct cni_answer *answer)
{
    bool none = answer->status == 204 || answer->status == 304;
    if (framing->has_length && framing->chunked)
        return CNI_ANSWER_BAD;
    answer->body = rest;
    if (!none && !framing->has_length)
        return CNI_ANSWER_HEAD;
    uint64_t length = none ? 0 : framing->length;
    if (rest.len < length)
        return CNI_ANSWER_HEAD;
    answer->body.len = (size_t)length;
    answer->reusable = !framing->closes && rest.len == length; /* more than was asked for: nothing to go on with */
    return CNI_ANSWER_COMPLETE;
}

enum cni_answer_outcome cni_answer_parse(struct fl_span bytes, struct cni_answer *ret_answer)
{
    struct cni_answer answer;
    struct framing framing = {0};
    do {
        enum cni_answer_outcome outcome = parse_head(&bytes, &framing, &answer);
        if (outcome == CNI_ANSWER_PARTIAL && bytes.len > 0 && answer.status == 0 && bytes.data[0] != 'H')
            return CNI_ANSWER_BAD;
        if (outcome != CNI_ANSWER_COMPLETE)
            return outcome;
        if (answer.status == 101)
            return CNI_ANSWER_BAD;
    } while (answer.status < 200);
    enum cni_answer_outcome outcome = take_body(bytes, &framing, &answer);
    if (outcome != CNI_ANSWER_BAD)
        *ret_answer = answer;
    return outcome;
}

struct fl_span cni_answer_message(struct fl_span body)
{
    static const char key[] = "\"message\":";
    const char *at = body.len > 0 ? memmem(body.data, body.len, key, sizeof(key) - 1) : NULL;
    if (at == NULL)
        return fl_span_make(NULL, 0);
    struct fl_span rest = fl_span_from(body, (size_t)(at - body.data) + sizeof(key) - 1);
    while (rest.len > 0 && rest.data[0] == ' ')
        rest = fl_span_from(rest, 1);
    if (rest.len == 0 || rest.data[0] != '"')
        return fl_span_make(NULL, 0);
    rest = fl_span_from(rest, 1);
    size_t end = 0;
    while (end < rest.len && end < MESSAGE_MAX && rest.data[end] != '"')
        end += rest.data[end] == '\\' && end + 1 < rest.len ? 2 : 1;
    return fl_span_make(rest.data, end < rest.len ? end : rest.len);
}
