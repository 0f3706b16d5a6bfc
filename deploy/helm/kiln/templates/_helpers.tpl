{{- define "kiln.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What pods are found by; it may never change. Takes the chart's context and a part. */}}
{{- define "kiln.selector" -}}
app.kubernetes.io/name: kiln
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "kiln.labels" -}}
{{ include "kiln.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "kiln.image" -}}
{{ printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) | quote }}
{{- end -}}

{{/* The settings of a part: the file of the chart, or all of it from the values. */}}
{{- define "kiln.serverSettings" -}}
{{ .Values.server.settings | default (.Files.Get "files/kiln.toml") }}
{{- end -}}

{{- define "kiln.agentSettings" -}}
{{ .Values.agent.settings | default (.Files.Get "files/kiln-agent.toml") }}
{{- end -}}

{{/* Where agents find the server. */}}
{{- define "kiln.serverUrl" -}}
{{- if .Values.agent.server -}}
{{ .Values.agent.server }}
{{- else -}}
{{ ternary "https" "http" (not (empty .Values.server.tlsSecret)) }}://{{ include "kiln.name" . }}-server:{{ .Values.server.service.port }}
{{- end -}}
{{- end -}}
