#include "cli/check/report.h"

#include <errno.h>
#include <stdio.h>

static const struct {
    unsigned number;
    const char *word, *title;
} checks[] = {
#define X(id, number, word, title) {number, word, title},
    CLI_CHECKS(X)
#undef X
};

static const char *const sections[] = {"", "cluster", "installation", "certificates and time", "pods", "network"};
static const char *const states[] = {"ok", "skipped", "warning", "failed"};
static const char *const marks[] = {"ok  ", "-   ", "WARN", "FAIL"};

unsigned cli_check_number(enum cli_check check)
{
    return checks[check].number;
}

const char *cli_check_word(enum cli_check check)
{
    return checks[check].word;
}

const char *cli_check_title(enum cli_check check)
{
    return checks[check].title;
}

const char *cli_check_state_word(enum cli_check_state state)
{
    return states[state];
}

int cli_report_init(struct cli_report *report)
{
    *report = (struct cli_report){.checks = fl_json_new_array()};
    return report->checks != NULL ? 0 : -ENOMEM;
}

void cli_report_done(struct cli_report *report)
{
    report->checks = fl_json_free(report->checks);
}

static void keep(struct cli_report *report, int result)
{
    if (report->result == 0)
        report->result = result;
}

static void set_text(struct cli_report *report, struct fl_json *object, const char *name, const char *text)
{
    if (report->result == 0)
        keep(report, fl_json_set(object, name, fl_json_new_string(fl_span_str(text))));
}

/* Adds an object to an array; NULL where memory is out. */
static struct fl_json *add(struct cli_report *report, struct fl_json *array)
{
    if (report->result == 0)
        keep(report, fl_json_append(array, fl_json_new_object()));
    return report->result == 0 ? fl_json_at(array, fl_json_count(array) - 1) : NULL;
}

void cli_report_begin(struct cli_report *report, enum cli_check check)
{
    report->current = add(report, report->checks);
    if (report->current == NULL)
        return;
    keep(report, fl_json_set(report->current, "number", fl_json_new_int(checks[check].number)));
    set_text(report, report->current, "check", checks[check].word);
    set_text(report, report->current, "section", sections[checks[check].number / 100]);
    set_text(report, report->current, "title", checks[check].title);
    set_text(report, report->current, "state", states[CLI_CHECK_OK]);
    if (report->result == 0)
        keep(report, fl_json_set(report->current, "findings", fl_json_new_array()));
}

static enum cli_check_state state_of(const struct fl_json *object)
{
    size_t state = CLI_CHECK_FAILED;
    while (state > 0 && !fl_span_eq_str(fl_json_string(fl_json_get(object, "state")), states[state]))
        state--;
    return (enum cli_check_state)state;
}

/* One line, whatever was put in: what comes from a cluster may hold anything. */
static void print_text(char text[CLI_CHECK_TEXT_MAX], const char *format, va_list arguments)
{
    (void)vsnprintf(text, CLI_CHECK_TEXT_MAX, format, arguments);
    for (char *byte = text; *byte != '\0'; byte++)
        if ((unsigned char)*byte < ' ' || *byte == 0x7f)
            *byte = '?';
}

void cli_report_fact(struct cli_report *report, const char *format, ...)
{
    char text[CLI_CHECK_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    print_text(text, format, arguments);
    va_end(arguments);
    set_text(report, report->current, "fact", text);
}

/* Those past the maximum are counted. */
static bool is_room(struct cli_report *report, const struct fl_json *findings)
{
    int64_t more = 0;
    if (report->result != 0 || fl_json_count(findings) < CLI_CHECK_FINDINGS_MAX)
        return report->result == 0;
    (void)fl_json_int(fl_json_get(report->current, "more"), 0, INT32_MAX, &more);
    keep(report, fl_json_set(report->current, "more", fl_json_new_int(more + 1)));
    return false;
}

void cli_report_find(struct cli_report *report, enum cli_check_state state, const char *hint, const char *format, ...)
{
    char text[CLI_CHECK_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    print_text(text, format, arguments);
    va_end(arguments);
    if (report->result == 0 && state > state_of(report->current))
        set_text(report, report->current, "state", states[state]);
    struct fl_json *findings = fl_json_get(report->current, "findings");
    if (!is_room(report, findings))
        return;
    struct fl_json *finding = add(report, findings);
    set_text(report, finding, "state", states[state]);
    set_text(report, finding, "text", text);
    if (hint != NULL)
        set_text(report, finding, "hint", hint);
}

void cli_report_end(struct cli_report *report)
{
    memset(report->counts, 0, sizeof(report->counts));
    for (const struct fl_json *check = fl_json_first(report->checks); check != NULL; check = fl_json_next(check))
        report->counts[state_of(check)]++;
}

/* --- printed ---------------------------------------------------------------------------------------------------- */

static int print_finding(const struct fl_json *finding, struct fl_span *hint, struct fl_buf *out)
{
    struct fl_span next = fl_json_string(fl_json_get(finding, "hint"));
    int result = 0;
    if (hint->len > 0 && !fl_span_eq(*hint, next))
        result = fl_buf_printf(out, "            to mend it: %.*s\n", FL_SPAN_ARG(*hint));
    *hint = next;
    return result < 0
               ? result
               : fl_buf_printf(out, "          %.*s\n", FL_SPAN_ARG(fl_json_string(fl_json_get(finding, "text"))));
}

/* The same hint for several findings is told once, behind the last of them. */
static int print_findings(const struct fl_json *check, struct fl_buf *out)
{
    struct fl_span hint = {NULL, 0};
    int64_t more = 0;
    int result = 0;
    for (const struct fl_json *finding = fl_json_first(fl_json_get(check, "findings")); finding != NULL && result == 0;
         finding = fl_json_next(finding))
        result = print_finding(finding, &hint, out);
    if (result == 0 && fl_json_int(fl_json_get(check, "more"), 1, INT32_MAX, &more))
        result = fl_buf_printf(out, "          and %lld more\n", (long long)more);
    return result == 0 && hint.len > 0 ? fl_buf_printf(out, "            to mend it: %.*s\n", FL_SPAN_ARG(hint))
                                       : result;
}

static int print_check(const struct fl_json *check, struct fl_buf *out)
{
    char room[FL_JSON_NUMBER_ROOM];
    struct fl_span fact = fl_json_string(fl_json_get(check, "fact"));
    int result =
        fl_buf_printf(out, "  %.*s %s %.*s", FL_SPAN_ARG(fl_json_number_text(fl_json_get(check, "number"), room)),
                      marks[state_of(check)], FL_SPAN_ARG(fl_json_string(fl_json_get(check, "title"))));
    if (result == 0 && fact.len > 0)
        result = fl_buf_printf(out, ": %.*s", FL_SPAN_ARG(fact));
    if (result == 0)
        result = fl_buf_append_byte(out, '\n');
    return result < 0 ? result : print_findings(check, out);
}

static int print_people(const struct cli_report *report, struct fl_buf *out)
{
    struct fl_span section = {NULL, 0};
    int result = 0;
    for (const struct fl_json *check = fl_json_first(report->checks); check != NULL && result == 0;
         check = fl_json_next(check)) {
        struct fl_span own = fl_json_string(fl_json_get(check, "section"));
        if (!fl_span_eq(own, section))
            result = fl_buf_printf(out, "%s%.*s\n", section.len > 0 ? "\n" : "", FL_SPAN_ARG(own));
        section = own;
        if (result == 0)
            result = print_check(check, out);
    }
    return result < 0 ? result
                      : fl_buf_printf(out, "\n%zu ok, %zu failed, %zu warnings, %zu skipped\n",
                                      report->counts[CLI_CHECK_OK], report->counts[CLI_CHECK_FAILED],
                                      report->counts[CLI_CHECK_WARNING], report->counts[CLI_CHECK_SKIPPED]);
}

static int print_json(const struct cli_report *report, struct fl_buf *out)
{
    int result = fl_buf_printf(out, "{\"ok\":%s", report->counts[CLI_CHECK_FAILED] == 0 ? "true" : "false");
    for (size_t i = 0; i <= CLI_CHECK_FAILED && result == 0; i++)
        result = fl_buf_printf(out, ",\"%s\":%zu", i == CLI_CHECK_OK ? "good" : states[i], report->counts[i]);
    if (result == 0)
        result = fl_buf_append_str(out, ",\"checks\":");
    if (result == 0)
        result = fl_json_print(report->checks, out);
    return result < 0 ? result : fl_buf_append_str(out, "}\n");
}

int cli_report_print(const struct cli_report *report, bool json, struct fl_buf *out)
{
    if (report->result != 0)
        return report->result;
    return json ? print_json(report, out) : print_people(report, out);
}
