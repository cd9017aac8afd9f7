# A Vault server as Keyward likes it: storage that survives, TLS, metrics. compose.yaml uses this file as it is.
#
# For a cluster: one file per node with its own node_id and addresses, and a `retry_join` block in `storage` for each of
# the others. Name the file, not its folder (`-config=/etc/vault/vault.hcl`): a folder's files are merged, two listeners and all.
#
# Vault enables audit devices by API only, so once, after the first unseal:
#   vault audit enable file file_path=/vault/logs/audit.log mode=0640
# The mode lets Keyward's group read the file. Enable a second device on another disk: when no device can write, Vault answers
# no request at all. Rotate by rename and SIGHUP, never by copytruncate:
#   /vault/logs/audit.log { daily rotate 30 missingok notifempty nocreate delaycompress compress postrotate kill -HUP $(pidof vault) endscript }

ui           = false
cluster_name = "vault"
api_addr     = "https://vault:8200"
cluster_addr = "https://vault:8201"

# Raft keeps its memory in mapped files, which mlock would pin; switch swap off on the host instead.
disable_mlock = true

# A lease that nobody renews is gone after a day; nothing lives longer than 32.
default_lease_ttl = "24h"
max_lease_ttl     = "768h"

storage "raft" {
  path    = "/vault/file"
  node_id = "vault"
}

listener "tcp" {
  address         = "0.0.0.0:8200"
  tls_cert_file   = "/vault/tls/vault.pem"
  tls_key_file    = "/vault/tls/vault.key"
  tls_min_version = "tls12"
}

# Metrics, on a port of their own, without a token and therefore also while Vault is sealed. A scraper's token would have to
# be renewed by somebody, and would be refused just when the seal is to be seen. Let only Prometheus reach this port.
listener "tcp" {
  address         = "0.0.0.0:8210"
  cluster_address = "0.0.0.0:8211"
  tls_cert_file   = "/vault/tls/vault.pem"
  tls_key_file    = "/vault/tls/vault.key"
  tls_min_version = "tls12"

  telemetry {
    unauthenticated_metrics_access = true
  }
}

telemetry {
  # Far longer than the scrape interval: a value that expires between two scrapes is a hole in the graph.
  prometheus_retention_time = "24h"
  disable_hostname          = true
}
