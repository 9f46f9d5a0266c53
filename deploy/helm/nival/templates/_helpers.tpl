{{/* Labels of everything in the release. Call with (dict "root" $ "component" "…"). */}}
{{- define "nival.labels" -}}
{{ include "nival.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: nival
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* What selects the pods of a component. It never changes. */}}
{{- define "nival.selector" -}}
app.kubernetes.io/name: nival
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* An image. Call with (dict "root" $ "image" .Values.image.agent). */}}
{{- define "nival.image" -}}
{{- $all := .root.Values.image -}}
{{- $name := printf "%s/%s" $all.registry .image.repository -}}
{{- if .image.digest -}}
{{ printf "%s@%s" $name .image.digest }}
{{- else -}}
{{ printf "%s:%s" $name (default .root.Chart.AppVersion $all.tag) }}
{{- end -}}
{{- end }}

{{/* The lines of a pod that fetch its images. */}}
{{- define "nival.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The address of the hub. */}}
{{- define "nival.hub" -}}
{{- if .Values.hub.url -}}
{{ .Values.hub.url }}
{{- else if .Values.hub.enabled -}}
{{ printf "http://nival-hub.%s.svc.%s:%d" .Release.Namespace .Values.cluster.domain (int .Values.hub.service.port) }}
{{- else -}}
{{ fail "nobody knows where the hub is: set hub.url to its address, or hub.enabled=true to run one" }}
{{- end -}}
{{- end }}

{{/* The configuration of the hub: what was written by hand, and the issuer of this cluster's own tokens. */}}
{{- define "nival.hubConfig" -}}
{{- .Values.hub.config }}
{{- with .Values.hub.serviceAccounts }}

[[oidc]]
issuer = {{ default (printf "https://kubernetes.default.svc.%s" $.Values.cluster.domain) $.Values.cluster.issuer | toJson }}
audience = "nival-hub"
jwks-url = "https://kubernetes.default.svc/openid/v1/jwks"
ca-file = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
token-file = "/var/run/secrets/kubernetes.io/serviceaccount/token"
{{- range . }}

[[oidc.allow]]
subject = {{ printf "system:serviceaccount:%s:%s" .namespace .name | toJson }}
owner = {{ .owner | toJson }}
scope = {{ .scope | toJson }}
{{- end }}
{{- end }}
{{- end }}

{{/* Security of a container that needs nothing, as the policy `restricted` has it. */}}
{{- define "nival.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Security of a pod that needs nothing, as the policy `restricted` has it. */}}
{{- define "nival.restrictedPod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* How a service account's token, and nothing but it, is mounted into one container of a pod. */}}
{{- define "nival.tokenVolume" -}}
name: token
projected:
  defaultMode: 0400
  sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3607}
    - configMap:
        name: kube-root-ca.crt
        items: [{key: ca.crt, path: ca.crt}]
    - downwardAPI:
        items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
{{- end }}

{{- define "nival.tokenMount" -}}
{name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}

{{/* Volumes and mounts of the configuration and of private certificate authorities. */}}
{{- define "nival.configVolumes" -}}
- name: config
  configMap: {name: nival}
{{- with .Values.authorities.configMap }}
- name: authorities
  configMap: {name: {{ . }}}
{{- end }}
{{- end }}

{{- define "nival.configMounts" -}}
- {name: config, mountPath: /etc/nival, readOnly: true}
{{- if .Values.authorities.configMap }}
- {name: authorities, mountPath: /etc/ssl/nival, readOnly: true}
{{- end }}
{{- end }}

{{/* Prometheus' annotations. Call with (dict "root" $ "port" 9478). */}}
{{- define "nival.scrape" -}}
{{- if .root.Values.metrics.annotations -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ int .port | quote }}
prometheus.io/path: /metrics
{{- end -}}
{{- end }}

{{/* Secrets that configured credentials name, as a list of {namespace, name} below `secrets`. */}}
{{- define "nival.secrets" -}}
{{- $found := list -}}
{{- range $name, $one := .Values.config.credentials -}}
{{- if $one.secret -}}
{{- $parts := splitList "/" $one.secret -}}
{{- $found = append $found (dict "namespace" (index $parts 0) "name" (index $parts 1)) -}}
{{- end -}}
{{- end -}}
{{ toYaml (dict "secrets" ($found | uniq)) }}
{{- end }}

{{/* What `nival-operator install` and `nival-operator node` are told of the node. */}}
{{- define "nival.installArgs" -}}
- install
{{- include "nival.nodeOptions" . }}
{{- end }}

{{- define "nival.nodeArgs" -}}
- node
- --agent-socket=/run/nival/agent.sock
- --listen={{ .Values.listenAddress }}:{{ int .Values.node.metricsPort }}
{{- include "nival.nodeOptions" . }}
{{- end }}

{{- define "nival.nodeOptions" }}
- --host=/host
- --preset={{ .Values.containerd.preset }}
- --restart={{ .Values.containerd.restart }}
- --containerd-deadline={{ int .Values.containerd.deadlineSeconds }}
{{- with .Values.containerd.config }}
- --containerd-config={{ . }}
{{- end }}
{{- with .Values.containerd.socket }}
- --containerd-socket={{ . }}
{{- end }}
{{- with .Values.containerd.unit }}
- --containerd-unit={{ . }}
{{- end }}
{{- end }}
