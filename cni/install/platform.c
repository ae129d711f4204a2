#include "cni/install/platform.h"

#define CONF_DIR  "/etc/cni/net.d"
#define BIN_DIR   "/opt/cni/bin"
#define NETNS_DIR "/var/run/netns"

static const struct cni_platform platforms[] = {
    {"kubeadm", "kubeadm, kind, and whatever keeps to the defaults", CONF_DIR, BIN_DIR, NETNS_DIR, CNI_INSTALL_CHAINED,
     ""},
    {"gke", "Google Kubernetes Engine", CONF_DIR, "/home/kubernetes/bin", NETNS_DIR, CNI_INSTALL_CHAINED,
     "a namespace other than kube-system needs a ResourceQuota for the priority class system-node-critical"},
    {"eks", "Amazon EKS", CONF_DIR, BIN_DIR, NETNS_DIR, CNI_INSTALL_CHAINED,
     "not on Fargate, which runs no DaemonSets"},
    {"aks", "Azure AKS", CONF_DIR, BIN_DIR, NETNS_DIR, CNI_INSTALL_CHAINED, ""},
    {"k3s", "k3s", "/var/lib/rancher/k3s/agent/etc/cni/net.d", "/var/lib/rancher/k3s/data/cni", NETNS_DIR,
     CNI_INSTALL_CHAINED, "with --data-dir both folders are below it; k3d has its plugins in /bin"},
    {"microk8s", "MicroK8s", "/var/snap/microk8s/current/args/cni-network", "/var/snap/microk8s/current/opt/cni/bin",
     NETNS_DIR, CNI_INSTALL_CHAINED,
     "a refresh of the snap moves the folders: restart the agent's pod behind it, so that it mounts the new ones"},
    {"minikube", "minikube", CONF_DIR, BIN_DIR, "/var/run/docker/netns", CNI_INSTALL_CHAINED,
     "with the containerd or CRI-O runtime the namespaces are in " NETNS_DIR ", as anywhere"},
    {"openshift", "OpenShift, with Multus", "/etc/cni/multus/net.d", "/var/lib/cni/bin", NETNS_DIR,
     CNI_INSTALL_STANDALONE,
     "pods ask for it by a NetworkAttachmentDefinition and the annotation k8s.v1.cni.cncf.io/networks; the agent's "
     "pods need the SCC privileged and the SELinux type spc_t"},
    {"talos", "Talos Linux", CONF_DIR, BIN_DIR, NETNS_DIR, CNI_INSTALL_CHAINED,
     "the agent's namespace needs the label pod-security.kubernetes.io/enforce: privileged; the host has no iptables"},
};

const struct cni_platform *cni_platforms(size_t *ret_count)
{
    *ret_count = FL_COUNT(platforms);
    return platforms;
}

const struct cni_platform *cni_platform_find(const char *name)
{
    for (size_t i = 0; i < FL_COUNT(platforms); i++) {
        if (strcmp(platforms[i].name, name) == 0)
            return &platforms[i];
    }
    return NULL;
}

const char *cni_install_mode_name(enum cni_install_mode mode)
{
    return mode == CNI_INSTALL_STANDALONE ? "standalone" : "chained";
}

static int append_field(struct fl_buf *out, const char *name, const char *value)
{
    int result = fl_buf_printf(out, ",\"%s\":", name);
    return result < 0 ? result : fl_buf_append_json_string(out, fl_span_str(value));
}

static int append_platform(struct fl_buf *out, const struct cni_platform *platform)
{
    const struct {
        const char *name, *value;
    } fields[] = {{"title", platform->title},
                  {"confDir", platform->conf_dir},
                  {"binDir", platform->bin_dir},
                  {"netnsDir", platform->netns_dir},
                  {"mode", cni_install_mode_name(platform->mode)},
                  {"note", platform->note}};
    int result = fl_buf_printf(out, "{\"name\":\"%s\"", platform->name);
    for (size_t i = 0; result == 0 && i < FL_COUNT(fields); i++)
        result = append_field(out, fields[i].name, fields[i].value);
    return result < 0 ? result : fl_buf_append_byte(out, '}');
}

int cni_platforms_print_json(struct fl_buf *out)
{
    int result = fl_buf_append_str(out, "{\"platforms\":[");
    for (size_t i = 0; result == 0 && i < FL_COUNT(platforms); i++) {
        if (i > 0)
            result = fl_buf_append_byte(out, ',');
        if (result == 0)
            result = append_platform(out, &platforms[i]);
    }
    return result < 0 ? result : fl_buf_append_str(out, "]}\n");
}
