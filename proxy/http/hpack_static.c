/* The static table: RFC 7541 appendix A. */
#include "proxy/http/hpack_table.h"

#include <string.h>

const struct proxy_hpack_pair proxy_hpack_static[PROXY_HPACK_STATIC] = {
    {{":authority", 10}, {"", 0}},
    {{":method", 7}, {"GET", 3}},
    {{":method", 7}, {"POST", 4}},
    {{":path", 5}, {"/", 1}},
    {{":path", 5}, {"/index.html", 11}},
    {{":scheme", 7}, {"http", 4}},
    {{":scheme", 7}, {"https", 5}},
    {{":status", 7}, {"200", 3}},
    {{":status", 7}, {"204", 3}},
    {{":status", 7}, {"206", 3}},
    {{":status", 7}, {"304", 3}},
    {{":status", 7}, {"400", 3}},
    {{":status", 7}, {"404", 3}},
    {{":status", 7}, {"500", 3}},
    {{"accept-charset", 14}, {"", 0}},
    {{"accept-encoding", 15}, {"gzip, deflate", 13}},
    {{"accept-language", 15}, {"", 0}},
    {{"accept-ranges", 13}, {"", 0}},
    {{"accept", 6}, {"", 0}},
    {{"access-control-allow-origin", 27}, {"", 0}},
    {{"age", 3}, {"", 0}},
    {{"allow", 5}, {"", 0}},
    {{"authorization", 13}, {"", 0}},
    {{"cache-control", 13}, {"", 0}},
    {{"content-disposition", 19}, {"", 0}},
    {{"content-encoding", 16}, {"", 0}},
    {{"content-language", 16}, {"", 0}},
    {{"content-length", 14}, {"", 0}},
    {{"content-location", 16}, {"", 0}},
    {{"content-range", 13}, {"", 0}},
    {{"content-type", 12}, {"", 0}},
    {{"cookie", 6}, {"", 0}},
    {{"date", 4}, {"", 0}},
    {{"etag", 4}, {"", 0}},
    {{"expect", 6}, {"", 0}},
    {{"expires", 7}, {"", 0}},
    {{"from", 4}, {"", 0}},
    {{"host", 4}, {"", 0}},
    {{"if-match", 8}, {"", 0}},
    {{"if-modified-since", 17}, {"", 0}},
    {{"if-none-match", 13}, {"", 0}},
    {{"if-range", 8}, {"", 0}},
    {{"if-unmodified-since", 19}, {"", 0}},
    {{"last-modified", 13}, {"", 0}},
    {{"link", 4}, {"", 0}},
    {{"location", 8}, {"", 0}},
    {{"max-forwards", 12}, {"", 0}},
    {{"proxy-authenticate", 18}, {"", 0}},
    {{"proxy-authorization", 19}, {"", 0}},
    {{"range", 5}, {"", 0}},
    {{"referer", 7}, {"", 0}},
    {{"refresh", 7}, {"", 0}},
    {{"retry-after", 11}, {"", 0}},
    {{"server", 6}, {"", 0}},
    {{"set-cookie", 10}, {"", 0}},
    {{"strict-transport-security", 25}, {"", 0}},
    {{"transfer-encoding", 17}, {"", 0}},
    {{"user-agent", 10}, {"", 0}},
    {{"vary", 4}, {"", 0}},
    {{"via", 3}, {"", 0}},
    {{"www-authenticate", 16}, {"", 0}},
};

#define ALIKE_MAX 6

static const uint8_t by_length[][ALIKE_MAX + 1] = {
    /* indices, 0 behind the last */
    [3] = {21, 60},
    [4] = {33, 34, 37, 38, 45, 59},
    [5] = {4, 22, 50},
    [6] = {19, 32, 35, 54},
    [7] = {2, 6, 8, 36, 51, 52},
    [8] = {39, 42, 46},
    [10] = {1, 55, 58},
    [11] = {53},
    [12] = {31, 47},
    [13] = {18, 23, 24, 30, 41, 44},
    [14] = {15, 28},
    [15] = {16, 17},
    [16] = {26, 27, 29, 61},
    [17] = {40, 57},
    [18] = {48},
    [19] = {25, 43, 49},
    [25] = {56},
    [27] = {20},
};

uint32_t proxy_hpack_static_name(struct fl_span name)
{
    if (name.len >= FL_COUNT(by_length))
        return 0;
    for (const uint8_t *index = by_length[name.len]; *index != 0; index++) {
        const char *text = proxy_hpack_static[*index - 1].name.data;
        if (text[0] == name.data[0] && memcmp(text, name.data, name.len) == 0)
            return *index;
    }
    return 0;
}

static uint32_t among(uint32_t first, uint32_t last, struct fl_span value)
{
    for (uint32_t i = first; i <= last; i++) {
        if (fl_span_eq(proxy_hpack_static[i - 1].value, value))
            return i;
    }
    return 0;
}

uint32_t proxy_hpack_static_pair(struct fl_span name, struct fl_span value)
{
    if (fl_span_eq(name, FL_SPAN(":method")))
        return among(2, 3, value);
    if (fl_span_eq(name, FL_SPAN(":path")))
        return among(4, 5, value);
    if (fl_span_eq(name, FL_SPAN(":scheme")))
        return among(6, 7, value);
    return fl_span_eq(name, FL_SPAN(":status")) ? among(8, 14, value) : 0;
}
