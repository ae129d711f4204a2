#include "cli/proxies.h"

#include "cli/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static const char *const types[] = {"LDS", "CDS", "EDS", "RDS", "SDS"};

struct count {
    size_t proxies, in_sync, refusing;
};

static struct fl_span text_of(const struct fl_json *object, const char *name)
{
    return fl_json_string(fl_json_get(object, name));
}

static bool holds(struct fl_span text, struct fl_span part)
{
    return part.len == 0 || (text.len > 0 && memmem(text.data, text.len, part.data, part.len) != NULL);
}

/* "3d4h", "5h12m", "7m", "12s". */
static void print_span(int64_t seconds, char *text, size_t size)
{
    if (seconds < 0)
        (void)snprintf(text, size, "-%" PRId64 "s", -seconds);
    else if (seconds >= 86400)
        (void)snprintf(text, size, "%" PRId64 "d%" PRId64 "h", seconds / 86400, seconds % 86400 / 3600);
    else if (seconds >= 3600)
        (void)snprintf(text, size, "%" PRId64 "h%" PRId64 "m", seconds / 3600, seconds % 3600 / 60);
    else if (seconds >= 60)
        (void)snprintf(text, size, "%" PRId64 "m", seconds / 60);
    else
        (void)snprintf(text, size, "%" PRId64 "s", seconds);
}

static void age_cell(struct cli_table *table, const struct fl_json *object, const char *name, time_t now)
{
    int64_t when;
    char text[32] = "";
    if (fl_json_int(fl_json_get(object, name), 1, INT64_MAX >> 11, &when))
        print_span((int64_t)now - when, text, sizeof(text));
    cli_table_cell_str(table, text);
}

/* How long it is still good for, of how long in all. */
static void certificate_cell(struct cli_table *table, const struct fl_json *proxy, time_t now)
{
    const struct fl_json *certificate = fl_json_get(proxy, "certificate");
    int64_t from, until;
    char left[32], life[32];
    if (!fl_json_int(fl_json_get(certificate, "not_before"), 1, INT64_MAX >> 11, &from) ||
        !fl_json_int(fl_json_get(certificate, "not_after"), 1, INT64_MAX >> 11, &until)) {
        cli_table_cell_str(table, "");
        return;
    }
    print_span(until - (int64_t)now, left, sizeof(left));
    print_span(until - from, life, sizeof(life));
    cli_table_cellf(table, until <= (int64_t)now ? "expired" : "%s of %s left", left, life);
}

static void type_cell(struct cli_table *table, const struct fl_json *type)
{
    int64_t refused = 0, resources = 0;
    bool has = fl_json_int(fl_json_get(type, "resources"), 0, INT64_MAX >> 11, &resources);
    (void)fl_json_int(fl_json_get(type, "refused"), 0, INT64_MAX >> 11, &refused);
    const char *word = text_of(type, "reason").len > 0              ? " REFUSED"
                       : fl_json_bool(fl_json_get(type, "in_sync")) ? ""
                                                                    : " behind";
    if (!has)
        cli_table_cell_str(table, "");
    else
        cli_table_cellf(table, "%" PRId64 "%s", resources, word);
}

static void proxy_row(struct cli_table *table, const struct fl_json *proxy, time_t now)
{
    struct fl_span name = text_of(proxy, "name"), name_space = text_of(proxy, "namespace");
    if (name.len > 0)
        cli_table_cellf(table, "%.*s.%.*s", FL_SPAN_ARG(name), FL_SPAN_ARG(name_space));
    else
        cli_table_cell(table, text_of(proxy, "id"));
    cli_table_cell(table, text_of(proxy, "role"));
    cli_table_cell_str(table, fl_json_bool(fl_json_get(proxy, "in_sync")) ? "yes" : "no");
    for (size_t i = 0; i < FL_COUNT(types); i++)
        type_cell(table, fl_json_get(fl_json_get(proxy, "types"), types[i]));
    certificate_cell(table, proxy, now);
    age_cell(table, proxy, "since", now);
    cli_table_cell(table, text_of(proxy, "identity"));
}

static bool is_wanted(const struct fl_json *proxy, struct fl_span filter)
{
    return holds(text_of(proxy, "name"), filter) || holds(text_of(proxy, "namespace"), filter);
}

static int print_reasons(const struct fl_json *proxy, struct fl_buf *out, bool *ret_refusing)
{
    int result = 0;
    for (size_t i = 0; i < FL_COUNT(types) && result == 0; i++) {
        struct fl_span reason = text_of(fl_json_get(fl_json_get(proxy, "types"), types[i]), "reason");
        if (reason.len == 0)
            continue;
        *ret_refusing = true;
        static const char *const none[] = {""};
        struct cli_table line; /* for its cleaning of what a terminal would obey */
        cli_table_init(&line, none, 1);
        cli_table_cellf(&line, "%.*s.%.*s refuses %s: %.*s", FL_SPAN_ARG(text_of(proxy, "name")),
                        FL_SPAN_ARG(text_of(proxy, "namespace")), types[i], FL_SPAN_ARG(reason));
        struct fl_buf text;
        fl_buf_init(&text, out->max);
        result = cli_table_print(&line, &text);
        if (result == 0)
            result = fl_buf_append(out, fl_span_from(fl_buf_span(&text), fl_span_find(fl_buf_span(&text), '\n') + 1));
        fl_buf_done(&text);
        cli_table_done(&line);
    }
    return result;
}

static int print_rest(const struct fl_json *proxies, struct fl_span filter, struct count *count, struct fl_buf *out)
{
    int result = 0;
    for (const struct fl_json *proxy = fl_json_first(proxies); proxy != NULL && result == 0;
         proxy = fl_json_next(proxy)) {
        bool refusing = false;
        if (!is_wanted(proxy, filter))
            continue;
        result = print_reasons(proxy, out, &refusing);
        count->proxies++;
        count->in_sync += fl_json_bool(fl_json_get(proxy, "in_sync"));
        count->refusing += refusing;
    }
    if (result == 0)
        result = fl_buf_printf(out, "%zu prox%s, %zu in sync, %zu refusing something\n", count->proxies,
                               count->proxies == 1 ? "y" : "ies", count->in_sync, count->refusing);
    return result;
}

int cli_proxies_print(const struct fl_json *document, time_t now, struct fl_span filter, struct fl_buf *out)
{
    static const char *const titles[] = {"PROXY", "ROLE", "IN SYNC",     "LDS",       "CDS",     "EDS",
                                         "RDS",   "SDS",  "CERTIFICATE", "CONNECTED", "IDENTITY"};
    const struct fl_json *proxies = fl_json_get(document, "proxies");
    struct cli_table table;
    struct count count = {0};
    if (!fl_json_is(proxies, FL_JSON_ARRAY))
        return -EINVAL;
    cli_table_init(&table, titles, FL_COUNT(titles));
    for (const struct fl_json *proxy = fl_json_first(proxies); proxy != NULL; proxy = fl_json_next(proxy))
        if (is_wanted(proxy, filter))
            proxy_row(&table, proxy, now);
    int result = cli_table_print(&table, out);
    cli_table_done(&table);
    return result == 0 ? print_rest(proxies, filter, &count, out) : result;
}
