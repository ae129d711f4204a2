#include "cli/members.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define POD_OF(container, name, status, labels, phase)                                                                 \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"shop\",\"labels\":{" labels "},\"annotations\":{" status     \
    "}},\"spec\":{\"containers\":[{\"name\":\"" container "\"}]},\"status\":{\"phase\":\"" phase "\"}}"
#define POD(name, status, labels, phase) POD_OF("app", name, status, labels, phase)
#define GATEWAY_POD(name, labels, phase) POD_OF("fairlead-gateway", name, "", GATEWAY labels, phase)
#define STATUS(text)                     "\"fairlead.io/status\":\"" text "\""
#define OF(revision)                     STATUS("{\\\"revision\\\":\\\"" revision "\\\"}")
#define GATEWAY                          "\"gateway.networking.k8s.io/gateway-class-name\":\"fairlead\""
#define LIST(items)                      "{\"items\":[" items "]}"

static ptrdiff_t members(const char *text, const char *revision, struct fl_buf *out)
{
    struct fl_json *json = NULL;
    struct cli_table table;
    struct fl_err err = {0};
    if (fl_json_parse(fl_span_str(text), NULL, &json, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    cli_members_begin(&table);
    ptrdiff_t count = cli_members_add(&table, json, fl_span_str(revision));
    if (count >= 0)
        assert_int_equal(cli_table_print(&table, out), 0);
    cli_table_done(&table);
    fl_json_free(json);
    return count;
}

static void who_is_in_the_mesh(void **state)
{
    (void)state;
    static const struct {
        const char *what, *list, *revision;
        ptrdiff_t count;
    } rows[] = {
        {"nobody", LIST(""), "", 0},
        {"a pod that never met us", LIST(POD("a", "", "", "Running")), "", 0},
        {"a sidecar", LIST(POD("a", OF("default"), "", "Running")), "", 1},
        {"that starts", LIST(POD("a", OF("default"), "", "Pending")), "", 1},
        {"that has ended", LIST(POD("a", OF("default"), "", "Succeeded") "," POD("b", OF("default"), "", "Failed")), "",
         0},
        {"of this revision", LIST(POD("a", OF("canary"), "", "Running")), "canary", 1},
        {"of another", LIST(POD("a", OF("default"), "", "Running")), "canary", 0},
        {"of none that can be read", LIST(POD("a", STATUS("{"), "", "Running")), "canary", 1},
        {"by the form of before", LIST(POD("a", STATUS("injected"), "", "Running")), "default", 1},
        {"a gateway", LIST(GATEWAY_POD("a", "", "Running")), "default", 1},
        {"another mesh's", LIST(POD("a", "", GATEWAY, "Running")), "", 0},
        {"a gateway that has ended", LIST(GATEWAY_POD("a", "", "Failed")), "", 0},
        {"a gateway of another", LIST(GATEWAY_POD("a", ",\"fairlead.io/rev\":\"canary\"", "Running")), "default", 0},
        {"a gateway of a revision", LIST(GATEWAY_POD("a", ",\"fairlead.io/rev\":\"canary\"", "Running")), "canary", 1},
        {"several", LIST(POD("a", OF("default"), "", "Running") "," GATEWAY_POD("b", "", "Running")), "", 2},
        {"no list", "{\"kind\":\"Status\"}", "", -EINVAL},
        {"items that are none", "{\"items\":{}}", "", -EINVAL},
        {"pods that are none", LIST("1,null,[],\"x\",{}"), "", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fl_buf out;
        fl_buf_init(&out, 65536);
        if (members(rows[i].list, rows[i].revision, &out) != rows[i].count)
            fail_msg("%s: %s", rows[i].what, fl_buf_str(&out));
        fl_buf_done(&out);
    }
}

static void what_is_told_of_them(void **state)
{
    (void)state;
    struct fl_buf out;
    fl_buf_init(&out, 65536);
    assert_int_equal(
        members(LIST(POD("web", OF("canary"), "", "Running") "," GATEWAY_POD("edge", "", "Running")), "", &out), 2);
    assert_string_equal(fl_buf_str(&out), "NAMESPACE  POD   REVISION  WHAT\n"
                                          "shop       web   canary    sidecar\n"
                                          "shop       edge  default   gateway\n");
    fl_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_in_the_mesh),
        cmocka_unit_test(what_is_told_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
