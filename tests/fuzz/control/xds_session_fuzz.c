/* One ADS stream fed with whatever a client may send: u8 form, then pieces of u8 what, u16 length, bytes. A piece is a
 * request message, or a change of the world. The promise: no response while one of its type is under way, no resource
 * sent twice at one version without being asked for, and memory comes back. */
#include "control/xds/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

struct world {
    unsigned present, changed; /* bits of "a" to "h" */
};

static int get(void *owner, enum fl_resource_type type, struct fl_span name, struct control_resource **ret_resource)
{
    const struct world *world = owner;
    *ret_resource = NULL;
    unsigned bit = name.len == 1 && name.data[0] >= 'a' && name.data[0] <= 'h' ? 1u << (name.data[0] - 'a') : 0;
    if ((world->present & bit) == 0)
        return 0;
    char content = (world->changed & bit) != 0 ? '2' : '1';
    return control_resource_new(type, name, fl_span_make(&content, 1), 0, ret_resource);
}

static int each(void *owner, enum fl_resource_type type, enum control_group group,
                int (*visit)(void *visitor, struct fl_span name), void *visitor)
{
    const struct world *world = owner;
    int result = 0;
    (void)type;
    for (unsigned i = 0; i < 8 && result == 0; i++)
        if ((world->present & 1u << i) != 0 && (group == CONTROL_GROUP_EVERYTHING || i % 2 == 0))
            result = visit(visitor, fl_span_make(&"abcdefgh"[i], 1));
    return result;
}

static void drain(struct control_session *session, enum control_session_form form,
                  const struct control_session_source *source)
{
    struct control_response response;
    unsigned seen = 0;
    control_response_init(&response);
    while (control_session_next(session, source, &response) == 1) {
        struct fl_arena arena;
        struct fl_span bytes;
        check((seen & 1u << response.type) == 0); /* one under way */
        seen |= 1u << response.type;
        fl_arena_init(&arena, CONTROL_MESSAGE_ARENA_MAX);
        check(control_message_print(form, &response, "fuzz", &arena, &bytes) == 0 && bytes.len > 0);
        fl_arena_done(&arena);
    }
    control_response_done(&response);
}

static bool take(struct control_session *session, enum control_session_form form, struct fl_span bytes)
{
    struct control_message message;
    struct fl_arena arena;
    struct fl_err err;
    fl_arena_init(&arena, CONTROL_MESSAGE_ARENA_MAX);
    int result = control_message_read(form, bytes, &arena, &message, &err);
    if (result == 0 && !message.unknown_type)
        result = control_session_request(session, &message.request, &err);
    fl_arena_done(&arena);
    return result >= 0;
}

static void change(struct control_session *session, struct world *world, uint8_t what, struct fl_span bytes)
{
    world->present ^= bytes.len > 0 ? (uint8_t)bytes.data[0] : 1u;
    world->changed ^= bytes.len > 1 ? (uint8_t)bytes.data[1] : 2u;
    if (what % 2 == 0)
        control_session_touch_type(session, what % FL_RESOURCE_TYPES);
    else
        for (size_t i = 0; i < 8; i++)
            control_session_touch(session, what % FL_RESOURCE_TYPES, fl_span_make(&"abcdefgh"[i], 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct control_session *session;
    struct world world = {.present = 0x0f};
    const struct control_session_source source = {get, each, &world};
    if (size == 0)
        return 0;
    enum control_session_form form = data[0] % 2;
    check(control_session_new(form, &session) == 0);
    data++, size--;
    bool alive = true;
    while (alive && size >= 3) {
        uint8_t what = data[0];
        size_t len = (size_t)data[1] << 8 | data[2];
        data += 3, size -= 3;
        len = len < size ? len : size;
        if (what >= 128)
            change(session, &world, what, fl_span_make(data, len));
        else
            alive = take(session, form, fl_span_make(data, len));
        if (alive && what % 4 != 3)
            drain(session, form, &source);
        data += len, size -= len;
    }
    control_session_free(session);
    return 0;
}
