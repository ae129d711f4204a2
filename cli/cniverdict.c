#include "cli/cniverdict.h"

#include "cli/table.h"

#include <errno.h>

#define REMEDY                                                                                                         \
    "a fairlead-agent on this node puts it right in 10 s, or logs why not; without one, see to the node's chain "      \
    "(fairlead cni install), then make the pod anew"

static const char *const family_names[CNI_PROBE_FAMILIES] = {[CNI_PROBE_IPV4] = "ipv4", [CNI_PROBE_IPV6] = "ipv6"};

enum cli_cni_capture cli_cni_judge(const struct cli_cni_verdict *verdict)
{
    bool astray = false;
    if (!verdict->looked)
        return CLI_CNI_UNKNOWN;
    for (size_t i = 0; i < CNI_PROBE_FAMILIES; i++)
        astray |= verdict->probe.dials[i].verdict == CNI_PROBE_ASTRAY;
    if (!verdict->as_planned || astray)
        return CLI_CNI_UNCAPTURED;
    return cni_probe_passed(&verdict->probe) ? CLI_CNI_CAPTURED : CLI_CNI_UNKNOWN;
}

/* --- for people --- */

static const char *word_of(enum cli_cni_capture capture)
{
    return capture == CLI_CNI_CAPTURED ? "yes" : capture == CLI_CNI_UNCAPTURED ? "NO" : "unknown";
}

static void put_row(struct cli_table *table, const struct cli_cni_verdict *verdict)
{
    cli_table_cell_str(table, verdict->name);
    if (verdict->pid > 0)
        cli_table_cellf(table, "%d", (int)verdict->pid);
    else
        cli_table_cell_str(table, "");
    if (verdict->netns > 0)
        cli_table_cellf(table, "%llu", (unsigned long long)verdict->netns);
    else
        cli_table_cell_str(table, "");
    cli_table_cell_str(table, word_of(cli_cni_judge(verdict)));
    cli_table_cell_str(table, !verdict->looked ? "" : verdict->as_planned ? "as planned" : "differ");
    for (size_t i = 0; i < CNI_PROBE_FAMILIES; i++)
        cli_table_cell_str(table, verdict->looked ? cni_probe_verdict_name(verdict->probe.dials[i].verdict) : "");
}

/* A text of a pod's, in one line of a terminal. */
static int put_line(struct fl_buf *out, const char *title, const char *text)
{
    int result = fl_buf_printf(out, "  %s: ", title);
    for (; *text != '\0' && result == 0; text++)
        result = fl_buf_append_byte(out, (unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
    return result < 0 ? result : fl_buf_append_byte(out, '\n');
}

static int explain(const struct cli_cni_verdict *verdict, struct fl_buf *out)
{
    bool captured = cli_cni_judge(verdict) == CLI_CNI_CAPTURED;
    int result = fl_buf_printf(out, "\n%s%s\n", verdict->name,
                               captured                                       ? ""
                               : cli_cni_judge(verdict) == CLI_CNI_UNCAPTURED ? " is NOT captured"
                               : verdict->looked                              ? ": the probe does not tell"
                                                                              : " could not be looked at");
    if (verdict->err.text[0] != '\0' && result == 0)
        result = put_line(out, verdict->looked ? "rules" : "reason", verdict->err.text);
    for (size_t i = 0; i < CNI_PROBE_FAMILIES && verdict->looked && result == 0; i++)
        result = put_line(out, i == CNI_PROBE_IPV4 ? "probe of 127.0.0.6:15002" : "probe of [::6]:15002",
                          verdict->probe.dials[i].text);
    if (result == 0 && cli_cni_judge(verdict) == CLI_CNI_UNCAPTURED)
        result = put_line(out, "what to do", REMEDY);
    return result;
}

static int print_text(const struct cli_cni_verdict *verdicts, size_t count, struct fl_buf *out)
{
    static const char *const titles[] = {"POD", "PID", "NETNS", "CAPTURED", "RULES", "PROBE IPV4", "PROBE IPV6"};
    struct cli_table table;
    cli_table_init(&table, titles, FL_COUNT(titles));
    for (size_t i = 0; i < count; i++)
        put_row(&table, &verdicts[i]);
    int result = cli_table_print(&table, out);
    cli_table_done(&table);
    /* One that was asked for is told in full; of many, those where something is wrong. */
    for (size_t i = 0; i < count && result == 0; i++)
        if (count == 1 || cli_cni_judge(&verdicts[i]) != CLI_CNI_CAPTURED)
            result = explain(&verdicts[i], out);
    return result;
}

/* --- for programs --- */

static int put_text(struct fl_buf *out, const char *name, const char *text)
{
    int result = fl_buf_printf(out, ",\"%s\":", name);
    if (result == 0)
        result = text[0] != '\0' ? fl_buf_append_json_string(out, fl_span_str(text)) : fl_buf_append_str(out, "null");
    return result;
}

static int put_probe(const struct cli_cni_verdict *verdict, struct fl_buf *out)
{
    int result = fl_buf_append_str(out, ",\"probe\":{");
    for (size_t i = 0; i < CNI_PROBE_FAMILIES && result == 0; i++) {
        const struct cni_probe_dial *dial = &verdict->probe.dials[i];
        result = fl_buf_printf(out, "%s\"%s\":{\"verdict\":\"%s\",\"answered\":%s", i > 0 ? "," : "", family_names[i],
                               cni_probe_verdict_name(dial->verdict), dial->answered ? "true" : "false");
        if (result == 0)
            result = put_text(out, "text", dial->text);
        if (result == 0)
            result = fl_buf_append_byte(out, '}');
    }
    return result < 0 ? result : fl_buf_append_byte(out, '}');
}

static int put_json(const struct cli_cni_verdict *verdict, struct fl_buf *out)
{
    enum cli_cni_capture capture = cli_cni_judge(verdict);
    int result = fl_buf_printf(out, "{\"captured\":%s",
                               capture == CLI_CNI_CAPTURED     ? "true"
                               : capture == CLI_CNI_UNCAPTURED ? "false"
                                                               : "null");
    if (result == 0)
        result = put_text(out, "name", verdict->name);
    if (result == 0)
        result =
            fl_buf_printf(out, ",\"pid\":%d,\"netns\":%llu", (int)verdict->pid, (unsigned long long)verdict->netns);
    if (result == 0 && verdict->looked)
        result = fl_buf_printf(out, ",\"asPlanned\":%s", verdict->as_planned ? "true" : "false");
    if (result == 0)
        result = put_text(out, verdict->looked ? "difference" : "error", verdict->err.text);
    if (result == 0 && verdict->looked)
        result = put_probe(verdict, out);
    return result < 0 ? result : fl_buf_append_byte(out, '}');
}

int cli_cni_verdicts_print(const struct cli_cni_verdict *verdicts, size_t count, bool json, struct fl_buf *out)
{
    if (!json)
        return print_text(verdicts, count, out);
    int result = fl_buf_append_str(out, "{\"pods\":[");
    for (size_t i = 0; i < count && result == 0; i++) {
        result = i > 0 ? fl_buf_append_byte(out, ',') : 0;
        if (result == 0)
            result = put_json(&verdicts[i], out);
    }
    return result < 0 ? result : fl_buf_append_str(out, "]}\n");
}
