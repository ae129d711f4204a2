#include "cli/option.h"

#include "cli/command.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct settings {
    struct cli_access access;
    bool json, flag;
    const char *taken;
};

static int take_word(void *settings, const char *command, const char *value)
{
    struct settings *into = settings;
    if (strcmp(value, "bad") == 0)
        return cli_wrong(command, "--word: expected another, got \"%s\"", value);
    into->taken = value;
    return -1;
}

static const struct cli_option options[] = {
    CLI_ACCESS_OPTIONS(struct settings, "the namespace"),
    CLI_FORM_OPTION(struct settings, json),
    {.name = "flag",
     .letter = 'f',
     .kind = CLI_OPTION_FLAG,
     .offset = offsetof(struct settings, flag),
     .help = "a flag"},
    {.name = "word", .kind = CLI_OPTION_CALL, .argument = "WORD", .help = "a word\nof two lines", .take = take_word},
};
static const struct cli_command command = {
    .name = "try",
    .usage = "A\nB",
    .about = "About it.\n",
    .tail = "The tail.\n",
    .options = options,
    .option_count = FL_COUNT(options),
};

static int read_words(struct settings *settings, int *operand, const char *const *words)
{
    static char *argv[16];
    int argc = 0;
    *settings = (struct settings){0};
    for (argv[argc++] = (char *)(uintptr_t) "try"; *words != NULL; words++)
        argv[argc++] = (char *)(uintptr_t)*words;
    argv[argc] = NULL;
    int status = cli_options_read(&command, argc, argv, settings, operand);
    return status < 0 ? argc - *operand : -1 - status;
}
#define READ(...) read_words(&settings, &operand, (const char *const[]){__VA_ARGS__, NULL})

static void values_and_operands(void **state)
{
    struct settings settings;
    int operand;
    (void)state;
    assert_int_equal(READ("-n", "shop", "x", "--timeout=2m", "-fo", "json", "y"), 2);
    assert_string_equal(settings.access.name_space, "shop");
    assert_int_equal(settings.access.timeout_ms, 120000);
    assert_true(settings.flag && settings.json);
    assert_int_equal(READ("--out", "table", "--", "-f"), 1);
    assert_false(settings.flag || settings.json);
    assert_int_equal(READ("--word", "a"), 0);
    assert_string_equal(settings.taken, "a");
}

static void what_is_wrong(void **state)
{
    struct settings settings;
    int operand, usage = -1 - CLI_USAGE;
    (void)state;
    assert_int_equal(READ("-o", "xml"), usage);
    assert_int_equal(READ("--timeout", "1"), usage);
    assert_int_equal(READ("--nothing"), usage);
    assert_int_equal(READ("--con=x", "--kube"), usage);
    assert_int_equal(READ("--flag=1"), usage);
    assert_int_equal(READ("-z"), usage);
    assert_int_equal(READ("--word", "bad"), usage);
}

static void times(void **state)
{
    static const struct {
        const char *text;
        unsigned ms; /* 0: refused */
    } rows[] = {
        {"1ms", 1}, {"10s", 10000}, {"2m", 120000},   {"1h", 3600000},
        {"61m", 0}, {"0s", 0},      {"", 0},          {"10", 0},
        {"s", 0},   {"-1s", 0},     {"1.5s", 0},      {"1s ", 0},
        {"1 s", 0}, {"1d", 0},      {"3600001ms", 0}, {"99999999999999999999s", 0},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        unsigned ms = 0;
        assert_int_equal(cli_time_read(rows[i].text, &ms), rows[i].ms != 0);
        assert_int_equal(ms, rows[i].ms);
    }
}

static void help(void **state)
{
    struct fl_buf out;
    (void)state;
    fl_buf_init(&out, 4096);
    assert_int_equal(cli_options_help(&command, &out), 0);
    const char *text = fl_buf_str(&out);
    assert_non_null(
        strstr(text, "usage: fairlead try A\n       fairlead try B\n\nAbout it.\n\n  -n, --namespace NAME"));
    assert_non_null(strstr(text, "      --word WORD             a word\n                              of two lines\n"));
    assert_non_null(strstr(text, "  -h, --help                  this text\n\nThe tail.\n"));
    fl_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_operands),
        cmocka_unit_test(what_is_wrong),
        cmocka_unit_test(times),
        cmocka_unit_test(help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
