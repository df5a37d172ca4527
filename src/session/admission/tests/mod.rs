//! Admission over the embedded store, and over one that fails on purpose.

mod limits;
mod ours;
mod random;
mod restated;
mod rows;
mod trouble;

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Admission, Admitted, Progress, Slot, Waiting};
use crate::config::settings::SessionSettings;
use crate::session::error::{LimitReason, SessionError};
use crate::store::SharedStore;
use crate::store::sqlite::test_store;

/// A node on a store of its own, with so many slots.
fn with_slots(max_sessions: u32) -> (SharedStore, Admission) {
    with(&SessionSettings { max_sessions, ..SessionSettings::default() })
}

fn with(settings: &SessionSettings) -> (SharedStore, Admission) {
    let store = test_store();
    let admission = Admission::new(store.clone(), "node", settings);
    (store, admission)
}

async fn take(admission: &Admission, owner: &str) -> Result<Slot, SessionError> {
    admission.take(Uuid::new_v4(), owner).await
}

async fn wait(admission: &Admission, owner: &str) -> Waiting {
    match admission.take_or_wait(Uuid::new_v4(), owner).await {
        Ok(Admitted::Waiting(waiting)) => waiting,
        other => panic!("a place in the line was expected: {other:?}"),
    }
}

/// The slot of one who waits, whatever positions come before it.
async fn slot_of(waiting: &mut Waiting) -> Slot {
    loop {
        if let Progress::Slot(slot) = waiting.next().await.unwrap() {
            return slot;
        }
    }
}

/// Has it got its slot? Takes in what is there already and waits for nothing.
fn has_slot(waiting: &mut Waiting) -> Option<Slot> {
    use futures_util::FutureExt;
    while let Some(progress) = waiting.next().now_or_never() {
        if let Progress::Slot(slot) = progress.unwrap() {
            return Some(slot);
        }
    }
    None
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, SessionError>) -> LimitReason {
    match outcome {
        Err(SessionError::Limit { reason, retry_after_ms }) => {
            assert!((100..=60_000).contains(&retry_after_ms), "{retry_after_ms}");
            reason
        }
        other => panic!("a limit was expected: {other:?}"),
    }
}

/// Waits until it stands there.
async fn until_place(waiting: &Waiting, wanted: u64) {
    let began = Instant::now();
    while waiting.position() != wanted {
        assert!(began.elapsed() < Duration::from_secs(30), "it stands at {}, not {wanted}", waiting.position());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Has everybody told where they stand now.
async fn told(admission: &Admission) {
    admission.desk.look(true).await.unwrap();
}

/// Waits until that many slots are taken in the store.
async fn until_taken(store: &SharedStore, wanted: u64) {
    let began = Instant::now();
    loop {
        let taken = store.slots().await.unwrap().taken;
        if taken == wanted {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{taken} slots are taken, not {wanted}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// `small`, or `full` when the environment holds `SOAK=1`.
fn count(small: u32, full: u32) -> u32 {
    if std::env::var_os("SOAK").is_some_and(|value| value == "1") { full } else { small }
}
