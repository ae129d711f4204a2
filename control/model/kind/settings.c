/* MeshSettings. */
#include "common/mesh/identity.h"
#include "control/model/kind/document.h"
#include "control/model/kind/kinds.h"
#include "control/model/kind/row.h"
#include "control/model/meshapi.h"

#include <errno.h>
#include <stdio.h>

static int read_trust_domain(struct fl_reader *reader, const struct fl_json *value, void *field,
                             const struct fl_row *row)
{
    char uri[FL_IDENTITY_TRUST_DOMAIN_MAX + 16];
    struct fl_span text = fl_json_string(value);
    (void)row;
    int length = snprintf(uri, sizeof(uri), "spiffe://%.*s", FL_SPAN_ARG(text));
    if (!fl_json_is(value, FL_JSON_STRING) || text.len == 0 || text.len > FL_IDENTITY_TRUST_DOMAIN_MAX ||
        memchr(text.data, '/', text.len) != NULL || fl_spiffe_check(fl_span_make(uri, (size_t)length), NULL, NULL) < 0)
        return fl_reader_expected(reader, value, "a trust domain (lower-case letters, digits, '-', '.', '_')");
    return control_copy(reader, text, field);
}

static const char *const egresses[] = {"AllowAny", "Refuse", NULL};
static const struct control_list cidr_list =
    LIST_OF(struct control_mesh_settings, cidrs, cidr_count, 0, CONTROL_CIDRS_MAX, control_read_cidr, NULL, NULL);
enum { ROW_TRUST_DOMAIN, ROW_CLUSTER_DOMAIN }; /* the first rows */
#define AT(member) offsetof(struct control_mesh_settings, member)
static const struct fl_row settings_rows[] = {
    {"trustDomain", read_trust_domain, AT(trust_domain), OPT, 0, 0, NULL},
    {"clusterDomain", control_read_name, AT(cluster_domain), OPT, 0, 0, NULL},
    {"egress", fl_read_enum, AT(egress), OPT, 0, 0, egresses},
    {"meshCIDRs", control_read_list, AT(cidrs), OPT, 0, 0, &cidr_list},
    {"istioPeers", fl_read_bool, AT(istio_peers), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table settings_table = {settings_rows, FL_TABLE_REFUSE_UNKNOWN};
#undef AT

static void set_defaults(struct control_mesh_settings *settings)
{
    settings->cluster_domain = FL_SPAN("cluster.local");
}

static int read_settings(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_mesh_settings *settings = FL_CONTAINER_OF(object, struct control_mesh_settings, object);
    set_defaults(settings);
    return control_read_document(reader, document, &settings_table, settings);
}

/* One member for itself: what cannot be read leaves what is there. */
static int keep_member(struct fl_reader *reader, const struct fl_json *spec, const struct fl_row *row,
                       struct control_mesh_settings *settings)
{
    const struct fl_json *value = fl_json_get(spec, row->name);
    int result = value != NULL ? row->read(reader, value, (char *)settings + row->offset, row) : 0;
    return result == -ENOMEM ? result : 0;
}

/* Nothing leaves the mesh until it is mended; the names that its identities and Services have stay what they are, where
 * these can be told. */
static int close_settings(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_mesh_settings *settings = FL_CONTAINER_OF(object, struct control_mesh_settings, object);
    const struct fl_json *spec = fl_json_get(document, "spec");
    set_defaults(settings);
    settings->egress = CONTROL_EGRESS_REFUSE;
    int result = keep_member(reader, spec, &settings_rows[ROW_TRUST_DOMAIN], settings);
    return result < 0 ? result : keep_member(reader, spec, &settings_rows[ROW_CLUSTER_DOMAIN], settings);
}

const struct control_kind_reader control_read_mesh_settings = {sizeof(struct control_mesh_settings), read_settings,
                                                               close_settings};
