#include "proxy/http/restore.h"

#include "proxy/http/h1_field.h"

#include <errno.h>

#define FIELD    FL_SPAN(PROXY_RESTORE_FIELD)
#define ANY_NAME ((struct fl_span){NULL, 0})

/* --- pack: the value -------------------------------------------------------------------------------------------- */

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

/* --- pack: spelling --------------------------------------------------------------------------------------------- */

#define NOT_LOWER       1u
#define NOT_CAPITALISED 2u

static bool is_upper(char octet)
{
    return octet >= 'A' && octet <= 'Z';
}

static bool is_lower(char octet)
{
    return octet >= 'a' && octet <= 'z';
}

/* The well-known names as most HTTP/1 programs write them. */
static const char *const capitalised[PROXY_HEADER_IDS] = {
    [PROXY_HEADER_HOST] = "Host",
    [PROXY_HEADER_CONTENT_LENGTH] = "Content-Length",
    [PROXY_HEADER_TRANSFER_ENCODING] = "Transfer-Encoding",
    [PROXY_HEADER_CONNECTION] = "Connection",
    [PROXY_HEADER_KEEP_ALIVE] = "Keep-Alive",
    [PROXY_HEADER_PROXY_CONNECTION] = "Proxy-Connection",
    [PROXY_HEADER_HTTP2_SETTINGS] = "Http2-Settings",
    [PROXY_HEADER_TE] = "Te",
    [PROXY_HEADER_UPGRADE] = "Upgrade",
    [PROXY_HEADER_TRAILER] = "Trailer",
    [PROXY_HEADER_EXPECT] = "Expect",
    [PROXY_HEADER_PROXY_AUTHENTICATE] = "Proxy-Authenticate",
    [PROXY_HEADER_PROXY_AUTHORIZATION] = "Proxy-Authorization",
    [PROXY_HEADER_ACCEPT] = "Accept",
    [PROXY_HEADER_AUTHORIZATION] = "Authorization",
    [PROXY_HEADER_CACHE_CONTROL] = "Cache-Control",
    [PROXY_HEADER_CONTENT_ENCODING] = "Content-Encoding",
    [PROXY_HEADER_CONTENT_RANGE] = "Content-Range",
    [PROXY_HEADER_CONTENT_TYPE] = "Content-Type",
    [PROXY_HEADER_COOKIE] = "Cookie",
    [PROXY_HEADER_SET_COOKIE] = "Set-Cookie",
    [PROXY_HEADER_DATE] = "Date",
    [PROXY_HEADER_SERVER] = "Server",
    [PROXY_HEADER_LOCATION] = "Location",
    [PROXY_HEADER_VIA] = "Via",
    [PROXY_HEADER_FORWARDED] = "Forwarded",
    [PROXY_HEADER_USER_AGENT] = "User-Agent",
    [PROXY_HEADER_GRPC_STATUS] = "Grpc-Status",
    [PROXY_HEADER_GRPC_MESSAGE] = "Grpc-Message",
    [PROXY_HEADER_TRACEPARENT] = "Traceparent",
    [PROXY_HEADER_TRACESTATE] = "Tracestate",
    [PROXY_HEADER_B3] = "B3",
    [PROXY_HEADER_X_REQUEST_ID] = "X-Request-Id",
    [PROXY_HEADER_X_FORWARDED_FOR] = "X-Forwarded-For",
    [PROXY_HEADER_X_FORWARDED_HOST] = "X-Forwarded-Host",
    [PROXY_HEADER_X_FORWARDED_PROTO] = "X-Forwarded-Proto",
    [PROXY_HEADER_X_FORWARDED_CLIENT_CERT] = "X-Forwarded-Client-Cert",
    [PROXY_HEADER_FAIRLEAD_HTTP] = "Fairlead-Http",
};

/* A set of NOT_…; 0: a name without letters. */
static uint8_t spelling_of(const struct proxy_header *field)
{
    struct fl_span name = field->name;
    if (field->id != PROXY_HEADER_OTHER && memcmp(name.data, capitalised[field->id], name.len) == 0)
        return NOT_LOWER;
    uint8_t spelling = 0;
    char before = '-';
    for (size_t i = 0; i < name.len; before = name.data[i++]) {
        char octet = name.data[i];
        if (is_upper(octet))
            spelling |= before == '-' ? NOT_LOWER : NOT_LOWER | NOT_CAPITALISED;
        else if (is_lower(octet) && before == '-')
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
        mask |= is_upper(name.data[i]) ? UINT64_C(1) << i : 0;
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

/* --- pack: heads ------------------------------------------------------------------------------------------------ */

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
        proxy_headers_remove(headers, FIELD);
}

static void add_ours(struct proxy_headers *headers, const struct packer *packer, const char *room)
{
    (void)!proxy_headers_add(headers, FIELD, fl_span_make(room, (size_t)(packer->at - room)));
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

/* --- unpack ----------------------------------------------------------------------------------------------------- */

static bool is_place(struct fl_span item)
{
    return item.len > 0 && (item.data[0] == 'h' || item.data[0] == 'e' || item.data[0] == 't' || item.data[0] == 'u');
}

bool proxy_restore_is_upgrade(const struct proxy_headers *answer)
{
    struct fl_span rest = proxy_headers_value(answer, PROXY_HEADER_FAIRLEAD_HTTP), item;
    if (answer->first[PROXY_HEADER_FAIRLEAD_HTTP] == 0)
        return true;
    bool places = fl_span_split(&rest, ',', &item); /* version and case stand before the first item */
    while (places && fl_span_split(&rest, ',', &item)) {
        if (item.len > 0 && item.data[0] == 'u')
            return true;
        places = is_place(item);
    }
    return false;
}

struct unpacker {
    struct fl_span rest; /* of the value */
    char *names;
    size_t room;
    bool capitalised;
};

static char *take_room(struct unpacker *unpacker, size_t len)
{
    if (len > unpacker->room)
        return NULL;
    char *taken = unpacker->names;
    unpacker->names += len;
    unpacker->room -= len;
    return taken;
}

static bool take_octet(struct unpacker *unpacker, char octet)
{
    if (unpacker->rest.len == 0 || unpacker->rest.data[0] != octet)
        return false;
    unpacker->rest = fl_span_from(unpacker->rest, 1);
    return true;
}

static int digit_of(char octet)
{
    return octet >= '0' && octet <= '9' ? octet - '0' : octet >= 'a' && octet <= 'f' ? octet - 'a' + 10 : 16;
}

/* At most `digits` of them; false where there is none. */
static bool take_number(struct unpacker *unpacker, int base, size_t digits, uint64_t *ret_number)
{
    size_t len = 0;
    uint64_t number = 0;
    while (len < unpacker->rest.len && len < digits && digit_of(unpacker->rest.data[len]) < base)
        number = number * (uint64_t)base + (uint64_t)digit_of(unpacker->rest.data[len++]);
    unpacker->rest = fl_span_from(unpacker->rest, len);
    *ret_number = number;
    return len > 0;
}

static char lower(char octet)
{
    return is_upper(octet) ? (char)(octet | 0x20) : octet;
}

static char upper(char octet)
{
    return is_lower(octet) ? (char)(octet & ~0x20) : octet;
}

static void capitalise(struct unpacker *unpacker, struct proxy_headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        struct proxy_header *field = &headers->list[i];
        if (field->id != PROXY_HEADER_OTHER) {
            field->name.data = capitalised[field->id];
            continue;
        }
        char *to = field->removed ? NULL : take_room(unpacker, field->name.len), before = '-';
        if (to == NULL)
            continue;
        for (size_t k = 0; k < field->name.len; before = field->name.data[k++])
            to[k] = before == '-' ? upper(field->name.data[k]) : field->name.data[k];
        field->name.data = to;
    }
}

static bool respell(struct unpacker *unpacker, struct proxy_headers *headers)
{
    uint64_t place, mask;
    if (!take_number(unpacker, 10, 3, &place) || !take_octet(unpacker, 'x') || !take_number(unpacker, 16, 16, &mask) ||
        place >= headers->count)
        return false;
    struct fl_span *name = &headers->list[place].name;
    char *to = name->len <= PROXY_RESTORE_NAME_MAX ? take_room(unpacker, name->len) : NULL;
    for (size_t i = 0; to != NULL && i < name->len; i++)
        to[i] = (mask >> i & 1) != 0 ? upper(name->data[i]) : lower(name->data[i]);
    if (to != NULL)
        name->data = to;
    return true;
}

/* The fields that have places of their own, and those that were removed, out of the list. */
struct movers {
    struct fl_span te, upgrade;
    bool has_te, has_upgrade;
};

static void compact(struct proxy_message *message, struct movers *ret_movers)
{
    struct proxy_headers *headers = &message->headers;
    size_t count = headers->count;
    *ret_movers = (struct movers){.has_te = false};
    proxy_headers_init(headers);
    for (size_t i = 0; i < count; i++) {
        const struct proxy_header field = headers->list[i];
        if (field.removed || (field.id == PROXY_HEADER_HOST && message->status == 0))
            continue;
        if (field.id == PROXY_HEADER_TE || field.id == PROXY_HEADER_UPGRADE) {
            bool te = field.id == PROXY_HEADER_TE;
            *(te ? &ret_movers->te : &ret_movers->upgrade) = field.value;
            *(te ? &ret_movers->has_te : &ret_movers->has_upgrade) = true;
            continue;
        }
        headers->list[headers->count++] = field;
        if (field.id != PROXY_HEADER_OTHER && headers->first[field.id] == 0)
            headers->first[field.id] = (uint8_t)headers->count;
    }
}

static int insert(struct proxy_headers *headers, size_t place, struct fl_span name, struct fl_span value)
{
    return proxy_headers_insert(headers, place < headers->count ? place : headers->count, name, value);
}

/* A field goes to its place; they come in the order of their places. */
static bool place_one(struct unpacker *unpacker, struct proxy_message *message, struct movers *movers)
{
    struct proxy_headers *headers = &message->headers;
    char kind = unpacker->rest.data[0];
    uint64_t place;
    unpacker->rest = fl_span_from(unpacker->rest, 1);
    if (!take_number(unpacker, 10, 3, &place))
        return false;
    switch (kind) {
    case 'h':
        return insert(headers, place, FL_SPAN("host"), message->authority) == 0;
    case 'e':
        return insert(headers, place, FL_SPAN("transfer-encoding"), FL_SPAN("chunked")) == 0;
    case 't':
        movers->has_te = false;
        return insert(headers, place, FL_SPAN("te"), FL_SPAN("trailers")) == 0;
    default:
        movers->has_upgrade = false;
        return insert(headers, place, FL_SPAN("upgrade"), movers->upgrade) == 0;
    }
}

/* Whether the value says where Host is; else it is the first field. */
static bool tells_host(struct fl_span value)
{
    for (size_t at = fl_span_find(value, ','); at + 1 < value.len;) {
        if (value.data[at + 1] == 'h')
            return true;
        at += 1 + fl_span_find(fl_span_from(value, at + 1), ',');
    }
    return false;
}

static bool unpack_target(struct unpacker *unpacker, struct proxy_message *message, bool has_path)
{
    struct fl_span path = has_path ? message->path : (struct fl_span){NULL, 0};
    size_t len = message->scheme.len + 3 + message->authority.len + path.len;
    char *to = take_room(unpacker, len);
    message->target_form = PROXY_TARGET_ABSOLUTE;
    if (to == NULL) {
        message->rewritten = true; /* the writer puts it together */
        return true;
    }
    message->target = fl_span_make(to, len);
    const struct fl_span parts[] = {message->scheme, FL_SPAN("://"), message->authority, path};
    for (size_t i = 0; i < FL_COUNT(parts); i++) {
        if (parts[i].len > 0)
            memcpy(to, parts[i].data, parts[i].len);
        to += parts[i].len;
    }
    return true;
}

static bool unpack_reason(struct unpacker *unpacker, struct proxy_message *message)
{
    char *to = take_room(unpacker, unpacker->rest.len), *begin = to;
    if (to == NULL) {
        unpacker->rest = fl_span_from(unpacker->rest, unpacker->rest.len);
        return true;
    }
    while (unpacker->rest.len > 0) {
        uint64_t octet = (uint8_t)unpacker->rest.data[0];
        unpacker->rest = fl_span_from(unpacker->rest, 1);
        if (octet <= 0x20 || octet >= 0x7f) /* pack escapes them */
            return false;
        if (octet == '%') {
            size_t before = unpacker->rest.len;
            if (!take_number(unpacker, 16, 2, &octet) || before - unpacker->rest.len != 2 || octet == '\r' ||
                octet == '\n' || octet == '\0')
                return false;
        }
        *to++ = (char)octet;
    }
    message->reason = fl_span_make(begin, (size_t)(to - begin));
    return true;
}

/* One item behind its comma. */
static bool unpack_item(struct unpacker *unpacker, struct proxy_message *message)
{
    bool request = message->status == 0;
    char kind = unpacker->rest.len > 0 ? unpacker->rest.data[0] : '\0';
    unpacker->rest = fl_span_from(unpacker->rest, unpacker->rest.len > 0);
    switch (kind) {
    case 'c':
        message->keep_alive = !message->keep_alive;
        return true;
    case 'z':
        message->keep_alive = false;
        if (message->framing == PROXY_FRAMING_CHUNKED)
            message->framing = PROXY_FRAMING_CLOSE;
        return !request;
    case 'a':
    case 'A':
        return request && unpack_target(unpacker, message, kind == 'a');
    case 'n':
        return respell(unpacker, &message->headers);
    case 'r':
        return !request && unpack_reason(unpacker, message);
    default:
        return false;
    }
}

static void put_back(struct proxy_message *message, const struct movers *movers)
{
    if (movers->has_te)
        (void)!proxy_headers_add(&message->headers, FL_SPAN("te"), movers->te);
    if (movers->has_upgrade)
        (void)!proxy_headers_add(&message->headers, FL_SPAN("upgrade"), movers->upgrade);
}

/* As most are: everything is where HTTP/2 has it. */
static bool is_in_place(const struct unpacker *unpacker, const struct proxy_message *message)
{
    const uint8_t *first = message->headers.first;
    return unpacker->rest.len == 0 && first[PROXY_HEADER_TE] == 0 && first[PROXY_HEADER_UPGRADE] == 0 &&
           (message->status != 0 || first[PROXY_HEADER_HOST] == 1);
}

/* Places come first among the items, then the names are spelled, then the rest. */
static int unpack_items(struct unpacker *unpacker, struct proxy_message *message)
{
    struct movers movers;
    if (is_in_place(unpacker, message)) {
        if (unpacker->capitalised)
            capitalise(unpacker, &message->headers);
        return 0;
    }
    compact(message, &movers);
    struct fl_span value = unpacker->rest;
    if (message->status == 0 && !tells_host(value) &&
        proxy_headers_insert(&message->headers, 0, FL_SPAN("host"), message->authority) < 0)
        return -EPROTO;
    for (bool more = take_octet(unpacker, ','); more; more = take_octet(unpacker, ',')) {
        struct fl_span *rest = &unpacker->rest;
        if (fl_span_starts_with(*rest, FL_SPAN("h-"))) {
            *rest = fl_span_from(*rest, 2);
        } else if (is_place(*rest)) {
            if (!place_one(unpacker, message, &movers))
                return -EPROTO;
        } else {
            *rest = fl_span_make(rest->data - 1, rest->len + 1);
            break;
        }
    }
    put_back(message, &movers);
    if (unpacker->capitalised)
        capitalise(unpacker, &message->headers);
    while (take_octet(unpacker, ',')) {
        if (!unpack_item(unpacker, message))
            return -EPROTO;
    }
    return unpacker->rest.len == 0 ? 0 : -EPROTO;
}

static bool take_case(struct unpacker *unpacker)
{
    unpacker->capitalised = take_octet(unpacker, 't');
    return unpacker->capitalised || take_octet(unpacker, 'l');
}

static int unpack(struct proxy_message *message, char *names, size_t size)
{
    struct fl_span value = proxy_headers_value(&message->headers, PROXY_HEADER_FAIRLEAD_HTTP);
    struct unpacker unpacker = {.rest = value, .names = names, .room = size};
    uint64_t minor;
    if (message->headers.first[PROXY_HEADER_FAIRLEAD_HTTP] == 0)
        return 0;
    proxy_headers_remove(&message->headers, FIELD);
    if (!take_number(&unpacker, 2, 1, &minor) || !take_case(&unpacker))
        return -EPROTO;
    message->major = 1;
    message->minor = (uint8_t)minor;
    message->keep_alive = minor == 1;
    return unpack_items(&unpacker, message);
}

int proxy_restore_unpack_request(struct proxy_message *request, char *names, size_t size)
{
    int result = unpack(request, names, size);
    if (request->major == 1 && request->target_form != PROXY_TARGET_ABSOLUTE)
        request->scheme = (struct fl_span){NULL, 0};
    return result;
}

int proxy_restore_unpack_response(struct proxy_message *response, char *names, size_t size)
{
    return unpack(response, names, size);
}

int proxy_restore_unpack_trailers(struct proxy_headers *trailers, char *names, size_t size)
{
    struct fl_span value = proxy_headers_value(trailers, PROXY_HEADER_FAIRLEAD_HTTP);
    struct unpacker unpacker = {.rest = value, .names = names, .room = size};
    if (trailers->first[PROXY_HEADER_FAIRLEAD_HTTP] == 0)
        return 0;
    proxy_headers_remove(trailers, FIELD);
    if (!take_case(&unpacker))
        return -EPROTO;
    if (unpacker.capitalised)
        capitalise(&unpacker, trailers);
    while (take_octet(&unpacker, ',')) {
        if (!take_octet(&unpacker, 'n') || !respell(&unpacker, trailers))
            return -EPROTO;
    }
    return unpacker.rest.len == 0 ? 0 : -EPROTO;
}
