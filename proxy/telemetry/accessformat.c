/* Log formats of Envoy's language (declared in accesslog.h): a string with %OPERATOR(argument):length% in it becomes a
 * list of steps once, when the configuration is read; a line is then one walk over it. */
#include "common/base/utf8.h"
#include "proxy/telemetry/logline.h"

#include <errno.h>

enum operator_id {
    OPERATOR_LITERAL,
    OPERATOR_TEXT,         /* a span of the record */
    OPERATOR_ADDRESS,      /* an address of the record */
    OPERATOR_ADDRESS_ONLY, /* without its port */
    OPERATOR_START_TIME,
    OPERATOR_PROTOCOL,
    OPERATOR_RESPONSE_CODE,
    OPERATOR_RESPONSE_FLAGS,
    OPERATOR_GRPC_STATUS,
    OPERATOR_BYTES_RECEIVED,
    OPERATOR_BYTES_SENT,
    OPERATOR_DURATION,
    OPERATOR_CONNECTION_ID,
    OPERATOR_ATTEMPTS,
    OPERATOR_REQUEST,
    OPERATOR_RESPONSE,
};

struct step {
    enum operator_id id;
    uint16_t offset;           /* TEXT, ADDRESS */
    uint16_t max;              /* bytes of the value */
    struct fl_span text;       /* LITERAL: it; REQUEST, RESPONSE: the field's name */
    struct fl_span other_text; /* the second name, where the first is absent; may be empty */
};

struct field {
    size_t begin, end;  /* its steps */
    struct fl_span key; /* JSON: escaped, with quotes and separators */
};

struct proxy_log_format {
    bool json;
    size_t field_count, step_count;
    struct step *steps;
    struct field *fields; /* text: one, without key */
    char *texts;          /* what the spans point into */
    size_t text_len;
};

struct operator_row {
    const char *name;
    enum operator_id id;
    uint16_t offset;
};

#define RECORD(member) offsetof(struct proxy_log_record, member)
static const struct operator_row operators[] = {
    {"START_TIME", OPERATOR_START_TIME, 0},
    {"PROTOCOL", OPERATOR_PROTOCOL, 0},
    {"RESPONSE_CODE", OPERATOR_RESPONSE_CODE, 0},
    {"RESPONSE_CODE_DETAILS", OPERATOR_TEXT, RECORD(details)},
    {"CONNECTION_TERMINATION_DETAILS", OPERATOR_TEXT, RECORD(details)},
    {"RESPONSE_FLAGS", OPERATOR_RESPONSE_FLAGS, 0},
    {"GRPC_STATUS_NUMBER", OPERATOR_GRPC_STATUS, 0},
    {"BYTES_RECEIVED", OPERATOR_BYTES_RECEIVED, 0},
    {"BYTES_SENT", OPERATOR_BYTES_SENT, 0},
    {"DURATION", OPERATOR_DURATION, 0},
    {"UPSTREAM_HOST", OPERATOR_ADDRESS, RECORD(upstream_host)},
    {"UPSTREAM_CLUSTER", OPERATOR_TEXT, RECORD(upstream_cluster)},
    {"UPSTREAM_LOCAL_ADDRESS", OPERATOR_ADDRESS, RECORD(upstream_local)},
    {"UPSTREAM_TRANSPORT_FAILURE_REASON", OPERATOR_TEXT, RECORD(transport_failure)},
    {"DOWNSTREAM_REMOTE_ADDRESS", OPERATOR_ADDRESS, RECORD(downstream_remote)},
    {"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", OPERATOR_ADDRESS_ONLY, RECORD(downstream_remote)},
    {"DOWNSTREAM_LOCAL_ADDRESS", OPERATOR_ADDRESS, RECORD(downstream_local)},
    {"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", OPERATOR_ADDRESS_ONLY, RECORD(downstream_local)},
    {"DOWNSTREAM_PEER_URI_SAN", OPERATOR_TEXT, RECORD(source_principal)},
    {"DOWNSTREAM_LOCAL_URI_SAN", OPERATOR_TEXT, RECORD(destination_principal)},
    {"REQUESTED_SERVER_NAME", OPERATOR_TEXT, RECORD(server_name)},
    {"ROUTE_NAME", OPERATOR_TEXT, RECORD(route_name)},
    {"CONNECTION_ID", OPERATOR_CONNECTION_ID, 0},
    {"UPSTREAM_REQUEST_ATTEMPT_COUNT", OPERATOR_ATTEMPTS, 0},
    {"TRACE_ID", OPERATOR_TEXT, RECORD(trace_id)},
    {"SPAN_ID", OPERATOR_TEXT, RECORD(span_id)},
};

/* -- compiling -- */

struct compiler {
    struct proxy_log_format *format;
    size_t steps_cap, texts_cap;
    struct fl_err *err;
};

static struct fl_span keep_text(struct compiler *compiler, struct fl_span text)
{
    struct proxy_log_format *format = compiler->format;
    char *to = format->texts + format->text_len; /* room was made for all texts together: see compile */
    if (text.len > 0)
        memcpy(to, text.data, text.len);
    format->text_len += text.len;
    return fl_span_make(to, text.len);
}

static int add_step(struct compiler *compiler, struct step step)
{
    struct proxy_log_format *format = compiler->format;
    if (format->step_count == compiler->steps_cap) {
        size_t cap = compiler->steps_cap > 0 ? compiler->steps_cap * 2 : 16;
        struct step *steps = realloc(format->steps, cap * sizeof(*steps));
        if (steps == NULL)
            return -ENOMEM;
        format->steps = steps;
        compiler->steps_cap = cap;
    }
    step.text = keep_text(compiler, step.text);
    step.other_text = keep_text(compiler, step.other_text);
    format->steps[format->step_count++] = step;
    return 0;
}

static int unknown_operator(struct compiler *compiler, struct fl_span text)
{
    return fl_err_set(compiler->err, -EINVAL, "access log format: unknown operator %%%.*s%%", FL_SPAN_ARG(text));
}

/* "(X?Y)" of REQ and RESP: `arguments` is what stands between the brackets. */
static int add_field_step(struct compiler *compiler, enum operator_id id, struct fl_span arguments, uint16_t max)
{
    size_t mark = fl_span_find(arguments, '?');
    struct step step = {.id = id, .max = max, .text = fl_span_make(arguments.data, mark)};
    if (mark < arguments.len)
        step.other_text = fl_span_from(arguments, mark + 1);
    return step.text.len > 0 ? add_step(compiler, step) : unknown_operator(compiler, arguments);
}

/* NAME, NAME(arguments), either with :N behind it: what stands between two '%'. */
static int add_operator(struct compiler *compiler, struct fl_span whole)
{
    size_t open = fl_span_find(whole, '('), close = fl_span_find(whole, ')');
    struct fl_span name = fl_span_make(whole.data, open), arguments = FL_SPAN(""), rest = FL_SPAN("");
    uint64_t max = PROXY_LOG_VALUE_MAX;
    if (open < whole.len) {
        if (close == whole.len || close < open)
            return unknown_operator(compiler, whole);
        arguments = fl_span_make(whole.data + open + 1, close - open - 1);
        rest = fl_span_from(whole, close + 1);
    } else {
        size_t colon = fl_span_find(whole, ':');
        name.len = colon;
        rest = fl_span_from(whole, colon);
    }
    if (rest.len > 0 && (rest.data[0] != ':' || !fl_span_to_u64(fl_span_from(rest, 1), PROXY_LOG_VALUE_MAX, &max)))
        return unknown_operator(compiler, whole);
    if (fl_span_eq_str(name, "REQ"))
        return add_field_step(compiler, OPERATOR_REQUEST, arguments, (uint16_t)max);
    if (fl_span_eq_str(name, "RESP"))
        return add_field_step(compiler, OPERATOR_RESPONSE, arguments, (uint16_t)max);
    if (fl_span_eq_str(whole, "GRPC_STATUS(NUMBER)"))
        return add_step(compiler, (struct step){.id = OPERATOR_GRPC_STATUS});
    for (size_t i = 0; i < FL_COUNT(operators) && open == whole.len; i++) {
        if (fl_span_eq_str(name, operators[i].name))
            return add_step(compiler,
                            (struct step){.id = operators[i].id, .offset = operators[i].offset, .max = (uint16_t)max});
    }
    return unknown_operator(compiler, whole);
}

static int add_literal(struct compiler *compiler, struct fl_span text)
{
    return text.len > 0 ? add_step(compiler, (struct step){.id = OPERATOR_LITERAL, .text = text}) : 0;
}

/* The steps of one format string. "%%" is a '%'. */
static int add_format(struct compiler *compiler, struct fl_span rest)
{
    int result = 0;
    while (result == 0 && rest.len > 0) {
        size_t mark = fl_span_find(rest, '%');
        result = add_literal(compiler, fl_span_make(rest.data, mark));
        if (result < 0 || mark == rest.len)
            return result;
        rest = fl_span_from(rest, mark + 1);
        size_t end = fl_span_find(rest, '%');
        if (end == rest.len)
            return fl_err_set(compiler->err, -EINVAL, "access log format: a %% without its end");
        struct fl_span whole = fl_span_make(rest.data, end);
        result = end == 0 ? add_literal(compiler, FL_SPAN("%")) : add_operator(compiler, whole);
        rest = fl_span_from(rest, end + 1);
    }
    return result;
}

/* ",\"key\":", escaped; the first one begins with '{'. */
static struct fl_span keep_key(struct compiler *compiler, struct fl_span key, bool first)
{
    struct proxy_log_format *format = compiler->format;
    struct proxy_line line = {format->texts + format->text_len, format->texts + compiler->texts_cap};
    char *begin = line.at;
    proxy_line_put(&line, first ? FL_SPAN("{\"") : FL_SPAN(",\""));
    proxy_line_escaped(&line, key, 6 * key.len);
    proxy_line_put(&line, FL_SPAN("\":"));
    format->text_len += (size_t)(line.at - begin);
    return fl_span_make(begin, (size_t)(line.at - begin));
}

static int compile(struct compiler *compiler, const struct proxy_log_json_field *fields, size_t count)
{
    struct proxy_log_format *format = compiler->format;
    for (size_t i = 0; i < count; i++)
        compiler->texts_cap += 6 * fields[i].key.len + fields[i].text.len + 8;
    format->texts = malloc(compiler->texts_cap + 1);
    format->fields = calloc(count + 1, sizeof(*format->fields));
    if (format->texts == NULL || format->fields == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        struct field *field = &format->fields[i];
        field->begin = format->step_count;
        if (format->json)
            field->key = keep_key(compiler, fields[i].key, i == 0);
        int result = add_format(compiler, fields[i].text);
        if (result < 0)
            return result;
        field->end = format->step_count;
    }
    format->field_count = count;
    return 0;
}

static int format_new(bool json, const struct proxy_log_json_field *fields, size_t count,
                      struct proxy_log_format **ret_format, struct fl_err *err)
{
    struct proxy_log_format *format = calloc(1, sizeof(*format));
    if (format == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    format->json = json;
    struct compiler compiler = {.format = format, .err = err};
    int result = compile(&compiler, fields, count);
    if (result < 0) {
        proxy_log_format_free(format);
        return result == -ENOMEM ? fl_err_set(err, -ENOMEM, "out of memory") : result;
    }
    *ret_format = format;
    return 0;
}

int proxy_log_format_text(struct fl_span text, struct proxy_log_format **ret_format, struct fl_err *err)
{
    while (text.len > 0 && text.data[text.len - 1] == '\n')
        text.len--;
    const struct proxy_log_json_field field = {.text = text};
    return format_new(false, &field, 1, ret_format, err);
}

int proxy_log_format_json(const struct proxy_log_json_field *fields, size_t count, struct proxy_log_format **ret_format,
                          struct fl_err *err)
{
    return format_new(true, fields, count, ret_format, err);
}

struct proxy_log_format *proxy_log_format_free(struct proxy_log_format *format)
{
    if (format != NULL) {
        free(format->steps);
        free(format->fields);
        free(format->texts);
    }
    free(format);
    return NULL;
}

/* -- writing -- */

/* A field of a message by name; pseudo fields of the request from the record, which has them without the message too.
 */
static struct fl_span field_value(const struct proxy_message *message, const struct proxy_log_record *record,
                                  bool request, struct fl_span name)
{
    if (request && fl_span_eq_nocase(name, FL_SPAN(":method")))
        return record->method;
    if (request && fl_span_eq_nocase(name, FL_SPAN(":path")))
        return record->path;
    if (request && fl_span_eq_nocase(name, FL_SPAN(":authority")))
        return record->authority;
    if (name.len == 0 || message == NULL)
        return FL_SPAN("");
    const struct proxy_header *field = proxy_headers_next(&message->headers, proxy_header_id(name), name, NULL);
    return field != NULL ? field->value : FL_SPAN("");
}

static struct fl_span message_value(const struct step *step, const struct proxy_log_record *record)
{
    bool request = step->id == OPERATOR_REQUEST;
    const struct proxy_message *message = request ? record->request : record->response;
    struct fl_span value = field_value(message, record, request, step->text);
    return value.len > 0 ? value : field_value(message, record, request, step->other_text);
}

static const struct proxy_address *step_address(const struct step *step, const struct proxy_log_record *record)
{
    const void *member = (const char *)record + step->offset;
    const struct proxy_address *address = *(const struct proxy_address *const *)member;
    return address != NULL && proxy_address_is_set(address) ? address : NULL;
}

static bool put_count(struct proxy_line *line, bool there, uint64_t number)
{
    if (there)
        proxy_line_number(line, number);
    return there;
}

static bool put_text(struct proxy_line *line, struct fl_span text, size_t max)
{
    proxy_line_escaped(line, text, max);
    return text.len > 0;
}

static bool put_address(struct proxy_line *line, const struct proxy_address *address, bool port)
{
    if (address != NULL)
        proxy_line_address(line, address, port);
    return address != NULL;
}

/* False: the value is absent, and nothing was written. */
static bool put_step(struct proxy_line *line, const struct step *step, const struct proxy_log_record *record)
{
    char flags[PROXY_FLAGS_TEXT_MAX];
    switch (step->id) {
    case OPERATOR_LITERAL:
        break; /* put_steps */
    case OPERATOR_TEXT:
        return put_text(line, *(const struct fl_span *)(const void *)((const char *)record + step->offset), step->max);
    case OPERATOR_ADDRESS:
        return put_address(line, step_address(step, record), true);
    case OPERATOR_ADDRESS_ONLY:
        return put_address(line, step_address(step, record), false);
    case OPERATOR_START_TIME:
        proxy_line_time(line, record->start_us);
        return true;
    case OPERATOR_PROTOCOL:
        if (record->protocol != PROXY_PROTOCOL_TCP)
            proxy_line_protocol(line, record);
        return record->protocol != PROXY_PROTOCOL_TCP;
    case OPERATOR_RESPONSE_CODE:
        return put_count(line, true, record->status);
    case OPERATOR_RESPONSE_FLAGS:
        return put_text(line, proxy_flags_print(record->flags, flags), sizeof(flags));
    case OPERATOR_GRPC_STATUS:
        return put_count(line, record->grpc_status >= 0, (uint64_t)record->grpc_status);
    case OPERATOR_BYTES_RECEIVED:
        return put_count(line, true, record->bytes_received);
    case OPERATOR_BYTES_SENT:
        return put_count(line, true, record->bytes_sent);
    case OPERATOR_DURATION:
        return put_count(line, record->duration_us >= 0, (uint64_t)record->duration_us / 1000);
    case OPERATOR_CONNECTION_ID:
        return put_count(line, record->connection_id != 0, record->connection_id);
    case OPERATOR_ATTEMPTS:
        return put_count(line, true, record->attempts);
    case OPERATOR_REQUEST:
    case OPERATOR_RESPONSE:
        return put_text(line, message_value(step, record), step->max);
    }
    return false;
}

static bool is_number(enum operator_id id)
{
    return id == OPERATOR_RESPONSE_CODE || id == OPERATOR_GRPC_STATUS || id == OPERATOR_BYTES_RECEIVED ||
           id == OPERATOR_BYTES_SENT || id == OPERATOR_DURATION || id == OPERATOR_CONNECTION_ID ||
           id == OPERATOR_ATTEMPTS;
}

/* Literals are the configuration's own words: raw in a line of text. */
static void put_steps(struct proxy_line *line, const struct proxy_log_format *format, const struct field *field,
                      const struct proxy_log_record *record)
{
    for (size_t i = field->begin; i < field->end; i++) {
        const struct step *step = &format->steps[i];
        if (step->id == OPERATOR_LITERAL && format->json)
            proxy_line_escaped(line, step->text, SIZE_MAX);
        else if (step->id == OPERATOR_LITERAL)
            proxy_line_put(line, step->text);
        else if (!put_step(line, step, record))
            proxy_line_put(line, FL_SPAN("-"));
    }
}

/* A number, null or a string. The key is taken back where its value has no room: the object stays valid. */
static void put_json_field(struct proxy_line *line, const struct proxy_log_format *format, const struct field *field,
                           const struct proxy_log_record *record)
{
    const struct step *lone = field->end - field->begin == 1 ? &format->steps[field->begin] : NULL;
    if (proxy_line_room(line) < field->key.len + 64)
        return;
    proxy_line_put(line, field->key);
    if (lone != NULL && is_number(lone->id)) {
        if (!put_step(line, lone, record))
            proxy_line_put(line, FL_SPAN("null"));
        return;
    }
    char *begin = line->at;
    *line->at++ = '"';
    if (lone != NULL && lone->id != OPERATOR_LITERAL && !put_step(line, lone, record)) {
        line->at = begin;
        proxy_line_put(line, FL_SPAN("null"));
        return;
    }
    if (lone == NULL || lone->id == OPERATOR_LITERAL)
        put_steps(line, format, field, record);
    if (line->at == line->end) /* the closing quote and brace go into the reserve */
        line->end++;
    *line->at++ = '"';
}

void proxy_line_format(struct proxy_line *line, const struct proxy_log_format *format,
                       const struct proxy_log_record *record)
{
    if (!format->json) {
        put_steps(line, format, &format->fields[0], record);
        return;
    }
    if (format->field_count == 0)
        proxy_line_put(line, FL_SPAN("{"));
    for (size_t i = 0; i < format->field_count; i++)
        put_json_field(line, format, &format->fields[i], record);
    *line->at++ = '}';
}
