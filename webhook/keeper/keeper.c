#include "webhook/keeper/keeper.h"

#include "common/base/log.h"
#include "common/kube/connect.h"
#include "webhook/keeper/state.h"

#include <errno.h>
#include <signal.h>

static void on_signal(struct fl_signals *signals, int number)
{
    struct keeper *keeper = FL_CONTAINER_OF(signals, struct keeper, signals);
    if (keeper->stopping)
        return;
    fl_log(FL_LOG_INFO, "ending", FL_LOG_NUM("signal", number));
    keeper_elect_stop(keeper);
}

static int connect_api(struct keeper *keeper, struct fl_err *err)
{
    int result = fl_kube_connect(keeper->loop, keeper->options->kubeconfig, keeper->options->context,
                                 "fairlead-keeper/" FL_VERSION, &keeper->client, err);
    if (result == 0 && fl_kube_client_insecure(keeper->client))
        fl_log_message(FL_LOG_WARNING, "the API server's certificate is not verified, as the kubeconfig says");
    return result;
}

static int start(struct keeper *keeper, struct fl_err *err)
{
    int result = fl_loop_new(&keeper->loop);
    if (result == 0)
        result = fl_signals_init(&keeper->signals, keeper->loop, (const int[]){SIGTERM, SIGINT, 0}, on_signal);
    if (result < 0)
        return fl_err_errno(err, result, "cannot start the loop");
    result = connect_api(keeper, err);
    return result < 0 ? result : keeper_elect_start(keeper, err);
}

static void stop(struct keeper *keeper)
{
    if (keeper->loop == NULL)
        return;
    keeper_look_stop(keeper);
    keeper->lease = fl_kube_lease_free(keeper->lease);
    fl_signals_done(&keeper->signals);
    keeper->client = fl_kube_client_free(keeper->client);
    keeper->loop = fl_loop_free(keeper->loop);
}

int keeper_run(const struct keeper_options *options, struct fl_err *err)
{
    struct keeper *keeper = calloc(1, sizeof(*keeper));
    if (keeper == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    keeper->options = options;
    int result = start(keeper, err);
    if (result == 0) {
        fl_log(FL_LOG_INFO, "ready", FL_LOG_STR("server", fl_kube_client_server(keeper->client)),
               FL_LOG_STR("identity", options->identity));
        result = fl_loop_run(keeper->loop);
        if (result < 0)
            fl_err_errno(err, result, "the loop ended");
    }
    stop(keeper);
    free(keeper);
    return result;
}
