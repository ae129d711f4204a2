{{/* Names. A named revision's objects carry its name, so that several releases stand beside each other. */}}
{{- define "fairlead.suffix" -}}
{{- if ne .Values.revision "default" }}-{{ .Values.revision }}{{ end -}}
{{- end }}
{{- define "fairlead.webhook" -}}fairlead-webhook{{ include "fairlead.suffix" . }}{{- end }}
{{- define "fairlead.keeper" -}}fairlead-keeper{{ include "fairlead.suffix" . }}{{- end }}
{{- define "fairlead.tlsSecret" -}}
{{- .Values.certificate.secretName | default (printf "%s-tls" (include "fairlead.webhook" .)) -}}
{{- end }}
{{- define "fairlead.caSecret" -}}{{ include "fairlead.webhook" . }}-ca{{- end }}
{{- define "fairlead.keeperUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "fairlead.keeper" . }}
{{- end }}

{{/* Labels: call with (dict "root" $ "component" "webhook"). */}}
{{- define "fairlead.selector" -}}
app.kubernetes.io/name: fairlead
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}
{{- define "fairlead.labels" -}}
{{ include "fairlead.selector" . }}
app.kubernetes.io/part-of: fairlead
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
fairlead.io/revision: {{ .root.Values.revision | quote }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* An image: call with (dict "root" $ "image" .Values.webhook.image "name" "fairlead-webhook"). */}}
{{- define "fairlead.image" -}}
{{- $repository := .image.repository | default (printf "fairlead/%s" .name) -}}
{{- with .root.Values.registry }}{{ . }}/{{ end -}}
{{- $repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* Namespaces whose pods never join: as configured, the release's own, and the node agent's. A JSON array. */}}
{{- define "fairlead.ignored" -}}
{{- $ignored := .Values.config.ignoredNamespaces | default list -}}
{{- if .Values.cni.enabled }}{{ $ignored = append $ignored (include "fairlead.agentNamespace" .) }}{{ end -}}
{{- append $ignored .Release.Namespace | uniq | sortAlpha | toJson -}}
{{- end }}

{{/* The security context of everything here: Pod Security "restricted", and a root file system that is read-only. */}}
{{- define "fairlead.podSecurity" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- with .Values.podSecurityContext }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- define "fairlead.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Where pods go: call with (dict "root" $ "values" .Values.webhook "component" "webhook"). */}}
{{- define "fairlead.placement" -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
nodeSelector: {{ toJson (merge (dict "kubernetes.io/os" "linux") (.values.nodeSelector | default dict)) }}
{{- with .values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .values.affinity }}
affinity: {{ toJson . }}
{{- end }}
topologySpreadConstraints:
{{- if .values.topologySpreadConstraints }}
{{ toYaml .values.topologySpreadConstraints }}
{{- else }}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "fairlead.selector" . | nindent 6 }}
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- end }}
