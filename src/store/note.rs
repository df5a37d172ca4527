//! Notes: small facts that live for a while. What they mean is known to whoever writes them.

use super::StoreError;

/// Largest value, in bytes.
pub const NOTE_BYTES: usize = 64 * 1024;

/// What a note is about. Notes of different kinds never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoteKind {
    /// The refresh tokens that came from one login: which one serves next.
    RefreshFamily,
    /// What was taken back before its time.
    Revoked,
    /// A one-time ticket for a socket.
    Ticket,
    /// A key that a program logs in with.
    ApiKey,
    /// An invitation to make an account.
    Invitation,
    /// A login at an outside provider that is under way.
    OidcLogin,
    /// Logins that have failed of late, and where names have logged in.
    FailedLogins,
    /// Another store is being copied into this one.
    Copy,
}

impl NoteKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::RefreshFamily,
        Self::Revoked,
        Self::Ticket,
        Self::ApiKey,
        Self::Invitation,
        Self::OidcLogin,
        Self::FailedLogins,
        Self::Copy,
    ];

    /// The word by which stores keep it; never changed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RefreshFamily => "refresh_family",
            Self::Revoked => "revoked",
            Self::Ticket => "ticket",
            Self::ApiKey => "api_key",
            Self::Invitation => "invitation",
            Self::OidcLogin => "oidc_login",
            Self::FailedLogins => "failed_logins",
            Self::Copy => "copy",
        }
    }
}

/// A small fact, by kind and key.
///
/// A secret is never a key or a value in clear: its SHA-256 is kept. That is enough, without salt and without a slow
/// hash, because every such secret is made by us from 256 random bits or more: nobody can try them all, and no two are
/// alike. (A password is neither, which is why accounts hash theirs with argon2.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub kind: NoteKind,
    /// Its name, unique among those of its kind; compared byte for byte.
    pub key: String,
    /// What is known: JSON, [`NOTE_BYTES`] at most.
    pub value: String,
    /// When it ends, in milliseconds since the Unix epoch. From then on it is as if it had never been. `None`: never.
    pub expires_at_ms: Option<u64>,
}

/// Is that value short enough to be kept?
///
/// # Errors
/// [`StoreError::Damaged`] if not: the same call will never succeed.
pub(super) fn check_size(value: &str) -> Result<(), StoreError> {
    if value.len() > NOTE_BYTES {
        return Err(StoreError::Damaged("a note is too large to be kept".to_owned()));
    }
    Ok(())
}
