{{/* The node agent: one a node, whatever revisions there are. So its names carry none, and Helm refuses a second release that wants it. */}}
{{- define "fairlead.agent" -}}fairlead-agent{{- end }}
{{- define "fairlead.agentNamespace" -}}{{ .Values.cni.namespace.name | default .Release.Namespace }}{{- end }}

{{/* A namespace that is nobody else's, and so is made here. */}}
{{- define "fairlead.agentNamespaceOwn" -}}
{{- $name := include "fairlead.agentNamespace" . -}}
{{- if and .Values.cni.namespace.create (ne $name .Release.Namespace) (not (hasPrefix "kube-" $name)) (ne $name "default") -}}yes{{- end -}}
{{- end }}

{{/* Where the runtime of each platform looks, and how the plugin comes into its configuration: as `fairlead cni platforms` has it (a test
     compares them). */}}
{{- define "fairlead.platforms" -}}
kubeadm: {confDir: /etc/cni/net.d, binDir: /opt/cni/bin, mode: chained}
gke: {confDir: /etc/cni/net.d, binDir: /home/kubernetes/bin, mode: chained}
eks: {confDir: /etc/cni/net.d, binDir: /opt/cni/bin, mode: chained}
aks: {confDir: /etc/cni/net.d, binDir: /opt/cni/bin, mode: chained}
k3s: {confDir: /var/lib/rancher/k3s/agent/etc/cni/net.d, binDir: /var/lib/rancher/k3s/data/cni, mode: chained}
microk8s: {confDir: /var/snap/microk8s/current/args/cni-network, binDir: /var/snap/microk8s/current/opt/cni/bin, mode: chained}
minikube: {confDir: /etc/cni/net.d, binDir: /opt/cni/bin, mode: chained}
openshift: {confDir: /etc/cni/multus/net.d, binDir: /var/lib/cni/bin, mode: standalone}
talos: {confDir: /etc/cni/net.d, binDir: /opt/cni/bin, mode: chained}
{{- end }}

{{/* What holds here: the platform's row, and over it what is set by hand. JSON. */}}
{{- define "fairlead.platform" -}}
{{- $row := get (include "fairlead.platforms" . | fromYaml) .Values.cni.platform -}}
{{- range $key := list "confDir" "binDir" "mode" -}}
{{- with get $.Values.cni $key -}}{{- $_ := set $row $key . -}}{{- end -}}
{{- end -}}
{{- toJson $row -}}
{{- end }}

{{/* Pods of this priority are admitted outside of kube-system only where a quota allows them, on GKE. */}}
{{- define "fairlead.agentQuota" -}}
{{- $cni := .Values.cni -}}
{{- if and (or $cni.resourceQuota.enabled (eq $cni.platform "gke")) $cni.priorityClassName (ne (include "fairlead.agentNamespace" .) "kube-system") -}}
yes
{{- end -}}
{{- end }}

{{/* Everything that the agent can do as root, each for one purpose (docs/cni.md); tests/cluster/lanes/agent.py takes them away one by one.
     NET_RAW: iptables opens a table by a raw socket. */}}
{{- define "fairlead.agentCapabilities" -}}
{{- $raw := eq .Values.cni.backend "iptables" | ternary (list "NET_RAW") list -}}
{{- concat (list "DAC_READ_SEARCH" "NET_ADMIN") $raw (list "SYS_ADMIN" "SYS_PTRACE") | toJson -}}
{{- end }}
