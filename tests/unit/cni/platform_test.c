/* cni/install/platform: the table by name, and as JSON. */
#include "cni/install/platform.h"

#include "common/doc/json.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_by_name(void **state)
{
    (void)state;
    static const char *const names[] = {"kubeadm",  "gke",      "eks",       "aks",  "k3s",
                                        "microk8s", "minikube", "openshift", "talos"};
    size_t count;
    const struct cni_platform *platforms = cni_platforms(&count);
    assert_int_equal(count, FL_COUNT(names));
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(platforms[i].name, names[i]);
        assert_ptr_equal(cni_platform_find(names[i]), &platforms[i]);
        assert_int_equal(platforms[i].conf_dir[0], '/');
        assert_int_equal(platforms[i].bin_dir[0], '/');
        assert_int_equal(platforms[i].netns_dir[0], '/');
    }
    assert_null(cni_platform_find("Kubeadm"));
    assert_null(cni_platform_find(""));
    assert_int_equal(cni_platform_find("openshift")->mode, CNI_INSTALL_STANDALONE);
}

static void test_json(void **state)
{
    (void)state;
    size_t count;
    const struct cni_platform *platforms = cni_platforms(&count);
    FAIL_EACH_ALLOCATION
    {
        FL_CLEANUP(fl_buf_done) struct fl_buf out;
        fl_buf_init(&out, 1u << 16);
        int result = cni_platforms_print_json(&out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (result < 0)
            continue;
        FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
        assert_int_equal(fl_json_parse(fl_buf_span(&out), NULL, &root, NULL), 0);
        const struct fl_json *list = fl_json_get(root, "platforms");
        assert_int_equal(fl_json_count(list), count);
        for (size_t i = 0; i < count; i++) {
            const struct fl_json *one = fl_json_at(list, i);
            assert_true(fl_span_eq_str(fl_json_string(fl_json_get(one, "confDir")), platforms[i].conf_dir));
            assert_true(
                fl_span_eq_str(fl_json_string(fl_json_get(one, "mode")), cni_install_mode_name(platforms[i].mode)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_name),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
