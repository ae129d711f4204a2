#include "webhook/probe.h"

#include "common/mesh/label.h"
#include "common/mesh/port.h"
#include "webhook/overlay.h"
#include "webhook/pod.h"
#include "webhook/status.h"
#include "webhook/value.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const handler_names[] = {"httpGet", "tcpSocket", "grpc"};
static const char *const lists[] = {"initContainers", "containers"};

/* What stays with the kubelet though it would be better rewritten: the first is told by name, the others counted. */
struct finding {
    char what[160];
    size_t count;
};

struct plan { /* one pod's, while it is made */
    const struct fl_json *pod;
    const struct fl_capture *capture;
    bool rewrite;
    struct fl_appprobes old, table;
    const struct fl_json *status; /* what it says of older originals; NULL: nothing */
    struct webhook_probes *probes;
    struct finding left;
    struct fl_err *err;
};

struct place { /* one handler in the pod */
    const char *list;
    size_t index;
    const struct fl_json *container, *holder, *handler;
    struct fl_span name; /* of the container */
    enum fl_appprobe_kind kind;
    enum fl_appprobe_handler type;
    bool serves;
};

static void leave(struct plan *plan, const struct place *place, const char *why)
{
    if (plan->left.count++ == 0)
        snprintf(plan->left.what, sizeof(plan->left.what), "%.*s: %s %.96s", WEBHOOK_SHOW(place->name),
                 fl_appprobe_kind_member(place->kind), why);
}

/* ---- Reading handlers ---- */

/* A port is a number or the name of one of the container's own ports. 0: unknown. */
static uint16_t resolve(const struct fl_json *container, const struct fl_json *port)
{
    int64_t number;
    if (fl_json_is(port, FL_JSON_STRING)) {
        const struct fl_json *ports = webhook_pod_member(container, "ports");
        port = fl_json_get(webhook_list_find(ports, "name", fl_json_string(port), NULL), "containerPort");
    }
    return fl_json_int(port, 1, UINT16_MAX, &number) ? (uint16_t)number : 0;
}

/* A member that a later Kubernetes may have added changes what is asked: such a handler is better left alone. */
static bool has_known_members(const struct fl_json *handler, enum fl_appprobe_handler type)
{
    static const char *const known[][7] = {
        [FL_APPPROBE_HTTP_GET] = {"port", "path", "host", "scheme", "httpHeaders", "protocol", NULL},
        [FL_APPPROBE_TCP_SOCKET] = {"port", "host", NULL},
        [FL_APPPROBE_GRPC] = {"port", "service", NULL},
    };
    for (const struct fl_json *member = fl_json_first(handler); member != NULL; member = fl_json_next(member)) {
        size_t i = 0;
        while (known[type][i] != NULL && !fl_span_eq_str(fl_json_name(member), known[type][i]))
            i++;
        if (known[type][i] == NULL && !fl_json_is(member, FL_JSON_NULL))
            return false;
    }
    const struct fl_json *protocol = webhook_pod_member(handler, "protocol");
    return protocol == NULL || fl_span_eq_str(fl_json_string(protocol), "HTTP1");
}

/* The headers, into `headers`; false where they are no list of names and values, or too many. */
static bool read_headers(const struct fl_json *list, struct fl_appprobe_header headers[FL_APPPROBE_HEADERS_MAX],
                         size_t *ret_count)
{
    size_t count = 0;
    if (fl_json_count(list) > FL_APPPROBE_HEADERS_MAX || (list != NULL && !fl_json_is(list, FL_JSON_ARRAY)))
        return false;
    for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
        headers[count++] = (struct fl_appprobe_header){fl_json_string(fl_json_get(item, "name")),
                                                       fl_json_string(fl_json_get(item, "value"))};
    }
    *ret_count = count;
    return true;
}

static bool read_http(const struct fl_json *handler, struct fl_appprobe_header headers[FL_APPPROBE_HEADERS_MAX],
                      struct fl_appprobe *probe)
{
    const struct fl_json *path = webhook_pod_member(handler, "path");
    struct fl_span scheme = fl_json_string(fl_json_get(handler, "scheme"));
    probe->path = fl_json_string(path).len > 0 ? fl_json_string(path) : FL_SPAN("/"); /* the API server's default */
    probe->https = fl_span_eq_str(scheme, "HTTPS");
    probe->headers = headers;
    return (scheme.len == 0 || probe->https || fl_span_eq_str(scheme, "HTTP")) &&
           read_headers(webhook_pod_member(handler, "httpHeaders"), headers, &probe->header_count);
}

static uint32_t timeout_of(const struct place *place)
{
    int64_t seconds;
    if (fl_appprobe_kind_is_lifecycle(place->kind))
        return 0;
    return fl_json_int(fl_json_get(place->holder, "timeoutSeconds"), 1, INT32_MAX, &seconds) ? (uint32_t)seconds : 1;
}

/* What the handler asks, spans into the pod. NULL, or why it stays with the kubelet; "" where nobody need be told. */
static const char *read_handler(const struct place *place, struct fl_appprobe_header headers[FL_APPPROBE_HEADERS_MAX],
                                struct fl_appprobe *probe)
{
    const struct fl_json *handler = place->handler;
    *probe = (struct fl_appprobe){
        .container = place->name,
        .kind = place->kind,
        .handler = place->type,
        .port = resolve(place->container, fl_json_get(handler, "port")),
        .timeout_s = timeout_of(place),
        .service = fl_json_string(fl_json_get(handler, "service")),
    };
    if (!has_known_members(handler, place->type))
        return "has a member that is not known here";
    if (fl_json_string(fl_json_get(handler, "host")).len > 0)
        return "names a host";
    if (probe->port == 0)
        return "names a port that its container does not have";
    if (fl_port_is_ours(probe->port))
        return "";
    if (place->type == FL_APPPROBE_HTTP_GET && !read_http(handler, headers, probe))
        return "has a scheme or headers that are not known here";
    return NULL;
}

/* ---- Making handlers ---- */

static struct fl_json *with(struct fl_json *object, const char *name, struct fl_json *value)
{
    if (object == NULL)
        return fl_json_free(value);
    return fl_json_set(object, name, value) < 0 ? fl_json_free(object) : object;
}

static struct fl_json *make_ours(struct fl_span container, enum fl_appprobe_kind kind)
{
    char path[FL_APPPROBE_PATH_MAX];
    size_t len = fl_appprobe_path_print(container, kind, path);
    struct fl_json *get = with(fl_json_new_object(), "path", fl_json_new_string(fl_span_make(path, len)));
    get = with(get, "port", fl_json_new_int(FL_PORT_MERGED));
    return with(get, "scheme", fl_json_new_string(FL_SPAN("HTTP")));
}

static struct fl_json *make_headers(const struct fl_appprobe *probe)
{
    struct fl_json *list = fl_json_new_array();
    for (size_t i = 0; i < probe->header_count && list != NULL; i++) {
        struct fl_json *header = with(fl_json_new_object(), "name", fl_json_new_string(probe->headers[i].name));
        header = with(header, "value", fl_json_new_string(probe->headers[i].value));
        if (fl_json_append(list, header) < 0)
            list = fl_json_free(list);
    }
    return list;
}

static struct fl_json *make_original(const struct fl_appprobe *probe)
{
    struct fl_json *handler = with(fl_json_new_object(), "port", fl_json_new_int(probe->port));
    if (probe->handler == FL_APPPROBE_GRPC && probe->service.len > 0)
        return with(handler, "service", fl_json_new_string(probe->service));
    if (probe->handler != FL_APPPROBE_HTTP_GET)
        return handler;
    handler = with(handler, "path", fl_json_new_string(probe->path));
    handler = with(handler, "scheme", fl_json_new_string(probe->https ? FL_SPAN("HTTPS") : FL_SPAN("HTTP")));
    return probe->header_count > 0 ? with(handler, "httpHeaders", make_headers(probe)) : handler;
}

/* ---- As it was written ---- */

/* A named port, a default that was left out …: the annotation has the meaning, the status keeps the writing. `handler`
 * is taken over. */
static int keep_spelling(struct plan *plan, const struct place *place, const char *type, struct fl_json *handler)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *given = handler;
    struct webhook_probes *probes = plan->probes;
    if (probes->spelled == NULL)
        probes->spelled = fl_json_new_array();
    if (probes->spelled == NULL)
        return -ENOMEM;
    struct fl_json *item = with(fl_json_new_object(), "container", fl_json_new_string(place->name));
    item = with(item, "kind", fl_json_new_string(fl_span_str(fl_appprobe_kind_name(place->kind))));
    item = with(item, "handler", with(fl_json_new_object(), type, fl_take(given)));
    return fl_json_append(probes->spelled, item);
}

static int note_spelling(struct plan *plan, const struct place *place, const struct fl_appprobe *probe)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *plain = make_original(probe);
    if (plain == NULL)
        return -ENOMEM;
    return fl_json_equal(plain, place->handler)
               ? 0
               : keep_spelling(plan, place, handler_names[place->type], fl_json_copy(place->handler));
}

/* 1 where `handler` asks the same as the original, read at this place; 0; -ENOMEM. */
static int means(const struct place *place, const struct fl_json *handler, const struct fl_appprobe *original)
{
    struct fl_appprobe_header headers[FL_APPPROBE_HEADERS_MAX];
    struct fl_appprobe probe;
    struct place read = *place;
    read.handler = handler;
    read.type = original->handler;
    if (read_handler(&read, headers, &probe) != NULL)
        return 0;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *one = make_original(&probe);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *other = make_original(original);
    return one == NULL || other == NULL ? -ENOMEM : fl_json_equal(one, other);
}

/* The original as the status has it: a new tree in *ret_handler; NULL where it does not, or where it lies. */
static int find_spelling(const struct plan *plan, const struct place *place, const struct fl_appprobe *original,
                         struct fl_json **ret_handler)
{
    const struct fl_json *kept =
        webhook_status_handler(plan->status, original->container, fl_span_str(fl_appprobe_kind_name(original->kind)));
    const struct fl_json *handler = fl_json_get(kept, handler_names[original->handler]);
    int result = fl_json_is(handler, FL_JSON_OBJECT) ? means(place, handler, original) : 0;
    *ret_handler = result > 0 ? fl_json_copy(handler) : NULL;
    return result > 0 && *ret_handler == NULL ? -ENOMEM : result < 0 ? result : 0;
}

/* ---- Planning ---- */

/* `handler` is taken over, and may be NULL for "memory was out". */
static int add_edit(struct plan *plan, const struct place *place, const char *to, struct fl_json *handler)
{
    struct webhook_probes *probes = plan->probes;
    if (handler == NULL)
        return -ENOMEM;
    if (probes->count == probes->room) {
        size_t room = probes->room == 0 ? 8 : 2 * probes->room;
        struct webhook_probe_edit *edits = realloc(probes->edits, room * sizeof(*edits));
        if (edits == NULL) {
            fl_json_free(handler);
            return -ENOMEM;
        }
        probes->edits = edits;
        probes->room = room;
    }
    probes->edits[probes->count++] = (struct webhook_probe_edit){
        place->list, place->index, place->kind, handler_names[place->type], to, handler,
    };
    return 0;
}

static int turn_to_us(struct plan *plan, const struct place *place)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *ours = make_ours(place->name, place->kind);
    int result = ours == NULL ? -ENOMEM
                              : webhook_overlay_covers(place->type == FL_APPPROBE_HTTP_GET ? place->handler : NULL,
                                                       ours, "httpGet");
    return result == 0 ? add_edit(plan, place, "httpGet", fl_take(ours)) : result < 0 ? result : 0;
}

static int plan_original(struct plan *plan, const struct place *place)
{
    struct fl_appprobe_header headers[FL_APPPROBE_HEADERS_MAX];
    struct fl_appprobe probe;
    struct fl_err err = {0};
    const char *why = read_handler(place, headers, &probe);
    if (!plan->rewrite) {
        bool captured = probe.port != 0 && !fl_port_is_ours(probe.port) &&
                        fl_port_list_contains(&plan->capture->inbound_include, probe.port) &&
                        !fl_port_list_contains(&plan->capture->inbound_exclude, probe.port);
        char what[48];
        snprintf(what, sizeof(what), "goes to captured port %u", (unsigned)probe.port);
        if (captured)
            leave(plan, place, what);
        return 0;
    }
    if (why == NULL) {
        int result = fl_appprobes_put(&plan->table, &probe, &err);
        if (result == 0)
            result = note_spelling(plan, place, &probe);
        if (result == 0 || result == -ENOMEM)
            return result < 0 ? result : turn_to_us(plan, place);
        why = err.text;
    }
    if (why[0] != '\0')
        leave(plan, place, why);
    return 0;
}

/* `spelled` is taken over, and may be NULL: as the annotation has it. */
static int turn_back(struct plan *plan, const struct place *place, const struct fl_appprobe *original,
                     struct fl_json *spelled)
{
    return add_edit(plan, place, handler_names[original->handler], spelled != NULL ? spelled : make_original(original));
}

/* The handler points to us already. */
static int plan_ours(struct plan *plan, const struct place *place, struct fl_span container, enum fl_appprobe_kind kind)
{
    const struct fl_appprobe *original = fl_appprobes_find(&plan->old, container, kind);
    struct fl_err err = {0};
    if (original == NULL || (original->handler == FL_APPPROBE_GRPC && fl_appprobe_kind_is_lifecycle(place->kind)))
        return fl_err_set(plan->err, -ENOENT,
                          "container %.*s: %s points to the sidecar, but annotation " FL_ANNOTATION_PROBES
                          " does not hold what it was before",
                          WEBHOOK_SHOW(place->name), fl_appprobe_kind_member(place->kind));
    FL_CLEANUP(fl_cleanup_json) struct fl_json *spelled = NULL;
    int result = find_spelling(plan, place, original, &spelled);
    if (result < 0)
        return result;
    if (!plan->rewrite)
        return turn_back(plan, place, original, fl_take(spelled));
    struct fl_appprobe probe = *original;
    probe.container = place->name;
    probe.kind = place->kind;
    probe.timeout_s = timeout_of(place);
    result = fl_appprobes_put(&plan->table, &probe, &err);
    if (result == -EINVAL || result == -EMSGSIZE) {
        leave(plan, place, err.text);
        return turn_back(plan, place, original, fl_take(spelled));
    }
    if (result == 0 && spelled != NULL)
        result = keep_spelling(plan, place, handler_names[original->handler], fl_take(spelled));
    return result < 0 ? result : turn_to_us(plan, place);
}

const struct fl_json *webhook_probe_holder(const struct fl_json *container, enum fl_appprobe_kind kind)
{
    const struct fl_json *owner =
        fl_appprobe_kind_is_lifecycle(kind) ? webhook_pod_member(container, "lifecycle") : container;
    return webhook_pod_member(owner, fl_appprobe_kind_member(kind));
}

static bool is_ours(const struct place *place, struct fl_span *ret_container, enum fl_appprobe_kind *ret_kind)
{
    int64_t port;
    return place->type == FL_APPPROBE_HTTP_GET &&
           fl_json_int(fl_json_get(place->handler, "port"), FL_PORT_MERGED, FL_PORT_MERGED, &port) &&
           fl_appprobe_path_parse(fl_json_string(fl_json_get(place->handler, "path")), ret_container, ret_kind);
}

static int plan_place(struct plan *plan, struct place *place)
{
    size_t handlers = 0;
    for (size_t i = 0; i < FL_COUNT(handler_names); i++) {
        const struct fl_json *handler = webhook_pod_member(place->holder, handler_names[i]);
        if (handler == NULL)
            continue;
        handlers++;
        place->handler = handler;
        place->type = (enum fl_appprobe_handler)i;
    }
    struct fl_span container;
    enum fl_appprobe_kind kind;
    if (handlers != 1 || !fl_json_is(place->handler, FL_JSON_OBJECT)) /* exec, sleep, or the API server refuses it */
        return 0;
    if (is_ours(place, &container, &kind)) /* also where a webhook stripped the restartPolicy: the original is kept */
        return plan_ours(plan, place, container, kind);
    return place->serves ? plan_original(plan, place) : 0;
}

/* Whether the kubelet probes it: init containers that end have no probes. */
static bool serves(const char *list, const struct fl_json *container)
{
    return strcmp(list, "containers") == 0 ||
           fl_span_eq_str(fl_json_string(fl_json_get(container, "restartPolicy")), "Always");
}

static int plan_list(struct plan *plan, const char *list)
{
    const struct fl_json *items = webhook_pod_member(webhook_pod_member(plan->pod, "spec"), list);
    size_t index = 0;
    int result = 0;
    for (const struct fl_json *item = fl_json_first(items); item != NULL && result == 0; item = fl_json_next(item)) {
        struct place place = {.list = list, .index = index++, .container = item, .serves = serves(list, item)};
        place.name = fl_json_string(fl_json_get(item, "name"));
        if (webhook_pod_is_our_name(item))
            continue;
        for (int kind = 0; kind < FL_APPPROBE_KIND_COUNT && result == 0; kind++) {
            place.kind = (enum fl_appprobe_kind)kind;
            place.holder = webhook_probe_holder(item, place.kind);
            if (fl_json_is(place.holder, FL_JSON_OBJECT))
                result = plan_place(plan, &place);
        }
    }
    return result;
}

/* What the annotation holds now; a text that we did not write counts as empty. */
static int read_old(struct plan *plan)
{
    struct fl_span text = webhook_pod_value(webhook_pod_annotations(plan->pod), FL_ANNOTATION_PROBES);
    int result = text.len > 0 ? fl_appprobes_parse(text, &plan->old, NULL) : -EINVAL;
    if (result < 0)
        fl_appprobes_init(&plan->old);
    return result == -ENOMEM ? result : 0;
}

static int print_table(struct plan *plan)
{
    return plan->table.count > 0 ? fl_appprobes_print(&plan->table, &plan->probes->text) : 0;
}

static void clear_edits(struct webhook_probes *probes)
{
    for (size_t i = 0; i < probes->count; i++)
        fl_json_free(probes->edits[i].handler);
    probes->count = 0;
    probes->spelled = fl_json_free(probes->spelled);
}

static int run(struct plan *plan)
{
    int result = 0;
    for (size_t i = 0; i < FL_COUNT(lists) && result == 0; i++)
        result = plan_list(plan, lists[i]);
    return result < 0 ? result : print_table(plan);
}

static void tell(const struct plan *plan, struct webhook_warnings *warnings)
{
    char more[48] = "";
    if (plan->left.count == 0)
        return;
    if (plan->left.count > 1)
        snprintf(more, sizeof(more), " (and %zu more)", plan->left.count - 1);
    webhook_warn(warnings, "%s%s: left to the kubelet, which STRICT refuses; use exec, or exclude the port",
                 plan->left.what, more);
}

int webhook_probes_plan(const struct fl_json *pod, bool rewrite, const struct fl_capture *capture,
                        struct webhook_probes *ret_probes, struct webhook_warnings *warnings, struct fl_err *err)
{
    struct webhook_probes probes = {.count = 0};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *status = NULL;
    if (webhook_status_read(pod, &status) < 0)
        return -ENOMEM;
    struct plan plan = {
        .pod = pod, .capture = capture, .rewrite = rewrite, .status = status, .probes = &probes, .err = err};
    fl_buf_init(&probes.text, FL_APPPROBE_TEXT_MAX);
    fl_appprobes_init(&plan.table);
    int result = read_old(&plan);
    if (result == 0)
        result = run(&plan);
    if (result == -EMSGSIZE) { /* all together are too long for an annotation */
        clear_edits(&probes);
        plan.rewrite = false;
        plan.left = (struct finding){.count = 0};
        fl_appprobes_done(&plan.table);
        fl_appprobes_init(&plan.table);
        webhook_warn(warnings, "the probes of the pod are longer than %d bytes together: none is rewritten",
                     FL_APPPROBE_TEXT_MAX);
        result = run(&plan);
    }
    if (result == 0)
        tell(&plan, warnings);
    fl_appprobes_done(&plan.old);
    fl_appprobes_done(&plan.table);
    if (result < 0)
        webhook_probes_done(&probes);
    else
        *ret_probes = probes;
    return result;
}

void webhook_probes_done(struct webhook_probes *probes)
{
    clear_edits(probes);
    free(probes->edits);
    fl_buf_done(&probes->text);
    *probes = (struct webhook_probes){.count = 0};
}

static bool is_for(const struct webhook_probe_edit *edit, const char *list, size_t index)
{
    return edit->index == index && strcmp(edit->list, list) == 0;
}

bool webhook_probes_touch(const struct webhook_probes *probes, const char *list, size_t index)
{
    for (size_t i = 0; i < probes->count; i++) {
        if (is_for(&probes->edits[i], list, index))
            return true;
    }
    return false;
}

int webhook_probes_apply(const struct webhook_probes *probes, const char *list, size_t index, struct fl_json *container)
{
    for (size_t i = 0; i < probes->count; i++) {
        const struct webhook_probe_edit *edit = &probes->edits[i];
        if (!is_for(edit, list, index))
            continue;
        const char *member = fl_appprobe_kind_member(edit->kind);
        struct fl_json *owner =
            fl_appprobe_kind_is_lifecycle(edit->kind) ? fl_json_get(container, "lifecycle") : container;
        struct fl_json *holder = fl_json_get(owner, member);
        fl_json_free(fl_json_detach(holder, fl_span_str(edit->from)));
        if (fl_json_set(holder, edit->to, fl_json_copy(edit->handler)) < 0)
            return -ENOMEM;
    }
    return 0;
}
