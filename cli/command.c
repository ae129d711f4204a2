#include "cli/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int cli_wrong(const char *command, const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "fairlead %s: ", command);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " (fairlead %s --help tells how)\n", command);
    return CLI_USAGE;
}

int cli_failed(const char *command, const char *text)
{
    fprintf(stderr, "fairlead %s: %s\n", command, text);
    return CLI_FAILED;
}

int cli_take_output(const char *command, const char *value, bool *ret_json)
{
    bool json = strcmp(value, "json") == 0;
    if (!json && strcmp(value, "table") != 0)
        return cli_wrong(command, "expected -o table or json, got \"%s\"", value);
    *ret_json = json;
    return -1;
}
