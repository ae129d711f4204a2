{{/* The control plane. Names carry the revision; what all revisions share (CA Secret, Lease, bundle ConfigMaps) carries none and is
     made by the program, so that no release owns it and none takes it along when it goes. */}}
{{- define "fairlead.control" -}}fairlead-control{{ include "fairlead.suffix" . }}{{- end }}
{{- define "fairlead.deployer" -}}fairlead-deployer{{ include "fairlead.suffix" . }}{{- end }}
{{- define "fairlead.controlName" -}}{{ include "fairlead.control" . }}.{{ .Release.Namespace }}.svc{{- end }}
{{- define "fairlead.controlRuns" -}}{{ if eq .Values.control.mode "full" }}yes{{ end }}{{- end }}

{{/* Each revision has its own, for Gateways that ask for it by fairlead.io/rev; that of "default" for those that name none. */}}
{{- define "fairlead.deployerRuns" -}}
{{- if and (include "fairlead.controlRuns" .) .Values.deployer.enabled }}yes{{ end -}}
{{- end }}
{{/* There is one class in a cluster: "auto" is that of the revision "default". */}}
{{- define "fairlead.classIsOurs" -}}
{{- $asked := toString .Values.gatewayClass.create -}}
{{- $served := .Capabilities.APIVersions.Has "gateway.networking.k8s.io/v1/GatewayClass" -}}
{{- if or (eq $asked "true") (and (eq $asked "auto") $served (eq .Values.revision "default") (include "fairlead.deployerRuns" .)) }}yes{{ end -}}
{{- end }}

{{/* The webhook's configuration as it is meant: config, and where sidecars find the control plane unless config.control says so itself. JSON. */}}
{{- define "fairlead.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if not (get $config "control") -}}
{{- $address := "none" -}}
{{- if include "fairlead.controlRuns" . -}}{{- $address = printf "%s:%d" (include "fairlead.controlName" .) (int .Values.control.port) -}}{{- end -}}
{{- $control := dict "address" $address -}}
{{- if ne $address "none" -}}{{- $_ := set $control "name" (include "fairlead.controlName" .) -}}{{- end -}}
{{- $_ := set $config "control" $control -}}
{{- end -}}
{{- toJson $config -}}
{{- end }}

{{/* Kinds that the control plane reads, and writes the status of. */}}
{{- define "fairlead.gatewayKinds" -}}
- gatewayclasses
- gateways
- listenersets
- httproutes
- grpcroutes
- tcproutes
- tlsroutes
- backendtlspolicies
{{- end }}
{{- define "fairlead.ownKinds" -}}
- authorizationpolicies
- meshsettings
- peerauthentications
- requestauthentications
- telemetries
- trafficpolicies
{{- end }}
