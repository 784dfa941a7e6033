{{- define "tandem.name" -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{- end }}

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

{{- define "tandem.environment" -}}
- name: TANDEM_HOST
  value: "0.0.0.0"
- name: TANDEM_DATA_DIR
  value: /data
- name: TANDEM_MODELS_DIR
  value: /models
{{- range $name, $value := .Values.settings }}
- name: TANDEM_{{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}

{{- define "tandem.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
