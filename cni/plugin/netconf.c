#include "cni/plugin/netconf.h"

#include "common/mesh/label.h"

#include <errno.h>

const char *const cni_netconf_versions[] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", CNI_NETCONF_VERSION_LATEST, NULL};

/* Where ips[].version ("4" or "6") ceased to be. */
#define VERSION_WITHOUT_FAMILY "1.0.0"

static size_t version_index(struct fl_span version)
{
    size_t i = 0;
    while (cni_netconf_versions[i] != NULL && !fl_span_eq_str(version, cni_netconf_versions[i]))
        i++;
    return i;
}

bool cni_netconf_speaks(struct fl_span version)
{
    return cni_netconf_versions[version_index(version)] != NULL;
}

bool cni_netconf_at_least(struct fl_span version, const char *other)
{
    return version_index(version) >= version_index(fl_span_str(other));
}

void cni_netconf_done(struct cni_netconf *netconf)
{
    netconf->root = fl_json_free(netconf->root);
}

/* A member that is absent or null gives NULL; one of another kind is refused. */
static int get(const struct fl_json *object, const char *path, const char *name, enum fl_json_kind kind,
               const struct fl_json **ret_member, struct fl_err *err)
{
    const struct fl_json *member = fl_json_get(object, name);
    if (member == NULL || fl_json_is(member, FL_JSON_NULL)) {
        *ret_member = NULL;
        return 0;
    }
    if (!fl_json_is(member, kind)) {
        fl_err_set(err, -EINVAL, "$%s.%s: expected %s, got %s", path, name, fl_json_kind_name(kind),
                   fl_json_kind_name(fl_json_kind(member)));
        return CNI_NETCONF_INVALID;
    }
    *ret_member = member;
    return 0;
}

static int read_version(struct cni_netconf *netconf, struct fl_err *err)
{
    const struct fl_json *version = NULL;
    int result = get(netconf->root, "", "cniVersion", FL_JSON_STRING, &version, err);
    if (result != 0)
        return result;
    netconf->version = version != NULL ? fl_json_string(version) : FL_SPAN("0.1.0");
    if (cni_netconf_speaks(netconf->version))
        return 0;
    fl_err_set(err, -EINVAL, "$.cniVersion: \"%.*s\"%s; spoken are 0.3.0, 0.3.1, 0.4.0, 1.0.0 and 1.1.0",
               FL_SPAN_ARG(netconf->version), version != NULL ? "" : " (there is none, which means that)");
    return CNI_NETCONF_VERSION;
}

static int read_capture(struct cni_netconf *netconf, struct fl_err *err)
{
    const struct fl_json *runtime = NULL, *annotations = NULL, *capture = NULL;
    int result = get(netconf->root, "", "runtimeConfig", FL_JSON_OBJECT, &runtime, err);
    if (result == 0)
        result = get(runtime, ".runtimeConfig", FL_CNI_CAPABILITY_ANNOTATIONS, FL_JSON_OBJECT, &annotations, err);
    if (result == 0)
        result = get(annotations, ".runtimeConfig." FL_CNI_CAPABILITY_ANNOTATIONS, FL_ANNOTATION_CAPTURE,
                     FL_JSON_STRING, &capture, err);
    netconf->has_capture = capture != NULL;
    netconf->capture = fl_json_string(capture);
    return result;
}

int cni_netconf_parse(struct fl_span text, struct cni_netconf *ret_netconf, struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = CNI_NETCONF_BYTES_MAX, .nul_replaced = true};
    *ret_netconf = (struct cni_netconf){0};
    int result = fl_json_parse(text, &limits, &ret_netconf->root, err);
    if (result < 0)
        return result == -ENOMEM ? result : CNI_NETCONF_NOT_JSON;
    if (!fl_json_is(ret_netconf->root, FL_JSON_OBJECT)) {
        fl_err_set(err, -EINVAL, "$: expected an object, got %s", fl_json_kind_name(fl_json_kind(ret_netconf->root)));
        return CNI_NETCONF_NOT_JSON;
    }
    result = read_version(ret_netconf, err);
    return result != 0 ? result : read_capture(ret_netconf, err);
}

int cni_netconf_read_settings(const struct cni_netconf *netconf, struct cni_settings *ret_settings, struct fl_err *err)
{
    const struct fl_json *backend = NULL, *status = NULL;
    struct cni_settings settings = {.backend = CNI_BACKEND_AUTO};
    int result = get(netconf->root, "", "backend", FL_JSON_STRING, &backend, err);
    if (result == 0)
        result = get(netconf->root, "", "statusRequiresCapture", FL_JSON_BOOL, &status, err);
    if (result != 0)
        return result;
    if (backend != NULL && !cni_backend_parse(fl_json_string(backend), &settings.backend)) {
        fl_err_set(err, -EINVAL, "$.backend: expected " CNI_BACKEND_NAMES ", got \"%.*s\"",
                   FL_SPAN_ARG(fl_json_string(backend)));
        return CNI_NETCONF_INVALID;
    }
    settings.status_requires_capture = fl_json_bool(status);
    *ret_settings = settings;
    return 0;
}

/* --- results --- */

static int convert_ip(struct fl_json *ip, bool with_family)
{
    struct fl_span address = fl_json_string(fl_json_get(ip, "address"));
    if (!fl_json_is(ip, FL_JSON_OBJECT) || address.len == 0)
        return 0;
    if (with_family) {
        bool ipv6 = fl_span_find(address, ':') < address.len;
        return fl_json_set(ip, "version", fl_json_new_string(ipv6 ? FL_SPAN("6") : FL_SPAN("4")));
    }
    int result = fl_json_remove(ip, FL_SPAN("version"));
    return result == -ENOENT ? 0 : result;
}

/* The formats of our versions differ in cniVersion and in ips[].version alone, as far as members must be there or not;
 * what 1.1 added is optional, and unknown to older readers, who skip it. */
static int convert(struct fl_json *previous, struct fl_span version)
{
    int result = fl_json_set(previous, "cniVersion", fl_json_new_string(version));
    struct fl_json *ips = fl_json_get(previous, "ips");
    bool with_family = !cni_netconf_at_least(version, VERSION_WITHOUT_FAMILY);
    for (struct fl_json *ip = fl_json_is(ips, FL_JSON_ARRAY) ? fl_json_first(ips) : NULL; result == 0 && ip != NULL;
         ip = fl_json_next(ip))
        result = convert_ip(ip, with_family);
    return result;
}

static int print_previous(struct cni_netconf *netconf, struct fl_json *previous, struct fl_buf *out, struct fl_err *err)
{
    const struct fl_json *version = NULL;
    if (!fl_json_is(previous, FL_JSON_OBJECT)) {
        fl_err_set(err, -EINVAL, "$.prevResult: expected an object, got %s", fl_json_kind_name(fl_json_kind(previous)));
        return CNI_NETCONF_INVALID;
    }
    int result = get(previous, ".prevResult", "cniVersion", FL_JSON_STRING, &version, err);
    if (result != 0)
        return result;
    struct fl_span is = version != NULL ? fl_json_string(version) : netconf->version;
    if (!cni_netconf_speaks(is)) {
        fl_err_set(err, -EINVAL, "$.prevResult.cniVersion: \"%.*s\" cannot be converted", FL_SPAN_ARG(is));
        return CNI_NETCONF_INVALID;
    }
    if (version == NULL || !fl_span_eq(is, netconf->version))
        result = convert(previous, netconf->version);
    return result < 0 ? result : fl_json_print(previous, out);
}

int cni_netconf_print_result(struct cni_netconf *netconf, struct fl_buf *out, struct fl_err *err)
{
    struct fl_json *previous = fl_json_get(netconf->root, "prevResult");
    if (previous != NULL && !fl_json_is(previous, FL_JSON_NULL))
        return print_previous(netconf, previous, out, err);
    int result = fl_buf_append_str(out, "{\"cniVersion\":");
    if (result == 0)
        result = fl_buf_append_json_string(out, netconf->version);
    return result < 0 ? result : fl_buf_append_byte(out, '}');
}
