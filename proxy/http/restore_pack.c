/* HTTP/1 to the shared connection: what of a message its HTTP/2 form does not say, as one field. */
#include "proxy/http/h1_field.h"
#include "proxy/http/restore_inner.h"

/* --- the value -------------------------------------------------------------------------------------------------------
 */

struct packer {
    char *at, *end;
    bool full;
};

static void put(struct packer *packer, struct fl_span text)
{
    packer->full |= text.len > (size_t)(packer->end - packer->at);
    if (packer->full)
        return;
    memcpy(packer->at, text.data, text.len);
    packer->at += text.len;
}

static void put_octet(struct packer *packer, char octet)
{
    put(packer, fl_span_make(&octet, 1));
}

static void put_number(struct packer *packer, uint64_t number, unsigned base)
{
    static const char digits[] = "0123456789abcdef";
    char text[20];
    size_t at = sizeof(text);
    do {
        text[--at] = digits[number % base];
        number /= base;
    } while (number > 0);
    put(packer, fl_span_make(text + at, sizeof(text) - at));
}

/* An item that does not fit is left out whole; those after it may still fit. */
static char *begin_item(struct packer *packer, char kind)
{
    char *before = packer->at;
    put_octet(packer, ',');
    put_octet(packer, kind);
    return before;
}

static void end_item(struct packer *packer, char *before)
{
    if (packer->full)
        packer->at = before;
    packer->full = false;
}

static void put_item(struct packer *packer, char kind)
{
    end_item(packer, begin_item(packer, kind));
}

static void put_place(struct packer *packer, char kind, size_t place)
{
    char *before = begin_item(packer, kind);
    put_number(packer, place, 10);
    end_item(packer, before);
}

static void put_reason(struct packer *packer, struct fl_span reason)
{
    char *before = begin_item(packer, 'r');
    for (size_t i = 0; i < reason.len; i++) {
        uint8_t octet = (uint8_t)reason.data[i];
        if (octet > 0x20 && octet < 0x7f && octet != '%') {
            put_octet(packer, reason.data[i]);
            continue;
        }
        put_octet(packer, '%');
        put_number(packer, octet >> 4, 16);
        put_number(packer, octet & 15, 16);
    }
    end_item(packer, before);
}

/* --- spelling --------------------------------------------------------------------------------------------------------
 */

#define NOT_LOWER       1u
#define NOT_CAPITALISED 2u

/* A set of NOT_…; 0: a name without letters. */
static uint8_t spelling_of(const struct proxy_header *field)
{
    struct fl_span name = field->name;
    if (field->id != PROXY_HEADER_OTHER && memcmp(name.data, restore_capitalised[field->id], name.len) == 0)
        return NOT_LOWER;
    uint8_t spelling = 0;
    char before = '-';
    for (size_t i = 0; i < name.len; before = name.data[i++]) {
        char octet = name.data[i];
        if (restore_is_upper(octet))
            spelling |= before == '-' ? NOT_LOWER : NOT_LOWER | NOT_CAPITALISED;
        else if (restore_is_lower(octet) && before == '-')
            spelling |= NOT_CAPITALISED;
    }
    return spelling;
}

static void put_name(struct packer *packer, size_t place, struct fl_span name)
{
    uint64_t mask = 0;
    if (name.len > PROXY_RESTORE_NAME_MAX)
        return;
    for (size_t i = 0; i < name.len; i++)
        mask |= restore_is_upper(name.data[i]) ? UINT64_C(1) << i : 0;
    char *before = begin_item(packer, 'n');
    put_number(packer, place, 10);
    put_octet(packer, 'x');
    put_number(packer, mask, 16);
    end_item(packer, before);
}

/* The fields that are passed on, by place. */
struct passed {
    size_t count, not_lower, not_capitalised;
    uint8_t index[PROXY_HEADERS_MAX], spelling[PROXY_HEADERS_MAX];
};

static void pass(struct passed *passed, const struct proxy_headers *headers, size_t index)
{
    uint8_t spelling = spelling_of(&headers->list[index]);
    passed->not_lower += (spelling & NOT_LOWER) != 0;
    passed->not_capitalised += (spelling & NOT_CAPITALISED) != 0;
    passed->spelling[passed->count] = spelling;
    passed->index[passed->count++] = (uint8_t)index;
}

static bool is_mostly_lower(const struct passed *passed)
{
    return passed->not_lower <= passed->not_capitalised;
}

static void put_names(struct packer *packer, const struct passed *passed, const struct proxy_headers *headers)
{
    uint8_t wrong = is_mostly_lower(passed) ? NOT_LOWER : NOT_CAPITALISED;
    for (size_t i = 0; i < passed->count; i++) {
        if ((passed->spelling[i] & wrong) != 0)
            put_name(packer, i, headers->list[passed->index[i]].name);
    }
}

/* --- heads -----------------------------------------------------------------------------------------------------------
 */

/* As the HTTP/1 writer passes fields on (h1_write.c), and the HTTP/2 encoder what it can. */
static bool is_passed(const struct proxy_message *message, const struct proxy_header *field)
{
    enum proxy_header_id id = (enum proxy_header_id)field->id;
    bool first = field == proxy_headers_get(&message->headers, id);
    switch ((int)id) {
    case PROXY_HEADER_CONTENT_LENGTH:
    case PROXY_HEADER_HOST:
        return first;
    case PROXY_HEADER_TRANSFER_ENCODING:
        return first && message->framing == PROXY_FRAMING_CHUNKED;
    case PROXY_HEADER_UPGRADE:
        return first && message->upgrade;
    case PROXY_HEADER_TE:
        return first && message->te_trailers && message->status == 0;
    default:
        break;
    }
    enum proxy_header_kind kind = proxy_header_kind(id);
    return kind == PROXY_HEADER_KIND_END ||
           (kind == PROXY_HEADER_KIND_FREE &&
            !(message->connection_options && proxy_h1_connection_lists(&message->headers, field->name)));
}

/* What the encoders of the two versions would not agree on is taken out here. */
static void drop_lengths(struct proxy_message *message)
{
    bool request = message->status == 0;
    bool open = message->framing == PROXY_FRAMING_CHUNKED || message->framing == PROXY_FRAMING_CLOSE;
    bool bare = message->upgrade || (!request && (message->status < 200 || message->status == 204));
    bool length = request ? message->framing == PROXY_FRAMING_LENGTH && !bare : !open && !bare;
    if (!length && message->headers.first[PROXY_HEADER_CONTENT_LENGTH] != 0)
        proxy_headers_remove(&message->headers, FL_SPAN("content-length"));
    if (!open && message->headers.first[PROXY_HEADER_TRAILER] != 0)
        proxy_headers_remove(&message->headers, FL_SPAN("trailer"));
}

static void look(const struct proxy_message *message, struct passed *ret_passed)
{
    const struct proxy_headers *headers = &message->headers;
    bool quick = !message->connection_options;
    ret_passed->count = ret_passed->not_lower = ret_passed->not_capitalised = 0;
    for (size_t i = 0; i < headers->count; i++) {
        const struct proxy_header *field = &headers->list[i];
        if (!field->removed && ((field->id == PROXY_HEADER_OTHER && quick) || is_passed(message, field)))
            pass(ret_passed, headers, i);
    }
}

/* Those that HTTP/2 tells elsewhere. */
static void put_places(struct packer *packer, const struct passed *passed, const struct proxy_message *message)
{
    const struct proxy_headers *headers = &message->headers;
    bool request = message->status == 0, upgrade = false;
    if (request && headers->first[PROXY_HEADER_HOST] == 0)
        put(packer, FL_SPAN(",h-"));
    for (size_t i = 0; i < passed->count; i++) {
        enum proxy_header_id id = (enum proxy_header_id)headers->list[passed->index[i]].id;
        if (id == PROXY_HEADER_HOST && request && i > 0)
            put_place(packer, 'h', i);
        else if (id == PROXY_HEADER_TRANSFER_ENCODING)
            put_place(packer, 'e', i);
        else if (id == PROXY_HEADER_TE)
            put_place(packer, 't', i);
        else if (id == PROXY_HEADER_UPGRADE)
            put_place(packer, 'u', i);
        upgrade |= id == PROXY_HEADER_UPGRADE;
    }
    if (message->status == 101 && !upgrade) /* of a server that forgot to say to what */
        put_place(packer, 'u', passed->count);
}

static bool is_within(struct fl_span part, struct fl_span whole)
{
    return part.data >= whole.data && part.data + part.len <= whole.data + whole.len;
}

static void put_start(struct packer *packer, const struct proxy_message *message)
{
    if (message->framing == PROXY_FRAMING_CLOSE && message->status != 0)
        put_item(packer, 'z');
    else if (message->keep_alive != (message->minor == 1))
        put_item(packer, 'c');
    if (message->status == 0 && message->target_form == PROXY_TARGET_ABSOLUTE)
        put_item(packer, message->rewritten || is_within(message->path, message->target) ? 'a' : 'A');
}

static void drop_theirs(struct proxy_headers *headers)
{
    if (headers->first[PROXY_HEADER_FAIRLEAD_HTTP] != 0)
        proxy_headers_remove(headers, RESTORE_FIELD);
}

static void add_ours(struct proxy_headers *headers, const struct packer *packer, const char *room)
{
    (void)!proxy_headers_add(headers, RESTORE_FIELD, fl_span_make(room, (size_t)(packer->at - room)));
}

static void pack(struct proxy_message *message, char *room)
{
    struct packer packer = {.at = room, .end = room + PROXY_RESTORE_VALUE_MAX};
    struct passed passed;
    drop_theirs(&message->headers);
    if (message->major != 1)
        return;
    drop_lengths(message);
    look(message, &passed);
    put_octet(&packer, message->minor == 0 ? '0' : '1');
    put_octet(&packer, is_mostly_lower(&passed) ? 'l' : 't');
    put_places(&packer, &passed, message);
    put_start(&packer, message);
    put_names(&packer, &passed, &message->headers);
    if (message->status != 0 && !fl_span_eq_str(message->reason, proxy_status_reason(message->status)))
        put_reason(&packer, message->reason);
    add_ours(&message->headers, &packer, room);
}

void proxy_restore_pack_request(struct proxy_message *request, char *room)
{
    pack(request, room);
}

void proxy_restore_pack_response(struct proxy_message *response, char *room)
{
    pack(response, room);
}

static bool is_trailer(const struct proxy_header *field)
{
    enum proxy_header_id id = (enum proxy_header_id)field->id;
    return !field->removed && proxy_header_kind(id) != PROXY_HEADER_KIND_HOP && id != PROXY_HEADER_CONTENT_LENGTH &&
           id != PROXY_HEADER_TRANSFER_ENCODING && id != PROXY_HEADER_HOST;
}

void proxy_restore_pack_trailers(struct proxy_headers *trailers, char *room)
{
    struct packer packer = {.at = room, .end = room + PROXY_RESTORE_VALUE_MAX};
    struct passed passed = {.count = 0};
    drop_theirs(trailers);
    for (size_t i = 0; i < trailers->count; i++) {
        if (is_trailer(&trailers->list[i]))
            pass(&passed, trailers, i);
    }
    if (passed.not_lower == 0)
        return;
    put_octet(&packer, is_mostly_lower(&passed) ? 'l' : 't');
    put_names(&packer, &passed, trailers);
    add_ours(trailers, &packer, room);
}
