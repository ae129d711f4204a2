/* fairlead status: the proxies that a control plane knows. */
#include "cli/command.h"
#include "cli/fetch.h"
#include "cli/proxies.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#define NAME "status"

static const char usage[] =
    "usage: fairlead status [option …]\n"
    "\n"
    "The proxies that a control plane knows: whether each has all that it should, what it refused and why, the age of "
    "its\n"
    "certificate.\n"
    "\n"
    "      --control ADDR       fairlead-control's HTTP port: HOST:PORT or a URL; default 127.0.0.1:15014\n"
    "      --name TEXT          only proxies whose name or namespace holds TEXT\n"
    "  -o, --output FORMAT      table (default) or json\n"
    "  -h, --help               this text\n"
    "\n"
    "Exit status: 1 also where a proxy is not in sync, or an object has problems.\n";

struct settings {
    const char *control, *filter;
    bool json;
};

/* Whether every proxy has acknowledged all that is for it. */
static bool all_in_sync(const struct fl_json *document)
{
    const struct fl_json *proxy = fl_json_first(fl_json_get(document, "proxies"));
    while (proxy != NULL && fl_json_bool(fl_json_get(proxy, "in_sync")))
        proxy = fl_json_next(proxy);
    return proxy == NULL;
}

/* Objects that the control plane could not take as they are: how many, and the first of them. */
static int print_summary(const struct fl_json *status, int64_t *ret_count, struct fl_buf *out)
{
    const struct fl_json *summary = fl_json_get(status, "summary");
    int64_t warnings = 0;
    *ret_count = 0;
    if (!fl_json_int(fl_json_get(summary, "problems"), 0, INT32_MAX, ret_count) ||
        !fl_json_int(fl_json_get(summary, "warnings"), 0, INT32_MAX, &warnings))
        return 0;
    int result =
        *ret_count == 0 && warnings == 0
            ? 0
            : fl_buf_printf(out,
                            "%lld objects have problems, %lld warnings: fairlead-control's /status or --status "
                            "tells\n",
                            (long long)*ret_count, (long long)warnings);
    for (const struct fl_json *one = fl_json_first(fl_json_get(summary, "first")); one != NULL && result == 0;
         one = fl_json_next(one)) {
        result = fl_buf_append_str(out, "  ");
        for (size_t i = 0; i < fl_json_string(one).len && result == 0; i++) {
            char byte = fl_json_string(one).data[i];
            result = fl_buf_append_byte(out, (unsigned char)byte < ' ' || byte == 0x7f ? '?' : byte);
        }
        if (result == 0)
            result = fl_buf_append_byte(out, '\n');
    }
    return result;
}

static int print(const struct settings *settings)
{
    struct fl_err err = {0};
    struct fl_buf out;
    int64_t problems = 0;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *json = NULL;
    fl_buf_init(&out, CLI_FETCH_BYTES);
    int result = cli_fetch(settings->control, "/debug/proxies", &json, &err);
    if (result == 0) {
        result = settings->json ? fl_json_print(json, &out)
                                : cli_proxies_print(json, time(NULL), fl_span_str(settings->filter), &out);
        if (result == 0 && settings->json)
            result = fl_buf_append_byte(&out, '\n');
        if (result < 0)
            (void)fl_err_errno(&err, result, "%s/debug/proxies", settings->control);
    }
    if (result == 0 && !settings->json) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *status = NULL;
        result = cli_fetch(settings->control, "/status", &status, &err);
        if (result == 0 && (result = print_summary(status, &problems, &out)) < 0)
            (void)fl_err_errno(&err, result, "%s/status", settings->control);
    }
    if (result == 0 && fwrite(out.data, 1, out.len, stdout) != out.len)
        result = fl_err_set(&err, -EIO, "the output could not be written");
    fl_buf_done(&out);
    if (result < 0)
        return cli_failed(NAME, err.text);
    return all_in_sync(json) && problems == 0 ? CLI_OK : CLI_FAILED;
}

int cli_status(int argc, char **argv)
{
    enum { OPTION_CONTROL = 256, OPTION_NAME };
    static const struct option options[] = {
        {"control", required_argument, NULL, OPTION_CONTROL},
        {"name", required_argument, NULL, OPTION_NAME},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct settings settings = {.control = "127.0.0.1:15014"};
    int option, status = -1;
    while ((option = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
        if (option == OPTION_CONTROL)
            settings.control = optarg;
        else if (option == OPTION_NAME)
            settings.filter = optarg;
        else if (option == 'o')
            status = cli_take_output(NAME, optarg, &settings.json);
        else if (option == 'h')
            return fputs(usage, stdout) < 0 ? CLI_FAILED : CLI_OK;
        else
            return CLI_USAGE;
        if (status >= 0)
            return status;
    }
    if (optind < argc)
        return cli_wrong(NAME, "unexpected argument \"%s\"", argv[optind]);
    return print(&settings);
}
