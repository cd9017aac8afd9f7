//! The closed sets of words that facts are made of; each is small enough for a metric's label.

/// What was done, as the server names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A write to a path that did not exist, where the backend can tell.
    Create,
    /// A write.
    Update,
    /// A read.
    Read,
    /// A deletion.
    Delete,
    /// A listing.
    List,
    /// A partial write.
    Patch,
    /// A read of the headers alone.
    Header,
    /// A path's help text.
    Help,
    /// A recursive listing (OpenBao).
    Scan,
    /// Anything else, and entries without an operation.
    Other,
}

impl Operation {
    /// All of them, so that series can exist from the start.
    pub const ALL: [Self; 10] =
        [Self::Create, Self::Update, Self::Read, Self::Delete, Self::List, Self::Patch, Self::Header, Self::Help, Self::Scan, Self::Other];

    pub(crate) fn of(word: &str) -> Self {
        match word {
            "create" => Self::Create,
            "update" => Self::Update,
            "read" => Self::Read,
            "delete" => Self::Delete,
            "list" => Self::List,
            "patch" => Self::Patch,
            "header" => Self::Header,
            "help" => Self::Help,
            "scan" => Self::Scan,
            _ => Self::Other,
        }
    }

    /// The word the server uses.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Read => "read",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Header => "header",
            Self::Help => "help",
            Self::Scan => "scan",
            Self::Other => "other",
        }
    }

    /// Whether it is meant to change something.
    pub const fn changes(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Delete | Self::Patch)
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was carried out, as far as the log tells.
    Ok,
    /// It was refused: no policy allows it, or the token is unknown, expired or revoked.
    Denied,
    /// It was allowed and failed.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Denied, Self::Failed];

    /// The word for labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// What kind of error an entry's error text is. The text itself is never kept: it is free text, and callers shape it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// No policy allows it, the token is not valid, or the user is locked out after failed logins.
    PermissionDenied,
    /// A login with a wrong or used-up credential.
    InvalidCredentials,
    /// The request was not acceptable; failed check-and-set is among these.
    InvalidRequest,
    /// The path or the operation is not supported; unknown mounts are among these.
    Unsupported,
    /// Nothing is there.
    NotFound,
    /// Something is there already.
    AlreadyExists,
    /// A standby found that only the active node can do this; the call stands again in that node's log.
    Standby,
    /// A quota was exceeded.
    RateLimited,
    /// The caller went away, or it took too long.
    Cancelled,
    /// The server's own failure.
    Internal,
    /// The message stands only in the hashed response: a validation failed.
    Unstated,
    /// None of these.
    Other,
}

impl ErrorClass {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::PermissionDenied,
        Self::InvalidCredentials,
        Self::InvalidRequest,
        Self::Unsupported,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Standby,
        Self::RateLimited,
        Self::Cancelled,
        Self::Internal,
        Self::Unstated,
        Self::Other,
    ];

    /// Phrases of Vault 1.14 to 1.21 and OpenBao 2.x, most telling first, but for [`is_refusal`].
    const PHRASES: [(&'static str, Self); 17] = [
        ("invalid credentials", Self::InvalidCredentials),
        ("invalid username or password", Self::InvalidCredentials),
        ("invalid role or secret ID", Self::InvalidCredentials),
        ("forward to the active node", Self::Standby),
        ("read-only storage", Self::Standby),
        ("rate limit", Self::RateLimited),
        ("quota exceeded", Self::RateLimited),
        ("invalid request", Self::InvalidRequest),
        ("unsupported path", Self::Unsupported),
        ("unsupported operation", Self::Unsupported),
        ("no handler for route", Self::Unsupported),
        ("already in use", Self::AlreadyExists),
        ("already exists", Self::AlreadyExists),
        ("context canceled", Self::Cancelled),
        ("deadline exceeded", Self::Cancelled),
        ("internal error", Self::Internal),
        ("not found", Self::NotFound),
    ];

    pub(crate) fn of(text: &str) -> Self {
        if is_refusal(text) {
            return Self::PermissionDenied;
        }
        Self::PHRASES.iter().find(|(phrase, _)| text.contains(phrase)).map_or(Self::Other, |(_, class)| *class)
    }

    /// The same for a text whose escapes are unresolved; `None` where one may stand for a letter. Within a phrase there is none, so only
    /// the letter of an escape must not be taken for a phrase's first.
    pub(crate) fn of_escaped(text: &str) -> Option<Self> {
        let Some(first) = memchr::memchr(b'\\', text.as_bytes()) else { return Some(Self::of(text)) };
        if text.contains("\\u") || text.contains("\\/") {
            return None;
        }
        if is_refusal(text) {
            return Some(Self::PermissionDenied);
        }
        let stands = |phrase: &str| {
            text.match_indices(phrase).any(|(place, _)| {
                let before = text.as_bytes().get(first..place).unwrap_or_default();
                before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0
            })
        };
        Some(Self::PHRASES.iter().find(|(phrase, _)| stands(phrase)).map_or(Self::Other, |(_, class)| *class))
    }

    /// The word for labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::PermissionDenied => "permission_denied",
            Self::InvalidCredentials => "invalid_credentials",
            Self::InvalidRequest => "invalid_request",
            Self::Unsupported => "unsupported",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Standby => "standby",
            Self::RateLimited => "rate_limited",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
            Self::Unstated => "unstated",
            Self::Other => "other",
        }
    }
}

/// Whether the server itself refused: the words are all of the text, or of one in its list of errors. A database that refuses Vault says
/// "permission denied to alter role", a file system "open …: permission denied", and that call was allowed. Escapes may be unresolved.
fn is_refusal(text: &str) -> bool {
    const WORDS: &str = "permission denied";
    text.match_indices(WORDS).any(|(place, _)| {
        let (before, rest) = text.split_at(place);
        let after = rest.strip_prefix(WORDS).unwrap_or_default();
        (before.is_empty() || before.ends_with("* ")) && (after.is_empty() || after.starts_with('\n') || after.starts_with("\\n"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_is_found_by_its_word() {
        assert!(Operation::ALL.into_iter().all(|operation| Operation::of(operation.label()) == operation));
    }

    #[test]
    fn what_a_database_refuses_vault_is_no_refusal_of_vaults() {
        let refused = [
            "permission denied",
            "1 error occurred:\n\t* permission denied\n\n",
            "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n",
        ];
        let failed = [
            "1 error occurred:\n\t* failed to execute query: ERROR: permission denied to alter role (SQLSTATE 42501)\n\n",
            "1 error occurred:\n\t* open /etc/x: permission denied\n\n",
            "permission denied by the provider",
        ];
        for (texts, class) in [(refused, ErrorClass::PermissionDenied), (failed, ErrorClass::Other)] {
            for text in texts {
                let escaped = text.replace('\n', "\\n").replace('\t', "\\t");
                assert_eq!((ErrorClass::of(text), ErrorClass::of_escaped(&escaped)), (class, Some(class)), "{text}");
            }
        }
    }

    #[test]
    fn an_escapes_letter_is_not_taken_for_a_phrases_first() {
        assert_eq!(ErrorClass::of_escaped("1 error occurred:\\n\\t* permission denied\\n"), Some(ErrorClass::PermissionDenied));
        assert_eq!(ErrorClass::of_escaped("\\not found"), Some(ErrorClass::Other));
        assert_eq!(ErrorClass::of_escaped("\\\\not found"), Some(ErrorClass::NotFound));
        assert_eq!(ErrorClass::of_escaped("\\not found, not found"), Some(ErrorClass::NotFound));
        assert_eq!(ErrorClass::of_escaped("permission\\u0020denied"), None);
    }
}
