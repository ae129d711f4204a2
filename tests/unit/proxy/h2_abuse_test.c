/* proxy/http/h2.h: what a peer may do without cause, and what happens beyond it: each attack of dataplane.md D5 against
 * a server's session, with the word that counts it. */
#include "tests/unit/proxy/h2_frames.h"
#include "tests/unit/proxy/h2_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

static struct pair pair;

static void begin(const struct proxy_h2_settings *settings)
{
    assert_int_equal(pair_init_server(&pair, settings), 0);
}

static void feed(const char *frames)
{
    struct fl_buf bytes;
    fl_buf_init(&bytes, 1u << 24);
    frames_write(&bytes, frames);
    proxy_h2_feed(pair.server.h2, fl_buf_span(&bytes), pair.now_ms);
    fl_buf_done(&bytes);
    fl_buf_clear(&pair.client.pipe);
}

static void open_stream(uint32_t id, const char *flags, const char *more)
{
    char text[256];
    snprintf(text, sizeof(text), "HEADERS %s %u POST; %s", flags, (unsigned)id, more);
    feed(text);
    pair.server.count = 0; /* the recorders are used again */
}

static void assert_over(enum proxy_h2_error error)
{
    assert_true(pair.server.over);
    assert_int_equal(pair.server.error, error);
    pair_done(&pair);
}

/* How many times `frames` may come before the session fails. */
static unsigned count_until_over(const char *frames, unsigned most)
{
    unsigned count = 0;
    while (!pair.server.over && count < most) {
        feed(frames);
        count += !pair.server.over;
    }
    return count;
}

struct flood {
    const char *what, *before, *frames;
    unsigned allowed;
    enum proxy_h2_error error;
};

static const struct flood floods[] = {
    {"SETTINGS", "", "SETTINGS", 100, PROXY_H2_ERROR_SETTINGS_FLOOD},
    {"SETTINGS, acknowledged without cause", "SETTINGS ack 0", "SETTINGS ack 0", 100, PROXY_H2_ERROR_SETTINGS_FLOOD},
    {"GOAWAY", "HEADERS eh 1 POST; GOAWAY - 0 8*00", "GOAWAY - 0 8*00", 100, PROXY_H2_ERROR_SETTINGS_FLOOD},
    {"PING", "", "PING - 0 8*00", 200, PROXY_H2_ERROR_PING_FLOOD},
    {"PING, answers to none", "", "PING ack 0 8*00", 200, PROXY_H2_ERROR_PING_FLOOD},
    {"PRIORITY", "", "PRIORITY - 1 0000000010", 500, PROXY_H2_ERROR_PRIORITY_FLOOD},
    {"unknown frames", "", "22 - 0 00", 500, PROXY_H2_ERROR_PRIORITY_FLOOD},
    {"PRIORITY_UPDATE", "", "16 - 0 0000000175", 500, PROXY_H2_ERROR_PRIORITY_FLOOD},
    {"WINDOW_UPDATE", "", "WINDOW - 0 00000001", 1000, PROXY_H2_ERROR_WINDOW_FLOOD},
    {"empty DATA", "HEADERS eh 1 POST", "DATA - 1", 100, PROXY_H2_ERROR_EMPTY_DATA_FLOOD},
    {"DATA of padding alone", "HEADERS eh 1 POST", "DATA pad 1 02 0000", 100, PROXY_H2_ERROR_EMPTY_DATA_FLOOD},
};

static void test_floods(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(floods); i++) {
        const struct flood *flood = &floods[i];
        begin(NULL);
        feed("PREFACE; SETTINGS");
        feed(flood->before);
        unsigned count = count_until_over(flood->frames, 2000);
        if (count < flood->allowed || count > flood->allowed + 15) /* some are won back by the work before */
            fail_msg("%s: %u", flood->what, count);
        assert_over(flood->error);
    }
}

/* With time, or with work, the same frames are let through. */
static void test_budgets_come_back(void **state)
{
    (void)state;
    begin(NULL);
    feed("PREFACE; SETTINGS; HEADERS eh 1 POST");
    for (unsigned i = 0; i < 2000; i++)
        feed("DATA - 1 'x'; PING - 0 8*00; WINDOW - 0 00000001; WINDOW - 1 00000001");
    assert_false(pair.server.over);
    for (unsigned i = 0; i < 500; i++) {
        pair.now_ms += 100;
        feed("SETTINGS");
    }
    assert_false(pair.server.over);
    pair_done(&pair);
}

/* A peer that reads late says all at once what it would have said in between: what work has won waits for it, up to
 * 16,384 frames' worth. */
static void test_late_reactions(void **state)
{
    (void)state;
    begin(NULL);
    feed("PREFACE; SETTINGS; HEADERS eh 1 POST");
    for (unsigned i = 0; i < 6000; i++)
        feed("DATA - 1 'x'");
    for (unsigned i = 0; i < 6000; i++)
        feed("WINDOW - 0 00000001; WINDOW - 1 00000001; PING - 0 8*00");
    assert_false(pair.server.over);
    for (unsigned i = 0; i < 40000; i++)
        feed("DATA - 1 'x'");
    unsigned count = count_until_over("WINDOW - 0 00000001", 400000);
    assert_in_range(count, 163840, 163840 + 2000);
    assert_over(PROXY_H2_ERROR_WINDOW_FLOOD);
}

static void test_rapid_reset(void **state)
{
    (void)state;
    begin(NULL);
    feed("PREFACE; SETTINGS");
    uint32_t id = 1;
    for (unsigned i = 0; i < 1000; i++, id += 2) {
        char text[64];
        snprintf(text, sizeof(text), "RST - %u 00000008", (unsigned)id);
        open_stream(id, "es,eh", text);
        assert_false(pair.server.over);
    }
    pair.now_ms += 1000; /* 33 more */
    unsigned more = 0;
    for (; !pair.server.over && more < 100; more++, id += 2) {
        char text[64];
        snprintf(text, sizeof(text), "RST - %u 00000008", (unsigned)id);
        open_stream(id, "es,eh", text);
    }
    assert_int_equal(more, 34);
    assert_over(PROXY_H2_ERROR_RESET_FLOOD);
}

/* Resets that the peer makes us send count alike, whatever it does for them. */
static void test_made_you_reset(void **state)
{
    (void)state;
    static const char *const ways[][2] = {{"WINDOW -", "00000000"},
                                          {"WINDOW -", "7fffffff"},
                                          {"DATA es", "'x'"},
                                          {"PRIORITY -", "0000"},
                                          {"HEADERS es,eh", "GET"}};
    for (size_t way = 0; way < FL_COUNT(ways); way++) {
        begin(NULL);
        feed("PREFACE; SETTINGS");
        unsigned count = 0;
        for (uint32_t id = 1; !pair.server.over && count < 1100; id += 2, count++) {
            char text[64];
            snprintf(text, sizeof(text), "%s %u %s", ways[way][0], (unsigned)id, ways[way][1]);
            open_stream(id, "es,eh", text);
        }
        assert_int_equal(count, 1001);
        assert_over(PROXY_H2_ERROR_RESET_FLOOD);
    }
}

static void test_bad_requests_count(void **state)
{
    (void)state;
    struct proxy_h2_settings settings = {.reset_burst = 10, .reset_rate = 1};
    begin(&settings);
    feed("PREFACE; SETTINGS");
    unsigned count = 0;
    for (uint32_t id = 1; !pair.server.over && count < 100; id += 2, count++) {
        char text[64];
        snprintf(text, sizeof(text), "HEADERS es,eh %u {a: b}", (unsigned)id);
        feed(text);
    }
    assert_int_equal(count, 11);
    assert_int_equal(pair.server.fault, PROXY_H2_ERROR_MESSAGE);
    assert_over(PROXY_H2_ERROR_RESET_FLOOD);
}

static void test_continuation(void **state)
{
    (void)state;
    begin(NULL);
    feed("PREFACE; SETTINGS; HEADERS es 1 GET");
    assert_int_equal(count_until_over("CONTINUATION - 1", 100), 8);
    assert_over(PROXY_H2_ERROR_CONTINUATION_FLOOD);
    begin(NULL); /* 64 KiB, before the block is whole */
    feed("PREFACE; SETTINGS; HEADERS es 1 GET");
    assert_int_equal(count_until_over("CONTINUATION - 1 16384*00", 100), 3);
    assert_over(PROXY_H2_ERROR_CONTINUATION_FLOOD);
}

/* A peer that asks for answers and reads none. */
static void test_control_frames_queue(void **state)
{
    (void)state;
    begin(NULL);
    feed("PREFACE; SETTINGS");
    proxy_h2_hold(pair.server.h2);
    assert_int_equal(count_until_over("PING - 0 8*00", 1000), 100);
    assert_over(PROXY_H2_ERROR_CONTROL_FLOOD);
    begin(NULL);
    feed("PREFACE; SETTINGS");
    proxy_h2_hold(pair.server.h2);
    for (int i = 0; i < 90; i++)
        feed("PING - 0 8*00");
    proxy_h2_release(pair.server.h2);
    proxy_h2_hold(pair.server.h2);
    for (int i = 0; i < 90; i++)
        feed("PING - 0 8*00");
    assert_false(pair.server.over);
    pair_done(&pair);
}

/* Answers that are not read hold their streams: so there are never more of them than streams. */
static void test_answers_queue(void **state)
{
    (void)state;
    struct proxy_h2_settings settings = {.max_streams = 10};
    begin(&settings);
    feed("PREFACE; SETTINGS");
    proxy_h2_hold(pair.server.h2);
    unsigned answered = 0;
    for (uint32_t id = 1; id < 60; id += 2) {
        char text[64];
        snprintf(text, sizeof(text), "HEADERS es,eh %u GET", (unsigned)id);
        size_t before = pair.server.count;
        feed(text);
        if (pair.server.count == before)
            continue;
        answered++;
        pair_answer(&pair.server.streams[before], 200, "a: b\n", true);
        pair_close(&pair.server.streams[before], PROXY_RESET_CANCELLED);
    }
    assert_int_equal(answered, 10);
    assert_int_equal(pair.server.fault, PROXY_H2_ERROR_TOO_MANY_STREAMS);
    proxy_h2_release(pair.server.h2);
    assert_int_equal(proxy_h2_streams(pair.server.h2), 0);
    assert_false(pair.server.over);
    pair_done(&pair);
}

/* An entry of 4,000 bytes, then one byte for each time it is meant. */
static void bomb(unsigned times)
{
    struct fl_buf bytes;
    fl_buf_init(&bytes, 1u << 20);
    char text[512];
    snprintf(text, sizeof(text),
             "PREFACE; SETTINGS; HEADERS es,eh 1 GET 40 01 61 7f a11e 4000*62; HEADERS es,eh 3 GET %u*be", times);
    frames_write(&bytes, text);
    proxy_h2_feed(pair.server.h2, fl_buf_span(&bytes), pair.now_ms);
    fl_buf_done(&bytes);
}

static void test_hpack_bomb(void **state)
{
    (void)state;
    begin(NULL);
    bomb(20); /* 80 KB: beyond head_max */
    assert_false(pair.server.over);
    assert_int_equal(pair.server.count, 1);
    assert_int_equal(pair.server.fault, PROXY_H2_ERROR_HEAD_TOO_LARGE);
    pair_done(&pair);
    begin(NULL);
    bomb(16000); /* 64 MB */
    assert_over(PROXY_H2_ERROR_HEAD_TOO_LARGE);
}

/* Too many fields are answered, by the session itself, and the client's next request is heard. */
static void test_too_many_fields(void **state)
{
    (void)state;
    begin(NULL);
    char text[4096] = "PREFACE; SETTINGS; HEADERS eh 1 GET";
    size_t len = strlen(text);
    for (unsigned i = 0; i < 101; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, " {a%u: b}", i);
    struct fl_buf bytes;
    fl_buf_init(&bytes, 1u << 20);
    frames_write(&bytes, text);
    fl_buf_clear(&pair.client.pipe);
    proxy_h2_feed(pair.server.h2, fl_buf_span(&bytes), pair.now_ms);
    fl_buf_done(&bytes);
    struct fl_span sent = fl_buf_span(&pair.client.pipe);
    struct frame_seen frame;
    assert_true(frames_next(&sent, &frame) && frame.type == 4); /* ACK */
    assert_true(frames_next(&sent, &frame) && frame.type == 1 && (frame.flags & 1) != 0);
    assert_true(frames_next(&sent, &frame) && frame.type == 3 && frame.payload.data[3] == 0);
    assert_int_equal(pair.server.count, 0);
    feed("HEADERS es,eh 3 GET");
    assert_int_equal(pair.server.count, 1);
    assert_false(pair.server.over);
    pair_done(&pair);
}

static void test_window_is_held_to(void **state)
{
    (void)state;
    struct proxy_h2_settings settings = {.stream_window = 65535, .connection_window = 1 << 20};
    begin(&settings);
    feed("PREFACE; SETTINGS; HEADERS eh 1 POST");
    proxy_stream_pause(pair.server.streams[0].stream);
    for (int i = 0; i < 3; i++)
        feed("DATA - 1 16384*61");
    assert_int_equal(pair.server.faults, 0);
    feed("DATA - 1 16384*61");
    assert_int_equal(pair.server.fault, PROXY_H2_ERROR_FLOW_CONTROL);
    assert_true(pair.server.streams[0].reset);
    assert_string_equal(pair.server.streams[0].error, "http2.flow_control");
    pair_done(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floods),          cmocka_unit_test(test_budgets_come_back),
        cmocka_unit_test(test_late_reactions),  cmocka_unit_test(test_rapid_reset),
        cmocka_unit_test(test_made_you_reset),  cmocka_unit_test(test_bad_requests_count),
        cmocka_unit_test(test_continuation),    cmocka_unit_test(test_control_frames_queue),
        cmocka_unit_test(test_answers_queue),   cmocka_unit_test(test_hpack_bomb),
        cmocka_unit_test(test_too_many_fields), cmocka_unit_test(test_window_is_held_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
