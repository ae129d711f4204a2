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
    assert_int_equal(fl_kubeconfig_parse(fl_span_str(whole), "/etc/a/config", NULL, &access, &err), 0);
    assert_text(access.server, "https://10.0.0.1:6443");
    assert_text(access.tls_server_name, "api.example");
    assert_text(access.name_space, "team");
    assert_bytes(&access.ca, "ca");
    assert_bytes(&access.cert, "cert");
    assert_bytes(&access.key, "key");
    assert_bytes(&access.token, "");
    assert_false(access.insecure);
    fl_kube_access_done(&access);

    assert_int_equal(fl_kubeconfig_parse(fl_span_str(whole), "/etc/a/config", "two", &access, &err), 0);
    assert_text(access.server, "https://[::1]:6443");
    assert_text(access.name_space, NULL);
    assert_text(access.ca.file, "/etc/a/ca.crt");
    assert_text(access.cert.file, "/etc/a/./x/c.pem");
    assert_text(access.key.file, "/k.pem");
    assert_text(access.token.file, "/run/token");
    fl_kube_access_done(&access);

    assert_int_equal(fl_kubeconfig_parse(fl_span_str(whole), "config", "three", &access, &err), 0);
    assert_true(access.insecure);
    assert_bytes(&access.token, "");
    fl_kube_access_done(&access);
}

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
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h', proxy-url: 'http://p'}}]\n", -EINVAL,
         "f:3:64: proxy-url is not supported"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h', insecure-skip-tls-verify: 1}}]\n", -EINVAL,
         "expected true or false"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h', insecure-skip-tls-verify: true,"
              " certificate-authority: x}}]\n",
         -EINVAL, "insecure-skip-tls-verify beside"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h', certificate-authority-data: '*'}}]\n", -EINVAL,
         "not base64"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h'}}]\n", -ENOENT, "no user is named \"u\""},
        {HEAD
         "clusters: [{name: c, cluster: {server: 'https://h'}}]\nusers: [{name: u, user: {exec: {command: aws}}}]\n",
         -EINVAL, "exec is not supported"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h'}}]\n"
              "users: [{name: u, user: {auth-provider: {name: oidc}}}]\n",
         -EINVAL, "auth-provider is not supported"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h'}}]\nusers: [{name: u, user: {username: a}}]\n",
         -EINVAL, "username is not supported"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h'}}]\nusers: [{name: u, user: {as: root}}]\n", -EINVAL,
         "as is not supported"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h'}}]\n"
              "users: [{name: u, user: {client-certificate: x}}]\n",
         -EINVAL, "belong together"},
        {HEAD "clusters: [{name: c, cluster: {server: 'http://h'}}]\nusers: [{name: u, user: {token: x}}]\n", -EINVAL,
         "credentials are not sent over http"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_kube_access access = {0};
        struct fl_err err = {0};
        int result = fl_kubeconfig_parse(fl_span_str(rows[i].text), "f", NULL, &access, &err);
        if (result != rows[i].result || strstr(err.text, rows[i].says) == NULL)
            fail_msg("row %zu: %d %s", i, result, err.text);
        assert_null(access.server);
    }
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
    if (fl_kubeconfig_load(list, NULL, &access, &err) < 0)
        fail_msg("%s", err.text);
    snprintf(list, sizeof(list), "%s/ca", folder);
    assert_text(access.ca.file, list);
    assert_bytes(&access.token, "t");
    fl_kube_access_done(&access);
    snprintf(list, sizeof(list), "%s/nowhere", folder);
    assert_int_equal(fl_kubeconfig_load(list, NULL, &access, &err), -ENOENT);
    snprintf(list, sizeof(list), "%s/n:%s/m", folder, folder);
    assert_int_equal(fl_kubeconfig_load(list, NULL, &access, &err), -ENOENT);
    assert_int_equal(fl_kubeconfig_load("1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17", NULL, &access, &err), -EINVAL);
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
    assert_int_equal(fl_kube_find(NULL, NULL, &access, &err), -ENOENT);
    assert_int_equal(setenv("KUBECONFIG", write_file("a", whole), 1), 0);
    assert_int_equal(fl_kube_find(NULL, NULL, &access, &err), 0);
    assert_text(access.server, "https://10.0.0.1:6443");
    fl_kube_access_done(&access);
    char path[128];
    snprintf(path, sizeof(path), "%s", write_file("b", "current-context: x\n"));
    assert_int_equal(fl_kube_find(path, NULL, &access, &err), -ENOENT); /* what was asked for wins */
    unsetenv("KUBECONFIG");
}

static void each_allocation_fails(void **state)
{
    (void)state;
    static const char *const contexts[] = {"one", "two"};
    for (size_t i = 0; i < FL_COUNT(contexts); i++) {
        FAIL_EACH_ALLOCATION
        {
            struct fl_kube_access access = {0};
            int result = fl_kubeconfig_parse(fl_span_str(whole), "/d/f", contexts[i], &access, NULL);
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
        cmocka_unit_test(contexts_are_read),  cmocka_unit_test(what_is_refused),
        cmocka_unit_test(several_files),      cmocka_unit_test(a_pod),
        cmocka_unit_test(where_a_tool_looks), cmocka_unit_test(each_allocation_fails),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
