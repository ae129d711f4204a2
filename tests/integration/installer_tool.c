/* cni/agent's installer as a command, for tests that kill installers and have several at once:
 *
 *     installer_tool watch|once SOURCE BIN_DIR CONF_DIR [BACKEND]      one line of JSON a report; watch: until SIGTERM
 *     installer_tool remove SOURCE BIN_DIR CONF_DIR GRACE_MS
 *
 * Exit codes: 0, 1 failed (the reason is on stderr), 2 usage. */
#include "cni/install/watch.h"
#include "common/loop/signal.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct fl_loop *loop;

static void on_report(void *owner, const struct cni_install_report *report)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf line;
    (void)owner;
    fl_buf_init(&line, 1u << 16);
    int result = fl_buf_printf(&line, "{\"state\":\"%s\",\"conflist\":", cni_install_state_name(report->state));
    if (result == 0)
        result = fl_buf_append_json_string(&line, fl_span_str(report->conflist));
    if (result == 0)
        result = fl_buf_append_str(&line, ",\"reason\":");
    if (result == 0)
        result = fl_buf_append_json_string(&line, fl_span_str(report->reason));
    if (result == 0)
        printf("%.*s}\n", FL_SPAN_ARG(fl_buf_span(&line)));
    fflush(stdout);
}

static void on_signal(struct fl_signals *signals, int number)
{
    (void)signals, (void)number;
    fl_loop_stop(loop, 0);
}

static int watch(const struct cni_install_settings *settings, struct fl_err *err)
{
    struct fl_signals signals = {0};
    struct cni_watch *installer = NULL;
    int result = fl_loop_new(&loop);
    if (result == 0)
        result = fl_signals_init(&signals, loop, (const int[]){SIGTERM, 0}, on_signal);
    if (result == 0)
        result = cni_watch_new(loop, settings, on_report, NULL, &installer, err);
    if (result == 0)
        result = fl_loop_run(loop);
    cni_watch_free(installer);
    fl_signals_done(&signals);
    loop = fl_loop_free(loop);
    return result;
}

static int once(const struct cni_install_settings *settings, struct fl_err *err)
{
    struct cni_install_report report;
    int result = cni_install_reconcile(settings, &report, err);
    if (result == 0)
        on_report(NULL, &report);
    return result;
}

int main(int argc, char **argv)
{
    struct fl_err err = {0};
    uint64_t grace_ms = 0;
    if (argc < 5)
        return 2;
    const char *last = argc > 5 ? argv[5] : NULL;
    struct cni_install_settings settings = {.payload = {argv[2], argv[3]}, .conf_dir = argv[4]};
    int result = -1;
    if (strcmp(argv[1], "remove") == 0) {
        if (!fl_span_to_u64(fl_span_str(last), 60000, &grace_ms))
            return 2;
        result = cni_install_remove(&settings, (unsigned)grace_ms, &err);
    } else {
        settings.backend = last;
        result = strcmp(argv[1], "watch") == 0 ? watch(&settings, &err) : once(&settings, &err);
    }
    if (result < 0)
        fprintf(stderr, "%s: %s\n", argv[1], err.text);
    return result < 0;
}
