#include "cli/plaintext.h"

#include "cli/exposition.h"
#include "cli/table.h"

#include <errno.h>

/* Each family once; opened and not closed, so that long connections count. */
static const struct {
    const char *name, *protocol;
} families[] = {{"istio_requests_total", "http"}, {"istio_tcp_connections_opened_total", "tcp"}};

static int64_t number_of(const struct fl_json *object, const char *name)
{
    int64_t number = 0;
    (void)fl_json_int(fl_json_get(object, name), 0, INT64_C(1) << 53, &number);
    return number;
}

/* The one of these names; NULL: it is not there. */
static struct fl_json *find_source(const struct fl_json *sources, struct fl_span workload, struct fl_span name_space,
                                   const char *protocol)
{
    struct fl_json *one = fl_json_first(sources);
    while (one != NULL && (!fl_span_eq(fl_json_string(fl_json_get(one, "workload")), workload) ||
                           !fl_span_eq(fl_json_string(fl_json_get(one, "namespace")), name_space) ||
                           !fl_span_eq_str(fl_json_string(fl_json_get(one, "protocol")), protocol)))
        one = fl_json_next(one);
    return one;
}

static int add_number(struct fl_json *object, const char *name, int64_t more)
{
    return fl_json_set(object, name, fl_json_new_int(number_of(object, name) + more));
}

static int add_source(struct fl_json *sources, const struct cli_sample *sample, const char *protocol)
{
    struct fl_span workload = cli_sample_label(sample, "source_workload");
    struct fl_span name_space = cli_sample_label(sample, "source_workload_namespace");
    struct fl_json *one = find_source(sources, workload, name_space, protocol);
    if (one == NULL && fl_json_count(sources) == CLI_SOURCES_MAX)
        one = fl_json_at(sources, CLI_SOURCES_MAX - 1);
    if (one == NULL) {
        int result = fl_json_append(sources, fl_json_new_object());
        if (result < 0)
            return result;
        one = fl_json_at(sources, fl_json_count(sources) - 1);
        result = fl_json_set(one, "workload", fl_json_new_string(workload));
        if (result == 0)
            result = fl_json_set(one, "namespace", fl_json_new_string(name_space));
        if (result == 0)
            result = fl_json_set(one, "protocol", fl_json_new_string(fl_span_str(protocol)));
        if (result < 0)
            return result;
    }
    return add_number(one, "count", (int64_t)sample->value);
}

static int take_sample(const struct cli_sample *sample, struct fl_json *pod)
{
    size_t family = 0;
    struct fl_span policy = cli_sample_label(sample, "connection_security_policy");
    while (family < FL_COUNT(families) && !fl_span_eq_str(sample->name, families[family].name))
        family++;
    if (family == FL_COUNT(families) || !fl_span_eq_str(cli_sample_label(sample, "reporter"), "destination") ||
        sample->value < 1 || sample->value > (double)(INT64_C(1) << 53))
        return 0;
    if (fl_span_eq_str(policy, "mutual_tls"))
        return add_number(pod, "mutual_tls", (int64_t)sample->value);
    if (!fl_span_eq_str(policy, "none"))
        return 0;
    int result = add_number(pod, "plaintext", (int64_t)sample->value);
    return result < 0 ? result : add_source(fl_json_get(pod, "sources"), sample, families[family].protocol);
}

/* A counter that has become smaller began anew: then all of it is new. */
static int64_t less(int64_t now, int64_t before)
{
    return now >= before ? now - before : now;
}

static int take_off(struct fl_json *pod, const struct fl_json *before)
{
    struct fl_json *sources = fl_json_get(pod, "sources");
    int result = fl_json_set(pod, "mutual_tls",
                             fl_json_new_int(less(number_of(pod, "mutual_tls"), number_of(before, "mutual_tls"))));
    int64_t plaintext = 0;
    for (size_t i = fl_json_count(sources); i > 0 && result == 0; i--) {
        struct fl_json *one = fl_json_at(sources, i - 1);
        struct fl_span protocol = fl_json_string(fl_json_get(one, "protocol"));
        const struct fl_json *old =
            find_source(fl_json_get(before, "sources"), fl_json_string(fl_json_get(one, "workload")),
                        fl_json_string(fl_json_get(one, "namespace")), protocol.len > 0 ? protocol.data : "");
        int64_t count = less(number_of(one, "count"), number_of(old, "count"));
        plaintext += count;
        result = count == 0 ? fl_json_remove_at(sources, i - 1) : fl_json_set(one, "count", fl_json_new_int(count));
    }
    return result < 0 ? result : fl_json_set(pod, "plaintext", fl_json_new_int(plaintext));
}

int cli_plaintext_read(struct fl_span scrape, const struct fl_json *before, struct fl_json *pod)
{
    struct cli_sample sample;
    int result = fl_json_set(pod, "mutual_tls", fl_json_new_int(0));
    if (result == 0)
        result = fl_json_set(pod, "plaintext", fl_json_new_int(0));
    if (result == 0)
        result = fl_json_set(pod, "sources", fl_json_new_array());
    while (result == 0 && cli_exposition_next(&scrape, &sample))
        result = take_sample(&sample, pod);
    return result == 0 && before != NULL ? take_off(pod, before) : result;
}

bool cli_plaintext_is_ready(const struct fl_json *pods)
{
    const struct fl_json *pod = fl_json_first(pods);
    while (pod != NULL && fl_json_get(pod, "error") == NULL && number_of(pod, "plaintext") == 0)
        pod = fl_json_next(pod);
    return pod == NULL;
}

/* --- printed ---------------------------------------------------------------------------------------------------- */

static void print_pod(struct cli_table *table, const struct fl_json *pod)
{
    const struct fl_json *one = fl_json_first(fl_json_get(pod, "sources"));
    do {
        struct fl_span workload = fl_json_string(fl_json_get(one, "workload"));
        cli_table_cell(table, fl_json_string(fl_json_get(pod, "pod")));
        cli_table_cell(table, fl_json_string(fl_json_get(pod, "mtls")));
        if (fl_json_get(pod, "error") != NULL)
            cli_table_cell_str(table, "?");
        else
            cli_table_cellf(table, "%lld", (long long)number_of(pod, "mutual_tls"));
        cli_table_cellf(table, "%lld", (long long)number_of(one, "count"));
        cli_table_cell(table, fl_json_string(fl_json_get(one, "protocol")));
        if (one != NULL && !fl_span_eq_str(workload, "unknown"))
            cli_table_cellf(table, "%.*s.%.*s", FL_SPAN_ARG(workload),
                            FL_SPAN_ARG(fl_json_string(fl_json_get(one, "namespace"))));
        else
            cli_table_cell_str(table, one != NULL ? "not in the mesh" : "");
        one = one != NULL ? fl_json_next(one) : NULL;
    } while (one != NULL);
}

static int print_meaning(const struct fl_json *answer, struct fl_buf *out)
{
    const struct fl_json *pods = fl_json_get(answer, "pods");
    size_t silent = 0, called = 0, open = 0;
    for (const struct fl_json *pod = fl_json_first(pods); pod != NULL; pod = fl_json_next(pod)) {
        silent += fl_json_get(pod, "error") != NULL;
        called += number_of(pod, "plaintext") > 0;
        open += !fl_span_eq_str(fl_json_string(fl_json_get(pod, "mtls")), "STRICT");
    }
    int result =
        fl_buf_printf(out, "%zu meshed pods, %zu not under STRICT; %zu called in plaintext, %zu could not be asked\n",
                      fl_json_count(pods), open, called, silent);
    if (result < 0)
        return result;
    if (called > 0)
        return fl_buf_append_str(out, "NOT READY: under STRICT these callers would be refused\n");
    if (silent > 0)
        return fl_buf_append_str(out,
                                 "NOT KNOWN: nobody was seen to call in plaintext, but not all pods could be asked\n");
    return fl_buf_append_str(out, open > 0 ? "READY: nobody calls in plaintext\n" : "READY: all are under STRICT\n");
}

int cli_plaintext_print(const struct fl_json *answer, struct fl_buf *out)
{
    static const char *const titles[] = {"POD", "MODE", "MTLS", "PLAINTEXT", "PROTOCOL", "FROM"};
    struct cli_table table;
    cli_table_init(&table, titles, FL_COUNT(titles));
    for (const struct fl_json *pod = fl_json_first(fl_json_get(answer, "pods")); pod != NULL; pod = fl_json_next(pod))
        print_pod(&table, pod);
    int result = cli_table_print(&table, out);
    cli_table_done(&table);
    return result == 0 ? print_meaning(answer, out) : result;
}
