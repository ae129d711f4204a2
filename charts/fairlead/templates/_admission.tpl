{{/* What the webhook configuration and the policies have in common: which namespaces are in scope, and how a pod's
     labels decide. The truth table stands in docs/admission.md; tests/cluster/lanes/scope.py proves it. */}}

{{/* Expressions of a namespaceSelector: not ours, not the system's, not paused. */}}
{{- define "fairlead.inScope" -}}
- {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ include "fairlead.ignored" . }}}
- {key: fairlead.io/pause, operator: NotIn, values: ["true"]}
{{- end }}

{{/* Variables of a policy about pods: maps and lists that are there whether the object has them or not. */}}
{{- define "fairlead.podVariables" -}}
- name: labels
  expression: object.metadata.?labels.orValue({})
- name: annotations
  expression: object.metadata.?annotations.orValue({})
- name: inits
  expression: object.spec.?initContainers.orValue([])
{{- end }}

{{/* How other meshes' sidecars are known: as in webhook/foreign.c, which a test compares. */}}
{{- define "fairlead.foreignNames" -}}
{{- $names := list "istio-proxy" "istio-init" "istio-validation" "linkerd-proxy" "linkerd-init" "linkerd-network-validator" }}
{{- $names = concat $names (list "kuma-sidecar" "kuma-init" "kuma-validation" "envoy-sidecar" "consul-connect-inject-init") }}
{{- $names = concat $names (list "consul-dataplane" "consul-mesh-init" "consul-sidecar" "consul-connect-envoy-sidecar") }}
{{- range $i, $name := $names }}{{ if $i }}, {{ end }}'{{ $name }}'{{ end }}
{{- end }}
{{- define "fairlead.foreignImages" -}}
(^|/)(istio/proxyv2|linkerd/proxy|linkerd/proxy-init|kumahq/kuma-dp|hashicorp/consul-dataplane)(:[^/]*)?(@.*)?$
{{- end }}

{{/* Did this pod ask for the mesh, and is it of a kind that can join? The same table as the webhook's decide. */}}
{{- define "fairlead.decisionVariables" -}}
- name: namespaceLabels
  expression: namespaceObject.metadata.?labels.orValue({})
- name: required
  expression: "'fairlead.io/require' in variables.namespaceLabels"
- name: asked
  expression: >-
    variables.required ||
{{- if eq (toString .Values.config.podOverrides) "false" }}
    variables.namespaceLabels[?'fairlead.io/inject'].orValue('disabled') != 'disabled'
{{- else }}
    variables.labels[?'fairlead.io/inject'].or(
    variables.namespaceLabels[?'fairlead.io/inject']).orValue('disabled') != 'disabled'
{{- end }}
- name: revision
  expression: >-
    variables.labels[?'fairlead.io/rev'].or(
    variables.namespaceLabels[?'fairlead.io/rev']).orValue('default')
- name: foreign
  expression: >-
    variables.inits.exists(c, c.name in [{{ include "fairlead.foreignNames" . }}] || c.image.matches('{{ include "fairlead.foreignImages" . }}')) ||
    object.spec.containers.exists(c, c.name in [{{ include "fairlead.foreignNames" . }}] || c.image.matches('{{ include "fairlead.foreignImages" . }}'))
- name: skipped
  expression: >-
    ('kubernetes.io/config.mirror' in variables.annotations &&
    'system:nodes' in request.userInfo.?groups.orValue([])) ||
    (!variables.required && (object.spec.?hostNetwork.orValue(false) ||
    object.spec.?os.?name.orValue('') == 'windows' ||
    object.spec.?nodeSelector[?'kubernetes.io/os'].orValue('') == 'windows' || variables.foreign))
{{- end }}

{{/* The binding of a policy: call with (dict "root" $ "name" <policy>). */}}
{{- define "fairlead.binding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels: {{- include "fairlead.labels" (dict "root" .root "component" "policy") | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: {{ toJson .root.Values.policies.actions }}
{{- end }}
