//! The catalogue: every trouble that `doctor` (and `check`) can name, with what it means and the cure that is safe.
//!
//! Invariant: no cure asks for a root token, turns TLS off, or makes anything live longer than it should.

use serde::{Serialize, Serializer};

/// One line per trouble: how it is called in the code and for people, what it means, what to do.
macro_rules! troubles {
    ($($name:ident $id:literal $means:literal $cure:literal;)*) => {
        /// A trouble that has a name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Trouble {
            $(#[doc = $means] $name,)*
        }

        impl Trouble {
            /// All of them, in the catalogue's order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name: `vault-sealed`. It never changes its meaning.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// What it means, in a sentence.
            pub const fn means(self) -> &'static str {
                match self { $(Self::$name => $means,)* }
            }

            /// What to do, where nothing closer is known.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)* }
            }
        }
    };
}

troubles! {
    VaultNameUnresolved "vault-name-unresolved" "The host of an address has no entry in DNS or `/etc/hosts`, as seen from this machine." "Mend the name in `[vault]`, or the resolver; between containers the name is the service's, and both must share a network.";
    VaultUnreachable "vault-unreachable" "Nothing accepts connections at the address, or nothing answers in time." "See that the server runs, that it listens there and not on loopback only, and that no firewall stands between.";
    VaultTlsPlain "vault-tls-plain" "One side speaks plain HTTP and the other TLS." "Write `https://` where the server speaks TLS; where it does not, give it a certificate (`tls_cert_file`, `tls_key_file` of the listener).";
    VaultTlsUntrusted "vault-tls-untrusted" "The server's certificate is signed by nobody whom this machine trusts." "Name the authority that signed it: `ca_cert` in `[vault]`.";
    VaultTlsName "vault-tls-name" "The certificate is in order, but does not name the host of the address." "Use a name that the certificate has, or issue one that has this name too.";
    VaultTlsExpired "vault-tls-expired" "The server's certificate is over." "Issue a new one, put it in the old one's place, and send Vault SIGHUP: it need not be restarted, and stays unsealed.";
    VaultCertificateEnding "vault-certificate-ending" "The server's certificate ends soon; then nobody is let in any more." "Issue a new one, put it in the old one's place, and send Vault SIGHUP: it need not be restarted, and stays unsealed.";
    VaultSealed "vault-sealed" "The server runs, but has lost the key to its data, as after every restart." "`keyward unseal` with the shares of as many people as the threshold says; nothing is lost.";
    VaultUninitialised "vault-uninitialised" "The server has no data at all: it is new, or its storage is another one than before." "If it should hold data: look which storage it was started with, and initialise nothing. If it is new: `keyward init`.";
    VaultRemoved "vault-removed" "The node was removed from its Raft cluster and has sealed itself; no share opens it." "If it was meant, take the node out of `[[vault.node]]`. If not: stop it, empty its storage folder (the other nodes have the data), start it, and unseal it when it has joined.";
    VaultStandby "vault-standby" "The address leads to a standby node, whatever stands in front of it." "Have the load balancer ask `/v1/sys/health`, which answers 200 on the active node alone, or name the address of the service and not that of a node.";
    VaultSecondary "vault-secondary" "The address leads to a disaster-recovery secondary, which serves nobody." "Name the primary cluster.";
    RedirectUnresolved "redirect-unresolved" "The node tells others to come to an address (`api_addr`) whose host has no entry, as seen from this machine." "Set `api_addr` in that node's server file to an address that clients and nodes can resolve.";
    ClockSkew "clock-skew" "This machine's clock and the server's differ: times of expiry and of the audit log mislead, and rotations are held." "Set both by NTP (`chronyc tracking`).";
    StorageWithoutSnapshot "storage-without-snapshot" "The server's storage is `file` or `inmem`: one copy, no snapshots, no second node; `inmem` forgets everything at a restart." "Move to integrated storage (`vault operator migrate` to `raft`) while the server is stopped, and take snapshots.";
    TlsOff "tls-off" "A listener of the server is without TLS (`tls_disable`)." "Give the listener `tls_cert_file` and `tls_key_file`, and then only remove `tls_disable`.";
    MetricsOff "metrics-off" "The server keeps no metrics for Prometheus (`prometheus_retention_time` is 0)." "Set `prometheus_retention_time` in `telemetry` of the server file to some scrapes' time, such as \"1h\".";
    MetricsRetention "metrics-retention" "The server forgets metrics sooner than they are scraped: series come and go, and alerts on them do not fire." "Set `prometheus_retention_time` to several times the scrape interval.";
    LeaseLimit "lease-limit" "A dynamic role promises a longer life than its mount allows: credentials end sooner than their users think." "Lower the role's `max_ttl` to what the mount allows, and have services renew and fetch anew.";
    LeasePileUp "lease-pile-up" "A dynamic role has more living leases than it has users: something mints credentials in a loop, each a user in the database." "Find who reads it (`keyward paths`), have it keep and renew one lease, and revoke its old ones.";
    TokenUnreadable "token-unreadable" "The file or variable with Keyward's token or ids yields nothing." "Put it there, readable for the daemon's user alone.";
    LoginRefused "login-refused" "Vault refuses the AppRole's ids." "Give it a new secret id: `keyward approle rotate`; see that mount and role are those of `[vault] auth`.";
    TokenDead "token-dead" "The token has expired or was revoked; nothing can renew it." "Make a new one: `keyward token create`, better an AppRole, by which the daemon logs in again by itself.";
    TokenRoot "token-root" "Keyward works with a root token: whoever takes it owns Vault." "Give Keyward a token or an AppRole with its own policy (`keyward policy keyward`), then end the root token.";
    TokenUses "token-uses" "The token can be used a few more times only." "Make one without a limit of uses: `keyward token create`.";
    TokenNotRenewable "token-not-renewable" "The token ends at a fixed time, and rotations with it." "Make a periodic one: `keyward token create --policy keyward`.";
    TokenHardLimit "token-hard-limit" "The token has an `explicit_max_ttl`: it dies then, renewed or not." "Make one without: `keyward token create --policy keyward`.";
    TokenWithoutPeriod "token-without-period" "The token can be renewed up to the server's maximum only." "Make a periodic one: `keyward token create --policy keyward`.";
    PersonalRoot "personal-root" "Your own token (`VAULT_TOKEN`, `~/.vault-token`) is a root token." "Work with what `keyward policy admin` prints, and end the root token: `keyward token revoke --self`.";
    RightMissing "right-missing" "The token lacks a right that the configuration needs; a wrong policy looks like this." "Add the line that is shown, or write the whole policy: `keyward policy keyward`.";
    RightUnknown "right-unknown" "The token may not ask what it may do." "Add the line that is shown.";
    DataPrefixMissing "data-prefix-missing" "A policy names a secret as `vault kv` does; Vault's API has `data/` behind the mount, and that path is denied." "Write the path with `data/` (and `metadata/` where lists are needed) into the policy.";
    PolicyAbsent "policy-absent" "A token names a policy that does not exist: it grants nothing." "Write that policy, or make the token with the one that was meant.";
    PolicyGlob "policy-glob" "A policy's path has `*` in its middle, where it is a plain character: the line grants nothing." "Write `+` for one part of a path; `*` stands for anything at the end only.";
    PathNear "path-near" "A configured path does not exist, and one that is almost the same does." "Mend the path, or publish there first.";
    SecretDeleted "secret-deleted" "What stood at a configured path was deleted; its versions may still be there." "Undelete the version that is shown.";
    NothingPublished "nothing-published" "Nothing is published at a configured path, and a person has to begin." "As shown: a first rotation or a first value.";
    MountVersion "mount-version" "A configured path lies in a mount that is no KV version 2." "Upgrade it (`vault kv enable-versioning MOUNT`), or publish elsewhere.";
    MountMissing "mount-missing" "A configured path lies in a mount that does not exist." "As shown; `keyward init` makes it.";
    RecordsMissing "records-missing" "The mount of Keyward's records does not exist, or the token may do nothing there." "As shown; `keyward init` makes it.";
    RecordsPlace "records-place" "The mount of Keyward's records is of the wrong kind, or lies where others may read." "Give Keyward a mount of its own, as shown.";
    RecordsExpire "records-expire" "The mount lets records expire or keeps one version: a lock and a memory that vanish." "As shown.";
    SecretFileOpen "secret-file-open" "A file with a password or token can be read by others than its owner." "`chmod 600` it, and replace the value if others had the time to read it.";
    TlsUnverified "tls-unverified" "The configuration says `insecure`: tokens and secrets are exposed to whoever is on the network." "Name the authority in `ca_cert`, use `https://`, and remove `insecure` and `skip_verify`.";
    DatabaseUnreachable "database-unreachable" "Nobody answers at the database's address." "See that it runs and listens there; the address in `login` and `admin` is as seen from this machine.";
    DatabaseTls "database-tls" "The database's certificate is not trusted, does not name the host, or TLS is not spoken there." "Name its authority (`sslrootcert`), and a host that the certificate has.";
    DatabaseName "database-name" "The server is there, but has no database of this name." "Mend the name in the URL, or create it.";
    DatabaseRefused "database-refused" "The database refuses the login: the password is not the one that it knows." "`keyward reconcile NAME` for a published value; for an administrator put the right password into its file.";
    DatabaseTrust "database-trust" "The database lets anybody in without asking for the password." "Have `pg_hba.conf` ask for `scram-sha-256` on this way.";
    DatabasePreflight "database-preflight" "The administrator cannot do what a rotation needs." "As shown.";
    FenceMissing "fence-missing" "The function that keeps an old rotation from undoing a later one is not installed." "`keyward init postgres NAME`.";
    RoleKind "role-kind" "The role is dynamic (each read makes a user), or there is no static role of this name; only a static role can be rotated." "Name a static role, or make one; for a dynamic role there is the kind `vault-dynamic-lease`.";
    RoleSchedule "role-schedule" "Vault rotates the static role on a schedule of its own." "Give the role a `rotation_period` far longer than the schedule here.";
    EngineUserShared "engine-user-shared" "Vault's own login in the database is a user that somebody else uses too: when Vault rotates it, that one is locked out." "Give Vault's connection a user of its own (`keyward init` makes one), and only then rotate it.";
    RotationPaused "rotation-paused" "A person paused the rotation of a secret." "`keyward resume NAME` when the reason is gone.";
    RotationStuck "rotation-stuck" "A rotation stands still until somebody removes the cause." "Remove the cause that is shown, then `keyward resume NAME`.";
    ValueDiverged "value-diverged" "Vault and the target disagree about a value." "`keyward reconcile NAME`.";
    AuditDeviceMissing "audit-device-missing" "Vault has no audit device: nothing is recorded." "`vault audit enable file file_path=/var/log/vault/audit.log`, on a disk with room and with a rotation of the file.";
    AuditRaw "audit-raw" "An audit device writes secrets in clear (`log_raw`)." "Enable another without it, disable this one, and replace what its log has seen.";
    AuditLogUnset "audit-log-unset" "No audit log is followed: who reads what goes unseen." "Name it in `[[vault.node]]`: `audit_log`.";
    AuditLogMissing "audit-log-missing" "A configured audit log does not exist, or is no file that can be read." "Enable the device with this path on that node, or mend the path.";
    AuditLogSilent "audit-log-silent" "Calls to Vault leave no line in the configured audit log: Vault writes elsewhere, or to a file that was moved away." "Name the file that the device writes (`vault audit list -detailed`); after moving a log away send Vault SIGHUP.";
    AuditDiskFull "audit-disk-full" "The disk with the audit log is nearly full; when it is, Vault answers no request." "Free space or rotate the logs with SIGHUP now; never delete the file that Vault holds open.";
    KeysLying "keys-lying" "A file holds unseal keys or a root token in clear: whoever reads it owns Vault." "Give each share to one person, destroy the file (`shred -u`), rekey (`vault operator rekey`), and revoke the root token.";
    PlainValues "plain-values" "A plain file holds values that are also in Vault and in use." "Have the service read Vault, rotate the value (`keyward rotate NAME`), and destroy the file.";
    TokenInFile "token-in-file" "A `.env` file holds a Vault token." "Give the service an AppRole or an agent's token file, remove the line, and revoke the token.";
    VaultSwitchedOff "vault-switched-off" "A `.env` file says `VAULT_ENABLED=false`: that service does not read Vault, whatever is rotated there." "Switch it on, and remove the values that it falls back to.";
    ServerFilesMixed "server-files-mixed" "A folder holds several server files with a storage of their own; `vault server -config=FOLDER` merges them, and the last one wins." "Keep one server file per folder, or name the file.";
    AlertsUnset "alerts-unset" "There is no way to people: nobody is told." "Write `[alert.smtp]`, `[alert.webhook]` or `[alert.alertmanager]`.";
    AlertWayBroken "alert-way-broken" "A way to people does not answer." "Mend it, then `keyward alert test`.";
    DaemonDown "daemon-down" "No daemon runs on this configuration: nothing is rotated, renewed or watched." "Start it (`keyward serve`), by a service manager that restarts it.";
    StateFolder "state-folder" "The daemon's folder cannot be used, or another Keyward has it." "As shown.";
    PortTaken "port-taken" "The port for metrics and health is somebody else's." "See who has it (`ss -ltnp`), or name another in `[http] listen`.";
}

impl Serialize for Trouble {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_trouble_has_one_name_and_a_safe_cure() {
        let ids: BTreeSet<&str> = Trouble::ALL.iter().map(|t| t.id()).collect();
        assert_eq!(ids.len(), Trouble::ALL.len());
        for trouble in Trouble::ALL {
            assert!(trouble.id().chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{trouble:?}");
            let cure = trouble.cure().to_lowercase();
            for unsafe_word in
                ["use the root", "use a root", "with a root token", "tls_disable = ", "-tls-skip-verify", "vault_skip_verify", "--insecure"]
            {
                assert!(!cure.contains(unsafe_word), "{trouble:?}: {cure}");
            }
        }
    }

    #[test]
    fn the_page_says_what_the_code_says() {
        let page_on_disk = include_str!("../../../../../docs/doctor.md");
        let rows: String = page_on_disk.lines().filter(|line| line.starts_with("| `")).map(|line| format!("{line}\n")).collect();
        let catalogue: String = Trouble::ALL.iter().map(|t| format!("| `{}` | {} | {} |\n", t.id(), t.means(), t.cure())).collect();
        assert_eq!(rows, catalogue, "docs/doctor.md and the catalogue differ");
    }
}
