# One of three Vault nodes that share a Raft log: vault-1. The three files differ in names and addresses only.
#
# The certificates come from `keyward tls issue vault-1.example.com --dns vault.example.com`. Initialise one node, once; the others join it by
# themselves (retry_join) and are then unsealed each with the same shares: `keyward unseal` does all nodes of the configuration. What is
# typed, in which order, stands in docs/cluster.md.

ui           = false
cluster_name = "vault"
api_addr     = "https://vault-1.example.com:8200"
cluster_addr = "https://vault-1.example.com:8201"

# Raft keeps its memory in mapped files, which mlock would pin; switch swap off on the host instead.
disable_mlock = true

storage "raft" {
  path    = "/vault/file"
  node_id = "vault-1"

  # For production, says Vault: a leader that is gone is replaced within seconds. The default bears slow disks and takes five times as long.
  performance_multiplier = 1

  retry_join {
    leader_api_addr     = "https://vault-2.example.com:8200"
    leader_ca_cert_file = "/vault/tls/ca.pem"
  }

  retry_join {
    leader_api_addr     = "https://vault-3.example.com:8200"
    leader_ca_cert_file = "/vault/tls/ca.pem"
  }
}

listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "0.0.0.0:8201"
  tls_cert_file   = "/vault/tls/vault-1.example.com.pem"
  tls_key_file    = "/vault/tls/vault-1.example.com.key"
  tls_min_version = "tls12"
}

telemetry {
  # Far longer than the scrape interval: a value that expires between two scrapes is a hole in the graph.
  prometheus_retention_time = "24h"
  disable_hostname          = true
}
