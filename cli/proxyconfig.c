/* fairlead proxy-config: a proxy's configuration, read at its admin port. */
#include "cli/command.h"
#include "cli/dump.h"
#include "cli/fetch.h"

#include <getopt.h>
#include <stdio.h>

#define NAME "proxy-config"

static const char usage[] =
    "usage: fairlead proxy-config listeners|routes|clusters|endpoints|secrets [option …]\n"
    "\n"
    "What a proxy runs on, as a table; an Envoy's too.\n"
    "\n"
    "      --admin ADDR     the proxy's admin port: HOST:PORT or a URL; default 127.0.0.1:15000. It listens on the\n"
    "                       loopback of its pod: run this in the pod, or through a port-forward\n"
    "      --name TEXT      only rows whose name holds TEXT\n"
    "  -o, --output FORMAT  table (default), or json: the whole dump as it is\n"
    "  -h, --help           this text\n";

struct settings {
    const char *admin, *filter;
    bool json;
};

static int print(const struct settings *settings, enum cli_dump dump)
{
    struct fl_err err = {0};
    struct fl_buf out;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *json = NULL;
    fl_buf_init(&out, CLI_FETCH_BYTES);
    int result;
    if (settings->json)
        result = cli_fetch_text(settings->admin, "/config_dump?include_eds", &out, &err);
    else
        result = cli_fetch(settings->admin, "/config_dump?include_eds", &json, &err);
    if (result == 0 && json != NULL) {
        result = cli_dump_print(dump, json, fl_span_str(settings->filter), &out);
        if (result < 0)
            (void)fl_err_errno(&err, result, "print");
    }
    if (result == 0 && fwrite(out.data, 1, out.len, stdout) != out.len)
        result = fl_err_set(&err, -1, "the output could not be written");
    fl_buf_done(&out);
    return result == 0 ? CLI_OK : cli_failed(NAME, err.text);
}

int cli_proxy_config(int argc, char **argv)
{
    enum { OPTION_ADMIN = 256, OPTION_NAME };
    static const struct option options[] = {
        {"admin", required_argument, NULL, OPTION_ADMIN},
        {"name", required_argument, NULL, OPTION_NAME},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct settings settings = {.admin = "127.0.0.1:15000"};
    int option, status = -1;
    while ((option = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
        if (option == OPTION_ADMIN)
            settings.admin = optarg;
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
    enum cli_dump dump;
    if (optind + 1 != argc)
        return cli_wrong(NAME, "expected one of listeners, routes, clusters, endpoints, secrets");
    if (!cli_dump_parse(argv[optind], &dump))
        return cli_wrong(NAME, "expected listeners, routes, clusters, endpoints or secrets, got \"%s\"", argv[optind]);
    return print(&settings, dump);
}
