#include "cli/complete.h"

#include "cli/commands.h"
#include "common/base/cleanup.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* What is offered, the descriptions cut off; "word word …". */
static enum cli_offer complete(const char *line, struct fl_buf *words)
{
    const char *typed[16];
    char copy[256], *rest = copy, *word;
    struct fl_buf out;
    size_t count = 0;
    enum cli_offer offer;
    (void)snprintf(copy, sizeof(copy), "%s", line);
    while ((word = strsep(&rest, " ")) != NULL)
        typed[count++] = word;
    fl_buf_init(&out, 65536);
    assert_int_equal(cli_complete(typed, count, &out, &offer), 0);
    struct fl_span lines = fl_buf_span(&out), one;
    while (lines.len > 0 && fl_span_split(&lines, '\n', &one)) {
        one.len = fl_span_find(one, '\t');
        assert_int_equal(fl_buf_printf(words, "%s%.*s", words->len > 0 ? " " : "", FL_SPAN_ARG(one)), 0);
    }
    fl_buf_done(&out);
    return offer;
}

static void places(void **state)
{
    static const struct {
        const char *line, *words;
        enum cli_offer offer;
    } rows[] = {
        {"sta", "status", CLI_OFFER_NOTHING},
        {"members --exp", "--expect-none", CLI_OFFER_NOTHING}, /* what helm uninstall asks */
        {"oxen ", "", CLI_OFFER_NOTHING},
        {"proxy-config ", "listeners routes clusters endpoints secrets", CLI_OFFER_NOTHING},
        {"proxy-config cl", "clusters", CLI_OFFER_NOTHING},
        {"proxy-config clusters ", "", CLI_OFFER_PODS},
        {"proxy-config -n shop cl", "clusters", CLI_OFFER_NOTHING},
        {"proxy-config --name clusters cl", "clusters", CLI_OFFER_NOTHING},
        {"status --k", "--kubeconfig --kubectl", CLI_OFFER_NOTHING},
        {"status --kubeconfig ", "", CLI_OFFER_FILES},
        {"status -n ", "", CLI_OFFER_NAMESPACES},
        {"status -o j", "json", CLI_OFFER_NOTHING},
        {"status --output ", "json text", CLI_OFFER_NOTHING},
        {"check --pr", "--pre", CLI_OFFER_NOTHING},
        {"check --pre -o ", "json text", CLI_OFFER_NOTHING},
        {"mtls r", "ready", CLI_OFFER_NOTHING},
        {"mtls ready ", "", CLI_OFFER_NAMESPACES},
        {"completion f", "fish", CLI_OFFER_NOTHING},
        {"inject ", "", CLI_OFFER_FILES},
        {"cni v", "verify", CLI_OFFER_NOTHING},
        {"cni -", "--help", CLI_OFFER_NOTHING},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_buf words;
        fl_buf_init(&words, 65536);
        enum cli_offer offer = complete(rows[i].line, &words);
        if (!fl_span_eq_str(fl_buf_span(&words), rows[i].words) || offer != rows[i].offer)
            fail_msg("\"%s\": \"%s\" %d", rows[i].line, fl_buf_str(&words), (int)offer);
        fl_buf_done(&words);
    }
}

/* No name twice, every row with a help, a value where the kind needs one. */
static void tables(void **state)
{
    (void)state;
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *command = cli_commands[i];
        assert_ptr_equal(cli_command_find(command->name), command);
        assert_true(strlen(command->summary) > 0 && command->run != NULL);
        assert_true(command->option_count <= CLI_OPTIONS_MAX);
        for (size_t j = 0; j < command->option_count; j++) {
            const struct cli_option *one = &command->options[j];
            assert_true(strlen(one->help) > 0 && strcmp(one->name, "help") != 0);
            assert_true((one->argument == NULL) == (one->kind == CLI_OPTION_FLAG) || one->kind == CLI_OPTION_CALL);
            for (size_t k = 0; k < j; k++) {
                assert_string_not_equal(command->options[k].name, one->name);
                assert_true(one->letter == '\0' || command->options[k].letter != one->letter);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(places), cmocka_unit_test(tables)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
