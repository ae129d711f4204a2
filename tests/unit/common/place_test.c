/* common/mesh/place: a table of texts. */
#include "common/mesh/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void table_of_places(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host; /* host NULL: no place */
        bool is_name;
        uint16_t port;
    } rows[] = {
        {"10.96.0.5:15012", "10.96.0.5", false, 15012},
        {"[fd00::5]:1", "fd00::5", false, 1},
        {"[::ffff:10.0.0.1]:65535", "::ffff:10.0.0.1", false, 65535},
        {"control.mesh.svc:15012", "control.mesh.svc", true, 15012},
        {"control.mesh.svc.:15012", "control.mesh.svc", true, 15012},
        {"a:1", "a", true, 1},
        {"1a.2b:1", "1a.2b", true, 1},
        {"", NULL, false, 0},
        {":1", NULL, false, 0},
        {".:1", NULL, false, 0},
        {"control.mesh.svc", NULL, false, 0},
        {"control.mesh.svc:", NULL, false, 0},
        {"control.mesh.svc:0", NULL, false, 0},
        {"control.mesh.svc:65536", NULL, false, 0},
        {"control.mesh.svc:+1", NULL, false, 0},
        {"control..svc:1", NULL, false, 0},
        {"Control.svc:1", NULL, false, 0},
        {"con_trol:1", NULL, false, 0},
        {"10.96.0.256:1", NULL, false, 0},
        {"10.96.0:1", NULL, false, 0},
        {"fd00::5:1", NULL, false, 0},
        {"[fd00::5]", NULL, false, 0},
        {"[fd00::5:1", NULL, false, 0},
        {"[]:1", NULL, false, 0},
        {"[10.0.0.1]:1", NULL, false, 0},
        {"[control]:1", NULL, false, 0},
        {" a:1", NULL, false, 0},
        {"https://a:1", NULL, false, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fl_place place = {0};
        bool good = fl_place_parse(fl_span_str(rows[i].text), &place);
        if (good != (rows[i].host != NULL))
            fail_msg("%s", rows[i].text);
        if (good && (!fl_span_eq_str(place.host, rows[i].host) || place.is_name != rows[i].is_name ||
                     place.port != rows[i].port))
            fail_msg("%s: %.*s %d %d", rows[i].text, FL_SPAN_ARG(place.host), place.is_name, place.port);
    }
    struct fl_place place;
    assert_false(fl_place_parse(fl_span_make("10.0.0.1\0:80", 12), &place));
    assert_false(fl_place_parse(fl_span_make("a\0b:80", 6), &place));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(table_of_places)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
