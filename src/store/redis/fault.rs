//! What can go wrong between here and Redis, and its one translation into [`StoreError`].

use fred::error::{Error, ErrorKind};

use crate::store::StoreError;

/// The words that a server begins a refusal with which passes by itself or by an operator's hand, and what a caller
/// is told then.
const PASSING: [(&str, &str); 13] = [
    ("LOADING", "it is loading its data"),
    ("READONLY", "it takes no writes now"),
    ("OOM", "its memory is full"),
    ("MISCONF", "it can't write to its disk"),
    ("NOREPLICAS", "it has too few replicas"),
    ("MASTERDOWN", "its master is away"),
    ("CLUSTERDOWN", "its cluster is incomplete"),
    ("TRYAGAIN", "its cluster is being moved"),
    ("BUSY", "it is busy"),
    ("NOAUTH", "it wants a password"),
    ("WRONGPASS", "it refuses the user or the password"),
    ("NOPERM", "it does not permit the user that"),
    ("ERR max number of clients", "it has too many clients"),
];

/// The error for the caller. It is logged here, with what was being done (a word of the code); the caller's text
/// names no address.
pub(super) fn told(doing: &'static str, error: &Error) -> StoreError {
    let told = translate(error);
    tracing::warn!(store = "redis", doing, error = %error, told = %told, "Redis failed");
    told
}

fn translate(error: &Error) -> StoreError {
    let away = |text: &str| StoreError::Away(text.to_owned());
    let details = error.details();
    if let Some((_, text)) = PASSING.iter().find(|(word, _)| details.starts_with(word)) {
        return away(text);
    }
    match error.kind() {
        _ if details.starts_with("WRONGTYPE") => damaged("a key holds something of another kind"),
        ErrorKind::Timeout => away("it gave no answer in time"),
        ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Routing | ErrorKind::Cluster | ErrorKind::Sentinel => {
            away("it can't be reached")
        }
        ErrorKind::Backpressure => away("too much waits for it"),
        ErrorKind::Auth => away("it refuses the user or the password"),
        ErrorKind::Tls => away("its certificate is not to be trusted"),
        ErrorKind::Config | ErrorKind::Url | ErrorKind::Protocol => away("it does not speak as it should"),
        ErrorKind::Parse | ErrorKind::NotFound | ErrorKind::InvalidArgument | ErrorKind::InvalidCommand => {
            damaged("a key does not hold what it should")
        }
        ErrorKind::Unknown => damaged("it refuses what it was asked"),
    }
}

/// An error for what is stored in a form that no version of ours wrote.
pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_away_and_what_will_not_is_damaged() {
        for text in ["LOADING Redis is loading", "READONLY You can't write", "OOM command not allowed", "BUSY Redis"] {
            assert!(translate(&Error::new(ErrorKind::Unknown, text)).retryable(), "{text}");
        }
        for kind in [ErrorKind::Timeout, ErrorKind::IO, ErrorKind::Canceled, ErrorKind::Backpressure] {
            assert!(translate(&Error::new(kind.clone(), "canary")).retryable(), "{kind:?}");
        }
        for text in ["WRONGTYPE Operation against a key", "ERR hash value is not an integer"] {
            let told = translate(&Error::new(ErrorKind::Unknown, text));
            assert!(matches!(told, StoreError::Damaged(_)), "{text}");
        }
    }

    #[test]
    fn the_callers_text_holds_nothing_of_the_servers_own() {
        let told = translate(&Error::new(ErrorKind::IO, "10.0.0.7:6379 refused"));
        assert!(!told.to_string().contains("10.0"), "{told}");
    }
}
