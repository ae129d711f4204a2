/* The configuration that a runtime writes to a plugin's stdin (CNI spec 1.1, section 3), as far as this plugin reads
 * it. Unknown members are tolerated, wrong types of the known ones are not. JSON is read strictly (common/doc/json.h),
 * with one exception: the runtime hands on every annotation of the pod, so pod authors write into this text, those of
 * pods outside the mesh too. No annotation that Kubernetes takes may make it unreadable, for then the pod could be
 * neither added nor deleted, and the address that was allotted before us would never be freed. Hence an escaped U+0000
 * is read as U+FFFD (which no capture spec contains), and the size is four times of what annotations can come to.
 */
#ifndef CNI_PLUGIN_NETCONF_H
#define CNI_PLUGIN_NETCONF_H

#include "cni/capture/backend.h"
#include "common/doc/json.h"

/* Kubernetes: 256 KiB of annotations, each byte six when it is escaped; then the rest. */
#define CNI_NETCONF_BYTES_MAX (4u << 20)

/* Versions of the CNI spec that this plugin speaks, oldest first; the list ends with NULL. 0.3.0 is the first that has
 * lists of plugins and prevResult. (Its text calls the member "ip" that everybody wrote as "ips", and 0.3.1 corrected
 * that alone.) Before it, 0.1.0 and 0.2.0, and none at all, which means 0.1.0: results of another form, ip4 and ip6. */
extern const char *const cni_netconf_versions[];
#define CNI_NETCONF_VERSION_LATEST "1.1.0"

enum cni_netconf_outcome {
    CNI_NETCONF_NOT_JSON = 1, /* not (strict) JSON, or no object */
    CNI_NETCONF_VERSION = 2,  /* a cniVersion that is not one of ours; netconf->version says which */
    CNI_NETCONF_INVALID = 3,  /* a member of the wrong type or value */
};

struct cni_netconf {
    struct fl_json *root;   /* owned */
    struct fl_span version; /* cniVersion; "0.1.0" where it is missing, as the spec says */
    bool has_capture;
    struct fl_span capture; /* the capture annotation's value, where has_capture */
};

/* 0, an outcome (err has the reason), or -ENOMEM. On CNI_NETCONF_VERSION and CNI_NETCONF_INVALID *ret_netconf is set as
 * far as it was read; call cni_netconf_done in every case. */
int cni_netconf_parse(struct fl_span text, struct cni_netconf *ret_netconf, struct fl_err *err) FL_MUST_CHECK;
void cni_netconf_done(struct cni_netconf *netconf);

/* Our own members of the configuration. They are read apart from the rest, because a wrong one is nobody's concern
 * whose pod is not captured. */
struct cni_settings {
    enum cni_backend backend;     /* "backend": "auto" (also where it is missing), "nftables" or "iptables" */
    bool status_requires_capture; /* "statusRequiresCapture": STATUS fails where this kernel cannot capture; false */
};
/* 0, or CNI_NETCONF_INVALID: err names the member and what would be right. */
int cni_netconf_read_settings(const struct cni_netconf *netconf, struct cni_settings *ret_settings,
                              struct fl_err *err) FL_MUST_CHECK;

bool cni_netconf_speaks(struct fl_span version);
/* Whether `version` is `other` or newer; both are ours. */
bool cni_netconf_at_least(struct fl_span version, const char *other);

/* Appends the result that an ADD hands on: the previous result, with every member (unknown ones too), their order and
 * the text of numbers kept; converted where its cniVersion is not the requested one (the tree is changed then). Where
 * there was none, because the plugin stands alone (Multus), an empty result. 0, -ENOMEM, -EMSGSIZE, or
 * CNI_NETCONF_INVALID (a prevResult that is no object, or of a version that is not ours). */
int cni_netconf_print_result(struct cni_netconf *netconf, struct fl_buf *out, struct fl_err *err) FL_MUST_CHECK;

#endif
