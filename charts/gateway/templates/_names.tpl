{{- define "gateway.name" -}}
{{- $name := .Values.name | default .Release.Name -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]{0,52}[a-z0-9])?$" $name) -}}
{{- fail (printf "name: %q names a Service with \"-fairlead\" behind it: up to 54 letters, digits and '-', beginning with a letter" $name) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{- define "gateway.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}
