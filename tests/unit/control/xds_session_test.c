#include "control/xds/session.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#define LDS FL_RESOURCE_LISTENER
#define RDS FL_RESOURCE_ROUTES
#define CDS FL_RESOURCE_CLUSTER
#define EDS FL_RESOURCE_ENDPOINTS

#define WORLD_MAX 16

/* A world of resources: what there is, and who is in which group. */
struct world {
    struct {
        enum fl_resource_type type;
        const char *name, *content;
        bool own; /* a member of "outbound|*" */
    } items[WORLD_MAX];
    size_t count;
};

static int world_get(void *owner, enum fl_resource_type type, struct fl_span name,
                     struct control_resource **ret_resource)
{
    struct world *world = owner;
    *ret_resource = NULL;
    for (size_t i = 0; i < world->count; i++)
        if (world->items[i].type == type && fl_span_eq_str(name, world->items[i].name))
            return control_resource_new(type, name, fl_span_str(world->items[i].content), 0, ret_resource);
    return 0;
}

static int world_each(void *owner, enum fl_resource_type type, enum control_group group,
                      int (*visit)(void *visitor, struct fl_span name), void *visitor)
{
    struct world *world = owner;
    int result = 0;
    for (size_t i = 0; i < world->count && result == 0; i++)
        if (world->items[i].type == type && (group == CONTROL_GROUP_EVERYTHING || world->items[i].own))
            result = visit(visitor, fl_span_str(world->items[i].name));
    return result;
}

static void put(struct world *world, enum fl_resource_type type, const char *name, const char *content, bool own)
{
    for (size_t i = 0; i < world->count; i++)
        if (world->items[i].type == type && strcmp(world->items[i].name, name) == 0) {
            world->items[i].content = content;
            return;
        }
    world->items[world->count].type = type;
    world->items[world->count].name = name;
    world->items[world->count].content = content;
    world->items[world->count++].own = own;
}

static void drop(struct world *world, enum fl_resource_type type, const char *name)
{
    for (size_t i = 0; i < world->count; i++)
        if (world->items[i].type == type && strcmp(world->items[i].name, name) == 0) {
            world->items[i] = world->items[--world->count];
            return;
        }
}

struct fixture {
    struct world world;
    struct control_session *session;
    struct control_session_source source;
    struct control_response response;
    char text[512]; /* the responses, as "CDS a=1 b=2 -c" */
};

static void begin(struct fixture *fixture, enum control_session_form form)
{
    *fixture = (struct fixture){0};
    assert_int_equal(control_session_new(form, &fixture->session), 0);
    fixture->source = (struct control_session_source){world_get, world_each, &fixture->world};
    control_response_init(&fixture->response);
}

static void end(struct fixture *fixture)
{
    control_response_done(&fixture->response);
    control_session_free(fixture->session);
}

static const char *print(struct fixture *fixture)
{
    const struct control_response *response = &fixture->response;
    int len = snprintf(fixture->text, sizeof(fixture->text), "%s", fl_resource_type_word(response->type));
    for (size_t i = 0; i < response->count; i++)
        len += snprintf(fixture->text + len, sizeof(fixture->text) - (size_t)len, " %.*s=%.*s",
                        FL_SPAN_ARG(response->resources[i]->name), FL_SPAN_ARG(response->resources[i]->bytes));
    for (size_t i = 0; i < response->removed_count; i++)
        len += snprintf(fixture->text + len, sizeof(fixture->text) - (size_t)len, " -%.*s",
                        FL_SPAN_ARG(response->removed[i]));
    return fixture->text;
}

/* The next response in words; "" where there is none. */
static const char *next(struct fixture *fixture)
{
    int result = control_session_next(fixture->session, &fixture->source, &fixture->response);
    assert_true(result >= 0);
    return result == 1 ? print(fixture) : "";
}

static struct fl_span spans[2][8];

/* "a b c" → spans */
static size_t split(const char *text, struct fl_span *to)
{
    size_t count = 0;
    struct fl_span rest = fl_span_str(text), part;
    while (text[0] != '\0' && fl_span_split(&rest, ' ', &part))
        to[count++] = part;
    return count;
}

static int ask(struct fixture *fixture, enum fl_resource_type type, const char *names, const char *unsubscribe,
               const char *nonce)
{
    struct fl_err err;
    struct control_ask request = {.type = type, .nonce = fl_span_str(nonce)};
    request.name_count = split(names, spans[0]);
    request.names = spans[0];
    request.unsubscribe_count = split(unsubscribe, spans[1]);
    request.unsubscribe = spans[1];
    return control_session_request(fixture->session, &request, &err);
}

static int acknowledge(struct fixture *fixture)
{
    return ask(fixture, fixture->response.type, "", "", fixture->response.nonce);
}

static int refuse(struct fixture *fixture, const char *reason)
{
    struct fl_err err;
    struct control_ask request = {
        .type = fixture->response.type,
        .nonce = fl_span_str(fixture->response.nonce),
        .refused = true,
        .reason = fl_span_str(reason),
    };
    return control_session_request(fixture->session, &request, &err);
}

static void touch(struct fixture *fixture, enum fl_resource_type type, const char *name)
{
    control_session_touch(fixture->session, type, fl_span_str(name));
}

static void delta_wildcard(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, CONTROL_SESSION_DELTA);
    put(&fixture.world, CDS, "a", "1", false);
    put(&fixture.world, CDS, "b", "1", false);
    assert_string_equal(next(&fixture), "");
    assert_int_equal(ask(&fixture, CDS, "", "", ""), CONTROL_SESSION_TAKEN);
    assert_string_equal(next(&fixture), "CDS a=1 b=1");
    put(&fixture.world, CDS, "b", "2", false);
    put(&fixture.world, CDS, "c", "1", false);
    touch(&fixture, CDS, "b");
    touch(&fixture, CDS, "c");
    assert_string_equal(next(&fixture), ""); /* one is under way */
    assert_int_equal(acknowledge(&fixture), CONTROL_SESSION_ACKED);
    assert_string_equal(next(&fixture), "CDS b=2 c=1");
    assert_int_equal(acknowledge(&fixture), CONTROL_SESSION_ACKED);
    touch(&fixture, CDS, "a"); /* it did not change after all */
    assert_string_equal(next(&fixture), "");
    drop(&fixture.world, CDS, "a");
    touch(&fixture, CDS, "a");
    assert_string_equal(next(&fixture), "CDS -a");
    end(&fixture);
}

static void delta_by_name(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, CONTROL_SESSION_DELTA);
    put(&fixture.world, EDS, "a", "1", false);
    put(&fixture.world, EDS, "b", "1", false);
    assert_int_equal(ask(&fixture, EDS, "a gone", "", ""), 0);
    assert_string_equal(next(&fixture), "EDS a=1 -gone"); /* what is not there is said so */
    assert_int_equal(acknowledge(&fixture), CONTROL_SESSION_ACKED);
    put(&fixture.world, EDS, "gone", "1", false);
    touch(&fixture, EDS, "gone");
    touch(&fixture, EDS, "b"); /* nobody asked for it */
    assert_string_equal(next(&fixture), "EDS gone=1");
    assert_int_equal(acknowledge(&fixture), CONTROL_SESSION_ACKED);
    assert_int_equal(ask(&fixture, EDS, "a", "gone", ""), 0); /* asked again: told again */
    assert_string_equal(next(&fixture), "EDS a=1");
    touch(&fixture, EDS, "gone");
    assert_int_equal(acknowledge(&fixture), CONTROL_SESSION_ACKED);
    assert_string_equal(next(&fixture), "");
    end(&fixture);
}

static void an_answer_is_owed_also_where_there_is_nothing(void **state)
{
    (void)state;
    for (enum control_session_form form = CONTROL_SESSION_DELTA; form <= CONTROL_SESSION_STATE_OF_THE_WORLD; form++) {
        struct fixture fixture;
        begin(&fixture, form);
        assert_int_equal(ask(&fixture, CDS, "", "", ""), 0);
        assert_int_equal(ask(&fixture, EDS, "", "", ""), 0);
        assert_string_equal(next(&fixture), "CDS");
        assert_string_equal(next(&fixture), "EDS");
        assert_string_equal(next(&fixture), "");
        end(&fixture);
    }
}

static void reconnecting_costs_the_differences(void **state)
{
    (void)state;
    struct fixture fixture;
    struct control_resource *resource;
    struct fl_err err;
    char same[CONTROL_VERSION_TEXT];
    begin(&fixture, CONTROL_SESSION_DELTA);
    put(&fixture.world, CDS, "same", "1", false);
    put(&fixture.world, CDS, "changed", "2", false);
    put(&fixture.world, CDS, "new", "1", false);
    assert_int_equal(world_get(&fixture.world, CDS, FL_SPAN("same"), &resource), 0);
    control_version_print(resource->version, same);
    control_resource_unref(resource);
    struct fl_span names[] = {FL_SPAN("same"), FL_SPAN("changed"), FL_SPAN("gone")};
    struct fl_span versions[] = {fl_span_str(same), FL_SPAN("0000000000000007"), FL_SPAN("not ours")};
    struct control_ask request = {.type = CDS, .known_names = names, .known_versions = versions, .known_count = 3};
    assert_int_equal(control_session_request(fixture.session, &request, &err), 0);
    assert_string_equal(next(&fixture), "CDS changed=2 new=1 -gone");
    end(&fixture);

    begin(&fixture, CONTROL_SESSION_DELTA);
    put(&fixture.world, EDS, "same", "1", false);
    assert_int_equal(world_get(&fixture.world, EDS, FL_SPAN("same"), &resource), 0);
    control_version_print(resource->version, same);
    control_resource_unref(resource);
    request = (struct control_ask){.type = EDS,
                                   .names = names,
                                   .name_count = 2,
                                   .known_names = names,
                                   .known_versions = versions,
                                   .known_count = 3};
    assert_int_equal(control_session_request(fixture.session, &request, &err), 0);
    assert_string_equal(next(&fixture), "EDS -changed"); /* "gone" it does not ask for */
    end(&fixture);
}

static void own_namespace(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, CONTROL_SESSION_DELTA);
    put(&fixture.world, LDS, "virtualOutbound", "1", false);
    put(&fixture.world, LDS, "outbound|10.0.0.1:80", "1", true);
    put(&fixture.world, LDS, "outbound|10.0.0.2:80", "1", false);
    assert_int_equal(ask(&fixture, LDS, "virtualOutbound outbound|*", "", ""), 0);
    assert_string_equal(next(&fixture), "LDS virtualOutbound=1 outbound|10.0.0.1:80=1");
    assert_int_equal(acknowledge(&fixture), CONTROL_SESSION_ACKED);
    put(&fixture.world, LDS, "outbound|10.0.0.3:80", "1", true);
    touch(&fixture, LDS, "outbound|10.0.0.3:80");
    assert_string_equal(next(&fixture), "LDS outbound|10.0.0.3:80=1");
    assert_int_equal(acknowledge(&fixture), CONTROL_SESSION_ACKED);
    /* It leaves the namespace, and there is another answer by its name: who did not ask for it loses it. */
    fixture.world.items[1].own = false;
    touch(&fixture, LDS, "outbound|10.0.0.1:80");
    assert_string_equal(next(&fixture), "LDS -outbound|10.0.0.1:80");
    assert_int_equal(acknowledge(&fixture), CONTROL_SESSION_ACKED);
    assert_int_equal(ask(&fixture, LDS, "", "outbound|*", ""), 0);
    touch(&fixture, LDS, "outbound|10.0.0.3:80");
    assert_string_equal(next(&fixture), "");
    end(&fixture);
}

static void make_before_break(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, CONTROL_SESSION_DELTA);
    put(&fixture.world, CDS, "old", "1", false);
    put(&fixture.world, RDS, "r", "old", false);
    ask(&fixture, RDS, "r", "", "");
    ask(&fixture, CDS, "", "", "");
    assert_string_equal(next(&fixture), "CDS old=1");
    acknowledge(&fixture);
    assert_string_equal(next(&fixture), "RDS r=old");
    acknowledge(&fixture);
    /* The route moves from an old cluster to a new one, in one change. */
    drop(&fixture.world, CDS, "old");
    put(&fixture.world, CDS, "new", "1", false);
    put(&fixture.world, RDS, "r", "new", false);
    touch(&fixture, RDS, "r");
    touch(&fixture, CDS, "old");
    touch(&fixture, CDS, "new");
    assert_string_equal(next(&fixture), "CDS new=1");
    char nonce[CONTROL_VERSION_TEXT];
    memcpy(nonce, fixture.response.nonce, sizeof(nonce));
    assert_string_equal(next(&fixture), "RDS r=new");
    char route_nonce[CONTROL_VERSION_TEXT];
    memcpy(route_nonce, fixture.response.nonce, sizeof(route_nonce));
    assert_string_equal(next(&fixture), "");
    ask(&fixture, CDS, "", "", nonce);
    assert_string_equal(next(&fixture), ""); /* the old one stays until the route is acknowledged */
    ask(&fixture, RDS, "", "", route_nonce);
    assert_string_equal(next(&fixture), "CDS -old");
    end(&fixture);
}

static void what_comes_back_while_it_leaves_stays(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, CONTROL_SESSION_DELTA);
    put(&fixture.world, CDS, "a", "1", false);
    ask(&fixture, CDS, "", "", "");
    ask(&fixture, RDS, "r", "", "");
    assert_string_equal(next(&fixture), "CDS a=1");
    acknowledge(&fixture);
    assert_string_equal(next(&fixture), "RDS -r");
    drop(&fixture.world, CDS, "a");
    touch(&fixture, CDS, "a");
    assert_string_equal(next(&fixture), "");
    put(&fixture.world, CDS, "a", "1", false);
    touch(&fixture, CDS, "a");
    acknowledge(&fixture);
    assert_string_equal(next(&fixture), "");
    end(&fixture);
}

static void refusals(void **state)
{
    (void)state;
    struct fixture fixture;
    struct control_session_status status;
    begin(&fixture, CONTROL_SESSION_DELTA);
    put(&fixture.world, CDS, "a", "bad", false);
    ask(&fixture, CDS, "", "", "");
    next(&fixture);
    assert_int_equal(refuse(&fixture, "a: bad"), CONTROL_SESSION_REFUSED);
    assert_int_equal(refuse(&fixture, "again"), CONTROL_SESSION_TAKEN); /* of the same response: counted once */
    assert_string_equal(next(&fixture), "");                            /* not sent again as it is */
    control_session_status(fixture.session, CDS, &status);
    assert_true(status.last_refused && !status.in_sync);
    assert_string_equal(status.reason, "a: bad");
    assert_int_equal(status.refused, 1);
    put(&fixture.world, CDS, "a", "good", false);
    touch(&fixture, CDS, "a");
    assert_string_equal(next(&fixture), "CDS a=good");
    control_session_status(fixture.session, CDS, &status);
    assert_true(status.in_flight && !status.in_sync);
    assert_int_equal(acknowledge(&fixture), CONTROL_SESSION_ACKED);
    control_session_status(fixture.session, CDS, &status);
    assert_true(status.in_sync && !status.last_refused);
    assert_int_equal(status.subscribed, 1);
    end(&fixture);
}

static void stale_nonces(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, CONTROL_SESSION_DELTA);
    put(&fixture.world, EDS, "a", "1", false);
    ask(&fixture, EDS, "", "", "");
    next(&fixture);
    assert_int_equal(ask(&fixture, EDS, "a", "", "00000000000000ff"), CONTROL_SESSION_STALE); /* delta: names count */
    assert_int_equal(acknowledge(&fixture), CONTROL_SESSION_ACKED);
    assert_string_equal(next(&fixture), "EDS a=1");
    end(&fixture);
    begin(&fixture, CONTROL_SESSION_STATE_OF_THE_WORLD);
    put(&fixture.world, EDS, "a", "1", false);
    ask(&fixture, EDS, "", "", "");
    next(&fixture);
    assert_int_equal(ask(&fixture, EDS, "a", "", "00000000000000ff"), CONTROL_SESSION_STALE);
    assert_int_equal(acknowledge(&fixture), CONTROL_SESSION_ACKED);
    assert_string_equal(next(&fixture), "");
    end(&fixture);
}

static void the_state_of_the_world(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, CONTROL_SESSION_STATE_OF_THE_WORLD);
    put(&fixture.world, CDS, "a", "1", false);
    put(&fixture.world, CDS, "b", "1", false);
    put(&fixture.world, EDS, "a", "1", false);
    put(&fixture.world, EDS, "b", "1", false);
    ask(&fixture, CDS, "", "", "");
    assert_string_equal(next(&fixture), "CDS a=1 b=1");
    acknowledge(&fixture);
    ask(&fixture, EDS, "a b", "", "");
    assert_string_equal(next(&fixture), "EDS a=1 b=1");
    char nonce[CONTROL_VERSION_TEXT];
    memcpy(nonce, fixture.response.nonce, sizeof(nonce));
    ask(&fixture, EDS, "a b", "", nonce);
    put(&fixture.world, EDS, "b", "2", false);
    put(&fixture.world, CDS, "b", "2", false);
    touch(&fixture, EDS, "b");
    touch(&fixture, CDS, "b");
    assert_string_equal(next(&fixture), "CDS a=1 b=2"); /* all of them */
    assert_string_equal(next(&fixture), "EDS b=2");     /* what changed */
    memcpy(nonce, fixture.response.nonce, sizeof(nonce));
    ask(&fixture, EDS, "a", "", nonce); /* b is forgotten */
    put(&fixture.world, EDS, "b", "3", false);
    touch(&fixture, EDS, "b");
    assert_string_equal(next(&fixture), "");
    ask(&fixture, EDS, "a b", "", nonce);
    assert_string_equal(next(&fixture), "EDS b=3");
    end(&fixture);
}

static void the_state_of_the_world_breaks_last(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, CONTROL_SESSION_STATE_OF_THE_WORLD);
    put(&fixture.world, CDS, "a", "1", false);
    put(&fixture.world, CDS, "b", "1", false);
    put(&fixture.world, LDS, "l", "a", false);
    ask(&fixture, CDS, "", "", "");
    next(&fixture);
    acknowledge(&fixture);
    ask(&fixture, LDS, "", "", "");
    assert_string_equal(next(&fixture), "LDS l=a");
    acknowledge(&fixture);
    drop(&fixture.world, CDS, "a");
    put(&fixture.world, CDS, "c", "1", false);
    put(&fixture.world, LDS, "l", "c", false);
    touch(&fixture, CDS, "a");
    touch(&fixture, CDS, "c");
    touch(&fixture, LDS, "l");
    assert_string_equal(next(&fixture), "CDS a=1 b=1 c=1");
    acknowledge(&fixture);
    assert_string_equal(next(&fixture), "LDS l=c");
    assert_string_equal(next(&fixture), "");
    acknowledge(&fixture);
    assert_string_equal(next(&fixture), "CDS b=1 c=1");
    end(&fixture);
}

static void responses_are_cut(void **state)
{
    (void)state;
    struct fixture fixture;
    static char content[CONTROL_SESSION_RESPONSE_BYTES * 3 / 4];
    memset(content, 'x', sizeof(content) - 1);
    begin(&fixture, CONTROL_SESSION_DELTA);
    put(&fixture.world, CDS, "a", content, false);
    put(&fixture.world, CDS, "b", content, false);
    put(&fixture.world, CDS, "c", content, false);
    ask(&fixture, CDS, "", "", "");
    ask(&fixture, LDS, "", "", "");
    assert_int_equal(control_session_next(fixture.session, &fixture.source, &fixture.response), 1);
    assert_int_equal(fixture.response.count, 2);
    assert_string_equal(next(&fixture), ""); /* listeners wait for all clusters */
    acknowledge(&fixture);
    assert_int_equal(control_session_next(fixture.session, &fixture.source, &fixture.response), 1);
    assert_int_equal(fixture.response.count, 1);
    assert_string_equal(next(&fixture), "LDS");
    end(&fixture);
}

static void limits(void **state)
{
    (void)state;
    struct fixture fixture;
    struct fl_err err;
    static char text[FL_RESOURCE_NAME_MAX + 2];
    memset(text, 'n', sizeof(text) - 1);
    struct fl_span names[] = {fl_span_str(text), FL_SPAN("")};
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        begin(&fixture, CONTROL_SESSION_DELTA);
        struct control_ask request = {.type = EDS, .names = &names[i], .name_count = 1};
        assert_int_equal(control_session_request(fixture.session, &request, &err), -EPROTO);
        end(&fixture);
    }
    begin(&fixture, CONTROL_SESSION_DELTA);
    int result = 0;
    for (size_t i = 0; i <= CONTROL_SESSION_NAMES_MAX && result == 0; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%zu", i);
        struct fl_span one = fl_span_str(name);
        struct control_ask request = {.type = EDS, .names = &one, .name_count = 1};
        result = control_session_request(fixture.session, &request, &err);
    }
    assert_int_equal(result, -EPROTO);
    assert_string_equal(err.text, "EDS: more than 65536 names");
    end(&fixture);
}

static void the_nth_allocation_fails(void **state)
{
    (void)state;
    for (enum control_session_form form = CONTROL_SESSION_DELTA; form <= CONTROL_SESSION_STATE_OF_THE_WORLD; form++) {
        FAIL_EACH_ALLOCATION
        {
            struct fixture fixture = {0};
            struct fl_err err;
            fixture.source = (struct control_session_source){world_get, world_each, &fixture.world};
            put(&fixture.world, CDS, "a", "1", false);
            put(&fixture.world, CDS, "b", "1", false);
            const struct fl_span name = FL_SPAN("gone");
            struct control_ask named = {.type = EDS, .names = &name, .name_count = 1}, all = {.type = CDS};
            int result = control_session_new(form, &fixture.session);
            if (result == 0)
                result = control_session_request(fixture.session, &all, &err);
            if (result == 0)
                result = control_session_request(fixture.session, &named, &err);
            for (size_t i = 0; i < 2 && result == 0; i++)
                if ((result = control_session_next(fixture.session, &fixture.source, &fixture.response)) == 1)
                    result = 0;
            fail_stop();
            assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
            end(&fixture);
        }
    }
}

/* Three bytes each on the wire: a message may hold a million of them, and each walked over all that is subscribed. */
static void taking_back_a_group_again_and_again_costs_nothing(void **state)
{
    enum { NAMES = 20000, TIMES = 200000 };
    static char texts[NAMES][8];
    static struct fl_span names[NAMES], stars[TIMES];
    struct fixture fixture;
    struct fl_err err;
    (void)state;
    begin(&fixture, CONTROL_SESSION_DELTA);
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(texts[i], sizeof(texts[i]), "c%u", i);
        names[i] = fl_span_str(texts[i]);
    }
    for (unsigned i = 0; i < TIMES; i++)
        stars[i] = FL_SPAN("*");
    const struct control_ask request = {
        .type = CDS, .names = names, .name_count = NAMES, .unsubscribe = stars, .unsubscribe_count = TIMES};
    clock_t start = clock();
    assert_int_equal(control_session_request(fixture.session, &request, &err), CONTROL_SESSION_TAKEN);
    assert_true((clock() - start) / CLOCKS_PER_SEC < 3); /* some milliseconds; it was minutes */
    end(&fixture);
}

static void versions(void **state)
{
    (void)state;
    char text[CONTROL_VERSION_TEXT];
    uint64_t version;
    control_version_print(UINT64_C(0x00ab), text);
    assert_string_equal(text, "00000000000000ab");
    assert_true(control_version_parse(fl_span_str(text), &version));
    assert_int_equal(version, 0xab);
    assert_false(control_version_parse(FL_SPAN("00000000000000aB"), &version));
    assert_false(control_version_parse(FL_SPAN("0000000000000000"), &version));
    assert_false(control_version_parse(FL_SPAN("1"), &version));
    /* The same in every process, or a restart would send everything again. */
    struct control_resource *resource;
    assert_int_equal(control_resource_new(CDS, FL_SPAN("name"), FL_SPAN("bytes"), 0, &resource), 0);
    control_version_print(resource->version, text);
    assert_string_equal(text, "6c7d45c4075dcb32");
    control_resource_unref(resource);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delta_wildcard),
        cmocka_unit_test(delta_by_name),
        cmocka_unit_test(an_answer_is_owed_also_where_there_is_nothing),
        cmocka_unit_test(reconnecting_costs_the_differences),
        cmocka_unit_test(own_namespace),
        cmocka_unit_test(make_before_break),
        cmocka_unit_test(what_comes_back_while_it_leaves_stays),
        cmocka_unit_test(refusals),
        cmocka_unit_test(stale_nonces),
        cmocka_unit_test(the_state_of_the_world),
        cmocka_unit_test(the_state_of_the_world_breaks_last),
        cmocka_unit_test(responses_are_cut),
        cmocka_unit_test(limits),
        cmocka_unit_test(taking_back_a_group_again_and_again_costs_nothing),
        cmocka_unit_test(the_nth_allocation_fails),
        cmocka_unit_test(versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
