/* fairlead proxy-config: a proxy's configuration, read at its admin port. */
#include "cli/command.h"
#include "cli/dump.h"
#include "cli/fetch.h"
#include "cli/option.h"
#include "cli/reach.h"

#include "common/mesh/port.h"

#include <errno.h>
#include <stdio.h>

#define NAME "proxy-config"
#define PAGE "/config_dump?include_eds"

struct settings {
    struct cli_access access;
    const char *admin, *filter, *pod;
    bool json;
};

static const struct cli_option options[] = {
    {.name = "admin",
     .kind = CLI_OPTION_TEXT,
     .offset = offsetof(struct settings, admin),
     .argument = "ADDR",
     .help = "the proxy's admin port, HOST:PORT or a URL, instead of a pod; default without a\npod: 127.0.0.1:15000"},
    {.name = "name",
     .kind = CLI_OPTION_TEXT,
     .offset = offsetof(struct settings, filter),
     .argument = "TEXT",
     .help = "only rows whose name holds TEXT"},
    CLI_ACCESS_OPTIONS(struct settings, "of the pod; default: the context's"),
    CLI_KUBECTL_OPTION(struct settings),
    {.name = "output",
     .letter = 'o',
     .kind = CLI_OPTION_FORM,
     .offset = offsetof(struct settings, json),
     .argument = "FORM",
     .help = "text (default), or json: the whole dump as it is",
     .words = "json text"},
};

const struct cli_command cli_proxy_config_command = {
    .name = NAME,
    .summary = "what a proxy runs on: listeners, routes, clusters, endpoints, secrets",
    .usage = "listeners|routes|clusters|endpoints|secrets [POD[.NAMESPACE]|deploy/NAME[.NAMESPACE]] [option …]",
    .about =
        "What a proxy runs on, as a table; an Envoy's too. Of a pod it is read through kubectl port-forward, which\n"
        "of a workload (deploy/NAME, sts/NAME, daemonset/NAME) takes one pod.\n",
    .options = options,
    .option_count = FL_COUNT(options),
    .words = "listeners routes clusters endpoints secrets",
    .offer = CLI_OFFER_PODS,
    .run = cli_proxy_config,
};

static int fetch_pod(struct settings *settings, struct fl_buf *text, struct fl_err *err)
{
    struct cli_cluster cluster = {0};
    struct fl_span name_space, pod;
    int result = cli_cluster_open_for(&settings->access, &cluster, err);
    if (result < 0)
        return result;
    const char *own =
        settings->access.name_space != NULL ? settings->access.name_space : cli_cluster_namespace(&cluster);
    result =
        cli_reach_read(settings->pod, own, &name_space, &pod)
            ? cli_reach_text(&settings->access, name_space, pod, FL_PORT_ADMIN, PAGE, text, err)
            : fl_err_set(err, -EINVAL,
                         "\"%s\" is not the name of a pod: expected POD, POD.NAMESPACE, NAMESPACE/POD or deploy/NAME",
                         settings->pod);
    cli_cluster_close(&cluster);
    return result;
}

static int print_tables(struct settings *settings, enum cli_dump dump, struct fl_span text, struct fl_buf *out,
                        struct fl_err *err)
{
    static const struct fl_json_limits limits = {.bytes_max = CLI_FETCH_BYTES, .values_max = 1u << 24};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *json = NULL;
    int result = fl_json_parse(text, &limits, &json, err);
    if (result < 0) {
        fl_err_prefix(err, "the proxy's answer");
        return result;
    }
    result = cli_dump_print(dump, json, fl_span_str(settings->filter), out);
    return result < 0 ? fl_err_errno(err, result, "print") : 0;
}

static int print(struct settings *settings, enum cli_dump dump)
{
    struct fl_err err = {0};
    struct fl_buf text, out;
    fl_buf_init(&text, CLI_FETCH_BYTES);
    fl_buf_init(&out, CLI_FETCH_BYTES);
    int result = settings->pod != NULL
                     ? fetch_pod(settings, &text, &err)
                     : cli_fetch_text(settings->admin != NULL ? settings->admin : "127.0.0.1:15000", PAGE, &text, &err);
    if (result == 0 && !settings->json)
        result = print_tables(settings, dump, fl_buf_span(&text), &out, &err);
    const struct fl_buf *shown = settings->json ? &text : &out;
    if (result == 0 && fwrite(shown->data, 1, shown->len, stdout) != shown->len)
        result = fl_err_set(&err, -EIO, "the output could not be written");
    fl_buf_done(&text);
    fl_buf_done(&out);
    return result == 0 ? CLI_OK : cli_failed(NAME, err.text);
}

int cli_proxy_config(int argc, char **argv)
{
    struct settings settings = {0};
    enum cli_dump dump;
    int operand;
    int status = cli_options_read(&cli_proxy_config_command, argc, argv, &settings, &operand);
    if (status >= 0)
        return status;
    if (operand == argc || argc - operand > 2)
        return cli_wrong(NAME, "expected one of listeners, routes, clusters, endpoints, secrets, and a pod at most");
    if (!cli_dump_parse(argv[operand], &dump))
        return cli_wrong(NAME, "expected listeners, routes, clusters, endpoints or secrets, got \"%s\"", argv[operand]);
    settings.pod = operand + 1 < argc ? argv[operand + 1] : NULL;
    if (settings.pod != NULL && settings.admin != NULL)
        return cli_wrong(NAME, "expected a pod or --admin, not both");
    return print(&settings, dump);
}
