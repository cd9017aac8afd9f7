//! Every metric's name, in one place. Labels are bounded: never a path, an identity, an address or an error's text.

use super::registry::{Family, Type};

macro_rules! families {
    ($($(#[doc = $help:literal])+ $constant:ident: $kind:ident $name:literal [$($label:literal),*];)*) => {
        $($(#[doc = $help])+ pub const $constant: Family =
            Family { name: $name, help: concat!($($help),+).trim_ascii(), kind: Type::$kind, labels: &[$($label),*] };)*
        /// Every family.
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    /// Rotations that ended, by outcome.
    ROTATIONS: Counter "keyward_rotations_total" ["secret", "class", "outcome"];
    /// How long rotations took.
    ROTATION_SECONDS: Histogram "keyward_rotation_seconds" ["class"];
    /// How long the steps of rotations took.
    STEP_SECONDS: Histogram "keyward_rotation_step_seconds" ["step"];
    /// Failed tries of steps, by reason.
    FAILURES: Counter "keyward_rotation_failures_total" ["step", "reason"];
    /// The configured secrets.
    SECRET_INFO: Gauge "keyward_secret_info" ["secret", "class", "kind"];
    /// When the last proved rotation finished; 0 before the first.
    LAST_SUCCESS: Gauge "keyward_secret_last_success_timestamp_seconds" ["secret", "class"];
    /// When the next slot is due.
    NEXT_DUE: Gauge "keyward_secret_next_due_timestamp_seconds" ["secret", "class"];
    /// Whether the last proved success is older than the schedule allows, judged apart from the planner.
    OVERDUE: Gauge "keyward_secret_overdue" ["secret", "class"];
    /// What the secret's record says.
    SECRET_STATE: Gauge "keyward_secret_state" ["secret", "class", "state"];
    /// Failures in a row since the last success.
    CONSECUTIVE_FAILURES: Gauge "keyward_secret_consecutive_failures" ["secret", "class"];
    /// Older values that are still to be retired or removed.
    RETIRE_PENDING: Gauge "keyward_secret_retire_pending" ["secret", "class"];
    /// Whether what consumers read was accepted when it was last proved; 1 until a proof was refused.
    CREDENTIAL_VALID: Gauge "keyward_credential_valid" ["secret", "class"];
    /// Proofs of what consumers read, by result.
    PROOFS: Counter "keyward_proofs_total" ["secret", "class", "result"];
    /// What each Vault node is, as polled.
    NODE_STATE: Gauge "keyward_vault_node_state" ["node", "state"];
    /// Whether the node answered the last probe.
    PROBE_SUCCESS: Gauge "keyward_vault_probe_success" ["node"];
    /// When the node was last probed.
    PROBE_TIMESTAMP: Gauge "keyward_vault_probe_timestamp_seconds" ["node"];
    /// How long the last probe took.
    PROBE_DURATION: Gauge "keyward_vault_probe_duration_seconds" ["node"];
    /// Our clock minus the node's, at the last probe.
    CLOCK_SKEW: Gauge "keyward_vault_clock_skew_seconds" ["node"];
    /// When the node's TLS certificate ends; absent where none was seen.
    CERTIFICATE_EXPIRY: Gauge "keyward_vault_certificate_expiry_timestamp_seconds" ["node"];
    /// Remaining life of Keyward's own token; -1 when not known.
    TOKEN_TTL: Gauge "keyward_vault_token_ttl_seconds" [];
    /// Renewals of Keyward's own token.
    TOKEN_RENEWALS: Counter "keyward_vault_token_renewals_total" ["result"];
    /// Whether TLS verification is switched off or plain HTTP is used beyond loopback.
    INSECURE: Gauge "keyward_vault_insecure" [];
    /// Calls in the audit log: each counted once.
    AUDIT_ENTRIES: Counter "keyward_audit_entries_total" ["node", "operation", "mount", "mount_type", "result"];
    /// Failed calls in the audit log, by reason.
    AUDIT_ERRORS: Counter "keyward_audit_errors_total" ["node", "reason"];
    /// Lines read from the audit log, by kind.
    AUDIT_LINES: Counter "keyward_audit_lines_total" ["node", "kind"];
    /// Lines that could not be understood, by reason.
    AUDIT_BAD_LINES: Counter "keyward_audit_bad_lines_total" ["node", "reason"];
    /// From the request's line to the response's, by the server's clock.
    AUDIT_SECONDS: Histogram "keyward_audit_call_seconds" ["node", "mount_type"];
    /// Requests without response (the server died, was blocked or sealed) and responses without request (it stands before the log began).
    AUDIT_UNMATCHED: Counter "keyward_audit_unmatched_total" ["node", "kind"];
    /// The time of the last entry read.
    AUDIT_LAST_ENTRY: Gauge "keyward_audit_last_entry_timestamp_seconds" ["node"];
    /// From the last entry's own time to the moment it was counted.
    AUDIT_LAG_SECONDS: Gauge "keyward_audit_lag_seconds" ["node"];
    /// From Keyward's last canary, a call made to be found again, to the moment its line was counted.
    AUDIT_CANARY_LAG: Gauge "keyward_audit_canary_lag_seconds" ["node"];
    /// Canaries that the node answered.
    AUDIT_CANARIES_SENT: Counter "keyward_audit_canaries_answered_total" ["node"];
    /// Canaries that were found in the node's audit log.
    AUDIT_CANARIES_FOUND: Counter "keyward_audit_canaries_found_total" ["node"];
    /// Bytes of the audit log not yet read.
    AUDIT_LAG_BYTES: Gauge "keyward_audit_lag_bytes" ["node"];
    /// Renames of the audit file that were followed.
    AUDIT_ROTATIONS: Counter "keyward_audit_file_rotations_total" ["node"];
    /// Truncations of the audit file that were noticed.
    AUDIT_TRUNCATIONS: Counter "keyward_audit_file_truncations_total" ["node"];
    /// Places in the audit log where lines may be missing.
    AUDIT_GAPS: Counter "keyward_audit_gaps_total" ["node"];
    /// Whether the audit file can be read.
    AUDIT_READABLE: Gauge "keyward_audit_file_readable" ["node"];
    /// Free share of the disk with the audit log, from 0 to 1; absent until it was measured.
    AUDIT_FREE: Gauge "keyward_audit_filesystem_free_ratio" ["node"];
    /// What the rules saw in the audit log.
    FINDINGS: Counter "keyward_findings_total" ["rule", "severity"];
    /// Alerts that are not resolved.
    ALERTS_FIRING: Gauge "keyward_alerts_firing" ["severity"];
    /// Tries to deliver notices.
    DELIVERIES: Counter "keyward_alert_deliveries_total" ["channel", "result"];
    /// Notices that wait to be delivered.
    OUTBOX_PENDING: Gauge "keyward_alert_outbox_pending" [];
    /// When a notice was last delivered; 0 before the first.
    LAST_DELIVERY: Gauge "keyward_alert_last_delivery_timestamp_seconds" ["channel"];
    /// When the newest backup of Vault in the watched folder was made; 0 where there is none, or no folder is watched.
    BACKUP_LAST: Gauge "keyward_backup_last_success_timestamp_seconds" [];
    /// Whether that backup is older than the configuration wants, missing, or not to be seen.
    BACKUP_OVERDUE: Gauge "keyward_backup_overdue" [];
    /// The program.
    BUILD_INFO: Gauge "keyward_build_info" ["version"];
    /// When the daemon started.
    START: Gauge "keyward_start_timestamp_seconds" [];
    /// Whether everything that the daemon needs has been reached since its start.
    READY: Gauge "keyward_ready" [];
    /// When the planner last looked: a scheduler that stands still is seen here.
    PLANNER_TICK: Gauge "keyward_planner_last_tick_timestamp_seconds" [];
    /// Whether the last reading of the configuration was accepted.
    RELOAD_OK: Gauge "keyward_config_last_reload_successful" [];
    /// Readings of the configuration after the start.
    RELOADS: Counter "keyward_config_reloads_total" ["result"];
    /// Tasks that ended and were started again.
    TASK_RESTARTS: Counter "keyward_task_restarts_total" ["task"];
}
