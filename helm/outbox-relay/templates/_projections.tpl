{{- define "outbox-relay.projectionsName" -}}
{{- printf "%s-projections" (include "outbox-relay.fullname" .) }}
{{- end }}

{{/* The ConfigMap with the definitions: the one that the values make, or one that is there; empty if there is neither. */}}
{{- define "outbox-relay.projectionsFiles" -}}
{{- with .Values.projections }}
{{- if .existingConfigMap }}
{{- .existingConfigMap }}
{{- else if .files }}
{{- printf "%s-files" (include "outbox-relay.projectionsName" $) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "outbox-relay.projectionsPort" -}}
{{- dig "projection_http" "port" 9466 .Values.config | int }}
{{- end }}

{{- define "outbox-relay.projectionsAccount" -}}
{{- with .Values.projections.serviceAccount }}
{{- if .create }}
{{- default (include "outbox-relay.projectionsName" $) .name }}
{{- else }}
{{- default "default" .name }}
{{- end }}
{{- end }}
{{- end }}

{{- define "outbox-relay.projectionsSelector" -}}
{{ include "outbox-relay.selectorLabels" . }}
app.kubernetes.io/component: projections
{{- end }}

{{/* "own" if the runners have a user of NATS of their own, empty if they are the relays'. */}}
{{- define "outbox-relay.projectionsUser" -}}
{{- with .Values.projections.nats }}
{{- if or .credsSecret.name .passwordSecret.name .tokenSecret.name .nkeySeedSecret.name }}own{{ end }}
{{- end }}
{{- end }}

{{/* As "outbox-relay.secrets": the read models' database, NATS as for the relays, and Redis. */}}
{{- define "outbox-relay.projectionsSecrets" -}}
{{- include "outbox-relay.secret" (list .Values.projections.dsnSecret "key" "postgres/dsn" "RELAY_POSTGRES__DSN_FILE") }}
{{- include "outbox-relay.postgresTls" . }}
{{- $identity := ternary .Values.projections.nats .Values.nats (ne "" (include "outbox-relay.projectionsUser" .)) }}
{{- include "outbox-relay.natsSecrets" (list $identity .Values.nats.tlsSecret) }}
{{- include "outbox-relay.secret" (list .Values.projections.redisUrlSecret "key" "redis/url" "RELAY_REDIS__URL_FILE") }}
{{- end }}

{{- define "outbox-relay.projectionsProbe" -}}
httpGet:
  path: {{ first . }}
  port: projection-http
{{ toYaml (last .) }}
{{- end }}

{{/* A YAML list of sentences, as those of _checks.tpl. */}}
{{- define "outbox-relay.projectionFaults" -}}
{{- if dig "redis" "url" "" .Values.config }}
- "config.redis.url: a secret does not belong in values; put it into a Secret and name that in projections.redisUrlSecret"
{{- end }}
{{- with .Values.projections }}
{{- if .enabled }}
{{- $inEnv := list }}
{{- range .extraEnv }}{{ $inEnv = append $inEnv .name }}{{ end }}
{{- if not (or .files .existingConfigMap .classes) }}
- "projections.files: give the definitions, or name a ConfigMap with them in projections.existingConfigMap"
{{- end }}
{{- if and .files .existingConfigMap }}
- "projections.files and projections.existingConfigMap exclude each other"
{{- end }}
{{- if not (or .dsnSecret.name (has "RELAY_POSTGRES__DSN" $inEnv) (has "RELAY_POSTGRES__DSN_FILE" $inEnv) (has "PGHOST" $inEnv) (has "PGSERVICE" $inEnv)) }}
- "projections.dsnSecret.name: name the Secret with the address of the read models' database"
{{- end }}
{{- $identities := list }}
{{- range $name, $is := dict "credsSecret" .nats.credsSecret.name "passwordSecret" .nats.passwordSecret.name "tokenSecret" .nats.tokenSecret.name "nkeySeedSecret" .nats.nkeySeedSecret.name }}
{{- if $is }}{{ $identities = append $identities (printf "projections.nats.%s" $name) }}{{ end }}
{{- end }}
{{- if gt (len $identities) 1 }}
- "{{ join " and " $identities }} exclude each other: a runner is one user"
{{- end }}
{{- if ne (empty .nats.passwordSecret.name) (empty .nats.user) }}
- "projections.nats: user and passwordSecret go together"
{{- end }}
{{- range .extraEnv }}
{{- if and (has .name (list "RELAY_POSTGRES__DSN" "RELAY_NATS__PASSWORD" "RELAY_NATS__TOKEN" "RELAY_REDIS__URL" "PGPASSWORD")) .value }}
- "projections.extraEnv {{ .name }}: a secret does not belong in values; take valueFrom.secretKeyRef"
{{- end }}
{{- end }}
{{- if eq (dig "projection_http" "enabled" true $.Values.config) false }}
- "config.projection_http.enabled: must stay true: the probes ask there"
{{- end }}
{{- if has (dig "projection_http" "host" "0.0.0.0" $.Values.config) (list "127.0.0.1" "localhost" "::1") }}
- "config.projection_http.host: the probes do not come over loopback; leave it out, or take 0.0.0.0 or ::"
{{- end }}
{{- end }}
{{- end }}
{{- end }}
