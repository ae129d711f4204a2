/* proxy/http/h1.h and h1_body.h against the cases of tests/conformance/http1 (README.md there has their form): the
 * verdict of the parsers alone, given the bytes at once and one by one. The same files are run over sockets. */
#include "proxy/http/h1_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define LINE_SIZE     8192
#define BYTES_MAX     (512 * 1024)
#define TRICKLED_MAX  2048
#define VERDICT_SIZE  64
#define DELIMITER     " | "
#define DELIMITER_LEN (sizeof(DELIMITER) - 1)

static struct proxy_message message;
static struct proxy_headers trailers;
static char verdict[VERDICT_SIZE];

static void say(const char *word)
{
    size_t len = strlen(verdict);
    (void)snprintf(verdict + len, sizeof(verdict) - len, "%s%s", len > 0 ? " " : "", word);
}

static void say_status(unsigned status)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "%u", status);
    say(text);
}

/* -- the form of a line ------------------------------------------------------------------------------------------- */

static unsigned hex(char digit)
{
    return (unsigned)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
}

/* Appends what [text, end) says; see README.md. */
static void expand(const char *text, const char *end, char *bytes, size_t *len)
{
    while (text < end) {
        assert_true(*len + 2 < BYTES_MAX);
        char octet = *text++;
        if (octet == '~') {
            bytes[(*len)++] = '\r';
            bytes[(*len)++] = '\n';
        } else if (octet == '<' && *text >= '0' && *text <= '9') {
            char *star;
            unsigned long times = strtoul(text, &star, 10);
            const char *close = memchr(star, '>', (size_t)(end - star));
            assert_true(*star == '*' && close != NULL);
            for (unsigned long i = 0; i < times; i++)
                expand(star + 1, close, bytes, len);
            text = close + 1;
        } else if (octet != '\\') {
            bytes[(*len)++] = octet;
        } else {
            octet = *text++;
            if (octet == 'x') {
                bytes[(*len)++] = (char)(hex(text[0]) << 4 | hex(text[1]));
                text += 2;
            } else {
                bytes[(*len)++] = octet == 'r' ? '\r' : octet == 'n' ? '\n' : octet == 't' ? '\t' : octet;
            }
        }
    }
}

/* Cuts the line at the first delimiter. */
static char *cut(char **line)
{
    char *part = *line, *at = strstr(part, DELIMITER);
    assert_non_null(at);
    *at = '\0';
    *line = at + DELIMITER_LEN;
    return part;
}

/* -- what a connection's reader does ------------------------------------------------------------------------------ */

struct reader {
    struct proxy_h1_limits limits;
    const struct proxy_exchange *exchange; /* NULL: requests */
    struct proxy_h1_parser parser;
    struct proxy_h1_body body;
    bool in_body, interim, over;
};

static int read_head(struct reader *reader, struct fl_span bytes, size_t *ret_size)
{
    return reader->exchange == NULL
               ? proxy_h1_parse_request(&reader->parser, bytes, &reader->limits, &message, ret_size)
               : proxy_h1_parse_response(&reader->parser, bytes, &reader->limits, reader->exchange, &message, ret_size);
}

static void told(struct reader *reader)
{
    if (reader->exchange == NULL) {
        say(message.keep_alive ? "ok" : "last");
        reader->over = !message.keep_alive;
    } else if (!reader->interim) {
        say_status(message.status);
        if (!message.keep_alive)
            say("close");
        reader->over = true;
    }
}

/* Takes what it can of the bytes; what is left must come again. */
static struct fl_span read_some(struct reader *reader, struct fl_span bytes)
{
    while (!reader->over) {
        struct fl_span data;
        size_t size = 0;
        int result = reader->in_body ? proxy_h1_body_decode(&reader->body, &bytes, &trailers, &data)
                                     : read_head(reader, bytes, &size);
        if (result == PROXY_H1_MORE)
            break;
        if (result < 0) {
            enum proxy_h1_error error =
                (enum proxy_h1_error)(reader->in_body ? reader->body.error : reader->parser.error);
            if (reader->exchange == NULL)
                say_status(proxy_h1_error_status(error));
            else
                say(reader->in_body ? "cut" : "502");
            reader->over = true;
        } else if (!reader->in_body) {
            bytes = fl_span_from(bytes, size);
            proxy_h1_body_init(&reader->body, &message);
            reader->interim = reader->exchange != NULL && proxy_message_is_interim(&message);
            reader->in_body = !reader->interim;
        } else if (result == PROXY_H1_DONE) {
            told(reader);
            reader->in_body = false;
        }
    }
    return bytes;
}

/* The sender has closed. */
static void read_end(struct reader *reader, struct fl_span left)
{
    if (reader->exchange == NULL) {
        if (!reader->over && (reader->in_body || left.len > 0))
            say("wait");
        return;
    }
    if (reader->over) {
        if (left.len > 0 && verdict[0] != '5' && strcmp(verdict, "cut") != 0)
            say("dirty");
        return;
    }
    if (!reader->in_body)
        say(left.len > 0 ? "502" : "503"); /* as if it had never been there */
    else if (proxy_h1_body_eof(&reader->body) == PROXY_H1_DONE)
        told(reader);
    else
        say("cut");
}

/* `step` bytes at a time; a copy of what is there each time, so that nothing beyond it is read. */
static void run(struct reader reader, struct fl_span input, size_t step)
{
    size_t taken = 0, there = 0;
    verdict[0] = '\0';
    struct fl_span left = {NULL, 0};
    char *bytes = NULL;
    do {
        size_t kept = there - taken;
        there = input.len - there < step ? input.len : there + step;
        char *more = malloc(there - taken + 1);
        assert_non_null(more);
        if (kept > 0)
            memcpy(more, bytes + (left.data - bytes), kept);
        memcpy(more + kept, input.data + taken + kept, there - taken - kept);
        free(bytes);
        bytes = more;
        left = read_some(&reader, fl_span_make(bytes, there - taken));
        taken = there - left.len;
    } while (there < input.len && !reader.over);
    left.len = input.len - taken;
    read_end(&reader, left);
    free(bytes);
}

/* -- the files ---------------------------------------------------------------------------------------------------- */

/* Given one by one an error may be told later, when its line ends: that is not in these bytes. */
static bool put_off(const char *wanted)
{
    const char *last = strrchr(wanted, ' ');
    last = last == NULL ? wanted : last + 1;
    return last[0] >= '4' && last[0] <= '5' && strcmp(verdict + (last - wanted), "wait") == 0;
}

static struct proxy_exchange exchange_of(const char *method)
{
    enum proxy_method id = proxy_method_id(fl_span_make(method, strlen(method)));
    return (struct proxy_exchange){.method_id = (uint8_t)id, .minor = 1, .keep_alive = true};
}

static void check_case(char *line, bool responses, bool lenient, char *bytes)
{
    char *wanted = cut(&line);
    struct proxy_exchange exchange = {0};
    if (responses)
        exchange = exchange_of(cut(&line));
    char *name = cut(&line);
    size_t len = 0;
    expand(line, line + strlen(line), bytes, &len);
    struct reader reader = {.limits = {.lenient = lenient}, .exchange = responses ? &exchange : NULL};
    run(reader, fl_span_make(bytes, len), SIZE_MAX);
    if (strcmp(verdict, wanted) != 0)
        fail_msg("%s: %s, not %s", name, verdict, wanted);
    if (len > TRICKLED_MAX || strstr(wanted, "dirty") != NULL)
        return;
    run(reader, fl_span_make(bytes, len), 1);
    if (strcmp(verdict, wanted) != 0 && !put_off(wanted))
        fail_msg("%s: %s one by one, not %s", name, verdict, wanted);
}

static void check_file(const char *path, bool responses, bool lenient, size_t least)
{
    static char line[LINE_SIZE];
    FILE *file = fopen(path, "re");
    char *bytes = malloc(BYTES_MAX);
    assert_true(file != NULL && bytes != NULL);
    size_t count = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        size_t len = strlen(line);
        assert_true(len > 0 && line[len - 1] == '\n');
        line[len - 1] = '\0';
        if (line[0] == '#')
            continue;
        check_case(line, responses, lenient, bytes);
        count++;
    }
    assert_true(count >= least);
    free(bytes);
    (void)fclose(file);
}

static void requests(void **state)
{
    (void)state;
    check_file(FL_HTTP1_CASES "/requests.txt", false, false, 200);
}

static void requests_to_a_lenient_listener(void **state)
{
    (void)state;
    check_file(FL_HTTP1_CASES "/requests-lenient.txt", false, true, 30);
}

static void responses(void **state)
{
    (void)state;
    check_file(FL_HTTP1_CASES "/responses.txt", true, false, 75);
}

static void responses_to_a_lenient_reader(void **state)
{
    (void)state;
    check_file(FL_HTTP1_CASES "/responses-lenient.txt", true, true, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(requests_to_a_lenient_listener),
        cmocka_unit_test(responses),
        cmocka_unit_test(responses_to_a_lenient_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
