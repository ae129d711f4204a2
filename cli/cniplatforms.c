/* fairlead cni platforms: where runtimes of known platforms look for configurations and plugins. */
#include "cli/cni.h"
#include "cli/table.h"

#include "cni/install/platform.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define NAME      "cni platforms"
#define BYTES_MAX (1u << 20)

static const char usage[] =
    "usage: fairlead cni platforms [-o table|json]\n"
    "\n"
    "Where the runtimes of known platforms look for network configurations and plugins, as `fairlead cni install\n"
    "--platform` and the chart's cni.platform take it.\n";

static int print_table(struct fl_buf *out)
{
    static const char *const titles[] = {"PLATFORM", "CONFIGURATIONS", "PLUGINS", "NAMESPACES", "MODE", "NOTE"};
    size_t count;
    const struct cni_platform *platforms = cni_platforms(&count);
    struct cli_table table;
    cli_table_init(&table, titles, FL_COUNT(titles));
    for (size_t i = 0; i < count; i++) {
        cli_table_cell_str(&table, platforms[i].name);
        cli_table_cell_str(&table, platforms[i].conf_dir);
        cli_table_cell_str(&table, platforms[i].bin_dir);
        cli_table_cell_str(&table, platforms[i].netns_dir);
        cli_table_cell_str(&table, cni_install_mode_name(platforms[i].mode));
        cli_table_cell_str(&table, platforms[i].note);
    }
    int result = cli_table_print(&table, out);
    cli_table_done(&table);
    return result;
}

static int print(bool json)
{
    struct fl_err err = {0};
    FL_CLEANUP(fl_buf_done) struct fl_buf out;
    fl_buf_init(&out, BYTES_MAX);
    int result = json ? cni_platforms_print_json(&out) : print_table(&out);
    if (result < 0) {
        (void)fl_err_errno(&err, result, "the table");
        return cli_failed(NAME, err.text);
    }
    return fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0
               ? CLI_OK
               : cli_failed(NAME, "the output could not be written");
}

int cli_cni_platforms(int argc, char **argv)
{
    static const struct option options[] = {
        {"output", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    bool json = false;
    int option, status = -1;
    while ((option = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
        if (option == 'o')
            status = cli_take_output(NAME, optarg, &json);
        else if (option == 'h')
            return fputs(usage, stdout) < 0 ? CLI_FAILED : CLI_OK;
        else
            return CLI_USAGE;
        if (status >= 0)
            return status;
    }
    if (optind < argc)
        return cli_wrong(NAME, "unexpected argument \"%s\"", argv[optind]);
    return print(json);
}
