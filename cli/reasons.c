#include "cli/reasons.h"

#include "cli/table.h"
#include "webhook/decide.h"

static const char *const verdicts[] = {
    [WEBHOOK_IN] = "in", [WEBHOOK_OUT] = "out", [WEBHOOK_DENY] = "denied", [WEBHOOK_LOOK] = "looked at"};

static int print_pair(struct fl_buf *out, const char *name, const char *text)
{
    int result = fl_buf_printf(out, "\"%s\":", name);
    return result < 0 ? result : fl_buf_append_json_string(out, fl_span_str(text));
}

static int print_decision_json(const struct webhook_decision_row *row, struct fl_buf *out)
{
    int result = fl_buf_append_byte(out, '{');
    if (result == 0)
        result = print_pair(out, "when", row->when);
    if (result == 0)
        result = fl_buf_append_byte(out, ',');
    if (result == 0)
        result = print_pair(out, "verdict", verdicts[row->verdict]);
    if (result == 0)
        result = fl_buf_append_byte(out, ',');
    if (result == 0)
        result = print_pair(out, "reason", webhook_reason_word(row->reason));
    return result < 0 ? result : fl_buf_append_byte(out, '}');
}

static int print_reason_json(enum webhook_reason reason, struct fl_buf *out)
{
    unsigned code = webhook_reason_code(reason);
    int result = fl_buf_append_byte(out, '{');
    if (result == 0)
        result = print_pair(out, "reason", webhook_reason_word(reason));
    if (result == 0 && code != 0)
        result = fl_buf_printf(out, ",\"code\":%u", code);
    if (result == 0)
        result = fl_buf_append_byte(out, ',');
    if (result == 0)
        result = print_pair(out, "meaning", webhook_reason_text(reason));
    return result < 0 ? result : fl_buf_append_byte(out, '}');
}

static int print_json(struct fl_buf *out)
{
    size_t count;
    const struct webhook_decision_row *rows = webhook_decide_rows(&count);
    int result = fl_buf_append_str(out, "{\"decisions\":[");
    for (size_t i = 0; i < count && result == 0; i++) {
        result = fl_buf_append_str(out, i > 0 ? "," : "");
        if (result == 0)
            result = print_decision_json(&rows[i], out);
    }
    if (result == 0)
        result = fl_buf_append_str(out, "],\"reasons\":[");
    for (int i = 0; i < WEBHOOK_REASON_COUNT && result == 0; i++) {
        result = fl_buf_append_str(out, i > 0 ? "," : "");
        if (result == 0)
            result = print_reason_json((enum webhook_reason)i, out);
    }
    return result < 0 ? result : fl_buf_append_str(out, "]}\n");
}

static int print_decisions(struct fl_buf *out)
{
    static const char *const titles[] = {"THE FIRST THAT HOLDS DECIDES", "VERDICT", "REASON"};
    size_t count;
    const struct webhook_decision_row *rows = webhook_decide_rows(&count);
    struct cli_table table;
    cli_table_init(&table, titles, FL_COUNT(titles));
    for (size_t i = 0; i < count; i++) {
        cli_table_cell(&table, fl_span_str(rows[i].when));
        cli_table_cell(&table, fl_span_str(verdicts[rows[i].verdict]));
        cli_table_cell(&table, fl_span_str(webhook_reason_word(rows[i].reason)));
    }
    int result = cli_table_print(&table, out);
    cli_table_done(&table);
    return result;
}

static int print_reasons(struct fl_buf *out)
{
    static const char *const titles[] = {"REASON", "CODE", "MEANING"};
    struct cli_table table;
    cli_table_init(&table, titles, FL_COUNT(titles));
    for (int i = 0; i < WEBHOOK_REASON_COUNT; i++) {
        unsigned code = webhook_reason_code((enum webhook_reason)i);
        cli_table_cell(&table, fl_span_str(webhook_reason_word((enum webhook_reason)i)));
        if (code != 0)
            cli_table_cellf(&table, "%u", code);
        else
            cli_table_cell(&table, FL_SPAN("-"));
        cli_table_cell(&table, fl_span_str(webhook_reason_text((enum webhook_reason)i)));
    }
    int result = cli_table_print(&table, out);
    cli_table_done(&table);
    return result;
}

int cli_reasons_print(bool json, struct fl_buf *out)
{
    if (json)
        return print_json(out);
    int result = print_decisions(out);
    if (result == 0)
        result = fl_buf_append_byte(out, '\n');
    return result < 0 ? result : print_reasons(out);
}
