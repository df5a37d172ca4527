//! Looks over a whole store, whichever it is: does it take a write, is each record readable, each log whole, and does
//! each session's end agree with its log?
//!
//! Invariants: nothing is changed but what [`crate::store::Store::check`] writes. A session that moves meanwhile, because a gateway
//! runs on the store, is looked at again until two looks in turn see the same: only what both saw wrong is told.
//!
//! It must not know how events are encoded: whoever calls brings that along.

use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::{Batch, Finding, SessionRow, Severity, SharedStore, StoreError, copy};
use crate::api::event::SessionState;
use crate::api::selector::TypeSet;

/// Sessions whose ids are asked for at once.
const PAGE: u32 = 256;
/// Payload that is read at once, in bytes.
const READ_BYTES: usize = 4 * 1024 * 1024;
/// How long a session that looks wrong is left alone before it is looked at again.
const AGAIN: Duration = Duration::from_millis(300);
/// Looks at a session that never stands still; then what the last one saw is told.
const LOOKS: u32 = 20;

/// Reads a batch: of each event in it, whether it is a terminal one. [`StoreError::Damaged`] if it can't be read.
pub type ReadBatch = fn(&Batch) -> Result<Vec<bool>, StoreError>;

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Sessions.
    pub sessions: u64,
    /// Events in their logs.
    pub events: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// What is not as it should be, the worst first.
    pub findings: Vec<Finding>,
}

impl Checked {
    /// Is nothing lost, hidden or contradictory?
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Fault)
    }
}

/// One look at a session.
#[derive(Debug, PartialEq)]
struct Look {
    /// What changes when the session moves.
    stamp: Option<(SessionState, u64, u64)>,
    events: u64,
    bytes: u64,
    wrong: Vec<String>,
}

/// Looks over everything. `progress` is told now and then what has been looked at so far.
///
/// # Errors
/// [`StoreError::Away`] if the store does not answer; what is damaged is a finding.
pub async fn check(
    store: &SharedStore,
    read: ReadBatch,
    progress: &(dyn Fn(&Checked) + Send + Sync),
) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    if let Some(wrong) = damage(store.check().await)? {
        checked.findings.push(Finding::fault(None, format!("it takes no write: {wrong}")));
    }
    for concern in store.concerns() {
        checked.findings.push(Finding { severity: Severity::Concern, session: None, what: concern.to_owned() });
    }
    if copy::is_under_way(store).await? {
        let what = "a copy into it is not complete: repeat `cc-gateway store copy`";
        checked.findings.push(Finding::fault(None, what));
    }
    match store.examine().await {
        Ok(findings) => checked.findings.extend(findings),
        Err(error) => checked.findings.extend(damage(Err(error))?.map(|wrong| Finding::fault(None, wrong))),
    }
    for (what, answer) in [
        ("accounts", store.accounts().await.map(drop)),
        ("the audit log", every_audit_entry(store).await),
        ("the spend ledger", every_spend(store).await),
    ] {
        checked.findings.extend(damage(answer)?.map(|wrong| Finding::fault(None, format!("{what}: {wrong}"))));
    }
    every_session(store, read, progress, &mut checked).await?;
    checked.findings.sort();
    checked.findings.dedup();
    Ok(checked)
}

async fn every_session(
    store: &SharedStore,
    read: ReadBatch,
    progress: &(dyn Fn(&Checked) + Send + Sync),
    checked: &mut Checked,
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = match store.session_ids(after, PAGE).await {
            Err(StoreError::Damaged(wrong)) => {
                checked.findings.push(Finding::fault(None, format!("the sessions can't be listed: {wrong}")));
                return Ok(());
            }
            page => page?,
        };
        for (_, id) in &page {
            let look = session(store, *id, read).await?;
            checked.sessions += u64::from(look.stamp.is_some() || !look.wrong.is_empty());
            checked.events += look.events;
            checked.bytes += look.bytes;
            checked.findings.extend(look.wrong.into_iter().map(|what| Finding::fault(Some(*id), what)));
        }
        progress(checked);
        if page.len() < PAGE as usize {
            return Ok(());
        }
        after = page.last().copied();
    }
}

/// Looks at a session until it stands still, if something looks wrong.
async fn session(store: &SharedStore, id: Uuid, read: ReadBatch) -> Result<Look, StoreError> {
    let mut look = look(store, id, read).await?;
    for _ in 1..LOOKS {
        if look.wrong.is_empty() {
            break;
        }
        tokio::time::sleep(AGAIN).await;
        let again = self::look(store, id, read).await?;
        let stood_still = again == look;
        look = again;
        if stood_still {
            break;
        }
    }
    Ok(look)
}

async fn look(store: &SharedStore, id: Uuid, read: ReadBatch) -> Result<Look, StoreError> {
    let mut look = Look { stamp: None, events: 0, bytes: 0, wrong: Vec::new() };
    let row = match store.session(id).await {
        Ok(Some(row)) => row,
        // Removed since it was listed, or not to be seen yet.
        Ok(None) => return Ok(look),
        Err(error) => {
            look.wrong.extend(damage(Err(error))?.map(|wrong| format!("its record: {wrong}")));
            return Ok(look);
        }
    };
    look.stamp = Some((row.state, row.epoch, row.last_seq));
    match log(store, &row, read, &mut look).await {
        Err(StoreError::Missing) => {}
        answer => look.wrong.extend(damage(answer)?.map(|wrong| format!("its log: {wrong}"))),
    }
    Ok(look)
}

/// Reads the log from its first kept number to its head.
async fn log(store: &SharedStore, row: &SessionRow, read: ReadBatch, look: &mut Look) -> Result<(), StoreError> {
    let bounds = store.bounds(row.id).await?;
    let (mut next, mut ends, mut ends_last) = (bounds.first, 0_u64, false);
    while next <= bounds.head {
        let batches = store.read(row.id, next - 1, TypeSet::ALL, READ_BYTES).await?;
        if batches.is_empty() {
            look.wrong.push(format!("its log ends before number {next}, its record says {}", bounds.head));
            return Ok(());
        }
        for batch in batches.iter().filter(|batch| batch.last_seq <= bounds.head) {
            if batch.first_seq != next {
                look.wrong.push(format!("number {next} of its log is missing"));
            }
            look.bytes += batch.payload.len() as u64;
            match read(batch) {
                Ok(events) => {
                    look.events += events.len() as u64;
                    ends += events.iter().filter(|is_end| **is_end).count() as u64;
                    ends_last = events.last().is_some_and(|is_end| *is_end);
                }
                Err(error) => {
                    look.wrong.extend(damage(Err(error))?.map(|wrong| format!("number {next} of its log: {wrong}")));
                }
            }
            next = batch.last_seq.saturating_add(1);
        }
        if batches.last().is_none_or(|batch| batch.last_seq >= bounds.head) {
            break;
        }
    }
    if look.bytes != bounds.bytes {
        look.wrong.push(format!("its log has {} bytes, its record says {}", look.bytes, bounds.bytes));
    }
    let ended = row.state == SessionState::Ended;
    if ended && (ends != 1 || !ends_last) {
        look.wrong.push(format!("it has ended, with {ends} terminal events instead of one as the last"));
    }
    if !ended && ends > 0 {
        look.wrong.push(format!("it has not ended, but its log has {ends} terminal events"));
    }
    if ended != row.ended_at_ms.is_some() || ended != row.ended.is_some() {
        look.wrong.push("its state does not agree with what is known of its end".to_owned());
    }
    if row.put_away_at_ms.is_some() && row.state != SessionState::Idle {
        look.wrong.push("it is put away, but not idle".to_owned());
    }
    Ok(())
}

async fn every_audit_entry(store: &SharedStore) -> Result<(), StoreError> {
    let mut before = None;
    loop {
        let page = copy::page_of_audit(store, before).await?;
        before = page.last().map(|entry| entry.id);
        if before.is_none() {
            return Ok(());
        }
    }
}

async fn every_spend(store: &SharedStore) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        after = store.spent(after, PAGE).await?.pop();
        if after.is_none() {
            return Ok(());
        }
    }
}

/// What a refusal says is damaged.
///
/// # Errors
/// [`StoreError::Away`]: then nothing can be said.
fn damage(answer: Result<(), StoreError>) -> Result<Option<String>, StoreError> {
    match answer {
        Ok(()) => Ok(None),
        Err(error @ StoreError::Away(_)) => Err(error),
        Err(error) => Ok(Some(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::sample;
    use crate::store::sqlite::test_store;

    /// Each of the contract's batches is one event or several, and the terminal one stands alone.
    #[expect(clippy::unnecessary_wraps, reason = "a batch that can't be read is an error")]
    fn events(batch: &Batch) -> Result<Vec<bool>, StoreError> {
        let ends = batch.types.contains(crate::api::event::EventType::Ended);
        Ok((batch.first_seq..=batch.last_seq).map(|_| ends).collect())
    }

    async fn found(store: &SharedStore) -> Vec<String> {
        let checked = check(store, events, &|_| {}).await.unwrap();
        checked.findings.into_iter().map(|finding| finding.what).collect()
    }

    #[tokio::test]
    async fn a_store_with_sessions_of_every_kind_is_well() {
        let store = test_store();
        for n in 1..=3 {
            store.create_session(sample::session(n)).await.unwrap();
            for seq in 1..=3 {
                store.append(sample::id(n), 1, sample::batch(2 * seq - 1, 2 * seq)).await.unwrap();
            }
        }
        store.end_session(sample::id(1), 1, sample::last_batch(7), sample::end_patch()).await.unwrap();
        store.cut_head(sample::id(1), 1, 1, 2).await.unwrap();
        store.update_session(sample::id(2), 1, sample::put_away_patch(9)).await.unwrap();
        let checked = check(&store, events, &|_| {}).await.unwrap();
        assert_eq!(checked.findings, []);
        assert_eq!((checked.sessions, checked.events, checked.bytes), (3, 15, 8 * 64));
        assert!(checked.is_well());
    }

    #[tokio::test]
    async fn an_end_that_does_not_agree_with_the_log_is_found() {
        let store = test_store();
        for n in 1..=2 {
            store.create_session(sample::session(n)).await.unwrap();
        }
        // An end without a terminal event, and a terminal event without an end.
        store.end_session(sample::id(1), 1, sample::batch(1, 1), sample::end_patch()).await.unwrap();
        store.append(sample::id(2), 1, sample::last_batch(1)).await.unwrap();
        let found = found(&store).await;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().any(|what| what.starts_with("it has ended, with 0")), "{found:?}");
        assert!(found.iter().any(|what| what.starts_with("it has not ended, but")), "{found:?}");
    }

    #[tokio::test]
    async fn a_copy_that_was_broken_off_is_found() {
        let store = test_store();
        copy::begin(&store).await.unwrap();
        assert!(found(&store).await[0].contains("not complete"));
    }
}
