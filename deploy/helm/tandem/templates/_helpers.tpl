{{/* Names. The Service is never called `tandem`: Kubernetes would set TANDEM_PORT=tcp://… in every pod of the
     namespace that has service links. */}}
{{- define "tandem.name" -}}
{{- if contains "tandem" .Release.Name }}{{ .Release.Name | trunc 30 | trimSuffix "-" }}
{{- else }}{{ printf "%s-tandem" (.Release.Name | trunc 30 | trimSuffix "-") }}{{ end }}
{{- end }}
{{- define "tandem.service" -}}{{ include "tandem.name" . }}-http{{- end }}
{{- define "tandem.image" -}}{{ .Values.image.repository }}:{{ .Values.image.tag }}{{- end }}

{{- define "tandem.selector" -}}
app.kubernetes.io/name: tandem
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tandem.labels" -}}
{{ include "tandem.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Whether several processes share the stores. */}}
{{- define "tandem.several" -}}
{{- $nodes := .Values.replicas | int }}
{{- if ne .Values.autoscaling.kind "none" }}{{ $nodes = .Values.autoscaling.maxReplicas | int }}{{ end }}
{{- if or (gt $nodes 1) .Values.workers.enabled .Values.api.enabled }}yes{{ end }}
{{- end }}

{{- define "tandem.modelsClaim" -}}
{{- if .Values.models.existingClaim }}{{ .Values.models.existingClaim }}
{{- else if eq .Values.models.claim "shared" }}{{ include "tandem.name" . }}-models{{ end }}
{{- end }}

{{- define "tandem.drain" -}}{{ .Values.settings.DRAIN_SECONDS | default 20 | int }}{{- end }}
{{- define "tandem.leastGrace" -}}{{ add 5 (include "tandem.drain" . | int) 15 }}{{- end }}
{{- define "tandem.grace" -}}
{{- .Values.terminationGracePeriodSeconds | int | default (add (include "tandem.leastGrace" . | int) 10) }}
{{- end }}

{{/* Values that contradict each other end the rendering, with what to do. */}}
{{- define "tandem.check" -}}
{{- $settings := .Values.settings }}
{{- $held := .Values.secretKeys }}
{{- if and (not .Values.existingSecret) $held }}
  {{- fail (printf "existingSecret is empty, and secretKeys names %s: name the Secret that holds them, or leave secretKeys empty." (join ", " $held)) }}
{{- end }}
{{- if not (or (has "TANDEM_API_KEYS" $held) $settings.API_KEYS_FILE $settings.ALLOW_KEYLESS) }}
  {{- fail "No API key: the pods would refuse to listen. Put TANDEM_API_KEYS into secretKeys, or set settings.ALLOW_KEYLESS: true where everybody who reaches the port may read and delete." }}
{{- end }}
{{- if and $settings.ALLOW_KEYLESS (not (has "TANDEM_API_KEYS" $held)) (not $settings.ALLOWED_HOSTS) }}
  {{- fail (printf "settings.ALLOW_KEYLESS: a node without keys answers to names that it knows. Set settings.ALLOWED_HOSTS to those that callers use, for instance %s." (include "tandem.service" .)) }}
{{- end }}
{{- if include "tandem.several" . }}
  {{- if not (has "TANDEM_DATABASE_URL" $held) }}
    {{- fail "Several nodes, workers or the API share one catalog: put TANDEM_DATABASE_URL (PostgreSQL) into existingSecret and secretKeys." }}
  {{- end }}
  {{- if not (or $settings.MILVUS_URI (has "TANDEM_MILVUS_URI" $held)) }}
    {{- fail "Several nodes, workers or the API share one Milvus: set settings.MILVUS_URI, or put TANDEM_MILVUS_URI into secretKeys." }}
  {{- end }}
  {{- if not (or .Values.originals.existingClaim (hasPrefix "s3://" ($settings.BLOBS | default ""))) }}
    {{- fail "Several nodes, workers or the API share the originals: set settings.BLOBS to s3://bucket/prefix, or originals.existingClaim to a ReadWriteMany claim. A node's own volume is not visible to the others." }}
  {{- end }}
{{- end }}
{{- if and .Values.originals.existingClaim $settings.BLOBS }}
  {{- fail "originals.existingClaim and settings.BLOBS name two places for the originals: keep one." }}
{{- end }}
{{- if and .Values.workers.enabled (not .Values.api.enabled) (has "TANDEM_API_KEYS" $held) (not (has "TANDEM_ENGINE_API_KEY" $held)) }}
  {{- fail "workers.enabled: the workers need a key for the nodes. Put TANDEM_ENGINE_API_KEY, one of the API keys in clear, into existingSecret and secretKeys." }}
{{- end }}
{{- if and .Values.api.enabled (not (and $settings.EMBED_URL $settings.RERANK_URL)) }}
  {{- fail "api.enabled needs settings.EMBED_URL and settings.RERANK_URL: the addresses of your model servers." }}
{{- end }}
{{- if and .Values.api.enabled (ne .Values.accelerator.kind "none") }}
  {{- fail "api.enabled replaces the nodes: set accelerator.kind to none. The accelerators belong to your model servers." }}
{{- end }}
{{- if and (eq .Values.models.pull "job") (not (include "tandem.modelsClaim" .)) }}
  {{- fail "models.pull: job fills a claim that all pods mount: set models.claim: shared or models.existingClaim, or use models.pull: init." }}
{{- end }}
{{- if and .Values.models.readOnly (not .Values.models.existingClaim) }}
  {{- fail "models.readOnly is for models.existingClaim: a claim of the chart's has to be filled first." }}
{{- end }}
{{- if and .Values.models.readOnly (ne .Values.models.pull "no") }}
  {{- fail "models.readOnly contradicts models.pull: nothing can be downloaded into a read-only volume." }}
{{- end }}
{{- if gt (.Values.autoscaling.minReplicas | int) (.Values.autoscaling.maxReplicas | int) }}
  {{- fail "autoscaling.minReplicas is above autoscaling.maxReplicas." }}
{{- end }}
{{- if gt (.Values.autoscaling.workers.minReplicas | int) (.Values.autoscaling.workers.maxReplicas | int) }}
  {{- fail "autoscaling.workers.minReplicas is above autoscaling.workers.maxReplicas." }}
{{- end }}
{{- if and (eq .Values.autoscaling.kind "hpa") (eq (.Values.autoscaling.workers.minReplicas | int) 0) }}
  {{- fail "autoscaling.workers.minReplicas: 0 needs autoscaling.kind: keda; a HorizontalPodAutoscaler keeps one pod." }}
{{- end }}
{{- if and .Values.serviceMonitor.apiKey (not .Values.existingSecret) }}
  {{- fail "serviceMonitor.apiKey names a key of existingSecret, which is empty." }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
  {{- fail "ingress.enabled needs ingress.host: the name that callers use." }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.from) }}
  {{- if .Values.ingress.enabled }}
    {{- fail "ingress.enabled: the NetworkPolicy admits pods of this namespace only. Add the namespace of the ingress controller to networkPolicy.from." }}
  {{- end }}
  {{- if ne .Values.service.type "ClusterIP" }}
    {{- fail (printf "service.type: %s: the NetworkPolicy admits pods of this namespace only. Add who may come from outside to networkPolicy.from, for instance ipBlock: {cidr: 10.0.0.0/8}." .Values.service.type) }}
  {{- end }}
{{- end }}
{{- $grace := .Values.terminationGracePeriodSeconds | int }}
{{- if and $grace (lt $grace (include "tandem.leastGrace" . | int)) }}
  {{- fail (printf "terminationGracePeriodSeconds: %d is shorter than preStop, DRAIN_SECONDS and the end of engines together (%s): work under way would be cut off." $grace (include "tandem.leastGrace" .)) }}
{{- end }}
{{- end }}

{{/* Environment of a container. Wants the root context and `own`: settings that go before the others. */}}
{{- define "tandem.environment" -}}
{{- $root := .root }}
{{- $values := $root.Values }}
{{- $fixed := dict "HOST" "0.0.0.0" "PORT" "8080" "DATA_DIR" "/data" "MODELS_DIR" "/models" }}
{{- if $values.originals.existingClaim }}{{ $_ := set $fixed "BLOBS" "/originals" }}{{ end }}
{{- range $name, $value := merge (dict) (.own | default dict) $fixed $values.settings }}
- name: TANDEM_{{ $name }}
  {{- /* toJson: a number of a million would be written as 1e+06 otherwise */}}
  value: {{ (kindIs "string" $value | ternary $value ($value | toJson)) | quote }}
{{- end }}
{{- range $key := $values.secretKeys }}
- name: {{ $key }}
  valueFrom:
    secretKeyRef:
      name: {{ $values.existingSecret }}
      key: {{ $key }}
{{- end }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tandem.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
{{- if eq .Values.accelerator.kind "ascend" }}
supplementalGroups: [{{ .Values.accelerator.group }}]
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tandem.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What all pods of the service have in common. Wants the root context and `component`. */}}
{{- define "tandem.pod" -}}
{{- $root := .root }}
{{- $values := $root.Values }}
# Variables for every Service of the namespace are of no use here, and TANDEM_PORT may be among them.
enableServiceLinks: false
automountServiceAccountToken: false
terminationGracePeriodSeconds: {{ include "tandem.grace" $root }}
securityContext: {{- include "tandem.podSecurity" $root | nindent 2 }}
{{- with $values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
{{- with $values.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "tandem.selector" $root | nindent 8 }}
        app.kubernetes.io/component: {{ $.component }}
  {{- end }}
{{- end }}
{{- if has .component (list "node" "api") }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tandem.mounts" -}}
- {name: models, mountPath: /models{{ if .Values.models.readOnly }}, readOnly: true{{ end }}}
- {name: scratch, mountPath: /tmp, subPath: tmp}
- {name: scratch, mountPath: /home/tandem, subPath: home}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tandem.serviceMounts" -}}
- {name: data, mountPath: /data}
- {name: shared-memory, mountPath: /dev/shm}
{{- if .Values.originals.existingClaim }}
- {name: originals, mountPath: /originals}
{{- end }}
{{ include "tandem.mounts" . }}
{{- end }}

{{/* Volumes of a pod. Wants the root context and `claims`: names of those that claims of the pod's own give. */}}
{{- define "tandem.volumes" -}}
{{- $root := .root }}
{{- $values := $root.Values }}
- name: scratch
  emptyDir: {}
- name: shared-memory
  emptyDir: {medium: Memory, sizeLimit: 1Gi}
{{- if not (has "data" .claims) }}
- name: data
  emptyDir: {}
{{- end }}
{{- with include "tandem.modelsClaim" $root }}
- name: models
  persistentVolumeClaim: {claimName: {{ . }}{{ if $values.models.readOnly }}, readOnly: true{{ end }}}
{{- else }}
{{- if not (has "models" .claims) }}
- name: models
  emptyDir: {}
{{- end }}
{{- end }}
{{- with $values.originals.existingClaim }}
- name: originals
  persistentVolumeClaim: {claimName: {{ . }}}
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Names of what has to be downloaded, comma separated: a pair, or single models; a folder needs no download. */}}
{{- define "tandem.downloads" -}}
{{- $settings := .Values.settings }}
{{- $names := list }}
{{- if not (and $settings.EMBED_MODEL $settings.RERANK_MODEL) }}
  {{- $names = append $names ($settings.MODELS | default (eq .Values.accelerator.kind "none" | ternary "e5" "qwen3-0.6b")) }}
{{- end }}
{{- range $name := compact (list $settings.EMBED_MODEL $settings.RERANK_MODEL) }}
  {{- if not (hasPrefix "/" $name) }}{{ $names = append $names $name }}{{ end }}
{{- end }}
{{- join "," ($names | uniq) }}
{{- end }}

{{/* A container for each of them. */}}
{{- define "tandem.pulls" -}}
{{- range $index, $name := splitList "," (include "tandem.downloads" .) }}
- name: models-{{ $index }}
  image: {{ include "tandem.image" $ }}
  imagePullPolicy: {{ $.Values.image.pullPolicy }}
  args: [models, pull, {{ $name | quote }}]
  env: {{- include "tandem.environment" (dict "root" $) | trim | nindent 4 }}
  securityContext: {{- include "tandem.security" $ | nindent 4 }}
  volumeMounts: {{- include "tandem.mounts" $ | nindent 4 }}
{{- end }}
{{- end }}

{{- define "tandem.pullInit" -}}
{{- if and (eq .Values.models.pull "init") (include "tandem.downloads" .) }}
initContainers: {{- include "tandem.pulls" . | trim | nindent 2 }}
{{- end }}
{{- end }}

{{/* Probes of a node, or of a worker. Wants the root context and `port`: the name of the port that answers them. */}}
{{- define "tandem.probes" -}}
# The port is open within seconds, and models are loaded, or downloaded, behind it. So no probe ends a long
# download: the pod is not ready meanwhile, and /health/ready says how far it is.
startupProbe:
  httpGet: {path: /health/live, port: {{ .port }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ .root.Values.startup.failures }}
# Asks the process alone: what is away, a store or a node for instance, no restart brings back.
livenessProbe:
  httpGet: {path: /health/live, port: {{ .port }}}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /health/ready, port: {{ .port }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end }}

{{/* Container of a process that answers HTTP. */}}
{{- define "tandem.serving" -}}
ports:
  - {name: http, containerPort: 8080}
{{ include "tandem.probes" (dict "root" . "port" "http") | trim }}
lifecycle:
  preStop:
    exec:
      # Meanwhile the endpoints forget this pod, so that nobody sends it a request when it no longer takes any.
      command: [sleep, "5"]
securityContext: {{- include "tandem.security" . | nindent 2 }}
volumeMounts: {{- include "tandem.serviceMounts" . | nindent 2 }}
{{- end }}
