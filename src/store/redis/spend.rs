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
        let arguments = vec![entry(spend).into(), member_of_all(spend).into(), member_of_owner(spend).into()];
        self.link.run("add_spend", &scripts::ADD_SPEND, self.keys.spend(&spend.owner), arguments).await
    }

    /// See [`crate::store::Store::spent_since`].
    pub(super) async fn sum_of_spent(&self, owner: &str, since_ms: u64) -> Result<u64, StoreError> {
        let names = vec![self.keys.spend(owner).remove(2)];
        // Right behind all entries of that moment: `;` comes after `:`.
        let from = format!("[{};", keys::moment(since_ms));
        self.link.run("spent_since", &scripts::SPENT_SINCE, names, vec![from.into()]).await
    }

    /// See [`crate::store::Store::spent`].
    pub(super) async fn page_of_spent(&self, after: Option<&Spend>, limit: u32) -> Result<Vec<Spend>, StoreError> {
        let moments = self.keys.spend("").remove(1);
        let from = after.map_or_else(|| "-".to_owned(), |entry| format!("({}", member_of_all(entry)));
        let found: Vec<String> = self
            .link
            .commands()?
            .zrangebylex(&moments, from, "+", Some((0, i64::from(limit))))
            .await
            .map_err(|error| fault::told("spent", &error))?;
        found.iter().map(|member| parse(member).ok_or_else(unreadable)).collect()
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
                let spend = parse(&of_all).ok_or_else(unreadable)?;
                let names = self.keys.spend(&spend.owner);
                let arguments = vec![entry(&spend).into(), of_all.into(), member_of_owner(&spend).into()];
                let _: i64 = self.link.run("forget_spend", &scripts::FORGET_SPEND, names, arguments).await?;
            }
        }
    }
}

/// What there is one entry of.
fn entry(spend: &Spend) -> String {
    format!("{}:{}", spend.session, spend.seq)
}

fn member_of_owner(spend: &Spend) -> String {
    format!("{}:{}:{}", keys::moment(spend.at_ms), entry(spend), spend.micro_usd)
}

/// The owner comes last: it may hold anything.
fn member_of_all(spend: &Spend) -> String {
    format!("{}:{}", member_of_owner(spend), spend.owner)
}

fn parse(member: &str) -> Option<Spend> {
    let mut parts = member.splitn(5, ':');
    Some(Spend {
        at_ms: u64::from_str_radix(parts.next()?, 16).ok()?,
        session: parts.next()?.parse().ok()?,
        seq: parts.next()?.parse().ok()?,
        micro_usd: parts.next()?.parse().ok()?,
        owner: parts.next()?.to_owned(),
    })
}

fn unreadable() -> StoreError {
    fault::damaged("an entry of the spend ledger has not the expected form")
}
