# Vault Agent for a service in any language: it logs in by AppRole, writes what Keyward publishes into a file, writes it anew when that
# changes, and has the service read it again.
#
#   vault agent -config=vault-agent.hcl
#
# Keyward has to know that it reads for others (`readers_via` of the secret), because what the service holds is not seen in the audit log:
#
#   readers_via = [{ name = "approle", within = "2m" }]      # the render interval, and the time that the reload takes

vault {
  address = "https://vault.example.com:8200"
  ca_cert = "/etc/app/vault-ca.pem"
}

auto_auth {
  method "approle" {
    mount_path = "auth/approle"
    config = {
      role_id_file_path                   = "/etc/app/role-id"
      secret_id_file_path                 = "/etc/app/secret-id"
      # The agent logs in again when its token has come to its end, so the file has to stay.
      remove_secret_id_file_after_reading = false
    }
  }
}

template_config {
  # A KV secret has no lease: this is how old what the service holds gets at most. Vault's own default is five minutes.
  static_secret_render_interval = "1m"
  # Better no agent, which the service manager starts again, than one that has given up.
  exit_on_retry_failure = true
}

template {
  destination          = "/run/app/database.env"
  perms                = "0600"
  error_on_missing_key = true
  contents             = <<EOT
{{- with secret "secret/data/backend/database" -}}
DATABASE_USER={{ .Data.data.username }}
DATABASE_PASSWORD={{ .Data.data.password }}
{{ end -}}
EOT
  exec {
    command = ["/usr/bin/systemctl", "reload", "app"]
    timeout = "30s"
  }
}
