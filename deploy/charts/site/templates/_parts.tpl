{{- define "site.labels" -}}
app.kubernetes.io/name: silosynth
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "site.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: 20
# One user for both: what separates them is that neither mounts what is the other's, and one has no network.
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10000
  fsGroup: 10000
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "site.container" -}}
image: {{ .Values.image | quote }}
imagePullPolicy: {{ .Values.imagePullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "site.claim" -}}
{{ .Values.home.existingClaim | default (printf "%s-site" .Release.Name | trunc 52) }}
{{- end }}

{{- define "site.probes" -}}
startupProbe:
  exec: &alive {command: [python3, -I, /opt/silosynth/alive.py, {{ . }}]}
  timeoutSeconds: 10
  periodSeconds: 5
  failureThreshold: 60
livenessProbe:
  exec: *alive
  timeoutSeconds: 10
  periodSeconds: 30
  failureThreshold: 5
{{- end }}
