{{/*
What of the relay's settings the schema cannot say, and the relay refuses at its start: texts of a wrong form, and settings
that do not go together. A YAML list of sentences, as those of _checks.tpl. tests/packaging/chart/test_settings.py holds them
to relay/config.
*/}}
{{- define "outbox-relay.settingFaults" -}}
{{- $known := .Files.Get "files/settings.json" | fromJson }}
{{- $settings := deepCopy .Values.config }}
{{- $places := dict }}
{{- range .Values.extraEnv }}
{{- $path := splitList "__" (lower .name | trimPrefix "relay_") }}
{{- if and (hasPrefix "RELAY_" (upper .name)) (eq (len $path) 2) (hasKey . "value") }}
{{- $_ := set $settings (first $path) (merge (dict (last $path) .value) (get $settings (first $path) | default (dict))) }}
{{- $_ := set $places (join "." $path) (printf "extraEnv %s" .name) }}
{{- end }}
{{- end }}
{{- range $of, $variables := dict "extraEnv" .Values.extraEnv "projections.extraEnv" .Values.projections.extraEnv }}
{{- range $variables }}
{{- $path := splitList "__" (lower .name | trimPrefix "relay_") }}
{{- if and (hasPrefix "RELAY_" (upper .name)) (not (has (last $path) (get $known (first $path) | default list))) (ne (upper .name) "RELAY_CONFIG") }}
- {{ printf "%s %s: the relay has no such setting" $of .name | toJson }}
{{- end }}
{{- end }}
{{- end }}
{{- range $setting, $kind := include "outbox-relay.settingKinds" . | fromYaml }}
{{- $path := splitList "." $setting }}
{{- $place := get $places $setting | default (printf "config.%s" $setting) }}
{{- $value := dig (first $path) (last $path) nil $settings }}
{{- if not (kindIs "invalid" $value) }}
{{- $listed := hasSuffix "..." $kind }}
{{- $texts := list $value }}
{{- if kindIs "slice" $value }}
{{- $texts = $value }}
{{- else if $listed }}
{{- $texts = list }}
{{- range splitList "," $value }}{{ with trim . }}{{ $texts = append $texts . }}{{ end }}{{ end }}
{{- end }}
{{- range $texts }}
{{- with include (printf "outbox-relay.fault.%s" (trimSuffix "..." $kind)) (toString .) }}
- {{ printf "%s: %s" $place . | toJson }}
{{- end }}
{{- end }}
{{- if and (eq $setting "stream.subjects") (not $texts) }}
- {{ printf "%s: must name at least one" $place | toJson }}
{{- end }}
{{- end }}
{{- end }}
{{- if not .Values.extraEnvFrom }}
{{- include "outbox-relay.togetherFaults" $settings }}
{{- end }}
{{- end }}

{{/* The settings whose form is looked at, and by which of the templates below; dots: each text of a list. */}}
{{- define "outbox-relay.settingKinds" -}}
postgres.table: table
nats.servers: server...
subject.template: template
subject.allow: pattern...
headers.allow_nats: natsHeader...
failures.dead_subject: subject
stream.subjects: pattern...
watermark.subject: place
console.hosts: host...
console.base_path: path
console.trusted_proxies: network...
console.user_header: header
console.groups_header: header
{{- end }}

{{/* From the settings by section: what is refused only beside another one. */}}
{{- define "outbox-relay.togetherFaults" -}}
{{- $most := dig "delivery" "buffer_events" 8000 . | int64 }}
{{- range $name, $events := dict "fetch_batch" (dig "delivery" "fetch_batch" 1000 . | int64) "window" (dig "delivery" "window" 1000 . | int64) "atomic_batch * atomic_in_flight" (mul (dig "delivery" "atomic_batch" 1000 . | int64) (dig "delivery" "atomic_in_flight" 3 . | int64)) }}
{{- if gt $events $most }}
- "config.delivery: {{ $name }} ({{ $events }}) must not be larger than buffer_events ({{ $most }})"
{{- end }}
{{- end }}
{{- if gt (dig "failures" "backoff_base_s" 1 . | float64) (dig "failures" "backoff_max_s" 300 . | float64) }}
- "config.failures: backoff_base_s must not be larger than backoff_max_s"
{{- end }}
{{- if gt (dig "failures" "hold_base_s" 0.5 . | float64) (dig "failures" "hold_max_s" 15 . | float64) }}
- "config.failures: hold_base_s must not be larger than hold_max_s"
{{- end }}
{{- $age := dig "stream" "max_age_s" 0 . | float64 }}
{{- $window := dig "stream" "duplicate_window_s" 120 . | float64 }}
{{- if and (gt $age 0.0) (lt $age $window) }}
- "config.stream: duplicate_window_s must not be larger than max_age_s"
{{- end }}
{{- if and (eq (dig "stream" "manage" false . | toString) "true") (ge (dig "delivery" "ack_timeout_s" 5 . | float64) $window) }}
- "config.delivery.ack_timeout_s must be smaller than config.stream.duplicate_window_s: what is sent again after the window would be stored twice"
{{- end }}
{{- if ne (empty (dig "nats" "tls_cert_file" "" .)) (empty (dig "nats" "tls_key_file" "" .)) }}
- "config.nats: tls_cert_file and tls_key_file go together"
{{- end }}
{{- $ways := list }}
{{- range $name, $value := dict "user" (dig "nats" "user" "" .) "token_file" (dig "nats" "token_file" "" .) "nkey_seed_file" (dig "nats" "nkey_seed_file" "" .) "creds_file" (dig "nats" "creds_file" "" .) }}
{{- if $value }}{{ $ways = append $ways $name }}{{ end }}
{{- end }}
{{- if gt (len $ways) 1 }}
- "config.nats: {{ join " and " $ways }} exclude each other"
{{- end }}
{{- end }}

{{/* Each of these takes a text, and says what is wrong with it, if anything is. */}}
{{- define "outbox-relay.fault.table" -}}
{{- if not (regexMatch "^([a-z_][a-z0-9_]{0,47}\\.)?[a-z_][a-z0-9_]{0,47}$" .) -}}
table "{{ . }}": must be a plain lower-case name, or schema.name
{{- else if gt (len .) 63 -}}
table "{{ . }}": must not be longer than 63 characters
{{- end }}
{{- end }}

{{/* A server may hold a password: it is not shown. */}}
{{- define "outbox-relay.fault.server" -}}
{{- $port := regexFind ":[0-9]+/?$" . | trimSuffix "/" | trimPrefix ":" }}
{{- $number := regexReplaceAll "^0+" $port "" | default "0" | int64 }}
{{- $formed := regexMatch "^(?i:nats|tls)://([^]\\[/?#]*@)?(\\[[0-9A-Fa-f:.]+(%[^]\\[/?#@\\s]+)?\\]|[^]\\[/?#@:\\s]+)(:[0-9]*)?/?$" . }}
{{- if or (not $formed) (and $port (or (lt $number 1) (gt $number 65535))) -}}
each server must look like nats://host:4222 or tls://host:4222
{{- if contains "@" . }}, and a password be percent-encoded: %2F for /, %23 for #, %3F for ?{{ end }}
{{- end }}
{{- end }}

{{- define "outbox-relay.fault.pattern" -}}
{{- if or (not (regexMatch "^[!-~]+$" .)) (regexMatch "^\\.|\\.\\.|\\.$|(^|\\.)>\\." .) -}}
{{ . | quote }} is no NATS subject pattern, such as orders.* or orders.>
{{- end }}
{{- end }}

{{- define "outbox-relay.fault.subject" -}}
{{- if gt (len .) 1024 -}}
the subject is longer than 1024 bytes
{{- else if and . (not (regexMatch "^[!-)+-=?-~]+$" .)) -}}
the subject holds a space, a wildcard, a control or a non-ASCII character
{{- else if regexMatch "^\\.|\\.\\.|\\.$" . -}}
the subject holds an empty token
{{- else if regexMatch "^(\\$|_INBOX)" . -}}
the subject is reserved for the server
{{- end }}
{{- end }}

{{- define "outbox-relay.fault.template" -}}
{{- $fields := regexFindAll "\\{\\w*\\}" . -1 }}
{{- $unknown := without $fields "{topic}" "{key}" }}
{{- if $unknown -}}
unknown field {{ first $unknown }}: only {topic} and {key} are known
{{- else if not $fields -}}
must contain {topic} or {key}
{{- else -}}
{{- include "outbox-relay.fault.subject" (regexReplaceAll "\\{\\w*\\}" . "x") }}
{{- end }}
{{- end }}

{{/* A subject to publish on, or the place of a key in a bucket. */}}
{{- define "outbox-relay.fault.place" -}}
{{- with include "outbox-relay.fault.subject" (trimPrefix "$KV." .) }}
{{- . }}
{{- else }}
{{- if regexMatch "^\\$KV\\.[^.]*$" . -}}
a place in a bucket looks like $KV.bucket.key
{{- end }}
{{- end }}
{{- end }}

{{- define "outbox-relay.fault.natsHeader" -}}
{{- if not (regexMatch "^(?i)nats-[a-z0-9-]+$" .) -}}
{{ . | quote }} is no header that begins with Nats-
{{- end }}
{{- end }}

{{- define "outbox-relay.fault.header" -}}
{{- if not (regexMatch "^[A-Za-z0-9-]+$" .) -}}
{{ . | quote }} is no name of a header
{{- end }}
{{- end }}

{{- define "outbox-relay.fault.host" -}}
{{- if not (regexMatch "^[A-Za-z0-9.:_-]+$" .) -}}
{{ . | quote }} is no name of a host, without scheme, port and path
{{- end }}
{{- end }}

{{/* Numbers and signs alone; whether they are an address is left to the relay. */}}
{{- define "outbox-relay.fault.network" -}}
{{- if not (regexMatch "^[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]*(%[^/]+)?(/[0-9.]+)?$" .) -}}
{{ . | quote }} is no address or network such as 10.0.0.0/8
{{- end }}
{{- end }}

{{- define "outbox-relay.fault.path" -}}
{{- if not (regexMatch "^(/[A-Za-z0-9._-]+)*/*$" .) -}}
must look like /relay or /tools/relay
{{- end }}
{{- end }}
