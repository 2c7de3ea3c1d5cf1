{{/* What the schema cannot say: values that do not go together. Nothing is made if one is found; all are said at once. */}}
{{- define "outbox-relay.checks" -}}
{{- $faults := concat (include "outbox-relay.addressFaults" . | fromYamlArray) (include "outbox-relay.settingFaults" . | fromYamlArray) (include "outbox-relay.secretFaults" . | fromYamlArray) (include "outbox-relay.podFaults" . | fromYamlArray) (include "outbox-relay.addOnFaults" . | fromYamlArray) (include "outbox-relay.projectionFaults" . | fromYamlArray) (include "outbox-relay.consoleFaults" . | fromYamlArray) | uniq }}
{{- if $faults }}
{{- fail (printf "\n\n%s\n" (join "\n" $faults)) }}
{{- end }}
{{- end }}

{{/* Each of these gives a YAML list of sentences. */}}
{{- define "outbox-relay.addressFaults" -}}
{{- $inEnv := list }}
{{- range .Values.extraEnv }}{{ $inEnv = append $inEnv .name }}{{ end }}
{{- $elsewhere := or .Values.extraEnvFrom (has "RELAY_POSTGRES__DSN" $inEnv) (has "RELAY_POSTGRES__DSN_FILE" $inEnv) (has "PGHOST" $inEnv) (has "PGSERVICE" $inEnv) (dig "postgres" "dsn_file" "" .Values.config) }}
{{- if not (or .Values.postgres.dsnSecret.name $elsewhere) }}
- "postgres.dsnSecret.name: name the Secret with the address of PostgreSQL"
{{- end }}
{{- if and .Values.migration.enabled (not (or .Values.migration.dsnSecret.name .Values.postgres.dsnSecret.name $elsewhere)) }}
- "migration.dsnSecret.name: name the Secret with the address of the table's owner, or set migration.enabled to false"
{{- end }}
{{- if not (or (dig "nats" "servers" "" .Values.config) .Values.extraEnvFrom (has "RELAY_NATS__SERVERS" $inEnv)) }}
- "config.nats.servers: name the NATS servers, such as nats://nats:4222"
{{- end }}
{{- if eq (dig "http" "enabled" true .Values.config) false }}
- "config.http.enabled: must stay true: the probes ask there"
{{- end }}
{{- if has (dig "http" "host" "0.0.0.0" .Values.config) (list "127.0.0.1" "localhost" "::1") }}
- "config.http.host: the probes do not come over loopback; leave it out, or take 0.0.0.0 or ::"
{{- end }}
{{- end }}

{{- define "outbox-relay.secretFaults" -}}
{{- range $section, $names := dict "postgres" (dict "dsn" "dsnSecret" "bell_dsn" "bellDsnSecret") "nats" (dict "password" "passwordSecret" "token" "tokenSecret") }}
{{- range $name, $reference := $names }}
{{- if dig $section $name "" $.Values.config }}
- "config.{{ $section }}.{{ $name }}: a secret does not belong in values; put it into a Secret and name that in {{ $section }}.{{ $reference }}"
{{- end }}
{{- end }}
{{- end }}
{{- if contains "@" (dig "nats" "servers" "" .Values.config | toString) }}
- "config.nats.servers: a secret does not belong in values; put the user into config.nats.user, and the password or the token into a Secret that nats.passwordSecret or nats.tokenSecret names"
{{- end }}
{{- range list (list "postgres" "dsnSecret" "dsn_file") (list "postgres" "bellDsnSecret" "bell_dsn_file") (list "nats" "credsSecret" "creds_file") (list "nats" "passwordSecret" "password_file") (list "nats" "tokenSecret" "token_file") (list "nats" "nkeySeedSecret" "nkey_seed_file") }}
{{- $reference := index $.Values (index . 0) (index . 1) }}
{{- if and $reference.name (dig (index . 0) (index . 2) "" $.Values.config) }}
- "config.{{ index . 0 }}.{{ index . 2 }} and {{ index . 0 }}.{{ index . 1 }} exclude each other"
{{- end }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if and (eq .name "RELAY_NATS__SERVERS") (contains "@" (.value | default "")) }}
- "extraEnv RELAY_NATS__SERVERS: a secret does not belong in values; take valueFrom.secretKeyRef"
{{- end }}
{{- if and (has .name (list "RELAY_POSTGRES__DSN" "RELAY_POSTGRES__BELL_DSN" "RELAY_NATS__PASSWORD" "RELAY_NATS__TOKEN" "PGPASSWORD")) .value }}
- "extraEnv {{ .name }}: a secret does not belong in values; take valueFrom.secretKeyRef"
{{- end }}
{{- end }}
{{- $nats := .Values.nats }}
{{- $identities := list }}
{{- range $name, $is := dict "nats.credsSecret" $nats.credsSecret.name "nats.passwordSecret" $nats.passwordSecret.name "nats.tokenSecret" $nats.tokenSecret.name "nats.nkeySeedSecret" $nats.nkeySeedSecret.name }}
{{- if $is }}{{ $identities = append $identities $name }}{{ end }}
{{- end }}
{{- if gt (len $identities) 1 }}
- "{{ join " and " $identities }} exclude each other: the relay is one user"
{{- end }}
{{- if and $nats.passwordSecret.name (not (dig "nats" "user" "" .Values.config)) }}
- "nats.passwordSecret: say whose it is in config.nats.user"
{{- end }}
{{- if and (dig "nats" "user" "" .Values.config) (not (or $nats.passwordSecret.name (dig "nats" "password_file" "" .Values.config) .Values.extraEnv .Values.extraEnvFrom)) }}
- "config.nats.user: name the Secret with the password in nats.passwordSecret"
{{- end }}
{{- range $of, $reference := dict "postgres" .Values.postgres.tlsSecret "nats" .Values.nats.tlsSecret }}
{{- if and $reference.name (ne (empty $reference.cert) (empty $reference.key)) }}
- "{{ $of }}.tlsSecret: cert and key go together"
{{- end }}
{{- end }}
{{- end }}

{{- define "outbox-relay.podFaults" -}}
{{- with .Values.terminationGracePeriodSeconds }}
{{- if lt (int .) (include "outbox-relay.gracePeriod" $ | int) }}
- "terminationGracePeriodSeconds: {{ . }} s are fewer than the {{ include "outbox-relay.gracePeriod" $ }} that config.delivery.shutdown_timeout_s asks for: lower that one first"
{{- end }}
{{- end }}
{{- with .Values.podDisruptionBudget }}
{{- if .enabled }}
{{- $min := not (kindIs "invalid" .minAvailable) }}
{{- $max := not (kindIs "invalid" .maxUnavailable) }}
{{- if and $min $max }}
- "podDisruptionBudget: minAvailable and maxUnavailable exclude each other"
{{- else if and $min (not (kindIs "string" .minAvailable)) (ge (int .minAvailable) (int $.Values.replicaCount)) }}
- "podDisruptionBudget.minAvailable: with {{ .minAvailable }} of {{ $.Values.replicaCount }} relays no node can ever be drained"
{{- else if and $max (has (toString .maxUnavailable) (list "0" "0%")) }}
- "podDisruptionBudget.maxUnavailable: with none no node can ever be drained"
{{- end }}
{{- end }}
{{- end }}
{{- if eq .Values.mode "sidecar" }}
{{- range $name := list "podDisruptionBudget" "networkPolicy" "service" }}
{{- if (index $.Values $name).enabled }}
- "{{ $name }}.enabled: in a sidecar the pods are the application's; let its chart say this"
{{- end }}
{{- end }}
{{- range $name := list "extraContainers" "scrapeAnnotations" }}
{{- if index $.Values $name }}
- "{{ $name }}: in a sidecar the pods are the application's; let its chart say this"
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "outbox-relay.addOnFaults" -}}
{{- if and (eq .Values.mode "sidecar") .Values.podMonitor.enabled (not .Values.podMonitor.matchLabels) }}
- "podMonitor.matchLabels: which pods have the sidecar?"
{{- end }}
{{- if .Values.prometheusRule.enabled }}
{{- $known := list }}
{{- range (.Files.Get "files/rules.yaml" | fromYaml).groups }}
{{- range .rules }}{{ if .alert }}{{ $known = append $known .alert }}{{ end }}{{ end }}
{{- end }}
{{- range .Values.prometheusRule.excludeRules }}
{{- if not (has . $known) }}
- "prometheusRule.excludeRules: there is no alert {{ . }}"
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "outbox-relay.consoleFaults" -}}
{{- if .Values.console.enabled }}
{{- $auth := dig "console" "auth" "token" .Values.config }}
{{- $tokens := .Values.console.tokensSecret }}
{{- if eq .Values.mode "sidecar" }}
- "console.enabled: in a sidecar the pods are the application's; install the console on its own"
{{- end }}
{{- if eq $auth "link" }}
- "config.console.auth: a link lets in on loopback alone; leave it out, or take proxy"
{{- end }}
{{- if and (eq $auth "token") (not (and $tokens.name (or $tokens.reader $tokens.operator))) }}
- "console.tokensSecret.name: name the Secret with the tokens, or set config.console.auth to proxy"
{{- end }}
{{- if and (eq $auth "proxy") (not (dig "console" "trusted_proxies" "" .Values.config)) }}
- "config.console.trusted_proxies: which addresses may name a user?"
{{- end }}
{{- range $name := list "reader_token_file" "operator_token_file" "proxy_secret_file" "operator_dsn_file" "write" "host" }}
{{- if dig "console" $name "" $.Values.config }}
- "config.console.{{ $name }}: comes from the values of console"
{{- end }}
{{- end }}
{{- end }}
{{- end }}
