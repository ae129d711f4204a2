/* Telemetry. */
#include "control/model/collector.h"
#include "control/model/kind/document.h"
#include "control/model/kind/kinds.h"
#include "control/model/kind/target.h"

static int read_switch(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    bool on = false;
    int result = fl_read_bool(reader, value, &on, row);
    *(enum control_switch *)field = on ? CONTROL_SWITCH_ON : CONTROL_SWITCH_OFF;
    return result;
}

/* Percent with up to three digits behind the point. */
static int read_sampling(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    double percent = fl_json_number(value);
    (void)row;
    if (!fl_json_is(value, FL_JSON_NUMBER) || !(percent >= 0 && percent <= 100))
        return fl_reader_expected(reader, value, "a number from 0 to 100");
    *(int32_t *)field = (int32_t)(percent * 1000 + 0.5);
    return 0;
}

static int read_endpoint(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_collector collector;
    (void)row;
    if (!fl_json_is(value, FL_JSON_STRING) || !control_collector_parse(fl_json_string(value), &collector))
        return fl_reader_expected(reader, value,
                                  "http://host:port with a path or without; host is an address or a Service");
    return control_read_short_text(reader, value, field, row);
}

#define AT(member) offsetof(struct control_telemetry, member)
static const struct fl_row log_rows[] = {
    {"enabled", read_switch, AT(access_log), OPT, 0, 0, NULL},
    {"path", control_read_text, AT(access_log_path), OPT, 1, 1024, NULL},
    {0},
};
static const struct fl_table log_table = {log_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_row tracing_rows[] = {
    {"enabled", read_switch, AT(tracing), OPT, 0, 0, NULL},
    {"endpoint", read_endpoint, AT(endpoint), OPT, 0, 0, NULL},
    {"samplingPercent", read_sampling, AT(sampling), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table tracing_table = {tracing_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_row telemetry_rows[] = {
    CONTROL_TARGET_ROWS(struct control_telemetry),
    {"accessLogging", fl_read_object, 0, OPT, 0, 0, &log_table},
    {"tracing", fl_read_object, 0, OPT, 0, 0, &tracing_table},
    {0},
};
static const struct fl_table telemetry_table = {telemetry_rows, FL_TABLE_REFUSE_UNKNOWN};
#undef AT

static int read_telemetry(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_telemetry *telemetry = FL_CONTAINER_OF(object, struct control_telemetry, object);
    telemetry->sampling = -1;
    int result = control_read_document(reader, document, &telemetry_table, telemetry);
    return result < 0 ? result : control_check_target(reader, document, &telemetry->target);
}

const struct control_kind_reader control_read_telemetry = {sizeof(struct control_telemetry), read_telemetry, NULL};
