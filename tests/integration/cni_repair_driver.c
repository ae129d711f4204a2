/* The repair alone, for cni_repair_test.py and its figures: every report is a JSON line on stdout. Each line on stdin
 * is a question: "c" is answered by a line of counts, "l" looks at everything; at the end of stdin it ends.
 *
 *   cni_repair_driver PROC events|scan NAMESPACE [BACKEND]
 */
#include "cni/repair/repair.h"

#include "common/base/buf.h"
#include "common/loop/signal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

struct driver {
    struct fl_loop *loop;
    struct fl_source stdin_source;
    struct fl_signals signals;
    struct cni_repair *repair;
};

static void print(struct fl_buf *line, const char *name, const char *value)
{
    if (fl_buf_printf(line, "%s\"%s\":", line->len > 1 ? "," : "", name) != 0 ||
        fl_buf_append_json_string(line, fl_span_str(value)) != 0)
        abort();
}

static void print_number(struct fl_buf *line, const char *name, uint64_t value)
{
    if (fl_buf_printf(line, "%s\"%s\":%llu", line->len > 1 ? "," : "", name, (unsigned long long)value) != 0)
        abort();
}

static void begin(struct fl_buf *line)
{
    fl_buf_init(line, 8192);
    if (fl_buf_append_byte(line, '{') != 0)
        abort();
}

static void end(struct fl_buf *line)
{
    printf("%.*s}\n", FL_SPAN_ARG(fl_buf_span(line)));
    fflush(stdout);
    fl_buf_done(line);
}

static void on_report(void *owner, const struct cni_repair_report *report)
{
    struct fl_buf line;
    (void)owner;
    begin(&line);
    print(&line, "kind", cni_repair_kind_name(report->kind));
    print(&line, "namespace", report->pod_namespace);
    print(&line, "pod", report->pod);
    print(&line, "uid", report->pod_uid);
    print(&line, "reason", report->reason);
    print_number(&line, "proven", report->proven);
    print_number(&line, "pid", (uint64_t)report->pid);
    print_number(&line, "netns", report->netns);
    print_number(&line, "duration_ns", report->duration_ns);
    end(&line);
}

static void print_counts(const struct driver *driver)
{
    struct cni_repair_counts counts;
    struct fl_buf line;
    cni_repair_count(driver->repair, &counts);
    begin(&line);
    print_number(&line, "sidecars", counts.sidecars);
    print_number(&line, "uncaptured", counts.uncaptured);
    print_number(&line, "refused", counts.refused);
    print_number(&line, "checks", counts.checks);
    print_number(&line, "fingerprints", counts.fingerprints);
    print_number(&line, "examined", counts.examined);
    print_number(&line, "limited", counts.limited);
    print_number(&line, "execs", counts.execs);
    print_number(&line, "losses", counts.losses);
    print_number(&line, "events", counts.events);
    for (int kind = 0; kind < CNI_REPAIR_KIND_COUNT; kind++)
        print_number(&line, cni_repair_kind_name((enum cni_repair_kind)kind), counts.reports[kind]);
    end(&line);
}

static void on_stdin(struct fl_source *source, uint32_t events)
{
    struct driver *driver = FL_CONTAINER_OF(source, struct driver, stdin_source);
    char text[64];
    (void)events;
    ssize_t got = read(0, text, sizeof(text));
    if (got <= 0)
        fl_loop_stop(driver->loop, 0);
    for (ssize_t i = 0; i < got; i++) {
        if (text[i] == 'l')
            cni_repair_look(driver->repair);
        else if (text[i] == 'c')
            print_counts(driver);
    }
}

static void on_signal(struct fl_signals *signals, int number)
{
    (void)number;
    fl_loop_stop(FL_CONTAINER_OF(signals, struct driver, signals)->loop, 0);
}

static int start(struct driver *driver, const struct cni_repair_settings *settings, struct fl_err *err)
{
    int result = fl_loop_new(&driver->loop);
    if (result == 0)
        result = fl_signals_init(&driver->signals, driver->loop, (const int[]){SIGTERM, SIGINT, 0}, on_signal);
    if (result == 0)
        result = fl_source_add(driver->loop, &driver->stdin_source, 0, EPOLLIN, on_stdin);
    if (result < 0)
        return fl_err_errno(err, result, "start");
    return cni_repair_new(driver->loop, settings, &driver->repair, err);
}

int main(int argc, char **argv)
{
    struct driver driver = {0};
    struct fl_err err = {0};
    struct cni_repair_settings settings = {.on_report = on_report};
    if (argc < 4)
        return 2;
    settings.proc = argv[1];
    settings.only_namespace = argv[3];
    settings.no_events = strcmp(argv[2], "scan") == 0;
    if (argc > 4 && !cni_backend_parse(fl_span_str(argv[4]), &settings.backend))
        return 2;
    if (start(&driver, &settings, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("{\"ready\":\"%s\"}\n", cni_repair_scan_reason(driver.repair));
    fflush(stdout);
    int result = fl_loop_run(driver.loop);
    cni_repair_free(driver.repair);
    fl_source_remove(&driver.stdin_source);
    fl_signals_done(&driver.signals);
    fl_loop_free(driver.loop);
    return result == 0 ? 0 : 1;
}
