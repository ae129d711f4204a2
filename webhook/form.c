#include "webhook/form.h"

#include "common/mesh/lists.h"
#include "common/mesh/port.h"
#include "webhook/extra.h"
#include "webhook/value.h"

#include <errno.h>

const char *webhook_privileged_word(enum webhook_privileged privileged)
{
    static const char *const words[] = {"warn", "deny", "allow"};
    return words[privileged];
}

static int read_ports(struct fl_span text, void *field, struct fl_err *err)
{
    return fl_port_list_parse(text, field, err);
}

static int read_cidrs(struct fl_span text, void *field, struct fl_err *err)
{
    return fl_cidr_list_parse(text, field, err);
}

static int read_uids(struct fl_span text, void *field, struct fl_err *err)
{
    return fl_uid_list_parse(text, field, err);
}

static int read_interfaces(struct fl_span text, void *field, struct fl_err *err)
{
    return fl_interface_list_parse(text, field, err);
}

/* "*" means all of the app's; a list that names one of ours is a mistake. */
static int read_app_ports(struct fl_span text, void *field, struct fl_err *err)
{
    struct fl_port_list list = {.all = false};
    int result = fl_port_list_parse(text, &list, err);
    for (size_t i = 0; i < list.count && result == 0; i++) {
        for (uint32_t port = list.ranges[i].first; port <= list.ranges[i].last && result == 0; port++) {
            if (fl_port_is_ours((uint16_t)port))
                result = fl_err_set(err, -EINVAL, "\"%.*s\" holds %u, a port of the sidecar's own; expected the app's",
                                    WEBHOOK_SHOW(text), port);
        }
    }
    if (result == 0)
        *(struct fl_port_list *)field = list;
    return result;
}

static int read_switch(struct fl_span text, void *field, struct fl_err *err)
{
    bool on = fl_span_eq_str(text, "enabled");
    if (!on && !fl_span_eq_str(text, "disabled"))
        return fl_err_set(err, -EINVAL, "\"%.*s\" is not known; expected \"enabled\" or \"disabled\"",
                          WEBHOOK_SHOW(text));
    *(bool *)field = on;
    return 0;
}

static int read_number(struct fl_span text, uint64_t min, void *field, struct fl_err *err)
{
    uint64_t number = 0;
    if (!fl_span_to_u64(text, WEBHOOK_SECONDS_MAX, &number) || number < min)
        return fl_err_set(err, -EINVAL, "\"%.*s\" is not a number of seconds; expected a whole one from %u to %d",
                          WEBHOOK_SHOW(text), (unsigned)min, WEBHOOK_SECONDS_MAX);
    *(uint32_t *)field = (uint32_t)number;
    return 0;
}

static int read_seconds(struct fl_span text, void *field, struct fl_err *err)
{
    return read_number(text, 0, field, err);
}

static int read_patience(struct fl_span text, void *field, struct fl_err *err)
{
    return read_number(text, 1, field, err);
}

static int read_log_level(struct fl_span text, void *field, struct fl_err *err)
{
    *(struct fl_span *)field = text;
    return webhook_log_level_check(text, err);
}

static int read_image(struct fl_span text, void *field, struct fl_err *err)
{
    *(struct fl_span *)field = text;
    return webhook_image_check(text, err);
}

static int read_pull_policy(struct fl_span text, void *field, struct fl_err *err)
{
    *(struct fl_span *)field = text;
    return webhook_pull_policy_check(text, err);
}

/* An empty text, or null, takes the default away: the field is left out of the container. */
static int read_quantity(struct fl_span text, void *field, struct fl_err *err)
{
    __int128 nano;
    bool none = text.len == 0 || fl_span_eq_str(text, "null");
    *(struct fl_span *)field = none ? FL_SPAN("") : text;
    return none ? 0 : webhook_quantity_parse(text, &nano, err);
}

static int read_privileged(struct fl_span text, void *field, struct fl_err *err)
{
    for (int i = 0; i <= WEBHOOK_PRIVILEGED_ALLOW; i++) {
        if (fl_span_eq_str(text, webhook_privileged_word((enum webhook_privileged)i))) {
            *(enum webhook_privileged *)field = (enum webhook_privileged)i;
            return 0;
        }
    }
    return fl_err_set(err, -EINVAL, "\"%.*s\" is not known; expected \"warn\", \"deny\" or \"allow\"",
                      WEBHOOK_SHOW(text));
}

static int take_switch(struct fl_reader *reader, const struct fl_json *value, void *field)
{
    return fl_read_bool(reader, value, field, NULL);
}

static int take_seconds(struct fl_reader *reader, const struct fl_json *value, void *field)
{
    static const struct fl_row row = {.min = 0, .max = WEBHOOK_SECONDS_MAX};
    return fl_read_u32(reader, value, field, &row);
}

static int take_patience(struct fl_reader *reader, const struct fl_json *value, void *field)
{
    static const struct fl_row row = {.min = 1, .max = WEBHOOK_SECONDS_MAX};
    return fl_read_u32(reader, value, field, &row);
}

static int take_quantity(struct fl_reader *reader, const struct fl_json *value, void *field)
{
    struct fl_err err = {0};
    if (!fl_json_is(value, FL_JSON_STRING) && !fl_json_is(value, FL_JSON_NULL))
        return fl_reader_expected(reader, value, "a quantity in quotes, as \"100m\", or null");
    return read_quantity(fl_json_string(value), field, &err) < 0 ? fl_reader_fail(reader, value, "%s", err.text) : 0;
}

static int take_extra(struct fl_reader *reader, const struct fl_json *value, void *field,
                      int (*check)(struct fl_reader *reader, const struct fl_json *value))
{
    if (fl_json_is(value, FL_JSON_NULL))
        value = NULL;
    int result = check(reader, value);
    if (result == 0)
        *(const struct fl_json **)field = fl_json_count(value) > 0 ? value : NULL;
    return result;
}

static int take_env(struct fl_reader *reader, const struct fl_json *value, void *field)
{
    return take_extra(reader, value, field, webhook_extra_env_check);
}

static int take_volumes(struct fl_reader *reader, const struct fl_json *value, void *field)
{
    return take_extra(reader, value, field, webhook_extra_volumes_check);
}

static int take_mounts(struct fl_reader *reader, const struct fl_json *value, void *field)
{
    return take_extra(reader, value, field, webhook_extra_mounts_check);
}

static int print_ranges(struct fl_buf *out, bool all, const struct fl_range *ranges, size_t count)
{
    int result = fl_buf_append_byte(out, '"');
    if (result == 0)
        result = fl_ranges_print(all, ranges, count, out);
    return result < 0 ? result : fl_buf_append_byte(out, '"');
}

static int print_ports(const void *field, struct fl_buf *out)
{
    const struct fl_port_list *list = field;
    return print_ranges(out, list->all, list->ranges, list->count);
}

static int print_uids(const void *field, struct fl_buf *out)
{
    const struct fl_uid_list *list = field;
    return print_ranges(out, false, list->ranges, list->count);
}

static int print_interfaces(const void *field, struct fl_buf *out)
{
    const struct fl_interface_list *list = field;
    int result = fl_buf_append_byte(out, '"'); /* no name needs an escape */
    for (size_t i = 0; i < list->count && result == 0; i++)
        result = fl_buf_printf(out, "%s%s", i > 0 ? "," : "", list->names[i]);
    return result < 0 ? result : fl_buf_append_byte(out, '"');
}

static int print_cidrs(const void *field, struct fl_buf *out)
{
    const struct fl_cidr_list *list = field;
    int result = fl_buf_append_str(out, list->all ? "\"*" : "\"");
    for (size_t i = 0; i < list->count && result == 0; i++) {
        char text[FL_CIDR_PRINT_MAX];
        fl_cidr_print(&list->cidrs[i], text);
        result = fl_buf_printf(out, "%s%s", i > 0 ? "," : "", text);
    }
    return result < 0 ? result : fl_buf_append_byte(out, '"');
}

static int print_switch(const void *field, struct fl_buf *out)
{
    return fl_buf_append_str(out, *(const bool *)field ? "true" : "false");
}

static int print_seconds(const void *field, struct fl_buf *out)
{
    return fl_buf_printf(out, "%u", *(const uint32_t *)field);
}

static int print_text(const void *field, struct fl_buf *out)
{
    return fl_buf_append_json_string(out, *(const struct fl_span *)field);
}

static int print_privileged(const void *field, struct fl_buf *out)
{
    return fl_buf_printf(out, "\"%s\"", webhook_privileged_word(*(const enum webhook_privileged *)field));
}

static int print_env(const void *field, struct fl_buf *out)
{
    const struct fl_json *value = *(const struct fl_json *const *)field;
    return value == NULL ? fl_buf_append_str(out, "{}") : fl_json_print(value, out);
}

static int print_list(const void *field, struct fl_buf *out)
{
    const struct fl_json *value = *(const struct fl_json *const *)field;
    return value == NULL ? fl_buf_append_str(out, "[]") : fl_json_print(value, out);
}

#define STRING "{\"type\":\"string\"}"

static const struct webhook_form forms[WEBHOOK_FORM_COUNT] = {
    [WEBHOOK_FORM_PORTS] = {"`*`, or ports and ranges: `80,8000-8080`; empty is none", STRING, read_ports, NULL,
                            print_ports},
    [WEBHOOK_FORM_APP_PORTS] = {"`*`, or ports and ranges that hold none of ours: `3306,27017-27019`", STRING,
                                read_app_ports, NULL, print_ports},
    [WEBHOOK_FORM_CIDRS] = {"`*`, or `10.0.0.0/8,fd00::/8`; empty is none", STRING, read_cidrs, NULL, print_cidrs},
    [WEBHOOK_FORM_UIDS] = {"uids and ranges: `1000,2000-2999`; empty is none", STRING, read_uids, NULL, print_uids},
    [WEBHOOK_FORM_INTERFACES] = {"names: `eth1,net1`; empty is none", STRING, read_interfaces, NULL, print_interfaces},
    [WEBHOOK_FORM_SWITCH] = {"`enabled` or `disabled`", "{\"type\":\"boolean\"}", read_switch, take_switch,
                             print_switch},
    [WEBHOOK_FORM_SECONDS] = {"0 to 3600", "{\"type\":\"integer\",\"minimum\":0,\"maximum\":3600}", read_seconds,
                              take_seconds, print_seconds},
    [WEBHOOK_FORM_PATIENCE] = {"1 to 3600", "{\"type\":\"integer\",\"minimum\":1,\"maximum\":3600}", read_patience,
                               take_patience, print_seconds},
    [WEBHOOK_FORM_LOG_LEVEL] = {"`trace`, `debug`, `info`, `warning`, `error` or `off`",
                                "{\"enum\":[\"trace\",\"debug\",\"info\",\"warning\",\"warn\",\"error\",\"off\"]}",
                                read_log_level, NULL, print_text},
    [WEBHOOK_FORM_IMAGE] = {"`[host[:port]/]name[:tag][@digest]`",
                            "{\"type\":\"string\",\"minLength\":1,\"maxLength\":512}", read_image, NULL, print_text},
    [WEBHOOK_FORM_PULL_POLICY] = {"`Always`, `IfNotPresent` or `Never`; empty leaves it to Kubernetes",
                                  "{\"enum\":[\"Always\",\"IfNotPresent\",\"Never\",\"\"]}", read_pull_policy, NULL,
                                  print_text},
    [WEBHOOK_FORM_QUANTITY] = {"a quantity, as `100m` or `64Mi`; empty or `null` leaves it out",
                               "{\"type\":[\"string\",\"null\"]}", read_quantity, take_quantity, print_text},
    [WEBHOOK_FORM_PRIVILEGED] = {"`warn`, `deny` or `allow`", "{\"enum\":[\"warn\",\"deny\",\"allow\"]}",
                                 read_privileged, NULL, print_privileged},
    [WEBHOOK_FORM_ENV] = {"a JSON object of strings",
                          "{\"type\":[\"object\",\"null\"],\"additionalProperties\":{\"type\":\"string\"}}", NULL,
                          take_env, print_env},
    [WEBHOOK_FORM_VOLUMES] = {"a JSON array of Volumes",
                              "{\"type\":[\"array\",\"null\"],\"items\":{\"type\":\"object\"}}", NULL, take_volumes,
                              print_list},
    [WEBHOOK_FORM_MOUNTS] = {"a JSON array of VolumeMounts",
                             "{\"type\":[\"array\",\"null\"],\"items\":{\"type\":\"object\"}}", NULL, take_mounts,
                             print_list},
};

const struct webhook_form *webhook_form(enum webhook_form_kind kind)
{
    return &forms[kind];
}
