#include "webhook/request.h"

#include "common/doc/table.h"
#include "webhook/pod.h"
#include "webhook/value.h"

#include <errno.h>

struct group_version {
    struct fl_span group, version, name;
};

struct fields {
    struct fl_span uid, operation, subresource, name_space, name;
    struct group_version resource, kind;
    const struct fl_json *object;
    bool dry_run;
};

#define GROUP_ROW(row_name, member, row_flags)                                                                         \
    {                                                                                                                  \
        .name = (row_name), .read = fl_read_string, .offset = offsetof(struct group_version, member),                  \
        .flags = (row_flags)                                                                                           \
    }
static const struct fl_row resource_rows[] = {
    GROUP_ROW("group", group, 0), GROUP_ROW("version", version, 0), GROUP_ROW("resource", name, FL_ROW_REQUIRED), {0}};
static const struct fl_row kind_rows[] = {
    GROUP_ROW("group", group, 0), GROUP_ROW("version", version, 0), GROUP_ROW("kind", name, FL_ROW_REQUIRED), {0}};
static const struct fl_table resource_table = {resource_rows, FL_TABLE_IGNORE_UNKNOWN};
static const struct fl_table kind_table = {kind_rows, FL_TABLE_IGNORE_UNKNOWN};

#define ROW(row_name, reader, member, row_flags)                                                                       \
    .name = (row_name), .read = (reader), .offset = offsetof(struct fields, member), .flags = (row_flags)
static const struct fl_row rows[] = {
    {ROW("uid", fl_read_string, uid, FL_ROW_REQUIRED), .min = 1, .max = WEBHOOK_UID_MAX},
    {ROW("operation", fl_read_string, operation, FL_ROW_REQUIRED)},
    {ROW("subResource", fl_read_string, subresource, FL_ROW_NULL_OK)},
    {ROW("namespace", fl_read_string, name_space, FL_ROW_NULL_OK)},
    {ROW("name", fl_read_string, name, FL_ROW_NULL_OK)},
    {ROW("resource", fl_read_object, resource, FL_ROW_NULL_OK), .detail = &resource_table},
    {ROW("kind", fl_read_object, kind, FL_ROW_NULL_OK), .detail = &kind_table},
    {ROW("object", fl_read_map, object, FL_ROW_NULL_OK)},
    {ROW("dryRun", fl_read_bool, dry_run, FL_ROW_NULL_OK)},
    {0},
};
static const struct fl_table table = {rows, FL_TABLE_IGNORE_UNKNOWN};

static int check_envelope(const struct fl_json *root, struct fl_err *err)
{
    struct fl_span version = fl_json_string(fl_json_get(root, "apiVersion"));
    struct fl_span kind = fl_json_string(fl_json_get(root, "kind"));
    if (!fl_json_is(root, FL_JSON_OBJECT) || !fl_span_eq_str(kind, WEBHOOK_KIND)) {
        fl_err_set(err, -EINVAL, "the body is not an AdmissionReview (kind: \"%.*s\")", WEBHOOK_SHOW(kind));
        return WEBHOOK_REASON_NOT_A_REVIEW;
    }
    if (!fl_span_eq_str(version, WEBHOOK_API_VERSION)) {
        fl_err_set(err, -EINVAL, "apiVersion \"%.*s\" is not served; expected " WEBHOOK_API_VERSION,
                   WEBHOOK_SHOW(version));
        return WEBHOOK_REASON_API_VERSION;
    }
    if (!fl_json_is(fl_json_get(root, "request"), FL_JSON_OBJECT)) {
        fl_err_set(err, -EINVAL, "the AdmissionReview has no request");
        return WEBHOOK_REASON_NOT_A_REVIEW;
    }
    return 0;
}

static struct fl_span first_of(struct fl_span a, struct fl_span b)
{
    return a.len > 0 ? a : b;
}

/* Resource names are the kinds' plural; hand-made reviews often have the kind alone. */
static int take_fields(const struct fields *fields, struct webhook_request *request, struct fl_err *err)
{
    bool by_kind = fields->resource.name.len == 0;
    const struct group_version *what = by_kind ? &fields->kind : &fields->resource;
    const struct fl_json *metadata = webhook_pod_member(fields->object, "metadata");
    struct fl_span own_name =
        first_of(fl_json_string(fl_json_get(metadata, "name")), fl_json_string(fl_json_get(metadata, "generateName")));
    if (what->name.len == 0) {
        fl_err_set(err, -EINVAL, "$.request.resource: is missing");
        return WEBHOOK_REASON_NOT_A_REVIEW;
    }
    request->uid = fields->uid;
    request->operation = fields->operation;
    request->subresource = fields->subresource;
    request->name_space = first_of(fields->name_space, fl_json_string(fl_json_get(metadata, "namespace")));
    request->group = what->group;
    request->version = what->version;
    request->resource = by_kind && fl_span_eq_str(what->name, "Pod") ? FL_SPAN("pods") : what->name;
    request->name = first_of(fields->name, own_name);
    request->object = fields->object;
    request->dry_run = fields->dry_run;
    if (webhook_request_is_pod(request) && request->name_space.len == 0) {
        fl_err_set(err, -EINVAL, "$.request.namespace: is missing");
        return WEBHOOK_REASON_NOT_A_REVIEW;
    }
    return 0;
}

static int read_request(struct webhook_request *request, struct fl_err *err)
{
    struct fields fields = {.object = NULL};
    struct fl_reader reader;
    int result = check_envelope(request->root, err);
    if (result != 0)
        return result;
    fl_reader_init(&reader, NULL, err);
    size_t mark = fl_reader_enter(&reader, FL_SPAN("request"));
    result = fl_table_read(&reader, fl_json_get(request->root, "request"), &table, &fields);
    fl_reader_leave(&reader, mark);
    if (result < 0)
        return result == -ENOMEM ? result : WEBHOOK_REASON_NOT_A_REVIEW;
    return take_fields(&fields, request, err);
}

int webhook_request_parse(struct fl_span body, struct webhook_request *ret_request, struct fl_err *err)
{
    const struct fl_json_limits limits = {
        .bytes_max = WEBHOOK_REVIEW_MAX, .depth_max = WEBHOOK_REVIEW_DEPTH, .values_max = WEBHOOK_REVIEW_VALUES};
    struct webhook_request request = {.root = NULL};
    int result = fl_json_parse(body, &limits, &request.root, err);
    if (result < 0)
        return result == -ENOMEM ? result : WEBHOOK_REASON_NOT_JSON;
    result = read_request(&request, err);
    if (result != 0)
        webhook_request_done(&request);
    else
        *ret_request = request;
    return result;
}

void webhook_request_done(struct webhook_request *request)
{
    fl_json_free(request->root);
    *request = (struct webhook_request){0};
}

bool webhook_request_is_pod(const struct webhook_request *request)
{
    return request->group.len == 0 && fl_span_eq_str(request->resource, "pods") &&
           (request->version.len == 0 || fl_span_eq_str(request->version, "v1"));
}

bool webhook_content_type_ok(struct fl_span content_type)
{
    size_t semicolon = fl_span_find(content_type, ';');
    struct fl_span type = fl_span_trim(fl_span_make(content_type.data, semicolon));
    return fl_span_eq_nocase(type, FL_SPAN("application/json"));
}
