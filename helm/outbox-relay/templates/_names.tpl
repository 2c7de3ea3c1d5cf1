{{- define "outbox-relay.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* The name of what is made; short enough for the suffixes -migrate and -round-trip. */}}
{{- define "outbox-relay.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What selects the pods of this release. Quoted: a release may be called 1234567. */}}
{{- define "outbox-relay.selectorLabels" -}}
app.kubernetes.io/name: {{ include "outbox-relay.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/*
The labels of one object, from [context, component, further labels ...]; an empty component is left out. A key that is
given more than once is written once: the chart's own go first, since selectors depend on them, then the further ones in
their order, then commonLabels.
*/}}
{{- define "outbox-relay.labels" -}}
{{- $context := index . 0 }}
{{- $labels := include "outbox-relay.selectorLabels" $context | fromYaml }}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" $context.Chart.Name $context.Chart.Version | replace "+" "_") }}
{{- $_ := set $labels "app.kubernetes.io/version" $context.Chart.AppVersion }}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $context.Release.Service }}
{{- with index . 1 }}
{{- $_ := set $labels "app.kubernetes.io/component" . }}
{{- end }}
{{- range slice . 2 }}
{{- $labels = merge $labels (default (dict) .) }}
{{- end }}
{{- merge $labels (default (dict) $context.Values.commonLabels) | toYaml }}
{{- end }}

{{/* The annotations of one object, from [those that go first, further ones ...]: each key once. */}}
{{- define "outbox-relay.annotations" -}}
{{- $annotations := dict }}
{{- range . }}
{{- $annotations = merge $annotations (default (dict) .) }}
{{- end }}
{{- toYaml $annotations }}
{{- end }}

{{- define "outbox-relay.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "outbox-relay.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "outbox-relay.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}
