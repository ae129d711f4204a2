/* fairlead-agent: options in, cni_agent_run, exit code out. */
#include "cni/agent/agent.h"

int main(int argc, char **argv)
{
    struct cni_agent_options options;
    struct fl_err err = {0};
    if (cni_agent_options_parse(argc, argv, getenv("NODE_NAME"), &options) < 0)
        return 2;
    if (options.done)
        return 0;
    fl_log_open("fairlead-agent", STDERR_FILENO, options.format, options.level);
    if (cni_agent_run(&options, &err) == 0)
        return 0;
    fl_log(FL_LOG_ERROR, options.uninstall ? "not uninstalled" : "cannot start", FL_LOG_STR("error", err.text));
    return 1;
}
