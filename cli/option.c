#include "cli/option.h"

#include "cli/command.h"

#include <getopt.h>
#include <stdio.h>

#define HELP_MAX   65536
#define FIRST_LONG 256 /* codes of options without a letter */
#define INDENT     "                              "

bool cli_time_read(const char *text, unsigned *ret_ms)
{
    static const struct {
        const char *unit;
        unsigned ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    size_t digits = strspn(text, "0123456789");
    uint64_t number;
    if (!fl_span_to_u64(fl_span_make(text, digits), CLI_TIMEOUT_MAX_MS, &number) || number == 0)
        return false;
    for (size_t i = 0; i < FL_COUNT(units); i++)
        if (strcmp(text + digits, units[i].unit) == 0 && number * units[i].ms <= CLI_TIMEOUT_MAX_MS) {
            *ret_ms = (unsigned)number * units[i].ms;
            return true;
        }
    return false;
}

/* --- help ------------------------------------------------------------------------------------------------------- */

static int print_lines(const char *text, const char *first, const char *others, struct fl_buf *out)
{
    struct fl_span rest = fl_span_str(text), line;
    int result = 0;
    for (const char *lead = first; result == 0 && fl_span_split(&rest, '\n', &line); lead = others)
        result = fl_buf_printf(out, "%s%.*s\n", lead, FL_SPAN_ARG(line));
    return result;
}

static int print_option(const struct cli_option *option, struct fl_buf *out)
{
    char name[64], letter[8] = "     ";
    if (option->letter != '\0')
        (void)snprintf(letter, sizeof(letter), "  -%c,", option->letter);
    (void)snprintf(name, sizeof(name), "%s --%s%s%s", letter, option->name, option->argument != NULL ? " " : "",
                   option->argument != NULL ? option->argument : "");
    int result = strlen(name) + 2 > strlen(INDENT) ? fl_buf_printf(out, "%s\n" INDENT, name)
                                                   : fl_buf_printf(out, "%-*s", (int)strlen(INDENT), name);
    return result < 0 ? result : print_lines(option->help, "", INDENT, out);
}

int cli_options_help(const struct cli_command *command, struct fl_buf *out)
{
    static const struct cli_option help = {.name = "help", .letter = 'h', .help = "this text"};
    char first[96], others[96];
    (void)snprintf(first, sizeof(first), "usage: fairlead %s ", command->name);
    (void)snprintf(others, sizeof(others), "       fairlead %s ", command->name);
    int result = print_lines(command->usage, first, others, out);
    if (result == 0 && command->about[0] != '\0')
        result = fl_buf_printf(out, "\n%s", command->about);
    if (result == 0)
        result = fl_buf_append_byte(out, '\n');
    for (size_t i = 0; i < command->option_count && result == 0; i++)
        result = print_option(&command->options[i], out);
    if (result == 0)
        result = print_option(&help, out);
    return result == 0 && command->tail != NULL ? fl_buf_printf(out, "\n%s", command->tail) : result;
}

static int print_help(const struct cli_command *command)
{
    struct fl_buf out;
    fl_buf_init(&out, HELP_MAX);
    int result = cli_options_help(command, &out);
    bool written = result == 0 && fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    fl_buf_done(&out);
    return written ? CLI_OK : cli_failed(command->name, "the output could not be written");
}

/* --- values ----------------------------------------------------------------------------------------------------- */

static int take_form(const struct cli_command *command, const char *value, bool *ret_json)
{
    bool json = strcmp(value, "json") == 0;
    if (!json && strcmp(value, "text") != 0 && strcmp(value, "table") != 0)
        return cli_wrong(command->name, "--output: expected text or json, got \"%s\"", value);
    *ret_json = json;
    return -1;
}

static int take(const struct cli_command *command, const struct cli_option *option, const char *value, char *settings)
{
    void *place = settings + option->offset;
    switch (option->kind) {
    case CLI_OPTION_FLAG:
        *(bool *)place = true;
        return -1;
    case CLI_OPTION_TEXT:
        *(const char **)place = value;
        return -1;
    case CLI_OPTION_FORM:
        return take_form(command, value, place);
    case CLI_OPTION_TIME:
        return cli_time_read(value, place)
                   ? -1
                   : cli_wrong(command->name, "--%s: expected a time such as 500ms, 10s or 2m, got \"%s\"",
                               option->name, value);
    case CLI_OPTION_CALL:
    default:
        return option->take(settings, command->name, value);
    }
}

/* --- getopt ----------------------------------------------------------------------------------------------------- */

struct rows {
    struct option longs[CLI_OPTIONS_MAX + 2];
    char letters[2 * CLI_OPTIONS_MAX + 4];
};

static void make_rows(const struct cli_command *command, struct rows *rows)
{
    char *letter = rows->letters;
    *letter++ = ':';
    *letter++ = 'h';
    for (size_t i = 0; i < command->option_count; i++) {
        const struct cli_option *option = &command->options[i];
        int argument = option->argument != NULL ? required_argument : no_argument;
        rows->longs[i] = (struct option){option->name, argument, NULL, FIRST_LONG + (int)i};
        if (option->letter != '\0')
            *letter++ = option->letter;
        if (option->letter != '\0' && argument == required_argument)
            *letter++ = ':';
    }
    rows->longs[command->option_count] = (struct option){"help", no_argument, NULL, 'h'};
}

static const struct cli_option *find(const struct cli_command *command, int code)
{
    if (code >= FIRST_LONG)
        return &command->options[code - FIRST_LONG];
    for (size_t i = 0; i < command->option_count; i++)
        if (code != 0 && command->options[i].letter == (char)code)
            return &command->options[i];
    return NULL;
}

/* getopt said ':' or '?'. */
static int say_wrong(const struct cli_command *command, bool missing, char **argv)
{
    const struct cli_option *option = find(command, optopt);
    if (missing && option != NULL)
        return cli_wrong(command->name, "--%s needs a value: %s", option->name, option->argument);
    if (option != NULL)
        return cli_wrong(command->name, "--%s takes no value", option->name);
    if (optopt != 0)
        return cli_wrong(command->name, "there is no option -%c", optopt);
    return cli_wrong(command->name, "there is no option %s, or it stands for several", argv[optind - 1]);
}

int cli_options_read(const struct cli_command *command, int argc, char **argv, void *settings, int *ret_operand)
{
    struct rows rows = {0};
    int code;
    make_rows(command, &rows);
    opterr = 0;
    optind = 0; /* glibc: from the beginning, whatever was read before */
    while ((code = getopt_long(argc, argv, rows.letters, rows.longs, NULL)) != -1) {
        if (code == 'h')
            return print_help(command);
        const struct cli_option *option = code == ':' || code == '?' ? NULL : find(command, code);
        if (option == NULL)
            return say_wrong(command, code == ':', argv);
        int status = take(command, option, optarg, settings);
        if (status >= 0)
            return status;
    }
    *ret_operand = optind;
    return -1;
}
