#include "cli/complete.h"

#include "cli/commands.h"

static int offer_word(struct fl_span word, const char *help, const char *typed, struct fl_buf *out)
{
    struct fl_span line = fl_span_str(help);
    if (!fl_span_starts_with(word, fl_span_str(typed)))
        return 0;
    line.len = fl_span_find(line, '\n');
    return line.len > 0 ? fl_buf_printf(out, "%.*s\t%.*s\n", FL_SPAN_ARG(word), FL_SPAN_ARG(line))
                        : fl_buf_printf(out, "%.*s\n", FL_SPAN_ARG(word));
}

static int offer_words(const char *list, const char *typed, struct fl_buf *out)
{
    struct fl_span rest = fl_span_str(list), word;
    int result = 0;
    while (result == 0 && rest.data != NULL && fl_span_split(&rest, ' ', &word))
        result = offer_word(word, NULL, typed, out);
    return result;
}

static int offer_commands(const char *typed, struct fl_buf *out)
{
    int result = 0;
    for (size_t i = 0; i < cli_command_count && result == 0; i++)
        result = offer_word(fl_span_str(cli_commands[i]->name), cli_commands[i]->summary, typed, out);
    return result;
}

static int offer_options(const struct cli_command *command, const char *typed, struct fl_buf *out)
{
    char name[64];
    int result = offer_word(FL_SPAN("--help"), "this command's text", typed, out);
    for (size_t i = 0; i < command->option_count && result == 0; i++) {
        size_t len = strlen(command->options[i].name);
        if (len + 3 > sizeof(name))
            continue;
        memcpy(name, "--", 2);
        memcpy(name + 2, command->options[i].name, len + 1);
        result = offer_word(fl_span_make(name, len + 2), command->options[i].help, typed, out);
    }
    return result;
}

/* The option that a word is, and that takes its value from the next one; NULL: none. */
static const struct cli_option *takes_next(const struct cli_command *command, const char *word)
{
    for (size_t i = 0; i < command->option_count; i++) {
        const struct cli_option *option = &command->options[i];
        bool is_long = word[0] == '-' && word[1] == '-' && strcmp(word + 2, option->name) == 0;
        bool is_short = option->letter != '\0' && word[0] == '-' && word[1] == option->letter && word[2] == '\0';
        if (option->argument != NULL && (is_long || is_short))
            return option;
    }
    return NULL;
}

int cli_complete(const char *const *words, size_t count, struct fl_buf *out, enum cli_offer *ret_offer)
{
    const char *typed = words[count - 1];
    const struct cli_option *option = NULL;
    size_t operands = 0;
    *ret_offer = CLI_OFFER_NOTHING;
    if (count == 1)
        return offer_commands(typed, out);
    const struct cli_command *command = cli_command_find(words[0]);
    if (command == NULL)
        return 0;
    for (size_t i = 1; i + 1 < count; i++) {
        operands += option == NULL && words[i][0] != '-';
        option = option == NULL ? takes_next(command, words[i]) : NULL;
    }
    if (option != NULL) {
        *ret_offer = option->offer;
        return offer_words(option->words, typed, out);
    }
    if (typed[0] == '-')
        return offer_options(command, typed, out);
    if (command->words != NULL && operands == 0)
        return offer_words(command->words, typed, out);
    *ret_offer = command->offer;
    return 0;
}
