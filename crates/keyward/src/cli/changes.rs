//! Which commands change something: in Vault, in a target, on the disk, or with people who are told.

use super::Command;
use crate::commands::audit::Audit;
use crate::commands::backup::What;
use crate::commands::secret::Secret;
use crate::commands::tls::Tls;
use crate::commands::token::Token;

impl Command {
    /// Whether it may change something, so that whoever breaks it off has to hear what it did.
    pub const fn changes(&self) -> bool {
        match self {
            Self::Check
            | Self::Plan(_)
            | Self::Status { .. }
            | Self::Adopt(_)
            | Self::Doctor(_)
            | Self::Policy(_)
            | Self::Health
            | Self::Paths(_)
            | Self::Completions { .. }
            | Self::Audit(Audit::Replay(_) | Audit::Verify(_) | Audit::Evidence(_) | Audit::Explain(_))
            | Self::Secret(Secret::Get(_) | Secret::List(_) | Secret::History { .. })
            | Self::Token(Token::Lookup(_) | Token::List(_))
            | Self::Tls(Tls::Check(_)) => false,
            Self::Backup(backup) => matches!(backup.what, None | Some(What::Drill(_) | What::DrillInside(_))),
            Self::Audit(Audit::Report(_))
            | Self::Serve
            | Self::Rotate(_)
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Reconcile { .. }
            | Self::Supply { .. }
            | Self::Secret(Secret::Put(_) | Secret::Patch(_) | Secret::Rollback(_))
            | Self::Import(_)
            | Self::Alert(_)
            | Self::Init(_)
            | Self::Token(Token::Create(_) | Token::Renew(_) | Token::Revoke(_))
            | Self::Approle(_)
            | Self::Unseal(_)
            | Self::Restore(_)
            | Self::Tls(Tls::Issue(_) | Tls::Renew(_))
            | Self::Man { .. } => true,
        }
    }
}
