//! The spend ledger: counted once, by owner and moment, whatever becomes of the session.

use futures_util::future::join_all;

use super::retention::purge_all;
use super::{Outcome, sample, there};
use crate::store::{SharedStore, Spend};
use crate::telemetry::tasks;

/// What the event `seq` of session number 1 told: `owner-1` has spent that much at that moment.
fn spend(seq: u64, at_ms: u64, micro_usd: u64) -> Spend {
    Spend { owner: "owner-1".to_owned(), session: sample::id(1), seq, at_ms, micro_usd }
}

/// After the moment, not at it; the owner's and nobody else's.
pub async fn spend_is_summed_by_owner_after_a_moment(store: SharedStore) -> Outcome {
    assert_eq!(store.spent_since("owner-1", 0).await?, 0);
    for (seq, at_ms, micro_usd) in [(1, 100, 1), (2, 100, 20), (3, 200, 300), (9, 150, 4_000), (10, 300, 0)] {
        store.add_spend(spend(seq, at_ms, micro_usd)).await?;
    }
    let others = Spend { owner: "owner-2".to_owned(), ..spend(11, 100, 50_000) };
    store.add_spend(others).await?;
    // The same number in another session is another entry.
    store.add_spend(Spend { session: sample::id(2), ..spend(1, 100, 600_000) }).await?;
    let expected = [(0, 604_321), (99, 604_321), (100, 4_300), (149, 4_300), (150, 300), (199, 300), (200, 0)];
    for (since_ms, micro_usd) in expected.into_iter().chain([(u64::MAX, 0)]) {
        assert_eq!(store.spent_since("owner-1", since_ms).await?, micro_usd, "since {since_ms}");
    }
    assert_eq!(store.spent_since("owner-2", 0).await?, 50_000);
    assert_eq!(store.spent_since("owner-%", 0).await?, 0);
    Ok(())
}

/// A repeated call after a lost answer, also with what a confused caller says.
pub async fn the_same_spend_again_counts_once(store: SharedStore) -> Outcome {
    for at_ms in [100, 100, 900] {
        for micro_usd in [7, 9] {
            store.add_spend(spend(1, at_ms, micro_usd)).await?;
        }
    }
    store.add_spend(Spend { owner: "owner-2".to_owned(), ..spend(1, 100, 7) }).await?;
    assert_eq!(store.spent_since("owner-1", 0).await?, 7);
    assert_eq!(store.spent_since("owner-1", 100).await?, 0);
    assert_eq!(store.spent_since("owner-2", 0).await?, 0);
    Ok(())
}

/// Also of a session that was never there.
pub async fn spend_outlives_its_session(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    store.add_spend(spend(1, 100, 5)).await?;
    store.create_session(sample::session(1)).await?;
    store.add_spend(spend(2, 100, 60)).await?;
    store.end_session(id, 1, sample::last_batch(1), sample::end_patch()).await?;
    assert_eq!(store.spent_since("owner-1", 0).await?, 65);
    assert!(store.remove_session(id).await?);
    purge_all(&store, 10).await?;
    assert_eq!(store.spent_since("owner-1", 0).await?, 65);
    store.add_spend(spend(2, 100, 60)).await?;
    store.add_spend(spend(3, 100, 700)).await?;
    assert_eq!(store.spent_since("owner-1", 0).await?, 765);
    Ok(())
}

/// What lies before the moment, of everybody.
pub async fn forgotten_spend_counts_no_more(store: SharedStore) -> Outcome {
    store.forget_spend(100).await?;
    for (seq, at_ms) in (1..).zip([100, 200, 300]) {
        store.add_spend(spend(seq, at_ms, 1)).await?;
        store.add_spend(Spend { owner: "owner-2".to_owned(), session: sample::id(2), ..spend(seq, at_ms, 1) }).await?;
    }
    for (before_ms, left) in [(0, 3), (100, 3), (200, 2), (200, 2), (201, 1), (u64::MAX, 0)] {
        store.forget_spend(before_ms).await?;
        for owner in ["owner-1", "owner-2"] {
            assert_eq!(store.spent_since(owner, 0).await?, left, "{owner}, before {before_ms}");
        }
    }
    store.add_spend(spend(4, 400, 1)).await?;
    assert_eq!(store.spent_since("owner-1", 0).await?, 1);
    Ok(())
}

/// To the millionth, up to the largest.
pub async fn large_and_many_amounts_are_summed_exactly(store: SharedStore) -> Outcome {
    const LARGEST: u64 = (1 << 53) - 1;
    let added = (1..=50).map(|seq| {
        let store = store.clone();
        tasks::spawn("spends", async move { store.add_spend(spend(seq, 100, seq)).await })
    });
    for added in join_all(added).await {
        there(added.ok().flatten())??;
    }
    assert_eq!(store.spent_since("owner-1", 0).await?, 1_275);
    store.add_spend(spend(51, 100, LARGEST - 1_275 - 1)).await?;
    assert_eq!(store.spent_since("owner-1", 0).await?, LARGEST - 1);
    store.add_spend(spend(52, 100, 1)).await?;
    assert_eq!(store.spent_since("owner-1", 0).await?, LARGEST);
    Ok(())
}
