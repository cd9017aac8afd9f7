//! Which rules there are and what they are set to. Never an evaluation.

use jiff::SignedDuration;

use crate::finding::Severity;
use crate::rules::allow::Allow;
use crate::rules::hours::Hours;

/// A rule. Each stands for one question a person would ask of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleId {
    /// A root token was used, whatever for.
    RootTokenUsed,
    /// A root token was made by another token.
    RootTokenCreated,
    /// A token was made that outlives its maker.
    OrphanTokenCreated,
    /// A policy was written or deleted.
    PolicyChanged,
    /// An auth method was enabled, tuned or disabled.
    AuthMethodChanged,
    /// A secrets engine was mounted, tuned, moved or unmounted.
    MountChanged,
    /// An audit device, or what is logged of headers, was changed.
    AuditDeviceChanged,
    /// Many refused calls from one address or by one identity.
    DeniedBurst,
    /// Many failed logins from one address or for one user.
    LoginFailures,
    /// A managed secret was read by an identity that has not read it before.
    SecretReadByStranger,
    /// A managed secret was written, undeleted or redefined by somebody else than Keyward.
    SecretChangedByStranger,
    /// A managed secret, what stands below it, or the mount it is in was deleted or destroyed, by whomever.
    SecretDeleted,
    /// One identity, or one address, read many different paths.
    MassRead,
    /// One identity, or one address, listed or tried many different paths.
    Enumeration,
    /// An identity that is known came from an address that is not.
    NewSourceAddress,
    /// A managed secret, or a path that the configuration names, was used outside the hours that the configuration names.
    AccessOffHours,
    /// Somebody asked for the server to be sealed.
    SealRequested,
    /// Somebody asked the active node to step down.
    StepDownRequested,
    /// Somebody works on generating a root token from the unseal keys.
    GenerateRoot,
    /// Somebody works on replacing the unseal or recovery keys.
    Rekey,
    /// Raw storage or a whole snapshot was accessed.
    RawAccess,
}

impl RuleId {
    /// All of them, so that series can exist from the start.
    pub const ALL: [Self; 21] = [
        Self::RootTokenUsed,
        Self::RootTokenCreated,
        Self::OrphanTokenCreated,
        Self::PolicyChanged,
        Self::AuthMethodChanged,
        Self::MountChanged,
        Self::AuditDeviceChanged,
        Self::DeniedBurst,
        Self::LoginFailures,
        Self::SecretReadByStranger,
        Self::SecretChangedByStranger,
        Self::SecretDeleted,
        Self::MassRead,
        Self::Enumeration,
        Self::NewSourceAddress,
        Self::AccessOffHours,
        Self::SealRequested,
        Self::StepDownRequested,
        Self::GenerateRoot,
        Self::Rekey,
        Self::RawAccess,
    ];

    /// The name in configuration, labels and findings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RootTokenUsed => "root-token-used",
            Self::RootTokenCreated => "root-token-created",
            Self::OrphanTokenCreated => "orphan-token-created",
            Self::PolicyChanged => "policy-changed",
            Self::AuthMethodChanged => "auth-method-changed",
            Self::MountChanged => "mount-changed",
            Self::AuditDeviceChanged => "audit-device-changed",
            Self::DeniedBurst => "denied-burst",
            Self::LoginFailures => "login-failures",
            Self::SecretReadByStranger => "secret-read-by-stranger",
            Self::SecretChangedByStranger => "secret-changed-by-stranger",
            Self::SecretDeleted => "secret-deleted",
            Self::MassRead => "mass-read",
            Self::Enumeration => "enumeration",
            Self::NewSourceAddress => "new-source-address",
            Self::AccessOffHours => "access-off-hours",
            Self::SealRequested => "seal-requested",
            Self::StepDownRequested => "step-down-requested",
            Self::GenerateRoot => "generate-root",
            Self::Rekey => "rekey",
            Self::RawAccess => "raw-access",
        }
    }

    /// The rule of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// What a rule is set to if nobody says otherwise.
    pub fn defaults(self) -> RuleSettings {
        let (severity, window, threshold) = match self {
            Self::RootTokenUsed
            | Self::RootTokenCreated
            | Self::AuditDeviceChanged
            | Self::SecretChangedByStranger
            | Self::SecretDeleted
            | Self::SealRequested
            | Self::GenerateRoot
            | Self::Rekey
            | Self::RawAccess => (Severity::Critical, SignedDuration::from_hours(1), 1),
            Self::PolicyChanged
            | Self::AuthMethodChanged
            | Self::MountChanged
            | Self::StepDownRequested
            | Self::SecretReadByStranger
            | Self::AccessOffHours => (Severity::Warning, SignedDuration::from_hours(1), 1),
            Self::OrphanTokenCreated => (Severity::Info, SignedDuration::from_hours(1), 1),
            Self::NewSourceAddress => (Severity::Info, SignedDuration::from_hours(24), 1),
            Self::MassRead => (Severity::Warning, SignedDuration::from_mins(10), 200),
            Self::Enumeration => (Severity::Warning, SignedDuration::from_mins(10), 50),
            Self::DeniedBurst => (Severity::Warning, SignedDuration::from_mins(5), 20),
            Self::LoginFailures => (Severity::Warning, SignedDuration::from_mins(5), 10),
        };
        let learns = matches!(self, Self::SecretReadByStranger | Self::NewSourceAddress);
        let learning = SignedDuration::from_hours(if learns { 7 * 24 } else { 0 });
        RuleSettings {
            enabled: true,
            severity,
            window,
            threshold,
            learning,
            allow: Allow::default(),
            quiet: None,
            hours: None,
            paths: vec![],
        }
    }
}

/// What one rule is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSettings {
    /// Whether it is applied at all.
    pub enabled: bool,
    /// How soon a person has to look.
    pub severity: Severity,
    /// The time in which events of one key are counted, and for which the rule is quiet about that key after a finding.
    pub window: SignedDuration,
    /// How many events of one key within the window make a finding; at least 1. For [`RuleId::MassRead`] and
    /// [`RuleId::Enumeration`] how many different paths, which is estimated to about a tenth.
    pub threshold: u32,
    /// How long what is seen is learned without a finding: for [`RuleId::SecretReadByStranger`] from a secret's first read on, for
    /// [`RuleId::NewSourceAddress`] from an identity's first call on.
    pub learning: SignedDuration,
    /// Whom it does not concern.
    pub allow: Allow,
    /// When its findings are counted and kept, and nobody is told.
    pub quiet: Option<Hours>,
    /// For [`RuleId::AccessOffHours`]: when access is in order. Without it that rule finds nothing.
    pub hours: Option<Hours>,
    /// For [`RuleId::AccessOffHours`]: paths that it looks at beside the managed secrets', written as in [`Allow::paths`].
    pub paths: Vec<String>,
}

/// What a configuration changes of a rule; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleOverride {
    /// The rule's name.
    pub rule: String,
    /// See [`RuleSettings::enabled`].
    pub enabled: Option<bool>,
    /// See [`RuleSettings::severity`].
    pub severity: Option<Severity>,
    /// See [`RuleSettings::window`].
    pub window: Option<SignedDuration>,
    /// See [`RuleSettings::threshold`].
    pub threshold: Option<u32>,
    /// See [`RuleSettings::learning`].
    pub learning: Option<SignedDuration>,
    /// See [`RuleSettings::allow`].
    pub allow: Option<Allow>,
    /// See [`RuleSettings::quiet`].
    pub quiet: Option<Hours>,
    /// See [`RuleSettings::hours`].
    pub hours: Option<Hours>,
    /// See [`RuleSettings::paths`].
    pub paths: Option<Vec<String>>,
}

impl RuleSettings {
    /// These settings with a configuration's changes.
    pub fn with(mut self, change: &RuleOverride) -> Result<Self, RuleError> {
        let rule = || change.rule.clone();
        self.enabled = change.enabled.unwrap_or(self.enabled);
        self.severity = change.severity.unwrap_or(self.severity);
        self.window = change.window.unwrap_or(self.window);
        self.threshold = change.threshold.unwrap_or(self.threshold);
        self.learning = change.learning.unwrap_or(self.learning);
        if let Some(allow) = &change.allow {
            self.allow = allow.clone();
        }
        self.quiet = change.quiet.clone().or(self.quiet);
        self.hours = change.hours.clone().or(self.hours);
        if let Some(paths) = &change.paths {
            self.paths.clone_from(paths);
        }
        if self.threshold == 0 {
            return Err(RuleError::Threshold { rule: rule() });
        }
        if self.window < SignedDuration::from_secs(1) {
            return Err(RuleError::Window { rule: rule() });
        }
        if let Some(address) = self.allow.wrong_address() {
            return Err(RuleError::Address { rule: rule(), address: address.to_owned() });
        }
        Ok(self)
    }
}

/// Why a rule cannot be set as the configuration says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No rule has this name.
    #[error("no audit rule is called {rule:?}; the rules are {}", RuleId::ALL.map(RuleId::name).join(", "))]
    Unknown {
        /// The name as it was written.
        rule: String,
    },
    /// The threshold is 0.
    #[error("audit rule {rule:?}: threshold must be at least 1; to switch the rule off write enabled = false")]
    Threshold {
        /// The rule.
        rule: String,
    },
    /// The window is shorter than a second.
    #[error("audit rule {rule:?}: window must be at least 1 second")]
    Window {
        /// The rule.
        rule: String,
    },
    /// An allowed address is neither an address nor a network.
    #[error("audit rule {rule:?}: allowed address {address:?} is neither an address like 10.0.0.7 nor a network like 10.0.0.0/8")]
    Address {
        /// The rule.
        rule: String,
        /// The address as it was written.
        address: String,
    },
}
