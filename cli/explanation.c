#include "cli/explanation.h"

#include "cli/table.h"
#include "cni/capture/plan.h"
#include "common/base/cleanup.h"
#include "common/mesh/label.h"
#include "webhook/pod.h"
#include "webhook/resolve.h"

#include <errno.h>

#define VALUE_MAX (256u << 10)
#define RULE_MAX  4096

/* --- the tree --------------------------------------------------------------------------------------------------- */

static int set_text(struct fl_json *tree, const char *name, struct fl_span text)
{
    return text.len == 0 ? 0 : fl_json_set(tree, name, fl_json_new_string(text));
}

static int add_setting(const struct webhook_settings *settings, enum webhook_setting setting, struct fl_json *list)
{
    const struct fl_json_limits limits = {.bytes_max = VALUE_MAX};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *item = fl_json_new_object();
    struct fl_json *value = NULL;
    struct fl_buf text;
    fl_buf_init(&text, VALUE_MAX);
    int result = item == NULL ? -ENOMEM : webhook_setting_print(setting, settings, &text);
    if (result == 0)
        result = fl_json_parse(fl_buf_span(&text), &limits, &value, NULL);
    if (result == 0)
        result = set_text(item, "setting", fl_span_str(webhook_setting_row(setting)->annotation));
    if (result == 0)
        result = fl_json_set(item, "value", fl_take(value));
    if (result == 0)
        result = set_text(item, "from", fl_span_str(webhook_level_word(settings->from[setting])));
    if (result == 0)
        result = fl_json_append(list, fl_take(item));
    fl_json_free(value);
    fl_buf_done(&text);
    return result;
}

/* Settings that are refused are not told: the message is. */
static int add_settings(const struct webhook_context *context, const struct fl_json *pod, struct fl_span name_space,
                        struct fl_json *tree)
{
    const struct webhook_namespace *found = webhook_namespaces_find(context->namespaces, name_space);
    const bool requires =
        fl_span_eq_str(webhook_pod_value(found != NULL ? found->labels : NULL, FL_LABEL_REQUIRE), FL_LABEL_TRUE);
    struct webhook_settings settings;
    struct fl_err err = {0};
    int result =
        webhook_settings_resolve(context->config, name_space, requires, found != NULL ? found->annotations : NULL,
                                 webhook_pod_annotations(pod), &settings, NULL, &err);
    if (result < 0)
        return result == -ENOMEM ? result : 0;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *list = fl_json_new_array();
    result = list == NULL ? -ENOMEM : 0;
    for (int i = 0; i < WEBHOOK_SETTING_COUNT && result == 0; i++)
        result = add_setting(&settings, (enum webhook_setting)i, list);
    webhook_settings_done(&settings);
    return result < 0 ? result : fl_json_set(tree, "settings", fl_take(list));
}

static int add_rule(const struct cni_plan *plan, const struct cni_rule *rule, struct fl_json *list)
{
    struct fl_buf text;
    fl_buf_init(&text, RULE_MAX);
    int result = fl_buf_printf(&text, "%s: ", cni_chain_name(rule->chain));
    if (result == 0)
        result = cni_rule_print(plan, rule, &text);
    if (result == 0)
        result = fl_json_append(list, fl_json_new_string(fl_span_trim(fl_buf_span(&text))));
    fl_buf_done(&text);
    return result;
}

static int add_rules(struct fl_span text, struct fl_json *tree)
{
    struct fl_capture capture;
    struct cni_plan plan;
    if (text.len == 0 || fl_capture_parse(text, &capture, NULL) < 0)
        return 0;
    int result = cni_plan_build(&capture, &plan);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *list = fl_json_new_array();
    if (result == 0 && list == NULL)
        result = -ENOMEM;
    for (size_t i = 0; i < plan.rule_count && result == 0; i++)
        result = add_rule(&plan, &plan.rules[i], list);
    return result < 0 ? result : fl_json_set(tree, "rules", fl_take(list));
}

/* What the webhook wrote, as it stands: the annotation is canonical JSON. */
static int add_probes(struct fl_span text, struct fl_json *tree)
{
    const struct fl_json_limits limits = {.bytes_max = VALUE_MAX};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *table = NULL;
    int result = text.len == 0 ? -ENOENT : fl_json_parse(text, &limits, &table, NULL);
    struct fl_json *list = fl_json_detach(table, FL_SPAN("probes"));
    if (result < 0 || list == NULL)
        return result == -ENOMEM ? result : 0;
    return fl_json_set(tree, "probes", list);
}

static int add_warnings(const struct webhook_verdict_report *report, struct fl_json *tree)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *list = fl_json_new_array();
    int result = list == NULL ? -ENOMEM : 0;
    for (size_t i = 0; i < report->warnings.count && result == 0; i++)
        result = fl_json_append(list, fl_json_new_string(fl_span_str(report->warnings.text[i])));
    return result < 0 ? result : fl_json_set(tree, "warnings", fl_take(list));
}

static int add_verdict(const struct cli_rehearsal *rehearsal, struct fl_json *tree)
{
    const struct webhook_verdict_report *report = &rehearsal->report;
    int result = set_text(tree, "outcome", fl_span_str(webhook_outcome_word(report->outcome)));
    if (result == 0)
        result = set_text(tree, "reason", fl_span_str(webhook_reason_word(report->reason)));
    if (result == 0)
        result = set_text(tree, "meaning", fl_span_str(webhook_reason_text(report->reason)));
    if (result == 0)
        result = set_text(tree, "message", fl_span_str(report->err.text));
    if (result == 0)
        result = add_warnings(report, tree);
    if (result == 0)
        result = set_text(tree, "workload", fl_json_string(fl_json_get(rehearsal->audit, "workload")));
    if (result == 0)
        result = set_text(tree, "identity", fl_json_string(fl_json_get(rehearsal->audit, "identity")));
    return result;
}

static int fill(const struct webhook_context *context, const struct cli_workload *workload, const struct fl_json *pod,
                struct fl_span name_space, const struct cli_rehearsal *rehearsal, struct fl_json *tree)
{
    const struct fl_json *annotations = webhook_pod_annotations(rehearsal->patched);
    int result = set_text(tree, "kind", workload->kind);
    if (result == 0)
        result = set_text(tree, "name", workload->name);
    if (result == 0)
        result = set_text(tree, "namespace", name_space);
    if (result == 0)
        result = add_verdict(rehearsal, tree);
    if (result < 0 || rehearsal->report.outcome == WEBHOOK_SKIPPED || rehearsal->patched == NULL)
        return result;
    result = add_settings(context, pod, name_space, tree);
    if (result == 0)
        result = add_probes(webhook_pod_value(annotations, FL_ANNOTATION_PROBES), tree);
    if (result == 0)
        result = add_rules(webhook_pod_value(annotations, FL_ANNOTATION_CAPTURE), tree);
    return result;
}

int cli_explanation_make(const struct webhook_context *context, const struct cli_workload *workload,
                         const struct fl_json *pod, struct fl_span name_space, const struct cli_rehearsal *rehearsal,
                         struct fl_json **ret_tree)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *tree = fl_json_new_object();
    int result = tree == NULL ? -ENOMEM : fill(context, workload, pod, name_space, rehearsal, tree);
    if (result == 0)
        *ret_tree = fl_take(tree);
    return result;
}

/* --- text ------------------------------------------------------------------------------------------------------- */

static struct fl_span text_of(const struct fl_json *tree, const char *name)
{
    return fl_json_string(fl_json_get(tree, name));
}

static int print_line(struct fl_buf *out, const char *title, struct fl_span text)
{
    return text.len == 0 ? 0 : fl_buf_printf(out, "  %-10s %.*s\n", title, FL_SPAN_ARG(text));
}

static int print_settings(const struct fl_json *list, struct fl_buf *out)
{
    static const char *const titles[] = {"    SETTING", "VALUE", "FROM"};
    struct cli_table table;
    if (fl_json_count(list) == 0)
        return 0;
    int result = fl_buf_append_str(out, "  settings\n");
    cli_table_init(&table, titles, FL_COUNT(titles));
    for (const struct fl_json *item = fl_json_first(list); item != NULL && result == 0; item = fl_json_next(item)) {
        struct fl_buf value;
        fl_buf_init(&value, VALUE_MAX);
        result = fl_json_print(fl_json_get(item, "value"), &value);
        cli_table_cellf(&table, "    %.*s", FL_SPAN_ARG(text_of(item, "setting")));
        cli_table_cell(&table, fl_buf_span(&value));
        cli_table_cell(&table, text_of(item, "from"));
        fl_buf_done(&value);
    }
    if (result == 0)
        result = cli_table_print(&table, out);
    cli_table_done(&table);
    return result;
}

static int print_probe(const struct fl_json *probe, struct fl_buf *out)
{
    static const char *const handlers[] = {"httpGet", "tcpSocket", "grpc"};
    int result = fl_buf_printf(out, "    %.*s %.*s:", FL_SPAN_ARG(text_of(probe, "container")),
                               FL_SPAN_ARG(text_of(probe, "kind")));
    for (size_t i = 0; i < FL_COUNT(handlers) && result == 0; i++) {
        const struct fl_json *handler = fl_json_get(probe, handlers[i]);
        if (handler == NULL)
            continue;
        result = fl_buf_printf(out, " %s ", handlers[i]);
        if (result == 0)
            result = fl_json_print(handler, out);
    }
    return result < 0 ? result : fl_buf_append_byte(out, '\n');
}

static int print_probes(const struct fl_json *list, struct fl_buf *out)
{
    int result = fl_json_count(list) == 0 ? 0 : fl_buf_append_str(out, "  probes that the sidecar answers\n");
    for (const struct fl_json *item = fl_json_first(list); item != NULL && result == 0; item = fl_json_next(item))
        result = print_probe(item, out);
    return result;
}

static int print_list(const struct fl_json *list, const char *title, struct fl_buf *out)
{
    int result = fl_json_count(list) == 0 ? 0 : fl_buf_printf(out, "  %s\n", title);
    for (const struct fl_json *item = fl_json_first(list); item != NULL && result == 0; item = fl_json_next(item))
        result = fl_buf_printf(out, "    %.*s\n", FL_SPAN_ARG(fl_json_string(item)));
    return result;
}

static int print_head(const struct fl_json *tree, struct fl_buf *out)
{
    struct fl_span file = text_of(tree, "file"), now = text_of(tree, "now");
    int result = fl_buf_printf(out, "%.*s/%.*s in namespace %.*s", FL_SPAN_ARG(text_of(tree, "kind")),
                               FL_SPAN_ARG(text_of(tree, "name")), FL_SPAN_ARG(text_of(tree, "namespace")));
    if (result == 0 && file.len > 0)
        result = fl_buf_printf(out, " (%.*s)", FL_SPAN_ARG(file));
    if (result == 0)
        result = fl_buf_append_byte(out, '\n');
    if (result == 0)
        result = print_line(out, "now", now);
    if (result == 0)
        result = fl_buf_printf(out, "  %-10s %.*s [%.*s]: %.*s\n", "decision", FL_SPAN_ARG(text_of(tree, "outcome")),
                               FL_SPAN_ARG(text_of(tree, "reason")), FL_SPAN_ARG(text_of(tree, "meaning")));
    return result;
}

int cli_explanation_print(const struct fl_json *tree, struct fl_buf *out)
{
    int result = print_head(tree, out);
    if (result == 0)
        result = print_line(out, "message", text_of(tree, "message"));
    if (result == 0)
        result = print_line(out, "workload", text_of(tree, "workload"));
    if (result == 0)
        result = print_line(out, "identity", text_of(tree, "identity"));
    if (result == 0)
        result = print_list(fl_json_get(tree, "warnings"), "warnings", out);
    if (result == 0)
        result = print_settings(fl_json_get(tree, "settings"), out);
    if (result == 0)
        result = print_probes(fl_json_get(tree, "probes"), out);
    if (result == 0)
        result = print_list(fl_json_get(tree, "rules"), "rules that the pod's network gets", out);
    return result;
}

int cli_explanation_print_all(const struct fl_json *trees, struct fl_buf *out)
{
    static const char *const titles[] = {"OBJECT", "OUTCOME", "REASON", "TOLD"};
    struct cli_table table;
    cli_table_init(&table, titles, FL_COUNT(titles));
    for (const struct fl_json *tree = fl_json_first(trees); tree != NULL; tree = fl_json_next(tree)) {
        struct fl_span message = text_of(tree, "message");
        struct fl_span warning = fl_json_string(fl_json_at(fl_json_get(tree, "warnings"), 0));
        cli_table_cellf(&table, "%.*s/%.*s", FL_SPAN_ARG(text_of(tree, "kind")), FL_SPAN_ARG(text_of(tree, "name")));
        cli_table_cell(&table, text_of(tree, "outcome"));
        cli_table_cell(&table, text_of(tree, "reason"));
        cli_table_cell(&table, message.len > 0 ? message : warning);
    }
    int result = cli_table_print(&table, out);
    cli_table_done(&table);
    return result;
}
