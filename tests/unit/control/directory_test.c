/* The directory source against a folder of its own: what a person does with files, and what is in force afterwards. */
#include "control/source/directory.h"
#include "control/source/documents.h"
#include "tests/support/emulation.h"
#include "tests/support/fail.h"
#include "tests/support/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#define SERVICE(name, port)                                                                                            \
    "apiVersion: v1\nkind: Service\nmetadata: {name: " name "}\nspec: {ports: [{port: " port "}]}\n"
#define PATIENCE_MS (10000 * emulation_patience())

struct fixture {
    char folder[64];
    struct fl_loop *loop;
    struct control_store *store;
    struct control_directory *directory;
    unsigned commits;
    size_t changes; /* of the last commit */
};

static void put_file(const struct fixture *fixture, const char *name, const char *text)
{
    char path[256], hidden[256];
    snprintf(path, sizeof(path), "%s/%s", fixture->folder, name);
    snprintf(hidden, sizeof(hidden), "%s/.new", fixture->folder);
    FILE *file = fopen(hidden, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(rename(hidden, path), 0);
}

static void in_folder(const struct fixture *fixture, const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", fixture->folder, name);
}

static void on_commit(void *context, const struct control_diff *diff)
{
    struct fixture *fixture = context;
    fixture->commits++;
    fixture->changes = diff->count;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/fl-directory.XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    assert_int_equal(fl_loop_new(&fixture->loop), 0);
    assert_int_equal(control_store_new(&fixture->store), 0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    control_directory_close(fixture->directory);
    control_store_free(fixture->store);
    fl_loop_free(fixture->loop);
    folder_remove(fixture->folder);
    free(fixture);
    return 0;
}

static void open_directory(struct fixture *fixture)
{
    struct fl_err err = {0};
    int result = control_directory_open(fixture->loop, fixture->store, fixture->folder, on_commit, fixture,
                                        &fixture->directory, &err);
    if (result < 0)
        fail_msg("%s", err.text);
}

/* Turns until the next commit. */
static void await(struct fixture *fixture)
{
    unsigned before = fixture->commits;
    uint64_t start = fl_loop_now_ms(fixture->loop);
    while (fixture->commits == before) {
        assert_int_equal(fl_loop_turn(fixture->loop, 100), 0);
        assert_true(fl_loop_now_ms(fixture->loop) - start < PATIENCE_MS);
    }
}

static const struct control_service *service(const struct fixture *fixture, const char *name)
{
    return control_model_service(control_store_model(fixture->store), FL_SPAN("default"), fl_span_str(name));
}

static uint16_t port(const struct fixture *fixture, const char *name)
{
    const struct control_service *found = service(fixture, name);
    return found != NULL && found->port_count > 0 ? found->ports[0].port : 0;
}

static const struct control_problem *problem(const struct fixture *fixture, size_t index)
{
    const struct control_problems *problems = control_model_problems(control_store_model(fixture->store));
    return problems != NULL && index < problems->count ? &problems->items[index] : NULL;
}

static void files_are_loaded_and_followed(void **state)
{
    struct fixture *fixture = *state;
    char path[256];
    put_file(fixture, "a.yaml", SERVICE("a", "1") "---\n" SERVICE("b", "2"));
    put_file(fixture, "c.json", "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"c\"}}");
    put_file(fixture, "list.yml",
             "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: l}}\n");
    put_file(fixture, "notes.txt", "not: [read");
    put_file(fixture, ".hidden.yaml", "not: [read");
    open_directory(fixture);
    assert_int_equal(port(fixture, "a"), 1);
    assert_int_equal(port(fixture, "b"), 2);
    assert_non_null(service(fixture, "c"));
    assert_non_null(service(fixture, "l"));
    assert_null(problem(fixture, 0));
    assert_int_equal(control_directory_stats(fixture->directory).files, 3);

    put_file(fixture, "a.yaml", SERVICE("a", "3") "---\n" SERVICE("b", "2"));
    await(fixture);
    assert_int_equal(port(fixture, "a"), 3);
    assert_int_equal(fixture->changes, 1); /* b is what it was */

    in_folder(fixture, "sub", path);
    assert_int_equal(mkdir(path, 0700), 0);
    put_file(fixture, "sub/d.yaml", SERVICE("d", "4"));
    await(fixture);
    assert_int_equal(port(fixture, "d"), 4);
    put_file(fixture, "sub/d.yaml", SERVICE("d", "5"));
    await(fixture);
    assert_int_equal(port(fixture, "d"), 5);

    in_folder(fixture, "a.yaml", path);
    unlink(path);
    await(fixture);
    assert_null(service(fixture, "a"));
    assert_null(service(fixture, "b"));
    assert_int_equal(control_directory_stats(fixture->directory).files, 3);
}

static void an_error_leaves_the_last_good_version(void **state)
{
    struct fixture *fixture = *state;
    put_file(fixture, "a.yaml", SERVICE("a", "1") "---\n" SERVICE("b", "2"));
    open_directory(fixture);
    put_file(fixture, "a.yaml", SERVICE("a", "70000") "---\n" SERVICE("b", "3") "---\n" SERVICE("new", "x"));
    await(fixture);
    assert_int_equal(port(fixture, "a"), 1);
    assert_int_equal(port(fixture, "b"), 3);
    assert_null(service(fixture, "new"));
    assert_true(problem(fixture, 0)->kept);
    assert_string_equal(problem(fixture, 0)->text.data,
                        "a.yaml:4:23: $.spec.ports[0].port: expected a whole number from 1 to 65535, got 70000");
    assert_false(problem(fixture, 1)->kept);
    assert_int_equal(problem(fixture, 1)->origin.document, 3);

    put_file(fixture, "a.yaml", SERVICE("a", "9") "---\n" SERVICE("b", "3"));
    await(fixture);
    assert_int_equal(port(fixture, "a"), 9);
    assert_null(problem(fixture, 0));
}

static void one_broken_document_leaves_the_others(void **state)
{
    struct fixture *fixture = *state;
    put_file(fixture, "a.yaml", SERVICE("a", "1") "---\n" SERVICE("b", "2"));
    open_directory(fixture);
    put_file(fixture, "a.yaml", "oh: [dear\n---\n" SERVICE("a", "70000") "---\n" SERVICE("c", "5"));
    await(fixture);
    assert_int_equal(port(fixture, "a"), 1);
    assert_int_equal(port(fixture, "b"), 2); /* the broken one may have been it */
    assert_int_equal(port(fixture, "c"), 5);
    assert_non_null(strstr(problem(fixture, 0)->text.data, "a.yaml:2:"));
    assert_non_null(strstr(problem(fixture, 1)->text.data, "a.yaml:6:23: "));
}

static void of_two_the_first_file_counts(void **state)
{
    struct fixture *fixture = *state;
    char path[256];
    put_file(fixture, "m.yaml", SERVICE("a", "1"));
    put_file(fixture, "z.yaml", SERVICE("a", "2") "---\n" SERVICE("a", "3"));
    open_directory(fixture);
    assert_int_equal(port(fixture, "a"), 1);
    assert_non_null(problem(fixture, 1));
    assert_string_equal(problem(fixture, 0)->text.data,
                        "z.yaml:1:1: a second Service default/a; the one in m.yaml:1 is in force");
    put_file(fixture, "b.yaml", SERVICE("a", "4"));
    await(fixture);
    assert_int_equal(port(fixture, "a"), 4);
    in_folder(fixture, "b.yaml", path);
    unlink(path);
    await(fixture);
    assert_int_equal(port(fixture, "a"), 1);
    in_folder(fixture, "m.yaml", path);
    unlink(path);
    await(fixture);
    assert_int_equal(port(fixture, "a"), 2);
    in_folder(fixture, "z.yaml", path);
    unlink(path);
    await(fixture);
    assert_null(service(fixture, "a"));
    assert_null(problem(fixture, 0));
}

/* As kubelet writes a ConfigMap volume: files are links through "..data", which is swapped by one rename. */
static void a_swap_of_links_is_seen(void **state)
{
    struct fixture *fixture = *state;
    char path[256], other[256];
    in_folder(fixture, "..one", path);
    assert_int_equal(mkdir(path, 0700), 0);
    put_file(fixture, "..one/a.yaml", SERVICE("a", "1"));
    in_folder(fixture, "..data", path);
    assert_int_equal(symlink("..one", path), 0);
    in_folder(fixture, "a.yaml", path);
    assert_int_equal(symlink("..data/a.yaml", path), 0);
    open_directory(fixture);
    assert_int_equal(port(fixture, "a"), 1);
    in_folder(fixture, "..two", path);
    assert_int_equal(mkdir(path, 0700), 0);
    put_file(fixture, "..two/a.yaml", SERVICE("a", "2"));
    in_folder(fixture, "..tmp", path);
    assert_int_equal(symlink("..two", path), 0);
    in_folder(fixture, "..data", other);
    assert_int_equal(rename(path, other), 0);
    await(fixture);
    assert_int_equal(port(fixture, "a"), 2);
}

static void a_policy_that_is_not_understood_denies(void **state)
{
    struct fixture *fixture = *state;
    put_file(fixture, "p.yaml",
             "apiVersion: fairlead.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {rules: [{}]}\n");
    open_directory(fixture);
    put_file(fixture, "p.yaml",
             "apiVersion: fairlead.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {rulez: [{}]}\n");
    await(fixture);
    const struct control_key key = {CONTROL_AUTHORIZATION_POLICY, FL_SPAN("default"), FL_SPAN("p")};
    const struct control_authorization_policy *policy =
        control_as_authorization_policy(control_model_get(control_store_model(fixture->store), key));
    assert_int_equal(policy->action, CONTROL_DENY);
    assert_true(policy->object.broken.len > 0);
}

static void what_is_too_deep_is_told(void **state)
{
    struct fixture *fixture = *state;
    char path[256];
    in_folder(fixture, "1", path);
    for (int depth = 0; depth < 9; depth++) {
        assert_int_equal(mkdir(path, 0700), 0);
        size_t used = strlen(path);
        snprintf(path + used, sizeof(path) - used, "/1");
    }
    open_directory(fixture);
    assert_true(control_directory_stats(fixture->directory).truncated);
    assert_non_null(strstr(problem(fixture, 0)->text.data, "left out"));
    in_folder(fixture, "1", path);
    folder_remove(path);
    await(fixture);
    assert_null(problem(fixture, 0));
}

static const struct control_object *authorization(const struct fixture *fixture, const char *name_space,
                                                  const char *name)
{
    const struct control_key key = {CONTROL_AUTHORIZATION_POLICY, fl_span_str(name_space), fl_span_str(name)};
    return control_model_get(control_store_model(fixture->store), key);
}

/* The root namespace is the installation's, wherever that is. */
static void what_closes_for_everybody_is_in_the_root(void **state)
{
    struct fixture *fixture = *state;
    control_store_set_root(fixture->store, FL_SPAN("mesh"));
    put_file(fixture, "nobody.yaml", "kind: AuthorizationPolicy\nmetadata: {name: for-whom, ");
    put_file(fixture, "wrong.yaml",
             "apiVersion: fairlead.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: odd, namespace: [1]}\n");
    open_directory(fixture);
    assert_true(authorization(fixture, "mesh", "for-whom")->broken.len > 0);
    assert_true(authorization(fixture, "mesh", "odd")->broken.len > 0);
    assert_null(authorization(fixture, "fairlead-system", "for-whom"));
}

#define POLICY(name)                                                                                                   \
    "apiVersion: fairlead.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: " name ", namespace: shop}\n"

/* As after a restart: nothing is known of the version before. */
static void a_policy_that_is_no_yaml_denies(void **state)
{
    struct fixture *fixture = *state;
    put_file(fixture, "cut.yaml", SERVICE("a", "1") "---\n" POLICY("cut") "spec: {rules: [{from: [{sou");
    put_file(fixture, "json.json", "{\"kind\":\"PeerAuthentication\",\"metadata\":{\"namespace\":\"shop\",");
    put_file(fixture, "nobody.yaml", "kind: AuthorizationPolicy\nmetadata: {name: for-whom, ");
    open_directory(fixture);
    assert_int_equal(port(fixture, "a"), 1);
    assert_true(authorization(fixture, "shop", "cut")->broken.len > 0);
    assert_true(authorization(fixture, "fairlead-system", "for-whom")->broken.len > 0);
    assert_int_equal(
        control_model_in(control_store_model(fixture->store), CONTROL_PEER_AUTHENTICATION, FL_SPAN("shop")).count, 1);

    put_file(fixture, "cut.yaml", SERVICE("a", "1") "---\n" POLICY("cut") "spec: {rules: []}\n");
    await(fixture);
    assert_int_equal(authorization(fixture, "shop", "cut")->broken.len, 0);
    put_file(fixture, "cut.yaml", SERVICE("a", "2") "---\n" POLICY("cut") "spec: {rules: [{from: [{sou");
    await(fixture);
    assert_int_equal(port(fixture, "a"), 2);
    assert_int_equal(authorization(fixture, "shop", "cut")->broken.len, 0); /* the last good version */
}

#define SETTINGS(spec)                                                                                                 \
    "apiVersion: fairlead.io/v1alpha1\nkind: MeshSettings\nmetadata: {name: default, namespace: fairlead-system}\n"    \
    "spec: " spec

static enum control_egress egress(const struct fixture *fixture)
{
    return control_model_settings(control_store_model(fixture->store)).egress;
}

/* As after a restart: what is not understood refuses what leaves the mesh. While the process lives the last good
 * version is better. */
static void settings_that_are_not_understood_refuse_egress(void **state)
{
    static const char *const broken[] = {
        SETTINGS("{egress: refuse, trustDomain: example.org}\n"),
        SETTINGS("{egress: AllowAny, trustDomain: example.org, meshCIDR: []}\n"),
        SETTINGS("[trustDomain]\n"),
        SETTINGS("{egress: Ref"),
        "kind: MeshSettings\nspec: {egress: Refuse",
    };
    struct fixture *fixture = *state;
    open_directory(fixture);
    for (size_t i = 0; i < FL_COUNT(broken); i++) {
        put_file(fixture, "s.yaml", broken[i]);
        await(fixture);
        struct control_settings settings = control_model_settings(control_store_model(fixture->store));
        assert_int_equal(settings.egress, CONTROL_EGRESS_REFUSE);
        assert_true(fl_span_eq_str(settings.trust_domain, i < 2 ? "example.org" : "cluster.local"));
        assert_non_null(problem(fixture, 0));
        put_file(fixture, "s.yaml", SERVICE("a", "1"));
        await(fixture);
        assert_int_equal(egress(fixture), CONTROL_EGRESS_ALLOW_ANY);
    }
    put_file(fixture, "s.yaml", SETTINGS("{egress: AllowAny}\n"));
    await(fixture);
    for (size_t i = 0; i < FL_COUNT(broken); i++) {
        put_file(fixture, "s.yaml", broken[i]);
        await(fixture);
        assert_int_equal(egress(fixture), CONTROL_EGRESS_ALLOW_ANY);
        assert_true(problem(fixture, 0)->kept);
    }
}

/* However many texts are no YAML, the policies that stand for them are few, and none of them is anybody's last good
 * version. */
static void very_many_broken_policies_are_closed_by_few(void **state)
{
    struct fixture *fixture = *state;
    struct fl_buf text;
    fl_buf_init(&text, 4 << 20);
    for (unsigned i = 0; i < 10 * CONTROL_DOCUMENTS_GUESSES; i++)
        assert_int_equal(fl_buf_append_str(&text, "kind: AuthorizationPolicy\nmetadata: {namespace: shop, [\n---\n"),
                         0);
    put_file(fixture, "a.yaml", fl_buf_str(&text));
    fl_buf_done(&text);
    open_directory(fixture);
    const enum control_kind kind = CONTROL_AUTHORIZATION_POLICY;
    assert_int_equal(control_model_in(control_store_model(fixture->store), kind, FL_SPAN("shop")).count,
                     CONTROL_DOCUMENTS_GUESSES);
    assert_int_equal(control_model_in(control_store_model(fixture->store), kind, FL_SPAN("fairlead-system")).count, 1);
    put_file(fixture, "b.yaml", "kind: AuthorizationPolicy\nmetadata: {namespace: other, [\n");
    await(fixture);
    put_file(fixture, "b.yaml", "kind: AuthorizationPolicy\nmetadata: {namespace: other, [\n# read again\n");
    put_file(fixture, "c.yaml", SERVICE("c", "1"));
    await(fixture);
    assert_int_equal(control_model_in(control_store_model(fixture->store), kind, FL_SPAN("other")).count, 1);
    put_file(fixture, "a.yaml", "a: [");
    await(fixture);
    assert_int_equal(control_model_in(control_store_model(fixture->store), kind, FL_SPAN("shop")).count, 0);
}

/* Errors in front of a policy, however many, do not hide it. */
static void a_policy_behind_many_errors_counts(void **state)
{
    struct fixture *fixture = *state;
    struct fl_buf text;
    fl_buf_init(&text, 1 << 20);
    for (unsigned i = 0; i < 2 * CONTROL_DOCUMENTS_ERRORS; i++)
        assert_int_equal(fl_buf_append_str(&text, "a: [\n---\n"), 0);
    assert_int_equal(fl_buf_append_str(&text, POLICY("last") "spec: {rules: []}\n"), 0);
    put_file(fixture, "a.yaml", fl_buf_str(&text));
    fl_buf_done(&text);
    open_directory(fixture);
    assert_non_null(authorization(fixture, "shop", "last"));
}

/* A folder that cannot be read for the moment (no descriptors left, say) is not an empty folder. */
static void a_folder_that_cannot_be_read_keeps_what_it_had(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit before, none;
    char path[256];
    in_folder(fixture, "sub", path);
    assert_int_equal(mkdir(path, 0700), 0);
    put_file(fixture, "sub/p.yaml", POLICY("p") "spec: {rules: []}\n");
    open_directory(fixture);
    put_file(fixture, "a.yaml", SERVICE("a", "1"));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)open("/dev/null", O_RDONLY | O_CLOEXEC) + 1; /* the folder itself can be opened */
    close((int)none.rlim_cur - 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (unsigned i = 0; i < 10 && control_directory_stats(fixture->directory).failures == 0; i++)
        assert_int_equal(fl_loop_turn(fixture->loop, 100), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_non_null(authorization(fixture, "shop", "p"));
    assert_true(control_directory_stats(fixture->directory).failures > 0);
    await(fixture);
    assert_int_equal(port(fixture, "a"), 1);
    assert_non_null(authorization(fixture, "shop", "p"));
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    struct fl_err err = {0};
    assert_int_equal(control_directory_open(fixture->loop, fixture->store, "/nowhere/at/all", on_commit, fixture,
                                            &fixture->directory, &err),
                     -ENOENT);
    assert_string_equal(err.text, "open folder /nowhere/at/all: No such file or directory");
}

static void a_change_is_in_force_soon(void **state)
{
    struct fixture *fixture = *state;
    struct timespec start, end;
    put_file(fixture, "a.yaml", SERVICE("a", "1"));
    open_directory(fixture);
    clock_gettime(CLOCK_MONOTONIC, &start);
    put_file(fixture, "a.yaml", SERVICE("a", "2"));
    await(fixture);
    clock_gettime(CLOCK_MONOTONIC, &end);
    int64_t ms = (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000;
    assert_true(ms < 1000); /* some 30 where the machine is idle */
}

static void memory_that_is_out_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    put_file(fixture, "a.yaml", SERVICE("a", "1") "---\n" SERVICE("b", "x"));
    put_file(fixture, "z.yaml", SERVICE("a", "2"));
    FAIL_EACH_ALLOCATION
    {
        struct control_store *store = NULL;
        struct control_directory *directory = NULL;
        int result = control_store_new(&store);
        if (result == 0)
            result = control_directory_open(fixture->loop, store, fixture->folder, NULL, NULL, &directory, NULL);
        fail_stop();
        if (result == 0)
            assert_non_null(control_model_problems(control_store_model(store)));
        else
            assert_int_equal(result, -ENOMEM);
        assert_true(fail_happened() || result == 0);
        control_directory_close(directory);
        control_store_free(store);
    }
}

static void texts_are_taken_apart(void **state)
{
    static const struct {
        const char *name, *text;
        size_t objects, problems;
    } rows[] = {
        {"nothing", "", 0, 0},
        {"comments", "# a\n---\n# b\n", 0, 0},
        {"no YAML", "a: [", 0, 1},
        {"a separator in front", "---\n" SERVICE("a", "1"), 1, 0},
        {"windows", "apiVersion: v1\r\nkind: Service\r\nmetadata: {name: a}\r\n---\r\nx: [\r\n", 1, 1},
        {"too many tags",
         "%TAG !a! b\n%TAG !a! b\n%TAG !a! b\n%TAG !a! b\n%TAG !a! b\n%TAG !a! b\n%TAG !a! b\n%TAG !a! b\n%TAG !a! b\n"
         "%TAG !a! b\n%TAG !a! b\n%TAG !a! b\n%TAG !a! b\n%TAG !a! b\n%TAG !a! b\n%TAG !a! b\n%TAG !a! b\n---\na: 1\n",
         0, 1},
        {"foreign kinds", "apiVersion: apps/v1\nkind: Deployment\n", 0, 0},
        {"an alias", "a: &x 1\nb: *x\n", 0, 1},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct control_documents documents;
        assert_int_equal(
            control_documents_read(fl_span_str(rows[i].text), "t", FL_SPAN(CONTROL_ROOT_DEFAULT), &documents), 0);
        if (documents.object_count != rows[i].objects || documents.problem_count != rows[i].problems)
            fail_msg("%s: %zu objects, %zu problems", rows[i].name, documents.object_count, documents.problem_count);
        control_documents_done(&documents);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_are_loaded_and_followed),
        TEST(an_error_leaves_the_last_good_version),
        TEST(one_broken_document_leaves_the_others),
        TEST(of_two_the_first_file_counts),
        TEST(a_swap_of_links_is_seen),
        TEST(a_policy_that_is_not_understood_denies),
        TEST(what_is_too_deep_is_told),
        TEST(a_policy_that_is_no_yaml_denies),
        TEST(what_closes_for_everybody_is_in_the_root),
        TEST(settings_that_are_not_understood_refuse_egress),
        TEST(very_many_broken_policies_are_closed_by_few),
        TEST(a_policy_behind_many_errors_counts),
        TEST(a_folder_that_cannot_be_read_keeps_what_it_had),
        TEST(a_folder_that_is_not_there_is_an_error),
        TEST(a_change_is_in_force_soon),
        TEST(memory_that_is_out_changes_nothing),
        cmocka_unit_test(texts_are_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
