#include "cni/install/conflist.h"

#include "cni/install/jsonwalk.h"

#include <errno.h>
#include <stdio.h>

#define WRAPPED     "fairlead.io/wrapped"
#define SPOKEN      "0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"
#define OLDEST      "0.3.0" /* with lists, and a result that is handed on along them */
#define CORRECTED   "0.3.1" /* the same, without the slip in its text: for lists that we make */
#define EDITED_MAX  (2u * CNI_CONFLIST_BYTES_MAX)
#define VERSION_MAX 64
#define ENTRY_MAX   1024 /* bytes that ours adds */

/* As cni/plugin speaks them; a test holds the two together. */
static const char *const spoken[] = {OLDEST, CORRECTED, "0.4.0", "1.0.0", "1.1.0"};
static const char *const older[] = {"0.1.0", "0.2.0"};

static bool is_in(const char *text, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, list[i]) == 0)
            return true;
    }
    return false;
}

static bool is_spoken(const char *version)
{
    return is_in(version, spoken, FL_COUNT(spoken));
}

/* Outcomes with "line L, column C: " in front: where `at` begins. */
static int outcome_at(const struct cni_json *json, uint32_t at, int outcome, struct fl_err *err, const char *what)
{
    size_t offset = at < json->count ? json->values[at].start : json->text.len;
    struct cni_json_place place = cni_json_place(json->text, offset);
    fl_err_set(err, -EINVAL, "line %u, column %u: %s", place.line, place.column, what);
    return outcome;
}

static int read_text(struct fl_span text, struct cni_json *ret_json, struct fl_err *err)
{
    if (text.len > CNI_CONFLIST_BYTES_MAX)
        return fl_err_set(err, -EMSGSIZE, "%zu bytes, more than %u", text.len, CNI_CONFLIST_BYTES_MAX);
    int result = cni_json_read(text, ret_json, err);
    return result == -EINVAL ? CNI_CONFLIST_UNREADABLE : result;
}

static bool is_ours(const struct cni_json *json, uint32_t value)
{
    return cni_json_is(json, cni_json_get_field(json, value, "type"), CNI_CONFLIST_TYPE);
}

/* ---- what a text says ---- */

static int check_plugin(const struct cni_json *json, uint32_t plugin, struct fl_err *err)
{
    uint32_t type = cni_json_get_field(json, plugin, "type");
    struct fl_span text = cni_json_text(json, type);
    if (cni_json_kind(json, plugin) != '{')
        return outcome_at(json, plugin, CNI_CONFLIST_UNREADABLE, err, "a plugin is an object");
    if (cni_json_kind(json, type) != '"' || text.len <= 2)
        return outcome_at(json, plugin, CNI_CONFLIST_UNREADABLE, err, "a plugin without a type");
    return 0;
}

/* A network's name as libcni lets it pass when a pod is added. */
static bool is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    return name[0] != '\0' && strchr("_.-", name[0]) == NULL && strspn(name, letters) == strlen(name);
}

/* Every version that a runtime may choose must be one that our plugin speaks: else each pod on the node would fail. */
static int check_versions(const struct cni_json *json, struct fl_err *err)
{
    char text[VERSION_MAX];
    uint32_t version = cni_json_get(json, 0, "cniVersion"), versions = cni_json_get(json, 0, "cniVersions");
    if (version == CNI_JSON_NONE && cni_json_first(json, versions) == CNI_JSON_NONE)
        return outcome_at(json, 0, CNI_CONFLIST_UNFIT, err,
                          "$.cniVersion is missing, which counts as 0.1.0; fairlead-cni can be chained from " OLDEST
                          " on: set it, if the other plugins speak it");
    if (version != CNI_JSON_NONE && (!cni_json_string(json, version, text, sizeof(text)) || !is_spoken(text)))
        return outcome_at(json, version, CNI_CONFLIST_UNFIT, err,
                          "$.cniVersion is none that fairlead-cni speaks: " SPOKEN);
    bool any = version != CNI_JSON_NONE;
    for (uint32_t one = cni_json_first(json, versions); one != CNI_JSON_NONE;
         one = cni_json_after(json, versions, one)) {
        bool known = cni_json_string(json, one, text, sizeof(text));
        any |= known && is_spoken(text);
        if (!known || (!is_spoken(text) && !is_in(text, older, FL_COUNT(older))))
            return outcome_at(json, one, CNI_CONFLIST_UNFIT, err,
                              "$.cniVersions has one that fairlead-cni does not speak, and a runtime may choose it");
    }
    return any ? 0
               : outcome_at(json, versions, CNI_CONFLIST_UNFIT, err,
                            "$.cniVersions has none that fairlead-cni speaks: " SPOKEN);
}

/* As libcni reads a list: UNREADABLE where it would not. */
static int check_list(const struct cni_json *json, struct fl_err *err)
{
    uint32_t plugins = cni_json_get(json, 0, "plugins"), version = cni_json_get(json, 0, "cniVersion");
    if (cni_json_kind(json, 0) != '{')
        return outcome_at(json, 0, CNI_CONFLIST_UNREADABLE, err, "a network configuration list is an object");
    if (cni_json_kind(json, cni_json_get(json, 0, "name")) != '"')
        return outcome_at(json, 0, CNI_CONFLIST_UNREADABLE, err, "$.name is missing, or no string");
    if (version != CNI_JSON_NONE && cni_json_kind(json, version) != '"')
        return outcome_at(json, version, CNI_CONFLIST_UNREADABLE, err, "$.cniVersion is no string");
    if (plugins == CNI_JSON_NONE)
        return outcome_at(json, 0, CNI_CONFLIST_UNFIT, err,
                          "$.plugins is missing: the plugins are files of a folder, where fairlead-cni is not put");
    if (cni_json_kind(json, plugins) != '[' || cni_json_first(json, plugins) == CNI_JSON_NONE)
        return outcome_at(json, plugins, CNI_CONFLIST_UNREADABLE, err, "$.plugins is no array, or empty");
    int result = 0;
    for (uint32_t plugin = cni_json_first(json, plugins); result == 0 && plugin != CNI_JSON_NONE;
         plugin = cni_json_after(json, plugins, plugin))
        result = check_plugin(json, plugin, err);
    return result;
}

/* Elements of any array, at any depth: Multus keeps copies of lists in its own configuration. */
static unsigned count_ours(const struct cni_json *json)
{
    unsigned count = 0;
    for (uint32_t value = 0; value < json->count; value++) {
        if (cni_json_kind(json, value) != '[')
            continue;
        for (uint32_t element = cni_json_first(json, value); element != CNI_JSON_NONE;
             element = cni_json_after(json, value, element))
            count += is_ours(json, element);
    }
    return count;
}

/* A name that a wrapper may give back: of a file in the same folder, which a runtime reads. */
static bool read_wrapped(const struct cni_json *json, char file[CNI_CONFLIST_NAME_MAX + 1])
{
    if (!cni_json_string(json, cni_json_get(json, 0, WRAPPED), file, CNI_CONFLIST_NAME_MAX + 1))
        return false;
    struct fl_span name = fl_span_str(file);
    return fl_span_find(name, '/') == name.len &&
           (fl_span_ends_with(name, FL_SPAN(".conf")) || fl_span_ends_with(name, FL_SPAN(".json")));
}

static int read_wrapper(struct fl_span text, bool *ret_wrapper)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf without;
    struct fl_span inner;
    bool changed;
    fl_buf_init(&without, EDITED_MAX);
    int result = cni_conflist_remove(text, &without, &changed, NULL);
    if (result == 0)
        result = cni_conflist_unwrap(fl_buf_span(&without), &inner, NULL);
    *ret_wrapper = result == 0;
    return result < 0 ? result : 0;
}

static void read_facts(const struct cni_json *json, bool list, struct cni_conflist_facts *facts)
{
    *facts = (struct cni_conflist_facts){.ours = count_ours(json)};
    uint32_t name = list ? cni_json_get(json, 0, "name") : cni_json_get_field(json, 0, "name");
    if (!cni_json_string(json, name, facts->name, sizeof(facts->name)))
        facts->name[0] = '\0';
    if (!list || !read_wrapped(json, facts->wrapped))
        facts->wrapped[0] = '\0';
    uint32_t plugins = list ? cni_json_get(json, 0, "plugins") : CNI_JSON_NONE;
    for (uint32_t plugin = cni_json_first(json, plugins); plugin != CNI_JSON_NONE;
         plugin = cni_json_after(json, plugins, plugin))
        facts->plugins += !is_ours(json, plugin);
    if (!list && is_ours(json, 0))
        facts->ours++;
    else if (!list)
        facts->plugins++;
}

int cni_conflist_read(struct fl_span text, bool list, struct cni_conflist_facts *ret_facts, struct fl_err *err)
{
    struct cni_json json = {0};
    struct cni_conflist_facts facts;
    int result = read_text(text, &json, err);
    if (result != 0)
        return result;
    read_facts(&json, list, &facts);
    result = list ? check_list(&json, err) : check_plugin(&json, 0, err);
    cni_json_done(&json);
    int worst = facts.wrapped[0] != '\0' ? read_wrapper(text, &facts.wrapper) : 0;
    if (worst < 0)
        return fl_err_errno(err, worst, "read the configuration");
    if (result == 0 || result == CNI_CONFLIST_UNFIT)
        *ret_facts = facts;
    return result;
}

/* ---- taking out ---- */

struct cut {
    size_t start, end; /* bytes of the text that are left out */
};

struct cuts {
    struct cut *list; /* owned */
    size_t count, room;
};

static void cuts_add(struct cuts *cuts, size_t start, size_t end)
{
    if (cuts->count < cuts->room)
        cuts->list[cuts->count++] = (struct cut){start, end};
}

/* The array's elements without ours: one cut for each of ours at most. Each goes with the comma before it, the first
 * ones with the comma behind them, so that what stands around the others stays. */
static void cut_ours(const struct cni_json *json, uint32_t array, struct cuts *cuts)
{
    size_t behind = 0; /* where what is kept, or was cut, ends; 0: only ours came yet */
    size_t start = 0;  /* of a run of ours at the beginning */
    for (uint32_t element = cni_json_first(json, array); element != CNI_JSON_NONE;
         element = cni_json_after(json, array, element)) {
        const struct cni_json_value *value = &json->values[element];
        bool ours = is_ours(json, element);
        if (ours && behind > 0)
            cuts_add(cuts, behind, value->end);
        else if (ours && start == 0)
            start = value->start;
        else if (!ours && behind == 0 && start > 0)
            cuts_add(cuts, start, value->start);
        if (!ours || behind > 0)
            behind = value->end;
    }
    if (start > 0 && behind == 0)
        cuts_add(cuts, start, json->values[array].end - 1u);
}

static int compare_cuts(const void *a, const void *b)
{
    const struct cut *left = a, *right = b;
    return (left->start > right->start) - (left->start < right->start);
}

static int append_uncut(struct fl_span text, struct cuts *cuts, struct fl_buf *out)
{
    size_t copied = 0; /* or left out */
    qsort(cuts->list, cuts->count, sizeof(*cuts->list), compare_cuts);
    for (size_t i = 0; i < cuts->count; i++) {
        if (cuts->list[i].start < copied)
            continue; /* inside one that is gone */
        int result = fl_buf_append(out, fl_span_make(text.data + copied, cuts->list[i].start - copied));
        if (result < 0)
            return result;
        copied = cuts->list[i].end;
    }
    return fl_buf_append(out, fl_span_from(text, copied));
}

/* Without ours in `array`, or in all arrays (CNI_JSON_NONE). */
static int append_without(const struct cni_json *json, uint32_t array, struct fl_buf *out)
{
    struct cuts cuts = {.room = count_ours(json)};
    if (cuts.room == 0)
        return fl_buf_append(out, json->text);
    cuts.list = calloc(cuts.room, sizeof(*cuts.list));
    if (cuts.list == NULL)
        return -ENOMEM;
    for (uint32_t value = 0; value < json->count; value++) {
        if (cni_json_kind(json, value) == '[' && (array == CNI_JSON_NONE || array == value))
            cut_ours(json, value, &cuts);
    }
    int result = append_uncut(json->text, &cuts, out);
    free(cuts.list);
    return result;
}

int cni_conflist_remove(struct fl_span text, struct fl_buf *out, bool *ret_changed, struct fl_err *err)
{
    struct cni_json json = {0};
    int result = read_text(text, &json, err);
    if (result != 0)
        return result;
    unsigned ours = count_ours(&json);
    result = append_without(&json, CNI_JSON_NONE, out);
    cni_json_done(&json);
    if (result < 0)
        return fl_err_errno(err, result, "edit the configuration");
    *ret_changed = ours > 0;
    return 0;
}

/* ---- putting in ---- */

static bool has_backend(const char *backend)
{
    return backend != NULL && strcmp(backend, "auto") != 0;
}

static int append_members(const char *backend, struct fl_buf *out)
{
    int result = fl_buf_append_str(out, "\"type\":\"" CNI_CONFLIST_TYPE
                                        "\",\"capabilities\":{\"" CNI_CONFLIST_CAPABILITY "\":true}");
    if (result == 0 && has_backend(backend))
        result = fl_buf_append_str(out, ",\"backend\":");
    if (result == 0 && has_backend(backend))
        result = fl_buf_append_json_string(out, fl_span_str(backend));
    return result;
}

/* Whether an entry of ours says what we would write, in whatever words. */
static bool says_the_same(const struct cni_json *json, uint32_t entry, const char *backend)
{
    uint32_t capabilities = cni_json_get(json, entry, "capabilities");
    uint32_t capability = cni_json_get(json, capabilities, CNI_CONFLIST_CAPABILITY);
    return cni_json_count(json, entry) == (has_backend(backend) ? 3u : 2u) &&
           cni_json_is(json, cni_json_get(json, entry, "type"), CNI_CONFLIST_TYPE) &&
           cni_json_count(json, capabilities) == 1 && cni_json_kind(json, capability) == 't' &&
           (!has_backend(backend) || cni_json_is(json, cni_json_get(json, entry, "backend"), backend));
}

/* The last element; *ret_ours: how many are ours, in this array alone. */
static uint32_t last_of(const struct cni_json *json, uint32_t plugins, unsigned *ret_ours)
{
    uint32_t last = CNI_JSON_NONE;
    *ret_ours = 0;
    for (uint32_t plugin = cni_json_first(json, plugins); plugin != CNI_JSON_NONE;
         plugin = cni_json_after(json, plugins, plugin)) {
        last = plugin;
        *ret_ours += is_ours(json, plugin);
    }
    return last;
}

/* What stands between an element and what comes before it: a line feed with the indent, a space, or nothing. */
static struct fl_span gap_before(const struct cni_json *json, uint32_t element)
{
    size_t end = json->values[element].start, start = end;
    const char *data = json->text.data;
    while (start > 0 && strchr(" \t\r\n", data[start - 1]) != NULL && data[start - 1] != '\0')
        start--;
    for (size_t i = end; i > start; i--) {
        if (data[i - 1] != '\n')
            continue;
        i -= i - 1 > start && data[i - 2] == '\r';
        return fl_span_make(data + i - 1, end - (i - 1));
    }
    return fl_span_make(data + start, end - start);
}

/* `json` has no entry of ours in its list, and something else in it. */
static int append_entry(const struct cni_json *json, const char *backend, struct fl_buf *out)
{
    unsigned ours;
    uint32_t last = last_of(json, cni_json_get(json, 0, "plugins"), &ours);
    size_t place = json->values[last].end;
    int result = fl_buf_append(out, fl_span_make(json->text.data, place));
    if (result == 0)
        result = fl_buf_append_byte(out, ',');
    if (result == 0)
        result = fl_buf_append(out, gap_before(json, last));
    if (result == 0)
        result = fl_buf_append_byte(out, '{');
    if (result == 0)
        result = append_members(backend, out);
    if (result == 0)
        result = fl_buf_append_byte(out, '}');
    return result < 0 ? result : fl_buf_append(out, fl_span_from(json->text, place));
}

static int insert_into(const struct cni_json *json, const char *backend, struct fl_buf *out, bool *ret_changed)
{
    unsigned ours;
    uint32_t plugins = cni_json_get(json, 0, "plugins");
    uint32_t last = last_of(json, plugins, &ours);
    *ret_changed = ours != 1 || !is_ours(json, last) || !says_the_same(json, last, backend);
    if (!*ret_changed)
        return fl_buf_append(out, json->text);
    if (ours == 0)
        return append_entry(json, backend, out);
    FL_CLEANUP(fl_buf_done) struct fl_buf without;
    struct cni_json again = {0};
    fl_buf_init(&without, EDITED_MAX);
    int result = append_without(json, plugins, &without);
    if (result == 0)
        result = cni_json_read(fl_buf_span(&without), &again, NULL);
    if (result == 0)
        result = append_entry(&again, backend, out);
    cni_json_done(&again);
    return result;
}

static int check_fit(const struct cni_json *json, struct fl_err *err)
{
    struct cni_conflist_facts facts;
    int result = check_list(json, err);
    if (result == 0)
        result = check_versions(json, err);
    if (result != 0)
        return result;
    read_facts(json, true, &facts);
    if (facts.plugins == 0)
        return outcome_at(json, cni_json_get(json, 0, "plugins"), CNI_CONFLIST_UNFIT, err,
                          "$.plugins has no plugin but fairlead-cni: there is no chain");
    if (!is_name(facts.name))
        return outcome_at(json, cni_json_get(json, 0, "name"), CNI_CONFLIST_UNFIT, err,
                          "$.name is none that a runtime takes for a network");
    return 0;
}

int cni_conflist_insert(struct fl_span text, const char *backend, struct fl_buf *out, bool *ret_changed,
                        struct fl_err *err)
{
    struct cni_json json = {0};
    bool changed = false;
    int result = read_text(text, &json, err);
    if (result != 0)
        return result;
    result = text.len + ENTRY_MAX > CNI_CONFLIST_BYTES_MAX
                 ? fl_err_set(err, -EMSGSIZE, "%zu bytes: too large for one entry more", text.len)
                 : check_fit(&json, err);
    if (result == 0 && (result = insert_into(&json, backend, out, &changed)) < 0)
        fl_err_errno(err, result, "edit the configuration");
    cni_json_done(&json);
    if (result == 0)
        *ret_changed = changed;
    return result;
}

/* ---- files that are no lists ---- */

/* The version of a list around one plugin. False: none that can be. */
static bool list_version(const struct cni_json *json, char version[VERSION_MAX])
{
    uint32_t own = cni_json_get_field(json, 0, "cniversion");
    if (own == CNI_JSON_NONE)
        version[0] = '\0';
    else if (!cni_json_string(json, own, version, VERSION_MAX))
        return false;
    if (version[0] == '\0' || is_in(version, older, FL_COUNT(older)))
        memcpy(version, CORRECTED, sizeof(CORRECTED));
    return is_spoken(version);
}

static int append_wrapper(const struct cni_json *json, const char *version, const char *file, struct fl_buf *out)
{
    uint32_t name = cni_json_get_field(json, 0, "name");
    int result = fl_buf_printf(out, "{\"cniVersion\":\"%s\",\"name\":", version);
    if (result == 0)
        result = fl_buf_append(out, cni_json_text(json, name));
    if (result == 0)
        result = fl_buf_append_str(out, ",\"" WRAPPED "\":");
    if (result == 0)
        result = fl_buf_append_json_string(out, fl_span_str(file));
    if (result == 0)
        result = fl_buf_append_str(out, ",\"plugins\":[");
    if (result == 0)
        result = fl_buf_append(out, json->text);
    return result < 0 ? result : fl_buf_append_str(out, "]}\n");
}

static int wrap(const struct cni_json *json, const char *file, struct fl_buf *out, struct fl_err *err)
{
    char version[VERSION_MAX], name[CNI_CONFLIST_NAME_MAX + 1];
    int result = check_plugin(json, 0, err);
    if (result != 0)
        return result;
    if (is_ours(json, 0))
        return outcome_at(json, 0, CNI_CONFLIST_UNFIT, err, "it is fairlead-cni itself: there is no chain");
    if (!cni_json_string(json, cni_json_get_field(json, 0, "name"), name, sizeof(name)) || !is_name(name))
        return outcome_at(json, 0, CNI_CONFLIST_UNFIT, err,
                          "$.name is missing, or none that a runtime takes for a network");
    if (!list_version(json, version))
        return outcome_at(json, cni_json_get_field(json, 0, "cniversion"), CNI_CONFLIST_UNFIT, err,
                          "$.cniVersion is none that fairlead-cni speaks: " SPOKEN);
    result = append_wrapper(json, version, file, out);
    return result < 0 ? fl_err_errno(err, result, "wrap the configuration") : 0;
}

int cni_conflist_wrap(struct fl_span text, const char *file, struct fl_buf *out, struct fl_err *err)
{
    struct cni_json json = {0};
    int result = read_text(text, &json, err);
    if (result != 0)
        return result;
    result = wrap(&json, file, out, err);
    cni_json_done(&json);
    return result;
}

/* Found by position, and then the proof: wrapped again it must be this very text. */
int cni_conflist_unwrap(struct fl_span text, struct fl_span *ret_inner, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf again;
    struct cni_json json = {0};
    char file[CNI_CONFLIST_NAME_MAX + 1];
    fl_buf_init(&again, EDITED_MAX);
    int result = read_text(text, &json, err);
    if (result != 0)
        return result;
    struct fl_span inner = cni_json_text(&json, cni_json_get(&json, 0, "plugins"));
    bool named = read_wrapped(&json, file);
    cni_json_done(&json);
    if (named && inner.len > 2) {
        inner = fl_span_make(inner.data + 1, inner.len - 2);
        result = cni_conflist_wrap(inner, file, &again, err);
        if (result < 0)
            return result;
    }
    if (!named || result != 0 || !fl_span_eq(fl_buf_span(&again), text)) {
        fl_err_set(err, -EINVAL, "not a list that fairlead made around one plugin, or changed since");
        return CNI_CONFLIST_UNFIT;
    }
    *ret_inner = inner;
    return 0;
}

int cni_conflist_standalone(const char *backend, struct fl_buf *out)
{
    int result = fl_buf_append_str(out, "{\"cniVersion\":\"1.0.0\",\"name\":\"" CNI_CONFLIST_TYPE "\",");
    if (result == 0)
        result = append_members(backend, out);
    return result < 0 ? result : fl_buf_append_str(out, "}\n");
}
