/* From the shared connection to HTTP/1: the message as it was. */
#include "proxy/http/h1_field.h"
#include "proxy/http/restore_inner.h"

#include <errno.h>

/* The well-known names as most HTTP/1 programs write them. */
const char *const restore_capitalised[PROXY_HEADER_IDS] = {
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
    return restore_is_upper(octet) ? (char)(octet | 0x20) : octet;
}

static char upper(char octet)
{
    return restore_is_lower(octet) ? (char)(octet & ~0x20) : octet;
}

static void capitalise(struct unpacker *unpacker, struct proxy_headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        struct proxy_header *field = &headers->list[i];
        if (field->id != PROXY_HEADER_OTHER) {
            field->name.data = restore_capitalised[field->id];
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

/* Pack says it once, and of answers only what they have: twice would be two fields. */
static bool may_place(const struct proxy_message *message, char kind)
{
    enum proxy_header_id id = kind == 'h'   ? PROXY_HEADER_HOST
                              : kind == 'e' ? PROXY_HEADER_TRANSFER_ENCODING
                              : kind == 't' ? PROXY_HEADER_TE
                                            : PROXY_HEADER_UPGRADE;
    return message->headers.first[id] == 0 && (message->status == 0 || kind == 'e' || kind == 'u');
}

/* A field goes to its place; they come in the order of their places. */
static bool place_one(struct unpacker *unpacker, struct proxy_message *message, struct movers *movers)
{
    struct proxy_headers *headers = &message->headers;
    char kind = unpacker->rest.data[0];
    uint64_t place;
    unpacker->rest = fl_span_from(unpacker->rest, 1);
    if (!take_number(unpacker, 10, 3, &place) || !may_place(message, kind))
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
    proxy_headers_remove(&message->headers, RESTORE_FIELD);
    if (value.len > PROXY_RESTORE_VALUE_MAX || !take_number(&unpacker, 2, 1, &minor) || !take_case(&unpacker))
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
    proxy_headers_remove(trailers, RESTORE_FIELD);
    if (value.len > PROXY_RESTORE_VALUE_MAX || !take_case(&unpacker))
        return -EPROTO;
    if (unpacker.capitalised)
        capitalise(&unpacker, trailers);
    while (take_octet(&unpacker, ',')) {
        if (!take_octet(&unpacker, 'n') || !respell(&unpacker, trailers))
            return -EPROTO;
    }
    return unpacker.rest.len == 0 ? 0 : -EPROTO;
}
