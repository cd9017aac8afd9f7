# What Keyward's token may do, for config/keyward.toml: nothing by wildcard over other people's secrets, no sudo, no delete.
#
#   vault policy write keyward config/keyward.hcl
#   vault write auth/approle/role/keyward token_policies=keyward token_period=1h secret_id_bound_cidrs=HOST/32 token_bound_cidrs=HOST/32
#
# `token_period` lets the token be renewed without end; without it, it dies at the system's maximum and rotations stop.
# Nobody else should have a policy over `keyward/`: it holds the new values while a rotation is under way.

# Keyward's own records: the lock, the memory, and the new value while it is staged. Its own mount, so a wildcard is safe. The canary
# reads below `keyward/data/canary/`, where nothing stands: a call that is made to be found again in the audit log.
path "keyward/data/*" {
  capabilities = ["create", "read", "update"]
}

# Versions of a record that held values are destroyed when the rotation is finished. The record itself is never deleted.
path "keyward/destroy/*" {
  capabilities = ["update"]
}

# `keyward check` warns if the mount lets versions expire.
path "keyward/config" {
  capabilities = ["read"]
}

# backend-database: read what is published, change the named fields only (patch). No `update`: a whole overwrite is not
# possible (Vault refuses it). `create` makes the path if it does not exist yet; leave it out once it does.
path "secret/data/backend/database" {
  capabilities = ["create", "read", "patch"]
}

# Number and time of the last rotation, for people who look at the secret; nothing depends on it.
path "secret/metadata/backend/database" {
  capabilities = ["read", "patch"]
}

# session-signing, the same.
path "secret/data/backend/jwt" {
  capabilities = ["create", "read", "patch"]
}

path "secret/metadata/backend/jwt" {
  capabilities = ["read", "patch"]
}

# orders-database, the same.
path "secret/data/orders/database" {
  capabilities = ["create", "read", "patch"]
}

path "secret/metadata/orders/database" {
  capabilities = ["read", "patch"]
}

# ... see for how long a lease may live, and that the tokens that mint them outlive Keyward's own.
path "database/roles/orders" {
  capabilities = ["read"]
}

path "auth/token/roles/keyward-orders" {
  capabilities = ["read"]
}

# ... make such a token for each rotation: it can do what its role's policy says, and nothing else.
path "auth/token/create/keyward-orders" {
  capabilities = ["update"]
}

# ... and keep the token and its lease alive, and end both. An accessor or a lease id has to be known for that; they stand in the records.
path "auth/token/renew-accessor" {
  capabilities = ["update"]
}

path "auth/token/revoke-accessor" {
  capabilities = ["update"]
}

path "sys/leases/lookup" {
  capabilities = ["update"]
}

path "sys/leases/renew" {
  capabilities = ["update"]
}

path "sys/leases/revoke" {
  capabilities = ["update"]
}

# vault-database-root: see whose password it is, and give Vault a new one. This connection by name: whoever may write others can point
# them elsewhere.
path "database/config/postgres" {
  capabilities = ["read", "update"]
}

# ... prove it by a canary that is leased, logs in, and is revoked.
path "database/roles/canary" {
  capabilities = ["read"]
}

path "database/creds/canary" {
  capabilities = ["read"]
}

# With method = "rotate-root" also:
# path "database/rotate-root/postgres" {
#   capabilities = ["update"]
# }

# session-cache, the same.
path "secret/data/backend/cache" {
  capabilities = ["create", "read", "patch"]
}

path "secret/metadata/backend/cache" {
  capabilities = ["read", "patch"]
}

# token-signing, the same, and its public keys.
path "secret/data/backend/token-keys" {
  capabilities = ["create", "read", "patch"]
}

path "secret/metadata/backend/token-keys" {
  capabilities = ["read", "patch"]
}

path "secret/data/public/token-keys" {
  capabilities = ["create", "read", "patch"]
}

# webhook-signing, the same.
path "secret/data/common/webhook" {
  capabilities = ["create", "read", "patch"]
}

path "secret/metadata/common/webhook" {
  capabilities = ["read", "patch"]
}

# openai, the same.
path "secret/data/integrations/openai" {
  capabilities = ["create", "read", "patch"]
}

path "secret/metadata/integrations/openai" {
  capabilities = ["read", "patch"]
}

# reporting: see that it is a static role and when it was last rotated.
path "database/static-roles/reporting" {
  capabilities = ["read"]
}

# ... rotate it. This role by name: a wildcard here could change every password of the engine.
path "database/rotate-role/reporting" {
  capabilities = ["update"]
}

# ... and log in with the new password, which is the proof that it was rotated.
path "database/static-creds/reporting" {
  capabilities = ["read"]
}

# orders-encryption: which version is the newest, a new one, and a probe that proves it. No key can be read this way.
path "transit/keys/orders" {
  capabilities = ["read"]
}

path "transit/keys/orders/rotate" {
  capabilities = ["update"]
}

path "transit/encrypt/orders" {
  capabilities = ["update"]
}

path "transit/decrypt/orders" {
  capabilities = ["update"]
}

# Only with `keep_versions`: close old versions.
# path "transit/keys/orders/config" {
#   capabilities = ["update"]
# }

# billing-login: the role's settings and id, a new secret id, finding one by its accessor, ending the old one.
path "auth/approle/role/billing" {
  capabilities = ["read"]
}

path "auth/approle/role/billing/role-id" {
  capabilities = ["read"]
}

path "auth/approle/role/billing/secret-id" {
  capabilities = ["update", "list"]
}

path "auth/approle/role/billing/secret-id/lookup" {
  capabilities = ["update"]
}

path "auth/approle/role/billing/secret-id-accessor/lookup" {
  capabilities = ["update"]
}

path "auth/approle/role/billing/secret-id-accessor/destroy" {
  capabilities = ["update"]
}

path "secret/data/billing/approle" {
  capabilities = ["create", "read", "patch"]
}

path "secret/metadata/billing/approle" {
  capabilities = ["read", "patch"]
}

# Its own token: how long it lives, to renew it at two thirds, to give it back at the end, and to say what it may not do.
# Vault's `default` policy has these; they stand here for roles with `token_no_default_policy`.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}

path "sys/capabilities-self" {
  capabilities = ["update"]
}

# How the audit device writes Keyward's own token, so that Keyward's calls count neither as use of a secret nor as a stranger's.
path "sys/audit-hash/file" {
  capabilities = ["update"]
}

# How many leases Vault could not revoke: a number, no ids.
path "sys/leases/count" {
  capabilities = ["read"]
}

# Optional: see that an audit device exists and where it writes. It needs sudo; without it `check` says "cannot see", no more.
# path "sys/audit" {
#   capabilities = ["read", "sudo"]
# }

# Optional: signatures under the evidence over the audit log, for `sign = "transit/keyward-audit"` in [audit.evidence].
# path "transit/sign/keyward-audit" {
#   capabilities = ["update"]
# }
# path "transit/verify/keyward-audit" {
#   capabilities = ["update"]
# }
