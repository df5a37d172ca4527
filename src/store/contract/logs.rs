//! Event logs: gapless, written once, ended once.

use bytes::Bytes;
use futures_util::future::join_all;
use uuid::Uuid;

use super::{Outcome, sample, there};
use crate::api::event::{EventType, SessionState};
use crate::api::selector::TypeSet;
use crate::store::{Batch, LogBounds, SessionPatch, SharedStore, StoreError};
use crate::telemetry::tasks;

/// A session with the batches 1–3, 4–4 and 5–9.
async fn three_batches(store: &SharedStore) -> Result<(Uuid, [Batch; 3]), StoreError> {
    let batches = [sample::batch(1, 3), sample::batch(4, 4), sample::batch(5, 9)];
    store.create_session(sample::session(1)).await?;
    for batch in &batches {
        store.append(sample::id(1), 1, batch.clone()).await?;
    }
    Ok((sample::id(1), batches))
}

/// The log and the record agree after each append.
pub async fn appended_batches_are_read_back_and_the_record_tells_the_head(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    store.create_session(sample::session(1)).await?;
    assert_eq!(store.read(id, 0, TypeSet::ALL, 1_000).await?, []);
    let mut all = Vec::new();
    for (first, last) in [(1, 1), (2, 400), (401, 401)] {
        let batch = Batch { types: TypeSet(u32::MAX - 1), ..sample::batch(first, last) };
        store.append(id, 1, batch.clone()).await?;
        all.push(batch);
        assert_eq!(store.read(id, 0, TypeSet::ALL, usize::MAX).await?, all);
        assert_eq!(store.bounds(id).await?, LogBounds { first: 1, head: last, bytes: 64 * all.len() as u64 });
        assert_eq!(there(store.session(id).await?)?.last_seq, last);
    }
    Ok(())
}

/// The first batch holds the next number, wherever that lies in it.
pub async fn a_reader_goes_on_from_any_number(store: SharedStore) -> Outcome {
    let (id, batches) = three_batches(&store).await?;
    for after in 0..=12_u64 {
        let from = match after {
            0..=2 => 0,
            3 => 1,
            4..=8 => 2,
            _ => 3,
        };
        assert_eq!(store.read(id, after, TypeSet::ALL, usize::MAX).await?, batches[from..], "after {after}");
    }
    Ok(())
}

/// Batches of 64 bytes each.
pub async fn a_read_stops_at_its_bytes_but_gives_at_least_one_batch(store: SharedStore) -> Outcome {
    let (id, batches) = three_batches(&store).await?;
    for (max_bytes, count) in [(0, 1), (1, 1), (64, 1), (65, 2), (128, 2), (129, 3), (1_000, 3)] {
        assert_eq!(store.read(id, 0, TypeSet::ALL, max_bytes).await?, batches[..count], "{max_bytes} bytes");
    }
    Ok(())
}

/// Gaps, overlaps and batches that run backwards.
pub async fn a_batch_that_does_not_follow_is_refused_and_leaves_nothing(store: SharedStore) -> Outcome {
    let (id, batches) = three_batches(&store).await?;
    for (first, last) in [(11, 11), (9, 10), (1, 10), (6, 8), (4, 5), (0, 10), (12, 10), (u64::MAX, u64::MAX)] {
        let refused = store.append(id, 1, sample::batch(first, last)).await;
        assert_eq!(refused, Err(StoreError::Gap { expected: 10, found: first }), "{first}-{last}");
    }
    let backwards = store.append(id, 1, sample::batch(10, 9)).await;
    assert_eq!(backwards, Err(StoreError::Gap { expected: 10, found: 10 }));
    assert_eq!(store.read(id, 0, TypeSet::ALL, usize::MAX).await?, batches);
    assert_eq!(store.bounds(id).await?.head, 9);
    store.append(id, 1, sample::batch(10, 10)).await
}

/// A repeated call after a lost answer: the newest batch, and older ones.
pub async fn the_same_batch_again_succeeds_and_is_kept_once(store: SharedStore) -> Outcome {
    let (id, batches) = three_batches(&store).await?;
    for batch in batches.iter().rev() {
        store.append(id, 1, batch.clone()).await?;
    }
    assert_eq!(store.read(id, 0, TypeSet::ALL, usize::MAX).await?, batches);
    assert_eq!(there(store.session(id).await?)?.last_seq, 9);
    Ok(())
}

/// What is written stays.
pub async fn the_same_bounds_with_other_contents_are_refused(store: SharedStore) -> Outcome {
    let (id, batches) = three_batches(&store).await?;
    let bytes = Batch { payload: Bytes::from_static(b"other"), ..batches[2].clone() };
    let types = Batch { types: TypeSet::default().with(EventType::Output), ..batches[2].clone() };
    let begins_earlier = Batch { first_seq: 4, ..batches[2].clone() };
    for other in [bytes, types, begins_earlier] {
        let found = other.first_seq;
        assert_eq!(store.append(id, 1, other).await, Err(StoreError::Gap { expected: 10, found }));
    }
    assert_eq!(store.read(id, 0, TypeSet::ALL, usize::MAX).await?, batches);
    Ok(())
}

/// Neither an old nor an unheard-of owner writes.
pub async fn an_append_under_another_epoch_is_refused(store: SharedStore) -> Outcome {
    let (id, batches) = three_batches(&store).await?;
    for epoch in [0, 2, u64::MAX] {
        assert_eq!(store.append(id, epoch, sample::batch(10, 10)).await, Err(StoreError::NotOwner));
    }
    assert_eq!(store.read(id, 0, TypeSet::ALL, usize::MAX).await?, batches);
    Ok(())
}

/// Nothing, every byte, four megabytes.
pub async fn payloads_of_any_bytes_and_sizes_are_kept(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    store.create_session(sample::session(1)).await?;
    let payloads = [Vec::new(), (0..=u8::MAX).collect(), vec![b'\n'; 4096], vec![0xA5; 4 * 1024 * 1024]];
    for (seq, payload) in (1..).zip(payloads) {
        let batch = Batch { payload: payload.into(), ..sample::batch(seq, seq) };
        store.append(id, 1, batch.clone()).await?;
        assert!(
            store.read(id, seq - 1, TypeSet::ALL, usize::MAX).await? == [batch],
            "payload {seq} came back different"
        );
    }
    Ok(())
}

/// Many writers share the store, each log is its own.
pub async fn fifty_sessions_append_at_once_without_a_gap(store: SharedStore) -> Outcome {
    let writers = (1..=50).map(|n| {
        let store = store.clone();
        tasks::spawn("appends", async move {
            store.create_session(sample::session(n)).await?;
            for seq in 1..=20 {
                store.append(sample::id(n), 1, sample::batch(seq, seq)).await?;
            }
            Ok::<(), StoreError>(())
        })
    });
    for writer in join_all(writers).await {
        there(writer.ok().flatten())??;
    }
    let expected: Vec<_> = (1..=20).map(|seq| sample::batch(seq, seq)).collect();
    for n in 1..=50 {
        assert_eq!(store.read(sample::id(n), 0, TypeSet::ALL, usize::MAX).await?, expected, "session {n}");
        assert_eq!(there(store.session(sample::id(n)).await?)?.last_seq, 20);
    }
    Ok(())
}

/// Two batches for the same place with different bytes.
pub async fn of_two_writers_of_the_same_number_one_wins(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    store.create_session(sample::session(1)).await?;
    for seq in 1..=20 {
        let batch =
            |text: &'static str| Batch { payload: Bytes::from_static(text.as_bytes()), ..sample::batch(seq, seq) };
        let (one, two) = tokio::join!(store.append(id, 1, batch("one")), store.append(id, 1, batch("two")));
        let gap = Err(StoreError::Gap { expected: seq + 1, found: seq });
        let kept = store.read(id, seq - 1, TypeSet::ALL, usize::MAX).await?;
        let won = if one.is_ok() { "one" } else { "two" };
        assert_eq!(kept, [batch(won)]);
        assert_eq!((one, two), if won == "one" { (Ok(()), gap) } else { (gap, Ok(())) });
    }
    Ok(())
}

/// The last event and the mark come together; the mark is `ended` whatever the patch says.
pub async fn an_end_appends_and_marks_in_one_step(store: SharedStore) -> Outcome {
    let (id, batches) = three_batches(&store).await?;
    let before = there(store.session(id).await?)?;
    let patch =
        SessionPatch { state: Some(SessionState::Idle), owner: Some(("node-9".to_owned(), 9)), ..sample::end_patch() };
    store.end_session(id, 1, sample::last_batch(10), patch.clone()).await?;
    let mut expected = before;
    expected.state = SessionState::Ended;
    expected.ended_at_ms = patch.ended_at_ms;
    expected.ended = patch.ended;
    expected.last_seq = 10;
    assert_eq!(there(store.session(id).await?)?, expected);
    assert_eq!(store.read(id, 0, TypeSet::ALL, usize::MAX).await?, [&batches[..], &[sample::last_batch(10)]].concat());
    assert_eq!(store.unfinished_sessions(None).await?, []);
    Ok(())
}

/// A repeated call after a lost answer.
pub async fn the_same_end_again_succeeds_and_changes_nothing(store: SharedStore) -> Outcome {
    let (id, batches) = three_batches(&store).await?;
    store.end_session(id, 1, sample::last_batch(10), sample::end_patch()).await?;
    let ended = store.session(id).await?;
    let later = SessionPatch { ended_at_ms: Some(7), ended: None, ..sample::end_patch() };
    store.end_session(id, 1, sample::last_batch(10), later).await?;
    assert_eq!(store.session(id).await?, ended);
    assert_eq!(store.read(id, 9, TypeSet::ALL, usize::MAX).await?, [sample::last_batch(10)]);
    // The same holds for an append whose answer was lost just before the end.
    store.append(id, 1, batches[2].clone()).await
}

/// A session ends once, with one reason.
pub async fn another_end_is_refused(store: SharedStore) -> Outcome {
    let (id, batches) = three_batches(&store).await?;
    store.end_session(id, 1, sample::last_batch(10), sample::end_patch()).await?;
    let ended = store.session(id).await?;
    let others = [
        Batch { payload: Bytes::from_static(b"another reason"), ..sample::last_batch(10) },
        sample::last_batch(11),
        sample::last_batch(12),
        batches[2].clone(),
    ];
    for other in others {
        let refused = store.end_session(id, 1, other.clone(), sample::end_patch()).await;
        assert_eq!(refused, Err(StoreError::NotOwner), "{other:?}");
    }
    let stranger = store.end_session(id, 2, sample::last_batch(10), sample::end_patch()).await;
    assert_eq!(stranger, Err(StoreError::NotOwner));
    assert_eq!(store.session(id).await?, ended);
    assert_eq!(store.bounds(id).await?.head, 10);
    Ok(())
}

/// No mark without its event, and no event that was there before.
pub async fn an_end_that_does_not_follow_leaves_the_session_running(store: SharedStore) -> Outcome {
    let (id, batches) = three_batches(&store).await?;
    for batch in [sample::last_batch(11), sample::last_batch(9), batches[2].clone()] {
        let found = batch.first_seq;
        let refused = store.end_session(id, 1, batch, sample::end_patch()).await;
        assert_eq!(refused, Err(StoreError::Gap { expected: 10, found }));
    }
    let row = there(store.session(id).await?)?;
    assert_eq!((row.state, row.ended, row.ended_at_ms, row.last_seq), (SessionState::Starting, None, None, 9));
    assert_eq!(store.read(id, 0, TypeSet::ALL, usize::MAX).await?, batches);
    Ok(())
}

/// The terminal event is the last.
pub async fn nothing_new_follows_an_end(store: SharedStore) -> Outcome {
    let (id, _) = three_batches(&store).await?;
    store.end_session(id, 1, sample::last_batch(10), sample::end_patch()).await?;
    for (first, last) in [(11, 11), (10, 11), (1, 1), (12, 12)] {
        assert_eq!(store.append(id, 1, sample::batch(first, last)).await, Err(StoreError::NotOwner), "{first}-{last}");
    }
    let taken = store.update_session(id, 1, sample::takeover_patch("node-2", 2)).await;
    assert_eq!(taken, Err(StoreError::NotOwner));
    assert_eq!(store.bounds(id).await?, LogBounds { first: 1, head: 10, bytes: 256 });
    Ok(())
}
