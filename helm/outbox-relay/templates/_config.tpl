{{/* The settings in TOML: JSON's way to write texts, numbers, truth and lists is TOML's as well. */}}
{{- define "outbox-relay.config" -}}
{{- $http := merge (dict) (default (dict) .Values.config.http) (dict "host" "0.0.0.0") }}
{{- range $section, $settings := merge (dict "http" $http) .Values.config }}

[{{ $section }}]
{{- range $name, $value := $settings }}
{{- if not (kindIs "invalid" $value) }}
{{ $name }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "outbox-relay.port" -}}
{{- dig "http" "port" 9464 .Values.config | int }}
{{- end }}

{{/* Seconds from SIGTERM to SIGKILL: acknowledgements, marks and leases are each given the deadline of a shutdown. */}}
{{- define "outbox-relay.gracePeriod" -}}
{{- dig "delivery" "shutdown_timeout_s" 10 .Values.config | toString | float64 | mulf 3 | addf 5 | ceil | int }}
{{- end }}

{{- define "outbox-relay.checksums" -}}
checksum/config: {{ include "outbox-relay.config" . | sha256sum | quote }}
{{- end }}

{{/* For a Prometheus that goes by annotations. */}}
{{- define "outbox-relay.scrapeAnnotations" -}}
{{- if .Values.scrapeAnnotations }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ include "outbox-relay.port" . | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end }}

{{/* The ports of the NATS servers, as a YAML list: networkPolicy.nats.port, else those that the servers' addresses name. */}}
{{- define "outbox-relay.natsPorts" -}}
{{- $servers := dig "nats" "servers" (list) .Values.config }}
{{- range .Values.extraEnv }}
{{- if and (eq .name "RELAY_NATS__SERVERS") .value }}{{ $servers = .value }}{{ end }}
{{- end }}
{{- if kindIs "string" $servers }}{{ $servers = splitList "," $servers }}{{ end }}
{{- $ports := list }}
{{- range $servers }}
{{- $port := regexFind ":[0-9]+$" (. | trim | trimSuffix "/") | trimPrefix ":" | default "4222" | int }}
{{- $ports = append $ports $port }}
{{- end }}
{{- with .Values.networkPolicy.nats.port }}{{ $ports = list (int .) }}{{ end }}
{{- $ports | default (list 4222) | uniq | toJson }}
{{- end }}

{{/*
What secrets there are, as YAML: for each its Secret and key, its file below /run/secrets/outbox-relay, and the variable
that tells the relay so.
*/}}
{{- define "outbox-relay.secrets" -}}
{{- include "outbox-relay.secret" (list .Values.postgres.dsnSecret "key" "postgres/dsn" "RELAY_POSTGRES__DSN_FILE") }}
{{- include "outbox-relay.secret" (list .Values.postgres.bellDsnSecret "key" "postgres/bell-dsn" "RELAY_POSTGRES__BELL_DSN_FILE") }}
{{- include "outbox-relay.postgresTls" . }}
{{- include "outbox-relay.natsSecrets" (list .Values.nats .Values.nats.tlsSecret) }}
{{- end }}

{{/* From [who it is at NATS, tlsSecret]. */}}
{{- define "outbox-relay.natsSecrets" -}}
{{- with first . }}
{{- include "outbox-relay.secret" (list .credsSecret "key" "nats/creds" "RELAY_NATS__CREDS_FILE") }}
{{- include "outbox-relay.secret" (list .passwordSecret "key" "nats/password" "RELAY_NATS__PASSWORD_FILE") }}
{{- include "outbox-relay.secret" (list .tokenSecret "key" "nats/token" "RELAY_NATS__TOKEN_FILE") }}
{{- include "outbox-relay.secret" (list .nkeySeedSecret "key" "nats/nkey" "RELAY_NATS__NKEY_SEED_FILE") }}
{{- end }}
{{- with last . }}
{{- include "outbox-relay.secret" (list . "ca" "nats/ca.crt" "RELAY_NATS__TLS_CA_FILE") }}
{{- include "outbox-relay.secret" (list . "cert" "nats/tls.crt" "RELAY_NATS__TLS_CERT_FILE") }}
{{- include "outbox-relay.secret" (list . "key" "nats/tls.key" "RELAY_NATS__TLS_KEY_FILE") }}
{{- end }}
{{- end }}

{{/* From [reference, what of it names the key, file, variable]; nothing if there is no such Secret. */}}
{{- define "outbox-relay.secret" -}}
{{- $reference := index . 0 }}
{{- $key := index $reference (index . 1) }}
{{- if and $reference.name $key }}
- {secret: {{ $reference.name | quote }}, key: {{ $key | quote }}, path: {{ index . 2 }}, variable: {{ index . 3 | quote }}}
{{- end }}
{{- end }}

{{/* These the address names itself. */}}
{{- define "outbox-relay.postgresTls" -}}
{{- range $of, $path := dict "ca" "postgres/ca.crt" "cert" "postgres/tls.crt" "key" "postgres/tls.key" }}
{{- include "outbox-relay.secret" (list $.Values.postgres.tlsSecret $of $path "") }}
{{- end }}
{{- end }}

{{/*
The same for a Job or a test, which needs PostgreSQL alone: from [context, reference ...], of which the first with a name
counts.
*/}}
{{- define "outbox-relay.otherSecrets" -}}
{{- $reference := dict "name" "" }}
{{- range reverse (rest .) }}
{{- if .name }}{{ $reference = . }}{{ end }}
{{- end }}
{{- include "outbox-relay.secret" (list $reference "key" "postgres/dsn" "RELAY_POSTGRES__DSN_FILE") }}
{{- include "outbox-relay.postgresTls" (first .) }}
{{- end }}

{{/* Those of the console: it looks with an address of its own if there is one, and lets people in by its tokens. */}}
{{- define "outbox-relay.consoleSecrets" -}}
{{- include "outbox-relay.otherSecrets" (list . .Values.console.readerDsnSecret .Values.postgres.dsnSecret) }}
{{- include "outbox-relay.natsSecrets" (list .Values.nats .Values.nats.tlsSecret) }}
{{- with .Values.console }}
{{- include "outbox-relay.secret" (list .operatorDsnSecret "key" "console/operator-dsn" "RELAY_CONSOLE__OPERATOR_DSN_FILE") }}
{{- include "outbox-relay.secret" (list .tokensSecret "reader" "console/reader-token" "RELAY_CONSOLE__READER_TOKEN_FILE") }}
{{- include "outbox-relay.secret" (list .tokensSecret "operator" "console/operator-token" "RELAY_CONSOLE__OPERATOR_TOKEN_FILE") }}
{{- include "outbox-relay.secret" (list .proxySecret "key" "console/proxy-secret" "RELAY_CONSOLE__PROXY_SECRET_FILE") }}
{{- end }}
{{- end }}

{{- define "outbox-relay.consolePort" -}}
{{- dig "console" "port" 9465 .Values.config | int }}
{{- end }}

{{/* Secrets as a volume, from [context, list of secrets]. */}}
{{- define "outbox-relay.secretsVolume" -}}
{{- $root := index . 0 }}
{{- $mode := $root.Values.secretsMode }}
{{- if kindIs "invalid" $mode }}
{{- $mode = ternary 0444 0440 (eq $root.Values.mode "sidecar") }}
{{- end }}
- name: outbox-relay-secrets
  projected:
    defaultMode: {{ printf "0%o" (int $mode) }}
    sources:
      {{- range index . 1 }}
      - secret:
          name: {{ .secret | quote }}
          items:
            - key: {{ .key | quote }}
              path: {{ .path }}
      {{- end }}
{{- end }}

{{/* The volumes of a pod with the relay in it. */}}
{{- define "outbox-relay.volumes" -}}
{{- include "outbox-relay.configVolume" . }}
{{- with include "outbox-relay.secrets" . | fromYamlArray }}
{{ include "outbox-relay.secretsVolume" (list $ .) | trim }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "outbox-relay.configVolume" -}}
- name: outbox-relay-config
  configMap:
    name: {{ include "outbox-relay.fullname" . | quote }}
{{- end }}
