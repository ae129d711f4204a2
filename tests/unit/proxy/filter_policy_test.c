/* Policies at work: RBAC and JWT over real sockets, and what a change of policy does to what is under way. */
#include "proxy/filter/jwt.h"
#include "proxy/filter/rbac.h"
#include "proxy/route/table.h"
#include "tests/support/fail.h"
#include "tests/unit/common/jwt_maker.h"
#include "tests/unit/proxy/filter_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        literal, sizeof(literal) - 1                                                                                   \
    }
#define PATH(how, literal) .kind = PROXY_RULE_PATH, .string = {.kind = PROXY_STRING_##how, .text = TEXT(literal)}
#define ONE(permission, principal, text)                                                                               \
    {                                                                                                                  \
        .name = TEXT(text), .details = "rbac_access_denied_matched_policy[" text "]", .permissions = permission,       \
        .permission_count = 1, .principals = principal, .principal_count = 1                                           \
    }

static const struct proxy_rule any = {.kind = PROXY_RULE_ANY}, nobody = {.kind = PROXY_RULE_AUTHENTICATED};
static const struct proxy_rule admin = {PATH(PREFIX, "/admin")}, api = {PATH(PREFIX, "/api")};
static const struct fl_span claim_path[] = {TEXT("payload"), TEXT("sub")};
static const struct proxy_metadata_match is_alice = {
    .path = claim_path,
    .path_count = 2,
    .value = {.kind = PROXY_CLAIM_STRING, .string = {.kind = PROXY_STRING_EXACT, .text = TEXT("alice")}}};
static const struct proxy_rule alice = {.kind = PROXY_RULE_METADATA, .metadata = &is_alice};

static const struct proxy_rbac_policy p_admin[] = {ONE(&admin, &any, "no-admin")}, p_api[] = {ONE(&api, &any, "api")};
static const struct proxy_rbac_policy p_all[] = {ONE(&any, &any, "all")}, p_nobody[] = {ONE(&any, &nobody, "somebody")};
static const struct proxy_rbac_policy p_alice[] = {ONE(&any, &alice, "alice")};
static const struct proxy_rbac deny_admin = {PROXY_RBAC_DENY, p_admin, 1}, allow_api = {PROXY_RBAC_ALLOW, p_api, 1};
static const struct proxy_rbac deny_all = {PROXY_RBAC_DENY, p_all, 1}, allow_somebody = {PROXY_RBAC_ALLOW, p_nobody, 1};
static const struct proxy_rbac allow_alice = {PROXY_RBAC_ALLOW, p_alice, 1}, log_all = {PROXY_RBAC_LOG, p_all, 1};
static const struct proxy_rbac_filter f_deny_admin = {.rules = &deny_admin}, f_allow_api = {.rules = &allow_api};
static const struct proxy_rbac_filter f_deny_all = {.rules = &deny_all}, f_somebody = {.rules = &allow_somebody};
static const struct proxy_rbac_filter f_shadow = {.shadow_rules = &deny_all}, f_alice = {.rules = &allow_alice};
static const struct proxy_rbac_filter f_log = {.rules = &log_all};

#define RBAC(filter)                                                                                                   \
    {                                                                                                                  \
        .ops = &proxy_rbac_ops, .config = filter                                                                       \
    }

static const struct proxy_http_filter deny_then_allow[] = {RBAC(&f_deny_admin), RBAC(&f_allow_api)};
static const struct proxy_http_filter only_deny[] = {RBAC(&f_deny_admin)}, only_shadow[] = {RBAC(&f_shadow)};
static const struct proxy_http_filter deny_everything[] = {RBAC(&f_deny_all)}, only_log[] = {RBAC(&f_log)};

struct chat {
    struct fixture f;
    struct side client, origin;
};

static void filters(struct fixture *f, const struct proxy_http_filter *list, size_t count)
{
    f->hcm->filters = list;
    f->hcm->filter_count = count;
}

static void chat_init(struct chat *c, const struct proxy_http_filter *list, size_t count)
{
    fixture_init(&c->f, true);
    filters(&c->f, list, count);
    c->f.hcm->path.normalize = true;
    c->client = fixture_client(&c->f);
    c->origin.fd = -1;
}

static void chat_done(struct chat *c)
{
    side_done(&c->client);
    if (c->origin.fd >= 0)
        side_done(&c->origin);
    fixture_done(&c->f);
}

static void expect_status(struct chat *c, const char *head, unsigned status, const char *body)
{
    char start[32];
    snprintf(start, sizeof(start), "HTTP/1.1 %u", status);
    side_say(&c->f, &c->client, head);
    side_hear(&c->f, &c->client);
    c->client.text[c->client.len] = '\0';
    if (strncmp(c->client.text, start, strlen(start)) != 0 || strstr(c->client.text, body) == NULL)
        fail_msg("%s\n%s", head, c->client.text);
    c->client.len = 0;
}

#define DENIED_BODY "\r\n\r\nRBAC: access denied"
#define GET(path)   "GET " path " HTTP/1.1\r\nHost: web\r\n\r\n"

static void denied_requests_go_nowhere(void **state)
{
    (void)state;
    struct chat c;
    chat_init(&c, deny_then_allow, 2);
    expect_status(&c, GET("/admin"), 403, DENIED_BODY);
    expect_status(&c, GET("/admin?x"), 403, DENIED_BODY);
    expect_status(&c, GET("/api/../admin"), 403, DENIED_BODY);
    expect_status(&c, GET("/api/%2e%2e/%61dmin"), 403, DENIED_BODY);
    expect_status(&c, GET("/other"), 403, DENIED_BODY);
    assert_false(fixture_origin_waits(&c.f));
    side_say(&c.f, &c.client, GET("/admin/../api"));
    c.origin = fixture_origin(&c.f);
    side_expect_start(&c.f, &c.origin, "GET /api HTTP/1.1\r\n");
    side_say(&c.f, &c.origin, "HTTP/1.1 204 No Content\r\n\r\n");
    side_expect_start(&c.f, &c.client, "HTTP/1.1 204");
    assert_true(fixture_metric_of(&c.f, "fairlead_rbac_decisions_total", "result=\"denied\"") == 5);
    assert_true(fixture_metric_of(&c.f, "fairlead_rbac_decisions_total", "result=\"allowed\"") == 3);
    assert_true(fixture_metric_of(&c.f, "istio_requests_total", "response_flags=\"UAEX\"") == 5);
    chat_done(&c);
}

static void a_path_in_another_form_is_denied(void **state)
{
    (void)state;
    struct chat c;
    chat_init(&c, only_deny, 1);
    c.f.hcm->path.normalize = false;
    expect_status(&c, GET("/a/../admin"), 403, DENIED_BODY);
    expect_status(&c, GET("/%61dmin"), 403, DENIED_BODY);
    expect_status(&c, GET("/direct"), 200, "direct");
    chat_done(&c);
}

static void trials_deny_nobody(void **state)
{
    (void)state;
    struct chat c;
    chat_init(&c, only_shadow, 1);
    expect_status(&c, GET("/direct"), 200, "direct");
    assert_true(fixture_metric_of(&c.f, "fairlead_rbac_decisions_total", "rules=\"shadow\"") == 1);
    assert_true(fixture_metric_of(&c.f, "fairlead_rbac_decisions_total", "result=\"denied\"") == 1);
    filters(&c.f, only_log, 1);
    expect_status(&c, GET("/direct"), 200, "direct");
    chat_done(&c);
}

/* --- a policy changes -------------------------------------------------------------------------------------------- */

static struct proxy_hcm_config new_hcm;
static struct proxy_filter_chain new_chain;

/* What the data path does when the listener has changed. */
static void change(struct chat *c, const struct proxy_http_filter *list, size_t count)
{
    struct proxy_downstream *downstream = c->f.data.downstreams;
    new_hcm = *c->f.hcm;
    new_hcm.filters = list;
    new_hcm.filter_count = count;
    new_chain = (struct proxy_filter_chain){.kind = PROXY_FILTER_HTTP, .http = &new_hcm};
    downstream->chain = &new_chain;
    downstream->ops->rebind(downstream->filter, &new_chain);
    fixture_run(&c->f);
}

static void an_idle_connection_is_judged_at_its_next_request(void **state)
{
    (void)state;
    struct chat c;
    chat_init(&c, NULL, 0);
    expect_status(&c, GET("/direct"), 200, "direct");
    change(&c, deny_everything, 1);
    expect_status(&c, GET("/direct"), 403, DENIED_BODY);
    change(&c, NULL, 0);
    expect_status(&c, GET("/direct"), 200, "direct");
    chat_done(&c);
}

/* A request that waits for its answer, under `first`, and then `then`. */
static void begin(struct chat *c, const struct proxy_http_filter *first, size_t count, const char *head)
{
    chat_init(c, first, count);
    side_say(&c->f, &c->client, head);
    c->origin = fixture_origin(&c->f);
    side_hear(&c->f, &c->origin);
}

static void a_request_under_way_gets_its_403(void **state)
{
    (void)state;
    struct chat c;
    begin(&c, deny_then_allow, 2, GET("/api/x"));
    change(&c, deny_everything, 1);
    side_expect_start(&c.f, &c.client, "HTTP/1.1 403");
    side_hear_end(&c.f, &c.origin);
    assert_true(c.origin.reset);
    expect_status(&c, GET("/direct"), 403, DENIED_BODY); /* the connection lives on */
    chat_done(&c);
}

static void an_answer_under_way_is_cut(void **state)
{
    (void)state;
    struct chat c;
    begin(&c, deny_then_allow, 2, GET("/api/x"));
    side_say(&c.f, &c.origin, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    side_expect_start(&c.f, &c.client, "HTTP/1.1 200");
    change(&c, deny_everything, 1);
    side_hear(&c.f, &c.client);
    side_hear(&c.f, &c.origin);
    assert_true(c.client.reset && c.origin.reset);
    assert_int_equal(c.f.data.downstream_count, 0);
    chat_done(&c);
}

static void a_tunnel_is_cut(void **state)
{
    (void)state;
    struct chat c;
    begin(&c, deny_then_allow, 2,
          "GET /api/ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    side_say(&c.f, &c.origin, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nx");
    side_expect_start(&c.f, &c.client, "HTTP/1.1 101");
    c.origin.len = 0;
    change(&c, deny_then_allow, 2); /* still allowed: by what it asked */
    side_say(&c.f, &c.client, "more");
    side_expect(&c.f, &c.origin, "more");
    change(&c, only_deny, 1);
    side_say(&c.f, &c.origin, "y");
    side_expect(&c.f, &c.client, "y");
    change(&c, deny_everything, 1);
    side_hear_end(&c.f, &c.client);
    assert_true(c.client.reset);
    chat_done(&c);
}

/* Nothing was kept where there was no policy: a rule that asks for it cannot tell, so it denies; others can. */
static void what_is_not_known_any_more_is_denied(void **state)
{
    (void)state;
    for (int denied = 0; denied < 2; denied++) {
        struct chat c;
        begin(&c, NULL, 0, GET("/api/x"));
        if (denied)
            change(&c, deny_then_allow, 2);
        else
            change(&c, only_log, 1);
        if (!denied)
            side_say(&c.f, &c.origin, "HTTP/1.1 204 No Content\r\n\r\n");
        side_expect_start(&c.f, &c.client, denied ? "HTTP/1.1 403" : "HTTP/1.1 204");
        chat_done(&c);
    }
}

/* --- connections ------------------------------------------------------------------------------------------------- */

static void network(struct fixture *f, const struct proxy_rbac_filter *rbac)
{
    struct proxy_filter_chain *chain = (struct proxy_filter_chain *)(uintptr_t)f->listener->default_chain;
    chain->rbacs = rbac;
    chain->rbac_count = 1;
}

static void a_denied_connection_is_reset(void **state)
{
    (void)state;
    static const struct proxy_rbac_filter *const deny[] = {&f_deny_all, &f_somebody, &f_deny_admin, &f_alice};
    for (size_t i = 0; i < 2 * FL_COUNT(deny); i++) {
        struct fixture f;
        fixture_init(&f, i % 2 == 0);
        network(&f, deny[i / 2]);
        struct side client = fixture_client(&f);
        side_hear_end(&f, &client);
        assert_true(client.reset);
        assert_false(fixture_origin_waits(&f));
        assert_true(fixture_metric_of(&f, "fairlead_connections_refused_total", "reason=\"policy\"") == 1);
        assert_true(fixture_metric_of(&f, "fairlead_rbac_decisions_total", "filter=\"tcp\"") == 1);
        side_done(&client);
        fixture_done(&f);
    }
}

static void an_allowed_connection_passes_until_it_is_denied(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, false);
    network(&f, &f_log);
    struct side client = fixture_client(&f), origin = fixture_origin(&f);
    side_say(&f, &client, "hello");
    side_expect(&f, &origin, "hello");
    struct proxy_downstream *downstream = f.data.downstreams;
    new_chain = *downstream->chain;
    downstream->chain = &new_chain;
    downstream->ops->rebind(downstream->filter, &new_chain); /* the same again: it stays */
    side_say(&f, &client, "again");
    side_expect(&f, &origin, "again");
    static struct proxy_filter_chain denied;
    denied = new_chain;
    denied.rbacs = &f_deny_all;
    downstream->chain = &denied;
    downstream->ops->rebind(downstream->filter, &denied);
    side_hear(&f, &client);
    side_hear(&f, &origin);
    assert_true(client.reset && origin.reset);
    assert_int_equal(f.data.downstream_count, 0);
    assert_true(fixture_metric_of(&f, "istio_tcp_connections_closed_total", "response_flags=\"UAEX\"") == 1);
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

/* --- JWT --------------------------------------------------------------------------------------------------------- */

#define ES    "{\"alg\":\"ES256\",\"kid\":\"ec\"}"
#define CLAIM "{\"iss\":\"me\",\"sub\":\"alice\",\"n\":7,\"deep\":{\"list\":[1]},\"evil\":\"a\\nb\"}"

static struct jwt_maker maker;
static struct fl_jwks *keys;
static struct proxy_route_table *rules;

static const struct fl_span step_sub[] = {TEXT("sub")}, step_n[] = {TEXT("n")}, step_evil[] = {TEXT("evil")};
static const struct fl_span step_list[] = {TEXT("deep"), TEXT("list")};
static const struct proxy_jwt_claim_header claim_headers[] = {
    {.name = TEXT("x-sub"), .claim = step_sub, .claim_count = 1},
    {.name = TEXT("x-n"), .claim = step_n, .claim_count = 1},
    {.name = TEXT("x-list"), .claim = step_list, .claim_count = 2},
    {.name = TEXT("x-evil"), .claim = step_evil, .claim_count = 1}};
static const struct proxy_jwt_header bearer[] = {{.name = TEXT("authorization"), .prefix = TEXT("Bearer ")}};
static const struct fl_span params[] = {TEXT("access_token")};
static struct proxy_jwt_provider me = {
    .id = 1,
    .issuer = TEXT("me"),
    .clock_skew_s = 60,
    .headers = bearer,
    .header_count = 1,
    .params = params,
    .param_count = 1,
    .payload_header = TEXT("x-payload"),
    .payload_header_padded = true,
    .metadata_key = TEXT("payload"),
    .claim_headers = claim_headers,
    .claim_header_count = FL_COUNT(claim_headers),
};
static const struct proxy_jwt_requirement requirements[] = {
    {.kind = PROXY_JWT_NOTHING},
    {.kind = PROXY_JWT_PROVIDER, .provider = &me},
};
static struct proxy_jwt_filter jwt = {.providers = &me,
                                      .provider_count = 1,
                                      .requirements = requirements,
                                      .requirement_count = FL_COUNT(requirements),
                                      .bypass_cors_preflight = true};
static const struct proxy_http_filter jwt_then_rbac[] = {{.ops = &proxy_jwt_ops, .config = &jwt}, RBAC(&f_alice)};

static int jwt_setup(void **state)
{
    (void)state;
    static const struct fl_span all[] = {TEXT("*")};
    static const struct proxy_route routes[] = {
        {.match = {.path = TEXT("/direct")}, .action = PROXY_ROUTE_DIRECT, .direct = {.status = 200}},
        {.match = {.path = TEXT("/")}, .action = PROXY_ROUTE_DIRECT, .direct = {.status = 200}}};
    static const struct proxy_virtual_host host = {
        .name = TEXT("v"), .domains = all, .domain_count = 1, .routes = routes, .route_count = 2};
    static const struct proxy_route_config config = {
        .name = TEXT("r"), .virtual_hosts = &host, .virtual_host_count = 1};
    jwt_maker_init(&maker);
    char *text = jwt_maker_jwks(&maker);
    assert_int_equal(fl_jwks_parse(fl_span_str(text), &keys, NULL), 0);
    free(text);
    assert_int_equal(proxy_route_table_new(&config, NULL, NULL, &rules, NULL), 0);
    me.keys = keys;
    jwt.rules = rules;
    return 0;
}

static int jwt_teardown(void **state)
{
    (void)state;
    fl_jwks_free(keys);
    proxy_route_table_free(rules);
    jwt_maker_done(&maker);
    return 0;
}

static void ask(struct chat *c, const char *target, const char *fields, const char *token)
{
    char head[4096];
    int len = snprintf(head, sizeof(head), "GET %s%s HTTP/1.1\r\nHost: web:80\r\n%s%s\r\n\r\n", target,
                       fields[0] == '?' ? token : "", fields[0] == '?' ? "x-nothing: 1" : fields,
                       fields[0] == '?' ? "" : token);
    assert_true(len > 0 && (size_t)len < sizeof(head));
    side_say(&c->f, &c->client, head);
}

static void tokens_are_asked_for(void **state)
{
    (void)state;
    static const char *const good = CLAIM;
    struct chat c;
    chat_init(&c, jwt_then_rbac, 2);
    ask(&c, "/x", "x-nothing: ", "1");
    side_hear(&c.f, &c.client);
    c.client.text[c.client.len] = '\0';
    assert_non_null(strstr(c.client.text, "HTTP/1.1 401"));
    assert_non_null(strstr(c.client.text, "www-authenticate: Bearer realm=\"http://web:80/\"\r\n"));
    assert_non_null(strstr(c.client.text, "\r\n\r\nJwt is missing"));
    c.client.len = 0;
    char *token = jwt_sign(maker.ec, ES, good);
    char *last = &token[strlen(token) - 3];
    *last = *last == 'A' ? 'B' : 'A';
    ask(&c, "/x", "authorization: Bearer ", token);
    side_hear(&c.f, &c.client);
    c.client.text[c.client.len] = '\0';
    assert_non_null(strstr(c.client.text, "HTTP/1.1 401"));
    assert_non_null(strstr(c.client.text, ", error=\"invalid_token\"\r\n"));
    assert_non_null(strstr(c.client.text, "\r\n\r\nJwt verification fails"));
    c.client.len = 0;
    assert_false(fixture_origin_waits(&c.f));
    assert_true(fixture_metric_of(&c.f, "fairlead_jwt_checks_total", "result=\"signature\"") == 1);
    assert_true(fixture_metric_of(&c.f, "istio_requests_total", "response_flags=\"UAEX\"") == 2);
    free(token);
    chat_done(&c);
}

static void claims_decide_and_are_passed_on(void **state)
{
    (void)state;
    for (int forward = 0; forward < 2; forward++) {
        struct chat c;
        me.forward = forward == 1;
        chat_init(&c, jwt_then_rbac, 2);
        char *token = jwt_sign(maker.ec, ES, CLAIM), *bob = jwt_sign(maker.ec, ES, "{\"iss\":\"me\",\"sub\":\"bob\"}");
        ask(&c, "/x", "authorization: Bearer ", bob);
        side_expect_start(&c.f, &c.client, "HTTP/1.1 403");
        ask(&c, "/x",
            "X-Sub: mallory\r\nx-payload: forged\r\nx-evil: forged\r\nx-list: forged\r\nauthorization: Bearer ", token);
        c.origin = fixture_origin(&c.f);
        side_hear(&c.f, &c.origin);
        c.origin.text[c.origin.len] = '\0';
        assert_non_null(strstr(c.origin.text, "x-sub: alice\r\n"));
        assert_non_null(strstr(c.origin.text, "x-n: 7\r\n"));
        assert_non_null(strstr(c.origin.text, "x-list: WzFd\r\n"));
        assert_null(strstr(c.origin.text, "forged"));
        assert_null(strstr(c.origin.text, "mallory"));
        assert_null(strstr(c.origin.text, "x-evil"));
        const char *payload = strstr(c.origin.text, "x-payload: ");
        assert_non_null(payload);
        assert_int_equal(strcspn(payload + strlen("x-payload: "), "\r") % 4, 0);
        assert_int_equal(strstr(c.origin.text, token) != NULL, forward == 1);
        free(token);
        free(bob);
        chat_done(&c);
    }
    me.forward = false;
}

static void a_token_in_the_query_is_taken_out(void **state)
{
    (void)state;
    struct chat c;
    chat_init(&c, jwt_then_rbac, 2);
    char *token = jwt_sign(maker.ec, ES, CLAIM);
    ask(&c, "/x?a=b&access_token=", "?", token);
    c.origin = fixture_origin(&c.f);
    side_expect_start(&c.f, &c.origin, "GET /x?a=b HTTP/1.1\r\n");
    free(token);
    chat_done(&c);
}

static void rules_and_preflights_ask_for_none(void **state)
{
    (void)state;
    struct chat c;
    chat_init(&c, jwt_then_rbac, 1); /* JWT alone */
    expect_status(&c, GET("/direct"), 200, "direct");
    side_say(&c.f, &c.client,
             "OPTIONS /x HTTP/1.1\r\nHost: web\r\nOrigin: a\r\nAccess-Control-Request-Method: GET\r\n\r\n");
    c.origin = fixture_origin(&c.f);
    side_expect_start(&c.f, &c.origin, "OPTIONS /x HTTP/1.1\r\n");
    chat_done(&c);
}

static void a_stream_is_judged_again_by_its_token(void **state)
{
    (void)state;
    struct chat c;
    chat_init(&c, jwt_then_rbac, 2);
    char *token = jwt_sign(maker.ec, ES, CLAIM);
    ask(&c, "/x", "authorization: Bearer ", token);
    c.origin = fixture_origin(&c.f);
    change(&c, jwt_then_rbac, 2); /* by the token that does not go on */
    side_say(&c.f, &c.origin, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    side_expect_start(&c.f, &c.client, "HTTP/1.1 200");
    change(&c, jwt_then_rbac + 1, 1); /* RBAC alone: nobody is known any more */
    side_hear_end(&c.f, &c.client);
    assert_true(c.client.reset);
    free(token);
    chat_done(&c);
}

/* By the clock, also where nothing is logged or traced. */
static void times_are_judged_without_a_log(void **state)
{
    (void)state;
    static const char *const claims[] = {"{\"iss\":\"me\",\"sub\":\"alice\",\"exp\":1000000000}",
                                         "{\"iss\":\"me\",\"sub\":\"alice\",\"nbf\":1000000000}"};
    for (size_t i = 0; i < FL_COUNT(claims); i++) {
        struct chat c;
        chat_init(&c, jwt_then_rbac, 2);
        assert_int_equal(c.f.hcm->access_log_count, 0);
        char *token = jwt_sign(maker.ec, ES, claims[i]);
        ask(&c, "/x", "authorization: Bearer ", token);
        if (i == 0)
            side_expect_start(&c.f, &c.client, "HTTP/1.1 401");
        assert_int_equal(fixture_origin_waits(&c.f), i == 1);
        free(token);
        chat_done(&c);
    }
}

/* Nothing was kept of it where there was no filter: it is as one without a token. */
static void what_is_not_known_any_more_has_no_token(void **state)
{
    (void)state;
    static const struct proxy_jwt_requirement may_lack[] = {{.kind = PROXY_JWT_NOTHING},
                                                            {.kind = PROXY_JWT_ALLOW_MISSING}};
    for (int required = 0; required < 2; required++) {
        struct chat c;
        struct proxy_jwt_filter filter = jwt;
        const struct proxy_http_filter list[] = {{.ops = &proxy_jwt_ops, .config = &filter}};
        if (!required)
            filter.requirements = may_lack;
        begin(&c, NULL, 0, GET("/x"));
        change(&c, list, 1);
        if (!required)
            side_say(&c.f, &c.origin, "HTTP/1.1 204 No Content\r\n\r\n");
        side_expect_start(&c.f, &c.client, required ? "HTTP/1.1 401" : "HTTP/1.1 204");
        chat_done(&c);
    }
}

/* Whatever allocation fails: an answer or an end, never a pass that was not earned. */
static void memory_runs_out(void **state)
{
    (void)state;
    char *token = jwt_sign(maker.ec, ES, CLAIM);
    FAIL_EACH_ALLOCATION
    {
        size_t countdown = fail_round_;
        fail_stop();
        struct chat c;
        chat_init(&c, jwt_then_rbac, 2);
        char head[4096];
        snprintf(head, sizeof(head), "GET /direct2 HTTP/1.1\r\nHost: web\r\nauthorization: Bearer %s\r\n\r\n", token);
        fail_at(countdown);
        side_say(&c.f, &c.client, head);
        bool failed = fail_happened();
        fail_stop();
        side_hear(&c.f, &c.client);
        assert_true(failed || c.client.len > 0 || fixture_origin_waits(&c.f));
        chat_done(&c);
    }
    free(token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(denied_requests_go_nowhere),
        cmocka_unit_test(a_path_in_another_form_is_denied),
        cmocka_unit_test(trials_deny_nobody),
        cmocka_unit_test(an_idle_connection_is_judged_at_its_next_request),
        cmocka_unit_test(a_request_under_way_gets_its_403),
        cmocka_unit_test(an_answer_under_way_is_cut),
        cmocka_unit_test(a_tunnel_is_cut),
        cmocka_unit_test(what_is_not_known_any_more_is_denied),
        cmocka_unit_test(a_denied_connection_is_reset),
        cmocka_unit_test(an_allowed_connection_passes_until_it_is_denied),
        cmocka_unit_test(tokens_are_asked_for),
        cmocka_unit_test(claims_decide_and_are_passed_on),
        cmocka_unit_test(a_token_in_the_query_is_taken_out),
        cmocka_unit_test(rules_and_preflights_ask_for_none),
        cmocka_unit_test(a_stream_is_judged_again_by_its_token),
        cmocka_unit_test(times_are_judged_without_a_log),
        cmocka_unit_test(what_is_not_known_any_more_has_no_token),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, jwt_setup, jwt_teardown);
}
