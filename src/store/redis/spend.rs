//! The spend ledger: what each event told that was spent, summed by owner.
//!
//! Invariants: one entry an event of a session. Entries outlive their session and go only by
//! [`crate::store::Store::forget_spend`].

use fred::interfaces::SortedSetsInterface;

use super::{RedisStore, fault, keys, scripts};
use crate::store::{Spend, StoreError};

/// Entries that are forgotten between two looks.
const STEP: i64 = 500;

impl RedisStore {
    /// See [`crate::store::Store::add_spend`].
    pub(super) async fn add_to_ledger(&self, spend: &Spend) -> Result<(), StoreError> {
        let entry = format!("{}:{}", spend.session, spend.seq);
        let of_owner = format!("{}:{entry}:{}", keys::moment(spend.at_ms), spend.micro_usd);
        // The owner comes last: it may hold anything.
        let of_all = format!("{of_owner}:{}", spend.owner);
        let arguments = vec![entry.into(), of_all.into(), of_owner.into()];
        self.link.run("add_spend", &scripts::ADD_SPEND, self.keys.spend(&spend.owner), arguments).await
    }

    /// See [`crate::store::Store::spent_since`].
    pub(super) async fn sum_of_spent(&self, owner: &str, since_ms: u64) -> Result<u64, StoreError> {
        let names = vec![self.keys.spend(owner).remove(2)];
        // Right behind all entries of that moment: `;` comes after `:`.
        let from = format!("[{};", keys::moment(since_ms));
        self.link.run("spent_since", &scripts::SPENT_SINCE, names, vec![from.into()]).await
    }

    /// See [`crate::store::Store::forget_spend`].
    pub(super) async fn forget_spent(&self, before_ms: u64) -> Result<(), StoreError> {
        let moments = self.keys.spend("").remove(1);
        let before = format!("({}", keys::moment(before_ms));
        loop {
            let found: Vec<String> = self
                .link
                .commands()?
                .zrangebylex(&moments, "-", before.as_str(), Some((0, STEP)))
                .await
                .map_err(|error| fault::told("forget_spend", &error))?;
            if found.is_empty() {
                return Ok(());
            }
            for of_all in found {
                let mut parts = of_all.splitn(5, ':');
                let (Some(at), Some(session), Some(seq), Some(amount), Some(owner)) =
                    (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
                else {
                    return Err(fault::damaged("an entry of the spend ledger has not the expected form"));
                };
                let entry = format!("{session}:{seq}");
                let of_owner = format!("{at}:{entry}:{amount}");
                let names = self.keys.spend(owner);
                let arguments = vec![entry.into(), of_all.into(), of_owner.into()];
                let _: i64 = self.link.run("forget_spend", &scripts::FORGET_SPEND, names, arguments).await?;
            }
        }
    }
}
