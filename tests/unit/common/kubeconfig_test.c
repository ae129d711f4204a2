#include "common/kube/kubeconfig.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/fl-kubeconfig-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "token", "ca.crt", "namespace"};
    char path[128];
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static const char *write_file(const char *name, const char *text)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void assert_text(const char *text, const char *expected)
{
    if (expected == NULL)
        assert_null(text);
    else
        assert_string_equal(text, expected);
}

static void assert_bytes(const struct fl_kube_material *material, const char *expected)
{
    assert_null(material->file);
    assert_true(fl_span_eq_str(fl_buf_span(&material->pem), expected));
}

static const char whole[] =
    "apiVersion: v1\n"
    "kind: Config\n"
    "current-context: one\n"
    "preferences: {}\n"
    "contexts:\n"
    "- name: one\n"
    "  context: {cluster: c1, user: u1, namespace: team}\n"
    "- name: two\n"
    "  context: {cluster: c2, user: u2}\n"
    "- name: three\n"
    "  context: {cluster: c3}\n"
    "clusters:\n"
    "- name: c1\n"
    "  cluster:\n"
    "    server: https://10.0.0.1:6443\n"
    "    certificate-authority-data: Y2E=\n"
    "    certificate-authority: ignored.crt\n"
    "    tls-server-name: api.example\n"
    "    disable-compression: true\n"
    "- name: c2\n"
    "  cluster: {server: 'https://[::1]:6443', certificate-authority: ca.crt}\n"
    "- name: c3\n"
    "  cluster: {server: 'https://h', insecure-skip-tls-verify: true}\n"
    "users:\n"
    "- name: u1\n"
    "  user: {client-certificate-data: Y2VydA==, client-key-data: a2V5}\n"
    "- name: u2\n"
    "  user: {token: abc, tokenFile: /run/token, client-certificate: ./x/c.pem, client-key: /k.pem}\n";

static void contexts_are_read(void **state)
{
    (void)state;
    struct fl_kube_access access = {0};
    struct fl_err err = {0};
    assert_int_equal(fl_kubeconfig_parse(fl_span_str(whole), "/etc/a/config", NULL, NULL, &access, &err), 0);
    assert_text(access.server, "https://10.0.0.1:6443");
    assert_text(access.tls_server_name, "api.example");
    assert_text(access.name_space, "team");
    assert_bytes(&access.ca, "ca");
    assert_bytes(&access.cert, "cert");
    assert_bytes(&access.key, "key");
    assert_bytes(&access.token, "");
    assert_false(access.insecure);
    fl_kube_access_done(&access);

    assert_int_equal(fl_kubeconfig_parse(fl_span_str(whole), "/etc/a/config", "two", NULL, &access, &err), 0);
    assert_text(access.server, "https://[::1]:6443");
    assert_text(access.name_space, NULL);
    assert_text(access.ca.file, "/etc/a/ca.crt");
    assert_text(access.cert.file, "/etc/a/./x/c.pem");
    assert_text(access.key.file, "/k.pem");
    assert_text(access.token.file, "/run/token");
    fl_kube_access_done(&access);

    assert_int_equal(fl_kubeconfig_parse(fl_span_str(whole), "config", "three", NULL, &access, &err), 0);
    assert_true(access.insecure);
    assert_bytes(&access.token, "");
    fl_kube_access_done(&access);
}

#define USER "clusters: [{name: c, cluster: {server: 'https://h'}}]\nusers: [{name: u, user: "
#define HEAD "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"

static void what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
        const char *says;
    } rows[] = {
        {"", -ENOENT, "no current-context"},
        {"[]", -EINVAL, "expected one object"},
        {"a: 1\n---\nb: 2\n", -EINVAL, "expected one object"},
        {"a: [", -EINVAL, "f:"},
        {"current-context: a\n", -ENOENT, "no context is named \"a\""},
        {"current-context: a\ncontexts: 5\n", -ENOENT, "no context is named \"a\""},
        {"current-context: a\ncontexts: [{name: a}]\n", -EINVAL, "f:2:12: context: expected an object"},
        {"current-context: a\ncontexts: [{name: a, context: {cluster: 5}}]\n", -EINVAL, "cluster: expected a string"},
        {HEAD, -ENOENT, "no cluster is named \"c\""},
        {HEAD "clusters: [{name: c, cluster: {}}]\n", -EINVAL, "server is missing"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h', proxy-url: 'ftp://p'}}]\n", -EINVAL,
         "f:3:64: proxy-url: expected http://, https:// or socks5://"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h', insecure-skip-tls-verify: 1}}]\n", -EINVAL,
         "expected true or false"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h', insecure-skip-tls-verify: true,"
              " certificate-authority: x}}]\n",
         -EINVAL, "insecure-skip-tls-verify beside"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h', certificate-authority-data: '*'}}]\n", -EINVAL,
         "not base64"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h'}}]\n", -ENOENT, "no user is named \"u\""},
        {HEAD USER "{exec: {command: aws}}}]\n", -EINVAL, "f:4:32: user \"u\": exec is not supported here"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h'}}]\n"
              "users: [{name: u, user: {auth-provider: {name: oidc}}}]\n",
         -EINVAL, "auth-provider is not supported"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h'}}]\nusers: [{name: u, user: {username: a}}]\n",
         -EINVAL, "username is not supported"},
        {HEAD USER "{as: [root]}}]\n", -EINVAL, "as: expected text without control characters"},
        {HEAD USER "{as: \"a\\r\\nb\"}}]\n", -EINVAL, "as: expected text without control characters"},
        {HEAD USER "{as-groups: [a]}}]\n", -EINVAL, "need as beside them"},
        {HEAD USER "{as-uid: x}}]\n", -EINVAL, "need as beside them"},
        {HEAD USER "{as: a, as-groups: b}}]\n", -EINVAL, "as-groups: expected a list"},
        {HEAD USER "{as: a, as-groups: [b, 5]}}]\n", -EINVAL, "as-groups: expected text"},
        {HEAD USER "{as: a, as-user-extra: [b]}}]\n", -EINVAL, "as-user-extra: expected an object of lists"},
        {HEAD USER "{as: a, as-user-extra: {b: c}}}]\n", -EINVAL, "as-user-extra: expected an object of lists"},
        {HEAD USER "{as: a, as-user-extra: {b: [\"\\n\"]}}}]\n", -EINVAL, "as-user-extra: expected text"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h'}}]\n"
              "users: [{name: u, user: {client-certificate: x}}]\n",
         -EINVAL, "belong together"},
        {HEAD "clusters: [{name: c, cluster: {server: 'http://h'}}]\nusers: [{name: u, user: {token: x}}]\n", -EINVAL,
         "credentials are not sent over http"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_kube_access access = {0};
        struct fl_err err = {0};
        int result = fl_kubeconfig_parse(fl_span_str(rows[i].text), "f", NULL, NULL, &access, &err);
        if (result != rows[i].result || strstr(err.text, rows[i].says) == NULL)
            fail_msg("row %zu: %d %s", i, result, err.text);
        assert_null(access.server);
    }
}

static const char with_plugins[] = "current-context: eks\n"
                                   "contexts:\n"
                                   "- name: eks\n"
                                   "  context: {cluster: c, user: eks}\n"
                                   "- name: gke\n"
                                   "  context: {cluster: c, user: gke}\n"
                                   "clusters:\n"
                                   "- name: c\n"
                                   "  cluster:\n"
                                   "    server: https://h\n"
                                   "    tls-server-name: api\n"
                                   "    proxy-url: http://p:3128\n"
                                   "    certificate-authority-data: Y2E=\n"
                                   "    disable-compression: true\n"
                                   "    extensions:\n"
                                   "    - {name: other, extension: 1}\n"
                                   "    - name: client.authentication.k8s.io/exec\n"
                                   "      extension: {audience: 06e3fbd18de8, number: 1e3}\n"
                                   "users:\n"
                                   "- name: eks\n"
                                   "  user:\n"
                                   "    exec:\n"
                                   "      apiVersion: client.authentication.k8s.io/v1beta1\n"
                                   "      command: aws\n"
                                   "      args: [--region, eu-central-1, eks, get-token]\n"
                                   "      env:\n"
                                   "      - {name: AWS_PROFILE, value: work}\n"
                                   "      - {name: EMPTY}\n"
                                   "- name: gke\n"
                                   "  user:\n"
                                   "    as: jane\n"
                                   "    as-uid: 42-1\n"
                                   "    as-groups: [dev, 'system:masters']\n"
                                   "    as-user-extra: {example.org/Reason%: [one, 'two, three'], scopes: [x]}\n"
                                   "    exec:\n"
                                   "      apiVersion: client.authentication.k8s.io/v1\n"
                                   "      command: bin/gke-gcloud-auth-plugin\n"
                                   "      installHint: Install it\n"
                                   "      provideClusterInfo: true\n"
                                   "      interactiveMode: Never\n"
                                   "      args: null\n"
                                   "      env: null\n";

/* Never called here. */
static int start(const struct fl_kube_starter *starter, const struct fl_kube_plugin *plugin,
                 struct fl_kube_plugin_answer *ret_answer, struct fl_err *err)
{
    (void)starter;
    (void)plugin;
    (void)ret_answer;
    return fl_err_set(err, -ENOSYS, "not to be started by reading");
}

static const struct fl_kube_starter starter = {.start = start};

static void plugins_are_read(void **state)
{
    (void)state;
    struct fl_kube_access access = {0};
    struct fl_err err = {0};
    if (fl_kubeconfig_parse(fl_span_str(with_plugins), "/etc/a/config", NULL, &starter, &access, &err) < 0)
        fail_msg("%s", err.text);
    assert_ptr_equal(access.starter, &starter);
    assert_text(access.proxy, "http://p:3128");
    assert_text(access.plugin->user, "eks");
    assert_text(access.plugin->command, "aws");
    assert_int_equal(access.plugin->arg_count, 4);
    assert_text(access.plugin->args[1], "eu-central-1");
    assert_int_equal(access.plugin->env_count, 2);
    assert_text(access.plugin->env[0], "AWS_PROFILE=work");
    assert_text(access.plugin->env[1], "EMPTY=");
    assert_text(access.plugin->api_version, "client.authentication.k8s.io/v1beta1");
    assert_int_equal(access.plugin->mode, FL_KUBE_PLUGIN_IF_AVAILABLE);
    assert_text(access.plugin->cluster, NULL);
    assert_text(access.plugin->install_hint, NULL);
    assert_int_equal(access.header_count, 0);
    fl_kube_access_done(&access);

    if (fl_kubeconfig_parse(fl_span_str(with_plugins), "/etc/a/config", "gke", &starter, &access, &err) < 0)
        fail_msg("%s", err.text);
    assert_text(access.plugin->command, "/etc/a/bin/gke-gcloud-auth-plugin");
    assert_text(access.plugin->install_hint, "Install it");
    assert_int_equal(access.plugin->mode, FL_KUBE_PLUGIN_NEVER);
    assert_int_equal(access.plugin->arg_count + access.plugin->env_count, 0);
    assert_text(access.plugin->cluster,
                "{\"server\":\"https://h\",\"tls-server-name\":\"api\",\"certificate-authority-data\":\"Y2E=\","
                "\"proxy-url\":\"http://p:3128\",\"disable-compression\":true,"
                "\"config\":{\"audience\":\"06e3fbd18de8\",\"number\":1e3}}");
    static const char *const headers[] = {"Impersonate-User: jane",
                                          "Impersonate-Uid: 42-1",
                                          "Impersonate-Group: dev",
                                          "Impersonate-Group: system:masters",
                                          "Impersonate-Extra-example.org%2FReason%25: one",
                                          "Impersonate-Extra-example.org%2FReason%25: two, three",
                                          "Impersonate-Extra-scopes: x"};
    assert_int_equal(access.header_count, FL_COUNT(headers));
    for (size_t i = 0; i < FL_COUNT(headers); i++)
        assert_text(access.headers[i], headers[i]);
    fl_kube_access_done(&access);
}

#define V1 "apiVersion: client.authentication.k8s.io/v1"

static void plugins_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *user, *says;
    } rows[] = {
        {"{exec: aws}}]", "exec: expected an object"},
        {"{exec: {" V1 ", interactiveMode: Never}}}]", "exec: command: expected a program"},
        {"{exec: {command: 5}}}]", "command: expected a string, got a number"},
        {"{exec: {command: aws}}}]", "exec: apiVersion: expected client.authentication.k8s.io/v1 or "},
        {"{exec: {command: aws, apiVersion: client.authentication.k8s.io/v1alpha1}}}]",
         "got \"client.authentication.k8s.io/v1alpha1\""},
        {"{exec: {command: aws, " V1 "}}}]", "exec: interactiveMode: expected Never, IfAvailable or Always"},
        {"{exec: {command: aws, " V1 ", interactiveMode: never}}}]", "got \"never\""},
        {"{exec: {command: aws, " V1 ", interactiveMode: Never, args: x}}}]", "args: expected a list"},
        {"{exec: {command: aws, " V1 ", interactiveMode: Never, args: [5]}}}]",
         "exec: args: expected strings, got a number"},
        {"{exec: {command: aws, " V1 ", interactiveMode: Never, env: [{name: a=b, value: c}]}}}]",
         "exec: env: expected"},
        {"{exec: {command: aws, " V1 ", interactiveMode: Never, env: [{value: c}]}}}]", "exec: env: expected"},
        {"{exec: {command: aws, " V1 ", interactiveMode: Never, env: [{name: a, value: 5}]}}}]", "exec: env: expected"},
        {"{exec: {command: aws, " V1 ", interactiveMode: Never, provideClusterInfo: 1}}}]",
         "exec: provideClusterInfo: expected true or false"},
        {"{token: t, exec: {command: aws, " V1 ", interactiveMode: Never}}}]", "user \"u\": exec beside a token"},
        {"{exec: {command: aws, " V1 ", interactiveMode: Never}, auth-provider: {name: oidc}}}]",
         "auth-provider is not supported"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_kube_access access = {0};
        struct fl_err err = {0};
        char text[1024];
        snprintf(text, sizeof(text), HEAD USER "%s\n", rows[i].user);
        int result = fl_kubeconfig_parse(fl_span_str(text), "f", NULL, &starter, &access, &err);
        if (result != -EINVAL || strstr(err.text, rows[i].says) == NULL || strncmp(err.text, "f:4:", 4) != 0)
            fail_msg("row %zu: %d %s", i, result, err.text);
        assert_null(access.server);
    }
    struct fl_kube_access access = {0};
    struct fl_err err = {0};
    assert_int_equal(fl_kubeconfig_parse(FL_SPAN(HEAD "clusters: [{name: c, cluster: {server: 'http://h'}}]\n"
                                                      "users: [{name: u, user: {exec: {command: aws, " V1
                                                      ", interactiveMode: Never}}}]\n"),
                                         "f", NULL, &starter, &access, &err),
                     -EINVAL);
    assert_non_null(strstr(err.text, "credentials are not sent over http"));
    assert_int_equal(fl_kubeconfig_parse(FL_SPAN(HEAD "clusters: [{name: c, cluster: {server: 'https://h', "
                                                      "certificate-authority: /nowhere/ca}}]\n"
                                                      "users: [{name: u, user: {exec: {command: aws, " V1
                                                      ", interactiveMode: Never, provideClusterInfo: true}}}]\n"),
                                         "f", NULL, &starter, &access, &err),
                     -EINVAL);
    assert_non_null(strstr(err.text, "/nowhere/ca: No such file"));
}

static void several_files(void **state)
{
    (void)state;
    struct fl_kube_access access = {0};
    struct fl_err err = {0};
    char list[512];
    write_file("a", "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n");
    write_file("b",
               "current-context: y\nclusters: [{name: c, cluster: {server: 'https://h', certificate-authority: ca}}]\n"
               "users: [{name: u, user: {token: t}}]\n");
    snprintf(list, sizeof(list), "%s/nowhere:%s/a::%s/b", folder, folder, folder);
    if (fl_kubeconfig_load(list, NULL, NULL, &access, &err) < 0)
        fail_msg("%s", err.text);
    snprintf(list, sizeof(list), "%s/ca", folder);
    assert_text(access.ca.file, list);
    assert_bytes(&access.token, "t");
    fl_kube_access_done(&access);
    snprintf(list, sizeof(list), "%s/nowhere", folder);
    assert_int_equal(fl_kubeconfig_load(list, NULL, NULL, &access, &err), -ENOENT);
    snprintf(list, sizeof(list), "%s/n:%s/m", folder, folder);
    assert_int_equal(fl_kubeconfig_load(list, NULL, NULL, &access, &err), -ENOENT);
    assert_int_equal(fl_kubeconfig_load("1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17", NULL, NULL, &access, &err),
                     -EINVAL);
}

static void a_pod(void **state)
{
    (void)state;
    struct fl_kube_access access = {0};
    struct fl_err err = {0};
    unsetenv("KUBERNETES_SERVICE_HOST");
    assert_int_equal(fl_kube_in_cluster(folder, &access, &err), -ENOENT);
    assert_int_equal(setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1), 0);
    assert_int_equal(setenv("KUBERNETES_SERVICE_PORT", "443", 1), 0);
    write_file("namespace", "mesh\n");
    char path[128];
    assert_int_equal(fl_kube_in_cluster(folder, &access, &err), 0);
    assert_text(access.server, "https://[fd00::1]:443");
    assert_text(access.name_space, "mesh");
    snprintf(path, sizeof(path), "%s/token", folder);
    assert_text(access.token.file, path);
    snprintf(path, sizeof(path), "%s/ca.crt", folder);
    assert_text(access.ca.file, path);
    fl_kube_access_done(&access);
    static const char *const ports[] = {"0", "65536", "x", "443/"};
    for (size_t i = 0; i < FL_COUNT(ports); i++) {
        assert_int_equal(setenv("KUBERNETES_SERVICE_PORT", ports[i], 1), 0);
        assert_int_equal(fl_kube_in_cluster(folder, &access, &err), -EINVAL);
    }
    unsetenv("KUBERNETES_SERVICE_HOST");
}

static void where_a_tool_looks(void **state)
{
    (void)state;
    struct fl_kube_access access = {0};
    struct fl_err err = {0};
    assert_int_equal(setenv("HOME", folder, 1), 0);
    unsetenv("KUBERNETES_SERVICE_HOST");
    unsetenv("KUBECONFIG");
    assert_int_equal(fl_kube_find(NULL, NULL, NULL, &access, &err), -ENOENT);
    assert_int_equal(setenv("KUBECONFIG", write_file("a", whole), 1), 0);
    assert_int_equal(fl_kube_find(NULL, NULL, NULL, &access, &err), 0);
    assert_text(access.server, "https://10.0.0.1:6443");
    fl_kube_access_done(&access);
    char path[128];
    snprintf(path, sizeof(path), "%s", write_file("b", "current-context: x\n"));
    assert_int_equal(fl_kube_find(path, NULL, NULL, &access, &err), -ENOENT); /* what was asked for wins */
    unsetenv("KUBECONFIG");
}

/* A program of the mesh is told, and looks nowhere else: what lies in its environment is not asked for. */
static void where_a_program_looks(void **state)
{
    (void)state;
    struct fl_kube_access access = {0};
    struct fl_err err = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s", write_file("a", whole));
    unsetenv("KUBERNETES_SERVICE_HOST");
    assert_int_equal(setenv("KUBECONFIG", path, 1), 0);
    assert_int_equal(fl_kube_locate(NULL, NULL, &access, &err), -ENOENT);
    unsetenv("KUBECONFIG");
    assert_int_equal(fl_kube_locate(path, NULL, &access, &err), 0);
    assert_text(access.server, "https://10.0.0.1:6443");
    fl_kube_access_done(&access);
    assert_int_equal(fl_kube_locate(path, "nobody", &access, &err), -ENOENT);
}

static void each_allocation_fails(void **state)
{
    (void)state;
    static const char *const contexts[] = {"one", "two", "eks", "gke"};
    for (size_t i = 0; i < FL_COUNT(contexts); i++) {
        const char *text = i < 2 ? whole : with_plugins;
        FAIL_EACH_ALLOCATION
        {
            struct fl_kube_access access = {0};
            int result = fl_kubeconfig_parse(fl_span_str(text), "/d/f", contexts[i], &starter, &access, NULL);
            fail_stop();
            if (fail_happened())
                assert_int_equal(result, -ENOMEM);
            else
                assert_int_equal(result, 0);
            fl_kube_access_done(&access);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contexts_are_read),     cmocka_unit_test(what_is_refused),
        cmocka_unit_test(plugins_are_read),      cmocka_unit_test(plugins_that_are_refused),
        cmocka_unit_test(several_files),         cmocka_unit_test(a_pod),
        cmocka_unit_test(where_a_tool_looks),    cmocka_unit_test(each_allocation_fails),
        cmocka_unit_test(where_a_program_looks),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
