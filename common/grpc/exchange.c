/* One call or stream on a session: frames in and out, headers, the end. */
#include "common/grpc/inner.h"
#include "common/grpc/lines.h"

#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>

#define QUEUE_KEEP 4096 /* a drained queue keeps as much memory */

struct fl_grpc_exchange *fl_grpc_exchange_free(struct fl_grpc_exchange *exchange)
{
    if (exchange == NULL)
        return NULL;
    *exchange->link = exchange->next;
    if (exchange->next != NULL)
        exchange->next->link = exchange->link;
    fl_grpc_reader_done(&exchange->reader);
    fl_buf_done(&exchange->queue);
    fl_buf_done(&exchange->head);
    free(exchange->text);
    free(exchange);
    return NULL;
}

int fl_grpc_exchange_new(struct fl_grpc_session *session, struct fl_grpc_exchange **ret_exchange)
{
    struct fl_grpc_exchange *exchange = calloc(1, sizeof(*exchange));
    if (exchange == NULL)
        return -ENOMEM;
    const struct fl_grpc_session_options *options = &session->options;
    exchange->session = session;
    fl_grpc_reader_init(&exchange->reader, options->message_max);
    /* See make_room: what is sent already takes no more than what waits. */
    fl_buf_init(&exchange->queue, 2 * (options->queue_max + options->message_max + FL_GRPC_HEAD_SIZE));
    fl_buf_init(&exchange->head, options->header_bytes);
    exchange->next = session->exchanges;
    exchange->link = &session->exchanges;
    if (exchange->next != NULL)
        exchange->next->link = &exchange->next;
    session->exchanges = exchange;
    session->count++;
    *ret_exchange = exchange;
    return 0;
}

static void give_back(struct fl_grpc_exchange *exchange)
{
    struct fl_grpc_session *session = exchange->session;
    session->inbound -= exchange->held;
    if (session->options.inbound_shared != NULL)
        *session->options.inbound_shared -= exchange->held;
    exchange->held = 0;
}

bool fl_grpc_exchange_account(struct fl_grpc_exchange *exchange)
{
    struct fl_grpc_session *session = exchange->session;
    const struct fl_grpc_session_options *options = &session->options;
    give_back(exchange);
    exchange->held = exchange->head.cap + exchange->reader.message.cap;
    session->inbound += exchange->held;
    if (options->inbound_shared != NULL)
        *options->inbound_shared += exchange->held;
    return session->inbound <= options->inbound_max &&
           (options->inbound_shared == NULL || *options->inbound_shared <= options->inbound_shared_max);
}

/* Detached from nghttp2's stream; the memory stays until no call of the session runs. */
static void die(struct fl_grpc_exchange *exchange)
{
    struct fl_grpc_session *session = exchange->session;
    assert(!exchange->dead);
    exchange->dead = true;
    session->count--;
    give_back(exchange);
    nghttp2_session_set_stream_user_data(session->h2, exchange->id, NULL);
}

static void reset(struct fl_grpc_exchange *exchange, uint32_t error)
{
    struct fl_grpc_session *session = exchange->session;
    if (exchange->id > 0 &&
        nghttp2_submit_rst_stream(session->h2, NGHTTP2_FLAG_NONE, exchange->id, error) == NGHTTP2_ERR_NOMEM)
        fl_grpc_session_fail(session, -ENOMEM);
    fl_grpc_session_wake(session);
}

/* `text` may lie in the exchange: its memory outlives the callback, because a call of the session runs. */
void fl_grpc_exchange_end(struct fl_grpc_exchange *exchange, enum fl_grpc_status status, struct fl_span text,
                          uint32_t error)
{
    struct fl_grpc_session *session = exchange->session;
    assert(session->calls > 0);
    die(exchange);
    if (error != NGHTTP2_NO_ERROR)
        reset(exchange, error);
    if (exchange->user != NULL)
        session->exchange_ops->on_end(exchange->user, status, text);
}

void fl_grpc_exchange_cancel(struct fl_grpc_exchange *exchange)
{
    if (exchange->dead)
        return;
    die(exchange);
    reset(exchange, NGHTTP2_CANCEL);
    if (exchange->session->calls == 0)
        fl_grpc_exchange_free(exchange);
}

static void note_sent(struct fl_grpc_exchange *exchange, size_t count)
{
    struct fl_grpc_session *session = exchange->session;
    exchange->queue_at += count;
    exchange->progress_ms = session->ops->now_ms(session->owner);
    if (exchange->queue_at == exchange->queue.len) {
        size_t max = exchange->queue.max;
        if (exchange->queue.cap > QUEUE_KEEP) {
            fl_buf_done(&exchange->queue);
            fl_buf_init(&exchange->queue, max);
        }
        fl_buf_clear(&exchange->queue);
        exchange->queue_at = 0;
    }
    if (exchange->wants_room && fl_grpc_exchange_queued(exchange) <= session->options.queue_max / 2) {
        exchange->wants_room = false;
        exchange->has_room = session->notify = true;
    }
}

struct status_lines {
    char number[4];
    struct fl_buf text;
    nghttp2_nv lines[2];
    size_t count;
};

/* grpc-status and, where there is a text, grpc-message. The caller frees lines->text. */
static int make_status_lines(const struct fl_grpc_exchange *exchange, struct status_lines *ret_lines)
{
    struct status_lines *lines = ret_lines;
    fl_buf_init(&lines->text, 4 * FL_GRPC_TEXT_MAX);
    snprintf(lines->number, sizeof(lines->number), "%u", (unsigned)exchange->status % 100);
    lines->lines[0] = fl_grpc_line("grpc-status", fl_span_str(lines->number));
    lines->count = 1;
    if (exchange->text == NULL)
        return 0;
    int result = fl_grpc_text_print(&lines->text, fl_span_str(exchange->text));
    lines->lines[lines->count++] = fl_grpc_line("grpc-message", fl_buf_span(&lines->text));
    return result;
}

static int submit_trailers(struct fl_grpc_exchange *exchange)
{
    struct status_lines lines;
    int result = make_status_lines(exchange, &lines);
    if (result == 0)
        result = nghttp2_submit_trailer(exchange->session->h2, exchange->id, lines.lines, lines.count);
    fl_buf_done(&lines.text);
    return result;
}

/* What nghttp2 reads a stream's data from. */
static ssize_t read_queue(nghttp2_session *h2, int32_t id, uint8_t *data, size_t size, uint32_t *flags,
                          nghttp2_data_source *source, void *user)
{
    (void)source, (void)user;
    struct fl_grpc_exchange *exchange = nghttp2_session_get_stream_user_data(h2, id);
    if (exchange == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t count = fl_grpc_exchange_queued(exchange);
    size_t most = size < FL_GRPC_DATA_MAX ? size : FL_GRPC_DATA_MAX;
    if (count > most)
        count = most;
    if (count > 0) {
        memcpy(data, exchange->queue.data + exchange->queue_at, count);
        note_sent(exchange, count);
    }
    if (fl_grpc_exchange_queued(exchange) > 0)
        return (ssize_t)count;
    if (!exchange->finishing) {
        exchange->deferred = count == 0;
        return count > 0 ? (ssize_t)count : NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (exchange->session->options.server) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (submit_trailers(exchange) != 0)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return (ssize_t)count;
}

const nghttp2_data_provider fl_grpc_provider = {.read_callback = read_queue};

static void resume(struct fl_grpc_exchange *exchange)
{
    struct fl_grpc_session *session = exchange->session;
    if (exchange->deferred) {
        exchange->deferred = false;
        if (nghttp2_session_resume_data(session->h2, exchange->id) == NGHTTP2_ERR_NOMEM)
            fl_grpc_session_fail(session, -ENOMEM);
    }
    fl_grpc_session_wake(session);
}

/* Server: the response's headers, before its first message. */
static int open_response(struct fl_grpc_exchange *exchange)
{
    if (exchange->opened || !exchange->session->options.server)
        return 0;
    const nghttp2_nv lines[] = {fl_grpc_line(":status", FL_SPAN("200")),
                                fl_grpc_line("content-type", FL_SPAN("application/grpc"))};
    if (nghttp2_submit_response(exchange->session->h2, exchange->id, lines, FL_COUNT(lines), &fl_grpc_provider) != 0)
        return -ENOMEM;
    exchange->opened = true;
    return 0;
}

/* What is sent already goes once it is half of the buffer, so that moving costs a constant a byte. */
static void make_room(struct fl_grpc_exchange *exchange)
{
    if (exchange->queue_at > 0 && exchange->queue_at >= exchange->queue.len / 2) {
        fl_buf_consume(&exchange->queue, exchange->queue_at);
        exchange->queue_at = 0;
    }
}

int fl_grpc_exchange_send(struct fl_grpc_exchange *exchange, struct fl_span message)
{
    struct fl_grpc_session *session = exchange->session;
    if (exchange->dead || exchange->finishing || session->aborted)
        return -EPIPE;
    if (message.len > session->options.message_max)
        return -EMSGSIZE;
    size_t queued = fl_grpc_exchange_queued(exchange);
    if (queued > 0 && queued + FL_GRPC_HEAD_SIZE + message.len > session->options.queue_max) {
        exchange->wants_room = true;
        return -EAGAIN;
    }
    make_room(exchange);
    int result = fl_grpc_frame_append(&exchange->queue, message);
    if (result < 0)
        return result;
    result = open_response(exchange);
    if (result < 0) {
        exchange->queue.len -= FL_GRPC_HEAD_SIZE + message.len;
        return result;
    }
    if (queued == 0)
        exchange->progress_ms = session->ops->now_ms(session->owner);
    resume(exchange);
    return 0;
}

void fl_grpc_exchange_half_close(struct fl_grpc_exchange *exchange)
{
    if (exchange->dead || exchange->finishing)
        return;
    exchange->finishing = true;
    resume(exchange);
}

/* A response without messages: its headers are its trailers. */
static int submit_trailers_only(struct fl_grpc_exchange *exchange, const char *http_status, bool grpc)
{
    struct status_lines status;
    nghttp2_nv lines[4] = {fl_grpc_line(":status", fl_span_str(http_status))};
    size_t count = 1;
    int result = make_status_lines(exchange, &status);
    if (grpc)
        lines[count++] = fl_grpc_line("content-type", FL_SPAN("application/grpc"));
    for (size_t i = 0; i < status.count; i++)
        lines[count++] = status.lines[i];
    if (result == 0)
        result = nghttp2_submit_response(exchange->session->h2, exchange->id, lines, count, NULL);
    fl_buf_done(&status.text);
    return result;
}

void fl_grpc_exchange_finish(struct fl_grpc_exchange *exchange, enum fl_grpc_status status, const char *text)
{
    if (exchange->dead || exchange->finishing)
        return;
    exchange->finishing = true;
    exchange->status = status;
    if (text != NULL && text[0] != '\0')
        exchange->text = strndup(text, FL_GRPC_TEXT_MAX); /* the status alone where memory is out */
    if (exchange->opened)
        resume(exchange);
    else if (submit_trailers_only(exchange, "200", true) != 0)
        fl_grpc_session_fail(exchange->session, -ENOMEM);
    else
        fl_grpc_session_wake(exchange->session);
}

static void refuse_request(struct fl_grpc_exchange *exchange, unsigned http_status)
{
    exchange->finishing = true;
    exchange->status = http_status == 405 ? FL_GRPC_UNIMPLEMENTED : FL_GRPC_INVALID_ARGUMENT;
    if (submit_trailers_only(exchange, http_status == 405 ? "405" : "415", false) != 0)
        fl_grpc_session_fail(exchange->session, -ENOMEM);
    fl_grpc_session_wake(exchange->session);
}

static void on_request(struct fl_grpc_exchange *exchange)
{
    struct fl_grpc_session *session = exchange->session;
    if (exchange->opened || exchange->finishing || exchange->user != NULL)
        return; /* trailers of a request mean nothing to us */
    unsigned http_status = fl_grpc_head_check_request(exchange);
    if (http_status != 0) {
        refuse_request(exchange, http_status);
        return;
    }
    session->ops->on_request(session->owner, exchange);
    if (exchange->user == NULL && !exchange->dead)
        fl_grpc_exchange_finish(exchange, FL_GRPC_INTERNAL, "nobody took the stream");
}

/* Without trailers, grpc-status stands in the headers (a response without messages) or nowhere. */
static void conclude(struct fl_grpc_exchange *exchange)
{
    struct fl_span number = fl_grpc_head_find(exchange, "grpc-status");
    struct fl_span message = fl_grpc_head_find(exchange, "grpc-message");
    uint32_t error = exchange->finishing && fl_grpc_exchange_queued(exchange) == 0 ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL;
    struct fl_buf text;
    fl_buf_init(&text, FL_GRPC_TEXT_MAX);
    enum fl_grpc_status status = fl_grpc_status_parse(number);
    if (number.data == NULL) {
        status = FL_GRPC_INTERNAL;
        message = FL_SPAN("the server ended the stream without a status");
    } else if (status == FL_GRPC_OK && !fl_grpc_reader_is_between(&exchange->reader)) {
        status = FL_GRPC_INTERNAL;
        message = FL_SPAN("the server ended the stream in the middle of a message");
    }
    if (fl_grpc_text_parse(&text, message) < 0)
        fl_buf_clear(&text);
    fl_grpc_exchange_end(exchange, status, fl_buf_span(&text), error);
    fl_buf_done(&text);
}

static void on_response(struct fl_grpc_exchange *exchange, bool last)
{
    struct fl_span http = fl_grpc_head_find(exchange, ":status");
    char text[FL_ERR_TEXT_MAX];
    enum fl_grpc_status status;
    bool informational = http.len == 3 && http.data[0] == '1';
    if (!exchange->opened && !informational) {
        if (!fl_grpc_head_check_response(exchange, &status, text)) {
            fl_grpc_exchange_end(exchange, status, fl_span_str(text), NGHTTP2_CANCEL);
            return;
        }
        exchange->opened = true;
    }
    if (!last)
        fl_buf_clear(&exchange->head);
}

void fl_grpc_exchange_on_head(struct fl_grpc_exchange *exchange, bool last)
{
    if (exchange->session->options.server)
        on_request(exchange);
    else
        on_response(exchange, last);
}

static void refuse_message(struct fl_grpc_exchange *exchange, int code)
{
    enum fl_grpc_status status = FL_GRPC_INTERNAL;
    const char *text = "a frame with flags that do not exist";
    if (code == -EMSGSIZE) {
        status = FL_GRPC_RESOURCE_EXHAUSTED;
        text = "a message is too long";
    } else if (code == -ENOTSUP) {
        status = FL_GRPC_UNIMPLEMENTED;
        text = "compressed messages are not supported";
    } else if (code != -EBADMSG) {
        status = FL_GRPC_RESOURCE_EXHAUSTED;
        text = "out of memory for messages";
    }
    if (exchange->session->options.server)
        fl_grpc_exchange_finish(exchange, status, text);
    else
        fl_grpc_exchange_end(exchange, status, fl_span_str(text), NGHTTP2_CANCEL);
}

void fl_grpc_exchange_on_data(struct fl_grpc_exchange *exchange, struct fl_span bytes)
{
    struct fl_grpc_session *session = exchange->session;
    bool server = session->options.server;
    struct fl_span message;
    int result = FL_GRPC_READ_MESSAGE;
    while (result == FL_GRPC_READ_MESSAGE && !exchange->dead && !(server && exchange->finishing)) {
        if (bytes.len == 0)
            break;
        result = fl_grpc_reader_next(&exchange->reader, &bytes, &message);
        if (result > 0 && !fl_grpc_exchange_account(exchange))
            result = -EDQUOT;
        if (result < 0)
            refuse_message(exchange, result);
        else if (result == FL_GRPC_READ_MESSAGE)
            session->exchange_ops->on_message(exchange->user, message);
    }
}

void fl_grpc_exchange_on_last(struct fl_grpc_exchange *exchange)
{
    struct fl_grpc_session *session = exchange->session;
    exchange->half_closed = true;
    if (!session->options.server)
        conclude(exchange);
    else if (exchange->finishing || exchange->user == NULL)
        return;
    else if (!fl_grpc_reader_is_between(&exchange->reader))
        fl_grpc_exchange_finish(exchange, FL_GRPC_INTERNAL, "the client ended the stream in the middle of a message");
    else
        session->exchange_ops->on_half_close(exchange->user);
}

void fl_grpc_exchange_set_user(struct fl_grpc_exchange *exchange, void *user)
{
    exchange->user = user;
}

size_t fl_grpc_exchange_queued(const struct fl_grpc_exchange *exchange)
{
    return exchange->queue.len - exchange->queue_at;
}

struct fl_span fl_grpc_exchange_header(const struct fl_grpc_exchange *exchange, const char *name)
{
    return fl_grpc_head_find(exchange, name);
}
