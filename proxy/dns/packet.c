#include "proxy/dns/packet.h"

/* The header's third and fourth byte. */
#define QR          0x80u
#define OPCODE      0x78u
#define TC          0x02u
#define RD          0x01u
#define RA          0x80u
#define AD          0x20u
#define CD          0x10u
#define RCODE       0x0fu
#define FLAG_EDNS   0x02u /* of proxy_dns_query.flags, beside RD, AD and CD; no bit is another's */
#define FLAG_DO     0x04u
#define EDNS_DO     0x80u /* the first of the two bytes of EDNS's flags */
#define POINTER     0xc0u
#define LABEL_MAX   63u
#define RECORD_SIZE 10u /* behind the name: type, class, TTL, length */

enum type {
    TYPE_CNAME = 5,
    TYPE_SOA = 6,
    TYPE_OPT = 41,
    TYPE_SIG = 24,
    TYPE_TSIG = 250,
    TYPE_IXFR = 251,
    TYPE_AXFR = 252,
    TYPE_ANY = 255,
};
#define CLASS_IN 1

static unsigned byte_at(struct fl_span packet, size_t at)
{
    return (uint8_t)packet.data[at];
}

static uint16_t u16_at(struct fl_span packet, size_t at)
{
    return (uint16_t)(byte_at(packet, at) << 8 | byte_at(packet, at + 1));
}

static uint32_t u32_at(struct fl_span packet, size_t at)
{
    return (uint32_t)u16_at(packet, at) << 16 | u16_at(packet, at + 2);
}

static void put_u16(char *at, unsigned value)
{
    at[0] = (char)(value >> 8);
    at[1] = (char)value;
}

/* --- the walk --------------------------------------------------------------------------------------------------- */

/* The offset behind the name that begins at `at`, 0 where it is no name. What pointers lead to is checked, too: each
 * leads further to the front, so the walk ends, and the sum of labels is bounded. */
static size_t skip_name(struct fl_span packet, size_t at, bool pointers)
{
    size_t end = 0, size = 0, front = at;
    for (;;) {
        if (at >= packet.len)
            return 0;
        unsigned length = byte_at(packet, at);
        if ((length & POINTER) == POINTER) {
            if (!pointers || at + 2 > packet.len)
                return 0;
            if (end == 0)
                end = at + 2;
            at = u16_at(packet, at) & 0x3fffu;
            if (at >= front || at < PROXY_DNS_HEADER_SIZE)
                return 0;
            front = at;
            continue;
        }
        if (length > LABEL_MAX)
            return 0;
        size += length + 1;
        at += length + 1;
        if (size > PROXY_DNS_NAME_MAX)
            return 0;
        if (length == 0)
            return end != 0 ? end : at;
    }
}

enum section { ANSWER, AUTHORITY, ADDITIONAL, SECTIONS };

struct walk {
    struct fl_span packet;
    size_t at; /* the next record */
    unsigned left[SECTIONS];
};

struct record {
    enum section section;
    size_t begin, head, data, end; /* offsets of the name, of what is behind it, of its data, behind it */
    uint16_t type, class;
};

enum step { STEP_RECORD, STEP_END, STEP_BROKEN };

static void walk_begin(struct walk *walk, struct fl_span packet, size_t at)
{
    *walk = (struct walk){packet, at, {u16_at(packet, 6), u16_at(packet, 8), u16_at(packet, 10)}};
}

static enum step walk_next(struct walk *walk, struct record *ret)
{
    enum section section = ANSWER;
    while (section < SECTIONS && walk->left[section] == 0)
        section++;
    if (section == SECTIONS)
        return STEP_END;
    walk->left[section]--;
    size_t head = skip_name(walk->packet, walk->at, true);
    if (head == 0 || head + RECORD_SIZE > walk->packet.len)
        return STEP_BROKEN;
    size_t data = head + RECORD_SIZE, end = data + u16_at(walk->packet, head + 8);
    if (end > walk->packet.len)
        return STEP_BROKEN;
    *ret =
        (struct record){section, walk->at, head, data, end, u16_at(walk->packet, head), u16_at(walk->packet, head + 2)};
    walk->at = end;
    return STEP_RECORD;
}

/* The offset behind the only question, 0 where there is none. */
static size_t read_question(struct fl_span packet, struct proxy_dns_question *ret)
{
    size_t end = skip_name(packet, PROXY_DNS_HEADER_SIZE, false);
    if (end == 0 || end + 4 > packet.len)
        return 0;
    ret->name = fl_span_make(packet.data + PROXY_DNS_HEADER_SIZE, end - PROXY_DNS_HEADER_SIZE);
    ret->type = u16_at(packet, end);
    ret->class = u16_at(packet, end + 2);
    return end + 4;
}

/* --- queries ---------------------------------------------------------------------------------------------------- */

/* EDNS as every resolver sends it can be shared; options, another version or unknown flags are between two ends. */
static void read_edns(struct fl_span packet, const struct record *record, struct proxy_dns_query *query)
{
    unsigned first = byte_at(packet, record->head + 6);
    query->flags |= FLAG_EDNS | ((first & EDNS_DO) != 0 ? FLAG_DO : 0u);
    if (record->class > query->limit)
        query->limit = record->class;
    query->alone = query->alone || record->end > record->data || (u32_at(packet, record->head + 4) & 0xffff7fffu) != 0;
}

static enum proxy_dns_query_result read_additional(struct fl_span packet, size_t at, struct proxy_dns_query *query)
{
    struct walk walk;
    struct record record;
    enum step step;
    walk_begin(&walk, packet, at);
    if (walk.left[ANSWER] > 0 || walk.left[AUTHORITY] > 0)
        return PROXY_DNS_QUERY_FORMERR;
    while ((step = walk_next(&walk, &record)) == STEP_RECORD) {
        if (record.type != TYPE_OPT) {
            query->alone = true;
            continue;
        }
        if ((query->flags & FLAG_EDNS) != 0 || record.head != record.begin + 1)
            return PROXY_DNS_QUERY_FORMERR;
        read_edns(packet, &record, query);
    }
    return step == STEP_END && walk.at == packet.len ? PROXY_DNS_QUERY_GOOD : PROXY_DNS_QUERY_FORMERR;
}

enum proxy_dns_query_result proxy_dns_query_parse(struct fl_span packet, struct proxy_dns_query *ret_query)
{
    if (packet.len < PROXY_DNS_HEADER_SIZE || (byte_at(packet, 2) & QR) != 0)
        return PROXY_DNS_QUERY_DROP;
    if ((byte_at(packet, 2) & OPCODE) != 0)
        return PROXY_DNS_QUERY_NOTIMP;
    struct proxy_dns_query query = {.id = u16_at(packet, 0), .limit = PROXY_DNS_UDP_SIZE};
    size_t at = u16_at(packet, 4) == 1 ? read_question(packet, &query.question) : 0;
    if (at == 0)
        return PROXY_DNS_QUERY_FORMERR;
    if (query.question.type == TYPE_AXFR || query.question.type == TYPE_IXFR)
        return PROXY_DNS_QUERY_REFUSED;
    query.flags = (uint8_t)((byte_at(packet, 2) & RD) | (byte_at(packet, 3) & (AD | CD)));
    enum proxy_dns_query_result result = read_additional(packet, at, &query);
    if (result == PROXY_DNS_QUERY_GOOD)
        *ret_query = query;
    return result;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

size_t proxy_dns_query_key(const struct proxy_dns_query *query, char key[PROXY_DNS_KEY_MAX])
{
    size_t len = query->question.name.len;
    for (size_t i = 0; i < len; i++)
        key[i] = lower(query->question.name.data[i]); /* a label's length is no letter: it is below 64 */
    put_u16(key + len, query->question.type);
    put_u16(key + len + 2, query->question.class);
    key[len + 4] = (char)query->flags;
    return len + 5;
}

/* --- answers ---------------------------------------------------------------------------------------------------- */

static bool same_question(const struct proxy_dns_question *a, const struct proxy_dns_question *b)
{
    return a->type == b->type && a->class == b->class && fl_span_eq_nocase(a->name, b->name);
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* RFC 2181 §8: one with the highest bit set is 0. */
static uint32_t ttl_at(struct fl_span packet, size_t at)
{
    uint32_t ttl = u32_at(packet, at);
    return ttl > INT32_MAX ? 0 : ttl;
}

struct reading {
    uint32_t ttl;  /* the least of all */
    bool answered; /* a record of the type that was asked for */
    bool soa, own; /* one in the authority section; something that is nobody else's */
};

static void read_record(struct fl_span packet, const struct record *record, uint16_t type, struct reading *reading)
{
    if (record->type == TYPE_OPT || record->type == TYPE_TSIG || record->type == TYPE_SIG) {
        /* EDNS has the higher bits of the result where others have the TTL's first byte. */
        reading->own = reading->own || record->type != TYPE_OPT || byte_at(packet, record->head + 4) != 0;
        return;
    }
    reading->ttl = min_u32(reading->ttl, ttl_at(packet, record->head + 4));
    if (record->section == ANSWER)
        reading->answered = reading->answered || record->type == type || type == TYPE_ANY;
    if (record->section == AUTHORITY && record->type == TYPE_SOA) {
        bool whole = record->end - record->data >= 22; /* two names, five numbers */
        reading->soa = whole;
        reading->ttl = min_u32(reading->ttl, whole ? ttl_at(packet, record->end - 4) : 0);
    }
}

/* What may be kept: whole answers of class IN with what was asked for, and denials with the SOA that says how long. */
static uint32_t keep_for(const struct reading *reading, const struct proxy_dns_question *question,
                         const struct proxy_dns_answer *answer)
{
    bool good = (answer->rcode == PROXY_DNS_NOERROR && reading->answered) || (answer->negative && reading->soa);
    return good && !answer->truncated && !reading->own && question->class == CLASS_IN && reading->ttl != UINT32_MAX
               ? reading->ttl
               : 0;
}

enum proxy_dns_answer_result proxy_dns_answer_parse(struct fl_span packet, uint16_t id,
                                                    const struct proxy_dns_question *question,
                                                    struct proxy_dns_answer *ret_answer)
{
    if (packet.len < PROXY_DNS_HEADER_SIZE || u16_at(packet, 0) != id || (byte_at(packet, 2) & (QR | OPCODE)) != QR)
        return PROXY_DNS_ANSWER_FOREIGN;
    struct proxy_dns_answer answer = {.rcode = (uint8_t)(byte_at(packet, 3) & RCODE),
                                      .truncated = (byte_at(packet, 2) & TC) != 0};
    struct proxy_dns_question theirs = {0};
    if (packet.len == PROXY_DNS_HEADER_SIZE && u16_at(packet, 4) == 0 &&
        (answer.rcode == PROXY_DNS_FORMERR || answer.rcode == PROXY_DNS_NOTIMP)) {
        *ret_answer = answer;
        return PROXY_DNS_ANSWER_GOOD;
    }
    size_t at = u16_at(packet, 4) == 1 ? read_question(packet, &theirs) : 0;
    if (at == 0 || !same_question(question, &theirs))
        return PROXY_DNS_ANSWER_FOREIGN;
    struct walk walk;
    struct record record;
    struct reading reading = {.ttl = UINT32_MAX};
    enum step step;
    walk_begin(&walk, packet, at);
    while ((step = walk_next(&walk, &record)) == STEP_RECORD)
        read_record(packet, &record, question->type, &reading);
    if (step == STEP_BROKEN)
        return PROXY_DNS_ANSWER_BROKEN;
    reading.own = reading.own || walk.at != packet.len;
    answer.negative = answer.rcode == PROXY_DNS_NXDOMAIN || (answer.rcode == PROXY_DNS_NOERROR && !reading.answered);
    answer.ttl = keep_for(&reading, question, &answer);
    *ret_answer = answer;
    return PROXY_DNS_ANSWER_GOOD;
}

/* --- changes ---------------------------------------------------------------------------------------------------- */

void proxy_dns_set_id(char *packet, uint16_t id)
{
    put_u16(packet, id);
}

void proxy_dns_set_name(char *packet, size_t len, struct fl_span name)
{
    struct proxy_dns_question question;
    if (len > PROXY_DNS_HEADER_SIZE && read_question(fl_span_make(packet, len), &question) != 0 &&
        question.name.len == name.len)
        memcpy(packet + PROXY_DNS_HEADER_SIZE, name.data, name.len);
}

void proxy_dns_age(char *packet, size_t len, uint32_t seconds)
{
    struct fl_span span = fl_span_make(packet, len);
    struct proxy_dns_question question;
    struct walk walk;
    struct record record;
    walk_begin(&walk, span, read_question(span, &question));
    while (walk_next(&walk, &record) == STEP_RECORD) {
        if (record.type == TYPE_OPT)
            continue;
        uint32_t ttl = ttl_at(span, record.head + 4);
        ttl = ttl > seconds ? ttl - seconds : 0;
        put_u16(packet + record.head + 4, ttl >> 16);
        put_u16(packet + record.head + 6, ttl & 0xffff);
    }
}

size_t proxy_dns_truncate(char *packet, size_t len, size_t limit)
{
    if (len <= limit)
        return len;
    struct fl_span span = fl_span_make(packet, len);
    struct proxy_dns_question question;
    struct walk walk;
    struct record record, edns = {0};
    size_t end = read_question(span, &question);
    walk_begin(&walk, span, end);
    while (walk_next(&walk, &record) == STEP_RECORD) {
        if (record.type == TYPE_OPT)
            edns = record;
    }
    /* EDNS's own data may be what is too large: then that goes as well. */
    size_t edns_size = end + (edns.end - edns.begin) <= limit ? edns.end - edns.begin : 0;
    unsigned kept = 0;
    walk_begin(&walk, span, end);
    while (walk_next(&walk, &record) == STEP_RECORD && record.section == ANSWER && record.end + edns_size <= limit) {
        end = record.end;
        kept++;
    }
    if (edns_size > 0)
        memmove(packet + end, packet + edns.begin, edns_size);
    packet[2] = (char)(byte_at(span, 2) | TC);
    put_u16(packet + 6, kept);
    put_u16(packet + 8, 0);
    put_u16(packet + 10, edns_size > 0);
    return end + edns_size;
}

size_t proxy_dns_error_print(struct fl_span packet, enum proxy_dns_rcode rcode, char out[PROXY_DNS_ERROR_MAX])
{
    struct proxy_dns_question question;
    size_t end = u16_at(packet, 4) == 1 ? read_question(packet, &question) : 0;
    size_t len = end != 0 ? end : PROXY_DNS_HEADER_SIZE;
    memcpy(out, packet.data, len);
    out[2] = (char)(QR | (byte_at(packet, 2) & (OPCODE | RD)));
    out[3] = (char)(RA | (byte_at(packet, 3) & CD) | (unsigned)rcode);
    memset(out + 4, 0, PROXY_DNS_HEADER_SIZE - 4);
    out[5] = end != 0;
    return len;
}
