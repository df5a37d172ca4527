//! Accounts out of a system's shadow file.
//!
//! Invariants: nothing of a file's line is shown but its name; an account that is there already is left as it is.
//!
//! It must not know where the text comes from.

use super::{AccountError, Accounts, check_username};
use crate::api::Role;
use crate::auth::system_hash::{Scheme, is_usable};
use crate::telemetry::time::now_ms;

/// Where a line tells the day on which its account ends, in days since 1970; empty: never.
const EXPIRY_FIELD: usize = 7;
const MS_OF_A_DAY: u64 = 24 * 3_600 * 1_000;

/// What a line of a shadow file came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// The account is made, or would be.
    Made(Scheme),
    /// There is an account of that name.
    Exists,
    /// Its time is over: the system lets nobody in with it.
    Ended,
    /// It has no password that anybody could log in with (`!`, `*`, empty).
    NoPassword,
    /// Its hash is of a kind that is not understood, or costs too much to verify.
    Unusable,
    /// Its name will not do.
    BadName,
}

/// As systems judge it (`pam_unix`): on that day it is over, and a number below zero means none.
fn is_over(day: &str, today: i64) -> bool {
    day.trim().parse::<i64>().is_ok_and(|day| day >= 0 && today >= day)
}

impl Accounts {
    /// Makes an account of `role` for each line of a shadow file that has a password. Comes back with each line's name
    /// and what came of it, in the file's order. `dry_run`: nothing is made.
    ///
    /// # Errors
    /// [`AccountError::Store`]; the same call again goes on where this one ended.
    pub async fn import(
        &self,
        shadow: &str,
        role: Role,
        dry_run: bool,
    ) -> Result<Vec<(String, Imported)>, AccountError> {
        let mut outcomes = Vec::new();
        let today = i64::try_from(now_ms() / MS_OF_A_DAY).unwrap_or(i64::MAX);
        let known: Vec<String> = self.list().await?.into_iter().map(|account| account.username).collect();
        for line in shadow.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let fields: Vec<&str> = line.split(':').collect();
            let field = |index: usize| fields.get(index).copied().unwrap_or_default();
            let (name, hash) = (field(0), field(1));
            let outcome = match Scheme::of(hash) {
                _ if check_username(name).is_err() => Imported::BadName,
                Some(_) if is_over(field(EXPIRY_FIELD), today) => Imported::Ended,
                _ if known.iter().any(|known| known == name) => Imported::Exists,
                Some(scheme) if is_usable(hash) => {
                    if dry_run {
                        Imported::Made(scheme)
                    } else {
                        self.import_one(name, hash, role, scheme).await?
                    }
                }
                Some(_) => Imported::Unusable,
                // An account that is locked has its hash behind a mark, or none: nobody may log in.
                None if hash.is_empty() || hash.starts_with(['!', '*', 'x']) => Imported::NoPassword,
                None => Imported::Unusable,
            };
            outcomes.push((name.to_owned(), outcome));
        }
        Ok(outcomes)
    }

    async fn import_one(&self, name: &str, hash: &str, role: Role, scheme: Scheme) -> Result<Imported, AccountError> {
        match self.add(name, hash.to_owned(), role, None).await {
            Ok(_) => Ok(Imported::Made(scheme)),
            // The same name twice in the file.
            Err(AccountError::Exists) => Ok(Imported::Exists),
            Err(other) => Err(other),
        }
    }
}
