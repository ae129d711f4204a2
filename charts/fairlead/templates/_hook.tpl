{{/* A run of the command `fairlead` in a hook of Helm's, under an account that is there as long as the run and may read what it is given.
     Call with (dict "root" $ "name" … "component" … "hook" "pre-delete" "rules" <YAML> "args" <list> "pod" false). */}}
{{- define "fairlead.hook" -}}
{{- $labels := include "fairlead.labels" . -}}
{{- range list "ServiceAccount" "ClusterRole" "ClusterRoleBinding" }}
apiVersion: {{ eq . "ServiceAccount" | ternary "v1" "rbac.authorization.k8s.io/v1" }}
kind: {{ . }}
metadata:
  name: {{ $.name }}
  {{- if eq . "ServiceAccount" }}
  namespace: {{ $.root.Release.Namespace }}
  {{- end }}
  labels: {{- $labels | nindent 4 }}
  annotations:
    helm.sh/hook: {{ $.hook }}
    helm.sh/hook-weight: "-10"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- if eq . "ServiceAccount" }}
automountServiceAccountToken: false
{{- else if eq . "ClusterRole" }}
rules:
{{ $.rules | trim }}
{{- else }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $.name }}}
subjects:
- {kind: ServiceAccount, name: {{ $.name }}, namespace: {{ $.root.Release.Namespace }}}
{{- end }}
---
{{- end }}
{{ .pod | ternary "apiVersion: v1" "apiVersion: batch/v1" }}
kind: {{ .pod | ternary "Pod" "Job" }}
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- $labels | nindent 4 }}
  annotations:
    helm.sh/hook: {{ .hook }}
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
    helm.sh/hook-output-log-policy: hook-failed
spec:
  {{- if .pod }}
  {{- include "fairlead.hookPod" . | nindent 2 }}
  {{- else }}
  backoffLimit: 0
  activeDeadlineSeconds: 240
  template:
    metadata:
      labels: {{- include "fairlead.selector" . | nindent 8 }}
    spec:
      {{- include "fairlead.hookPod" . | nindent 6 }}
  {{- end }}
{{- end }}

{{- define "fairlead.hookPod" -}}
serviceAccountName: {{ .name }}
automountServiceAccountToken: true
enableServiceLinks: false
restartPolicy: Never
securityContext: {{- include "fairlead.podSecurity" .root | nindent 2 }}
nodeSelector: {{ toJson (merge (dict "kubernetes.io/os" "linux") (.root.Values.cli.nodeSelector | default dict)) }}
{{- with .root.Values.cli.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
containers:
- name: fairlead
  image: {{ include "fairlead.image" (dict "root" .root "image" .root.Values.cli.image "name" "fairlead") }}
  imagePullPolicy: {{ .root.Values.cli.image.pullPolicy }}
  args: {{- toYaml .args | nindent 2 }}
  # What it said is in the pod's status, too.
  terminationMessagePolicy: FallbackToLogsOnError
  resources: {{- toYaml .root.Values.cli.resources | nindent 4 }}
  securityContext: {{- include "fairlead.containerSecurity" . | nindent 4 }}
{{- end }}
