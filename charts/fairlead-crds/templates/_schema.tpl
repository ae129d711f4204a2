{{/* What the kinds have in common. What the reader refuses (control/model/kind) the API server refuses first: by type, pattern and bound
     where these can say it, which cost nothing, and by CEL where members depend on each other. Every list and text has a maximum, so
     that what CEL may cost stays in the API server's budget. tests/charts/schema_test.py and the lane `kinds` hold the two together. */}}

{{/* A whole CustomResourceDefinition: call with (dict "root" $ "kind" "Telemetry" "plural" "telemetries" "short" "fltel" "description" …
     "columns" <YAML> "spec" <YAML of the spec's schema> "required" true). */}}
{{- define "crd" -}}
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: {{ .plural }}.fairlead.io
  labels:
    app.kubernetes.io/name: fairlead-crds
    app.kubernetes.io/instance: {{ .root.Release.Name }}
    app.kubernetes.io/part-of: fairlead
    app.kubernetes.io/component: crds
    app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
    app.kubernetes.io/managed-by: {{ .root.Release.Service }}
    helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
    {{- with .root.Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if .root.Values.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
spec:
  group: fairlead.io
  scope: Namespaced
  names:
    kind: {{ .kind }}
    listKind: {{ .kind }}List
    plural: {{ .plural }}
    singular: {{ lower .kind }}
    shortNames: [{{ .short }}]
    categories: [fairlead]
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources:
      status: {}
    additionalPrinterColumns:
    {{- .columns | trim | nindent 4 }}
    - name: Accepted
      type: string
      jsonPath: .status.conditions[?(@.type=="Accepted")].status
    - name: Reason
      type: string
      priority: 1
      jsonPath: .status.conditions[?(@.type=="Accepted")].reason
    - name: Age
      type: date
      jsonPath: .metadata.creationTimestamp
    schema:
      openAPIV3Schema:
        type: object
        description: {{ .description | quote }}
        {{- if .required }}
        required: [spec]
        {{- end }}
        properties:
          apiVersion: {type: string}
          kind: {type: string}
          metadata: {type: object}
          spec:
            {{- .spec | trim | nindent 12 }}
          status:
            type: object
            description: Written by fairlead-control.
            properties:
              conditions:
                type: array
                description: Accepted says whether the object counts, and why not; ResolvedRefs whether what it names is there; Programmed whether proxies took it.
                maxItems: 8
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [type]
                items:
                  type: object
                  required: [type, status, lastTransitionTime, reason, message]
                  properties:
                    type: {type: string, maxLength: 316, pattern: '^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$'}
                    status: {type: string, enum: ["True", "False", Unknown]}
                    observedGeneration: {type: integer, format: int64, minimum: 0}
                    lastTransitionTime: {type: string, format: date-time}
                    reason: {type: string, minLength: 1, maxLength: 1024, pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$'}
                    message: {type: string, maxLength: 32768}
{{- end }}

{{- define "crd.selector" -}}
selector:
  type: object
  description: Pods of the policy's namespace by their labels; in the root namespace, of the whole mesh. An empty one selects them all.
  properties:
    matchLabels:
      type: object
      maxProperties: 64
      additionalProperties: {type: string, maxLength: 63}
    matchExpressions:
      type: array
      maxItems: 64
      items:
        type: object
        required: [key, operator]
        properties:
          key: {type: string, minLength: 1, maxLength: 317}
          operator: {type: string, enum: [In, NotIn, Exists, DoesNotExist]}
          values:
            type: array
            maxItems: 64
            items: {type: string, maxLength: 63}
        x-kubernetes-validations:
        - rule: "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0"
          message: operators In and NotIn need values; Exists and DoesNotExist have none
          fieldPath: .values
          reason: FieldValueInvalid
{{- end }}

{{/* targetRefs: call with (dict "kind" "Gateway" "groups" (list "gateway.networking.k8s.io")). */}}
{{- define "crd.targetRefs" -}}
targetRefs:
  type: array
  description: {{ .kind }}s of the policy's namespace, by name.
  minItems: 1
  maxItems: 16
  items:
    type: object
    required: [kind, name]
    properties:
      group: {type: string, enum: {{ toJson .groups }}}
      kind: {type: string, enum: [{{ .kind }}]}
      name: {{ include "crd.name" . }}
{{- end }}
{{- define "crd.oneTarget" -}}
- rule: "!(has(self.selector) && has(self.targetRefs))"
  message: selector and targetRefs exclude each other
{{- end }}

{{- define "crd.name" -}}
{type: string, minLength: 1, maxLength: 253, pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'}
{{- end }}
{{- define "crd.headerName" -}}
{type: string, minLength: 1, maxLength: 256, pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"}
{{- end }}
{{/* "1h30m", "1.5s": the reader takes no more than 49 days, so neither does this. */}}
{{- define "crd.durationPattern" -}}
'^([0-9]{1,9}(\.[0-9]{1,6})?(h|m|s|ms|us)){1,4}$'
{{- end }}
{{- define "crd.duration" -}}
type: string
maxLength: 64
pattern: {{ include "crd.durationPattern" . }}
x-kubernetes-validations:
- rule: duration(self) < duration('1193h')
  message: a duration is below 1193h
{{- end }}
{{- define "crd.period" -}}
type: string
maxLength: 64
pattern: {{ include "crd.durationPattern" . }}
x-kubernetes-validations:
- rule: duration(self) > duration('0s') && duration(self) < duration('1193h')
  message: a duration above 0, and below 1193h
{{- end }}
{{/* A count of 32 bits: call with the least one. */}}
{{- define "crd.count" -}}
{type: integer, format: int64, minimum: {{ . }}, maximum: 4294967295}
{{- end }}
