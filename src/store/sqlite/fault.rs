//! What can go wrong inside the embedded store, and its one translation into [`StoreError`].
//!
//! Invariant: a [`Fault::Refused`] has written nothing, so the transaction it arose in can be committed.
//! A [`Fault::Sqlite`] may have written something; its transaction must be rolled back.

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// Why a piece of work on a connection gave no result.
#[derive(Debug)]
pub(super) enum Fault {
    /// The work itself said no, before it wrote anything.
    Refused(StoreError),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Fault {
    /// Should the connection that met this be closed and opened anew? After an error of the disk its view
    /// of the file is not to be trusted.
    pub(super) fn spoils_connection(&self) -> bool {
        match self {
            Self::Refused(_) => false,
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::SystemIoFailure
                        | ErrorCode::CannotOpen
                        | ErrorCode::DatabaseCorrupt
                        | ErrorCode::NotADatabase
                        | ErrorCode::ReadOnly
                        | ErrorCode::ApiMisuse
                        | ErrorCode::InternalMalfunction
                )
            ),
        }
    }

    /// Is only the record damaged that was being read? Other records can be read on.
    pub(super) fn is_of_one_record(&self) -> bool {
        match self {
            Self::Refused(error) => matches!(error, StoreError::Damaged(_)),
            // Without a code it is not SQLite that failed: a column does not hold what it should.
            Self::Sqlite(error) => error.sqlite_error_code().is_none(),
        }
    }

    /// The error for the caller. A failure of SQLite is logged here, with what was being done (a word of
    /// the code); the caller's text names no path.
    pub(super) fn into_store_error(self, doing: &'static str) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Sqlite(error) => {
                let told = translate(&error);
                tracing::warn!(store = "sqlite", doing, error = %error, told = %told, "the embedded store failed");
                told
            }
        }
    }
}

fn translate(error: &rusqlite::Error) -> StoreError {
    let away = |text: &str| StoreError::Away(text.to_owned());
    let damaged = |text: &str| StoreError::Damaged(text.to_owned());
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => away("the disk is full"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            away("its file is locked by another program")
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => away("its file can't be read or written"),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => away("its file can't be written"),
        Some(ErrorCode::OutOfMemory) => away("there is no memory left"),
        Some(ErrorCode::OperationInterrupted | ErrorCode::OperationAborted | ErrorCode::SchemaChanged) => {
            away("it was interrupted")
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged("its file is damaged"),
        Some(ErrorCode::TooBig) => damaged("a record is too large to be kept"),
        Some(_) => damaged("its file has not the expected form"),
        None => damaged("a record has not the expected form"),
    }
}

/// A number as SQLite keeps it.
pub(super) fn to_stored(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Damaged("a number is too large to be kept".to_owned()))
}

/// A moment as SQLite keeps it; one that lies beyond what it can keep is as good as never.
pub(super) fn moment(milliseconds: u64) -> i64 {
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}

/// A number that SQLite kept.
pub(super) fn from_stored(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Damaged("a record holds a number below zero".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some("/secret/path".to_owned()))
    }

    #[test]
    fn what_may_pass_is_away_and_what_will_not_is_damaged() {
        use rusqlite::ffi;
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_BUSY, ffi::SQLITE_IOERR, ffi::SQLITE_READONLY, ffi::SQLITE_CANTOPEN]
        {
            assert!(translate(&failure(code)).retryable(), "code {code}");
        }
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB, ffi::SQLITE_TOOBIG, ffi::SQLITE_ERROR] {
            assert!(matches!(translate(&failure(code)), StoreError::Damaged(_)), "code {code}");
        }
    }

    #[test]
    fn the_callers_text_holds_nothing_of_sqlites_own() {
        let told = Fault::from(failure(rusqlite::ffi::SQLITE_IOERR)).into_store_error("test");
        assert!(!told.to_string().contains("/secret"), "{told}");
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused_both_ways() {
        assert_eq!(to_stored(7), Ok(7));
        assert!(to_stored(u64::MAX).is_err());
        assert!(from_stored(-1).is_err());
        assert_eq!(moment(u64::MAX), i64::MAX);
    }
}
