{{/* The container of the relay, without its name's place in a list. */}}
{{- define "outbox-relay.container" -}}
name: outbox-relay
image: {{ include "outbox-relay.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [relay]
args: [run]
env:
  - name: RELAY_CONFIG
    value: /etc/outbox-relay/config.toml
  {{- include "outbox-relay.secretsEnv" (include "outbox-relay.secrets" . | fromYamlArray) | trim | nindent 2 }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - name: relay-http
    containerPort: {{ include "outbox-relay.port" . }}
    protocol: TCP
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  {{- include "outbox-relay.configMount" . | nindent 2 }}
  {{- if include "outbox-relay.secrets" . }}
  {{- include "outbox-relay.secretsMount" . | nindent 2 }}
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
livenessProbe:
  {{- include "outbox-relay.probe" (list "/healthz" .Values.probes.liveness) | nindent 2 }}
{{- end }}

{{- define "outbox-relay.probe" -}}
httpGet:
  path: {{ first . }}
  port: relay-http
{{ toYaml (last .) }}
{{- end }}

{{- define "outbox-relay.secretsEnv" -}}
{{- range . }}
{{- if .variable }}
- name: {{ .variable }}
  value: /run/secrets/outbox-relay/{{ .path }}
{{- end }}
{{- end }}
{{- end }}

{{- define "outbox-relay.configMount" -}}
- name: outbox-relay-config
  mountPath: /etc/outbox-relay
  readOnly: true
{{- end }}

{{- define "outbox-relay.secretsMount" -}}
- name: outbox-relay-secrets
  mountPath: /run/secrets/outbox-relay
  readOnly: true
{{- end }}

{{/*
The relay beside an application: an item of its initContainers (sidecar.native) or of its containers. The context is that
of this chart: (index .Subcharts "outbox-relay"). No startup probe: the application may be the one that makes the table.
*/}}
{{- define "outbox-relay.sidecar" -}}
{{- include "outbox-relay.checks" . -}}
- {{ include "outbox-relay.container" . | nindent 2 | trim }}
  resources:
    {{- toYaml .Values.sidecar.resources | nindent 4 }}
  {{- if .Values.sidecar.readinessProbe }}
  readinessProbe:
    {{- include "outbox-relay.probe" (list "/readyz" .Values.probes.readiness) | nindent 4 }}
  {{- end }}
  {{- if .Values.sidecar.native }}
  restartPolicy: Always
  {{- end }}
{{- end }}

{{/*
The specification of a pod that runs one command and ends: from {context, args, secrets, config}. Without `config` it uses
nothing that the chart makes: it may run before that is there.
*/}}
{{- define "outbox-relay.commandPod" -}}
{{- $root := .context -}}
restartPolicy: Never
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: relay
    image: {{ include "outbox-relay.image" $root | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    command: [relay]
    args: {{ toJson .args }}
    {{- $env := include "outbox-relay.secretsEnv" .secrets | trim }}
    {{- if or $env $root.Values.extraEnv .config }}
    env:
      {{- if .config }}
      - name: RELAY_CONFIG
        value: /etc/outbox-relay/config.toml
      {{- end }}
      {{- with $env }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- with $root.Values.extraEnv }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- end }}
    {{- with $root.Values.extraEnvFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    resources:
      {{- toYaml $root.Values.resources | nindent 6 }}
    securityContext:
      {{- toYaml $root.Values.securityContext | nindent 6 }}
    {{- if or .secrets $root.Values.extraVolumeMounts .config }}
    volumeMounts:
      {{- if .config }}
      {{- include "outbox-relay.configMount" $root | nindent 6 }}
      {{- end }}
      {{- if .secrets }}
      {{- include "outbox-relay.secretsMount" $root | nindent 6 }}
      {{- end }}
      {{- with $root.Values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- end }}
{{- if or .secrets $root.Values.extraVolumes .config }}
volumes:
  {{- if .config }}
  {{- include "outbox-relay.configVolume" $root | nindent 2 }}
  {{- end }}
  {{- if .secrets }}
  {{- include "outbox-relay.secretsVolume" (list $root .secrets) | trim | nindent 2 }}
  {{- end }}
  {{- with $root.Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}
