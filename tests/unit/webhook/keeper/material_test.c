#include "common/base/base64.h"
#include "tests/support/fail.h"
#include "webhook/keeper/material.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NOW INT64_C(1800000000)

static const char *const names[] = {"w.n.svc", NULL};
static const char *const other_names[] = {"x.n.svc", NULL};
static const struct keeper_material_options own = {.names = names, .service = "w", .name_space = "n"};

/* Two Secrets and a configuration, as they come from the API. */
struct world {
    struct keeper_secret ca, leaf;
    struct fl_json *object;
    struct keeper_material material;
    struct keeper_configuration configuration;
};

static void put(struct keeper_secret *secret, enum keeper_secret_key key, struct fl_span value)
{
    fl_buf_done(&secret->values[key]);
    fl_buf_init(&secret->values[key], KEEPER_VALUE_MAX);
    assert_int_equal(fl_buf_append(&secret->values[key], value), 0);
    secret->there = true;
}

static void make_root_into(struct keeper_secret *secret, enum keeper_secret_key cert, enum keeper_secret_key key)
{
    fl_buf_init(&secret->values[cert], KEEPER_VALUE_MAX);
    fl_buf_init(&secret->values[key], KEEPER_VALUE_MAX);
    assert_int_equal(keeper_make_root(NOW, NOW + 1000, &secret->values[cert], &secret->values[key], NULL), 0);
    secret->there = true;
}

static void set_bundle(struct world *world, struct fl_span pem)
{
    struct fl_buf text;
    fl_buf_init(&text, 1 << 20);
    assert_int_equal(fl_buf_append_str(&text, "{\"metadata\":{\"name\":\"c\",\"resourceVersion\":\"5\"},\"webhooks\":[{"
                                              "\"name\":\"a\",\"clientConfig\":{\"url\":\"https://x\",\"caBundle\":\""),
                     0);
    assert_int_equal(fl_base64_encode(pem, &text), 0);
    assert_int_equal(fl_buf_append_str(&text, "\"}}]}"), 0);
    world->object = fl_json_free(world->object);
    assert_int_equal(fl_json_parse(fl_buf_span(&text), NULL, &world->object, NULL), 0);
    fl_buf_done(&text);
}

static int read_it(struct world *world, const struct keeper_material_options *options)
{
    keeper_configuration_done(&world->configuration);
    keeper_material_done(&world->material);
    world->material = (struct keeper_material){.current_key = NULL};
    return keeper_material_read(&world->material, options, &world->leaf, &world->ca, &world->object,
                                &world->configuration, world->object != NULL ? 1 : 0, NULL);
}

/* A root, a leaf of it, and a caBundle of it. */
static struct world *make_world(void)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    make_root_into(&world->ca, KEEPER_SECRET_CA_CERT, KEEPER_SECRET_CA_KEY);
    assert_int_equal(read_it(world, &own), 0);
    assert_int_equal(world->material.view.current, 0);
    fl_buf_init(&world->leaf.values[KEEPER_SECRET_TLS_CERT], KEEPER_VALUE_MAX);
    fl_buf_init(&world->leaf.values[KEEPER_SECRET_TLS_KEY], KEEPER_VALUE_MAX);
    assert_int_equal(keeper_make_leaf(&world->material, names, NOW, NOW + 100,
                                      &world->leaf.values[KEEPER_SECRET_TLS_CERT],
                                      &world->leaf.values[KEEPER_SECRET_TLS_KEY], NULL),
                     0);
    put(&world->leaf, KEEPER_SECRET_CA_CERT, fl_buf_span(&world->ca.values[KEEPER_SECRET_CA_CERT]));
    set_bundle(world, fl_buf_span(&world->ca.values[KEEPER_SECRET_CA_CERT]));
    return world;
}

static void free_world(struct world *world)
{
    keeper_configuration_done(&world->configuration);
    keeper_material_done(&world->material);
    keeper_secret_done(&world->ca);
    keeper_secret_done(&world->leaf);
    fl_json_free(world->object);
    free(world);
}

static void all_is_well(void **state)
{
    (void)state;
    struct world *world = make_world();
    assert_int_equal(read_it(world, &own), 0);
    const struct keeper_view *view = &world->material.view;
    assert_int_equal(view->root_count, 1);
    assert_int_equal(view->current, 0);
    assert_int_equal(view->next, -1);
    assert_int_equal(view->old, 0);
    assert_true(view->leaf_there && view->leaf_fits);
    assert_int_equal(view->leaf_issuers, 1);
    assert_int_equal(view->leaf_not_before, NOW - (int64_t)KEEPER_BACKDATE_SECONDS);
    assert_int_equal(view->leaf_not_after, NOW + 100);
    assert_int_equal(view->roots[0].not_after, NOW + 1000);
    assert_int_equal(view->everywhere, 1);
    assert_int_equal(view->anywhere, 1);
    assert_int_equal(view->bundle_count, 1);
    const struct keeper_material_options others = {.names = other_names, .service = "w", .name_space = "n"};
    assert_int_equal(read_it(world, &others), 0);
    assert_true(world->material.view.leaf_there);
    assert_false(world->material.view.leaf_fits);
    free_world(world);
}

static void a_key_that_is_not_the_roots(void **state)
{
    (void)state;
    struct world *world = make_world();
    put(&world->ca, KEEPER_SECRET_CA_KEY, fl_buf_span(&world->leaf.values[KEEPER_SECRET_TLS_KEY]));
    assert_int_equal(read_it(world, &own), 0);
    assert_int_equal(world->material.view.current, -1);
    assert_int_equal(world->material.view.old, 1); /* it still verifies what it signed */
    assert_int_equal(world->material.view.leaf_issuers, 1);
    free_world(world);
}

static void garbage_is_as_if_it_were_not_there(void **state)
{
    (void)state;
    for (int key = 0; key < KEEPER_SECRET_KEY_COUNT; key++) {
        struct world *world = make_world();
        bool of_leaf = key == KEEPER_SECRET_TLS_CERT || key == KEEPER_SECRET_TLS_KEY;
        put(of_leaf ? &world->leaf : &world->ca, (enum keeper_secret_key)key, FL_SPAN("-----BEGIN x\0\xff\n"));
        assert_int_equal(read_it(world, &own), 0);
        const struct keeper_view *view = &world->material.view;
        bool root_hit = key == KEEPER_SECRET_CA_CERT || key == KEEPER_SECRET_CA_KEY;
        assert_int_equal(view->current, root_hit ? -1 : 0);
        assert_int_equal(view->leaf_there, !of_leaf);
        assert_int_equal(view->next, -1);
        assert_int_equal(view->anywhere, view->everywhere);
        free_world(world);
    }
}

static void next_and_old(void **state)
{
    (void)state;
    struct world *world = make_world();
    make_root_into(&world->ca, KEEPER_SECRET_NEXT_CERT, KEEPER_SECRET_NEXT_KEY);
    put(&world->ca, KEEPER_SECRET_OLD_CERTS, fl_buf_span(&world->ca.values[KEEPER_SECRET_NEXT_CERT]));
    assert_int_equal(read_it(world, &own), 0);
    assert_int_equal(world->material.view.next, 1);
    assert_int_equal(world->material.view.old, 0); /* it is the next one already */
    put(&world->ca, KEEPER_SECRET_NEXT_CERT, fl_buf_span(&world->ca.values[KEEPER_SECRET_CA_CERT]));
    put(&world->ca, KEEPER_SECRET_NEXT_KEY, fl_buf_span(&world->ca.values[KEEPER_SECRET_CA_KEY]));
    assert_int_equal(read_it(world, &own), 0);
    assert_int_equal(world->material.view.current, 0);
    assert_int_equal(world->material.view.next, -1); /* the same twice is one */
    assert_int_equal(world->material.view.old, 2);
    free_world(world);
}

static void lost_root_is_known_from_the_leafs_secret(void **state)
{
    (void)state;
    struct world *world = make_world();
    keeper_secret_done(&world->ca);
    world->object = fl_json_free(world->object);
    assert_int_equal(read_it(world, &own), 0);
    assert_int_equal(world->material.view.current, -1);
    assert_int_equal(world->material.view.leaf_issuers, 1);
    assert_int_equal(world->material.view.bundle_count, 0);
    free_world(world);
}

static void bundles_cannot_crowd_out_our_roots(void **state)
{
    (void)state;
    struct world *world = make_world();
    struct fl_buf many, key;
    fl_buf_init(&many, FL_ROOTS_PEM_MAX);
    fl_buf_init(&key, FL_KEY_PEM_MAX);
    for (int i = 0; i < FL_ROOTS_MAX; i++)
        assert_int_equal(keeper_make_root(NOW, NOW + 10, &many, &key, NULL), 0);
    set_bundle(world, fl_buf_span(&many));
    put(&world->leaf, KEEPER_SECRET_CA_CERT, fl_buf_span(&many));
    assert_int_equal(read_it(world, &own), 0);
    assert_int_equal(world->material.view.current, 0);
    assert_int_equal(world->material.view.leaf_issuers, 1);
    assert_int_equal(world->material.view.anywhere, 0);
    fl_buf_done(&many);
    fl_buf_done(&key);
    free_world(world);
}

static bool blocked(const void *owner, const struct keeper_configuration *configuration)
{
    assert_string_equal(configuration->name, "c");
    return owner != NULL;
}

static void external_and_blocked(void **state)
{
    (void)state;
    struct world *world = make_world();
    const struct keeper_material_options options = {.external = true,
                                                    .names = other_names,
                                                    .service = "w",
                                                    .name_space = "n",
                                                    .is_blocked = blocked,
                                                    .owner = world};
    assert_int_equal(read_it(world, &options), 0);
    const struct keeper_view *view = &world->material.view;
    assert_true(view->external);
    assert_int_equal(view->current, -1);
    assert_int_equal(view->given, 1);
    assert_int_equal(view->leaf_issuers, 1);
    assert_int_equal(view->blocked, 1);
    assert_int_equal(view->bundle_count, 0);
    assert_int_equal(view->everywhere, 0);
    free_world(world);
}

static void memory_runs_out(void **state)
{
    (void)state;
    struct world *world = make_world();
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf cert, key;
        keeper_digest digests[FL_ROOTS_MAX];
        fl_buf_init(&cert, FL_CERT_PEM_MAX);
        fl_buf_init(&key, FL_KEY_PEM_MAX);
        int result = read_it(world, &own);
        if (result == 0)
            result = keeper_material_digests(&world->material, digests);
        if (result == 0)
            result = keeper_make_leaf(&world->material, names, NOW, NOW + 100, &cert, &key, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&cert);
        fl_buf_wipe(&key);
    }
    free_world(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_well),
        cmocka_unit_test(a_key_that_is_not_the_roots),
        cmocka_unit_test(garbage_is_as_if_it_were_not_there),
        cmocka_unit_test(next_and_old),
        cmocka_unit_test(lost_root_is_known_from_the_leafs_secret),
        cmocka_unit_test(bundles_cannot_crowd_out_our_roots),
        cmocka_unit_test(external_and_blocked),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
