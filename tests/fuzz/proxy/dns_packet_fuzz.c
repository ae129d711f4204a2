/* A DNS message from a client and one from a server: any bytes. What was read as good is changed within its bounds, and
 * is still the answer to its question. The input: the query's length in two bytes, the query, the answer to it. */
#include "proxy/dns/packet.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int truth)
{
    if (!truth)
        abort();
}

static void change(struct fl_span packet, const struct proxy_dns_question *question, size_t limit)
{
    struct proxy_dns_answer before, after;
    if (packet.len < 2) /* it has no id */
        return;
    uint16_t id = (uint16_t)((uint8_t)packet.data[0] << 8 | (uint8_t)packet.data[1]);
    if (proxy_dns_answer_parse(packet, id, question, &before) != PROXY_DNS_ANSWER_GOOD)
        return;
    char *copy = malloc(packet.len);
    check(copy != NULL);
    memcpy(copy, packet.data, packet.len);
    proxy_dns_age(copy, packet.len, 3);
    proxy_dns_set_name(copy, packet.len, question->name);
    proxy_dns_set_id(copy, 0);
    /* Who makes a name out of a TTL's bytes has it broken by them: what comes after is still within bounds. */
    bool good = proxy_dns_answer_parse(fl_span_make(copy, packet.len), 0, question, &after) == PROXY_DNS_ANSWER_GOOD;
    check(!good || after.rcode == before.rcode);
    size_t len = proxy_dns_truncate(copy, packet.len, limit);
    check(len == packet.len || len <= limit);
    check(proxy_dns_answer_parse(fl_span_make(copy, len), 0, question, &after) != PROXY_DNS_ANSWER_FOREIGN);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > PROXY_DNS_MESSAGE_MAX)
        return 0;
    size_t len = (size_t)(data[0] << 8 | data[1]);
    struct fl_span rest = fl_span_from(fl_span_make(data, size), 2);
    struct fl_span packet = fl_span_make(rest.data, len < rest.len ? len : rest.len);
    struct proxy_dns_query query;
    char key[PROXY_DNS_KEY_MAX], error[PROXY_DNS_ERROR_MAX];
    if (proxy_dns_query_parse(packet, &query) == PROXY_DNS_QUERY_GOOD) {
        check(query.limit >= PROXY_DNS_UDP_SIZE && query.question.name.len <= PROXY_DNS_NAME_MAX);
        check(proxy_dns_query_key(&query, key) <= PROXY_DNS_KEY_MAX);
        size_t error_len = proxy_dns_error_print(packet, PROXY_DNS_SERVFAIL, error);
        change(fl_span_make(error, error_len), &query.question, query.limit);
        if (packet.len < rest.len)
            change(fl_span_from(rest, packet.len), &query.question, query.limit);
    } else if (packet.len >= PROXY_DNS_HEADER_SIZE) {
        check(proxy_dns_error_print(packet, PROXY_DNS_FORMERR, error) <= PROXY_DNS_ERROR_MAX);
    }
    return 0;
}
